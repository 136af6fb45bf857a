//! The backend behind everything that is measured: an HTTP server and a TCP echo on their own threads.
//!
//! `GET /1k` answers a kilobyte, `GET /bytes/N` streams N bytes, `POST /sink` swallows a body,
//! `GET /hold` answers one byte of many and then waits. The TCP port sends back what it gets.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::content::{self, Content, Received};
use crate::head;
use crate::place::{Places, Seat};
use crate::poll::{Poller, Ready, Watch};
use crate::slots::Slots;

/// A backend that serves until dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Backend {
    /// Starts it with `threads` threads on ports of the system's choice.
    pub(crate) fn start(threads: usize, places: &Places) -> Result<Self> {
        let first = (listen(0)?, listen(0)?);
        let (http, tcp) = (first.0.local_addr()?, first.1.local_addr()?);
        let mut doors = vec![first];
        for _ in 1..threads {
            doors.push((listen(http.port())?, listen(tcp.port())?));
        }
        let mut backend = Self {
            http,
            tcp,
            over: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for (number, (http, tcp)) in doors.into_iter().enumerate() {
            let mut server = Server::new(http, tcp)?;
            let over = Arc::clone(&backend.over);
            let places = places.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{THREAD_NAME}-{number}"))
                .spawn(move || {
                    // Unpinned it serves as well.
                    let _ = places.take(Seat::Backend);
                    while !over.load(Ordering::Relaxed) {
                        if server.turn().is_err() {
                            return;
                        }
                    }
                })?;
            backend.threads.push(thread);
        }
        Ok(backend)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        .context("a port of the backend")?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Server {
    poller: Poller,
    ready: Vec<Ready>,
    http: TcpListener,
    tcp: TcpListener,
    peers: Slots<Peer>,
    content: Content,
    scratch: Vec<u8>,
}

/// One connection.
struct Peer {
    socket: TcpStream,
    doing: Doing,
    watch: Watch,
    /// What came of a head, or waits to be echoed.
    kept: Vec<u8>,
    closes: bool,
}

enum Doing {
    Listening,
    Sending { left: u64 },
    Swallowing { left: u64 },
    SwallowingChunks,
    Holding,
    Echoing,
}

/// What becomes of a connection after a step.
#[derive(PartialEq, Eq)]
enum Next {
    /// There may be more to do at once.
    Again,
    Wait(Watch),
    Close,
}

impl Server {
    fn new(http: TcpListener, tcp: TcpListener) -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(&http, HTTP, Watch::Read)?;
        poller.add(&tcp, TCP, Watch::Read)?;
        Ok(Self {
            poller,
            ready: Vec::new(),
            http,
            tcp,
            peers: Slots::new(),
            content: Content::new()?,
            scratch: vec![0; content::SCRATCH_BYTES],
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(LOOK_EVERY, &mut ready)?;
        for one in &ready {
            match one.token {
                HTTP => self.accept(true),
                TCP => self.accept(false),
                token => self.serve(token),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn accept(&mut self, http: bool) {
        let listener = if http { &self.http } else { &self.tcp };
        // An error is "nobody now" or a caller that has gone again.
        while let Ok((socket, _)) = listener.accept() {
            if socket.set_nonblocking(true).is_err() || socket.set_nodelay(true).is_err() {
                continue;
            }
            let token = self.peers.insert(Peer {
                socket,
                doing: if http {
                    Doing::Listening
                } else {
                    Doing::Echoing
                },
                watch: Watch::Read,
                kept: Vec::new(),
                closes: false,
            });
            let added = self
                .peers
                .get_mut(token)
                .is_some_and(|peer| self.poller.add(&peer.socket, token, Watch::Read).is_ok());
            if !added {
                self.peers.remove(token);
            }
        }
    }

    fn serve(&mut self, token: u64) {
        let Some(peer) = self.peers.get_mut(token) else {
            return;
        };
        for _ in 0..STEPS_A_TURN {
            match peer.step(&self.content, &mut self.scratch) {
                Ok(Next::Again) => {}
                Ok(Next::Wait(watch)) => {
                    if watch != peer.watch {
                        peer.watch = watch;
                        if self.poller.change(&peer.socket, token, watch).is_err() {
                            self.peers.remove(token);
                        }
                    }
                    return;
                }
                Ok(Next::Close) | Err(_) => {
                    self.peers.remove(token);
                    return;
                }
            }
        }
        // It goes on in the next turn, behind the others. Bytes that were read already make no
        // readiness, room to write does.
        let sends = matches!(peer.doing, Doing::Sending { .. }) || !peer.kept.is_empty();
        let watch = if sends { Watch::Write } else { Watch::Read };
        if watch != peer.watch {
            peer.watch = watch;
            // A connection that cannot be watched any more is noticed by its other end.
            let _ = self.poller.change(&peer.socket, token, watch);
        }
    }
}

impl Peer {
    fn step(&mut self, content: &Content, scratch: &mut [u8]) -> io::Result<Next> {
        match self.doing {
            Doing::Listening => self.listen(scratch),
            Doing::Sending { left: 0 } => Ok(self.answered()),
            Doing::Sending { left } => {
                let sent = content.send(&self.socket, left)?;
                self.doing = Doing::Sending { left: left - sent };
                Ok(if sent == 0 {
                    Next::Wait(Watch::Write)
                } else {
                    Next::Again
                })
            }
            Doing::Swallowing { left: 0 } => {
                self.say(b"HTTP/1.1 204 No Content\r\n\r\n")?;
                Ok(self.answered())
            }
            Doing::Swallowing { left } => {
                match content::drop_received(&self.socket, left, scratch)? {
                    Received::Bytes(length) => {
                        self.doing = Doing::Swallowing {
                            left: left.saturating_sub(length),
                        };
                        Ok(Next::Again)
                    }
                    Received::NothingNow => Ok(Next::Wait(Watch::Read)),
                    Received::End => Ok(Next::Close),
                }
            }
            Doing::SwallowingChunks => match content::receive(&self.socket, scratch)? {
                Received::Bytes(length) => {
                    let length = usize::try_from(length).unwrap_or(0);
                    // The bodies sent here do not hold these bytes anywhere else.
                    if scratch
                        .get(..length)
                        .is_some_and(|bytes| bytes.ends_with(b"0\r\n\r\n"))
                    {
                        self.doing = Doing::Swallowing { left: 0 };
                    }
                    Ok(Next::Again)
                }
                Received::NothingNow => Ok(Next::Wait(Watch::Read)),
                Received::End => Ok(Next::Close),
            },
            Doing::Holding => match content::drop_received(&self.socket, u64::MAX, scratch)? {
                Received::End => Ok(Next::Close),
                Received::Bytes(_) | Received::NothingNow => Ok(Next::Wait(Watch::Read)),
            },
            Doing::Echoing => self.echo(scratch),
        }
    }

    fn listen(&mut self, scratch: &mut [u8]) -> io::Result<Next> {
        if head::read(&self.kept).is_none() {
            let room = scratch.get_mut(..HEAD_READ).unwrap_or_default();
            match content::receive(&self.socket, room)? {
                Received::Bytes(length) => {
                    let length = usize::try_from(length).unwrap_or(0);
                    self.kept
                        .extend_from_slice(room.get(..length).unwrap_or_default());
                }
                Received::NothingNow => return Ok(Next::Wait(Watch::Read)),
                Received::End => return Ok(Next::Close),
            }
        }
        let Some(head) = head::read(&self.kept) else {
            return Ok(if self.kept.len() > HEAD_MAX {
                Next::Close
            } else {
                Next::Again
            });
        };
        let mut rest = self.kept.split_off(head.bytes);
        std::mem::swap(&mut rest, &mut self.kept);
        let request = rest;
        self.closes = head.closes;
        let mut words = request.split(|byte| *byte == b' ');
        let target = words.nth(1).unwrap_or_default();
        // Whoever forwards may ask with the whole URL.
        let path = match memchr::memmem::find(target, b"://") {
            Some(at) => {
                let behind = target.get(at + 3..).unwrap_or_default();
                let slash = memchr::memchr(b'/', behind).unwrap_or(behind.len());
                behind.get(slash..).unwrap_or_default()
            }
            None => target,
        };
        if head.chunked {
            self.doing = Doing::SwallowingChunks;
        } else if let Some(length) = head.body.filter(|length| *length > 0) {
            let here = u64::try_from(self.kept.len()).unwrap_or(0).min(length);
            self.kept.drain(..usize::try_from(here).unwrap_or(0));
            self.doing = Doing::Swallowing {
                left: length - here,
            };
        } else {
            self.answer(path)?;
        }
        Ok(Next::Again)
    }

    fn answer(&mut self, path: &[u8]) -> io::Result<()> {
        let close = if self.closes {
            "Connection: close\r\n"
        } else {
            ""
        };
        if path == b"/1k" {
            let mut message =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {KILOBYTE}\r\n{close}\r\n")
                    .into_bytes();
            message.resize(message.len() + KILOBYTE, b'k');
            self.say(&message)?;
            self.doing = Doing::Sending { left: 0 };
            return Ok(());
        }
        if path == b"/hold" {
            self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nh")?;
            self.doing = Doing::Holding;
            return Ok(());
        }
        let length = path
            .strip_prefix(b"/bytes/")
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<u64>().ok());
        let Some(length) = length else {
            self.say(
                format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}\r\n").as_bytes(),
            )?;
            self.doing = Doing::Sending { left: 0 };
            return Ok(());
        };
        self.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n").as_bytes())?;
        self.doing = Doing::Sending { left: length };
        Ok(())
    }

    /// A head, or a head with a kilobyte, fits into the send buffer of a connection that has
    /// nothing else to send.
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    fn answered(&mut self) -> Next {
        if self.closes {
            return Next::Close;
        }
        self.doing = Doing::Listening;
        Next::Again
    }

    fn echo(&mut self, scratch: &mut [u8]) -> io::Result<Next> {
        while !self.kept.is_empty() {
            match self.socket.write(&self.kept) {
                Ok(sent) => drop(self.kept.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Next::Wait(Watch::Write));
                }
                Err(error) => return Err(error),
            }
        }
        let room = scratch.get_mut(..ECHO_READ).unwrap_or_default();
        let length = match self.socket.read(room) {
            Ok(0) => return Ok(Next::Close),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Memory that is not needed now: thousands of these may wait.
                self.kept = Vec::new();
                return Ok(Next::Wait(Watch::Read));
            }
            Err(error) => return Err(error),
        };
        let bytes = room.get(..length).unwrap_or_default();
        let sent = match self.socket.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.kept
            .extend_from_slice(bytes.get(sent..).unwrap_or_default());
        // A short read: the rest of this turn belongs to the others.
        Ok(if self.kept.is_empty() && length < ECHO_READ {
            Next::Wait(Watch::Read)
        } else {
            Next::Again
        })
    }
}

/// How its threads are called.
pub(crate) const THREAD_NAME: &str = "backend";
const KILOBYTE: usize = 1024;
const HTTP: u64 = u64::MAX - 1;
const TCP: u64 = u64::MAX - 2;
const BACKLOG: i32 = 4096;
const HEAD_READ: usize = 16 * 1024;
const HEAD_MAX: usize = 64 * 1024;
const ECHO_READ: usize = 64 * 1024;
/// So that one bulk transfer does not keep the others waiting.
const STEPS_A_TURN: usize = 8;
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend::start(1, &Places::new(false).unwrap()).unwrap()
    }

    fn ask(address: SocketAddr, request: &str) -> Vec<u8> {
        let mut socket = TcpStream::connect(address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_kilobyte_is_1024_bytes() {
        let backend = backend();
        let answer = ask(
            backend.http,
            "GET /1k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let head = head::read(&answer).unwrap();
        assert_eq!((head.status, head.body), (200, Some(1024)));
        assert_eq!(answer.len() - head.bytes, 1024);
    }

    #[test]
    fn as_many_bytes_come_as_were_asked_for() {
        let backend = backend();
        let request =
            "GET http://x.virtual/bytes/3000001 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = ask(backend.http, request);
        let head = head::read(&answer).unwrap();
        assert_eq!(answer.len() - head.bytes, 3_000_001);
    }

    #[test]
    fn an_upload_is_swallowed_and_the_connection_stays() {
        let backend = backend();
        let mut request =
            "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n".to_owned();
        request.push_str(&"x".repeat(70_000));
        request.push_str("GET /1k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = ask(backend.http, &request);
        let first = head::read(&answer).unwrap();
        assert_eq!(first.status, 204);
        assert_eq!(head::read(&answer[first.bytes..]).unwrap().status, 200);
    }

    #[test]
    fn the_tcp_port_sends_back_what_it_gets() {
        let backend = backend();
        let mut socket = TcpStream::connect(backend.tcp).unwrap();
        socket.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    }
}
