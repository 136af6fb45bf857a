//! What became of the last requests that were granted, for `why`: by which rule, where their backend is, what it said,
//! and when. Denied ones are `decisions`' to keep.
//!
//! Kept in memory and overwritten; what must be known longer is recorded.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Duration;

use adit_policy::{Permit, Request};
use adit_proto::connect::{Request as Connect, RequestId};
use adit_proto::refusal::Refusal;
use adit_runtime::admin::members;
use adit_runtime::clock::{self, micros};
use adit_runtime::recent::Recent;
use serde_json::{Value, json};

use crate::limits::{ANSWERS_KEPT, FAILURES_KEPT, TOLD_BYTES_MAX};
use crate::metrics::Outcome;

/// The last granted requests of all shards. Those without a whole answer apart: the others shall not displace them.
#[derive(Debug)]
pub(crate) struct Traces {
    failed: Recent<Trace>,
    answered: Recent<Trace>,
}

/// How far a granted request has come, and when; of one shard.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Duration,
    connection: Cell<Connection>,
    connected: Cell<Option<Duration>>,
    answered: Cell<Option<Duration>>,
    status: Cell<u16>,
    failure: RefCell<Option<(Refusal, String)>>,
}

/// The connection that a request was last sent on.
#[derive(Clone, Copy, Debug, Default)]
enum Connection {
    #[default]
    None,
    Kept(IpAddr),
    Dialled(IpAddr),
}

#[derive(Debug, Default)]
struct Trace {
    id: [u8; 16],
    unix_us: u64,
    version: u64,
    outcome: Option<Outcome>,
    caller: String,
    // Method and path; empty of an opaque conversation.
    method: String,
    host: String,
    port: u16,
    path: String,
    rule: String,
    backend: String,
    backend_port: u16,
    connection: Connection,
    connected: Option<Duration>,
    answered: Option<Duration>,
    ended: Duration,
    status: u16,
    failure: Option<(Refusal, String)>,
}

impl Steps {
    /// A request that was granted now.
    pub(crate) fn begin() -> Self {
        Self {
            begun: clock::recent(),
            connection: Cell::default(),
            connected: Cell::default(),
            answered: Cell::default(),
            status: Cell::default(),
            failure: RefCell::default(),
        }
    }

    /// When that was.
    pub(crate) fn begun(&self) -> Duration {
        self.begun
    }

    /// It is sent on a connection that was there.
    pub(crate) fn kept(&self, address: IpAddr) {
        self.connected(Connection::Kept(address));
    }

    /// It is sent on a connection that was made for it.
    pub(crate) fn dialled(&self, address: IpAddr) {
        self.connected(Connection::Dialled(address));
    }

    /// The head of the backend's answer has come, with this status.
    pub(crate) fn answered(&self, status: u16) {
        self.answered.set(Some(clock::recent()));
        self.status.set(status);
    }

    /// What went wrong with its backend.
    pub(crate) fn failed(&self, refusal: Refusal, detail: &str) {
        let end = detail.floor_char_boundary(TOLD_BYTES_MAX);
        let detail = detail.get(..end).unwrap_or_default().to_owned();
        *self.failure.borrow_mut() = Some((refusal, detail));
    }

    fn connected(&self, connection: Connection) {
        self.connection.set(connection);
        self.connected.set(Some(clock::recent()));
    }
}

impl Traces {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            failed: Recent::new(shards, FAILURES_KEPT),
            answered: Recent::new(shards, ANSWERS_KEPT),
        }
    }

    /// A granted request has ended, or its conversation has begun.
    pub(crate) fn keep(
        &self,
        shard: usize,
        connect: &Connect<'_>,
        request: &Request<'_>,
        permit: &Permit,
        steps: &Steps,
        outcome: Outcome,
    ) {
        let kept = match outcome {
            Outcome::Answered => &self.answered,
            Outcome::Refused | Outcome::Broken | Outcome::Withdrawn => &self.failed,
        };
        kept.keep(shard, |trace| {
            trace.fill(connect, request, permit, steps);
            trace.outcome = Some(outcome);
        });
    }

    /// What is known of the request of this id.
    pub(crate) fn why(&self, id: RequestId, subaccount: &str) -> Option<Value> {
        let told = |trace: &Trace| (trace.id == id.0).then(|| trace.told(id, subaccount));
        self.failed.find(told).or_else(|| self.answered.find(told))
    }
}

