//! Acts go to collectors: one server of all has the turn to send, and how far each sink has come is in the store.
//!
//! What is sent and when it counts as delivered is the forwarder's.

use std::sync::Arc;
use std::time::Duration;

use adit_api::ActsSink;
use adit_authority::TrustDomain;
use adit_forwarder::{Facts, Lines, Place, Sink, Source, Status, Trouble, Who, forward};
use adit_store::{Error, LeaseId, Revision, Store, Txn};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::acts::Acts;
use crate::keys;
use crate::limits::{PAGE_ITEMS_MAX, SENDER_TTL};

/// Sends acts when it is this server's turn.
pub(crate) struct Sender {
    store: Arc<dyn Store>,
    acts: Acts,
    sinks: Vec<Sink>,
    server: String,
    who: Arc<Who>,
}

/// The turn to send: a key that ends with its lease.
#[derive(Clone, Copy)]
struct Turn {
    lease: LeaseId,
    revision: Revision,
}

impl Sender {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        acts: Acts,
        sinks: Vec<Sink>,
        server: String,
        domain: &TrustDomain,
    ) -> Self {
        // One chain, one name, whichever server sends it: by name and number a receiver knows what it has.
        let who = Who::here(
            format!("{domain}/control-plane"),
            crate::SOFTWARE.to_owned(),
        );
        Self {
            store,
            acts,
            sinks,
            server,
            who: Arc::new(who),
        }
    }

    /// Sends until told to stop, whenever nobody else does.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        while !self.sinks.is_empty() && !*stop.borrow() {
            match self.take_turn().await {
                Ok(Some(turn)) => self.send(turn, &mut stop).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no turn to send acts; tried again"),
            }
            tokio::select! {
                () = tokio::time::sleep(SENDER_TTL / 3) => {}
                _ = stop.wait_for(|is_asked| *is_asked) => {}
            }
        }
    }

    async fn take_turn(&self) -> Result<Option<Turn>, Error> {
        let key = keys::sender_turn();
        if self.store.get(&key).await?.is_some() {
            return Ok(None);
        }
        let lease = self.store.grant(SENDER_TTL).await?;
        let take = Txn::new()
            .absent(key.clone())
            .put_leased(key, keys::write(&self.server), lease);
        match self.store.commit(&take).await {
            Ok(revision) => Ok(Some(Turn { lease, revision })),
            Err(error) => {
                // It ends by itself where this fails.
                let _ = self.store.revoke(lease).await;
                if matches!(error, Error::Conflict { .. }) {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    async fn send(&self, turn: Turn, stop: &mut watch::Receiver<bool>) {
        tracing::info!(sinks = self.sinks.len(), "this server sends acts");
        let statuses: Vec<Arc<Status>> = self
            .sinks
            .iter()
            .map(|sink| Arc::new(Status::new(sink)))
            .collect();
        let mut tasks = JoinSet::new();
        for (sink, status) in self.sinks.iter().zip(&statuses) {
            let source = ActsSource {
                store: Arc::clone(&self.store),
                acts: self.acts.clone(),
                sink: sink.name(),
                turn,
            };
            let (who, status) = (Arc::clone(&self.who), Arc::clone(status));
            tasks.spawn(forward(source, sink.clone(), who, status, stop.clone()));
        }
        let mut alive = tokio::time::interval(SENDER_TTL / 5);
        loop {
            tokio::select! {
                _ = alive.tick() => {}
                _ = stop.wait_for(|is_asked| *is_asked) => break,
            }
            if let Err(error) = self.tell(turn, &statuses).await {
                // Whoever has the turn next begins where the store says. What we sent and did not write down comes twice.
                tracing::warn!(%error, "the turn to send acts is lost");
                tasks.shutdown().await;
                return;
            }
        }
        while tasks.join_next().await.is_some() {}
        // Another server need not wait for it to end. Where this fails, it does.
        let _ = self.store.revoke(turn.lease).await;
    }

    async fn tell(&self, turn: Turn, statuses: &[Arc<Status>]) -> Result<(), Error> {
        self.store.keep_alive(turn.lease).await?;
        let told: Vec<ActsSink> = statuses
            .iter()
            .map(|status| shown(&self.server, status.facts()))
            .collect();
        let txn = Txn::new()
            .at(keys::sender_turn(), turn.revision)
            .put_leased(keys::sender_facts(), keys::write(&told), turn.lease);
        self.store.commit(&txn).await.map(drop)
    }
}

fn shown(server: &str, facts: Facts) -> ActsSink {
    ActsSink {
        sink: facts.sink,
        target: facts.target,
        server: server.to_owned(),
        delivered: facts.delivered,
        delivered_unix_s: facts.delivered_unix,
        lag_records: facts.lag_records,
        lag_seconds: facts.lag_seconds,
        gap_records: facts.gap_records,
        trouble: facts.trouble,
    }
}

/// The chain of acts, for one sink, as long as the turn lasts.
struct ActsSource {
    store: Arc<dyn Store>,
    acts: Acts,
    sink: &'static str,
    turn: Turn,
}

impl Source for ActsSource {
    const LOOK_EVERY: Duration = Duration::from_secs(1);

    async fn load(&mut self) -> Result<Option<Place>, Trouble> {
        let key = keys::sent(self.sink);
        let entry = self.store.get(&key).await.map_err(unreadable)?;
        entry
            .map(|entry| keys::read(&key, entry.value.as_bytes()).map_err(unreadable))
            .transpose()
    }

    async fn oldest(&mut self) -> Result<Place, Trouble> {
        let page = self.store.list(&keys::acts(), None, 1).await;
        let page = page.map_err(unreadable)?;
        let first = page.entries.first();
        Ok(first
            .and_then(|entry| Place::before(entry.value.as_bytes()))
            .unwrap_or(Place::START))
    }

    async fn read(&mut self, after: &Place) -> Result<Lines, Trouble> {
        let head = self.acts.last().await.map_err(unreadable)?;
        let mut lines = Lines::behind(after, head)?;
        if head > after.sequence {
            let from = keys::act(after.sequence);
            let page = self
                .store
                .list(&keys::acts(), Some(&from), PAGE_ITEMS_MAX)
                .await
                .map_err(unreadable)?;
            for entry in &page.entries {
                if !lines.push(entry.value.as_bytes())? {
                    break;
                }
            }
        }
        Ok(lines)
    }

    async fn keep(&mut self, place: &Place) -> Result<(), Trouble> {
        // Only while the turn is ours: a server that was slow does not take another one back.
        let txn = Txn::new()
            .at(keys::sender_turn(), self.turn.revision)
            .put(keys::sent(self.sink), keys::write(place));
        self.store.commit(&txn).await.map(drop).map_err(unreadable)
    }
}

fn unreadable(error: Error) -> Trouble {
    Trouble::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::{by, empty_store, some_deed};

    fn sender(store: &Arc<dyn Store>, server: &str) -> Sender {
        Sender::new(
            Arc::clone(store),
            Acts::new(Arc::clone(store)),
            Vec::new(),
            server.to_owned(),
            &"adit.local".parse().unwrap(),
        )
    }

    fn source(sender: &Sender, turn: Turn) -> ActsSource {
        ActsSource {
            store: Arc::clone(&sender.store),
            acts: sender.acts.clone(),
            sink: "otlp",
            turn,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_server_has_the_turn_for_sender_ttl_and_the_next_one_after_it() {
        // As long as what a store may grant at least, and as long as leases of servers.
        assert!(SENDER_TTL >= adit_store::limits::LEASE_TTL_MIN);
        assert!(SENDER_TTL <= crate::limits::LIVE_TTL);
        let (_folder, store) = empty_store().await;
        let (one, two) = (sender(&store, "cp-1"), sender(&store, "cp-2"));
        let turn = one.take_turn().await.unwrap().unwrap();
        assert!(two.take_turn().await.unwrap().is_none());
        one.tell(turn, &[]).await.unwrap();
        store.revoke(turn.lease).await.unwrap();
        assert!(one.tell(turn, &[]).await.is_err());
        let next = two.take_turn().await.unwrap().unwrap();
        // Whoever had it before takes no other one back, and says nothing of how it goes: by its own lease, which may
        // live on, as little as by the turn.
        let lease = store.grant(SENDER_TTL).await.unwrap();
        let late = Turn { lease, ..turn };
        assert!(one.tell(late, &[]).await.is_err());
        two.tell(next, &[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_turn_that_is_told_of_again_and_again_does_not_end() {
        let (_folder, store) = empty_store().await;
        let (one, two) = (sender(&store, "cp-1"), sender(&store, "cp-2"));
        let turn = one.take_turn().await.unwrap().unwrap();
        tokio::time::pause();
        for _ in 0..6 {
            tokio::time::advance(SENDER_TTL / 2).await;
            one.tell(turn, &[]).await.unwrap();
        }
        assert!(two.take_turn().await.unwrap().is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn acts_are_read_behind_a_place_and_who_lost_the_turn_moves_it_no_more() {
        let (_folder, store) = empty_store().await;
        let one = sender(&store, "cp-1");
        let turn = one.take_turn().await.unwrap().unwrap();
        let mut old = source(&one, turn);
        assert_eq!(old.oldest().await, Ok(Place::START));
        assert!(old.read(&Place::START).await.unwrap().is_empty());
        for _ in 0..3 {
            one.acts.note(&by(), &some_deed()).await.unwrap();
        }
        let lines = old.read(&Place::START).await.unwrap();
        assert_eq!((lines.len(), lines.end().sequence), (3, 3));
        old.keep(&lines.end()).await.unwrap();
        assert_eq!(old.load().await.unwrap().unwrap().sequence, 3);

        store.revoke(turn.lease).await.unwrap();
        let turn = one.take_turn().await.unwrap().unwrap();
        assert!(old.keep(&Place::START).await.is_err());
        let mut new = source(&one, turn);
        let place = new.load().await.unwrap().unwrap();
        assert_eq!(place.sequence, 3);
        store
            .commit(&Txn::new().delete(keys::act(1)).delete(keys::act(2)))
            .await
            .unwrap();
        assert_eq!(new.oldest().await.unwrap().sequence, 2);
        let gap = new.read(&Place::START).await.unwrap().gap().unwrap();
        assert_eq!((gap.from, gap.to), (1, 2));
    }
}
