//! The session: all streams of one pipe as one value.
//!
//! This file holds the value, the commands and the questions; what arrives is in
//! `session::receive`, what leaves in `session::transmit`, what all of them need in
//! `session::upkeep`. Credit is counted by `window`, states by `stream`, turns by `schedule`.

mod receive;
mod transmit;
mod upkeep;

use alloc::collections::VecDeque;
use core::fmt;
use core::ops::Range;
use core::time::Duration;

use crate::error::{Error, OpenError, SendError};
use crate::flood::Allowance;
use crate::frame::{GoAwayCode, Payload, Side, StreamId, length, size};
use crate::ids::UsedIds;
use crate::limits::{IDS_SOFT_MAX, MAX_FRAME_PAYLOAD, Settings};
use crate::ping::Pinger;
use crate::schedule::{List, Schedule};
use crate::slots::Slots;
use crate::stats::Stats;
use crate::stream::{Happening, State};
use crate::window::Allotment;

use receive::Reading;

/// What the caller learns, in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller that ignores one of these loses bytes or leaks a stream"
)]
pub enum Event {
    /// The peer opened a stream. The caller touches it by [`Session::accept`], `consumed`, `send`
    /// or `finish`, or refuses it by `reset`.
    Opened(StreamId),
    /// Payload, as a range of the input of this call. It stays counted as unread until
    /// [`Session::consumed`].
    Data {
        /// The stream.
        stream: StreamId,
        /// Where in the input.
        range: Range<usize>,
    },
    /// The peer sends no more on this stream; all its data came before this.
    Finished(StreamId),
    /// The stream is gone: the peer reset it, or it broke a limit and we did. Unread bytes no
    /// longer count and need no [`Session::consumed`].
    ///
    /// For a stream of ours without [`Event::Acknowledged`] before it, the peer's caller never
    /// touched the stream, so whatever it asked for may be asked again elsewhere. This holds for
    /// peers that are this mux; others may not say ACK with RST.
    Reset(StreamId),
    /// There is more room to send than the caller was last told by [`Session::sendable`].
    Writable(StreamId),
    /// The peer took a stream we opened.
    Acknowledged(StreamId),
    /// The peer takes no new streams; those in flight go on if the code is `Normal`.
    WentAway(GoAwayCode),
}

/// All streams over one ordered pipe, in both directions.
///
/// A driver calls, in any order and as often as it likes:
/// 1. [`receive`](Self::receive) with what was read, until it has taken all and has no event;
/// 2. commands, as events and its own users demand;
/// 3. [`next_frame`](Self::next_frame) as long as it has room to write, then
///    [`poll_event`](Self::poll_event) until it is empty, because writing makes room;
/// 4. [`on_deadline`](Self::on_deadline) when [`next_deadline`](Self::next_deadline) has come.
///
/// A stream is forgotten by itself when both directions have ended, its queue has left and its
/// bytes were consumed, or when it was reset. Commands on streams that are not there do nothing.
pub struct Session<P: Payload> {
    side: Side,
    settings: Settings,
    streams: Slots<P>,
    schedule: Schedule,
    /// Streams with a window update or an acknowledgement to write now.
    updates: List,
    /// Streams whose acknowledgement waits for a frame to ride on, longest waiting first.
    acks: List,
    /// Resets to write; their streams are gone.
    resets: VecDeque<Reset>,
    /// A go-away to write.
    away_due: Option<GoAwayCode>,
    we_went: Option<GoAwayCode>,
    peer_went: Option<GoAwayCode>,
    pinger: Pinger,
    /// When something last came on a stream that is no bulk: somebody may be waiting for it.
    conversed_at: Option<Duration>,
    reading: Reading,
    events: VecDeque<Event>,
    peer_ids: UsedIds,
    /// The id of the next stream we open.
    next_id: u32,
    /// Streams of ours the peer has not acknowledged.
    unacked: usize,
    /// Streams of the peer the caller has not touched.
    untouched: usize,
    /// Unread bytes of all streams.
    buffered: usize,
    /// Queued payload bytes of all streams.
    queued: usize,
    /// Streams with a frame to hand out.
    ready: usize,
    /// Credit that was outstanding on streams that ended before the peer could know: data that
    /// comes for them is nobody's fault up to this many bytes.
    late_credit: u64,
    allotment: Allotment,
    glitches: Allowance,
    churn: Allowance,
    failed: Option<Error>,
    stats: Stats,
}

/// A reset that waits to be written.
#[derive(Clone, Copy, Debug)]
struct Reset {
    id: StreamId,
    /// The caller had touched the stream and the peer does not know: the ACK rides along.
    ack: bool,
}

// ---- commands

