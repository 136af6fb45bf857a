//! What arrives at a session: headers are decoded, judged and turned into events; payload stays
//! where it is and is only counted.
//!
//! A frame is judged once, when its header is whole, so the outcome is the same however the input
//! was split.

use core::time::Duration;

use super::{Event, Reset, Session};
use crate::error::Error;
use crate::frame::{
    Flags, GoAwayCode, HEADER_BYTES, Header, Kind, Payload, StreamId, length, size,
};
use crate::ids::Past;
use crate::limits::{EARN_SHIFT, IDS_SOFT_MAX, TINY_FRAME_BYTES, cost};
use crate::stream::{Happening, Opening, Step};
use crate::window::{CREDIT_MAX, INITIAL_CREDIT};

/// Where in a frame the input stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// `have` bytes of a header are here.
    Header {
        have: usize,
        bytes: [u8; HEADER_BYTES],
    },
    /// `left` bytes of payload follow for a stream that was in `slot`.
    Payload {
        slot: usize,
        id: StreamId,
        left: u32,
        fin: bool,
    },
    /// `left` bytes of payload follow for nobody.
    Swallow { left: u32 },
}

impl Reading {
    pub(super) const fn start() -> Self {
        Self::Header {
            have: 0,
            bytes: [0; HEADER_BYTES],
        }
    }
}

