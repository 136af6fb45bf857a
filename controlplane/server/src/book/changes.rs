//! Changes of the rule book: apply, roll back, promote, abandon; each one commit with the record of who made it.

use adit_api::{Applied, Canary, Change, Version};
use adit_manifest::Stamp;
use adit_store::{Revision, Txn};

use super::compiling::Compiled;
use super::{Book, Current, Head};
use crate::acts::{By, Deed};
use crate::clock;
use crate::keys;
use crate::limits::VERSIONS_KEPT;
use crate::place::Place;
use crate::trouble::Trouble;

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

impl Book {
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
