//! Every bound of this room: name, default, unit, why this number, and the memory it can cost.
//!
//! Sizes of messages are `proto`'s; how often a control plane says something is part of its contract there.

use std::time::Duration;

use adit_proto::control::BEAT_SECONDS;

/// The longest wait between two tries to reach a control plane. Default 30 s: a fleet that lost it comes back within
/// half a minute, spread evenly.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(30);

/// For a name, TCP, proxy and TLS together, and for the head of each answer. Default 10 s: a path that needs longer
/// would not carry the beats.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Silence after which a connection counts as dead. 9 s: three beats.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(3 * BEAT_SECONDS);

/// How soon a control plane hears that a node became ready or unready, or has another number of tunnels, at most; and
/// so how often it is told of that. Default 500 ms: a person does not wait for it, and ten thousand nodes that lose their
/// gateway at once say so in half a second, spread by when each subscribed.
pub(crate) const NEWS_EVERY: Duration = Duration::from_millis(500);

/// A subscription that held this long was a success: the next failure is a first one again. Default 5 s.
pub(crate) const HELD: Duration = Duration::from_secs(5);

/// The wait after a control plane said that coming back cannot help. Default 5 min: an operator may have changed their
/// mind.
pub(crate) const UNWANTED_WAIT: Duration = Duration::from_secs(300);

/// Questions answered at once; further ones get 503. Default 4: they share one thread. 1 MiB each.
pub(crate) const ANSWERS_MAX: usize = 4;

/// Addresses of control planes that may be configured. Default 16.
pub(crate) const URLS_MAX: usize = 16;

/// Bytes of an answer that says no which are read. Default 16 KiB: a sentence.
pub(crate) const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Problems in a nack. 100, as its contract says; a line each of at most 1 KiB, so 100 KiB.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// Bytes of a file of the identity. Default 2 MiB: the longest is the trust, which comes in a message of at most 1 MiB.
pub(crate) const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Bytes of an invitation's text. Default 256: ours have 114.
pub(crate) const INVITATION_BYTES_MAX: usize = 256;

/// How often a renewal looks at the calendar, at most. Default 60 s: what a suspended machine is late at most.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(60);
