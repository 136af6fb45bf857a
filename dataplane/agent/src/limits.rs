//! Every bound of the agent: name, default, unit, why this number, and the memory it can cost.
//!
//! Limits of heads and bodies are `proto`'s, of streams the multiplexer's, of rule sets `policy`'s.

use std::time::Duration;

/// From a stream's first byte to the last of its connect request and head. Default 10 s: the gateway
/// sends both at once, so only a broken one is slower. A stream that waits costs what it has sent, at
/// most 64 KiB + 128 KiB.
pub(crate) const OPENING_WAIT: Duration = Duration::from_secs(10);

/// Tunnels to one gateway when it is left to us: one for each of its shards, at most so many. Default
/// 4: four cores' worth of one agent's traffic; about 10 KiB each while quiet.
pub(crate) const TUNNELS_AUTO_MAX: usize = 4;

/// Tunnels to one gateway that may be configured. Default 16: the most shards a gateway is run with.
pub(crate) const TUNNELS_MAX: u64 = 16;

/// Tunnels that a shard dials at once before others wait for their turn. Default 8: a handshake takes a core's time, so
/// more would end no sooner; about 100 KiB each while it lasts.
pub(crate) const DIALS_MAX: usize = 8;

/// How long a dial waits for its turn before it goes on all the same. Default 1 s: gateways that do not answer must not
/// keep the others from being dialled.
pub(crate) const DIAL_TURN_WAIT: Duration = Duration::from_secs(1);

/// A tunnel that held this long was a success: the next failure is a first one again. Default 5 s:
/// longer than any handshake, shorter than the keepalive that finds a dead one.
pub(crate) const TUNNEL_HELD: Duration = Duration::from_secs(5);

/// How long a drained tunnel stays for requests that were on their way when we said go-away, beside
/// two round trips. Default 100 ms.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// Within which time the tunnels of a renewed certificate take the places of the old ones, spread evenly. Default 2 s:
/// handshakes cost both ends, and an old certificate counts for half of its life more.
pub(crate) const RENEWED_SPREAD: Duration = Duration::from_secs(2);

/// How often facts of a tunnel are copied to `status`. Default 1 s.
pub(crate) const FACTS_EVERY: Duration = Duration::from_secs(1);

/// Quiet backend connections of one shard, all targets. Default 4096: a descriptor and about 1 KiB each
/// (TLS: about 40 KiB, so 160 MiB when all are).
pub(crate) const POOL_ALL_MAX: usize = 4096;

/// How often quiet backend connections are looked through. Default 1 s.
pub(crate) const POOL_SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Messages waiting for a shard. Default 1024: there is one a push, one a tunnel, one a drain.
pub(crate) const MAILBOX_MAX: usize = 1024;

/// Live streams judged again before other tasks of the shard run. Default 256: about 250 us.
pub(crate) const JUDGED_A_TURN: usize = 256;

/// Denied requests kept for `status` and `why`. Default 1024 x about 700 bytes: 700 KiB. Callers get the id of a refusal,
/// and ask within minutes.
pub(crate) const DENIALS_KEPT: usize = 1024;

/// Names of systems that are labels of metrics; the rest are counted as `other`. Default 100: a page
/// of metrics stays below 1 MiB.
pub(crate) const SYSTEM_LABELS_MAX: usize = 100;

/// Bytes of a CA file. Default 1 MiB: five times the bundle of a whole operating system.
pub(crate) const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Interim responses (1xx) before the final one. Default 32: a backend that says `102 Processing` every
/// second for half a minute.
pub(crate) const INTERIM_MAX: u32 = 32;

/// Bytes by which the receive windows of all tunnels together may exceed their initial size. Default
/// 256 MiB: sixteen streams of 16 MiB, 1.3 Gbit/s at 100 ms each. A promise, not memory by itself.
pub(crate) const WINDOW_BUDGET_BYTES: usize = 256 << 20;

/// Keys whose signature under pushed rules counts. Default 16: two control planes that change their keys
/// have four. 40 bytes each.
pub(crate) const SIGNING_KEYS_MAX: usize = 16;

/// Granted requests without a whole answer that a shard remembers for `why`. Default 1024 x about 500 bytes, with the
/// longest texts 2.2 KiB: 2.2 MiB. Callers get the id of a refusal, and ask within minutes.
pub(crate) const FAILURES_KEPT: usize = 1024;

/// Answered requests that a shard remembers for `why`. Default 4096 x about 500 bytes, with the longest texts 1.7 KiB:
/// 7 MiB. A second of a busy shard; what must be known longer is recorded.
pub(crate) const ANSWERS_KEPT: usize = 4096;

/// Bytes of a path, a name or a failure that are remembered of one request. Default 512: longer ones are told as far
/// as that.
pub(crate) const TOLD_BYTES_MAX: usize = 512;
