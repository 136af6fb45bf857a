//! Files of records, read line by line into a ledger.
//!
//! What a record means, and whether a line is one, is `recorded`'s and `audit`'s; here are folders, order and bounds.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use adit_recorded::limits::LINE_BYTES_MAX;
use adit_recorded::{Callers, Defect, Facts, Ledger};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::ending::Failure;
use crate::output::Output;

/// Recorded decisions, and what there is to say of them.
pub(super) struct Evidence {
    pub(super) ledger: Ledger,
    /// What it is called in JSON.
    pub(super) member: &'static str,
    /// What was read, for people.
    pub(super) told: String,
    /// Why less may be known than has happened, a line each.
    pub(super) doubts: Vec<String>,
    /// What was read, for programs.
    pub(super) read: Value,
}

/// Files of records in a folder.
const EXTENSION: &str = "jsonl";

/// Reads the records of `paths`: files, and folders of `*.jsonl` in the order of their names.
pub(super) fn read(
    paths: &[PathBuf],
    callers: Callers,
    output: Output,
) -> Result<Evidence, Failure> {
    let mut ledger = Ledger::new(callers);
    for path in paths {
        let is_folder = fs::metadata(path)
            .map_err(|error| at(path, &error))?
            .is_dir();
        let files = if is_folder {
            listed(path)?
        } else {
            vec![path.clone()]
        };
        for file in files {
            ledger.next_file();
            file_into(&mut ledger, &file, is_folder, output)?;
        }
    }
    let facts = ledger.facts();
    let mut doubts = Vec::new();
    if facts.lost > 0 {
        doubts.push(format!(
            "{} records were lost when they were made, so less was seen than happened",
            facts.lost
        ));
    }
    if facts.unheld > 0 {
        doubts.push(format!(
            "{} decisions are counted only, for there are too many different ones; take a shorter time",
            facts.unheld
        ));
    }
    if facts.records > 0 && facts.granted == 0 && facts.denied == 0 {
        doubts.push(
            "none of these records is a decision; name the folders of agents, for gateways decide nothing"
                .to_owned(),
        );
    }
    Ok(Evidence {
        told: told(facts),
        read: value(facts),
        member: "audit",
        doubts,
        ledger,
    })
}

impl Evidence {
    /// Says on standard error why less may be known than has happened.
    pub(super) fn warn(&self, output: Output) {
        for doubt in &self.doubts {
            output.hint(format_args!("adit: {doubt}"));
        }
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let path = entry.map_err(|error| at(folder, &error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::failed(format!(
            "{}: no file of records is in this folder; they end in .{EXTENSION}",
            folder.display()
        )));
    }
    files.sort();
    Ok(files)
}

fn file_into(
    ledger: &mut Ledger,
    path: &Path,
    is_listed: bool,
    output: Output,
) -> Result<(), Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        // A node removes what is old while others read.
        Err(error) if is_listed && error.kind() == ErrorKind::NotFound => {
            output.hint(format_args!(
                "adit: {}: was removed meanwhile",
                path.display()
            ));
            return Ok(());
        }
        Err(error) => return Err(at(path, &error)),
    };
    let mut reader = BufReader::new(file);
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than a line may have, so that a longer one is known for what it is.
        let mut bounded = reader.by_ref().take(limit.saturating_add(1));
        let read = bounded.read_until(b'\n', &mut line);
        if read.map_err(|error| at(path, &error))? == 0 {
            return Ok(());
        }
        match ledger.line(&line) {
            Ok(()) => {}
            // The line that is being written at this moment.
            Err(broken) if broken.defect == Defect::Torn => {
                output.hint(format_args!(
                    "adit: {}: {broken}; read up to there",
                    path.display()
                ));
                return Ok(());
            }
            Err(broken) => {
                return Err(Failure::failed(format!("{}: {broken}", path.display())));
            }
        }
    }
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

/// What was read, in one line.
fn told(facts: Facts) -> String {
    if facts.records == 0 {
        return "no records".to_owned();
    }
    format!(
        "records from {} to {}: {} granted, {} denied",
        moment(facts.first_unix_ms),
        moment(facts.last_unix_ms),
        facts.granted,
        facts.denied
    )
}

fn value(facts: Facts) -> Value {
    json!({
        "records": facts.records,
        "granted": facts.granted,
        "denied": facts.denied,
        "first_unix_ms": facts.first_unix_ms,
        "last_unix_ms": facts.last_unix_ms,
        "lost": facts.lost,
        "unheld": facts.unheld,
    })
}

/// A time for people, in UTC and to the minute.
fn moment(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(time) => format!(
            "{} {:02}:{:02} UTC",
            time.date(),
            time.hour(),
            time.minute()
        ),
        Err(_) => format!("{unix_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_removed_after_it_was_listed_is_passed_over_and_one_that_was_named_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("0000000001.jsonl");
        let mut ledger = Ledger::new(Callers::Apart);
        let output = Output::new(false);
        assert_eq!(file_into(&mut ledger, &gone, true, output), Ok(()));
        assert!(file_into(&mut ledger, &gone, false, output).is_err());
    }
}
