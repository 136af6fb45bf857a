//! Takes the time of every case by criterion, a baseline right behind the case it stands beside.
//!
//! Times are of one unit of work. What is made ready for a batch is not in them.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use adit_benches::{Case, cases};
use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let cases = cases();
    for group in cases.chunk_by(|one, other| one.name == other.name) {
        let Some(first) = group.first() else {
            continue;
        };
        let mut measured = criterion.benchmark_group(first.name);
        measured.throughput(
            first
                .bytes
                .map_or(Throughput::Elements(1), Throughput::Bytes),
        );
        for case in group {
            measured.bench_function(case.who.word(), |bencher| {
                // Set up only if its name is asked for.
                let mut work = None;
                bencher.iter_custom(|units| {
                    time(
                        case,
                        work.get_or_insert_with(|| case.start()).as_mut(),
                        units,
                    )
                });
            });
        }
        measured.finish();
    }
    criterion.final_summary();
}

/// How long `units` units take. Whole batches are done, at least one, and their time is cut to size.
fn time(case: &Case, work: &mut dyn adit_benches::Work, units: u64) -> Duration {
    let batches = units.div_ceil(u64::from(case.batch)).max(1);
    let mut taken = Duration::ZERO;
    for _ in 0..batches {
        work.prepare();
        let start = Instant::now();
        work.run();
        taken += start.elapsed();
    }
    let done = batches * u64::from(case.batch);
    let share = u128::from(units) * taken.as_nanos() / u128::from(done);
    Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
}
