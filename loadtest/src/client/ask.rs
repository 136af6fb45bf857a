//! Questions and answers: connections that send a request and wait for its answer, in a closed loop,
//! with a new connection each, or at the times of a schedule.
//!
//! An answer is an HTTP message, or as many bytes as were sent. What the figures mean is left to the
//! scenarios.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::schedule::Schedule;
use crate::content::{self, Received};
use crate::head;
use crate::poll::{Poller, Ready, Watch};
use crate::route::Route;
use crate::slots::Slots;
use crate::tally::{Entry, Gauge, Phase, Tally};

/// What is asked, where, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) address: SocketAddr,
    /// Said first on a connection; answered by a head with status 200.
    pub(crate) greeting: Vec<u8>,
    pub(crate) question: Vec<u8>,
    pub(crate) answer: Answer,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// Whether every request is written down.
    pub(crate) log: bool,
}

/// How the end of an answer is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Http,
    /// So many bytes.
    Echo(u64),
}

/// When the next question is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the answer is there.
    Closed,
    /// The same, each on a connection of its own.
    Fresh,
    /// So many a second, whatever becomes of the answers.
    Open(f64),
}

impl Asking {
    /// GETs of a kilobyte.
    pub(crate) fn kilobyte(route: &Route, connections: usize, pace: Pace) -> Self {
        Self {
            address: route.http,
            greeting: Vec::new(),
            question: route.get("/1k", matches!(pace, Pace::Fresh)),
            answer: Answer::Http,
            connections,
            pace,
            log: false,
        }
    }

    /// Ping-pong of 64 bytes on TCP streams; of a kilobyte over HTTP where there is no TCP.
    pub(crate) fn ping(route: &Route, connections: usize, pace: Pace) -> Self {
        match &route.tcp {
            None => Self::kilobyte(route, connections, pace),
            Some(opaque) => Self {
                address: opaque.address,
                greeting: opaque.greeting.clone(),
                question: vec![b'p'; PING_BYTES],
                answer: Answer::Echo(PING_BYTES_U64),
                connections,
                pace,
                log: false,
            },
        }
    }

    /// The part of this load that one of `threads` threads makes.
    pub(crate) fn share(&self, threads: usize) -> Self {
        Self {
            connections: (self.connections / threads).max(1),
            pace: match self.pace {
                Pace::Open(rate) => {
                    Pace::Open(rate / f64::from(u32::try_from(threads).unwrap_or(1)))
                }
                pace @ (Pace::Closed | Pace::Fresh) => pace,
            },
            ..self.clone()
        }
    }

    /// Asks until the gauge says that it is over.
    ///
    /// # Errors
    /// When the system gives no sockets. A request that fails is counted, not an error.
    pub(crate) fn run(&self, gauge: &Gauge) -> Result<Tally> {
        let mut asker = Asker {
            plan: self,
            gauge,
            poller: Poller::new()?,
            lines: Slots::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            reopen: VecDeque::new(),
            tally: Tally::new(),
            measured: None,
            scratch: vec![0; SCRATCH_BYTES],
        };
        asker.run()?;
        Ok(asker.tally)
    }
}

struct Asker<'p> {
    plan: &'p Asking,
    gauge: &'p Gauge,
    poller: Poller,
    lines: Slots<Line>,
    /// Connections without a question, oldest first; numbers of closed ones may be among them.
    idle: VecDeque<u64>,
    /// Due questions without a connection.
    waiting: VecDeque<Instant>,
    /// When connections that failed are opened again.
    reopen: VecDeque<Instant>,
    tally: Tally,
    /// Since when it counts.
    measured: Option<Instant>,
    scratch: Vec<u8>,
}

/// One connection.
struct Line {
    socket: TcpStream,
    stage: Stage,
    /// When the question under way was due.
    due: Instant,
    /// What came of an answer's head.
    heard: Vec<u8>,
    left: u64,
    closes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Greeting,
    Idle,
    Head,
    Body,
}

/// What a look at a connection found.
enum Found {
    Nothing,
    Greeted,
    Answered { closes: bool },
    Closed,
    Broken(String),
}

