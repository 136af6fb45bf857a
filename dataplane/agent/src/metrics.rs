//! What the agent counts. Each family is declared here once; labels come from closed lists, but for the
//! names of systems, which the rule set bounds and of which a hundred become labels.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use adit_policy::DenialReason;
use adit_proto::refusal::Refusal;
use adit_runtime::metrics::{Family, Kind};
use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;

use crate::enforce::InForce;
use crate::limits::SYSTEM_LABELS_MAX;

/// The agent's families.
pub const FAMILIES: &[Family] = &[
    Family::new(
        "agent_tunnels",
        "Tunnels up now; 0 means that nothing can be reached",
        Kind::Gauge,
    ),
    Family::new(
        "agent_tunnels_opened_total",
        "Tunnels opened; a steady rise means they do not stay up",
        Kind::Counter,
    ),
    Family::new(
        "agent_tunnels_ended_total",
        "Tunnels that ended, by how",
        Kind::Counter,
    ),
    Family::new(
        "agent_dials_failed_total",
        "Dials to gateways that became no tunnel, by where on the way; `status` has the last reasons",
        Kind::Counter,
    ),
    Family::new(
        "agent_streams",
        "Requests and conversations under way",
        Kind::Gauge,
    ),
    Family::new(
        "agent_decisions_total",
        "Requests judged by the snapshot, by outcome and reason; a rise of denials is a wrong rule or a stranger",
        Kind::Counter,
    ),
    Family::new(
        "agent_requests_total",
        "Granted requests by system (at most 100 names, then `other`) and how they ended",
        Kind::Counter,
    ),
    Family::new(
        "agent_refused_total",
        "Requests answered by the agent itself, by reason; backend-* reasons are the backends' trouble",
        Kind::Counter,
    ),
    Family::new(
        "agent_permits_withdrawn_total",
        "Live requests and conversations ended because a new snapshot no longer grants them",
        Kind::Counter,
    ),
    Family::new(
        "agent_backend_dials_total",
        "Connections to backends that were tried, by outcome",
        Kind::Counter,
    ),
    Family::new(
        "agent_backend_reused_total",
        "Requests sent on a connection that was kept; few beside many dials means that backends close early",
        Kind::Counter,
    ),
    Family::new(
        "agent_backend_retried_total",
        "Requests sent again because a kept connection was dead; a rise means idle_timeout is above the backend's",
        Kind::Counter,
    ),
    Family::new(
        "agent_backend_idle",
        "Quiet backend connections kept",
        Kind::Gauge,
    ),
    Family::new(
        "agent_first_byte_seconds",
        "From a request's head to the head of the backend's response",
        Kind::Histogram,
    ),
    Family::new(
        "agent_snapshot_version",
        "Version of the snapshot in force; 0 without one",
        Kind::Gauge,
    ),
    Family::new(
        "agent_snapshot_epoch",
        "Epoch of the signed snapshot in force; 0 without one, or when it came unsigned",
        Kind::Gauge,
    ),
    Family::new(
        "agent_snapshots_taken_total",
        "Snapshots put in force by a push",
        Kind::Counter,
    ),
    Family::new(
        "agent_snapshots_refused_total",
        "Pushes refused without effect, by why; `status` has the last reasons",
        Kind::Counter,
    ),
];

/// How a granted request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend's answer was carried whole.
    Answered,
    /// The backend could not be asked or gave no answer.
    Refused,
    /// The answer or the conversation broke off.
    Broken,
    /// The rules changed meanwhile.
    Withdrawn,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Refused, Self::Broken, Self::Withdrawn];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Withdrawn => "withdrawn",
        }
    }

    fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|known| *known == self)
            .unwrap_or(0)
    }
}

/// The names of systems that are labels, for all shards.
#[derive(Debug, Default)]
pub(crate) struct SystemLabels(Mutex<BTreeSet<String>>);

impl SystemLabels {
    fn label(&self, system: &str) -> String {
        let mut known = self.0.lock();
        if known.contains(system) {
            return system.to_owned();
        }
        if known.len() < SYSTEM_LABELS_MAX {
            known.insert(system.to_owned());
            return system.to_owned();
        }
        "other".to_owned()
    }
}

