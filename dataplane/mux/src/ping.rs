//! Pings in both directions: is the peer alive, and how far away is it.
//!
//! Keeps what was sent and when; the frames and the end of a silent session are left to `session`.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::limits::PONGS_MAX;

/// Round trips remembered for whoever asks how far away the peer is; the shortest of them is told,
/// because one ping stood in a queue. A longer path is seen within a minute.
const SAMPLES: usize = 4;

/// Age at which a measured round trip is worth a new ping, when somebody wants to know.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// For how long the shortest round trip counts that windows are made for, at least; at most twice as
/// long. Long, because under bulk every ping stands in its queue, and a window made for the queue makes it
/// longer; a path that became longer is noticed within it.
const SPAN: Duration = Duration::from_secs(120);

/// Nothing was heard for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silent;

#[derive(Debug)]
pub(crate) struct Pinger {
    ping_after: Duration,
    dead_after: Duration,
    /// When the peer was last heard; `None` until the first call that knows the time.
    heard_at: Option<Duration>,
    /// When the silence since then was answered with a ping.
    probed_at: Option<Duration>,
    /// A ping is to be written.
    due: bool,
    /// The first ping was asked for: a round trip measured before any payload stands in the way
    /// keeps windows honest later.
    begun: bool,
    next_id: u32,
    in_flight: Option<(u32, Duration)>,
    /// Answers to be written, oldest first.
    pongs: VecDeque<u32>,
    samples: [Option<Duration>; SAMPLES],
    next_sample: usize,
    measured_at: Option<Duration>,
    /// The shortest round trip of this span, and of the one before.
    shortest: [Option<Duration>; 2],
    span_began: Duration,
}

impl Pinger {
    pub(crate) const fn new(ping_after: Duration, dead_after: Duration) -> Self {
        Self {
            ping_after,
            dead_after,
            heard_at: None,
            probed_at: None,
            due: false,
            begun: false,
            next_id: 0,
            in_flight: None,
            pongs: VecDeque::new(),
            samples: [None; SAMPLES],
            next_sample: 0,
            measured_at: None,
            shortest: [None; 2],
            span_began: Duration::ZERO,
        }
    }

    /// Bytes came from the peer.
    pub(crate) const fn heard(&mut self, now: Duration) {
        self.heard_at = Some(now);
        self.probed_at = None;
    }

    /// When [`Self::on_deadline`] wants to be called; at once, as long as the time is not known.
    pub(crate) fn deadline(&self) -> Duration {
        self.heard_at.map_or(Duration::ZERO, |heard_at| {
            self.probed_at
                .map_or(heard_at + self.ping_after, |probed_at| {
                    self.death(heard_at, probed_at)
                })
        })
    }

    /// When the peer counts as dead. It has always had a ping and the time to answer it, even if
    /// this machine slept through the silence.
    fn death(&self, heard_at: Duration, probed_at: Duration) -> Duration {
        (heard_at + self.dead_after).max(probed_at + (self.dead_after - self.ping_after))
    }

    /// # Errors
    /// [`Silent`] when the peer is dead.
    pub(crate) fn on_deadline(&mut self, now: Duration) -> Result<(), Silent> {
        let heard_at = *self.heard_at.get_or_insert(now);
        if !self.begun {
            self.begun = true;
            self.refresh(now);
        }
        match self.probed_at {
            Some(probed_at) if now >= self.death(heard_at, probed_at) => return Err(Silent),
            Some(_) => {}
            None if now >= heard_at + self.ping_after => {
                self.probed_at = Some(now);
                self.due = true;
            }
            None => {}
        }
        Ok(())
    }

    /// Asks for a ping, unless one is on its way.
    pub(crate) fn ping(&mut self, now: Duration) {
        let waiting = self
            .in_flight
            .is_some_and(|(_, sent_at)| now.saturating_sub(sent_at) < self.dead_after);
        self.due |= !waiting;
    }

    /// Asks for a ping if the round trip is unknown or was measured long ago.
    pub(crate) fn refresh(&mut self, now: Duration) {
        let fresh = self
            .measured_at
            .is_some_and(|at| now.saturating_sub(at) < FRESH_FOR);
        if !fresh {
            self.ping(now);
        }
    }

    pub(crate) const fn is_due(&self) -> bool {
        self.due
    }

    /// The id of the ping that is written now, if one is due.
    pub(crate) fn take_ping(&mut self, now: Duration) -> Option<u32> {
        if !self.due {
            return None;
        }
        self.due = false;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.in_flight = Some((id, now));
        Some(id)
    }

