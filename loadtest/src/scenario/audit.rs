//! What recording decisions costs a request: agents with each level, in turns, under as much load as goes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::adit;
use crate::bench::Bench;
use crate::client::ask::Pace;
use crate::figure;
use crate::measure::Measured;
use crate::scenario::throughput;
use crate::subject::Subject;

pub(super) fn run(bench: &mut Bench) -> Result<Measured> {
    let rounds = if bench.quick { 2 } else { ROUNDS };
    let mut subjects = Vec::new();
    for level in LEVELS {
        let subject = bench.fresh(adit::NAME, |setting| setting.audit = Some(level))?;
        subjects.push((level, subject, Vec::new()));
    }
    let before = bench.time;
    bench.time = before.max(TIME);
    let asked = in_turns(bench, &mut subjects, rounds);
    bench.time = before;
    asked?;
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
        for note in rows.iter().filter_map(|row| row.note.as_ref()) {
            measured.note(&format!("{level}: {note}"));
        }
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

fn in_turns(
    bench: &Bench,
    subjects: &mut [(&'static str, Subject, Vec<Row>)],
    rounds: u32,
) -> Result<()> {
    for _ in 0..rounds {
        for (_, subject, rows) in &mut *subjects {
            rows.push(once(bench, subject)?);
        }
    }
    Ok(())
}

/// What one measurement came to.
struct Row {
    all_us: f64,
    agent_us: f64,
    per_s: f64,
    failed: f64,
    note: Option<String>,
}

fn once(bench: &Bench, subject: &mut Subject) -> Result<Row> {
    subject.must_run()?;
    let measured = throughput::asked(bench, subject, CONNECTIONS, Pace::Closed)?;
    let figure = |name: &str| measured.figures.get(name).copied().unwrap_or_default();
    let per_s = figure("per_s");
    Ok(Row {
        all_us: figure("cpu_us"),
        agent_us: figure("agent_cpus") * 1e6 / per_s,
        per_s,
        failed: figure("failed"),
        note: measured.note,
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
