//! Shards, mailboxes, clock, buffers, drain, settings, logging and the admin endpoint.
//!
//! A moving room: it owns threads and decides nothing about protocols or policy.
#![forbid(unsafe_code)]

pub mod admin;
pub mod buffer;
pub mod clock;
pub mod drain;
pub mod housekeeping;
pub mod journal;
pub mod local;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod pace;
pub mod recent;
pub mod resolve;
pub mod settings;
pub mod shard;
pub mod timer;
