//! What is done in each scenario. Each takes a subject and brings home its figures.

mod audit;
mod delay;
mod idle;
mod isolation;
mod million;
mod nodes;
mod outage;
mod push;
mod pushes;
mod sinks;
mod throughput;

use anyhow::Result;

use crate::bench::Bench;
use crate::case::{Case, Kind};
use crate::measure::Measured;

/// Measures `case` with the subject called `who`.
///
/// # Errors
/// When it cannot be measured; what fails under load is a figure, not an error.
pub(crate) fn run(bench: &mut Bench, case: &Case, who: &str) -> Result<Measured> {
    match case.kind {
        Kind::Bulk { direction, streams } => throughput::bulk(bench, who, direction, streams),
        Kind::Requests { connections } => throughput::requests(bench, who, connections),
        Kind::Churn => throughput::churn(bench, who),
        Kind::Latency => throughput::latency(bench, who),
        Kind::Shards(shards) => throughput::shards(bench, who, shards),
        Kind::IdleStreams(count) => idle::streams(bench, who, count),
        Kind::IdleTunnels(count) => idle::tunnels(bench, who, count),
        Kind::Isolation(nuisance) => isolation::run(bench, who, nuisance),
        Kind::Outage(cut) => outage::run(bench, who, cut),
        Kind::Delay {
            round_trip_ms,
            streams,
        } => delay::run(bench, who, round_trip_ms, streams),
        Kind::Push => push::run(bench, who),
        Kind::Nodes(memory) => nodes::run(bench, memory),
        Kind::Million => million::run(bench),
        Kind::Pushes => pushes::run(bench),
        Kind::Audit => audit::run(bench),
        Kind::Sinks => sinks::run(bench),
    }
}
