//! Recorded decisions of a location's agents, put together: who asked for what, and how often.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the agents of a location have recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Traffic {
    /// From when on, in seconds since 1970.
    pub since_unix_s: u64,
    /// Agents that have told what they recorded.
    pub agents: Vec<TrafficAgent>,
    /// Agents that have told nothing; what they let through is missing here.
    pub silent: Vec<TrafficSilent>,
    /// Agents that were not asked, because there are too many.
    pub unasked: u64,
    /// The requests, the most frequent first.
    pub requests: Vec<TrafficRequest>,
    /// Further grants, of which only the rule is told.
    pub rules: Vec<TrafficRule>,
    /// Further grants, of which nothing is told.
    pub more_granted: u64,
    /// Further denials, of which nothing is told.
    pub more_denied: u64,
}

/// What an agent has told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct TrafficAgent {
    /// Its name.
    pub name: String,
    /// Which decisions it records now.
    pub level: TrafficLevel,
    /// When its oldest record was made, in milliseconds since 1970; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_unix_ms: Option<u64>,
    /// Whether all of its records were read.
    pub complete: bool,
    /// Records that it could not keep, as it says itself.
    pub lost: u64,
    /// Lines of its records that are none.
    pub unreadable: u64,
}

/// Which decisions an agent records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: none, the denied ones, all"
)]
pub enum TrafficLevel {
    /// None.
    Off,
    /// Denials: what it granted is not known.
    Denied,
    /// Denials and grants.
    All,
}

/// An agent that has told nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct TrafficSilent {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A request, and how often it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct TrafficRequest {
    /// Who asked.
    pub caller: String,
    /// Virtual host and port.
    pub system: String,
    /// With which method; absent for opaque streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path as it was recorded: bytes that cannot be printed stand as `\xNN`; absent for opaque streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it asked to change the protocol.
    pub upgrade: bool,
    /// Whether it was granted.
    pub granted: bool,
    /// The rule that granted, or the reason to deny.
    pub ground: String,
    /// How often.
    pub count: u64,
    /// When last, in milliseconds since 1970.
    pub last_unix_ms: u64,
}

/// Grants of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct TrafficRule {
    /// Virtual host and port.
    pub system: String,
    /// With which method; absent for opaque streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The rule that granted.
    pub rule: String,
    /// How often.
    pub count: u64,
}
