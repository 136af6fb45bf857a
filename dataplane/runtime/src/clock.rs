//! The only place that reads a clock.
//!
//! Everybody else is given the time: monotonic time as the span since the process asked first, wall
//! time as seconds since 1970. So quiet rooms can be run at any time and any speed.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since the first call in this process. Never goes back.
#[must_use]
pub fn now() -> Duration {
    let now = start().elapsed();
    RECENT.set(now);
    now
}

/// What [`now`] said last on this thread. A shard asks whenever a socket or a message wakes it, so it is at most as old
/// as the turn that runs: good for measuring, not for a deadline.
#[must_use]
pub fn recent() -> Duration {
    RECENT.get()
}

/// To be called by whoever waited for something from outside, so that [`recent`] is.
pub fn woken() {
    let _ = now();
}

thread_local! {
    static RECENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A span in whole microseconds.
#[must_use]
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since 1970-01-01 UTC; 0 when the wall clock stands before that.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |span| span.as_secs())
}

/// Microseconds since 1970-01-01 UTC, for records that are read by people.
#[must_use]
pub fn unix_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, micros)
}

fn start() -> &'static Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_does_not_go_back() {
        let first = now();
        assert!(now() >= first);
    }

    #[test]
    fn what_was_said_last_is_remembered_by_each_thread() {
        let said = now();
        assert_eq!(recent(), said);
        std::thread::spawn(|| {
            assert_eq!(recent(), Duration::ZERO, "nobody asked here");
        })
        .join()
        .unwrap();
    }
}
