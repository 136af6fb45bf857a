//! The events of one subscription as they come, and the silence after which nothing more is expected.
//!
//! What an event means is `run`'s.

use std::time::Duration;

use adit_proto::control::Event;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::connection::Failed;

/// The row of events that answers a hello.
pub(crate) struct Row {
    body: Incoming,
    buffer: Vec<u8>,
    heard: Instant,
    dead_after: Duration,
}

impl Row {
    pub(crate) fn new(body: Incoming, dead_after: Duration) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            heard: Instant::now(),
            dead_after,
        }
    }

    /// How long ago the control plane was heard.
    pub(crate) fn heard(&self) -> Duration {
        self.heard.elapsed()
    }

    /// We were busy and did not listen: silence counts from now.
    pub(crate) fn resumed(&mut self) {
        self.heard = Instant::now();
    }

    /// The next event; `None` for one of a kind that we do not know. Loses nothing when dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failed> {
        loop {
            match Event::decode(&self.buffer) {
                Ok(Some((event, took))) => {
                    self.buffer.drain(..took);
                    if self.buffer.is_empty() {
                        // A document leaves room that no beat needs.
                        self.buffer = Vec::new();
                    }
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error) => return Err(Failed::Path(format!("event: {error}"))),
            }
            let silent_at = self.heard + self.dead_after;
            let frame = tokio::time::timeout_at(silent_at, self.body.frame()).await;
            let frame = frame.map_err(|_elapsed| {
                Failed::Path(format!(
                    "silent for {} ms; the line is dead",
                    self.dead_after.as_millis()
                ))
            })?;
            let frame = frame.ok_or_else(|| Failed::Path("ended without a goodbye".to_owned()))?;
            let frame = frame.map_err(|error| Failed::Path(format!("broke off: {error}")))?;
            self.heard = Instant::now();
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
