//! The register of nodes: who was invited, who became a node, whose certificates count.
//!
//! An invitation works once: whoever uses it takes it away in the same commit that makes the node. Certificates are
//! the authority's; what a node runs is the hub's.

use std::sync::Arc;

use adit_api::{Certificate, Invitation, Invite, Invited, Node, NodeRole};
use adit_proto::control::{Enrol, Enrolled, Expired, Trust};
use adit_store::{Entry, Error, Key, Prefix, Revision, Store, Txn};
use serde::{Deserialize, Serialize};

use crate::acts::{Acts, By, Deed};
use crate::clock;
use crate::keys;
use crate::life::Life;
use crate::limits::{
    COMMIT_TRIES, INVITATION_LIFE, INVITATIONS_HERE_MAX, INVITATIONS_MAX, PAGE_ITEMS_MAX,
};
use crate::place::{NodeId, Place};
use crate::trouble::Trouble;

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

/// An invitation as it is stored, under the hash of its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    node: String,
    location: String,
    by: String,
    expires_unix_s: u64,
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

    /// Invites a node. The secret is in the answer and nowhere else.
    pub(crate) async fn invite(
        &self,
        by: &By,
        id: &NodeId,
        wish: &Invite,
    ) -> Result<Invited, Trouble> {
        let now = clock::unix_s();
        let (all, here) = self.clear_ended(now, id).await?;
        for (open, most) in [(here, INVITATIONS_HERE_MAX), (all, INVITATIONS_MAX)] {
            if open >= most {
                return Err(Trouble::Conflict(format!(
                    "{most} invitations are open; take some back, or wait until they end"
                )));
            }
        }
        let invitation = self.life.invitation()?;
        let expires_unix_s = now + INVITATION_LIFE.as_secs();
        let stored = Stored {
            node: id.to_string(),
            location: wish.location.clone(),
            by: by.who.clone(),
            expires_unix_s,
        };
        let key = keys::invitation(&invitation.hash());
        let txn = Txn::new()
            .absent(key.clone())
            .put(key, keys::write(&stored));
        let detail = match id.role {
            NodeRole::Agent => format!("location {:?}", wish.location),
            NodeRole::Gateway => String::new(),
        };
        self.acts
            .commit(by, &deed("nodes-invite", id, detail), &txn)
            .await?;
        Ok(Invited {
            token: invitation.text(),
            name: id.name().to_owned(),
            expires_unix_s,
        })
    }

    /// Invitations that can still be used.
    pub(crate) async fn invitations(
        &self,
        wanted: impl Fn(&NodeId) -> bool,
    ) -> Result<Vec<Invitation>, Trouble> {
        let now = clock::unix_s();
        let mut items = Vec::new();
        for entry in self.all(&keys::invitations()).await? {
            let stored: Stored = keys::read(&entry.key, entry.value.as_bytes())?;
            let Some(id) = NodeId::parse(&stored.node).filter(&wanted) else {
                continue;
            };
            if stored.expires_unix_s > now {
                items.push(Invitation {
                    id: short(&entry.key),
                    role: id.role,
                    subaccount: id.subaccount().map(str::to_owned),
                    location: stored.location,
                    name: id.name().to_owned(),
                    by: stored.by,
                    expires_unix_s: stored.expires_unix_s,
                });
            }
        }
        Ok(items)
    }

    /// Takes an invitation back.
    pub(crate) async fn take_back(
        &self,
        by: &By,
        invitation: &str,
        wanted: impl Fn(&NodeId) -> bool,
    ) -> Result<(), Trouble> {
        for entry in self.all(&keys::invitations()).await? {
            let stored: Stored = keys::read(&entry.key, entry.value.as_bytes())?;
            let Some(id) = NodeId::parse(&stored.node).filter(&wanted) else {
                continue;
            };
            if short(&entry.key) == invitation {
                let txn = Txn::new()
                    .at(entry.key.clone(), entry.revision)
                    .delete(entry.key);
                self.acts
                    .commit(by, &deed("nodes-uninvite", &id, String::new()), &txn)
                    .await?;
                return Ok(());
            }
        }
        Err(Trouble::NotFound(
            "there is no such invitation; it was used, or has ended".to_owned(),
        ))
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
        let by = By {
            who: format!("invitation of {}", stored.by),
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
        self.enrolled(issued, stored.location).await
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
        let by = By {
            who: id.to_string(),
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
            while enrolment.certificates.len() >= CERTIFICATES_MAX {
                let oldest = enrolment
                    .certificates
                    .iter()
                    .position(|known| known.serial != serial)
                    .unwrap_or_default();
                dropped.push(enrolment.certificates.remove(oldest));
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
                Ok(_) => return self.enrolled(issued, enrolment.location).await,
                Err(error) => tries.again(error)?,
            }
        }
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
        let mut items = Vec::new();
        for entry in &page.entries {
            let text = entry
                .key
                .as_str()
                .strip_prefix("nodes/")
                .unwrap_or_default();
            let Some(id) = NodeId::parse(text) else {
                continue;
            };
            let enrolment: Enrolment = keys::read(&entry.key, entry.value.as_bytes())?;
            let node = enrolment.node(&id);
            items.push((id, node));
        }
        let next = page
            .entries
            .last()
            .filter(|_| page.more)
            .map(|entry| entry.key.to_string());
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
        for entry in self.all(&keys::agents_of(place.subaccount())).await? {
            let enrolment: Enrolment = keys::read(&entry.key, entry.value.as_bytes())?;
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

    async fn enrolled(
        &self,
        issued: adit_authority::Issued,
        location: String,
    ) -> Result<Enrolled, Trouble> {
        let now = clock::unix_s();
        let left = issued.not_after_unix_s.saturating_sub(now);
        Ok(Enrolled {
            certificate: issued.certificate_pem,
            location,
            renew_unix_s: now + left / 2,
            trust: self.trust().await?,
        })
    }

    /// What nodes trust now.
    pub(crate) async fn trust(&self) -> Result<Trust, Trouble> {
        self.life.trust().await
    }

    /// Takes away what has ended, and says how many invitations are left, and how many where `like` belongs.
    async fn clear_ended(&self, now: u64, like: &NodeId) -> Result<(usize, usize), Trouble> {
        let (mut left, mut here) = (0, 0);
        for entry in self.all(&keys::invitations()).await? {
            let stored: Stored = keys::read(&entry.key, entry.value.as_bytes())?;
            if stored.expires_unix_s > now {
                left += 1;
                let of = NodeId::parse(&stored.node);
                here += usize::from(of.is_some_and(|of| of.subaccount() == like.subaccount()));
            } else {
                let txn = Txn::new()
                    .at(entry.key.clone(), entry.revision)
                    .delete(entry.key);
                // Somebody else may have done it.
                let _ = self.store.commit(&txn).await;
            }
        }
        Ok((left, here))
    }

    async fn all(&self, prefix: &Prefix) -> Result<Vec<Entry>, Trouble> {
        let mut entries = Vec::new();
        let mut cursor: Option<Key> = None;
        loop {
            let page = self
                .store
                .list(prefix, cursor.as_ref(), PAGE_ITEMS_MAX)
                .await?;
            cursor = page.entries.last().map(|entry| entry.key.clone());
            entries.extend(page.entries);
            if !page.more {
                return Ok(entries);
            }
        }
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

/// What stands for an invitation where its hash is not to be shown whole.
fn short(key: &Key) -> String {
    let hash = key.as_str().rsplit('/').next().unwrap_or_default();
    hash.chars().take(16).collect()
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
mod tests {
    use std::str::FromStr as _;
    use std::time::Duration;

    use adit_authority::{SealKey, TrustDomain, parse_leaf};
    use adit_store::Embedded;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, KeyPair};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::test_world::{by, put_all};

    async fn register(folder: &std::path::Path, renew_expired_s: u64) -> Register {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&folder.join("store")).await.unwrap());
        let acts = Acts::new(Arc::clone(&store));
        let domain = TrustDomain::from_str("adit.local").unwrap();
        let seal = SealKey::from_bytes([7; 32]);
        let life = Life::open(Arc::clone(&store), acts.clone(), seal, &domain, "cp-1");
        let life = Arc::new(life.await.unwrap());
        let policy = CertificatePolicy {
            life_s: 10,
            renew_expired_s,
        };
        Register::new(store, acts, life, policy)
    }

    fn request() -> (KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        (key, request.pem().unwrap())
    }

    /// An agent whose certificate has just ended, and a request that its old key has signed.
    async fn ended(register: &Register) -> (Expired, String) {
        let id = NodeId::agent("acme", "a-1").unwrap();
        let wish = Invite {
            name: "a-1".to_owned(),
            location: String::new(),
        };
        let token = register.invite(&by(), &id, &wish).await.unwrap().token;
        let (key, csr) = request();
        let wish = Enrol {
            token,
            csr,
            software: String::new(),
        };
        let enrolled = register.enrol(&wish, "").await.unwrap();
        let leaf = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes()).unwrap();
        let until = parse_leaf(&leaf).unwrap().not_after_unix_s;
        let mut asked = tokio::time::interval(Duration::from_millis(50));
        while clock::unix_s() <= until {
            asked.tick().await;
        }
        let (_, csr) = request();
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &key.serialize_der(),
            &random,
        );
        let signature = pair.unwrap().sign(&random, &Expired::signed(&csr)).unwrap();
        let proof = Expired {
            certificate: enrolled.certificate,
            signature: STANDARD.encode(signature.as_ref()),
        };
        (proof, csr)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_that_has_ended_is_renewed_where_that_is_allowed_also_after_a_lost_answer()
     {
        let folder = tempfile::tempdir().unwrap();
        let mut register = register(folder.path(), 0).await;
        let (proof, csr) = ended(&register).await;
        let refused = register.renew_expired(&proof, &csr, "").await.unwrap_err();
        assert!(matches!(refused, Trouble::Denied(_)), "{refused:?}");
        register.policy.renew_expired_s = 600;
        let first = register.renew_expired(&proof, &csr, "").await.unwrap();
        let second = register.renew_expired(&proof, &csr, "").await.unwrap();
        assert_ne!(first.certificate, second.certificate);
        // Revoked is revoked, whatever it proves.
        let id = NodeId::agent("acme", "a-1").unwrap();
        register.revoke(&by(), &id).await.unwrap();
        let refused = register.renew_expired(&proof, &csr, "").await.unwrap_err();
        assert!(matches!(refused, Trouble::Denied(_)), "{refused:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn invitations_here_max_may_be_open_and_one_more_may_not_and_others_are_not_kept_waiting()
    {
        let folder = tempfile::tempdir().unwrap();
        let register = register(folder.path(), 0).await;
        let invite = async |subaccount: &str, number: usize| {
            let name = format!("a-{number}");
            let id = NodeId::agent(subaccount, &name).unwrap();
            let location = String::new();
            register
                .invite(&by(), &id, &Invite { name, location })
                .await
        };
        for number in 0..INVITATIONS_HERE_MAX {
            invite("acme", number).await.unwrap();
        }
        let refused = invite("acme", INVITATIONS_HERE_MAX).await.unwrap_err();
        assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
        invite("other", 0).await.unwrap();
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn invitations_max_may_be_open_and_one_more_may_not_until_others_end() {
        let folder = tempfile::tempdir().unwrap();
        let register = register(folder.path(), 0).await;
        clock::stop_at(1_900_000_000);
        let life = INVITATION_LIFE.as_secs();
        // Some of each subaccount, so that none has too many of its own.
        let others: Vec<_> = (1..INVITATIONS_MAX)
            .map(|number| {
                let stored = Stored {
                    node: format!("agent/s-{}/a-{number}", number / 100),
                    location: String::new(),
                    by: "ada".to_owned(),
                    expires_unix_s: 1_900_000_000 + life,
                };
                let key = keys::invitation(&format!("{number:064x}"));
                (key, keys::write(&stored))
            })
            .collect();
        put_all(&*register.store, &others).await;
        let invite = async |name: &str| {
            let id = NodeId::agent("acme", name).unwrap();
            let wish = Invite {
                name: name.to_owned(),
                location: String::new(),
            };
            register.invite(&by(), &id, &wish).await
        };
        invite("a-1").await.unwrap();
        let refused = invite("a-2").await.unwrap_err();
        assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
        clock::stop_at(1_900_000_000 + life);
        invite("a-2").await.unwrap();
        assert_eq!(register.invitations(|_| true).await.unwrap().len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_invitation_can_be_used_until_invitation_life_is_over_and_not_a_second_longer() {
        let folder = tempfile::tempdir().unwrap();
        let register = register(folder.path(), 0).await;
        let begun = clock::unix_s();
        clock::stop_at(begun);
        let id = NodeId::agent("acme", "a-1").unwrap();
        let wish = Invite {
            name: "a-1".to_owned(),
            location: String::new(),
        };
        let token = register.invite(&by(), &id, &wish).await.unwrap().token;
        let (_, csr) = request();
        let wish = Enrol {
            token,
            csr,
            software: String::new(),
        };
        clock::stop_at(begun + INVITATION_LIFE.as_secs());
        let refused = register.enrol(&wish, "").await.unwrap_err();
        assert!(
            matches!(refused, Trouble::Unauthenticated(_)),
            "{refused:?}"
        );
        clock::stop_at(begun + INVITATION_LIFE.as_secs() - 1);
        register.enrol(&wish, "").await.unwrap();
    }

    #[test]
    fn a_node_is_changed_at_the_last_of_commit_tries_and_no_later() {
        let conflict = || Error::Conflict {
            key: keys::life(),
            found: None,
        };
        let mut tries = Tries::default();
        for _ in 1..COMMIT_TRIES {
            tries.again(conflict()).unwrap();
        }
        tries.again(conflict()).unwrap_err();
    }
}
