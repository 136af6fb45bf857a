//! What was asked and what was decided, read line by line and held once each, with how often.
//!
//! Lines are verified as a chain, so that what was changed afterwards counts for nothing. Judging is left to others.
use std::collections::HashMap;

use adit_audit::{Broken, Decision, Outcome, Record, Seen, SeenRule, Verifier};
use adit_policy::{OwnedRequest, Request};

use crate::limits::{FOLDED_MAX, REQUESTS_MAX};

/// Whether callers are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are or they are not")]
pub enum Callers {
    /// The same request of two callers is two.
    Apart,
    /// Who asked does not matter.
    Together,
}

/// What was recorded.
#[derive(Debug)]
pub struct Ledger {
    callers: Callers,
    verifier: Verifier,
    facts: Facts,
    granted: HashMap<Asked, u64>,
    denied: HashMap<Asked, u64>,
    folded: HashMap<Folded, u64>,
}

/// What can be said of all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Records of any kind.
    pub records: u64,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// When the first record was made, in milliseconds of Unix time; with [`records`](Self::records) 0, 0.
    pub first_unix_ms: u64,
    /// When the last record was made.
    pub last_unix_ms: u64,
    /// Records that say of themselves that they were lost.
    pub lost: u64,
    /// Decisions that are counted here and held nowhere, because there are too many different ones.
    pub unheld: u64,
}

/// A request as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// Subaccount and caller, when they are told apart.
    pub(crate) caller: Option<(Box<str>, Box<str>)>,
    /// Virtual host and port.
    pub(crate) system: Box<str>,
    pub(crate) method: Option<Box<str>>,
    /// The path in the bytes in which it came; `None` for opaque streams.
    pub(crate) path: Option<Written>,
    /// It asked to change the protocol. Older records do not tell, and count as if it had not.
    pub(crate) upgrade: bool,
    /// The rule that granted, or the reason to deny.
    pub(crate) ground: Box<str>,
}

/// A text of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Written {
    /// All of its bytes.
    Whole(Box<[u8]>),
    /// It was cut when it was recorded, or is none that a recorder writes; as it stands there.
    Cut(Box<str>),
}

/// Granted requests of which only this is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Folded {
    pub(crate) system: Box<str>,
    pub(crate) rule: Box<str>,
    pub(crate) method: Option<Box<str>>,
}

impl Asked {
    /// The request to judge, when all of it was recorded.
    pub(crate) fn request(&self, upgrade: bool) -> Option<OwnedRequest> {
        let (host, port) = self.system.rsplit_once(':')?;
        let port = port.parse().ok()?;
        match (&self.method, &self.path) {
            (None, None) => Some(Request::Tcp { host, port }.to_owned()),
            (Some(method), Some(Written::Whole(path))) => Some(
                Request::Http {
                    host,
                    port,
                    method,
                    path,
                    upgrade,
                }
                .to_owned(),
            ),
            _ => None,
        }
    }

    pub(crate) fn folded(&self) -> Folded {
        Folded {
            system: self.system.clone(),
            rule: self.ground.clone(),
            method: self.method.clone(),
        }
    }

    /// The request for people.
    pub(crate) fn told(&self) -> String {
        // `ws` is how the request language writes an upgrade.
        let scheme = if self.upgrade { "ws" } else { "http" };
        match (&self.method, &self.path) {
            (Some(method), Some(Written::Whole(path))) => {
                format!("{method} {scheme}://{}{}", self.system, path.escape_ascii())
            }
            (Some(method), Some(Written::Cut(path))) => {
                format!("{method} {scheme}://{}{path}", self.system)
            }
            _ => format!("tcp://{}", self.system),
        }
    }
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(callers: Callers) -> Self {
        Self {
            callers,
            verifier: Verifier::new(None),
            facts: Facts::default(),
            granted: HashMap::new(),
            denied: HashMap::new(),
            folded: HashMap::new(),
        }
    }

    /// The lines that follow are of another file.
    pub fn next_file(&mut self) {
        self.verifier = Verifier::new(None);
    }

