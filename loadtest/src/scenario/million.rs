//! A rule set of a million resources: what taking it in costs, and what traffic notices when it is pushed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::figure;
use crate::interrupt;
use crate::marked::{Backends, Caller};
use crate::measure::{self, Measured};
use crate::plane::{Memory, Plane};
use crate::procfs;
use crate::scenario::throughput;
use crate::{adit, fleet};

pub(super) fn run(bench: &Bench) -> Result<Measured> {
    let resources = if bench.quick { 100_000 } else { RESOURCES };
    let mut measured = Measured::default();
    let mut plane = Plane::start(&bench.setting, Memory::Embedded)?;
    let subject = adit::start_under(&bench.setting, &mut plane)?;
    let nodes = subject.nodes.as_ref().context("nodes of adit")?;
    let marks = Backends::start()?;
    let text = |edition: u32| {
        let mut text = nodes.rules(0) + &marks.rules(edition);
        add_resources(&mut text, resources);
        text
    };

    by_itself(bench, &text(0), &mut measured)?;

    plane.apply(&text(0))?;
    plane.all_acked(1, ENFORCED_WITHIN)?;
    let held = procfs::memory(&subject.pids_of("agent"));
    measured.set("agent_mb", figure::float(held.proportional) / 1e6);

    let most = throughput::asked(bench, &subject, CONNECTIONS, Pace::Closed)?;
    let rate = most.figures.get("per_s").copied().unwrap_or_default() / 2.0;
    let asking = Asking::kilobyte(&subject.route, CONNECTIONS, Pace::Open(rate));
    let load = measure::asking(bench, asking)?;
    let caller = Caller::start(&subject.route, 0);
    let (window, pushed) = std::thread::scope(|scope| -> Result<_> {
        let watching =
            scope.spawn(|| measure::watch(bench, &subject, &load, bench.warm(), LOAD_TIME));
        interrupt::pause(bench.warm() + Duration::from_secs(1))?;
        let text = text(1);
        let sent = Instant::now();
        let pushed = plane.apply(&text).and_then(|applied| {
            interrupt::until("the new edition answers", ENFORCED_WITHIN, || {
                caller.seen().is_some()
            })?;
            let seen = caller.seen().map(|at| at.duration_since(sent));
            Ok((applied.took, seen.unwrap_or_default()))
        });
        let window = watching.join().ok().context("the measurement panicked")??;
        Ok((window, pushed?))
    })?;
    // The push may take longer than the window.
    let failed = load.gauge().counts().failed;
    let mut loaded = Measured::default();
    throughput::of_requests(&window, &mut loaded);
    throughput::finish(load, &mut loaded)?;
    let found = caller.found();
    drop(caller);
    measured.set("answered_s", pushed.0.as_secs_f64());
    measured.set("enforced_s", pushed.1.as_secs_f64());
    measured.set("failed", figure::float(failed));
    for name in ["p50_us", "p99_us", "foreign_cpus"] {
        if let Some(value) = loaded.figures.get(name) {
            measured.set(name, *value);
        }
    }
    if let Some(note) = &loaded.note {
        measured.note(note);
    }
    measured.curve = loaded.curve;
    measured.set("rate_per_s", rate);
    measured.set("compared", figure::float(found.asked));
    measured.set("failed_compared", figure::float(found.failed));
    measured.set("failed_mixed", figure::float(found.mixed));
    Ok(measured)
}

/// Verified and compiled in a process that does nothing else.
fn by_itself(bench: &Bench, text: &str, measured: &mut Measured) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("adit-load-").tempdir()?;
    let file = folder.path().join("rules.toml");
    std::fs::write(&file, text)?;
    let rounds = fleet::compile(&bench.setting.programs, &file, COMPILE_ROUNDS)?;
    let median = |name: &str| {
        let values: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.get(name).and_then(Value::as_f64))
            .collect();
        figure::median(&values).with_context(|| format!("rounds with {name}"))
    };
    measured.set("resources", median("resources")?);
    measured.set("document_mb", median("bytes")? / 1e6);
    measured.set("verify_s", median("verify_s")?);
    measured.set("compile_s", median("compile_s")?);
    measured.set("compile_cpu_s", median("compile_cpu_s")?);
    // Later rounds take memory that earlier ones gave back.
    let first = rounds.first().context("a round")?;
    for (figure, name) in [
        ("compile_held_mb", "held_bytes"),
        ("compile_most_mb", "most_bytes"),
    ] {
        let bytes = first.get(name).and_then(Value::as_f64).unwrap_or_default();
        measured.set(figure, bytes / 1e6);
    }
    Ok(())
}

/// Systems of a thousand resources each.
fn add_resources(text: &mut String, resources: u32) {
    for number in 0..resources {
        // Writing to a String does not fail.
        if number.is_multiple_of(1_000) {
            let _ = write!(
                text,
                "\n[[system]]\nvirtual = \"m{}.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://10.0.0.1:80\"\n",
                number / 1_000
            );
        }
        let _ = write!(
            text,
            "\n[[system.resource]]\npath = \"/a{}/b{}\"\n",
            number % 1_000 / 100,
            number % 100
        );
    }
}

const RESOURCES: u32 = 1_000_000;
const COMPILE_ROUNDS: u32 = 5;
const CONNECTIONS: usize = 64;
const LOAD_TIME: Duration = Duration::from_secs(10);
const ENFORCED_WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_another_one() {
        let mut text = String::new();
        add_resources(&mut text, 2_000);
        assert_eq!(text.matches("[[system]]").count(), 2);
        let (_, second) = text.split_once("m1.virtual").unwrap();
        let mut paths: Vec<&str> = second
            .lines()
            .filter(|line| line.starts_with("path"))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 1_000);
    }
}
