//! Two sessions joined by a seeded link, exchanging random traffic to completion.
//!
//! The link carries bytes both ways in order, in pieces of any size, with delay. After every step
//! both sessions are audited, so a leaked byte of credit or buffer fails at once. A seed that
//! fails is named in the panic; `MUX_SEED=n` replays it alone.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use std::{env, format, thread};

use super::*;
use crate::limits::MAX_FRAME_PAYLOAD;
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
}

struct End {
    side: Side,
    session: Session<Bytes>,
    talks: BTreeMap<u32, Talk>,
    /// Streams this end still wants to open.
    to_open: usize,
    outbox: VecDeque<u8>,
}

impl End {
    fn new(side: Side, settings: Settings, to_open: usize) -> Self {
        Self {
            side,
            session: Session::new(side, settings),
            talks: BTreeMap::new(),
            to_open,
            outbox: VecDeque::new(),
        }
    }

    fn other(&self) -> Side {
        match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    fn act(&mut self, dice: &mut Dice, wild: bool, now: Duration) {
        if self.to_open > 0
            && dice.chance(30)
            && let Ok(stream) = self.session.open(now)
        {
            self.to_open -= 1;
            let to_say = if dice.chance(10) {
                dice.below(2_000_000)
            } else {
                dice.below(5000)
            };
            self.talks.insert(
                stream.get(),
                Talk {
                    to_say,
                    ..Talk::default()
                },
            );
        }
        let numbers: Vec<u32> = self.talks.keys().copied().collect();
        for number in numbers {
            if dice.chance(50) {
                continue;
            }
            self.work(number, dice, wild, now);
        }
        if wild && dice.chance(1) {
            self.session.ping(now);
        }
    }

    fn work(&mut self, number: u32, dice: &mut Dice, wild: bool, now: Duration) {
        let stream = id(number);
        let talk = self.talks.get_mut(&number).unwrap();
        if talk.reset {
            return;
        }
        if wild && dice.below(2000) == 0 {
            talk.reset = true;
            self.session.reset(stream);
            return;
        }
        let unread = talk.heard - talk.consumed;
        if unread > 0 && dice.chance(60) {
            let bytes = 1 + dice.below(unread);
            talk.consumed += bytes;
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
            self.session.send(stream, payload, fin).unwrap();
        } else if talk.said == talk.to_say {
            talk.fin_said = true;
            self.session.finish(stream);
        }
    }

    fn write(&mut self, dice: &mut Dice, now: Duration) {
        // A writer with little room: the queues fill up.
        for _ in 0..dice.below(8) {
            let Some(frame) = self.session.next_frame(now) else {
                break;
            };
            self.session.audit();
            self.outbox.extend(frame.header);
            self.outbox.extend(frame.payload.unwrap_or_default());
        }
        while let Some(event) = self.session.poll_event() {
            self.hear(event, &[], dice);
        }
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
                let to_say = if dice.chance(10) {
                    dice.below(2_000_000)
                } else {
                    dice.below(5000)
                };
                let before = self.talks.insert(
                    stream.get(),
                    Talk {
                        to_say,
                        ..Talk::default()
                    },
                );
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
            }
            Event::Acknowledged(stream) => {
                assert!(self.side.owns(stream));
            }
            Event::Writable(_) | Event::WentAway(_) => {}
        }
    }

    fn is_done(&self) -> bool {
        self.to_open == 0
            && self.outbox.is_empty()
            && self.talks.values().all(|talk| {
                talk.reset || (talk.fin_said && talk.fin_heard && talk.consumed == talk.heard)
            })
            && self.session.streams() == 0
    }
}

fn settings(dice: &mut Dice, budget: &Arc<Budget>) -> Settings {
    let window_max = WINDOW << dice.below(5);
    Settings {
        window_max,
        session_window_bytes: dice.below(4 << 20),
        budget: Arc::clone(budget),
        session_buffer_bytes: 64 << 20,
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

/// Plays one seed to completion. `wild`: streams are reset in the middle of their talk.
fn play(seed: u64, wild: bool) {
    let _named = NameSeed(seed);
    let mut dice = Dice(seed);
    let budget = Arc::new(Budget::new(8 << 20));
    let mut client = End::new(Side::Client, settings(&mut dice, &budget), 20);
    let mut server = End::new(Side::Server, settings(&mut dice, &budget), 20);
    let mut now = NOW;
    let mut steps = 0u32;
    while !(client.is_done() && server.is_done()) {
        steps += 1;
        assert!(
            steps < 200_000,
            "seed {seed}: no end in sight: {client:?} {server:?}"
        );
        now += Duration::from_micros(u64::try_from(dice.below(2000)).unwrap());
        for end in [&mut client, &mut server] {
            end.act(&mut dice, wild, now);
            end.session.audit();
            end.session.on_deadline(now).unwrap();
            end.write(&mut dice, now);
        }
        for turn in [true, false] {
            let (from, to) = if turn {
                (&mut client, &mut server)
            } else {
                (&mut server, &mut client)
            };
            let bytes = from.outbox.len().min(dice.below(60_000));
            let piece: Bytes = from.outbox.drain(..bytes).collect();
            to.read(&piece, &mut dice, now)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
    for end in [&client, &server] {
        assert_eq!(end.session.buffered(), 0, "seed {seed}");
        assert_eq!(end.session.queued(), 0, "seed {seed}");
        assert!(
            !end.session.is_going_away(),
            "seed {seed}: honest traffic is no flood"
        );
    }
    if !wild {
        for (number, talk) in &client.talks {
            let there = &server.talks[number];
            assert!(!talk.reset && !there.reset, "seed {seed}");
            assert_eq!(
                (talk.heard, there.heard),
                (there.to_say, talk.to_say),
                "seed {seed}"
            );
        }
        assert_eq!(client.talks.len(), 40);
    }
    assert_eq!(
        budget.left(),
        budget.total(),
        "seed {seed}: all growth was given back"
    );
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

fn seeds(count: u64) -> Vec<u64> {
    match env::var("MUX_SEED") {
        Ok(seed) => alloc::vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn m10_random_traffic_arrives_whole_and_every_byte_of_credit_is_accounted_for() {
    for seed in seeds(25) {
        play(seed, false);
    }
}

#[test]
fn m10_random_resets_lose_no_credit_and_no_memory() {
    for seed in seeds(40) {
        play(seed, true);
    }
}
