//! Stories of two ends: ours with ours, ours with rustls, ours with OpenSSL, and who is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod identity;
mod openssl;
mod ours;
mod rustls_peer;
mod support;
