//! A node and a made-up control plane, on real connections.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one thing and passes over all others"
)]

mod authority;
mod distrust;
mod enrolling;
mod limits;
mod renewing;
mod server;
mod subscribing;
mod trusting;
mod world;
