//! What is recorded: the closed list of records and what each of them tells.
//!
//! Times are Unix time in milliseconds, told by who records. Texts that came from outside are [`Text`].
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::gateway::{Request, Tunnel};
use crate::keys::{KeyId, Signature};
use crate::text::Text;

/// A record. In a line, the key `record` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new kind of record must be looked at by everyone who reads them"
)]
pub enum Record<'a> {
    /// A node has started to record.
    #[serde(borrow)]
    Started(Started<'a>),
    /// A request was judged.
    #[serde(borrow)]
    Decision(Decision<'a>),
    /// A request came to a gateway.
    #[serde(borrow)]
    Request(Request<'a>),
    /// An agent came to a gateway for a tunnel, or its tunnel has ended.
    #[serde(borrow)]
    Tunnel(Tunnel<'a>),
    /// New rules were offered to the node.
    #[serde(borrow)]
    RulesPushed(RulesPushed<'a>),
    /// Somebody did something in the control plane.
    #[serde(borrow)]
    Act(Act<'a>),
    /// Records were lost.
    Gap(Gap),
    /// Recording went on after an end that was not intended.
    Recovered(Recovered),
    /// All up to here is signed by the node.
    Checkpoint(Checkpoint),
    /// A segment is removed, because it is old or there is no room for it.
    SegmentRemoved(SegmentRemoved),
    /// A node has stopped recording, as intended.
    Stopped(Stopped),
}

/// A node has started to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Started<'a> {
    /// When.
    pub unix_ms: u64,
    /// Its name, as in its certificate.
    #[serde(borrow)]
    pub node: Text<'a>,
    /// The name and version of its program.
    #[serde(borrow)]
    pub software: Text<'a>,
}

/// A request was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Decision<'a> {
    /// When.
    pub unix_ms: u64,
    /// The id of the request, as the caller got it.
    #[serde(borrow)]
    pub request: Text<'a>,
    /// The subaccount of the caller.
    #[serde(borrow)]
    pub subaccount: Text<'a>,
    /// Who asked.
    #[serde(borrow)]
    pub caller: Text<'a>,
    /// What was asked for: virtual host and port.
    #[serde(borrow)]
    pub system: Text<'a>,
    /// With which method; none for opaque streams.
    #[serde(borrow)]
    pub method: Option<Text<'a>>,
    /// The path as it was judged; none for opaque streams.
    #[serde(borrow)]
    pub path: Option<Text<'a>>,
    /// Whether it asked to change the protocol, as a WebSocket does. Written only where it did.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub upgrade: bool,
    /// What was decided.
    #[serde(borrow)]
    pub outcome: Outcome<'a>,
    /// The version of the rules that decided.
    pub version: u64,
}

/// What was decided about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "a request is granted or it is not")]
pub enum Outcome<'a> {
    /// It was granted.
    Allowed {
        /// By which rule.
        #[serde(borrow)]
        rule: Text<'a>,
    },
    /// It was denied.
    Denied {
        /// The reason, as a word.
        #[serde(borrow)]
        reason: Text<'a>,
    },
}

/// New rules were offered to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct RulesPushed<'a> {
    /// When.
    pub unix_ms: u64,
    /// Who pushed them.
    #[serde(borrow)]
    pub by: Text<'a>,
    /// Their version.
    pub version: u64,
    /// The digest of their text.
    pub hash: Digest,
    /// What became of them.
    #[serde(borrow)]
    pub outcome: PushOutcome<'a>,
}

/// What became of rules that were offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "rules are in force or they are not"
)]
pub enum PushOutcome<'a> {
    /// They are in force.
    InForce,
    /// They were refused, and the old ones stay in force.
    Refused {
        /// Why.
        #[serde(borrow)]
        reason: Text<'a>,
    },
}

/// Somebody did something in the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Act<'a> {
    /// When.
    pub unix_ms: u64,
    /// Who.
    #[serde(borrow)]
    pub who: Text<'a>,
    /// What was asked for, as a word.
    #[serde(borrow)]
    pub verb: Text<'a>,
    /// In which subaccount; none for what belongs to none.
    #[serde(borrow)]
    pub subaccount: Option<Text<'a>>,
    /// On what.
    #[serde(borrow)]
    pub what: Text<'a>,
    /// Further words, such as the version that came of it.
    #[serde(borrow)]
    pub detail: Text<'a>,
    /// The id of the request.
    #[serde(borrow)]
    pub request: Text<'a>,
}

/// Records were lost, because they could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Gap {
    /// When recording went on.
    pub unix_ms: u64,
    /// When the first of them was lost.
    pub since_unix_ms: u64,
    /// How many.
    pub lost: u64,
}

/// Recording went on after an end that was not intended: a crash, a power failure, or somebody who cut off the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Recovered {
    /// When.
    pub unix_ms: u64,
    /// Bytes that stood behind the last whole line and were cut off; 0 when all lines were whole.
    pub cut_bytes: u64,
}

/// A node signs the chain. What is signed is the number of this record, the digest of the line before it, and the time;
/// see [`SigningKey::checkpoint`](crate::SigningKey::checkpoint).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Checkpoint {
    /// When.
    pub unix_ms: u64,
    /// By which key.
    pub key: KeyId,
    /// The signature.
    pub signature: Signature,
}

/// A segment is removed. Written before it is, so that there is no way to remove one and say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct SegmentRemoved {
    /// When.
    pub unix_ms: u64,
    /// Its number, as in its file's name.
    pub segment: u64,
    /// The number of its last record.
    pub last_sequence: u64,
    /// The digest of its last line: what the first line of the next segment carries.
    pub last: Digest,
}

/// A node has stopped recording, as intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who records fills in all of it")]
pub struct Stopped {
    /// When.
    pub unix_ms: u64,
}

impl Record<'_> {
    /// When it was recorded, in milliseconds of Unix time.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match self {
            Self::Started(started) => started.unix_ms,
            Self::Decision(decision) => decision.unix_ms,
            Self::Request(request) => request.unix_ms,
            Self::Tunnel(tunnel) => tunnel.unix_ms,
            Self::RulesPushed(pushed) => pushed.unix_ms,
            Self::Act(act) => act.unix_ms,
            Self::Gap(gap) => gap.unix_ms,
            Self::Recovered(recovered) => recovered.unix_ms,
            Self::Checkpoint(checkpoint) => checkpoint.unix_ms,
            Self::SegmentRemoved(removed) => removed.unix_ms,
            Self::Stopped(stopped) => stopped.unix_ms,
        }
    }
}
