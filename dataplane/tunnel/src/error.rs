//! Why a tunnel cannot go on, first of all whose fault it is.

use std::fmt;

use adit_proto::refusal::Refusal;

/// The end of a tunnel that did not end in good order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// TLS: handshake, record or alert.
    Tls(adit_tls::Error),
    /// The multiplexer: the peer broke its rules, or has fallen silent.
    Mux(adit_mux::Error),
    /// The peer's greeting could not be read.
    Hello(String),
    /// The gateway will not have us, and says why.
    Rejected {
        /// The reason from the closed list.
        refusal: Refusal,
        /// The gateway's words.
        message: String,
    },
    /// Our own mistake; a bug.
    Internal(&'static str),
}

impl Error {
    /// Whether the peer is only silent: a dead path, not a broken rule.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Mux(adit_mux::Error::PeerSilent))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "tls: {error}"),
            Self::Mux(error) => write!(f, "mux: {error}"),
            Self::Hello(what) => write!(f, "hello: {what}"),
            Self::Rejected { refusal, message } => {
                write!(
                    f,
                    "gateway refused the tunnel ({}): {message}",
                    refusal.reason()
                )
            }
            Self::Internal(what) => write!(f, "internal: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<adit_tls::Error> for Error {
    fn from(error: adit_tls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<adit_mux::Error> for Error {
    fn from(error: adit_mux::Error) -> Self {
        Self::Mux(error)
    }
}
