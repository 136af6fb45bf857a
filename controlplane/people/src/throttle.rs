//! How often a password may be tried, for one user name and from one source.
//!
//! A value: time is an argument, and whether the password was right is told afterwards. Waiting and answering are left
//! to the server. Nobody is locked out for ever: a wait ends, and failures are forgotten.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::HashMap;

use ring::digest::{SHA256, digest};

use crate::limits::{
    FAILURES_PER_SOURCE_MAX, FAILURES_PER_USER_MAX, FAILURES_REMEMBERED, FAILURES_WINDOW,
    THROTTLED_MAX, WAIT_FIRST, WAIT_MAX,
};

/// Who has failed lately.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<Key, Failures>,
}

/// Too many failures: try again after this time. For `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a duration with a meaning")]
pub struct Wait(pub Duration);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A hash, because people also type their password where the name belongs.
    User([u8; 32]),
    Source(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    first: Duration,
    last: Duration,
    until: Duration,
}

impl Throttle {
    /// Nobody has failed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a try of `user` from `source`. `now` is the time since any fixed moment.
    ///
    /// The try counts as failed until [`Throttle::succeeded`] says otherwise: tries at the same moment cannot all pass
    /// before the first has failed.
    ///
    /// # Errors
    /// [`Wait`] when it must wait; then nothing is counted, and waiting is not made longer by trying.
    pub fn attempt(&mut self, user: &str, source: IpAddr, now: Duration) -> Result<(), Wait> {
        let keys = keys(user, source);
        let wait = keys
            .iter()
            .filter_map(|key| self.failures.get(key))
            .map(|failures| failures.until.saturating_sub(now))
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(Wait(wait));
        }
        for key in keys {
            self.make_room(key, now);
            let failures = self
                .failures
                .entry(key)
                .or_insert_with(|| Failures::none(now));
            failures.count_one(key, now);
        }
        Ok(())
    }

    /// The try was good: the user's failures are forgotten, and this try is taken from the source's.
    ///
    /// Not more from the source's, or whoever knows one password could guess all others in between.
    pub fn succeeded(&mut self, user: &str, source: IpAddr) {
        let [user, source] = keys(user, source);
        self.failures.remove(&user);
        if let Some(failures) = self.failures.get_mut(&source) {
            failures.count = failures.count.saturating_sub(1);
            // A wait that failures have earned stays, also when other tries were under way at the same time.
            if failures.count < FAILURES_PER_SOURCE_MAX {
                failures.until = Duration::ZERO;
            }
            if failures.count == 0 {
                self.failures.remove(&source);
            }
        }
    }

    /// How many names and sources are remembered; at most [`THROTTLED_MAX`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    fn make_room(&mut self, key: Key, now: Duration) {
        if self.failures.len() < THROTTLED_MAX || self.failures.contains_key(&key) {
            return;
        }
        self.failures.retain(|_, failures| !failures.is_over(now));
        if self.failures.len() < THROTTLED_MAX {
            return;
        }
        // The fewest failures go first: a flood of new names does not wash out the name that is being guessed.
        let least = self
            .failures
            .iter()
            .min_by_key(|(_, failures)| (failures.count, failures.last))
            .map(|(key, _)| *key);
        if let Some(least) = least {
            self.failures.remove(&least);
        }
    }
}

impl Failures {
    const fn none(now: Duration) -> Self {
        Self {
            count: 0,
            first: now,
            last: now,
            until: Duration::ZERO,
        }
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) >= FAILURES_REMEMBERED
    }

    fn count_one(&mut self, key: Key, now: Duration) {
        let most = key.failures_max();
        let fresh = self.count < most && now.saturating_sub(self.first) >= FAILURES_WINDOW;
        if fresh || self.is_over(now) {
            *self = Self::none(now);
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        if let Some(beyond) = self.count.checked_sub(most) {
            let wait = WAIT_FIRST
                .checked_mul(2_u32.saturating_pow(beyond))
                .map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX));
            self.until = now.saturating_add(wait);
        }
    }
}

impl Key {
    const fn failures_max(self) -> u32 {
        match self {
            Self::User(_) => FAILURES_PER_USER_MAX,
            Self::Source(_) => FAILURES_PER_SOURCE_MAX,
        }
    }
}

fn keys(user: &str, source: IpAddr) -> [Key; 2] {
    let mut name = [0; 32];
    for (to, from) in name
        .iter_mut()
        .zip(digest(&SHA256, user.as_bytes()).as_ref())
    {
        *to = *from;
    }
    [Key::User(name), Key::Source(network(source))]
}

/// Who has an IPv6 address has a network of 64 bits.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
