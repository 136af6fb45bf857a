//! Conversations with a session: the peer is a script of raw frames, or a second session.
//!
//! This file is the stage: writing raw frames, reading what a session wrote, collecting events.

mod costs;
mod ending;
mod fair;
mod flood;
mod flow;
mod link;
mod opening;
mod peers;
mod split;

use alloc::vec::Vec;
use core::time::Duration;

use super::{Event, Session};
use crate::error::Error;
use crate::frame::{GoAwayCode, HEADER_BYTES, Side, StreamId};
use crate::limits::Settings;

pub(super) const SYN: u16 = 1;
pub(super) const ACK: u16 = 2;
pub(super) const FIN: u16 = 4;
pub(super) const RST: u16 = 8;

pub(super) const DATA: u8 = 0;
pub(super) const UPDATE: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const AWAY: u8 = 3;

pub(super) const NOW: Duration = Duration::from_secs(1000);
pub(super) const MS: Duration = Duration::from_millis(1);

/// 256 KiB, from the spec and not from our constant.
pub(super) const WINDOW: u32 = 262_144;

pub(super) type Bytes = Vec<u8>;

pub(super) fn id(number: u32) -> StreamId {
    StreamId::new(number)
}

/// A header with nothing behind it, written by hand after the spec.
pub(super) fn raw(kind: u8, flags: u16, stream: u32, length: u32) -> Bytes {
    let mut bytes = Vec::from([0, kind]);
    bytes.extend(flags.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub(super) fn data(flags: u16, stream: u32, payload: &[u8]) -> Bytes {
    let mut bytes = raw(DATA, flags, stream, u32::try_from(payload.len()).unwrap());
    bytes.extend(payload);
    bytes
}

pub(super) fn zeros(len: u32) -> Bytes {
    alloc::vec![0; usize::try_from(len).unwrap()]
}

/// An event that owns its bytes; neighbouring data of one stream is one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Opened(u32),
    Data(u32, Bytes),
    Finished(u32),
    Reset(u32),
    Writable(u32),
    Acknowledged(u32),
    WentAway(GoAwayCode),
}

/// A frame a session wrote, read after the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrote {
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) stream: u32,
    pub(super) length: u32,
    pub(super) payload: Bytes,
}

/// The same as `Wrote`, for frames without payload.
pub(super) fn wrote(kind: u8, flags: u16, stream: u32, length: u32) -> Wrote {
    Wrote {
        kind,
        flags,
        stream,
        length,
        payload: Vec::new(),
    }
}

pub(super) fn wrote_data(flags: u16, stream: u32, payload: &[u8]) -> Wrote {
    Wrote {
        kind: DATA,
        flags,
        stream,
        length: u32::try_from(payload.len()).unwrap(),
        payload: payload.to_vec(),
    }
}

/// A gateway's session: the peer opens odd ids, we even ones.
pub(super) fn server() -> Session<Bytes> {
    begun(Side::Server, Settings::default())
}

pub(super) fn client() -> Session<Bytes> {
    begun(Side::Client, Settings::default())
}

pub(super) fn server_with(change: impl FnOnce(&mut Settings)) -> Session<Bytes> {
    let mut settings = Settings::default();
    change(&mut settings);
    begun(Side::Server, settings)
}

/// A session whose first ping was written and is not under test.
fn begun(side: Side, settings: Settings) -> Session<Bytes> {
    let mut session = Session::new(side, settings);
    session.on_deadline(NOW).unwrap();
    assert_eq!(written(&mut session), [wrote(PING, SYN, 0, 0)]);
    session
}

pub(super) fn note(seen: &mut Vec<Seen>, event: Event, input: &[u8]) {
    let next = match event {
        Event::Opened(id) => Seen::Opened(id.get()),
        Event::Data { stream, range } => {
            let bytes = &input[range];
            if let Some(Seen::Data(last, have)) = seen.last_mut()
                && *last == stream.get()
            {
                have.extend(bytes);
                return;
            }
            Seen::Data(stream.get(), bytes.to_vec())
        }
        Event::Finished(id) => Seen::Finished(id.get()),
        Event::Reset(id) => Seen::Reset(id.get()),
        Event::Writable(id) => Seen::Writable(id.get()),
        Event::Acknowledged(id) => Seen::Acknowledged(id.get()),
        Event::WentAway(code) => Seen::WentAway(code),
    };
    seen.push(next);
}

/// Feeds all of `input`; audits the session after every event.
pub(super) fn feed_at(
    session: &mut Session<Bytes>,
    input: &[u8],
    now: Duration,
) -> Result<Vec<Seen>, Error> {
    let mut seen = Vec::new();
    let mut at = 0;
    loop {
        let rest = &input[at..];
        let (taken, event) = session.receive(rest, now)?;
        session.audit();
        at += taken;
        match event {
            Some(event) => note(&mut seen, event, rest),
            None => {
                assert_eq!(at, input.len(), "without an event all input is taken");
                return Ok(seen);
            }
        }
    }
}

pub(super) fn feed(session: &mut Session<Bytes>, input: &[u8]) -> Result<Vec<Seen>, Error> {
    feed_at(session, input, NOW)
}

/// Feeds frames that must be fine, and forgets the events.
pub(super) fn feed_ok(session: &mut Session<Bytes>, input: &[u8]) -> Vec<Seen> {
    feed(session, input).unwrap()
}

/// Everything the session wants to write now.
pub(super) fn written_at(session: &mut Session<Bytes>, now: Duration) -> Vec<Wrote> {
    let mut frames = Vec::new();
    while let Some(frame) = session.next_frame(now) {
        session.audit();
        let header: [u8; HEADER_BYTES] = frame.header;
        assert_eq!(header[0], 0, "version");
        let stream = u32::from_be_bytes(header[4..8].try_into().unwrap());
        assert_eq!(frame.stream.map_or(0, StreamId::get), stream);
        frames.push(Wrote {
            kind: header[1],
            flags: u16::from_be_bytes(header[2..4].try_into().unwrap()),
            stream,
            length: u32::from_be_bytes(header[8..12].try_into().unwrap()),
            payload: frame.payload.unwrap_or_default(),
        });
    }
    assert!(!session.wants_write());
    frames
}

pub(super) fn written(session: &mut Session<Bytes>) -> Vec<Wrote> {
    written_at(session, NOW)
}

/// What waits in the event queue after writing.
pub(super) fn events(session: &mut Session<Bytes>) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(event) = session.poll_event() {
        note(&mut seen, event, &[]);
    }
    seen
}
