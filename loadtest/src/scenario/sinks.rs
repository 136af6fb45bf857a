//! What sending records on costs a request, and what a sink that is down does: agents that record every decision, in
//! turns, at half of what goes.
//!
//! The sink that takes is the backend; the one that is down is a port nobody listens on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::adit;
use crate::bench::Bench;
use crate::client::ask::Pace;
use crate::figure;
use crate::measure::Measured;
use crate::scenario::throughput;
use crate::subject::{Subject, free_port};

pub(super) fn run(bench: &mut Bench) -> Result<Measured> {
    let rounds = if bench.quick { 2 } else { ROUNDS };
    let takes = format!("http://{}/sink", bench.setting.http);
    let down = format!("http://{}", free_port()?);
    let mut subjects = Vec::new();
    for (name, url) in [("none", None), (TAKES, Some(takes)), ("down", Some(down))] {
        let subject = bench.fresh(adit::NAME, |setting| {
            setting.audit = Some("all");
            setting.sink = url;
        })?;
        subjects.push((name, subject, Vec::new()));
    }
    let (_, first, _) = subjects.first().context("a subject")?;
    let most = throughput::asked(bench, first, CONNECTIONS, Pace::Closed)?;
    let rate = most.figures.get("per_s").copied().unwrap_or_default() / 2.0;
    let before = bench.time;
    bench.time = before.max(TIME);
    let asked = in_turns(bench, &mut subjects, rate, rounds);
    bench.time = before;
    asked?;
    let mut measured = Measured::default();
    measured.set("rate_per_s", rate);
    for (name, subject, rows) in &subjects {
        for figure in ["p50_us", "p99_us", "cpu_us"] {
            if let Some(value) = figure::median(&of(rows, figure)) {
                measured.set(&format!("{name}_{figure}"), value);
            }
        }
        measured.set(&format!("failed_{name}"), of(rows, "failed").iter().sum());
        let nodes = subject.nodes.as_ref().context("nodes of adit")?;
        for (figure, metric) in [
            ("records", "recorder_records_written_total"),
            ("sent", "forwarder_records_sent_total"),
            ("tries", "forwarder_failures_total"),
        ] {
            measured.set(&format!("{name}_{figure}"), nodes.metric("agent", metric));
        }
    }
    // Of each round by itself: what drifts, drifts for all three.
    let [(_, _, none), others @ ..] = subjects.as_slice() else {
        return Ok(measured);
    };
    for (name, _, rows) in others {
        for figure in ["p99", "cpu"] {
            let name_us = format!("{figure}_us");
            let more: Vec<f64> = of(rows, &name_us)
                .iter()
                .zip(of(none, &name_us))
                .map(|(with, without)| (with / without - 1.0) * 100.0)
                .collect();
            if let Some(middle) = figure::median(&more) {
                measured.set(&format!("{name}_{figure}_more_percent"), middle);
            }
            let told: Vec<String> = more.iter().map(|more| format!("{more:.1}")).collect();
            measured.note(&format!("{figure} more, {name}, %: {}", told.join(", ")));
        }
    }
    Ok(measured)
}

type Round = (&'static str, Subject, Vec<Measured>);

fn in_turns(bench: &Bench, subjects: &mut [Round], rate: f64, rounds: u32) -> Result<()> {
    for round in 0..rounds {
        // Whoever goes first is another one each round.
        let count = subjects.len();
        for at in 0..count {
            let turn = usize::try_from(round).unwrap_or_default();
            let Some((name, subject, rows)) = subjects.get_mut((at + turn) % count) else {
                continue;
            };
            subject.must_run()?;
            let pace = Pace::Open(rate);
            rows.push(throughput::asked(bench, subject, CONNECTIONS, pace)?);
            if *name == TAKES {
                caught_up(subject)?;
            }
        }
    }
    Ok(())
}

/// Waits until what was recorded is sent on: it must not be paid for in another one's turn.
///
/// # Errors
/// When that does not happen: what is measured then is not a sink that takes.
fn caught_up(subject: &Subject) -> Result<()> {
    let nodes = subject.nodes.as_ref().context("nodes of adit")?;
    let begun = Instant::now();
    loop {
        let sent = nodes.metric("agent", "forwarder_records_sent_total");
        let lag = nodes.metric("agent", "forwarder_lag_records");
        if sent > 0.0 && lag <= 0.0 {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < CAUGHT_UP_WITHIN,
            "the sink took {sent} records and {lag} wait {} s after the load",
            CAUGHT_UP_WITHIN.as_secs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn of(rows: &[Measured], figure: &str) -> Vec<f64> {
    rows.iter()
        .filter_map(|row| row.figures.get(figure).copied())
        .collect()
}

const TAKES: &str = "takes";
const ROUNDS: u32 = 5;
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 64;
/// Some ten batches of records each second, and a p99 of enough requests.
const TIME: Duration = Duration::from_secs(4);
