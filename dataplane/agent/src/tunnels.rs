//! Tunnels to the gateways: dialled for ever, replaced before they are gone, each at home on one shard.
//!
//! Every place for a tunnel has a number and keeps it. The first tunnel to a gateway tells how many
//! shards that has, and so how many places there are. What comes on a tunnel is `serve`'s.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_proto::hello::{Hello, VERSION};
use adit_runtime::clock;
use adit_runtime::local::{Either, Gate, Turn, either};
use adit_transport::Link;
use adit_transport::backoff::Backoff;
use adit_transport::dial::DialError;
use adit_tunnel::Error;
use parking_lot::Mutex;
use serde::Serialize;

use crate::limits::{
    DIAL_TURN_WAIT, DRAIN_GRACE, FACTS_EVERY, RENEWED_SPREAD, TUNNEL_HELD, TUNNELS_AUTO_MAX,
};
use crate::metrics::Counters;
use crate::serve;
use crate::settings::{Gateway, SOFTWARE, TunnelCount};
use crate::shard::{Message, Shard, Shared};

/// Asks the shards for the tunnels that are wanted before any gateway has answered.
pub(crate) fn begin(shared: &Shared) {
    for gateway in 0..shared.gateways.len() {
        want(shared, gateway, 1);
    }
}

/// Keeps one place filled, from now until the drain.
pub(crate) fn start(shard: &Rc<Shard>, gateway: usize, number: usize) {
    let place = Place { gateway, number };
    monoio::spawn(keep(Rc::clone(shard), place));
}

// Sees to it that there are as many places as a gateway with `shards` shards deserves.
fn want(shared: &Shared, gateway: usize, shards: usize) {
    let wanted = match shared.tunnels {
        TunnelCount::Auto => shards.clamp(1, TUNNELS_AUTO_MAX),
        TunnelCount::Fixed(count) => count,
    };
    let have = shared.board.raise(gateway, wanted);
    for number in have..wanted {
        // Round robin, each gateway beginning one shard further, so that few gateways still use all.
        let target = (gateway + number) % shared.mailboxes.len().max(1);
        let sent = shared
            .mailboxes
            .get(target)
            .is_some_and(|mailbox| mailbox.send(Message::Tunnel { gateway, number }).is_ok());
        if !sent {
            tracing::error!(
                gateway,
                number,
                shard = target,
                "shard takes no more messages; tunnel is missing"
            );
        }
    }
}

async fn keep(shard: Rc<Shard>, place: Place) {
    let shared = Arc::clone(&shard.shared);
    let Some(gateway) = shared.gateways.get(place.gateway) else {
        return;
    };
    let mut backoff = Backoff::new(shared.retry_cap, fastrand::u64(..));
    let row = |state, reason: Option<String>, failures| Row {
        gateway: gateway.text.clone(),
        number: place.number,
        shard: shard.index,
        state,
        since_unix: clock::unix_now(),
        reason,
        failures,
        facts: None,
    };
    let mut last_reason = None;
    // A tunnel with a certificate that is no longer ours: it carries requests until the next one does.
    let mut outgoing = None;
    while shared.drain.is_serving() {
        shared.board.place(
            place,
            row(State::Dialling, last_reason.clone(), backoff.failures()),
        );
        // Before the dial: what changes meanwhile, it does not have.
        let renewed = shard.renewed();
        let dialling = Box::pin(dial(&shard, gateway));
        let Either::Right(dialled) = either(shard.draining.wait(), dialling).await else {
            break;
        };
        let wait = match dialled {
            Ok(link) => {
                let up_at = clock::now();
                let id = up(&shard, place, &gateway.text, &link);
                want(
                    &shared,
                    place.gateway,
                    usize::from(link.peer().welcome.shards),
                );
                if let Some((old, old_link)) = outgoing.take() {
                    retire(&shard, old, old_link);
                }
                let waiting = until_no_longer_open(&shard, &link);
                let Either::Right(ended) = either(renewed.wait(), waiting).await else {
                    last_reason = Some("the certificate was renewed".to_owned());
                    outgoing = Some((id, link));
                    // Not all of them at once.
                    let wait = RENEWED_SPREAD.mul_f64(fastrand::f64());
                    either(shard.draining.wait(), adit_runtime::timer::sleep(wait)).await;
                    continue;
                };
                if !shared.drain.is_serving() {
                    break;
                }
                let is_draining = ended.is_none();
                if is_draining {
                    shared.board.drains(id);
                }
                last_reason = ended.or_else(|| Some("the gateway is going away".to_owned()));
                let lasted = clock::now().saturating_sub(up_at);
                wait_after(lasted, is_draining, &mut backoff)
            }
            Err(error) => {
                let reason = error.to_string();
                Counters::tunnel_dial_failed(step(&error));
                shared.journal.record(
                    "dial",
                    &format!("{}: {reason}", gateway.text),
                    clock::unix_now(),
                );
                if last_reason.as_ref() != Some(&reason) {
                    tracing::warn!(gateway = %gateway.text, place = place.number, %reason, "no tunnel; trying again for ever");
                } else {
                    tracing::debug!(gateway = %gateway.text, place = place.number, %reason, "no tunnel");
                }
                last_reason = Some(reason);
                backoff.next_wait()
            }
        };
        shared.board.place(
            place,
            row(State::Waiting, last_reason.clone(), backoff.failures()),
        );
        either(shard.draining.wait(), adit_runtime::timer::sleep(wait)).await;
    }
    shared.board.leave(place);
}

