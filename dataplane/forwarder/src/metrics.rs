//! What is counted. Each family is declared here once; labels come from closed lists.

use std::time::Duration;

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a line of the table below")]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What a rise of it means.
    pub help: &'static str,
    /// Whether it may fall; all others only grow.
    pub is_gauge: bool,
}

/// The families of whoever sends records on, by sink.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "forwarder_records_sent_total",
        help: "Audit records written to a sink, those written again included, by sink",
        is_gauge: false,
    },
    Family {
        name: "forwarder_failures_total",
        help: "Tries to send that failed and are made again, by sink and why; `status` has the words",
        is_gauge: false,
    },
    Family {
        name: "forwarder_gap_records_total",
        help: "Audit records that were removed here before the sink had them, by sink; it is told",
        is_gauge: false,
    },
    Family {
        name: "forwarder_rejected_records_total",
        help: "Audit records that the collector refused for good, by sink",
        is_gauge: false,
    },
    Family {
        name: "forwarder_lag_records",
        help: "Audit records that the sink has not been sent, by sink",
        is_gauge: true,
    },
    Family {
        name: "forwarder_lag_seconds",
        help: "Age of the oldest audit record that the sink has not been sent, by sink; 0 when there is none",
        is_gauge: true,
    },
];

/// Says what each metric means, once.
pub(crate) fn describe() {
    for family in FAMILIES {
        if family.is_gauge {
            metrics::describe_gauge!(family.name, family.help);
        } else {
            metrics::describe_counter!(family.name, family.help);
        }
    }
}

pub(crate) fn sent(sink: &'static str, records: u64) {
    metrics::counter!("forwarder_records_sent_total", "sink" => sink).increment(records);
}

pub(crate) fn failed(sink: &'static str, why: &'static str) {
    metrics::counter!("forwarder_failures_total", "sink" => sink, "why" => why).increment(1);
}

pub(crate) fn gap(sink: &'static str, records: u64) {
    metrics::counter!("forwarder_gap_records_total", "sink" => sink).increment(records);
}

pub(crate) fn rejected(sink: &'static str, records: u64) {
    metrics::counter!("forwarder_rejected_records_total", "sink" => sink).increment(records);
}

pub(crate) fn lag(sink: &'static str, records: u64, age: Duration) {
    metrics::gauge!("forwarder_lag_records", "sink" => sink).set(as_gauge(records));
    metrics::gauge!("forwarder_lag_seconds", "sink" => sink).set(age.as_secs_f64());
}

/// Exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float"
)]
fn as_gauge(number: u64) -> f64 {
    number as f64
}