    /// Takes the next line, with its line feed.
    ///
    /// # Errors
    /// [`Broken`] when this is not the next line of the chain; nothing of it was taken.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let record = self.verifier.line(line)?;
        let facts = &mut self.facts;
        let now = record.unix_ms();
        if facts.records == 0 {
            facts.first_unix_ms = now;
        }
        facts.first_unix_ms = facts.first_unix_ms.min(now);
        facts.last_unix_ms = facts.last_unix_ms.max(now);
        facts.records += 1;
        match record {
            Record::Decision(decision) => self.decision(&decision),
            Record::Gap(gap) => facts.lost = facts.lost.saturating_add(gap.lost),
            // What a gateway refused met no rule, and what it passed on is a decision of an agent.
            Record::Request(_)
            | Record::Tunnel(_)
            | Record::Started(_)
            | Record::RulesPushed(_)
            | Record::Act(_)
            | Record::Recovered(_)
            | Record::Checkpoint(_)
            | Record::SegmentRemoved(_)
            | Record::Stopped(_) => {}
        }
        Ok(())
    }

    /// Takes in a request of a caller of `subaccount`, as a node counted it in its own records.
    pub fn seen(&mut self, subaccount: &str, seen: &Seen) {
        let asked = &seen.asked;
        let caller = (self.callers == Callers::Apart)
            .then(|| (subaccount.into(), asked.caller.as_str().into()));
        let held = Asked {
            caller,
            system: asked.system.as_str().into(),
            method: asked.method.as_deref().map(Into::into),
            path: asked.path.as_deref().map(written),
            upgrade: asked.upgrade,
            ground: asked.ground.as_str().into(),
        };
        self.facts.records = self.facts.records.saturating_add(seen.count);
        self.facts.last_unix_ms = self.facts.last_unix_ms.max(seen.last_unix_ms);
        self.hold(held, asked.granted, seen.count);
    }

    /// Takes in grants of which a node has told the rule only.
    pub fn rule(&mut self, seen: &SeenRule) {
        self.facts.records = self.facts.records.saturating_add(seen.count);
        self.facts.granted = self.facts.granted.saturating_add(seen.count);
        let folded = Folded {
            system: seen.system.as_str().into(),
            rule: seen.rule.as_str().into(),
            method: seen.method.as_deref().map(Into::into),
        };
        self.fold(folded, seen.count);
    }

    /// Takes in decisions of which a node has told their number only.
    pub fn more(&mut self, granted: u64, denied: u64) {
        let both = granted.saturating_add(denied);
        self.facts.records = self.facts.records.saturating_add(both);
        self.facts.granted = self.facts.granted.saturating_add(granted);
        self.facts.denied = self.facts.denied.saturating_add(denied);
        self.facts.unheld = self.facts.unheld.saturating_add(both);
    }

    /// What can be said of all records.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    pub(crate) fn granted(&self) -> impl Iterator<Item = (&Asked, u64)> {
        self.granted.iter().map(|(asked, count)| (asked, *count))
    }

    pub(crate) fn denied(&self) -> impl Iterator<Item = (&Asked, u64)> {
        self.denied.iter().map(|(asked, count)| (asked, *count))
    }

    pub(crate) fn folded(&self) -> impl Iterator<Item = (&Folded, u64)> {
        self.folded.iter().map(|(folded, count)| (folded, *count))
    }

    fn decision(&mut self, decision: &Decision<'_>) {
        let granted = matches!(decision.outcome, Outcome::Allowed { .. });
        self.hold(self.asked(decision), granted, 1);
    }

    fn hold(&mut self, asked: Asked, granted: bool, times: u64) {
        let (all, held) = if granted {
            (&mut self.facts.granted, &mut self.granted)
        } else {
            (&mut self.facts.denied, &mut self.denied)
        };
        *all = all.saturating_add(times);
        if let Some(count) = held.get_mut(&asked) {
            *count = count.saturating_add(times);
        } else if held.len() < REQUESTS_MAX {
            held.insert(asked, times);
        } else if granted {
            self.fold(asked.folded(), times);
        } else {
            self.facts.unheld = self.facts.unheld.saturating_add(times);
        }
    }

    fn fold(&mut self, folded: Folded, times: u64) {
        let room = self.folded.len() < FOLDED_MAX;
        match self.folded.get_mut(&folded) {
            Some(count) => *count = count.saturating_add(times),
            None if room => drop(self.folded.insert(folded, times)),
            None => self.facts.unheld = self.facts.unheld.saturating_add(times),
        }
    }

    fn asked(&self, decision: &Decision<'_>) -> Asked {
        let ground = match &decision.outcome {
            Outcome::Allowed { rule } => rule.as_str(),
            Outcome::Denied { reason } => reason.as_str(),
        };
        Asked {
            caller: (self.callers == Callers::Apart).then(|| {
                (
                    decision.subaccount.as_str().into(),
                    decision.caller.as_str().into(),
                )
            }),
            system: decision.system.as_str().into(),
            method: decision
                .method
                .as_ref()
                .map(|method| method.as_str().into()),
            path: decision.path.as_ref().map(|path| written(path.as_str())),
            upgrade: decision.upgrade,
            ground: ground.into(),
        }
    }
}

/// The bytes that a text of a record was made of: `\xNN` is a byte, two backslashes are one.
pub(crate) fn written(text: &str) -> Written {
    // A raw space has no place in a path that was granted, so this is the recorder's own note.
    if text.ends_with(" bytes)") && text.contains("... (") {
        return Written::Cut(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let unescaped = match tail {
            [b'\\', tail @ ..] => Some((b'\\', tail)),
            [b'x', high, low, tail @ ..] => byte_of(*high, *low).map(|byte| (byte, tail)),
            _ => None,
        };
        match unescaped {
            Some((byte, tail)) => {
                bytes.push(byte);
                rest = tail;
            }
            None => return Written::Cut(text.into()),
        }
    }
    Written::Whole(bytes.into())
}

fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
pub(crate) mod tests;
