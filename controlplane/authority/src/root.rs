//! A root: an authority's certificate with its key, and the certificates it signs.
//!
//! Everything it knows about itself stands in its certificate, the trust domain too. Which root of several signs is left
//! to `authority`, files to whoever calls.

use core::fmt;
use core::time::Duration;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use crate::error::{IssueError, NoRandomness, RootError};
use crate::identity::{Identity, TrustDomain};
use crate::issue::Issued;
use crate::leaf::{hex, hex_number, seconds};
use crate::limits::{DNS_NAME_BYTES_MAX, LIFE_MAX, LIFE_MIN, SERVER_NAMES_MAX};

/// How far back a certificate's life begins, at most: peers whose clocks are late accept it at once. A short life is
/// backdated by a quarter of itself, so that half of it is over only when most of it was used.
const BACKDATED_MAX: Duration = Duration::from_secs(3_600);

/// A certificate that others trust, and its key. ECDSA P-256.
pub struct Root {
    // A key behind PKCS#11 would be another `rcgen::SigningKey` here; see `Issue` for the other seam.
    issuer: Issuer<'static, KeyPair>,
    trust_domain: TrustDomain,
    not_after: OffsetDateTime,
    pem: String,
    der: Vec<u8>,
    pin: String,
}

/// What a leaf may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    /// Tunnels only: agents dial, gateways accept.
    Tunnels,
    /// The control plane too: every node dials it.
    ControlPlane,
}

