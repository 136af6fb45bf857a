//! What a gateway keeps records of: requests that ended at its doors, and tunnels of agents.
//!
//! Told from what `trace` and `tunnels` know anyway, by the words that callers and metrics have. Queueing, writing and
//! sending on are the room `recorder`'s; here nothing waits, and at level off there is one branch.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_audit::{Level, Record, Request, RequestOutcome, Sink, Text, Tunnel, TunnelEvent};
use adit_proto::connect::RequestId;
use adit_proto::refusal::Refusal;
use adit_recorder::unix_ms;
use adit_tls::{Leaf, PeerIdentity};

use crate::trace::{Outcome, Steps, Wanted};

/// Where records go.
pub(crate) struct Records {
    sink: Option<Arc<dyn Sink>>,
    level: Level,
}

/// An agent at the tunnel door, as far as it is known.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) from: String,
    pub(crate) location: Option<String>,
    /// SPIFFE ID and serial number of its certificate.
    pub(crate) certificate: Option<(String, String)>,
}

impl Visitor {
    /// Somebody who has said nothing yet.
    pub(crate) fn stranger(from: SocketAddr) -> Self {
        Self {
            from: from.to_string(),
            location: None,
            certificate: None,
        }
    }

    /// It has proven who it is, and said which location it serves.
    pub(crate) fn known(&mut self, identity: &PeerIdentity, location: &str) {
        // What was verified can be read.
        let serial = Leaf::read(&identity.leaf).map_or_else(|_| String::new(), |leaf| leaf.serial);
        self.certificate = Some((identity.id.to_string(), serial));
        self.location = Some(location.to_owned());
    }
}

impl Records {
    pub(crate) fn new(sink: Option<Arc<dyn Sink>>) -> Self {
        Self {
            level: sink.as_ref().map_or(Level::Off, |sink| sink.level()),
            sink,
        }
    }

    /// Whether a request may be passed on. Not where that is to be recorded, cannot be, and shall not happen then.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn may_pass(&self) -> Result<(), Refusal> {
        self.open_for(Level::All)
    }

    /// As [`may_pass`](Self::may_pass), of a tunnel.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn may_admit(&self) -> Result<(), Refusal> {
        self.open_for(Level::Denied)
    }

    /// A request has ended so.
    pub(crate) fn request(
        &self,
        id: RequestId,
        steps: &Steps,
        wanted: &Wanted<'_>,
        outcome: Outcome,
    ) {
        let is_own = matches!(outcome, Outcome::Refused(_)) && !steps.is_refused_by_agent();
        let level = if is_own { Level::Denied } else { Level::All };
        if let Some(sink) = self.wanted(level) {
            record(sink, id, steps, wanted, outcome);
        }
    }

    /// A tunnel was refused, is up, or has ended.
    pub(crate) fn tunnel(&self, visitor: &Visitor, tunnel: Option<u64>, event: TunnelEvent<'_>) {
        let Some(sink) = self.wanted(Level::Denied) else {
            return;
        };
        let certificate = visitor.certificate.as_ref();
        // What it tells of has happened.
        let _ = sink.record(&Record::Tunnel(Tunnel {
            unix_ms: unix_ms(),
            tunnel,
            from: Text::of(&visitor.from),
            identity: certificate.map(|(identity, _)| Text::of(identity)),
            serial: certificate.map(|(_, serial)| Text::of(serial)),
            location: visitor.location.as_ref().map(Text::of),
            event,
        }));
    }

    fn open_for(&self, level: Level) -> Result<(), Refusal> {
        match self.wanted(level) {
            Some(sink) if sink.is_closed() => Err(Refusal::AuditUnavailable),
            Some(_) | None => Ok(()),
        }
    }

    fn wanted(&self, level: Level) -> Option<&dyn Sink> {
        if self.level < level {
            return None;
        }
        self.sink.as_deref()
    }
}

