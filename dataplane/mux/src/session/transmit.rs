//! What leaves a session: which frame is next, and what stands in its header.
//!
//! Control goes before data, because it is small, bounded, and the peer waits for it.

use core::time::Duration;

use super::Session;
use crate::frame::{Flags, Frame, Header, Kind, Payload, length, size};
use crate::stream::{Happening, Opening};

impl<P: Payload> Session<P> {
    /// The next frame to write: control first, then data by deficit round robin. Its payload, if
    /// any, follows its header on the wire. Frames must be written in this order.
    ///
    /// After an [`Error`](crate::Error) it gives the go-away that tells the peer, then nothing.
    pub fn next_frame(&mut self, now: Duration) -> Option<Frame<P>> {
        let frame = self.next_control(now).or_else(|| self.next_data())?;
        self.stats.frames_sent += 1;
        Some(frame)
    }

    /// True when [`next_frame`](Self::next_frame) has something. Rarely it is a false alarm: a
    /// window update that is no longer worth sending.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        if self.failed.is_some() {
            return self.away_due.is_some();
        }
        self.ready > 0
            || !self.updates.is_empty()
            || !self.resets.is_empty()
            || self.away_due.is_some()
            || self.pinger.is_due()
            || self.pinger.owes_pongs()
    }

    fn next_control(&mut self, now: Duration) -> Option<Frame<P>> {
        if self.failed.is_some() {
            return self.next_go_away();
        }
        if let Some(id) = self.pinger.take_pong() {
            return Some(session_frame(Kind::Ping, Flags::ACK, id));
        }
        if let Some(id) = self.pinger.take_ping(now) {
            self.stats.pings_sent += 1;
            return Some(session_frame(Kind::Ping, Flags::SYN, id));
        }
        if let Some(reset) = self.resets.pop_front() {
            self.stats.resets_sent += 1;
            let header = Header {
                kind: Kind::WindowUpdate,
                flags: Flags::RST.with(Flags::ACK, reset.ack),
                stream: reset.id.get(),
                length: 0,
            };
            return Some(header.frame(None));
        }
        self.next_update(now).or_else(|| self.next_go_away())
    }

    fn next_go_away(&mut self) -> Option<Frame<P>> {
        let code = self.away_due.take()?;
        Some(session_frame(Kind::GoAway, Flags::NONE, code.to_wire()))
    }

    fn next_update(&mut self, now: Duration) -> Option<Frame<P>> {
        while let Some(slot) = self.updates.pop() {
            let flags = self.opening_flags(slot);
            let stream = &mut self.streams[slot];
            let delta = if stream.state.expects_data() && stream.receive.is_due() {
                stream.receive.grant(now)
            } else {
                0
            };
            if delta == 0 && !flags.says_something() {
                continue;
            }
            let header = Header {
                kind: Kind::WindowUpdate,
                flags,
                stream: stream.id.get(),
                length: delta,
            };
            return Some(header.frame(None));
        }
        None
    }

    fn next_data(&mut self) -> Option<Frame<P>> {
        if self.failed.is_some() {
            return None;
        }
        let streams = &self.streams;
        let slot = self.schedule.pick(|slot| streams[slot].next_length())?;
        let flags = self.opening_flags(slot);
        let stream = &mut self.streams[slot];
        let payload = stream.queue.pop_front();
        let bytes = payload.as_ref().map_or(0, Payload::len);
        stream.queued -= bytes;
        self.queued -= bytes;
        self.stats.bytes_sent += u64::from(length(bytes));
        // For what we send the peer owes us window updates; a frame pays for one.
        self.glitches.earn(u32::from(bytes > 0));
        let fin = stream.queue.is_empty() && stream.state.owes_fin();
        let header = Header {
            kind: Kind::Data,
            flags: flags.with(Flags::FIN, fin),
            stream: stream.id.get(),
            length: length(bytes),
        };
        debug_assert_eq!(size(header.length), bytes, "a frame is short");
        stream.rest();
        if fin {
            self.step(slot, Happening::FinLeft);
        }
        let stream = &mut self.streams[slot];
        if !stream.has_output() {
            stream.ready = false;
            self.ready -= 1;
        }
        self.tell_if_writable(slot);
        self.forget_if_over(slot);
        Some(header.frame(payload))
    }

    /// SYN or ACK, if the stream's next frame must carry one; it is taken as sent.
    fn opening_flags(&mut self, slot: usize) -> Flags {
        let stream = &mut self.streams[slot];
        match stream.opening {
            Opening::SynDue => {
                stream.opening = Opening::SynSent;
                Flags::SYN
            }
            Opening::AckDue => {
                stream.opening = Opening::Done;
                self.acks.remove(slot);
                Flags::ACK
            }
            Opening::SynSent | Opening::Untouched | Opening::Done => Flags::NONE,
        }
    }
}

/// A frame of the session itself.
const fn session_frame<P>(kind: Kind, flags: Flags, length: u32) -> Frame<P> {
    //= yamux spec.md, "StreamID Field"
    //# Both Ping and Go Away messages should always use the 0 StreamID.
    let header = Header {
        kind,
        flags,
        stream: 0,
        length,
    };
    header.frame(None)
}
