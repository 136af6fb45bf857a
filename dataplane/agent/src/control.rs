//! What an agent does for its control plane: its pushes go to the one intake, its questions to the admin paths, and a
//! new identity to the dialler, the signers and the tunnels.
//!
//! Reaching a control plane, and keeping the identity, is the room `subscription`'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_runtime::admin::{self, AdminRequest, BoxFuture, Node};
use adit_runtime::clock;
use adit_subscription::{Change, Identity, Refused, Subscriber};

use crate::settings::signing_keys;
use crate::shard::{Message, Shared};
use crate::status::Status;
use crate::subscription::{self, Intake};

/// The agent, as its subscription sees it.
pub(crate) struct Subscribed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) status: Arc<Status>,
}

impl Subscriber for Subscribed {
    fn in_force(&self) -> Option<InForce> {
        let in_force = self.shared.in_force.load_full()?;
        Some(InForce {
            epoch: in_force.stamp.map(|stamp| stamp.epoch),
            version: in_force.snapshot.version(),
            sha256: in_force.snapshot.hash_hex(),
        })
    }

    fn push(&self, document: Vec<u8>) -> BoxFuture<'_, Result<Ack, Refused>> {
        Box::pin(async move {
            let text = String::from_utf8(document).map_err(|_not_text| Refused {
                why: "malformed",
                problems: vec!["the document is not UTF-8".to_owned()],
            })?;
            let pushed = Arc::clone(&self.intake)
                .push(BY_CONTROL.to_owned(), text)
                .await;
            match pushed {
                Ok(ack) => Ok(acknowledged(ack)),
                Err(nack) => Err(Refused {
                    why: nack.why,
                    problems: nack.problems,
                }),
            }
        })
    }

    fn check(&self, trust: &Trust) -> Result<(), String> {
        signing_keys(trust).map(drop)
    }

    fn beat(&self) -> Beat {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Beat {
            not_ready: self.status.ready().err().unwrap_or_default(),
            tunnels: count(self.shared.board.up_count()),
            streams: count(self.shared.streams.load(Ordering::Relaxed)),
            certificate_until_unix_s: 0,
        }
    }

    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let request =
                AdminRequest::made(&ask.method, &ask.path, &ask.query, ask.body.into_bytes());
            let answer = admin::ask(self.status.as_ref(), request).await;
            Answer {
                status: answer.status,
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            }
        })
    }

    fn identity(&self, identity: &Identity, change: Change) {
        match adit_tls::client(identity.credentials(), identity.roots()) {
            Ok(tls) => self.shared.dialler.tls.store(Arc::new(tls)),
            Err(error) => self.failed(&format!("identity: {error}")),
        }
        match change {
            Change::Credentials => self.tell(|| Message::Renewed),
            Change::Trust => {
                match signing_keys(identity.trust()) {
                    Ok(keys) => self.intake.signers().count_only(keys),
                    Err(why) => {
                        self.failed(&format!("{why}; the old ones go on counting"));
                    }
                }
                let roots = identity.roots().clone();
                self.tell(move || Message::Trust(roots.clone()));
            }
        }
    }

    fn failed(&self, what: &str) {
        self.shared
            .journal
            .record("control", what, clock::unix_now());
    }
}

impl Subscribed {
    // Every shard must hear of it, or a tunnel would outlive what it rests on.
    fn tell(&self, message: impl Fn() -> Message + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            for mailbox in &shared.mailboxes {
                while mailbox.send(message()).is_err() && shared.drain.is_serving() {
                    tokio::time::sleep(FULL_MAILBOX_PAUSE).await;
                }
            }
        });
    }
}

fn acknowledged(ack: subscription::Ack) -> Ack {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Ack {
        in_force: InForce {
            epoch: ack.epoch,
            version: ack.version,
            sha256: ack.hash,
        },
        systems: count(ack.systems),
        resources: count(ack.resources),
    }
}

/// The name of a control plane's document in messages.
const BY_CONTROL: &str = "pushed";
/// Between two tries to leave a message in a full mailbox.
const FULL_MAILBOX_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
