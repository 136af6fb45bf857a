//! The tables of the embedded store, and the one transaction that each call is.
//!
//! When to open the file again after an error, and who waits for whom, is the store's.

use std::collections::VecDeque;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::file::{Backend, Mark, Medium};
use super::record;
use crate::entry::{Change, Changes, Entry, Kind, Page, Revision};
use crate::error::Error;
use crate::key::{Key, Prefix};
use crate::lease::LeaseId;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, TXN_CHANGES_MAX, WATCH_REVISIONS_MAX};
use crate::txn::{Txn, Write};

/// Why a transaction was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// As asked, it must not be done.
    Refused(Error),
    /// The file did not do its part.
    File(redb::Error),
    /// What stands in the file was not written by us.
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    database: Database,
    mark: Mark,
}

impl Opened {
    /// The newest revision; what was acknowledged once is not behind it.
    pub(super) fn head(&self) -> Result<Revision, Trouble> {
        let state = self.begin_read()?.open_table(STATE)?;
        let head = number(&state, HEAD)?;
        match self.mark.read() {
            Some(marked) if marked > head => Err(Trouble::Damaged(format!(
                "has revision {head} and had {marked}: its newest commits are gone"
            ))),
            _ => Ok(Revision::new(head)),
        }
    }

    /// `revision` will be acknowledged.
    pub(super) fn mark(&self, revision: Revision) {
        self.mark.write(revision.get());
    }
}

impl Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Opens the store's file, and makes it first if there is none; `is_known`: not for the first time in this process.
pub(super) fn open(medium: &dyn Medium, is_known: bool) -> Result<Opened, Trouble> {
    if let Some(file) = medium.open()? {
        return adopt(file, &medium.place(), is_known);
    }
    // Made under another name, so that a crash leaves a whole file or none.
    let made = redb(medium.draft()?, true)?;
    let write = begin(&made)?;
    {
        let mut state = write.open_table(STATE)?;
        state.insert(FORMAT, FORMAT_NOW)?;
        state.insert(HEAD, 0)?;
        state.insert(OLDEST, 0)?;
        write.open_table(RECORDS)?;
        write.open_table(LEASED)?;
        write.open_table(HISTORY)?;
    }
    write.commit()?;
    drop(made);
    medium.publish().map_err(redb::Error::Io)?;
    match medium.open()? {
        Some(file) => adopt(file, &medium.place(), is_known),
        None => Err(Trouble::Damaged("vanished after it was made".to_owned())),
    }
}

fn adopt(
    file: Box<dyn redb::StorageBackend>,
    place: &str,
    is_known: bool,
) -> Result<Opened, Trouble> {
    // An empty file would be made into a store without a word.
    if file.len().map_err(redb::Error::Io)? == 0 {
        return Err(Trouble::Damaged("is empty".to_owned()));
    }
    let database = redb(file, is_known)?;
    let state = database.begin_read()?.open_table(STATE)?;
    let format = number(&state, FORMAT)?;
    if format > FORMAT_NOW {
        return Err(Trouble::Refused(Error::Newer {
            place: place.to_owned(),
            why: format!("the file has format {format}, and this version knows {FORMAT_NOW}"),
        }));
    }
    if format < FORMAT_NOW {
        return Err(Trouble::Damaged(format!(
            "has format {format}, which none ever had"
        )));
    }
    drop(state);
    Ok(database)
}

fn redb(file: Box<dyn redb::StorageBackend>, is_known: bool) -> Result<Opened, Trouble> {
    let file: Arc<dyn redb::StorageBackend> = file.into();
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let backend = Backend::of(Arc::clone(&file), is_known);
    Ok(Opened {
        database: builder.create_with_backend(backend)?,
        mark: Mark::of(file),
    })
}

pub(super) fn get(database: &Database, key: &Key) -> Result<Option<Entry>, Trouble> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let Some(found) = records.get(key.as_str())? else {
        return Ok(None);
    };
    entry(key.clone(), found.value()).map(Some)
}

