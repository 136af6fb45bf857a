//! As much as goes: bytes in bulk, small requests, connections; and how long a request takes when
//! there is no hurry.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::client::bulk::Direction;
use crate::figure;
use crate::measure::{self, Measured, Window};
use crate::subject::Subject;
use crate::tally::Load;

pub(super) fn bulk(
    bench: &mut Bench,
    who: &str,
    direction: Direction,
    streams: usize,
) -> Result<Measured> {
    let subject = bench.take(who)?;
    let measured = bulk_through(bench, &subject, direction, streams)?;
    bench.stand(subject);
    Ok(measured)
}

fn bulk_through(
    bench: &Bench,
    subject: &Subject,
    direction: Direction,
    streams: usize,
) -> Result<Measured> {
    let load = measure::carrying(bench, subject, direction, streams)?;
    let window = measure::watch(bench, subject, &load, bench.warm(), bench.time)?;
    must_have_worked(&load, window.counts.bytes)?;
    let mut measured = Measured::default();
    window.common(&mut measured);
    let gigabytes = figure::float(window.counts.bytes) / 1e9;
    measured.set("gb_per_s", gigabytes / window.seconds);
    if !window.cpu.is_zero() {
        measured.set("cpu_s_per_gb", window.cpu.as_secs_f64() / gigabytes);
    }
    finish(load, &mut measured)?;
    Ok(measured)
}

pub(super) fn requests(bench: &mut Bench, who: &str, connections: usize) -> Result<Measured> {
    let subject = bench.take(who)?;
    let measured = asked(bench, &subject, connections, Pace::Closed)?;
    bench.stand(subject);
    Ok(measured)
}

pub(super) fn churn(bench: &mut Bench, who: &str) -> Result<Measured> {
    let subject = bench.take(who)?;
    let measured = asked(bench, &subject, CHURN_CONNECTIONS, Pace::Fresh)?;
    bench.stand(subject);
    Ok(measured)
}

pub(super) fn latency(bench: &mut Bench, who: &str) -> Result<Measured> {
    let subject = bench.take(who)?;
    let before = bench.time;
    // A p99 of 200 a second wants some seconds.
    bench.time = before.max(Duration::from_secs(if bench.quick { 2 } else { 4 }));
    let measured = asked(
        bench,
        &subject,
        LATENCY_CONNECTIONS,
        Pace::Open(LATENCY_RATE),
    );
    bench.time = before;
    bench.stand(subject);
    measured
}

/// Download of 16 streams and requests on 64 connections, with so many shards.
pub(super) fn shards(bench: &Bench, who: &str, shards: usize) -> Result<Measured> {
    let subject = bench.fresh(who, |setting| {
        setting.shards = shards;
        setting.places = setting.places.unpinned();
    })?;
    let bulk = bulk_through(bench, &subject, Direction::Down, 16)?;
    let mut measured = asked(bench, &subject, 64, Pace::Closed)?;
    for name in ["gb_per_s", "cpu_s_per_gb"] {
        if let Some(value) = bulk.figures.get(name) {
            measured.set(name, *value);
        }
    }
    Ok(measured)
}

/// Kilobytes asked for at a pace.
pub(super) fn asked(
    bench: &Bench,
    subject: &Subject,
    connections: usize,
    pace: Pace,
) -> Result<Measured> {
    let load = measure::asking(bench, Asking::kilobyte(&subject.route, connections, pace))?;
    let window = measure::watch(bench, subject, &load, bench.warm(), bench.time)?;
    must_have_worked(&load, window.counts.done)?;
    let mut measured = Measured::default();
    of_requests(&window, &mut measured);
    finish(load, &mut measured)?;
    Ok(measured)
}

pub(super) fn of_requests(window: &Window, measured: &mut Measured) {
    window.common(measured);
    let done = figure::float(window.counts.done);
    measured.set("per_s", done / window.seconds);
    if !window.cpu.is_zero() {
        measured.set("cpu_us", figure::micros(window.cpu) / done);
    }
}

/// Takes the latencies home, and the words of the first failure.
pub(super) fn finish(load: Load, measured: &mut Measured) -> Result<()> {
    let failure = load.gauge().first_failure();
    let tally = load.stop()?;
    measured.latencies(&tally.latencies);
    if let Some(failure) = failure {
        measured.note(&format!("a failure: {failure}"));
    }
    Ok(())
}

fn must_have_worked(load: &Load, done: u64) -> Result<()> {
    if done == 0 {
        let why = load.gauge().first_failure();
        bail!("nothing came through: {}", why.unwrap_or_default());
    }
    Ok(())
}

const CHURN_CONNECTIONS: usize = 64;
const LATENCY_CONNECTIONS: usize = 16;
const LATENCY_RATE: f64 = 200.0;
