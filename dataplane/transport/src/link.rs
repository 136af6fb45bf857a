//! The one loop that feeds a tunnel: socket to machine, machine to streams, and back.
//!
//! A link lives on one shard. Its reader takes one large read, opens it in place and hands slices to
//! the streams; its flusher seals what the streams queued and writes it in one gather call; its timer
//! notices a dead peer. What the streams carry is not its business.

mod ending;
mod reading;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_mux::{Budget, OpenError};
use adit_runtime::buffer::{Buffer, Class};
use adit_runtime::clock;
use adit_runtime::local::{Notify, Once, either};
use adit_tunnel::{Batch, Error, Event, GoAwayCode, Peer, StreamId};

use crate::piece::Piece;
use crate::socket::Socket;
use crate::stream::{Stream, StreamError};
use crate::wire::Wire;
use crate::{Slot, Tunnel};

pub use ending::Ending;

/// The multiplexer's settings for a tunnel whose both ends are adit: all tunnels of the process
/// share one window budget.
#[must_use]
pub fn mux_settings(streams_max: usize, budget: Arc<Budget>) -> adit_mux::Settings {
    adit_mux::Settings {
        streams_max,
        opens_unacked_max: BACKLOG,
        accept_backlog: BACKLOG,
        send_queue_bytes: BATCH_BYTES,
        budget,
        ..adit_mux::Settings::default()
    }
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenRefused {
    /// The tunnel has ended or takes no new streams.
    Gone,
    /// As many streams as the tunnel may carry.
    Full,
}

/// Traffic of a tunnel so far, in bytes of ciphertext.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Received.
    pub received_bytes: u64,
    /// Sent.
    pub sent_bytes: u64,
}

/// One running tunnel.
pub struct Link {
    core: RefCell<Core>,
    socket: Socket,
    flusher: Notify,
    ended: Once,
    arrived: Notify,
    changed: Notify,
}

pub(crate) struct Core {
    pub(crate) tunnel: Tunnel,
    // Boxed: a table has twice the room it uses.
    pub(crate) ends: HashMap<StreamId, Box<End>, foldhash::fast::RandomState>,
    batch: Batch<Buffer>,
    incoming: VecDeque<StreamId>,
    // Tasks that wait until the peer has looked at what we opened.
    openers: Vec<Waker>,
    ending: Option<Ending>,
    turn: u64,
    queued_bytes: usize,
    queued_rows: usize,
    blocked: bool,
    draining: bool,
    traffic: Traffic,
}

/// What the link knows of a stream that somebody holds.
#[derive(Default)]
pub(crate) struct End {
    pub(crate) inbox: VecDeque<Piece>,
    pub(crate) finished: bool,
    pub(crate) reset: bool,
    // Nobody at the peer has looked at a stream of ours yet.
    unseen: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    // The reader's task was woken in this turn and will look before the block is used again.
    fresh: u64,
    // The reader takes nothing for a while now: what arrives must not pin blocks.
    pub(crate) stalled: bool,
}

impl Link {
    /// Starts the loop of an opened tunnel on this shard. `leftover` is ciphertext read behind the
    /// greeting.
    #[must_use]
    pub fn start(tunnel: Tunnel, socket: Socket, leftover: Vec<u8>) -> Rc<Self> {
        let link = Rc::new(Self {
            core: RefCell::new(Core {
                tunnel,
                ends: HashMap::default(),
                batch: Batch::new(),
                incoming: VecDeque::new(),
                openers: Vec::new(),
                ending: None,
                turn: 0,
                queued_bytes: 0,
                queued_rows: 0,
                blocked: false,
                draining: false,
                traffic: Traffic::default(),
            }),
            socket,
            flusher: Notify::new(),
            ended: Once::new(),
            arrived: Notify::new(),
            changed: Notify::new(),
        });
        // The tasks of a link end with it, whatever they wait for.
        let ended = |link: &Rc<Self>| {
            let link = Rc::clone(link);
            async move { link.ended.wait().await }
        };
        let reading = Rc::clone(&link);
        let read = async move { reading.read(leftover).await };
        monoio::spawn(either(read, ended(&link)));
        let writing = Rc::clone(&link);
        monoio::spawn(either(async move { writing.write().await }, ended(&link)));
        let watching = Rc::clone(&link);
        monoio::spawn(either(async move { watching.watch().await }, ended(&link)));
        link
    }

    /// Opens a stream. Waits a little when the peer has many that it has not looked at yet.
    ///
    /// # Errors
    /// [`OpenRefused`].
    pub async fn open(self: &Rc<Self>) -> Result<Stream, OpenRefused> {
        match adit_runtime::timer::timeout(OPEN_WAIT, std::future::poll_fn(|cx| self.poll_open(cx)))
            .await
        {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(OpenRefused::Full),
        }
    }

