//! Why a path cannot be one thing only. Finding it is `segment`'s and `path`'s work.
use core::fmt;

/// What makes a path ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Oddity {
    /// The path does not begin with `/`.
    NotAbsolute,
    /// A `?` or `#`: the caller of this crate has not cut off the query, or the client sent a fragment.
    QueryOrFragment,
    /// `%2F`, where the system does not keep it.
    EncodedSlash,
    /// `%5C`.
    EncodedBackslash,
    /// A raw `\`.
    Backslash,
    /// `.`, `..` or another segment of only dots and blanks before its parameters, in any encoding.
    DotSegment,
    /// Two slashes in a row, or parameters without a name between two slashes.
    EmptySegment,
    /// NUL, another control character or a raw space.
    Control,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// UTF-8 longer than it needs to be.
    OverlongUtf8,
    /// A second layer of encoding over something that would be refused in the first.
    DoubleEncoding,
    /// A `%` without two hexadecimal digits.
    MalformedPercent,
    /// A character that some programs fold into a dot, slash, backslash or percent sign.
    Lookalike,
}

impl Oddity {
    const fn text(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::QueryOrFragment => "a `?` or `#` has no place in a path",
            Self::EncodedSlash => {
                "an encoded slash (`%2F`) may or may not separate segments; a system of such paths says \
                 encoded_slash = \"keep\""
            }
            Self::EncodedBackslash => {
                "an encoded backslash (`%5C`) is a separator to some programs"
            }
            Self::Backslash => "a backslash is a separator to some programs",
            Self::DotSegment => {
                "a segment of dots would be resolved by some programs and not by others"
            }
            Self::EmptySegment => {
                "an empty segment would be dropped by some programs and not by others"
            }
            Self::Control => "a control character or raw space has no place in a path",
            Self::InvalidUtf8 => "the decoded bytes are not UTF-8",
            Self::OverlongUtf8 => "overlong UTF-8 would be read differently by different programs",
            Self::DoubleEncoding => {
                "a second layer of percent-encoding hides something that would be refused in the first"
            }
            Self::MalformedPercent => {
                "a `%` is not followed by two hexadecimal digits (a percent sign is `%25`)"
            }
            Self::Lookalike => {
                "a character that some programs take for a dot, slash, backslash or percent sign"
            }
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A path is ambiguous: why, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    pub(crate) oddity: Oddity,
    pub(crate) offset: usize,
}

impl Ambiguity {
    /// What is odd.
    #[must_use]
    pub fn oddity(&self) -> Oddity {
        self.oddity
    }

    /// The byte of the path where it shows: the odd byte itself, or the first byte of the odd segment.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.oddity)
    }
}

impl std::error::Error for Ambiguity {}
