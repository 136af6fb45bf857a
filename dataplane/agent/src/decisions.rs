//! What became of each judged request: a record for whoever keeps records, and the last denials.
//!
//! The seam at which audit is attached. Records are `audit`'s types, are never filtered by a log level,
//! and go to one [`Sink`], which writes, chains and keeps them; none is attached by default. The last
//! denials are kept in memory for `status`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use adit_audit::{Decision, Outcome, Record, Text};
use adit_policy::{Denial, Permit, Request};
use adit_proto::connect::Request as Connect;
use adit_runtime::clock;
use parking_lot::Mutex;
use serde::Serialize;

use crate::limits::DENIALS_KEPT;

/// Takes records in. Called on the shards, in the path of a request: it must not wait.
pub trait Sink: Send + Sync {
    /// Which decisions it wants; the others are not even put together.
    fn level(&self) -> Level;

    /// Takes one in.
    fn record(&self, record: &Record<'_>);
}

/// Which decisions are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: none, the denied ones, all"
)]
pub enum Level {
    /// None; other records are.
    Off,
    /// Denials.
    Denied,
    /// Denials and grants.
    All,
}

/// Where decisions go.
pub(crate) struct Decisions {
    sink: Option<Arc<dyn Sink>>,
    denials: Mutex<VecDeque<Denied>>,
}

/// A denied request, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Denied {
    id: String,
    unix_s: u64,
    subaccount: String,
    caller: String,
    request: String,
    version: u64,
    reason: &'static str,
    text: String,
}

impl Decisions {
    pub(crate) fn new(sink: Option<Arc<dyn Sink>>) -> Self {
        Self {
            sink,
            denials: Mutex::new(VecDeque::new()),
        }
    }

    /// A request was granted. Costs nothing unless somebody keeps grants.
    pub(crate) fn granted(&self, connect: &Connect<'_>, request: &Request<'_>, permit: &Permit) {
        if let Some(sink) = self.wanted(Level::All) {
            let outcome = Outcome::Allowed {
                rule: Text::of(permit.rule()),
            };
            record(sink, connect, request, outcome, permit.version());
        }
    }

    /// A request was denied by the snapshot of this version.
    pub(crate) fn denied(
        &self,
        connect: &Connect<'_>,
        request: &Request<'_>,
        denial: &Denial,
        version: u64,
    ) {
        let reason = denial.reason().word();
        if let Some(sink) = self.wanted(Level::Denied) {
            let outcome = Outcome::Denied {
                reason: Text::of(reason),
            };
            record(sink, connect, request, outcome, version);
        }
        let denied = Denied {
            id: connect.id.to_string(),
            unix_s: clock::unix_now(),
            subaccount: connect.subaccount.to_owned(),
            caller: connect.caller.to_owned(),
            request: request.to_string(),
            version,
            reason,
            text: denial.to_string(),
        };
        let mut denials = self.denials.lock();
        denials.truncate(DENIALS_KEPT - 1);
        denials.push_front(denied);
    }

    /// Anything else that is recorded, such as a push of rules.
    pub(crate) fn note(&self, record: &Record<'_>) {
        if let Some(sink) = &self.sink {
            sink.record(record);
        }
    }

    /// The last denials, newest first.
    pub(crate) fn denials(&self) -> Vec<Denied> {
        self.denials.lock().iter().cloned().collect()
    }

    fn wanted(&self, level: Level) -> Option<&dyn Sink> {
        self.sink.as_deref().filter(|sink| sink.level() >= level)
    }
}

impl fmt::Debug for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decisions")
            .field("recorded", &self.sink.is_some())
            .finish_non_exhaustive()
    }
}

/// Now, as records tell it.
pub(crate) fn unix_ms() -> u64 {
    clock::unix_micros() / 1000
}

