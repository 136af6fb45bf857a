//! A chain in several files: whether they are all there, in their order, and whole.
//!
//! Segments that were removed because they were old are missed at the beginning only, and a record of the chain must
//! say so.
use core::fmt;

use crate::digest::Digest;
use crate::keys::PublicKey;
use crate::record::{Record, SegmentRemoved};
use crate::verify::{Broken, Summary, Verifier};

/// Reads the segments of a chain one by one, and each line by line.
#[derive(Clone, Debug)]
pub struct History {
    verifier: Verifier,
    first: Option<u64>,
    current: Option<u64>,
    // Lines and bytes before the current segment.
    before: (u64, u64),
    first_sequence: Option<u64>,
    // What was said of the segment before the first.
    removed: Option<SegmentRemoved>,
}

/// What is wrong with segments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// A line of a segment is not the next one of the chain.
    Broken {
        /// Which segment.
        segment: u64,
        /// Where in it, and what.
        broken: Broken,
    },
    /// Segments between two others are not there.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// Segments before the first are not there, and no record says that they were removed.
    Unexplained {
        /// The first that is there.
        first: u64,
    },
}

impl History {
    /// Reads from the first segment that is there. Signatures are checked by these keys, if there are any.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self {
            verifier: Verifier::new(None).with_keys(keys),
            first: None,
            current: None,
            before: (0, 0),
            first_sequence: None,
            removed: None,
        }
    }

    /// What follows are the lines of segment `number`.
    ///
    /// # Errors
    /// [`Flaw::Missing`] when it does not follow the one before.
    pub fn segment(&mut self, number: u64) -> Result<(), Flaw> {
        let follows = self.current.map_or(number, |current| current + 1);
        if number != follows {
            return Err(Flaw::Missing {
                from: follows,
                to: number.saturating_sub(1),
            });
        }
        self.first.get_or_insert(number);
        self.current = Some(number);
        let summary = self.verifier.summary();
        self.before = (summary.lines, summary.bytes);
        Ok(())
    }

    /// Reads the next line of the segment, with its line feed.
    ///
    /// # Errors
    /// [`Flaw::Broken`] when it is not the next one, with its place in its segment.
    pub fn line<'l>(&mut self, line: &'l [u8]) -> Result<Record<'l>, Flaw> {
        let (lines, bytes) = self.before;
        let segment = self.current.unwrap_or_default();
        let record = self.verifier.line(line).map_err(|broken| Flaw::Broken {
            segment,
            broken: Broken {
                line: broken.line - lines,
                whole_bytes: broken.whole_bytes - bytes,
                ..broken
            },
        })?;
        if self.first_sequence.is_none() {
            self.first_sequence = Some(self.verifier.summary().sequence);
        }
        if let Record::SegmentRemoved(removed) = &record
            && self.first == removed.segment.checked_add(1)
        {
            self.removed = Some(*removed);
        }
        Ok(record)
    }

    /// What was read up to now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.verifier.summary()
    }

    /// All segments were read.
    ///
    /// # Errors
    /// [`Flaw::Unexplained`] when the chain does not begin where it began, and no record says why.
    pub fn finish(&self) -> Result<Summary, Flaw> {
        let summary = self.verifier.summary();
        let (Some(first), Some(first_sequence)) = (self.first, self.first_sequence) else {
            return Ok(summary);
        };
        let begins = first == 1 && summary.start == Digest::ZERO && first_sequence == 1;
        let explained = self.removed.is_some_and(|removed| {
            removed.last == summary.start
                && removed.last_sequence.checked_add(1) == Some(first_sequence)
        });
        if begins || explained {
            Ok(summary)
        } else {
            Err(Flaw::Unexplained { first })
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { segment, broken } => write!(f, "segment {segment}: {broken}"),
            Self::Missing { from, to } if from == to => write!(f, "segment {from} is missing"),
            Self::Missing { from, to } if from < to => {
                write!(f, "segments {from} to {to} are missing")
            }
            Self::Missing { from, to } => write!(
                f,
                "segment {} follows where segment {from} should",
                to.saturating_add(1)
            ),
            Self::Unexplained { first } => write!(
                f,
                "the chain begins with segment {first} in the middle, and no record says that what was before it was removed"
            ),
        }
    }
}

impl std::error::Error for Flaw {}

#[cfg(test)]
mod tests;
