//! Credit: what the peer may still send to us, what we may still send to it, and how far windows
//! may grow.
//!
//! The only file that changes a credit. It does not read frames, keep time or hold payload; when
//! credit is returned, and in which frame, is decided in `session`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

/// Credit every stream starts with in each direction, in bytes (yamux spec.md, "Flow Control").
pub const INITIAL_CREDIT: u32 = 256 * 1024;

/// Most credit a window may hold, in bytes. The spec names no bound; a sum above this is an
/// attack on somebody's signed arithmetic, no peer has that much memory for one stream.
pub(crate) const CREDIT_MAX: u32 = (1 << 31) - 1;

/// Owed bytes that go back at once however wide the window is: a frame for each megabyte costs nothing.
pub(crate) const DUE_MAX: u32 = 1024 * 1024;

/// A peer that does not send half a window within this time sends now and then, not all it can.
const NOW_AND_THEN: Duration = Duration::from_millis(100);

/// Bytes by which the receive windows of all sessions that share it may exceed their initial
/// size. Share one by `Arc` between all sessions of a process.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
    total: usize,
}

impl Budget {
    /// A budget of `bytes`, none of it taken.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
            total: bytes,
        }
    }

    /// Bytes that may still be taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Bytes there were at the beginning.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Takes `wanted` bytes or what is left, and says how many.
    fn take(&self, wanted: usize) -> usize {
        // Relaxed: the number guards no other memory.
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(wanted))
            })
            .unwrap_or_else(|left| left);
        before.min(wanted)
    }

    fn give_back(&self, bytes: usize) {
        let before = self.left.fetch_add(bytes, Ordering::Relaxed);
        debug_assert!(
            before.saturating_add(bytes) <= self.total,
            "more given back than was taken"
        );
    }
}

/// What one session has taken from the shared budget, under its own bound. Gives all back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Allotment {
    budget: Arc<Budget>,
    taken: usize,
    limit: usize,
}

impl Allotment {
    pub(crate) const fn new(budget: Arc<Budget>, limit: usize) -> Self {
        Self {
            budget,
            taken: 0,
            limit,
        }
    }

    #[cfg(test)]
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    fn take(&mut self, wanted: u32) -> u32 {
        let room = u32::try_from(self.limit - self.taken).unwrap_or(u32::MAX);
        let wanted = wanted.min(room);
        let got = self.budget.take(crate::frame::size(wanted));
        self.taken += got;
        debug_assert!(self.taken <= self.limit, "the session's bound holds");
        crate::frame::length(got)
    }

    fn give_back(&mut self, bytes: u32) {
        let bytes = crate::frame::size(bytes);
        debug_assert!(bytes <= self.taken, "a window gives back what it took");
        self.taken -= bytes;
        self.budget.give_back(bytes);
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

/// A data frame is longer than the credit the peer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// The peer's direction of one stream.
///
/// At every moment `size = available + unread + owed`: of the window, what the peer may still
/// send, what has come and was not consumed, and what was consumed and not yet granted again.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    size: u32,
    available: u32,
    unread: u32,
    /// When the peer began to spend what it now holds.
    since: Option<Duration>,
    /// When the window last grew: what that brings is seen a round trip later.
    grown_at: Option<Duration>,
    /// Credit went back at least once: half a window has come and gone.
    granted: bool,
}

impl ReceiveWindow {
    pub(crate) const fn new() -> Self {
        Self {
            size: INITIAL_CREDIT,
            available: INITIAL_CREDIT,
            unread: 0,
            since: None,
            grown_at: None,
            granted: false,
        }
    }

    /// Credit the peer may still spend, in bytes.
    pub(crate) const fn available(&self) -> u32 {
        self.available
    }

    /// Bytes received and not yet consumed.
    pub(crate) const fn unread(&self) -> u32 {
        self.unread
    }

    const fn owed(&self) -> u32 {
        self.size - self.available - self.unread
    }

