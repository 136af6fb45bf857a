//! Signed snapshots: what is to be in force, for whom, as which version, and who says so.
//!
//! A document is a manifest, its signatures, an empty line, and the content byte for byte:
//!
//! ```text
//! adit-manifest 1
//! audience acme/plant-1
//! epoch 1
//! version 42
//! issued 1795212000
//! bytes 1834
//! sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! signature 5d41402abc4b2a76 <64 bytes of Ed25519, base64>
//!
//! [[system]]
//! ...
//! ```
//!
//! There is one way to write a manifest, so equal manifests are equal bytes. Signed is all above
//! the first signature (RFC 8032); the content is bound by its length and hash. Lines that begin
//! with `?` between `sha256` and the signatures may be passed over by a reader that does not know
//! them; any other unknown line refuses the document.
//!
//! What the content means is left to `policy`; keeping keys, files and the clock to whoever calls.

#![forbid(unsafe_code)]

mod document;
mod error;
mod keys;
pub mod limits;
mod manifest;
mod stamp;

pub use document::{News, Verified, is_document, read, sign, verify};
pub use error::Refused;
pub use keys::{KeyError, KeyId, PublicKey, Signers, SigningKey};
pub use manifest::{Manifest, is_audience};
pub use stamp::{InForce, Stamp};
