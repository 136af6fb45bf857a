//! Our session against the `yamux` crate, in both roles, over an in-memory pipe.
//!
//! The crate runs as futures on a local pool; our session is pumped by hand between its turns. The
//! pool runs until it stalls, so a lost wake-up or a frame that never comes shows as a stall, not
//! as a timeout. Our clock moves one millisecond a turn.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy exempts only inside #[test]"
)]

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
struct Direction {
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
struct Shared {
    /// Streams the crate is to open, each with what then happens on it.
    to_open: Vec<Talk>,
    /// What happens on streams we open.
    on_inbound: Option<Talk>,
    close: bool,
    /// Wakes the driver when one of the above was set.
    driver: Option<Waker>,
    /// How the driver ended.
    ended: Option<String>,
    /// What the talks have to report.
    reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug)]
enum Talk {
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
struct Report {
    heard: usize,
    checksum: u64,
    error: Option<io::ErrorKind>,
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
struct Stage {
    pool: LocalPool,
    shared: Rc<RefCell<Shared>>,
    to_crate: Rc<RefCell<Direction>>,
    from_crate: Rc<RefCell<Direction>>,
    ours: Session<Vec<u8>>,
    now: Duration,
    /// How each stream stands for us.
    streams: BTreeMap<StreamId, Ours>,
    /// What happens on streams the crate opens.
    on_opened: Talk,
    went_away: Option<GoAwayCode>,
    failed: Option<Error>,
    reports: Vec<Report>,
}

/// A talk of ours in progress; the words of `Talk` from our end.
struct Ours {
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
    fn new(side: Side, settings: Settings) -> Self {
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
    fn both_roles(mut play: impl FnMut(Self)) {
        play(Self::new(Side::Client, Settings::default()));
        play(Self::new(Side::Server, Settings::default()));
    }

    fn crate_opens(&self, talk: Talk) {
        let mut shared = self.shared.borrow_mut();
        shared.to_open.push(talk);
        if let Some(waker) = shared.driver.take() {
            waker.wake();
        }
    }

    fn we_open(&mut self, talk: Talk) -> StreamId {
        let id = self.ours.open(self.now).unwrap();
        self.streams.insert(id, Ours::new(talk));
        id
    }

    /// Runs until `done`; panics when nothing moves for a while.
    fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
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

    fn turn(&mut self) {
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

    fn write(&mut self) {
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

    fn crate_reports(&self) -> usize {
        self.shared.borrow().reports.len()
    }
}

fn whole(bytes: usize) -> Report {
    Report {
        heard: bytes,
        checksum: checksum(CHECKSUM_START, &text(bytes)),
        error: None,
    }
}

const MIB: usize = 1 << 20;

#[test]
fn the_crate_echoes_megabytes_on_streams_we_open() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::Echo);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5, 0] {
            stage.we_open(Talk::SayThenListen(bytes));
        }
        stage.run_until(|stage| stage.reports.len() == 5 && stage.crate_reports() == 5);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5, 0] {
            assert!(stage.reports.contains(&whole(bytes)), "{bytes}");
            assert!(
                stage.shared.borrow().reports.contains(&whole(bytes)),
                "{bytes}"
            );
        }
        assert_eq!(stage.ours.streams(), 0);
    });
}

#[test]
fn we_echo_megabytes_on_streams_the_crate_opens() {
    Stage::both_roles(|mut stage| {
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5] {
            stage.crate_opens(Talk::SayThenListen(bytes));
        }
        stage.run_until(|stage| stage.reports.len() == 4 && stage.crate_reports() == 4);
        for bytes in [3 * MIB, 2 * MIB + 1, MIB, 5] {
            assert!(
                stage.shared.borrow().reports.contains(&whole(bytes)),
                "{bytes}"
            );
        }
        assert_eq!(stage.ours.streams(), 0);
        assert_eq!(stage.ours.buffered(), 0);
    });
}

#[test]
fn streams_of_both_sides_run_at_the_same_time() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::Echo);
        for _ in 0..100 {
            stage.we_open(Talk::SayThenListen(20_000));
            stage.crate_opens(Talk::SayThenListen(20_000));
        }
        stage.run_until(|stage| stage.reports.len() == 200 && stage.crate_reports() == 200);
        assert!(stage.reports.iter().all(|report| *report == whole(20_000)));
        assert!(
            stage
                .shared
                .borrow()
                .reports
                .iter()
                .all(|report| *report == whole(20_000))
        );
    });
}

#[test]
fn a_half_closed_stream_carries_megabytes_the_other_way() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::ListenThenSay(2 * MIB));
        stage.on_opened = Talk::ListenThenSay(2 * MIB);
        stage.we_open(Talk::SayThenListen(MIB));
        stage.crate_opens(Talk::SayThenListen(MIB));
        stage.run_until(|stage| stage.reports.len() == 2 && stage.crate_reports() == 2);
        for bytes in [MIB, 2 * MIB] {
            assert!(stage.reports.contains(&whole(bytes)));
            assert!(stage.shared.borrow().reports.contains(&whole(bytes)));
        }
    });
}

