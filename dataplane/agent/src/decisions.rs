//! What became of each judged request: a record for whoever keeps records, and the last denials.
//!
//! Records are `audit`'s types, are never filtered by a log level, and go to one [`Sink`], which writes, chains and
//! keeps them. Where that fails closed, a grant that cannot be recorded is none. The last denials are kept in memory
//! for `status`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use adit_audit::{
    Decision, Level, Outcome, Record, Sink, Text, Traffic, Unrecorded, Wanted, write_number,
};
use adit_policy::{Denial, Permit, Request};
use adit_proto::connect::Request as Connect;
use adit_proto::refusal::Refusal;
use adit_recorder::unix_ms;
use adit_runtime::clock;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::limits::DENIALS_KEPT;

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
    ///
    /// # Errors
    /// [`Unrecorded`]: it must not be served.
    pub(crate) fn granted(
        &self,
        connect: &Connect<'_>,
        request: &Request<'_>,
        permit: &Permit,
    ) -> Result<(), Unrecorded> {
        let Some(sink) = self.wanted(Level::All) else {
            return Ok(());
        };
        if sink.is_closed() {
            let reason = Text::of(Refusal::AuditUnavailable.reason());
            let outcome = Outcome::Denied { reason };
            // That it was refused is worth a place in the queue, if there is one.
            let _ = record(sink, connect, request, outcome, permit.version());
            return Err(Unrecorded);
        }
        let outcome = Outcome::Allowed {
            rule: Text::of(permit.rule()),
        };
        record(sink, connect, request, outcome, permit.version())
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
            // Denied it is, whether that is recorded or not.
            let _ = record(sink, connect, request, outcome, version);
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
            // What it tells of has happened.
            let _ = sink.record(record);
        }
    }

    /// Whether acts must be refused, because they could not be recorded.
    pub(crate) fn is_closed(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.is_closed())
    }

    /// The denial of the request of this id, if it is still at hand, with the rule that comes closest.
    pub(crate) fn denied_of(&self, id: &str) -> Option<Value> {
        let denials = self.denials.lock();
        let denied = denials.iter().find(|denied| denied.id == id)?;
        Some(json!({
            "request": denied.request,
            "id": denied.id,
            "caller": denied.caller,
            "subaccount": denied.subaccount,
            "outcome": "denied",
            "reason": denied.reason,
            "text": denied.text,
            "version": denied.version,
            "unix_ms": denied.unix_s.saturating_mul(1000),
        }))
    }

    /// What was decided, as the records that are kept tell it. It may take seconds, and is read on a thread of its own.
    ///
    /// # Errors
    /// Why it cannot be told, for a person.
    pub(crate) async fn traffic(&self, wanted: Wanted) -> Result<Traffic, String> {
        let sink = self.sink.clone().ok_or("nothing is recorded here")?;
        tokio::task::spawn_blocking(move || sink.traffic(&wanted))
            .await
            .map_err(|error| error.to_string())?
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

fn record(
    sink: &dyn Sink,
    connect: &Connect<'_>,
    request: &Request<'_>,
    outcome: Outcome<'_>,
    version: u64,
) -> Result<(), Unrecorded> {
    let id = connect.id.digits();
    let mut system = Vec::with_capacity(connect.host.len() + 6);
    system.extend_from_slice(connect.host.as_bytes());
    system.push(b':');
    write_number(connect.port.into(), &mut system);
    let (method, path, upgrade) = match request {
        Request::Http {
            method,
            path,
            upgrade,
            ..
        } => (Some(Text::of(*method)), Some(Text::of(*path)), *upgrade),
        Request::Tcp { .. } | _ => (None, None, false),
    };
    sink.record(&Record::Decision(Decision {
        unix_ms: unix_ms(),
        request: Text::of(&id),
        subaccount: Text::of(connect.subaccount),
        caller: Text::of(connect.caller),
        system: Text::of(&system),
        method,
        path,
        upgrade,
        outcome,
        version,
    }))
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
        is_closed: bool,
        lines: Mutex<Vec<String>>,
    }

    impl Sink for Kept {
        fn level(&self) -> Level {
            self.level
        }

        fn record(&self, record: &Record<'_>) -> Result<(), Unrecorded> {
            let Record::Decision(decision) = record else {
                return Ok(());
            };
            let path = decision.path.as_ref().unwrap();
            self.lines.lock().push(format!(
                "{path} {:?} by {}",
                decision.outcome, decision.version
            ));
            Ok(())
        }

        fn is_closed(&self) -> bool {
            self.is_closed
        }
    }

    fn ask(decisions: &Decisions, path: &str) -> Result<(), Unrecorded> {
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
            Err(denial) => {
                decisions.denied(&connect, &request, &denial, 7);
                Ok(())
            }
        }
    }

    #[test]
    fn a_sink_gets_what_its_level_asks_for() {
        for (level, expected) in [(Level::Off, 0), (Level::Denied, 1), (Level::All, 2)] {
            let sink = Arc::new(Kept {
                level,
                is_closed: false,
                lines: Mutex::default(),
            });
            let attached: Arc<dyn Sink> = Arc::<Kept>::clone(&sink);
            let decisions = Decisions::new(Some(attached));
            ask(&decisions, "/b").unwrap();
            ask(&decisions, "/a").unwrap();
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
        ask(&decisions, "/a").unwrap();
        assert!(decisions.denials().is_empty());
        ask(&decisions, "/b").unwrap();
        let list = decisions.denials();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].reason, list[0].version), ("resource-denied", 7));
        assert_eq!(list[0].request, "GET http://erp.virtual:80/b");
        assert!(list[0].text.contains("closest is"), "{}", list[0].text);
    }

    #[test]
    fn the_last_place_is_used_and_then_the_oldest_falls_out() {
        let decisions = Decisions::new(None);
        ask(&decisions, "/oldest").unwrap();
        for _ in 1..DENIALS_KEPT {
            ask(&decisions, "/b").unwrap();
        }
        let last = |decisions: &Decisions| decisions.denials().last().unwrap().request.clone();
        assert_eq!(decisions.denials().len(), DENIALS_KEPT);
        assert_eq!(last(&decisions), "GET http://erp.virtual:80/oldest");
        ask(&decisions, "/newest").unwrap();
        assert_eq!(decisions.denials().len(), DENIALS_KEPT);
        assert_eq!(last(&decisions), "GET http://erp.virtual:80/b");
    }

    #[test]
    fn where_nothing_can_be_recorded_a_grant_is_none_if_grants_are_recorded_and_that_is_told() {
        for level in [Level::Denied, Level::All] {
            let sink = Arc::new(Kept {
                level,
                is_closed: true,
                lines: Mutex::default(),
            });
            let attached: Arc<dyn Sink> = Arc::<Kept>::clone(&sink);
            let decisions = Decisions::new(Some(attached));
            assert!(decisions.is_closed());
            assert_eq!(ask(&decisions, "/a").is_err(), level == Level::All);
            let lines = sink.lines.lock().join("\n");
            assert_eq!(lines.contains("audit-unavailable"), level == Level::All);
            assert!(!lines.contains("Allowed"), "{lines}");
        }
    }

    #[test]
    fn a_denial_is_told_by_the_id_of_its_request() {
        let decisions = Decisions::new(None);
        ask(&decisions, "/b").unwrap();
        let why = decisions
            .denied_of(&RequestId([1; 16]).to_string())
            .unwrap();
        assert_eq!(
            (&why["outcome"], &why["reason"]),
            (&json!("denied"), &json!("resource-denied"))
        );
        assert_eq!(decisions.denied_of("2"), None);
    }
}
