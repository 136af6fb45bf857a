//! Records of decisions and acts, each carrying the hash of the one before.
//!
//! A [`Chain`] turns records into lines, a [`Verifier`] reads lines and says whether any was changed, taken out, put in
//! or moved. Nothing here has a file or a clock: who writes the lines, rotates and keeps them lives elsewhere.
#![forbid(unsafe_code)]

mod ascii;
mod body;
mod chain;
mod digest;
mod gateway;
mod hex;
mod history;
mod keys;
pub mod limits;
mod record;
pub mod segment;
mod sink;
mod text;
mod traffic;
mod verify;

pub use body::{write_body, write_number};
pub use chain::Chain;
pub use digest::{Digest, DigestError};
pub use gateway::{Request, RequestOutcome, Tunnel, TunnelEvent};
pub use history::{Flaw, History};
pub use keys::{KeyError, KeyId, PublicKey, Signature, SigningKey};
pub use record::{
    Act, Checkpoint, Decision, Gap, Outcome, PushOutcome, Record, Recovered, RulesPushed,
    SegmentRemoved, Started, Stopped,
};
pub use sink::{Level, Sink, Unrecorded};
pub use text::Text;
pub use traffic::{Asked, Cursor, Seen, SeenRule, Tally, Traffic, Wanted};
pub use verify::{Broken, Defect, Numbered, Signed, Summary, Verifier, read_line, verify};