impl Trace {
    fn fill(
        &mut self,
        connect: &Connect<'_>,
        request: &Request<'_>,
        permit: &Permit,
        steps: &Steps,
    ) {
        let since = |then: Duration| then.saturating_sub(steps.begun);
        self.id = connect.id.0;
        self.unix_us = clock::unix_micros();
        self.version = permit.version();
        put(&mut self.caller, connect.caller);
        put(&mut self.host, connect.host);
        self.port = connect.port;
        let (method, path) = match request {
            Request::Http { method, path, .. } => {
                (*method, std::str::from_utf8(path).unwrap_or("?"))
            }
            Request::Tcp { .. } | _ => ("", ""),
        };
        put(&mut self.method, method);
        put(&mut self.path, path);
        put(&mut self.rule, permit.rule());
        let (backend, backend_port) = permit.internal();
        put(&mut self.backend, backend);
        self.backend_port = backend_port;
        self.connection = steps.connection.get();
        self.connected = steps.connected.get().map(since);
        self.answered = steps.answered.get().map(since);
        self.ended = since(clock::recent());
        self.status = steps.status.get();
        self.failure = steps.failure.borrow_mut().take();
    }

    fn told(&self, id: RequestId, subaccount: &str) -> Value {
        let (host, port) = (&self.host, self.port);
        let request = match self.method.as_str() {
            "" => format!("tcp://{host}:{port}"),
            method => format!("{method} http://{host}:{port}{}", self.path),
        };
        let (kind, address) = match self.connection {
            Connection::None => (None, None),
            Connection::Kept(address) => (Some("kept"), Some(address)),
            Connection::Dialled(address) => (Some("dialled"), Some(address)),
        };
        let (reason, detail) = self
            .failure
            .as_ref()
            .map(|(refusal, detail)| (refusal.reason(), detail))
            .unzip();
        let backend = members([
            (
                "leads_to",
                Some(json!(format!("{}:{}", self.backend, self.backend_port))),
            ),
            ("address", address.map(|address| json!(address))),
            ("connection", kind.map(|kind| json!(kind))),
            ("status", (self.status > 0).then(|| json!(self.status))),
            ("reason", reason.map(|reason| json!(reason))),
            ("detail", detail.map(|detail| json!(detail))),
        ]);
        let began_us = self.unix_us.saturating_sub(micros(self.ended));
        members([
            ("id", Some(json!(id.to_string()))),
            ("unix_ms", Some(json!(began_us / 1000))),
            ("request", Some(json!(request))),
            ("subaccount", Some(json!(subaccount))),
            ("caller", Some(json!(self.caller))),
            ("outcome", Some(json!("allowed"))),
            ("rule", Some(json!(self.rule))),
            ("version", Some(json!(self.version))),
            ("backend", Some(backend)),
            ("ended", self.outcome.map(|outcome| json!(outcome.word()))),
            // Since it was granted.
            (
                "timing",
                Some(members([
                    (
                        "connected_us",
                        self.connected.map(|span| json!(micros(span))),
                    ),
                    ("answered_us", self.answered.map(|span| json!(micros(span)))),
                    ("ended_us", Some(json!(micros(self.ended)))),
                ])),
            ),
        ])
    }
}

