//! The network between the two ends of a tunnel, in user space: a TCP relay with a delay and a
//! bounded bandwidth, whose connections can be reset or silently stalled.
//!
//! It delays bytes, not packets: what a congestion controller would make of the path is not shown,
//! only what windows and scheduling do. `docs/performance.md` says so beside the figures.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::content::{self, Received};
use crate::place::Places;
use crate::poll::{Poller, Ready, Watch};
use crate::slots::Slots;

/// What a link does to bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quality {
    pub(crate) one_way: Duration,
    /// In each direction; none is as fast as it goes.
    pub(crate) bytes_per_second: Option<f64>,
}

/// A relay to one address, gone when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    /// Further addresses that lead to the same place.
    pub(crate) more: Vec<SocketAddr>,
    orders: Option<Sender<(Order, Sender<Instant>)>>,
    thread: Option<JoinHandle<()>>,
}

/// What can happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// What is connected now is reset.
    Reset,
    /// What is connected now carries nothing any more, and nobody is told. New connections are fine.
    Stall,
    /// Nothing is carried, on new connections neither.
    Darken,
    /// Everything that is still connected goes on.
    Lighten,
}

impl Link {
    /// A relay to `target`.
    pub(crate) fn to(target: SocketAddr, quality: Quality, places: &Places) -> Result<Self> {
        Self::with_doors(1, target, quality, places)
    }