    fn poll_open(self: &Rc<Self>, cx: &Context<'_>) -> Poll<Result<Stream, OpenRefused>> {
        let mut core = self.core.borrow_mut();
        if core.ending.is_some() || core.draining {
            return Poll::Ready(Err(OpenRefused::Gone));
        }
        let id = match core.tunnel.open(clock::recent()) {
            Ok(id) => id,
            Err(OpenError::TooManyStreams) => return Poll::Ready(Err(OpenRefused::Full)),
            Err(OpenError::AckBacklog) => {
                core.openers.push(cx.waker().clone());
                return Poll::Pending;
            }
            Err(_) => return Poll::Ready(Err(OpenRefused::Gone)),
        };
        core.ends.insert(
            id,
            Box::new(End {
                unseen: true,
                ..End::default()
            }),
        );
        drop(core);
        Poll::Ready(Ok(Stream::new(Rc::clone(self), id)))
    }

    /// The next stream that the peer opened; `None` once the tunnel has ended.
    pub async fn accept(self: &Rc<Self>) -> Option<Stream> {
        loop {
            {
                let mut core = self.core.borrow_mut();
                if let Some(id) = core.incoming.pop_front() {
                    return Some(Stream::new(Rc::clone(self), id));
                }
                if core.ending.is_some() {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// How the tunnel ended, once it has.
    pub async fn ended(&self) -> Ending {
        self.ended.wait().await;
        self.core.borrow().ending.clone().unwrap_or(Ending::Closed)
    }

    /// Waits until the peer says that it goes away, or the tunnel ends. For one waiting task.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether new streams may be opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let core = self.core.borrow();
        core.ending.is_none() && !core.draining && !core.tunnel.session().is_going_away()
    }

    /// Whether the tunnel has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.has_happened()
    }

    /// Streams that are open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.core.borrow().tunnel.session().streams()
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.core.borrow().tunnel.peer().clone()
    }

    /// The address of the other end.
    #[must_use]
    pub fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Round trip time as the multiplexer's pings measured it.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.core.borrow().tunnel.session().rtt()
    }