impl Root {
    /// Makes a root that may sign leaves and no further authority.
    ///
    /// # Errors
    /// [`IssueError::Life`], or no randomness.
    pub fn new(
        trust_domain: &TrustDomain,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        let key = new_key()?;
        let (not_before, not_after) = validity(life, now)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("adit authority of {trust_domain}"));
        // SPIFFE X509-SVID, section 3: a signing certificate may carry the ID of its trust domain.
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(new_serial()?);
        params.not_before = not_before;
        params.not_after = not_after;
        let signed = params.self_signed(&key).map_err(unsigned)?;
        let pin = pin(&key);
        let issuer = Issuer::from_ca_cert_der(signed.der(), key).map_err(unsigned)?;
        Ok(Self {
            issuer,
            trust_domain: trust_domain.clone(),
            not_after,
            pem: signed.pem(),
            der: signed.der().to_vec(),
            pin,
        })
    }

    /// From the two texts of [`certificate_pem`](Self::certificate_pem) and [`key_pem`](Self::key_pem).
    ///
    /// # Errors
    /// [`RootError`], saying which of them is what.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, RootError> {
        let key = KeyPair::from_pem(key).map_err(|_what_it_says_may_be_secret| RootError::Key)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|cause| RootError::Pem(cause.to_string()))?;
        let facts = facts(&der)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(RootError::OtherKey);
        }
        let pin = pin(&key);
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|cause| RootError::Certificate(cause.to_string()))?;
        Ok(Self {
            issuer,
            trust_domain: facts.trust_domain,
            not_after: facts.not_after,
            pem: certificate.to_owned(),
            der: der.to_vec(),
            pin,
        })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Its key, PEM (PKCS#8). A secret: who has it can be any node.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The first part of every identity it vouches for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The end of its own certificate; nothing it issues lives longer.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// SHA-256 of its SubjectPublicKeyInfo in DER, 64 hexadecimal digits.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// Makes a node's key and its certificate for tunnels; gives back the certificate and the key, PEM. For nodes whose
    /// files somebody carries; a node that can ask makes its key itself.
    ///
    /// # Errors
    /// [`IssueError::Life`], [`IssueError::Ended`], or no randomness.
    pub fn issue_with_key(
        &self,
        identity: &Identity,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<(Issued, String), IssueError> {
        let key = new_key()?;
        let issued = self.certify(&key, identity, &[], Uses::Tunnels, life, now)?;
        Ok((issued, key.serialize_pem()))
    }

    /// [`issue_with_key`](Self::issue_with_key) for a server with names of its own.
    pub(crate) fn issue_server(
        &self,
        identity: &Identity,
        names: &[String],
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<(Issued, String), IssueError> {
        let names = server_names(names)?;
        let key = new_key()?;
        let issued = self.certify(&key, identity, &names, Uses::ControlPlane, life, now)?;
        Ok((issued, key.serialize_pem()))
    }

    /// Signs a leaf over `key`.
    pub(crate) fn certify(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        names: &[SanType],
        uses: Uses,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Issued, IssueError> {
        if now >= self.not_after {
            return Err(IssueError::Ended {
                not_after: self.not_after,
            });
        }
        let spiffe_id = identity.spiffe_id(&self.trust_domain);
        let serial = new_serial()?;
        let (not_before, not_after) = validity(life, now)?;
        let not_after = not_after.min(self.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(identity.name().as_str());
        params.subject_alt_names = vec![uri(&spiffe_id)?];
        params.subject_alt_names.extend_from_slice(names);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes(identity, uses);
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial.clone());
        params.not_before = not_before;
        params.not_after = not_after;
        let signed = params.signed_by(key, &self.issuer).map_err(unsigned)?;
        Ok(Issued {
            certificate_pem: signed.pem(),
            serial: hex_number(serial.as_ref()),
            not_after_unix_s: seconds(not_after.unix_timestamp()),
            spiffe_id,
        })
    }

    /// Its certificate, DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// What a leaf says it is for. In a tunnel the agent dials and the gateway accepts, never the other way round; towards
/// the control plane both dial.
fn purposes(identity: &Identity, uses: Uses) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match (identity, uses) {
        (Identity::Agent { .. }, _) => vec![ClientAuth],
        (Identity::Gateway { .. }, Uses::ControlPlane) => vec![ServerAuth, ClientAuth],
        (Identity::Gateway { .. }, Uses::Tunnels) | (Identity::Control { .. }, _) => {
            vec![ServerAuth]
        }
    }
}

impl fmt::Debug for Root {
    /// Says which; the key is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({}, {})", self.trust_domain, self.pin)
    }
}

/// What an authority's certificate says about itself.
struct Facts {
    trust_domain: TrustDomain,
    not_after: OffsetDateTime,
    public_key: Vec<u8>,
}

fn facts(der: &[u8]) -> Result<Facts, RootError> {
    let certificate =
        crate::leaf::certificate(der).map_err(|cause| RootError::Certificate(cause.to_string()))?;
    if !certificate.is_ca() {
        return Err(RootError::NoAuthority);
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|cause| RootError::Certificate(cause.to_string()))?;
    let trust_domain = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .find_map(|name| {
            if let GeneralName::URI(uri) = name {
                uri.strip_prefix("spiffe://")
            } else {
                None
            }
        })
        .ok_or(RootError::NoTrustDomain)?;
    Ok(Facts {
        trust_domain: trust_domain.parse().map_err(|why| RootError::TrustDomain {
            found: trust_domain.to_owned(),
            why,
        })?,
        not_after: certificate.validity().not_after.to_datetime(),
        public_key: certificate.public_key().raw.to_vec(),
    })
}

/// First and last second of a certificate that lives for `life` from `now` on.
fn validity(
    life: Duration,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    if !(LIFE_MIN..=LIFE_MAX).contains(&life) {
        return Err(IssueError::Life { life });
    }
    // X.509 has whole seconds.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let wide = |part: Duration| time::Duration::try_from(part).ok();
    let not_before =
        wide((life / 4).min(BACKDATED_MAX)).and_then(|backdated| now.checked_sub(backdated));
    let not_after = wide(life).and_then(|life| now.checked_add(life));
    not_before.zip(not_after).ok_or(IssueError::Life { life })
}

fn server_names(names: &[String]) -> Result<Vec<SanType>, IssueError> {
    if names.len() > SERVER_NAMES_MAX {
        return Err(IssueError::Names {
            number: names.len(),
        });
    }
    names.iter().map(|name| server_name(name)).collect()
}

fn server_name(name: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || IssueError::Name {
        name: name.chars().take(DNS_NAME_BYTES_MAX).collect(),
    };
    //= RFC 1034, section 3.5
    //# They must start with a letter, end with a letter or digit, and have as interior characters only letters,
    //# digits, and hyphen. (RFC 1123, section 2.1 lets a digit begin.)
    let letter = |byte: &u8| byte.is_ascii_alphanumeric();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.first().is_some_and(letter)
            && bytes.last().is_some_and(letter)
            && bytes.iter().all(|byte| letter(byte) || *byte == b'-')
    };
    if name.len() > DNS_NAME_BYTES_MAX || !name.split('.').all(label) {
        return Err(refused());
    }
    let name = name.to_ascii_lowercase();
    name.try_into()
        .map(SanType::DnsName)
        .map_err(|_not_ascii: rcgen::Error| refused())
}

fn new_key() -> Result<KeyPair, NoRandomness> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_nothing_else_can_fail| NoRandomness)
}

/// A positive number of 128 bits, two of which are fixed so that it always has this length.
fn new_serial() -> Result<SerialNumber, NoRandomness> {
    let mut bytes = random::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_unspecified| NoRandomness)?;
    Ok(bytes)
}

fn pin(key: &KeyPair) -> String {
    hex(digest(&SHA256, &key.subject_public_key_info()).as_ref())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn uri(text: &str) -> Result<SanType, IssueError> {
    text.try_into().map(SanType::URI).map_err(unsigned)
}

fn unsigned(cause: rcgen::Error) -> IssueError {
    IssueError::Unsigned(cause.to_string())
}