    /// Whether a frame of `bytes` is within the credit; spends nothing yet.
    ///
    /// # Errors
    /// [`Overrun`] when it is not; the caller resets that stream only.
    pub(crate) const fn admit(&self, bytes: u32) -> Result<(), Overrun> {
        if bytes > self.available {
            Err(Overrun)
        } else {
            Ok(())
        }
    }

    /// Spends `bytes` of an admitted frame as they arrive.
    pub(crate) fn spend(&mut self, bytes: u32, now: Duration) {
        debug_assert!(bytes <= self.available, "the frame was admitted");
        let bytes = bytes.min(self.available);
        self.available -= bytes;
        self.unread += bytes;
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// The reader has taken up to `bytes`; says how many of them were there.
    pub(crate) fn consume(&mut self, bytes: usize) -> u32 {
        let taken = crate::frame::length(bytes).min(self.unread);
        self.unread -= taken;
        taken
    }

    /// True when giving credit back is worth a frame: half of the window is owed, or [`DUE_MAX`]. A wide
    /// window that came back by halves would be half empty on the path.
    pub(crate) const fn is_due(&self) -> bool {
        let half = self.size / 2;
        self.owed() >= if half < DUE_MAX { half } else { DUE_MAX }
    }

    /// True when the window limits the peer, or nearly so: what is owed went so fast that the whole
    /// window would go within 2.5 round trips.
    ///
    /// A peer that spends all it has and waits spends a window in one round trip and a little more,
    /// and what it spent may come back in one grant or in two; 2.5 sees it either way. Once a round trip.
    pub(crate) fn is_tight(&self, now: Duration, rtt: Duration) -> bool {
        let settled = self
            .grown_at
            .is_none_or(|grown_at| now.saturating_sub(grown_at) >= rtt);
        settled
            && self.since.is_some_and(|since| {
                let took = now.saturating_sub(since).as_nanos();
                2 * took * u128::from(self.size) < 5 * rtt.as_nanos() * u128::from(self.owed())
            })
    }

    /// True when the window is wider than its path is worth: what is owed went so slowly that the
    /// whole would last more than five round trips. Twice as slow as [`Self::is_tight`], so that no
    /// window goes to and fro.
    pub(crate) fn is_loose(&self, now: Duration, rtt: Duration) -> bool {
        self.since.is_some_and(|since| {
            let took = now.saturating_sub(since).as_nanos();
            took * u128::from(self.size) > 5 * rtt.as_nanos() * u128::from(self.owed())
        })
    }

    /// True when what has come is little for the time it took: something now and then, for which
    /// somebody may be waiting, and no bulk. Bulk that paused looks like it for its next half window.
    pub(crate) fn is_conversation(&self, now: Duration) -> bool {
        self.size - self.available < self.size / 2
            && self
                .since
                .is_some_and(|since| now.saturating_sub(since) >= NOW_AND_THEN)
    }

    /// True as long as no credit had to go back.
    pub(crate) const fn is_short(&self) -> bool {
        !self.granted
    }

    /// Doubles the window as far as `max` and the allotment allow; says by how much it grew.
    pub(crate) fn grow(&mut self, allotment: &mut Allotment, max: u32, now: Duration) -> u32 {
        self.grown_at = Some(now);
        let wanted = self.size.min(max.saturating_sub(self.size));
        let got = allotment.take(wanted);
        self.size += got;
        got
    }

    /// Halves the window as far as it is owed and had grown; says by how much it shrank. What the
    /// peer holds stays its own.
    pub(crate) fn narrow(&mut self, allotment: &mut Allotment, now: Duration) -> u32 {
        let bytes = self
            .owed()
            .min(self.size / 2)
            .min(self.size - INITIAL_CREDIT);
        self.size -= bytes;
        self.since = Some(now);
        allotment.give_back(bytes);
        bytes
    }

    /// Grants what is owed and says how much that is; it must travel in a window update now.
    pub(crate) fn grant(&mut self, now: Duration) -> u32 {
        let delta = self.owed();
        self.available += delta;
        self.since = Some(now);
        self.granted = true;
        delta
    }

    /// Ends the window: its growth goes back to the allotment.
    pub(crate) fn close(&mut self, allotment: &mut Allotment) {
        allotment.give_back(self.size - INITIAL_CREDIT);
        *self = Self::new();
    }

    /// Bytes above the initial size, taken from the budgets.
    #[cfg(test)]
    pub(crate) const fn grown(&self) -> u32 {
        self.size - INITIAL_CREDIT
    }
}

/// Our direction of one stream: what the peer has granted and we have not queued.
#[derive(Debug)]
pub(crate) struct SendWindow {
    credit: u32,
}

impl SendWindow {
    pub(crate) const fn new() -> Self {
        Self {
            credit: INITIAL_CREDIT,
        }
    }

