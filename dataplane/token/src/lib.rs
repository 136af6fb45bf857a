//! JWT: verified with given keys at a given time.
//!
//! A caller's token goes in with the time of day; out comes who the caller is, or one reason of a
//! closed list. Which algorithms, issuers and audiences count is configuration, never the token's
//! choice. Fetching keys, reading files, keeping the clock and answering the caller are left to
//! the gateway.

#![forbid(unsafe_code)]

mod algorithm;
pub mod cache;
mod claims;
mod error;
mod json;
mod jws;
mod keys;
pub mod limits;
mod verify;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{Caller, Claims};
pub use error::{
    AlgorithmProblem, AudienceProblem, Malformed, Part, SignatureProblem, SubaccountProblem,
    TokenError,
};
pub use keys::{KeySet, KeySetError};
pub use verify::{Settings, Verifier};
