//! Who is connected: the subscriptions of nodes, what each shall have, and questions to them.
//!
//! A node's subscription lives on one server; what the others need to know of it is in the store, under a lease that ends
//! with this server. What rules there are is the book's, whose certificates count the register's.

mod follow;
mod frames;
mod live;
mod questions;
mod subscription;
#[cfg(test)]
pub(crate) mod test_world;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adit_api::{Connected, NodeRole};
use adit_proto::control::{
    BEAT_SECONDS, Event, FORMAT_OLDEST, Goodbye, Hello, Trust, Welcome, common_features,
    common_format, missing_feature,
};
use adit_store::Store;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::acts::{Acts, By, Deed};
use crate::book::{Book, Head};
use crate::clock;
use crate::door::Peer;
use crate::keys;
use crate::life::Life;
use crate::limits::{EVENTS_WAITING_MAX, SILENCE_LIMIT, SOFTWARE_BYTES_MAX};
use crate::metrics;
use crate::place::{NodeId, Place};
use crate::register::Register;
use crate::scan;
use crate::secret::random_name;
use crate::trouble::Trouble;

pub(crate) use frames::Pushed;
pub(crate) use live::Live;
pub(crate) use subscription::Subscription;

use frames::Frames;

/// All subscriptions of this server.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    acts: Acts,
    book: Arc<Book>,
    register: Arc<Register>,
    life: Arc<Life>,
    server: String,
    subscriptions: Mutex<HashMap<NodeId, Arc<Subscription>>>,
    frames: Frames,
    live: live::Board,
    questions: questions::Questions,
    /// Places whose nodes are to be looked at once more.
    owed: Mutex<BTreeSet<Place>>,
}

