//! Stories through real programs, real sockets and real peers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

mod audit;
mod backends;
mod bulk;
mod changes;
mod connections;
mod demo;
mod fetch;
mod gateway_audit;
mod https;
mod leaks;
mod logs;
mod messages;
mod moves;
mod opaque;
mod outages;
mod proxies;
mod refusals;
mod restarts;
mod rotation;
mod rules;
mod settings;
mod signed;
mod sinks;
mod upgrade;
