//! Whom the command line takes for a server of the control plane: whoever proves a certificate of its authority that
//! names one.
//!
//! The host name in the address plays no part, as for nodes: who controls the resolver controls it, and one authority
//! has several servers behind several addresses. Connections are left to `client`.

use std::fmt;
use std::sync::Arc;

use adit_authority::{Identity, TrustDomain, parse_leaf};
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate::ClientCertificate;
use crate::ending::Failure;

/// Where a server's chain has to end.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// At one of these.
    Roots(Arc<RootCertStore>),
    /// At the certificate in the chain itself whose public key has this SHA-256, in lower-case hexadecimal.
    Pin(String),
}

/// Why a certificate is no server's.
#[derive(Debug)]
enum Refused {
    Pin(String),
    NoServer(String),
    Tls12,
}

impl Trust {
    /// Trusts the certificates of a PEM text; `place` is for messages.
    ///
    /// # Errors
    /// It holds none, or something else.
    pub(crate) fn roots(place: &str, pem: &str) -> Result<Self, Failure> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| Failure::config(format!("{place}: {error}")))?;
            store
                .add(certificate)
                .map_err(|error| Failure::config(format!("{place}: {error}")))?;
        }
        if store.is_empty() {
            return Err(Failure::config(format!(
                "{place}: holds no certificate; give the ca.pem of the control plane"
            )));
        }
        Ok(Self::Roots(Arc::new(store)))
    }

    /// Trusts the root that has this pin, 64 hexadecimal digits, as `adit serve` prints it.
    ///
    /// # Errors
    /// It is no pin.
    pub(crate) fn pin(text: &str) -> Result<Self, Failure> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::usage(
                "--pin: give the 64 hexadecimal digits that `adit serve` prints with its root",
            ));
        }
        Ok(Self::Pin(text.to_ascii_lowercase()))
    }

    /// TLS 1.3 with a server of the control plane, of this trust domain if one is given, as whoever has this certificate.
    pub(super) fn config(
        &self,
        trust_domain: Option<&str>,
        certificate: Option<ClientCertificate>,
    ) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = ControlVerifier {
            trust: self.clone(),
            trust_domain: trust_domain.map(ToOwned::to_owned),
            algorithms: provider.signature_verification_algorithms,
        };
        let config = configured(provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match certificate {
            None => config.with_no_client_auth(),
            Some(ClientCertificate {
                chain, key, place, ..
            }) => config.with_client_auth_cert(chain, key).map_err(|error| {
                Failure::config(format!(
                    "{place}: {error}; is it the certificate of this key?"
                ))
            })?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

fn configured(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Failure> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Failure::failed(format!("TLS: {error}")))
}

/// The certificate of a chain that has this pin.
pub(super) fn pinned<'c>(
    chain: impl IntoIterator<Item = &'c CertificateDer<'static>>,
    pin: &str,
) -> Option<&'c CertificateDer<'static>> {
    chain
        .into_iter()
        .find(|certificate| pin_of(certificate).as_deref() == Some(pin))
}

/// SHA-256 of a certificate's public key (SubjectPublicKeyInfo, DER).
fn pin_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let digest = digest(&SHA256, certificate.public_key().raw);
    Some(super::shown::hex(digest.as_ref()))
}

/// The trust domain and name of the server that a certificate names.
pub(super) fn server_named(leaf: &CertificateDer<'_>) -> Option<(TrustDomain, String)> {
    let id = parse_leaf(leaf).ok()?.spiffe_id;
    let (domain, _) = id.strip_prefix("spiffe://")?.split_once('/')?;
    let domain: TrustDomain = domain.parse().ok()?;
    match Identity::parse(&id, &domain)? {
        Identity::Control { name } => Some((domain, name.to_string())),
        Identity::Agent { .. } | Identity::Gateway { .. } => None,
    }
}

#[derive(Debug)]
struct ControlVerifier {
    trust: Trust,
    trust_domain: Option<String>,
    algorithms: WebPkiSupportedAlgorithms,
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
        let roots = match &self.trust {
            Trust::Roots(roots) => Arc::clone(roots),
            Trust::Pin(pin) => {
                let chain: Vec<_> = intermediates
                    .iter()
                    .map(|certificate| certificate.clone().into_owned())
                    .collect();
                let root = pinned(&chain, pin).ok_or_else(|| refused(Refused::Pin(pin.clone())))?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone())?;
                Arc::new(roots)
            }
        };
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        // Agents and gateways have certificates of the same authority, and are no control plane.
        let named = server_named(end_entity).filter(|(domain, _)| {
            self.trust_domain
                .as_ref()
                .is_none_or(|wanted| wanted == domain.as_str())
        });
        if named.is_none() {
            let id = parse_leaf(end_entity).map_or_else(|_| String::new(), |leaf| leaf.spiffe_id);
            return Err(refused(Refused::NoServer(id)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refused(Refused::Tls12))
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

fn refused(why: Refused) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin(pin) => write!(f, "no certificate it showed has the pin {pin}"),
            Self::NoServer(id) => write!(
                f,
                "its certificate names {id:?} and no server of this control plane"
            ),
            Self::Tls12 => f.write_str("it speaks no TLS 1.3"),
        }
    }
}

impl std::error::Error for Refused {}

/// What went wrong in a handshake, and what to look at.
pub(super) fn explained(error: &std::io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        // Another root of the same name is found out by its signature.
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => {
            "its certificate is of another authority than the trusted root; is this the right server, and --root or the \
             login that of this control plane? After a roll-over log in again with its new ca.pem"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            other.0.to_string()
        }
        Some(error) => format!("TLS: {error}"),
        None => error.to_string(),
    }
}

/// What ended a connection. A server says only after its handshake that it refuses a client's certificate (RFC 8446,
/// section 4.4.2.4), so it is found below the error of an exchange.
pub(super) fn told(error: &hyper::Error) -> String {
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        let of_tls = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = of_tls {
            return format!(
                "it ended the connection ({alert:?}): it does not take this client certificate, and its log says why"
            );
        }
        below = error.source();
    }
    error.to_string()
}
