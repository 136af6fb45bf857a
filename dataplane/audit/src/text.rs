//! Text of a record that came from outside: printable, of bounded length, and still telling every byte.
use core::fmt;
use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ascii::{self, Eight, Marked};
use crate::limits::TEXT_BYTES_MAX;

/// Text for a record. Whatever it was made of, it is printable ASCII of at most [`TEXT_BYTES_MAX`] bytes and a note of
/// how much was cut: other bytes stand as `\xNN`, a backslash as two.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text<'a> {
    // UTF-8; kept as bytes because being told so costs as much as all else that a record does with it.
    bytes: Cow<'a, [u8]>,
    is_quotable: bool,
}

impl<'a> Text<'a> {
    /// Makes text of any bytes. What is printable and short is borrowed.
    #[must_use]
    pub fn of(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let bytes = bytes.as_ref();
        let is_short = bytes.len() <= TEXT_BYTES_MAX;
        if is_short && ascii::none(bytes, |eight| unprintable(eight) | eight.are(b'"')) {
            return Self {
                bytes: Cow::Borrowed(bytes),
                is_quotable: true,
            };
        }
        if is_short && ascii::none(bytes, unprintable) {
            return Self::read(Cow::Borrowed(bytes));
        }
        Self::read(Cow::Owned(escaped(bytes).into_bytes()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// The bytes between quotation marks in JSON, when they are those of the text.
    pub(crate) fn as_quotable(&self) -> Option<&[u8]> {
        self.is_quotable.then_some(&*self.bytes)
    }

    // Of bytes that are UTF-8.
    fn read(bytes: Cow<'a, [u8]>) -> Self {
        let is_quotable = ascii::none(&bytes, |eight| {
            eight.below(b' ') | eight.are(b'"') | eight.are(b'\\')
        });
        Self { bytes, is_quotable }
    }
}

fn unprintable(eight: Eight) -> Marked {
    eight.below(b' ') | eight.above(b'~') | eight.are(b'\\')
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Text").field(&self.as_str()).finish()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Read<'a>(#[serde(borrow)] Cow<'a, str>);

        Ok(Self::read(match Read::deserialize(deserializer)?.0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }))
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let shown = match byte {
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        if text.len() + shown.len() > TEXT_BYTES_MAX {
            return format!("{text}... ({} bytes)", bytes.len());
        }
        text.push_str(&shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_stays_as_it_is() {
        let text = "/sap/opu/odata;v=2/X('a')?$top=1 \"~";
        assert_eq!(Text::of(text).as_str(), text);
        assert!(matches!(Text::of(text).bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn whoever_debugs_reads_it_too() {
        assert_eq!(format!("{:?}", Text::of("a\"b")), r#"Text("a\"b")"#);
    }

    #[test]
    fn every_other_byte_is_told() {
        assert_eq!(
            Text::of(b"a\n\0\xff\\x0a").as_str(),
            "a\\x0a\\x00\\xff\\\\x0a"
        );
        assert_eq!(Text::of("\u{e4}").as_str(), "\\xc3\\xa4");
    }

    #[test]
    fn the_longest_text_is_whole_and_one_byte_more_is_cut_and_says_so() {
        let longest = "a".repeat(TEXT_BYTES_MAX);
        assert_eq!(Text::of(&longest).as_str(), longest);
        assert_eq!(
            Text::of(&format!("{longest}b")).as_str(),
            format!("{longest}... (1025 bytes)")
        );
        // 256 escaped bytes of 4 characters each fit, a 257th does not
        assert_eq!(Text::of(&[0_u8; 256]).as_str(), "\\x00".repeat(256));
        assert_eq!(
            Text::of(&[0_u8; 257]).as_str(),
            format!("{}... (257 bytes)", "\\x00".repeat(256))
        );
    }
}
