//! The named limits of this room: how large keys, values, commits, pages and history may be, and why.
//!
//! They are the same for every implementation, so that what one takes the other takes.

use std::time::Duration;

/// Bytes of a key. Default 512: eight names of a subaccount's length (63) with their slashes.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of a value. Default 65 MiB: the largest rule set a node takes by push (64 MiB), and a mebibyte for its
/// signature and what else goes with it. Held three times while it is read or written: 195 MiB.
pub const VALUE_BYTES_MAX: usize = 65 * 1024 * 1024;

/// Puts and deletes of one commit. Default 60: etcd takes 128 operations (`--max-txn-ops`), a large value needs two.
pub const TXN_CHANGES_MAX: usize = 60;

/// Conditions of one commit. Default 60: etcd takes 128 (`--max-txn-ops`), and each large value adds one.
pub const TXN_CONDITIONS_MAX: usize = 60;

/// Bytes of all values of one commit. Default 65 MiB: one value of the largest size. The worst-case memory of a commit
/// is three times as much.
pub const TXN_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// Entries of one page of a list. Default 500. Worst case 500 x (512 + 100) bytes and [`PAGE_BYTES_MAX`].
pub const PAGE_ENTRIES_MAX: usize = 500;

/// Bytes of all values of one page, unless a single one is larger. Default 8 MiB: 500 values of the size that etcd
/// holds in one piece (16 KiB).
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Revisions whose changes the embedded store remembers for watches. Default 10,000: who was away for longer reads
/// everything again. On disk 10,000 x (60 x 512) bytes = 300 MB at worst, 2 MB when a commit changes two keys.
pub const HISTORY_REVISIONS_MAX: u64 = 10_000;

/// Revisions a watch of the embedded store reads at once. Default 64. Worst-case memory of a watch
/// 64 x 60 x (512 + 40) bytes = 2.1 MB.
pub const WATCH_REVISIONS_MAX: usize = 64;

/// Shortest time of a lease. Default 2 s: etcd gives no less, its elections take as long.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(2);

/// Longest time of a lease. Default 1 h: what holds one is a process that can say every few minutes that it lives.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(3600);

/// Leases of the embedded store at one time. Default 10,000: ten for each of a thousand nodes. Worst case
/// 10,000 x 64 bytes = 640 KB.
pub const LEASES_MAX: usize = 10_000;

/// Bytes of a value that etcd holds in one piece. Default 16 KiB: a commit of [`TXN_CHANGES_MAX`] such values with keys
/// of the largest size stays below etcd's 1.5 MiB for a request (`--max-request-bytes`). A page of
/// [`PAGE_ENTRIES_MAX`] of them is 8 MB, and 11 MB in base64.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one piece of a larger value in etcd. Default 1 MiB: below etcd's 1.5 MiB for a request. Held twice in
/// base64 while it is sent: 2.7 MB.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024;

// Values and keys of a commit, once more the keys of its conditions and once more those of the reads that tell a
// conflict; 200 bytes stand for what surrounds each.
const _: () = assert!(
    TXN_CHANGES_MAX * (INLINE_BYTES_MAX + KEY_BYTES_MAX + 200)
        + 2 * TXN_CONDITIONS_MAX * (KEY_BYTES_MAX + 200)
        < 1536 * 1024
);
const _: () = assert!(2 * TXN_CHANGES_MAX <= 128);
const _: () = assert!(TXN_CONDITIONS_MAX + TXN_CHANGES_MAX <= 128);
const _: () = assert!(PAGE_BYTES_MAX <= VALUE_BYTES_MAX);
const _: () = assert!(TXN_BYTES_MAX >= VALUE_BYTES_MAX);
