//! Joins two ends and says how it ended.
//!
//! [`pipe`] carries one direction between a byte pipe and a stream, [`duplex`] both of an opaque
//! conversation, [`exchange`] one HTTP request beside its response. A moving room: what may be
//! carried was decided before.
#![forbid(unsafe_code)]

pub mod duplex;
pub mod exchange;
pub mod gather;
pub mod pipe;

use std::fmt;
use std::io;

use adit_proto::http::BodyError;
use adit_transport::StreamError;

/// Why a direction could not be carried to its end, by the side that failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Broken {
    /// The byte pipe: the application at the gateway, the backend at the agent.
    Wire(io::Error),
    /// The stream, or its tunnel.
    Stream(StreamError),
    /// The pipe's side broke the framing of its message.
    WireBody(BodyError),
    /// The stream's side broke the framing of its message.
    StreamBody(BodyError),
    /// The pipe ended in the middle of a message.
    WireCut,
    /// The stream ended in the middle of a message.
    StreamCut,
}

impl Broken {
    /// Whether the stream's side is to blame.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        match self {
            Self::Stream(_) | Self::StreamBody(_) | Self::StreamCut => true,
            Self::Wire(_) | Self::WireBody(_) | Self::WireCut => false,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => write!(f, "connection: {error}"),
            Self::Stream(error) => write!(f, "{error}"),
            Self::WireBody(error) | Self::StreamBody(error) => write!(f, "body: {error}"),
            Self::WireCut => f.write_str("connection ended in the middle of a message"),
            Self::StreamCut => f.write_str("stream ended in the middle of a message"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<StreamError> for Broken {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}
