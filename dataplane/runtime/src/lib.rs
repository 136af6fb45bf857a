//! Shards, mailboxes, clock, buffers, drain, settings, logging and the admin endpoint
