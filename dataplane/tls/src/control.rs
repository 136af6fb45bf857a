//! How a node speaks TLS to its control plane: 1.3 only, `h2`, and a server that is one by its SPIFFE ID.
//!
//! The host name says nothing, as for tunnels. Before a node has roots, an invitation's pin stands in for them: the
//! hash of the root's public key. Dialling and what is said are the caller's.

use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{IdentityError, RoleName, SpiffeId};
use crate::leaf::Leaf;
use crate::settings::{Credentials, Options, Roots, SettingsError, check_id, tls12_is_off};

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
    let verifier = ControlVerifier {
        whom,
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

/// By what a server is known.
#[derive(Debug)]
enum Whom {
    Known { roots: Roots, trust_domain: String },
    Pinned([u8; 32]),
}

#[derive(Debug)]
struct ControlVerifier {
    whom: Whom,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ControlVerifier {
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for ControlVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.whom {
            Whom::Known {
                roots,
                trust_domain,
            } => {
                self.verify_chain(end_entity, intermediates, &roots.store, now)?;
                roots.check_revoked(end_entity, intermediates)?;
                check_id(end_entity, RoleName::Control, trust_domain)?;
            }
            Whom::Pinned(pin) => {
                let pinned = intermediates
                    .iter()
                    .find(|certificate| spki_sha256(certificate).as_ref() == Ok(pin))
                    .ok_or(CertificateError::UnknownIssuer)?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned())?;
                self.verify_chain(end_entity, intermediates, &roots, now)?;
                let checked = SpiffeId::from_certificate(end_entity)
                    .and_then(|id| id.expect_role(RoleName::Control));
                checked.map_err(other)?;
            }
        }
        check_usage(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls12_is_off())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// webpki takes a certificate without extended key usages for any; a server of a control plane says that it is one.
fn check_usage(leaf: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    let malformed = || other(IdentityError::Malformed);
    let (_rest, parsed) =
        X509Certificate::from_der(leaf).map_err(|_cause: x509_parser::nom::Err<_>| malformed())?;
    let usage = parsed.extended_key_usage().map_err(|_cause| malformed())?;
    if usage.is_some_and(|usage| usage.value.server_auth) {
        Ok(())
    } else {
        Err(CertificateError::InvalidPurpose.into())
    }
}

fn other(error: IdentityError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
