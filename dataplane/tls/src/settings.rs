//! From PEM texts to what a handshake needs: who we are, whom we trust, how we speak.
//!
//! TLS 1.3 only, certificates on both sides, `adit/1` as application protocol, no resumption, no
//! early data. Reading the files, and reloading them, is the caller's work.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::identity::{IdentityError, RoleName, SpiffeId};
use crate::keys::Suite;
use crate::leaf::Leaf;
use crate::limits::Limits;
use crate::server_verifier::{ServerVerifier, Whom};

/// The application protocol both sides must agree on (RFC 7301).
pub const ALPN: &[u8] = b"adit/1";

/// Our certificate chain and the key of its leaf.
pub struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    id: SpiffeId,
}

/// The certificates at which the peer's chain may end.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(crate) store: Arc<RootCertStore>,
    revoked: Arc<BTreeSet<String>>,
}

/// What tests change and programs leave alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Limits of the record layer.
    pub limits: Limits,
    /// Suites we agree to, best first; ours is the order that counts on the server.
    pub suites: Vec<Suite>,
    /// Who tells the date when a certificate is checked.
    pub clock: Arc<dyn TimeProvider>,
}

/// What an agent needs for a handshake. Cheap to clone.
#[derive(Clone)]
pub struct ClientSettings {
    config: Arc<ClientConfig>,
    id: Arc<SpiffeId>,
    limits: Limits,
}

/// What a gateway needs for a handshake. Cheap to clone.
#[derive(Clone)]
pub struct ServerSettings {
    config: Arc<ServerConfig>,
    id: Arc<SpiffeId>,
    limits: Limits,
}

/// Why PEM texts do not make settings. The caller knows the file's name and puts it in front.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The text is not PEM.
    Pem(pem::Error),
    /// The text with the private key is not PEM.
    KeyNotPem,
    /// No section `CERTIFICATE` in the text.
    NoCertificate,
    /// No private key in the text.
    NoKey,
    /// Root number `number`, counted from 1, is not usable.
    Root {
        /// Which one.
        number: usize,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// Our own leaf does not name us as SPIFFE asks, or not for this end of a tunnel.
    Identity(IdentityError),
    /// rustls refuses chain, key or their combination.
    Refused(rustls::Error),
    /// rustls refuses the roots.
    Verifier(rustls::server::VerifierBuilderError),
}

/// Settings of the end that dials; `credentials` must be an agent's. The gateway must have a
/// certificate below `roots`, of our trust domain. The system's clock tells the date.
///
/// # Errors
/// [`SettingsError`], when the pieces do not fit.
pub fn client(credentials: &Credentials, roots: &Roots) -> Result<ClientSettings, SettingsError> {
    client_with(credentials, roots, &Options::default())
}

/// [`client`] with `options`.
///
/// # Errors
/// [`SettingsError`], when the pieces do not fit.
pub fn client_with(
    credentials: &Credentials,
    roots: &Roots,
    options: &Options,
) -> Result<ClientSettings, SettingsError> {
    credentials.id.expect_role(RoleName::Agent)?;
    let provider = options.provider();
    let verifier = ServerVerifier {
        whom: Whom::Known {
            roots: roots.clone(),
            trust_domain: credentials.id.trust_domain.clone(),
        },
        role: RoleName::Gateway,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config =
        ClientConfig::builder_with_details(Arc::new(provider), Arc::clone(&options.clock))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    config.enable_early_data = false;
    // A resumed tunnel would rest on a certificate checked long ago, perhaps revoked since.
    config.resumption = Resumption::disabled();
    Ok(ClientSettings {
        config: Arc::new(config),
        id: Arc::new(credentials.id.clone()),
        limits: options.limits,
    })
}

/// Settings of the end that accepts; `credentials` must be a gateway's. Every agent must have a
/// certificate below `roots`, of our trust domain. The system's clock tells the date.
///
/// # Errors
/// [`SettingsError`], when the pieces do not fit.
pub fn server(credentials: &Credentials, roots: &Roots) -> Result<ServerSettings, SettingsError> {
    server_with(credentials, roots, &Options::default())
}

/// [`server`] with `options`.
///
/// # Errors
/// [`SettingsError`], when the pieces do not fit.
pub fn server_with(
    credentials: &Credentials,
    roots: &Roots,
    options: &Options,
) -> Result<ServerSettings, SettingsError> {
    credentials.id.expect_role(RoleName::Gateway)?;
    let provider = Arc::new(options.provider());
    let chain = WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots.store),
        Arc::clone(&provider),
    )
    .build()
    .map_err(SettingsError::Verifier)?;
    let verifier = AgentVerifier {
        chain,
        roots: roots.clone(),
        trust_domain: credentials.id.trust_domain.clone(),
    };
    let mut config = ServerConfig::builder_with_details(provider, Arc::clone(&options.clock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(ServerSettings {
        config: Arc::new(config),
        id: Arc::new(credentials.id.clone()),
        limits: options.limits,
    })
}

impl Credentials {
    /// Reads our chain, leaf first, and the leaf's key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    /// [`SettingsError`], when a text is not PEM, lacks what it should hold, or the leaf has no
    /// SPIFFE ID. Whether key and leaf fit shows when settings are made.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SettingsError> {
        let chain = certificates(chain)?;
        let leaf = chain.first().ok_or(SettingsError::NoCertificate)?;
        let id = SpiffeId::from_certificate(leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| {
            // The cause may hold a line of the key.
            if matches!(cause, pem::Error::NoItemsFound) {
                SettingsError::NoKey
            } else {
                SettingsError::KeyNotPem
            }
        })?;
        Ok(Self { chain, key, id })
    }

    /// Whom our own leaf names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Our own leaf certificate.
    #[must_use]
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }
}

