//! Why a request was not done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not done (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Problem {
    /// The kind, as a word after `urn:adit:problem:`.
    #[serde(rename = "type")]
    #[schema(example = "urn:adit:problem:stale")]
    pub kind: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong and how to mend it.
    pub title: String,
    /// What is wrong with rules or their tests, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The request's id, as in the header `x-request-id`.
    #[serde(default)]
    pub request_id: String,
}
