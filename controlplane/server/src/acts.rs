//! The chain of acts: nothing is changed without the record of who changed it.
//!
//! A change and its record are one commit. Records are `audit`'s lines, each carrying the digest of the one before;
//! the place of the last one is compared and swapped, so the chain is one, however many servers write it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use adit_api::Act;
use adit_audit::{Chain, Digest, Record, Text};
use adit_store::{Error, Key, Outcome, Revision, Store, Txn};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::keys;
use crate::limits::{ACTS_KEPT, COMMIT_TRIES, PAGE_ITEMS_MAX};
use crate::trouble::Trouble;

/// Who does something, and in which request.
#[derive(Clone, Debug)]
pub(crate) struct By {
    pub(crate) who: String,
    /// Of the certificate that proved it, if one did: SHA-256 in hexadecimal.
    pub(crate) fingerprint: Option<String>,
    pub(crate) request_id: String,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) verb: &'static str,
    pub(crate) subaccount: Option<String>,
    pub(crate) what: String,
    pub(crate) detail: String,
}

/// Writes and reads the chain.
#[derive(Clone, Debug)]
pub(crate) struct Acts {
    store: Arc<dyn Store>,
    /// One of this server at a time: only other servers are competed with.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Where the chain stands.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    sequence: u64,
    last: Option<Digest>,
}

impl Head {
    /// Where the chain stands behind one more line, and the line.
    fn with(&self, by: &By, deed: &Deed) -> (Self, Vec<u8>) {
        let mut chain = Chain::at(self.sequence, self.last.unwrap_or(Digest::ZERO));
        let mut line = Vec::new();
        // First, since a long text loses its end.
        let detail = match &by.fingerprint {
            None => Cow::Borrowed(deed.detail.as_str()),
            Some(fingerprint) if deed.detail.is_empty() => {
                Cow::Owned(format!("by certificate {fingerprint}"))
            }
            Some(fingerprint) => {
                Cow::Owned(format!("by certificate {fingerprint}; {}", deed.detail))
            }
        };
        chain.append(&Record::Act(record(by, deed, &detail)), &mut line);
        let next = Self {
            sequence: chain.sequence(),
            last: Some(chain.last()),
        };
        (next, line)
    }
}

