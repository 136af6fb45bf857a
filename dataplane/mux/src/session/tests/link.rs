//! Two sessions joined by a seeded link, exchanging random traffic to completion.
//!
//! The link carries bytes both ways in order, in pieces of any size, with a delay of its own. After
//! every step both sessions are audited, so a leaked byte of credit or buffer fails at once. A seed
//! that fails is named; `MUX_SEED=n` replays it alone, `MUX_SEEDS=n` plays that many.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use std::{env, format, thread};

use super::*;
use crate::error::OpenError;
use crate::limits::MAX_FRAME_PAYLOAD;
use crate::stats::Stats;
use crate::window::Budget;

/// SplitMix64: small, and the same on every machine.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The byte at `offset` of what `side` says on `stream`: any mix-up shows.
fn letter(stream: u32, side: Side, offset: usize) -> u8 {
    let tone = match side {
        Side::Client => 3,
        Side::Server => 101,
    };
    let mixed = u64::from(stream) * 31 + u64::try_from(offset).unwrap() * 7 + tone;
    u8::try_from(mixed % 251).unwrap()
}

/// How one side sees one stream.
#[derive(Debug, Default)]
struct Talk {
    /// Bytes to say in all, and said so far.
    to_say: usize,
    said: usize,
    fin_said: bool,
    /// Bytes heard and bytes consumed of them.
    heard: usize,
    consumed: usize,
    fin_heard: bool,
    reset: bool,
    acknowledged: bool,
    /// Reset by the other side before it was acknowledged.
    refused: bool,
    /// This side's caller did something with a stream the other side opened.
    touched: bool,
}

/// What may go wrong in a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Nothing.
    Fair,
    /// Streams are reset in the middle of their talk.
    Resets,
    /// Readers are slow and the session buffer is small: streams are refused and shed.
    Tight,
    /// The server goes away in the middle of it all.
    Leaving,
}

impl Talk {
    fn new(dice: &mut Dice) -> Self {
        let most = if dice.chance(10) { 2_000_000 } else { 5000 };
        Self {
            to_say: dice.below(most),
            ..Self::default()
        }
    }
}

struct End {
    side: Side,
    session: Session<Bytes>,
    talks: BTreeMap<u32, Talk>,
    /// Streams this end still wants to open.
    to_open: usize,
    /// Written and on the way, each piece with its time of arrival.
    flying: VecDeque<(Duration, Bytes)>,
    /// Arrived at the other side and not yet read there.
    arrived: VecDeque<u8>,
    delay: Duration,
}

impl End {
    fn new(side: Side, settings: Settings, to_open: usize, delay: Duration) -> Self {
        Self {
            side,
            session: Session::new(side, settings),
            talks: BTreeMap::new(),
            to_open,
            flying: VecDeque::new(),
            arrived: VecDeque::new(),
            delay,
        }
    }