impl Asker<'_> {
    fn run(&mut self) -> Result<()> {
        let mut schedule = match self.plan.pace {
            Pace::Open(rate) => Some(Schedule::new(Instant::now(), rate)),
            Pace::Closed | Pace::Fresh => None,
        };
        for _ in 0..self.plan.connections {
            self.open(Instant::now());
        }
        self.gauge.begin();
        let mut ready = Vec::new();
        let mut looked = Instant::now();
        loop {
            match self.gauge.phase() {
                Phase::Warming => {}
                Phase::Measured if self.measured.is_some() => {}
                Phase::Measured => {
                    self.measured = Some(Instant::now());
                    self.tally.latencies.reset();
                }
                Phase::Over => break,
            }
            let now = Instant::now();
            if let Some(schedule) = &mut schedule {
                while let Some(due) = schedule.take(now) {
                    self.waiting.push_back(due);
                }
                self.send_waiting();
            }
            while self.reopen.front().is_some_and(|when| *when <= now) {
                self.reopen.pop_front();
                self.open(now);
            }
            if now - looked > LOOK_EVERY {
                looked = now;
                self.give_up_old(now);
            }
            let wake = schedule.map_or(now + LOOK_EVERY, |schedule| schedule.due());
            let wake = self.reopen.front().map_or(wake, |when| wake.min(*when));
            let limit = wake.saturating_duration_since(now).min(LOOK_EVERY);
            self.poller.wait(limit, &mut ready)?;
            for one in &ready {
                self.serve(*one);
            }
        }
        self.count_unanswered();
        Ok(())
    }

    /// Opens a connection; a question that is sent when it is there was due at `due`.
    fn open(&mut self, due: Instant) {
        let socket = match dial(self.plan.address) {
            Ok(socket) => socket,
            Err(error) => {
                self.fail(due, || format!("connect: {error}"));
                self.reopen.push_back(Instant::now() + REOPEN_AFTER);
                return;
            }
        };
        let token = self.lines.insert(Line {
            socket,
            stage: Stage::Connecting,
            due,
            heard: Vec::new(),
            left: 0,
            closes: false,
        });
        if let Some(line) = self.lines.get_mut(token)
            && let Err(error) = self.poller.add(&line.socket, token, Watch::Write)
        {
            self.lines.remove(token);
            self.fail(due, || format!("epoll: {error}"));
        }
    }

    fn serve(&mut self, ready: Ready) {
        let Some(line) = self.lines.get_mut(ready.token) else {
            return;
        };
        let found = match line.stage {
            Stage::Connecting => {
                let moved = connected(line, self.plan)
                    .and_then(|()| self.poller.change(&line.socket, ready.token, Watch::Read));
                match moved {
                    Ok(()) if line.stage == Stage::Greeting => Found::Nothing,
                    Ok(()) => Found::Greeted,
                    Err(error) => Found::Broken(format!("connect: {error}")),
                }
            }
            Stage::Greeting | Stage::Head | Stage::Body | Stage::Idle => {
                line.look(self.plan, &mut self.scratch)
            }
        };
        self.take(ready.token, found);
    }

    fn take(&mut self, token: u64, found: Found) {
        match found {
            Found::Nothing => {}
            Found::Greeted => self.free(token),
            Found::Answered { closes } => {
                let Some(line) = self.lines.get_mut(token) else {
                    return;
                };
                let due = line.due;
                self.fine(due);
                if closes || matches!(self.plan.pace, Pace::Fresh) {
                    self.lines.remove(token);
                    self.open(Instant::now());
                } else {
                    self.free(token);
                }
            }
            Found::Closed => {
                // Between questions: nothing was lost.
                self.lines.remove(token);
                self.reopen.push_back(Instant::now());
            }
            Found::Broken(what) => {
                if let Some(line) = self.lines.remove(token) {
                    let asked = matches!(line.stage, Stage::Head | Stage::Body);
                    match self.plan.pace {
                        // No question was on it yet; the due one waits for another connection.
                        Pace::Open(_) if !asked => self.gauge.fail(|| what),
                        Pace::Open(_) | Pace::Closed | Pace::Fresh => self.fail(line.due, || what),
                    }
                }
                self.reopen.push_back(Instant::now() + REOPEN_AFTER);
            }
        }
    }

    /// A connection has no question: it gets the next one, or waits.
    fn free(&mut self, token: u64) {
        let due = match self.plan.pace {
            Pace::Closed => Some(Instant::now()),
            // From the moment its connection was begun.
            Pace::Fresh => self.lines.get_mut(token).map(|line| line.due),
            Pace::Open(_) => self.waiting.pop_front(),
        };
        match due {
            Some(due) => self.send(token, due),
            None => {
                if let Some(line) = self.lines.get_mut(token) {
                    line.stage = Stage::Idle;
                }
                self.idle.push_back(token);
            }
        }
    }

    fn send_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let Some(token) = self.idle.pop_front() else {
                return;
            };
            let is_idle = self
                .lines
                .get_mut(token)
                .is_some_and(|line| line.stage == Stage::Idle);
            if is_idle && let Some(due) = self.waiting.pop_front() {
                self.send(token, due);
            }
        }
    }

    fn send(&mut self, token: u64, due: Instant) {
        let Some(line) = self.lines.get_mut(token) else {
            return;
        };
        line.due = due;
        line.stage = Stage::Head;
        line.heard.clear();
        if let Answer::Echo(bytes) = self.plan.answer {
            line.left = bytes;
            line.stage = Stage::Body;
        }
        // A question is small and the connection has nothing else to send.
        if let Err(error) = line.socket.write_all(&self.plan.question) {
            self.take(token, Found::Broken(format!("send: {error}")));
        }
    }

    fn fine(&mut self, due: Instant) {
        let now = Instant::now();
        self.gauge.done.fetch_add(1, Ordering::Relaxed);
        if self.measured.is_none_or(|since| due >= since) {
            self.tally.record(now - due);
        }
        self.write_down(due, now, true);
    }

    fn fail(&mut self, due: Instant, what: impl FnOnce() -> String) {
        self.gauge.fail(what);
        self.write_down(due, Instant::now(), false);
    }

    fn write_down(&mut self, due: Instant, ended: Instant, fine: bool) {
        if self.plan.log {
            self.tally.log.push(Entry { due, ended, fine });
        }
    }

    /// Questions that nobody answers any more.
    fn give_up_old(&mut self, now: Instant) {
        let old: Vec<u64> = self
            .lines
            .iter_mut()
            .filter(|(_, line)| line.stage != Stage::Idle && now - line.due > GIVE_UP_AFTER)
            .map(|(token, _)| token)
            .collect();
        for token in old {
            self.take(
                token,
                Found::Broken(format!("no answer in {GIVE_UP_AFTER:?}")),
            );
        }
    }

    /// In an open loop, what still waits at the end has waited at least so long.
    fn count_unanswered(&mut self) {
        let (Pace::Open(_), Some(since)) = (self.plan.pace, self.measured) else {
            return;
        };
        let now = Instant::now();
        let asked = self
            .lines
            .iter_mut()
            .filter(|(_, line)| matches!(line.stage, Stage::Head | Stage::Body))
            .map(|(_, line)| line.due);
        let unanswered: Vec<Instant> = asked.chain(self.waiting.iter().copied()).collect();
        for due in unanswered {
            let age = now.saturating_duration_since(due);
            if due >= since {
                self.tally.record(age);
            }
            // Whoever waits that long has been let down, whatever would have come later.
            if age > LET_DOWN_AFTER {
                self.write_down(due, now, false);
            }
        }
    }
}

