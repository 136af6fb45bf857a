//! Runs cases under `valgrind --tool=callgrind` and reads what it counted.
//!
//! Callgrind counts only within [`measured_work`] (`--toggle-collect`), so set-up, warming and what
//! is made ready between batches are not in the number, and one run of the program is enough.

use std::hint::black_box;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use adit_benches::{Case, Work};

use super::CountError;

/// The function callgrind looks for. Its name is in the command line below, and no other function's
/// name may contain it: entering that would switch counting off.
#[inline(never)]
pub(super) fn measured_work(work: &mut dyn Work) {
    work.run();
    // Work after the call: a call at the end would become a jump, and the function's end unseen.
    black_box(work);
}

const WATCHED: &str = "--toggle-collect=*measured_work*";

/// Runs that are counted, so that memory that grows now and then weighs as little as it does in use.
const RUNS: u32 = 16;

/// Whether there is a valgrind.
pub(super) fn is_there() -> Result<(), CountError> {
    let asked = Command::new("valgrind").arg("--version").output();
    match asked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) | Err(_) => Err(CountError::NotHere(
            "valgrind is not here, so nothing was counted; install it (Debian: apt-get install valgrind)"
                .to_owned(),
        )),
    }
}

/// Instructions of one unit of each case, in the same order. As many at a time as there are processors:
/// the number does not depend on what else runs.
pub(super) fn count(cases: &[Case]) -> Result<Vec<u64>, CountError> {
    let folder = tempfile::tempdir()
        .map_err(|cause| CountError::Broken(format!("a folder for callgrind: {cause}")))?;
    let waiting = Mutex::new(cases.iter().enumerate());
    let next = || waiting.lock().ok()?.next();
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut counted = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut counted = Vec::new();
                    while let Some((at, case)) = next() {
                        counted.push((at, one(case, &folder.path().join(at.to_string()))));
                    }
                    counted
                })
            })
            .collect();
        for worker in workers {
            counted.extend(worker.join().expect("a worker does not panic"));
        }
    });
    counted.sort_by_key(|(at, _)| *at);
    counted.into_iter().map(|(_, count)| count).collect()
}

fn one(case: &Case, file: &Path) -> Result<u64, CountError> {
    let broken = |what: String| CountError::Broken(format!("{}: {what}", case.name));
    let program = std::env::current_exe().map_err(|cause| broken(cause.to_string()))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", WATCHED])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["once", case.name, case.who.word()])
        .arg(RUNS.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|cause| broken(cause.to_string()))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(broken(format!("{}\n{told}", output.status)));
    }
    let text = std::fs::read_to_string(file).map_err(|cause| broken(cause.to_string()))?;
    let total = total(&text).ok_or_else(|| broken("callgrind's file has no total".to_owned()))?;
    if total == 0 {
        return Err(broken(
            "callgrind has not seen the measured function; was the program stripped of its symbols?"
                .to_owned(),
        ));
    }
    let units = u64::from(RUNS) * u64::from(case.batch);
    // To the nearest whole instruction.
    Ok((total + units / 2) / units)
}

/// The sum in callgrind's file: `totals: 4711`, or `summary:` where a version writes only that.
fn total(text: &str) -> Option<u64> {
    ["totals:", "summary:"].into_iter().find_map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_read_from_callgrinds_file() {
        // As valgrind 3.19 writes it.
        let text = "# callgrind format\nversion: 1\nevents: Ir\nsummary: 4711\n\nfn=(1)\n0 4711\n\ntotals: 4711\n";
        assert_eq!(total(text), Some(4711));
        assert_eq!(total("events: Ir\nsummary: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
