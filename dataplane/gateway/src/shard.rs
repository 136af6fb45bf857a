//! One shard of a gateway: its tunnels, its doors, and what it shares with the others.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use adit_proto::connect::RequestId;
use adit_runtime::drain::{Drain, Phase};
use adit_runtime::journal::Journal;
use adit_runtime::local::Once;
use adit_runtime::mailbox::{Inbox, Sender};
use adit_runtime::shard::Choice;
use adit_subscription::Subscription;
use adit_tls::Roots;
use adit_token::{Caller, Verifier};
use adit_transport::Link;
use adit_transport::accept::Admitted;
use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::RandomState;

use crate::directory::{Directory, Entry};
use crate::limits::CUT_WAIT;
use crate::metrics::Counters;
use crate::records::Records;
use crate::settings::Limits;
use crate::trace::{Outcome, Steps, Traces, Wanted};
use crate::{expiry, listen, tunnels};

/// What all shards of the process share. Nothing in it is on the byte path.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) mux: adit_mux::Settings,
    pub(crate) tls: ArcSwap<adit_tls::ServerSettings>,
    pub(crate) verifier: ArcSwap<Verifier>,
    // Rises with every change of keys: what was verified before no longer counts.
    pub(crate) keys_version: AtomicU64,
    pub(crate) directory: Directory,
    pub(crate) mailboxes: Vec<Sender<Message>>,
    // Connections of applications on all shards: a drain is over when the last has ended.
    pub(crate) connections: AtomicUsize,
    pub(crate) drain: Drain,
    pub(crate) drain_limit: Duration,
    pub(crate) journal: Arc<Journal>,
    pub(crate) traces: Traces,
    pub(crate) records: Records,
    pub(crate) choice: Choice,
    /// Whom to trust, once that has changed.
    pub(crate) trusted: ArcSwapOption<Roots>,
    pub(crate) control: Option<Arc<Subscription>>,
}

/// What one shard says to another, and housekeeping to all.
pub(crate) enum Message {
    /// An admitted tunnel that shall live here.
    Tunnel {
        socket: TcpStream,
        admitted: Box<Admitted>,
        entry: Arc<Entry>,
    },
    /// An application's connection whose next request needs a tunnel of this shard.
    Http {
        socket: TcpStream,
        asked: Box<HttpAsked>,
    },
    /// A SOCKS conversation that has been negotiated.
    Socks {
        socket: TcpStream,
        asked: Box<SocksAsked>,
    },
    /// Others are trusted ([`Shared::trusted`]): cut tunnels of whom no longer is. Without them: of two messages the older
    /// may come last.
    Trust,
    /// The process drains: look at its phase.
    Drain,
}

/// A request whose head was read, of somebody who has proven who it is.
pub(crate) struct HttpAsked {
    pub(crate) from: SocketAddr,
    pub(crate) caller: Arc<Caller>,
    /// An agent may have recorded it under this already.
    pub(crate) id: RequestId,
    /// What was read of its connection.
    pub(crate) input: Vec<u8>,
    /// How often it was sent before.
    pub(crate) tries: u32,
}

/// What a SOCKS client asked for, authenticated.
pub(crate) struct SocksAsked {
    pub(crate) from: SocketAddr,
    pub(crate) caller: Arc<Caller>,
    pub(crate) location: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Bytes the client sent before it was answered.
    pub(crate) early: Vec<u8>,
}

/// One shard.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) links: RefCell<HashMap<u64, Rc<Link>, RandomState>>,
    /// When the certificates of the tunnels' agents end, as far as looked at, in seconds since 1970.
    pub(crate) until: RefCell<HashMap<u64, u64, RandomState>>,
    pub(crate) tokens: RefCell<adit_token::cache::Cache>,
    pub(crate) tokens_version: Cell<u64>,
    pub(crate) counters: Counters,
    pub(crate) connections: Cell<usize>,
    pub(crate) opening: Cell<usize>,
    pub(crate) draining: Once,
}

