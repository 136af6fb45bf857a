//! Writes records as lines, each carrying the digest of the one before.
//!
//! It keeps a digest and a number, nothing else; the lines are the caller's to keep.
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::record::Record;
use crate::verify::Summary;

/// Where a chain of records stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    sequence: u64,
    last: Digest,
}

/// A line, in the order in which its keys are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    pub(crate) sequence: u64,
    pub(crate) previous: Digest,
    #[serde(flatten, borrow)]
    pub(crate) record: Record<'a>,
}

impl Chain {
    /// A chain whose first record carries `start`: [`Digest::ZERO`] when it continues no other.
    #[must_use]
    pub fn new(start: Digest) -> Self {
        Self {
            sequence: 0,
            last: start,
        }
    }

    /// A chain that goes on where a verified one ended.
    #[must_use]
    pub fn after(summary: &Summary) -> Self {
        Self {
            sequence: summary.sequence,
            last: summary.last,
        }
    }

    /// A chain that goes on behind record `sequence`, whose line has the digest `last`: for who keeps both elsewhere.
    #[must_use]
    pub fn at(sequence: u64, last: Digest) -> Self {
        Self { sequence, last }
    }

    /// Appends the line of `record` to `out`, with its line feed.
    ///
    /// The chain has moved on when this returns: a line that cannot be kept is to be told by a later
    /// [`Gap`](crate::Gap), from a copy of the chain made before.
    pub fn append(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let line = LineOf {
            sequence: self.sequence.wrapping_add(1),
            previous: self.last,
            record,
        };
        line.write(out);
        let written = out.get(start..).unwrap_or_default();
        self.sequence = self.sequence.wrapping_add(1);
        self.last = Digest::of(written);
    }

    /// The number of the last record; 0 when there is none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The digest of the last line.
    #[must_use]
    pub fn last(&self) -> Digest {
        self.last
    }
}

/// A [`Line`] that borrows its record.
#[derive(Serialize)]
struct LineOf<'l, 'a> {
    sequence: u64,
    previous: Digest,
    #[serde(flatten)]
    record: &'l Record<'a>,
}

impl LineOf<'_, '_> {
    fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self)
            .expect("records have text keys and a vector takes all that is written to it");
        out.push(b'\n');
    }
}

impl Line<'_> {
    /// Appends the line as a chain writes it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        LineOf {
            sequence: self.sequence,
            previous: self.previous,
            record: &self.record,
        }
        .write(out);
    }
}
