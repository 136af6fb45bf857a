//! A part of a store as a store of its own: all its keys lie below one name, and it sees no others.
//!
//! Leases are the whole store's, and so are revisions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::entry::{Change, Changes, Entry, Page, Revision};
use crate::error::Error;
use crate::key::{Key, Prefix};
use crate::lease::LeaseId;
use crate::txn::Txn;
use crate::{Pending, Store, Watch};

/// What lies below a prefix, without it.
///
/// Keys are that much shorter than [`limits::KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX).
#[derive(Clone, Debug)]
pub struct Below {
    store: Arc<dyn Store>,
    prefix: Prefix,
}

impl Below {
    /// The part of `store` below `prefix`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: Prefix) -> Self {
        Self { store, prefix }
    }

    fn inner_key(&self, key: &Key) -> Result<Key, Error> {
        Key::new(format!("{}{key}", self.prefix.as_str())).map_err(|error| self.unfit(&error))
    }

    fn inner_prefix(&self, prefix: &Prefix) -> Result<Prefix, Error> {
        Prefix::new(format!("{}{}", self.prefix.as_str(), prefix.as_str()))
            .map_err(|error| self.unfit(&error))
    }

    // Only a key that is too long with its prefix: everything else was checked when it was made.
    fn unfit(&self, error: &dyn fmt::Display) -> Error {
        Error::Corrupt {
            place: self.prefix.as_str().to_owned(),
            why: error.to_string(),
        }
    }
}

fn outer_key(prefix: &Prefix, key: &Key) -> Result<Key, Error> {
    let rest = key.as_str().strip_prefix(prefix.as_str());
    rest.and_then(|rest| Key::new(rest).ok())
        .ok_or_else(|| Error::Corrupt {
            place: key.to_string(),
            why: format!("is not below {}", prefix.as_str()),
        })
}

fn outer_entry(prefix: &Prefix, entry: Entry) -> Result<Entry, Error> {
    Ok(Entry {
        key: outer_key(prefix, &entry.key)?,
        value: entry.value,
        revision: entry.revision,
    })
}

impl Store for Below {
    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>> {
        Box::pin(async move {
            let found = self.store.get(&self.inner_key(key)?).await?;
            found
                .map(|entry| outer_entry(&self.prefix, entry))
                .transpose()
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page> {
        Box::pin(async move {
            let after = after.map(|key| self.inner_key(key)).transpose()?;
            let inner = self.inner_prefix(prefix)?;
            let page = self.store.list(&inner, after.as_ref(), entries_max).await?;
            let entries = page.entries.into_iter();
            Ok(Page {
                revision: page.revision,
                entries: entries
                    .map(|entry| outer_entry(&self.prefix, entry))
                    .collect::<Result<_, _>>()?,
                more: page.more,
            })
        })
    }

    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(async move {
            let inner = txn.below(|key| self.inner_key(key))?;
            self.store.commit(&inner).await.map_err(|error| {
                if let Error::Conflict { key, found } = error {
                    let key = outer_key(&self.prefix, &key).unwrap_or(key);
                    return Error::Conflict { key, found };
                }
                error
            })
        })
    }

    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>> {
        Box::pin(async move {
            let inner = self.inner_prefix(prefix)?;
            let watch = self.store.watch(&inner, after).await?;
            let prefix = self.prefix.clone();
            let watch: Box<dyn Watch> = Box::new(WatchBelow { watch, prefix });
            Ok(watch)
        })
    }

    fn grant(&self, ttl: Duration) -> Pending<'_, LeaseId> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Pending<'_, ()> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> Pending<'_, ()> {
        self.store.revoke(lease)
    }
}

#[derive(Debug)]
struct WatchBelow {
    watch: Box<dyn Watch>,
    prefix: Prefix,
}

impl Watch for WatchBelow {
    fn next(&mut self) -> Pending<'_, Changes> {
        Box::pin(async move {
            let changes = self.watch.next().await?;
            let told = changes.changes.into_iter().map(|change| {
                Ok(Change {
                    key: outer_key(&self.prefix, &change.key)?,
                    kind: change.kind,
                })
            });
            Ok(Changes {
                revision: changes.revision,
                changes: told.collect::<Result<_, Error>>()?,
            })
        })
    }
}
