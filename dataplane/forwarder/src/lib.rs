//! Brings audit records to collectors: syslog over TLS, OTLP over HTTP.
//!
//! What is kept anyway is the spool: a [`Source`] reads lines of a chain behind a place, and the place moves on when a
//! sink has them. At least once, in order, off the path of requests. Keeping records is the recorder's and the store's.
#![forbid(unsafe_code)]

mod dial;
mod folder;
mod forward;
mod forwarder;
pub mod limits;
pub mod metrics;
mod otlp;
mod otlp_link;
mod place;
mod settings;
mod status;
mod syslog;
mod syslog_link;
#[cfg(test)]
mod test_world;
mod tls;

pub use forward::forward;
pub use forwarder::{Forwarder, StartError};
pub use otlp::{Verdict, verdict};
pub use place::{Gap, Lines, Place, Source, Trouble};
pub use settings::{Problem, RawOtlp, RawSyslog, Sink};
pub use status::{Facts, Status, Who};
