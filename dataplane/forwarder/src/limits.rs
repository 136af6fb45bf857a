//! Every bound of this room: name, default, unit, why this number, and the memory it can cost.

use std::time::Duration;

/// Records that are sent at once. Default 200: an answer of a collector for each 200 is no load for either.
pub const BATCH_RECORDS_MAX: usize = 200;

/// Bytes of lines that are sent at once; one line more may begin below it. Default 256 KiB: less than what collectors
/// take in one request. Held once as lines and up to three times that as a message, for each sink: 1 MiB.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// For a name, TCP and TLS together. Default 10 s.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// For writing a batch, or for the answer to it. Default 30 s: a collector that needs longer has stopped.
pub const DELIVER_LIMIT: Duration = Duration::from_secs(30);

/// How long what was written to syslog may be unacknowledged by the other machine (TCP_USER_TIMEOUT). Default 10 s.
pub const UNACKED_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection must live on after lines were written to it until they count as delivered: syslog has no
/// acknowledgement. Default 15 s; above [`UNACKED_LIMIT`], so that the other machine has them by then.
pub const SETTLE: Duration = Duration::from_secs(15);

const _: () = assert!(SETTLE.as_secs() > UNACKED_LIMIT.as_secs());

/// The first wait after a failure. Default 500 ms; doubled with each further one.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two tries. Default 30 s.
pub const RETRY_CAP: Duration = Duration::from_secs(30);

/// The longest wait a collector may ask for (Retry-After). Default 5 min: one that asks for a day has a wrong clock.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Between two writings of the place that a sink has reached. Default 1 s; a crash sends what came since again.
pub const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How long the end of a process waits for sinks to take the last records. Default 3 s; what is left is sent after the
/// next start.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Until an outage that goes on is told in the log again. Default 1 h: 24 lines a day, not one a try.
pub const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Between two outages that are told in the log, and two tellings of refused records. Default 10 min: a sink that comes
/// and goes all day writes 144 lines of each, and what is left out is in the counters.
pub const TELL_APART: Duration = Duration::from_secs(600);

/// Breaks of a chain for which all that is kept is sent again, in case it was replaced. Default 16: one that was damaged
/// in more places goes on behind the break at once. 8 bytes each.
pub const BREAKS_MAX: usize = 16;

/// Bytes of a collector's answer that are read. Default 64 KiB: an error and a number.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Requests that a collector may refuse in a row while the record it means is looked for. Default 20: a batch is halved
/// eight times. Beyond it all of the batch is tried again later.
pub const REFUSALS_MAX: usize = 20;

/// Bytes of a file with header fields. Default 16 KiB: a token and some names.
pub const HEADERS_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of a file of certificates or of a key. Default 4 MiB: the roots of an operating system have 250 KiB.
pub const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;