    fn other(&self) -> Side {
        match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    fn act(&mut self, dice: &mut Dice, weather: Weather, now: Duration) {
        if self.to_open > 0 && dice.chance(30) {
            match self.session.open(now) {
                Ok(stream) => {
                    self.to_open -= 1;
                    self.talks.insert(stream.get(), Talk::new(dice));
                }
                Err(OpenError::PeerWentAway) => self.to_open = 0,
                Err(_) => {}
            }
        }
        let numbers: Vec<u32> = self.talks.keys().copied().collect();
        for number in numbers {
            if dice.chance(50) {
                self.work(number, dice, weather, now);
            }
        }
        if dice.chance(1) {
            self.session.ping(now);
        }
    }

    fn work(&mut self, number: u32, dice: &mut Dice, weather: Weather, now: Duration) {
        let stream = id(number);
        let talk = self.talks.get_mut(&number).unwrap();
        if talk.reset {
            return;
        }
        if weather == Weather::Resets && dice.below(2000) == 0 {
            talk.reset = true;
            self.session.reset(stream);
            return;
        }
        let eager = if weather == Weather::Tight { 3 } else { 60 };
        let unread = talk.heard - talk.consumed;
        if unread > 0 && dice.chance(eager) {
            let bytes = 1 + dice.below(unread);
            talk.consumed += bytes;
            talk.touched = true;
            self.session.consumed(stream, bytes, now);
        }
        if talk.fin_said {
            return;
        }
        let part = self
            .session
            .sendable(stream)
            .min(talk.to_say - talk.said)
            .min(MAX_FRAME_PAYLOAD)
            .min(1 + dice.below(20_000));
        if part > 0 {
            let payload = (talk.said..talk.said + part)
                .map(|at| letter(number, self.side, at))
                .collect();
            talk.said += part;
            let fin = talk.said == talk.to_say && dice.chance(50);
            talk.fin_said = fin;
            talk.touched = true;
            self.session.send(stream, payload, fin).unwrap();
        } else if talk.said == talk.to_say {
            talk.fin_said = true;
            talk.touched = true;
            self.session.finish(stream);
        }
    }

    fn write(&mut self, dice: &mut Dice, now: Duration) {
        // A writer with little room: the queues fill up.
        let mut piece = Bytes::new();
        for _ in 0..dice.below(8) {
            let Some(frame) = self.session.next_frame(now) else {
                break;
            };
            self.session.audit();
            piece.extend(frame.header);
            piece.extend(frame.payload.unwrap_or_default());
        }
        self.flying.push_back((now + self.delay, piece));
        while let Some(event) = self.session.poll_event() {
            self.hear(event, &[], dice);
        }
    }

    /// What the other side reads next: any part of what has arrived there.
    fn hand_over(&mut self, dice: &mut Dice, now: Duration) -> Bytes {
        while let Some((arrival, _)) = self.flying.front()
            && *arrival <= now
        {
            self.arrived.extend(self.flying.pop_front().unwrap().1);
        }
        let bytes = self.arrived.len().min(dice.below(60_000));
        self.arrived.drain(..bytes).collect()
    }

    fn read(&mut self, input: &[u8], dice: &mut Dice, now: Duration) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let (taken, event) = self.session.receive(rest, now)?;
            self.session.audit();
            at += taken;
            let Some(event) = event else { break };
            self.hear(event, rest, dice);
        }
        assert_eq!(at, input.len());
        Ok(())
    }

    fn hear(&mut self, event: Event, input: &[u8], dice: &mut Dice) {
        let other = self.other();
        match event {
            Event::Opened(stream) => {
                let before = self.talks.insert(stream.get(), Talk::new(dice));
                assert!(before.is_none(), "opened once");
            }
            Event::Data { stream, range } => {
                let talk = self.talks.get_mut(&stream.get()).unwrap();
                assert!(
                    !talk.fin_heard && !talk.reset,
                    "data after the end of {stream}"
                );
                for byte in &input[range] {
                    assert_eq!(*byte, letter(stream.get(), other, talk.heard));
                    talk.heard += 1;
                }
            }
            Event::Finished(stream) => {
                let talk = self.talks.get_mut(&stream.get()).unwrap();
                assert!(!talk.fin_heard && !talk.reset);
                talk.fin_heard = true;
            }
            Event::Reset(stream) => {
                let talk = self.talks.get_mut(&stream.get()).unwrap();
                assert!(!talk.reset, "reset once");
                talk.reset = true;
                talk.refused = self.side.owns(stream) && !talk.acknowledged;
            }
            Event::Acknowledged(stream) => {
                assert!(self.side.owns(stream));
                let talk = self.talks.get_mut(&stream.get()).unwrap();
                assert!(!talk.acknowledged, "acknowledged once");
                talk.acknowledged = true;
            }
            Event::Writable(_) | Event::WentAway(_) => {}
        }
    }

    fn is_done(&self) -> bool {
        self.to_open == 0
            && self.arrived.is_empty()
            && self.flying.iter().all(|(_, piece)| piece.is_empty())
            && self.talks.values().all(|talk| {
                talk.reset || (talk.fin_said && talk.fin_heard && talk.consumed == talk.heard)
            })
            && self.session.streams() == 0
    }
}

fn settings(dice: &mut Dice, budget: &Arc<Budget>, weather: Weather) -> Settings {
    let session_buffer_bytes = if weather == Weather::Tight {
        1 << 20
    } else {
        64 << 20
    };
    Settings {
        window_max: WINDOW << dice.below(5),
        session_window_bytes: dice.below(4 << 20).min(session_buffer_bytes),
        budget: Arc::clone(budget),
        session_buffer_bytes,
        send_queue_bytes: 16_372 + dice.below(200_000),
        session_queue_bytes: 20_000 + dice.below(1 << 20),
        opens_unacked_max: 1 + dice.below(40),
        acks_held_max: dice.below(10),
        ..Settings::default()
    }
}

