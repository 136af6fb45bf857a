//! Bounds of the gateway that no setting changes: name, default, unit, why this number, and the memory it can cost.
//!
//! Limits of heads and bodies are `proto`'s, of streams the multiplexer's, of connections the settings'.

use std::time::Duration;

/// Refused requests that a shard remembers for `why`. Default 1024 x about 400 bytes, with the longest requests 1.5 KiB:
/// 1.5 MiB. Callers get the id of a refusal, and ask within minutes.
pub(crate) const REFUSALS_KEPT: usize = 1024;

/// Answered requests that a shard remembers for `why`. Default 4096 x about 200 bytes: 800 KiB. A second of a busy shard;
/// what must be known longer is recorded.
pub(crate) const ANSWERS_KEPT: usize = 4096;

/// Bytes of a refused request that are remembered. Default 1024: longer ones are told as far as that.
pub(crate) const WANTED_BYTES_MAX: usize = 1024;

/// How long an application that has ended its direction may wait until its conversation begins. Default 30 s: six
/// times what an agent waits for a backend by default. Beyond, it counts as one that has left.
pub(crate) const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(30);

/// How long a shard that is cut waits until its tunnels and connections have ended, and have said so to who records.
/// Default 1 s: they need a turn of the shard or two, and only an application that takes nothing or says half of what
/// it wants needs longer. No memory; the process ends later by that at worst.
pub(crate) const CUT_WAIT: Duration = Duration::from_secs(1);
