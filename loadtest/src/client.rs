//! The clients: each kind of load is a loop on a thread of its own.

pub(crate) mod ask;
pub(crate) mod bulk;
pub(crate) mod disturb;
pub(crate) mod hold;
pub(crate) mod schedule;

/// How the threads of clients are called.
pub(crate) const THREAD_NAME: &str = "client";
