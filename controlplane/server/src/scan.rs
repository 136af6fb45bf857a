//! Reads all that lies below a prefix, page by page, and tells what this version knows from what only a newer one does.

use adit_store::{Entry, Error, Key, Prefix, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::keys;
use crate::limits::PAGE_ITEMS_MAX;

/// All entries below `prefix`, in the order of their keys. For what is bounded by a limit of its own.
///
/// # Errors
/// The store's.
pub(crate) async fn all(store: &dyn Store, prefix: &Prefix) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut cursor: Option<Key> = None;
    loop {
        let page = store.list(prefix, cursor.as_ref(), PAGE_ITEMS_MAX).await?;
        cursor = page.entries.last().map(|entry| entry.key.clone());
        entries.extend(page.entries);
        if !page.more {
            return Ok(entries);
        }
    }
}

/// Entries, read.
pub(crate) struct Records<T> {
    /// In the order of their keys.
    pub(crate) known: Vec<(Entry, T)>,
    /// Those that this version does not know all of. They are whoever's they are; all others are served.
    pub(crate) newer: Vec<Entry>,
}

/// All records below `prefix`.
///
/// # Errors
/// The store's, or one is damaged.
pub(crate) async fn records<T: DeserializeOwned + Serialize>(
    store: &dyn Store,
    prefix: &Prefix,
) -> Result<Records<T>, Error> {
    read(all(store, prefix).await?)
}

/// Reads entries of which none was asked for by its name.
///
/// # Errors
/// One is damaged.
pub(crate) fn read<T: DeserializeOwned + Serialize>(
    entries: Vec<Entry>,
) -> Result<Records<T>, Error> {
    let (mut known, mut newer, mut first) = (Vec::new(), Vec::new(), None);
    for entry in entries {
        match keys::read(&entry.key, entry.value.as_bytes()) {
            Ok(record) => known.push((entry, record)),
            Err(error @ Error::Newer { .. }) => {
                first.get_or_insert(error);
                newer.push(entry);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = first {
        // One line for all of them: a scan is made at each login.
        let count = newer.len();
        tracing::warn!(count, %error, "records are passed over; this is the first of them");
    }
    Ok(Records { known, newer })
}
