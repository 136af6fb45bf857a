//! The keys an issuer has published, and when to ask for them again.
//!
//! A value: time is an argument. Asking is `published`'s.

use std::sync::Arc;
use std::time::Duration;

use adit_token::KeySet;
use tokio::time::Instant;

use crate::limits::{
    KEYS_AGE_MAX, KEYS_REFRESH, KEYS_RETRY_FIRST, KEYS_RETRY_MAX, UNKNOWN_KEY_PAUSE,
};

/// The last good keys.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// Fetches that have failed since the last that did not.
    failures: u32,
    /// When a fetch was last wanted for a key that is not known.
    asked: Option<Instant>,
    /// Fetches that have begun, those that have ended, and which one is wanted.
    begun: u64,
    ended: u64,
    wanted: u64,
}

/// The number of a fetch to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// It is under way, or wanted by somebody else.
    Known(u64),
    /// Somebody has to wake who fetches.
    New(u64),
}

impl Keyring {
    /// The keys, unless they are older than anybody should trust.
    pub(super) fn now(&self, now: Instant) -> Option<Arc<KeySet>> {
        let (keys, fetched) = self.keys.as_ref()?;
        (now.saturating_duration_since(*fetched) < KEYS_AGE_MAX).then(|| Arc::clone(keys))
    }

    /// Which fetch to wait for, for whoever comes with a key that is not known: the one under way or wanted already, or
    /// another one, if none was for a while. Whoever makes up keys makes no storm of this.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Round> {
        if self.wanted > self.ended {
            return Some(Round::Known(self.wanted));
        }
        let asked = self.asked.map(|asked| now.saturating_duration_since(asked));
        if asked.is_none_or(|ago| ago >= UNKNOWN_KEY_PAUSE) {
            self.asked = Some(now);
            self.wanted = self.begun + 1;
            return Some(Round::New(self.wanted));
        }
        (self.begun > self.ended).then_some(Round::Known(self.begun))
    }

    #[cfg(test)]
    pub(super) fn forget_asking(&mut self) {
        self.asked = None;
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }

    /// It has ended.
    pub(super) fn end(&mut self) -> u64 {
        self.ended = self.begun;
        self.ended
    }

    /// Whether one is to begin now.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted > self.begun
    }

    /// New keys have come.
    pub(super) fn fetched(&mut self, keys: Arc<KeySet>, now: Instant) {
        self.keys = Some((keys, now));
        self.failures = 0;
    }

    /// None have come. The old ones go on.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// After what time they are fetched again, if nobody asks before.
    pub(super) fn pause(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => KEYS_REFRESH,
            Some(further) => KEYS_RETRY_FIRST
                .checked_mul(2_u32.saturating_pow(further))
                .map_or(KEYS_RETRY_MAX, |pause| pause.min(KEYS_RETRY_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn some_keys() -> Arc<KeySet> {
        let jwks = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        Arc::new(KeySet::from_jwks(jwks).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_count_until_keys_age_max_is_over_whatever_fails_meanwhile() {
        let mut ring = Keyring::default();
        let begun = Instant::now();
        assert!(ring.now(begun).is_none());
        ring.fetched(some_keys(), begun);
        ring.failed();
        assert!(ring.now(begun + KEYS_AGE_MAX - MOMENT).is_some());
        assert!(ring.now(begun + KEYS_AGE_MAX).is_none());
        ring.fetched(some_keys(), begun + KEYS_AGE_MAX);
        assert!(ring.now(begun + KEYS_AGE_MAX).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_key_pause_lies_between_two_fetches_for_keys_that_are_not_known() {
        let mut ring = Keyring::default();
        let begun = Instant::now();
        let round = |ring: &mut Keyring| {
            ring.begin();
            ring.end();
        };
        round(&mut ring);
        assert_eq!(ring.ask(begun), Some(Round::New(2)));
        assert!(ring.is_wanted());
        // All who come before it has ended wait for the same.
        assert_eq!(ring.ask(begun), Some(Round::Known(2)));
        ring.begin();
        assert!(!ring.is_wanted());
        assert_eq!(ring.ask(begun + MOMENT), Some(Round::Known(2)));
        ring.end();
        assert_eq!(ring.ask(begun + MOMENT), None);
        assert_eq!(ring.ask(begun + UNKNOWN_KEY_PAUSE - MOMENT), None);
        assert!(!ring.is_wanted());
        // One that goes on in any case is waited for.
        ring.begin();
        assert_eq!(
            ring.ask(begun + UNKNOWN_KEY_PAUSE - MOMENT),
            Some(Round::Known(3))
        );
        assert!(!ring.is_wanted());
        // It may have begun before the key was there: another one follows.
        assert_eq!(ring.ask(begun + UNKNOWN_KEY_PAUSE), Some(Round::New(4)));
        ring.end();
        assert!(ring.is_wanted());
        assert_eq!(ring.ask(begun + UNKNOWN_KEY_PAUSE), Some(Round::Known(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_refresh_is_between_good_fetches_and_failed_ones_wait_from_keys_retry_first_to_keys_retry_max()
     {
        let mut ring = Keyring::default();
        assert_eq!(ring.pause(), KEYS_REFRESH);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            ring.failed();
            pauses.push(ring.pause());
        }
        assert_eq!(pauses[0], KEYS_RETRY_FIRST);
        assert_eq!(pauses[1], KEYS_RETRY_FIRST * 2);
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]));
        assert_eq!(pauses.last(), Some(&KEYS_RETRY_MAX));
        ring.fetched(some_keys(), Instant::now());
        assert_eq!(ring.pause(), KEYS_REFRESH);
    }
}
