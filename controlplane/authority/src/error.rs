//! What can go wrong here, by whose question it was.

use core::fmt;
use core::time::Duration;

use time::OffsetDateTime;

use crate::limits::{
    DNS_NAME_BYTES_MAX, LIFE_MAX, LIFE_MIN, PURPOSE_BYTES_MAX, REQUEST_BYTES_MAX, SERVER_NAMES_MAX,
};

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct NoRandomness;

/// Why a signing request is refused. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Longer than [`REQUEST_BYTES_MAX`].
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// Not exactly one PEM section `CERTIFICATE REQUEST`.
    NotPem,
    /// Not a request in DER, or with something behind it.
    Malformed,
    /// Its key is none that we certify, or its signature is not of that key's kind.
    Key,
    /// Its signature is not by its key.
    Signature,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueError {
    /// The request is refused; the peer's fault.
    Request(RequestError),
    /// The life asked for is not between [`LIFE_MIN`] and [`LIFE_MAX`], or ends beyond the calendar.
    Life {
        /// What was asked for.
        life: Duration,
    },
    /// The issuing root's own certificate has ended.
    Ended {
        /// When.
        not_after: OffsetDateTime,
    },
    /// More than [`SERVER_NAMES_MAX`] names for a server.
    Names {
        /// How many.
        number: usize,
    },
    /// Neither a DNS name nor an address.
    Name {
        /// The name.
        name: String,
    },
    /// No randomness.
    NoRandomness,
    /// The key did not sign. Carries what the signer says.
    Unsigned(String),
}

/// Why two texts are not a root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootError {
    /// The key is not a private key.
    Key,
    /// The certificate is not PEM. Carries why.
    Pem(String),
    /// The certificate is not usable X.509. Carries why.
    Certificate(String),
    /// It is the certificate of a leaf.
    NoAuthority,
    /// It names no trust domain.
    NoTrustDomain,
    /// Its trust domain is none.
    TrustDomain {
        /// What stands there.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key is that of another certificate.
    OtherKey,
}

/// Why a certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeafError {
    /// Not X.509, or with something behind it.
    Malformed,
    /// Not exactly one URI among its names.
    Names {
        /// URIs found.
        uris: usize,
    },
}

/// Why the proof of a node whose certificate has expired does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiredError {
    /// The certificate is too long, or not exactly one in PEM, or cannot be read.
    Certificate,
    /// No root of ours that still counts has signed it.
    Stranger,
    /// It is not valid yet.
    Early,
    /// It names no node of ours: an authority, a server of the control plane, another trust domain.
    Identity,
    /// The request is too long.
    TooLong,
    /// The signature over the request is not by the certificate's key.
    Signature,
}

/// Why sealed bytes stay closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// They do not begin as sealed bytes do, or are cut off.
    NotSealed,
    /// A later version has sealed them.
    Version {
        /// Which.
        version: u8,
    },
    /// They ask for more than we give to make a key of a passphrase, or for what cannot be.
    Costs {
        /// Memory, in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes of it.
        lanes: u32,
    },
    /// They were sealed for something else.
    Purpose {
        /// For what.
        found: String,
    },
    /// They were sealed with a passphrase and a key was given, or the other way round.
    KindOfKey {
        /// Whether they need a passphrase.
        passphrase: bool,
    },
    /// The key or passphrase is another one, or the bytes were altered.
    Key,
    /// What was sealed is not what it should be. Carries what is wrong.
    Content(String),
    /// The purpose that was asked for is longer than [`PURPOSE_BYTES_MAX`]. Our fault.
    LongPurpose,
    /// No randomness, when sealing.
    NoRandomness,
}

/// Why a step of a change of roots or keys is not the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RollError {
    /// There is no second one.
    NotBegun,
    /// The new one must take over first.
    NotSwitched,
    /// The old one must go first.
    NotFinished,
    /// The new one could not be made.
    Made(IssueError),
}

