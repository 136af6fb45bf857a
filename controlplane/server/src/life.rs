//! What makes this control plane itself: its epoch, its certificate authority and the keys that sign rules.
//!
//! The authority is sealed in the store, so that several servers share it; the key of the seal is each server's own
//! file. Whatever changes it is compared and swapped, and every server takes the change in.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use adit_api::{AuthorityStep, Certificate};
use adit_authority::{
    Authority, Identity, Invitation, Issued, Name, OpenError, SealKey, ServerIdentity, TrustDomain,
};
use adit_manifest::{PublicKey, Stamp};
use adit_proto::control::{Expired, Trust};
use adit_store::{Entry, Error, Revision, Store, Txn};
use arc_swap::ArcSwap;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::acts::{Acts, By, Deed};
use crate::clock;
use crate::keys;
use crate::place::NodeId;
use crate::scan;
use crate::trouble::Trouble;

/// The control plane's own keys, as they are now.
pub(crate) struct Life {
    store: Arc<dyn Store>,
    acts: Acts,
    seal: Arc<SealKey>,
    epoch: u64,
    now: ArcSwap<Now>,
    taking_in: tokio::sync::Mutex<()>,
    /// Counts what was taken in, so that the door makes itself a new certificate.
    news: watch::Sender<u64>,
}

/// What is taken in anew whenever somebody changes it.
struct Now {
    authority: Authority,
    revision: Revision,
    public_keys: Vec<PublicKey>,
}

/// How many lives a control plane has had.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Lives {
    pub(crate) epoch: u64,
}

/// What nodes trust, as a version.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TrustVersion {
    pub(crate) version: u64,
}

/// A certificate that no longer counts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Revoked {
    until_unix_s: u64,
}

