//! Reads lines and says whether they are the lines that were written, all of them and in their order.
//!
//! What it cannot see by itself is lines missing at the end, or a whole chain written anew. Checkpoints signed by the
//! node's key show the second, and the first up to the last of them; a digest kept elsewhere shows both.
use core::fmt;

use crate::chain::Line;
use crate::digest::Digest;
use crate::keys::{KeyId, PublicKey};
use crate::limits::LINE_BYTES_MAX;
use crate::record::{Checkpoint, Record};

/// Reads the lines of a chain one by one.
#[derive(Clone, Debug)]
pub struct Verifier {
    lines: u64,
    bytes: u64,
    start: Option<Digest>,
    last: Option<Digest>,
    sequence: Option<u64>,
    keys: Vec<PublicKey>,
    signed: Option<Signed>,
    // The line before was the record of a stop.
    after_stop: bool,
    is_stopped: bool,
    room: Vec<u8>,
}

/// The last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// Its number.
    pub sequence: u64,
    /// When it was signed.
    pub unix_ms: u64,
}

/// A line by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbered<'a> {
    /// Its number.
    pub sequence: u64,
    /// The digest of the line before it, as it tells.
    pub previous: Digest,
    /// What it tells.
    pub record: Record<'a>,
}

/// A chain that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many lines were read.
    pub lines: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The digest that the first line carries: that of the line before it, in an earlier file.
    pub start: Digest,
    /// The digest of the last line.
    pub last: Digest,
    /// The number of the last record.
    pub sequence: u64,
    /// The last checkpoint. Its signature was checked when there are keys to check it with.
    pub signed: Option<Signed>,
    /// It ends as a node ends it that was asked to stop: with the record of it, and a checkpoint.
    pub is_stopped: bool,
}

/// A chain is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// The line, counted from 1.
    pub line: u64,
    /// How many bytes before that line are whole.
    pub whole_bytes: u64,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// It has no line feed: it was being written when the machine stopped, or it was cut.
    Torn,
    /// It is longer than any line.
    TooLong,
    /// It is not what a chain writes for any record, byte for byte.
    Malformed(String),
    /// It does not carry the digest of the line before it: this line or the one before was changed, or lines between
    /// them are missing.
    Unlinked {
        /// The digest of the line before.
        expected: Digest,
        /// What the line carries.
        found: Digest,
    },
    /// Its number does not follow that of the line before it.
    OutOfSequence {
        /// The number that follows.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// It is a checkpoint of a key that is not among those to check with.
    StrangeKey(KeyId),
    /// It is a checkpoint, and its signature is none of this place in the chain.
    Forged(KeyId),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.defect {
            Defect::Torn => f.write_str("the line is cut off: it has no line feed"),
            Defect::TooLong => write!(f, "the line has more than {LINE_BYTES_MAX} bytes"),
            Defect::Malformed(why) => write!(f, "no record is written like this: {why}"),
            Defect::Unlinked { expected, found } => write!(
                f,
                "it carries {found}, but the line before it has {expected}: one of them was changed, or lines between \
                 them are missing"
            ),
            Defect::OutOfSequence { expected, found } => {
                write!(f, "it is record {found} where record {expected} follows")
            }
            Defect::StrangeKey(key) => write!(
                f,
                "it is signed by the key {key}, which is not among those given"
            ),
            Defect::Forged(key) => write!(
                f,
                "it bears the name of the key {key}, but that key has not signed the chain as it is here"
            ),
        }
    }
}

impl std::error::Error for Broken {}

impl Verifier {
    /// Reads a chain from its beginning, or from where an earlier file ended with the line of digest `start`. With
    /// `None` the first line is taken for a beginning, whatever it carries.
    #[must_use]
    pub fn new(start: Option<Digest>) -> Self {
        Self {
            lines: 0,
            bytes: 0,
            start,
            last: start,
            sequence: None,
            keys: Vec::new(),
            signed: None,
            after_stop: false,
            is_stopped: false,
            room: Vec::new(),
        }
    }

