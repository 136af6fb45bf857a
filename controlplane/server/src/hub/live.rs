//! What other servers know of this one and its nodes: records under a lease that ends with it.
//!
//! Changes are gathered and written many at a time, so that a thousand acknowledgements are some twenty commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adit_api::{LastNack, Running, Server};
use adit_store::{Error, LeaseId, Store, Txn};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Subscription;
use crate::clock;
use crate::keys;
use crate::limits::LIVE_TTL;
use crate::place::NodeId;

/// A connected node, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) server: String,
    pub(crate) subscription: String,
    pub(crate) instance: String,
    pub(crate) since_unix_s: u64,
    pub(crate) software: String,
    pub(crate) running: Option<Running>,
    pub(crate) refused: Option<LastNack>,
    pub(crate) not_ready: Vec<String>,
    // A server of an earlier version writes none.
    #[serde(default)]
    pub(crate) problems: Vec<String>,
    pub(crate) tunnels: u64,
    pub(crate) streams: u64,
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Board {
    store: Arc<dyn Store>,
    server: String,
    since_unix_s: u64,
    waiting: Mutex<BTreeMap<NodeId, Word>>,
    // All subscriptions that have a record, for when the lease was lost.
    told: Mutex<HashMap<NodeId, Arc<Subscription>>>,
    wake: Notify,
    lease: Mutex<Option<LeaseId>>,
}

#[derive(Clone, Debug)]
enum Word {
    Is(Arc<Subscription>),
    Gone { subscription: String },
}

impl Board {
    pub(crate) fn new(store: Arc<dyn Store>, server: String) -> Self {
        Self {
            store,
            server,
            since_unix_s: clock::unix_s(),
            waiting: Mutex::default(),
            told: Mutex::default(),
            wake: Notify::new(),
            lease: Mutex::default(),
        }
    }

    pub(crate) fn changed(&self, subscription: &Arc<Subscription>) {
        self.told
            .lock()
            .insert(subscription.node.clone(), Arc::clone(subscription));
        self.waiting.lock().insert(
            subscription.node.clone(),
            Word::Is(Arc::clone(subscription)),
        );
        self.wake.notify_one();
    }

    pub(crate) fn gone(&self, subscription: &Arc<Subscription>) {
        self.told.lock().remove(&subscription.node);
        let word = Word::Gone {
            subscription: subscription.id.clone(),
        };
        self.waiting.lock().insert(subscription.node.clone(), word);
        self.wake.notify_one();
    }

    /// Writes, keeps the lease alive, and begins anew when it was lost.
    pub(crate) async fn run(&self) {
        loop {
            match self.store.grant(LIVE_TTL).await {
                Ok(lease) => {
                    *self.lease.lock() = Some(lease);
                    let error = self.hold(lease).await;
                    tracing::warn!(%error, "what is connected here could not be told; tried again");
                }
                Err(error) => tracing::warn!(%error, "no lease; tried again"),
            }
            tokio::time::sleep(RETRY).await;
            // Held over both, or one that goes between the two would be told of again. Nobody else holds two.
            let told = self.told.lock();
            let mut waiting = self.waiting.lock();
            for (node, subscription) in told.iter() {
                waiting.insert(node.clone(), Word::Is(Arc::clone(subscription)));
            }
        }
    }

    /// What was told of this server is true no more.
    pub(crate) async fn withdraw(&self) {
        let lease = self.lease.lock().take();
        if let Some(lease) = lease {
            // If this fails, it ends by itself a little later.
            let _ = self.store.revoke(lease).await;
        }
    }

    async fn hold(&self, lease: LeaseId) -> Error {
        let me = Server {
            name: self.server.clone(),
            since_unix_s: self.since_unix_s,
            software: crate::SOFTWARE.to_owned(),
        };
        let hello = Txn::new().put_leased(keys::server(&self.server), keys::write(&me), lease);
        if let Err(error) = self.store.commit(&hello).await {
            return error;
        }
        let mut alive = tokio::time::interval(LIVE_TTL / 3);
        loop {
            tokio::select! {
                () = self.wake.notified() => {
                    if let Err(error) = self.write(lease).await {
                        return error;
                    }
                }
                _ = alive.tick() => {
                    if let Err(error) = self.store.keep_alive(lease).await {
                        return error;
                    }
                    if let Err(error) = self.write(lease).await {
                        return error;
                    }
                }
            }
        }
    }

    async fn write(&self, lease: LeaseId) -> Result<(), Error> {
        loop {
            let words: Vec<(NodeId, Word)> = {
                let mut waiting = self.waiting.lock();
                let some: Vec<NodeId> = waiting.keys().take(WORDS_AT_ONCE).cloned().collect();
                some.into_iter()
                    .filter_map(|id| waiting.remove_entry(&id))
                    .collect()
            };
            if words.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.write_some(lease, &words).await {
                let mut waiting = self.waiting.lock();
                for (id, word) in words {
                    waiting.entry(id).or_insert(word);
                }
                return Err(error);
            }
        }
    }

    async fn write_some(&self, lease: LeaseId, words: &[(NodeId, Word)]) -> Result<(), Error> {
        let mut txn = Txn::new();
        for (id, word) in words {
            let key = keys::live(id);
            match word {
                Word::Is(subscription) => {
                    let live = self.record(subscription);
                    txn = txn.put_leased(key, keys::write(&live), lease);
                }
                Word::Gone { subscription } => {
                    // It may be connected to another server by now, and that record is not ours to take away.
                    if let Some(entry) = self.store.get(&key).await? {
                        let live: Result<Live, Error> = keys::hear(&key, entry.value.as_bytes());
                        if live.is_ok_and(|live| live.subscription == *subscription) {
                            let gone = Txn::new().at(key.clone(), entry.revision).delete(key);
                            match self.store.commit(&gone).await {
                                Ok(_) | Err(Error::Conflict { .. }) => {}
                                Err(error) => return Err(error),
                            }
                        }
                    }
                }
            }
        }
        self.store.commit(&txn).await.map(drop)
    }

    fn record(&self, subscription: &Subscription) -> Live {
        let state = subscription.state();
        Live {
            server: self.server.clone(),
            subscription: subscription.id.clone(),
            instance: subscription.hello.instance.clone(),
            since_unix_s: subscription.since_unix_s,
            software: subscription.hello.software.clone(),
            running: state.running,
            refused: state.refused,
            not_ready: state.beat.not_ready,
            problems: state.beat.problems,
            tunnels: state.beat.tunnels,
            streams: state.beat.streams,
        }
    }
}

/// Records of one commit.
const WORDS_AT_ONCE: usize = 50;
/// Between two tries to have a lease.
const RETRY: Duration = Duration::from_secs(1);
