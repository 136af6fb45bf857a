//! A commit before it is made: conditions, puts and deletes. Who carries it out is each implementation.

use std::collections::BTreeMap;

use crate::entry::{Revision, Value};
use crate::error::{Error, Excess};
use crate::key::Key;
use crate::lease::LeaseId;
use crate::limits::{TXN_BYTES_MAX, TXN_CHANGES_MAX, TXN_CONDITIONS_MAX, VALUE_BYTES_MAX};

/// Conditions, puts and deletes that are done together or not at all.
///
/// Of two words about one key the later counts.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    conditions: BTreeMap<Key, Condition>,
    writes: BTreeMap<Key, Write>,
}

/// What must hold for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Absent,
    At(Revision),
}

impl Condition {
    /// Whether it holds where the key has this revision, or is absent.
    pub(crate) fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::At(revision) => found == Some(revision),
        }
    }
}

/// What is done to a key.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put {
        value: Value,
        lease: Option<LeaseId>,
    },
    Delete,
}

impl Txn {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if there is no `key`.
    #[must_use]
    pub fn absent(mut self, key: Key) -> Self {
        self.conditions.insert(key, Condition::Absent);
        self
    }

    /// Only if the value under `key` is the one put by commit `revision`.
    #[must_use]
    pub fn at(mut self, key: Key, revision: Revision) -> Self {
        self.conditions.insert(key, Condition::At(revision));
        self
    }

    /// Puts a value that stays until it is changed.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.writes.insert(key, Write::Put { value, lease: None });
        self
    }

    /// Puts a value that vanishes with `lease`.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: impl Into<Value>, lease: LeaseId) -> Self {
        let put = Write::Put {
            value: value.into(),
            lease: Some(lease),
        };
        self.writes.insert(key, put);
        self
    }

    /// Takes a key away; nothing to do where it is absent.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.insert(key, Write::Delete);
        self
    }

    /// The same about other keys.
    pub(crate) fn below(&self, place: impl Fn(&Key) -> Result<Key, Error>) -> Result<Self, Error> {
        let mut moved = Self::new();
        for (key, condition) in &self.conditions {
            moved.conditions.insert(place(key)?, *condition);
        }
        for (key, write) in &self.writes {
            moved.writes.insert(place(key)?, write.clone());
        }
        Ok(moved)
    }

    /// Asks for nothing beyond the limits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        within(
            Excess::TxnConditions,
            self.conditions.len(),
            TXN_CONDITIONS_MAX,
        )?;
        within(Excess::TxnChanges, self.writes.len(), TXN_CHANGES_MAX)?;
        let mut bytes = 0_usize;
        for write in self.writes.values() {
            if let Write::Put { value, .. } = write {
                within(Excess::ValueBytes, value.len(), VALUE_BYTES_MAX)?;
                bytes = bytes.saturating_add(value.len());
            }
        }
        within(Excess::TxnBytes, bytes, TXN_BYTES_MAX)
    }

    pub(crate) fn conditions(&self) -> impl Iterator<Item = (&Key, Condition)> {
        self.conditions
            .iter()
            .map(|(key, condition)| (key, *condition))
    }

    pub(crate) fn writes(&self) -> impl Iterator<Item = (&Key, &Write)> {
        self.writes.iter()
    }
}

fn within(what: Excess, size: usize, limit: usize) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::TooLarge {
        what,
        size: u64::try_from(size).unwrap_or(u64::MAX),
        limit: u64::try_from(limit).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::new(format!("k/{number}")).unwrap()
    }

    fn excess(txn: &Txn) -> Option<Excess> {
        match txn.check() {
            Ok(()) => None,
            Err(Error::TooLarge { what, .. }) => Some(what),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn txn_changes_max_changes_are_taken_and_one_more_is_not() {
        let txn = (0..TXN_CHANGES_MAX).fold(Txn::new(), |txn, n| txn.delete(key(n)));
        assert_eq!(excess(&txn), None);
        let txn = txn.put(key(TXN_CHANGES_MAX), "");
        assert_eq!(excess(&txn), Some(Excess::TxnChanges));
    }

    #[test]
    fn txn_conditions_max_conditions_are_taken_and_one_more_is_not() {
        let txn = (0..TXN_CONDITIONS_MAX).fold(Txn::new(), |txn, n| txn.absent(key(n)));
        assert_eq!(excess(&txn), None);
        let txn = txn.at(key(TXN_CONDITIONS_MAX), Revision::ZERO);
        assert_eq!(excess(&txn), Some(Excess::TxnConditions));
    }

    #[test]
    fn a_value_of_value_bytes_max_is_taken_and_one_byte_more_is_not() {
        let largest = Txn::new().put(key(0), vec![0; VALUE_BYTES_MAX]);
        assert_eq!(excess(&largest), None);
        let larger = Txn::new().put(key(0), vec![0; VALUE_BYTES_MAX + 1]);
        assert_eq!(excess(&larger), Some(Excess::ValueBytes));
    }

    #[test]
    fn values_of_txn_bytes_max_in_all_are_taken_and_one_byte_more_is_not() {
        let half = TXN_BYTES_MAX / 2;
        let rest = TXN_BYTES_MAX - half;
        let txn = Txn::new().put(key(0), vec![0; half]);
        assert_eq!(excess(&txn.clone().put(key(1), vec![0; rest])), None);
        assert_eq!(
            excess(&txn.put(key(1), vec![0; rest + 1])),
            Some(Excess::TxnBytes)
        );
    }

    #[test]
    fn of_two_words_about_a_key_the_later_counts() {
        let txn = Txn::new().put(key(1), "a").delete(key(1));
        assert_eq!(txn.writes().count(), 1);
        assert!(matches!(txn.writes().next(), Some((_, Write::Delete))));
    }

    #[test]
    fn a_txn_does_not_show_its_values() {
        let shown = format!("{:?}", Txn::new().put(key(1), "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
