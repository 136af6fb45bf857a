//! Writes records as lines, each carrying the digest of the one before.
//!
//! It keeps a digest and a number, nothing else; the lines are the caller's to keep.
use serde::Deserialize;

use crate::body::{write_body, write_number};
use crate::digest::Digest;
use crate::hex;
use crate::record::Record;
use crate::verify::Summary;

/// Where a chain of records stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    sequence: u64,
    last: Digest,
}

/// A line as it is read; it is written by [`Line::write`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
        let start = self.begin(out);
        write_body(record, out);
        self.end(start, out);
    }

    /// As [`append`](Self::append), with a body that [`write_body`] has written.
    pub fn append_body(&mut self, body: &[u8], out: &mut Vec<u8>) {
        debug_assert!(
            body.starts_with(b"\"record\":") && body.ends_with(b"}"),
            "a body is what write_body writes"
        );
        let start = self.begin(out);
        out.extend_from_slice(body);
        self.end(start, out);
    }

    fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        write_place(self.sequence.wrapping_add(1), self.last, out);
        start
    }

    fn end(&mut self, start: usize, out: &mut Vec<u8>) {
        out.push(b'\n');
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

impl Line<'_> {
    /// Appends the line as a chain writes it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_place(self.sequence, self.previous, out);
        write_body(&self.record, out);
        out.push(b'\n');
    }
}

/// What stands before the body.
fn write_place(sequence: u64, previous: Digest, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"sequence\":");
    write_number(sequence, out);
    out.extend_from_slice(b",\"previous\":\"");
    hex::append(previous.as_bytes(), out);
    out.extend_from_slice(b"\",");
}
