//! How far a sink is, for people; and who sends.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::metrics;

/// Whose records they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who starts it fills in all of it"
)]
pub struct Who {
    /// The node's name, as in its certificate; or the control plane's.
    pub node: String,
    /// The machine's name.
    pub host: String,
    /// Name and version of the program.
    pub software: String,
}

impl Who {
    /// Of a process on this machine.
    #[must_use]
    pub fn here(node: String, software: String) -> Self {
        let system = rustix::system::uname();
        Self {
            node,
            host: system.nodename().to_string_lossy().into_owned(),
            software,
        }
    }
}

/// What is told of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// `syslog` or `otlp`.
    pub sink: String,
    /// Where it is.
    pub target: String,
    /// The number of the last record that counts as delivered.
    pub delivered: u64,
    /// When it last took records, in seconds since 1970; 0 when it did not since the start.
    pub delivered_unix: u64,
    /// Records that it has not been sent.
    pub lag_records: u64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: u64,
    /// Records that were removed here before it had them, since the start.
    pub gap_records: u64,
    /// What was wrong at the last try; none when nothing was.
    pub trouble: Option<String>,
}

/// The facts of one sink, while it is worked on.
#[derive(Debug)]
pub struct Status {
    sink: &'static str,
    facts: Mutex<Facts>,
}

impl Status {
    /// Of a sink with which nothing was done yet.
    #[must_use]
    pub fn new(sink: &crate::Sink) -> Self {
        Self::of(sink.name(), sink.target())
    }

    pub(crate) fn of(sink: &'static str, target: String) -> Self {
        let facts = Facts {
            sink: sink.to_owned(),
            target,
            ..Facts::default()
        };
        Self {
            sink,
            facts: Mutex::new(facts),
        }
    }

    /// The facts now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.lock().clone()
    }

    pub(crate) fn delivered(&self, sequence: u64) {
        self.facts.lock().delivered = sequence;
    }

    pub(crate) fn sent(&self, records: u64, now_unix: u64) {
        metrics::sent(self.sink, records);
        let mut facts = self.facts.lock();
        facts.delivered_unix = now_unix;
        if facts.trouble.take().is_some() {
            tracing::info!(sink = self.sink, "audit records are taken again");
        }
    }

    pub(crate) fn rejected(&self, records: u64, words: &str) {
        if records > 0 {
            metrics::rejected(self.sink, records);
            tracing::warn!(
                sink = self.sink,
                records,
                words,
                "the collector refused audit records for good"
            );
        }
    }

    pub(crate) fn gap(&self, records: u64) {
        metrics::gap(self.sink, records);
        let mut facts = self.facts.lock();
        facts.gap_records = facts.gap_records.saturating_add(records);
    }

    pub(crate) fn lag(&self, records: u64, age: Duration) {
        metrics::lag(self.sink, records, age);
        let mut facts = self.facts.lock();
        facts.lag_records = records;
        facts.lag_seconds = age.as_secs();
    }

    pub(crate) fn failed(&self, why: &'static str, words: String) {
        metrics::failed(self.sink, why);
        let mut facts = self.facts.lock();
        // Once an outage: that it goes on is in the facts and the counter.
        if facts.trouble.is_none() {
            tracing::warn!(
                sink = self.sink,
                target = facts.target,
                why,
                words,
                "audit records are not taken; tried again"
            );
        }
        facts.trouble = Some(words);
    }
}
