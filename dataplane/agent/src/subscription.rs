//! How rules come in: compiled off the shards, stored, swapped, and only then acknowledged.
//!
//! They are pushed on the admin socket, which only the node's own user can open, signed or, where no
//! signer is named, as they are. Whoever brings them, one intake takes them in, one after the other; a
//! push that fails anywhere changes nothing.

use std::fmt;
use std::sync::Arc;

use adit_audit::{Digest, PushOutcome, Record, RulesPushed, Text};
use adit_policy::{Problems, Snapshot};
use adit_recorder::unix_ms;
use adit_runtime::clock;
use adit_runtime::journal::Journal;
use adit_runtime::mailbox::tell_all;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::backend::trust::Trust;
use crate::enforce::InForce;
use crate::metrics::Counters;
use crate::settings::TlsRoots;
use crate::shard::{Message, Shared};
use crate::signers::Signers;
use crate::snapshot_store::{Folder, Store};

/// Takes snapshots in.
pub(crate) struct Intake {
    shared: Arc<Shared>,
    store: Arc<Store<Folder>>,
    signers: Signers,
    // One push at a time: the version of the next one is the last one's plus one.
    turn: Mutex<()>,
}

/// What a push brought into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ack {
    pub(crate) version: u64,
    pub(crate) epoch: Option<u64>,
    pub(crate) hash: String,
    pub(crate) systems: usize,
    pub(crate) resources: usize,
}

/// Why a push changed nothing, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nack {
    pub(crate) why: &'static str,
    pub(crate) problems: Vec<String>,
}

impl Nack {
    fn one(why: &'static str, problem: impl fmt::Display) -> Self {
        Self {
            why,
            problems: vec![problem.to_string()],
        }
    }

    fn all(why: &'static str, found: &Problems) -> Self {
        let mut problems: Vec<String> = found.list().iter().map(ToString::to_string).collect();
        if found.unlisted() > 0 {
            problems.push(format!("and {} more problems", found.unlisted()));
        }
        Self { why, problems }
    }
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, store: Store<Folder>, signers: Signers) -> Self {
        Self {
            shared,
            store: Arc::new(store),
            signers,
            turn: Mutex::new(()),
        }
    }

    /// Whose signature counts.
    pub(crate) fn signers(&self) -> &Signers {
        &self.signers
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
        if self.shared.decisions.is_closed() {
            return Err(Nack::one(
                "audit",
                "audit records cannot be written, and what is not recorded is refused here; `adit status` says why",
            ));
        }
        let old = self.shared.in_force.load_full();
        let push = Push {
            store: Arc::clone(&self.store),
            signers: self.signers.clone(),
            roots: self.shared.backend.tls_roots.clone(),
            file,
            text,
        };
        let against = old.clone();
        let took = tokio::task::spawn_blocking(move || push.take(against.as_deref()));
        let (facts, taken) = took.await.map_err(|error| {
            Nack::one("internal", format!("compiling ended unexpectedly: {error}"))
        })?;
        let in_force = match taken {
            Ok(Some(in_force)) => Arc::new(in_force),
            // What is in force came a second time: somebody makes sure of it.
            Ok(None) => {
                return old
                    .as_deref()
                    .map(acknowledgement)
                    .ok_or_else(nothing_in_force);
            }
            Err(nack) => {
                let reason = Text::of(nack.why);
                self.note(&facts, PushOutcome::Refused { reason });
                return Err(nack);
            }
        };
        let ack = acknowledgement(&in_force);
        Counters::snapshot_in_force(Some(&in_force));
        self.shared.in_force.store(Some(in_force));
        Counters::snapshot_taken();
        tracing::info!(version = ack.version, epoch = ack.epoch, hash = %ack.hash, by = %facts.by, systems = ack.systems, "rules in force");
        self.note(&facts, PushOutcome::InForce);
        self.tell_shards().await;
        Ok(ack)
    }

    fn note(&self, facts: &Facts, outcome: PushOutcome<'_>) {
        self.shared
            .decisions
            .note(&Record::RulesPushed(RulesPushed {
                unix_ms: unix_ms(),
                by: Text::of(&facts.by),
                version: facts.version,
                hash: facts.hash,
                outcome,
            }));
    }

    // Every shard must hear of it, or what it runs would outlive its permit.
    async fn tell_shards(&self) {
        let shared = &self.shared;
        tell_all(&shared.mailboxes, &shared.drain, || Message::Rules).await;
    }
}

/// A push on its way in.
struct Push {
    store: Arc<Store<Folder>>,
    signers: Signers,
    roots: TlsRoots,
    file: String,
    text: String,
}

/// What is recorded of a push, however it ends.
struct Facts {
    by: String,
    version: u64,
    hash: Digest,
}

