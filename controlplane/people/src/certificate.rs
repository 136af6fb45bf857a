//! People who show a client certificate: whom it names, and what that user may do.
//!
//! Whether the certificate is genuine, and of which authority, is told by the handshake before; keeping users is left to
//! the server. A certificate names a user of the register and brings no role of its own.

use core::fmt;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::principal::{How, Principal};
use crate::user::{User, UserName};

/// Which part of a certificate is the user's name. It is compared byte for byte, so it is in lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: settings name one of them")]
pub enum NameField {
    /// The subject's one common name. The default.
    #[default]
    CommonName,
    /// The one mail address among the alternative names (RFC 5280, section 4.2.1.6).
    Email,
}

/// A person's certificate, as far as it counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonCertificate {
    /// Whom it names.
    pub user: UserName,
    /// SHA-256 of the whole certificate, 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Its last second, in unix seconds.
    pub not_after_unix_s: u64,
}

/// Why a certificate is no person's. Its text is for the log: it repeats nothing of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPerson {
    /// It is not X.509, or has a part twice.
    Malformed,
    /// It is not said to be for authenticating clients.
    NoClientAuth,
    /// It has a SPIFFE ID, as nodes have.
    NodeName,
    /// The field is absent, there more than once, or can be no user's name.
    Name(NameField),
}

/// A certificate that is given as an authority is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct NoAuthority;

impl PersonCertificate {
    /// Reads a certificate whose chain has been verified.
    ///
    /// # Errors
    /// The first reason for which it is no person's.
    pub fn read(der: &[u8], field: NameField) -> Result<Self, NoPerson> {
        let certificate = certificate(der).ok_or(NoPerson::Malformed)?;
        // RFC 5280 takes an absent extension for any use; here it has to be said.
        let is_for_clients = certificate
            .extended_key_usage()
            .map_err(|_twice_or_damaged| NoPerson::Malformed)?
            .is_some_and(|usage| usage.value.client_auth);
        if !is_for_clients {
            return Err(NoPerson::NoClientAuth);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_twice_or_damaged| NoPerson::Malformed)?;
        let mut emails = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            if let GeneralName::Invalid(..) = name {
                // A name that cannot be read may be any.
                return Err(NoPerson::Malformed);
            } else if let GeneralName::URI(uri) = name
                && is_spiffe(uri)
            {
                return Err(NoPerson::NodeName);
            } else if let GeneralName::RFC822Name(email) = name {
                emails.push(Some(*email));
            }
        }
        let found = match field {
            NameField::CommonName => certificate
                .subject()
                .iter_common_name()
                .map(|name| name.as_str().ok())
                .collect(),
            NameField::Email => emails,
        };
        let [Some(name)] = found.as_slice() else {
            return Err(NoPerson::Name(field));
        };
        let user = name
            .parse()
            .map_err(|_bad_user_name| NoPerson::Name(field))?;
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self {
            user,
            fingerprint: hex(digest(&SHA256, der).as_ref()),
            not_after_unix_s: u64::try_from(not_after).unwrap_or(0),
        })
    }

    /// Whether its last second has passed.
    #[must_use]
    pub const fn has_ended(&self, unix_now: u64) -> bool {
        self.not_after_unix_s < unix_now
    }

    /// Who it is, with what `user` holds now. `None` when it has ended, names somebody else, or the user has a password
    /// or is disabled.
    #[must_use]
    pub fn principal(&self, user: &User, unix_now: u64) -> Option<Principal> {
        // Whoever runs the people's authority could else become anybody who is known by a password.
        let counts =
            self.user == user.name && user.comes_by_certificate() && !self.has_ended(unix_now);
        let owner = user.principal().filter(|_| counts)?;
        Some(Principal {
            how: How::Certificate {
                fingerprint: self.fingerprint.clone(),
            },
            ..owner
        })
    }
}

/// SHA-256 of the public key (SubjectPublicKeyInfo, DER) of an authority's certificate: two with the same sign the same.
///
/// # Errors
/// It is no certificate, or not of an authority (RFC 5280, section 4.2.1.9).
pub fn authority_key(der: &[u8]) -> Result<[u8; 32], NoAuthority> {
    let certificate = certificate(der).ok_or(NoAuthority)?;
    let is_authority = certificate
        .basic_constraints()
        .map_err(|_twice_or_damaged| NoAuthority)?
        .is_some_and(|constraints| constraints.value.ca);
    if !is_authority {
        return Err(NoAuthority);
    }
    digest(&SHA256, certificate.public_key().raw)
        .as_ref()
        .try_into()
        .map_err(|_length| NoAuthority)
}

/// The certificate that `der` is, with nothing behind it.
fn certificate(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok((&[], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// Of whatever trust domain, and however the scheme is written (RFC 3986, section 3.1).
fn is_spiffe(uri: &str) -> bool {
    uri.split_once(':')
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A String takes everything.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

impl NameField {
    /// Its name in settings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CommonName => "common-name",
            Self::Email => "email",
        }
    }
}

impl NoPerson {
    /// One word for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoClientAuth => "no-client-auth",
            Self::NodeName => "node-name",
            Self::Name(_) => "name",
        }
    }
}

impl fmt::Display for NoPerson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is damaged, or has a part twice"),
            Self::NoClientAuth => f.write_str(
                "its extended key usage does not name clientAuth; have it issued with that",
            ),
            Self::NodeName => f.write_str(
                "it has a SPIFFE ID, which nodes have; have a person's issued without one",
            ),
            Self::Name(field) => write!(
                f,
                "it has not one {} that can be a user's name: lower-case letters, digits, and `.`, `_`, `@`, `+`, `-` \
                 between them",
                field.word()
            ),
        }
    }
}

impl core::error::Error for NoPerson {}

impl fmt::Display for NoAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no certificate of an authority: basicConstraints with CA:TRUE is missing")
    }
}

impl core::error::Error for NoAuthority {}
