//! Which stream ids the peer has used.
//!
//! Streams may arrive out of order, so the highest id is not enough: the ids just below it are
//! kept as a window of bits. Says what an id is; what follows is decided in `session`.

use crate::frame::{StreamId, size};
use crate::limits::IDS_REMEMBERED;

const WORD_BITS: u32 = u64::BITS;
const WORDS: u32 = IDS_REMEMBERED / WORD_BITS;

const _: () = assert!(
    IDS_REMEMBERED.is_power_of_two() && IDS_REMEMBERED >= WORD_BITS,
    "an id's place in the window is its low bits"
);

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Never used.
    New,
    /// Used before.
    Used,
    /// Too far below the highest to know.
    Forgotten,
}

#[derive(Debug)]
pub(crate) struct UsedIds {
    /// One above the highest id used, counted in ids of one parity; 0: none was.
    end: u32,
    bits: [u64; WORDS_LEN],
}

// The one place where a length must be a constant of type usize.
const WORDS_LEN: usize = 64;
const _: () = assert!(WORDS == 64, "`WORDS_LEN` says the same");

impl UsedIds {
    pub(crate) const fn new() -> Self {
        Self {
            end: 0,
            bits: [0; WORDS_LEN],
        }
    }

    pub(crate) fn look_up(&self, id: StreamId) -> Past {
        let number = number(id);
        if number >= self.end {
            Past::New
        } else if self.end - number > IDS_REMEMBERED {
            Past::Forgotten
        } else if self.bits[word(number)] & mask(number) != 0 {
            Past::Used
        } else {
            Past::New
        }
    }

    /// Remembers a [`Past::New`] id as used.
    pub(crate) fn mark(&mut self, id: StreamId) {
        debug_assert_eq!(self.look_up(id), Past::New, "an id is marked once");
        let number = number(id);
        if number >= self.end {
            if number - self.end >= IDS_REMEMBERED {
                self.bits = [0; WORDS_LEN];
            } else {
                for skipped in self.end..number {
                    self.bits[word(skipped)] &= !mask(skipped);
                }
            }
            self.end = number + 1;
        }
        self.bits[word(number)] |= mask(number);
    }
}

/// Place of an id among those of its parity: 1, 3, 5 and 2, 4, 6 both count 0, 1, 2.
const fn number(id: StreamId) -> u32 {
    (id.get() - 1) / 2
}

fn word(number: u32) -> usize {
    size(number / WORD_BITS % WORDS)
}

const fn mask(number: u32) -> u64 {
    1 << (number % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn m07_the_last_id_of_each_parity_has_a_place() {
        for id in [1, 2, u32::MAX - 1, u32::MAX] {
            let mut used = UsedIds::new();
            assert_eq!(used.look_up(StreamId::new(id)), Past::New);
            used.mark(StreamId::new(id));
            assert_eq!(used.look_up(StreamId::new(id)), Past::Used);
        }
    }

    #[test]
    fn an_id_is_remembered_until_it_leaves_the_window() {
        let mut used = UsedIds::new();
        used.mark(StreamId::new(1));
        used.mark(StreamId::new(1 + 2 * (IDS_REMEMBERED - 1)));
        assert_eq!(used.look_up(StreamId::new(1)), Past::Used);
        used.mark(StreamId::new(1 + 2 * IDS_REMEMBERED));
        assert_eq!(used.look_up(StreamId::new(1)), Past::Forgotten);
        assert_eq!(used.look_up(StreamId::new(3)), Past::New);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(jumps in prop::collection::vec((0u32..6000, 0u32..6000), 1..200)) {
            let mut used = UsedIds::new();
            let mut set = BTreeSet::new();
            let mut highest = 0u32;
            for (up, down) in jumps {
                let number = (highest + up).saturating_sub(down);
                let id = StreamId::new(2 * number + 1);
                let expected = if set.contains(&number) && number + IDS_REMEMBERED > highest {
                    Past::Used
                } else if !set.is_empty() && number + IDS_REMEMBERED <= highest {
                    Past::Forgotten
                } else {
                    Past::New
                };
                prop_assert_eq!(used.look_up(id), expected);
                if expected == Past::New {
                    used.mark(id);
                    set.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