// Into the memory of the one before, as far as is told.
fn put(place: &mut String, text: &str) {
    place.clear();
    let end = text.floor_char_boundary(TOLD_BYTES_MAX);
    place.push_str(text.get(..end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adit_policy::Snapshot;
    use adit_proto::connect::Protocol;

    use super::*;

    const RULES: &str = "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\n\
                         internal = \"http://10.1.2.3:8000\"\n[[system.resource]]\npath = \"/a\"\nscope = \"subtree\"\n";

    fn id(number: usize) -> RequestId {
        RequestId(u128::try_from(number).unwrap().to_be_bytes())
    }

    fn permit() -> Permit {
        let snapshot = Arc::new(Snapshot::new(7, RULES.to_owned()).unwrap());
        snapshot.decide(&request("/a")).unwrap()
    }

    fn request(path: &str) -> Request<'_> {
        Request::Http {
            host: "erp.virtual",
            port: 80,
            method: "GET",
            path: path.as_bytes(),
            upgrade: false,
        }
    }

    fn connect(caller: &str, number: usize) -> Connect<'_> {
        Connect {
            protocol: Protocol::Http,
            host: "erp.virtual",
            port: 80,
            subaccount: "acme",
            caller,
            principal: None,
            id: id(number),
        }
    }

    fn keep(traces: &Traces, number: usize, steps: &Steps, outcome: Outcome) {
        traces.keep(
            0,
            &connect("shop", number),
            &request("/a/b"),
            &permit(),
            steps,
            outcome,
        );
    }

    #[test]
    fn a_granted_request_is_told_with_its_rule_its_backend_and_how_long_that_took() {
        let traces = Traces::new(1);
        clock::woken();
        let steps = Steps::begin();
        steps.dialled(IpAddr::from([10, 1, 2, 3]));
        steps.answered(201);
        keep(&traces, 1, &steps, Outcome::Answered);
        let told = traces.why(id(1), "acme").unwrap();
        let said = [
            "request",
            "caller",
            "subaccount",
            "rule",
            "outcome",
            "ended",
        ]
        .map(|name| told[name].as_str().unwrap_or_default());
        let request = "GET http://erp.virtual:80/a/b";
        assert_eq!(said, [request, "shop", "acme", "/a", "allowed", "answered"]);
        assert_eq!(told["version"], 7);
        let backend = json!({"leads_to": "10.1.2.3:8000", "address": "10.1.2.3", "connection": "dialled", "status": 201});
        assert_eq!(told["backend"], backend);
        let us = |name: &str| told["timing"][name].as_u64().unwrap();
        assert!(us("connected_us") <= us("answered_us") && us("answered_us") <= us("ended_us"));
        assert!(traces.why(id(2), "acme").is_none());
    }

    #[test]
    fn a_backend_that_failed_is_told_in_its_own_words() {
        let traces = Traces::new(1);
        let steps = Steps::begin();
        steps.failed(Refusal::BackendRefused, "10.1.2.3:8000: connection refused");
        keep(&traces, 1, &steps, Outcome::Refused);
        let backend = &traces.why(id(1), "acme").unwrap()["backend"];
        assert_eq!(backend["reason"], Refusal::BackendRefused.reason());
        assert_eq!(backend["detail"], "10.1.2.3:8000: connection refused");
        assert!(backend.get("connection").is_none() && backend.get("status").is_none());
    }

    #[test]
    fn the_last_place_of_each_kind_is_used_before_the_oldest_is_forgotten() {
        let traces = Traces::new(1);
        let knows = |number| traces.why(id(number), "acme").is_some();
        let fill = |from: usize, places, outcome| {
            for number in from..from + places {
                keep(&traces, number, &Steps::begin(), outcome);
            }
        };
        fill(0, FAILURES_KEPT, Outcome::Broken);
        fill(FAILURES_KEPT, ANSWERS_KEPT, Outcome::Answered);
        assert!(knows(0) && knows(FAILURES_KEPT));
        let last = FAILURES_KEPT + ANSWERS_KEPT;
        fill(last, 1, Outcome::Withdrawn);
        fill(last + 1, 1, Outcome::Answered);
        assert!(!knows(0) && !knows(FAILURES_KEPT));
        assert!(knows(1) && knows(last) && knows(last + 1));
    }

    #[test]
    fn texts_are_kept_as_far_as_there_is_room() {
        for (text, kept) in [
            ("a".repeat(TOLD_BYTES_MAX), TOLD_BYTES_MAX),
            ("a".repeat(TOLD_BYTES_MAX + 1), TOLD_BYTES_MAX),
            (
                format!("{}\u{e4}", "a".repeat(TOLD_BYTES_MAX - 1)),
                TOLD_BYTES_MAX - 1,
            ),
        ] {
            let traces = Traces::new(1);
            let steps = Steps::begin();
            steps.failed(Refusal::BackendRefused, &text);
            traces.keep(
                0,
                &connect(&text, 1),
                &request(&text),
                &permit(),
                &steps,
                Outcome::Refused,
            );
            let told = traces.why(id(1), "acme").unwrap();
            for place in ["/caller", "/backend/detail"] {
                let text = told.pointer(place).and_then(Value::as_str).unwrap();
                assert_eq!(text.len(), kept, "{place}");
            }
            let before = "GET http://erp.virtual:80".len();
            assert_eq!(told["request"].as_str().unwrap().len(), before + kept);
        }
    }
}
