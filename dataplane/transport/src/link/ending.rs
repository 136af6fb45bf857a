//! How a tunnel ends, in words for people, metrics and logs.

use std::fmt;

/// How a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The peer closed in good order.
    PeerClosed,
    /// We closed in good order, after a drain or at its deadline.
    Closed,
    /// The path broke: reset, or cut without the peer's close.
    Lost(String),
    /// The peer fell silent.
    Silent(String),
    /// A rule was broken, by the peer or by us.
    Broken(String),
}

impl Ending {
    /// A closed word for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PeerClosed => "peer-closed",
            Self::Closed => "closed",
            Self::Lost(_) => "lost",
            Self::Silent(_) => "silent",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("closed by the peer"),
            Self::Closed => f.write_str("closed"),
            Self::Lost(why) => write!(f, "lost: {why}"),
            Self::Silent(why) => write!(f, "silent: {why}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}
