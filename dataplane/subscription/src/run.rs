//! The endless subscription: dial, say hello, take what comes, begin again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use adit_proto::control::{
    self, Beat, Event, FEATURES, FORMAT, FORMAT_OLDEST, Goodbye, Hello, PROBLEMS, SUBSCRIPTIONS,
    Trust, Welcome,
};
use adit_runtime::clock;
use adit_transport::backoff::Backoff;
use adit_transport::proxy::Proxy;
use arc_swap::ArcSwap;
use hyper::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::connection::{Connection, Failed};
use crate::contact::Contact;
use crate::folder::{Folder, SaveError, Store};
use crate::identity::Identity;
use crate::limits::{ANSWERS_MAX, DEAD_AFTER, HELD, NEWS_EVERY, RETRY_CAP, UNWANTED_WAIT};
use crate::line::Line;
use crate::metrics;
use crate::renew;
use crate::row::Row;
use crate::settings::{Control, ControlUrl};
use crate::subscriber::{BoxFuture, Change, Subscriber};

/// What a node says of itself, the same for all its life.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "roles write all of it")]
pub struct Facts {
    /// Name and version of the program.
    pub software: String,
    /// Drawn at start: 32 hexadecimal digits.
    pub instance: String,
}

/// How fast things happen, and what is asked of the other end; tests are faster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) retry_cap: Duration,
    pub(crate) beat: Duration,
    pub(crate) news: Duration,
    pub(crate) dead_after: Duration,
    pub(crate) unwanted: Duration,
    /// Features without which there is no going on.
    pub(crate) needed: &'static [&'static str],
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry_cap: RETRY_CAP,
            beat: Duration::from_secs(control::BEAT_SECONDS),
            news: NEWS_EVERY,
            dead_after: DEAD_AFTER,
            unwanted: UNWANTED_WAIT,
            needed: &[],
        }
    }
}

/// A node's subscription to its control plane, and its identity.
#[derive(Debug)]
pub struct Subscription {
    control: Control,
    pub(crate) proxy: Option<Proxy>,
    facts: Facts,
    pub(crate) pace: Pace,
    store: Arc<Store<Folder>>,
    current: ArcSwap<Identity>,
    changes: watch::Sender<()>,
    /// Held while an identity is changed on disk and in memory.
    pub(crate) changing: tokio::sync::Mutex<()>,
    contact: Arc<Contact>,
    kept_unix_s: AtomicU64,
    /// The trust that counts is not on disk.
    is_unkept: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<(String, String)>,
    since_unix: u64,
    last_failure: Option<String>,
    /// A trust that is newer than ours and was not taken: its version, and why.
    refused_trust: Option<(u64, String)>,
}