#[test]
fn our_windows_grow_and_the_crate_follows() {
    // A turn is 1 ms and brings 50 kB; our ping takes 500 ms. So half of the first window, three
    // turns, goes within one round trip.
    let mut stage = Stage::new(Side::Client, Settings::default());
    stage.crate_opens(Talk::SayThenListen(30 * MIB));
    stage.ours.ping(stage.now);
    stage.write();
    stage.now += Duration::from_millis(500);
    stage.run_until(|stage| stage.crate_reports() == 1);
    assert_eq!(stage.shared.borrow().reports[0], whole(30 * MIB));
    assert!(stage.ours.stats().windows_grown > 0);
    assert!(stage.ours.rtt().unwrap() >= Duration::from_millis(500));
}

#[test]
fn a_stream_the_crate_drops_is_reset_for_us() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().on_inbound = Some(Talk::ReadAndDrop(100_000));
        stage.we_open(Talk::SayThenListen(5 * MIB));
        stage.run_until(|stage| stage.reports.len() == 1);
        assert_eq!(stage.reports[0].error, Some(io::ErrorKind::ConnectionReset));
        assert_eq!(stage.ours.streams(), 0);
        assert!(stage.failed.is_none());
    });
}

#[test]
fn a_stream_we_reset_ends_for_the_crate_and_its_late_data_is_swallowed() {
    Stage::both_roles(|mut stage| {
        stage.on_opened = Talk::ReadAndDrop(100_000);
        stage.crate_opens(Talk::SayThenListen(5 * MIB));
        stage.run_until(|stage| stage.crate_reports() == 1);
        assert_eq!(
            stage.shared.borrow().reports[0].error,
            Some(io::ErrorKind::WriteZero)
        );
        for _ in 0..20 {
            stage.turn();
        }
        assert!(stage.failed.is_none());
        assert_eq!((stage.ours.streams(), stage.ours.buffered()), (0, 0));
        assert_eq!(
            stage.ours.stats().glitches,
            64,
            "the crate's one ping; late data was within its credit"
        );
        // The session goes on.
        stage.on_opened = Talk::Echo;
        stage.crate_opens(Talk::SayThenListen(1000));
        stage.run_until(|stage| stage.crate_reports() == 2);
        assert_eq!(stage.shared.borrow().reports[1], whole(1000));
    });
}

#[test]
fn a_stream_we_refuse_ends_for_the_crate() {
    let settings = Settings {
        streams_max: 1,
        ..Settings::default()
    };
    let mut stage = Stage::new(Side::Server, settings);
    stage.shared.borrow_mut().on_inbound = Some(Talk::ListenThenSay(5));
    stage.we_open(Talk::ReadToTheEnd);
    stage.crate_opens(Talk::ReadToTheEnd);
    stage.run_until(|stage| stage.crate_reports() == 1);
    assert_eq!(stage.shared.borrow().reports[0].heard, 0);
    assert_eq!(stage.ours.stats().refused_streams_max, 1);
}

#[test]
fn pings_are_answered_both_ways() {
    Stage::both_roles(|mut stage| {
        stage.ours.ping(stage.now);
        stage
            .run_until(|stage| stage.ours.rtt().is_some() && stage.ours.stats().pings_received > 0);
        assert_eq!(
            stage.ours.stats().glitches,
            64,
            "the crate's one ping, and nothing odd"
        );
    });
}

#[test]
fn the_crates_go_away_is_normal() {
    Stage::both_roles(|mut stage| {
        stage.shared.borrow_mut().close = true;
        let waker = stage.shared.borrow_mut().driver.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        stage.run_until(|stage| stage.went_away.is_some());
        assert_eq!(stage.went_away, Some(GoAwayCode::Normal));
        assert_eq!(stage.shared.borrow().ended.as_deref(), Some("Ok(())"));
    });
}

#[test]
fn our_go_away_ends_the_crates_connection() {
    Stage::both_roles(|mut stage| {
        stage.ours.go_away(GoAwayCode::Normal);
        stage.run_until(|stage| stage.shared.borrow().ended.is_some());
        // The crate treats every go-away as the end, and says so by an end without an error.
        assert_eq!(stage.shared.borrow().ended.as_deref(), Some("None"));
    });
}

#[test]
fn a_stream_the_crate_opens_and_drops_unused_does_no_harm() {
    // The crate then says RST for an id it never announced.
    Stage::both_roles(|mut stage| {
        stage.crate_opens(Talk::ReadAndDrop(0));
        stage.run_until(|stage| stage.crate_reports() == 1);
        for _ in 0..10 {
            stage.turn();
        }
        assert!(stage.failed.is_none());
        stage.crate_opens(Talk::SayThenListen(1000));
        stage.run_until(|stage| stage.crate_reports() == 2);
        assert_eq!(stage.shared.borrow().reports[1], whole(1000));
    });
}
