//! A control plane for tests: an embedded store in a folder of its own, and the rooms on it. The door is the test's.

use std::str::FromStr as _;
use std::sync::Arc;

use adit_api::Invite;
use adit_authority::{SealKey, TrustDomain};
use adit_proto::control::{Ask, Enrol, Event, Hello};
use adit_store::{Embedded, Store};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Hub, Subscription};
use crate::acts::{Acts, By};
use crate::backup::Generations;
use crate::book::Book;
use crate::door::Peer;
use crate::life::Life;
use crate::members::Members;
use crate::place::NodeId;
use crate::register::{CertificatePolicy, Register};
use crate::rest::Parts;
use crate::trouble::Trouble;

/// The location that all agents of this world serve.
pub(crate) const LOCATION: &str = "plant-1";

/// The rooms, and where their memory is.
pub(crate) struct World {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) whole: Arc<dyn Store>,
    pub(crate) parts: Arc<Parts>,
}

impl World {
    /// A new one, whose seal is of this byte.
    pub(crate) async fn new(seal: u8) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let whole = Embedded::open(folder.path()).await.unwrap();
        Self::on(Arc::new(whole), folder, seal).await
    }

    /// The one in this store, as after a start.
    pub(crate) async fn on(whole: Arc<dyn Store>, folder: Arc<TempDir>, seal: u8) -> Self {
        let generations = Generations::open(Arc::clone(&whole)).await.unwrap();
        let store = generations.store();
        let acts = Acts::new(Arc::clone(&store));
        let life = open_life(Arc::clone(&store), acts.clone(), seal).await;
        let book = Arc::new(Book::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&life),
        ));
        let policy = CertificatePolicy {
            life_s: 86_400,
            renew_expired_s: 0,
        };
        let register = Arc::new(Register::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&life),
            policy,
        ));
        let hub = Hub::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&book),
            Arc::clone(&register),
            Arc::clone(&life),
            "cp-1".to_owned(),
        );
        let parts = Parts {
            name: "cp-1".to_owned(),
            store_kind: "embedded",
            members: Arc::new(Members::new(Arc::clone(&store), acts.clone(), None)),
            store,
            generations,
            acts,
            book,
            register,
            hub,
            life,
        };
        Self {
            folder,
            whole,
            parts: Arc::new(parts),
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.parts.hub
    }

    /// Makes an agent, and gives what its certificate proves.
    pub(crate) async fn agent(&self, name: &str) -> Peer {
        let id = NodeId::agent("acme", name).unwrap();
        let wish = Invite {
            name: name.to_owned(),
            location: LOCATION.to_owned(),
        };
        let register = &self.parts.register;
        let invited = register.invite(&ada(), &id, &wish).await.unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let enrol = Enrol {
            token: invited.token,
            csr: csr.pem().unwrap(),
            software: "adit test".to_owned(),
        };
        register.enrol(&enrol, "r").await.unwrap();
        let certificate = register.get(&id).await.unwrap().0.certificate;
        Peer {
            id,
            serial: certificate.serial,
            until_unix_s: certificate.until_unix_s,
        }
    }

    /// An agent that has subscribed.
    pub(crate) async fn subscribed(
        &self,
        name: &str,
    ) -> (Arc<Subscription>, mpsc::Receiver<Bytes>) {
        let peer = self.agent(name).await;
        self.subscribe(peer, hello("adit test")).await.unwrap()
    }

    pub(crate) async fn subscribe(
        &self,
        peer: Peer,
        hello: Hello,
    ) -> Result<(Arc<Subscription>, mpsc::Receiver<Bytes>), Trouble> {
        self.hub().subscribe(peer, hello).await
    }
}

/// An administrator.
pub(crate) fn ada() -> By {
    By {
        who: "ada".to_owned(),
        fingerprint: None,
        request_id: "r".to_owned(),
    }
}

/// What an agent says that runs `software`.
pub(crate) fn hello(software: &str) -> Hello {
    Hello {
        format: 1,
        features: Vec::new(),
        software: software.to_owned(),
        instance: "0".repeat(32),
        location: LOCATION.to_owned(),
        in_force: None,
        trust: 0,
    }
}

/// The next question to a node, whatever else comes before it.
pub(crate) async fn question(events: &mut mpsc::Receiver<Bytes>) -> Ask {
    loop {
        let frame = events.recv().await.unwrap();
        if let Some((Some(Event::Ask(ask)), _)) = Event::decode(&frame).unwrap() {
            return ask;
        }
    }
}

/// Sealing wants a runtime of several threads; a test whose time stands still has one.
async fn open_life(store: Arc<dyn Store>, acts: Acts, seal: u8) -> Arc<Life> {
    let opening = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let domain = TrustDomain::from_str("adit.example").unwrap();
        let key = SealKey::from_bytes([seal; 32]);
        runtime
            .block_on(Life::open(store, acts, key, &domain, "cp-1"))
            .unwrap()
    });
    Arc::new(opening.await.unwrap())
}