// Opens a tunnel and starts it. Apart from its place, which lives as long as the tunnel, so that what it takes is given
// back.
async fn dial(shard: &Shard, gateway: &Gateway) -> Result<Rc<Link>, DialError> {
    let shared = &shard.shared;
    let hello = Hello {
        version: VERSION,
        features: 0,
        location: shared.location.clone(),
        instance: shared.instance,
        software: SOFTWARE.to_owned(),
    };
    let _turn = turn(&shard.dialling).await;
    let (socket, admitted) = shared
        .dialler
        .dial(&gateway.host, gateway.port, hello)
        .await?;
    Ok(Link::start(admitted.tunnel, socket, admitted.leftover))
}

// Many handshakes at once, when gateways come back, would leave the memory of all of them behind. `None` after a while:
// whoever dials gateways that do not answer is not waited for.
async fn turn(dialling: &Gate) -> Option<Turn<'_>> {
    let waited = adit_runtime::timer::sleep(DIAL_TURN_WAIT);
    match either(dialling.enter(), waited).await {
        Either::Left(turn) => Some(turn),
        Either::Right(()) => None,
    }
}

// Lets what runs on a tunnel come to its end, and takes nothing new: another tunnel has its place. What runs on longer
// than the old certificate counts is ended by the gateway.
fn retire(shard: &Shard, id: u64, link: Rc<Link>) {
    shard.shared.board.drains(id);
    monoio::spawn(async move {
        link.drain();
        // What was on its way when we said go-away comes within a round trip.
        let round_trip = link.rtt().unwrap_or_default();
        adit_runtime::timer::sleep(DRAIN_GRACE + 2 * round_trip).await;
        while link.streams() > 0 && !link.has_ended() {
            either(link.ended(), adit_runtime::timer::sleep(FACTS_EVERY)).await;
        }
        link.close().await;
    });
}

// How long a place waits when its tunnel, after `lasted`, takes nothing new.
fn wait_after(lasted: Duration, is_draining: bool, backoff: &mut Backoff) -> Duration {
    let held = lasted >= TUNNEL_HELD;
    if held {
        backoff.succeeded();
    }
    if held && is_draining {
        // The gateway drains: the next tunnel is wanted before this one is gone.
        return Duration::ZERO;
    }
    backoff.next_wait()
}

// Puts a tunnel to work and under watch until its end, whatever its place does meanwhile.
fn up(shard: &Rc<Shard>, place: Place, gateway: &str, link: &Rc<Link>) -> u64 {
    let shared = &shard.shared;
    let id = shared.board.next_id();
    let peer = link.peer();
    shard.links.borrow_mut().insert(id, Rc::clone(link));
    shard.counters.tunnels.increment(1.0);
    shard.counters.tunnels_opened.increment(1);
    shared.board.up(
        id,
        Row {
            gateway: gateway.to_owned(),
            number: place.number,
            shard: shard.index,
            state: State::Up,
            since_unix: clock::unix_now(),
            reason: None,
            failures: 0,
            facts: Some(facts(link)),
        },
        place,
    );
    tracing::info!(
        tunnel = id, %gateway, name = ?peer.welcome.gateway, place = place.number, shard = shard.index,
        suite = peer.suite, "tunnel up"
    );

    if shard.is_revoked(link) {
        // It was revoked during the handshake.
        let link = Rc::clone(link);
        monoio::spawn(async move { link.close().await });
    }
    let (accepting, of) = (Rc::clone(link), Rc::clone(shard));
    monoio::spawn(async move {
        while let Some(stream) = accepting.accept().await {
            monoio::spawn(serve::run(Rc::clone(&of), stream));
        }
    });
    let (watched, of) = (Rc::clone(link), Rc::clone(shard));
    let gateway = gateway.to_owned();
    monoio::spawn(async move {
        let telling = async {
            while !watched.has_ended() {
                adit_runtime::timer::sleep(FACTS_EVERY).await;
                of.shared.board.tell(id, facts(&watched));
            }
        };
        either(watched.ended(), telling).await;
        let ending = watched.ended().await;
        of.links.borrow_mut().remove(&id);
        of.shared.board.gone(id);
        of.counters.tunnels.decrement(1.0);
        Counters::tunnel_ended(ending.reason());
        if of.shared.drain.is_serving() {
            of.shared.journal.record(
                "tunnel-ended",
                &format!("{gateway}: {ending}"),
                clock::unix_now(),
            );
        }
        tracing::info!(tunnel = id, %gateway, %ending, "tunnel down");
    });
    id
}

