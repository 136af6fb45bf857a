//! Acts: who changed what in the control plane.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that was done in the control plane, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Act {
    /// Its number: one more than the one before.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Who.
    pub who: String,
    /// What was asked for, as a word.
    pub verb: String,
    /// Of which subaccount; absent for what belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subaccount: Option<String>,
    /// On what.
    pub what: String,
    /// Further words, such as the version that came of it.
    pub detail: String,
    /// The id of the request.
    pub request_id: String,
}

/// A page of acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Acts {
    /// In the order in which they happened.
    pub items: Vec<Act>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
