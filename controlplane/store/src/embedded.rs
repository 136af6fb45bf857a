//! The embedded store: one file of one server, crash-safe, nothing to install.
//!
//! Here is who waits for whom, and what happens after the file did not do its part; what a transaction does is
//! `tables`', where the file lies is `file`'s.

mod file;
mod leases;
mod record;
mod tables;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::entry::{Changes, Entry, Page, Revision};
use crate::error::{Error, Outcome};
use crate::key::{Key, Prefix};
use crate::lease::LeaseId;
use crate::limits::HISTORY_REVISIONS_MAX;
use crate::txn::{Txn, Write};
use crate::{Pending, Store, Watch};
use file::{Folder, Medium};
use leases::Leases;
use tables::{Opened, Trouble};

/// A store in a folder of its own: one server at a time.
///
/// Works within a tokio runtime. Leases do not outlive it: when it is opened, the keys of leases of its earlier life
/// vanish.
#[derive(Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
    expiry: JoinHandle<()>,
}

impl Embedded {
    /// Opens the store in `folder`; makes folder and store if there are none. Every page of the file is held against its
    /// checksum, and what a crash left behind is repaired, which takes as long as reading it twice.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with which file and how to mend it.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let medium = Folder::claim(&folder)?;
            Inner::open(Box::new(medium), HISTORY_REVISIONS_MAX).map_err(OpenError::Store)
        });
        let inner = opening.await.map_err(|ended| OpenError::Ended {
            why: ended.to_string(),
        })??;
        Ok(Self::run(inner))
    }

    fn run(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let expiry = tokio::spawn(expire(Arc::downgrade(&inner), Arc::clone(&inner.granted)));
        Self { inner, expiry }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.expiry.abort();
    }
}