/// Counts a connection of an application while it lives.
pub(crate) struct Held {
    shard: Rc<Shard>,
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        Self {
            index,
            shared,
            links: RefCell::default(),
            until: RefCell::default(),
            tokens: RefCell::new(adit_token::cache::Cache::new(TOKENS_CACHED_MAX)),
            tokens_version: Cell::new(0),
            counters: Counters::new(),
            connections: Cell::new(0),
            opening: Cell::new(0),
            draining: Once::new(),
        }
    }

    /// Takes part in the count of connections; `None` when the shard is full.
    pub(crate) fn hold(self: &Rc<Self>) -> Option<Held> {
        if self.connections.get() >= self.shared.limits.connections_max {
            self.counters.shed.increment(1);
            return None;
        }
        self.connections.set(self.connections.get() + 1);
        self.shared.connections.fetch_add(1, Ordering::AcqRel);
        Some(Held {
            shard: Rc::clone(self),
        })
    }

    /// A request has ended: recorded, where that is asked for, and remembered for `why`.
    pub(crate) fn ended(
        &self,
        id: RequestId,
        steps: &Steps,
        wanted: &Wanted<'_>,
        outcome: Outcome,
    ) {
        let shared = &self.shared;
        // First: what is remembered is taken out of `steps`.
        shared.records.request(id, steps, wanted, outcome);
        shared.traces.keep(self.index, id, steps, wanted, outcome);
    }

    /// Serves messages until the process has drained.
    pub(crate) async fn run(self: Rc<Self>, mut inbox: Inbox<Message>) {
        if self.shared.control.is_some() {
            monoio::spawn(expiry::watch(Rc::clone(&self)));
        }
        loop {
            match inbox.next().await {
                Message::Tunnel {
                    socket,
                    admitted,
                    entry,
                } => tunnels::adopt(&self, socket, *admitted, entry),
                Message::Http { socket, asked } => {
                    listen::http::adopt(&self, socket, *asked);
                }
                Message::Socks { socket, asked } => listen::socks5::adopt(&self, socket, *asked),
                Message::Trust => expiry::trust(&self),
                Message::Drain => {
                    self.draining.happen();
                    if self.shared.drain.phase() == Phase::Cut {
                        self.cut().await;
                        return;
                    }
                    let shard = Rc::clone(&self);
                    monoio::spawn(async move { shard.finish().await });
                }
            }
        }
    }

    // Waits for all connections to end, at most as long as the drain may take, then asks for the cut.
    // Those of the other shards too: their requests may need a tunnel of this one.
    async fn finish(&self) {
        let quiet = async {
            while self.shared.connections.load(Ordering::Acquire) > 0 {
                adit_runtime::timer::sleep(DRAIN_POLL).await;
            }
        };
        // At its deadline the drain is over in any case.
        let _ = adit_runtime::timer::timeout(self.shared.drain_limit, quiet).await;
        self.shared.drain.advance(Phase::Cut);
        if let Some(own) = self.shared.mailboxes.get(self.index) {
            // A full mailbox is read by nobody any more; then `run` has ended.
            let _ = own.send(Message::Drain);
        }
    }

    async fn cut(&self) {
        let links: Vec<Rc<Link>> = self.links.borrow().values().map(Rc::clone).collect();
        for link in links {
            link.close().await;
        }
        // Closing wakes whoever watches a tunnel or carries a request over it, and they record how that ended. With this
        // shard's last task they would be dropped unheard, and the chain would end in a signed stop all the same.
        let last_words = async {
            while !self.links.borrow().is_empty() || self.connections.get() > 0 {
                adit_runtime::timer::sleep(CUT_POLL).await;
            }
        };
        // An application that takes its time must not hold the end of the process.
        let _ = adit_runtime::timer::timeout(CUT_WAIT, last_words).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let left = self.shard.connections.get().saturating_sub(1);
        self.shard.connections.set(left);
        self.shard.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How often a drain looks whether the last connection has ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How often a cut looks whether all that it cut has ended: the resolution of timers.
const CUT_POLL: Duration = Duration::from_millis(1);
/// Verified tokens a shard remembers; about 400 bytes each, so 8 MiB.
const TOKENS_CACHED_MAX: usize = 20_000;
