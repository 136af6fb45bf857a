//! The manifest: the lines in front of the signatures, one way to write them and strict reading.

use core::fmt::{self, Write as _};

use crate::error::Refused;
use crate::limits::AUDIENCE_BYTES_MAX;
use crate::stamp::Stamp;

/// The first line of every document this room writes.
pub(crate) const MAGIC: &str = "adit-manifest 1";
/// What it begins with in every format.
pub(crate) const MAGIC_NAME: &str = "adit-manifest ";

/// What is to be in force, for whom, as which version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "closed: every line of the format, in order"
)]
pub struct Manifest {
    /// For whom: visible ASCII without spaces, 1 to [`AUDIENCE_BYTES_MAX`] bytes; for an agent its
    /// subaccount and location with a slash between.
    pub audience: String,
    /// As which version.
    pub stamp: Stamp,
    /// When it was made, in seconds since 1970. For people; nothing is decided by it.
    pub issued_unix_s: u64,
    /// Length of the content in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

impl fmt::Display for Manifest {
    /// The lines, each with its line feed: the bytes that are signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        writeln!(f, "audience {}", self.audience)?;
        writeln!(f, "epoch {}", self.stamp.epoch)?;
        writeln!(f, "version {}", self.stamp.version)?;
        writeln!(f, "issued {}", self.issued_unix_s)?;
        writeln!(f, "bytes {}", self.bytes)?;
        f.write_str("sha256 ")?;
        self.sha256
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_char('\n')
    }
}

impl Manifest {
    /// Takes the manifest's own lines off the front of `lines`.
    pub(crate) fn read(lines: &mut Lines<'_>) -> Result<Self, Refused> {
        let first = lines.next().unwrap_or_default();
        if first != MAGIC.as_bytes() {
            let later = first.starts_with(MAGIC_NAME.as_bytes());
            return Err(if later {
                Refused::Format
            } else {
                Refused::Unsigned
            });
        }
        let audience = lines.value("audience ", "`audience` and for whom", |text| {
            is_audience(text).then(|| text.to_owned())
        })?;
        let epoch = lines.value("epoch ", "`epoch` and a number", number)?;
        let version = lines.value("version ", "`version` and a number", number)?;
        let issued_unix_s = lines.value("issued ", "`issued` and seconds since 1970", number)?;
        let bytes = lines.value("bytes ", "`bytes` and a number", number)?;
        let sha256 = lines.value("sha256 ", "`sha256` and 64 hexadecimal digits", digest)?;
        Ok(Self {
            audience,
            stamp: Stamp { epoch, version },
            issued_unix_s,
            bytes,
            sha256,
        })
    }
}

/// Whether `text` may be an audience.
#[must_use]
pub fn is_audience(text: &str) -> bool {
    (1..=AUDIENCE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The lines of a head, counted.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// Of a head that ends with a line feed.
    pub(crate) const fn of(head: &'a [u8]) -> Self {
        Self {
            rest: head,
            number: 0,
        }
    }

    /// What was not taken yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next line without its line feed; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        self.number += 1;
        Some(line)
    }

    /// The line that was taken last is wrong.
    pub(crate) const fn wrong(&self, wanted: &'static str) -> Refused {
        Refused::Line {
            number: self.number,
            wanted,
        }
    }

    fn value<T>(
        &mut self,
        name: &str,
        wanted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Refused> {
        self.next()
            .and_then(|line| core::str::from_utf8(line).ok())
            .and_then(|line| line.strip_prefix(name))
            .and_then(read)
            .ok_or_else(|| self.wrong(wanted))
    }
}

/// A decimal number as it is written here, and in no other way.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | value(*digit)?;
        }
    }
    Some(bytes)
}