// `None` when the tunnel goes on but takes nothing new, else why it ended.
async fn until_no_longer_open(shard: &Shard, link: &Rc<Link>) -> Option<String> {
    let closing = async {
        while link.is_open() {
            link.changed().await;
        }
    };
    either(shard.draining.wait(), closing).await;
    if link.has_ended() {
        Some(link.ended().await.to_string())
    } else {
        None
    }
}

fn facts(link: &Link) -> Facts {
    let peer = link.peer();
    let traffic = link.traffic();
    Facts {
        name: peer.welcome.gateway,
        gateway_shard: peer.welcome.shard,
        suite: peer.suite,
        rtt_us: link
            .rtt()
            .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        streams: link.streams(),
        received_bytes: traffic.received_bytes,
        sent_bytes: traffic.sent_bytes,
    }
}

// Where on the way a dial failed, as a closed list.
fn step(error: &DialError) -> &'static str {
    match error {
        DialError::Name(_) => "name",
        DialError::Connect(_) => "tcp",
        DialError::Proxy(_) => "proxy",
        DialError::Opening(Error::Rejected { .. }) => "rejected",
        DialError::Opening(Error::Tls(_)) => "tls",
        DialError::Opening(_) => "hello",
        DialError::Broken(_) => "broken",
        DialError::TooSlow => "timeout",
        _ => "other",
    }
}

/// A place for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    gateway: usize,
    number: usize,
}

/// What is known of all places and tunnels, for `status`; written by the shards.
#[derive(Debug, Default)]
pub(crate) struct Board {
    book: Mutex<Book>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    // Gateway -> places asked for.
    wanted: BTreeMap<usize, usize>,
    // Places without a tunnel that is open.
    places: BTreeMap<Place, Row>,
    tunnels: BTreeMap<u64, Row>,
}

/// One place or tunnel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    gateway: String,
    number: usize,
    shard: usize,
    state: State,
    since_unix: u64,
    reason: Option<String>,
    failures: u32,
    #[serde(flatten)]
    facts: Option<Facts>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Dialling,
    Waiting,
    Up,
    Draining,
}