impl Push {
    /// Verified, compiled and stored: only then may it be put in force. `None` when it is.
    fn take(self, old: Option<&InForce>) -> (Facts, Result<Option<InForce>, Nack>) {
        let mut facts = Facts {
            by: BY_SOCKET.to_owned(),
            version: old.map_or(0, |old| old.snapshot.version()) + 1,
            hash: Digest::of(self.text.as_bytes()),
        };
        let taken = self.take_noting(old, &mut facts);
        (facts, taken)
    }

    fn take_noting(
        &self,
        old: Option<&InForce>,
        facts: &mut Facts,
    ) -> Result<Option<InForce>, Nack> {
        let pushed = self
            .signers
            .open(&self.text, old)
            .map_err(|refused| Nack::one(refused.why(), format!("{}: {refused}", self.file)))?;
        if let Some(key) = &pushed.signed_by {
            facts.by = format!("signer {key}");
        }
        if let Some(stamp) = pushed.stamp {
            facts.version = stamp.version;
            facts.hash = Digest::of(pushed.rules.as_bytes());
        }
        if pushed.is_same {
            return Ok(None);
        }
        let rules = pushed.rules.to_owned();
        let mut in_force = compile(&self.file, facts.version, rules, &self.roots)?;
        in_force.stamp = pushed.stamp;
        // As it was signed, so that it can be verified again at the next start.
        let saved = self.store.save(facts.version, &self.text);
        saved.map_err(|error| {
            Nack::one(
                "store",
                format!("the rules are right but could not be stored: {error}"),
            )
        })?;
        Ok(Some(in_force))
    }
}

fn nothing_in_force() -> Nack {
    Nack::one("internal", "the rules in force went away during the push")
}

fn compile(file: &str, version: u64, text: String, roots: &TlsRoots) -> Result<InForce, Nack> {
    let snapshot = Snapshot::from_file(file, version, text)
        .map_err(|problems| Nack::all("rules", &problems))?;
    let tests = snapshot.table().run_tests();
    tests.map_err(|problems| Nack::all("tests", &problems))?;
    let trust = Trust::read(&snapshot, roots);
    let problems = trust.problems();
    if problems.is_empty() {
        Ok(InForce {
            snapshot,
            trust,
            stamp: None,
        })
    } else {
        Err(Nack {
            why: "ca-file",
            problems,
        })
    }
}

fn acknowledgement(in_force: &InForce) -> Ack {
    let snapshot = &in_force.snapshot;
    let systems = &snapshot.table().rules().systems;
    Ack {
        version: snapshot.version(),
        epoch: in_force.stamp.map(|stamp| stamp.epoch),
        hash: snapshot.hash_hex(),
        systems: systems.len(),
        resources: systems.iter().map(|system| system.resources.len()).sum(),
    }
}

/// What was in force when the agent last ran, or nothing. Files are read here, so not on a shard.
///
/// # Errors
/// The rules are of a later format: an agent without them would refuse everything, and write over them at the next push.
pub(crate) fn last_good(
    store: &Store<Folder>,
    roots: &TlsRoots,
    signers: &Signers,
    journal: &Journal,
) -> Result<Option<InForce>, String> {
    let found = store.load();
    if found.is_later {
        return Err(found.damage.concat());
    }
    let note = |what: &str| {
        journal.record("snapshot", what, clock::unix_now());
        tracing::warn!(what = ?what, "stored rules");
    };
    for damage in &found.damage {
        note(damage);
    }
    let Some(stored) = found.stored else {
        return Ok(None);
    };
    let pushed = match signers.open(&stored.text, None) {
        Ok(pushed) => pushed,
        Err(refused) => {
            // Whole, but nobody who counts stands for it. The one before is no better.
            note(&format!(
                "version {} is not in force: {refused}",
                stored.version
            ));
            return Ok(None);
        }
    };
    match Snapshot::from_file("snapshot.toml", stored.version, pushed.rules.to_owned()) {
        Ok(snapshot) => {
            let trust = Trust::read(&snapshot, roots);
            // Here nobody can be told to mend it first; all other systems work. For the same reason the rules' own
            // tests are not asked: they passed when the rules were pushed, and refusing now would refuse everything.
            for problem in trust.problems() {
                note(&problem);
            }
            Ok(Some(InForce {
                snapshot,
                trust,
                stamp: pushed.stamp,
            }))
        }
        Err(problems) => {
            // Whole, but no rule set for this version of the program. The one before may grant more
            // than is wanted today, so nothing is granted until somebody pushes.
            note(&format!(
                "version {} is not in force: {problems}",
                stored.version
            ));
            Ok(None)
        }
    }
}

/// Who pushed what no key signed: the node's own user.
const BY_SOCKET: &str = "admin socket";

#[cfg(test)]
mod tests;
