//! One measurement: a load warms up, is watched for a while, and what it cost is read before and after.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::bench::Bench;
use crate::client::ask::Asking;
use crate::client::bulk::{self, Direction};
use crate::client::disturb::{self, Nuisance};
use crate::client::{self};
use crate::figure;
use crate::interrupt;
use crate::place::Seat;
use crate::procfs::{self, Cpu};
use crate::subject::Subject;
use crate::tally::{Counts, Load, curve};

/// Figures by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// What one measurement came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) figures: Figures,
    pub(crate) curve: Vec<(f64, f64)>,
    pub(crate) note: Option<String>,
}

impl Measured {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    pub(crate) fn note(&mut self, text: &str) {
        let note = self.note.get_or_insert_default();
        if !note.is_empty() {
            note.push_str("; ");
        }
        note.push_str(text);
    }

    /// p50, p99 and p99.9, and the curve.
    pub(crate) fn latencies(&mut self, latencies: &Histogram<u64>) {
        if latencies.is_empty() {
            return;
        }
        for (name, percentile) in [("p50_us", 50.0), ("p99_us", 99.0), ("p999_us", 99.9)] {
            let nanos = latencies.value_at_percentile(percentile);
            self.set(name, figure::float(nanos) / 1e3);
        }
        self.curve = curve(latencies);
    }
}

/// What was counted while a load was watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    /// Of all processes of the tunnel.
    pub(crate) cpu: Duration,
    cpu_gateway: Duration,
    cpu_agent: Duration,
    client: Duration,
    backend: Duration,
    machine: Duration,
}

/// Processor times at one moment.
struct Reading {
    at: Instant,
    counts: Counts,
    gateway: Cpu,
    agent: Cpu,
    backend: Cpu,
    own: Cpu,
    client: Duration,
    machine: Duration,
}

impl Reading {
    fn now(bench: &Bench, subject: &Subject, load: &Load) -> Self {
        Self {
            at: Instant::now(),
            counts: load.gauge().counts(),
            gateway: Cpu::of(&subject.pids_of("gateway")),
            agent: Cpu::of(&subject.pids_of("agent")),
            backend: Cpu::of(&bench.backend_pids()),
            own: Cpu::of(&[std::process::id()]),
            client: procfs::own_threads(client::THREAD_NAME),
            machine: procfs::machine_busy(),
        }
    }
}

/// Lets `load` warm up, then watches it for `time`.
pub(crate) fn watch(
    bench: &Bench,
    subject: &Subject,
    load: &Load,
    warm: Duration,
    time: Duration,
) -> Result<Window> {
    interrupt::until("a load has begun", BEGUN_WITHIN, || load.has_begun())?;
    interrupt::pause(warm)?;
    load.measure();
    let before = Reading::now(bench, subject, load);
    interrupt::pause(time)?;
    let after = Reading::now(bench, subject, load);
    let gateway = after.gateway.all_since(&before.gateway);
    let agent = after.agent.all_since(&before.agent);
    let backend = after.backend.all_since(&before.backend);
    let own = after.own.all_since(&before.own);
    Ok(Window {
        seconds: (after.at - before.at).as_secs_f64(),
        counts: after.counts.since(before.counts),
        cpu: gateway + agent,
        cpu_gateway: gateway,
        cpu_agent: agent,
        client: after.client.saturating_sub(before.client),
        backend,
        machine: after
            .machine
            .saturating_sub(before.machine)
            .saturating_sub(gateway + agent + backend + own),
    })
}

impl Window {
    /// What everybody wants to know of a measurement, in processors.
    pub(crate) fn common(&self, measured: &mut Measured) {
        let processors = |time: Duration| time.as_secs_f64() / self.seconds;
        measured.set("client_cpus", processors(self.client));
        measured.set("backend_cpus", processors(self.backend));
        if !self.cpu.is_zero() {
            measured.set("gateway_cpus", processors(self.cpu_gateway));
            measured.set("agent_cpus", processors(self.cpu_agent));
        }
        let foreign = processors(self.machine);
        measured.set("foreign_cpus", foreign);
        if foreign > FOREIGN_MOST {
            measured.note(&format!("others used {foreign:.2} processors meanwhile"));
        }
        measured.set("failed", figure::float(self.counts.failed));
    }
}

/// Starts questions and answers on the client's threads.
pub(crate) fn asking(bench: &Bench, asking: Asking) -> Result<Load> {
    let threads = bench.client_threads.min(asking.connections).max(1);
    let share = Arc::new(asking.share(threads));
    Load::start(
        client::THREAD_NAME,
        threads,
        &bench.setting.places,
        Seat::Client,
        move |_, gauge| share.run(gauge),
    )
}

/// Starts bulk streams on the client's threads.
pub(crate) fn carrying(
    bench: &Bench,
    subject: &Subject,
    direction: Direction,
    streams: usize,
) -> Result<Load> {
    let threads = bench.client_threads.min(streams).max(1);
    let route = subject.route.clone();
    Load::start(
        client::THREAD_NAME,
        threads,
        &bench.setting.places,
        Seat::Client,
        move |_, gauge| bulk::run(&route, direction, streams / threads, gauge),
    )
}

/// Starts a neighbour that is a nuisance.
pub(crate) fn disturbing(bench: &Bench, subject: &Subject, nuisance: Nuisance) -> Result<Load> {
    let route = subject.route.clone();
    Load::start(
        client::THREAD_NAME,
        1,
        &bench.setting.places,
        Seat::Client,
        move |_, gauge| disturb::run(&route, nuisance, gauge),
    )
}

/// Streams may have to be opened over a long link.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
/// Above this many processors used by others, a figure is told to be doubtful.
const FOREIGN_MOST: f64 = 0.2;
