//! What became of the last requests, for `why`: who asked, which agent it went to, what was answered, and when.
//!
//! The agent tells by which rule, and of the backend; this is what only the gateway knows: the time on the way, and the
//! requests that no agent saw. Kept in memory and overwritten; what must be known longer is recorded by agents.

use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::connect::RequestId;
use adit_proto::refusal::Refusal;
use adit_runtime::admin::members;
use adit_runtime::clock::{self, micros};
use adit_runtime::recent::Recent;
use adit_token::Caller;
use serde_json::{Value, json};

use crate::directory::Entry;
use crate::limits::{ANSWERS_KEPT, REFUSALS_KEPT, WANTED_BYTES_MAX};

/// The last requests of all shards. Refused ones apart: answered ones shall not displace them.
#[derive(Debug)]
pub(crate) struct Traces {
    refused: Recent<Trace>,
    answered: Recent<Trace>,
}

/// How far a request has come, and when; of one shard.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    begun: Duration,
    routed: Cell<Option<Duration>>,
    answered: Cell<Option<Duration>>,
    caller: RefCell<Option<Arc<Caller>>>,
    agent: RefCell<Option<Arc<Entry>>>,
    tries: Cell<u32>,
    status: Cell<u16>,
    // The agent it was brought to last has refused it.
    by_agent: Cell<bool>,
}

/// What a request wanted, in its caller's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) door: &'static str,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) location: &'a str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Outcome {
    /// The application went away, its answer broke off, or the shard it needed was full.
    #[default]
    BrokenOff,
    /// Its answer was carried, with this status; 101: what it was upgraded to has begun; 0: its opaque conversation has.
    Answered(u16),
    /// It was refused.
    Refused(Refusal),
}

#[derive(Debug, Default)]
struct Trace {
    id: [u8; 16],
    unix_us: u64,
    door: &'static str,
    caller: Option<Arc<Caller>>,
    agent: Option<Arc<Entry>>,
    tries: u32,
    outcome: Outcome,
    // Of refused ones only: what an agent saw, it tells itself.
    wanted: String,
    location: String,
    routed: Option<Duration>,
    answered: Option<Duration>,
    ended: Duration,
}

impl Steps {
    /// A request that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            begun: clock::recent(),
            ..Self::default()
        }
    }

    /// Its caller has proven who it is.
    pub(crate) fn called_by(&self, caller: &Arc<Caller>) {
        *self.caller.borrow_mut() = Some(Arc::clone(caller));
    }

    /// It goes to that agent.
    pub(crate) fn routed_to(&self, agent: &Arc<Entry>) {
        self.routed.set(Some(clock::recent()));
        self.tries.set(self.tries.get() + 1);
        *self.agent.borrow_mut() = Some(Arc::clone(agent));
        self.by_agent.set(false);
    }

    /// The agent it was brought to has refused it.
    pub(crate) fn refused_by_agent(&self) {
        self.by_agent.set(true);
    }

    pub(crate) fn is_refused_by_agent(&self) -> bool {
        self.by_agent.get()
    }

    /// Who has proven to be its caller.
    pub(crate) fn caller(&self) -> Ref<'_, Option<Arc<Caller>>> {
        self.caller.borrow()
    }

    /// The agent it was brought to last.
    pub(crate) fn agent(&self) -> Ref<'_, Option<Arc<Entry>>> {
        self.agent.borrow()
    }

    /// It was answered, as far as is known.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::Answered(self.status.get())
    }

    /// The head of its answer has come, with this status; 0 for an opaque conversation.
    pub(crate) fn answered(&self, status: u16) {
        self.answered.set(Some(clock::recent()));
        self.status.set(status);
    }
}

impl Traces {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            refused: Recent::new(shards, REFUSALS_KEPT),
            answered: Recent::new(shards, ANSWERS_KEPT),
        }
    }

    /// A request has ended.
    pub(crate) fn keep(
        &self,
        shard: usize,
        id: RequestId,
        steps: &Steps,
        wanted: &Wanted<'_>,
        outcome: Outcome,
    ) {
        let is_refused = matches!(outcome, Outcome::Refused(_));
        let last = if is_refused {
            &self.refused
        } else {
            &self.answered
        };
        last.keep(shard, |trace| {
            trace.fill(id, wanted.door, steps, outcome);
            if is_refused {
                wanted.write(&mut trace.wanted);
                trace.location.push_str(wanted.location);
            }
        });
    }

    /// What is known of the request of this id.
    pub(crate) fn why(&self, id: RequestId) -> Option<Value> {
        let told = |trace: &Trace| (trace.id == id.0).then(|| trace.told(id));
        self.refused.find(told).or_else(|| self.answered.find(told))
    }
}