fn record(
    sink: &dyn Sink,
    connect: &Connect<'_>,
    request: &Request<'_>,
    outcome: Outcome<'_>,
    version: u64,
) {
    let id = connect.id.to_string();
    let system = format!("{}:{}", connect.host, connect.port);
    let (method, path) = match request {
        Request::Http { method, path, .. } => (Some(Text::of(*method)), Some(Text::of(*path))),
        Request::Tcp { .. } | _ => (None, None),
    };
    sink.record(&Record::Decision(Decision {
        unix_ms: unix_ms(),
        request: Text::of(&id),
        subaccount: Text::of(connect.subaccount),
        caller: Text::of(connect.caller),
        system: Text::of(&system),
        method,
        path,
        outcome,
        version,
    }));
}

#[cfg(test)]
mod tests {
    use adit_policy::Snapshot;
    use adit_proto::connect::{Protocol, RequestId};

    use super::*;

    const RULES: &str = "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\n\
                         internal = \"http://10.1.2.3:8000\"\n[[system.resource]]\npath = \"/a\"\n";

    struct Kept {
        level: Level,
        lines: Mutex<Vec<String>>,
    }

    impl Sink for Kept {
        fn level(&self) -> Level {
            self.level
        }

        fn record(&self, record: &Record<'_>) {
            let Record::Decision(decision) = record else {
                return;
            };
            let path = decision.path.as_ref().unwrap();
            self.lines.lock().push(format!(
                "{path} {:?} by {}",
                decision.outcome, decision.version
            ));
        }
    }

    fn ask(decisions: &Decisions, path: &str) {
        let snapshot = Snapshot::new(7, RULES.to_owned()).unwrap();
        let connect = Connect {
            protocol: Protocol::Http,
            host: "erp.virtual",
            port: 80,
            subaccount: "acme",
            caller: "app",
            principal: None,
            id: RequestId([1; 16]),
        };
        let request = Request::Http {
            host: "erp.virtual",
            port: 80,
            method: "GET",
            path: path.as_bytes(),
            upgrade: false,
        };
        match snapshot.decide(&request) {
            Ok(permit) => decisions.granted(&connect, &request, &permit),
            Err(denial) => decisions.denied(&connect, &request, &denial, 7),
        }
    }

    #[test]
    fn a_sink_gets_what_its_level_asks_for() {
        for (level, expected) in [(Level::Off, 0), (Level::Denied, 1), (Level::All, 2)] {
            let sink = Arc::new(Kept {
                level,
                lines: Mutex::default(),
            });
            let attached: Arc<dyn Sink> = Arc::<Kept>::clone(&sink);
            let decisions = Decisions::new(Some(attached));
            ask(&decisions, "/b");
            ask(&decisions, "/a");
            let lines = sink.lines.lock();
            assert_eq!(lines.len(), expected, "{lines:?}");
            let all = lines.join("\n");
            assert_eq!(
                all.contains("/b Denied") && all.contains("resource-denied"),
                level >= Level::Denied,
                "{all}"
            );
            assert_eq!(
                all.contains("/a Allowed") && all.contains("by 7"),
                level >= Level::All,
                "{all}"
            );
        }
    }

    #[test]
    fn a_denial_is_kept_with_its_explanation_and_a_grant_is_not() {
        let decisions = Decisions::new(None);
        ask(&decisions, "/a");
        assert!(decisions.denials().is_empty());
        ask(&decisions, "/b");
        let list = decisions.denials();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].reason, list[0].version), ("resource-denied", 7));
        assert_eq!(list[0].request, "GET http://erp.virtual:80/b");
        assert!(list[0].text.contains("closest is"), "{}", list[0].text);
    }

    #[test]
    fn the_last_place_is_used_and_then_the_oldest_falls_out() {
        let decisions = Decisions::new(None);
        ask(&decisions, "/oldest");
        for _ in 1..DENIALS_KEPT {
            ask(&decisions, "/b");
        }
        let last = |decisions: &Decisions| decisions.denials().last().unwrap().request.clone();
        assert_eq!(decisions.denials().len(), DENIALS_KEPT);
        assert_eq!(last(&decisions), "GET http://erp.virtual:80/oldest");
        ask(&decisions, "/newest");
        assert_eq!(decisions.denials().len(), DENIALS_KEPT);
        assert_eq!(last(&decisions), "GET http://erp.virtual:80/b");
    }
}
