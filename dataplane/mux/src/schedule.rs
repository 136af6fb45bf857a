//! Which stream's frame is next: deficit round robin, with a short way for streams that just began
//! to send.
//!
//! A stream that had nothing to send and now has goes before those that send in bulk, for one
//! quantum (RFC 8290, section 4.2, does the same to packets). Knows slots and lengths; the frames
//! are left to `session`.

use alloc::vec::Vec;

use crate::frame::{HEADER_BYTES, length};
use crate::limits::MAX_FRAME_PAYLOAD;

/// Bytes a stream may send in one turn: the largest frame with its header, so that every turn
/// sends at least one.
const QUANTUM: u32 = 16_384;
const _: () = assert!(
    MAX_FRAME_PAYLOAD + HEADER_BYTES <= 16_384,
    "a turn must pay for the largest frame"
);

const NONE: usize = usize::MAX;

/// A first-in-first-out list of slots that a slot can leave from any place in O(1).
#[derive(Debug)]
pub(crate) struct List {
    links: Vec<Link>,
    head: usize,
    tail: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: usize,
    after: usize,
    inside: bool,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            links: Vec::new(),
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn front(&self) -> Option<usize> {
        if self.head == NONE {
            None
        } else {
            Some(self.head)
        }
    }

    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.links.get(slot).is_some_and(|link| link.inside)
    }

    /// Appends the slot, unless it is inside already.
    pub(crate) fn push(&mut self, slot: usize) {
        if self.contains(slot) {
            return;
        }
        if slot >= self.links.len() {
            let outside = Link {
                before: NONE,
                after: NONE,
                inside: false,
            };
            self.links.resize(slot + 1, outside);
        }
        self.links[slot] = Link {
            before: self.tail,
            after: NONE,
            inside: true,
        };
        match self.tail {
            NONE => self.head = slot,
            tail => self.links[tail].after = slot,
        }
        self.tail = slot;
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<usize> {
        let slot = self.front()?;
        self.remove(slot);
        Some(slot)
    }

    /// Takes the slot out, if it is inside.
    pub(crate) fn remove(&mut self, slot: usize) {
        if !self.contains(slot) {
            return;
        }
        let Link { before, after, .. } = self.links[slot];
        match before {
            NONE => self.head = after,
            before => self.links[before].after = after,
        }
        match after {
            NONE => self.tail = before,
            after => self.links[after].before = before,
        }
        self.links[slot].inside = false;
        self.len -= 1;
    }
}

/// The choice of the next frame. A slot is in at most one of the two lists.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Streams that began to send, in their first quantum.
    fresh: List,
    /// Streams that go on sending. A stream that ran dry stays until its turn, so that it cannot
    /// pass for fresh by sending one frame at a time.
    ring: List,
    deficit: Vec<u32>,
    /// Bytes fresh streams have sent since the ring last had a turn, or was empty.
    streak: u32,
}

/// Bytes fresh streams may send while the ring waits for one turn: a flood of short answers slows
/// bulk down to a fifth of the pipe and never stops it.
const STREAK_MAX: u32 = 4 * QUANTUM;

impl Schedule {
    pub(crate) const fn new() -> Self {
        Self {
            fresh: List::new(),
            ring: List::new(),
            deficit: Vec::new(),
            streak: 0,
        }
    }

    /// The stream has something to send.
    pub(crate) fn activate(&mut self, slot: usize) {
        if self.fresh.contains(slot) || self.ring.contains(slot) {
            return;
        }
        if slot >= self.deficit.len() {
            self.deficit.resize(slot + 1, 0);
        }
        self.deficit[slot] = QUANTUM;
        self.fresh.push(slot);
    }

    /// The stream is gone.
    pub(crate) fn remove(&mut self, slot: usize) {
        self.fresh.remove(slot);
        self.ring.remove(slot);
    }

    /// The stream whose next frame is to be written. `next_length` tells the payload length of a
    /// slot's next frame, `None` when it has none.
    ///
    /// O(1) amortised: a step that gives no frame either starts a turn that will, or takes out a
    /// stream that ran dry after its last frame.
    pub(crate) fn pick(&mut self, next_length: impl Fn(usize) -> Option<u32>) -> Option<usize> {
        loop {
            let patient = self.ring.front().filter(|_| self.streak >= STREAK_MAX);
            let (slot, fresh) = match (patient, self.fresh.front()) {
                (None, Some(slot)) => (slot, true),
                (Some(slot), _) => (slot, false),
                (None, None) => (self.ring.front()?, false),
            };
            let cost = next_length(slot).map(|payload| payload + length(HEADER_BYTES));
            match cost {
                Some(cost) if cost <= self.deficit[slot] => {
                    self.deficit[slot] -= cost;
                    self.streak = if fresh && !self.ring.is_empty() {
                        self.streak + cost
                    } else {
                        0
                    };
                    return Some(slot);
                }
                Some(_) => {
                    self.deficit[slot] += QUANTUM;
                    self.move_to_ring_end(slot);
                }
                None if fresh && !self.ring.is_empty() => self.move_to_ring_end(slot),
                None => self.remove(slot),
            }
        }
    }

