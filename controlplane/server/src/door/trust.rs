//! Whose client certificates the door takes: of its own authority, which are nodes', and of the people's, if there is one.
//!
//! Nobody is taken for both: a chain that touches the authority's roots is never a person's, and the two have no key in
//! common. Which node or person a certificate names is told by `peer` and by `people`.

use std::fmt;
use std::sync::Arc;

use adit_people::certificate::{NameField, NoPerson, PersonCertificate, authority_key};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// The authority of the people's certificates, and where their names stand.
#[derive(Clone, Debug)]
pub(crate) struct PeopleTrust {
    roots: Vec<CertificateDer<'static>>,
    keys: Vec<[u8; 32]>,
    field: NameField,
}

/// What a connection has shown, and its handshake proved.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// No certificate.
    Nothing,
    /// A leaf of our authority.
    Node(Arc<CertificateDer<'static>>),
    /// A leaf of the people's authority.
    Person(Arc<PersonCertificate>),
}

impl PeopleTrust {
    /// Reads the authority's certificates, PEM.
    ///
    /// # Errors
    /// There are none, or something else stands there.
    pub(crate) fn read(pem: &[u8], field: NameField) -> Result<Self, String> {
        let mut trust = Self {
            roots: Vec::new(),
            keys: Vec::new(),
            field,
        };
        for (number, root) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let number = number + 1;
            let root = root.map_err(|error| format!("certificate {number}: {error}"))?;
            let key =
                authority_key(&root).map_err(|error| format!("certificate {number} {error}"))?;
            trust.keys.push(key);
            trust.roots.push(root);
        }
        if trust.roots.is_empty() {
            return Err("holds no certificate; give the people's authority in PEM form".to_owned());
        }
        Ok(trust)
    }
}

/// Tries the authority's roots, then the people's.
#[derive(Debug)]
pub(super) struct Verifier {
    nodes: Arc<dyn ClientCertVerifier>,
    people: Option<(Arc<dyn ClientCertVerifier>, NameField)>,
    hints: Vec<DistinguishedName>,
}

impl Verifier {
    /// # Errors
    /// A certificate is no root, or the people's authority is ours.
    pub(super) fn new(
        roots: Vec<CertificateDer<'static>>,
        people: Option<&PeopleTrust>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        if let Some(people) = people {
            // Else each agent that may choose its subject's name could be whom it likes.
            let is_ours = |root| authority_key(root).is_ok_and(|key| people.keys.contains(&key));
            if roots.iter().any(|root| is_ours(root)) {
                return Err(
                    "people.certificates.ca_file: holds this control plane's own authority, which nodes have their \
                     certificates from; give people another one"
                        .to_owned(),
                );
            }
        }
        let nodes = webpki(roots, provider)?;
        let people = match people {
            Some(people) => Some((webpki(people.roots.clone(), provider)?, people.field)),
            None => None,
        };
        let mut hints = nodes.root_hint_subjects().to_vec();
        if let Some((people, _)) = &people {
            hints.extend_from_slice(people.root_hint_subjects());
        }
        Ok(Self {
            nodes,
            people,
            hints,
        })
    }

    /// What a chain stands for.
    ///
    /// # Errors
    /// It does not count.
    pub(super) fn shown(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Shown, Error> {
        // Of the leaf alone, which our authority signs by itself: what is wrong with a certificate that somebody sends
        // along must not hide that the leaf is another authority's.
        let Err(refused) = self.nodes.verify_client_cert(leaf, &[], now) else {
            return Ok(Shown::Node(Arc::new(leaf.clone().into_owned())));
        };
        let is_strangers = matches!(
            refused,
            // Another root of the same name is found out by its signature, or by the kind of its key.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                    | CertificateError::BadSignature
                    | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            )
        );
        let Some((people, field)) = self.people.as_ref().filter(|_| is_strangers) else {
            return Err(refused);
        };
        people.verify_client_cert(leaf, between, now)?;
        match PersonCertificate::read(leaf, *field) {
            Ok(person) => Ok(Shown::Person(Arc::new(person))),
            Err(why) => Err(Error::InvalidCertificate(CertificateError::Other(
                OtherError(Arc::new(why)),
            ))),
        }
    }
}

fn webpki(
    roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.shown(end_entity, intermediates, now)
            .map(|_shown| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.supported_verify_schemes()
    }
}

/// Why a certificate was refused, as a word for the metric; none: the handshake failed of something else.
pub(super) fn why(error: &Error) -> Option<&'static str> {
    let Error::InvalidCertificate(error) = error else {
        return None;
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what else a later version finds wrong is no person's and no node's either"
    )]
    Some(match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown-authority",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "ended",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not-yet-valid"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            NoPerson::NoClientAuth.word()
        }
        CertificateError::Other(OtherError(other)) => other
            .downcast_ref::<NoPerson>()
            .map_or(NoPerson::Malformed.word(), |why| why.word()),
        _ => NoPerson::Malformed.word(),
    })
}

/// What a failed handshake says in the log.
pub(super) struct Told<'a>(pub(super) &'a Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = self.0 {
            return write!(f, "invalid peer certificate: {other}");
        }
        self.0.fmt(f)
    }
}
