//! Reading and writing of the small binary messages of the tunnel: big-endian integers and length-prefixed texts.
//!
//! Nothing here knows what a message means. A reader never goes past the bytes it was given, and allocates nothing.

use alloc::vec::Vec;
use core::fmt;

/// Why bytes are no message. The connection they came on is not worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not begin as this message does.
    Magic,
    /// The announced length is above the limit of this message.
    TooLarge {
        /// What the peer announced, in bytes.
        announced: usize,
        /// What is accepted, in bytes.
        limit: usize,
    },
    /// The message ends inside this part.
    Truncated {
        /// Which part.
        part: &'static str,
    },
    /// This part holds something it may not hold.
    Malformed {
        /// Which part.
        part: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str(
                "the peer's first bytes are not adit's; is something else listening there?",
            ),
            Self::TooLarge { announced, limit } => {
                write!(
                    f,
                    "the peer announced a message of {announced} bytes; at most {limit} are accepted"
                )
            }
            Self::Truncated { part } => write!(f, "the peer's message ends inside its {part}"),
            Self::Malformed { part } => {
                write!(f, "the {part} in the peer's message is not well-formed")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a value cannot be written: a part of it that the other side would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// Which part is too long or holds what it may not hold.
    pub part: &'static str,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} is too long or holds a character it may not hold",
            self.part
        )
    }
}

impl core::error::Error for EncodeError {}

/// Takes values off the front of a message that is wholly there.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(
        &mut self,
        count: usize,
        part: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { part })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        part: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated { part })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, part: &'static str) -> Result<u8, DecodeError> {
        self.array(part).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, part: &'static str) -> Result<u16, DecodeError> {
        self.array(part).map(u16::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, part: &'static str) -> Result<u64, DecodeError> {
        self.array(part).map(u64::from_be_bytes)
    }

    /// A text behind two bytes of length, at most `limit` bytes, without control characters.
    pub(crate) fn text(
        &mut self,
        limit: usize,
        part: &'static str,
    ) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.u16(part)?);
        if length > limit {
            return Err(DecodeError::Malformed { part });
        }
        let bytes = self.bytes(length, part)?;
        match core::str::from_utf8(bytes) {
            Ok(text) if is_plain(text) => Ok(text),
            Ok(_) | Err(_) => Err(DecodeError::Malformed { part }),
        }
    }
}

/// Appends a text behind two bytes of length.
pub(crate) fn put_text(
    out: &mut Vec<u8>,
    text: &str,
    limit: usize,
    part: &'static str,
) -> Result<(), EncodeError> {
    match u16::try_from(text.len()) {
        Ok(length) if text.len() <= limit && is_plain(text) => {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
        Ok(_) | Err(_) => Err(EncodeError { part }),
    }
}

/// The longest beginning of `text` that has at most `limit` bytes and ends between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit))
        .unwrap_or_default()
}

/// No control characters: such a text may stand in a log line or a field.
pub(crate) fn is_plain(text: &str) -> bool {
    // Names are ASCII but for a few: the others pay for their characters.
    all(text.as_bytes(), |byte| matches!(byte, b' '..=b'~')) || !text.chars().any(char::is_control)
}

/// Whether every byte is one of those that `is` takes. All are looked at: without a way out the compiler does many at
/// once.
pub(crate) fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |every, byte| every & is(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        // "ä" is two bytes: three bytes hold "aä", two only "a".
        assert_eq!(cut("aäb", 3), "aä");
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("abc", 99), "abc");
    }

    #[test]
    fn a_text_is_plain_unless_one_of_its_characters_is_a_control() {
        for plain in [
            "",
            "a b~",
            "b\u{fc}cher",
            "\u{a0}",
            "\u{1f600} and more than sixteen bytes",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for control in [
            "\0",
            "a\n",
            "\u{7f}",
            "b\u{fc}\u{85}",
            "more than sixteen bytes and\t",
        ] {
            assert!(!is_plain(control), "{control:?}");
        }
    }

    #[test]
    fn a_text_longer_than_its_limit_is_refused_on_both_sides() {
        let mut out = Vec::new();
        assert_eq!(put_text(&mut out, "abcd", 4, "name"), Ok(()));
        assert_eq!(
            put_text(&mut out, "abcde", 4, "name"),
            Err(EncodeError { part: "name" })
        );
        assert_eq!(Reader::new(&out).text(4, "name"), Ok("abcd"));
        assert_eq!(
            Reader::new(&out).text(3, "name"),
            Err(DecodeError::Malformed { part: "name" })
        );
    }
}
