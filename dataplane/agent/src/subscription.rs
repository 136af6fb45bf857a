//! How rules come in: compiled off the shards, stored, swapped, and only then acknowledged.
//!
//! Today they are pushed on the admin socket, which only the node's own user can open. Whoever brings
//! them, one intake takes them in, one after the other; a push that fails anywhere changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adit_audit::{Digest, PushOutcome, Record, RulesPushed, Text};
use adit_policy::Snapshot;
use adit_runtime::clock;
use adit_runtime::journal::Journal;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::backend::trust::Trust;
use crate::decisions::unix_ms;
use crate::enforce::InForce;
use crate::metrics::Counters;
use crate::settings::TlsRoots;
use crate::shard::{Message, Shared};
use crate::snapshot_store::{Folder, Store};

/// Takes snapshots in.
pub(crate) struct Intake {
    shared: Arc<Shared>,
    store: Arc<Store<Folder>>,
    // One push at a time: the version of the next one is the last one's plus one.
    turn: Mutex<()>,
}

/// What a push brought into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ack {
    pub(crate) version: u64,
    pub(crate) hash: String,
    pub(crate) systems: usize,
    pub(crate) resources: usize,
}

/// Why a push changed nothing, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nack {
    why: &'static str,
    pub(crate) problems: Vec<String>,
}

impl Nack {
    fn one(why: &'static str, problem: impl fmt::Display) -> Self {
        Self {
            why,
            problems: vec![problem.to_string()],
        }
    }
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, store: Store<Folder>) -> Self {
        Self {
            shared,
            store: Arc::new(store),
            turn: Mutex::new(()),
        }
    }

    /// Puts `text` in force. `file` is its name in messages.
    ///
    /// # Errors
    /// What is wrong; the old rules stay in force and on disk.
    pub(crate) async fn push(self: Arc<Self>, file: String, text: String) -> Result<Ack, Nack> {
        // A task of its own: the caller may go away, but a push is whole or not at all.
        let intake = Arc::clone(&self);
        let pushing = tokio::spawn(async move { intake.take_in(file, text).await });
        let outcome = match pushing.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Nack::one(
                "internal",
                format!("the intake ended unexpectedly: {error}"),
            )),
        };
        if let Err(nack) = &outcome {
            Counters::snapshot_refused(nack.why);
            let first = nack.problems.first().map_or("", String::as_str);
            self.shared
                .journal
                .record("snapshot", first, clock::unix_now());
            tracing::warn!(why = nack.why, problems = nack.problems.len(), first = ?first, "rules refused");
        }
        outcome
    }

    async fn take_in(&self, file: String, text: String) -> Result<Ack, Nack> {
        let _turn = self.turn.lock().await;
        let version = self
            .shared
            .in_force
            .load()
            .as_ref()
            .map_or(0, |old| old.snapshot.version())
            + 1;
        let store = Arc::clone(&self.store);
        let roots = self.shared.backend.tls_roots.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let hash = Digest::of(text.as_bytes());
            (hash, prepare(&store, &file, version, text, &roots))
        });
        let (hash, prepared) = prepared.await.map_err(|error| {
            Nack::one("internal", format!("compiling ended unexpectedly: {error}"))
        })?;
        let in_force = match prepared {
            Ok(in_force) => Arc::new(in_force),
            Err(nack) => {
                let reason = Text::of(nack.why);
                self.note(version, hash, PushOutcome::Refused { reason });
                return Err(nack);
            }
        };
        let ack = acknowledgement(&in_force.snapshot);
        self.shared.in_force.store(Some(in_force));
        Counters::snapshot_in_force(version);
        Counters::snapshot_taken();
        tracing::info!(version, hash = %ack.hash, systems = ack.systems, "rules in force");
        self.note(version, hash, PushOutcome::InForce);
        self.tell_shards().await;
        Ok(ack)
    }

    fn note(&self, version: u64, hash: Digest, outcome: PushOutcome<'_>) {
        self.shared
            .decisions
            .note(&Record::RulesPushed(RulesPushed {
                unix_ms: unix_ms(),
                by: Text::of(BY_SOCKET),
                version,
                hash,
                outcome,
            }));
    }

    // Every shard must hear of it, or what it runs would outlive its permit.
    async fn tell_shards(&self) {
        for mailbox in &self.shared.mailboxes {
            while mailbox.send(Message::Rules).is_err() && self.shared.drain.is_serving() {
                tokio::time::sleep(FULL_MAILBOX_PAUSE).await;
            }
        }
    }
}

// Compiled and stored: only then may it be put in force.
fn prepare(
    store: &Store<Folder>,
    file: &str,
    version: u64,
    text: String,
    roots: &TlsRoots,
) -> Result<InForce, Nack> {
    let in_force = compile(file, version, text, roots)?;
    let saved = store.save(version, in_force.snapshot.text());
    saved.map_err(|error| {
        Nack::one(
            "store",
            format!("the rules are right but could not be stored: {error}"),
        )
    })?;
    Ok(in_force)
}

fn compile(file: &str, version: u64, text: String, roots: &TlsRoots) -> Result<InForce, Nack> {
    let snapshot = Snapshot::from_file(file, version, text).map_err(|problems| {
        let mut lines: Vec<String> = problems.list().iter().map(ToString::to_string).collect();
        if problems.unlisted() > 0 {
            lines.push(format!("and {} more problems", problems.unlisted()));
        }
        Nack {
            why: "rules",
            problems: lines,
        }
    })?;
    let trust = Trust::read(&snapshot, roots);
    let problems = trust.problems();
    if problems.is_empty() {
        Ok(InForce { snapshot, trust })
    } else {
        Err(Nack {
            why: "ca-file",
            problems,
        })
    }
}

fn acknowledgement(snapshot: &Snapshot) -> Ack {
    let systems = &snapshot.table().rules().systems;
    Ack {
        version: snapshot.version(),
        hash: snapshot.hash_hex(),
        systems: systems.len(),
        resources: systems.iter().map(|system| system.resources.len()).sum(),
    }
}

/// What was in force when the agent last ran, or nothing. Files are read here, so not on a shard.
pub(crate) fn last_good(
    store: &Store<Folder>,
    roots: &TlsRoots,
    journal: &Journal,
) -> Option<InForce> {
    let found = store.load();
    let note = |what: &str| {
        journal.record("snapshot", what, clock::unix_now());
        tracing::warn!(what = ?what, "stored rules");
    };
    for damage in &found.damage {
        note(damage);
    }
    let stored = found.stored?;
    match Snapshot::from_file("snapshot.toml", stored.version, stored.text) {
        Ok(snapshot) => {
            let trust = Trust::read(&snapshot, roots);
            // Here nobody can be told to mend it first; all other systems work.
            for problem in trust.problems() {
                note(&problem);
            }
            Some(InForce { snapshot, trust })
        }
        Err(problems) => {
            // Whole, but no rule set for this version of the program. The one before may grant more
            // than is wanted today, so nothing is granted until somebody pushes.
            note(&format!(
                "version {} is not in force: {problems}",
                stored.version
            ));
            None
        }
    }
}

/// Who pushes: today only the node's own user can.
const BY_SOCKET: &str = "admin socket";
/// Between two tries to leave a message in a full mailbox.
const FULL_MAILBOX_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
