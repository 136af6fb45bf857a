//! What an agent does for its control plane: its pushes go to the one intake, its questions to the admin paths, and a
//! new identity to the dialler, the signers and the tunnels.
//!
//! Reaching a control plane, and keeping the identity, is the room `subscription`'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_runtime::admin::{BoxFuture, Node};
use adit_runtime::clock;
use adit_runtime::mailbox::tell_all;
use adit_subscription::{Change, Identity, Refused, Subscriber, answer_by};

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
            ..Beat::default()
        }
    }

    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(answer_by(self.status.as_ref(), ask))
    }

    fn identity(&self, identity: &Identity, change: Change) {
        match adit_tls::client(identity.credentials(), identity.roots()) {
            Ok(tls) => self.shared.dialler.tls.store(Arc::new(tls)),
            Err(error) => self.failed(&format!("identity: {error}")),
        }
        match change {
            Change::Credentials => self.tell(Message::Renewed),
            Change::Trust => {
                match signing_keys(identity.trust()) {
                    Ok(keys) => self.intake.signers().count_only(keys),
                    Err(why) => {
                        self.failed(&format!("{why}; the old ones go on counting"));
                    }
                }
                self.shared
                    .trusted
                    .store(Some(Arc::new(identity.roots().clone())));
                self.tell(Message::Trust);
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
    fn tell(&self, message: Message) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            tell_all(&shared.mailboxes, &shared.drain, || message).await;
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

#[cfg(test)]
mod tests;
