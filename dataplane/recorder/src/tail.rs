//! Where a segment's chain stands: its last whole line, and what is behind it.

use std::io;

use adit_audit::limits::LINE_BYTES_MAX;
use adit_audit::{Summary, Verifier, read_line};

use crate::folder::{Found, Storage};
use crate::lanes::bytes;

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Of the last line; and whether it ends as a node ends it.
    pub(crate) summary: Summary,
    /// All up to the end of the last whole line.
    pub(crate) whole_bytes: u64,
}

/// The end of a segment; `None` when there is no whole line in it.
///
/// # Errors
/// What the file system says.
pub(crate) fn of(storage: &impl Storage, found: Found) -> io::Result<Option<Tail>> {
    let offset = found.bytes.saturating_sub(bytes(WINDOW));
    let window = storage.read(found.number, offset, WINDOW)?;
    let whole = window
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let window = window.get(..whole).unwrap_or_default();
    let (before, last) = split_last_line(window);
    let (_, one_before) = split_last_line(before);
    let mut verifier = Verifier::new(None);
    // The line before tells whether the last one follows a stop; where it cannot be read, it tells nothing.
    if verifier.line(one_before).is_ok() && verifier.line(last).is_ok() {
        return Ok(Some(Tail {
            summary: verifier.summary(),
            whole_bytes: offset + bytes(whole),
        }));
    }
    let mut verifier = Verifier::new(None);
    if verifier.line(last).is_ok() {
        return Ok(Some(Tail {
            summary: verifier.summary(),
            whole_bytes: offset + bytes(whole),
        }));
    }
    last_readable(storage, found)
}

/// When the first record of a segment was made; `None` when there is none.
pub(crate) fn began_ms(storage: &impl Storage, number: u64) -> Option<u64> {
    let window = storage.read(number, 0, LINE_BYTES_MAX).ok()?;
    let line = window.split_inclusive(|byte| *byte == b'\n').next()?;
    read_line(line).ok().map(|line| line.record.unix_ms())
}

// The whole segment, line by line, for the last that can be read: a machine that lost its power may leave blocks of
// anything behind it.
fn last_readable(storage: &impl Storage, found: Found) -> io::Result<Option<Tail>> {
    let mut last = None;
    let mut offset = 0;
    // A part of a line, of which no newline has been seen; cleared when it is too long for one.
    let mut line = Vec::new();
    while offset < found.bytes {
        let window = storage.read(found.number, offset, WINDOW)?;
        if window.is_empty() {
            break;
        }
        for part in window.split_inclusive(|byte| *byte == b'\n') {
            offset += bytes(part.len());
            if line.len() <= LINE_BYTES_MAX {
                line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let mut verifier = Verifier::new(None);
                if verifier.line(&line).is_ok() {
                    last = Some(Tail {
                        summary: verifier.summary(),
                        whole_bytes: offset,
                    });
                }
                line.clear();
            }
        }
    }
    Ok(last)
}

fn split_last_line(text: &[u8]) -> (&[u8], &[u8]) {
    let without = text.strip_suffix(b"\n").unwrap_or(text);
    let at = without
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    text.split_at(at)
}

/// Two lines of the longest kind, and as much that is torn.
const WINDOW: usize = 3 * LINE_BYTES_MAX;
