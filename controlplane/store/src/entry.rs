//! What is read: values, entries, pages and changes. Their bytes are opaque here.

use std::fmt;

use bytes::Bytes;

use crate::key::Key;

/// A number that grows with every commit that changes something; an ETag is made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Before anything was stored; a watch from here sees all that is remembered.
    pub const ZERO: Self = Self(0);

    /// The revision of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes under a key. They may be a secret: `Debug` tells only how many they are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// What is under it.
    pub value: Value,
    /// The commit that put it there.
    pub revision: Revision,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The state that was read.
    pub revision: Revision,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// Whether there are further ones: ask again behind the last key.
    pub more: bool,
}

/// All that one commit changed, as far as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The commit.
    pub revision: Revision,
    /// In the order of their keys; never empty.
    pub changes: Vec<Change>,
}

/// What happened to a key. Its value is to be read: it may have changed again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: Key,
    /// What was done.
    pub kind: Kind,
}

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: a key is there afterwards, or it is not"
)]
pub enum Kind {
    /// It has a new value.
    Put,
    /// It is gone: deleted, or its lease ended.
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_does_not_show_its_bytes() {
        let entry = Entry {
            key: Key::new("pki/ca").unwrap(),
            value: Value::from("hunter2"),
            revision: Revision::new(3),
        };
        let shown = format!("{entry:?}");
        assert!(shown.contains("<7 bytes>"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