fn record(sink: &dyn Sink, id: RequestId, steps: &Steps, wanted: &Wanted<'_>, outcome: Outcome) {
    let id = id.digits();
    let mut from = String::new();
    let mut system = String::with_capacity(wanted.host.len() + 6);
    // Writing to a String cannot fail.
    if let Some(peer) = wanted.from {
        let _ = write!(from, "{peer}");
    }
    let _ = write!(system, "{}:{}", wanted.host, wanted.port);
    let is_read = !wanted.host.is_empty();
    let is_http = is_read && !matches!(wanted.method, "" | "CONNECT");
    let caller = steps.caller();
    let caller = caller.as_deref();
    let agent = steps.agent();
    let agent = agent.as_deref();
    let refused = |refusal: Refusal| Text::of(refusal.reason());
    // It has happened, whether that is recorded or not; what is lost is counted, and told as a gap.
    let _ = sink.record(&Record::Request(Request {
        unix_ms: unix_ms(),
        request: Text::of(&id),
        door: Text::of(wanted.door),
        from: Text::of(&from),
        subaccount: caller.map(|caller| Text::of(&caller.subaccount)),
        caller: caller.map(|caller| Text::of(&caller.client)),
        location: caller.map(|_| Text::of(wanted.location)),
        system: is_read.then(|| Text::of(&system)),
        method: is_http.then(|| Text::of(wanted.method)),
        path: is_http.then(|| Text::of(wanted.path)),
        agent: agent.map(|agent| Text::of(&agent.agent)),
        tunnel: agent.map(|agent| agent.id),
        outcome: match outcome {
            Outcome::Answered(status) => RequestOutcome::Passed {
                status: (status > 0).then_some(status),
            },
            Outcome::Refused(refusal) if steps.is_refused_by_agent() => {
                RequestOutcome::RefusedByAgent {
                    reason: refused(refusal),
                }
            }
            Outcome::Refused(refusal) => RequestOutcome::Refused {
                reason: refused(refusal),
            },
            Outcome::BrokenOff => RequestOutcome::BrokenOff,
        },
    }));
}

#[cfg(test)]
mod tests {
    use adit_audit::Unrecorded;
    use adit_token::Caller;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;

    struct Kept {
        level: Level,
        is_closed: bool,
        lines: Mutex<Vec<Value>>,
    }

    impl Sink for Kept {
        fn level(&self) -> Level {
            self.level
        }

        fn record(&self, record: &Record<'_>) -> Result<(), Unrecorded> {
            self.lines
                .lock()
                .push(serde_json::to_value(record).unwrap());
            Ok(())
        }

        fn is_closed(&self) -> bool {
            self.is_closed
        }
    }

    fn kept(level: Level, is_closed: bool) -> (Arc<Kept>, Records) {
        let kept = Arc::new(Kept {
            level,
            is_closed,
            lines: Mutex::default(),
        });
        let sink: Arc<dyn Sink> = Arc::<Kept>::clone(&kept);
        (kept, Records::new(Some(sink)))
    }

    const ID: RequestId = RequestId([0x5a; 16]);