    /// Checks the signatures of checkpoints by these keys. Without any, they are taken as they are.
    #[must_use]
    pub fn with_keys(mut self, keys: Vec<PublicKey>) -> Self {
        self.keys = keys;
        self
    }

    /// Reads the next line, with its line feed, and gives its record.
    ///
    /// # Errors
    /// [`Broken`] when this is not the next line of the chain. The verifier stays where it was; nothing that follows a
    /// broken line in a file can be trusted.
    pub fn line<'l>(&mut self, line: &'l [u8]) -> Result<Record<'l>, Broken> {
        let broken = |defect| Broken {
            line: self.lines + 1,
            whole_bytes: self.bytes,
            defect,
        };
        let read = parse(line).map_err(broken)?;
        if let Some(expected) = self.last.filter(|expected| *expected != read.previous) {
            return Err(broken(Defect::Unlinked {
                expected,
                found: read.previous,
            }));
        }
        if let Some(before) = self.sequence
            && before.checked_add(1) != Some(read.sequence)
        {
            return Err(broken(Defect::OutOfSequence {
                expected: before.saturating_add(1),
                found: read.sequence,
            }));
        }
        // Reading forgives unknown keys, repeated keys and blanks; none of them was ever written.
        self.room.clear();
        read.write(&mut self.room);
        if self.room != line {
            return Err(broken(Defect::Malformed(
                "it reads like a record but is written differently".to_owned(),
            )));
        }
        if let Record::Checkpoint(checkpoint) = &read.record {
            check(&self.keys, checkpoint, read.sequence, read.previous).map_err(broken)?;
            self.signed = Some(Signed {
                sequence: read.sequence,
                unix_ms: checkpoint.unix_ms,
            });
            self.is_stopped = self.after_stop;
        } else {
            self.is_stopped = false;
        }
        self.after_stop = matches!(read.record, Record::Stopped(_));
        self.lines += 1;
        self.bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.start.get_or_insert(read.previous);
        self.last = Some(Digest::of(line));
        self.sequence = Some(read.sequence);
        Ok(read.record)
    }

    /// What was read, all of it whole.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let start = self.start.unwrap_or(Digest::ZERO);
        Summary {
            lines: self.lines,
            bytes: self.bytes,
            start,
            last: self.last.unwrap_or(start),
            sequence: self.sequence.unwrap_or_default(),
            signed: self.signed,
            is_stopped: self.is_stopped,
        }
    }
}

/// Reads one line, with its line feed, by itself: neither that it is linked nor that it is written as a chain writes it
/// is checked.
///
/// # Errors
/// When there is no record in it.
pub fn read_line(line: &[u8]) -> Result<Numbered<'_>, Defect> {
    let Line {
        sequence,
        previous,
        record,
    } = parse(line)?;
    Ok(Numbered {
        sequence,
        previous,
        record,
    })
}

fn parse(line: &[u8]) -> Result<Line<'_>, Defect> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Defect::TooLong);
    }
    let Some((b'\n', json)) = line.split_last() else {
        return Err(Defect::Torn);
    };
    serde_json::from_slice(json).map_err(|error| Defect::Malformed(error.to_string()))
}

fn check(
    keys: &[PublicKey],
    checkpoint: &Checkpoint,
    sequence: u64,
    previous: Digest,
) -> Result<(), Defect> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut named = keys.iter().filter(|key| key.id() == checkpoint.key);
    let Some(key) = named.next() else {
        return Err(Defect::StrangeKey(checkpoint.key));
    };
    if key.has_signed(checkpoint, sequence, previous) {
        Ok(())
    } else {
        Err(Defect::Forged(checkpoint.key))
    }
}

/// Reads a whole chain, each line with its line feed. `start` is as for [`Verifier::new`].
///
/// # Errors
/// [`Broken`] at the first line that is not the next one.
pub fn verify<'l>(
    start: Option<Digest>,
    lines: impl IntoIterator<Item = &'l [u8]>,
) -> Result<Summary, Broken> {
    let mut verifier = Verifier::new(start);
    for line in lines {
        verifier.line(line)?;
    }
    Ok(verifier.summary())
}

#[cfg(test)]
mod tests;
