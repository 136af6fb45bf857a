//! What the recorder counts. Each family is declared here once.

use adit_runtime::metrics::{Family, Kind};
use metrics::{Counter, Gauge};

/// The recorder's families.
pub const FAMILIES: &[Family] = &[
    Family::new(
        "recorder_records_written_total",
        "Audit records written and synced",
        Kind::Counter,
    ),
    Family::new(
        "recorder_records_lost_total",
        "Audit records lost because the spool was full; a gap record of the chain tells how many and since when",
        Kind::Counter,
    ),
    Family::new(
        "recorder_written_bytes_total",
        "Bytes of audit records written and synced",
        Kind::Counter,
    ),
    Family::new(
        "recorder_checkpoints_total",
        "Checkpoints signed and written",
        Kind::Counter,
    ),
    Family::new(
        "recorder_segments_removed_total",
        "Segments removed by age or because there was no room for them",
        Kind::Counter,
    ),
    Family::new(
        "recorder_write_failures_total",
        "Writes that failed and are tried again; a full disk is the usual cause",
        Kind::Counter,
    ),
    Family::new(
        "recorder_queue_bytes",
        "Audit records in memory that wait to be written; records are lost when it reaches spool_bytes",
        Kind::Gauge,
    ),
    Family::new(
        "recorder_unwritable",
        "1 while audit records cannot be written, else 0; `status` says why",
        Kind::Gauge,
    ),
    Family::new(
        "recorder_last_write_unix_seconds",
        "When audit records were written last, as Unix time",
        Kind::Gauge,
    ),
    Family::new(
        "recorder_kept_bytes",
        "Bytes of all segments that are kept",
        Kind::Gauge,
    ),
];

/// Handles of the writer.
pub(crate) struct Counters {
    pub(crate) written: Counter,
    pub(crate) lost: Counter,
    pub(crate) bytes: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) removed: Counter,
    pub(crate) failures: Counter,
    pub(crate) queue: Gauge,
    pub(crate) unwritable: Gauge,
    pub(crate) last_write: Gauge,
    pub(crate) kept: Gauge,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            written: metrics::counter!("recorder_records_written_total"),
            lost: metrics::counter!("recorder_records_lost_total"),
            bytes: metrics::counter!("recorder_written_bytes_total"),
            checkpoints: metrics::counter!("recorder_checkpoints_total"),
            removed: metrics::counter!("recorder_segments_removed_total"),
            failures: metrics::counter!("recorder_write_failures_total"),
            queue: metrics::gauge!("recorder_queue_bytes"),
            unwritable: metrics::gauge!("recorder_unwritable"),
            last_write: metrics::gauge!("recorder_last_write_unix_seconds"),
            kept: metrics::gauge!("recorder_kept_bytes"),
        }
    }
}

/// Exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float"
)]
pub(crate) fn as_gauge(number: u64) -> f64 {
    number as f64
}
