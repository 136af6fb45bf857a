//! Keeps the audit records of a node.
//!
//! Who judges or acts hands records to a [`Recorder`], which queues them in memory without waiting; one thread chains
//! them, writes them to segments, signs checkpoints and removes what is old. What a record is and how a chain is
//! verified is `audit`'s; what is recorded is decided by the roles, which begin and end all of it as an [`Audit`].
#![forbid(unsafe_code)]

mod folder;
mod key;
mod lanes;
pub mod limits;
pub mod metrics;
mod node;
mod reading;
mod recorder;
mod settings;
mod sinks;
mod tail;
#[cfg(test)]
mod test_disk;
mod writer;

pub use node::{Audit, AuditSettings, unix_ms};
pub use recorder::{Recorder, StartError, Who};
pub use settings::{Settings, WhenUnwritable};
