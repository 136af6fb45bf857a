//! Who is connected: the subscriptions of nodes, what each shall have, and questions to them.
//!
//! A node's subscription lives on one server; what the others need to know of it is in the store, under a lease that ends
//! with this server. What rules there are is the book's, whose certificates count the register's.

mod follow;
mod live;
mod questions;
mod subscription;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit_api::{Connected, NodeRole};
use adit_proto::control::{BEAT_SECONDS, Event, Goodbye, Hello, Trust, Welcome};
use adit_store::{Key, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::acts::{Acts, By, Deed};
use crate::book::Book;
use crate::keys;
use crate::life::Life;
use crate::limits::{EVENTS_WAITING_MAX, SILENCE_LIMIT};
use crate::metrics;
use crate::place::{NodeId, Place};
use crate::register::Register;
use crate::secret::random_name;
use crate::trouble::Trouble;

pub(crate) use live::Live;
pub(crate) use subscription::Subscription;

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
    frames: Mutex<Frames>,
    live: live::Board,
    questions: questions::Questions,
}

/// The last document of each place, as the event that carries it: nodes of a place share its bytes.
#[derive(Debug, Default)]
struct Frames {
    by_place: HashMap<Place, (u64, Bytes)>,
    bytes: usize,
}

/// Bytes of documents that are held for nodes to come. 256 MiB.
const FRAMES_BYTES_MAX: usize = 256 * 1024 * 1024;

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
            store,
            acts,
            book,
            register,
            life,
            server,
            subscriptions: Mutex::default(),
            frames: Mutex::default(),
        })
    }

    /// Runs until the server ends: follows the store, tells nodes that the line is alive, drops the silent.
    pub(crate) async fn run(self: Arc<Self>) {
        let rules = follow::rules(Arc::clone(&self));
        let trust = follow::meta(Arc::clone(&self));
        let asked = follow::asked(Arc::clone(&self));
        let answered = follow::answered(Arc::clone(&self));
        tokio::join!(rules, trust, asked, answered, self.live.run(), self.beat());
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
        id: NodeId,
        serial: &str,
        hello: Hello,
    ) -> Result<(Arc<Subscription>, mpsc::Receiver<Bytes>), Trouble> {
        let enrolment = self.register.admit(&id, serial).await?;
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
            serial.to_owned(),
            hello,
            events,
        ));
        let welcome = Welcome {
            subscription: subscription.id.clone(),
            server: self.server.clone(),
        };
        subscription.send(&Event::Welcome(welcome));
        let trust = self.life.trust().await?;
        subscription.send(&Event::Trust(trust));
        // First where the watch looks, then a look of its own: a change between the two is seen by one of them.
        let replaced = self
            .subscriptions
            .lock()
            .insert(id.clone(), Arc::clone(&subscription));
        if let Some(old) = replaced {
            old.end(&Goodbye {
                why: "the same node has connected again".to_owned(),
                come_back: true,
            });
        }
        metrics::connected(id.role, self.count(id.role));
        self.live.changed(&subscription);
        tracing::info!(node = %id, software = ?subscription.hello.software, subscription = %subscription.id, "node connected");
        self.bring(&subscription).await?;
        Ok((subscription, receiver))
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
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions
            .get(&subscription.node)
            .is_some_and(|known| known.id == subscription.id)
        {
            subscriptions.remove(&subscription.node);
            drop(subscriptions);
            self.live.gone(subscription);
            metrics::connected(subscription.node.role, self.count(subscription.node.role));
            tracing::info!(node = %subscription.node, subscription = %subscription.id, "node disconnected");
        }
    }

    /// Something about a subscription is to be told to the other servers.
    pub(crate) fn changed(&self, subscription: &Arc<Subscription>) {
        self.live.changed(subscription);
    }

    /// What is known of a connected node, wherever it is connected.
    pub(crate) async fn connection(&self, id: &NodeId) -> Result<Option<Live>, Trouble> {
        let key = keys::live(id);
        match self.store.get(&key).await? {
            Some(entry) => Ok(Some(keys::read(&key, entry.value.as_bytes())?)),
            None => Ok(None),
        }
    }

    /// What is known of all connected nodes below `prefix`.
    pub(crate) async fn connections(
        &self,
        prefix: &adit_store::Prefix,
    ) -> Result<HashMap<NodeId, Live>, Trouble> {
        let mut found = HashMap::new();
        let mut cursor: Option<Key> = None;
        loop {
            let page = self
                .store
                .list(prefix, cursor.as_ref(), crate::limits::PAGE_ITEMS_MAX)
                .await?;
            for entry in &page.entries {
                if let Some(id) = keys::node_of_live(&entry.key) {
                    found.insert(id, keys::read(&entry.key, entry.value.as_bytes())?);
                }
            }
            cursor = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                return Ok(found);
            }
        }
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
        let _turn = subscription.turn.lock().await;
        let Some(current) = self.book.current(place).await? else {
            return Ok(());
        };
        let Some(wanted) = current.head.wanted(subscription.node.name()) else {
            return Ok(());
        };
        if !subscription.needs(self.life.epoch(), wanted) {
            return Ok(());
        }
        let frame = self.frame(place, wanted).await?;
        subscription.push(wanted, frame);
        metrics::pushed();
        Ok(())
    }

    async fn frame(&self, place: &Place, version: u64) -> Result<Bytes, Trouble> {
        if let Some((known, frame)) = self.frames.lock().by_place.get(place)
            && *known == version
        {
            return Ok(frame.clone());
        }
        let document = self.book.document(place, version).await?;
        let mut frame = Vec::with_capacity(document.len() + adit_proto::control::EVENT_HEAD_BYTES);
        Event::Push(document.to_vec()).encode(&mut frame);
        let frame = Bytes::from(frame);
        self.frames.lock().keep(place, version, frame.clone());
        Ok(frame)
    }

    /// The nodes of a place are brought what is new there.
    async fn bring_place(&self, place: &Place) {
        let subscriptions: Vec<Arc<Subscription>> = {
            let all = self.subscriptions.lock();
            all.values()
                .filter(|subscription| subscription.place.as_ref() == Some(place))
                .cloned()
                .collect()
        };
        for subscription in subscriptions {
            if let Err(trouble) = self.bring(&subscription).await {
                tracing::warn!(node = %subscription.node, ?trouble, "rules could not be read for a node; tried again");
                // It comes back, and is looked after then.
                subscription.end(&Goodbye {
                    why: "the store cannot be read".to_owned(),
                    come_back: true,
                });
            }
        }
    }

    async fn bring_all(&self) {
        let places: std::collections::HashSet<Place> = self
            .subscriptions
            .lock()
            .values()
            .filter_map(|subscription| subscription.place.clone())
            .collect();
        for place in places {
            self.bring_place(&place).await;
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
        metrics::identity_used_twice();
        tracing::warn!(node = %id, instance = ?instance, "a second process uses this node's identity and is refused");
        let by = By {
            who: id.to_string(),
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
        Err(Trouble::Conflict(format!(
            "{id} is connected from another process; if a machine was copied, invite the copy under a name of its own, \
             and revoke {id} if nobody knows of a copy"
        )))
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
                if subscription.is_closed() || subscription.silent_for(now) > SILENCE_LIMIT {
                    subscription.end(&Goodbye {
                        why: "nothing was heard of the node".to_owned(),
                        come_back: true,
                    });
                    self.gone(&subscription);
                } else {
                    subscription.send(&Event::Beat);
                }
            }
        }
    }
}

impl Frames {
    fn keep(&mut self, place: &Place, version: u64, frame: Bytes) {
        if self.bytes + frame.len() > FRAMES_BYTES_MAX {
            self.by_place.clear();
            self.bytes = 0;
        }
        self.bytes += frame.len();
        if let Some((_, old)) = self.by_place.insert(place.clone(), (version, frame)) {
            self.bytes = self.bytes.saturating_sub(old.len());
        }
    }
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
        tunnels: live.tunnels,
        streams: live.streams,
    }
}
