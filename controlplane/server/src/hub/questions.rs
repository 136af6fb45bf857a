//! Questions to nodes, wherever they are connected: to one of this server directly, to another's by way of the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::{Answer, Ask};
use adit_store::{Key, LeaseId, Txn};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Hub;
use crate::keys;
use crate::limits::ANSWER_LIMIT;
use crate::place::NodeId;
use crate::secret::random_name;
use crate::trouble::Trouble;

/// Questions of this server that another one has to answer.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    warned: Mutex<HashMap<NodeId, Instant>>,
}

/// A question on its way by the store.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    node: String,
    from: String,
    ask: Ask,
}

impl Questions {
    /// Whether an alarm of this node may be recorded again.
    pub(crate) fn once_a_minute(&self, id: &NodeId) -> bool {
        let mut warned = self.warned.lock();
        let now = Instant::now();
        warned.retain(|_, at| now.saturating_duration_since(*at) < Duration::from_secs(60));
        if warned.contains_key(id) || warned.len() >= WARNED_MAX {
            return false;
        }
        warned.insert(id.clone(), now);
        true
    }
}

impl Hub {
    /// Asks a node.
    ///
    /// # Errors
    /// It is not connected, or does not answer in time.
    pub(crate) async fn ask(&self, id: &NodeId, ask: Ask) -> Result<Answer, Trouble> {
        let here = self.subscriptions.lock().get(id).cloned();
        let answer = match here {
            Some(subscription) => subscription.ask(ask)?,
            None => {
                let live = self.connection(id).await?;
                let live = live
                    .filter(|live| live.server != self.server)
                    .ok_or_else(|| silent(id, "is not connected"))?;
                return self.ask_elsewhere(id, &live.server, ask).await;
            }
        };
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(silent(id, "did not answer in time")),
        }
    }

    async fn ask_elsewhere(&self, id: &NodeId, server: &str, ask: Ask) -> Result<Answer, Trouble> {
        let question = random_name();
        let (sender, receiver) = oneshot::channel();
        self.questions
            .waiting
            .lock()
            .insert(question.clone(), sender);
        let _forgotten = Forgotten(&self.questions, &question);
        self.carry(id, server, &question, ask, receiver).await
    }

    async fn carry(
        &self,
        id: &NodeId,
        server: &str,
        question: &str,
        ask: Ask,
        receiver: oneshot::Receiver<Answer>,
    ) -> Result<Answer, Trouble> {
        let lease = self.store.grant(CARRIED_TTL).await?;
        let carried = Carried {
            node: id.to_string(),
            from: self.server.clone(),
            ask,
        };
        let txn = Txn::new().put_leased(keys::ask(server, question), keys::write(&carried), lease);
        self.store.commit(&txn).await?;
        let outcome = timeout(ANSWER_LIMIT + Duration::from_secs(1), receiver).await;
        // What is left vanishes with the lease in any case.
        let _ = self.store.revoke(lease).await;
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(silent(id, "did not answer in time")),
        }
    }

    /// Another server asks a node of this one.
    pub(super) async fn answer_for(self: Arc<Self>, key: Key) {
        let Ok(Some(entry)) = self.store.get(&key).await else {
            return;
        };
        let Ok(carried) = keys::hear::<Carried>(&key, entry.value.as_bytes()) else {
            return;
        };
        let question = key
            .as_str()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let Some(id) = NodeId::parse(&carried.node) else {
            return;
        };
        let here = self.subscriptions.lock().get(&id).cloned();
        let Some(waiting) = here.and_then(|subscription| subscription.ask(carried.ask).ok()) else {
            return;
        };
        let Ok(Ok(answer)) = timeout(ANSWER_LIMIT, waiting).await else {
            return;
        };
        if let Err(error) = self.give(&carried.from, &question, &answer).await {
            tracing::warn!(%error, "an answer could not be carried to another server");
        }
    }

    async fn give(
        &self,
        to: &str,
        question: &str,
        answer: &Answer,
    ) -> Result<(), adit_store::Error> {
        let lease: LeaseId = self.store.grant(CARRIED_TTL).await?;
        let txn = Txn::new().put_leased(keys::answer(to, question), keys::write(answer), lease);
        self.store.commit(&txn).await.map(drop)
    }

    /// Another server has answered.
    pub(super) async fn take_answer(&self, key: &Key) {
        let question = key.as_str().rsplit('/').next().unwrap_or_default();
        let Some(waiting) = self.questions.waiting.lock().remove(question) else {
            return;
        };
        if let Ok(Some(entry)) = self.store.get(key).await
            && let Ok(answer) = keys::hear(key, entry.value.as_bytes())
        {
            let _ = waiting.send(answer);
        }
    }
}

/// Forgets a question, also when whoever asked is gone before the answer.
struct Forgotten<'a>(&'a Questions, &'a str);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(self.1);
    }
}

/// How long a question or an answer lies in the store.
const CARRIED_TTL: Duration = Duration::from_secs(10);
/// Nodes whose alarms are counted.
const WARNED_MAX: usize = 10_000;

fn silent(id: &NodeId, why: &str) -> Trouble {
    Trouble::NodeSilent(format!("{id} {why}"))
}
