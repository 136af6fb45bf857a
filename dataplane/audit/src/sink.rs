//! The seam between those who judge or act and those who keep records of it.

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::traffic::{Traffic, Wanted};

/// Takes records in. Called in the path of a request: it must not wait.
pub trait Sink: Send + Sync {
    /// Which decisions it wants; the others are not even put together.
    fn level(&self) -> Level;

    /// Takes one in.
    ///
    /// # Errors
    /// [`Unrecorded`] when it is lost, and what is not recorded shall not happen.
    fn record(&self, record: &Record<'_>) -> Result<(), Unrecorded>;

    /// Whether what begins now may not be recorded for good, and what is not recorded shall not happen.
    fn is_closed(&self) -> bool {
        false
    }

    /// What was decided, of the records that are kept. It reads files: not on a thread that serves.
    ///
    /// # Errors
    /// Why it cannot be told, for a person.
    fn traffic(&self, wanted: &Wanted) -> Result<Traffic, String> {
        let _ = wanted;
        Err("nobody keeps records here".to_owned())
    }
}

/// Which decisions are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: none, the denied ones, all"
)]
pub enum Level {
    /// None; other records are.
    Off,
    /// Denials.
    Denied,
    /// Denials and grants.
    All,
}

/// A record was lost, and what it told of must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Unrecorded;
