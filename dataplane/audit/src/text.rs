//! Text of a record that came from outside: printable, of bounded length, and still telling every byte.
use core::fmt;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::limits::TEXT_BYTES_MAX;

/// Text for a record. Whatever it was made of, it is printable ASCII of at most [`TEXT_BYTES_MAX`] bytes and a note of
/// how much was cut: other bytes stand as `\xNN`, a backslash as two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    /// Makes text of any bytes. What is printable and short is borrowed.
    #[must_use]
    pub fn of(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let bytes = bytes.as_ref();
        // No early end, so that it is done sixteen bytes at a time: nearly all texts are plain.
        let is_plain = bytes.iter().fold(true, |plain, byte| {
            plain & (b' '..=b'~').contains(byte) & (*byte != b'\\')
        });
        match core::str::from_utf8(bytes) {
            Ok(text) if is_plain && bytes.len() <= TEXT_BYTES_MAX => Self(Cow::Borrowed(text)),
            _ => Self(Cow::Owned(escaped(bytes))),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        assert!(matches!(Text::of(text).0, Cow::Borrowed(_)));
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
