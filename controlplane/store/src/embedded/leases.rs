//! Which leases run, and when they end. Time is an argument; what vanishes with a lease is the tables'.
//!
//! Nothing of it is stored: who held a lease of the embedded store is gone with its process.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Excess};
use crate::lease::{LeaseId, seconds};
use crate::limits::LEASES_MAX;

/// The leases that were granted and whose keys are not gone yet.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<LeaseId, Held>,
}

#[derive(Debug)]
struct Held {
    ttl: Duration,
    ends: Instant,
}

impl Leases {
    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Result<LeaseId, Error> {
        let ttl = Duration::from_secs(seconds(ttl)?);
        if self.held.len() >= LEASES_MAX {
            return Err(Error::TooLarge {
                what: Excess::Leases,
                size: u64::try_from(LEASES_MAX + 1).unwrap_or(u64::MAX),
                limit: u64::try_from(LEASES_MAX).unwrap_or(u64::MAX),
            });
        }
        // Drawn, so that a lease of an earlier life of this process is not taken for one of this.
        let lease = loop {
            let lease = LeaseId::new(fastrand::u64(1..));
            if !self.held.contains_key(&lease) {
                break lease;
            }
        };
        let ends = now + ttl;
        self.held.insert(lease, Held { ttl, ends });
        Ok(lease)
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<(), Error> {
        match self.held.get_mut(&lease) {
            Some(held) if held.ends > now => {
                held.ends = now + held.ttl;
                Ok(())
            }
            Some(_) | None => Err(Error::LeaseLost { lease }),
        }
    }

    pub(super) fn runs(&self, lease: LeaseId, now: Instant) -> bool {
        self.held.get(&lease).is_some_and(|held| held.ends > now)
    }

    /// Lets a lease end now. One of an earlier life of this process becomes known by it.
    pub(super) fn end(&mut self, lease: LeaseId, now: Instant) {
        let ttl = Duration::ZERO;
        self.held.insert(lease, Held { ttl, ends: now });
    }

    /// Those that have ended and whose keys may still be there.
    pub(super) fn ended(&self, now: Instant) -> Vec<LeaseId> {
        let ended = self.held.iter().filter(|(_, held)| held.ends <= now);
        ended.map(|(lease, _)| *lease).collect()
    }

    /// Its keys are gone.
    pub(super) fn forget(&mut self, lease: LeaseId) {
        self.held.remove(&lease);
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.held.values().map(|held| held.ends).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_ends_when_its_time_has_passed_and_not_before() {
        let start = Instant::now();
        let mut leases = Leases::default();
        let lease = leases.grant(10 * SECOND, start).unwrap();
        let end = start + 10 * SECOND;
        let before = end - Duration::from_nanos(1);
        assert!(leases.runs(lease, before));
        assert!(leases.ended(before).is_empty());
        assert!(!leases.runs(lease, end));
        assert_eq!(leases.ended(end), [lease]);
        assert_eq!(leases.next_end(), Some(end));
    }

    #[test]
    fn keeping_a_lease_alive_begins_its_time_anew_and_comes_too_late_at_its_end() {
        let start = Instant::now();
        let mut leases = Leases::default();
        let lease = leases.grant(10 * SECOND, start).unwrap();
        leases.keep_alive(lease, start + 9 * SECOND).unwrap();
        assert!(leases.runs(lease, start + 18 * SECOND));
        assert_eq!(
            leases.keep_alive(lease, start + 19 * SECOND),
            Err(Error::LeaseLost { lease })
        );
    }

    #[test]
    fn leases_max_leases_are_granted_and_one_more_is_not() {
        let start = Instant::now();
        let mut leases = Leases::default();
        for _ in 0..LEASES_MAX {
            leases.grant(10 * SECOND, start).unwrap();
        }
        assert!(matches!(
            leases.grant(10 * SECOND, start),
            Err(Error::TooLarge {
                what: Excess::Leases,
                ..
            })
        ));
        let one = leases.ended(start + 10 * SECOND)[0];
        leases.forget(one);
        assert!(leases.grant(10 * SECOND, start).is_ok());
    }
}
