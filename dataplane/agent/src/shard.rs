//! One shard of an agent: its tunnels, what runs on them, its backend connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_policy::Permit;
use adit_proto::connect::RequestId;
use adit_proto::refusal::Refusal;
use adit_runtime::clock;
use adit_runtime::drain::{Drain, Phase};
use adit_runtime::journal::Journal;
use adit_runtime::local::{Gate, Notify, Once};
use adit_runtime::mailbox::{Inbox, Sender};
use adit_runtime::resolve::Resolver;
use adit_runtime::shard::Choice;
use adit_subscription::Subscription;
use adit_tls::Roots;
use adit_transport::Link;
use adit_transport::dial::Dialler;
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;

use crate::backend::Backend;
use crate::backend::dial::{DialError, Dialled, dial};
use crate::backend::pool::Pool;
use crate::decisions::Decisions;
use crate::enforce::InForce;
use crate::limits::{DIALS_MAX, DRAIN_GRACE, POOL_SWEEP_EVERY};
use crate::live::Live;
use crate::metrics::{Counters, SystemLabels};
use crate::serve::Asked;
use crate::settings::{BackendSettings, Gateway, TunnelCount};
use crate::trace::Traces;
use crate::tunnels::{self, Board};

/// What all shards of the process share. Nothing in it is on the byte path.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) subaccount: String,
    pub(crate) location: String,
    /// Drawn at start: tells this process from others with the same certificate.
    pub(crate) instance: [u8; 16],
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) tunnels: TunnelCount,
    pub(crate) dialler: Dialler,
    pub(crate) retry_cap: Duration,
    pub(crate) backend: BackendSettings,
    pub(crate) resolver: Resolver,
    pub(crate) in_force: ArcSwapOption<InForce>,
    pub(crate) decisions: Decisions,
    pub(crate) traces: Traces,
    pub(crate) board: Board,
    pub(crate) labels: SystemLabels,
    pub(crate) mailboxes: Vec<Sender<Message>>,
    pub(crate) streams: AtomicUsize,
    pub(crate) drain: Drain,
    pub(crate) drain_limit: Duration,
    pub(crate) journal: Arc<Journal>,
    pub(crate) choice: Choice,
    /// Whom to trust, once that has changed.
    pub(crate) trusted: ArcSwapOption<Roots>,
    pub(crate) control: Option<Arc<Subscription>>,
}

/// What a shard is told. Never with the news itself: of two messages the older may come last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    /// Keep tunnel `number` to the gateway with this index up from now on.
    Tunnel { gateway: usize, number: usize },
    /// Other rules are in force: judge what runs by them.
    Rules,
    /// Another certificate is ours: dial anew, and drain what was dialled with the old one.
    Renewed,
    /// Others are trusted ([`Shared::trusted`]): cut tunnels to whom no longer is.
    Trust,
    /// The process drains: look at its phase.
    Drain,
}

/// One shard.
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Counters,
    pub(crate) pool: Pool<Backend>,
    pub(crate) live: Live<Asked>,
    pub(crate) links: RefCell<HashMap<u64, Rc<Link>, RandomState>>,
    pub(crate) draining: Once,
    /// Tunnels that are being dialled.
    pub(crate) dialling: Gate,
    /// Happens when what is dialled from now on has another certificate; then there is a new one.
    renewed: RefCell<Rc<Once>>,
    busy: Cell<usize>,
    quiet: Notify,
    // Drained: the next look at the drain ends this shard.
    drained: Cell<bool>,
}