impl Roots {
    /// Reads one or more root certificates.
    ///
    /// # Errors
    /// [`SettingsError`], when there is none, or one of them cannot be used.
    pub fn from_pem(text: &[u8]) -> Result<Self, SettingsError> {
        let mut store = RootCertStore::empty();
        for (index, certificate) in certificates(text)?.into_iter().enumerate() {
            store
                .add(certificate)
                .map_err(|cause| SettingsError::Root {
                    number: index + 1,
                    cause,
                })?;
        }
        if store.is_empty() {
            return Err(SettingsError::NoCertificate);
        }
        Ok(Self {
            store: Arc::new(store),
            revoked: Arc::default(),
        })
    }

    /// The same roots, but certificates with these serial numbers no longer count: lower-case hexadecimal without
    /// leading zeros, as [`Leaf::serial`](crate::Leaf::serial) is. They take the place of those named before.
    #[must_use]
    pub fn with_revoked(mut self, serials: impl IntoIterator<Item = String>) -> Self {
        self.revoked = Arc::new(serials.into_iter().collect());
        self
    }

    /// Whether `certificate` no longer counts. One that cannot be read never counted.
    #[must_use]
    pub fn is_revoked(&self, certificate: &CertificateDer<'_>) -> bool {
        !self.revoked.is_empty()
            && Leaf::read(certificate).is_ok_and(|leaf| self.revoked.contains(&leaf.serial))
    }

    pub(crate) fn check_revoked(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let mut chain = std::iter::once(leaf).chain(intermediates);
        if chain.any(|certificate| self.is_revoked(certificate)) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(())
    }
}

impl Options {
    /// The same options with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same options with other suites, best first.
    #[must_use]
    pub fn with_suites(mut self, suites: &[Suite]) -> Self {
        self.suites = suites.to_vec();
        self
    }

    /// The same options with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn provider(&self) -> CryptoProvider {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = self.suites.iter().copied().map(cipher_suite).collect();
        provider
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            suites: Suite::ALL.to_vec(),
            clock: Arc::new(DefaultTimeProvider),
        }
    }
}

impl ClientSettings {
    /// Whom our own leaf names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }
}

impl ServerSettings {
    /// Whom our own leaf names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }
}

/// How a gateway judges an agent: webpki for the chain, then the SPIFFE ID.
#[derive(Debug)]
struct AgentVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    roots: Roots,
    trust_domain: String,
}

impl ClientCertVerifier for AgentVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        self.roots.check_revoked(end_entity, intermediates)?;
        check_id(end_entity, RoleName::Agent, &self.trust_domain)?;
        Ok(verified)
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
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

pub(crate) fn check_id(
    leaf: &CertificateDer<'_>,
    expected: RoleName,
    trust_domain: &str,
) -> Result<(), rustls::Error> {
    let checked = SpiffeId::from_certificate(leaf).and_then(|id| {
        id.expect_trust_domain(trust_domain)?;
        id.expect_role(expected)
    });
    checked.map_err(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
}

pub(crate) fn tls12_is_off() -> rustls::Error {
    rustls::Error::General("tls 1.2 is off".into())
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(SettingsError::Pem)
}

fn cipher_suite(suite: Suite) -> SupportedCipherSuite {
    use rustls::crypto::ring::cipher_suite;
    match suite {
        Suite::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Suite::Aes256Gcm => cipher_suite::TLS13_AES_256_GCM_SHA384,
        Suite::Chacha20Poly1305 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    }
}

impl From<IdentityError> for SettingsError {
    fn from(cause: IdentityError) -> Self {
        Self::Identity(cause)
    }
}

impl From<rustls::Error> for SettingsError {
    fn from(cause: rustls::Error) -> Self {
        Self::Refused(cause)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(cause) => write!(f, "not pem: {cause}"),
            Self::NoCertificate => {
                f.write_str("no certificate; a pem section CERTIFICATE is needed")
            }
            Self::KeyNotPem => f.write_str("the private key is not pem"),
            Self::NoKey => f.write_str("no private key; a pem section PRIVATE KEY is needed"),
            Self::Root { number, cause } => write!(f, "root certificate {number}: {cause}"),
            Self::Identity(cause) => write!(f, "our certificate: {cause}"),
            Self::Refused(cause) => write!(f, "certificate and key: {cause}"),
            Self::Verifier(cause) => write!(f, "root certificates: {cause}"),
        }
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pem(cause) => Some(cause),
            Self::Root { cause, .. } | Self::Refused(cause) => Some(cause),
            Self::Identity(cause) => Some(cause),
            Self::Verifier(cause) => Some(cause),
            Self::NoCertificate | Self::KeyNotPem | Self::NoKey => None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, secret)", self.id)
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSettings({})", self.id)
    }
}

impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerSettings({})", self.id)
    }
}
