//! A node for tests: an identity in a folder, a role that records, and a pace at which silence is short.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_tls::RoleName;
use adit_transport::proxy::Proxy;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::authority::{AGENT, Authority};
use super::server::Server;
use crate::enrol::Enrolment;
use crate::folder::{Folder, Store};
use crate::identity::Identity;
use crate::keys::Fresh;
use crate::run::{Facts, Pace, Subscription};
use crate::settings::{Control, ControlUrl};
use crate::subscriber::{BoxFuture, Change, Refused, Subscriber};

/// A trust that no test's node can start with.
pub(super) const UNUSABLE: u64 = 99;

pub(super) const FAST: Pace = Pace {
    retry_cap: Duration::from_millis(20),
    beat: Duration::from_millis(50),
    news: Duration::from_millis(5),
    dead_after: Duration::from_millis(400),
    unwanted: Duration::from_millis(300),
    needed: &[],
};

/// Runs `test` to its end, at most half a minute.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test)
            .await
            .expect("a test takes less than half a minute");
    });
}

/// What the role was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Push(usize),
    Ask(String),
    Identity(String, Change),
}

/// A role that notes what it is told, and answers as a test says.
pub(super) struct Recorder {
    tell: mpsc::UnboundedSender<Told>,
    pub(super) in_force: Option<InForce>,
    /// Answers to pushes; an empty list is an ack.
    pub(super) refusals: Mutex<VecDeque<Refused>>,
    /// Whether questions wait for ever.
    pub(super) hangs: bool,
    /// Why it takes no work.
    pub(super) not_ready: Arc<Mutex<Vec<String>>>,
    /// The versions of trust that it cannot use.
    pub(super) unusable: Vec<u64>,
}

impl Recorder {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (tell, told) = mpsc::unbounded_channel();
        let recorder = Self {
            tell,
            in_force: None,
            refusals: Mutex::default(),
            hangs: false,
            not_ready: Arc::default(),
            unusable: Vec::new(),
        };
        (recorder, told)
    }
}

pub(super) fn in_force(version: u64) -> InForce {
    InForce {
        epoch: Some(1),
        version,
        sha256: "0".repeat(64),
    }
}

impl Subscriber for Recorder {
    fn in_force(&self) -> Option<InForce> {
        self.in_force.clone()
    }

    fn push(&self, document: Vec<u8>) -> BoxFuture<'_, Result<Ack, Refused>> {
        let _ = self.tell.send(Told::Push(document.len()));
        let refused = self.refusals.lock().pop_front();
        Box::pin(std::future::ready(match refused {
            Some(refused) => Err(refused),
            None => Ok(Ack {
                in_force: in_force(7),
                systems: 1,
                resources: 2,
            }),
        }))
    }

    fn check(&self, trust: &Trust) -> Result<(), String> {
        if self.unusable.contains(&trust.version) {
            return Err("signing keys: holds more than 16 keys".to_owned());
        }
        Ok(())
    }

    fn beat(&self) -> Beat {
        Beat {
            tunnels: 3,
            not_ready: self.not_ready.lock().clone(),
            ..Beat::default()
        }
    }

    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        let _ = self
            .tell
            .send(Told::Ask(format!("{} {}", ask.method, ask.path)));
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Answer {
            status: 200,
            body: ask.body,
        }))
    }

    fn identity(&self, identity: &Identity, change: Change) {
        let serial = identity.leaf().serial.clone();
        let _ = self.tell.send(Told::Identity(serial, change));
    }

    fn failed(&self, _what: &str) {}
}

/// A folder with an identity.
pub(super) struct Node {
    pub(super) folder: tempfile::TempDir,
    pub(super) horizon: Duration,
}

impl Node {
    /// Whose certificate has the serial `a1`, began `ago` seconds ago and goes on for `left`.
    pub(super) fn new(authority: &Authority, ago: i64, left: i64) -> Self {
        Self::trusting(authority, authority.trust(1, &[]), ago, left)
    }

    pub(super) fn trusting(authority: &Authority, trust: Trust, ago: i64, left: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fresh = Fresh::draw().unwrap();
        let chain = authority.sign(&fresh.csr, AGENT, 0xa1, ago, left);
        let identity = Identity::new(&fresh.key_pem, &chain, "berlin", trust).unwrap();
        let store = Store::new(Folder::claim(folder.path()).unwrap());
        store.keep_key(&fresh.key_pem).unwrap();
        store.save(&identity).unwrap();
        Self {
            folder,
            horizon: Duration::ZERO,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Subscription::look(self.folder.path()).unwrap()
    }

    pub(super) fn control(&self, urls: &[String]) -> Control {
        Control {
            urls: urls
                .iter()
                .map(|url| ControlUrl::parse(url).unwrap())
                .collect(),
            horizon: self.horizon,
            identity: self.folder.path().to_owned(),
        }
    }

    pub(super) fn subscription(&self, urls: &[String]) -> Arc<Subscription> {
        self.subscription_through(urls, None)
    }

    pub(super) fn subscription_through(
        &self,
        urls: &[String],
        proxy: Option<Proxy>,
    ) -> Arc<Subscription> {
        self.subscription_at(urls, proxy, FAST)
    }

    pub(super) fn subscription_at(
        &self,
        urls: &[String],
        proxy: Option<Proxy>,
        pace: Pace,
    ) -> Arc<Subscription> {
        let facts = Facts {
            software: "adit-agent/0".to_owned(),
            instance: "ab".repeat(16),
        };
        let opened = Subscription::open(self.control(urls), proxy, facts).unwrap();
        Arc::new(opened.at_pace(pace))
    }

    /// Subscribes to `server` in the background.
    pub(super) fn start(&self, server: &Server, recorder: Recorder) -> Arc<Subscription> {
        start(&self.subscription(&[server.url()]), recorder)
    }
}

/// A node that has subscribed at a control plane: that one, the node, what its role is told, its subscription.
pub(super) async fn subscribed() -> (
    Server,
    Node,
    mpsc::UnboundedReceiver<Told>,
    Arc<Subscription>,
) {
    let mut server = Server::new().await;
    let node = Node::new(&server.authority, 1, 3600);
    let (recorder, told) = Recorder::new();
    let subscription = node.start(&server, recorder);
    server.hello().await;
    (server, node, told, subscription)
}

pub(super) fn start(subscription: &Arc<Subscription>, recorder: Recorder) -> Arc<Subscription> {
    let running = Arc::clone(subscription);
    tokio::spawn(async move { running.run(&recorder).await });
    Arc::clone(subscription)
}

pub(super) fn enrolment(folder: &Path) -> Enrolment {
    Enrolment {
        role: RoleName::Agent,
        folder: PathBuf::from(folder),
        proxy: None,
        location: None,
        software: "adit-agent/0".to_owned(),
        usable: |trust| match trust.version {
            UNUSABLE => Err("signing keys: holds more than 16 keys".to_owned()),
            _ => Ok(()),
        },
    }
}
