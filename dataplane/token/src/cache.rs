//! Verified tokens, remembered until they expire.
//!
//! Holds hashes and callers, never tokens; refusals are not remembered. It belongs to one shard and
//! one set of keys: with new keys comes a new cache. Checking signatures is left to `Verifier`.

use std::collections::HashMap;
use std::sync::Arc;

use ring::digest;

use crate::claims::Caller;
use crate::limits::TOKEN_BYTES_CEILING;

/// A bounded memory of verified tokens.
///
/// Two generations: when the young one is full it becomes the old one, and the old one is
/// forgotten. A token that is used moves to the young one, so the busy ones stay.
#[derive(Debug)]
pub struct Cache {
    generation: usize,
    young: HashMap<Key, Arc<Caller>>,
    old: HashMap<Key, Arc<Caller>>,
}

/// SHA-256 of a token.
type Key = [u8; digest::SHA256_OUTPUT_LEN];

impl Cache {
    /// A cache of at most `capacity` tokens (rounded down to an even number; below 2 it is off).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            generation: capacity / 2,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The caller of a token that was inserted and has not expired.
    ///
    /// From the second `expires` on the answer is `None`, without the leeway: `Verifier::verify`
    /// is the one that grants it.
    pub fn get(&mut self, token: &str, unix_now: u64) -> Option<Arc<Caller>> {
        if self.generation == 0 {
            return None;
        }
        let key = key(token)?;
        if let Some(caller) = self.young.get(&key) {
            if unix_now < caller.expires {
                return Some(Arc::clone(caller));
            }
            self.young.remove(&key);
            return None;
        }
        let caller = self.old.remove(&key)?;
        if unix_now >= caller.expires {
            return None;
        }
        self.keep(key, Arc::clone(&caller));
        Some(caller)
    }

    /// Remembers what [`crate::Verifier::verify`] said about `token`; gives the caller back shared.
    pub fn insert(&mut self, token: &str, caller: impl Into<Arc<Caller>>) -> Arc<Caller> {
        let caller = caller.into();
        if self.generation > 0
            && let Some(key) = key(token)
        {
            self.old.remove(&key);
            self.keep(key, Arc::clone(&caller));
        }
        caller
    }

    /// Forgets everything, for new keys or settings.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// How many tokens are remembered, expired ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn keep(&mut self, key: Key, caller: Arc<Caller>) {
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, caller);
        debug_assert!(self.young.len() <= self.generation, "the young are bounded");
        debug_assert!(self.old.len() <= self.generation, "the old are bounded");
    }
}

/// `None` for what no verifier would have accepted: hashing it would be work for nothing.
fn key(token: &str) -> Option<Key> {
    if token.len() > TOKEN_BYTES_CEILING {
        return None;
    }
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(expires: u64) -> Caller {
        Caller {
            subaccount: "acme".to_owned(),
            client: "app".to_owned(),
            subject: None,
            expires,
        }
    }

    #[test]
    fn a_verified_token_is_remembered_until_the_second_it_expires() {
        let mut cache = Cache::new(8);
        cache.insert("a.b.c", caller(100));
        assert_eq!(cache.get("a.b.c", 99).as_deref(), Some(&caller(100)));
        assert_eq!(cache.get("a.b.c", 100), None);
        assert_eq!(cache.get("a.b.c", 99), None, "it was forgotten for good");
    }

    #[test]
    fn an_expired_token_of_the_old_generation_is_not_returned() {
        let mut cache = Cache::new(2);
        cache.insert("first", caller(100));
        cache.insert("second", caller(100));
        assert_eq!(cache.len(), 2);
        assert_eq!(cache.get("first", 100), None);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn another_token_is_not_found() {
        let mut cache = Cache::new(8);
        cache.insert("a.b.c", caller(100));
        assert_eq!(cache.get("a.b.d", 1), None);
        assert_eq!(cache.get("", 1), None);
    }

    #[test]
    fn the_busy_token_outlives_a_flood_of_new_ones() {
        let mut cache = Cache::new(8);
        cache.insert("busy", caller(100));
        for number in 0..1000 {
            cache.insert(&format!("once-{number}"), caller(100));
            assert!(cache.get("busy", 1).is_some(), "lost after {number}");
        }
        assert!(cache.get("once-0", 1).is_none());
    }

    #[test]
    fn a_capacity_below_two_switches_it_off() {
        for capacity in [0, 1] {
            let mut cache = Cache::new(capacity);
            cache.insert("a.b.c", caller(100));
            assert_eq!(cache.get("a.b.c", 1), None);
            assert!(cache.is_empty());
        }
    }

    #[test]
    fn a_text_beyond_every_limit_is_neither_kept_nor_hashed() {
        let mut cache = Cache::new(8);
        let fits = "a".repeat(TOKEN_BYTES_CEILING);
        let too_long = "a".repeat(TOKEN_BYTES_CEILING + 1);
        cache.insert(&fits, caller(100));
        cache.insert(&too_long, caller(100));
        assert!(cache.get(&fits, 1).is_some());
        assert!(cache.get(&too_long, 1).is_none());
    }

    #[test]
    fn cleared_is_forgotten() {
        let mut cache = Cache::new(2);
        cache.insert("first", caller(100));
        cache.insert("second", caller(100));
        cache.clear();
        assert!(cache.is_empty());
        assert_eq!(cache.get("first", 1), None);
    }

    proptest! {
        /// Whatever is done, the bound holds and no expired or foreign caller comes out.
        #[test]
        fn never_more_than_its_capacity_and_never_an_expired_one(
            capacity in 0_usize..12,
            acts in proptest::collection::vec((any::<bool>(), 0_u64..20, 0_u64..50), 0..200),
        ) {
            let mut cache = Cache::new(capacity);
            for (insert, token, time) in acts {
                // The token's number says when it expires, so a mix-up would show.
                let name = format!("token-{token}");
                if insert {
                    cache.insert(&name, caller(token * 2));
                } else if let Some(found) = cache.get(&name, time) {
                    prop_assert_eq!(found.expires, token * 2);
                    prop_assert!(time < found.expires);
                }
                prop_assert!(cache.len() <= capacity);
            }
        }
    }
}
