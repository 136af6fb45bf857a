//! The cloud end: doors, authentication, routing.
//!
//! A gateway finds the tunnel for a request and carries it there. It has no arrow to `policy`: what
//! is allowed is judged by the agent alone, and nothing said here can widen it.
#![forbid(unsafe_code)]

mod authenticate;
mod control;
mod directory;
mod door;
mod expiry;
mod limits;
mod listen;
pub mod metrics;
mod records;
mod refuse;
mod run;
mod settings;
mod shard;
mod status;
mod trace;
mod tunnels;

pub use run::{Addresses, Gateway, StartError};
pub use settings::{KeySource, Limits, Settings};
