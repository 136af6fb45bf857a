//! The last things that each thread did, at hand for who asks about one of them.
//!
//! A ring for each thread, overwritten in place, so that what is kept costs no allocation once it has gone round. What
//! is kept, and in which words it is told, is its owner's affair.

use std::fmt;

use parking_lot::Mutex;

/// The last so many of something, of each thread.
pub struct Recent<T> {
    lanes: Box<[Lane<T>]>,
    places: usize,
}

/// A thread's own ring, on cache lines of its own.
#[repr(align(128))]
struct Lane<T>(Mutex<Ring<T>>);

struct Ring<T> {
    kept: Vec<T>,
    // The place that is overwritten next, once all are taken.
    next: usize,
}

impl<T: Default> Recent<T> {
    /// `places` for each of so many threads; memory is taken as they are filled.
    #[must_use]
    pub fn new(threads: usize, places: usize) -> Self {
        let lane = |_| {
            Lane(Mutex::new(Ring {
                kept: Vec::new(),
                next: 0,
            }))
        };
        Self {
            lanes: (0..threads.max(1)).map(lane).collect(),
            places: places.max(1),
        }
    }

    /// Keeps one more of `thread`, in the place of its oldest. `fill` is given what stood there, to be overwritten whole.
    pub fn keep(&self, thread: usize, fill: impl FnOnce(&mut T)) {
        let Some(lane) = self.lanes.get(thread) else {
            return;
        };
        let ring = &mut *lane.0.lock();
        if ring.kept.len() < self.places {
            ring.kept.push(T::default());
        }
        let at = ring.next;
        ring.next = (at + 1) % self.places;
        if let Some(place) = ring.kept.get_mut(at) {
            fill(place);
        }
    }

    /// What `look` makes of the first one that it knows; of each thread the newest first.
    pub fn find<R>(&self, look: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.lanes.iter().find_map(|lane| {
            let ring = lane.0.lock();
            let (newer, older) = ring.kept.split_at_checked(ring.next)?;
            let newest_first = newer.iter().rev().chain(older.iter().rev());
            newest_first.into_iter().find_map(&look)
        })
    }
}

impl<T> fmt::Debug for Recent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("threads", &self.lanes.len())
            .field("places", &self.places)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_forgets_its_oldest_and_nothing_of_another_thread() {
        let recent = Recent::new(2, 3);
        let knows = |number: u32| {
            recent
                .find(|kept| (*kept == number).then_some(()))
                .is_some()
        };
        recent.keep(1, |place| *place = 100);
        for number in 1..=3 {
            recent.keep(0, |place| *place = number);
            assert!(knows(1) && knows(number) && knows(100));
        }
        recent.keep(0, |place| *place = 4);
        assert!(!knows(1) && knows(2) && knows(3) && knows(4) && knows(100));
        // A thread that nobody announced keeps nothing.
        recent.keep(2, |place| *place = 5);
        assert!(!knows(5));
    }

    #[test]
    fn the_newest_is_found_first_and_a_place_is_used_again() {
        let recent: Recent<(u32, String)> = Recent::new(1, 3);
        for number in 0..8 {
            recent.keep(0, |(place, text)| {
                assert_eq!(text.is_empty(), number < 3, "{number}");
                *place = number;
                text.clear();
                text.push_str("kept");
            });
            let newest = recent.find(|(place, text)| (text == "kept").then_some(*place));
            assert_eq!(newest, Some(number));
        }
    }
}
