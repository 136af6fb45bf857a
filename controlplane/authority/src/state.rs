//! An authority as bytes, for sealing: roots with their keys, signing keys, the version of the trust.
//!
//! JSON inside the seal, so that a later version can add to it. What is read was written by us and authenticated; it is
//! still checked, because a restored state may be of another time.

use serde::{Deserialize, Serialize};

use crate::roll::Standing;

/// What goes under the seal.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) trust_domain: String,
    pub(crate) version: u64,
    pub(crate) roots: Vec<RootText>,
    pub(crate) signing_keys: Vec<KeyText>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RootText {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) standing: Standing,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct KeyText {
    /// 32 bytes, base64.
    pub(crate) seed: String,
    pub(crate) standing: Standing,
}