/// Why a text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a secret: nothing of it is told")]
pub struct InvitationError;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gave no random bytes")
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "signing request: {bytes} bytes; the most is {REQUEST_BYTES_MAX}"
            ),
            Self::NotPem => {
                f.write_str("signing request: not exactly one pem section CERTIFICATE REQUEST")
            }
            Self::Malformed => f.write_str("signing request: not one in der (RFC 2986)"),
            Self::Key => f.write_str(
                "signing request: the key must be ecdsa on P-256 or P-384, or Ed25519, and have signed the request",
            ),
            Self::Signature => f.write_str("signing request: not signed by its own key"),
        }
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(cause) => cause.fmt(f),
            Self::Life { life } => write!(
                f,
                "a certificate's life of {} s: it must be between {} s and {} s, and end before the year 10000",
                life.as_secs(),
                LIFE_MIN.as_secs(),
                LIFE_MAX.as_secs()
            ),
            Self::Ended { not_after } => {
                write!(
                    f,
                    "the authority's certificate ended on {}",
                    not_after.date()
                )
            }
            Self::Names { number } => write!(
                f,
                "{number} names for a server; the most is {SERVER_NAMES_MAX}"
            ),
            Self::Name { name } => write!(
                f,
                "{name:?} is neither an address nor a dns name of at most {DNS_NAME_BYTES_MAX} letters, digits, \
                 dashes and dots"
            ),
            Self::NoRandomness => NoRandomness.fmt(f),
            Self::Unsigned(why) => write!(f, "the authority's key did not sign: {why}"),
        }
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("not a private key"),
            Self::Pem(why) => write!(f, "not a PEM certificate: {why}"),
            Self::Certificate(why) => write!(f, "not an X.509 certificate: {why}"),
            Self::NoAuthority => {
                f.write_str("not the certificate of an authority (no CA basic constraint)")
            }
            Self::NoTrustDomain => {
                f.write_str("not an adit authority: it names no trust domain (URI spiffe://...)")
            }
            Self::TrustDomain { found, why } => write!(f, "trust domain {found:?}: {why}"),
            Self::OtherKey => f.write_str("the key is the key of another certificate"),
        }
    }
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a well-formed certificate"),
            Self::Names { uris } => write!(
                f,
                "the certificate names {uris} uris; exactly one spiffe id is needed"
            ),
        }
    }
}

impl fmt::Display for ExpiredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "expired certificate: not exactly one that can be read",
            Self::Stranger => "expired certificate: signed by none of our roots",
            Self::Early => "expired certificate: not valid yet",
            Self::Identity => "expired certificate: names no node of ours",
            Self::TooLong => "the signing request is too long",
            Self::Signature => {
                "the signature over the signing request is not by the expired certificate's key"
            }
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSealed => f.write_str("not sealed by adit, or cut off"),
            Self::Version { version } => write!(
                f,
                "sealed by a later version of adit (format {version}); use that one"
            ),
            Self::Costs {
                memory_kib,
                passes,
                lanes,
            } => write!(
                f,
                "asks for {memory_kib} KiB, {passes} passes and {lanes} lanes to make its key, which is more than is \
                 given or less than is possible"
            ),
            Self::Purpose { found } => write!(f, "sealed for another purpose: {found:?}"),
            Self::KindOfKey { passphrase: true } => {
                f.write_str("sealed with a passphrase, and a key was given")
            }
            Self::KindOfKey { passphrase: false } => {
                f.write_str("sealed with a key, and a passphrase was given")
            }
            Self::Key => {
                f.write_str("the key or passphrase is another one, or the bytes were altered")
            }
            Self::Content(why) => write!(f, "what was sealed cannot be used: {why}"),
            Self::LongPurpose => write!(f, "a purpose has at most {PURPOSE_BYTES_MAX} bytes"),
            Self::NoRandomness => NoRandomness.fmt(f),
        }
    }
}

impl fmt::Display for RollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("no change is under way; begin one first"),
            Self::NotSwitched => f.write_str("the new one is not in use yet; switch first"),
            Self::NotFinished => f.write_str("the old one still counts; finish that change first"),
            Self::Made(cause) => cause.fmt(f),
        }
    }
}

impl fmt::Display for InvitationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an invitation: it has the form adit1.<43 characters>.<64 hexadecimal digits>",
        )
    }
}

impl core::error::Error for NoRandomness {}
impl core::error::Error for RequestError {}
impl core::error::Error for IssueError {}
impl core::error::Error for RootError {}
impl core::error::Error for LeafError {}
impl core::error::Error for ExpiredError {}
impl core::error::Error for OpenError {}
impl core::error::Error for RollError {}
impl core::error::Error for InvitationError {}

impl From<NoRandomness> for IssueError {
    fn from(_nothing: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl From<NoRandomness> for OpenError {
    fn from(_nothing: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

impl From<RequestError> for IssueError {
    fn from(cause: RequestError) -> Self {
        Self::Request(cause)
    }
}

impl From<IssueError> for RollError {
    fn from(cause: IssueError) -> Self {
        Self::Made(cause)
    }
}

impl From<NoRandomness> for RollError {
    fn from(_nothing: NoRandomness) -> Self {
        Self::Made(IssueError::NoRandomness)
    }
}
