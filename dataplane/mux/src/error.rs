//! What can go wrong with a session or with one command, and whose fault it is.
//!
//! Words only; when each is raised is decided in `session`.

use core::fmt;

use crate::frame::{GoAwayCode, StreamId};

/// The session is over. All but [`Error::PeerSilent`] are the peer breaking the protocol.
///
/// After an error [`Session::next_frame`](crate::Session::next_frame) still gives the go-away
/// that tells the peer why, then nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A header with a version that is not 0.
    Version {
        /// The version in the header.
        got: u8,
    },
    /// A header with a type above 3.
    Kind {
        /// The type in the header.
        got: u8,
    },
    /// A data frame or window update for stream 0, which is the session.
    StreamZero,
    /// The peer opened a stream with an id of our parity.
    WrongParity {
        /// The id.
        stream: StreamId,
    },
    /// The peer opened a stream with an id it had used before.
    IdReused {
        /// The id.
        stream: StreamId,
    },
    /// Data or credit for a stream that nobody ever opened.
    NeverOpened {
        /// The id.
        stream: StreamId,
    },
    /// The frame that opens a stream carries more than the initial window.
    FirstFrameTooLarge {
        /// The id.
        stream: StreamId,
        /// The length in the header.
        bytes: u32,
    },
    /// A data frame longer than any window we could have granted.
    FrameTooLarge {
        /// The id.
        stream: StreamId,
        /// The length in the header.
        bytes: u32,
    },
    /// Window updates that add up to more than a window may hold.
    CreditOverflow {
        /// The id.
        stream: StreamId,
        /// Credit we held before.
        credit: u32,
        /// What the peer wanted to add.
        delta: u32,
    },
    /// The peer makes us work without sending anything of worth.
    Flood(Flood),
    /// The peer makes us answer and does not read the answers.
    PeerNotReading {
        /// Control frames that wait.
        frames: usize,
    },
    /// Nothing was heard from the peer for too long, not even an answer to our ping.
    PeerSilent,
}

/// Which of the two budgets against floods was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flood {
    /// Empty and tiny frames, pings, frames for dead streams.
    Glitches,
    /// Streams opened only to be reset or refused.
    Churn,
}

impl Error {
    /// What the go-away frame to the peer says; `None` when there is nobody to tell.
    #[must_use]
    pub const fn go_away_code(self) -> Option<GoAwayCode> {
        match self {
            Self::PeerSilent => None,
            Self::Version { .. }
            | Self::Kind { .. }
            | Self::StreamZero
            | Self::WrongParity { .. }
            | Self::IdReused { .. }
            | Self::NeverOpened { .. }
            | Self::FirstFrameTooLarge { .. }
            | Self::FrameTooLarge { .. }
            | Self::CreditOverflow { .. }
            | Self::Flood(_)
            | Self::PeerNotReading { .. } => Some(GoAwayCode::ProtocolError),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { got } => write!(
                f,
                "peer sent a frame of version {got}; only version 0 is known"
            ),
            Self::Kind { got } => {
                write!(f, "peer sent a frame of type {got}; the highest known is 3")
            }
            Self::StreamZero => {
                f.write_str("peer sent data or credit for stream 0, which is the session itself")
            }
            Self::WrongParity { stream } => {
                write!(f, "peer opened stream {stream}, an id of our own parity")
            }
            Self::IdReused { stream } => write!(f, "peer opened stream {stream} a second time"),
            Self::NeverOpened { stream } => write!(
                f,
                "peer sent a frame for stream {stream}, which was never opened"
            ),
            Self::FirstFrameTooLarge { stream, bytes } => write!(
                f,
                "peer opened stream {stream} with {bytes} bytes; the initial window is {} bytes",
                crate::window::INITIAL_CREDIT
            ),
            Self::FrameTooLarge { stream, bytes } => {
                write!(
                    f,
                    "peer announced a frame of {bytes} bytes on stream {stream}, more than any window granted"
                )
            }
            Self::CreditOverflow {
                stream,
                credit,
                delta,
            } => write!(
                f,
                "peer added {delta} bytes to the {credit} bytes of credit of stream {stream}; a window holds at most {} bytes",
                crate::window::CREDIT_MAX
            ),
            Self::Flood(Flood::Glitches) => f.write_str(
                "peer floods us with empty frames, tiny frames, pings or frames for dead streams",
            ),
            Self::Flood(Flood::Churn) => {
                f.write_str("peer floods us with streams that are reset or refused at once")
            }
            Self::PeerNotReading { frames } => {
                write!(
                    f,
                    "peer does not read: {frames} control frames wait to be written"
                )
            }
            Self::PeerSilent => f.write_str("peer is silent and does not answer pings"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a stream cannot be opened now. Nothing was sent and no id was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the caller must decide for each whether to try another tunnel"
)]
pub enum OpenError {
    /// The peer went away: it drains, or closes.
    PeerWentAway,
    /// All ids of our parity were used; the session must be replaced.
    IdsExhausted,
    /// As many streams as `streams_max` are open.
    TooManyStreams,
    /// As many opened streams as `opens_unacked_max` wait for the peer's ACK.
    AckBacklog,
    /// The session is over by an [`Error`].
    Failed,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerWentAway => "the peer goes away and takes no new streams",
            Self::IdsExhausted => "the session has used all its stream ids; open a new session",
            Self::TooManyStreams => "the session has as many streams as its limit `streams_max`",
            Self::AckBacklog => {
                "too many new streams wait for the peer to acknowledge them (`opens_unacked_max`)"
            }
            Self::Failed => "the session has failed",
        })
    }
}

impl core::error::Error for OpenError {}

/// Why a payload was not queued; each variant gives it back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the caller must say what becomes of the payload in each case"
)]
pub enum SendError<P> {
    /// More than [`Session::sendable`](crate::Session::sendable); wait for `Writable`.
    NoRoom(P),
    /// Longer than one frame may be ([`MAX_FRAME_PAYLOAD`](crate::MAX_FRAME_PAYLOAD)).
    TooLarge(P),
    /// Our direction has ended, or there is no such stream.
    Closed(P),
}

impl<P> SendError<P> {
    /// The payload that was not queued.
    pub fn into_payload(self) -> P {
        match self {
            Self::NoRoom(payload) | Self::TooLarge(payload) | Self::Closed(payload) => payload,
        }
    }

    const fn text(&self) -> &'static str {
        match self {
            Self::NoRoom(_) => "no room: the payload is larger than what is sendable on the stream",
            Self::TooLarge(_) => "the payload is larger than one frame may carry",
            Self::Closed(_) => "the stream takes no more payload",
        }
    }
}

impl<P> fmt::Debug for SendError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload may hold a caller's secret: it is not printed.
        f.write_str(match self {
            Self::NoRoom(_) => "NoRoom(..)",
            Self::TooLarge(_) => "TooLarge(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<P> fmt::Display for SendError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<P> core::error::Error for SendError<P> {}