    /// A relay to `target` with so many addresses of its own.
    pub(crate) fn with_doors(
        doors: usize,
        target: SocketAddr,
        quality: Quality,
        places: &Places,
    ) -> Result<Self> {
        let listeners = (0..doors.max(1))
            .map(|_| listen())
            .collect::<Result<Vec<TcpListener>>>()?;
        let mut more = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<SocketAddr>>>()?;
        let address = more.remove(0);
        let (orders, inbox) = mpsc::channel();
        let mut relay = Relay::new(listeners, target, quality, inbox)?;
        let places = places.unpinned();
        let thread = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || {
                // A link that cannot be unpinned is a link.
                let _ = places.take(crate::place::Seat::Client);
                relay.run();
            })?;
        Ok(Self {
            address,
            more,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Gives an order and says when it was carried out.
    pub(crate) fn order(&self, order: Order) -> Result<Instant> {
        let (reply, done) = mpsc::channel();
        let orders = self.orders.as_ref().context("a link that is there")?;
        orders.send((order, reply)).context("the link is gone")?;
        done.recv().context("the link is gone")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One direction of the link: when bytes that are sent now arrive.
#[derive(Clone, Copy, Debug)]
struct Lane {
    quality: Quality,
    /// Until when it is busy with what was sent before.
    busy_until: Instant,
}

impl Lane {
    fn new(quality: Quality, now: Instant) -> Self {
        Self {
            quality,
            busy_until: now,
        }
    }

    /// Bytes go on the link behind what is on it already; their last one arrives then.
    fn send(&mut self, bytes: u64, now: Instant) -> Instant {
        let begin = self.busy_until.max(now);
        let takes = self
            .quality
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(crate::figure::float(bytes) / rate)
            });
        self.busy_until = begin + takes;
        self.busy_until + self.quality.one_way
    }

    /// When it takes more: the queue in front of a link is short.
    fn takes_more_at(&self) -> Instant {
        self.busy_until
            .checked_sub(QUEUE)
            .unwrap_or(self.busy_until)
    }
}

struct Relay {
    poller: Poller,
    listeners: Vec<TcpListener>,
    target: SocketAddr,
    inbox: Receiver<(Order, Sender<Instant>)>,
    lanes: [Lane; 2],
    strands: Slots<Strand>,
    dark: bool,
    scratch: Vec<u8>,
}

/// One connection through the link.
struct Strand {
    /// The one that dialled, and the one it wanted.
    sockets: [TcpStream; 2],
    /// What is on its way: from the first to the second, and back.
    ways: [Way; 2],
    stalled: bool,
}

#[derive(Default)]
struct Way {
    under_way: VecDeque<(Instant, Vec<u8>)>,
    held: u64,
    /// How much of the first piece has been written.
    written: usize,
    /// The receiver takes nothing now: its window is closed, and the sender learns of it.
    blocked: bool,
    /// The sender will send no more; the end arrives behind its bytes.
    ended: bool,
    told: bool,
    watched: Option<Watch>,
}

impl Relay {
    fn new(
        listeners: Vec<TcpListener>,
        target: SocketAddr,
        quality: Quality,
        inbox: Receiver<(Order, Sender<Instant>)>,
    ) -> Result<Self> {
        let poller = Poller::new()?;
        for listener in &listeners {
            poller.add(listener, LISTENER, Watch::Read)?;
        }
        let lane = Lane::new(quality, Instant::now());
        Ok(Self {
            poller,
            listeners,
            target,
            inbox,
            lanes: [lane, lane],
            strands: Slots::new(),
            dark: false,
            scratch: vec![0; READ_BYTES],
        })
    }

    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        let mut wake = LOOK_EVERY;
        loop {
            if self.poller.wait(wake.min(LOOK_EVERY), &mut ready).is_err() {
                return;
            }
            match self.inbox.try_recv() {
                Ok((order, done)) => {
                    let when = self.carry_out(order);
                    // Nobody may be waiting for it.
                    let _ = done.send(when);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            for one in &ready {
                if one.token == LISTENER {
                    self.accept();
                } else {
                    self.read(one.token);
                }
            }
            wake = self.deliver();
        }
    }

    fn carry_out(&mut self, order: Order) -> Instant {
        match order {
            Order::Reset => {
                let tokens: Vec<u64> = self.strands.iter_mut().map(|(token, _)| token).collect();
                for token in tokens {
                    if let Some(strand) = self.strands.remove(token) {
                        for socket in &strand.sockets {
                            // Closing sends RST then.
                            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                        }
                    }
                }
            }
            Order::Stall | Order::Darken => {
                self.strands
                    .iter_mut()
                    .for_each(|(_, strand)| strand.stalled = true);
                self.dark = order == Order::Darken;
            }
            Order::Lighten => {
                self.strands
                    .iter_mut()
                    .for_each(|(_, strand)| strand.stalled = false);
                self.dark = false;
            }
        }
        Instant::now()
    }

    fn accept(&mut self) {
        // An error is nobody now.
        while let Some((near, _)) = self.listeners.iter().find_map(|door| door.accept().ok()) {
            let Ok(far) = dial(self.target) else {
                continue;
            };
            let fine = near.set_nonblocking(true).is_ok() && near.set_nodelay(true).is_ok();
            if !fine {
                continue;
            }
            let token = self.strands.insert(Strand {
                sockets: [near, far],
                ways: [Way::default(), Way::default()],
                stalled: self.dark,
            });
            let Some(strand) = self.strands.get_mut(token) else {
                continue;
            };
            for (side, socket) in strand.sockets.iter().enumerate() {
                let named = name(token, side);
                if self.poller.add(socket, named, Watch::Read).is_ok()
                    && let Some(way) = strand.ways.get_mut(side)
                {
                    way.watched = Some(Watch::Read);
                }
            }
        }
    }

    /// A side can be read or written; writing is done by `deliver`.
    fn read(&mut self, named: u64) {
        let (token, side) = (named / 2, usize::from(!named.is_multiple_of(2)));
        let Some(strand) = self.strands.get_mut(token) else {
            return;
        };
        let now = Instant::now();
        let (Some(socket), Some(way), Some(lane)) = (
            strand.sockets.get(side),
            strand.ways.get_mut(side),
            self.lanes.get_mut(side),
        ) else {
            return;
        };
        if strand.stalled
            || way.ended
            || way.blocked
            || way.held > HELD_MAX
            || lane.takes_more_at() > now
        {
            return;
        }
        match content::receive(socket, &mut self.scratch) {
            Ok(Received::Bytes(bytes)) => {
                let length = usize::try_from(bytes).unwrap_or(0);
                let piece = self.scratch.get(..length).unwrap_or_default().to_vec();
                way.held += bytes;
                way.under_way.push_back((lane.send(bytes, now), piece));
            }
            Ok(Received::NothingNow) => {}
            Ok(Received::End) => way.ended = true,
            Err(_) => {
                self.strands.remove(token);
            }
        }
    }

    /// Writes what has arrived, watches for what can go on, and says how long nothing happens.
    fn deliver(&mut self) -> Duration {
        let now = Instant::now();
        let mut wake = now + LOOK_EVERY;
        let mut gone = Vec::new();
        for (token, strand) in self.strands.iter_mut() {
            let mut full = [false, false];
            for side in [0, 1] {
                let (Some(way), Some(to)) =
                    (strand.ways.get_mut(side), strand.sockets.get_mut(1 - side))
                else {
                    continue;
                };
                match if strand.stalled {
                    Ok(false)
                } else {
                    way.write(to, now)
                } {
                    Ok(is_full) => {
                        way.blocked = is_full;
                        full[1 - side] = is_full;
                    }
                    Err(_) => gone.push(token),
                }
                if let Some((arrives, _)) = way.under_way.front()
                    && !strand.stalled
                    && *arrives > now
                {
                    wake = wake.min(*arrives);
                }
            }
            for (side, is_full) in full.into_iter().enumerate() {
                let (Some(way), Some(lane), Some(socket)) = (
                    strand.ways.get_mut(side),
                    self.lanes.get(side),
                    strand.sockets.get(side),
                ) else {
                    continue;
                };
                let may_read =
                    !strand.stalled && !way.ended && !way.blocked && way.held <= HELD_MAX;
                let reads = may_read && lane.takes_more_at() <= now;
                if may_read && !reads {
                    wake = wake.min(lane.takes_more_at());
                }
                let watch = match (reads, is_full) {
                    (true, true) => Watch::Both,
                    (true, false) => Watch::Read,
                    (false, true) => Watch::Write,
                    (false, false) => Watch::Nothing,
                };
                if way.watched != Some(watch) {
                    way.watched = Some(watch);
                    // A socket that cannot be watched is noticed when it is written to.
                    let _ = self.poller.change(socket, name(token, side), watch);
                }
            }
            if strand.ways.iter().all(|way| way.told) {
                gone.push(token);
            }
        }
        for token in gone {
            self.strands.remove(token);
        }
        wake.saturating_duration_since(now)
    }
}

impl Way {
    /// Writes what has arrived; says whether the socket is full.
    fn write(&mut self, to: &mut TcpStream, now: Instant) -> io::Result<bool> {
        while let Some((arrives, piece)) = self.under_way.front() {
            if *arrives > now {
                return Ok(false);
            }
            let rest = piece.get(self.written..).unwrap_or_default();
            match to.write(rest) {
                Ok(length) if length == rest.len() => {
                    self.held -= u64::try_from(piece.len()).unwrap_or(0);
                    self.written = 0;
                    self.under_way.pop_front();
                }
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        if self.ended && !self.told {
            self.told = true;
            // It may be gone already.
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
        Ok(false)
    }
}

fn listen() -> Result<TcpListener> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Connections inherit it. What waits in here is queue that a real link would not have.
    listener.set_recv_buffer_size(SOCKET_BUFFER)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(1024)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// Connects on the spot: the target is on this machine.
fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.connect_timeout(&target.into(), Duration::from_secs(1))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn name(token: u64, side: usize) -> u64 {
    token * 2 + u64::from(side == 1)
}

const LISTENER: u64 = u64::MAX - 1;
const READ_BYTES: usize = 64 * 1024;
/// The kernel doubles it.
const SOCKET_BUFFER: usize = 256 * 1024;
/// A strand that nobody reads at the far end holds so much at most; above what is on the way of a
/// gigabit with a delay of 100 ms (12.5 MB).
const HELD_MAX: u64 = 32 * 1024 * 1024;
/// What waits in front of the link at most, as time.
const QUEUE: Duration = Duration::from_millis(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_byte_arrives_after_its_time_on_the_link_and_the_delay() {
        let now = Instant::now();
        let quality = Quality {
            one_way: Duration::from_millis(50),
            bytes_per_second: Some(125_000_000.0),
        };
        let mut lane = Lane::new(quality, now);
        // 1.25 MB at 1 Gbit/s take 10 ms.
        assert_eq!(lane.send(1_250_000, now), now + Duration::from_millis(60));
        // What comes behind it waits for its turn.
        assert_eq!(lane.send(1_250_000, now), now + Duration::from_millis(70));
        assert_eq!(lane.takes_more_at(), now + Duration::from_millis(15));
        // After a pause the link is free.
        let later = now + Duration::from_secs(1);
        assert_eq!(lane.send(125_000, later), later + Duration::from_millis(51));
    }

    #[test]
    fn a_link_without_a_bound_only_delays() {
        let now = Instant::now();
        let quality = Quality {
            one_way: Duration::from_millis(5),
            bytes_per_second: None,
        };
        let mut lane = Lane::new(quality, now);
        assert_eq!(lane.send(u64::MAX, now), now + Duration::from_millis(5));
        assert!(lane.takes_more_at() <= now);
    }

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten().take(3) {
                std::thread::spawn(move || {
                    let mut bytes = [0; 1024];
                    while let Ok(length @ 1..) = socket.read(&mut bytes) {
                        socket.write_all(&bytes[..length]).unwrap();
                    }
                });
            }
        });
        address
    }

    fn ping(socket: &mut TcpStream) -> io::Result<Duration> {
        let begin = Instant::now();
        socket.write_all(b"ping")?;
        let mut answer = [0; 4];
        socket.read_exact(&mut answer)?;
        assert_eq!(&answer, b"ping");
        Ok(begin.elapsed())
    }

    fn connect(link: &Link) -> TcpStream {
        let socket = TcpStream::connect(link.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        socket
    }

    #[test]
    fn a_round_trip_takes_twice_the_delay() {
        let quality = Quality {
            one_way: Duration::from_millis(20),
            bytes_per_second: None,
        };
        let link = Link::to(echo(), quality, &Places::new(false).unwrap()).unwrap();
        let took = ping(&mut connect(&link)).unwrap();
        assert!(took >= Duration::from_millis(40), "{took:?}");
    }

    #[test]
    fn what_is_stalled_goes_on_later_and_what_is_reset_does_not() {
        let places = Places::new(false).unwrap();
        let link = Link::to(echo(), Quality::default(), &places).unwrap();
        let mut socket = connect(&link);
        ping(&mut socket).unwrap();
        link.order(Order::Stall).unwrap();
        assert!(ping(&mut socket).is_err());
        // New connections are fine.
        ping(&mut connect(&link)).unwrap();
        link.order(Order::Lighten).unwrap();
        let mut late = [0; 4];
        socket.read_exact(&mut late).unwrap();
        link.order(Order::Reset).unwrap();
        assert!(ping(&mut socket).is_err());
    }
}
