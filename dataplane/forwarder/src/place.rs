//! Lines of a chain on their way: behind which place they stand, and what is missing before them.
//!
//! Quiet: who reads them from where is a [`Source`]'s.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use adit_audit::{Digest, Outcome, PushOutcome, Record, RequestOutcome, read_line};
use serde::{Deserialize, Serialize};

use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

/// Behind which line of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Place {
    /// The number of that record; 0 before the first.
    pub sequence: u64,
    /// The digest of that line.
    pub last: Digest,
    // Where a folder has what follows, if it is known.
    #[serde(skip)]
    pub(crate) hint: Option<Hint>,
    // Whatever line has the next number follows: the chain is broken here.
    #[serde(skip)]
    pub(crate) is_break: bool,
}

/// A byte of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Place {
    /// Before the first record of a chain.
    pub const START: Self = Self {
        sequence: 0,
        last: Digest::ZERO,
        hint: None,
        is_break: false,
    };

    /// Before this line, whatever stood there; `None` when it is no line of a chain.
    #[must_use]
    pub fn before(line: &[u8]) -> Option<Self> {
        let line = read_line(line).ok()?;
        Some(Self {
            sequence: line.sequence.checked_sub(1)?,
            last: line.previous,
            hint: None,
            is_break: false,
        })
    }
}

/// Reads lines, and keeps how far a sink has come.
pub trait Source: Send {
    /// How often to look for more when there were none.
    const LOOK_EVERY: Duration;

    /// How far the sink had come; `None` when nothing is known of it.
    fn load(&mut self) -> impl Future<Output = Result<Option<Place>, Trouble>> + Send;

    /// Before the oldest line there is.
    fn oldest(&mut self) -> impl Future<Output = Result<Place, Trouble>> + Send;

    /// The lines behind `after`, as many as a batch takes; none when there are none.
    fn read(&mut self, after: &Place) -> impl Future<Output = Result<Lines, Trouble>> + Send;

