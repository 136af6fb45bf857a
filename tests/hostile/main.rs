//! The attack catalogue, as far as it needs whole programs. Each test carries the id of its row.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

mod descriptors;
mod differential;
mod identity;
mod memory;
mod paths;
mod requests;
mod responses;
mod secrets;
mod slow;
mod socks;
mod tokens;
mod tunnels;
