//! Records of decisions and acts, each carrying the hash of the one before.
//!
//! A [`Chain`] turns records into lines, a [`Verifier`] reads lines and says whether any was changed, taken out, put in
//! or moved. Nothing here has a file or a clock: who writes the lines, rotates and keeps them lives elsewhere.
#![forbid(unsafe_code)]

mod chain;
mod digest;
pub mod limits;
mod record;
mod text;
mod verify;

pub use chain::Chain;
pub use digest::{Digest, DigestError};
pub use record::{Act, Decision, Gap, Outcome, PushOutcome, Record, RulesPushed, Started, Stopped};
pub use text::Text;
pub use verify::{Broken, Defect, Summary, Verifier, verify};
