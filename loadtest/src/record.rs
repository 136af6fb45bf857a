//! What is kept of a run: every sample with its figures, the machine, the commit, the command.
//!
//! Written as JSON under date and commit; tables and pages are made from it and from nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One run of the harness.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// UTC, `2026-11-20T13:05:00Z`.
    pub(crate) begun: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// How programs were placed on processors.
    pub(crate) places: String,
    pub(crate) shards: usize,
    pub(crate) rounds: u32,
    /// Length of a measurement.
    pub(crate) seconds: f64,
    /// What could not be compared with, and why.
    pub(crate) missing: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

/// One measurement of one subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) scenario: String,
    pub(crate) variant: String,
    pub(crate) subject: String,
    pub(crate) round: u32,
    /// How long it took, with starting and ending what is measured.
    #[serde(default)]
    pub(crate) seconds: f64,
    /// By name; the unit closes the name.
    pub(crate) figures: BTreeMap<String, f64>,
    /// Latencies: percentile and microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<(f64, f64)>,
    /// Why there are no figures, or what to think of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) congestion_control: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here(processors: usize) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        let meminfo = read("/proc/meminfo");
        let kib = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<f64>().ok());
        Self {
            processor: processor.to_owned(),
            processors,
            memory_gib: kib.unwrap_or(0.0) / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control")
                .trim()
                .to_owned(),
        }
    }

    /// Whether every sender arms a timer for each piece it sends, which is what bulk measures then.
    pub(crate) fn paces(&self) -> bool {
        self.congestion_control.starts_with("bbr")
    }

    /// In one line.
    pub(crate) fn told(&self) -> String {
        format!(
            "{} x {}, {:.0} GiB, Linux {}, congestion control {}",
            self.processors, self.processor, self.memory_gib, self.kernel, self.congestion_control
        )
    }
}

impl Record {
    /// Writes the record into a new folder below `out`, named by its date and commit; says where.
    pub(crate) fn keep(&self, out: &Path) -> Result<PathBuf> {
        let folder = out.join(folder_name(&self.begun, &self.commit));
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let file = folder.join(FILE_NAME);
        self.write(&file)?;
        Ok(folder)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text).with_context(|| format!("{}", file.display()))
    }

    /// Reads a record: its file, its folder, or the newest one below a folder.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = find(path).with_context(|| format!("{}: no record", path.display()))?;
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
    }
}

fn find(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let here = path.join(FILE_NAME);
    if here.is_file() {
        return Some(here);
    }
    // Names begin with the date, so the last one is the newest.
    let records = fs::read_dir(path).ok()?.flatten();
    records
        .map(|entry| entry.path().join(FILE_NAME))
        .filter(|file| file.is_file())
        .max()
}

/// `2026-11-20T13:05:00Z` and `3e425e0` make `2026-11-20T130500Z-3e425e0`.
fn folder_name(begun: &str, commit: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|character| character.is_ascii_alphanumeric() || *character == '-')
            .collect()
    };
    format!("{}-{}", plain(begun), plain(commit))
}

/// The time now, as a record has it.
pub(crate) fn now() -> String {
    told(OffsetDateTime::now_utc())
}

fn told(time: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The commit that is checked out here, with a `+` if files differ from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|changes| !changes.is_empty()) {
        format!("{commit}+")
    } else {
        commit
    }
}

const FILE_NAME: &str = "record.json";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(
        scenario: &str,
        variant: &str,
        subject: &str,
        figures: &[(&str, f64)],
    ) -> Sample {
        Sample {
            seconds: 0.0,
            scenario: scenario.to_owned(),
            variant: variant.to_owned(),
            subject: subject.to_owned(),
            round: 1,
            figures: figures
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
            ..Sample::default()
        }
    }

    pub(crate) fn record(samples: Vec<Sample>) -> Record {
        Record {
            begun: "2026-11-20T13:05:00Z".to_owned(),
            commit: "3e425e0".to_owned(),
            command: "adit-loadtest run".to_owned(),
            machine: Machine::default(),
            places: "not pinned".to_owned(),
            shards: 1,
            rounds: 1,
            seconds: 1.0,
            missing: Vec::new(),
            samples,
        }
    }

    #[test]
    fn a_record_is_found_again_under_its_date_and_commit() {
        let out = tempfile::tempdir().unwrap();
        let mut kept = record(vec![sample("download", "1 stream", "adit", &[("a", 1.5)])]);
        kept.keep(out.path()).unwrap();
        kept.begun = "2026-11-21T13:05:00Z".to_owned();
        let folder = kept.keep(out.path()).unwrap();
        assert!(
            folder.ends_with("2026-11-21T130500Z-3e425e0"),
            "{}",
            folder.display()
        );
        let newest = Record::read(out.path()).unwrap();
        assert_eq!(newest.begun, kept.begun);
        assert_eq!(newest.samples[0].figures, kept.samples[0].figures);
    }

    #[test]
    fn times_are_told_in_utc() {
        let time = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
        assert_eq!(told(time), "2001-09-09T01:46:40Z");
    }
}