    fn wanted() -> Wanted<'static> {
        Wanted {
            door: "http",
            from: Some("192.0.2.7:40000".parse().unwrap()),
            method: "GET",
            host: "erp.virtual",
            port: 80,
            path: "/a",
            location: "hq",
        }
    }

    fn called() -> Steps {
        let steps = Steps::begin();
        steps.called_by(&Arc::new(Caller {
            subaccount: "acme".to_owned(),
            client: "shop".to_owned(),
            subject: None,
            expires: 0,
        }));
        steps
    }

    #[test]
    fn a_sink_gets_what_its_level_asks_for() {
        let by_agent = called();
        by_agent.refused_by_agent();
        for (level, requests, tunnels) in [
            (Level::Off, 0, 0),
            (Level::Denied, 1, 3),
            (Level::All, 4, 3),
        ] {
            let (kept, records) = kept(level, false);
            records.request(ID, &called(), &wanted(), Outcome::Answered(200));
            records.request(ID, &called(), &wanted(), Outcome::BrokenOff);
            records.request(ID, &called(), &wanted(), Outcome::Refused(Refusal::NoAgent));
            let denied = Outcome::Refused(Refusal::ResourceDenied);
            records.request(ID, &by_agent, &wanted(), denied);
            let visitor = Visitor::stranger("192.0.2.7:1".parse().unwrap());
            records.tunnel(&visitor, Some(1), TunnelEvent::Up);
            let how = Text::of("drained");
            records.tunnel(&visitor, Some(1), TunnelEvent::Ended { how });
            let (reason, words) = (Text::of("tls"), Text::of("it is no agent"));
            records.tunnel(&visitor, None, TunnelEvent::Refused { reason, words });
            let lines = kept.lines.lock();
            let count = |kind: &str| lines.iter().filter(|line| line["record"] == kind).count();
            assert_eq!((count("request"), count("tunnel")), (requests, tunnels));
            if level == Level::Denied {
                assert_eq!(lines[0]["outcome"]["refused"]["reason"], "no-agent");
            }
        }
        // Without anybody who keeps records there are none.
        let nobody = Records::new(None);
        nobody.request(ID, &called(), &wanted(), Outcome::Answered(200));
        assert_eq!((nobody.may_pass(), nobody.may_admit()), (Ok(()), Ok(())));
    }

    #[test]
    fn a_refused_stranger_is_told_by_his_address_and_what_he_wanted() {
        let (kept, records) = kept(Level::Denied, false);
        let refused = Outcome::Refused(Refusal::TokenExpired);
        records.request(ID, &Steps::begin(), &wanted(), refused);
        let unread = Wanted {
            method: "",
            host: "",
            path: "",
            ..wanted()
        };
        let malformed = Outcome::Refused(Refusal::RequestMalformed);
        records.request(ID, &Steps::begin(), &unread, malformed);
        let connect = Wanted {
            door: "connect",
            method: "CONNECT",
            ..wanted()
        };
        records.request(ID, &called(), &connect, Outcome::Refused(Refusal::NoAgent));
        let lines = kept.lines.lock();
        let line = &lines[0];
        assert_eq!(line["request"], ID.to_string());
        assert_eq!(
            (&line["from"], &line["door"]),
            (&json!("192.0.2.7:40000"), &json!("http"))
        );
        let asked = [&line["system"], &line["method"], &line["path"]];
        assert_eq!(asked, ["erp.virtual:80", "GET", "/a"]);
        // Nobody has proven to be anybody, and no agent was asked.
        for name in ["subaccount", "caller", "location", "agent", "tunnel"] {
            assert_eq!(line[name], Value::Null, "{name}");
        }
        for name in ["system", "method", "path"] {
            assert_eq!(lines[1][name], Value::Null, "{name}");
        }
        let told = ["system", "subaccount", "caller", "location"].map(|name| &lines[2][name]);
        assert_eq!(told, ["erp.virtual:80", "acme", "shop", "hq"]);
        assert_eq!(
            (&lines[2]["method"], &lines[2]["path"]),
            (&Value::Null, &Value::Null)
        );
    }

    #[test]
    fn where_nothing_can_be_recorded_what_would_have_to_be_is_refused() {
        let refused = Err(Refusal::AuditUnavailable);
        for (level, pass, admit) in [
            (Level::Off, Ok(()), Ok(())),
            (Level::Denied, Ok(()), refused),
            (Level::All, refused, refused),
        ] {
            let (_, closed) = kept(level, true);
            assert_eq!(
                (closed.may_pass(), closed.may_admit()),
                (pass, admit),
                "{level:?}"
            );
            let (_, open) = kept(level, false);
            assert_eq!((open.may_pass(), open.may_admit()), (Ok(()), Ok(())));
        }
    }
}
