//! What several doors of a session need: the sums over all streams are kept right here.
//!
//! A stream is touched, becomes ready, ends and is forgotten in this file only, and a peer is
//! charged for floods only here.

use core::time::Duration;

use super::{Event, Reset, Session};
use crate::error::{Error, Flood};
use crate::flood::Level;
use crate::frame::{GoAwayCode, Payload, size};
use crate::limits::MAX_FRAME_PAYLOAD;
use crate::stream::{Happening, Opening, State, Step, Stream};

/// How long the session counts as shared after something came on a stream that is no bulk.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Part of a round trip over a quiet session that is no path: four programs' threads wake up for it.
/// What waits behind bulk in a shared session must not wait for a window made for that as well.
const WAKING: Duration = Duration::from_micros(100);

/// Path that windows are made for at least while nobody waits behind bulk: it costs less processor
/// time the more of it is under way.
const ALONE: Duration = Duration::from_millis(1);

impl<P: Payload> Session<P> {
    /// Payload bytes `stream` may queue, by all bounds.
    pub(super) fn room(&self, stream: &Stream<P>) -> usize {
        if self.failed.is_some() || !stream.state.takes_payload() {
            return 0;
        }
        // A full session holds each stream to one frame instead of stopping it, so that every
        // stream gets on as soon as its own queue is empty and nobody has to be woken in turn.
        let queue = if self.queued >= self.settings.session_queue_bytes {
            MAX_FRAME_PAYLOAD
        } else {
            self.settings.send_queue_bytes
        };
        size(stream.send.credit()).min(queue.saturating_sub(stream.queued))
    }

    /// Tells a waiting caller that room was made: a frame's worth, or all there will be until the
    /// peer grants more.
    pub(super) fn tell_if_writable(&mut self, slot: usize) {
        let stream = &self.streams[slot];
        if !stream.waiting.get() {
            return;
        }
        let room = self.room(stream);
        if room >= MAX_FRAME_PAYLOAD || (room > 0 && stream.queue.is_empty()) {
            stream.waiting.set(false);
            self.events.push_back(Event::Writable(stream.id));
        }
    }

    /// The caller wants this stream of the peer.
    pub(super) fn touch(&mut self, slot: usize, now: Duration) {
        if self.streams[slot].opening != Opening::Untouched {
            return;
        }
        self.untouched -= 1;
        let stream = &mut self.streams[slot];
        stream.opening = Opening::AckDue;
        stream.touched_at = now;
        self.acks.push(slot);
        if self.acks.len() > self.settings.acks_held_max {
            while let Some(slot) = self.acks.pop() {
                self.updates.push(slot);
            }
        }
    }

    /// The same, when the frame the ACK rides on is about to be queued.
    pub(super) fn touch_for_output(&mut self, slot: usize) {
        if self.streams[slot].opening == Opening::Untouched {
            self.untouched -= 1;
            self.streams[slot].opening = Opening::AckDue;
        }
    }

    /// Widens the window that limits its peer, and narrows one that holds more than its path needs
    /// while others use the session. Called when credit is due.
    pub(super) fn fit_window(&mut self, slot: usize, now: Duration) {
        let Some(shortest) = self.pinger.shortest() else {
            return;
        };
        let shared = self
            .conversed_at
            .is_some_and(|at| now.saturating_sub(at) < SHARED_FOR);
        let path = if shared {
            shortest.saturating_sub(WAKING)
        } else {
            shortest.max(ALONE)
        };
        // While the session holds much unread, wider windows would only fill the rest.
        let roomy = self.buffered <= self.settings.session_buffer_bytes / 2;
        let window = &mut self.streams[slot].receive;
        if roomy && window.is_tight(now, path) {
            let by = window.grow(&mut self.allotment, self.settings.window_max, now);
            self.stats.windows_grown += u64::from(by > 0);
        } else if shared && window.is_loose(now, path) {
            let by = window.narrow(&mut self.allotment, now);
            self.stats.windows_narrowed += u64::from(by > 0);
        }
    }

    pub(super) fn mark_ready(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        if !stream.ready && stream.has_output() {
            stream.ready = true;
            self.ready += 1;
            self.schedule.activate(slot);
        }
    }

    /// Moves the stream along its table where nothing but a change of state can follow.
    pub(super) fn step(&mut self, slot: usize, happening: Happening) {
        let stream = &mut self.streams[slot];
        match stream.state.on(happening) {
            Step::To(next) => stream.state = next,
            Step::Stay | Step::Ignore => {}
            Step::Violation | Step::Gone => {
                debug_assert!(false, "our own FIN neither breaks a rule nor ends a stream");
            }
        }
    }

