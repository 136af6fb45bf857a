//! Who a peer is: the SPIFFE ID in the one URI name of its leaf certificate.
//!
//! Parsing is strict and has one accepted spelling for each identity, so that equal IDs are equal
//! strings. Whether the certificate is genuine is decided before, by rustls and webpki.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A SPIFFE ID of one of adit's three forms:
/// `spiffe://<trust-domain>/subaccount/<id>/agent/<name>`,
/// `spiffe://<trust-domain>/gateway/<name>` and `spiffe://<trust-domain>/control/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SpiffeId {
    /// Who vouches for the rest.
    pub trust_domain: String,
    /// What the peer is there.
    pub role: Role,
}

/// The part an identity plays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a tunnel has two ends; a further role must be looked at everywhere"
)]
pub enum Role {
    /// The on-premise end. It may serve this subaccount and no other.
    Agent {
        /// The subaccount whose requests it may serve.
        subaccount: String,
        /// Which agent of that subaccount.
        name: String,
    },
    /// The cloud end.
    Gateway {
        /// Which gateway.
        name: String,
    },
    /// A server of the control plane. It belongs at no end of a tunnel.
    Control {
        /// Which server.
        name: String,
    },
}

/// A role without its names: what one end expects the other to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "mirrors `Role`")]
pub enum RoleName {
    /// The on-premise end.
    Agent,
    /// The cloud end.
    Gateway,
    /// A server of the control plane.
    Control,
}

/// Whose key the handshake has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerIdentity {
    /// The leaf certificate as the peer sent it.
    pub leaf: CertificateDer<'static>,
    /// Whom it names.
    pub id: SpiffeId,
}

/// Why a genuine certificate names nobody, or not whom we may talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate is not X.509 or has something behind it.
    Malformed,
    /// Its subject alternative names hold `count` URIs; SPIFFE asks for exactly one.
    UriCount {
        /// URIs found.
        count: usize,
    },
    /// Its URI is not an ID of one of adit's forms. Carries what is wrong with it.
    NotAnId(&'static str),
    /// It names the other kind of peer than belongs at that end.
    WrongRole {
        /// What belongs there.
        expected: RoleName,
        /// Whom the certificate names.
        found: SpiffeId,
    },
    /// It belongs to another trust domain than we do.
    WrongTrustDomain {
        /// Ours.
        expected: String,
        /// Whom the certificate names.
        found: SpiffeId,
    },
}

