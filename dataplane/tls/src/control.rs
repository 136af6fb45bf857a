//! How a node speaks TLS to its control plane: 1.3 only, `h2`, and a server that is one by its SPIFFE ID.
//!
//! The host name says nothing, as for tunnels. Before a node has roots, an invitation's pin stands in for them: the
//! hash of the root's public key. Dialling and what is said are the caller's.

use std::sync::Arc;

use ring::digest;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::CertificateDer;

use crate::identity::{IdentityError, RoleName};
use crate::leaf::Leaf;
use crate::server_verifier::{ServerVerifier, Whom};
use crate::settings::{Credentials, Options, Roots, SettingsError};

/// The application protocol of the control plane (RFC 9113, section 3.2).
pub const CONTROL_ALPN: &[u8] = b"h2";

/// For a node that has roots: its control plane must have a certificate below `roots`, of `trust_domain`, for a
/// server of a control plane. Without `credentials` the node shows no certificate: its own has expired.
///
/// # Errors
/// [`SettingsError`], when the pieces do not fit.
pub fn control_client(
    credentials: Option<&Credentials>,
    trust_domain: &str,
    roots: &Roots,
) -> Result<Arc<ClientConfig>, SettingsError> {
    let whom = Whom::Known {
        roots: roots.clone(),
        trust_domain: trust_domain.to_owned(),
    };
    client(credentials, whom)
}

/// For a node that has an invitation: the chain the server presents must hold, and end at, a certificate whose public
/// key has this SHA-256 ([`spki_sha256`]).
///
/// # Errors
/// [`SettingsError`], when rustls refuses.
pub fn pinned_client(pin: [u8; 32]) -> Result<Arc<ClientConfig>, SettingsError> {
    client(None, Whom::Pinned(pin))
}

/// SHA-256 of a certificate's DER `SubjectPublicKeyInfo`: what an invitation pins.
///
/// # Errors
/// [`IdentityError::Malformed`].
pub fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], IdentityError> {
    let leaf = Leaf::read(certificate)?;
    let hash = digest::digest(&digest::SHA256, &leaf.spki);
    <[u8; 32]>::try_from(hash.as_ref()).map_err(|_length| IdentityError::Malformed)
}

fn client(
    credentials: Option<&Credentials>,
    whom: Whom,
) -> Result<Arc<ClientConfig>, SettingsError> {
    let options = Options::default();
    let provider = options.provider();
    let verifier = ServerVerifier {
        whom,
        role: RoleName::Control,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder =
        ClientConfig::builder_with_details(Arc::new(provider), Arc::clone(&options.clock))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credentials {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![CONTROL_ALPN.to_vec()];
    config.enable_early_data = false;
    // As for tunnels: a resumed connection would rest on a certificate that may be revoked since.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
