//! What an agent says of itself on the admin endpoint, and what it can be asked and told there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adit_audit::{Cursor, Wanted};
use adit_policy::OwnedRequest;
use adit_proto::control::why_of;
use adit_recorder::Audit;
use adit_runtime::admin::{AdminRequest, AdminResponse, BoxFuture, Node};
use adit_runtime::clock;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::shard::Shared;
use crate::subscription::Intake;

pub(crate) struct Status {
    pub(crate) shared: Arc<Shared>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) since_unix: u64,
    pub(crate) audit: Arc<Audit>,
}

impl Node for Status {
    fn status(&self) -> Value {
        let shared = &self.shared;
        let in_force = shared.in_force.load_full();
        json!({
            "role": "agent",
            "name": shared.name,
            "subaccount": shared.subaccount,
            "location": shared.location,
            "version": env!("CARGO_PKG_VERSION"),
            "since_unix": self.since_unix,
            "phase": format!("{:?}", shared.drain.phase()).to_lowercase(),
            "driver": {
                "in_use": shared.choice.driver.to_string(),
                "reason": shared.choice.reason,
            },
            "shards": shared.mailboxes.len(),
            "tunnels": shared.board.rows(),
            "snapshot": in_force.map(|rules| json!({
                "version": rules.snapshot.version(),
                "epoch": rules.stamp.map(|stamp| stamp.epoch),
                "hash": rules.snapshot.hash_hex(),
                "systems": rules.snapshot.table().rules().systems.len(),
                "unusable": rules.trust.problems(),
            })),
            "audit": self.audit.facts(),
            "audit_sinks": self.audit.sinks(),
            "control": shared.control.as_ref().map(|control| control.status()),
            "streams": shared.streams.load(Ordering::Relaxed),
            "failures": shared.journal.entries(),
            "denials": shared.decisions.denials().into_iter().take(DENIALS_SHOWN).collect::<Vec<_>>(),
        })
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if !self.shared.drain.is_serving() {
            reasons.push("draining".to_owned());
        }
        if self.shared.board.up_count() == 0 {
            let why = self
                .shared
                .journal
                .latest("dial")
                .map(|entry| entry.message);
            reasons.push(match why {
                Some(why) => format!("no tunnel is up; last failure: {why}"),
                None => "no tunnel is up yet".to_owned(),
            });
        }
        if self.shared.in_force.load().is_none() {
            reasons.push("no rules in force; push some with `adit rules push`".to_owned());
        }
        let control = self.shared.control.as_ref();
        if control.is_some_and(|control| control.is_beyond_horizon(clock::now())) {
            reasons.push("no control plane was heard for longer than control.horizon".to_owned());
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn paths(&self) -> &[&'static str] {
        &[RULES, EXPLAIN, WHY, TRAFFIC]
    }

    fn handle(&self, request: AdminRequest) -> BoxFuture<'_, Option<AdminResponse>> {
        Box::pin(async move {
            match request.path.as_str() {
                RULES => Some(self.rules(request).await),
                EXPLAIN => Some(self.explain(&request)),
                WHY => Some(self.why(&request)),
                TRAFFIC => Some(self.traffic(&request).await),
                _ => None,
            }
        })
    }
}

impl Status {
    async fn rules(&self, request: AdminRequest) -> AdminResponse {
        if !request.trusted {
            return AdminResponse::untrusted();
        }
        match request.method.as_str() {
            "GET" | "HEAD" => match self.shared.in_force.load_full() {
                Some(rules) => AdminResponse::json(
                    200,
                    &json!({
                        "version": rules.snapshot.version(),
                        "hash": rules.snapshot.hash_hex(),
                        "text": rules.snapshot.text(),
                    }),
                ),
                None => AdminResponse::text(404, "no rules in force\n"),
            },
            "PUT" => {
                let file = request
                    .header("adit-rules-file")
                    .unwrap_or("rules")
                    .to_owned();
                let Ok(text) = String::from_utf8(request.body) else {
                    return refused(
                        &["the rules are not UTF-8; save the file as UTF-8".to_owned()],
                    );
                };
                match Arc::clone(&self.intake).push(file, text).await {
                    Ok(ack) => AdminResponse::json(200, &json!(ack)),
                    Err(nack) => refused(&nack.problems),
                }
            }
            _ => AdminResponse::method_not_allowed("GET, HEAD, PUT"),
        }
    }

    // Callers and paths are nobody's business but the operator's.
    fn why(&self, request: &AdminRequest) -> AdminResponse {
        if !request.trusted {
            return AdminResponse::untrusted();
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return AdminResponse::method_not_allowed("GET, HEAD");
        }
        let id = match why_of(&request.query) {
            Ok(id) => id,
            Err(error) => return AdminResponse::text(400, format!("{error}\n")),
        };
        let shared = &self.shared;
        let granted = || shared.traces.why(id, &shared.subaccount);
        match shared.decisions.denied_of(&id.to_string()).or_else(granted) {
            Some(why) => AdminResponse::json(200, &why),
            None => AdminResponse::text(
                404,
                "nothing is at hand about this request; what was recorded, `adit audit query` may find\n",
            ),
        }
    }

