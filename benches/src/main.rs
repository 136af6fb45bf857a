//! The program `adit-benches`: counts the instructions of every case and holds them to a budget.
//!
//! Reads the command line and runs one command. It has three commands and three switches, so it
//! reads them by hand: a parser would be the largest thing that CI builds for it.
#![forbid(unsafe_code)]

mod count;

use std::process::ExitCode;

use adit_benches::{Case, Who, cases};

use count::{CountError, Wanted};

const HELP: &str = "\
adit-benches count [--json] [--write] [--baselines] [CASE..]
    counts instructions by callgrind and compares them with benches/budgets.toml
    --json         for programs
    --write        writes what was counted as the new budgets
    --baselines    counts yamux and rustls as well; they have no budget
adit-benches list
    the cases and what their unit is
adit-benches once CASE WHO RUNS
    what callgrind is given to watch
exit code: 0 within budgets; 1 a budget is exceeded, or case and budget do not match;
    2 it could not be counted; 77 it cannot be counted here (no valgrind, or no x86_64)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("adit-benches: {error}");
            error.code()
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode, CountError> {
    match words {
        ["count", rest @ ..] => count::count(&wanted(rest)?),
        ["once", name, who, runs] => {
            let case = find(name, who)?;
            let runs = runs
                .parse()
                .map_err(|cause| CountError::Usage(format!("RUNS `{runs}`: {cause}")))?;
            count::once(&case, runs);
            Ok(ExitCode::SUCCESS)
        }
        ["list"] => {
            count::list(&cases());
            Ok(ExitCode::SUCCESS)
        }
        ["help" | "--help" | "-h"] => {
            count::say(HELP);
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(CountError::Usage(format!("usage:\n{HELP}"))),
    }
}

fn wanted(words: &[&str]) -> Result<Wanted, CountError> {
    let mut wanted = Wanted::default();
    for word in words {
        match *word {
            "--json" => wanted.json = true,
            "--write" => wanted.write = true,
            "--baselines" => wanted.baselines = true,
            name => {
                find(name, Who::Adit.word())?;
                wanted.names.push(name.to_owned());
            }
        }
    }
    Ok(wanted)
}

fn find(name: &str, who: &str) -> Result<Case, CountError> {
    cases()
        .into_iter()
        .find(|case| case.name == name && case.who.word() == who)
        .ok_or_else(|| {
            CountError::Usage(format!(
                "no case `{name}` of {who}; `adit-benches list` names them"
            ))
        })
}
