//! The control plane about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Status {
    /// The server that answers.
    pub server: String,
    /// Its version.
    pub software: String,
    /// Counts the lives of the control plane: rises with a restore.
    pub epoch: u64,
    /// `embedded` or `etcd`.
    pub store: String,
    /// All servers that are up.
    pub servers: Vec<Server>,
    /// Nodes that are connected to this one.
    pub connected: u64,
    /// Where acts are sent to, as told by the server that sends them; empty when nobody does.
    #[serde(default)]
    pub sinks: Vec<ActsSink>,
}

/// Where acts are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct ActsSink {
    /// `syslog` or `otlp`.
    pub sink: String,
    /// Where it is.
    pub target: String,
    /// The server that sends.
    pub server: String,
    /// The number of the last act that counts as delivered.
    pub delivered: u64,
    /// When it last took acts, in seconds since 1970; 0 when it did not since that server began to send.
    pub delivered_unix_s: u64,
    /// Acts that it has not been sent.
    pub lag_records: u64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: u64,
    /// Acts that were removed here before it had them, since that server began to send.
    pub gap_records: u64,
    /// What was wrong at the last try; none when nothing was.
    pub trouble: Option<String>,
}

/// A server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Since when it is up, in seconds since 1970.
    pub since_unix_s: u64,
    /// Its version.
    pub software: String,
}

/// The certificate authority and the keys that sign rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Authority {
    /// The first part of every identity.
    pub trust_domain: String,
    /// What nodes trust.
    pub roots: Vec<Root>,
    /// What agents take rules from.
    pub signing_keys: Vec<SigningKey>,
    /// The roots, PEM.
    pub roots_pem: String,
    /// Certificates that no longer count, by serial number.
    pub revoked: Vec<String>,
    /// Grows with every change of trust.
    pub trust_version: u64,
}

/// A root certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Root {
    /// SHA-256 of its public key, 64 hexadecimal digits.
    pub pin: String,
    /// When it ends, in seconds since 1970.
    pub until_unix_s: u64,
    /// Whether it issues certificates, or is only trusted.
    pub issues: bool,
}

/// A key that signs rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct SigningKey {
    /// The first 16 digits of the SHA-256 of its public half.
    pub id: String,
    /// Whether it signs, or is only trusted.
    pub signs: bool,
}

/// A step of a roll-over, in this order, with time between them for all nodes to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: the steps of a roll-over")]
pub enum AuthorityStep {
    /// A second one is made and trusted.
    Begin,
    /// The second one is used.
    Switch,
    /// The first one is no longer trusted.
    Finish,
}
