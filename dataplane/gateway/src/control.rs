//! What a gateway does for its control plane: it says how it is, answers questions, and takes a new identity in.
//!
//! It judges nothing, so there is nothing to push to it. Reaching a control plane, and keeping the identity, is the
//! room `subscription`'s.

use std::sync::Arc;

use adit_proto::control::{Ack, Answer, Ask, Beat, InForce, Trust};
use adit_runtime::admin::{BoxFuture, Node};
use adit_runtime::clock;
use adit_runtime::mailbox::tell_all;
use adit_subscription::{Change, Identity, Refused, Subscriber, answer_by};

use crate::shard::{Message, Shared};
use crate::status::Status;

/// The gateway, as its subscription sees it.
pub(crate) struct Subscribed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<Status>,
}

impl Subscriber for Subscribed {
    fn in_force(&self) -> Option<InForce> {
        None
    }

    fn push(&self, document: Vec<u8>) -> BoxFuture<'_, Result<Ack, Refused>> {
        drop(document);
        Box::pin(std::future::ready(Err(Refused {
            why: "role",
            problems: vec!["a gateway takes no rules; push them to agents".to_owned()],
        })))
    }

    // Whatever has readable roots will do: a gateway verifies no rules.
    fn check(&self, _trust: &Trust) -> Result<(), String> {
        Ok(())
    }

    fn beat(&self) -> Beat {
        let tunnels = self.shared.directory.all();
        let streams: usize = tunnels.iter().map(|entry| entry.streams()).sum();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Beat {
            not_ready: self.status.ready().err().unwrap_or_default(),
            tunnels: count(tunnels.len()),
            streams: count(streams),
            ..Beat::default()
        }
    }

    fn answer(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(answer_by(self.status.as_ref(), ask))
    }

    fn identity(&self, identity: &Identity, change: Change) {
        // Handshakes from here on have it; tunnels that are up rest on the one they were opened with.
        match adit_tls::server(identity.credentials(), identity.roots()) {
            Ok(tls) => self.shared.tls.store(Arc::new(tls)),
            Err(error) => self.failed(&format!("identity: {error}")),
        }
        if change == Change::Trust {
            let shared = Arc::clone(&self.shared);
            shared
                .trusted
                .store(Some(Arc::new(identity.roots().clone())));
            // Every shard must hear of it, or a revoked agent would go on.
            tokio::spawn(async move {
                tell_all(&shared.mailboxes, &shared.drain, || Message::Trust).await;
            });
        }
    }

    fn failed(&self, what: &str) {
        self.shared
            .journal
            .record("control", what, clock::unix_now());
    }
}