impl SpiffeId {
    /// Reads an ID in its one accepted spelling.
    ///
    /// # Errors
    /// [`IdentityError::NotAnId`], saying what is wrong.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.len() > ID_BYTES_MAX {
            return Err(IdentityError::NotAnId("longer than 2048 bytes"));
        }
        let rest = text
            .strip_prefix("spiffe://")
            .ok_or(IdentityError::NotAnId("must begin with `spiffe://`"))?;
        let (trust_domain, path) = rest
            .split_once('/')
            .ok_or(IdentityError::NotAnId("has no path"))?;
        check_trust_domain(trust_domain)?;
        let mut segments = path.split('/');
        let mut next = || segments.next().map(check_segment).transpose();
        let role = match (next()?, next()?, next()?, next()?, next()?) {
            (Some("gateway"), Some(name), None, None, None) => Role::Gateway { name: name.into() },
            (Some("control"), Some(name), None, None, None) => Role::Control { name: name.into() },
            (Some("subaccount"), Some(subaccount), Some("agent"), Some(name), None) => {
                Role::Agent {
                    subaccount: subaccount.into(),
                    name: name.into(),
                }
            }
            _ => {
                return Err(IdentityError::NotAnId(
                    "path must be /subaccount/<id>/agent/<name>, /gateway/<name> or /control/<name>",
                ));
            }
        };
        Ok(Self {
            trust_domain: trust_domain.into(),
            role,
        })
    }

    /// Reads the ID of a certificate: its only URI name.
    ///
    /// # Errors
    /// Any [`IdentityError`] but the two about expectations.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (rest, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_cause: x509_parser::nom::Err<_>| IdentityError::Malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::Malformed);
        }
        let names = parsed
            .subject_alternative_name()
            .map_err(|_cause| IdentityError::Malformed)?;
        let mut uris = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            // A name the parser cannot read may be a second URI.
            if matches!(name, GeneralName::Invalid(..)) {
                return Err(IdentityError::Malformed);
            }
            if let GeneralName::URI(uri) = name {
                uris.push(*uri);
            }
        }
        //= SPIFFE X509-SVID, section 2
        //# An X.509 SVID MUST contain exactly one URI SAN
        match uris.as_slice() {
            [uri] => Self::parse(uri),
            uris => Err(IdentityError::UriCount { count: uris.len() }),
        }
    }

    /// The role without its names.
    #[must_use]
    pub fn role_name(&self) -> RoleName {
        match self.role {
            Role::Agent { .. } => RoleName::Agent,
            Role::Gateway { .. } => RoleName::Gateway,
            Role::Control { .. } => RoleName::Control,
        }
    }

    /// Checks that this is the kind of peer that belongs at the other end.
    ///
    /// # Errors
    /// [`IdentityError::WrongRole`].
    pub fn expect_role(&self, expected: RoleName) -> Result<(), IdentityError> {
        if self.role_name() == expected {
            Ok(())
        } else {
            Err(IdentityError::WrongRole {
                expected,
                found: self.clone(),
            })
        }
    }

    /// Checks that `expected` vouches for this ID.
    ///
    /// # Errors
    /// [`IdentityError::WrongTrustDomain`].
    pub fn expect_trust_domain(&self, expected: &str) -> Result<(), IdentityError> {
        if self.trust_domain == expected {
            Ok(())
        } else {
            Err(IdentityError::WrongTrustDomain {
                expected: expected.into(),
                found: self.clone(),
            })
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}", self.trust_domain)?;
        match &self.role {
            Role::Agent { subaccount, name } => write!(f, "/subaccount/{subaccount}/agent/{name}"),
            Role::Gateway { name } => write!(f, "/gateway/{name}"),
            Role::Control { name } => write!(f, "/control/{name}"),
        }
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::parse(text)
    }
}

impl PeerIdentity {
    /// Reads who the owner of `leaf` is. Says nothing about whether the certificate is genuine.
    pub(crate) fn from_leaf(leaf: CertificateDer<'static>) -> Result<Self, IdentityError> {
        let id = SpiffeId::from_certificate(&leaf)?;
        Ok(Self { leaf, id })
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Control => "control plane",
        })
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a well-formed x.509 certificate"),
            Self::UriCount { count } => write!(
                f,
                "subject alternative names hold {count} uris; exactly one spiffe id is needed"
            ),
            Self::NotAnId(why) => write!(f, "spiffe id: {why}"),
            Self::WrongRole { expected, found } => {
                write!(f, "names `{found}`; at that end belongs a {expected}")
            }
            Self::WrongTrustDomain { expected, found } => {
                write!(f, "names `{found}`; our trust domain is `{expected}`")
            }
        }
    }
}

impl std::error::Error for IdentityError {}

//= SPIFFE-ID, section 2.1
//# the trust domain name [...] MUST NOT be empty, be lowercase and consist of letters, numbers,
//# dots, dashes and underscores only
fn check_trust_domain(text: &str) -> Result<(), IdentityError> {
    if text.is_empty() || text.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(IdentityError::NotAnId(
            "trust domain must have 1 to 255 bytes",
        ));
    }
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    if !text.bytes().all(allowed) {
        return Err(IdentityError::NotAnId(
            "trust domain may hold a-z, 0-9, `.`, `-` and `_` only",
        ));
    }
    Ok(())
}

//= SPIFFE-ID, section 2.2
//# Path segments MUST NOT be empty, `.` or `..`, and consist of letters, numbers, dots, dashes and
//# underscores only; percent-encoding is not allowed
fn check_segment(text: &str) -> Result<&str, IdentityError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if matches!(text, "" | "." | "..") || !text.bytes().all(allowed) {
        return Err(IdentityError::NotAnId(
            "path segments may hold a-z, A-Z, 0-9, `.`, `-` and `_` only, and not be empty, `.` or `..`",
        ));
    }
    Ok(text)
}

