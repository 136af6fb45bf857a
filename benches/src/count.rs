//! Counts the cases, each in a process of its own under callgrind, and tells how they stand.
//!
//! Instructions, because they are the same on a busy machine and a quiet one. They are not time:
//! what memory and branches cost is not in them.

mod budget;
mod callgrind;
mod report;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use adit_benches::{Case, Who, cases};

use budget::Budgets;
use report::Row;

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) json: bool,
    pub(crate) write: bool,
    pub(crate) baselines: bool,
    /// Only these cases; empty for all.
    pub(crate) names: Vec<String>,
}

/// Why nothing was counted.
#[derive(Debug)]
pub(crate) enum CountError {
    /// The command line.
    Usage(String),
    /// Not on this machine.
    NotHere(String),
    /// Something broke.
    Broken(String),
}

impl CountError {
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Broken(_) => ExitCode::from(2),
            // What test runners take for "skipped".
            Self::NotHere(_) => ExitCode::from(77),
        }
    }
}

impl fmt::Display for CountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NotHere(text) | Self::Broken(text) => f.write_str(text),
        }
    }
}

/// Counts, compares, tells.
pub(crate) fn count(wanted: &Wanted) -> Result<ExitCode, CountError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(CountError::NotHere(
            "budgets are of x86_64 and this is another processor: nothing was counted".to_owned(),
        ));
    }
    callgrind::is_there()?;
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml"));
    let text = std::fs::read_to_string(&path)
        .map_err(|cause| CountError::Broken(format!("{}: {cause}", path.display())))?;
    let mut budgets = Budgets::parse(&text)
        .map_err(|problem| CountError::Broken(format!("{}: {problem}", path.display())))?;

    let chosen: Vec<Case> = cases()
        .into_iter()
        .filter(|case| wanted.baselines || case.who == Who::Adit)
        .filter(|case| wanted.names.is_empty() || wanted.names.iter().any(|n| n == case.name))
        .collect();
    let counted = callgrind::count(&chosen)?;

    let ours = chosen
        .iter()
        .zip(&counted)
        .filter(|(case, _)| case.who == Who::Adit);
    if wanted.write {
        for (case, instructions) in ours {
            budgets.set(case.name, case.unit, *instructions);
        }
        if wanted.names.is_empty() {
            budgets.keep_only(&chosen);
        }
        std::fs::write(&path, budgets.to_string())
            .map_err(|cause| CountError::Broken(format!("{}: {cause}", path.display())))?;
    }

    let mut rows: Vec<Row> = chosen
        .iter()
        .zip(&counted)
        .map(|(case, instructions)| Row::of(case, *instructions, &budgets))
        .collect();
    if wanted.names.is_empty() {
        rows.extend(
            budgets
                .without_case(&chosen)
                .into_iter()
                .map(Row::without_case),
        );
    }
    say(&if wanted.json {
        report::json(&rows)
    } else {
        report::table(&rows)
    });
    Ok(if rows.iter().any(Row::fails) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What runs under callgrind: the case is set up and warmed by one run, then `runs` runs are counted.
pub(crate) fn once(case: &Case, runs: u32) {
    let mut work = case.start();
    work.prepare();
    work.run();
    for _ in 0..runs {
        work.prepare();
        callgrind::measured_work(work.as_mut());
    }
}

/// Names and units.
pub(crate) fn list(cases: &[Case]) {
    let lines: Vec<String> = cases
        .iter()
        .map(|case| format!("{:<26} {:<7} {}", case.name, case.who.word(), case.unit))
        .collect();
    say(&lines.join("\n"));
}

/// Prints. A reader that went away is no error.
pub(crate) fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}
