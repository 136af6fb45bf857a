//! Keys: names joined by slashes, in one spelling.
//!
//! A key is checked once, here; every implementation may rely on its form and on the order of its bytes.

use std::fmt;

use crate::limits::KEY_BYTES_MAX;

/// A key: one or more names of printable ASCII joined by `/`, such as `subaccounts/acme/rules/head`.
///
/// Whatever else a name may hold is encoded by whoever makes the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks `text`.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The keys below one name: a key and a slash, such as `nodes/`; or nothing, for all keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// All keys.
    #[must_use]
    pub const fn all() -> Self {
        Self(String::new())
    }

    /// Checks `text`: a key and a slash.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        let key = text.strip_suffix('/').ok_or(KeyError::Open)?;
        check(key)?;
        Ok(Self(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` is below it.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }

    /// The first text behind all keys below it; `None` when there is no end.
    pub(crate) fn end(&self) -> Option<String> {
        // The slash becomes the character behind it in ASCII.
        let stem = self.0.strip_suffix('/')?;
        Some(format!("{stem}0"))
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the form of a key is part of every stored file"
)]
pub enum KeyError {
    /// It is longer than [`KEY_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A name in it is empty, `.` or `..`.
    Name {
        /// Where the name begins, in bytes from the start.
        at: usize,
    },
    /// A character is not printable ASCII.
    Character {
        /// Where it stands, in bytes from the start.
        at: usize,
    },
    /// A prefix that does not end with a slash would also hold keys whose names are longer.
    Open,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "key has {bytes} bytes; at most {KEY_BYTES_MAX} fit")
            }
            Self::Name { at } => write!(
                f,
                "name at byte {at} of a key is empty, `.` or `..`; names are joined by single slashes"
            ),
            Self::Character { at } => write!(
                f,
                "character at byte {at} of a key is not printable ASCII; encode it"
            ),
            Self::Open => f.write_str("prefix does not end with `/`; add it"),
        }
    }
}

impl std::error::Error for KeyError {}

fn check(text: &str) -> Result<(), KeyError> {
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: text.len() });
    }
    if let Some(at) = text
        .bytes()
        .position(|byte| byte != b'/' && !byte.is_ascii_graphic())
    {
        return Err(KeyError::Character { at });
    }
    let mut at = 0;
    for name in text.split('/') {
        if matches!(name, "" | "." | "..") {
            return Err(KeyError::Name { at });
        }
        at += name.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_names_joined_by_single_slashes() {
        for good in ["a", "a/b", "nodes/berlin-1", "a/.b", "a/...", "!~/{}"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        let wrong = [
            ("", KeyError::Name { at: 0 }),
            ("/a", KeyError::Name { at: 0 }),
            ("a/", KeyError::Name { at: 2 }),
            ("a//b", KeyError::Name { at: 2 }),
            ("a/../b", KeyError::Name { at: 2 }),
            ("a/b/.", KeyError::Name { at: 4 }),
            ("a b", KeyError::Character { at: 1 }),
            ("a\u{7f}", KeyError::Character { at: 1 }),
            ("a/\u{e9}", KeyError::Character { at: 2 }),
            ("a\0", KeyError::Character { at: 1 }),
        ];
        for (text, error) in wrong {
            assert_eq!(Key::new(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_key_of_key_bytes_max_is_taken_and_one_more_is_not() {
        assert!(Key::new("k".repeat(KEY_BYTES_MAX)).is_ok());
        assert_eq!(
            Key::new("k".repeat(KEY_BYTES_MAX + 1)),
            Err(KeyError::TooLong {
                bytes: KEY_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn a_prefix_ends_with_a_slash_and_holds_what_is_below() {
        let nodes = Prefix::new("nodes/").unwrap();
        let key = |text| Key::new(text).unwrap();
        assert!(nodes.holds(&key("nodes/1")));
        assert!(!nodes.holds(&key("nodes")));
        assert!(!nodes.holds(&key("nodes0/1")));
        assert!(Prefix::all().holds(&key("anything")));
        assert_eq!(Prefix::new("nodes"), Err(KeyError::Open));
        assert_eq!(Prefix::new(""), Err(KeyError::Open));
        assert_eq!(Prefix::new("/"), Err(KeyError::Name { at: 0 }));
    }

    #[test]
    fn a_prefix_ends_before_the_next_name() {
        let end = Prefix::new("nodes/").unwrap().end().unwrap();
        assert!(end.as_str() > "nodes/~~~");
        assert!(end.as_str() <= "nodes0");
        assert_eq!(Prefix::all().end(), None);
    }
}
