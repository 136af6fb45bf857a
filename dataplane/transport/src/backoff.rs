//! How long to wait before the next try: full jitter, capped, endless.
//!
//! Each wait is drawn evenly from zero to a ceiling that doubles with every failure, so that a
//! thousand agents that lost one gateway do not come back in step.

use std::time::Duration;

/// The waits of one endless row of tries.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    cap: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// No failure yet. `cap` bounds every wait.
    #[must_use]
    pub fn new(cap: Duration, seed: u64) -> Self {
        Self {
            failures: 0,
            cap,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = FIRST
            .checked_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .map_or(self.cap, |ceiling| ceiling.min(self.cap));
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.random.f64())
    }

    /// The try succeeded and held: the next failure is a first one again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Ceiling of the first wait.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait between two tries, unless configured smaller.
pub const CAP_DEFAULT: Duration = Duration::from_secs(10);
/// The longest cap that may be configured.
pub const CAP_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r09_no_wait_is_longer_than_the_cap_however_often_it_fails() {
        let mut backoff = Backoff::new(CAP_MAX, 7);
        for _ in 0..10_000 {
            assert!(backoff.next_wait() <= CAP_MAX);
        }
    }

    #[test]
    fn the_ceiling_doubles_and_returns_after_success() {
        let mut backoff = Backoff::new(CAP_MAX, 7);
        assert!(backoff.next_wait() <= Duration::from_millis(200));
        assert!(backoff.next_wait() <= Duration::from_millis(400));
        backoff.succeeded();
        assert!(backoff.next_wait() <= Duration::from_millis(200));
    }

    #[test]
    fn waits_are_spread() {
        let waits: Vec<_> = (0..100)
            .map(|seed| {
                let mut backoff = Backoff::new(CAP_MAX, seed);
                for _ in 0..9 {
                    backoff.next_wait();
                }
                backoff.next_wait()
            })
            .collect();
        let early = waits
            .iter()
            .filter(|w| **w < Duration::from_secs(15))
            .count();
        assert!(
            (20..80).contains(&early),
            "{early} of 100 in the first half"
        );
    }
}