    // What was recorded of this agent's own subaccount, put together.
    async fn traffic(&self, request: &AdminRequest) -> AdminResponse {
        if !request.trusted {
            return AdminResponse::untrusted();
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return AdminResponse::method_not_allowed("GET, HEAD");
        }
        let (since_unix_ms, after) = match period(&request.query) {
            Ok(period) => period,
            Err(why) => return AdminResponse::text(400, format!("{why}\n")),
        };
        let wanted = Wanted {
            subaccount: self.shared.subaccount.clone(),
            since_unix_ms,
            after,
        };
        let told = self.shared.decisions.traffic(wanted).await;
        let told = told
            .and_then(|traffic| serde_json::to_string(&traffic).map_err(|error| error.to_string()));
        match told {
            // Not in lines: it shall fit a message to the control plane.
            Ok(text) => {
                let mut answer = AdminResponse::text(200, text);
                answer.content_type = "application/json";
                answer
            }
            Err(why) => AdminResponse::text(503, format!("{why}\n")),
        }
    }

    fn explain(&self, request: &AdminRequest) -> AdminResponse {
        if request.method != "POST" {
            return AdminResponse::method_not_allowed("POST");
        }
        let asked = serde_json::from_slice::<Question>(&request.body)
            .map_err(|error| error.to_string())
            .and_then(|question| question.read());
        let asked = match asked {
            Ok(asked) => asked,
            Err(why) => return AdminResponse::text(400, format!("{why}\n")),
        };
        let Some(rules) = self.shared.in_force.load_full() else {
            return AdminResponse::text(503, "no rules in force\n");
        };
        let explanation = adit_policy::explain(&rules.snapshot, &asked.as_request());
        let text = explanation.to_string();
        match serde_json::to_value(&explanation) {
            Ok(Value::Object(mut members)) => {
                // The whole text in place of the reason's alone, which it contains.
                members.insert("text".to_owned(), Value::String(text));
                AdminResponse::json(200, &Value::Object(members))
            }
            Ok(_) | Err(_) => {
                AdminResponse::text(500, "the explanation cannot be written as JSON\n")
            }
        }
    }
}

/// From when on, and after which part: `since_ms=..&after=..`, both as they please.
fn period(query: &str) -> Result<(u64, Option<Cursor>), String> {
    let (mut since_unix_ms, mut after) = (0, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("since_ms", text)) => {
                since_unix_ms = text.parse().map_err(|_not_a_number| {
                    format!("since_ms: {text:?} is no number of milliseconds since 1970")
                })?;
            }
            Some(("after", text)) => {
                after = Some(text.parse().map_err(|why| format!("after: {why}"))?);
            }
            _ => return Err(format!("{pair:?}: ask with since_ms=.. and after=..")),
        }
    }
    Ok((since_unix_ms, after))
}

fn refused(problems: &[String]) -> AdminResponse {
    AdminResponse::json(422, &json!({ "problems": problems }))
}

/// What `POST /explain` asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    method: String,
    url: String,
    #[serde(default)]
    upgrade: bool,
}

impl Question {
    fn read(&self) -> Result<OwnedRequest, String> {
        // `ws` is how the request language writes an upgrade.
        let url = if self.upgrade {
            self.url.replacen("http://", "ws://", 1)
        } else {
            self.url.clone()
        };
        format!("{} {url}", self.method)
            .parse()
            .map_err(|error: adit_policy::RequestError| error.to_string())
    }
}

const RULES: &str = "/rules";
const EXPLAIN: &str = "/explain";
const WHY: &str = "/why";
const TRAFFIC: &str = "/traffic";
/// Denials in `/status`: what fits a screen.
const DENIALS_SHOWN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, String> {
        let question: Question = serde_json::from_str(json).map_err(|error| error.to_string())?;
        question.read().map(|request| request.to_string())
    }

    #[test]
    fn a_question_becomes_the_request_it_means() {
        for (json, request) in [
            (
                r#"{"method":"GET","url":"http://erp.virtual:80/a","upgrade":false}"#,
                "GET http://erp.virtual:80/a",
            ),
            (
                r#"{"method":"GET","url":"http://erp.virtual:80/a","upgrade":true}"#,
                "GET ws://erp.virtual:80/a",
            ),
            (
                r#"{"method":"","url":"tcp://db.virtual:5432"}"#,
                "tcp://db.virtual:5432",
            ),
        ] {
            assert_eq!(read(json).unwrap(), request);
        }
    }

    #[test]
    fn a_period_begins_at_a_time_and_goes_on_after_a_part() {
        let place = |segment, offset| Some(Cursor { segment, offset });
        for (query, since, after) in [
            ("", 0, None),
            ("since_ms=5", 5, None),
            ("after=2-70&since_ms=5", 5, place(2, 70)),
        ] {
            assert_eq!(period(query), Ok((since, after)), "{query}");
        }
        for query in ["since_ms=-1", "since_ms=", "after=2", "since=5", "since_ms"] {
            assert!(period(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_question_with_an_unknown_member_or_without_url_is_refused() {
        for json in [
            r#"{"method":"GET"}"#,
            r#"{"url":"tcp://a:1","path":"/"}"#,
            r#"{"url":"nowhere"}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
