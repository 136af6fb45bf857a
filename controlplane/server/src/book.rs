//! The rule book: what the agents of each location shall enforce, version by version.
//!
//! A version is compiled, tested, signed and stored with the record of who made it, in one commit; the head says which
//! version is in force and which is on trial. Versions only rise: what comes back comes back as a new one, since a
//! node takes nothing older than what it has. Here it is read; it is changed in [`changes`].

mod changes;
mod compiling;
mod restored;

use std::sync::Arc;

use adit_api::{Canary, RuleSet, Version};
use adit_manifest::{Signers, Stamp, verify};
use adit_store::{Key, Revision, Store, Txn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::acts::Acts;
use crate::keys;
use crate::life::Life;
use crate::limits::{COMPILERS_MAX, PAGE_ITEMS_MAX, VERSIONS_KEPT};
use crate::place::Place;
use crate::scan;
use crate::trouble::Trouble;

pub(crate) use changes::{Base, Wish};

/// Reads and changes rules.
#[derive(Debug)]
pub(crate) struct Book {
    store: Arc<dyn Store>,
    acts: Acts,
    life: Arc<Life>,
    compilers: Arc<Semaphore>,
}

/// Which version is in force at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// 0 while the first version ever is on trial.
    pub(crate) version: u64,
    /// The greatest number that was given away.
    pub(crate) last: u64,
    pub(crate) canary: Option<Canary>,
}

impl Head {
    /// The version that agent `name` shall have; `None` for none yet.
    pub(crate) fn wanted(&self, name: &str) -> Option<u64> {
        let canary = self.canary.as_ref();
        let on_trial = canary.filter(|canary| canary.agents.iter().any(|agent| agent == name));
        Some(on_trial.map_or(self.version, |canary| canary.version)).filter(|version| *version > 0)
    }
}

/// The rules in force at a place.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) head: Head,
    pub(crate) revision: Revision,
}

impl Book {
    pub(crate) fn new(store: Arc<dyn Store>, acts: Acts, life: Arc<Life>) -> Self {
        Self {
            store,
            acts,
            life,
            compilers: Arc::new(Semaphore::new(COMPILERS_MAX)),
        }
    }

    /// What is in force at `place`.
    pub(crate) async fn current(&self, place: &Place) -> Result<Option<Current>, Trouble> {
        let key = keys::head(place);
        let Some(entry) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let head = keys::read(&key, entry.value.as_bytes())?;
        Ok(Some(Current {
            head,
            revision: entry.revision,
        }))
    }

    /// What is known of a version.
    pub(crate) async fn version(&self, place: &Place, version: u64) -> Result<Version, Trouble> {
        let key = keys::meta(place, version);
        let entry = self
            .store
            .get(&key)
            .await?
            .ok_or_else(|| no_version(place, version))?;
        Ok(keys::read(&key, entry.value.as_bytes())?)
    }

    /// The signed document of a version.
    pub(crate) async fn document(&self, place: &Place, version: u64) -> Result<Bytes, Trouble> {
        let key = keys::document(place, version);
        let entry = self
            .store
            .get(&key)
            .await?
            .ok_or_else(|| no_version(place, version))?;
        Ok(entry.value.into_bytes())
    }

    /// The signed document of a version, held against its signature: what a store was made to say is not taken for
    /// what was signed.
    pub(crate) async fn signed(&self, place: &Place, version: u64) -> Result<Bytes, Trouble> {
        let document = self.document(place, version).await?;
        self.verified(place, version, &document).await?;
        Ok(document)
    }

    /// The rules of a version, as they were written; held against their signature as well.
    pub(crate) async fn text(&self, place: &Place, version: u64) -> Result<String, Trouble> {
        let document = self.document(place, version).await?;
        self.verified(place, version, &document)
            .await
            .map(|(text, _)| text)
    }

    async fn verified(
        &self,
        place: &Place,
        version: u64,
        document: &[u8],
    ) -> Result<(String, Stamp), Trouble> {
        let refused = match self.verify(place, version, document) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        // Another server may have changed the keys a moment ago.
        self.life.take_in().await?;
        self.verify(place, version, document)
            .map_err(|_again| refused)
    }

    fn verify(
        &self,
        place: &Place,
        version: u64,
        document: &[u8],
    ) -> Result<(String, Stamp), Trouble> {
        let damaged = |why| Trouble::Store(corrupt(&keys::document(place, version), why));
        let keys = self.life.public_keys();
        let verified = verify(document, Signers::Keys(&keys), &place.audience(), None)
            .map_err(|refused| damaged(refused.to_string()))?;
        let stamp = verified.manifest.stamp;
        if stamp.version != version {
            return Err(damaged(format!("is version {}", stamp.version)));
        }
        Ok((verified.content.to_owned(), stamp))
    }