    /// Resets a stream on our own account, with a frame if the peer knows of it.
    pub(super) fn tear_down(&mut self, slot: usize) {
        let stream = &self.streams[slot];
        let id = stream.id;
        let ack = stream.opening == Opening::AckDue;
        let silent = stream.opening == Opening::SynDue || stream.state == State::Closed;
        if !silent {
            if stream.state.expects_data() {
                // Until our reset arrives the peer may spend what we had granted.
                self.late_credit += u64::from(stream.receive.available());
            }
            self.push_reset(Reset { id, ack });
        }
        self.forget(slot);
    }

    pub(super) fn push_reset(&mut self, reset: Reset) {
        if self.failed.is_some() {
            return;
        }
        if self.resets.len() >= self.settings.resets_max {
            self.fail(Error::PeerNotReading {
                frames: self.resets.len(),
            });
            return;
        }
        self.resets.push_back(reset);
    }

    pub(super) fn forget_if_over(&mut self, slot: usize) {
        let stream = &self.streams[slot];
        if stream.state == State::Closed && stream.receive.unread() == 0 {
            self.forget(slot);
        }
    }

    /// Takes a stream out of every list and sum.
    pub(super) fn forget(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        match stream.opening {
            Opening::SynDue | Opening::SynSent => self.unacked -= 1,
            Opening::Untouched => self.untouched -= 1,
            Opening::AckDue | Opening::Done => {}
        }
        if stream.state == State::Closed && !stream.ours {
            self.churn.earn(1);
        }
        self.buffered -= size(stream.receive.unread());
        self.queued -= stream.queued;
        self.ready -= usize::from(stream.ready);
        stream.receive.close(&mut self.allotment);
        self.schedule.remove(slot);
        self.updates.remove(slot);
        self.acks.remove(slot);
        self.streams.remove(slot);
    }

    /// Goes away by itself, unless the caller did so before.
    pub(super) fn drain(&mut self) {
        if self.we_went.is_none() {
            self.go_away(GoAwayCode::Normal);
        }
    }

    /// Charges the peer for what has no worth.
    pub(super) fn charge_glitch(&mut self, units: u32, now: Duration) -> Result<(), Error> {
        self.stats.glitches += u64::from(units);
        let level = self.glitches.charge(units, now);
        self.heed(level, Flood::Glitches)
    }

    /// Charges the peer for a stream that was opened for nothing.
    pub(super) fn charge_churn(&mut self, now: Duration) -> Result<(), Error> {
        self.stats.churn += 1;
        let level = self.churn.charge(1, now);
        self.heed(level, Flood::Churn)
    }

    pub(super) fn heed(&mut self, level: Level, flood: Flood) -> Result<(), Error> {
        match level {
            Level::Fine => Ok(()),
            Level::High => {
                self.drain();
                Ok(())
            }
            Level::Spent => Err(Error::Flood(flood)),
        }
    }

    /// Ends the session: nothing more is read, only the go-away is still written.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        if let Some(first) = self.failed {
            return first;
        }
        self.failed = Some(error);
        self.away_due = error.go_away_code();
        self.events.clear();
        error
    }

    /// Sums everything up anew and compares: what the tests call after every step.
    #[cfg(test)]
    pub(super) fn audit(&self) {
        let mut sums = [0usize; 6];
        let mut streams = 0;
        for (slot, stream) in self.streams.iter() {
            streams += 1;
            let unread = size(stream.receive.unread());
            let queue: usize = stream.queue.iter().map(Payload::len).sum();
            assert_eq!(
                queue, stream.queued,
                "stream {} counts its queue",
                stream.id
            );
            assert_eq!(
                stream.ready,
                stream.has_output(),
                "stream {} is ready",
                stream.id
            );
            assert!(
                stream.state != State::Closed || unread > 0,
                "stream {} is over and still here",
                stream.id
            );
            assert_eq!(self.side.owns(stream.id), stream.ours);
            let unacked = matches!(stream.opening, Opening::SynDue | Opening::SynSent);
            let untouched = stream.opening == Opening::Untouched;
            assert!(!self.acks.contains(slot) || stream.opening == Opening::AckDue);
            let found = [
                unread,
                queue,
                usize::from(stream.ready),
                usize::from(unacked),
                usize::from(untouched),
                size(stream.receive.grown()),
            ];
            for (sum, part) in sums.iter_mut().zip(found) {
                *sum += part;
            }
        }
        let counted = [
            self.buffered,
            self.queued,
            self.ready,
            self.unacked,
            self.untouched,
            self.allotment.taken(),
        ];
        assert_eq!(
            sums, counted,
            "sums over streams and the session's own counts"
        );
        assert_eq!(streams, self.streams.len());
        assert!(self.buffered <= self.settings.session_buffer_bytes);
    }
}