/// What a running tunnel tells of itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    name: String,
    gateway_shard: u16,
    suite: &'static str,
    rtt_us: Option<u64>,
    streams: usize,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Board {
    /// Tunnels that take requests.
    pub(crate) fn up_count(&self) -> usize {
        let book = self.book.lock();
        book.tunnels
            .values()
            .filter(|row| row.state == State::Up)
            .count()
    }

    /// All places and tunnels, in the order of their gateways' addresses and numbers.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let book = self.book.lock();
        let mut rows: Vec<Row> = book
            .tunnels
            .values()
            .chain(book.places.values())
            .cloned()
            .collect();
        rows.sort_by(|a, b| (&a.gateway, a.number).cmp(&(&b.gateway, b.number)));
        rows
    }

    fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    // Raises the number of places; returns how many there were.
    fn raise(&self, gateway: usize, wanted: usize) -> usize {
        let mut book = self.book.lock();
        let have = book.wanted.entry(gateway).or_insert(0);
        let before = *have;
        *have = before.max(wanted);
        before
    }

    fn place(&self, place: Place, row: Row) {
        self.book.lock().places.insert(place, row);
    }

    fn leave(&self, place: Place) {
        self.book.lock().places.remove(&place);
    }

    fn up(&self, id: u64, row: Row, place: Place) {
        let mut book = self.book.lock();
        book.places.remove(&place);
        book.tunnels.insert(id, row);
    }

    fn drains(&self, id: u64) {
        if let Some(row) = self.book.lock().tunnels.get_mut(&id) {
            row.state = State::Draining;
            row.since_unix = clock::unix_now();
        }
    }

    fn tell(&self, id: u64, facts: Facts) {
        if let Some(row) = self.book.lock().tunnels.get_mut(&id) {
            row.facts = Some(facts);
        }
    }

    fn gone(&self, id: u64) {
        self.book.lock().tunnels.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use adit_proto::refusal::Refusal;

    use super::*;
    use crate::limits::DIALS_MAX;
    use crate::test_world::{World, on_both_drivers};

    #[test]
    fn eight_dials_have_their_turn_at_once_and_the_next_goes_on_without_one_after_a_second() {
        on_both_drivers(async |_| {
            let gate = Gate::new(DIALS_MAX);
            let began = clock::now();
            let mut turns = Vec::new();
            for _ in 0..DIALS_MAX {
                turns.push(turn(&gate).await.expect("a place is free"));
            }
            assert!(turn(&gate).await.is_none());
            assert!(clock::now() - began >= DIAL_TURN_WAIT);
            turns.pop();
            assert!(turn(&gate).await.is_some());
        });
    }

    #[test]
    fn r09_a_tunnel_that_held_five_seconds_was_a_success_and_a_shorter_one_a_failure_more() {
        assert_eq!(TUNNEL_HELD, Duration::from_secs(5));
        let short = TUNNEL_HELD - Duration::from_nanos(1);
        let failing = || {
            let mut backoff = Backoff::new(Duration::from_secs(10), 1);
            backoff.next_wait();
            backoff.next_wait();
            backoff
        };
        // After `lasted`: whether there is a wait, and failures in a row with this one.
        for (lasted, is_draining, waits, failures) in [
            (TUNNEL_HELD, true, false, 0),
            (TUNNEL_HELD, false, true, 1),
            (short, true, true, 3),
            (short, false, true, 3),
        ] {
            let mut backoff = failing();
            let wait = wait_after(lasted, is_draining, &mut backoff);
            assert_eq!(
                (!wait.is_zero(), backoff.failures()),
                (waits, failures),
                "{lasted:?}, draining: {is_draining}"
            );
        }
    }

    #[test]
    fn status_tells_the_facts_of_a_tunnel_anew_every_second() {
        assert_eq!(FACTS_EVERY, Duration::from_secs(1));
        on_both_drivers(async |driver| {
            let world = World::new(driver, "", |_| {}).await;
            let place = Place {
                gateway: 0,
                number: 0,
            };
            up(&world.shard, place, "gw:8443", &world.gateway);
            let streams = || {
                let rows = world.shard.shared.board.rows();
                rows.first()
                    .and_then(|row| row.facts.as_ref())
                    .map(|facts| facts.streams)
            };
            let _stream = world.gateway.open().await.unwrap();
            adit_runtime::timer::sleep(FACTS_EVERY / 2).await;
            assert_eq!(streams(), Some(0), "as it was when the tunnel came up");
            adit_runtime::timer::sleep(FACTS_EVERY).await;
            assert_eq!(streams(), Some(1));
        });
    }

    #[test]
    fn places_are_asked_for_once_and_never_taken_back() {
        let board = Board::default();
        assert_eq!(board.raise(0, 1), 0);
        assert_eq!(board.raise(0, 4), 1);
        assert_eq!(board.raise(0, 4), 4);
        assert_eq!(
            board.raise(0, 2),
            4,
            "a gateway that came back smaller keeps its tunnels"
        );
        assert_eq!(board.raise(1, 2), 0);
    }

    #[test]
    fn r09_every_failure_of_a_dial_has_its_step() {
        let rejected = Error::Rejected {
            refusal: Refusal::Draining,
            message: String::new(),
        };
        for (error, expected) in [
            (DialError::Name(String::new()), "name"),
            (DialError::Connect(String::new()), "tcp"),
            (DialError::Proxy(String::new()), "proxy"),
            (DialError::Opening(rejected), "rejected"),
            (DialError::Opening(Error::Hello(String::new())), "hello"),
            (DialError::Broken(String::new()), "broken"),
            (DialError::TooSlow, "timeout"),
        ] {
            assert_eq!(step(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_draining_tunnel_is_shown_and_does_not_count_as_up() {
        let board = Board::default();
        let place = Place {
            gateway: 0,
            number: 0,
        };
        let row = |state| Row {
            gateway: "gw:8443".to_owned(),
            number: 0,
            shard: 0,
            state,
            since_unix: 0,
            reason: None,
            failures: 0,
            facts: None,
        };
        board.place(place, row(State::Dialling));
        assert_eq!((board.up_count(), board.rows().len()), (0, 1));
        board.up(7, row(State::Up), place);
        assert_eq!((board.up_count(), board.rows().len()), (1, 1));
        board.drains(7);
        board.place(place, row(State::Dialling));
        assert_eq!((board.up_count(), board.rows().len()), (0, 2));
        board.gone(7);
        assert_eq!(board.rows().len(), 1);
    }
}
