//! One direction of a connection: bytes arrive in order, late, in pieces of any size, or not at all.
//!
//! A sending socket with a bounded buffer, a wire with bandwidth and delay, pauses as a retransmission makes them, and
//! darkness: a path that swallows everything and says nothing. Reordering is TCP's affair and does not happen.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dice::Dice;

/// What a link is like.
#[derive(Clone, Debug)]
pub(crate) struct LinkPlan {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) bytes_per_second: usize,
    /// What the sending socket takes before it is full.
    pub(crate) buffer: usize,
    /// Nothing arrives from, until.
    pub(crate) stalls: Vec<(Duration, Duration)>,
    /// The number of one byte that arrives with a flipped bit.
    pub(crate) damaged_byte: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Link {
    plan: LinkPlan,
    unsent: VecDeque<u8>,
    /// The sender will write nothing more.
    finished: bool,
    end_departed: bool,
    wire_free_at: Duration,
    in_flight: VecDeque<(Duration, Delivery)>,
    last_arrival: Duration,
    departed: usize,
    arrived: usize,
    dark: bool,
    cut: bool,
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Bytes(Vec<u8>),
    End,
}

impl Link {
    pub(crate) fn new(plan: LinkPlan) -> Self {
        Self {
            plan,
            unsent: VecDeque::new(),
            finished: false,
            end_departed: false,
            wire_free_at: Duration::ZERO,
            in_flight: VecDeque::new(),
            last_arrival: Duration::ZERO,
            departed: 0,
            arrived: 0,
            dark: false,
            cut: false,
        }
    }

    /// How many bytes a write takes now.
    pub(crate) fn room(&self) -> usize {
        if self.cut || self.finished {
            return 0;
        }
        self.plan.buffer.saturating_sub(self.unsent.len())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.room(),
            "a write of more than there is room for"
        );
        self.unsent.extend(bytes);
    }

    /// The sender closes: what it has written still arrives, then the end.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Nothing arrives from now on, and nobody is told.
    pub(crate) fn darken(&mut self) {
        self.dark = true;
        self.in_flight.clear();
    }

    /// The connection is gone.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
        self.unsent.clear();
        self.in_flight.clear();
    }

    /// When something happens here next.
    pub(crate) fn next(&self) -> Option<Duration> {
        if self.dark || self.cut {
            return None;
        }
        let departure = self.has_more().then_some(self.wire_free_at);
        let arrival = self.in_flight.front().map(|(arrives, _)| *arrives);
        departure.into_iter().chain(arrival).min()
    }

    /// Lets depart what departs now and gives what arrives now, if something does.
    pub(crate) fn tick(&mut self, now: Duration, dice: &mut Dice) -> Option<Delivery> {
        if self.dark || self.cut {
            return None;
        }
        if self.has_more() && self.wire_free_at <= now {
            self.depart(now, dice);
        }
        if self.in_flight.front()?.0 > now {
            return None;
        }
        let (_, delivery) = self.in_flight.pop_front()?;
        if let Delivery::Bytes(bytes) = &delivery {
            self.arrived += bytes.len();
        }
        Some(delivery)
    }

    /// Whether the damaged byte has arrived.
    pub(crate) fn has_done_damage(&self) -> bool {
        self.plan
            .damaged_byte
            .is_some_and(|number| number < self.arrived)
    }

    fn has_more(&self) -> bool {
        !self.unsent.is_empty() || (self.finished && !self.end_departed)
    }

    fn depart(&mut self, now: Duration, dice: &mut Dice) {
        let jitter = self.plan.jitter.mul_f64(0.001) * u32::try_from(dice.below(1001)).unwrap();
        let (delivery, on_wire) = if self.unsent.is_empty() {
            self.end_departed = true;
            (Delivery::End, Duration::ZERO)
        } else {
            let bytes = self.segment(dice);
            let on_wire = 1_000_000_000 * bytes.len() / self.plan.bytes_per_second;
            let on_wire = Duration::from_nanos(u64::try_from(on_wire).unwrap());
            (Delivery::Bytes(bytes), on_wire)
        };
        self.wire_free_at = now + on_wire;
        let mut arrives = (self.wire_free_at + self.plan.latency + jitter).max(self.last_arrival);
        for &(from, until) in &self.plan.stalls {
            if (from..until).contains(&arrives) {
                arrives = until;
            }
        }
        self.last_arrival = arrives;
        self.in_flight.push_back((arrives, delivery));
    }

    /// The next piece of the stream, of a size from one byte to all there is.
    fn segment(&mut self, dice: &mut Dice) -> Vec<u8> {
        let most = match dice.below(10) {
            0 => 20,
            1..=3 => 1500,
            _ => 64 * 1024,
        };
        let length = 1 + dice.below(self.unsent.len().min(most));
        let mut bytes: Vec<u8> = self.unsent.drain(..length).collect();
        if let Some(number) = self.plan.damaged_byte
            && (self.departed..self.departed + length).contains(&number)
        {
            bytes[number - self.departed] ^= 1 << dice.below(8);
        }
        self.departed += length;
        bytes
    }
}