/// Counts a stream while it is served.
pub(crate) struct Busy {
    shard: Rc<Shard>,
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        let pool = Pool::new(shared.backend.idle_timeout, shared.backend.pool_max);
        Self {
            index,
            shared,
            counters: Counters::new(),
            pool,
            live: Live::new(),
            links: RefCell::default(),
            draining: Once::new(),
            dialling: Gate::new(DIALS_MAX),
            renewed: RefCell::new(Rc::new(Once::new())),
            busy: Cell::new(0),
            quiet: Notify::new(),
            drained: Cell::new(false),
        }
    }

    /// Takes part in the count of streams.
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        self.counters.streams.increment(1.0);
        Busy {
            shard: Rc::clone(self),
        }
    }

    /// Connects to what `permit` names, and counts.
    ///
    /// # Errors
    /// The refusal to answer with, and what was said on the way.
    pub(crate) async fn dial(
        &self,
        permit: &Permit,
        in_force: &InForce,
        id: RequestId,
    ) -> Result<Dialled, DialError> {
        let failed = |error: DialError| {
            let (refusal, detail) = (error.refusal, &error.detail);
            Counters::dial_failed(refusal.reason());
            let told = format!("{}: {}: {detail}", permit.system_name(), refusal.reason());
            self.shared
                .journal
                .record("backend", &told, clock::unix_now());
            tracing::debug!(%id, system = permit.system_name(), reason = refusal.reason(), detail, "backend not reached");
            error
        };
        let anchors = in_force
            .trust
            .of(permit)
            .map_err(|why| failed(DialError::new(Refusal::BackendTls, why)))?;
        let limit = self.shared.backend.connect_timeout;
        let mut outcome = dial(permit, anchors, &self.shared.resolver, limit).await;
        if outcome.as_ref().is_err_and(|error| error.exhausted) && self.pool.kept() > 0 {
            // Without descriptors, quiet connections give way to a request that waits (row R-10 of docs/hostile.md).
            self.pool.clear();
            outcome = dial(permit, anchors, &self.shared.resolver, limit).await;
        }
        match outcome {
            Ok(dialled) => {
                self.counters.dials_fine.increment(1);
                Ok(dialled)
            }
            Err(error) => {
                if error.exhausted {
                    tracing::warn!(
                        detail = error.detail,
                        "no descriptors left for backends; raise the limit"
                    );
                }
                Err(failed(error))
            }
        }
    }

    /// Serves messages until the process has drained.
    pub(crate) async fn run(self: Rc<Self>, mut inbox: Inbox<Message>) {
        let shard = Rc::clone(&self);
        monoio::spawn(async move { shard.sweep().await });
        loop {
            match inbox.next().await {
                Message::Tunnel { gateway, number } => tunnels::start(&self, gateway, number),
                Message::Rules => {
                    let shard = Rc::clone(&self);
                    monoio::spawn(async move { shard.judge_again().await });
                }
                Message::Renewed => self.renew(),
                Message::Trust => self.trust(),
                Message::Drain => {
                    self.draining.happen();
                    if self.drained.get() || self.shared.drain.phase() == Phase::Cut {
                        self.cut().await;
                        return;
                    }
                    let shard = Rc::clone(&self);
                    monoio::spawn(async move { shard.finish().await });
                }
            }
        }
    }

    /// Happens with the next change of our certificate.
    pub(crate) fn renewed(&self) -> Rc<Once> {
        Rc::clone(&self.renewed.borrow())
    }

    /// Whether the peer of `link` no longer counts.
    pub(crate) fn is_revoked(&self, link: &Link) -> bool {
        let trusted = self.shared.trusted.load();
        let leaf = &link.peer().identity.leaf;
        trusted.as_ref().is_some_and(|roots| roots.is_revoked(leaf))
    }

    fn renew(&self) {
        self.renewed.replace(Rc::new(Once::new())).happen();
    }

    fn trust(&self) {
        for link in self.all_links() {
            if self.is_revoked(&link) {
                tracing::warn!(gateway = %link.peer().identity.id, "tunnel cut: the gateway's certificate is revoked");
                monoio::spawn(async move { link.close().await });
            }
        }
    }

    async fn judge_again(&self) {
        let in_force = || {
            let rules = self.shared.in_force.load();
            rules.as_ref().map(|rules| Arc::clone(&rules.snapshot))
        };
        let ended = self.live.judge_again(in_force).await;
        if ended > 0 {
            self.counters
                .withdrawn
                .increment(u64::try_from(ended).unwrap_or(u64::MAX));
            tracing::info!(
                ended,
                version = in_force().map(|snapshot| snapshot.version()),
                shard = self.index,
                "streams ended because the rules no longer grant them"
            );
        }
    }

    // Closes backend connections that were quiet for too long.
    async fn sweep(&self) {
        let mut shown = 0_usize;
        loop {
            adit_runtime::timer::sleep(POOL_SWEEP_EVERY).await;
            self.pool.sweep(clock::now());
            let kept = self.pool.kept();
            // The gauge is the sum of all shards, so each tells the difference.
            let change = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
            self.counters
                .idle
                .increment(change(kept.saturating_sub(shown)));
            self.counters
                .idle
                .decrement(change(shown.saturating_sub(kept)));
            shown = kept;
        }
    }

    // Says go-away on all tunnels, waits for what runs, at most as long as the drain may take, then
    // asks for the cut.
    async fn finish(&self) {
        let links = self.all_links();
        for link in &links {
            link.drain();
        }
        // What was on its way when we said go-away comes within a round trip.
        let round_trip = links
            .iter()
            .filter_map(|link| link.rtt())
            .max()
            .unwrap_or_default();
        adit_runtime::timer::sleep(DRAIN_GRACE + 2 * round_trip).await;
        let quiet = async {
            while self.busy.get() > 0 {
                self.quiet.notified().await;
            }
        };
        // At its deadline the drain is over in any case.
        let _ = adit_runtime::timer::timeout(self.shared.drain_limit, quiet).await;
        self.drained.set(true);
        if let Some(own) = self.shared.mailboxes.get(self.index) {
            // A mailbox that takes nothing more is read by nobody; then `run` has ended.
            let _ = own.send(Message::Drain);
        }
    }

    async fn cut(&self) {
        let links = self.all_links();
        for link in &links {
            let link = Rc::clone(link);
            monoio::spawn(async move { link.close().await });
        }
        let closing = async {
            for link in &links {
                link.ended().await;
            }
        };
        // A path that takes no last words must not hold the process.
        let _ = adit_runtime::timer::timeout(CLOSE_WAIT, closing).await;
    }

    fn all_links(&self) -> Vec<Rc<Link>> {
        self.links.borrow().values().map(Rc::clone).collect()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.shard.busy.get().saturating_sub(1);
        self.shard.busy.set(left);
        self.shard.shared.streams.fetch_sub(1, Ordering::Relaxed);
        self.shard.counters.streams.decrement(1.0);
        if left == 0 {
            self.shard.quiet.notify();
        }
    }
}