    /// Bytes so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.core.borrow().traffic
    }

    /// No new streams from here on, in both directions; running ones finish.
    pub fn drain(&self) {
        let mut core = self.core.borrow_mut();
        if !core.draining {
            core.draining = true;
            core.tunnel.go_away(GoAwayCode::Normal);
            drop(core);
            self.flusher.notify();
        }
    }

    /// Closes now: go-away, close_notify, end. Running streams are cut.
    pub async fn close(&self) {
        self.drain();
        {
            let mut core = self.core.borrow_mut();
            if core.ending.is_some() {
                return;
            }
            let core = &mut *core;
            let _ = core
                .tunnel
                .transmit(clock::now(), &mut core.batch, BATCH_BYTES, &mut record);
            core.tunnel.close(&mut core.batch, &mut record);
        }
        // The last words leave if the path takes them at once or soon; a dead path must not hold us.
        let _ = adit_runtime::timer::timeout(LAST_WORDS_WAIT, async {
            while self.flush() {
                if self.socket.writable().await.is_err() {
                    break;
                }
                self.core.borrow_mut().blocked = false;
            }
        })
        .await;
        let _ = self.socket.finish().await;
        self.end(Ending::Closed);
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        act(&mut self.core.borrow_mut())
    }

    /// Queues one frame of a stream and sees to it that it leaves: at once when a batch is full,
    /// else at the end of this turn of the loop. The bound keeps requests from travelling as a convoy.
    /// With `more` the next frame follows at once, and only the last of the row is looked at.
    pub(crate) fn queue(&self, id: StreamId, slot: Slot, fin: bool, more: bool) -> Result<(), ()> {
        let full = {
            let mut core = self.core.borrow_mut();
            if core.ending.is_some() {
                return Err(());
            }
            let bytes = slot.payload().len();
            core.tunnel.send(id, slot, fin).map_err(|_refused| ())?;
            core.queued_bytes += bytes;
            if more {
                return Ok(());
            }
            core.queued_rows += 1;
            core.queued_bytes >= FLUSH_BYTES || core.queued_rows >= FLUSH_ROWS
        };
        if full {
            self.flush();
        } else {
            self.flusher.notify();
        }
        Ok(())
    }

    pub(crate) fn wants_flush(&self) {
        self.flusher.notify();
    }

    // Seals and writes what is queued; true when the socket took no more and must be waited for.
    fn flush(&self) -> bool {
        let mut guard = self.core.borrow_mut();
        let core = &mut *guard;
        core.queued_bytes = 0;
        core.queued_rows = 0;
        if core.ending.is_some() {
            return false;
        }
        if core.blocked {
            return true;
        }
        for _ in 0..BATCHES_PER_TURN {
            if let Err(error) =
                core.tunnel
                    .transmit(clock::now(), &mut core.batch, BATCH_BYTES, &mut record)
            {
                drop(guard);
                self.fail(&error);
                return false;
            }
            while let Some(event) = core.tunnel.poll_event() {
                if let Event::Writable(id) = event
                    && let Some(end) = core.ends.get_mut(&id)
                    && let Some(writer) = end.writer.take()
                {
                    writer.wake();
                }
            }
            if core.batch.is_empty() {
                return false;
            }
            let written = {
                let mut pieces = [IoSlice::new(&[]); GATHER_MAX];
                let mut count = 0;
                for (place, bytes) in pieces.iter_mut().zip(core.batch.pieces()) {
                    *place = IoSlice::new(bytes);
                    count += 1;
                }
                self.socket
                    .try_write(pieces.get(..count).unwrap_or_default())
            };
            match written {
                Ok(sent) => {
                    core.batch.advance(sent);
                    core.traffic.sent_bytes += u64::try_from(sent).unwrap_or(u64::MAX);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    core.blocked = true;
                    drop(guard);
                    self.flusher.notify();
                    return true;
                }
                Err(error) => {
                    drop(guard);
                    self.end(Ending::Lost(error.to_string()));
                    return false;
                }
            }
        }
        // More is there, but other tasks of the shard want to run as well.
        drop(guard);
        self.flusher.notify();
        false
    }

    async fn write(&self) {
        loop {
            self.flusher.notified().await;
            let blocked = self.core.borrow().blocked;
            if blocked {
                if let Err(error) = self.socket.writable().await {
                    self.end(Ending::Lost(error.to_string()));
                    return;
                }
                self.core.borrow_mut().blocked = false;
            }
            self.flush();
        }
    }

    async fn watch(&self) {
        loop {
            let deadline = self.core.borrow().tunnel.next_deadline();
            let now = clock::now();
            // Rounded up: the timer's resolution is 1 ms, and too early would be twice.
            let wait = deadline
                .map_or(WATCH_MAX, |at| at.saturating_sub(now))
                .min(WATCH_MAX)
                .max(WATCH_MIN);
            adit_runtime::timer::sleep(wait).await;
            let result = self.core.borrow_mut().tunnel.on_deadline(clock::now());
            if let Err(error) = result {
                self.fail(&error);
                return;
            }
            if self.core.borrow().tunnel.wants_write() {
                self.flush();
            }
        }
    }

    fn peer_gone(&self) {
        self.end(Ending::Lost(
            "cut without a close; the peer or the path is gone".to_owned(),
        ));
    }

    fn fail(&self, error: &Error) {
        {
            let mut core = self.core.borrow_mut();
            if core.ending.is_some() {
                return;
            }
            let core = &mut *core;
            core.tunnel
                .fail(error, clock::now(), &mut core.batch, &mut record);
            if !core.blocked {
                let pieces: Vec<IoSlice<'_>> = core
                    .batch
                    .pieces()
                    .take(GATHER_MAX)
                    .map(IoSlice::new)
                    .collect();
                // Best effort: the tunnel ends in any case.
                let _ = self.socket.try_write(&pieces);
            }
        }
        self.end(if error.is_silence() {
            Ending::Silent(error.to_string())
        } else {
            Ending::Broken(error.to_string())
        });
    }

    fn end(&self, ending: Ending) {
        let mut core = self.core.borrow_mut();
        if core.ending.is_some() {
            return;
        }
        core.ending = Some(ending);
        core.incoming.clear();
        core.openers.drain(..).for_each(Waker::wake);
        core.batch = Batch::new();
        for end in core.ends.values_mut() {
            end.reset = true;
            end.wake();
        }
        drop(core);
        self.ended.happen();
        self.arrived.notify();
        self.changed.notify();
    }
}

impl Core {
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }
}

impl End {
    pub(crate) fn reset_error(&self) -> StreamError {
        if self.unseen {
            StreamError::Unseen
        } else {
            StreamError::Reset
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

fn record() -> Buffer {
    Buffer::take(Class::Record)
}

/// Ciphertext sealed for one gather write: 16 full records.
const BATCH_BYTES: usize = 256 * 1024;
/// Streams opened and not yet looked at; a burst of a thousand requests passes in one round trip.
const BACKLOG: usize = 4096;
/// Pieces of one gather write.
const GATHER_MAX: usize = 64;
/// Batches written before other tasks of the shard run.
const BATCHES_PER_TURN: usize = 4;
/// Queued payload that is sent at once instead of at the end of the turn.
const FLUSH_BYTES: usize = 16 * 1024;
/// Queued rows (what one read of a local connection brought) that are sent at once: more would make
/// requests travel as a convoy.
const FLUSH_ROWS: usize = 16;
/// The timer looks at least this often, and at most as often as its resolution allows.
const WATCH_MAX: Duration = Duration::from_secs(1);
const WATCH_MIN: Duration = Duration::from_millis(2);
/// How long an opener waits for the peer to look at what was opened before.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// How long a closing tunnel tries to say its last words.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);
