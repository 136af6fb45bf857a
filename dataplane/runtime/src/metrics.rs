//! Where the counters of all rooms come together and become one page for Prometheus.
//!
//! Rooms declare their families as tables of [`Family`] and count through the `metrics` crate; this file installs the
//! recorder behind it, renders the page and adds what the kernel knows about the process. It counts nothing itself.

mod process;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

/// Bounds of the buckets of every histogram whose name ends in `_seconds`: from 250 us, a request inside one machine,
/// to 30 s, longer than any of our timeouts.
pub const LATENCY_BUCKETS_S: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// Bounds of the buckets of every histogram whose name ends in `_bytes`: 256 B to 1 GiB in steps of 4.
pub const SIZE_BUCKETS_BYTES: [f64; 12] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// A metric as its room declares it: once, with a help text that says what a rise means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "rooms write tables of them as constants"
)]
pub struct Family {
    /// Name with unit, such as `gateway_refused_total` or `relay_first_byte_seconds`.
    pub name: &'static str,
    /// What a rise of it means.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
}

impl Family {
    /// One line of a room's table.
    pub const fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self { name, help, kind }
    }
}

/// How a metric behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: these are the kinds the `metrics` crate has"
)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, shown as buckets.
    Histogram,
}

/// Another recorder stands where ours should: nothing that is counted would be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderTaken;

impl std::fmt::Display for RecorderTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another metrics recorder is installed in this process; install adit's first")
    }
}

impl std::error::Error for RecorderTaken {}

/// Installs the recorder of this process; later calls find it there and do nothing.
///
/// Call it before any room makes a counter: a handle made earlier counts into nothing.
///
/// # Errors
/// When another recorder was installed first.
pub fn install() -> Result<(), RecorderTaken> {
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS_S)
                .and_then(|builder| {
                    builder.set_buckets_for_metric(
                        Matcher::Suffix("_bytes".to_owned()),
                        &SIZE_BUCKETS_BYTES,
                    )
                })
                .expect("both lists of buckets have entries")
                .build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok().map(|()| handle)
        })
        .as_ref()
        .map(|_| ())
        .ok_or(RecorderTaken)
}

/// Tells the recorder (installed before) the help texts of a room's families, and keeps them for [`families`].
pub fn describe(room: &[Family]) {
    let mut declared = DECLARED.lock();
    for family in room {
        match family.kind {
            Kind::Counter => metrics::describe_counter!(family.name, family.help),
            Kind::Gauge => metrics::describe_gauge!(family.name, family.help),
            Kind::Histogram => metrics::describe_histogram!(family.name, family.help),
        }
        if !declared.contains(family) {
            debug_assert!(
                declared.iter().all(|known| known.name != family.name),
                "{} is declared by two rooms",
                family.name
            );
            declared.push(*family);
        }
    }
}

/// All families described so far and those of the process, by name.
pub fn families() -> Vec<Family> {
    let mut families = DECLARED.lock().clone();
    families.extend(process::FAMILIES);
    families.sort_by_key(|family| family.name);
    families
}

/// The page in Prometheus text format 0.0.4, process metrics included.
pub fn render() -> String {
    let mut page = match RECORDER.get() {
        Some(Some(handle)) => handle.render(),
        Some(None) | None => String::new(),
    };
    process::write(&mut page);
    page
}

/// Folds the samples of histograms into their buckets; without it they pile up between two scrapes.
///
/// The housekeeping thread calls it every [`UPKEEP_INTERVAL`].
pub fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// How often [`upkeep`] is due. Default 5 s. Worst-case memory in between: 16 bytes a histogram sample.
pub const UPKEEP_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
static DECLARED: Mutex<Vec<Family>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Family] = &[
        Family::new(
            "test_refused_total",
            "Requests refused in a test",
            Kind::Counter,
        ),
        Family::new("test_open", "Things open in a test", Kind::Gauge),
        Family::new("test_wait_seconds", "Waits in a test", Kind::Histogram),
        Family::new("test_body_bytes", "Bodies in a test", Kind::Histogram),
    ];

    #[test]
    fn what_rooms_describe_and_count_is_on_the_page() {
        install().unwrap();
        install().unwrap();
        describe(TABLE);
        describe(TABLE);
        metrics::counter!("test_refused_total", "reason" => "no-agent").increment(3);
        metrics::gauge!("test_open").set(2.0);
        metrics::histogram!("test_wait_seconds").record(0.003);
        metrics::histogram!("test_body_bytes").record(1000.0);
        upkeep();
        let page = render();
        for line in [
            "# HELP test_refused_total Requests refused in a test",
            "# TYPE test_refused_total counter",
            "test_refused_total{reason=\"no-agent\"} 3",
            "# TYPE test_open gauge",
            "test_open 2",
            "# TYPE test_wait_seconds histogram",
            "test_wait_seconds_bucket{le=\"0.0025\"} 0",
            "test_wait_seconds_bucket{le=\"0.005\"} 1",
            "test_wait_seconds_count 1",
            "test_body_bytes_bucket{le=\"256\"} 0",
            "test_body_bytes_bucket{le=\"1024\"} 1",
        ] {
            assert!(
                page.lines().any(|found| found == line),
                "no `{line}` in\n{page}"
            );
        }
    }

    #[test]
    fn the_list_of_families_names_each_once() {
        describe(TABLE);
        let families = families();
        let named = |name: &str| families.iter().filter(|known| known.name == name).count();
        assert_eq!(named("test_refused_total"), 1);
        assert_eq!(named("process_open_fds"), 1);
        assert!(families.is_sorted_by_key(|family| family.name));
    }
}
