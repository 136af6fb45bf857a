//! An allowance that is spent by what has no worth and comes back with time and real work.
//!
//! Counts units; what costs how many is in `limits`, what follows is decided in `session`.

use core::time::Duration;

/// How far an allowance is spent after a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Less than 75 % spent.
    Fine,
    /// At least 75 % spent: time to go away.
    High,
    /// All spent: the session fails.
    Spent,
}

#[derive(Debug)]
pub(crate) struct Allowance {
    max: u32,
    left: u32,
    per_second: u32,
    /// Until when time was turned into units.
    since: Duration,
}

impl Allowance {
    pub(crate) const fn new(max: u32, per_second: u32) -> Self {
        Self {
            max,
            left: max,
            per_second,
            since: Duration::ZERO,
        }
    }

    /// Gives units back for work of worth.
    pub(crate) fn earn(&mut self, units: u32) {
        self.left = self.left.saturating_add(units).min(self.max);
    }

    pub(crate) fn charge(&mut self, units: u32, now: Duration) -> Level {
        self.refill(now);
        self.left = self.left.saturating_sub(units);
        if self.left == 0 {
            Level::Spent
        } else if self.left <= self.max / 4 {
            Level::High
        } else {
            Level::Fine
        }
    }

    fn refill(&mut self, now: Duration) {
        if self.left == self.max || self.per_second == 0 {
            self.since = self.since.max(now);
            return;
        }
        let elapsed = now.saturating_sub(self.since).as_nanos();
        let units = elapsed * u128::from(self.per_second) / NANOS_PER_SECOND;
        if units == 0 {
            return;
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        if units >= self.max - self.left {
            self.left = self.max;
            self.since = now;
        } else {
            self.left += units;
            // Only the time that became whole units is used up, so charges that come faster than
            // units do not stop the clock.
            let used = u128::from(units) * NANOS_PER_SECOND / u128::from(self.per_second);
            self.since += Duration::from_nanos(u64::try_from(used).unwrap_or(u64::MAX));
        }
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_level_is_high_at_three_quarters_and_spent_at_the_last_unit() {
        let mut allowance = Allowance::new(100, 0);
        assert_eq!(allowance.charge(74, SECOND), Level::Fine);
        assert_eq!(allowance.charge(1, SECOND), Level::High);
        assert_eq!(allowance.charge(24, SECOND), Level::High);
        assert_eq!(allowance.charge(1, SECOND), Level::Spent);
    }

    #[test]
    fn time_gives_units_back_even_between_hasty_charges() {
        let mut allowance = Allowance::new(100, 10);
        assert_eq!(allowance.charge(60, SECOND), Level::Fine);
        // Ten units a second, charged ten times a second by one: it stays where it is.
        for tick in 0..1000u32 {
            let now = SECOND + Duration::from_millis(100) * tick;
            assert_eq!(allowance.charge(1, now), Level::Fine, "tick {tick}");
        }
    }

    #[test]
    fn parts_of_a_unit_are_not_lost_between_charges() {
        let mut allowance = Allowance::new(100, 10);
        assert_eq!(allowance.charge(60, SECOND), Level::Fine);
        // 0.95 units come back between two charges: after 200 of them 10 are gone, 30 are left.
        for tick in 0..200u32 {
            let now = SECOND + Duration::from_millis(95) * tick;
            assert_eq!(allowance.charge(1, now), Level::Fine, "tick {tick}");
        }
    }

    #[test]
    fn time_does_not_save_up_more_than_the_maximum() {
        let mut allowance = Allowance::new(100, 10);
        assert_eq!(allowance.charge(1, SECOND), Level::Fine);
        assert_eq!(allowance.charge(100, SECOND * 1000), Level::Spent);
    }

    #[test]
    fn work_gives_units_back_up_to_the_maximum() {
        let mut allowance = Allowance::new(100, 0);
        assert_eq!(allowance.charge(80, SECOND), Level::High);
        allowance.earn(1000);
        assert_eq!(allowance.charge(74, SECOND), Level::Fine);
        assert_eq!(allowance.charge(1, SECOND), Level::High);
    }

    #[test]
    fn a_clock_that_steps_back_changes_nothing() {
        let mut allowance = Allowance::new(100, 10);
        assert_eq!(allowance.charge(80, SECOND * 5), Level::High);
        assert_eq!(allowance.charge(1, SECOND), Level::High);
    }
}
