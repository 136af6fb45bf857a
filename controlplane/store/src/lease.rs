//! The name of a lease. When it ends is each implementation's.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Excess};
use crate::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};

/// Names a lease. Given to whoever holds it; never used a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u64);

impl LeaseId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The whole seconds of a lease's time, rounded up.
pub(crate) fn seconds(ttl: Duration) -> Result<u64, Error> {
    let seconds = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0));
    if ttl > LEASE_TTL_MAX {
        return Err(Error::TooLarge {
            what: Excess::LeaseSeconds,
            size: seconds,
            limit: LEASE_TTL_MAX.as_secs(),
        });
    }
    Ok(seconds.max(LEASE_TTL_MIN.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_takes_at_least_lease_ttl_min() {
        let just = LEASE_TTL_MIN;
        assert_eq!(seconds(just).unwrap(), 2);
        assert_eq!(seconds(just - Duration::from_millis(1)).unwrap(), 2);
        assert_eq!(seconds(Duration::ZERO).unwrap(), 2);
        assert_eq!(seconds(just + Duration::from_nanos(1)).unwrap(), 3);
    }

    #[test]
    fn a_lease_of_lease_ttl_max_is_granted_and_a_longer_one_is_not() {
        assert_eq!(seconds(LEASE_TTL_MAX).unwrap(), 3600);
        assert!(matches!(
            seconds(LEASE_TTL_MAX + Duration::from_nanos(1)),
            Err(Error::TooLarge {
                what: Excess::LeaseSeconds,
                size: 3601,
                limit: 3600
            })
        ));
    }
}
