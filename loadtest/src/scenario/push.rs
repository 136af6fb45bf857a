//! Half of the maximum rate, first undisturbed, then with a rule push each second.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::client::ask::{Asking, Pace};
use crate::interrupt;
use crate::measure::{self, Measured};
use crate::scenario::throughput;

pub(super) fn run(bench: &Bench, who: &str) -> Result<Measured> {
    let subject = bench.fresh(who, |_| {})?;
    let nodes = subject.nodes.as_ref().context("somebody who takes rules")?;
    let most = throughput::asked(bench, &subject, CONNECTIONS, Pace::Closed)?;
    let rate = most.figures.get("per_s").copied().unwrap_or_default() / 2.0;
    let asking = || Asking::kilobyte(&subject.route, CONNECTIONS, Pace::Open(rate));
    let time = bench.push_time / 2;

    let load = measure::asking(bench, asking())?;
    let window = measure::watch(bench, &subject, &load, bench.warm(), time)?;
    let mut still = Measured::default();
    throughput::of_requests(&window, &mut still);
    throughput::finish(load, &mut still)?;

    let load = measure::asking(bench, asking())?;
    let mut pushes = 0_u32;
    let window = std::thread::scope(|scope| -> Result<_> {
        let watching = scope.spawn(|| measure::watch(bench, &subject, &load, bench.warm(), time));
        let mut failed = None;
        while !watching.is_finished() {
            if failed.is_none() {
                match nodes.push(pushes + 1) {
                    Ok(()) => pushes += 1,
                    Err(error) => failed = Some(error),
                }
            }
            interrupt::pause(Duration::from_millis(900))?;
        }
        let window = watching.join().ok().context("the measurement panicked")??;
        failed.map_or(Ok(window), Err)
    })?;
    let mut measured = Measured::default();
    throughput::of_requests(&window, &mut measured);
    throughput::finish(load, &mut measured)?;
    measured.set("pushes", f64::from(pushes));
    measured.set("rate_per_s", rate);
    for name in ["p50_us", "p99_us", "p999_us"] {
        let Some(value) = still.figures.get(name) else {
            continue;
        };
        measured.set(&format!("still_{name}"), *value);
    }
    measured.set(
        "failed_still",
        still.figures.get("failed").copied().unwrap_or_default(),
    );
    if let (Some(pushed), Some(still)) =
        (measured.figures.get("p99_us"), still.figures.get("p99_us"))
    {
        let more = (pushed / still - 1.0) * 100.0;
        measured.set("p99_more_percent", more);
    }
    measured.set("max_per_s", figure_of(&most, "per_s"));
    Ok(measured)
}

fn figure_of(measured: &Measured, name: &str) -> f64 {
    measured.figures.get(name).copied().unwrap_or_default()
}

const CONNECTIONS: usize = 64;
