//! The stage of these tests: a pipe in memory, the `yamux` crate on a local pool at one end, our
//! session pumped by hand at the other, and the talks both ends hold on a stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_mux::{Error, Event, GoAwayCode, MAX_FRAME_PAYLOAD, Session, Settings, Side, StreamId};
use futures::executor::LocalPool;
use futures::future::poll_fn;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use yamux::{Config, Connection, Mode};

/// One direction of the pipe. Holds little, so both ends wait for each other all the time.
#[derive(Default)]
pub(crate) struct Direction {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

const PIPE_BYTES: usize = 50_000;

/// The crate's end of the pipe.
struct Socket {
    incoming: Rc<RefCell<Direction>>,
    outgoing: Rc<RefCell<Direction>>,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.borrow_mut();
        let n = buf.len().min(pipe.bytes.len());
        if n == 0 && !pipe.closed {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(pipe.bytes.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.borrow_mut();
        let n = buf.len().min(PIPE_BYTES - pipe.bytes.len());
        if n == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.borrow_mut().closed = true;
        Poll::Ready(Ok(()))
    }
}

/// What the crate's side shares with the test.
#[derive(Default)]
pub(crate) struct Shared {
    /// Streams the crate is to open, each with what then happens on it.
    pub(crate) to_open: Vec<Talk>,
    /// What happens on streams we open.
    pub(crate) on_inbound: Option<Talk>,
    pub(crate) close: bool,
    /// Wakes the driver when one of the above was set.
    pub(crate) driver: Option<Waker>,
    /// How the driver ended.
    pub(crate) ended: Option<String>,
    /// What the talks have to report.
    pub(crate) reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Talk {
    /// Sends back what it reads, then closes.
    Echo,
    /// Says this many bytes, closes its direction, reads all.
    SayThenListen(usize),
    /// Reads all, then says this many bytes, and closes.
    ListenThenSay(usize),
    /// Reads this many bytes and drops the stream.
    ReadAndDrop(usize),
    /// Says one byte, then reads until the end, whatever that is.
    ReadToTheEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) heard: usize,
    pub(crate) checksum: u64,
    pub(crate) error: Option<io::ErrorKind>,
}

/// FNV-1a: order matters, so a swapped or lost byte shows.
fn checksum(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const CHECKSUM_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The byte at `offset` of everything said in these tests.
fn letter(offset: usize) -> u8 {
    u8::try_from((offset * 7 + offset / 251) % 253).unwrap()
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(letter).collect()
}

async fn talk(talk: Talk, mut stream: yamux::Stream) -> Report {
    let mut report = Report {
        heard: 0,
        checksum: CHECKSUM_START,
        error: None,
    };
    let mut buf = vec![0; 10_000];
    let said = async {
        match talk {
            Talk::Echo => loop {
                let n = stream.read(&mut buf).await?;
                if n == 0 {
                    return stream.close().await;
                }
                report.heard += n;
                report.checksum = checksum(report.checksum, &buf[..n]);
                stream.write_all(&buf[..n]).await?;
            },
            Talk::SayThenListen(bytes) => {
                stream.write_all(&text(bytes)).await?;
                stream.close().await?;
                listen(&mut stream, &mut report, &mut buf, usize::MAX).await
            }
            Talk::ListenThenSay(bytes) => {
                listen(&mut stream, &mut report, &mut buf, usize::MAX).await?;
                stream.write_all(&text(bytes)).await?;
                stream.close().await
            }
            Talk::ReadAndDrop(bytes) => listen(&mut stream, &mut report, &mut buf, bytes).await,
            Talk::ReadToTheEnd => {
                stream.write_all(b"?").await?;
                listen(&mut stream, &mut report, &mut buf, usize::MAX).await
            }
        }
    };
    report.error = said.await.err().map(|error: io::Error| error.kind());
    report
}

async fn listen(
    stream: &mut yamux::Stream,
    report: &mut Report,
    buf: &mut [u8],
    most: usize,
) -> io::Result<()> {
    while report.heard < most {
        let n = stream.read(buf).await?;
        if n == 0 {
            break;
        }
        report.heard += n;
        report.checksum = checksum(report.checksum, &buf[..n]);
    }
    Ok(())
}

/// Both ends and the pipe.
pub(crate) struct Stage {
    pub(crate) pool: LocalPool,
    pub(crate) shared: Rc<RefCell<Shared>>,
    pub(crate) to_crate: Rc<RefCell<Direction>>,
    pub(crate) from_crate: Rc<RefCell<Direction>>,
    pub(crate) ours: Session<Vec<u8>>,
    pub(crate) now: Duration,
    /// How each stream stands for us.
    pub(crate) streams: BTreeMap<StreamId, Ours>,
    /// What happens on streams the crate opens.
    pub(crate) on_opened: Talk,
    pub(crate) went_away: Option<GoAwayCode>,
    pub(crate) failed: Option<Error>,
    pub(crate) reports: Vec<Report>,
}

/// A talk of ours in progress; the words of `Talk` from our end.
pub(crate) struct Ours {
    talk: Talk,
    to_say: VecDeque<u8>,
    fin_said: bool,
    fin_heard: bool,
    acknowledged: bool,
    reset: bool,
    report: Report,
}

impl Ours {
    fn new(talk: Talk) -> Self {
        let to_say = match talk {
            Talk::SayThenListen(bytes) | Talk::ListenThenSay(bytes) => text(bytes).into(),
            Talk::ReadToTheEnd => VecDeque::from(*b"?"),
            Talk::Echo | Talk::ReadAndDrop(_) => VecDeque::new(),
        };
        Self {
            talk,
            to_say,
            fin_said: false,
            fin_heard: false,
            acknowledged: false,
            reset: false,
            report: Report {
                heard: 0,
                checksum: CHECKSUM_START,
                error: None,
            },
        }
    }
}

impl Stage {
    pub(crate) fn new(side: Side, settings: Settings) -> Self {
        let pool = LocalPool::new();
        let shared = Rc::new(RefCell::new(Shared::default()));
        let to_crate = Rc::new(RefCell::new(Direction::default()));
        let from_crate = Rc::new(RefCell::new(Direction::default()));
        let mode = match side {
            Side::Client => Mode::Server,
            Side::Server => Mode::Client,
        };
        let socket = Socket {
            incoming: Rc::clone(&to_crate),
            outgoing: Rc::clone(&from_crate),
        };
        let mut connection = Connection::new(socket, Config::default(), mode);
        let spawner = pool.spawner();
        let talks = pool.spawner();
        let theirs = Rc::clone(&shared);
        let drive = poll_fn(move |cx| {
            theirs.borrow_mut().driver = Some(cx.waker().clone());
            let begin = |stream, what| {
                let theirs = Rc::clone(&theirs);
                talks
                    .spawn_local(async move {
                        let report = talk(what, stream).await;
                        theirs.borrow_mut().reports.push(report);
                    })
                    .unwrap();
            };
            if theirs.borrow().close {
                let ended = futures::ready!(connection.poll_close(cx));
                theirs.borrow_mut().ended = Some(format!("{ended:?}"));
                return Poll::Ready(());
            }
            loop {
                let Some(what) = theirs.borrow().to_open.last().copied() else {
                    break;
                };
                let Poll::Ready(stream) = connection.poll_new_outbound(cx) else {
                    break;
                };
                theirs.borrow_mut().to_open.pop();
                begin(stream.unwrap(), what);
            }
            loop {
                match connection.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        let what = theirs.borrow().on_inbound.unwrap();
                        begin(stream, what);
                    }
                    Poll::Ready(other) => {
                        theirs.borrow_mut().ended = Some(format!("{other:?}"));
                        return Poll::Ready(());
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        spawner.spawn_local(drive).unwrap();
        Self {
            pool,
            shared,
            to_crate,
            from_crate,
            ours: Session::new(side, settings),
            now: Duration::from_secs(1),
            streams: BTreeMap::new(),
            on_opened: Talk::Echo,
            went_away: None,
            failed: None,
            reports: Vec::new(),
        }
    }

    /// Both kinds of session at the other end.
    pub(crate) fn both_roles(mut play: impl FnMut(Self)) {
        play(Self::new(Side::Client, Settings::default()));
        play(Self::new(Side::Server, Settings::default()));
    }

    pub(crate) fn crate_opens(&self, talk: Talk) {
        let mut shared = self.shared.borrow_mut();
        shared.to_open.push(talk);
        if let Some(waker) = shared.driver.take() {
            waker.wake();
        }
    }

    pub(crate) fn we_open(&mut self, talk: Talk) -> StreamId {
        let id = self.ours.open(self.now).unwrap();
        self.streams.insert(id, Ours::new(talk));
        id
    }

    /// Runs until `done`; panics when nothing moves for a while.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let mut still = 0;
        while !done(self) {
            let before = *self.ours.stats();
            self.turn();
            still = if *self.ours.stats() == before {
                still + 1
            } else {
                0
            };
            assert!(still < 20, "stalled: {:?}", self.ours);
        }
    }

    pub(crate) fn turn(&mut self) {
        self.now += Duration::from_millis(1);
        self.pool.run_until_stalled();
        self.read();
        self.work();
        self.write();
    }

    fn read(&mut self) {
        let mut pipe = self.from_crate.borrow_mut();
        let input: Vec<u8> = pipe.bytes.drain(..).collect();
        if let Some(waker) = pipe.writer.take() {
            waker.wake();
        }
        drop(pipe);
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.ours.receive(rest, self.now) {
                Ok((taken, Some(event))) => {
                    at += taken;
                    self.hear(event, rest);
                }
                Ok((taken, None)) => {
                    assert_eq!(at + taken, input.len());
                    return;
                }
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    fn hear(&mut self, event: Event, input: &[u8]) {
        match event {
            Event::Opened(id) => {
                self.streams.insert(id, Ours::new(self.on_opened));
            }
            Event::Data { stream, range } => {
                let ours = self.streams.get_mut(&stream).unwrap();
                let bytes = &input[range];
                ours.report.heard += bytes.len();
                ours.report.checksum = checksum(ours.report.checksum, bytes);
                if matches!(ours.talk, Talk::Echo) {
                    ours.to_say.extend(bytes);
                }
                self.ours.consumed(stream, bytes.len(), self.now);
            }
            Event::Finished(id) => self.streams.get_mut(&id).unwrap().fin_heard = true,
            Event::Reset(id) => {
                let ours = self.streams.get_mut(&id).unwrap();
                ours.reset = true;
                ours.report.error = Some(io::ErrorKind::ConnectionReset);
            }
            Event::Acknowledged(id) => self.streams.get_mut(&id).unwrap().acknowledged = true,
            Event::Writable(_) => {}
            Event::WentAway(code) => self.went_away = Some(code),
        }
    }

    fn work(&mut self) {
        let mut over = Vec::new();
        for (id, ours) in &mut self.streams {
            if ours.reset {
                over.push(*id);
                continue;
            }
            if let Talk::ReadAndDrop(bytes) = ours.talk
                && ours.report.heard >= bytes
            {
                self.ours.reset(*id);
                over.push(*id);
                continue;
            }
            if matches!(ours.talk, Talk::ListenThenSay(_)) && !ours.fin_heard {
                continue;
            }
            loop {
                let room = self
                    .ours
                    .sendable(*id)
                    .min(MAX_FRAME_PAYLOAD)
                    .min(ours.to_say.len());
                if room == 0 {
                    break;
                }
                let payload = ours.to_say.drain(..room).collect();
                self.ours.send(*id, payload, false).unwrap();
            }
            let all_said = ours.to_say.is_empty()
                && match ours.talk {
                    Talk::Echo | Talk::ListenThenSay(_) => ours.fin_heard,
                    Talk::SayThenListen(_) => true,
                    Talk::ReadAndDrop(_) => false,
                    Talk::ReadToTheEnd => ours.fin_heard,
                };
            if all_said && !ours.fin_said {
                ours.fin_said = true;
                self.ours.finish(*id);
            }
            if ours.fin_said && ours.fin_heard {
                over.push(*id);
            }
        }
        for id in over {
            let ours = self.streams.remove(&id).unwrap();
            self.reports.push(ours.report);
        }
        if self.failed.is_none() {
            self.ours.on_deadline(self.now).unwrap();
        }
    }

    pub(crate) fn write(&mut self) {
        let mut pipe = self.to_crate.borrow_mut();
        while pipe.bytes.len() < PIPE_BYTES {
            let Some(frame) = self.ours.next_frame(self.now) else {
                break;
            };
            pipe.bytes.extend(frame.header);
            pipe.bytes.extend(frame.payload.unwrap_or_default());
        }
        if let Some(waker) = pipe.reader.take() {
            waker.wake();
        }
        drop(pipe);
        while let Some(event) = self.ours.poll_event() {
            self.hear(event, &[]);
        }
    }

    pub(crate) fn crate_reports(&self) -> usize {
        self.shared.borrow().reports.len()
    }
}

pub(crate) fn whole(bytes: usize) -> Report {
    Report {
        heard: bytes,
        checksum: checksum(CHECKSUM_START, &text(bytes)),
        error: None,
    }
}
