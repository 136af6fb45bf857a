//! Ping-pong of 64 streams, alone and beside neighbours that are a nuisance.
//!
//! The pings are an open loop at a modest rate, so that what is measured is waiting, not throughput.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::client::disturb::Nuisance;
use crate::figure;
use crate::interrupt;
use crate::measure::{self, Measured};
use crate::scenario::throughput;

pub(super) fn run(bench: &mut Bench, who: &str, nuisance: Option<Nuisance>) -> Result<Measured> {
    let subject = bench.take(who)?;
    let neighbour = nuisance
        .map(|nuisance| measure::disturbing(bench, &subject, nuisance))
        .transpose()?;
    if let Some(neighbour) = &neighbour {
        interrupt::until("the neighbour has begun", BEGUN_WITHIN, || {
            neighbour.has_begun()
        })?;
    }
    let load = measure::asking(
        bench,
        Asking::ping(&subject.route, STREAMS, Pace::Open(RATE)),
    )?;
    let window = measure::watch(bench, &subject, &load, 2 * bench.warm(), 2 * bench.time)?;
    let mut measured = Measured::default();
    throughput::of_requests(&window, &mut measured);
    // Processor time is the neighbour's as well.
    measured.figures.remove("cpu_us");
    throughput::finish(load, &mut measured)?;
    if let Some(neighbour) = neighbour {
        let counts = neighbour.gauge().counts();
        measured.set("neighbour_failed", figure::float(counts.failed));
        measured.set("neighbour_gb", figure::float(counts.bytes) / 1e9);
        neighbour.stop()?;
        // What was on its way to readers that are gone is not the next measurement's.
        interrupt::pause(bench.warm())?;
    }
    bench.stand(subject);
    Ok(measured)
}

/// As long as its streams may take to be answered.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
const STREAMS: usize = 64;
/// Pings a second, all streams together.
const RATE: f64 = 1000.0;
