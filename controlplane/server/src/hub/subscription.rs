//! One node's subscription: what it was sent, what it said, and its end.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_api::{LastNack, Running};
use adit_proto::control::{Ack, Answer, Ask, Beat, Event, Goodbye, Hello, Nack};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Pushed;
use crate::clock;
use crate::limits::{
    AGAIN_AFTER, AGAIN_AFTER_MAX, ASKS_MAX, LINE_BYTES_KEPT, LINES_KEPT, SILENCE_LIMIT,
};
use crate::metrics;
use crate::place::{NodeId, Place};
use crate::secret::random_name;
use crate::trouble::Trouble;

/// A connected node.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) node: NodeId,
    /// What rules are for it; none for a gateway.
    pub(crate) place: Option<Place>,
    pub(crate) serial: String,
    /// The last second of the certificate that the line rests on.
    pub(crate) until_unix_s: u64,
    pub(crate) hello: Hello,
    pub(crate) since_unix_s: u64,
    events: mpsc::Sender<Bytes>,
    ended: AtomicBool,
    state: Mutex<State>,
    asks: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

/// What is known of a node.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) running: Option<Running>,
    pub(crate) refused: Option<LastNack>,
    pub(crate) beat: Beat,
    /// The last documents that were sent, the newest last: version and SHA-256.
    sent: VecDeque<(u64, String)>,
    /// When what was refused is sent again, until it has been, and the wait before.
    again: Option<(Option<Instant>, Duration)>,
    heard: Instant,
}

impl Subscription {
    pub(crate) fn new(
        id: String,
        node: NodeId,
        place: Option<Place>,
        (serial, until_unix_s): (String, u64),
        hello: Hello,
        events: mpsc::Sender<Bytes>,
    ) -> Self {
        let running = hello.in_force.as_ref().map(running);
        Self {
            id,
            node,
            place,
            serial,
            until_unix_s,
            since_unix_s: clock::unix_s(),
            events,
            ended: AtomicBool::new(false),
            state: Mutex::new(State {
                running,
                refused: None,
                beat: Beat::default(),
                sent: VecDeque::new(),
                again: None,
                heard: Instant::now(),
            }),
            asks: Mutex::default(),
            hello,
        }
    }

    /// Leaves an event for the node. One that does not take its events is given up: it comes back.
    pub(crate) fn send(&self, event: &Event) {
        let mut frame = Vec::new();
        event.encode(&mut frame);
        self.queue(frame.into());
    }

    fn queue(&self, frame: Bytes) {
        if self.events.try_send(frame).is_err() {
            self.ended.store(true, Ordering::Release);
        }
    }

    /// Whether the node shall be sent `version`.
    pub(crate) fn needs(&self, epoch: u64, version: u64) -> bool {
        self.state.lock().needs(epoch, version)
    }

    /// Sends rules, unless something newer was sent meanwhile. Whether they were.
    pub(crate) fn push(&self, epoch: u64, pushed: &Pushed) -> bool {
        let mut state = self.state.lock();
        if !state.needs(epoch, pushed.version) {
            return false;
        }
        if state.sent.len() >= SENT_KEPT {
            state.sent.pop_front();
        }
        state
            .sent
            .push_back((pushed.version, pushed.sha256.clone()));
        // Within the lock, so that nothing older is queued behind something newer.
        self.queue(pushed.frame.clone());
        true
    }

    /// What was refused may be sent once more.
    pub(crate) fn forget_refused(&self) {
        let mut state = self.state.lock();
        if state.refused.take().is_some() {
            state.sent.clear();
        }
    }

