//! The number of the form in which records are kept, and who may still write beside a newer version.
//!
//! It stands in the pointer to the generation that counts, so one compare-and-swap sees both. What a record says is its
//! owner's; that one with unknown members is not taken is `keys`'.

use std::sync::Arc;
use std::time::Duration;

use adit_store::{
    Entry, Error, Key, LeaseId, Outcome, Page, Pending, Prefix, Revision, Store, Txn, Watch,
};
use serde::{Deserialize, Serialize};

use crate::keys;

/// The format of what this code keeps, in the store and in backups, and the newest it reads. A change that an earlier
/// version would take for something else raises it; a new member need not, for one that is not known is refused.
pub(crate) const FORMAT: u16 = 1;

/// Which generation counts, and the format of all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub(crate) number: u64,
    #[serde(default = "first_format")]
    pub(crate) format: u16,
}

impl Pointer {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Newer`] with both numbers when its format is above `known`.
    pub(crate) fn read(key: &Key, bytes: &[u8], known: u16) -> Result<Self, Error> {
        // First, and of nothing else: what else a later format says, nobody knows here.
        let Numbered { format } = keys::hear(key, bytes)?;
        if format > known {
            return Err(Error::Newer {
                place: "store".to_owned(),
                why: newer(format, known),
            });
        }
        keys::read(key, bytes)
    }
}

/// The part of a pointer that every format has.
#[derive(Deserialize)]
struct Numbered {
    #[serde(default = "first_format")]
    format: u16,
}

// What knew no other wrote none.
fn first_format() -> u16 {
    1
}

/// Both numbers, for people.
pub(crate) fn newer(found: u16, known: u16) -> String {
    format!("has records of format {found}, and this version of adit knows {known}")
}

/// A store that takes no commit once the pointer is not the one that was read: a newer version has raised the format, or
/// a backup was put in place of everything, and what was written now would be lost.
#[derive(Debug)]
pub(crate) struct Guarded {
    store: Arc<dyn Store>,
    pointer: Revision,
    format: u16,
}

impl Guarded {
    /// `store`, while its pointer is at this revision.
    pub(crate) fn new(store: Arc<dyn Store>, pointer: Revision, format: u16) -> Self {
        Self {
            store,
            pointer,
            format,
        }
    }

    /// Why the pointer is another one.
    async fn overtaken(&self, key: &Key) -> Error {
        match self.store.get(key).await {
            Err(error) => return error,
            Ok(Some(entry)) => {
                if let Err(error) = Pointer::read(key, entry.value.as_bytes(), self.format) {
                    return error;
                }
            }
            Ok(None) => {}
        }
        Error::Unavailable {
            place: "store".to_owned(),
            why: "a backup was put in place of everything, and this server starts again".to_owned(),
            outcome: Outcome::NotDone,
        }
    }
}

impl Store for Guarded {
    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>> {
        self.store.get(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page> {
        self.store.list(prefix, after, entries_max)
    }

    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(async move {
            let pointer = keys::generation();
            let guarded = txn.clone().at(pointer.clone(), self.pointer);
            match self.store.commit(&guarded).await {
                Err(Error::Conflict { key, .. }) if key == pointer => {
                    Err(self.overtaken(&pointer).await)
                }
                done => done,
            }
        })
    }

    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>> {
        self.store.watch(prefix, after)
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
