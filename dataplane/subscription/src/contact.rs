//! When a control plane was last heard: what a horizon is measured from.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The last contact, shared by all threads. Times are the process's monotonic ones, so a contact before the start is
/// a negative one.
#[derive(Debug)]
pub struct Contact {
    last_ms: AtomicI64,
}

impl Contact {
    /// The last contact was `ago` before `now`.
    #[must_use]
    pub fn begun(now: Duration, ago: Duration) -> Self {
        let last = millis(now).saturating_sub(millis(ago));
        Self {
            last_ms: AtomicI64::new(last),
        }
    }

    /// A control plane was heard.
    pub fn heard(&self, now: Duration) {
        self.last_ms.fetch_max(millis(now), Ordering::Relaxed);
    }

    /// How long ago.
    #[must_use]
    pub fn age(&self, now: Duration) -> Duration {
        let age = millis(now).saturating_sub(self.last_ms.load(Ordering::Relaxed));
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }

    /// Whether it is longer ago than `horizon`; never for a horizon of zero.
    #[must_use]
    pub fn is_beyond(&self, horizon: Duration, now: Duration) -> bool {
        !horizon.is_zero() && self.age(now) > horizon
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_contact_is_beyond_the_horizon_a_millisecond_after_it_and_until_the_next() {
        let contact = Contact::begun(secs(10), secs(0));
        assert!(!contact.is_beyond(secs(60), secs(70)));
        assert!(contact.is_beyond(secs(60), secs(70) + Duration::from_millis(1)));
        contact.heard(secs(71));
        assert!(!contact.is_beyond(secs(60), secs(71)));
        assert_eq!(contact.age(secs(75)), secs(4));
    }

    #[test]
    fn a_contact_before_the_start_counts_and_a_horizon_of_zero_never_does() {
        let contact = Contact::begun(secs(1), secs(3600));
        assert_eq!(contact.age(secs(1)), secs(3600));
        assert!(contact.is_beyond(secs(3599), secs(1)));
        assert!(!contact.is_beyond(secs(0), secs(1)));
    }
}
