//! The tunnel dies under load: who notices when, what fails, when it is back.
//!
//! The harness knows the moment because it owns the link between the two ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bench::Bench;
use crate::case::Cut;
use crate::client::ask::{Asking, Pace};
use crate::figure;
use crate::interrupt;
use crate::link::{Order, Quality};
use crate::measure::{self, Measured};
use crate::subject::Subject;
use crate::tally::Entry;

pub(super) fn run(bench: &Bench, who: &str, cut: Cut) -> Result<Measured> {
    let subject = bench.over_link(who, Quality::default())?;
    let link = subject.link.as_ref().context("a link between the ends")?;
    let mut asking = Asking::kilobyte(&subject.route, CONNECTIONS, Pace::Open(RATE));
    asking.log = true;
    let load = measure::asking(bench, asking)?;
    interrupt::pause(Duration::from_secs(1))?;
    load.measure();
    let before = Ends::of(&subject);
    let done_before = load.gauge().counts();

    let struck = link.order(match cut {
        Cut::Reset => Order::Reset,
        Cut::Silent => Order::Stall,
        Cut::Dark => Order::Darken,
    })?;
    let mut noticed: [Option<Instant>; 2] = [None, None];
    let mut path_back = struck;
    let watched_most = if subject.nodes.is_some() {
        WATCHED_MOST
    } else {
        WATCHED_MOST_OF_PEERS
    };
    let end = struck + watched_most;
    let mut enough = None;
    loop {
        interrupt::pause(LOOK_EVERY)?;
        let now = Instant::now();
        for (noticed, (ended, was)) in noticed
            .iter_mut()
            .zip(Ends::of(&subject).0.into_iter().zip(before.0))
        {
            if noticed.is_none() && ended > was {
                *noticed = Some(Instant::now());
            }
        }
        if cut == Cut::Dark && path_back == struck && now >= struck + DARK {
            path_back = link.order(Order::Lighten)?;
        }
        let returned = cut != Cut::Dark || path_back > struck;
        let flows = load.gauge().counts().done > done_before.done + FLOWS_AFTER;
        // Silence takes seconds to be noticed; requests before that flow on nothing.
        let known = subject.nodes.is_none() || noticed.iter().all(Option::is_some);
        let waited = match cut {
            Cut::Reset => Duration::ZERO,
            Cut::Silent | Cut::Dark => Duration::from_secs(1),
        };
        if returned && known && flows && now > path_back + waited && enough.is_none() {
            enough = Some(now + SETTLE);
        }
        if enough.is_some_and(|enough| now >= enough) || now >= end {
            break;
        }
    }
    let failure = load.gauge().first_failure();
    let tally = load.stop()?;
    let mut measured = Measured::default();
    let known = noticed_by_both(noticed);
    if subject.nodes.is_some() && known.is_none() {
        measured.note("not both ends noticed in time");
    }
    for (name, noticed) in ["gateway_noticed_ms", "agent_noticed_ms"]
        .into_iter()
        .zip(noticed)
    {
        if let Some(noticed) = noticed {
            measured.set(name, millis(noticed - struck));
        }
    }
    if let Some(known) = known {
        measured.set("noticed_ms", millis(known - struck));
    }
    tell(&tally.log, struck, path_back, known, &mut measured);
    if !measured.figures.contains_key("back_ms") {
        measured.note(&format!("not back within {watched_most:?}"));
    }
    if let Some(failure) = failure {
        measured.note(&format!("a failure: {failure}"));
    }
    Ok(measured)
}

/// When the later of the two ends knew; none when one never did.
fn noticed_by_both([gateway, agent]: [Option<Instant>; 2]) -> Option<Instant> {
    gateway.zip(agent).map(|(one, other)| one.max(other))
}

/// What the log of the load says.
fn tell(
    log: &[Entry],
    struck: Instant,
    path_back: Instant,
    known: Option<Instant>,
    measured: &mut Measured,
) {
    // In flight when it happened, or later.
    let concerned = || log.iter().filter(|entry| entry.ended >= struck);
    let failed = concerned().filter(|entry| !entry.fine).count();
    measured.set("requests", figure::length(concerned().count()));
    measured.set("failed", figure::length(failed));
    // Only adit can be asked when it noticed.
    if let Some(known) = known {
        let safe = known.max(path_back);
        let after = concerned().filter(|entry| !entry.fine && entry.due >= safe);
        measured.set("failed_after", figure::length(after.count()));
    }
    let back = concerned()
        .filter(|entry| entry.fine && entry.ended >= path_back && entry.due >= struck)
        .map(|entry| entry.ended)
        .min();
    if let Some(back) = back {
        measured.set("back_ms", millis(back - path_back));
    }
    let worst = concerned()
        .filter(|entry| entry.fine)
        .map(|entry| entry.ended - entry.due)
        .max();
    if let Some(worst) = worst {
        measured.set("slowest_ms", millis(worst));
    }
}

/// Tunnels that ended so far, at the gateway and at the agent.
struct Ends([f64; 2]);

impl Ends {
    fn of(subject: &Subject) -> Self {
        let of = |role, name| {
            let nodes = subject.nodes.as_ref();
            nodes.map_or(0.0, |nodes| nodes.metric(role, name))
        };
        Self([
            of("gateway", "gateway_tunnels_ended_total"),
            of("agent", "agent_tunnels_ended_total"),
        ])
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const RATE: f64 = 200.0;
/// More than are due while silence is noticed would be waiting; the rest wait in the client.
const CONNECTIONS: usize = 256;
const DARK: Duration = Duration::from_secs(12);
const WATCHED_MOST: Duration = Duration::from_secs(20);
/// Those that come back do so in seconds; the others in 30 or never.
const WATCHED_MOST_OF_PEERS: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(2);
const FLOWS_AFTER: u64 = 100;
const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_noticed_when_the_later_one_has_and_not_before() {
        let first = Instant::now();
        let second = first + Duration::from_secs(1);
        assert_eq!(noticed_by_both([Some(second), Some(first)]), Some(second));
        assert_eq!(noticed_by_both([Some(first), None]), None);
        assert_eq!(noticed_by_both([None, Some(first)]), None);
    }

    #[test]
    fn what_failed_before_it_was_known_and_what_failed_after_are_told_apart() {
        let struck = Instant::now();
        let at = |ms: u64| struck + Duration::from_millis(ms);
        let entry = |due, ended, fine| Entry {
            due: at(due),
            ended: at(ended),
            fine,
        };
        let log = [
            entry(0, 10, false),
            entry(5, 900, true),
            entry(60, 70, false),
            entry(65, 400, true),
        ];
        let mut measured = Measured::default();
        tell(&log, struck, struck, Some(at(50)), &mut measured);
        let figure = |name: &str| measured.figures[name].round();
        assert_eq!(figure("failed"), 2.0);
        assert_eq!(figure("failed_after"), 1.0);
        assert_eq!(figure("requests"), 4.0);
        assert_eq!(figure("back_ms"), 400.0);
        assert_eq!(figure("slowest_ms"), 895.0);
    }
}