pub(super) fn list(
    database: &Database,
    prefix: &Prefix,
    after: Option<&Key>,
    entries_max: usize,
) -> Result<Page, Trouble> {
    let read = database.begin_read()?;
    let revision = Revision::new(number(&read.open_table(STATE)?, HEAD)?);
    let records = read.open_table(RECORDS)?;
    let from = match after {
        Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str()),
        Some(_) | None => Bound::Included(prefix.as_str()),
    };
    let end = prefix.end();
    let mut page = Page {
        revision,
        entries: Vec::new(),
        more: false,
    };
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    if is_empty(from, to) {
        return Ok(page);
    }
    let entries_max = entries_max.min(PAGE_ENTRIES_MAX);
    let mut bytes = 0_usize;
    for found in records.range::<&str>((from, to))? {
        let (key, found) = found?;
        bytes = bytes.saturating_add(record::value_bytes(found.value()));
        let full = page.entries.len() >= entries_max
            || (bytes > PAGE_BYTES_MAX && !page.entries.is_empty());
        if full {
            page.more = true;
            break;
        }
        page.entries
            .push(entry(stored_key(key.value())?, found.value())?);
    }
    Ok(page)
}

// A map panics on a range that ends before it begins; a key behind the prefix asks for one.
fn is_empty(from: Bound<&str>, to: Bound<&str>) -> bool {
    match (from, to) {
        (Bound::Excluded(from) | Bound::Included(from), Bound::Excluded(to)) => from >= to,
        (_, Bound::Included(_) | Bound::Unbounded) | (Bound::Unbounded, _) => false,
    }
}

/// Does all of `txn` or nothing; it is durable when this returns.
pub(super) fn commit(
    database: &Database,
    txn: &Txn,
    history_max: u64,
) -> Result<Revision, Trouble> {
    let write = begin(database)?;
    let revision = {
        let mut state = write.open_table(STATE)?;
        let mut records = write.open_table(RECORDS)?;
        judge(&records, txn)?;
        let head = number(&state, HEAD)?;
        let next = head
            .checked_add(1)
            .ok_or_else(|| Trouble::Damaged("has no revisions left".to_owned()))?;
        let changes = apply(&write, &mut records, txn, Revision::new(next))?;
        if changes.is_empty() {
            None
        } else {
            state.insert(HEAD, next)?;
            remember(&write, &mut state, next, &changes, history_max)?;
            Some(next)
        }
        .ok_or(head)
    };
    match revision {
        Ok(next) => {
            write.commit()?;
            Ok(Revision::new(next))
        }
        Err(head) => {
            write.abort()?;
            Ok(Revision::new(head))
        }
    }
}

fn judge(records: &Table<'_, &str, &[u8]>, txn: &Txn) -> Result<(), Trouble> {
    for (key, condition) in txn.conditions() {
        let found = records.get(key.as_str())?;
        let found = found
            .map(|found| record::revision(found.value()).map_err(|why| damaged(key, why)))
            .transpose()?;
        if !condition.holds(found) {
            let key = key.clone();
            return Err(Trouble::Refused(Error::Conflict { key, found }));
        }
    }
    Ok(())
}

fn apply(
    write: &WriteTransaction,
    records: &mut Table<'_, &str, &[u8]>,
    txn: &Txn,
    revision: Revision,
) -> Result<Vec<Change>, Trouble> {
    let mut leased = write.open_table(LEASED)?;
    let mut changes = Vec::new();
    for (key, write) in txn.writes() {
        let kind = match write {
            Write::Put { value, lease } => {
                let bytes = record::write(key, revision, value);
                records.insert(key.as_str(), bytes.as_slice())?;
                match lease {
                    Some(lease) => leased.insert(key.as_str(), lease.get())?,
                    None => leased.remove(key.as_str())?,
                };
                Kind::Put
            }
            Write::Delete => {
                if records.remove(key.as_str())?.is_none() {
                    continue;
                }
                leased.remove(key.as_str())?;
                Kind::Deleted
            }
        };
        let key = key.clone();
        changes.push(Change { key, kind });
    }
    Ok(changes)
}