impl Life {
    /// Opens the control plane's keys, or makes them where there are none.
    ///
    /// # Errors
    /// The store's, or the seal does not open with this key.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        acts: Acts,
        seal: SealKey,
        trust_domain: &TrustDomain,
        server: &str,
    ) -> Result<Self, Trouble> {
        let seal = Arc::new(seal);
        if store.get(&keys::authority()).await?.is_none() {
            begin(&*store, &acts, &seal, trust_domain, server).await?;
        }
        let life = keys::life();
        let entry = store.get(&life).await?;
        let entry = entry.ok_or_else(|| {
            Trouble::Internal("the store has an authority and no life".to_owned())
        })?;
        let lives: Lives = keys::read(&life, entry.value.as_bytes())?;
        let now = open(&authority(&*store).await?, &seal).await?;
        Ok(Self {
            store,
            acts,
            seal,
            epoch: lives.epoch,
            now: ArcSwap::from_pointee(now),
            taking_in: tokio::sync::Mutex::default(),
            news: watch::Sender::new(0),
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Tells when the authority has changed.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Takes the authority in as it is in the store.
    pub(crate) async fn take_in(&self) -> Result<(), Trouble> {
        // One at a time, so that what was read earlier is not put over what was read later.
        let _turn = self.taking_in.lock().await;
        let entry = authority(&*self.store).await?;
        if entry.revision != self.now.load().revision {
            self.now.store(Arc::new(open(&entry, &self.seal).await?));
            self.news.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// The keys whose signatures count.
    pub(crate) fn public_keys(&self) -> Vec<PublicKey> {
        self.now.load().public_keys.clone()
    }

    /// Signs rules: the document, and `txn` under the condition that the key is still the one that signs.
    pub(crate) fn sign(
        &self,
        audience: &str,
        stamp: Stamp,
        now: u64,
        rules: &str,
        txn: Txn,
    ) -> (String, Txn) {
        let acting = self.now.load();
        let keys = [acting.authority.signing_key()];
        let document = adit_manifest::sign(audience, stamp, now, rules, &keys);
        (document, txn.at(keys::authority(), acting.revision))
    }

    /// Whether a failed commit failed because another server has changed the authority; it is taken in then.
    pub(crate) async fn was_stale(&self, error: &Error) -> Result<bool, Trouble> {
        if matches!(error, Error::Conflict { key, .. } if *key == keys::authority()) {
            self.take_in().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// An invitation that nobody has yet.
    pub(crate) fn invitation(&self) -> Result<Invitation, Trouble> {
        let mut random = [0_u8; 32];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_nothing_to_tell| {
                Trouble::Internal("the system gives no random numbers".to_owned())
            })?;
        Invitation::new(random, &self.now.load().authority.pin())
            .map_err(|error| Trouble::Internal(error.to_string()))
    }

    /// Under what an invitation is stored: of its whole text or of the secret alone.
    pub(crate) fn hash_of_invitation(&self, token: &str) -> Option<String> {
        let whole = Invitation::parse(token).ok();
        let alone = || {
            Invitation::parse(&format!(
                "adit1.{token}.{}",
                self.now.load().authority.pin()
            ))
            .ok()
        };
        whole.or_else(alone).map(|invitation| invitation.hash())
    }

    /// A certificate for a node.
    pub(crate) fn issue(&self, csr: &str, id: &NodeId, life_s: u64) -> Result<Issued, Trouble> {
        let identity = id.identity().map_err(Trouble::Invalid)?;
        self.now
            .load()
            .authority
            .issue(csr, &identity, Duration::from_secs(life_s), now()?)
            .map_err(|error| Trouble::Invalid(error.to_string()))
    }

    /// The server's own certificate.
    pub(crate) fn issue_server(
        &self,
        name: &str,
        names: &[String],
        life_s: u64,
    ) -> Result<ServerIdentity, Trouble> {
        let name = Name::from_str(name).map_err(Trouble::Invalid)?;
        self.now
            .load()
            .authority
            .issue_server(&name, names, Duration::from_secs(life_s), now()?)
            .map_err(|error| Trouble::Internal(error.to_string()))
    }

    /// Of which node a certificate is that has ended: the node, the serial number, its last second.
    pub(crate) fn check_expired(
        &self,
        proof: &Expired,
        csr: &str,
    ) -> Result<(NodeId, String, u64), Trouble> {
        let node = self
            .now
            .load()
            .authority
            .check_expired(proof, csr, now()?)
            .map_err(|error| Trouble::Denied(error.to_string()))?;
        let id = match &node.identity {
            Identity::Agent { subaccount, name } => {
                NodeId::agent(&subaccount.to_string(), &name.to_string())
            }
            Identity::Gateway { name } => NodeId::gateway(&name.to_string()),
            Identity::Control { .. } => Err("a control plane is no node".to_owned()),
        };
        Ok((
            id.map_err(Trouble::Denied)?,
            node.serial,
            node.not_after_unix_s,
        ))
    }

    /// The roots, PEM.
    pub(crate) fn roots_pem(&self) -> String {
        self.now.load().authority.trust(Vec::new()).roots
    }

    /// Where people and nodes can see that this is their control plane.
    pub(crate) fn pin(&self) -> String {
        self.now.load().authority.pin()
    }

    /// Whom nodes must trust.
    pub(crate) async fn trust(&self) -> Result<Trust, Trouble> {
        let version = self.trust_version().await?.0.version;
        // After the version: what is said of a version is never less than what it stands for, wherever it was changed.
        self.take_in().await?;
        let revoked = self.revoked().await?;
        let mut trust = self.now.load().authority.trust(revoked);
        trust.version = version;
        Ok(trust)
    }

    /// The authority for people.
    pub(crate) async fn shown(&self) -> Result<(adit_api::Authority, Revision), Trouble> {
        let trust = self.trust().await?;
        let now = self.now.load();
        let roots = now
            .authority
            .roots()
            .into_iter()
            .map(|root| adit_api::Root {
                pin: root.pin,
                until_unix_s: root.not_after_unix_s,
                issues: root.issues,
            });
        let signing_keys =
            now.authority
                .signing_keys()
                .into_iter()
                .map(|key| adit_api::SigningKey {
                    id: key.id.to_string(),
                    signs: key.signs,
                });
        let shown = adit_api::Authority {
            trust_domain: now.authority.trust_domain().to_string(),
            roots: roots.collect(),
            signing_keys: signing_keys.collect(),
            roots_pem: trust.roots,
            revoked: trust.revoked,
            trust_version: trust.version,
        };
        Ok((shown, now.revision))
    }

    /// The authority under another seal.
    pub(crate) async fn resealed(&self, key: &SealKey) -> Result<Vec<u8>, Trouble> {
        let entry = authority(&*self.store).await?;
        seal(&open(&entry, &self.seal).await?.authority, key).await
    }

    /// An authority under this server's seal.
    pub(crate) async fn sealed(&self, authority: &Authority) -> Result<Vec<u8>, Trouble> {
        seal(authority, &self.seal).await
    }

    /// Takes a step of a roll-over, of roots and signing keys together.
    pub(crate) async fn roll(
        &self,
        by: &By,
        base: Revision,
        step: AuthorityStep,
    ) -> Result<(), Trouble> {
        let old = open(&authority(&*self.store).await?, &self.seal).await?;
        if old.revision != base {
            return Err(Trouble::Stale(
                "the authority was changed by somebody else; read it again".to_owned(),
            ));
        }
        let mut authority = old.authority;
        let (word, done) = match step {
            AuthorityStep::Begin => {
                let begun = authority
                    .begin_roll(ROOT_LIFE, now()?)
                    .and_then(|()| authority.begin_signing_roll());
                ("begin", begun)
            }
            AuthorityStep::Switch => (
                "switch",
                authority.switch().and_then(|()| authority.switch_signing()),
            ),
            AuthorityStep::Finish => (
                "finish",
                authority.finish().and_then(|()| authority.finish_signing()),
            ),
        };
        done.map_err(|error| Trouble::Conflict(error.to_string()))?;
        let sealed = seal(&authority, &self.seal).await?;
        let txn = Txn::new()
            .at(keys::authority(), old.revision)
            .put(keys::authority(), sealed);
        let txn = self.advance_trust(txn).await?;
        let deed = Deed {
            verb: "authority-roll",
            subaccount: None,
            what: "authority".to_owned(),
            detail: word.to_owned(),
        };
        self.acts.commit(by, &deed, &txn).await?;
        self.take_in().await
    }

    /// `txn`, and these certificates count no more.
    pub(crate) async fn revoking(
        &self,
        mut txn: Txn,
        certificates: &[Certificate],
        now: u64,
    ) -> Result<Txn, Trouble> {
        for certificate in certificates
            .iter()
            .filter(|certificate| certificate.until_unix_s > now)
        {
            let revoked = Revoked {
                until_unix_s: certificate.until_unix_s,
            };
            txn = txn.put(keys::revoked(&certificate.serial), keys::write(&revoked));
        }
        self.advance_trust(txn).await
    }

    async fn advance_trust(&self, txn: Txn) -> Result<Txn, Trouble> {
        let key = keys::trust();
        let (TrustVersion { version }, revision) = self.trust_version().await?;
        let next = TrustVersion {
            version: version + 1,
        };
        Ok(txn.at(key.clone(), revision).put(key, keys::write(&next)))
    }

    async fn trust_version(&self) -> Result<(TrustVersion, Revision), Trouble> {
        let key = keys::trust();
        let entry = self.store.get(&key).await?;
        let entry = entry
            .ok_or_else(|| Trouble::Internal("the store has no version of trust".to_owned()))?;
        Ok((keys::read(&key, entry.value.as_bytes())?, entry.revision))
    }

    /// Certificates that no longer count and have not ended.
    async fn revoked(&self) -> Result<Vec<String>, Trouble> {
        let now = clock::unix_s();
        let mut serials = Vec::new();
        for entry in scan::all(&*self.store, &keys::revoked_all()).await? {
            // Nothing but its end is read of it, and it is never written anew: what else a newer version says there
            // keeps nobody out. One whose end nobody can read counts, for its key has the serial number.
            let until_unix_s = match keys::hear::<Revoked>(&entry.key, entry.value.as_bytes()) {
                Ok(revoked) => revoked.until_unix_s,
                Err(error) => {
                    tracing::error!(%error, "a revocation cannot be read whole; it counts");
                    u64::MAX
                }
            };
            if until_unix_s.saturating_add(ENDED_KEPT_S) > now {
                let serial = entry.key.as_str().rsplit('/').next();
                serials.push(serial.unwrap_or_default().to_owned());
            } else {
                // It has ended by itself. Another server may have taken it away already.
                let gone = Txn::new()
                    .at(entry.key.clone(), entry.revision)
                    .delete(entry.key);
                let _ = self.store.commit(&gone).await;
            }
        }
        Ok(serials)
    }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// How long a root lives: ten years, as `adit pki init` makes it. Nodes change to the next one without a person.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long a revoked certificate stays in the list after its end, for nodes whose clocks are late.
const ENDED_KEPT_S: u64 = 3600;

/// Makes the keys of a new control plane. Of several servers that do it at once one is first.
async fn begin(
    store: &dyn Store,
    acts: &Acts,
    key: &SealKey,
    trust_domain: &TrustDomain,
    server: &str,
) -> Result<(), Trouble> {
    let authority = Authority::new(trust_domain, ROOT_LIFE, now()?)
        .map_err(|error| Trouble::Internal(error.to_string()))?;
    let sealed = seal(&authority, key).await?;
    let txn = Txn::new()
        .absent(keys::authority())
        .put(keys::authority(), sealed)
        .absent(keys::life())
        .put(keys::life(), keys::write(&Lives { epoch: 1 }))
        .absent(keys::trust())
        .put(keys::trust(), keys::write(&TrustVersion { version: 1 }));
    let by = By {
        who: format!("server {server}"),
        fingerprint: None,
        request_id: String::new(),
    };
    let deed = Deed {
        verb: "control-plane-begun",
        subaccount: None,
        what: format!("trust domain {trust_domain}"),
        detail: format!("root {}", authority.pin()),
    };
    match acts.commit(&by, &deed, &txn).await {
        Ok(_) => {
            tracing::info!(%trust_domain, pin = authority.pin(), "a certificate authority was made");
            Ok(())
        }
        Err(Error::Conflict { .. }) if store.get(&keys::authority()).await?.is_some() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn authority(store: &dyn Store) -> Result<Entry, Trouble> {
    let entry = store.get(&keys::authority()).await?;
    entry.ok_or_else(|| Trouble::Internal("the store has no authority any more".to_owned()))
}

async fn open(entry: &Entry, key: &Arc<SealKey>) -> Result<Now, Trouble> {
    let (sealed, key) = (entry.value.clone().into_bytes(), Arc::clone(key));
    // A passphrase takes a moment of a whole core.
    let opened = tokio::task::spawn_blocking(move || Authority::open(&sealed, &key));
    let authority = opened
        .await
        .map_err(|ended| Trouble::Internal(ended.to_string()))?
        .map_err(unopened)?;
    let public = authority.trust(Vec::new()).signing_keys;
    let mut public_keys = Vec::new();
    for der in SubjectPublicKeyInfoDer::pem_slice_iter(public.as_bytes()) {
        let der = der.map_err(|error| Trouble::Internal(error.to_string()))?;
        public_keys.push(
            PublicKey::from_spki(&der).map_err(|error| Trouble::Internal(error.to_string()))?,
        );
    }
    Ok(Now {
        authority,
        revision: entry.revision,
        public_keys,
    })
}

async fn seal(authority: &Authority, key: &SealKey) -> Result<Vec<u8>, Trouble> {
    // Deriving a key of a passphrase is the only slow part, and changes of the authority are rare.
    tokio::task::block_in_place(|| authority.seal(key)).map_err(unopened)
}

fn unopened(error: OpenError) -> Trouble {
    Trouble::Internal(format!("the sealed authority: {error}"))
}

fn now() -> Result<OffsetDateTime, Trouble> {
    let seconds = i64::try_from(clock::unix_s()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|error| Trouble::Internal(format!("the clock: {error}")))
}
