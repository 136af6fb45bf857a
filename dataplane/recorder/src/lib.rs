//! Keeps the audit records of a node.
//!
//! Who judges or acts hands records to a [`Recorder`], which queues them in memory without waiting; one thread chains
//! them, writes them to segments, signs checkpoints and removes what is old. What a record is and how a chain is
//! verified is `audit`'s; what is recorded is decided by the roles.
#![forbid(unsafe_code)]

mod folder;
mod key;
mod lanes;
pub mod limits;
pub mod metrics;
mod reading;
mod recorder;
mod settings;
mod tail;
#[cfg(test)]
mod test_disk;
mod writer;

pub use recorder::{Recorder, StartError, Who};
pub use settings::{Settings, WhenUnwritable};