impl<P: Payload> Session<P> {
    /// Reads one event from `input`: the plaintext of the pipe, in order, in any split. Returns the
    /// bytes taken and the event; the caller comes again with the rest until it gets
    /// `(input.len(), None)`. Payload is never copied: [`Event::Data`] carries a range of `input`.
    ///
    /// # Errors
    /// The peer broke the protocol and the session is over: write what
    /// [`next_frame`](Self::next_frame) still gives, and close the pipe.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: Duration,
    ) -> Result<(usize, Option<Event>), Error> {
        if !input.is_empty() {
            self.pinger.heard(now);
        }
        let mut at = 0;
        loop {
            if let Some(error) = self.failed {
                return Err(error);
            }
            if let Some(event) = self.events.pop_front() {
                return Ok((at, Some(event)));
            }
            let rest = input.get(at..).unwrap_or_default();
            match self.reading {
                Reading::Header { have, bytes } => {
                    let (taken, header) = gather(have, bytes, rest);
                    at += taken;
                    match header {
                        Ok(bytes) => {
                            self.reading = Reading::start();
                            let read = Header::decode(&bytes)
                                .and_then(|header| self.on_header(header, now));
                            if let Err(error) = read {
                                return Err(self.fail(error));
                            }
                        }
                        Err(partial) => {
                            self.reading = partial;
                            return Ok((at, None));
                        }
                    }
                }
                Reading::Payload {
                    slot,
                    id,
                    left,
                    fin,
                } => {
                    if !self.streams.holds(slot, id) {
                        // The caller reset it in the middle of this frame; the credit for the rest
                        // is among what was outstanding.
                        self.count_late(left);
                        self.reading = Reading::Swallow { left };
                        continue;
                    }
                    let taken = left.min(length(rest.len()));
                    if taken == 0 {
                        return Ok((at, None));
                    }
                    let range = at..at + size(taken);
                    at = range.end;
                    let window = &mut self.streams[slot].receive;
                    window.spend(taken, now);
                    if window.is_conversation(now) {
                        self.conversed_at = Some(now);
                    }
                    self.buffered += size(taken);
                    self.stats.bytes_received += u64::from(taken);
                    if taken < left {
                        self.reading = Reading::Payload {
                            slot,
                            id,
                            left: left - taken,
                            fin,
                        };
                    } else {
                        self.reading = Reading::start();
                        if fin && let Err(error) = self.on_fin(slot, now) {
                            return Err(self.fail(error));
                        }
                    }
                    return Ok((at, Some(Event::Data { stream: id, range })));
                }
                Reading::Swallow { left } => {
                    let taken = left.min(length(rest.len()));
                    at += size(taken);
                    if taken < left {
                        self.reading = Reading::Swallow { left: left - taken };
                        return Ok((at, None));
                    }
                    self.reading = Reading::start();
                }
            }
        }
    }

    /// Judges a whole header.
    fn on_header(&mut self, header: Header, now: Duration) -> Result<(), Error> {
        self.stats.frames_received += 1;
        match header.kind {
            Kind::Data | Kind::WindowUpdate => self.on_stream_frame(header, now),
            Kind::Ping => self.on_ping(header, now),
            Kind::GoAway => self.on_go_away(header, now),
        }
    }

    fn on_ping(&mut self, header: Header, now: Duration) -> Result<(), Error> {
        if header.flags.has(Flags::ACK) {
            return if self.pinger.on_pong(header.length, now) {
                Ok(())
            } else {
                self.charge_glitch(cost::ODD, now)
            };
        }
        self.stats.pings_received += 1;
        if !self.pinger.on_ping(header.length) {
            self.stats.pings_dropped += 1;
        }
        self.charge_glitch(cost::PING, now)
    }

    fn on_go_away(&mut self, header: Header, now: Duration) -> Result<(), Error> {
        let code = GoAwayCode::from_wire(header.length);
        if self.peer_went == Some(code) {
            return self.charge_glitch(cost::ODD, now);
        }
        if self.peer_went.is_some() {
            self.charge_glitch(cost::ODD, now)?;
        }
        self.peer_went = Some(code);
        self.events.push_back(Event::WentAway(code));
        Ok(())
    }

    fn on_stream_frame(&mut self, header: Header, now: Duration) -> Result<(), Error> {
        if header.stream == 0 {
            return Err(Error::StreamZero);
        }
        let id = StreamId::new(header.stream);
        if header.flags.has(Flags::SYN) {
            return self.on_syn(id, header, now);
        }
        let Some(slot) = self.streams.find(id) else {
            return self.on_stray(id, header, now);
        };
        let news = self.acknowledged_by(slot, header.flags);
        if header.flags.has(Flags::RST) {
            self.swallow_body(header);
            return self.on_reset(slot, now);
        }
        // An ACK or FIN that says nothing new does not excuse an empty frame; the latter is charged
        // where it is found out.
        if !news && !header.flags.has(Flags::FIN) {
            self.weigh(header, now)?;
        }
        match header.kind {
            Kind::Data => self.on_data(slot, header, now),
            Kind::WindowUpdate => self.on_window_update(slot, header, now),
            Kind::Ping | Kind::GoAway => Ok(()),
        }
    }

    /// Charges for frames that cost more than they carry. A data frame pays by its payload; a
    /// window update was paid for if we had sent something, see `next_data`.
    fn weigh(&mut self, header: Header, now: Duration) -> Result<(), Error> {
        if header.length == 0 {
            return self.charge_glitch(cost::EMPTY, now);
        }
        if header.kind == Kind::Data && header.length >= TINY_FRAME_BYTES {
            return Ok(());
        }
        self.charge_glitch(cost::TINY, now)
    }

    fn on_syn(&mut self, id: StreamId, header: Header, now: Duration) -> Result<(), Error> {
        if self.side.owns(id) {
            return Err(Error::WrongParity { stream: id });
        }
        let past = self.peer_ids.look_up(id);
        if past == Past::Used || self.streams.find(id).is_some() {
            return Err(Error::IdReused { stream: id });
        }
        if header.kind == Kind::Data && header.length > INITIAL_CREDIT {
            return Err(Error::FirstFrameTooLarge {
                stream: id,
                bytes: header.length,
            });
        }
        let extra_credit = match header.kind {
            Kind::WindowUpdate => header.length,
            Kind::Data | Kind::Ping | Kind::GoAway => 0,
        };
        if extra_credit > CREDIT_MAX - INITIAL_CREDIT {
            return Err(Error::CreditOverflow {
                stream: id,
                credit: INITIAL_CREDIT,
                delta: extra_credit,
            });
        }
        if past == Past::Forgotten {
            self.stats.refused_old_id += 1;
            return self.refuse(id, header, now);
        }
        self.peer_ids.mark(id);
        if header.flags.has(Flags::RST) {
            // Opened and gone in one frame: nobody needs to hear of it.
            self.stats.resets_received += 1;
            self.swallow_body(header);
            return self.charge_churn(now);
        }
        if let Some(counter) = self.reason_to_refuse() {
            *counter += 1;
            return self.refuse(id, header, now);
        }
        if id.get() >= IDS_SOFT_MAX {
            self.drain();
        }
        let slot = self.streams.insert(id, false, now);
        self.untouched += 1;
        self.stats.streams_accepted += 1;
        self.events.push_back(Event::Opened(id));
        match header.kind {
            Kind::Data => self.on_data(slot, header, now),
            Kind::WindowUpdate => self.on_window_update(slot, header, now),
            Kind::Ping | Kind::GoAway => Ok(()),
        }
    }

    /// The counter of the limit that forbids another stream of the peer, if one does.
    const fn reason_to_refuse(&mut self) -> Option<&mut u64> {
        let stats = &mut self.stats;
        let full = self.settings.session_buffer_bytes;
        if self.we_went.is_some() {
            Some(&mut stats.refused_going_away)
        } else if self.streams.len() >= self.settings.streams_max {
            Some(&mut stats.refused_streams_max)
        } else if self.untouched >= self.settings.accept_backlog {
            Some(&mut stats.refused_backlog)
        } else if self.buffered > full - full / 4 {
            Some(&mut stats.refused_memory)
        } else {
            None
        }
    }

    fn refuse(&mut self, id: StreamId, header: Header, now: Duration) -> Result<(), Error> {
        // Until the refusal arrives the peer may spend the window every stream starts with.
        self.late_credit += u64::from(INITIAL_CREDIT);
        self.swallow_body(header);
        self.push_reset(Reset { id, ack: false });
        self.charge_churn(now)
    }

    fn on_data(&mut self, slot: usize, header: Header, now: Duration) -> Result<(), Error> {
        let fin = header.flags.has(Flags::FIN);
        let bytes = header.length;
        if bytes == 0 {
            return if fin { self.on_fin(slot, now) } else { Ok(()) };
        }
        let id = self.streams[slot].id;
        match self.streams[slot].state.on(Happening::PeerData) {
            Step::Stay | Step::To(_) => {}
            Step::Ignore => {
                self.swallow_body(header);
                return self.charge_glitch(cost::LATE_DATA, now);
            }
            Step::Violation | Step::Gone => {
                self.stats.data_after_fin += 1;
                return self.break_off(slot, header, now);
            }
        }
        if self.streams[slot].receive.admit(bytes).is_err() {
            if bytes > self.settings.window_max {
                return Err(Error::FrameTooLarge { stream: id, bytes });
            }
            self.stats.overruns += 1;
            return self.break_off(slot, header, now);
        }
        if !self.make_room(slot, size(bytes)) {
            self.count_late(bytes);
            self.reading = Reading::Swallow { left: bytes };
            return Ok(());
        }
        // What a frame announces is paid back at once: the announcement must be kept before the
        // next frame can come.
        self.glitches.earn(bytes >> EARN_SHIFT);
        self.reading = Reading::Payload {
            slot,
            id,
            left: bytes,
            fin,
        };
        Ok(())
    }

    /// Resets a stream whose peer broke its rules, and swallows the frame.
    fn break_off(&mut self, slot: usize, header: Header, now: Duration) -> Result<(), Error> {
        self.events.push_back(Event::Reset(self.streams[slot].id));
        self.tear_down(slot);
        self.swallow_body(header);
        self.charge_glitch(cost::ODD, now)?;
        self.charge_churn(now)
    }

    /// Makes room for a frame of `bytes` by ending the streams that hold most; false when the
    /// stream of the frame was itself the one.
    fn make_room(&mut self, slot: usize, bytes: usize) -> bool {
        while self.buffered + bytes > self.settings.session_buffer_bytes {
            let heaviest = self
                .streams
                .iter()
                .map(|(other, stream)| {
                    let unread = size(stream.receive.unread());
                    (
                        if other == slot {
                            unread + bytes
                        } else {
                            unread
                        },
                        other,
                    )
                })
                .max()
                .map_or(slot, |(_, other)| other);
            self.stats.shed += 1;
            self.events
                .push_back(Event::Reset(self.streams[heaviest].id));
            self.tear_down(heaviest);
            if heaviest == slot {
                return false;
            }
        }
        true
    }

    fn on_window_update(
        &mut self,
        slot: usize,
        header: Header,
        now: Duration,
    ) -> Result<(), Error> {
        let stream = &mut self.streams[slot];
        if header.length > 0 {
            if let Err(credit) = stream.send.raise(header.length) {
                return Err(Error::CreditOverflow {
                    stream: stream.id,
                    credit,
                    delta: header.length,
                });
            }
            self.tell_if_writable(slot);
        }
        if header.flags.has(Flags::FIN) {
            self.on_fin(slot, now)
        } else {
            Ok(())
        }
    }

    fn on_fin(&mut self, slot: usize, now: Duration) -> Result<(), Error> {
        let stream = &mut self.streams[slot];
        let Step::To(next) = stream.state.on(Happening::PeerFin) else {
            return self.charge_glitch(cost::EMPTY, now);
        };
        stream.state = next;
        if stream.receive.is_short() {
            self.conversed_at = Some(now);
        }
        self.events.push_back(Event::Finished(stream.id));
        self.forget_if_over(slot);
        Ok(())
    }

    fn on_reset(&mut self, slot: usize, now: Duration) -> Result<(), Error> {
        self.stats.resets_received += 1;
        let stream = &self.streams[slot];
        if stream.state.on(Happening::PeerReset) != Step::Gone {
            return self.charge_glitch(cost::DEAD_STREAM, now);
        }
        let ours = stream.ours;
        self.events.push_back(Event::Reset(stream.id));
        self.forget(slot);
        if ours { Ok(()) } else { self.charge_churn(now) }
    }

    /// Any frame of a stream we opened shows that the peer took it, unless it is a bare RST. True
    /// when that is news.
    fn acknowledged_by(&mut self, slot: usize, flags: Flags) -> bool {
        let stream = &mut self.streams[slot];
        let refusal = flags.has(Flags::RST) && !flags.has(Flags::ACK);
        if stream.opening != Opening::SynSent || refusal {
            return false;
        }
        stream.opening = Opening::Done;
        self.unacked -= 1;
        self.events.push_back(Event::Acknowledged(stream.id));
        true
    }

    /// A frame for a stream that is not here: ended before the peer knew, or never opened.
    fn on_stray(&mut self, id: StreamId, header: Header, now: Duration) -> Result<(), Error> {
        let opened = if self.side.owns(id) {
            self.next_id == 0 || id.get() < self.next_id
        } else {
            self.peer_ids.look_up(id) != Past::New
        };
        // The `yamux` crate says FIN or RST for a stream it never announced, when its user opens
        // one and drops it unused.
        let farewell = !self.side.owns(id)
            && header.length == 0
            && (header.flags.has(Flags::FIN) || header.flags.has(Flags::RST));
        if !opened && !farewell {
            return Err(Error::NeverOpened { stream: id });
        }
        if header.kind != Kind::Data || header.length == 0 {
            return self.charge_glitch(cost::DEAD_STREAM, now);
        }
        let covered = self.late_credit >= u64::from(header.length);
        self.swallow_body(header);
        if !covered {
            self.charge_glitch(cost::LATE_DATA, now)
        } else if header.length >> EARN_SHIFT == 0 {
            self.charge_glitch(cost::DEAD_STREAM, now)
        } else {
            Ok(())
        }
    }

    /// Passes over the payload of a data frame that no stream is to have.
    fn swallow_body(&mut self, header: Header) {
        if header.kind == Kind::Data && header.length > 0 {
            self.count_late(header.length);
            self.reading = Reading::Swallow {
                left: header.length,
            };
        }
    }

    fn count_late(&mut self, bytes: u32) {
        self.late_credit = self.late_credit.saturating_sub(u64::from(bytes));
        self.stats.late_bytes += u64::from(bytes);
    }
}

/// Adds what `rest` has to a header begun before. Gives the bytes taken, and the whole header or
/// what is there of it.
fn gather(
    have: usize,
    mut bytes: [u8; HEADER_BYTES],
    rest: &[u8],
) -> (usize, Result<[u8; HEADER_BYTES], Reading>) {
    if have == 0
        && let Some(whole) = rest.first_chunk()
    {
        return (HEADER_BYTES, Ok(*whole));
    }
    let taken = rest.len().min(HEADER_BYTES - have);
    for (to, from) in bytes.iter_mut().skip(have).zip(rest) {
        *to = *from;
    }
    let have = have + taken;
    let read = if have == HEADER_BYTES {
        Ok(bytes)
    } else {
        Err(Reading::Header { have, bytes })
    };
    (taken, read)
}