/// Names the seed when the test fails, from wherever in it.
struct NameSeed(u64);

impl Drop for NameSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            std::eprintln!("replay with MUX_SEED={}", self.0);
        }
    }
}

/// Plays one seed to completion; gives what both sides counted.
fn play(seed: u64, weather: Weather) -> [Stats; 2] {
    let _named = NameSeed(seed);
    let mut dice = Dice(seed);
    let budget = Arc::new(Budget::new(8 << 20));
    let delay = MS * u32::try_from(dice.below(30)).unwrap();
    let [mut client, mut server] = [Side::Client, Side::Server]
        .map(|side| End::new(side, settings(&mut dice, &budget, weather), 20, delay));
    let leaves_at = dice.below(300);
    let mut now = NOW;
    let mut steps = 0;
    while !(client.is_done() && server.is_done()) {
        steps += 1;
        assert!(steps < 200_000, "no end in sight: {client:?} {server:?}");
        now += Duration::from_micros(u64::try_from(dice.below(2000)).unwrap());
        if weather == Weather::Leaving && steps == leaves_at {
            server.session.go_away(GoAwayCode::Normal);
        }
        for end in [&mut client, &mut server] {
            end.act(&mut dice, weather, now);
            end.session.audit();
            end.session.on_deadline(now).unwrap();
            end.write(&mut dice, now);
        }
        let piece = client.hand_over(&mut dice, now);
        server.read(&piece, &mut dice, now).unwrap();
        let piece = server.hand_over(&mut dice, now);
        client.read(&piece, &mut dice, now).unwrap();
    }
    for end in [&client, &server] {
        assert_eq!((end.session.buffered(), end.session.queued()), (0, 0));
        let away = weather == Weather::Leaving;
        assert!(
            away || !end.session.is_going_away(),
            "honest traffic is no flood"
        );
    }
    compare(&client, &server, weather);
    compare(&server, &client, weather);
    assert_eq!(budget.left(), budget.total(), "all growth was given back");
    [*client.session.stats(), *server.session.stats()]
}

/// Holds what one side heard against what the other said.
fn compare(this: &End, other: &End, weather: Weather) {
    let calm = weather == Weather::Fair;
    if calm {
        assert_eq!(this.talks.len(), 40);
    }
    for (number, talk) in &this.talks {
        let there = other.talks.get(number);
        if talk.refused {
            // Safe to ask again elsewhere: nobody there has touched it.
            assert!(there.is_none_or(|there| !there.touched), "stream {number}");
        }
        if !talk.reset
            && let Some(there) = there
            && !there.reset
        {
            assert_eq!(talk.heard, there.to_say, "stream {number}");
        } else {
            assert!(!calm, "stream {number} was lost in fair weather");
        }
    }
}

impl core::fmt::Debug for End {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let open: Vec<_> = self
            .talks
            .iter()
            .filter(|(_, talk)| !(talk.reset || talk.fin_said && talk.fin_heard))
            .collect();
        f.write_str(&format!("{:?} {open:?}", self.session))
    }
}

/// Plays many seeds and sums up what `count` counts, so that a test can tell whether what it is
/// about did happen.
fn play_all(usual: u64, weather: Weather, count: impl Fn(&Stats) -> u64) -> u64 {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number("MUX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MUX_SEEDS").unwrap_or(usual),
    };
    seeds
        .map(|seed| play(seed, weather).iter().map(&count).sum::<u64>())
        .sum()
}

#[test]
fn m10_random_traffic_arrives_whole_and_every_byte_of_credit_is_accounted_for() {
    // Only what grew is narrowed.
    assert!(play_all(25, Weather::Fair, |stats| stats.windows_narrowed) > 0);
}

#[test]
fn m10_random_resets_lose_no_credit_and_no_memory() {
    assert!(play_all(30, Weather::Resets, |stats| stats.late_bytes) > 0);
}

#[test]
fn m12_slow_readers_and_little_memory_cost_streams_and_never_the_session() {
    assert!(play_all(15, Weather::Tight, |stats| stats.shed) > 0);
    assert!(play_all(15, Weather::Tight, |stats| stats.refused_memory) > 0);
}

#[test]
fn m14_a_go_away_in_the_middle_finishes_or_refuses_every_stream() {
    assert!(play_all(25, Weather::Leaving, |stats| stats.refused_going_away) > 0);
}
