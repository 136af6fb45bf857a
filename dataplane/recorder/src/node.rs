//! All of a node's audit, gateway or agent: what `[audit]` says, records kept and sent on, begun and ended in order.
//!
//! What is recorded is the role's knowledge. Keeping is the [`Recorder`]'s, sending on is the room `forwarder`'s.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use adit_audit::Sink;
use adit_forwarder::{Facts, Forwarder, Sink as Target};
use adit_runtime::settings::Section;

use crate::recorder::{Recorder, StartError, Who};
use crate::settings::Settings;
use crate::sinks;

/// What `[audit]` of a node says.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests write it out")]
pub struct AuditSettings {
    /// How records are kept.
    pub keeping: Settings,
    /// Where they are sent to.
    pub sinks: Vec<Target>,
}

impl AuditSettings {
    /// Reads the section; records are kept in `folder` unless it says otherwise.
    #[must_use]
    pub fn read(section: &Section<'_>, folder: PathBuf) -> Self {
        Self {
            keeping: Settings::read(section, folder),
            sinks: sinks::read(section),
        }
    }
}

/// The audit of a running node.
pub struct Audit {
    recorder: Arc<Recorder>,
    forwarder: Forwarder,
}

impl Audit {
    /// Begins to record, and to send on where there are sinks. `node` is its name, as in its certificate; `threads` is
    /// how many will hand records in.
    ///
    /// # Errors
    /// When the folder is another's or cannot be read, a file that a sink names cannot be used, or there is no thread.
    pub fn start(settings: AuditSettings, node: &str, threads: usize) -> Result<Self, StartError> {
        let software = concat!("aditd ", env!("CARGO_PKG_VERSION"));
        let who = Who {
            node: node.to_owned(),
            software: software.to_owned(),
        };
        let folder = settings.keeping.folder.clone();
        let recorder = Recorder::start(settings.keeping, &who, threads)?;
        let of = Arc::clone(&recorder);
        let who = adit_forwarder::Who::here(node.to_owned(), software.to_owned());
        let forwarder = Forwarder::start(settings.sinks, &folder, who, move || of.written())
            .map_err(|error| StartError(error.to_string()))?;
        Ok(Self {
            recorder,
            forwarder,
        })
    }

    /// Where records go.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::<Recorder>::clone(&self.recorder)
    }

    /// What the node's status says of its records.
    #[must_use]
    pub fn facts(&self) -> serde_json::Value {
        self.recorder.facts()
    }

    /// What the node's status says of each sink.
    #[must_use]
    pub fn sinks(&self) -> Vec<Facts> {
        self.forwarder.facts()
    }

    /// Writes what is queued and the signed stop, sends what is left for a moment, and ends the threads. Called again,
    /// it does nothing.
    pub fn stop(&self) {
        self.recorder.stop();
        self.forwarder.stop();
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("recorder", &self.recorder)
            .finish_non_exhaustive()
    }
}

/// Now, as records tell it.
#[must_use]
pub fn unix_ms() -> u64 {
    adit_runtime::clock::unix_micros() / 1000
}
