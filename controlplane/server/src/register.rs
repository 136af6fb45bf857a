//! The register of nodes: who was invited, who became a node, whose certificates count.
//!
//! An invitation works once: whoever uses it takes it away in the same commit that makes the node. Making them and
//! taking them back is `invitations`'s, certificates are the authority's, what a node runs is the hub's.

mod invitations;

use std::sync::Arc;

use adit_api::{Certificate, Node};
use adit_proto::control::{Enrol, Enrolled, Expired, Trust};
use adit_store::{Error, Key, Prefix, Revision, Store, Txn};
use serde::{Deserialize, Serialize};

use crate::acts::{Acts, By, Deed};
use crate::clock;
use crate::keys;
use crate::life::Life;
use crate::limits::{COMMIT_TRIES, PAGE_ITEMS_MAX, RENEWALS_PER_LIFE};
use crate::place::{NodeId, Place};
use crate::scan;
use crate::trouble::Trouble;
use invitations::Stored;

/// Reads and changes the register.
#[derive(Debug)]
pub(crate) struct Register {
    store: Arc<dyn Store>,
    acts: Acts,
    life: Arc<Life>,
    policy: CertificatePolicy,
}

/// How long certificates of nodes count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificatePolicy {
    pub(crate) life_s: u64,
    /// How long after its certificate has ended a known node may still get another one; 0: never.
    pub(crate) renew_expired_s: u64,
}

/// A node as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    pub(crate) location: String,
    pub(crate) enrolled_unix_s: u64,
    /// Certificates that have not ended, the newest last.
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) revoked: bool,
}

impl Enrolment {
    fn node(&self, id: &NodeId) -> Node {
        Node {
            role: id.role,
            subaccount: id.subaccount().map(str::to_owned),
            name: id.name().to_owned(),
            location: self.location.clone(),
            enrolled_unix_s: self.enrolled_unix_s,
            certificate: self.certificates.last().cloned().unwrap_or(Certificate {
                serial: String::new(),
                until_unix_s: 0,
            }),
            revoked: self.revoked,
            connected: None,
        }
    }
}

/// A page of nodes, without what only the hub knows.
pub(crate) type Found = (Vec<(NodeId, Node)>, Option<String>);

