//! What recording decisions costs a request: agents with each level, in turns, under as much load as goes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::adit;
use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::figure;
use crate::measure::{self, Measured};
use crate::procfs::Cpu;
use crate::scenario::throughput;
use crate::subject::Subject;

pub(super) fn run(bench: &Bench) -> Result<Measured> {
    let rounds = if bench.quick { 2 } else { ROUNDS };
    let mut subjects = Vec::new();
    for level in LEVELS {
        let subject = bench.fresh(adit::NAME, |setting| setting.audit = Some(level))?;
        subjects.push((level, subject, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, subject, rows) in &mut subjects {
            rows.push(once(bench, subject)?);
        }
    }
    let mut measured = Measured::default();
    for (level, subject, rows) in &subjects {
        let median = |pick: Pick| {
            figure::median(&rows.iter().map(pick).collect::<Vec<_>>()).unwrap_or_default()
        };
        measured.set(&format!("{level}_cpu_us"), median(|row| row.all_us));
        measured.set(&format!("{level}_agent_us"), median(|row| row.agent_us));
        measured.set(&format!("{level}_per_s"), median(|row| row.per_s));
        let failed: f64 = rows.iter().map(|row| row.failed).sum();
        measured.set(&format!("failed_{level}"), failed);
        let nodes = subject.nodes.as_ref().context("nodes of adit")?;
        let of = |name: &str| nodes.metric("agent", name);
        measured.set(
            &format!("{level}_records"),
            of("recorder_records_written_total"),
        );
        measured.set(
            &format!("failed_{level}_records"),
            of("recorder_records_lost_total"),
        );
    }
    // Of each round by itself: what drifts, drifts for all three.
    let [off, denied, all] = subjects.as_slice() else {
        return Ok(measured);
    };
    for (name, level) in [("denied", denied), ("all", all)] {
        for (figure, pick) in PICKS {
            let more: Vec<f64> = level
                .2
                .iter()
                .zip(&off.2)
                .map(|(level, off)| (pick(level) / pick(off) - 1.0) * 100.0)
                .collect();
            if let Some(more) = figure::median(&more) {
                measured.set(&format!("{name}_{figure}"), more);
            }
        }
    }
    Ok(measured)
}

/// What one measurement came to.
struct Row {
    all_us: f64,
    agent_us: f64,
    per_s: f64,
    failed: f64,
}

fn once(bench: &Bench, subject: &mut Subject) -> Result<Row> {
    subject.must_run()?;
    let asking = Asking::kilobyte(&subject.route, CONNECTIONS, Pace::Closed);
    let load = measure::asking(bench, asking)?;
    let before = Cpu::of(&subject.pids_of("agent"));
    let window = measure::watch(bench, subject, &load, bench.warm(), bench.time.max(TIME))?;
    let counted = load.gauge().counts();
    let agent = Cpu::of(&subject.pids_of("agent")).all_since(&before);
    let mut measured = Measured::default();
    throughput::of_requests(&window, &mut measured);
    throughput::finish(load, &mut measured)?;
    let figure = |name: &str| measured.figures.get(name).copied().unwrap_or_default();
    Ok(Row {
        all_us: figure("cpu_us"),
        agent_us: figure::micros(agent) / figure::float(counted.done.max(1)),
        per_s: figure("per_s"),
        failed: figure("failed"),
    })
}

/// The time of a row that a figure is about.
type Pick = fn(&Row) -> f64;

const PICKS: [(&str, Pick); 2] = [
    ("more_percent", |row| row.all_us),
    ("agent_more_percent", |row| row.agent_us),
];
const LEVELS: [&str; 3] = ["off", "denied", "all"];
const ROUNDS: u32 = 5;
const CONNECTIONS: usize = 64;
/// Long enough for segments to be written and synced some ten times.
const TIME: Duration = Duration::from_secs(3);