impl<P: Payload> Session<P> {
    /// A session at one end of a pipe that has carried nothing yet.
    ///
    /// # Panics
    /// When [`Settings::check`] finds a fault; settings that come from people are checked first.
    #[must_use]
    pub fn new(side: Side, mut settings: Settings) -> Self {
        let checked = settings.check();
        assert!(checked.is_ok(), "settings of a session: {checked:?}");
        settings.resets_max = settings.resets_max.max(settings.streams_max);
        settings.churn_max = settings.churn_max.max(length(settings.streams_max * 2));
        Self {
            side,
            streams: Slots::new(),
            schedule: Schedule::new(),
            updates: List::new(),
            acks: List::new(),
            resets: VecDeque::new(),
            away_due: None,
            we_went: None,
            peer_went: None,
            pinger: Pinger::new(settings.ping_after, settings.dead_after),
            conversed_at: None,
            reading: Reading::start(),
            events: VecDeque::new(),
            peer_ids: UsedIds::new(),
            next_id: side.first_id(),
            unacked: 0,
            untouched: 0,
            buffered: 0,
            queued: 0,
            ready: 0,
            late_credit: 0,
            allotment: Allotment::new(settings.budget.clone(), settings.session_window_bytes),
            glitches: Allowance::new(settings.glitches_max, settings.glitches_per_second),
            churn: Allowance::new(settings.churn_max, settings.churn_per_second),
            failed: None,
            stats: Stats::default(),
            settings,
        }
    }

    /// Opens a stream; the SYN travels with its first frame.
    ///
    /// # Errors
    /// See [`OpenError`]. Our own go-away does not forbid it: it asks the *peer* to open no more.
    pub fn open(&mut self, now: Duration) -> Result<StreamId, OpenError> {
        if self.failed.is_some() {
            return Err(OpenError::Failed);
        }
        if self.peer_went.is_some() {
            return Err(OpenError::PeerWentAway);
        }
        // Zero after the last id, see below.
        if self.next_id == 0 {
            return Err(OpenError::IdsExhausted);
        }
        if self.streams.len() >= self.settings.streams_max {
            return Err(OpenError::TooManyStreams);
        }
        if self.unacked >= self.settings.opens_unacked_max {
            return Err(OpenError::AckBacklog);
        }
        let id = StreamId::new(self.next_id);
        debug_assert!(self.side.owns(id), "ids keep their parity");
        self.next_id = self.next_id.checked_add(2).unwrap_or(0);
        if id.get() >= IDS_SOFT_MAX {
            self.drain();
        }
        self.streams.insert(id, true, now);
        self.unacked += 1;
        self.stats.streams_opened += 1;
        Ok(id)
    }

    /// Says that the caller wants a stream the peer opened; the peer is told with the next frame,
    /// or after `ack_delay`. `consumed`, `send` and `finish` say it too, so only a stream that
    /// stays silent on both sides needs it.
    pub fn accept(&mut self, id: StreamId, now: Duration) {
        if let Some(slot) = self.streams.find(id) {
            self.touch(slot, now);
        }
    }

    /// How many payload bytes may be queued now on `id`: what the peer has granted, within the
    /// queue limits; 0 when our direction has ended. What it says stays true until the caller's
    /// next `send` on this stream, or its end.
    ///
    /// When it says less than [`MAX_FRAME_PAYLOAD`], [`Event::Writable`] follows as soon as there
    /// is more.
    #[must_use]
    pub fn sendable(&self, id: StreamId) -> usize {
        let Some(slot) = self.streams.find(id) else {
            return 0;
        };
        let stream = &self.streams[slot];
        let room = self.room(stream);
        if room < MAX_FRAME_PAYLOAD {
            stream.waiting.set(true);
        }
        room
    }

    /// Queues one frame's payload; `fin` rides on the same frame and ends our direction. An empty
    /// payload makes no frame of its own (but its `fin` does).
    ///
    /// # Errors
    /// The payload comes back when it is longer than [`sendable`](Self::sendable) or
    /// [`MAX_FRAME_PAYLOAD`], or when our direction has ended.
    pub fn send(&mut self, id: StreamId, payload: P, fin: bool) -> Result<(), SendError<P>> {
        let bytes = payload.len();
        let Some(slot) = self.streams.find(id) else {
            return Err(SendError::Closed(payload));
        };
        if self.failed.is_some() || !self.streams[slot].state.takes_payload() {
            return Err(SendError::Closed(payload));
        }
        if bytes > MAX_FRAME_PAYLOAD {
            return Err(SendError::TooLarge(payload));
        }
        let stream = &mut self.streams[slot];
        // The session's own bound is advice, given by `sendable`; a promise once given is kept.
        let promised = size(stream.send.credit())
            .min(self.settings.send_queue_bytes.saturating_sub(stream.queued));
        if bytes > promised {
            stream.waiting.set(true);
            return Err(SendError::NoRoom(payload));
        }
        if bytes == 0 && !fin {
            return Ok(());
        }
        self.touch_for_output(slot);
        if bytes > 0 {
            let stream = &mut self.streams[slot];
            stream.send.reserve(length(bytes));
            stream.push(payload);
            stream.queued += bytes;
            self.queued += bytes;
        }
        if fin {
            self.step(slot, Happening::Finish);
        }
        self.mark_ready(slot);
        Ok(())
    }