fn remember(
    write: &WriteTransaction,
    state: &mut Table<'_, &str, u64>,
    next: u64,
    changes: &[Change],
    history_max: u64,
) -> Result<(), Trouble> {
    let mut history = write.open_table(HISTORY)?;
    history.insert(next, record::write_changes(changes).as_slice())?;
    let oldest = number(state, OLDEST)?;
    let wanted = next.saturating_sub(history_max);
    if wanted > oldest {
        for revision in oldest..wanted {
            history.remove(revision + 1)?;
        }
        state.insert(OLDEST, wanted)?;
    }
    Ok(())
}

/// The changes of the next revisions after `after`, and the last revision looked at.
pub(super) fn changes(
    database: &Database,
    prefix: &Prefix,
    after: Revision,
) -> Result<(VecDeque<Changes>, Revision), Trouble> {
    let read = database.begin_read()?;
    let oldest = Revision::new(number(&read.open_table(STATE)?, OLDEST)?);
    if after < oldest {
        return Err(Trouble::Refused(Error::Compacted { oldest }));
    }
    let history = read.open_table(HISTORY)?;
    let mut told = VecDeque::new();
    let mut position = after;
    let from = (Bound::Excluded(after.get()), Bound::Unbounded);
    for row in history.range::<u64>(from)?.take(WATCH_REVISIONS_MAX) {
        let (revision, row) = row?;
        position = Revision::new(revision.value());
        let mut changes = record::read_changes(row.value())
            .map_err(|why| Trouble::Damaged(format!("revision {position} {why}")))?;
        changes.retain(|change| prefix.holds(&change.key));
        if !changes.is_empty() {
            told.push_back(Changes {
                revision: position,
                changes,
            });
        }
    }
    Ok((told, position))
}

/// A commit that deletes keys of `lease`, as many as one may; none when there are no more.
pub(super) fn without(database: &Database, lease: LeaseId) -> Result<Option<Txn>, Trouble> {
    let leased = database.begin_read()?.open_table(LEASED)?;
    let mut txn = None;
    let mut count = 0;
    for row in leased.iter()? {
        let (key, of) = row?;
        if of.value() == lease.get() && count < TXN_CHANGES_MAX {
            count += 1;
            let deletes = txn.unwrap_or_else(Txn::new);
            txn = Some(deletes.delete(stored_key(key.value())?));
        }
    }
    Ok(txn)
}

/// The leases that have keys.
pub(super) fn leases(database: &Database) -> Result<Vec<LeaseId>, Trouble> {
    let leased = database.begin_read()?.open_table(LEASED)?;
    let mut leases = Vec::new();
    for row in leased.iter()? {
        leases.push(LeaseId::new(row?.1.value()));
    }
    leases.sort_unstable();
    leases.dedup();
    Ok(leases)
}

fn begin(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut write = database.begin_write()?;
    // The pages are on disk before the header names them: no checksum has to tell a torn commit from a whole one.
    write.set_two_phase_commit(true);
    Ok(write)
}

fn number(state: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, Trouble> {
    let found = state.get(name)?.map(|found| found.value());
    found.ok_or_else(|| Trouble::Damaged(format!("does not say its {name}")))
}

fn entry(key: Key, bytes: &[u8]) -> Result<Entry, Trouble> {
    let (revision, value) = record::read(&key, bytes).map_err(|why| damaged(&key, why))?;
    Ok(Entry {
        key,
        value,
        revision,
    })
}

fn stored_key(text: &str) -> Result<Key, Trouble> {
    Key::new(text).map_err(|error| Trouble::Damaged(format!("holds no key: {error}")))
}

fn damaged(key: &Key, why: &str) -> Trouble {
    Trouble::Damaged(format!("entry `{key}` {why}"))
}

/// What the store says of itself.
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
/// Key to [`record`].
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Key to the lease it vanishes with.
const LEASED: TableDefinition<'_, &str, u64> = TableDefinition::new("leased");
/// Revision to its changes.
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

const FORMAT: &str = "format";
const FORMAT_NOW: u64 = 1;
const HEAD: &str = "head";
/// Changes after this revision are in the history.
const OLDEST: &str = "oldest";
/// Memory redb may use for pages of the file, in bytes. 16 MiB: all records but the largest rule sets. What one commit
/// writes comes on top.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
