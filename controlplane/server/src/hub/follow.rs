//! Follows the store: what others change there reaches the nodes of this server.

use std::sync::Arc;
use std::time::Duration;

use adit_store::{Change, Error, Kind, Prefix, Store, Watch};

use super::Hub;
use crate::keys;

/// New rules go to the nodes of their place.
pub(super) async fn rules(hub: Arc<Hub>) {
    let mut news = Follower::of(&hub, keys::heads());
    loop {
        let places = match news.next().await {
            News::Change(change) => keys::place_of_head(&change.key).into_iter().collect(),
            News::Anything => hub.places(),
        };
        for place in places {
            if !hub.bring_place(&place).await {
                hub.owed.lock().insert(place);
            }
        }
    }
}

/// What could not be read is read again until it can be.
pub(super) async fn owed(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let places = std::mem::take(&mut *hub.owed.lock());
        for place in places {
            if !hub.bring_place(&place).await {
                hub.owed.lock().insert(place);
            }
        }
    }
}

/// A changed authority is taken in, and nodes hear whom to trust.
pub(super) async fn meta(hub: Arc<Hub>) {
    let mut news = Follower::of(&hub, keys::all_meta());
    loop {
        let (authority, trust) = match news.next().await {
            News::Change(change) => (change.key == keys::authority(), change.key == keys::trust()),
            News::Anything => (true, true),
        };
        if !authority && !trust {
            continue;
        }
        loop {
            match hub.life.trust().await {
                Ok(trust) => {
                    hub.tell_trust(&trust);
                    if authority {
                        hub.sign_anew();
                        let places = hub.places();
                        hub.owed.lock().extend(places);
                    }
                    break;
                }
                // A revocation that nobody hears of is none, so this is tried until it is told.
                Err(trouble) => {
                    tracing::error!(?trouble, "whom to trust could not be read; tried again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// Questions of other servers go to the nodes of this one.
pub(super) async fn asked(hub: Arc<Hub>) {
    let mut news = Follower::of(&hub, keys::asks(&hub.server));
    loop {
        if let News::Change(Change {
            key,
            kind: Kind::Put,
            ..
        }) = news.next().await
        {
            tokio::spawn(Arc::clone(&hub).answer_for(key));
        }
    }
}

/// Answers of other servers' nodes go to who asked.
pub(super) async fn answered(hub: Arc<Hub>) {
    let mut news = Follower::of(&hub, keys::answers(&hub.server));
    loop {
        if let News::Change(
            change @ Change {
                kind: Kind::Put, ..
            },
        ) = news.next().await
        {
            hub.take_answer(&change.key).await;
        }
    }
}

/// What a follower tells.
enum News {
    Change(Change),
    /// Changes may have been missed: look at everything.
    Anything,
}

/// Tells what changes below a prefix, for ever.
struct Follower {
    store: Arc<dyn Store>,
    prefix: Prefix,
    watch: Option<Box<dyn Watch>>,
    waiting: Vec<Change>,
}

impl Follower {
    fn of(hub: &Hub, prefix: Prefix) -> Self {
        Self {
            store: Arc::clone(&hub.store),
            prefix,
            watch: None,
            waiting: Vec::new(),
        }
    }

    async fn next(&mut self) -> News {
        loop {
            if let Some(change) = self.waiting.pop() {
                return News::Change(change);
            }
            let Some(watch) = &mut self.watch else {
                match begin(&*self.store, &self.prefix).await {
                    Ok(watch) => {
                        self.watch = Some(watch);
                        return News::Anything;
                    }
                    Err(error) => later(&self.prefix, &error).await,
                }
                continue;
            };
            match watch.next().await {
                Ok(changes) => {
                    self.waiting = changes.changes;
                    self.waiting.reverse();
                }
                // It goes on where it was.
                Err(error @ Error::Unavailable { .. }) => later(&self.prefix, &error).await,
                Err(error) => {
                    self.watch = None;
                    later(&self.prefix, &error).await;
                }
            }
        }
    }
}

async fn begin(store: &dyn Store, prefix: &Prefix) -> Result<Box<dyn Watch>, Error> {
    let revision = store.list(prefix, None, 1).await?.revision;
    store.watch(prefix, revision).await
}

async fn later(prefix: &Prefix, error: &Error) {
    tracing::warn!(%error, prefix = prefix.as_str(), "the store cannot be watched; tried again");
    tokio::time::sleep(RETRY).await;
}

/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);
