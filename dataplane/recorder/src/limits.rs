//! Every bound of the recorder: name, default, unit, why this number, and the memory it can cost.
//!
//! Bounds that an operator sets are keys of `[audit]`, with their defaults in `settings`.

use std::time::Duration;

/// Bytes that are written and synced at once. Default 1 MiB: some 2,000 records; a sync costs as much for one. Held
/// once, and once more as lines' bodies.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;

/// How often the queue is looked at, so how long a record may wait in memory before it is written and synced. Default
/// 100 ms: ten wake-ups a second cost nothing, and a crash of the machine loses no more.
pub(crate) const BATCH_EVERY: Duration = Duration::from_millis(100);

/// Records after which a checkpoint is signed. Default 10,000: a signature costs as much as 30 records.
pub(crate) const CHECKPOINT_RECORDS: u64 = 10_000;

/// How old a record may become before a checkpoint is signed. Default 60 s, in milliseconds: 600 KB a day of a node
/// that records one request a minute.
pub(crate) const CHECKPOINT_MS: u64 = 60_000;

/// Between two tries to write after one has failed. Default 1 s, in milliseconds.
pub(crate) const RETRY_MS: u64 = 1_000;

/// Lanes that records are queued in, one a thread. Default 64: with more threads two of them share one.
pub(crate) const LANES_MAX: usize = 64;

/// Bytes of records that are read for one answer about recorded traffic. Default 32 MiB: some 100,000 records, read in
/// a fraction of a second, so that an answer comes in time. Held are one line and what `audit` holds of them.
pub(crate) const READ_BYTES_MAX: u64 = 32 * 1024 * 1024;