    /// Signs every version that is kept with the key that signs now, before the old key counts no more. What is
    /// damaged stays as it is.
    pub(crate) async fn sign_anew(&self) -> Result<(), Trouble> {
        self.life.take_in().await?;
        let mut after: Option<Key> = None;
        loop {
            let page = self
                .store
                .list(&keys::heads(), after.as_ref(), PAGE_ITEMS_MAX)
                .await?;
            for entry in &page.entries {
                if let Some(place) = keys::place_of_head(&entry.key) {
                    // Heard, for it is not written anew: a place that was left out would be without rules that anybody
                    // trusts.
                    let head: Head = keys::hear(&entry.key, entry.value.as_bytes())?;
                    self.sign_place_anew(&place, &head).await?;
                }
            }
            after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn sign_place_anew(&self, place: &Place, head: &Head) -> Result<(), Trouble> {
        let oldest = head.last.saturating_sub(VERSIONS_KEPT - 1).max(1);
        for version in (oldest..=head.last).rev() {
            let key = keys::document(place, version);
            let Some(entry) = self.store.get(&key).await? else {
                return Ok(());
            };
            let (text, stamp) = match self.verify(place, version, entry.value.as_bytes()) {
                Ok(verified) => verified,
                Err(trouble) => {
                    tracing::error!(%place, version, ?trouble, "damaged rules are not signed anew");
                    continue;
                }
            };
            let made = self.made_unix_s(place, version).await?;
            let txn = Txn::new().at(key.clone(), entry.revision);
            let (document, txn) = self.life.sign(&place.audience(), stamp, made, &text, txn);
            self.store.commit(&txn.put(key, document)).await?;
        }
        Ok(())
    }

    /// When a version was made, also one of which a newer version says more.
    async fn made_unix_s(&self, place: &Place, version: u64) -> Result<u64, Trouble> {
        let key = keys::meta(place, version);
        let entry = self.store.get(&key).await?;
        let entry = entry.ok_or_else(|| no_version(place, version))?;
        let heard: Version = keys::hear(&key, entry.value.as_bytes())?;
        Ok(heard.changed_unix_s)
    }

    /// Versions before `before`, newest first, and whether there are more.
    pub(crate) async fn versions(
        &self,
        place: &Place,
        before: Option<u64>,
        items_max: usize,
    ) -> Result<(Vec<Version>, Option<u64>), Trouble> {
        let Some(current) = self.current(place).await? else {
            return Ok((Vec::new(), None));
        };
        let newest = before
            .map_or(current.head.last, |before| before.saturating_sub(1))
            .min(current.head.last);
        let mut items = Vec::new();
        let mut version = newest;
        while version > 0 && items.len() < items_max {
            let key = keys::meta(place, version);
            match self.store.get(&key).await? {
                Some(entry) => items.push(keys::read(&key, entry.value.as_bytes())?),
                // Older ones are not kept.
                None => return Ok((items, None)),
            }
            version -= 1;
        }
        Ok((items, (version > 0).then_some(version + 1)))
    }

    /// Places that have rules, of these subaccounts or of all: a page, and where to go on.
    pub(crate) async fn places(
        &self,
        subaccounts: Option<&[String]>,
        after: Option<&Key>,
        items_max: usize,
    ) -> Result<(Vec<RuleSet>, Option<String>), Trouble> {
        let mut prefixes = match subaccounts {
            None => vec![keys::heads()],
            Some(names) => names.iter().map(|name| keys::heads_of(name)).collect(),
        };
        // In the order of their keys, as `after` means it.
        prefixes.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        let mut items: Vec<RuleSet> = Vec::new();
        let mut last = None;
        for prefix in prefixes {
            let passed =
                after.is_some_and(|after| !prefix.holds(after) && after.as_str() > prefix.as_str());
            if passed {
                continue;
            }
            let mut cursor = after.filter(|after| prefix.holds(after)).cloned();
            loop {
                let page = self
                    .store
                    .list(&prefix, cursor.as_ref(), PAGE_ITEMS_MAX)
                    .await?;
                cursor = page.entries.last().map(|entry| entry.key.clone());
                for (entry, head) in scan::read::<Head>(page.entries)?.known {
                    let Some(place) = keys::place_of_head(&entry.key) else {
                        continue;
                    };
                    if items.len() >= items_max {
                        return Ok((items, last));
                    }
                    items.push(RuleSet {
                        subaccount: place.subaccount().to_owned(),
                        location: place.location().to_owned(),
                        version: head.version,
                    });
                    last = Some(entry.key.to_string());
                }
                if !page.more {
                    break;
                }
            }
        }
        Ok((items, None))
    }
}

fn no_version(place: &Place, version: u64) -> Trouble {
    Trouble::NotFound(format!(
        "there is no version {version} of the rules of {place}; the last {VERSIONS_KEPT} are kept"
    ))
}

fn corrupt(key: &Key, why: String) -> adit_store::Error {
    adit_store::Error::Corrupt {
        place: key.to_string(),
        why,
    }
}

#[cfg(test)]
mod tests;