impl Subscription {
    /// Claims the folder and reads the identity in it.
    ///
    /// # Errors
    /// When there is none that is whole, or another process uses it.
    pub fn open(control: Control, proxy: Option<Proxy>, facts: Facts) -> Result<Self, String> {
        let store = Store::new(Folder::claim(&control.identity)?);
        let identity = load(&store, &control.identity)?;
        let now = clock::unix_now();
        // Who never wrote it down was in contact when it got its certificate.
        let last = store
            .contact()
            .unwrap_or_else(|| identity.leaf().from_unix_s);
        let ago = Duration::from_secs(now.saturating_sub(last));
        metrics::identity(identity.leaf().until_unix_s, identity.trust().version);
        metrics::connected(false);
        Ok(Self {
            contact: Arc::new(Contact::begun(clock::now(), ago)),
            control,
            proxy,
            facts,
            pace: Pace::default(),
            store: Arc::new(store),
            current: ArcSwap::from_pointee(identity),
            changes: watch::Sender::new(()),
            changing: tokio::sync::Mutex::new(()),
            kept_unix_s: AtomicU64::new(last),
            is_unkept: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// The identity in `folder`, without claiming it.
    ///
    /// # Errors
    /// When there is none that is whole.
    pub fn look(folder: &Path) -> Result<Identity, String> {
        load(&Store::new(Folder::look(folder)), folder)
    }

    /// The identity that counts now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// When a control plane was last heard.
    #[must_use]
    pub fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    /// Whether the last contact is longer ago than an agent may act on its rules.
    #[must_use]
    pub fn is_beyond_horizon(&self, now: Duration) -> bool {
        self.contact.is_beyond(self.control.horizon, now)
    }

    /// What `status` tells of it.
    #[must_use]
    pub fn status(&self) -> Value {
        let identity = self.identity();
        let problems = self.problems();
        let state = self.state.lock();
        json!({
            "connected": state.server.is_some(),
            "url": state.server.as_ref().map(|(url, _)| url),
            "server": state.server.as_ref().map(|(_, server)| server),
            "since_unix": state.since_unix,
            "last_failure": state.last_failure,
            "contact_age_s": self.contact.age(clock::now()).as_secs(),
            "horizon_s": self.control.horizon.as_secs(),
            "beyond_horizon": self.contact.is_beyond(self.control.horizon, clock::now()),
            "trust": identity.trust().version,
            "certificate": {
                "id": identity.id().to_string(),
                "serial": identity.leaf().serial,
                "until_unix": identity.leaf().until_unix_s,
                "renew_unix": identity.renew_unix_s(),
            },
            "problems": problems,
        })
    }

    /// What a person should look at, a line each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let identity = self.identity();
        let now = clock::unix_now();
        let mut problems = Vec::new();
        if identity.has_expired(now) {
            problems.push("the certificate has expired and is not renewed".to_owned());
        } else if identity.is_nearly_over(now) {
            problems.push(
                "less than a third of the certificate's life is left and it is not renewed"
                    .to_owned(),
            );
        }
        let refused = self.state.lock().refused_trust.clone();
        if let Some((version, why)) = refused {
            problems.push(format!("trust {version} is not taken: {why}"));
        }
        if self.contact.is_beyond(self.control.horizon, clock::now()) {
            problems.push("no control plane was heard for longer than control.horizon: every request is refused".to_owned());
        }
        problems
    }

    /// Subscribes and renews, for ever.
    pub async fn run(&self, subscriber: &dyn Subscriber) {
        tokio::join!(
            self.subscribe(subscriber),
            renew::keep_renewed(self, subscriber)
        );
    }

    async fn subscribe(&self, subscriber: &dyn Subscriber) {
        let mut backoff = Backoff::new(self.pace.retry_cap, fastrand::u64(..));
        let mut turn = 0_usize;
        loop {
            let began = Instant::now();
            let url = self.url(turn);
            let over = Box::pin(self.once(url, subscriber)).await;
            metrics::connected(false);
            self.state.lock().server = None;
            if began.elapsed() >= HELD {
                backoff.succeeded();
            }
            let wait = match over {
                Over::Changed => {
                    tracing::info!(%url, "subscribing again with another identity");
                    continue;
                }
                Over::Failed(why) => {
                    metrics::connect_failed();
                    self.note(subscriber, &format!("{url}: {why}"));
                    turn = turn.wrapping_add(1);
                    backoff.next_wait()
                }
                Over::Goodbye(goodbye) => {
                    self.note(subscriber, &format!("{url}: goodbye: {}", goodbye.why));
                    turn = turn.wrapping_add(1);
                    if goodbye.come_back {
                        backoff.next_wait()
                    } else {
                        self.pace.unwanted.mul_f64(0.5 + fastrand::f64() / 2.0)
                    }
                }
            };
            self.rest(wait).await;
        }
    }

    // Waits, and tells the age of the last contact meanwhile. Another identity may be welcome at once.
    async fn rest(&self, wait: Duration) {
        let mut changes = self.changes.subscribe();
        let until = Instant::now() + wait;
        loop {
            metrics::contact_age(self.contact.age(clock::now()).as_secs());
            let next = (Instant::now() + self.pace.beat).min(until);
            tokio::select! {
                () = tokio::time::sleep_until(next) => if Instant::now() >= until { return },
                changed = changes.changed() => if changed.is_ok() { return },
            }
        }
    }

    async fn once(&self, url: &ControlUrl, subscriber: &dyn Subscriber) -> Over {
        match self.converse(url, subscriber).await {
            Ok(over) => over,
            Err(failed) => Over::Failed(failed.to_string()),
        }
    }

    async fn converse(
        &self,
        url: &ControlUrl,
        subscriber: &dyn Subscriber,
    ) -> Result<Over, Failed> {
        let mut changes = self.changes.subscribe();
        let identity = self.identity();
        if identity.has_expired(clock::unix_now()) {
            return Err(Failed::Path(
                "our certificate has expired; it is being renewed".to_owned(),
            ));
        }
        let tls = adit_tls::control_client(
            Some(identity.credentials()),
            &identity.id().trust_domain,
            identity.roots(),
        )
        .map_err(|error| Failed::Path(error.to_string()))?;
        let connection = Connection::dial(url, self.proxy.as_ref(), tls).await?;
        let hello = Hello {
            format: FORMAT,
            software: self.facts.software.clone(),
            instance: self.facts.instance.clone(),
            location: identity.location().to_owned(),
            in_force: subscriber.in_force(),
            trust: identity.trust().version,
            features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        };
        let asker = connection.asker();
        let body = asker
            .open(SUBSCRIPTIONS, control::to_json(&hello), StatusCode::OK)
            .await?;
        let mut row = Row::new(body, self.pace.dead_after);
        let Some(Event::Welcome(welcome)) = row.next().await? else {
            return Err(Failed::Path("the first event is no welcome".to_owned()));
        };
        check_welcome(&welcome, self.pace.needed).map_err(Failed::Path)?;
        self.welcomed(url, &welcome);
        let line = Line {
            subscription: self,
            subscriber,
            asker,
            base: format!("{SUBSCRIPTIONS}/{}", welcome.subscription),
            tells_problems: control::has_feature(&welcome.features, PROBLEMS),
        };
        let mut beats = tokio::time::interval(self.pace.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = tokio::time::interval(self.pace.news);
        news.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Beat::default();
        let mut said: JoinSet<Result<(), Failed>> = JoinSet::new();
        let mut answering: Vec<BoxFuture<'_, Result<(), Failed>>> = Vec::new();
        let mut pushing: Option<BoxFuture<'_, Result<(), Failed>>> = None;
        loop {
            tokio::select! {
                // One document at a time, and one question beyond those that are answered at once: while it is taken
                // in, or told to wait, the next waits at the other end.
                event = row.next(), if pushing.is_none() && answering.len() <= ANSWERS_MAX => match event? {
                    Some(Event::Welcome(_)) => {
                        return Err(Failed::Path("welcomed a second time".to_owned()));
                    }
                    Some(Event::Push(document)) => pushing = Some(Box::pin(line.push(document))),
                    Some(Event::Trust(trust)) => self.trust(subscriber, trust).await,
                    Some(Event::Ask(ask)) => {
                        let full = answering.len() >= ANSWERS_MAX;
                        answering.push(Box::pin(line.answer(ask, full)));
                    }
                    Some(Event::Goodbye(goodbye)) => return Ok(Over::Goodbye(goodbye)),
                    Some(Event::Beat) | None => {}
                },
                outcome = taken(&mut pushing) => { pushing = None; outcome?; row.resumed(); }
                outcome = any(&mut answering), if !answering.is_empty() => { outcome?; row.resumed(); }
                Some(outcome) = said.join_next() => {
                    outcome.unwrap_or_else(|error| Err(Failed::Path(error.to_string())))?;
                }
                _ = beats.tick() => {
                    self.heard(row.heard()).await;
                    if self.is_unkept.load(Ordering::Relaxed) {
                        let _turn = self.changing.lock().await;
                        self.keep_trust(&self.identity(), subscriber).await;
                    }
                    if said.is_empty() {
                        last = line.beat();
                        said.spawn(line.say_beat(&last));
                    }
                }
                _ = news.tick() => {
                    let now = line.beat();
                    // What waits for the beat before it is told together with what comes meanwhile.
                    if said.is_empty() && is_news(&last, &now) {
                        last = now;
                        said.spawn(line.say_beat(&last));
                        beats.reset();
                    }
                }
                changed = changes.changed() => {
                    let now = self.identity();
                    let others = changed.is_ok() && now.leaf().serial != identity.leaf().serial;
                    // Whom we no longer trust we do not listen to, nor stay under a name that has ended.
                    if others || connection.chain.iter().any(|server| now.roots().is_revoked(server)) {
                        return Ok(Over::Changed);
                    }
                }
            }
        }
    }

    fn welcomed(&self, url: &ControlUrl, welcome: &Welcome) {
        metrics::connected(true);
        let mut state = self.state.lock();
        state.server = Some((url.to_string(), welcome.server.clone()));
        state.since_unix = clock::unix_now();
        drop(state);
        tracing::info!(%url, server = ?welcome.server, "subscribed");
    }

    // Notes that the control plane was heard `ago`, and keeps it across a restart where a horizon asks for it.
    async fn heard(&self, ago: Duration) {
        let now = clock::now();
        self.contact.heard(now.saturating_sub(ago));
        metrics::contact_age(self.contact.age(now).as_secs());
        let horizon = self.control.horizon;
        let unix = clock::unix_now().saturating_sub(ago.as_secs());
        let kept = self.kept_unix_s.load(Ordering::Relaxed);
        let every = (horizon.as_secs() / 10).clamp(1, CONTACT_KEPT_EVERY_S);
        if horizon.is_zero() || unix < kept.saturating_add(every) {
            return;
        }
        self.kept_unix_s.store(unix, Ordering::Relaxed);
        if let Err(why) = self.on_disk(move |store| store.keep_contact(unix)).await {
            tracing::warn!(why, "the time of the last contact is not kept");
        }
    }

    // Takes another trust in, if it is newer. It counts also where it cannot be kept: a revocation needs no room.
    async fn trust(&self, subscriber: &dyn Subscriber, trust: Trust) {
        let _turn = self.changing.lock().await;
        let current = self.identity();
        let version = trust.version;
        if version <= current.trust().version {
            return;
        }
        let Some(next) = self.usable(subscriber, &current, trust) else {
            return;
        };
        tracing::info!(
            version,
            revoked = next.trust().revoked.len(),
            "trust changed"
        );
        self.keep_trust(&next, subscriber).await;
        self.adopt(subscriber, next, Change::Trust);
    }

    // For who holds `changing`. Where it does not work, it is tried again at each beat.
    async fn keep_trust(&self, identity: &Identity, subscriber: &dyn Subscriber) {
        let saved = identity.clone();
        let kept = self.on_disk(move |store| store.save_trust(&saved)).await;
        self.is_unkept.store(kept.is_err(), Ordering::Relaxed);
        if let Err(why) = kept {
            let version = identity.trust().version;
            self.note(
                subscriber,
                &format!("trust {version} counts until a restart, and is not kept: {why}"),
            );
        }
    }

    /// `current` with `trust`, if this node can use that. Else it is told why, and nothing changes.
    pub(crate) fn usable(
        &self,
        subscriber: &dyn Subscriber,
        current: &Identity,
        trust: Trust,
    ) -> Option<Identity> {
        let version = trust.version;
        let next = current.with_trust(trust);
        let checked = next.and_then(|next| subscriber.check(next.trust()).map(|()| next));
        checked
            .map_err(|why| self.refused(subscriber, version, why))
            .ok()
    }

    fn refused(&self, subscriber: &dyn Subscriber, version: u64, why: String) {
        metrics::trust_refused();
        self.note(
            subscriber,
            &format!("trust {version} is not taken: {why}; the one before goes on counting"),
        );
        self.state.lock().refused_trust = Some((version, why));
    }

    /// `identity` counts from now on.
    pub(crate) fn adopt(&self, subscriber: &dyn Subscriber, identity: Identity, change: Change) {
        metrics::identity(identity.leaf().until_unix_s, identity.trust().version);
        let trusted = identity.trust().version;
        self.state
            .lock()
            .refused_trust
            .take_if(|(version, _)| *version <= trusted);
        let identity = Arc::new(identity);
        self.current.store(Arc::clone(&identity));
        subscriber.identity(&identity, change);
        self.changes.send_replace(());
    }

    /// Writes, off this thread.
    pub(crate) async fn on_disk(
        &self,
        write: impl FnOnce(&Store<Folder>) -> Result<(), SaveError> + Send + 'static,
    ) -> Result<(), String> {
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || write(&store)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    /// The server whose turn it is.
    pub(crate) fn url(&self, turn: usize) -> &ControlUrl {
        let count = self.control.urls.len().max(1);
        self.control
            .urls
            .get(turn % count)
            .expect("a control plane has an address")
    }

    /// Tells a failure, to the log only when it is another than the last one.
    pub(crate) fn note(&self, subscriber: &dyn Subscriber, what: &str) {
        let mut state = self.state.lock();
        if state.last_failure.as_deref() == Some(what) {
            tracing::debug!(what = ?what, "control plane");
        } else {
            tracing::warn!(what = ?what, "control plane; trying again for ever");
        }
        state.last_failure = Some(what.to_owned());
        drop(state);
        subscriber.failed(what);
    }

    #[cfg(test)]
    pub(crate) fn at_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

/// How a subscription ended.
enum Over {
    /// The path or the other end.
    Failed(String),
    /// The control plane ended it.
    Goodbye(Goodbye),
    /// The identity it was made with no longer counts.
    Changed,
}

fn load(store: &Store<Folder>, folder: &Path) -> Result<Identity, String> {
    let place = |why: String| format!("identity {}: {why}", folder.display());
    store.load().map_err(place)?.ok_or_else(|| {
        place("there is none yet; start once with --enrol URL and an invitation".to_owned())
    })
}

// Whether we can go on with a server that says this.
fn check_welcome(welcome: &Welcome, needed: &[&str]) -> Result<(), String> {
    if !(FORMAT_OLDEST..=FORMAT).contains(&welcome.format) {
        return Err(format!(
            "the control plane wants to speak format {}, and this node speaks {FORMAT_OLDEST} to {FORMAT}; update the node",
            welcome.format
        ));
    }
    match control::missing_feature(needed, &welcome.features) {
        Some(feature) => Err(format!(
            "the control plane does not have the feature `{feature}`, which this node needs; update the control plane"
        )),
        None => Ok(()),
    }
}

// Whether people wait to hear of it: what moves with each request can wait for the next beat.
fn is_news(last: &Beat, now: &Beat) -> bool {
    last.not_ready != now.not_ready || last.tunnels != now.tunnels || last.problems != now.problems
}

async fn taken(pushing: &mut Option<BoxFuture<'_, Result<(), Failed>>>) -> Result<(), Failed> {
    match pushing {
        Some(pushing) => pushing.await,
        None => std::future::pending().await,
    }
}

// The first of the futures that is done; it is taken out.
async fn any<T>(futures: &mut Vec<BoxFuture<'_, T>>) -> T {
    std::future::poll_fn(|cx| {
        for at in 0..futures.len() {
            if let Some(future) = futures.get_mut(at)
                && let std::task::Poll::Ready(outcome) = future.as_mut().poll(cx)
            {
                drop(futures.swap_remove(at));
                return std::task::Poll::Ready(outcome);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// How often the time of the last contact is kept, at most, in seconds.
const CONTACT_KEPT_EVERY_S: u64 = 60;
