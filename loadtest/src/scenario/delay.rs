//! Bulk over a link with delay and bounded bandwidth.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::client::bulk::Direction;
use crate::figure;
use crate::link::Quality;
use crate::measure::{self, Measured};
use crate::scenario::throughput;

pub(super) fn run(
    bench: &Bench,
    who: &str,
    round_trip_ms: u32,
    streams: usize,
) -> Result<Measured> {
    let round_trip = Duration::from_millis(u64::from(round_trip_ms));
    let quality = Quality {
        one_way: round_trip / 2,
        bytes_per_second: Some(LINK_BITS_PER_SECOND / 8.0),
    };
    let subject = bench.over_link(who, quality)?;
    let load = measure::carrying(bench, &subject, Direction::Down, streams)?;
    // Windows grow by a factor in each round trip; 20 of them are plenty.
    let warm = 20 * round_trip + bench.warm();
    let window = measure::watch(bench, &subject, &load, warm, bench.time)?;
    let mut measured = Measured::default();
    window.common(&mut measured);
    let bits = figure::float(window.counts.bytes) * 8.0;
    measured.set("mbit_per_s", bits / 1e6 / window.seconds);
    throughput::finish(load, &mut measured)?;
    Ok(measured)
}

const LINK_BITS_PER_SECOND: f64 = 1e9;