impl Hub {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        acts: Acts,
        book: Arc<Book>,
        register: Arc<Register>,
        life: Arc<Life>,
        server: String,
    ) -> Arc<Self> {
        Arc::new(Self {
            live: live::Board::new(Arc::clone(&store), server.clone()),
            questions: questions::Questions::default(),
            owed: Mutex::default(),
            store,
            acts,
            book,
            register,
            life,
            server,
            subscriptions: Mutex::default(),
            frames: Frames::default(),
        })
    }

    /// Runs until the server ends: follows the store, tells nodes that the line is alive, drops the silent.
    pub(crate) async fn run(self: Arc<Self>) {
        let rules = follow::rules(Arc::clone(&self));
        let trust = follow::meta(Arc::clone(&self));
        let asked = follow::asked(Arc::clone(&self));
        let answered = follow::answered(Arc::clone(&self));
        let owed = follow::owed(Arc::clone(&self));
        tokio::join!(
            rules,
            owed,
            trust,
            asked,
            answered,
            self.live.run(),
            self.beat()
        );
    }

    /// Nodes that are connected here.
    pub(crate) fn connected(&self) -> usize {
        self.subscriptions.lock().len()
    }

    /// Begins the subscription of a node whose certificate was checked.
    ///
    /// # Errors
    /// It may not connect, or not now.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        peer: Peer,
        mut hello: Hello,
    ) -> Result<(Arc<Subscription>, mpsc::Receiver<Bytes>), Trouble> {
        let format = check_hello(&hello, FEATURES_NEEDED)?;
        // What else it can do is of no use to us, and is not kept.
        hello.features = common_features(&hello.features);
        let Peer {
            id,
            serial,
            until_unix_s,
        } = peer;
        let enrolment = self.register.admit(&id, &serial).await?;
        if hello.location != enrolment.location {
            return Err(Trouble::Denied(format!(
                "{id} was invited for location {:?} and says it serves {:?}",
                enrolment.location, hello.location
            )));
        }
        self.refuse_second(&id, &hello.instance).await?;
        let place = match id.subaccount() {
            Some(subaccount) => {
                Some(Place::new(subaccount, &enrolment.location).map_err(Trouble::Invalid)?)
            }
            None => None,
        };
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let subscription = Arc::new(Subscription::new(
            random_name(),
            id.clone(),
            place,
            (serial, until_unix_s),
            hello,
            events,
        ));
        let welcome = Welcome {
            subscription: subscription.id.clone(),
            server: self.server.clone(),
            format,
            features: subscription.hello.features.clone(),
        };
        subscription.send(&Event::Welcome(welcome));
        // First where news are told, then a look of its own: a change between the two is seen by one of them.
        if !self.insert(&subscription) {
            self.second(&id, &subscription.hello.instance).await;
            return Err(used_twice(&id));
        }
        let begun = self.begin(&subscription).await;
        if let Err(trouble) = begun {
            self.gone(&subscription);
            return Err(trouble);
        }
        tracing::info!(node = %id, software = ?subscription.hello.software, subscription = %subscription.id, "node connected");
        Ok((subscription, receiver))
    }

    /// Puts a subscription where news are told, in place of an earlier one of the same process. Not while another
    /// process is alive that has come since [`Self::refuse_second`] looked.
    fn insert(&self, subscription: &Arc<Subscription>) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        if let Some(old) = subscriptions.get(&subscription.node) {
            if old.is_alive() && old.hello.instance != subscription.hello.instance {
                return false;
            }
            old.end(&Goodbye {
                why: "the same node has connected again".to_owned(),
                come_back: true,
            });
        }
        subscriptions.insert(subscription.node.clone(), Arc::clone(subscription));
        // Within the lock, so that what the others read is the last that happened here.
        self.live.changed(subscription);
        drop(subscriptions);
        metrics::connected(subscription.node.role, self.count(subscription.node.role));
        true
    }

    /// What a node gets first. It is in the map already, so what changes from now on reaches it in any case.
    async fn begin(&self, subscription: &Arc<Subscription>) -> Result<(), Trouble> {
        self.register
            .admit(&subscription.node, &subscription.serial)
            .await?;
        let trust = self.life.trust().await?;
        subscription.send(&Event::Trust(trust));
        self.bring(subscription).await
    }

    /// The subscription of node `id` with this name.
    pub(crate) fn subscription(&self, id: &NodeId, name: &str) -> Option<Arc<Subscription>> {
        self.subscriptions
            .lock()
            .get(id)
            .filter(|subscription| subscription.id == name)
            .cloned()
    }

    /// A subscription has ended, from whichever side.
    pub(crate) fn gone(&self, subscription: &Arc<Subscription>) {
        {
            let mut subscriptions = self.subscriptions.lock();
            if !is_current(&subscriptions, subscription) {
                return;
            }
            subscriptions.remove(&subscription.node);
            // Within the lock: a node that is back at once must not be told to be away.
            self.live.gone(subscription);
        }
        metrics::connected(subscription.node.role, self.count(subscription.node.role));
        tracing::info!(node = %subscription.node, subscription = %subscription.id, "node disconnected");
    }

    /// Something about a subscription is to be told to the other servers.
    pub(crate) fn changed(&self, subscription: &Arc<Subscription>) {
        let subscriptions = self.subscriptions.lock();
        // A word that comes late must not bring back a record of what has ended.
        if is_current(&subscriptions, subscription) {
            self.live.changed(subscription);
        }
    }

    /// What is known of a connected node, wherever it is connected.
    pub(crate) async fn connection(&self, id: &NodeId) -> Result<Option<Live>, Trouble> {
        let key = keys::live(id);
        match self.store.get(&key).await? {
            Some(entry) => Ok(Some(keys::hear(&key, entry.value.as_bytes())?)),
            None => Ok(None),
        }
    }

    /// What is known of all connected nodes below `prefix`.
    pub(crate) async fn connections(
        &self,
        prefix: &adit_store::Prefix,
    ) -> Result<HashMap<NodeId, Live>, Trouble> {
        let mut found = HashMap::new();
        for entry in scan::all(&*self.store, prefix).await? {
            if let Some(id) = keys::node_of_live(&entry.key) {
                found.insert(id, keys::hear(&entry.key, entry.value.as_bytes())?);
            }
        }
        Ok(found)
    }

    /// Nothing is told of this server any more.
    pub(crate) async fn withdraw(&self) {
        self.live.withdraw().await;
    }

    /// Gives all nodes a chance to go elsewhere before the server ends.
    pub(crate) fn farewell(&self) {
        let subscriptions: Vec<Arc<Subscription>> =
            self.subscriptions.lock().values().cloned().collect();
        for subscription in subscriptions {
            subscription.end(&Goodbye {
                why: "the server ends".to_owned(),
                come_back: true,
            });
        }
    }

    /// Sends a node the rules that it shall have, unless it has them or was sent them.
    async fn bring(&self, subscription: &Arc<Subscription>) -> Result<(), Trouble> {
        let Some(place) = &subscription.place else {
            return Ok(());
        };
        let current = match self.book.current(place).await {
            Ok(Some(current)) => current,
            Ok(None) => return Ok(()),
            // The line stays, for what else the node must hear, and the node keeps the rules it has.
            Err(Trouble::Store(error @ adit_store::Error::Newer { .. })) => {
                passed_over(place, &error);
                return Ok(());
            }
            Err(trouble) => return Err(trouble),
        };
        self.bring_version(subscription, place, &current.head).await
    }

    async fn bring_version(
        &self,
        subscription: &Arc<Subscription>,
        place: &Place,
        head: &Head,
    ) -> Result<(), Trouble> {
        let Some(wanted) = head.wanted(subscription.node.name()) else {
            return Ok(());
        };
        let epoch = self.life.epoch();
        if !subscription.needs(epoch, wanted) {
            return Ok(());
        }
        match self.pushed(place, wanted).await {
            Ok(pushed) => {
                if subscription.push(epoch, &pushed) {
                    metrics::pushed();
                }
                Ok(())
            }
            // The line stays, for what else the node must hear: whom to trust, for example.
            Err(Trouble::Store(error @ adit_store::Error::Corrupt { .. })) => {
                metrics::document_damaged();
                tracing::error!(node = %subscription.node, version = wanted, %error, "rules in the store are damaged and are not sent; the node keeps what it has");
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// A version on its way. Its signature is checked before any node sees it.
    async fn pushed(&self, place: &Place, version: u64) -> Result<Pushed, Trouble> {
        let load = async || {
            let document = self.book.signed(place, version).await?;
            Ok(Pushed::new(version, &document))
        };
        self.frames.get(place, version, load).await
    }

    /// The nodes of a place are brought what is new there. Whether all could be.
    async fn bring_place(&self, place: &Place) -> bool {
        let subscriptions: Vec<Arc<Subscription>> = {
            let all = self.subscriptions.lock();
            all.values()
                .filter(|subscription| subscription.place.as_ref() == Some(place))
                .cloned()
                .collect()
        };
        if subscriptions.is_empty() {
            self.frames.forget(place, None);
            return true;
        }
        let current = match self.book.current(place).await {
            Ok(Some(current)) => current,
            Ok(None) => return true,
            // Not tried again: it is looked at when it changes.
            Err(Trouble::Store(error @ adit_store::Error::Newer { .. })) => {
                passed_over(place, &error);
                return true;
            }
            Err(trouble) => return later(place, &trouble),
        };
        self.frames.forget(place, Some(&current.head));
        for subscription in subscriptions {
            if let Err(trouble) = self
                .bring_version(&subscription, place, &current.head)
                .await
            {
                return later(place, &trouble);
            }
        }
        true
    }

    /// All places that nodes of this server are of.
    fn places(&self) -> BTreeSet<Place> {
        let subscriptions = self.subscriptions.lock();
        subscriptions
            .values()
            .filter_map(|subscription| subscription.place.clone())
            .collect()
    }

    /// Who signs has changed: what was refused for its signature may count now, and frames of the old key do not.
    fn sign_anew(&self) {
        self.frames.clear();
        for subscription in self.subscriptions.lock().values() {
            subscription.forget_refused();
        }
    }

    /// All nodes hear whom to trust; those that are revoked hear that they are.
    fn tell_trust(&self, trust: &Trust) {
        let subscriptions: Vec<Arc<Subscription>> =
            self.subscriptions.lock().values().cloned().collect();
        for subscription in subscriptions {
            if trust.revoked.binary_search(&subscription.serial).is_ok() {
                subscription.end(&Goodbye {
                    why: "the node is revoked".to_owned(),
                    come_back: false,
                });
                self.gone(&subscription);
            } else {
                subscription.send(&Event::Trust(trust.clone()));
            }
        }
    }

    /// One identity is one process: a second one is refused while the first is alive, and somebody should look.
    async fn refuse_second(&self, id: &NodeId, instance: &str) -> Result<(), Trouble> {
        let here = self.subscriptions.lock().get(id).cloned();
        let alive = match here {
            Some(subscription) => {
                subscription.is_alive() && subscription.hello.instance != instance
            }
            None => match self.connection(id).await? {
                Some(live) => live.server != self.server && live.instance != instance,
                None => false,
            },
        };
        if !alive {
            return Ok(());
        }
        self.second(id, instance).await;
        Err(used_twice(id))
    }

    async fn second(&self, id: &NodeId, instance: &str) {
        metrics::identity_used_twice();
        tracing::warn!(node = %id, ?instance, "a second process uses this node's identity and is refused");
        let by = By {
            who: id.to_string(),
            fingerprint: None,
            request_id: String::new(),
        };
        let deed = Deed {
            verb: "node-used-twice",
            subaccount: id.subaccount().map(str::to_owned),
            what: id.to_string(),
            detail: format!("instance {instance} was refused"),
        };
        if self.questions.once_a_minute(id) {
            let _ = self.acts.note(&by, &deed).await;
        }
    }

    fn count(&self, role: NodeRole) -> usize {
        self.subscriptions
            .lock()
            .keys()
            .filter(|id| id.role == role)
            .count()
    }

    async fn beat(&self) {
        let mut every = tokio::time::interval(Duration::from_secs(BEAT_SECONDS));
        loop {
            every.tick().await;
            let subscriptions: Vec<Arc<Subscription>> =
                self.subscriptions.lock().values().cloned().collect();
            let now = Instant::now();
            for subscription in subscriptions {
                let why = if subscription.is_closed() {
                    "the line is closed"
                } else if subscription.silent_for(now) > SILENCE_LIMIT {
                    "nothing was heard of the node"
                } else if subscription.until_unix_s < clock::unix_s() {
                    "the certificate that this rests on has ended"
                } else {
                    ""
                };
                if !why.is_empty() {
                    subscription.end(&Goodbye {
                        why: why.to_owned(),
                        come_back: true,
                    });
                    self.gone(&subscription);
                } else {
                    subscription.send(&Event::Beat);
                    if let Some(place) = &subscription.place
                        && subscription.tries_again(now)
                    {
                        self.owed.lock().insert(place.clone());
                    }
                }
            }
        }
    }
}

fn is_current(
    subscriptions: &HashMap<NodeId, Arc<Subscription>>,
    subscription: &Subscription,
) -> bool {
    let known = subscriptions.get(&subscription.node);
    known.is_some_and(|known| known.id == subscription.id)
}

/// What a node says of itself is kept and shown, so it is held to what it can be.
/// The format that both will speak.
fn check_hello(hello: &Hello, needed: &[&str]) -> Result<u16, Trouble> {
    let format = common_format(hello.format).ok_or_else(|| {
        Trouble::Invalid(format!(
            "format: the node speaks {} at most, and this control plane {FORMAT_OLDEST} or newer; update the node",
            hello.format
        ))
    })?;
    if let Some(feature) = missing_feature(needed, &hello.features) {
        return Err(Trouble::Invalid(format!(
            "features: the node does not have `{feature}`, which this control plane needs; update the node"
        )));
    }
    if hello.software.len() > SOFTWARE_BYTES_MAX {
        return Err(Trouble::Invalid(format!(
            "software: at most {SOFTWARE_BYTES_MAX} bytes"
        )));
    }
    let plain = |byte: u8| byte.is_ascii_hexdigit();
    if hello.instance.len() != 32 || !hello.instance.bytes().all(plain) {
        return Err(Trouble::Invalid(
            "instance: 32 hexadecimal digits, drawn anew at each start".to_owned(),
        ));
    }
    Ok(format)
}

/// Features without which a node is not taken.
const FEATURES_NEEDED: &[&str] = &[];

fn used_twice(id: &NodeId) -> Trouble {
    Trouble::Conflict(format!(
        "{id} is connected from another process; if a machine was copied, invite the copy under a name of its own, \
         and revoke {id} if nobody knows of a copy"
    ))
}

fn later(place: &Place, trouble: &Trouble) -> bool {
    tracing::warn!(%place, ?trouble, "rules could not be read for the nodes of a place; tried again");
    false
}

fn passed_over(place: &Place, error: &adit_store::Error) {
    tracing::warn!(%place, %error, "which rules are in force is known to a newer version only; the nodes of this place keep theirs");
}

/// What a node's record shows to people.
pub(crate) fn shown(live: &Live) -> Connected {
    Connected {
        server: live.server.clone(),
        since_unix_s: live.since_unix_s,
        software: live.software.clone(),
        running: live.running.clone(),
        refused: live.refused.clone(),
        not_ready: live.not_ready.clone(),
        problems: live.problems.clone(),
        tunnels: live.tunnels,
        streams: live.streams,
    }
}
