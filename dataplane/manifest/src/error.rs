//! Why a document is not taken: a closed list.

use core::fmt;

use crate::keys::KeyId;
use crate::limits::{HEAD_BYTES_MAX, SIGNATURES_MAX};
use crate::stamp::Stamp;

/// Why a document is not taken. Nothing of it is in force then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: whoever counts refusals names them all"
)]
pub enum Refused {
    /// It does not begin as a document does.
    Unsigned,
    /// It is written in a later format.
    Format,
    /// This line of the manifest, counted from 1, is not what has to stand there.
    Line {
        /// Counted from 1.
        number: usize,
        /// What has to stand there.
        wanted: &'static str,
    },
    /// The manifest does not end within [`HEAD_BYTES_MAX`].
    Endless,
    /// More than [`SIGNATURES_MAX`] signatures.
    Signatures,
    /// None of its signatures is by a key that counts here.
    UnknownKey {
        /// By whom the first is.
        signed_by: KeyId,
    },
    /// The signature of a key that counts here does not match.
    BadSignature {
        /// Whose it claims to be.
        key: KeyId,
    },
    /// It is for somebody else.
    Audience {
        /// For whom.
        audience: String,
    },
    /// The content is not the one that was signed.
    Content,
    /// Something newer is in force.
    Older {
        /// What came.
        came: Stamp,
        /// What is in force.
        in_force: Stamp,
    },
    /// Something else is in force under the very same stamp.
    Forked {
        /// Of both.
        stamp: Stamp,
    },
}

impl Refused {
    /// The reason in one word, for counters and logs.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Format | Self::Line { .. } | Self::Endless | Self::Signatures => "manifest",
            Self::UnknownKey { .. } | Self::BadSignature { .. } => "signature",
            Self::Audience { .. } => "audience",
            Self::Content => "content",
            Self::Older { .. } => "older",
            Self::Forked { .. } => "forked",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("it is not signed: its first line is not `adit-manifest 1`"),
            Self::Format => f.write_str(
                "its manifest is of a later format than this program reads; update the program first",
            ),
            Self::Line { number, wanted } => {
                write!(f, "line {number} of its manifest is wrong: {wanted} has to stand there")
            }
            Self::Endless => write!(
                f,
                "its manifest does not end within {HEAD_BYTES_MAX} bytes with an empty line"
            ),
            Self::Signatures => write!(f, "it has more than {SIGNATURES_MAX} signatures"),
            Self::UnknownKey { signed_by } => write!(
                f,
                "it is signed by key {signed_by}, which is none of the keys that count here"
            ),
            Self::BadSignature { key } => write!(
                f,
                "its signature by key {key} does not match: it was altered, or not signed with that key"
            ),
            Self::Audience { audience } => write!(f, "it is for {audience}, which is not here"),
            Self::Content => f.write_str("its content is not what was signed: length or hash differ"),
            Self::Older { came, in_force } => {
                write!(f, "it is {came}, and {in_force} is in force, which is newer")
            }
            Self::Forked { stamp } => write!(
                f,
                "it calls itself {stamp}, which is in force here with another content: two control \
                 planes give the same versions away"
            ),
        }
    }
}

impl core::error::Error for Refused {}