impl Wanted<'_> {
    // As the request language writes it, as far as there is room.
    fn write(&self, out: &mut String) {
        use std::fmt::Write;
        if self.host.is_empty() {
            return;
        }
        // Cut first: what is kept keeps its room, for ever.
        let most = self.path.floor_char_boundary(WANTED_BYTES_MAX);
        let path = self.path.get(..most).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = match self.method {
            "" | "CONNECT" => write!(out, "tcp://{}:{}", self.host, self.port),
            method => write!(out, "{method} http://{}:{}{}", self.host, self.port, path),
        };
        let end = out.floor_char_boundary(WANTED_BYTES_MAX);
        out.truncate(end);
    }
}

impl Trace {
    fn fill(&mut self, id: RequestId, door: &'static str, steps: &Steps, outcome: Outcome) {
        let since = |then: Duration| then.saturating_sub(steps.begun);
        self.id = id.0;
        self.unix_us = clock::unix_micros();
        self.door = door;
        self.caller = steps.caller.borrow_mut().take();
        self.agent = steps.agent.borrow_mut().take();
        self.tries = steps.tries.get();
        self.outcome = outcome;
        self.wanted.clear();
        self.location.clear();
        self.routed = steps.routed.get().map(since);
        self.answered = steps.answered.get().map(since);
        self.ended = since(clock::recent());
    }

