//! What can go wrong, told apart by what the caller does about it.

use std::fmt;

use crate::entry::Revision;
use crate::key::Key;
use crate::lease::LeaseId;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: a caller answers each in its own way"
)]
pub enum Error {
    /// A condition of the commit does not hold: read again and decide anew. Nothing was changed.
    Conflict {
        /// The key of the condition.
        key: Key,
        /// What the key has instead; `None` when it is absent.
        found: Option<Revision>,
    },
    /// Beyond a limit of this room: not even tried.
    TooLarge {
        /// What is too large.
        what: Excess,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// The lease has ended, and its keys with it: ask for a new one.
    LeaseLost {
        /// The lease.
        lease: LeaseId,
    },
    /// The changes asked for are forgotten: list, and watch from the list's revision.
    Compacted {
        /// The oldest revision after which changes can still be told.
        oldest: Revision,
    },
    /// No room: nothing was changed, and what is stored can be read. A person must make room.
    Full {
        /// Where.
        place: String,
        /// What the system says.
        why: String,
    },
    /// Not now: try again.
    Unavailable {
        /// Where.
        place: String,
        /// What the system says.
        why: String,
        /// What became of a commit.
        outcome: Outcome,
    },
    /// What is stored is whole, and in a form that only a newer version knows: nothing was changed. A person must start
    /// the newer version.
    Newer {
        /// Where.
        place: String,
        /// What this version does not know.
        why: String,
    },
    /// What is stored is not what was written: a person must restore a backup.
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong.
        why: String,
    },
}

/// What became of a commit that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: known or not")]
pub enum Outcome {
    /// It was not done and will not be.
    NotDone,
    /// It may have been done, or may yet be: read before trying again.
    Unknown,
}

/// What can be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// A value, in bytes.
    ValueBytes,
    /// All values of a commit, in bytes.
    TxnBytes,
    /// Puts and deletes of a commit.
    TxnChanges,
    /// Conditions of a commit.
    TxnConditions,
    /// The time of a lease, in seconds.
    LeaseSeconds,
    /// Leases at one time.
    Leases,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueBytes => "bytes of a value",
            Self::TxnBytes => "bytes of all values of a commit",
            Self::TxnChanges => "changes of a commit",
            Self::TxnConditions => "conditions of a commit",
            Self::LeaseSeconds => "seconds of a lease",
            Self::Leases => "leases",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict {
                key,
                found: Some(found),
            } => write!(
                f,
                "`{key}` was changed by somebody else and is at revision {found}; read it again"
            ),
            Self::Conflict { key, found: None } => {
                write!(f, "`{key}` is not there; read again what is")
            }
            Self::TooLarge { what, size, limit } => {
                write!(f, "{what}: {size} is above {limit}")
            }
            Self::LeaseLost { lease } => {
                write!(f, "lease {lease} has ended; ask for a new one")
            }
            Self::Compacted { oldest } => write!(
                f,
                "changes before revision {oldest} are forgotten; list, and watch from the list's revision"
            ),
            Self::Full { place, why } => write!(
                f,
                "{place}: {why}; nothing was changed, make room and try again"
            ),
            Self::Unavailable {
                place,
                why,
                outcome: Outcome::NotDone,
            } => write!(f, "{place}: {why}; nothing was changed, try again"),
            Self::Unavailable {
                place,
                why,
                outcome: Outcome::Unknown,
            } => write!(
                f,
                "{place}: {why}; the change may have been made, read before trying again"
            ),
            Self::Newer { place, why } => write!(
                f,
                "{place}: {why}; start the newer version of adit again, or restore a backup that this version made"
            ),
            Self::Corrupt { place, why } => {
                write!(f, "{place}: {why}; restore it from a backup")
            }
        }
    }
}

impl std::error::Error for Error {}