/// Why a folder cannot be used as a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refuses.
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The store's file cannot be used.
    Store(Error),
    /// Opening did not come to its end.
    Ended {
        /// How it ended.
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder } => write!(
                f,
                "store {}: another server uses it; give each its own folder, or let them share an etcd",
                folder.display()
            ),
            Self::Unusable { folder, why } => write!(
                f,
                "store {}: {why}; the folder must be writable for this user",
                folder.display()
            ),
            Self::Store(error) => error.fmt(f),
            Self::Ended { why } => write!(f, "store: opening it ended: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Store for Embedded {
    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>> {
        let key = key.clone();
        apart(&self.inner, move |inner| {
            inner.read(|database| tables::get(database, &key))
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page> {
        let prefix = prefix.clone();
        let after = after.cloned();
        apart(&self.inner, move |inner| {
            inner.read(|database| tables::list(database, &prefix, after.as_ref(), entries_max))
        })
    }

    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(async move {
            txn.check()?;
            // Whoever waits for its turn waits here and holds no thread.
            let turn = Arc::clone(&self.inner.commits).acquire_owned().await;
            let txn = txn.clone();
            apart(&self.inner, move |inner| {
                let _turn = turn;
                inner.commit(&txn)
            })
            .await
        })
    }

    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>> {
        let watch = Following {
            inner: Arc::downgrade(&self.inner),
            head: self.inner.head.subscribe(),
            prefix: prefix.clone(),
            position: after,
            looked: false,
            told: VecDeque::new(),
        };
        Box::pin(async move {
            let watch: Box<dyn Watch> = Box::new(watch);
            Ok(watch)
        })
    }

    fn grant(&self, ttl: Duration) -> Pending<'_, LeaseId> {
        Box::pin(async move {
            let lease = self.inner.leases.lock().grant(ttl, Instant::now())?;
            self.inner.granted.notify_one();
            Ok(lease)
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Pending<'_, ()> {
        Box::pin(async move { self.inner.leases.lock().keep_alive(lease, Instant::now()) })
    }

    fn revoke(&self, lease: LeaseId) -> Pending<'_, ()> {
        apart(&self.inner, move |inner| {
            let now = Instant::now();
            let mut leases = inner.leases.lock();
            if leases.runs(lease, now) {
                leases.end(lease, now);
            }
            drop(leases);
            inner.end_leases()
        })
    }
}

/// A watch that reads the stored history, so it holds nothing for a reader that is slow.
struct Following {
    // Not the store itself: a forgotten watch does not keep the folder.
    inner: Weak<Inner>,
    head: watch::Receiver<Revision>,
    prefix: Prefix,
    /// All changes up to here are told, or in `told`.
    position: Revision,
    /// Whether the history was asked for `position` at all: it may be forgotten.
    looked: bool,
    told: VecDeque<Changes>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following")
            .field("prefix", &self.prefix)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Watch for Following {
    fn next(&mut self) -> Pending<'_, Changes> {
        Box::pin(async move {
            loop {
                if let Some(changes) = self.told.pop_front() {
                    return Ok(changes);
                }
                let head = *self.head.borrow_and_update();
                if self.looked && head <= self.position {
                    if self.head.changed().await.is_err() {
                        return Err(closed());
                    }
                    continue;
                }
                let inner = self.inner.upgrade().ok_or_else(closed)?;
                let (prefix, after) = (self.prefix.clone(), self.position);
                let found = apart(&inner, move |inner| {
                    inner.read(|database| tables::changes(database, &prefix, after))
                })
                .await?;
                self.looked = true;
                (self.told, self.position) = found;
            }
        })
    }
}

/// The open file, and who may write.
struct Inner {
    medium: Box<dyn Medium>,
    /// Closed after an error, until it could be opened again. Readers share it with a commit.
    database: RwLock<Option<Opened>>,
    /// It was opened once.
    is_known: AtomicBool,
    /// One commit at a time; also held by whoever opens the file again.
    turn: Mutex<()>,
    /// The same for those who wait without a thread.
    commits: Arc<Semaphore>,
    leases: Mutex<Leases>,
    granted: Arc<Notify>,
    head: watch::Sender<Revision>,
    history_max: u64,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("medium", &self.medium)
            .field("head", &*self.head.borrow())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn open(medium: Box<dyn Medium>, history_max: u64) -> Result<Self, Error> {
        let inner = Self {
            medium,
            database: RwLock::new(None),
            is_known: AtomicBool::new(false),
            turn: Mutex::new(()),
            commits: Arc::new(Semaphore::new(1)),
            leases: Mutex::new(Leases::default()),
            granted: Arc::new(Notify::new()),
            head: watch::Sender::new(Revision::ZERO),
            history_max,
        };
        {
            let _turn = inner.turn.lock();
            inner.reopen()?;
        }
        let left = inner.read(tables::leases)?;
        let now = Instant::now();
        for lease in left {
            inner.leases.lock().end(lease, now);
        }
        match inner.end_leases() {
            // A full disk is no reason not to serve; they go when there is room.
            Ok(()) | Err(Error::Full { .. }) => Ok(inner),
            Err(error) => Err(error),
        }
    }

    /// Runs a reading transaction; after an error of the file once more, on the file opened anew.
    fn read<T>(&self, work: impl Fn(&Database) -> Result<T, Trouble>) -> Result<T, Error> {
        if let Some(database) = &*self.database.read() {
            match work(database) {
                Ok(found) => return Ok(found),
                Err(Trouble::Refused(error)) => return Err(error),
                Err(Trouble::Damaged(why)) => return Err(self.corrupt(why)),
                Err(Trouble::File(_)) => {}
            }
        }
        let _turn = self.turn.lock();
        self.reopen()?;
        let database = self.database.read();
        let Some(database) = &*database else {
            return Err(closed());
        };
        work(database).map_err(|trouble| self.explain(trouble))
    }

    /// Carries out a commit, and knows afterwards what became of it wherever the file can be read.
    fn commit(&self, txn: &Txn) -> Result<Revision, Error> {
        let _turn = self.turn.lock();
        let now = Instant::now();
        for (_, write) in txn.writes() {
            if let Write::Put {
                lease: Some(lease), ..
            } = write
                && !self.leases.lock().runs(*lease, now)
            {
                return Err(Error::LeaseLost { lease: *lease });
            }
        }
        self.write(txn)
    }

    /// The commit itself, for who has the turn.
    fn write(&self, txn: &Txn) -> Result<Revision, Error> {
        if self.database.read().is_none() {
            self.reopen()?;
        }
        let before = *self.head.borrow();
        let done = match &*self.database.read() {
            Some(database) => {
                let done = tables::commit(database, txn, self.history_max);
                if let Ok(revision) = done {
                    database.mark(revision);
                }
                done
            }
            None => return Err(closed()),
        };
        let trouble = match done {
            Ok(revision) => {
                self.tell(revision);
                return Ok(revision);
            }
            Err(Trouble::Refused(error)) => return Err(error),
            Err(Trouble::Damaged(why)) => return Err(self.corrupt(why)),
            Err(trouble @ Trouble::File(_)) => trouble,
        };
        let error = self.explain(trouble);
        // Only the file itself tells what is left of the commit. Nobody else writes, so a newer revision is ours;
        // opening writes the header and syncs it, so what was found is durable.
        match self.reopen() {
            Ok(found) if found > before => Ok(found),
            Ok(_) => Err(error),
            Err(again) => Err(Error::Unavailable {
                place: self.medium.place(),
                why: format!("{error}; and then: {again}"),
                outcome: Outcome::Unknown,
            }),
        }
    }

    /// Opens the file anew, for who has the turn, and gives back its newest revision.
    fn reopen(&self) -> Result<Revision, Error> {
        let mut database = self.database.write();
        // Closed first: two of them on one file would not see each other's writes.
        *database = None;
        let opened = tables::open(&*self.medium, self.is_known.load(Ordering::Acquire))
            .and_then(|opened| opened.head().map(|head| (opened, head)));
        let (opened, head) = opened.map_err(|trouble| self.explain(trouble))?;
        opened.mark(head);
        self.is_known.store(true, Ordering::Release);
        *database = Some(opened);
        drop(database);
        self.tell(head);
        Ok(head)
    }

    fn tell(&self, head: Revision) {
        self.head.send_if_modified(|known| {
            let newer = *known != head;
            *known = head;
            newer
        });
    }

    /// Takes away the keys of leases that have ended.
    fn end_leases(&self) -> Result<(), Error> {
        let ended = self.leases.lock().ended(Instant::now());
        for lease in ended {
            let _turn = self.turn.lock();
            loop {
                if self.database.read().is_none() {
                    self.reopen()?;
                }
                let left = match &*self.database.read() {
                    Some(database) => tables::without(database, lease),
                    None => return Err(closed()),
                };
                match left.map_err(|trouble| self.explain(trouble))? {
                    Some(txn) => self.write(&txn)?,
                    None => break,
                };
            }
            self.leases.lock().forget(lease);
        }
        Ok(())
    }

    fn corrupt(&self, why: String) -> Error {
        Error::Corrupt {
            place: self.medium.place(),
            why,
        }
    }

    fn explain(&self, trouble: Trouble) -> Error {
        let error = match trouble {
            Trouble::Refused(error) => return error,
            Trouble::Damaged(why) => return self.corrupt(why),
            Trouble::File(error) => error,
        };
        let place = self.medium.place();
        let why = error.to_string();
        let outcome = Outcome::NotDone;
        if let redb::Error::Io(error) = error {
            let kind = error.kind();
            let full = [
                io::ErrorKind::StorageFull,
                io::ErrorKind::QuotaExceeded,
                io::ErrorKind::FileTooLarge,
            ];
            let damaged = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
            return if full.contains(&kind) {
                Error::Full { place, why }
            } else if damaged.contains(&kind) {
                Error::Corrupt { place, why }
            } else {
                Error::Unavailable {
                    place,
                    why,
                    outcome,
                }
            };
        }
        // Of redb's other errors those that time may mend are few; a table of another type is damage to us.
        if matches!(
            error,
            redb::Error::PreviousIo
                | redb::Error::DatabaseAlreadyOpen
                | redb::Error::DatabaseClosed
        ) {
            return Error::Unavailable {
                place,
                why,
                outcome,
            };
        }
        Error::Corrupt { place, why }
    }
}

/// Runs `work` on a thread that may wait for the disk. It goes on when nobody waits for its answer any more.
fn apart<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
) -> Pending<'static, T> {
    let inner = Arc::clone(inner);
    Box::pin(async move {
        let working = tokio::task::spawn_blocking(move || work(&inner));
        match working.await {
            Ok(answer) => answer,
            Err(ended) => Err(Error::Unavailable {
                place: "store".to_owned(),
                why: ended.to_string(),
                outcome: Outcome::Unknown,
            }),
        }
    })
}

/// Ends leases at their time, until the store is dropped.
async fn expire(inner: Weak<Inner>, granted: Arc<Notify>) {
    loop {
        let Some(next) = inner.upgrade().map(|inner| inner.leases.lock().next_end()) else {
            return;
        };
        match next {
            Some(end) => tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                () = granted.notified() => continue,
            },
            None => {
                granted.notified().await;
                continue;
            }
        }
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if apart(&inner, Inner::end_leases).await.is_err() {
            drop(inner);
            // Whatever it is, a commit of somebody meets it too and tells it.
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

fn closed() -> Error {
    Error::Unavailable {
        place: "store".to_owned(),
        why: "is closed".to_owned(),
        outcome: Outcome::NotDone,
    }
}

/// How long ended leases wait after their keys could not be taken away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
