//! How much of a node its admin endpoint may use.

use std::time::Duration;

/// Connections each door serves at once; more wait in the kernel. Default 64: probes, Prometheus and a few people, and
/// doors do not share it, so that a flood on TCP does not shut the operator out. Worst-case memory:
/// 2 doors x 64 x (2 x [`HEAD_BUFFER_BYTES`] + [`BODY_BYTES_MAX`]) + [`TRUSTED_BODY_BYTES_MAX`] = 82 MiB, of which a
/// stranger can cause 9 MiB.
pub const CONNECTIONS_MAX: usize = 64;

/// Largest request head, in bytes. Default 8 KiB: ours have 300 bytes; beyond it the answer is 431.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most fields of a request head. Default 64.
pub const HEAD_FIELDS_MAX: usize = 64;

/// Read and write buffer of one connection, in bytes each. Default 64 KiB.
pub const HEAD_BUFFER_BYTES: usize = 64 * 1024;

/// Largest body on TCP, in bytes. Default 16 KiB: nothing there needs one.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Largest body on the unix socket, in bytes. Default 64 MiB: a snapshot of 10,000 systems with 30 resources each.
/// Of bodies above [`BODY_BYTES_MAX`] one is held at a time, so this is the worst case too.
pub const TRUSTED_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a request's head may take, and how long a connection may be idle between two requests. Default 5 s.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long each next piece of a body may take, and on TCP the whole body. Default 5 s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection takes new requests. Default 60 s: bounds readers that never read and senders that drip.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How long the last answer of a connection may take after [`CONNECTION_LIFE`]. Default 30 s.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(30);

const _: () = assert!(BODY_BYTES_MAX < TRUSTED_BODY_BYTES_MAX);
// hyper's smallest buffer is 8 KiB.
const _: () = assert!(HEAD_BYTES_MAX < HEAD_BUFFER_BYTES && HEAD_BUFFER_BYTES >= 8192);
