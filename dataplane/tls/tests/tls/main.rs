//! Stories of two ends: ours with ours, ours with rustls, ours with OpenSSL, and who is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the room is quiet, its foreign peers are not: they are programs behind sockets"
)]

mod identity;
mod openssl;
mod ours;
mod rustls_peer;
mod support;
