//! The embedded store on a disk that can be cut off and filled up, and on a real folder.

mod crash;
mod disk;
mod folder;
mod full;
mod history;

use std::collections::BTreeMap;

use super::Inner;
use super::tables;
use crate::entry::{Changes, Revision};
use crate::error::Error;
use crate::key::{Key, Prefix};
use crate::limits::HISTORY_REVISIONS_MAX;
use crate::txn::{Txn, Write};
use disk::Disk;

/// What a store must hold: the simplest thing that can be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    revision: u64,
    entries: BTreeMap<Key, (Vec<u8>, u64)>,
}

impl Model {
    fn apply(&mut self, txn: &Txn) {
        let next = self.revision + 1;
        for (key, write) in txn.writes() {
            match write {
                Write::Put { value, .. } => {
                    let entry = (value.as_bytes().to_vec(), next);
                    self.entries.insert(key.clone(), entry);
                    self.revision = next;
                }
                Write::Delete => {
                    if self.entries.remove(key).is_some() {
                        self.revision = next;
                    }
                }
            }
        }
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn open(disk: &Disk) -> Result<Inner, Error> {
    Inner::open(Box::new(disk.clone()), HISTORY_REVISIONS_MAX)
}

/// All that is stored.
fn held(store: &Inner) -> Result<Model, Error> {
    let mut model = Model::default();
    let mut after = None;
    loop {
        let page = store
            .read(|database| tables::list(database, &Prefix::all(), after.as_ref(), usize::MAX))?;
        model.revision = page.revision.get();
        for entry in page.entries {
            after = Some(entry.key.clone());
            let value = (entry.value.as_bytes().to_vec(), entry.revision.get());
            model.entries.insert(entry.key, value);
        }
        if !page.more {
            return Ok(model);
        }
    }
}

/// The whole history.
fn history(store: &Inner) -> Result<Vec<Changes>, Error> {
    let mut all = Vec::new();
    let mut after = Revision::ZERO;
    loop {
        let (told, position) =
            store.read(|database| tables::changes(database, &Prefix::all(), after))?;
        all.extend(told);
        if position == after {
            return Ok(all);
        }
        after = position;
    }
}

/// Commits of every kind: small, large, over one another, deletes, several keys at once.
fn script() -> Vec<Txn> {
    let big = |byte: u8, bytes: usize| vec![byte; bytes];
    vec![
        Txn::new()
            .put(key("head"), "1")
            .put(key("rules/1"), "first"),
        Txn::new()
            .at(key("head"), Revision::new(1))
            .put(key("head"), "2")
            .put(key("rules/2"), big(2, 3000)),
        Txn::new()
            .put(key("rules/3"), big(3, 300_000))
            .put(key("head"), "3"),
        Txn::new().delete(key("rules/1")).put(key("head"), "4"),
        // Larger than the file is at first, so it has to grow.
        Txn::new()
            .put(key("rules/4"), big(4, 5_000_000))
            .put(key("head"), "5"),
        Txn::new()
            .put(key("rules/3"), big(5, 200_000))
            .delete(key("rules/2")),
        (0..40).fold(Txn::new(), |txn, n| {
            txn.put(key(&format!("nodes/{n}")), big(n, 100))
        }),
        Txn::new().delete(key("rules/4")),
        (0..40).fold(Txn::new().put(key("head"), "6"), |txn, n| {
            txn.delete(key(&format!("nodes/{n}")))
        }),
    ]
}

/// What is held before the script and after each of its commits.
fn models() -> Vec<Model> {
    let mut models = vec![Model::default()];
    for txn in script() {
        let mut next = models.last().cloned().unwrap_or_default();
        next.apply(&txn);
        models.push(next);
    }
    models
}
