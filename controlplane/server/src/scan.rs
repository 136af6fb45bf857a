//! Reads all that lies below a prefix, page by page.

use adit_store::{Entry, Error, Key, Prefix, Store};

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