    /// Keeps how far the sink has come.
    fn keep(&mut self, place: &Place) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Why there are no lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: try again or begin anew")]
pub enum Trouble {
    /// What is here is not the chain that was sent up to the place: it was replaced, or put back from a copy.
    OtherChain,
    /// It cannot be read or written now.
    Unreadable(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChain => f.write_str("the records here do not follow those that were sent"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// Records that were removed before they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Gap {
    /// The number of the first.
    pub from: u64,
    /// The number of the last.
    pub to: u64,
}

impl Gap {
    /// How many.
    pub(crate) fn records(self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// A batch: lines that follow one another.
#[derive(Clone, Debug)]
pub struct Lines {
    gap: Option<Gap>,
    /// The number of the last record there is.
    head: u64,
    bytes: Vec<u8>,
    items: Vec<Item>,
    end: Place,
}

/// One line of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    range: Range<usize>,
    pub(crate) sequence: u64,
    pub(crate) unix_ms: u64,
    /// What is recorded, as the key `record` has it.
    pub(crate) kind: &'static str,
    pub(crate) severity: Severity,
}

/// How much a record wants to be looked at, by the numbers of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Warning,
    Notice,
    Info,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the batch.
    Taken,
    /// It stands before the place, or is none.
    Passed,
    /// It is for the next batch.
    Full,
}

impl Lines {
    /// Nothing yet, behind `after`, of a chain whose last record has the number `head`.
    ///
    /// # Errors
    /// [`Trouble::OtherChain`] when that is before `after`.
    pub fn behind(after: &Place, head: u64) -> Result<Self, Trouble> {
        if head < after.sequence {
            return Err(Trouble::OtherChain);
        }
        Ok(Self {
            gap: None,
            head,
            bytes: Vec::new(),
            items: Vec::new(),
            end: *after,
        })
    }

    /// Takes the next line there is; `false` when the batch is full.
    ///
    /// # Errors
    /// [`Trouble::OtherChain`] when it follows another line than the one at the place.
    pub fn push(&mut self, line: &[u8]) -> Result<bool, Trouble> {
        self.push_from(line, None)
            .map(|pushed| pushed != Pushed::Full)
    }

    /// As [`push`](Self::push); behind it stands `next`.
    pub(crate) fn push_from(&mut self, line: &[u8], next: Option<Hint>) -> Result<Pushed, Trouble> {
        if self.items.len() >= BATCH_RECORDS_MAX || self.bytes.len() >= BATCH_BYTES_MAX {
            return Ok(Pushed::Full);
        }
        let Ok(read) = read_line(line) else {
            // A line that rotted. It shows as a gap before the next one, at the beginning of a batch.
            return Ok(if self.items.is_empty() {
                Pushed::Passed
            } else {
                Pushed::Full
            });
        };
        let follows = self.end.sequence.saturating_add(1);
        if read.sequence < follows {
            return Ok(Pushed::Passed);
        }
        if read.sequence > self.head {
            return Ok(Pushed::Full);
        }
        if read.sequence > follows {
            if !self.items.is_empty() {
                return Ok(Pushed::Full);
            }
            self.gap = Some(Gap {
                from: follows,
                to: read.sequence - 1,
            });
        } else if read.previous != self.end.last && !self.end.is_break {
            // What stands before the break goes out first.
            if !self.items.is_empty() {
                return Ok(Pushed::Full);
            }
            return Err(Trouble::OtherChain);
        }
        let start = self.bytes.len();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        self.bytes.extend_from_slice(text);
        self.end = Place {
            sequence: read.sequence,
            last: Digest::of(line),
            hint: next,
            is_break: false,
        };
        let (kind, severity) = told(&read.record);
        self.items.push(Item {
            range: start..self.bytes.len(),
            sequence: read.sequence,
            unix_ms: read.record.unix_ms(),
            kind,
            severity,
        });
        Ok(Pushed::Taken)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// What is missing before the first of them.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// Behind the last of them.
    #[must_use]
    pub fn end(&self) -> Place {
        self.end
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn first_unix_ms(&self) -> Option<u64> {
        self.items.first().map(|item| item.unix_ms)
    }

    /// The line itself, without its line feed.
    pub(crate) fn text(&self, item: &Item) -> &[u8] {
        self.bytes.get(item.range.clone()).unwrap_or_default()
    }
}

impl Severity {
    /// RFC 5424, section 6.2.1, table 2.
    pub(crate) fn syslog(self) -> u8 {
        match self {
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
        }
    }

    /// OpenTelemetry logs data model, "SeverityNumber" and its table for syslog; and the word for people.
    pub(crate) fn otlp(self) -> (u8, &'static str) {
        match self {
            Self::Warning => (13, "WARN"),
            Self::Notice => (10, "INFO2"),
            Self::Info => (9, "INFO"),
        }
    }
}

fn told(record: &Record<'_>) -> (&'static str, Severity) {
    match record {
        Record::Started(_) => ("started", Severity::Notice),
        Record::Decision(decision) => match decision.outcome {
            Outcome::Allowed { .. } => ("decision", Severity::Info),
            Outcome::Denied { .. } => ("decision", Severity::Notice),
        },
        Record::Request(request) => match request.outcome {
            RequestOutcome::Passed { .. } | RequestOutcome::BrokenOff => {
                ("request", Severity::Info)
            }
            RequestOutcome::Refused { .. } | RequestOutcome::RefusedByAgent { .. } => {
                ("request", Severity::Notice)
            }
        },
        Record::Tunnel(_) => ("tunnel", Severity::Notice),
        Record::RulesPushed(pushed) => match pushed.outcome {
            PushOutcome::InForce => ("rules-pushed", Severity::Notice),
            PushOutcome::Refused { .. } => ("rules-pushed", Severity::Warning),
        },
        Record::Act(_) => ("act", Severity::Notice),
        Record::Gap(_) => ("gap", Severity::Warning),
        Record::Recovered(_) => ("recovered", Severity::Warning),
        Record::Checkpoint(_) => ("checkpoint", Severity::Info),
        Record::SegmentRemoved(_) => ("segment-removed", Severity::Notice),
        Record::Stopped(_) => ("stopped", Severity::Notice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::chain;

    fn all(lines: &[Vec<u8>], after: Place) -> Lines {
        let head = u64::try_from(lines.len()).unwrap();
        let mut batch = Lines::behind(&after, head).unwrap();
        for line in lines {
            if !batch.push(line).unwrap() {
                break;
            }
        }
        batch
    }

    #[test]
    fn a_batch_begins_behind_its_place_and_ends_at_the_head() {
        let lines = chain(5, 0);
        let first = all(&lines[..2], Place::START);
        assert_eq!((first.len(), first.end().sequence), (2, 2));
        let rest = all(&lines, first.end());
        assert_eq!((rest.len(), rest.gap()), (3, None));
        assert_eq!(rest.text(&rest.items()[0]), &lines[2][..lines[2].len() - 1]);
        assert_eq!(rest.items()[2].sequence, rest.end().sequence);
        let mut early = Lines::behind(&Place::START, 1).unwrap();
        assert!(early.push(&lines[0]).unwrap());
        assert!(!early.push(&lines[1]).unwrap(), "it is not synced yet");
        assert_eq!(
            Lines::behind(&rest.end(), 4).unwrap_err(),
            Trouble::OtherChain
        );
    }

    #[test]
    fn what_was_removed_or_rotted_is_a_gap_and_another_chain_is_no_gap() {
        let lines = chain(6, 0);
        let end = all(&lines[..1], Place::START).end();
        let mut behind = Lines::behind(&end, 6).unwrap();
        behind.push(&lines[3]).unwrap();
        assert_eq!(behind.gap(), Some(Gap { from: 2, to: 3 }));
        assert_eq!(behind.gap().unwrap().records(), 2);
        assert!(!behind.push(b"rotten\n").unwrap());
        assert!(!behind.push(&lines[5]).unwrap(), "a gap begins a batch");
        let mut other = Lines::behind(&end, 6).unwrap();
        assert_eq!(other.push(&chain(6, 9)[1]), Err(Trouble::OtherChain));
    }

    #[test]
    fn a_batch_holds_batch_records_max_lines_or_batch_bytes_max_bytes() {
        let lines = chain(BATCH_RECORDS_MAX + 1, 0);
        let batch = all(&lines, Place::START);
        assert_eq!(batch.len(), BATCH_RECORDS_MAX);
        let long: Vec<_> = chain(100, 4000);
        let batch = all(&long, Place::START);
        assert!(batch.bytes.len() >= BATCH_BYTES_MAX);
        let without_last = batch.bytes.len() - batch.text(&batch.items()[batch.len() - 1]).len();
        assert!(without_last < BATCH_BYTES_MAX);
    }
}
