//! Records between those who hand them in and the one thread that writes them: bounded, and nobody waits.
//!
//! Each thread has a lane of its own, so that two shards do not meet. A record is put into bytes here, once; what
//! stands in a lane are bodies of lines, a line feed behind each.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use adit_audit::{Record, write_body};
use parking_lot::{Mutex, MutexGuard};

use crate::limits::LANES_MAX;

/// All lanes of a recorder.
pub(crate) struct Lanes {
    lanes: Vec<Apart>,
    spool_bytes: u64,
    // Bytes that are in lanes or with the writer and not yet on disk.
    queued: AtomicU64,
    // Records that were ever lost.
    lost: AtomicU64,
    // The last try to write has failed.
    is_stuck: AtomicBool,
}

/// A lane on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Apart(Mutex<Lane>);

#[derive(Default)]
struct Lane {
    bodies: Vec<u8>,
    lost: Lost,
}

/// Records that were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// When the first of them was; of no meaning when there are none.
    pub(crate) since_unix_ms: u64,
}

impl Lost {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            (one, two) => Self {
                count: one.saturating_add(two),
                since_unix_ms: self.since_unix_ms.min(other.since_unix_ms),
            },
        }
    }
}

impl Lanes {
    /// For so many threads.
    pub(crate) fn new(threads: usize, spool_bytes: u64) -> Self {
        let lanes = (0..threads.clamp(1, LANES_MAX))
            .map(|_| Apart::default())
            .collect();
        Self {
            lanes,
            spool_bytes,
            queued: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Queues a record. `false` when there is no room: it is counted as lost.
    pub(crate) fn put(&self, record: &Record<'_>) -> bool {
        let Some(mut lane) = self.mine() else {
            return false;
        };
        let lane = &mut *lane;
        let start = lane.bodies.len();
        write_body(record, &mut lane.bodies);
        lane.bodies.push(b'\n');
        let bytes = bytes(lane.bodies.len() - start);
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > self.spool_bytes {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            lane.bodies.truncate(start);
            self.lost.fetch_add(1, Ordering::Relaxed);
            lane.lost = lane.lost.and(Lost {
                count: 1,
                since_unix_ms: record.unix_ms(),
            });
            return false;
        }
        true
    }

    /// Takes all that is queued, a buffer a lane, and what was lost.
    pub(crate) fn take(&self, mut each: impl FnMut(Vec<u8>)) -> Lost {
        let mut lost = Lost::default();
        for lane in &self.lanes {
            let bodies = {
                let mut lane = lane.0.lock();
                lost = lost.and(std::mem::take(&mut lane.lost));
                if lane.bodies.is_empty() {
                    continue;
                }
                let size = lane.bodies.len();
                // As large as the last one was: it does not grow by copies while requests wait.
                std::mem::replace(&mut lane.bodies, Vec::with_capacity(size))
            };
            each(bodies);
        }
        lost
    }

    /// So many bytes are queued by the writer itself, whether there is room or not.
    pub(crate) fn take_room(&self, bytes: u64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of what was taken are written.
    pub(crate) fn written(&self, bytes: u64) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether more than half of the room is taken: what is under way may need the rest.
    pub(crate) fn is_filling(&self) -> bool {
        self.queued() > self.spool_bytes / 2
    }

    /// Records that were ever lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether the last try to write has failed.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    // A lane that is free, this thread's own first. Only the writer, which is quick, and threads beyond the number of
    // lanes can be in the way.
    fn mine(&self) -> Option<MutexGuard<'_, Lane>> {
        let count = self.lanes.len();
        let own = LANE.with(|lane| {
            lane.get().unwrap_or_else(|| {
                let next = NEXT.fetch_add(1, Ordering::Relaxed);
                lane.set(Some(next));
                next
            })
        });
        let lane = |offset: usize| self.lanes.get((own + offset) % count);
        (0..count)
            .filter_map(lane)
            .find_map(|lane| lane.0.try_lock())
            .or_else(|| Some(lane(0)?.0.lock()))
    }
}

/// A length as counters have it.
pub(crate) fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

thread_local! {
    static LANE: Cell<Option<usize>> = const { Cell::new(None) };
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use adit_audit::Gap;

    use super::*;

    fn gap(unix_ms: u64) -> Record<'static> {
        Record::Gap(Gap {
            unix_ms,
            since_unix_ms: 0,
            lost: 0,
        })
    }

    fn taken(lanes: &Lanes) -> (Vec<u8>, Lost) {
        let mut all = Vec::new();
        let lost = lanes.take(|bodies| all.extend(bodies));
        (all, lost)
    }

    #[test]
    fn what_fits_is_kept_and_the_first_that_does_not_is_lost_and_told_with_its_time() {
        let size = {
            let lanes = Lanes::new(1, 1000);
            assert!(lanes.put(&gap(1)));
            lanes.queued()
        };
        let lanes = Lanes::new(1, 2 * size);
        assert!(lanes.put(&gap(1)) && lanes.put(&gap(2)));
        assert!(!lanes.put(&gap(3)) && !lanes.put(&gap(4)));
        let (all, lost) = taken(&lanes);
        assert_eq!(bytes(all.len()), 2 * size);
        assert_eq!(
            lost,
            Lost {
                count: 2,
                since_unix_ms: 3
            }
        );
        assert!(!lanes.put(&gap(5)), "taken is not written");
        lanes.written(2 * size);
        assert!(lanes.put(&gap(6)));
        assert_eq!(taken(&lanes).1.count, 1);
    }

    #[test]
    fn half_of_the_room_is_free_to_take_and_the_next_byte_is_told() {
        let lanes = Lanes::new(1, 100);
        lanes.take_room(50);
        assert!(!lanes.is_filling());
        lanes.take_room(1);
        assert!(lanes.is_filling());
        lanes.written(1);
        assert!(!lanes.is_filling());
    }

    #[test]
    fn losses_of_two_lanes_are_told_since_the_first_of_both() {
        let lost = |count, since_unix_ms| Lost {
            count,
            since_unix_ms,
        };
        assert_eq!(lost(1, 5).and(lost(2, 3)), lost(3, 3));
        assert_eq!(lost(1, 3).and(lost(2, 5)), lost(3, 3));
        assert_eq!(lost(0, 1).and(lost(2, 5)), lost(2, 5));
        assert_eq!(lost(2, 5).and(lost(0, 1)), lost(2, 5));
    }

    #[test]
    fn more_threads_than_lanes_share_them() {
        assert_eq!(Lanes::new(0, 1).lanes.len(), 1);
        assert_eq!(Lanes::new(LANES_MAX, 1).lanes.len(), LANES_MAX);
        assert_eq!(Lanes::new(LANES_MAX + 1, 1).lanes.len(), LANES_MAX);
        let lanes = Lanes::new(2, 1 << 20);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|n| assert!(lanes.put(&gap(n)))));
            }
        });
        let (all, lost) = taken(&lanes);
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 800);
        assert_eq!(lost.count, 0);
    }
}
