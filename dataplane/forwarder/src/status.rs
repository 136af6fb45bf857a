//! How far a sink is, for people; and who sends.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::limits::{TELL_AGAIN, TELL_APART};
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
    told: Mutex<Told>,
}

/// What the log has of it: an outage once and then now and then, however often it is tried.
#[derive(Debug, Default)]
struct Told {
    /// When an outage was told last, and whether it is the one that lasts.
    outage: Option<Instant>,
    is_this_one: bool,
    /// Tries that failed since.
    tries: u64,
    /// When refused records were told last, and how many came since.
    rejected_at: Option<Instant>,
    rejected: u64,
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
            told: Mutex::default(),
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
        facts.trouble = None;
    }

    /// Nothing is left to send, and nothing is wrong.
    pub(crate) fn well(&self) {
        self.facts.lock().trouble = None;
        self.taken();
    }

    /// The sink has some for certain.
    pub(crate) fn taken(&self) {
        let mut told = self.told.lock();
        if std::mem::take(&mut told.is_this_one) {
            tracing::info!(sink = self.sink, "audit records are taken again");
        }
    }

    pub(crate) fn rejected(&self, records: u64, words: &str, now: Instant) {
        if records == 0 {
            return;
        }
        let words = clean(words);
        metrics::rejected(self.sink, records);
        let mut told = self.told.lock();
        told.rejected = told.rejected.saturating_add(records);
        if is_due(told.rejected_at, now, TELL_APART) {
            told.rejected_at = Some(now);
            let records = std::mem::take(&mut told.rejected);
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

    pub(crate) fn failed(&self, why: &'static str, words: &str, now: Instant) {
        metrics::failed(self.sink, why);
        let words = clean(words);
        let mut facts = self.facts.lock();
        let mut told = self.told.lock();
        told.tries = told.tries.saturating_add(1);
        // That it goes on is in the facts and the counter.
        let apart = if told.is_this_one {
            TELL_AGAIN
        } else {
            TELL_APART
        };
        if is_due(told.outage, now, apart) {
            told.outage = Some(now);
            told.is_this_one = true;
            tracing::warn!(
                sink = self.sink,
                target = facts.target,
                why,
                words,
                tries = std::mem::take(&mut told.tries),
                lag_records = facts.lag_records,
                "audit records are not taken; tried again"
            );
        }
        facts.trouble = Some(words);
    }
}

/// Words of the other side as they go to logs, screens and stores: a certificate alone may have a thousand names.
pub(crate) fn clean(words: &str) -> String {
    words
        .chars()
        .filter(|letter| !letter.is_control())
        .take(WORDS_MAX)
        .collect()
}

/// Characters of what the other side says that are shown.
const WORDS_MAX: usize = 300;

fn is_due(last: Option<Instant>, now: Instant, apart: Duration) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= apart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::logged;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_and_after_tell_again_and_the_next_one_not_before_tell_apart() {
        let log = logged();
        let status = Status::of("otlp", "c".to_owned());
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let failed = |after| status.failed("dial", "nobody", begin + after);
        let count = |word| {
            log.lines()
                .iter()
                .filter(|line| line.contains(word))
                .count()
        };
        failed(Duration::ZERO);
        failed(TELL_AGAIN - second);
        assert_eq!(count("not taken"), 1);
        failed(TELL_AGAIN);
        assert_eq!(count("not taken"), 2);
        assert!(log.lines()[1].contains("tries=2"), "{:?}", log.lines());
        for _ in 0..3 {
            status.taken();
        }
        assert_eq!(count("taken again"), 1);
        failed(TELL_AGAIN + TELL_APART - second);
        status.taken();
        assert_eq!(log.lines().len(), 3, "an end that follows no beginning");
        failed(TELL_AGAIN + TELL_APART);
        assert_eq!(count("not taken"), 3);
    }

    #[test]
    fn words_of_the_other_side_are_told_without_orders_and_as_far_as_there_is_room() {
        let status = Status::of("syslog", "s".to_owned());
        let names = "a.example, ".repeat(1000);
        status.failed("tls", &format!("\u{1b}[2Jbad: {names}"), Instant::now());
        let trouble = status.facts().trouble.unwrap();
        assert!(trouble.starts_with("[2Jbad: a.example"), "{trouble}");
        assert_eq!(trouble.chars().count(), WORDS_MAX);
        status.well();
        assert_eq!(status.facts().trouble, None);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_records_are_told_tell_apart_from_each_other_and_none_is_left_out() {
        let log = logged();
        let status = Status::of("otlp", "c".to_owned());
        let begin = Instant::now();
        status.rejected(0, "", begin);
        assert!(log.lines().is_empty());
        status.rejected(2, "too long", begin);
        status.rejected(3, "too long", begin + TELL_APART - Duration::from_secs(1));
        assert_eq!(log.lines().len(), 1);
        status.rejected(4, "too long", begin + TELL_APART);
        assert!(log.lines()[1].contains("records=7"), "{:?}", log.lines());
    }
}
