//! The yamux frame: twelve bytes of header, and the words they are made of.
//!
//! Encodes and decodes, nothing else. Whether a frame is allowed at this moment is decided by
//! `session` and `stream`.

use core::fmt;

use crate::error::Error;

/// Length of every frame header, in bytes (yamux spec.md, "Framing").
pub const HEADER_BYTES: usize = 12;

const _: () = assert!(
    usize::BITS >= 32,
    "a length field must fit a usize, see `size`"
);

/// What a frame carries when we send: the caller's buffer, never looked into by the mux.
pub trait Payload {
    /// Bytes that follow the header on the wire; must not change while the payload is queued, but by [`Self::absorb`].
    fn len(&self) -> usize;

    /// Takes the bytes of `next` behind its own if there is memory for all of them; says whether. What is queued behind
    /// each other then needs no memory of its own: a sender of single bytes would have one buffer for each.
    fn absorb(&mut self, next: &Self) -> bool {
        let _ = next;
        false
    }

    /// True when no byte would follow the header.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Payload for alloc::vec::Vec<u8> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }
}

impl Payload for alloc::boxed::Box<[u8]> {
    fn len(&self) -> usize {
        self.as_ref().len()
    }
}

impl Payload for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

/// Which end of the session we are. Both ends may open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a pipe has two ends")]
pub enum Side {
    /// Opens streams with odd ids: the agent.
    Client,
    /// Opens streams with even ids: the gateway.
    Server,
}

impl Side {
    /// The first id this side gives to a stream.
    pub(crate) const fn first_id(self) -> u32 {
        //= yamux spec.md, "StreamID Field"
        //# The client side should use odd ID's, and the server even.
        match self {
            Self::Client => 1,
            Self::Server => 2,
        }
    }

    /// True when a stream with this id was (or would be) opened by this side.
    pub(crate) const fn owns(self, id: StreamId) -> bool {
        (id.0 % 2 == 1) == matches!(self, Self::Client)
    }
}

/// Names one stream of a session. Never zero: zero is the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

impl StreamId {
    pub(crate) const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a side went away (yamux spec.md, "Session termination").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the spec's list, with room for any other number"
)]
pub enum GoAwayCode {
    /// Draining: streams in flight go on, new ones belong elsewhere.
    Normal,
    /// The other side broke the protocol.
    ProtocolError,
    /// The side that goes away is at fault.
    InternalError,
    /// A number the spec does not know.
    Other(u32),
}

impl GoAwayCode {
    pub(crate) const fn from_wire(code: u32) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::ProtocolError,
            2 => Self::InternalError,
            other => Self::Other(other),
        }
    }

    pub(crate) const fn to_wire(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::ProtocolError => 1,
            Self::InternalError => 2,
            Self::Other(other) => other,
        }
    }
}

/// One frame to write: the header, then the payload if there is one.
#[derive(Debug)]
pub struct Frame<P> {
    /// Twelve bytes, ready to write in front of the payload.
    pub header: [u8; HEADER_BYTES],
    /// The bytes that follow, as they were given to [`Session::send`](crate::Session::send).
    pub payload: Option<P>,
    /// The stream the frame belongs to; `None` for ping and go-away.
    pub stream: Option<StreamId>,
}

/// The spec's message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    WindowUpdate,
    Ping,
    GoAway,
}

/// The flag bits of a header. Bits the spec does not name are carried and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const SYN: Self = Self(1);
    pub(crate) const ACK: Self = Self(2);
    pub(crate) const FIN: Self = Self(4);
    pub(crate) const RST: Self = Self(8);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags, and `other` too if `wanted`.
    pub(crate) const fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { Self(self.0 | other.0) } else { self }
    }

    /// True when the frame says something beyond its length (a flag the spec names is set).
    pub(crate) const fn says_something(self) -> bool {
        self.0 & 0b1111 != 0
    }
}

/// A decoded header. `stream` may be zero here: only `session` knows whether that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
    pub(crate) stream: u32,
    pub(crate) length: u32,
}

impl Header {
    pub(crate) const fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Error> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(Error::Version { got: version });
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Error::Kind { got: other }),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    pub(crate) const fn encode(self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    pub(crate) const fn frame<P>(self, payload: Option<P>) -> Frame<P> {
        let stream = match self.stream {
            0 => None,
            id => Some(StreamId(id)),
        };
        Frame {
            header: self.encode(),
            payload,
            stream,
        }
    }
}

/// A wire length as a size in memory. Cannot fail, see the assertion at the top of this file.
pub(crate) fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A size in memory as a wire length, cut to what a length field can say.
pub(crate) fn length(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_specs_fields_stand_in_network_order() {
        let header = Header {
            kind: Kind::WindowUpdate,
            flags: Flags::SYN.with(Flags::RST, true),
            stream: 0x0102_0304,
            length: 0x0506_0708,
        };
        assert_eq!(header.encode(), [0, 1, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn another_version_is_named_in_the_error() {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 1;
        assert_eq!(Header::decode(&bytes), Err(Error::Version { got: 1 }));
    }

    #[test]
    fn the_last_known_type_decodes_and_the_next_one_does_not() {
        let mut bytes = [0; HEADER_BYTES];
        bytes[1] = 3;
        assert_eq!(Header::decode(&bytes).unwrap().kind, Kind::GoAway);
        bytes[1] = 4;
        assert_eq!(Header::decode(&bytes), Err(Error::Kind { got: 4 }));
    }

    #[test]
    fn every_go_away_code_keeps_its_number() {
        for code in [0, 1, 2, 3, u32::MAX] {
            assert_eq!(GoAwayCode::from_wire(code).to_wire(), code);
        }
    }

    #[test]
    fn the_client_owns_odd_ids_and_the_server_even_ones() {
        assert!(Side::Client.owns(StreamId(Side::Client.first_id())));
        assert!(Side::Server.owns(StreamId(Side::Server.first_id())));
        assert!(!Side::Client.owns(StreamId(u32::MAX - 1)));
        assert!(!Side::Server.owns(StreamId(u32::MAX)));
    }

    proptest! {
        #[test]
        fn a_header_survives_the_wire(bytes in any::<[u8; HEADER_BYTES]>(), kind in 0u8..4) {
            let mut bytes = bytes;
            bytes[0] = 0;
            bytes[1] = kind;
            prop_assert_eq!(Header::decode(&bytes).unwrap().encode(), bytes);
        }
    }
}