    /// Ends our direction: the FIN leaves after what is queued, on the last frame if that is still
    /// here.
    pub fn finish(&mut self, id: StreamId) {
        let Some(slot) = self.streams.find(id) else {
            return;
        };
        if self.failed.is_some() || !self.streams[slot].state.takes_payload() {
            return;
        }
        self.touch_for_output(slot);
        self.step(slot, Happening::Finish);
        self.mark_ready(slot);
    }

    /// Ends the stream at once in both directions: what is queued is dropped, unread bytes no
    /// longer count. A stream whose SYN has not left vanishes without a frame.
    pub fn reset(&mut self, id: StreamId) {
        if let Some(slot) = self.streams.find(id) {
            self.tear_down(slot);
        }
    }

    /// The reader has taken `bytes` of payload. Returns credit to the peer when half a window is
    /// worth it, and fits the window to the bandwidth and the delay: wider where it limits the peer,
    /// narrower where it only lets bulk stand in the way of the session's other streams.
    ///
    /// More than was received counts as all that was received.
    pub fn consumed(&mut self, id: StreamId, bytes: usize, now: Duration) {
        let Some(slot) = self.streams.find(id) else {
            return;
        };
        self.touch(slot, now);
        let stream = &mut self.streams[slot];
        self.buffered -= size(stream.receive.consume(bytes));
        if stream.state == State::Closed {
            self.forget_if_over(slot);
            return;
        }
        if !stream.state.expects_data() || !stream.receive.is_due() {
            return;
        }
        self.pinger.refresh(now);
        self.fit_window(slot, now);
        self.updates.push(slot);
    }

    /// Tells the peer to open no more streams: those it opens from now on are refused, those in
    /// flight go on. Said again with another code, it is sent again.
    pub fn go_away(&mut self, code: GoAwayCode) {
        if self.failed.is_none() && self.we_went != Some(code) {
            self.we_went = Some(code);
            self.away_due = Some(code);
        }
    }

    /// Sends a ping to measure the round trip, unless one is on its way. Keepalive pings need no
    /// call.
    pub fn ping(&mut self, now: Duration) {
        self.pinger.ping(now);
    }
}

// ---- time and facts

impl<P: Payload> Session<P> {
    /// When [`on_deadline`](Self::on_deadline) wants to be called; may move with every other call.
    /// Before the session knows the time it is zero: call at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.failed.is_some() {
            return None;
        }
        let silence = self.pinger.deadline();
        let ack = self
            .acks
            .front()
            .map(|slot| self.streams[slot].touched_at + self.settings.ack_delay);
        Some(ack.map_or(silence, |ack| silence.min(ack)))
    }

    /// Does what time demands: pings a silent peer, sends acknowledgements that waited long enough.
    /// The first call asks for a ping to measure the round trip. Calling it early or late does no
    /// harm.
    ///
    /// # Errors
    /// [`Error::PeerSilent`] when the peer is dead, or the error that ended the session before.
    pub fn on_deadline(&mut self, now: Duration) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.pinger.on_deadline(now).is_err() {
            return Err(self.fail(Error::PeerSilent));
        }
        while let Some(slot) = self.acks.front()
            && self.streams[slot].touched_at + self.settings.ack_delay <= now
        {
            self.acks.remove(slot);
            self.updates.push(slot);
        }
        Ok(())
    }

    /// The next event that was caused by writing or by a limit rather than by input. The driver
    /// drains it after [`next_frame`](Self::next_frame); [`receive`](Self::receive) drains the same
    /// queue first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Streams alive, of both sides.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// True once either side said go-away, or the session failed.
    #[must_use]
    pub const fn is_going_away(&self) -> bool {
        self.we_went.is_some() || self.peer_went.is_some() || self.failed.is_some()
    }

    /// True when no stream is alive and nothing waits to be written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0 && !self.wants_write()
    }

    /// The shortest of the last measured round trips.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.pinger.rtt()
    }

    /// Bytes received and not yet consumed, all streams.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.buffered
    }

    /// Payload bytes queued and not yet handed out, all streams.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// What was counted since the beginning.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Which end we are.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }
}

impl<P: Payload> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("side", &self.side)
            .field("streams", &self.streams.len())
            .field("buffered", &self.buffered)
            .field("queued", &self.queued)
            .field("we_went", &self.we_went)
            .field("peer_went", &self.peer_went)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
