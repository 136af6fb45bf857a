//! Shards, mailboxes, clock, buffers, drain, settings, logging and the admin endpoint

pub mod admin;
pub mod housekeeping;
pub mod journal;
pub mod logging;
pub mod metrics;
pub mod settings;