    pub(crate) const fn credit(&self) -> u32 {
        self.credit
    }

    /// Sets `bytes` aside for a frame that is being queued. The caller has asked `credit`.
    pub(crate) fn reserve(&mut self, bytes: u32) {
        assert!(bytes <= self.credit, "only sendable bytes are queued");
        self.credit -= bytes;
    }

    /// Adds what the peer grants.
    ///
    /// # Errors
    /// The credit we held, when the sum is above [`CREDIT_MAX`]; nothing is added.
    pub(crate) const fn raise(&mut self, delta: u32) -> Result<(), u32> {
        match self.credit.checked_add(delta) {
            Some(sum) if sum <= CREDIT_MAX => {
                self.credit = sum;
                Ok(())
            }
            Some(_) | None => Err(self.credit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::size;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn allotment(budget: usize, limit: usize) -> (Arc<Budget>, Allotment) {
        let budget = Arc::new(Budget::new(budget));
        (Arc::clone(&budget), Allotment::new(budget, limit))
    }

    #[test]
    fn the_last_granted_byte_is_admitted() {
        assert_eq!(ReceiveWindow::new().admit(INITIAL_CREDIT), Ok(()));
    }

    #[test]
    fn m02_one_byte_above_the_grant_is_an_overrun() {
        assert_eq!(ReceiveWindow::new().admit(INITIAL_CREDIT + 1), Err(Overrun));
    }

    #[test]
    fn credit_is_returned_when_half_a_window_is_owed_and_not_a_byte_before() {
        let mut window = ReceiveWindow::new();
        window.spend(INITIAL_CREDIT, MS);
        assert_eq!(
            window.consume(size(INITIAL_CREDIT / 2 - 1)),
            INITIAL_CREDIT / 2 - 1
        );
        assert!(!window.is_due());
        assert_eq!(window.consume(1), 1);
        assert!(window.is_due());
        assert_eq!(window.grant(MS), INITIAL_CREDIT / 2);
        assert_eq!(window.available(), INITIAL_CREDIT / 2);
    }

    #[test]
    fn more_than_was_received_cannot_be_consumed() {
        let mut window = ReceiveWindow::new();
        window.spend(10, MS);
        assert_eq!(window.consume(11), 10);
        assert_eq!(window.consume(usize::MAX), 0);
    }

    #[test]
    fn a_window_doubles_within_both_budgets_and_gives_back_what_it_took() {
        let (budget, mut allotment) = allotment(1 << 20, 600 << 10);
        let mut window = ReceiveWindow::new();
        assert_eq!(window.grow(&mut allotment, 16 << 20, MS), 256 << 10);
        assert_eq!(
            window.grow(&mut allotment, 16 << 20, MS),
            344 << 10,
            "the session's 600 KiB are spent"
        );
        assert_eq!(window.grow(&mut allotment, 16 << 20, MS), 0);
        assert_eq!(budget.left(), (1 << 20) - (600 << 10));
        window.close(&mut allotment);
        assert_eq!(budget.left(), budget.total());
    }

    #[test]
    fn a_window_does_not_grow_above_its_own_bound() {
        let (_budget, mut allotment) = allotment(1 << 30, 1 << 30);
        let mut window = ReceiveWindow::new();
        assert_eq!(window.grow(&mut allotment, INITIAL_CREDIT + 5, MS), 5);
        assert_eq!(window.grow(&mut allotment, INITIAL_CREDIT + 5, MS), 0);
    }

    #[test]
    fn a_dropped_session_gives_its_allotment_back() {
        let (budget, mut allotment) = allotment(1 << 20, 1 << 20);
        let mut window = ReceiveWindow::new();
        assert_eq!(window.grow(&mut allotment, CREDIT_MAX, MS), INITIAL_CREDIT);
        drop(allotment);
        assert_eq!(budget.left(), 1 << 20);
    }

    #[test]
    fn a_window_that_grew_is_looked_at_again_a_round_trip_later() {
        let (_budget, mut allotment) = allotment(1 << 30, 1 << 30);
        let mut window = ReceiveWindow::new();
        window.spend(INITIAL_CREDIT, 100 * MS);
        window.consume(usize::MAX);
        assert!(window.is_tight(100 * MS, 50 * MS));
        window.grow(&mut allotment, 16 << 20, 100 * MS);
        assert!(!window.is_tight(149 * MS, 50 * MS));
        assert!(window.is_tight(150 * MS, 50 * MS));
    }

    #[test]
    fn credit_is_due_at_half_a_window_or_at_a_megabyte() {
        let (_budget, mut allotment) = allotment(1 << 30, 1 << 30);
        for (size, due) in [(1 << 18, 1 << 17), (1 << 21, DUE_MAX), (1 << 24, DUE_MAX)] {
            let mut window = ReceiveWindow::new();
            while window.size < size {
                window.grow(&mut allotment, size, MS);
            }
            window.grant(MS);
            window.spend(due, MS);
            window.consume(crate::frame::size(due) - 1);
            assert!(!window.is_due(), "{size}");
            window.consume(1);
            assert!(window.is_due(), "{size}");
        }
    }

    #[test]
    fn a_window_is_tight_when_all_of_it_would_go_within_two_and_a_half_round_trips() {
        for (part, last_tight) in [(2, 124), (1, 249)] {
            let mut window = ReceiveWindow::new();
            let rtt = 100 * MS;
            assert!(!window.is_tight(100 * MS, rtt), "nothing was sent yet");
            window.spend(INITIAL_CREDIT / part, 100 * MS);
            assert!(!window.is_tight(100 * MS, rtt), "nothing is owed yet");
            window.consume(usize::MAX);
            assert!(window.is_tight((100 + last_tight) * MS, rtt));
            assert!(!window.is_tight((101 + last_tight) * MS, rtt));
        }
    }

    #[test]
    fn a_window_is_loose_when_all_of_it_would_last_more_than_five_round_trips() {
        for (part, last_fit) in [(2, 250), (1, 500)] {
            let mut window = ReceiveWindow::new();
            let rtt = 100 * MS;
            assert!(!window.is_loose(100 * MS, rtt), "nothing was sent yet");
            window.spend(INITIAL_CREDIT / part, 100 * MS);
            window.consume(usize::MAX);
            assert!(!window.is_loose((100 + last_fit) * MS, rtt));
            assert!(window.is_loose((101 + last_fit) * MS, rtt));
        }
    }

    #[test]
    fn a_window_is_halved_as_far_as_it_is_owed_and_had_grown() {
        let (budget, mut allotment) = allotment(1 << 30, 1 << 30);
        let mut window = ReceiveWindow::new();
        window.grow(&mut allotment, 3 * INITIAL_CREDIT, MS);
        window.grow(&mut allotment, 3 * INITIAL_CREDIT, MS);
        window.grant(MS);
        assert_eq!(window.narrow(&mut allotment, MS), 0, "nothing is owed");
        window.spend(1000, MS);
        window.consume(usize::MAX);
        assert_eq!(window.narrow(&mut allotment, MS), 1000);
        assert_eq!(window.grant(MS), 0, "the peer gets no credit for it");
        window.spend(window.available(), MS);
        window.consume(usize::MAX);
        let half = (3 * INITIAL_CREDIT - 1000) / 2;
        assert_eq!(window.narrow(&mut allotment, MS), half);
        assert_eq!(
            window.narrow(&mut allotment, MS),
            3 * INITIAL_CREDIT - 1000 - half - INITIAL_CREDIT
        );
        assert_eq!(window.narrow(&mut allotment, MS), 0);
        assert_eq!(window.grant(MS), INITIAL_CREDIT);
        assert_eq!(budget.left(), budget.total());
    }

    #[test]
    fn who_sends_less_than_half_a_window_in_a_tenth_of_a_second_converses() {
        let mut window = ReceiveWindow::new();
        assert!(!window.is_conversation(1000 * MS), "nothing came");
        window.spend(INITIAL_CREDIT / 2 - 1, 100 * MS);
        assert!(!window.is_conversation(199 * MS));
        assert!(window.is_conversation(200 * MS));
        window.spend(1, 200 * MS);
        assert!(!window.is_conversation(200 * MS));
    }

    #[test]
    fn a_stream_is_short_until_credit_had_to_go_back() {
        let mut window = ReceiveWindow::new();
        window.spend(INITIAL_CREDIT / 2, MS);
        window.consume(usize::MAX);
        assert!(window.is_short());
        window.grant(MS);
        assert!(!window.is_short());
    }

    #[test]
    fn m01_credit_up_to_the_maximum_is_taken() {
        let mut window = SendWindow::new();
        assert_eq!(window.raise(CREDIT_MAX - INITIAL_CREDIT), Ok(()));
        assert_eq!(window.credit(), CREDIT_MAX);
        assert_eq!(window.raise(0), Ok(()));
    }

    #[test]
    fn m01_credit_above_the_maximum_is_refused_and_changes_nothing() {
        let mut window = SendWindow::new();
        assert_eq!(
            window.raise(CREDIT_MAX - INITIAL_CREDIT + 1),
            Err(INITIAL_CREDIT)
        );
        assert_eq!(window.raise(u32::MAX), Err(INITIAL_CREDIT));
        assert_eq!(window.raise(CREDIT_MAX - INITIAL_CREDIT), Ok(()));
        for _ in 0..1000 {
            assert_eq!(window.raise(1), Err(CREDIT_MAX));
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Receive(u32),
        Consume(usize),
        Grow,
        Narrow,
        Grant,
        Close,
    }

    fn acts() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..INITIAL_CREDIT * 2).prop_map(Act::Receive),
            (0..size(INITIAL_CREDIT) * 2).prop_map(Act::Consume),
            Just(Act::Grow),
            Just(Act::Narrow),
            Just(Act::Grant),
            (0..20u8).prop_map(|n| if n == 0 { Act::Close } else { Act::Grant }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// What was granted is what was received plus what is outstanding, whatever happens.
        #[test]
        fn m10_one_windows_credit_is_conserved(acts in prop::collection::vec(acts(), 0..80)) {
            let (budget, mut allotment) = allotment(8 << 20, 4 << 20);
            let mut window = ReceiveWindow::new();
            let (mut granted, mut received, mut consumed) = (u64::from(INITIAL_CREDIT), 0u64, 0u64);
            for act in acts {
                match act {
                    Act::Receive(bytes) => {
                        let fits = u64::from(bytes) <= granted - received;
                        prop_assert_eq!(window.admit(bytes).is_ok(), fits);
                        if fits {
                            window.spend(bytes, MS);
                            received += u64::from(bytes);
                        }
                    }
                    Act::Consume(bytes) => consumed += u64::from(window.consume(bytes)),
                    Act::Grow => {
                        window.grow(&mut allotment, 2 << 20, MS);
                    }
                    Act::Narrow => {
                        window.narrow(&mut allotment, MS);
                    }
                    Act::Grant => granted += u64::from(window.grant(MS)),
                    Act::Close => {
                        window.close(&mut allotment);
                        (granted, received, consumed) = (u64::from(INITIAL_CREDIT), 0, 0);
                    }
                }
                prop_assert!(consumed <= received);
                prop_assert_eq!(granted - received, u64::from(window.available()));
                prop_assert_eq!(received - consumed, u64::from(window.unread()));
                prop_assert_eq!(allotment.taken(), size(window.grown()));
                prop_assert_eq!(budget.left(), budget.total() - allotment.taken());
            }
        }
    }
}