    /// Whether what was refused for a reason that may have passed shall be sent once more; it then may be.
    pub(crate) fn tries_again(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.refused.is_none() || state.sent.is_empty() {
            return false;
        }
        let wait = state.again.as_mut();
        let is_due = wait.is_some_and(|(at, _)| at.take_if(|at| *at <= now).is_some());
        if is_due {
            // It goes on to be told as refused until the node says otherwise.
            state.sent.clear();
        }
        is_due
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// The node enforces what it was sent.
    pub(crate) fn acked(&self, ack: &Ack) {
        metrics::acked();
        let mut state = self.state.lock();
        state.heard = Instant::now();
        state.running = Some(running(&ack.in_force));
        state.refused = None;
        state.again = None;
    }

    /// The node refused what it was sent.
    pub(crate) fn nacked(&self, nack: Nack) {
        metrics::nacked();
        tracing::warn!(node = %self.node, why = ?nack.why, first = ?nack.problems.first(), "a node refused its rules");
        let mut state = self.state.lock();
        state.heard = Instant::now();
        // By the document: a newer one may have been sent since.
        let sent = state
            .sent
            .iter()
            .find(|(_, sha256)| *sha256 == nack.document_sha256);
        let version = sent.map_or(0, |(version, _)| *version);
        state.again = PASSING.contains(&nack.why.as_str()).then(|| {
            let before = state.again.map(|(_, wait)| wait * 2);
            let wait = before.unwrap_or(AGAIN_AFTER).min(AGAIN_AFTER_MAX);
            (Some(state.heard + wait), wait)
        });
        state.refused = Some(LastNack {
            version,
            why: line(nack.why),
            problems: lines(nack.problems),
        });
    }

    /// The node lives. Whether it said anything that others should know.
    pub(crate) fn beaten(&self, mut beat: Beat) -> bool {
        beat.not_ready = lines(beat.not_ready);
        beat.problems = lines(beat.problems);
        let mut state = self.state.lock();
        state.heard = Instant::now();
        let changed = state.beat.not_ready != beat.not_ready
            || state.beat.problems != beat.problems
            || state.beat.tunnels != beat.tunnels;
        state.beat = beat;
        changed
    }

    /// Asks the node.
    ///
    /// # Errors
    /// It has too many questions already.
    pub(crate) fn ask(&self, mut ask: Ask) -> Result<oneshot::Receiver<Answer>, Trouble> {
        let (sender, receiver) = oneshot::channel();
        ask.ask = random_name();
        {
            let mut asks = self.asks.lock();
            asks.retain(|_, waiting| !waiting.is_closed());
            if asks.len() >= ASKS_MAX {
                return Err(Trouble::NodeSilent(format!(
                    "{} has {ASKS_MAX} questions to answer already",
                    self.node
                )));
            }
            asks.insert(ask.ask.clone(), sender);
        }
        self.send(&Event::Ask(ask));
        Ok(receiver)
    }

    /// The node answers. Whether anybody had asked.
    pub(crate) fn answered(&self, ask: &str, answer: Answer) -> bool {
        self.state.lock().heard = Instant::now();
        let waiting = self.asks.lock().remove(ask);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    /// Says goodbye and takes no more events.
    pub(crate) fn end(&self, goodbye: &Goodbye) {
        // First the mark, then the event that wakes the reader: it looks for the mark when there is no event left.
        self.ended.store(true, Ordering::Release);
        self.send(&Event::Goodbye(goodbye.clone()));
    }

    /// Whether it has ended on this side: what is queued is still written, then the line is closed.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether nobody reads its events any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_ended() || self.events.is_closed()
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.is_closed() && self.silent_for(Instant::now()) <= SILENCE_LIMIT
    }

    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.state.lock().heard)
    }
}

impl State {
    fn needs(&self, epoch: u64, version: u64) -> bool {
        let has = self
            .running
            .as_ref()
            .is_some_and(|running| running.epoch == Some(epoch) && running.version == version);
        // What a node shall have only rises.
        let sent = self.sent.back().is_some_and(|(sent, _)| *sent >= version);
        !has && !sent
    }
}

/// Reasons for a refusal that are not the document's, and that time or somebody at the node may mend.
const PASSING: [&str; 4] = ["store", "audit", "ca-file", "internal"];

/// Documents whose refusal is told from one another.
const SENT_KEPT: usize = 4;

fn lines(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().take(LINES_KEPT).map(line).collect()
}

fn line(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(LINE_BYTES_KEPT));
    line
}

fn running(in_force: &adit_proto::control::InForce) -> Running {
    Running {
        epoch: in_force.epoch,
        version: in_force.version,
        sha256: line(in_force.sha256.clone()),
    }
}