impl Register {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        acts: Acts,
        life: Arc<Life>,
        policy: CertificatePolicy,
    ) -> Self {
        Self {
            store,
            acts,
            life,
            policy,
        }
    }

    /// Makes whoever has the invitation's secret a node.
    pub(crate) async fn enrol(&self, wish: &Enrol, request_id: &str) -> Result<Enrolled, Trouble> {
        // One answer for all that is wrong with a secret: a stranger learns nothing from it.
        let refused = || {
            Trouble::Unauthenticated(
                "this invitation cannot be used: it was used before, was taken back or has ended",
            )
        };
        let hash = self
            .life
            .hash_of_invitation(&wish.token)
            .ok_or_else(refused)?;
        let key = keys::invitation(&hash);
        let entry = self.store.get(&key).await?.ok_or_else(refused)?;
        let stored: Stored = keys::read(&key, entry.value.as_bytes())?;
        let now = clock::unix_s();
        let Some(id) = NodeId::parse(&stored.node).filter(|_| stored.expires_unix_s > now) else {
            return Err(refused());
        };
        let node_key = keys::node(&id);
        let issued = self.life.issue(&wish.csr, &id, self.policy.life_s)?;
        let certificate = Certificate {
            serial: issued.serial.clone(),
            until_unix_s: issued.not_after_unix_s,
        };
        let enrolment = Enrolment {
            location: stored.location.clone(),
            enrolled_unix_s: now,
            certificates: vec![certificate],
            revoked: false,
        };
        let trust = self.trust().await?;
        let by = By {
            who: format!("invitation of {}", stored.by),
            fingerprint: None,
            request_id: request_id.to_owned(),
        };
        let deed = deed(
            "node-enrolled",
            &id,
            format!("serial {}, {}", issued.serial, wish.software),
        );
        let mut tries = Tries::default();
        loop {
            let txn = Txn::new()
                .at(key.clone(), entry.revision)
                .delete(key.clone());
            let txn = match self.store.get(&node_key).await? {
                None => txn.absent(node_key.clone()),
                Some(known) => {
                    // The name goes to another key: what had it before is nobody from now on.
                    let old: Enrolment = keys::read(&node_key, known.value.as_bytes())?;
                    let txn = txn.at(node_key.clone(), known.revision);
                    self.life.revoking(txn, &old.certificates, now).await?
                }
            };
            let txn = txn.put(node_key.clone(), keys::write(&enrolment));
            match self.acts.commit(&by, &deed, &txn).await {
                Ok(_) => break,
                // Two used it at once, and the other was first.
                Err(Error::Conflict { key: lost, .. }) if lost == key => return Err(refused()),
                Err(error) => tries.again(error)?,
            }
        }
        Ok(enrolled(issued, stored.location, trust))
    }

    /// Gives a node that has proved its certificate `serial` the next one.
    pub(crate) async fn renew(
        &self,
        id: &NodeId,
        serial: &str,
        csr: &str,
        request_id: &str,
    ) -> Result<Enrolled, Trouble> {
        may_act(id, &self.enrolment(id).await?.0, serial)?;
        let now = clock::unix_s();
        let issued = self.life.issue(csr, id, self.policy.life_s)?;
        let trust = self.trust().await?;
        let by = By {
            who: id.to_string(),
            fingerprint: None,
            request_id: request_id.to_owned(),
        };
        let detail = format!("serial {} in place of {serial}", issued.serial);
        let deed = deed("node-renewed", id, detail);
        let mut tries = Tries::default();
        loop {
            let (mut enrolment, revision) = self.enrolment(id).await?;
            may_act(id, &enrolment, serial)?;
            // One that has ended stays as long as it can be renewed: the answer to its renewal may get lost.
            enrolment
                .certificates
                .retain(|known| known.until_unix_s + self.policy.renew_expired_s > now);
            // Bounded, if somebody renews without end: the oldest no longer counts then. Not the one that asks.
            let mut dropped = Vec::new();
            let newest = enrolment.certificates.last();
            let newest_until = newest.map_or(0, |newest| newest.until_unix_s);
            while enrolment.certificates.len() >= CERTIFICATES_MAX {
                let oldest = enrolment
                    .certificates
                    .iter()
                    .position(|known| known.serial != serial)
                    .unwrap_or_default();
                dropped.push(enrolment.certificates.remove(oldest));
            }
            // Nobody needs to hear of what has ended: a node may ask again at once whose answers get lost.
            dropped.retain(|gone| gone.until_unix_s > now);
            if !dropped.is_empty() {
                self.may_drop(newest_until, now)?;
            }
            enrolment.certificates.push(Certificate {
                serial: issued.serial.clone(),
                until_unix_s: issued.not_after_unix_s,
            });
            let key = keys::node(id);
            let mut txn = Txn::new()
                .at(key.clone(), revision)
                .put(key, keys::write(&enrolment));
            if !dropped.is_empty() {
                txn = self.life.revoking(txn, &dropped, now).await?;
            }
            match self.acts.commit(&by, &deed, &txn).await {
                Ok(_) => return Ok(enrolled(issued, enrolment.location, trust)),
                Err(error) => tries.again(error)?,
            }
        }
    }

    /// Whether a node that has as many certificates as count at one time may have another one already: what is dropped
    /// for it all nodes hear of, and keep in mind until it ends.
    fn may_drop(&self, newest_until: u64, now: u64) -> Result<(), Trouble> {
        let life_s = self.policy.life_s;
        let left = newest_until.saturating_sub(now);
        let rested = life_s - life_s / RENEWALS_PER_LIFE;
        // One that has longer than that is of other settings.
        if left > rested && left <= life_s {
            return Err(Trouble::Throttled {
                retry_after_s: left - rested,
            });
        }
        Ok(())
    }

    /// Gives a node whose certificate has ended the next one, if that is allowed here.
    pub(crate) async fn renew_expired(
        &self,
        proof: &Expired,
        csr: &str,
        request_id: &str,
    ) -> Result<Enrolled, Trouble> {
        let (id, serial, until) = self.life.check_expired(proof, csr)?;
        let late = clock::unix_s().saturating_sub(until);
        if late > self.policy.renew_expired_s {
            return Err(Trouble::Denied(format!(
                "the certificate ended {late} s ago, and `nodes.renew_expired` allows {} s; invite the node anew",
                self.policy.renew_expired_s
            )));
        }
        self.renew(&id, &serial, csr, request_id).await
    }

    /// The node that this certificate is of, if it counts.
    pub(crate) async fn admit(&self, id: &NodeId, serial: &str) -> Result<Enrolment, Trouble> {
        let (enrolment, _) = self.enrolment(id).await?;
        may_act(id, &enrolment, serial)?;
        Ok(enrolment)
    }

    /// Nodes under `prefix`, and where to go on.
    pub(crate) async fn list(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        items_max: usize,
    ) -> Result<Found, Trouble> {
        let page = self
            .store
            .list(prefix, after, items_max.min(PAGE_ITEMS_MAX))
            .await?;
        let next = page
            .entries
            .last()
            .filter(|_| page.more)
            .map(|entry| entry.key.to_string());
        let mut items = Vec::new();
        for (entry, enrolment) in scan::read::<Enrolment>(page.entries)?.known {
            let text = entry
                .key
                .as_str()
                .strip_prefix("nodes/")
                .unwrap_or_default();
            let Some(id) = NodeId::parse(text) else {
                continue;
            };
            let node = enrolment.node(&id);
            items.push((id, node));
        }
        Ok((items, next))
    }

    /// One node, with its revision.
    pub(crate) async fn get(&self, id: &NodeId) -> Result<(Node, Revision), Trouble> {
        let (enrolment, revision) = self.enrolment(id).await?;
        Ok((enrolment.node(id), revision))
    }

    /// All agents of a place.
    pub(crate) async fn agents_at(&self, place: &Place) -> Result<Vec<String>, Trouble> {
        let mut names = Vec::new();
        let agents = keys::agents_of(place.subaccount());
        for (entry, enrolment) in scan::records::<Enrolment>(&*self.store, &agents)
            .await?
            .known
        {
            let name = entry.key.as_str().rsplit('/').next().unwrap_or_default();
            if enrolment.location == place.location() && !enrolment.revoked {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The certificates of a node count no more, here and at its peers.
    pub(crate) async fn revoke(&self, by: &By, id: &NodeId) -> Result<(), Trouble> {
        let mut tries = Tries::default();
        loop {
            let (mut enrolment, revision) = self.enrolment(id).await?;
            if enrolment.revoked {
                return Ok(());
            }
            enrolment.revoked = true;
            let key = keys::node(id);
            let txn = Txn::new()
                .at(key.clone(), revision)
                .put(key, keys::write(&enrolment));
            let certificates = &enrolment.certificates;
            let txn = self
                .life
                .revoking(txn, certificates, clock::unix_s())
                .await?;
            let deed = deed("nodes-revoke", id, String::new());
            match self.acts.commit(by, &deed, &txn).await {
                Ok(_) => return Ok(()),
                Err(error) => tries.again(error)?,
            }
        }
    }

    /// Takes a revoked node out of the register.
    pub(crate) async fn remove(&self, by: &By, id: &NodeId) -> Result<(), Trouble> {
        let (enrolment, revision) = self.enrolment(id).await?;
        if !enrolment.revoked {
            return Err(Trouble::Conflict(format!(
                "{id} is not revoked; revoke it first"
            )));
        }
        let key = keys::node(id);
        let txn = Txn::new().at(key.clone(), revision).delete(key);
        self.acts
            .commit(by, &deed("nodes-remove", id, String::new()), &txn)
            .await?;
        Ok(())
    }

    async fn enrolment(&self, id: &NodeId) -> Result<(Enrolment, Revision), Trouble> {
        let key = keys::node(id);
        let found = self.store.get(&key).await?;
        let entry = found.ok_or_else(|| Trouble::NotFound(format!("there is no node {id}")))?;
        Ok((keys::read(&key, entry.value.as_bytes())?, entry.revision))
    }

    /// What nodes trust now.
    pub(crate) async fn trust(&self) -> Result<Trust, Trouble> {
        self.life.trust().await
    }
}

/// Certificates of one node that count at one time: the present one, the next one, and what a node that renews too
/// often may have left.
const CERTIFICATES_MAX: usize = 4;

/// Counts how often somebody else was first: with another node, which is no reason not to do this.
#[derive(Debug, Default)]
struct Tries(u64);

impl Tries {
    fn again(&mut self, error: Error) -> Result<(), Trouble> {
        self.0 += 1;
        if matches!(error, Error::Conflict { .. }) && self.0 < COMMIT_TRIES {
            return Ok(());
        }
        Err(error.into())
    }
}

/// What a node gets. Whom to `trust` was read before the commit: after it nothing may fail any more, or the invitation is
/// used up for nothing. What the commit itself revoked the node hears when it subscribes.
fn enrolled(issued: adit_authority::Issued, location: String, trust: Trust) -> Enrolled {
    let now = clock::unix_s();
    let left = issued.not_after_unix_s.saturating_sub(now);
    Enrolled {
        certificate: issued.certificate_pem,
        location,
        renew_unix_s: now + left / 2,
        trust,
    }
}

fn may_act(id: &NodeId, enrolment: &Enrolment, serial: &str) -> Result<(), Trouble> {
    if enrolment.revoked {
        return Err(Trouble::Denied(format!("{id} is revoked; invite it anew")));
    }
    if enrolment
        .certificates
        .iter()
        .any(|certificate| certificate.serial == serial)
    {
        return Ok(());
    }
    Err(Trouble::Denied(format!(
        "certificate {serial} of {id} was replaced; invite the node anew"
    )))
}

fn deed(verb: &'static str, id: &NodeId, detail: String) -> Deed {
    Deed {
        verb,
        subaccount: id.subaccount().map(str::to_owned),
        what: id.to_string(),
        detail,
    }
}

#[cfg(test)]
mod tests;
