//! One simulated agent: what is pushed is verified, compiled, tested and swapped in as at a real one.
//!
//! A real agent also writes it to disk, before the swap. Here the pointer is all there is to enforce it: so it is at a
//! real agent, whose shards load the same pointer for each request.

use std::sync::Arc;

use adit_manifest::{InForce as Held, News, PublicKey, Signers, Stamp, verify};
use adit_policy::Snapshot;
use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_subscription::{Change, Identity, Refused, Subscriber};
use adit_tls::Role;
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::mpsc::UnboundedSender;

use crate::ticks;

/// A version is enforced at one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enforced {
    pub(crate) version: u64,
    /// When, on the clock that all processes share.
    pub(crate) at_ns: u64,
}

/// A simulated agent.
#[derive(Debug)]
pub(crate) struct Node {
    audience: String,
    keys: ArcSwap<Vec<PublicKey>>,
    rules: ArcSwapOption<Rules>,
    told: UnboundedSender<Enforced>,
}

#[derive(Debug)]
struct Rules {
    stamp: Stamp,
    snapshot: Arc<Snapshot>,
}

impl Node {
    /// The agent of this identity, with nothing in force.
    ///
    /// # Errors
    /// When the identity is no agent's, or its signing keys cannot be read.
    pub(crate) fn new(
        identity: &Identity,
        told: UnboundedSender<Enforced>,
    ) -> Result<Self, String> {
        let Role::Agent { subaccount, .. } = &identity.id().role else {
            return Err(format!("{} is no agent", identity.id()));
        };
        Ok(Self {
            audience: format!("{subaccount}/{}", identity.location()),
            keys: ArcSwap::from_pointee(signing_keys(identity.trust())?),
            rules: ArcSwapOption::empty(),
            told,
        })
    }

    fn take(&self, document: &[u8]) -> Result<Ack, Refused> {
        let old = self.rules.load_full();
        let held = old.as_deref().map(|rules| Held {
            stamp: rules.stamp,
            sha256: *rules.snapshot.hash(),
        });
        let keys = self.keys.load();
        let verified = verify(document, Signers::Keys(&keys), &self.audience, held)
            .map_err(|refused| one(refused.why(), &refused.to_string()))?;
        if let (News::Same, Some(rules)) = (verified.news, &old) {
            return Ok(rules.ack());
        }
        let stamp = verified.manifest.stamp;
        let snapshot = Snapshot::new(stamp.version, verified.content.to_owned())
            .map_err(|problems| one("rules", &problems.to_string()))?;
        let tests = snapshot.table().run_tests();
        tests.map_err(|problems| one("tests", &problems.to_string()))?;
        let rules = Arc::new(Rules { stamp, snapshot });
        let ack = rules.ack();
        self.rules.store(Some(rules));
        let enforced = Enforced {
            version: stamp.version,
            at_ns: ticks::shared_ns(),
        };
        // Nobody listens any more: the program ends.
        let _ = self.told.send(enforced);
        Ok(ack)
    }
}

impl Rules {
    fn in_force(&self) -> InForce {
        InForce {
            epoch: Some(self.stamp.epoch),
            version: self.stamp.version,
            sha256: self.snapshot.hash_hex(),
        }
    }

    fn ack(&self) -> Ack {
        let systems = &self.snapshot.table().rules().systems;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ack {
            in_force: self.in_force(),
            systems: count(systems.len()),
            resources: count(systems.iter().map(|system| system.resources.len()).sum()),
        }
    }
}

impl Subscriber for Node {
    fn in_force(&self) -> Option<InForce> {
        self.rules.load().as_deref().map(Rules::in_force)
    }

    fn push(&self, document: Vec<u8>) -> Later<'_, Result<Ack, Refused>> {
        Box::pin(async move { self.take(&document) })
    }

    fn check(&self, trust: &Trust) -> Result<(), String> {
        usable(trust)
    }

    fn beat(&self) -> Beat {
        Beat::default()
    }

    fn answer(&self, _ask: Ask) -> Later<'_, Answer> {
        Box::pin(async {
            Answer {
                status: 404,
                body: "a simulated node answers no questions\n".to_owned(),
            }
        })
    }

    fn identity(&self, identity: &Identity, change: Change) {
        if change == Change::Credentials {
            return;
        }
        match signing_keys(identity.trust()) {
            Ok(keys) => self.keys.store(Arc::new(keys)),
            Err(why) => self.failed(&why),
        }
    }

    fn failed(&self, what: &str) {
        eprintln!("{}: {what}", self.audience);
    }
}

/// Whether a simulated agent can start with `trust`.
///
/// # Errors
/// That its signing keys cannot be read.
pub(crate) fn usable(trust: &Trust) -> Result<(), String> {
    signing_keys(trust).map(drop)
}

fn signing_keys(trust: &Trust) -> Result<Vec<PublicKey>, String> {
    SubjectPublicKeyInfoDer::pem_slice_iter(trust.signing_keys.as_bytes())
        .map(|der| {
            let der = der.map_err(|error| error.to_string())?;
            PublicKey::from_spki(&der).map_err(|error| error.to_string())
        })
        .collect()
}

fn one(why: &'static str, problem: &str) -> Refused {
    Refused {
        why,
        problems: vec![problem.to_owned()],
    }
}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
