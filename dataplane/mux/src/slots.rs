//! Where streams live: a slab of slots, and an open hash table from id to slot.
//!
//! Knows ids and slots only. A slot number stays the same as long as its stream lives, and is used
//! again afterwards; memory is never given back before the session ends.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use core::time::Duration;

use crate::frame::{Payload, StreamId};
use crate::stream::Stream;

const EMPTY: usize = usize::MAX;
const SMALLEST_TABLE: usize = 16;

#[derive(Debug)]
pub(crate) struct Slots<P> {
    slots: Vec<Slot<P>>,
    free: Vec<usize>,
    /// Slot numbers by hash of the id, linear probing, at most half full. Its length is a power
    /// of two.
    table: Vec<usize>,
    salt: u64,
}

#[derive(Debug)]
struct Slot<P> {
    live: bool,
    stream: Stream<P>,
}

impl<P: Payload> Slots<P> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            table: Vec::new(),
            salt: 0,
        }
    }

    /// Streams alive.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn find(&self, id: StreamId) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let mut place = self.home(id);
        loop {
            let slot = self.table[place];
            if slot == EMPTY {
                return None;
            }
            if self.slots[slot].stream.id == id {
                return Some(slot);
            }
            place = self.after(place);
        }
    }

    /// Whether `slot` still holds stream `id`.
    pub(crate) fn holds(&self, slot: usize, id: StreamId) -> bool {
        self.slots
            .get(slot)
            .is_some_and(|slot| slot.live && slot.stream.id == id)
    }

    /// Gives a new stream a slot. The id must not be alive.
    pub(crate) fn insert(&mut self, id: StreamId, ours: bool, now: Duration) -> usize {
        debug_assert!(self.find(id).is_none(), "an id is alive once");
        if (self.len() + 1) * 2 > self.table.len() {
            self.grow(now);
        }
        let slot = if let Some(slot) = self.free.pop() {
            let old = &mut self.slots[slot];
            old.live = true;
            old.stream.renew(id, ours);
            slot
        } else {
            self.slots.push(Slot {
                live: true,
                stream: Stream::new(id, ours),
            });
            self.slots.len() - 1
        };
        self.place(slot);
        slot
    }

    /// Frees the slot. What the stream queued is dropped.
    pub(crate) fn remove(&mut self, slot: usize) {
        assert!(self.slots[slot].live, "a slot is freed once");
        let mut hole = self.home(self.slots[slot].stream.id);
        while self.table[hole] != slot {
            hole = self.after(hole);
        }
        // Backward shift: what was pushed past the hole moves into it, so no tombstones gather.
        let mut place = self.after(hole);
        while self.table[place] != EMPTY {
            let home = self.home(self.slots[self.table[place]].stream.id);
            if self.distance(home, place) >= self.distance(hole, place) {
                self.table[hole] = self.table[place];
                hole = place;
            }
            place = self.after(place);
        }
        self.table[hole] = EMPTY;
        let old = &mut self.slots[slot];
        old.live = false;
        old.stream.retire();
        self.free.push(slot);
    }

    /// All streams alive, with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Stream<P>)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.live)
            .map(|(number, slot)| (number, &slot.stream))
    }

    fn place(&mut self, slot: usize) {
        let mut place = self.home(self.slots[slot].stream.id);
        while self.table[place] != EMPTY {
            place = self.after(place);
        }
        self.table[place] = slot;
    }

    fn grow(&mut self, now: Duration) {
        // The peer chooses ids, so the hash is salted or it could make all of them collide. The
        // salt is when the table grew, in nanoseconds since a start the peer does not know: no
        // secret, but more than can be aimed at.
        self.salt = u64::try_from(now.as_nanos())
            .unwrap_or(u64::MAX)
            .wrapping_mul(MIX)
            ^ MIX.rotate_left(32);
        let len = (self.table.len() * 2).max(SMALLEST_TABLE);
        self.table.clear();
        self.table.resize(len, EMPTY);
        for slot in 0..self.slots.len() {
            if self.slots[slot].live {
                self.place(slot);
            }
        }
    }

    fn home(&self, id: StreamId) -> usize {
        let wide = u128::from(u64::from(id.get()) ^ self.salt) * u128::from(MIX);
        // Folding both halves of the product lets every bit of the id reach every bit of the
        // result.
        let folded = (wide >> 64) ^ (wide & u128::from(u64::MAX));
        let low = folded & u128::from(u32::MAX);
        usize::try_from(low).unwrap_or(0) & (self.table.len() - 1)
    }

    const fn after(&self, place: usize) -> usize {
        (place + 1) & (self.table.len() - 1)
    }

    /// Steps from `from` to `to`, walking forward and around.
    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.table.len() - 1)
    }
}

/// An odd number without pattern: the fraction of the golden ratio in 64 bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl<P> Index<usize> for Slots<P> {
    type Output = Stream<P>;
    fn index(&self, slot: usize) -> &Stream<P> {
        let slot = &self.slots[slot];
        debug_assert!(slot.live, "the slot is in use");
        &slot.stream
    }
}

impl<P> IndexMut<usize> for Slots<P> {
    fn index_mut(&mut self, slot: usize) -> &mut Stream<P> {
        let slot = &mut self.slots[slot];
        debug_assert!(slot.live, "the slot is in use");
        &mut slot.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Bytes = Vec<u8>;

    #[test]
    fn a_freed_slot_is_used_again() {
        let mut slots = Slots::<Bytes>::new();
        let first = slots.insert(StreamId::new(1), true, Duration::ZERO);
        slots.remove(first);
        assert_eq!(slots.find(StreamId::new(1)), None);
        assert_eq!(slots.insert(StreamId::new(3), true, Duration::ZERO), first);
        assert!(slots.holds(first, StreamId::new(3)));
        assert!(!slots.holds(first, StreamId::new(1)));
        assert!(!slots.holds(99, StreamId::new(1)));
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(
            salt in any::<u64>(),
            acts in prop::collection::vec((any::<bool>(), 1u32..400, any::<bool>()), 1..600),
        ) {
            let now = Duration::from_nanos(salt);
            let mut slots = Slots::<Bytes>::new();
            let mut map = BTreeMap::new();
            for (insert, id, far) in acts {
                let id = if far { id.wrapping_mul(1 << 23) | 1 } else { id };
                let stream = StreamId::new(id);
                if insert && !map.contains_key(&id) {
                    map.insert(id, slots.insert(stream, id % 2 == 1, now));
                } else if !insert && let Some(slot) = map.remove(&id) {
                    slots.remove(slot);
                }
                prop_assert_eq!(slots.len(), map.len());
                prop_assert_eq!(slots.find(stream), map.get(&id).copied());
            }
            for (id, slot) in &map {
                prop_assert_eq!(slots.find(StreamId::new(*id)), Some(*slot));
                prop_assert_eq!(slots[*slot].id.get(), *id);
            }
            prop_assert_eq!(slots.iter().count(), map.len());
        }
    }
}