/// Longest ID in bytes (SPIFFE-ID, section 2.3).
const ID_BYTES_MAX: usize = 2048;
/// Longest trust domain in bytes (SPIFFE-ID, section 2.1, after the host of a URI).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        matches!(SpiffeId::parse(text), Err(IdentityError::NotAnId(_)))
    }

    #[test]
    fn an_agent_is_read() {
        let id = SpiffeId::parse("spiffe://adit.example/subaccount/a1-B2/agent/berlin_1").unwrap();
        assert_eq!(id.trust_domain, "adit.example");
        assert_eq!(
            id.role,
            Role::Agent {
                subaccount: "a1-B2".into(),
                name: "berlin_1".into()
            }
        );
    }

    #[test]
    fn a_gateway_is_read() {
        let id = SpiffeId::parse("spiffe://adit.example/gateway/eu-1").unwrap();
        assert_eq!(
            id.role,
            Role::Gateway {
                name: "eu-1".into()
            }
        );
    }

    #[test]
    fn an_id_prints_as_it_was_read() {
        for text in [
            "spiffe://a/subaccount/b/agent/c",
            "spiffe://a.b-c_9/gateway/X.y",
            "spiffe://a/control/cp-1",
        ] {
            assert_eq!(SpiffeId::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "spiffe://",
            "spiffe:///gateway/g",
            "spiffe://d",
            "spiffe://d/",
            "spiffe://d/gateway",
            "spiffe://d/gateway/",
            "spiffe://d/gateway//g",
            "spiffe://d//gateway/g",
            "spiffe://d/gateway/g/",
            "spiffe://d/gateway/.",
            "spiffe://d/gateway/..",
            "spiffe://d/gateway/a%62",
            "spiffe://d/gateway/a b",
            "spiffe://d/gateway/g?x=1",
            "spiffe://d/gateway/g#f",
            "spiffe://d/gateway/g\0",
            "spiffe://d/gateway/g\n",
            "spiffe://d/gateway/ü",
            "spiffe://D/gateway/g",
            "spiffe://d:1/gateway/g",
            "spiffe://u@d/gateway/g",
            "SPIFFE://d/gateway/g",
            " spiffe://d/gateway/g",
            "https://d/gateway/g",
            "spiffe://d/Gateway/g",
            "spiffe://d/subaccount/s/agent",
            "spiffe://d/subaccount/s/agent/a/b",
            "spiffe://d/subaccount//agent/a",
            "spiffe://d/subaccount/s/gateway/a",
            "spiffe://d/agent/a",
            "spiffe://d/control",
            "spiffe://d/control/",
            "spiffe://d/control/a/b",
        ] {
            assert!(refused(text), "{text:?}");
        }
    }

    #[test]
    fn the_longest_id_passes_and_one_byte_more_does_not() {
        let fits = |length: usize| {
            let prefix = "spiffe://d/gateway/";
            format!("{prefix}{}", "g".repeat(length - prefix.len()))
        };
        assert!(SpiffeId::parse(&fits(2048)).is_ok());
        assert!(refused(&fits(2049)));
    }

    #[test]
    fn the_longest_trust_domain_passes_and_one_byte_more_does_not() {
        assert!(SpiffeId::parse(&format!("spiffe://{}/gateway/g", "d".repeat(255))).is_ok());
        assert!(refused(&format!("spiffe://{}/gateway/g", "d".repeat(256))));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_prints_as_it_was_read(text in ".{0,60}|spiffe://[a-z.]{1,5}/(gateway|subaccount/[a-zA-Z%.]{0,4}/agent)/[a-zA-Z0-9%./]{0,6}") {
            if let Ok(id) = SpiffeId::parse(&text) {
                proptest::prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn any_bytes_for_a_certificate_are_refused_without_panic(bytes: Vec<u8>) {
            proptest::prop_assert!(SpiffeId::from_certificate(&CertificateDer::from(bytes)).is_err());
        }
    }
}
