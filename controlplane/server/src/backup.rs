//! Backups: everything that outlives a server, sealed with a password; and putting one in place of everything.
//!
//! What is restored is written beside what counts, under the name of the next generation, and comes into force by one
//! swap. It begins a new epoch, in which every rule set has a new version, so that agents take it whatever they have.

use std::sync::Arc;

use adit_authority::{Authority, SealKey, seal};
use adit_store::{Below, Entry, Error, Key, Prefix, Revision, Store, Txn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::acts::{Acts, By, Deed};
use crate::book::Book;
use crate::clock;
use crate::format::{FORMAT, Guarded, Pointer, newer};
use crate::keys;
use crate::life::{Life, Lives, TrustVersion};
use crate::limits::{BACKUP_BYTES_MAX, PAGE_ITEMS_MAX};
use crate::trouble::Trouble;

#[cfg(test)]
mod tests;

/// Which of the stored generations counts.
#[derive(Clone, Debug)]
pub(crate) struct Generations {
    whole: Arc<dyn Store>,
    number: u64,
    revision: Revision,
    format: u16,
}

/// A key and its bytes, as a backup has them.
type Kept = (Key, Vec<u8>);

/// The first line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    format: u16,
    software: String,
    created_unix_s: u64,
    pub(crate) epoch: u64,
    pub(crate) entries: u64,
}

impl Generations {
    /// Finds the one that counts; the first of a new store. A store of an earlier format is of this one from now on.
    ///
    /// # Errors
    /// The store's; [`Error::Newer`] when its records are of a later format.
    pub(crate) async fn open(whole: Arc<dyn Store>) -> Result<Self, Error> {
        Self::open_as(whole, FORMAT).await
    }

