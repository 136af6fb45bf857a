//! Recorded decisions held against rules: what of the rules is used, what is needed, and who would be hit by new ones.
//!
//! Lines of records go into a [`Ledger`], which keeps what is different about them and counts the rest. Every judgement
//! is the policy's own function's. Which files there are, and in which order, is the caller's knowledge.
#![forbid(unsafe_code)]

mod denied;
mod hits;
mod ledger;
pub mod limits;
mod needed;
mod suggest;

pub use adit_audit::{Asked, Broken, Defect, Seen, SeenRule};
pub use denied::{Wanted, wanted};
pub use hits::{Hit, Hits, hits};
pub use ledger::{Callers, Facts, Ledger};
pub use suggest::{Suggestion, Unused, suggest};
