//! How a node judges the server it dialled, be it a gateway or a control plane: by its chain and its SPIFFE ID.
//!
//! The DNS name it was dialled by says nothing, because whoever controls the resolver controls it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::control::spki_sha256;
use crate::identity::{IdentityError, RoleName, SpiffeId};
use crate::settings::{Roots, check_id, tls12_is_off};

/// By what a server is known.
#[derive(Debug)]
pub(crate) enum Whom {
    Known { roots: Roots, trust_domain: String },
    Pinned([u8; 32]),
}

#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) whom: Whom,
    /// What its certificate must make of it.
    pub(crate) role: RoleName,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
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

impl ServerCertVerifier for ServerVerifier {
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
                check_id(end_entity, self.role, trust_domain)?;
            }
            Whom::Pinned(pin) => {
                let pinned = intermediates
                    .iter()
                    .find(|certificate| spki_sha256(certificate).as_ref() == Ok(pin))
                    .ok_or(CertificateError::UnknownIssuer)?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned())?;
                self.verify_chain(end_entity, intermediates, &roots, now)?;
                let checked =
                    SpiffeId::from_certificate(end_entity).and_then(|id| id.expect_role(self.role));
                checked.map_err(other)?;
            }
        }
        if self.role == RoleName::Control {
            check_usage(end_entity)?;
        }
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
