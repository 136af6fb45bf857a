//! What the kernel knows about this process, read from `/proc` whenever the page is rendered.
//!
//! Names and meanings are those of Prometheus' own client libraries, so that ready-made dashboards find them. What
//! cannot be read is left out.

use std::fmt::Write;
use std::fs;

use super::{Family, Kind};

pub(super) const FAMILIES: [Family; 5] = [
    Family::new(
        "process_log_events_lost_total",
        "Log events not written because whoever reads standard error is too slow; traffic does not wait for it",
        Kind::Counter,
    ),
    Family::new(
        "process_cpu_seconds_total",
        "CPU time spent, user and system, in seconds",
        Kind::Counter,
    ),
    Family::new(
        "process_open_fds",
        "Open file descriptors; sockets are most of them",
        Kind::Gauge,
    ),
    Family::new(
        "process_resident_memory_bytes",
        "Memory in RAM; steady growth under steady load is a leak",
        Kind::Gauge,
    ),
    Family::new(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970; a rise is a restart",
        Kind::Gauge,
    ),
];

pub(super) fn write(page: &mut String) {
    let values = [
        Some(events_lost()),
        cpu_seconds(),
        open_fds(),
        resident_bytes(),
        start_time_seconds(),
    ];
    for (family, value) in FAMILIES.iter().zip(values) {
        let Some(value) = value else { continue };
        let Family { name, help, kind } = family;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(
            page,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        )
        .expect("writing to a string succeeds");
    }
}

fn events_lost() -> f64 {
    let lost = u32::try_from(crate::logging::lost()).unwrap_or(u32::MAX);
    f64::from(lost)
}

/// proc_pid_stat(5), fields 14 and 15: utime and stime, in ticks.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(stat_field(&stat, 14)? / TICKS_PER_SECOND + stat_field(&stat, 15)? / TICKS_PER_SECOND)
}

fn open_fds() -> Option<f64> {
    let listed = u32::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    // One of them was the descriptor that listed them.
    Some(f64::from(listed.saturating_sub(1)))
}

/// proc_pid_status(5), VmRSS, in units of 1024 bytes whatever the page size.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// proc_pid_stat(5), field 22: ticks after boot; proc_stat(5), btime: when that was.
fn start_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(boot + stat_field(&stat, 22)? / TICKS_PER_SECOND)
}

/// Field `number` of a stat line, counted from 1 as the manual does. The second is the program's name in parentheses,
/// which may hold spaces and parentheses of its own, so counting starts behind the last one.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

/// USER_HZ: part of the kernel's user-space ABI and 100 on every architecture we build for, whatever CONFIG_HZ says.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_programs_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 12345 0 0";
        assert_eq!(stat_field(stat, 14), Some(250.0));
        assert_eq!(stat_field(stat, 15), Some(50.0));
        assert_eq!(stat_field(stat, 22), Some(12345.0));
        assert_eq!(stat_field(stat, 99), None);
        assert_eq!(stat_field("no name", 14), None);
    }

    #[test]
    fn the_page_tells_memory_descriptors_cpu_and_start() {
        let mut page = String::new();
        write(&mut page);
        let value = |name: &str| -> f64 {
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                .unwrap_or_else(|| panic!("no {name} in\n{page}"));
            line.parse().unwrap()
        };
        assert!(
            value("process_resident_memory_bytes") > 100_000.0,
            "no Rust program fits in less"
        );
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let started = value("process_start_time_seconds");
        assert!(
            started <= now + 2.0 && started > now - 3600.0,
            "{started} is not shortly before {now}"
        );
    }

    #[test]
    fn an_opened_file_is_one_more_descriptor() {
        // Other tests of this process open and close files too, so enough are opened here to stand out.
        let before = open_fds().unwrap();
        let files: Vec<_> = (0..200)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let after = open_fds().unwrap();
        assert!(after >= before + 100.0, "{before} and then {after}");
        drop(files);
    }
}
