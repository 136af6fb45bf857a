//! A thousand pushes through a control plane during load: what fails, and what they do to the latency of requests.
//!
//! The control plane gets the processor time that is left: on a machine with two processors it would otherwise be its work
//! that requests wait for, and not that of gateway and agent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::interrupt;
use crate::measure::{self, Measured};
use crate::plane::Plane;
use crate::scenario::throughput;
use crate::subject::Subject;
use crate::{adit, figure};

pub(super) fn run(bench: &Bench) -> Result<Measured> {
    let (rounds, each) = if bench.quick {
        (1, 50)
    } else {
        (ROUNDS, PUSHES_EACH)
    };
    let mut plane = Plane::start_aside(&bench.setting)?;
    let subject = adit::start_under(&bench.setting, &mut plane)?;
    let mut measured = Measured::default();
    to_enforced(&mut plane, &subject, &mut measured)?;

    let most = throughput::asked(bench, &subject, CONNECTIONS, Pace::Closed)?;
    let rate = most.figures.get("per_s").copied().unwrap_or_default() / 2.0;
    let time = EVERY * each;
    let (mut still, mut pushed) = (Vec::new(), Vec::new());
    let mut edition = TO_ENFORCED;
    for _ in 0..rounds {
        still.push(loaded(bench, &subject, rate, time, None)?);
        let mut pushing = Pushing {
            plane: &mut plane,
            edition: &mut edition,
        };
        pushed.push(loaded(bench, &subject, rate, time, Some(&mut pushing))?);
    }
    plane.all_acked(1, ENFORCED_WITHIN)?;
    let of = |all: &[Measured], name: &str| -> Vec<f64> {
        all.iter()
            .filter_map(|one| one.figures.get(name).copied())
            .collect()
    };
    for (figure, all, name) in [
        ("still_p99_us", &still, "p99_us"),
        ("p99_us", &pushed, "p99_us"),
        ("still_p50_us", &still, "p50_us"),
        ("p50_us", &pushed, "p50_us"),
    ] {
        if let Some(value) = figure::median(&of(all, name)) {
            measured.set(figure, value);
        }
    }
    let more: Vec<f64> = of(&pushed, "p99_us")
        .iter()
        .zip(of(&still, "p99_us"))
        .map(|(pushed, still)| (pushed / still - 1.0) * 100.0)
        .collect();
    if let Some(more) = figure::median(&more) {
        measured.set("p99_more_percent", more);
    }
    measured.set("failed", of(&pushed, "failed").iter().sum());
    measured.set("failed_still", of(&still, "failed").iter().sum());
    measured.set("pushes", of(&pushed, "pushes").iter().sum());
    measured.set("rate_per_s", rate);
    measured.note(&format!(
        "p99 more in each round, %: {}",
        more.iter()
            .map(|more| format!("{more:.1}"))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    for note in still
        .iter()
        .chain(&pushed)
        .filter_map(|one| one.note.as_deref())
    {
        measured.note(note);
    }
    if let Some(last) = pushed.pop() {
        measured.curve = last.curve;
    }
    Ok(measured)
}

/// Without load: from the request to the real agent's word that all its shards have the version.
fn to_enforced(plane: &mut Plane, subject: &Subject, measured: &mut Measured) -> Result<()> {
    let nodes = subject.nodes.as_ref().context("nodes of adit")?;
    let mut took = Vec::new();
    for edition in 1..=TO_ENFORCED {
        let sent = Instant::now();
        let applied = plane.apply(&nodes.rules(edition))?;
        let wanted = figure::float(applied.version);
        interrupt::until("the agent has the version", ENFORCED_WITHIN, || {
            nodes.metric("agent", "agent_snapshot_version") >= wanted
        })?;
        took.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    let (_, most) = figure::range(&took).context("pushes")?;
    measured.set("agent_p50_ms", figure::median(&took).context("pushes")?);
    measured.set("agent_max_ms", most);
    Ok(())
}

struct Pushing<'a> {
    plane: &'a mut Plane,
    edition: &'a mut u32,
}

/// A load of `rate` for `time`, perhaps with pushes meanwhile.
fn loaded(
    bench: &Bench,
    subject: &Subject,
    rate: f64,
    time: Duration,
    pushing: Option<&mut Pushing<'_>>,
) -> Result<Measured> {
    let nodes = subject.nodes.as_ref().context("nodes of adit")?;
    let asking = Asking::kilobyte(&subject.route, CONNECTIONS, Pace::Open(rate));
    let load = measure::asking(bench, asking)?;
    let mut pushes = 0_u32;
    let window = std::thread::scope(|scope| -> Result<_> {
        let watching = scope.spawn(|| measure::watch(bench, subject, &load, bench.warm(), time));
        let mut failed = None;
        if let Some(pushing) = pushing {
            let mut next = Instant::now() + bench.warm();
            let end = next + time;
            while next < end && failed.is_none() && !watching.is_finished() {
                interrupt::pause(next.saturating_duration_since(Instant::now()))?;
                *pushing.edition += 1;
                match pushing.plane.apply(&nodes.rules(*pushing.edition)) {
                    Ok(_) => pushes += 1,
                    Err(error) => failed = Some(error),
                }
                next += EVERY;
            }
        }
        let window = watching.join().ok().context("the measurement panicked")??;
        failed.map_or(Ok(window), Err)
    })?;
    let mut measured = Measured::default();
    throughput::of_requests(&window, &mut measured);
    throughput::finish(load, &mut measured)?;
    measured.set("pushes", f64::from(pushes));
    Ok(measured)
}

const ROUNDS: u32 = 5;
const PUSHES_EACH: u32 = 200;
/// Ten pushes a second.
const EVERY: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 64;
const TO_ENFORCED: u32 = 30;
const ENFORCED_WITHIN: Duration = Duration::from_secs(30);
