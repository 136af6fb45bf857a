//! What a gateway says of itself on the admin endpoint.

use std::sync::Arc;

use adit_runtime::admin::Node;
use adit_runtime::clock;
use serde_json::{Value, json};

use crate::shard::Shared;

pub(crate) struct Status {
    pub(crate) shared: Arc<Shared>,
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
                "instance": hex(&entry.instance),
                "software": entry.software,
                "peer": entry.peer,
                "suite": entry.suite,
                "shard": entry.shard,
                "streams": entry.streams(),
                "open": entry.is_open(),
                "age_s": clock::unix_now().saturating_sub(entry.since_unix),
            })).collect::<Vec<_>>(),
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
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