impl Line {
    fn look(&mut self, plan: &Asking, scratch: &mut [u8]) -> Found {
        let length = match content::receive(&self.socket, scratch) {
            Ok(Received::Bytes(length)) => usize::try_from(length).unwrap_or(0),
            Ok(Received::NothingNow) => return Found::Nothing,
            Ok(Received::End) if self.stage == Stage::Idle => return Found::Closed,
            Ok(Received::End) => return Found::Broken("closed before its answer".to_owned()),
            Err(_) if self.stage == Stage::Idle => return Found::Closed,
            Err(error) => return Found::Broken(format!("receive: {error}")),
        };
        let bytes = scratch.get(..length).unwrap_or_default();
        match self.stage {
            Stage::Idle | Stage::Connecting => Found::Broken("an answer to no question".to_owned()),
            Stage::Greeting => {
                self.heard.extend_from_slice(bytes);
                match head::read(&self.heard) {
                    None => Found::Nothing,
                    Some(head) if head.status == 200 && head.bytes == self.heard.len() => {
                        self.heard = Vec::new();
                        Found::Greeted
                    }
                    Some(_) => Found::Broken(first_line(&self.heard)),
                }
            }
            Stage::Head => self.read_head(bytes),
            Stage::Body => self.read_body(length, plan),
        }
    }

