//! What is shown of a record, and how good adit wants to be.

mod plane;

/// A line of the table: one figure of one variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) label: &'static str,
    pub(crate) goal: Goal,
    pub(crate) better: Better,
}

/// What adit's median is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// It is told, no more.
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

impl Goal {
    /// Whether `value` is good enough; nothing where there is no goal.
    pub(crate) fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
        }
    }

    pub(crate) fn told(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(most) => format!("<= {}", crate::figure::shown(most)),
            Self::AtLeast(least) => format!(">= {}", crate::figure::shown(least)),
        }
    }
}

const fn lower(
    scenario: &'static str,
    variant: &'static str,
    figure: &'static str,
    label: &'static str,
    goal: Goal,
) -> Row {
    Row {
        scenario,
        variant,
        figure,
        label,
        goal,
        better: Better::Lower,
    }
}

const fn higher(
    scenario: &'static str,
    variant: &'static str,
    figure: &'static str,
    label: &'static str,
    goal: Goal,
) -> Row {
    Row {
        better: Better::Higher,
        ..lower(scenario, variant, figure, label, goal)
    }
}

use Goal::{AtLeast, AtMost};

/// The table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> + Clone {
    ROWS.iter().chain(&plane::ROWS)
}

/// The table of the data plane. CPU is user and system time of all processes of the tunnel.
const ROWS: [Row; 75] = [
    lower(
        "download",
        "1 stream",
        "cpu_s_per_gb",
        "CPU-s/GB",
        AtMost(1.0),
    ),
    higher("download", "1 stream", "gb_per_s", "GB/s", Goal::None),
    lower(
        "download",
        "16 streams",
        "cpu_s_per_gb",
        "CPU-s/GB",
        AtMost(0.9),
    ),
    higher("download", "16 streams", "gb_per_s", "GB/s", Goal::None),
    lower(
        "upload",
        "1 stream",
        "cpu_s_per_gb",
        "CPU-s/GB",
        AtMost(0.9),
    ),
    higher("upload", "1 stream", "gb_per_s", "GB/s", Goal::None),
    lower(
        "upload",
        "16 streams",
        "cpu_s_per_gb",
        "CPU-s/GB",
        AtMost(0.85),
    ),
    higher("upload", "16 streams", "gb_per_s", "GB/s", Goal::None),
    lower(
        "requests",
        "64 connections",
        "cpu_us",
        "CPU us/request",
        AtMost(20.0),
    ),
    higher(
        "requests",
        "64 connections",
        "per_s",
        "requests/s",
        Goal::None,
    ),
    lower("requests", "64 connections", "p50_us", "p50 us", Goal::None),
    lower("requests", "64 connections", "p99_us", "p99 us", Goal::None),
    lower(
        "requests",
        "64 connections",
        "p999_us",
        "p99.9 us",
        Goal::None,
    ),
    lower(
        "requests",
        "64 connections",
        "failed",
        "failed",
        AtMost(0.0),
    ),
    lower(
        "requests",
        "512 connections",
        "cpu_us",
        "CPU us/request",
        AtMost(18.0),
    ),
    higher(
        "requests",
        "512 connections",
        "per_s",
        "requests/s",
        Goal::None,
    ),
    lower(
        "requests",
        "512 connections",
        "p50_us",
        "p50 us",
        Goal::None,
    ),
    lower(
        "requests",
        "512 connections",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "requests",
        "512 connections",
        "p999_us",
        "p99.9 us",
        Goal::None,
    ),
    lower(
        "requests",
        "512 connections",
        "failed",
        "failed",
        AtMost(0.0),
    ),
    lower(
        "churn",
        "64 at a time",
        "cpu_us",
        "CPU us/connection",
        AtMost(55.0),
    ),
    higher(
        "churn",
        "64 at a time",
        "per_s",
        "connections/s",
        Goal::None,
    ),
    lower("churn", "64 at a time", "p99_us", "p99 us", Goal::None),
    lower("churn", "64 at a time", "failed", "failed", AtMost(0.0)),
    lower(
        "memory",
        "1000 streams",
        "user_kb",
        "KiB/stream, both ends",
        AtMost(3.0),
    ),
    lower(
        "memory",
        "1000 streams",
        "kernel_kb",
        "KiB/stream in the kernel",
        Goal::None,
    ),
    lower("memory", "1000 streams", "base_mb", "MB before", Goal::None),
    lower(
        "memory",
        "10000 streams",
        "user_kb",
        "KiB/stream, both ends",
        AtMost(3.0),
    ),
    lower(
        "memory",
        "10000 streams",
        "kernel_kb",
        "KiB/stream in the kernel",
        Goal::None,
    ),
    lower(
        "memory",
        "10000 streams",
        "after_mb",
        "MB afterwards",
        Goal::None,
    ),
    lower(
        "memory",
        "1000 tunnels",
        "gateway_kb",
        "KiB/tunnel, gateway",
        AtMost(24.0),
    ),
    lower(
        "memory",
        "1000 tunnels",
        "agent_kb",
        "KiB/tunnel, agent",
        AtMost(24.0),
    ),
    lower("latency", "200 requests/s", "p50_us", "p50 us", Goal::None),
    lower("latency", "200 requests/s", "p99_us", "p99 us", Goal::None),
    lower(
        "latency",
        "200 requests/s",
        "added_p50_us",
        "p50 us above direct",
        AtMost(45.0),
    ),
    lower(
        "latency",
        "200 requests/s",
        "added_p99_us",
        "p99 us above direct",
        AtMost(200.0),
    ),
    lower("isolation", "alone", "p50_us", "p50 us", Goal::None),
    lower("isolation", "alone", "p99_us", "p99 us", Goal::None),
    lower("isolation", "alone", "p999_us", "p99.9 us", Goal::None),
    lower(
        "isolation",
        "1 stalled reader",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "isolation",
        "1 stalled reader",
        "times_alone",
        "p99 / alone",
        AtMost(1.2),
    ),
    lower(
        "isolation",
        "32 stalled readers",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "isolation",
        "32 stalled readers",
        "times_alone",
        "p99 / alone",
        AtMost(1.2),
    ),
    lower(
        "isolation",
        "dripping reader",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "isolation",
        "dripping reader",
        "times_alone",
        "p99 / alone",
        AtMost(1.2),
    ),
    lower(
        "isolation",
        "open/reset flood",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "isolation",
        "open/reset flood",
        "times_alone",
        "p99 / alone",
        AtMost(1.2),
    ),
    lower(
        "isolation",
        "bulk at full speed",
        "p99_us",
        "p99 us",
        Goal::None,
    ),
    lower(
        "isolation",
        "bulk at full speed",
        "times_alone",
        "p99 / alone",
        AtMost(3.0),
    ),
    lower(
        "outage",
        "reset",
        "noticed_ms",
        "noticed by both, ms",
        AtMost(50.0),
    ),
    lower(
        "outage",
        "reset",
        "back_ms",
        "back after, ms",
        AtMost(1000.0),
    ),
    lower("outage", "reset", "failed", "failed requests", Goal::None),
    lower(
        "outage",
        "reset",
        "failed_after",
        "failed, new after noticing",
        AtMost(0.0),
    ),
    lower(
        "outage",
        "silent",
        "noticed_ms",
        "noticed by both, ms",
        AtMost(10_000.0),
    ),
    lower("outage", "silent", "back_ms", "back after, ms", Goal::None),
    lower("outage", "silent", "failed", "failed requests", Goal::None),
    lower(
        "outage",
        "silent",
        "failed_after",
        "failed, new after noticing",
        AtMost(0.0),
    ),
    lower(
        "outage",
        "dark for 12 s",
        "noticed_ms",
        "noticed by both, ms",
        AtMost(10_000.0),
    ),
    lower(
        "outage",
        "dark for 12 s",
        "back_ms",
        "back after the path, ms",
        AtMost(1000.0),
    ),
    lower(
        "outage",
        "dark for 12 s",
        "failed",
        "failed requests",
        Goal::None,
    ),
    higher(
        "delay",
        "10 ms, 1 stream",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "10 ms, 16 streams",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "50 ms, 1 stream",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "50 ms, 16 streams",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "100 ms, 1 stream",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "100 ms, 1 stream",
        "of_direct",
        "share of plain TCP",
        AtLeast(0.9),
    ),
    higher(
        "delay",
        "100 ms, 16 streams",
        "mbit_per_s",
        "Mbit/s",
        Goal::None,
    ),
    higher(
        "delay",
        "100 ms, 16 streams",
        "of_direct",
        "share of plain TCP",
        Goal::None,
    ),
    lower(
        "push",
        "50 % load",
        "failed",
        "failed requests",
        AtMost(0.0),
    ),
    lower(
        "push",
        "50 % load",
        "still_p99_us",
        "p99 us without pushes",
        Goal::None,
    ),
    lower(
        "push",
        "50 % load",
        "p99_us",
        "p99 us with pushes",
        Goal::None,
    ),
    lower(
        "push",
        "50 % load",
        "p99_more_percent",
        "p99, % more",
        AtMost(5.0),
    ),
    higher(
        "shards",
        "1 shards",
        "gb_per_s",
        "GB/s, 16 streams",
        Goal::None,
    ),
    higher(
        "shards",
        "1 shards",
        "per_s",
        "requests/s, 64 connections",
        Goal::None,
    ),
    lower("shards", "1 shards", "cpu_us", "CPU us/request", Goal::None),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{SCENARIOS, cases};

    #[test]
    fn a_goal_includes_its_border() {
        assert_eq!(AtMost(20.0).met(20.0), Some(true));
        assert_eq!(AtMost(20.0).met(20.01), Some(false));
        assert_eq!(AtLeast(0.9).met(0.9), Some(true));
        assert_eq!(AtLeast(0.9).met(0.899), Some(false));
        assert_eq!(Goal::None.met(1.0), None);
    }

    #[test]
    fn every_row_is_of_a_case_there_is_and_every_case_has_a_row() {
        let mut seen = 0;
        for scenario in &SCENARIOS {
            for case in cases(scenario, false, 1) {
                seen += 1;
                assert!(
                    rows().any(|row| row.scenario == case.scenario && row.variant == case.variant),
                    "{case:?}"
                );
            }
        }
        assert!(seen > 20);
        for row in rows() {
            let scenario = crate::case::named(row.scenario)[0];
            let known = cases(scenario, false, 4);
            assert!(
                known.iter().any(|case| case.variant == row.variant),
                "{row:?}"
            );
        }
    }
}
