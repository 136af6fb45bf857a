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