    fn read_head(&mut self, bytes: &[u8]) -> Found {
        let whole: &[u8] = if self.heard.is_empty() {
            bytes
        } else {
            self.heard.extend_from_slice(bytes);
            &self.heard
        };
        let Some(head) = head::read(whole) else {
            if self.heard.is_empty() {
                self.heard.extend_from_slice(bytes);
            }
            return Found::Nothing;
        };
        if head.status != 200 {
            return Found::Broken(first_line(whole));
        }
        let Some(body) = head.body else {
            return Found::Broken("an answer without a length".to_owned());
        };
        let here = u64::try_from(whole.len() - head.bytes).unwrap_or(0);
        self.left = body.saturating_sub(here);
        self.closes = head.closes;
        self.stage = Stage::Body;
        if self.left == 0 {
            return Found::Answered {
                closes: self.closes,
            };
        }
        Found::Nothing
    }

    fn read_body(&mut self, length: usize, plan: &Asking) -> Found {
        let length = u64::try_from(length).unwrap_or(0);
        if length > self.left {
            return Found::Broken("more than the answer".to_owned());
        }
        self.left -= length;
        if self.left > 0 {
            return Found::Nothing;
        }
        Found::Answered {
            closes: matches!(plan.answer, Answer::Http) && self.closes,
        }
    }
}

/// Begins a connection.
pub(crate) fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// The connection is there, or failed; a greeting is sent.
fn connected(line: &mut Line, plan: &Asking) -> io::Result<()> {
    if let Some(error) = line.socket.take_error()? {
        return Err(error);
    }
    if plan.greeting.is_empty() {
        line.stage = Stage::Idle;
    } else {
        line.socket.write_all(&plan.greeting)?;
        line.stage = Stage::Greeting;
    }
    Ok(())
}

/// The status line, and adit's reason if there is one.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let refusal = lines.find(|line| line.to_ascii_lowercase().starts_with("adit-refusal:"));
    // Behind it stands an id, which is another one each time.
    let reason = refusal.and_then(|line| line.split(';').next());
    match reason {
        Some(reason) => format!("{first} ({reason})"),
        None => first,
    }
}

const PING_BYTES: usize = 64;
const PING_BYTES_U64: u64 = 64;
const SCRATCH_BYTES: usize = 64 * 1024;
/// A door that is shut is not hammered at.
const REOPEN_AFTER: Duration = Duration::from_millis(2);
const LET_DOWN_AFTER: Duration = Duration::from_secs(1);
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::place::{Places, Seat};
    use crate::tally::Load;

    fn run(asking: Asking) -> (Tally, u64, u64) {
        let places = Places::new(false).unwrap();
        let load = Load::start("client", 1, &places, Seat::Client, move |_, gauge| {
            asking.run(gauge)
        });
        let load = load.unwrap();
        load.measure();
        std::thread::sleep(Duration::from_millis(200));
        let counts = load.gauge().counts();
        (load.stop().unwrap(), counts.done, counts.failed)
    }

    fn backend() -> Backend {
        Backend::start(1, &Places::new(false).unwrap()).unwrap()
    }

    #[test]
    fn a_closed_loop_asks_again_and_again() {
        let backend = backend();
        let route = Route::plain(backend.http, Some(backend.tcp));
        for asking in [
            Asking::kilobyte(&route, 3, Pace::Closed),
            Asking::kilobyte(&route, 3, Pace::Fresh),
            Asking::ping(&route, 3, Pace::Closed),
        ] {
            let (tally, done, failed) = run(asking);
            assert!(done > 100, "{done}");
            assert_eq!(failed, 0);
            assert!(tally.latencies.len() > 100);
        }
    }

    #[test]
    fn an_open_loop_asks_as_often_as_its_rate_says() {
        let backend = backend();
        let route = Route::plain(backend.http, None);
        let mut asking = Asking::kilobyte(&route, 4, Pace::Open(500.0));
        asking.log = true;
        let (tally, done, failed) = run(asking);
        // 0.2 s at 500 a second are 100; a busy machine may end the run late, never early.
        assert!((90..300).contains(&done), "{done}");
        assert_eq!(failed, 0);
        assert!(tally.log.windows(2).all(|pair| pair[0].due <= pair[1].due));
    }

    #[test]
    fn a_door_that_is_shut_is_a_failure_and_not_an_end() {
        let address = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let route = Route::plain(address, None);
        let (_, done, failed) = run(Asking::kilobyte(&route, 1, Pace::Closed));
        assert_eq!(done, 0);
        assert!(failed > 0);
    }
}
