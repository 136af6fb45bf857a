//! The rule book: what the agents of each location shall enforce, version by version.
//!
//! A version is compiled, tested, signed and stored with the record of who made it, in one commit; the head says which
//! version is in force and which is on trial. Versions only rise: what comes back comes back as a new one, since a
//! node takes nothing older than what it has.

use std::sync::Arc;

use adit_api::{Applied, Canary, Change, RuleSet, Version};
use adit_manifest::{Signers, Stamp, verify};
use adit_policy::Snapshot;
use adit_store::{Key, Revision, Store, Txn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::acts::{Acts, By, Deed};
use crate::clock;
use crate::keys;
use crate::life::Life;
use crate::limits::{COMPILERS_MAX, PAGE_ITEMS_MAX, VERSIONS_KEPT};
use crate::place::Place;
use crate::trouble::Trouble;

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

/// What the writer had read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// That there was nothing.
    Nothing,
    /// What was put by this commit.
    Revision(Revision),
}

/// Rules that are to be.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) text: String,
    pub(crate) message: String,
    /// Agents that get it first.
    pub(crate) canary: Option<Vec<String>>,
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
                    let head: Head = keys::read(&entry.key, entry.value.as_bytes())?;
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
            let made = self.version(place, version).await?.changed_unix_s;
            let txn = Txn::new().at(key.clone(), entry.revision);
            let (document, txn) = self.life.sign(&place.audience(), stamp, made, &text, txn);
            self.store.commit(&txn.put(key, document)).await?;
        }
        Ok(())
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
                for entry in &page.entries {
                    let Some(place) = keys::place_of_head(&entry.key) else {
                        continue;
                    };
                    if items.len() >= items_max {
                        return Ok((items, last));
                    }
                    let head: Head = keys::read(&entry.key, entry.value.as_bytes())?;
                    items.push(RuleSet {
                        subaccount: place.subaccount().to_owned(),
                        location: place.location().to_owned(),
                        version: head.version,
                    });
                    last = Some(entry.key.to_string());
                }
                cursor = page.entries.last().map(|entry| entry.key.clone());
                if !page.more {
                    break;
                }
            }
        }
        Ok((items, None))
    }

    /// Puts rules in force, or on trial. Where they are in force already, nothing is changed.
    pub(crate) async fn apply(
        &self,
        by: &By,
        place: &Place,
        base: Base,
        wish: Wish,
    ) -> Result<Applied, Trouble> {
        let current = self.checked(place, base).await?;
        let compiled = self.compile(wish.text).await?;
        let head = current.as_ref().map(|current| &current.head);
        if let Some(head) = head.filter(|head| head.canary.is_none() && head.version > 0) {
            let known = self.version(place, head.version).await?;
            if known.sha256 == compiled.sha256 {
                return Ok(applied(&known, false, false));
            }
        }
        no_trial(head)?;
        let version = head.map_or(0, |head| head.last) + 1;
        let next = match &wish.canary {
            Some(agents) => Head {
                version: head.map_or(0, |head| head.version),
                last: version,
                canary: Some(Canary {
                    version,
                    agents: agents.clone(),
                }),
            },
            None => Head {
                version,
                last: version,
                canary: None,
            },
        };
        let detail = match &wish.canary {
            Some(agents) => format!("version {version} on trial at {}", agents.join(", ")),
            None => format!("version {version}"),
        };
        let new = New {
            compiled,
            message: wish.message,
            change: Change::Applied {},
            verb: "rules-apply",
            detail,
        };
        self.put(by, place, current.as_ref(), next, new).await
    }

    /// Brings the rules of version `to` back, as a new version.
    pub(crate) async fn roll_back(
        &self,
        by: &By,
        place: &Place,
        base: Base,
        to: u64,
        message: String,
    ) -> Result<Applied, Trouble> {
        let current = self.checked(place, base).await?;
        let head = current.as_ref().map(|current| &current.head);
        no_trial(head)?;
        let known = self.version(place, to).await?;
        if head.is_some_and(|head| head.version == to) {
            return Ok(applied(&known, false, false));
        }
        let compiled = self.compile(self.text(place, to).await?).await?;
        let version = head.map_or(0, |head| head.last) + 1;
        let next = Head {
            version,
            last: version,
            canary: None,
        };
        let detail = format!("version {version}: the rules of version {to}");
        let new = New {
            compiled,
            message,
            change: Change::RolledBack { to },
            verb: "rules-rollback",
            detail,
        };
        self.put(by, place, current.as_ref(), next, new).await
    }

    /// Ends a trial: all agents get the version.
    pub(crate) async fn promote(
        &self,
        by: &By,
        place: &Place,
        base: Base,
    ) -> Result<Applied, Trouble> {
        let (current, canary) = self.on_trial(place, base).await?;
        let known = self.version(place, canary.version).await?;
        let next = Head {
            version: canary.version,
            canary: None,
            ..current.head
        };
        let deed = deed(
            "rules-promote",
            place,
            format!("version {}", canary.version),
        );
        let key = keys::head(place);
        let txn = Txn::new()
            .at(key.clone(), current.revision)
            .put(key, keys::write(&next));
        self.acts.commit(by, &deed, &txn).await?;
        Ok(applied(&known, true, false))
    }

    /// Ends a trial: what was in force before comes back to the agents that had it, as a new version.
    pub(crate) async fn abandon(
        &self,
        by: &By,
        place: &Place,
        base: Base,
    ) -> Result<Applied, Trouble> {
        let (current, canary) = self.on_trial(place, base).await?;
        let text = match current.head.version {
            // There was nothing before, and nothing is allowed by no rules.
            0 => String::new(),
            version => self.text(place, version).await?,
        };
        let compiled = self.compile(text).await?;
        let version = current.head.last + 1;
        let next = Head {
            version,
            last: version,
            canary: None,
        };
        let new = New {
            compiled,
            message: format!("the trial of version {} was abandoned", canary.version),
            change: Change::Abandoned {
                canary: canary.version,
            },
            verb: "rules-abandon",
            detail: format!("version {version} in place of {}", canary.version),
        };
        self.put(by, place, Some(&current), next, new).await
    }

    /// The rules of a restored head as a new version of `epoch`, so that agents take it whatever they have: the head,
    /// what is known of the version, its document.
    pub(crate) fn again(
        entries: &[(Key, Vec<u8>)],
        head_key: &Key,
        head: &[u8],
        epoch: u64,
        authority: &adit_authority::Authority,
    ) -> Result<Vec<(Key, Vec<u8>)>, Trouble> {
        let place = keys::place_of_head(head_key)
            .ok_or_else(|| Trouble::Invalid(format!("{head_key} is no head")))?;
        let head: Head = keys::read(head_key, head)?;
        let find = |key: Key| {
            let found = entries
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| value);
            found
                .ok_or_else(|| Trouble::Invalid(format!("the backup is damaged: {key} is missing")))
        };
        let known = |version| -> Result<Version, Trouble> {
            let key = keys::meta(&place, version);
            Ok(keys::read(&key, find(key.clone())?)?)
        };
        // What was on trial is over with the epoch; with nothing before it, nothing is allowed. That too is a version:
        // an agent that had the trial would keep it otherwise.
        let (text, mut meta) = match (head.version, &head.canary) {
            (0, canary) => {
                let on_trial = canary.as_ref().map_or(head.last, |canary| canary.version);
                let nothing = compile(String::new())?;
                let meta = Version {
                    sha256: nothing.sha256,
                    systems: nothing.systems,
                    resources: nothing.resources,
                    message: format!("the trial of version {on_trial} ended with a restore"),
                    ..known(on_trial)?
                };
                (String::new(), meta)
            }
            (version, _) => {
                let document = find(keys::document(&place, version))?;
                let (_, text) = adit_manifest::read(document).map_err(|refused| {
                    Trouble::Invalid(format!("the backup is damaged: {refused}"))
                })?;
                (text.to_owned(), known(version)?)
            }
        };
        let now = clock::unix_s();
        let stamp = Stamp {
            epoch,
            version: head.last + 1,
        };
        meta.change = Change::Restored {
            version: meta.version,
            epoch: meta.epoch,
        };
        meta.epoch = epoch;
        meta.version = stamp.version;
        meta.changed_unix_s = now;
        let document = adit_manifest::sign(
            &place.audience(),
            stamp,
            now,
            &text,
            &[authority.signing_key()],
        );
        let next = Head {
            version: stamp.version,
            last: stamp.version,
            canary: None,
        };
        let bytes = |value: adit_store::Value| value.as_bytes().to_vec();
        Ok(vec![
            (head_key.clone(), bytes(keys::write(&next))),
            (keys::meta(&place, stamp.version), bytes(keys::write(&meta))),
            (keys::document(&place, stamp.version), document.into_bytes()),
        ])
    }

    async fn on_trial(&self, place: &Place, base: Base) -> Result<(Current, Canary), Trouble> {
        let current = self.checked(place, base).await?;
        let canary = current
            .as_ref()
            .and_then(|current| current.head.canary.clone());
        current
            .zip(canary)
            .ok_or_else(|| Trouble::Conflict(format!("no version is on trial for {place}")))
    }

    /// What is in force, if it is what the writer has read.
    async fn checked(&self, place: &Place, base: Base) -> Result<Option<Current>, Trouble> {
        let current = self.current(place).await?;
        let found = current.as_ref().map(|current| current.revision);
        let same = match base {
            Base::Nothing => found.is_none(),
            Base::Revision(revision) => found == Some(revision),
        };
        if same {
            return Ok(current);
        }
        Err(Trouble::Stale(match &current {
            Some(current) => format!(
                "the rules of {place} were changed by somebody else: version {} is in force; read it again",
                current.head.version
            ),
            None => format!("there are no rules of {place}; send If-None-Match: *"),
        }))
    }

    /// Turns to compile, for tests that take them.
    #[cfg(test)]
    pub(crate) fn compilers(&self) -> &Semaphore {
        &self.compilers
    }

    async fn compile(&self, text: String) -> Result<Compiled, Trouble> {
        let turn = Arc::clone(&self.compilers)
            .acquire_owned()
            .await
            .map_err(|closed| Trouble::Internal(closed.to_string()))?;
        // The turn is the work's: whoever asked may be gone before it has ended.
        let compiling = tokio::task::spawn_blocking(move || {
            let compiled = compile(text);
            drop(turn);
            compiled
        });
        compiling
            .await
            .map_err(|ended| Trouble::Internal(format!("compiling ended: {ended}")))?
    }

    async fn put(
        &self,
        by: &By,
        place: &Place,
        current: Option<&Current>,
        next: Head,
        new: New,
    ) -> Result<Applied, Trouble> {
        let stamp = Stamp {
            epoch: self.life.epoch(),
            version: next.last,
        };
        let now = clock::unix_s();
        let meta = Version {
            subaccount: place.subaccount().to_owned(),
            location: place.location().to_owned(),
            epoch: stamp.epoch,
            version: stamp.version,
            sha256: new.compiled.sha256,
            systems: new.compiled.systems,
            resources: new.compiled.resources,
            changed_unix_s: now,
            changed_by: by.who.clone(),
            message: new.message,
            change: new.change,
        };
        let key = keys::head(place);
        let mut txn = match current {
            Some(current) => Txn::new().at(key.clone(), current.revision),
            None => Txn::new().absent(key.clone()),
        };
        txn = txn
            .put(key, keys::write(&next))
            .put(keys::meta(place, stamp.version), keys::write(&meta));
        // What is in force or on trial is never that old: a trial blocks further versions.
        if let Some(old) = stamp
            .version
            .checked_sub(VERSIONS_KEPT)
            .filter(|old| *old > 0 && *old < next.version)
        {
            txn = txn
                .delete(keys::meta(place, old))
                .delete(keys::document(place, old));
        }
        let deed = deed(new.verb, place, new.detail);
        loop {
            let (document, txn) = self.life.sign(
                &place.audience(),
                stamp,
                now,
                &new.compiled.text,
                txn.clone(),
            );
            let txn = txn.put(keys::document(place, stamp.version), document);
            match self.acts.commit(by, &deed, &txn).await {
                Ok(_) => return Ok(applied(&meta, true, next.canary.is_some())),
                // Not with a key that is about to go.
                Err(error) if self.life.was_stale(&error).await? => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A version on its way into the book.
struct New {
    compiled: Compiled,
    message: String,
    change: Change,
    verb: &'static str,
    detail: String,
}

/// Rules that are right and pass their tests.
#[derive(Debug)]
struct Compiled {
    text: String,
    sha256: String,
    systems: u64,
    resources: u64,
}

fn compile(text: String) -> Result<Compiled, Trouble> {
    let snapshot = Snapshot::from_file("rules", 1, text).map_err(|problems| {
        Trouble::rules("the rules are wrong; nothing was changed", &problems)
    })?;
    snapshot.table().run_tests().map_err(|problems| {
        Trouble::rules("tests of the rules fail; nothing was changed", &problems)
    })?;
    let systems = &snapshot.table().rules().systems;
    let resources = systems.iter().map(|system| system.resources.len()).sum();
    Ok(Compiled {
        sha256: snapshot.hash_hex(),
        systems: count(systems.len()),
        resources: count(resources),
        text: snapshot.text().to_owned(),
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn no_trial(head: Option<&Head>) -> Result<(), Trouble> {
    match head.and_then(|head| head.canary.as_ref()) {
        None => Ok(()),
        Some(canary) => Err(Trouble::Conflict(format!(
            "version {} is on trial at {}; promote or abandon it first",
            canary.version,
            canary.agents.join(", ")
        ))),
    }
}

fn applied(version: &Version, changed: bool, canary: bool) -> Applied {
    Applied {
        version: version.version,
        epoch: version.epoch,
        sha256: version.sha256.clone(),
        changed,
        canary,
    }
}

fn deed(verb: &'static str, place: &Place, detail: String) -> Deed {
    Deed {
        verb,
        subaccount: Some(place.subaccount().to_owned()),
        what: format!("rules of {place}"),
        detail,
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
