//! Memory of streams and tunnels that do nothing.
//!
//! User-space memory is the proportional set size of all processes of the tunnel. The kernel's is socket
//! buffers and slabs of the whole machine, so it has the sockets of client and backend in it as well.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::client::bulk::Direction;
use crate::client::hold;
use crate::figure;
use crate::interrupt;
use crate::measure::{self, Measured};
use crate::procfs;
use crate::subject::Subject;

pub(super) fn streams(bench: &Bench, who: &str, count: usize) -> Result<Measured> {
    // Both ends and the clients have one or two descriptors for each stream.
    let possible = usize::try_from(bench.descriptors.saturating_sub(500)).unwrap_or(usize::MAX);
    let mut measured = Measured::default();
    let held = count.min(possible);
    if held < count {
        measured.note(&format!("{held} streams, no more descriptors are allowed"));
    }
    let mut subject = bench.fresh(who, |_| {})?;
    // A few streams and some bulk first: what is allocated once belongs to the base.
    drop(hold::open(&subject.route, 20)?);
    for direction in [Direction::Down, Direction::Up] {
        let load = measure::carrying(bench, &subject, direction, 1)?;
        interrupt::until("a warm-up has begun", SETTLE, || load.has_begun())?;
        interrupt::pause(bench.warm())?;
        load.stop()?;
    }
    interrupt::pause(SETTLE)?;
    let base = Reading::of(&subject);
    let sockets = hold::open(&subject.route, held)?;
    interrupt::pause(SETTLE)?;
    let full = Reading::of(&subject);
    subject.must_run()?;
    drop(sockets);
    interrupt::pause(SETTLE)?;
    let after = Reading::of(&subject);
    let each = |bytes: f64| bytes / 1024.0 / figure::length(held);
    measured.set("streams", figure::length(held));
    measured.set("base_mb", base.proportional / 1e6);
    measured.set("user_kb", each(full.proportional - base.proportional));
    measured.set("gateway_kb", each(full.gateway - base.gateway));
    measured.set("agent_kb", each(full.agent - base.agent));
    measured.set("resident_kb", each(full.resident - base.resident));
    measured.set("kernel_kb", each(full.kernel - base.kernel));
    measured.set("after_mb", after.proportional / 1e6);
    Ok(measured)
}

pub(super) fn tunnels(bench: &Bench, who: &str, count: usize) -> Result<Measured> {
    let base = {
        let subject = bench.fresh(who, |setting| setting.tunnels = 1)?;
        interrupt::pause(SETTLE)?;
        Reading::of(&subject)
    };
    let mut subject = bench.fresh(who, |setting| setting.tunnels = count)?;
    interrupt::pause(SETTLE)?;
    subject.must_run()?;
    let full = Reading::of(&subject);
    let nodes = subject.nodes.as_ref();
    let up = nodes.map_or(0.0, |nodes| nodes.metric("gateway", "gateway_tunnels"));
    if up < figure::length(count) {
        bail!("only {up} tunnels are up");
    }
    let each = |bytes: f64| bytes / 1024.0 / (up - 1.0);
    let mut measured = Measured::default();
    measured.set("tunnels", up);
    measured.set("gateway_kb", each(full.gateway - base.gateway));
    measured.set("agent_kb", each(full.agent - base.agent));
    Ok(measured)
}

struct Reading {
    proportional: f64,
    resident: f64,
    gateway: f64,
    agent: f64,
    kernel: f64,
}

impl Reading {
    fn of(subject: &Subject) -> Self {
        let all = procfs::memory(&subject.pids());
        let of = |role| figure::float(procfs::memory(&subject.pids_of(role)).proportional);
        Self {
            proportional: figure::float(all.proportional),
            resident: figure::float(all.resident),
            gateway: of("gateway"),
            agent: of("agent"),
            kernel: figure::float(procfs::kernel_memory()),
        }
    }
}

const SETTLE: Duration = Duration::from_millis(1500);
