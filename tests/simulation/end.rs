//! One end of the tunnel: the machine under test, its socket, and the users of its streams.
//!
//! Does what a driver does: feeds bytes in whatever pieces they come, obeys deadlines, writes when there is room, and
//! lets users act on events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_mux::Budget;
use adit_proto::hello::{Hello, Welcome};
use adit_tunnel::{
    Batch, Error, Event, GoAwayCode, Opening, PAYLOAD_MAX, Progress, SLOT_OVERHEAD, Slot, StreamId,
    Tunnel,
};

use crate::alarms::{Alarm, Context};
use crate::certificates;
use crate::link::Link;
use crate::plan::{EndPlan, ms};
use crate::talk::{Manner, Over, Talk};
use crate::trace::{AGENT, other};

#[derive(Debug)]
pub(crate) struct End {
    side: usize,
    stage: Stage,
    plan: EndPlan,
    rude: bool,
    inbound: Vec<u8>,
    /// What the opening wants sent, before anything of the tunnel.
    first_words: Vec<u8>,
    batch: Batch<Vec<u8>>,
    pub(crate) talks: BTreeMap<u32, Talk>,
    /// Streams this end still wants to open.
    pub(crate) to_open: usize,
    unread: usize,
    /// Streams on which something was said since this was last looked at.
    pub(crate) spoke: Vec<u32>,
    pub(crate) fate: Option<(Duration, Fate)>,
    /// Nothing is written behind what is in the batch.
    hanging_up: bool,
    pub(crate) was_up: bool,
    pub(crate) key_updates: usize,
}

#[derive(Debug)]
enum Stage {
    Opening(Box<Opening>),
    Up(Box<Tunnel<Vec<u8>>>),
    Gone,
}

/// How it ended for one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Both said close_notify.
    Closed,
    /// The connection ended without a word.
    Lost,
    /// The peer was silent for too long.
    Silent,
    /// TLS found damage, or the peer said that it did.
    Damaged(String),
}

impl End {
    pub(crate) fn new(side: usize, plan: EndPlan, rude: bool) -> Self {
        let opening = if side == AGENT {
            let hello = Hello {
                version: 1,
                features: 0,
                location: "berlin".to_owned(),
                instance: [7; 16],
                software: "simulation".to_owned(),
            };
            let name = "gateway.example".try_into().unwrap();
            Opening::agent(&certificates::agent(plan.tls), name, hello)
        } else {
            Opening::gateway(&certificates::gateway(plan.tls))
        };
        Self {
            side,
            stage: Stage::Opening(Box::new(opening.unwrap())),
            rude,
            inbound: Vec::new(),
            first_words: Vec::new(),
            batch: Batch::new(),
            talks: BTreeMap::new(),
            to_open: plan.streams,
            unread: 0,
            spoke: Vec::new(),
            fate: None,
            hanging_up: false,
            was_up: false,
            key_updates: 0,
            plan,
        }
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.plan.mux.budget
    }