    fn move_to_ring_end(&mut self, slot: usize) {
        self.remove(slot);
        self.ring.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec;
    use proptest::prelude::*;

    const FULL: u32 = 16_372;

    struct Queues(Vec<VecDeque<u32>>);

    impl Queues {
        fn write(&mut self, schedule: &mut Schedule) -> Option<(usize, u32)> {
            let slot = schedule.pick(|slot| self.0[slot].front().copied())?;
            Some((slot, self.0[slot].pop_front().unwrap()))
        }
    }

    #[test]
    fn a_list_lets_go_from_any_place() {
        let mut list = List::new();
        for slot in [5, 0, 3, 5] {
            list.push(slot);
        }
        assert_eq!(list.len(), 3);
        list.remove(0);
        list.remove(7);
        list.push(0);
        assert_eq!(
            [list.pop(), list.pop(), list.pop(), list.pop()],
            [Some(5), Some(3), Some(0), None]
        );
        assert!(list.is_empty());
    }

    #[test]
    fn two_bulk_streams_take_turns_frame_by_frame() {
        let mut schedule = Schedule::new();
        let mut queues = Queues(vec![
            VecDeque::from(vec![FULL; 5]),
            VecDeque::from(vec![FULL; 5]),
        ]);
        schedule.activate(0);
        schedule.activate(1);
        let order: Vec<_> = core::iter::from_fn(|| queues.write(&mut schedule))
            .map(|(slot, _)| slot)
            .collect();
        assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn turns_are_counted_in_bytes_not_in_frames() {
        let mut schedule = Schedule::new();
        // 1012 bytes with header: 16 of them fit a quantum of 16384, and 192 bytes are left.
        let mut queues = Queues(vec![
            VecDeque::from(vec![FULL; 3]),
            VecDeque::from(vec![1000; 40]),
        ]);
        schedule.activate(0);
        schedule.activate(1);
        let order: Vec<_> = core::iter::from_fn(|| queues.write(&mut schedule))
            .map(|(slot, _)| slot)
            .collect();
        let expected: Vec<usize> = [0; 1]
            .into_iter()
            .chain([1; 16])
            .chain([0; 1])
            .chain([1; 16])
            .chain([0; 1])
            .chain([1; 8])
            .collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn m13_a_small_frame_passes_any_number_of_bulk_streams() {
        let mut schedule = Schedule::new();
        let mut queues = Queues(vec![VecDeque::from(vec![FULL; 10]); 1001]);
        queues.0[1000].clear();
        for slot in 0..1000 {
            schedule.activate(slot);
        }
        // All are past their first quantum.
        for _ in 0..2000 {
            queues.write(&mut schedule).unwrap();
        }
        queues.0[1000].push_back(100);
        schedule.activate(1000);
        assert_eq!(queues.write(&mut schedule), Some((1000, 100)));
    }

    #[test]
    fn m13_an_endless_row_of_short_answers_leaves_bulk_a_fifth() {
        let mut schedule = Schedule::new();
        let mut queues = Queues(vec![VecDeque::new(); 1001]);
        queues.0[0] = VecDeque::from(vec![FULL; 200]);
        schedule.activate(0);
        // Past its first quantum.
        queues.write(&mut schedule).unwrap();
        // With headers sixteen of them are 64 KiB; then bulk has its 16 KiB.
        for slot in 1..=1000 {
            queues.0[slot].push_back(4084);
            schedule.activate(slot);
        }
        let bulk = (0..850)
            .filter(|_| queues.write(&mut schedule).unwrap().0 == 0)
            .count();
        assert_eq!(bulk, 50);
    }

    #[test]
    fn m13_streams_that_send_one_frame_at_a_time_do_not_pass_for_fresh() {
        let mut schedule = Schedule::new();
        let mut queues = Queues(vec![
            VecDeque::from(vec![FULL; 200]),
            VecDeque::new(),
            VecDeque::new(),
        ]);
        schedule.activate(0);
        let mut bulk = 0;
        // Two streams that always have a frame when they are asked, and run dry in between.
        for turn in 0..300 {
            if turn % 2 == 0 {
                for slot in [1, 2] {
                    if queues.0[slot].is_empty() {
                        queues.0[slot].push_back(FULL);
                        schedule.activate(slot);
                    }
                }
            }
            bulk += usize::from(queues.write(&mut schedule).unwrap().0 == 0);
        }
        assert!(bulk >= 99, "bulk got {bulk} of 300 frames, not its third");
    }

    proptest! {
        #[test]
        fn every_frame_leaves_once_and_in_its_streams_order(
            frames in prop::collection::vec((0usize..8, 0u32..=FULL, any::<bool>()), 1..300),
        ) {
            let mut schedule = Schedule::new();
            let mut queues = Queues(vec![VecDeque::new(); 8]);
            let mut expected = vec![Vec::new(); 8];
            let mut written = vec![Vec::new(); 8];
            for (slot, bytes, write) in frames {
                queues.0[slot].push_back(bytes);
                expected[slot].push(bytes);
                schedule.activate(slot);
                if write && let Some((slot, bytes)) = queues.write(&mut schedule) {
                    written[slot].push(bytes);
                }
            }
            while let Some((slot, bytes)) = queues.write(&mut schedule) {
                written[slot].push(bytes);
            }
            prop_assert_eq!(written, expected);
        }

        /// Between two streams that always have something to send, the bytes sent never differ by
        /// more than two quanta.
        #[test]
        fn busy_streams_get_equal_bytes(lengths in prop::collection::vec((1u32..=FULL, 1u32..=FULL), 50..400)) {
            let mut schedule = Schedule::new();
            let mut queues = Queues(vec![VecDeque::new(), VecDeque::new()]);
            for (left, right) in lengths {
                queues.0[0].push_back(left);
                queues.0[1].push_back(right);
            }
            schedule.activate(0);
            schedule.activate(1);
            let mut sent = [0i64; 2];
            while queues.0.iter().all(|queue| !queue.is_empty()) {
                let (slot, bytes) = queues.write(&mut schedule).unwrap();
                sent[slot] += i64::from(bytes) + 12;
                prop_assert!((sent[0] - sent[1]).abs() <= 2 * i64::from(QUANTUM));
            }
        }
    }
}
