//! Nodes: agents and gateways, what they run, and how one becomes a node.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which kind.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: the two ends of a tunnel")]
pub enum NodeRole {
    /// The on-premise end.
    Agent,
    /// The cloud end.
    Gateway,
}

/// An agent or a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Node {
    /// Which kind.
    pub role: NodeRole,
    /// An agent's subaccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subaccount: Option<String>,
    /// Its name, unique among the agents of a subaccount or among the gateways.
    pub name: String,
    /// An agent's location; empty is the default one.
    pub location: String,
    /// When it became a node, in seconds since 1970.
    pub enrolled_unix_s: u64,
    /// Its newest certificate.
    pub certificate: Certificate,
    /// Whether its certificates no longer count.
    pub revoked: bool,
    /// While it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Connected>,
}

/// A node's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Certificate {
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub until_unix_s: u64,
}

/// What is known of a connected node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Connected {
    /// To which server of the control plane.
    pub server: String,
    /// Since when, in seconds since 1970.
    pub since_unix_s: u64,
    /// Name and version of its program.
    pub software: String,
    /// The rules it enforces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The last rules it refused, until it takes some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<LastNack>,
    /// Why it takes no work, a line each.
    pub not_ready: Vec<String>,
    /// What a person should look at although it works, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Tunnels that are up.
    pub tunnels: u64,
    /// Streams that are open.
    pub streams: u64,
}

/// Rules that an agent enforces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Running {
    /// The epoch they were signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Their version.
    pub version: u64,
    /// SHA-256 of the rules, 64 hexadecimal digits.
    pub sha256: String,
}

/// Rules that an agent refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct LastNack {
    /// Their version.
    pub version: u64,
    /// The reason, as a word.
    pub why: String,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// A page of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Nodes {
    /// In the order of their names.
    pub items: Vec<Node>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A wish for an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Invite {
    /// The name that the node shall have.
    pub name: String,
    /// The location that an agent shall serve; empty is the default one.
    #[serde(default)]
    pub location: String,
}

/// An invitation: whoever has the token becomes the node, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Invited {
    /// The one-time token. It is told once.
    pub token: String,
    /// The name that the node will have.
    pub name: String,
    /// When it ends, in seconds since 1970.
    pub expires_unix_s: u64,
}

impl fmt::Debug for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invited")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An invitation that nobody has used yet, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Invitation {
    /// Names it, to take it back.
    pub id: String,
    /// Which kind of node.
    pub role: NodeRole,
    /// An agent's subaccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subaccount: Option<String>,
    /// An agent's location; empty is the default one.
    pub location: String,
    /// The name that the node will have.
    pub name: String,
    /// Who invites.
    pub by: String,
    /// When it ends, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// A page of invitations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Invitations {
    /// Those that have not ended.
    pub items: Vec<Invitation>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What the nodes know of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Why {
    /// What each node that knows of it says.
    pub parts: Vec<WhyPart>,
    /// Nodes that were asked.
    pub asked: u64,
    /// Connected nodes that were not asked, because there are too many.
    #[serde(default)]
    pub unasked: u64,
    /// Nodes that did not answer in time, or nothing that is understood.
    pub silent: Vec<String>,
}

/// What one node knows of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct WhyPart {
    /// Its name.
    pub node: String,
    /// Its own words.
    #[schema(value_type = Object)]
    pub answer: serde_json::Value,
}
