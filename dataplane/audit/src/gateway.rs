//! What a gateway records: requests that came to its doors, and tunnels of agents.
//!
//! A gateway decides nothing by rules; it refuses whom it does not know and what it cannot carry. What an agent decided
//! about the same request is a [`Decision`](crate::Decision) of that agent, under the same id.
use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A request came to a door of a gateway, and has ended there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Request<'a> {
    /// When it ended; of an opaque conversation, or one after an upgrade (status 101), when it began.
    pub unix_ms: u64,
    /// Its id, as the caller got it.
    #[serde(borrow)]
    pub request: Text<'a>,
    /// Which door it came by.
    #[serde(borrow)]
    pub door: Text<'a>,
    /// The address and port it came from.
    #[serde(borrow)]
    pub from: Text<'a>,
    /// The subaccount of the caller; none while nobody has proven to be anybody.
    #[serde(borrow)]
    pub subaccount: Option<Text<'a>>,
    /// Who asked; none likewise.
    #[serde(borrow)]
    pub caller: Option<Text<'a>>,
    /// Which of the subaccount's locations was meant; none likewise.
    #[serde(borrow)]
    pub location: Option<Text<'a>>,
    /// What was asked for: virtual host and port; none where that could not be read.
    #[serde(borrow)]
    pub system: Option<Text<'a>>,
    /// With which method; none for opaque streams.
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    /// The path without its query; none for opaque streams.
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    /// The agent it was brought to last.
    #[serde(borrow)]
    pub agent: Option<Text<'a>>,
    /// By which tunnel, as [`Tunnel::tunnel`] numbers them.
    pub tunnel: Option<u64>,
    /// What became of it.
    #[serde(borrow)]
    pub outcome: RequestOutcome<'a>,
}

/// What became of a request at a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "there is no other way to end")]
pub enum RequestOutcome<'a> {
    /// An agent took it.
    Passed {
        /// The status of the answer; none for an opaque conversation.
        status: Option<u16>,
    },
    /// The gateway refused it.
    Refused {
        /// The reason, as a word.
        #[serde(borrow)]
        reason: Text<'a>,
    },
    /// The agent refused it, and can say more of why.
    RefusedByAgent {
        /// The reason, as a word.
        #[serde(borrow)]
        reason: Text<'a>,
    },
    /// The application went away, its answer broke off, or the gateway had no room for it any more.
    BrokenOff,
}

/// An agent came for a tunnel, or its tunnel has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Tunnel<'a> {
    /// When.
    pub unix_ms: u64,
    /// Its number, which counts from the start of the gateway; none for one that was refused.
    pub tunnel: Option<u64>,
    /// The address and port it came from.
    #[serde(borrow)]
    pub from: Text<'a>,
    /// Whom its certificate names, as a SPIFFE ID; none when no certificate was accepted.
    #[serde(borrow)]
    pub identity: Option<Text<'a>>,
    /// The serial number of that certificate, in hexadecimal.
    #[serde(borrow)]
    pub serial: Option<Text<'a>>,
    /// The location the agent says it serves.
    #[serde(borrow)]
    pub location: Option<Text<'a>>,
    /// What happened.
    #[serde(borrow)]
    pub event: TunnelEvent<'a>,
}

/// What happened to a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to tell of")]
pub enum TunnelEvent<'a> {
    /// It is up.
    Up,
    /// It has ended.
    Ended {
        /// How, as a word.
        #[serde(borrow)]
        how: Text<'a>,
    },
    /// There is none.
    Refused {
        /// The reason, as a word.
        #[serde(borrow)]
        reason: Text<'a>,
        /// The reason in words, for people.
        #[serde(borrow)]
        words: Text<'a>,
    },
}