    async fn open_as(whole: Arc<dyn Store>, format: u16) -> Result<Self, Error> {
        let key = keys::generation();
        loop {
            let (txn, number) = match whole.get(&key).await? {
                None => (Txn::new().absent(key.clone()), 1),
                Some(entry) => {
                    let pointer = Pointer::read(&key, entry.value.as_bytes(), format)?;
                    if pointer.format == format {
                        return Ok(Self {
                            whole,
                            number: pointer.number,
                            revision: entry.revision,
                            format,
                        });
                    }
                    tracing::warn!(
                        from = pointer.format,
                        to = format,
                        "servers of earlier versions stop"
                    );
                    (Txn::new().at(key.clone(), entry.revision), pointer.number)
                }
            };
            let pointer = Pointer { number, format };
            match whole
                .commit(&txn.put(key.clone(), keys::write(&pointer)))
                .await
            {
                // Of several servers one is first.
                Ok(_) | Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What counts, as a store of its own, which takes nothing any more when something else does.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let guarded = Guarded::new(Arc::clone(&self.whole), self.revision, self.format);
        let prefix = keys::generation_prefix(self.number);
        Arc::new(Below::new(Arc::new(guarded), prefix))
    }

    /// Returns when another generation counts, or records of a later format.
    pub(crate) async fn replaced(&self) {
        loop {
            let watched = self.watch().await;
            if let Ok(true) = watched {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn watch(&self) -> Result<bool, Error> {
        let (key, prefix) = (keys::generation(), keys::generations());
        let now = self.whole.list(&prefix, None, 1).await?.revision;
        let mut watch = self.whole.watch(&prefix, now).await?;
        loop {
            // Looked at after the watch began, so nothing falls between.
            if let Some(entry) = self.whole.get(&key).await?
                && entry.revision != self.revision
            {
                return Ok(true);
            }
            watch.next().await?;
        }
    }

    /// Takes away what earlier generations left behind, and what a restore that did not end began.
    pub(crate) async fn clear_others(&self) -> Result<(), Error> {
        let mut cursor: Option<Key> = None;
        loop {
            let page = self
                .whole
                .list(&Prefix::all(), cursor.as_ref(), CLEARED_AT_ONCE)
                .await?;
            let mine = keys::generation_prefix(self.number);
            // A restore that is under way loses its mark with the first thing that is taken away from it.
            let mut txn = Txn::new()
                .at(keys::generation(), self.revision)
                .delete(keys::restoring());
            let mut any = false;
            for entry in &page.entries {
                if entry.key == keys::restoring() {
                    any = true;
                } else if entry.key != keys::generation() && !mine.holds(&entry.key) {
                    txn = txn.delete(entry.key.clone());
                    any = true;
                }
            }
            if any {
                self.whole.commit(&txn).await?;
            }
            cursor = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Writes `entries` as the next generation and makes it the one that counts.
    ///
    /// The room of the next generation is one writer's: each commit needs the mark with which this restore began, and
    /// whoever clears that room takes the mark away.
    async fn swap(&self, entries: Vec<Kept>) -> Result<(), Error> {
        let next = self.number + 1;
        let pointer = keys::write(&Pointer {
            number: next,
            format: self.format,
        });
        let prefix = keys::generation_prefix(next);
        let mark = keys::restoring();
        let begin = Txn::new()
            .at(keys::generation(), self.revision)
            .put(mark.clone(), pointer.clone());
        let begun = self.whole.commit(&begin).await?;
        let part = || Txn::new().at(mark.clone(), begun);
        // What a restore that did not end left there.
        loop {
            let page = self.whole.list(&prefix, None, CLEARED_AT_ONCE).await?;
            if page.entries.is_empty() {
                break;
            }
            let txn = page
                .entries
                .iter()
                .fold(part(), |txn, entry| txn.delete(entry.key.clone()));
            self.whole.commit(&txn).await?;
        }
        let mut txn = part();
        let (mut count, mut bytes) = (0, 0);
        for (key, value) in entries {
            if count == WRITTEN_AT_ONCE || bytes + value.len() > WRITTEN_BYTES_AT_ONCE {
                self.whole.commit(&txn).await?;
                (txn, count, bytes) = (part(), 0, 0);
            }
            count += 1;
            bytes += value.len();
            txn = txn.put(keys::of_generation(next, &key)?, value);
        }
        self.whole.commit(&txn).await?;
        let key = keys::generation();
        let swap = part()
            .at(key.clone(), self.revision)
            .put(key, pointer)
            .delete(mark.clone());
        self.whole.commit(&swap).await.map(drop)
    }
}

/// Makes a backup, sealed with `password`.
///
/// # Errors
/// The store's; it changes too fast; it is larger than a backup may be.
pub(crate) async fn create(
    store: &Arc<dyn Store>,
    life: &Life,
    password: String,
) -> Result<(Vec<u8>, Header), Trouble> {
    create_within(store, life, password, BACKUP_BYTES_MAX).await
}

async fn create_within(
    store: &Arc<dyn Store>,
    life: &Life,
    password: String,
    limit: usize,
) -> Result<(Vec<u8>, Header), Trouble> {
    let entries = everything(&**store, limit).await?;
    let authority = life
        .resealed(&SealKey::passphrase(password.clone()))
        .await?;
    let header = Header {
        format: FORMAT,
        software: crate::SOFTWARE.to_owned(),
        created_unix_s: clock::unix_s(),
        epoch: life.epoch(),
        entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
    };
    let mut content = serde_json::to_vec(&header).map_err(internal)?;
    content.push(b'\n');
    for entry in entries {
        let value = if entry.key == keys::authority() {
            &authority
        } else {
            entry.value.as_bytes()
        };
        let line = (entry.key.as_str(), STANDARD.encode(value));
        serde_json::to_writer(&mut content, &line).map_err(internal)?;
        content.push(b'\n');
        if content.len() > limit {
            return Err(Trouble::TooLarge { limit });
        }
    }
    let sealed = tokio::task::spawn_blocking(move || {
        seal::seal(&content, PURPOSE, &SealKey::passphrase(password))
    });
    Ok((sealed.await.map_err(internal)?.map_err(internal)?, header))
}

/// Puts a backup in place of everything: checked first, in force by one swap.
///
/// # Errors
/// It is no backup, the password is another one, or something in it is wrong: nothing was changed.
pub(crate) async fn restore(
    generations: &Generations,
    life: &Life,
    by: &By,
    sealed: Vec<u8>,
    password: String,
) -> Result<Header, Trouble> {
    let key = SealKey::passphrase(password);
    let opened = tokio::task::spawn_blocking(move || {
        let content = seal::open(&sealed, PURPOSE, &key)
            .map_err(|error| Trouble::Invalid(error.to_string()))?;
        let (header, entries) = read(&content)?;
        let authority = entries.iter().find(|(key, _)| *key == keys::authority());
        let (_, sealed) = authority.ok_or_else(|| damaged("it holds no authority"))?;
        let authority =
            Authority::open(sealed, &key).map_err(|error| damaged(&error.to_string()))?;
        Ok::<_, Trouble>((header, entries, authority))
    });
    let (header, entries, authority) = opened.await.map_err(internal)??;
    let next = Next {
        epoch: life.epoch().max(header.epoch) + 1,
        trust: life.trust().await?.version,
        sealed: life.sealed(&authority).await?,
    };
    let entries = tokio::task::spawn_blocking(move || next.entries(entries, &authority))
        .await
        .map_err(internal)??;
    let entries = with_act(entries, by, &header)?;
    generations.swap(entries).await?;
    tracing::info!(
        epoch = header.epoch,
        entries = header.entries,
        by = by.who,
        "a backup was put in place of everything"
    );
    Ok(header)
}

/// What is not as it was.
struct Next {
    epoch: u64,
    /// The version of trust that nodes may have.
    trust: u64,
    sealed: Vec<u8>,
}

impl Next {
    fn entries(&self, entries: Vec<Kept>, authority: &Authority) -> Result<Vec<Kept>, Trouble> {
        let mut heads = Vec::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if key == keys::authority() {
                kept.push((key, self.sealed.clone()));
            } else if key == keys::life() {
                let _known: Lives = parse(&key, &value)?;
                kept.push((key, bytes(&Lives { epoch: self.epoch })));
            } else if key == keys::trust() {
                let old: TrustVersion = parse(&key, &value)?;
                let version = old.version.max(self.trust) + 1;
                kept.push((key, bytes(&TrustVersion { version })));
            } else if keys::place_of_head(&key).is_some() {
                heads.push((key, value));
            } else {
                kept.push((key, value));
            }
        }
        for (key, value) in heads {
            let again = Book::again(&kept, &key, &value, self.epoch, authority)?;
            kept.extend(again);
        }
        Ok(kept)
    }
}

/// The restored chain of acts, and that it was restored.
fn with_act(mut entries: Vec<Kept>, by: &By, header: &Header) -> Result<Vec<Kept>, Trouble> {
    let deed = Deed {
        verb: "backup-restore",
        subaccount: None,
        what: "control plane".to_owned(),
        detail: format!(
            "backup of {} s since 1970, epoch {}",
            header.created_unix_s, header.epoch
        ),
    };
    let head_key = keys::acts_head();
    let head = entries.iter().position(|(key, _)| *key == head_key);
    let head = head.map(|at| entries.swap_remove(at).1);
    entries.extend(Acts::continued(head.as_deref(), by, &deed)?);
    Ok(entries)
}

fn read(content: &[u8]) -> Result<(Header, Vec<Kept>), Trouble> {
    let mut lines = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let first = lines.next().ok_or_else(|| damaged("it is empty"))?;
    let header: Header =
        serde_json::from_slice(first).map_err(|error| damaged(&error.to_string()))?;
    if header.format > FORMAT {
        return Err(Trouble::Invalid(format!(
            "the backup {}; restore it with {} or a newer version",
            newer(header.format, FORMAT),
            header.software
        )));
    }
    let mut entries = Vec::new();
    for line in lines {
        let (key, value): (String, String) =
            serde_json::from_slice(line).map_err(|error| damaged(&error.to_string()))?;
        let key = Key::new(key).map_err(|error| damaged(&error.to_string()))?;
        let value = STANDARD
            .decode(value)
            .map_err(|error| damaged(&error.to_string()))?;
        entries.push((key, value));
    }
    if u64::try_from(entries.len()).ok() != Some(header.entries) {
        return Err(damaged("entries are missing"));
    }
    Ok((header, entries))
}

/// All that outlives a server, as it was at one moment: nothing is changed without an act, so when the head of the acts
/// is the same before and after, nothing was changed between.
async fn everything(store: &dyn Store, limit: usize) -> Result<Vec<Entry>, Trouble> {
    for _ in 0..READ_TRIES {
        let before = store
            .get(&keys::acts_head())
            .await?
            .map(|entry| entry.revision);
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut cursor: Option<Key> = None;
        loop {
            let page = store
                .list(&Prefix::all(), cursor.as_ref(), PAGE_ITEMS_MAX)
                .await?;
            cursor = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries {
                if outlives(&entry.key) {
                    bytes += entry.value.len();
                    entries.push(entry);
                }
            }
            if bytes > limit {
                return Err(Trouble::TooLarge { limit });
            }
            if !page.more {
                break;
            }
        }
        if store
            .get(&keys::acts_head())
            .await?
            .map(|entry| entry.revision)
            == before
        {
            return Ok(entries);
        }
    }
    Err(Trouble::Conflict(
        "the control plane is changed all the time; try again when it is quieter".to_owned(),
    ))
}

fn outlives(key: &Key) -> bool {
    let leased = ["live/", "asks/", "answers/"];
    *key != keys::setup() && !leased.iter().any(|prefix| key.as_str().starts_with(prefix))
}

/// Reads a record that is written anew, which must not lose what only a newer version knows.
fn parse<T: DeserializeOwned + Serialize>(key: &Key, value: &[u8]) -> Result<T, Trouble> {
    keys::read(key, value).map_err(|error| {
        if matches!(error, Error::Newer { .. }) {
            error.into()
        } else {
            damaged(&error.to_string())
        }
    })
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    keys::write(value).as_bytes().to_vec()
}

fn damaged(why: &str) -> Trouble {
    Trouble::Invalid(format!("the backup is damaged: {why}"))
}

fn internal(error: impl std::fmt::Display) -> Trouble {
    Trouble::Internal(format!("backup: {error}"))
}

/// What the seal is for: nothing else opens as a backup.
const PURPOSE: &str = "backup";
/// How often the store is read while it changes.
const READ_TRIES: usize = 10;
/// Keys taken away by one commit.
const CLEARED_AT_ONCE: usize = 50;
/// Keys written by one commit.
const WRITTEN_AT_ONCE: usize = 50;
/// Bytes written by one commit, but for a single larger value.
const WRITTEN_BYTES_AT_ONCE: usize = 16 * 1024 * 1024;
/// Between two tries to watch.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);
