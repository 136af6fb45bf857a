//! When requests of an open loop are due: evenly spaced, whatever became of the ones before.
//!
//! Latency counts from here. A client that waits for an answer before it asks again would leave out
//! just the requests that had to wait (coordinated omission).

use std::time::{Duration, Instant};

/// Even arrivals, from a start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
    next: u32,
    /// Time of `next` counts from here, so that sums stay exact over hours.
    base: Duration,
}

impl Schedule {
    /// `per_second` arrivals, the first one at `start`.
    pub(crate) fn new(start: Instant, per_second: f64) -> Self {
        Self {
            start,
            interval: Duration::from_secs_f64(1.0 / per_second.max(0.001)),
            next: 0,
            base: Duration::ZERO,
        }
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Instant {
        self.start + self.base + self.interval * self.next
    }

    /// The arrival that is due at `now`, if there is one; call again, there may be more.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due();
        if due > now {
            return None;
        }
        self.next += 1;
        if self.next == REBASE_AFTER {
            self.base += self.interval * self.next;
            self.next = 0;
        }
        Some(due)
    }
}

const REBASE_AFTER: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_a_second_are_five_milliseconds_apart() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 200.0);
        let now = start + Duration::from_millis(14);
        let due: Vec<Duration> =
            std::iter::from_fn(|| schedule.take(now).map(|due| due - start)).collect();
        assert_eq!(due, [0, 5, 10].map(Duration::from_millis));
        assert_eq!(schedule.due() - start, Duration::from_millis(15));
    }

    #[test]
    fn nothing_is_due_before_its_time_and_all_of_it_after_a_stall() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0);
        assert!(schedule.take(start).is_some());
        assert!(schedule.take(start + Duration::from_micros(999)).is_none());
        let late = start + Duration::from_secs(1);
        let due = std::iter::from_fn(|| schedule.take(late)).count();
        assert_eq!(due, 1000);
    }

    #[test]
    fn a_million_arrivals_later_nothing_has_drifted() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1_000_000.0);
        let end = start + Duration::from_secs(2);
        let count = std::iter::from_fn(|| schedule.take(end)).count();
        assert_eq!(count, 2_000_001);
    }
}