impl Acts {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            turn: Arc::default(),
        }
    }

    /// Does all of `txn` and records it, or nothing.
    ///
    /// # Errors
    /// As for [`Store::commit`]; a conflict is always one of `txn`'s own conditions.
    pub(crate) async fn commit(&self, by: &By, deed: &Deed, txn: &Txn) -> Result<Revision, Error> {
        let _turn = self.turn.lock().await;
        let head_key = keys::acts_head();
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.store.get(&head_key).await?;
            let head: Head = match &found {
                Some(entry) => keys::read(&head_key, entry.value.as_bytes())?,
                None => Head::default(),
            };
            let (next, line) = head.with(by, deed);
            let mut whole = match &found {
                Some(entry) => txn.clone().at(head_key.clone(), entry.revision),
                None => txn.clone().absent(head_key.clone()),
            };
            whole = whole
                .put(head_key.clone(), keys::write(&next))
                .put(keys::act(next.sequence), line);
            if let Some(old) = next.sequence.checked_sub(ACTS_KEPT).filter(|old| *old > 0) {
                whole = whole.delete(keys::act(old));
            }
            match self.store.commit(&whole).await {
                // Somebody else did something meanwhile, which is no reason not to do this.
                Err(Error::Conflict { key, .. }) if key == head_key && tries < COMMIT_TRIES => {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=5 * tries))).await;
                }
                Err(Error::Conflict { key, .. }) if key == head_key => {
                    return Err(Error::Unavailable {
                        place: key.to_string(),
                        why: format!("others were first {COMMIT_TRIES} times"),
                        outcome: Outcome::NotDone,
                    });
                }
                done => return done,
            }
        }
    }

    /// What is to be stored so that the chain whose head is `head` goes on with `deed`.
    pub(crate) fn continued(
        head: Option<&[u8]>,
        by: &By,
        deed: &Deed,
    ) -> Result<[(Key, Vec<u8>); 2], Error> {
        let head_key = keys::acts_head();
        let head: Head = match head {
            Some(bytes) => keys::read(&head_key, bytes)?,
            None => Head::default(),
        };
        let (next, line) = head.with(by, deed);
        let next_key = keys::act(next.sequence);
        Ok([
            (head_key, keys::write(&next).as_bytes().to_vec()),
            (next_key, line),
        ])
    }

    /// The number of the last act; 0 when there is none.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn last(&self) -> Result<u64, Error> {
        let key = keys::acts_head();
        match self.store.get(&key).await? {
            Some(entry) => {
                let head: Head = keys::read(&key, entry.value.as_bytes())?;
                Ok(head.sequence)
            }
            None => Ok(0),
        }
    }

    /// Records something that changed nothing in the store.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    pub(crate) async fn note(&self, by: &By, deed: &Deed) -> Result<(), Error> {
        self.commit(by, deed, &Txn::new()).await.map(drop)
    }

    /// Acts behind number `after`, and whether there are more. Those of `subaccount` only, if one is given.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn list(
        &self,
        after: u64,
        items_max: usize,
        wanted: impl Fn(&Act) -> bool,
    ) -> Result<(Vec<Act>, Option<u64>), Trouble> {
        let prefix = keys::acts();
        let mut items = Vec::new();
        let mut cursor = after;
        // Bounded, though few of the acts may be wanted: the caller comes again behind the last one looked at.
        for _ in 0..SCANNED_PAGES_MAX {
            let from = keys::act(cursor);
            let page = self
                .store
                .list(&prefix, Some(&from), PAGE_ITEMS_MAX)
                .await?;
            for entry in &page.entries {
                let act = read(&entry.key, entry.value.as_bytes())?;
                cursor = act.sequence;
                if wanted(&act) {
                    items.push(act);
                }
                if items.len() >= items_max {
                    return Ok((items, Some(cursor)));
                }
            }
            if !page.more {
                return Ok((items, None));
            }
        }
        Ok((items, Some(cursor)))
    }

    /// The lines themselves behind number `after`, for `adit audit verify`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn lines(&self, after: u64) -> Result<(Vec<u8>, Option<u64>), Trouble> {
        let prefix = keys::acts();
        let from = keys::act(after);
        let page = self
            .store
            .list(&prefix, Some(&from), PAGE_ITEMS_MAX)
            .await?;
        let mut lines = Vec::new();
        let mut last = after;
        for entry in &page.entries {
            lines.extend_from_slice(entry.value.as_bytes());
            last = read(&entry.key, entry.value.as_bytes())?.sequence;
        }
        Ok((lines, page.more.then_some(last)))
    }
}

/// Pages of acts that one request looks at. Each is 200 x 1 KiB.
const SCANNED_PAGES_MAX: usize = 20;

fn record<'a>(by: &'a By, deed: &'a Deed, detail: &'a str) -> adit_audit::Act<'a> {
    adit_audit::Act {
        unix_ms: clock::unix_ms(),
        who: Text::of(&by.who),
        verb: Text::of(deed.verb),
        subaccount: deed.subaccount.as_ref().map(Text::of),
        what: Text::of(&deed.what),
        detail: Text::of(detail),
        request: Text::of(&by.request_id),
    }
}

/// A line as it is shown.
#[derive(Deserialize)]
struct Shown {
    sequence: u64,
    unix_ms: u64,
    who: String,
    verb: String,
    subaccount: Option<String>,
    what: String,
    detail: String,
    request: String,
}

fn read(key: &Key, line: &[u8]) -> Result<Act, Trouble> {
    let shown: Shown = keys::hear(key, line)?;
    Ok(Act {
        sequence: shown.sequence,
        unix_ms: shown.unix_ms,
        who: shown.who,
        verb: shown.verb,
        subaccount: shown.subaccount,
        what: shown.what,
        detail: shown.detail,
        request_id: shown.request,
    })
}

#[cfg(test)]
mod tests;
