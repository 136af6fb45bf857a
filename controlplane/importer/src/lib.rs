//! Access control written for other programs, read as rules of adit: never more than was allowed there.
//!
//! Bytes of a document go in; a rule set and findings come out. What could not be said in adit's language, or said more
//! there than its words did, is a finding; nothing is dropped in silence. Reading and writing files is the caller's.
#![forbid(unsafe_code)]

mod finding;
mod json;
pub mod limits;
mod scc;

pub use finding::{Finding, Kind, Weight};
pub use scc::{Choice, Import, Unreadable, import};
