//! A path that means one thing: judged once, then read segment by segment without a copy.
//!
//! The query is no part of a path and never comes here. What a segment may contain is `segment`'s knowledge.
use super::segment::{decoded_units, judge};
use super::{Ambiguity, Oddity};
use crate::rule::EncodedSlash;

/// Proof that a request's path means one thing only. Holds the bytes as they came and as they are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    raw: &'a [u8],
}

/// Stands for an encoded `;` in decoded segments: it is text, while a raw `;` begins parameters, so the two must not
/// compare equal. No segment can contain this byte, control characters being refused.
const ENCODED_SEMICOLON: u8 = 0x01;

impl<'a> Path<'a> {
    /// Judges the path of a request: everything from the first `/` of the target to the query, exclusively.
    ///
    /// # Errors
    /// [`Ambiguity`] when two programs could read two things from it.
    pub fn judge(raw: &'a [u8], slash: EncodedSlash) -> Result<Self, Ambiguity> {
        let odd = |oddity, offset| Ambiguity { oddity, offset };
        let [b'/', rest @ ..] = raw else {
            return Err(odd(Oddity::NotAbsolute, 0));
        };
        let mut offset = 1;
        let mut segments = rest.split(|byte| *byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if segment.is_empty() && !last {
                return Err(odd(Oddity::EmptySegment, offset));
            }
            if !is_plain(segment) {
                judge(segment, last, slash).map_err(|(oddity, at)| odd(oddity, offset + at))?;
            }
            offset += segment.len() + 1;
        }
        Ok(Self { raw })
    }

    /// The path of a rule, which was judged when the rule was made.
    pub(crate) fn trusted(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The raw segments, without the empty one behind a trailing slash, and whether there is one.
    pub(crate) fn segments(&self) -> Segments<'a> {
        Segments {
            rest: self.raw.get(1..).unwrap_or_default(),
            done: false,
        }
    }

    /// The path as people should write it in a rule: nothing encoded that need not be.
    pub(crate) fn spelling(&self) -> String {
        let mut text = String::with_capacity(self.raw.len());
        for segment in self.raw.get(1..).unwrap_or_default().split(|b| *b == b'/') {
            text.push('/');
            for (byte, encoded) in decoded_units(segment) {
                // An encoded `;` or `/` is not the same thing as a raw one, so it keeps its encoding.
                let keeps = encoded && matches!(byte, b';' | b'/');
                spell_byte(byte, keeps, &mut text);
            }
        }
        text
    }
}

/// The raw segments of a path in order; `remainder` tells what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a> {
    rest: &'a [u8],
    done: bool,
}

impl<'a> Segments<'a> {
    /// What is left: nothing at all, only a trailing slash, or further segments.
    pub(crate) fn remainder(&self) -> Remainder {
        match (self.done, self.rest.is_empty()) {
            (true, _) => Remainder::Nothing,
            (false, true) => Remainder::Slash,
            (false, false) => Remainder::Segments,
        }
    }
}

/// What follows the part of a path that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    Nothing,
    Slash,
    Segments,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.done || self.rest.is_empty() {
            return None;
        }
        match self.rest.iter().position(|byte| *byte == b'/') {
            Some(at) => {
                let (segment, rest) = self.rest.split_at(at);
                self.rest = rest.get(1..).unwrap_or_default();
                Some(segment)
            }
            None => {
                self.done = true;
                Some(self.rest)
            }
        }
    }
}

/// The comparable form of one raw segment of a judged path: decoded once. `None` when it does not fit `room`: a room of
/// [`RULE_PATH_BYTES_MAX`](crate::limits::RULE_PATH_BYTES_MAX) holds every segment that equals some rule's.
/// Nothing is written to `room` unless the segment is encoded.
pub(crate) fn comparable<'b>(segment: &'b [u8], room: &'b mut [u8]) -> Option<&'b [u8]> {
    if !segment.contains(&b'%') {
        return Some(segment);
    }
    let mut length = 0;
    for (byte, encoded) in decoded_units(segment) {
        let slot = room.get_mut(length)?;
        *slot = if encoded && byte == b';' {
            ENCODED_SEMICOLON
        } else {
            byte
        };
        length += 1;
    }
    room.get(..length)
}

/// Writes a comparable segment as people should write it in a rule.
pub(crate) fn spell(segment: &[u8], text: &mut String) {
    for byte in segment {
        match *byte {
            ENCODED_SEMICOLON => spell_byte(b';', true, text),
            byte => spell_byte(byte, false, text),
        }
    }
}

fn spell_byte(byte: u8, encoded: bool, text: &mut String) {
    if is_pchar(byte) && !encoded {
        text.push(char::from(byte));
    } else {
        text.push('%');
        text.push(char::from(hex_upper(byte >> 4)));
        text.push(char::from(hex_upper(byte & 0x0f)));
    }
}

/// Whether a segment consists of bytes that mean themselves and cannot be a dot segment or nameless: nothing for
/// `segment` to find.
fn is_plain(segment: &[u8]) -> bool {
    let begins_plainly = !matches!(segment.first(), Some(b'.' | b';'));
    begins_plainly && segment.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// Printable ASCII other than space, `#`, `%`, `/`, `?` and `\`.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        plain[byte] = !matches!(byte, 0x23 | 0x25 | 0x2f | 0x3f | 0x5c);
        byte += 1;
    }
    plain
};

//= RFC 3986, section 3.3
//# pchar = unreserved / pct-encoded / sub-delims / ":" / "@"
fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn hex_upper(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' + (nibble & 0x0f) - 10,
    }
}

#[cfg(test)]
mod tests;
