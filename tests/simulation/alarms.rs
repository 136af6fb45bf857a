//! The clock of a simulated world, and what it will ring for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::dice::Dice;
use crate::trace::Trace;

/// What an end wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// Open a stream.
    Open,
    /// Say go-away.
    GoAway,
    /// Go on with this stream.
    Work(u32),
}

/// What is common to a whole world: its time, its chance, its memory.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    trace: Trace,
    alarms: BinaryHeap<Reverse<(Duration, u64, usize, Alarm)>>,
    set: u64,
}

impl Context {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            now: Duration::ZERO,
            dice,
            trace: Trace::new(),
            alarms: BinaryHeap::new(),
            set: 0,
        }
    }

    pub(crate) fn note(&mut self, side: usize, what: &str, a: usize, b: usize) {
        self.trace.note(self.now, side, what, a, b);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Rings for the end `side` after `pause`. Alarms of one moment ring in the order in which they were set.
    pub(crate) fn alarm(&mut self, side: usize, pause: Duration, alarm: Alarm) {
        self.set += 1;
        self.alarms
            .push(Reverse((self.now + pause, self.set, side, alarm)));
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.alarms.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn ring(&mut self) -> Option<(usize, Alarm)> {
        if self.next()? > self.now {
            return None;
        }
        self.alarms
            .pop()
            .map(|Reverse((_, _, side, alarm))| (side, alarm))
    }
}