/// Handles of one shard, made once, so that counting is one addition.
pub(crate) struct Counters {
    pub(crate) tunnels: Gauge,
    pub(crate) tunnels_opened: Counter,
    pub(crate) streams: Gauge,
    pub(crate) withdrawn: Counter,
    pub(crate) reused: Counter,
    pub(crate) retried: Counter,
    pub(crate) idle: Gauge,
    pub(crate) first_byte: Histogram,
    pub(crate) dials_fine: Counter,
    granted: Counter,
    denied: HashMap<DenialReason, Counter, RandomState>,
    refused: RefCell<HashMap<Refusal, Counter, RandomState>>,
    systems: RefCell<HashMap<String, [Counter; 4], RandomState>>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let denied = |reason: DenialReason| metrics::counter!("agent_decisions_total", "outcome" => "deny", "reason" => reason.word());
        Self {
            tunnels: metrics::gauge!("agent_tunnels"),
            tunnels_opened: metrics::counter!("agent_tunnels_opened_total"),
            streams: metrics::gauge!("agent_streams"),
            withdrawn: metrics::counter!("agent_permits_withdrawn_total"),
            reused: metrics::counter!("agent_backend_reused_total"),
            retried: metrics::counter!("agent_backend_retried_total"),
            idle: metrics::gauge!("agent_backend_idle"),
            first_byte: metrics::histogram!("agent_first_byte_seconds"),
            dials_fine: metrics::counter!("agent_backend_dials_total", "outcome" => "connected"),
            granted: metrics::counter!("agent_decisions_total", "outcome" => "allow", "reason" => "granted"),
            denied: DenialReason::ALL
                .into_iter()
                .map(|reason| (reason, denied(reason)))
                .collect(),
            refused: RefCell::default(),
            systems: RefCell::default(),
        }
    }

    pub(crate) fn granted(&self) {
        self.granted.increment(1);
    }

    pub(crate) fn denied(&self, reason: DenialReason) {
        if let Some(counter) = self.denied.get(&reason) {
            counter.increment(1);
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused
            .borrow_mut()
            .entry(refusal)
            .or_insert_with(
                || metrics::counter!("agent_refused_total", "reason" => refusal.reason()),
            )
            .increment(1);
    }

    /// Counts the end of a granted request. `labels` says which names may be labels.
    pub(crate) fn ended(&self, labels: &SystemLabels, system: &str, outcome: Outcome) {
        let mut systems = self.systems.borrow_mut();
        if let Some(counter) = systems.get(system).and_then(|c| c.get(outcome.index())) {
            counter.increment(1);
            return;
        }
        let label = labels.label(system);
        // What is `other` once is so for this shard's life; the map stays as small as the labels.
        let key = if label == system { system } else { "other" };
        let counters = systems.entry(key.to_owned()).or_insert_with(|| {
            Outcome::ALL.map(|outcome| {
                metrics::counter!("agent_requests_total", "system" => label.clone(), "outcome" => outcome.word())
            })
        });
        if let Some(counter) = counters.get(outcome.index()) {
            counter.increment(1);
        }
    }

    pub(crate) fn dial_failed(outcome: &'static str) {
        metrics::counter!("agent_backend_dials_total", "outcome" => outcome).increment(1);
    }

    pub(crate) fn tunnel_dial_failed(place: &'static str) {
        metrics::counter!("agent_dials_failed_total", "where" => place).increment(1);
    }

    pub(crate) fn tunnel_ended(how: &'static str) {
        metrics::counter!("agent_tunnels_ended_total", "how" => how).increment(1);
    }

    pub(crate) fn snapshot_in_force(rules: Option<&InForce>) {
        let version = rules.map_or(0, |rules| rules.snapshot.version());
        let stamp = rules.and_then(|rules| rules.stamp);
        metrics::gauge!("agent_snapshot_version").set(as_gauge(version));
        metrics::gauge!("agent_snapshot_epoch").set(as_gauge(stamp.map_or(0, |stamp| stamp.epoch)));
    }

    pub(crate) fn snapshot_taken() {
        metrics::counter!("agent_snapshots_taken_total").increment(1);
    }

    pub(crate) fn snapshot_refused(why: &'static str) {
        metrics::counter!("agent_snapshots_refused_total", "why" => why).increment(1);
    }
}

/// Exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float"
)]
fn as_gauge(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundredth_system_has_a_label_of_its_own_and_the_next_is_other() {
        let labels = SystemLabels::default();
        for number in 1..=SYSTEM_LABELS_MAX {
            let name = format!("system-{number}");
            assert_eq!(labels.label(&name), name);
        }
        assert_eq!(labels.label("one-too-many"), "other");
        assert_eq!(
            labels.label("system-1"),
            "system-1",
            "a known name keeps its label"
        );
    }

    #[test]
    fn names_say_their_room_and_unit() {
        assert!(!FAMILIES.is_empty());
        for family in FAMILIES {
            assert!(family.name.starts_with("agent_"), "{}", family.name);
            let counts = matches!(family.kind, Kind::Counter);
            assert_eq!(family.name.ends_with("_total"), counts, "{}", family.name);
        }
    }
}
