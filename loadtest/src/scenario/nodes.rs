//! A control plane with a thousand simulated nodes: what they cost it, and how long a change takes to be enforced at all
//! of them.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::figure;
use crate::fleet::Fleet;
use crate::interrupt;
use crate::measure::Measured;
use crate::plane::{self, Memory, Plane};
use crate::procfs::{self, Cpu};
use crate::tally;

pub(super) fn run(bench: &Bench, memory: Memory) -> Result<Measured> {
    if memory == Memory::Etcd && !plane::has_etcd() {
        bail!("etcd is not installed");
    }
    let (nodes, pushes) = if bench.quick {
        (100, 5)
    } else {
        (NODES, PUSHES)
    };
    let mut measured = Measured::default();
    let mut plane = Plane::start(&bench.setting, memory)?;
    let alone = procfs::memory(&plane.pids());
    let folder = tempfile::Builder::new().prefix("adit-load-").tempdir()?;
    let mut fleet = Fleet::start(&bench.setting.programs, &plane, folder.path())?;
    for number in 0..nodes {
        fleet.enrol(&mut plane, &format!("n{number}"))?;
    }
    plane.apply(&rules(0))?;
    fleet.subscribe()?;
    plane.all_acked(nodes, CONNECTED_WITHIN)?;
    interrupt::pause(SETTLE)?;

    let full = procfs::memory(&plane.pids());
    let before = Cpu::of(&plane.pids());
    interrupt::pause(IDLE)?;
    let idle = Cpu::of(&plane.pids()).all_since(&before).as_secs_f64() / IDLE.as_secs_f64();

    let mut all = tally::histogram();
    let mut last = tally::histogram();
    let mut answers = Vec::new();
    let (mut server, mut store, mut fleets) = (0.0, 0.0, 0.0);
    for edition in 1..=pushes {
        let pids = [plane.pids(), plane.store_pids(), fleet.pids()];
        let before = pids.clone().map(|pids| Cpu::of(&pids));
        let began = std::time::Instant::now();
        let applied = plane.apply(&rules(edition))?;
        let times = fleet.enforced(applied.version)?;
        // Acknowledgements are written down for a moment yet.
        interrupt::pause(BETWEEN)?;
        let seconds = began.elapsed().as_secs_f64();
        let [of_server, of_store, of_fleet] = [0, 1, 2].map(|which: usize| {
            let (pids, before) = (pids.get(which), before.get(which));
            pids.zip(before).map_or(0.0, |(pids, before)| {
                Cpu::of(pids).all_since(before).as_secs_f64()
            })
        });
        server += (of_server - idle * seconds).max(0.0);
        store += of_store;
        fleets += of_fleet;
        answers.push(applied.took.as_secs_f64() * 1e3);
        for at in &times {
            all.saturating_record(at.saturating_sub(applied.sent_ns).max(1));
        }
        let at = times.iter().max().copied().unwrap_or_default();
        last.saturating_record(at.saturating_sub(applied.sent_ns).max(1));
        plane.all_acked(nodes, CONNECTED_WITHIN)?;
    }
    plane.must_run()?;
    let after = procfs::memory(&plane.pids());
    let ms = |nanos: u64| figure::float(nanos) / 1e6;
    let mb = |bytes: u64| figure::float(bytes) / 1e6;
    let each = |seconds: f64| seconds * 1e3 / f64::from(pushes);
    measured.set("nodes", figure::float(nodes));
    measured.set("pushes", f64::from(pushes));
    measured.set("enforced_p50_ms", ms(all.value_at_percentile(50.0)));
    measured.set("enforced_p99_ms", ms(all.value_at_percentile(99.0)));
    measured.set("last_p50_ms", ms(last.value_at_percentile(50.0)));
    measured.set("last_max_ms", ms(last.max()));
    measured.set(
        "answered_p50_ms",
        figure::median(&answers).unwrap_or_default(),
    );
    measured.set("server_cpu_ms", each(server));
    measured.set("store_cpu_ms", each(store));
    measured.set("nodes_cpu_ms", each(fleets));
    measured.set("idle_cpu_percent", idle * 100.0);
    measured.set("rss_alone_mb", mb(alone.resident));
    measured.set("rss_mb", mb(full.resident));
    measured.set("pss_mb", mb(full.proportional));
    measured.set("rss_after_mb", mb(after.resident));
    measured.curve = tally::curve(&all);
    Ok(measured)
}

/// A landscape of a hundred systems; another edition is another one.
fn rules(edition: u32) -> String {
    (0..SYSTEMS)
        .map(|number| {
            format!(
                "[[system]]\nvirtual = \"s{number}.virtual:80\"\nprotocol = \"http\"\n\
                 internal = \"http://10.0.0.1:80\"\n[[system.resource]]\npath = \"/a{number}/{edition}\"\n\
                 scope = \"subtree\"\n"
            )
        })
        .collect()
}

const NODES: u64 = 1_000;
const PUSHES: u32 = 25;
const SYSTEMS: u32 = 100;
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(9);
const BETWEEN: Duration = Duration::from_millis(400);