    fn told(&self, id: RequestId) -> Value {
        let caller = self.caller.as_deref();
        let agent = self.agent.as_deref();
        let (outcome, status, reason) = match self.outcome {
            Outcome::Answered(0) => ("answered", None, None),
            Outcome::Answered(status) => ("answered", Some(status), None),
            Outcome::Refused(refusal) => (
                "refused",
                Some(refusal.http_status()),
                Some(refusal.reason()),
            ),
            Outcome::BrokenOff => ("broken-off", None, None),
        };
        let timing = members([
            ("routed_us", self.routed.map(|span| json!(micros(span)))),
            ("answered_us", self.answered.map(|span| json!(micros(span)))),
            ("ended_us", Some(json!(micros(self.ended)))),
        ]);
        let began_us = self.unix_us.saturating_sub(micros(self.ended));
        let subaccount = caller.map(|caller| &caller.subaccount);
        let location = agent.map_or(&self.location, |agent| &agent.location);
        members([
            ("id", Some(json!(id.to_string()))),
            ("unix_ms", Some(json!(began_us / 1000))),
            ("door", Some(json!(self.door))),
            (
                "request",
                (!self.wanted.is_empty()).then(|| json!(self.wanted)),
            ),
            ("subaccount", subaccount.map(|name| json!(name))),
            ("caller", caller.map(|caller| json!(caller.client))),
            ("location", caller.map(|_| json!(location))),
            ("agent", agent.map(|agent| json!(agent.agent))),
            ("tunnel", agent.map(|agent| json!(agent.id))),
            ("tunnels_tried", (self.tries > 0).then(|| json!(self.tries))),
            ("outcome", Some(json!(outcome))),
            ("status", status.map(|status| json!(status))),
            ("reason", reason.map(|reason| json!(reason))),
            // Since its whole head was there.
            ("timing", Some(timing)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Directory, Registration};

    fn agent(directory: &Directory) -> Arc<Entry> {
        directory.register(Registration {
            shard: 0,
            subaccount: "acme".to_owned(),
            location: "hq".to_owned(),
            agent: "agent-1".to_owned(),
            instance: [0; 16],
            software: String::new(),
            peer: String::new(),
            suite: "",
            since_unix: 0,
        })
    }

    fn caller() -> Arc<Caller> {
        Arc::new(Caller {
            subaccount: "acme".to_owned(),
            client: "shop".to_owned(),
            subject: None,
            expires: 0,
        })
    }

    fn wanted(path: &str) -> Wanted<'_> {
        Wanted {
            door: "http",
            from: None,
            method: "GET",
            host: "erp.virtual",
            port: 80,
            path,
            location: "hq",
        }
    }

    fn refuse(traces: &Traces, number: usize, wanted: &Wanted<'_>, refusal: Refusal) {
        let outcome = Outcome::Refused(refusal);
        traces.keep(0, id(number), &Steps::begin(), wanted, outcome);
    }

    fn id(number: usize) -> RequestId {
        RequestId(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn an_answered_request_is_told_with_who_asked_where_it_went_and_how_long_that_took() {
        let traces = Traces::new(2);
        clock::woken();
        let steps = Steps::begin();
        steps.called_by(&caller());
        steps.routed_to(&agent(&Directory::default()));
        steps.answered(200);
        traces.keep(1, id(1), &steps, &wanted("/a"), steps.outcome());
        let told = traces.why(id(1)).unwrap();
        let member = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let names = [
            "caller",
            "subaccount",
            "location",
            "agent",
            "outcome",
            "door",
        ];
        let said = names.map(member);
        assert_eq!(said, ["shop", "acme", "hq", "agent-1", "answered", "http"]);
        assert_eq!(
            (&told["status"], &told["tunnels_tried"], &told["reason"]),
            (&json!(200), &json!(1), &Value::Null)
        );
        let us = |name: &str| told["timing"][name].as_u64().unwrap();
        assert!(us("routed_us") <= us("answered_us") && us("answered_us") <= us("ended_us"));
        assert!(traces.why(id(2)).is_none());
    }

    #[test]
    fn a_refused_one_is_told_in_its_callers_words_and_a_broken_one_as_such() {
        let traces = Traces::new(1);
        let refusal = Refusal::TokenMissing;
        refuse(&traces, 1, &wanted("/a"), refusal);
        let told = traces.why(id(1)).unwrap();
        assert_eq!(told["request"], "GET http://erp.virtual:80/a");
        assert_eq!(
            (&told["reason"], &told["status"]),
            (&json!(refusal.reason()), &json!(407))
        );
        // Nobody has proven to be anybody.
        assert!(told.get("caller").is_none() && told.get("agent").is_none());
        traces.keep(0, id(2), &Steps::begin(), &wanted("/"), Outcome::BrokenOff);
        assert_eq!(traces.why(id(2)).unwrap()["outcome"], "broken-off");
        let opaque = Wanted {
            method: "",
            ..wanted("")
        };
        refuse(&traces, 3, &opaque, Refusal::NoAgent);
        assert_eq!(
            traces.why(id(3)).unwrap()["request"],
            "tcp://erp.virtual:80"
        );
    }

    #[test]
    fn the_last_place_of_each_kind_is_used_before_the_oldest_is_forgotten() {
        let traces = Traces::new(1);
        let refuse = |number| refuse(&traces, number, &wanted("/"), Refusal::NoAgent);
        let answer = |number| {
            let outcome = Outcome::Answered(200);
            traces.keep(0, id(number), &Steps::begin(), &wanted("/"), outcome);
        };
        (0..REFUSALS_KEPT).for_each(refuse);
        assert!(traces.why(id(0)).is_some());
        for number in REFUSALS_KEPT..REFUSALS_KEPT + ANSWERS_KEPT {
            answer(number);
        }
        assert!(traces.why(id(0)).is_some() && traces.why(id(REFUSALS_KEPT)).is_some());
        let last = REFUSALS_KEPT + ANSWERS_KEPT;
        refuse(last);
        answer(last + 1);
        assert!(traces.why(id(0)).is_none() && traces.why(id(REFUSALS_KEPT)).is_none());
        assert!(traces.why(id(1)).is_some() && traces.why(id(last + 1)).is_some());
    }

    #[test]
    fn a_long_request_is_kept_as_far_as_there_is_room() {
        let room = WANTED_BYTES_MAX - "GET http://erp.virtual:80".len();
        for (bytes, kept) in [(room, WANTED_BYTES_MAX), (room + 1, WANTED_BYTES_MAX)] {
            let path = format!("/{}", "a".repeat(bytes - 1));
            let mut out = String::new();
            wanted(&path).write(&mut out);
            assert_eq!(out.len(), kept, "{bytes}");
            assert_eq!(out.ends_with(&path), bytes == room);
        }
        // What is not kept takes no room either, since what is kept keeps its room.
        let path = "/".repeat(8 * WANTED_BYTES_MAX);
        let mut out = String::new();
        wanted(&path).write(&mut out);
        assert!(out.capacity() <= 3 * WANTED_BYTES_MAX, "{}", out.capacity());
        // Not in the middle of a character.
        let path = format!("{}\u{e4}", "a".repeat(room - 1));
        let mut out = String::new();
        wanted(&path).write(&mut out);
        assert_eq!(out.len(), WANTED_BYTES_MAX - 1);
    }
}