    pub(crate) fn window_max(&self) -> usize {
        usize::try_from(self.plan.mux.window_max).unwrap()
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Up(tunnel) => tunnel.next_deadline(),
            Stage::Opening(_) | Stage::Gone => None,
        }
    }

    /// No stream is alive and nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.to_open == 0
            && self.batch.is_empty()
            && self.talks.values().all(Talk::is_ended)
            && matches!(&self.stage, Stage::Up(tunnel) if tunnel.session().is_idle())
    }

    // ---- what happens to this end

    pub(crate) fn start(&mut self, context: &mut Context) {
        self.open(context);
    }

    pub(crate) fn hear(&mut self, bytes: &[u8], context: &mut Context) {
        context.note(self.side, "hears", bytes.len(), 0);
        if self.fate.is_some() {
            return;
        }
        self.inbound.extend_from_slice(bytes);
        if matches!(self.stage, Stage::Opening(_)) {
            self.open(context);
        }
        self.read(context);
    }

    /// The peer's stream of bytes has ended.
    pub(crate) fn hear_end(&mut self, context: &mut Context) {
        context.note(self.side, "hears the end", 0, 0);
        // After a close_notify the fate is known.
        self.end(Fate::Lost, context);
    }

    pub(crate) fn lose(&mut self, context: &mut Context) {
        context.note(self.side, "loses the connection", 0, 0);
        self.end(Fate::Lost, context);
    }

    pub(crate) fn on_deadline(&mut self, context: &mut Context) {
        if let Stage::Up(tunnel) = &mut self.stage
            && tunnel.next_deadline().is_some_and(|at| at <= context.now)
            && let Err(error) = tunnel.on_deadline(context.now)
        {
            self.fail(&error, context);
        }
    }

    pub(crate) fn on_alarm(&mut self, alarm: Alarm, context: &mut Context) {
        let Stage::Up(tunnel) = &mut self.stage else {
            return;
        };
        match alarm {
            Alarm::Open => self.open_stream(context),
            Alarm::GoAway => {
                context.note(self.side, "goes away", 0, 0);
                tunnel.go_away(GoAwayCode::Normal);
            }
            Alarm::Work(number) => {
                let talk = self.talks.get_mut(&number).unwrap();
                talk.alarm_set = false;
                if talk.over.is_none() {
                    let unread = talk.unread();
                    talk.sip(tunnel, context.now);
                    self.unread -= unread - talk.unread();
                    self.speak(number, context);
                    self.rest(number, context);
                }
            }
        }
    }

    /// Says close_notify; the fate is sealed by the peer's.
    pub(crate) fn close(&mut self, context: &mut Context) {
        context.note(self.side, "closes", 0, 0);
        if let Stage::Up(tunnel) = &mut self.stage {
            tunnel.close(&mut self.batch, &mut supply);
            self.hanging_up = true;
        }
    }

    // ---- the machine

    fn open(&mut self, context: &mut Context) {
        let Stage::Opening(opening) = &mut self.stage else {
            return;
        };
        let progress = match opening.advance(&mut self.inbound, &mut self.first_words) {
            Ok(progress) => progress,
            Err(error) => return self.fail(&error, context),
        };
        let Stage::Opening(opening) = std::mem::replace(&mut self.stage, Stage::Gone) else {
            return;
        };
        let mux = self.plan.mux.clone();
        let opened = match progress {
            Progress::Reading => {
                self.stage = Stage::Opening(opening);
                return;
            }
            Progress::Heard => {
                let (identity, hello) = opening.candidate().unwrap();
                assert_eq!(identity.id.to_string(), certificates::AGENT_ID);
                assert_eq!(hello.location, "berlin");
                let welcome = Welcome {
                    version: 1,
                    features: 0,
                    gateway: "eu-1".to_owned(),
                    shard: 0,
                    shards: 1,
                };
                opening.admit(welcome, mux, &mut self.first_words)
            }
            Progress::Welcomed => opening.finish(mux),
        };
        context.note(self.side, "is up", 0, 0);
        self.was_up = true;
        self.stage = Stage::Up(Box::new(opened.unwrap().tunnel));
        context.alarm(self.side, Duration::ZERO, Alarm::Open);
    }

    fn read(&mut self, context: &mut Context) {
        let Stage::Up(tunnel) = &mut self.stage else {
            return;
        };
        let mut events = Vec::new();
        let outcome = tunnel.receive(&mut self.inbound, context.now, &mut events);
        let block = std::mem::take(&mut self.inbound);
        for event in events {
            self.on_event(event, &block, context);
        }
        self.inbound = block;
        match outcome {
            Ok(used) => {
                self.inbound.drain(..used);
            }
            Err(error) => return self.fail(&error, context),
        }
        if matches!(&self.stage, Stage::Up(tunnel) if tunnel.peer_has_closed()) {
            self.close(context);
            self.end(Fate::Closed, context);
        }
    }

    /// Writes as long as the socket takes something and there is something.
    pub(crate) fn write(&mut self, link: &mut Link, context: &mut Context) {
        while link.room() > 0 {
            if !self.first_words.is_empty() {
                let length = link.room().min(self.first_words.len());
                let words: Vec<u8> = self.first_words.drain(..length).collect();
                link.write(&words);
                continue;
            }
            if self.batch.is_empty() && !self.hanging_up {
                self.fill_batch(context);
            }
            if self.batch.is_empty() {
                if self.hanging_up {
                    link.finish();
                }
                return;
            }
            let mut sent = 0;
            for piece in self.batch.pieces() {
                let length = piece.len().min(link.room());
                link.write(&piece[..length]);
                sent += length;
            }
            context.note(self.side, "writes", sent, 0);
            self.batch.advance(sent);
        }
    }

    fn fill_batch(&mut self, context: &mut Context) {
        // Events of one turn may make something to send for the next one.
        loop {
            let Stage::Up(tunnel) = &mut self.stage else {
                return;
            };
            let limit = context.dice.between(1, 64 << 10);
            tunnel
                .transmit(context.now, &mut self.batch, limit, &mut supply)
                .expect("what the mux gives can be sealed");
            let mut events = Vec::new();
            while let Some(event) = tunnel.poll_event() {
                events.push(event);
            }
            let done = events.is_empty();
            for event in events {
                self.on_event(event, &[], context);
            }
            if done || !self.batch.is_empty() {
                // Nothing else makes a record of this length: an alert is shorter, a mux header alone is longer.
                let updates = self
                    .batch
                    .pieces()
                    .filter(|piece| piece.len() == KEY_UPDATE_RECORD);
                self.key_updates += updates.count();
                return;
            }
        }
    }

    fn fail(&mut self, error: &Error, context: &mut Context) {
        context.note(self.side, "fails", 0, 0);
        let fate = match error {
            _ if error.is_silence() => Fate::Silent,
            Error::Tls(_) | Error::Hello(_) => Fate::Damaged(error.to_string()),
            // Two honest ends: neither breaks a rule of the mux, nor floods.
            Error::Mux(_) | Error::Rejected { .. } | Error::Internal(_) => {
                panic!("end {}: {error}", self.side)
            }
            _ => panic!("an error this simulation does not know: {error}"),
        };
        if let Stage::Up(tunnel) = &mut self.stage {
            tunnel.fail(error, context.now, &mut self.batch, &mut supply);
        }
        self.end(fate, context);
    }

    fn end(&mut self, fate: Fate, context: &mut Context) {
        if self.fate.is_none() {
            context.note(self.side, "is done", self.talks.len(), self.unread);
            self.fate = Some((context.now, fate));
            self.stage = Stage::Gone;
            self.hanging_up = true;
        }
    }

    // ---- the users of the streams

    fn open_stream(&mut self, context: &mut Context) {
        let Stage::Up(tunnel) = &mut self.stage else {
            return;
        };
        if self.to_open == 0 {
            return;
        }
        let pause = match tunnel.open(context.now) {
            Ok(id) => {
                context.note(self.side, "opens", number(id), 0);
                self.to_open -= 1;
                self.take_up(id, true, context);
                if context.dice.chance(70) {
                    Duration::ZERO
                } else {
                    ms(context.dice.below(200))
                }
            }
            Err(adit_mux::OpenError::PeerWentAway) => {
                self.to_open = 0;
                return;
            }
            Err(adit_mux::OpenError::AckBacklog | adit_mux::OpenError::TooManyStreams) => ms(50),
            Err(error) => panic!("a stream cannot be opened: {error}"),
        };
        context.alarm(self.side, pause, Alarm::Open);
    }

    fn take_up(&mut self, id: StreamId, ours: bool, context: &mut Context) {
        let manner = Manner::new(&mut context.dice, ours, self.plan.bytes_max, self.rude);
        let before = self.talks.insert(id.get(), Talk::new(id, ours, manner));
        assert!(before.is_none(), "stream {id} was opened twice");
        self.speak(id.get(), context);
    }

    fn on_event(&mut self, event: Event, block: &[u8], context: &mut Context) {
        let id = match &event {
            Event::WentAway(_) => {
                context.note(self.side, "is told to open no more", 0, 0);
                self.to_open = 0;
                return;
            }
            Event::Opened(id) => {
                context.note(self.side, "takes", number(*id), 0);
                return self.take_up(*id, false, context);
            }
            Event::Data { stream: id, .. }
            | Event::Finished(id)
            | Event::Reset(id)
            | Event::Writable(id)
            | Event::Acknowledged(id) => *id,
        };
        let talk = self
            .talks
            .get_mut(&id.get())
            .expect("an event of a stream we know");
        match talk.over {
            // Its events of the same read are already on their way.
            Some(Over::ResetByUs) => return,
            Some(Over::ResetByPeer) => panic!("stream {id}: {event:?} after its reset"),
            None => {}
        }
        match event {
            Event::Data { range, .. } => {
                let bytes = &block[range];
                context.note(self.side, "is told", number(id), bytes.len());
                talk.hear(bytes, other(self.side));
                self.unread += bytes.len();
                self.digest(id.get(), context);
            }
            Event::Finished(_) => {
                context.note(self.side, "has heard all", number(id), talk.heard);
                assert!(!talk.fin_heard, "stream {id} ended twice");
                talk.fin_heard = true;
                self.speak(id.get(), context);
            }
            Event::Reset(_) => {
                context.note(self.side, "is reset", number(id), talk.heard);
                self.unread -= talk.unread();
                talk.over = Some(Over::ResetByPeer);
            }
            Event::Acknowledged(_) => {
                assert!(talk.ours && !talk.acknowledged, "stream {id} acknowledged");
                talk.acknowledged = true;
            }
            Event::Writable(_) => self.speak(id.get(), context),
            Event::Opened(_) | Event::WentAway(_) => {}
        }
    }

    fn digest(&mut self, number: u32, context: &mut Context) {
        let Stage::Up(tunnel) = &mut self.stage else {
            return;
        };
        let talk = self.talks.get_mut(&number).unwrap();
        if talk.digest().is_zero() {
            let unread = talk.unread();
            talk.sip(tunnel, context.now);
            self.unread -= unread - talk.unread();
        }
        self.rest(number, context);
    }

    fn speak(&mut self, number: u32, context: &mut Context) {
        let Stage::Up(tunnel) = &mut self.stage else {
            return;
        };
        let talk = self.talks.get_mut(&number).unwrap();
        if talk.over.is_some() {
            return;
        }
        if talk.is_fed_up() {
            context.note(self.side, "resets", talk.said, talk.heard);
            self.unread -= talk.unread();
            talk.over = Some(Over::ResetByUs);
            tunnel.reset(talk.id);
            return;
        }
        self.spoke.push(number);
        if let Some(pause) = talk.say(tunnel, self.side, &mut context.dice)
            && !talk.alarm_set
        {
            talk.alarm_set = true;
            context.alarm(self.side, pause, Alarm::Work(number));
        }
    }

    /// Sets an alarm for what was heard and is not consumed yet.
    fn rest(&mut self, number: u32, context: &mut Context) {
        let talk = self.talks.get_mut(&number).unwrap();
        if talk.unread() > 0 && !talk.alarm_set {
            talk.alarm_set = true;
            let pause = talk.digest().max(Duration::from_millis(1));
            context.alarm(self.side, pause, Alarm::Work(number));
        }
    }

    // ---- what must hold at every moment

    pub(crate) fn check(&self) {
        if let Stage::Up(tunnel) = &self.stage {
            let session = tunnel.session();
            assert_eq!(
                session.buffered(),
                self.unread,
                "unread bytes, by the mux and by its users"
            );
            if session.streams() == 0 {
                assert!(
                    self.talks.values().all(Talk::is_ended),
                    "the mux has lost a stream"
                );
                assert_eq!(session.queued(), 0);
                let budget = self.budget();
                assert_eq!(
                    budget.left(),
                    budget.total(),
                    "a session without streams keeps credit"
                );
            }
        }
    }
}

/// A sealed KeyUpdate: record header, handshake header, one byte (RFC 8446, section 4.6.3), content type, tag.
const KEY_UPDATE_RECORD: usize = 5 + 4 + 1 + 1 + 16;

/// Memory with these bytes as payload.
pub(crate) fn slot_with(bytes: &[u8]) -> Slot<Vec<u8>> {
    let mut slot = Slot::new(vec![0; SLOT_OVERHEAD + bytes.len()]);
    assert_eq!(slot.append(bytes), bytes.len());
    slot
}

fn supply() -> Vec<u8> {
    vec![0; SLOT_OVERHEAD + PAYLOAD_MAX]
}

fn number(id: StreamId) -> usize {
    usize::try_from(id.get()).unwrap()
}
