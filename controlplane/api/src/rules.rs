//! Rules: what is in force for the agents of a location, its versions, and how far a version has come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The rules that the agents of a location have or shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Rules {
    /// What is in force.
    #[serde(flatten)]
    pub version: Version,
    /// A version that only some agents have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The rules, TOML.
    pub text: String,
}

/// A version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Canary {
    /// The version.
    pub version: u64,
    /// The agents that have it.
    pub agents: Vec<String>,
}

/// One version of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Version {
    /// The subaccount.
    pub subaccount: String,
    /// The location; empty is the default one.
    pub location: String,
    /// The control plane's epoch.
    pub epoch: u64,
    /// Its number: one more than the one before.
    pub version: u64,
    /// SHA-256 of the rules, 64 hexadecimal digits.
    pub sha256: String,
    /// Exposed systems.
    pub systems: u64,
    /// Their resources.
    pub resources: u64,
    /// When it was made, in seconds since 1970.
    pub changed_unix_s: u64,
    /// By whom.
    pub changed_by: String,
    /// What they said about it.
    pub message: String,
    /// How it came to be.
    pub change: Change,
}

/// How a version came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: what the server can do")]
pub enum Change {
    /// Somebody wrote new rules.
    Applied {},
    /// The rules of an earlier version came back.
    RolledBack {
        /// The earlier version.
        to: u64,
    },
    /// A backup was restored.
    Restored {
        /// The version in the backup.
        version: u64,
        /// The epoch it was of.
        epoch: u64,
    },
    /// A trial ended, and what was before came back.
    Abandoned {
        /// The version that was on trial.
        canary: u64,
    },
}

/// Versions, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Versions {
    /// Newest first.
    pub items: Vec<Version>,
    /// Where there are more: what to give as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A location that has rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct RuleSet {
    /// The subaccount.
    pub subaccount: String,
    /// The location; empty is the default one.
    pub location: String,
    /// The version in force.
    pub version: u64,
}

/// Locations that have rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct RuleSets {
    /// In the order of their names.
    pub items: Vec<RuleSet>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Applied {
    /// The version that is in force, or on trial.
    pub version: u64,
    /// The control plane's epoch.
    pub epoch: u64,
    /// SHA-256 of the rules, 64 hexadecimal digits.
    pub sha256: String,
    /// Whether there was anything to change.
    pub changed: bool,
    /// Whether only some agents have it.
    pub canary: bool,
}

/// Which version is to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Rollback {
    /// The version whose rules come back, as a new version.
    pub to: u64,
    /// Why.
    #[serde(default)]
    pub message: String,
}

/// How far a version has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Rollout {
    /// The version that is in force.
    pub version: u64,
    /// Agents of the location that are connected.
    pub connected: u64,
    /// Those of them that have what they shall have.
    pub acked: u64,
    /// All agents of the location.
    pub agents: Vec<RolloutNode>,
}

/// How far an agent has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct RolloutNode {
    /// Its name.
    pub name: String,
    /// The version it shall have.
    pub wanted: u64,
    /// The version it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How far it has come.
    pub state: NodeState,
    /// Why it refused, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How far an agent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: what a rollout can say")]
pub enum NodeState {
    /// It enforces what it shall.
    InForce,
    /// It was told and has not answered.
    Pending,
    /// It refused.
    Refused,
    /// It is not connected; it gets the rules when it comes back.
    Away,
}

/// A request to be judged by the rules in force on a live agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Explain {
    /// The request: `GET http://erp.virtual:80/path` or `tcp://db.virtual:5432`.
    pub request: String,
}