/// How long the close of all tunnels may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::{Backend, World, all_of, on_both_drivers};

    #[test]
    fn a_drain_waits_for_a_request_that_comes_within_its_grace_and_for_no_later_one() {
        assert_eq!(DRAIN_GRACE, Duration::from_millis(100));
        on_both_drivers(async |driver| {
            for (comes_after, is_waited_for) in [(DRAIN_GRACE / 2, true), (DRAIN_GRACE * 2, false)]
            {
                let world = World::new(driver, "", |_| {}).await;
                let shard = Rc::clone(&world.shard);
                monoio::spawn(async move { shard.finish().await });
                adit_runtime::timer::sleep(comes_after).await;
                let busy = world.shard.busy();
                adit_runtime::timer::sleep(DRAIN_GRACE * 2).await;
                assert_eq!(world.shard.drained.get(), !is_waited_for, "{comes_after:?}");
                drop(busy);
                while !world.shard.drained.get() {
                    adit_runtime::timer::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }

    #[test]
    fn a_quiet_backend_connection_is_closed_at_the_next_look_a_second_apart() {
        assert_eq!(POOL_SWEEP_EVERY, Duration::from_secs(1));
        on_both_drivers(async |driver| {
            let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let rules = all_of(&format!("http://{}", backend.address));
            let world = World::new(driver, &rules, |backend| {
                backend.idle_timeout = Duration::from_millis(1);
            })
            .await;
            let shard = Rc::clone(&world.shard);
            monoio::spawn(async move { shard.sweep().await });
            let request = "GET / HTTP/1.1\r\nhost: erp.virtual\r\n\r\n";
            assert!(
                world
                    .ask(request)
                    .await
                    .whole()
                    .starts_with("HTTP/1.1 200 ")
            );
            adit_runtime::timer::sleep(POOL_SWEEP_EVERY / 2).await;
            assert_eq!(world.shard.pool.kept(), 1);
            adit_runtime::timer::sleep(POOL_SWEEP_EVERY).await;
            assert_eq!(world.shard.pool.kept(), 0);
        });
    }
}