    /// The peer's answer; false when nothing was asked.
    pub(crate) fn on_pong(&mut self, id: u32, now: Duration) -> bool {
        match self.in_flight {
            Some((sent, sent_at)) if sent == id => {
                self.in_flight = None;
                self.measured_at = Some(now);
                let rtt = now.saturating_sub(sent_at);
                if now.saturating_sub(self.span_began) >= SPAN {
                    self.span_began = now;
                    self.shortest = [None, self.shortest[0]];
                }
                self.shortest[0] = Some(self.shortest[0].map_or(rtt, |shortest| shortest.min(rtt)));
                self.samples[self.next_sample] = Some(rtt);
                self.next_sample = (self.next_sample + 1) % SAMPLES;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The shortest of the last round trips.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.samples.iter().flatten().min().copied()
    }

    /// The shortest round trip of the last two to four minutes: the path, without what stands in it.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        self.shortest.iter().flatten().min().copied()
    }

    /// Takes in a ping of the peer; false when too many answers wait and it is not answered.
    pub(crate) fn on_ping(&mut self, id: u32) -> bool {
        if self.pongs.len() >= PONGS_MAX {
            return false;
        }
        self.pongs.push_back(id);
        true
    }

    pub(crate) fn take_pong(&mut self) -> Option<u32> {
        self.pongs.pop_front()
    }

    pub(crate) fn owes_pongs(&self) -> bool {
        !self.pongs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A pinger that has begun, and whose first ping is not under test.
    fn pinger() -> Pinger {
        let mut pinger = Pinger::new(s(4), s(9));
        pinger.begun = true;
        pinger
    }

    #[test]
    fn the_round_trip_is_measured_at_the_beginning() {
        let mut pinger = Pinger::new(s(4), s(9));
        assert_eq!(pinger.on_deadline(s(50)), Ok(()));
        assert_eq!(pinger.take_ping(s(50)), Some(0));
        assert_eq!(pinger.on_deadline(s(51)), Ok(()));
        assert_eq!(pinger.take_ping(s(51)), None);
    }

    #[test]
    fn silence_is_answered_with_a_ping_after_four_seconds_and_death_after_nine() {
        let mut pinger = pinger();
        pinger.heard(s(100));
        assert_eq!(pinger.deadline(), s(104));
        assert_eq!(pinger.on_deadline(s(104) - Duration::from_nanos(1)), Ok(()));
        assert_eq!(pinger.take_ping(s(103)), None);
        assert_eq!(pinger.on_deadline(s(104)), Ok(()));
        assert_eq!(pinger.take_ping(s(104)), Some(0));
        assert_eq!(pinger.deadline(), s(109));
        assert_eq!(pinger.on_deadline(s(109) - Duration::from_nanos(1)), Ok(()));
        assert_eq!(pinger.on_deadline(s(109)), Err(Silent));
    }

    #[test]
    fn any_byte_ends_the_silence() {
        let mut pinger = pinger();
        pinger.heard(s(100));
        assert_eq!(pinger.on_deadline(s(104)), Ok(()));
        pinger.heard(s(108));
        assert_eq!(pinger.on_deadline(s(109)), Ok(()));
        assert_eq!(pinger.deadline(), s(112));
    }

    #[test]
    fn a_machine_that_slept_asks_before_it_declares_death() {
        let mut pinger = pinger();
        pinger.heard(s(100));
        assert_eq!(pinger.on_deadline(s(3600)), Ok(()));
        assert_eq!(pinger.take_ping(s(3600)), Some(0));
        assert_eq!(pinger.deadline(), s(3605));
        assert_eq!(pinger.on_deadline(s(3605)), Err(Silent));
    }

    #[test]
    fn the_clock_starts_with_the_first_call_that_knows_the_time() {
        let mut pinger = pinger();
        assert_eq!(pinger.deadline(), Duration::ZERO);
        assert_eq!(pinger.on_deadline(s(50)), Ok(()));
        assert_eq!(pinger.deadline(), s(54));
    }

    #[test]
    fn one_ping_is_on_its_way_at_a_time() {
        let mut pinger = pinger();
        pinger.ping(s(1));
        assert_eq!(pinger.take_ping(s(1)), Some(0));
        pinger.ping(s(2));
        assert!(!pinger.is_due());
        assert!(pinger.on_pong(0, s(3)));
        pinger.ping(s(3));
        assert!(pinger.is_due());
    }

    #[test]
    fn the_shortest_of_the_last_four_round_trips_counts() {
        let mut pinger = pinger();
        assert_eq!(pinger.rtt(), None);
        for (seconds, shortest) in [(3, 3), (1, 1), (5, 1), (6, 1), (7, 1), (8, 5)] {
            pinger.ping(s(1000));
            let id = pinger.take_ping(s(1000)).unwrap();
            assert!(!pinger.on_pong(id.wrapping_add(1), s(1000)), "another id");
            assert!(pinger.on_pong(id, s(1000 + seconds)));
            assert!(!pinger.on_pong(id, s(1000 + seconds)), "answered twice");
            assert_eq!(pinger.rtt(), Some(s(shortest)));
        }
    }

    #[test]
    fn the_path_is_the_shortest_round_trip_of_this_span_and_of_the_one_before() {
        let mut pinger = pinger();
        assert_eq!(pinger.shortest(), None);
        let mut measure = |at, took| {
            pinger.ping(at);
            let id = pinger.take_ping(at).unwrap();
            assert!(pinger.on_pong(id, at + took));
            pinger.shortest()
        };
        assert_eq!(measure(s(1000), s(2)), Some(s(2)));
        assert_eq!(measure(s(1010), s(5)), Some(s(2)));
        assert_eq!(measure(s(1116), s(5)), Some(s(2)), "119 s after it");
        assert_eq!(measure(s(1117), s(5)), Some(s(2)), "a span later");
        assert_eq!(measure(s(1236), s(5)), Some(s(2)));
        assert_eq!(measure(s(1237), s(5)), Some(s(5)), "two spans later");
        assert_eq!(measure(s(1240), s(1)), Some(s(1)));
    }

    #[test]
    fn a_round_trip_is_measured_again_when_it_is_ten_seconds_old() {
        let mut pinger = pinger();
        pinger.refresh(s(1));
        let id = pinger.take_ping(s(1)).unwrap();
        assert!(pinger.on_pong(id, s(1)));
        pinger.refresh(s(11) - Duration::from_nanos(1));
        assert!(!pinger.is_due());
        pinger.refresh(s(11));
        assert!(pinger.is_due());
    }

    #[test]
    fn m05_sixteen_answers_may_wait_and_the_seventeenth_is_not_given() {
        let mut pinger = pinger();
        for id in 0..16 {
            assert!(pinger.on_ping(id));
        }
        assert!(!pinger.on_ping(16));
        assert_eq!(pinger.take_pong(), Some(0));
        assert!(pinger.on_ping(17));
    }
}
