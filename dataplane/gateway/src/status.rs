//! What a gateway says of itself on the admin endpoint.

use std::sync::Arc;

use adit_proto::control::why_of;
use adit_recorder::Audit;
use adit_runtime::admin::{AdminRequest, AdminResponse, BoxFuture, Node};
use adit_runtime::clock;
use serde_json::{Value, json};

use crate::shard::Shared;

pub(crate) struct Status {
    pub(crate) shared: Arc<Shared>,
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) doors: Value,
    pub(crate) since_unix: u64,
}

impl Node for Status {
    fn status(&self) -> Value {
        let mut tunnels: Vec<_> = self.shared.directory.all();
        tunnels.sort_by_key(|entry| entry.id);
        json!({
            "role": "gateway",
            "name": self.shared.name,
            "version": env!("CARGO_PKG_VERSION"),
            "since_unix": self.since_unix,
            "phase": format!("{:?}", self.shared.drain.phase()).to_lowercase(),
            "driver": {
                "in_use": self.shared.choice.driver.to_string(),
                "reason": self.shared.choice.reason,
            },
            "shards": self.shared.mailboxes.len(),
            "doors": self.doors,
            "tunnels": tunnels.iter().map(|entry| json!({
                "id": entry.id,
                "agent": entry.agent,
                "subaccount": entry.subaccount,
                "location": entry.location,
                "instance": format!("{:032x}", u128::from_be_bytes(entry.instance)),
                "software": entry.software,
                "peer": entry.peer,
                "suite": entry.suite,
                "shard": entry.shard,
                "streams": entry.streams(),
                "open": entry.is_open(),
                "age_s": clock::unix_now().saturating_sub(entry.since_unix),
            })).collect::<Vec<_>>(),
            "audit": self.audit.as_ref().map(|audit| audit.facts()),
            "audit_sinks": self.audit.as_ref().map(|audit| audit.sinks()),
            "control": self.shared.control.as_ref().map(|control| control.status()),
            "failures": self.shared.journal.entries(),
        })
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        if self.shared.drain.is_serving() {
            Ok(())
        } else {
            Err(vec!["draining".to_owned()])
        }
    }

    fn paths(&self) -> &[&'static str] {
        &[WHY]
    }

    fn handle(&self, request: AdminRequest) -> BoxFuture<'_, Option<AdminResponse>> {
        let answer = (request.path == WHY).then(|| self.why(&request));
        Box::pin(std::future::ready(answer))
    }
}

impl Status {
    // Callers and paths are nobody's business but the operator's.
    fn why(&self, request: &AdminRequest) -> AdminResponse {
        if !request.trusted {
            return AdminResponse::untrusted();
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return AdminResponse::method_not_allowed("GET, HEAD");
        }
        match why_of(&request.query) {
            Ok(id) => match self.shared.traces.why(id) {
                Some(why) => AdminResponse::json(200, &why),
                None => AdminResponse::text(404, "nothing is at hand about this request\n"),
            },
            Err(error) => AdminResponse::text(400, format!("{error}\n")),
        }
    }
}

const WHY: &str = "/why";
