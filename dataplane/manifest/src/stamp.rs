//! Which of two snapshots is the newer one.

use core::fmt;

/// When, in the life of a control plane, a snapshot was made. Later stamps are greater.
///
/// The epoch counts the lives: it rises when a control plane is restored from a backup and may give a
/// version away a second time. The version rises by one with every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "closed: two numbers, the epoch first"
)]
pub struct Stamp {
    /// Compared first.
    pub epoch: u64,
    /// Within its epoch.
    pub version: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of epoch {}", self.version, self.epoch)
    }
}

/// What is in force where a document arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "closed: what documents are held against"
)]
pub struct InForce {
    /// Its stamp.
    pub stamp: Stamp,
    /// The SHA-256 of its content.
    pub sha256: [u8; 32],
}
