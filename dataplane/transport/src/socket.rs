//! A TCP socket of one shard: the driver says when, plain system calls carry the bytes.
//!
//! Readiness comes from the shard's ring (or epoll); reading and writing are direct, non-blocking
//! scatter and gather calls, so no buffer is ever lent to the kernel beyond a call and both drivers
//! behave alike. The one `unsafe` of the byte path is here: borrowing the descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use adit_runtime::{clock, pace, timer};
use monoio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use socket2::{SockRef, TcpKeepalive};

use crate::wire::Wire;

/// A connected TCP socket that lives on this thread's shard.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

/// What a socket is used for; decides its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leg {
    /// Between gateway and agent: many streams share it.
    Tunnel,
    /// To an application or a backend: one conversation.
    Local,
}

impl Socket {
    /// Takes a connected socket over to this shard.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn from_std(socket: std::net::TcpStream, leg: Leg) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        prepare(&SockRef::from(&socket), leg)?;
        Ok(Self {
            stream: TcpStream::from_std(socket)?,
        })
    }

    /// Takes over a connection from a listener of this shard that was [`prepare`]d.
    ///
    /// # Errors
    /// When an option cannot be set; the peer is gone then.
    pub(crate) fn accepted(stream: TcpStream, leg: Leg) -> io::Result<Self> {
        let socket = Self { stream };
        match leg {
            // Few and precious.
            Leg::Tunnel => prepare(&SockRef::from(&socket.descriptor()), leg)?,
            // What the listener has was inherited (Linux copies the listening socket).
            Leg::Local => {}
        }
        Ok(socket)
    }

    /// Connects to `address` within `limit`.
    ///
    /// # Errors
    /// What the kernel says, or `TimedOut`.
    pub async fn connect(address: SocketAddr, limit: Duration, leg: Leg) -> io::Result<Self> {
        match timer::timeout(limit, TcpStream::connect_addr(address)).await {
            Ok(stream) => {
                let socket = Self { stream: stream? };
                prepare(&SockRef::from(&socket.descriptor()), leg)?;
                Ok(socket)
            }
            Err(_elapsed) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {} ms", limit.as_millis()),
            )),
        }
    }

    /// The socket as something that another shard can take over.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn detach(&self) -> io::Result<std::net::TcpStream> {
        // A duplicate: an operation of ours may still be on its way to the ring with the original,
        // which the driver closes once that has ended.
        let descriptor: OwnedFd = rustix::io::fcntl_dupfd_cloexec(self.descriptor(), 0)?;
        Ok(std::net::TcpStream::from(descriptor))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Looks at what waits without taking it: bytes seen, 0 for the peer's end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; anything else ends the connection.
    pub fn peek(&self) -> io::Result<usize> {
        let mut one = [0_u8; 1];
        let (_, seen) = rustix::net::recv(
            self.descriptor(),
            one.as_mut_slice(),
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        )?;
        Ok(seen)
    }

    /// Whether the other end has not left. [`peek`](Self::peek) tells of that only when nothing waits before it.
    ///
    /// # Errors
    /// `ConnectionAborted` when it has ended its direction, anything else when the connection is gone.
    pub(crate) fn still_there(&self) -> io::Result<()> {
        let descriptor = self.descriptor();
        let mut asked = [PollFd::new(&descriptor, PollFlags::RDHUP)];
        rustix::event::poll(&mut asked, Some(&Timespec::default()))?;
        let [asked] = asked;
        let said = asked.revents();
        // First: who has reset the connection has ended his direction too.
        if said.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if said.contains(PollFlags::RDHUP) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Whether a write would take something, or say what is wrong.
    fn has_room(&self) -> io::Result<bool> {
        let descriptor = self.descriptor();
        let mut asked = [PollFd::new(&descriptor, PollFlags::OUT)];
        Ok(rustix::event::poll(&mut asked, Some(&Timespec::default()))? > 0)
    }

    #[expect(
        unsafe_code,
        reason = "monoio hands out its descriptor as a number only"
    )]
    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: `self.stream` owns the descriptor and closes it only when dropped, which the
        // borrow of `self` in the return type rules out.
        unsafe { BorrowedFd::borrow_raw(self.stream.as_raw_fd()) }
    }
}

/// Sets the options of a connection, or of a listener for those that it accepts.
///
/// # Errors
/// What the kernel says.
pub(crate) fn prepare(socket: &SockRef<'_>, leg: Leg) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    match leg {
        Leg::Tunnel => {
            // Small frames overtake bulk only while bulk is still ours to order: what lies in
            // the kernel unsent is beyond the scheduler.
            socket.set_tcp_notsent_lowat(TUNNEL_UNSENT_BYTES)?;
            socket.set_tcp_user_timeout(Some(TUNNEL_USER_TIMEOUT))
        }
        Leg::Local => socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(LOCAL_KEEPALIVE)
                .with_interval(LOCAL_KEEPALIVE_INTERVAL)
                .with_retries(LOCAL_KEEPALIVE_PROBES),
        ),
    }
}

impl Wire for Socket {
    fn try_read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            // One buffer, as with every small request, goes by the shorter call.
            let read = if let [only] = &mut *into {
                rustix::net::recv(self.descriptor(), &mut **only, RecvFlags::DONTWAIT)
                    .map(|(_, bytes)| bytes)
            } else {
                rustix::net::recvmsg(
                    self.descriptor(),
                    into,
                    &mut RecvAncillaryBuffer::default(),
                    RecvFlags::DONTWAIT,
                )
                .map(|message| message.bytes)
            };
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn try_write(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = if let [only] = from {
                rustix::net::send(self.descriptor(), only, flags)
            } else {
                rustix::net::sendmsg(
                    self.descriptor(),
                    from,
                    &mut SendAncillaryBuffer::default(),
                    flags,
                )
            };
            match sent {
                Ok(sent) => return Ok(sent),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    // `relaxed = false`: on epoll monoio then asks poll(2) once, which also corrects a readiness
    // that our direct calls have used up.
    async fn readable(&self) -> io::Result<()> {
        pace::step().await;
        let ready = self.stream.readable(false).await;
        clock::woken();
        ready
    }

    async fn writable(&self) -> io::Result<()> {
        pace::step().await;
        let ready = self.stream.writable(false).await;
        clock::woken();
        ready?;
        // A ring adds EPOLLRDHUP to what it is asked for, and so says "ready" at once, for ever, when the peer has
        // finished sending. Who has finished and takes nothing is rare enough to be looked at now and then.
        while !self.has_room()? {
            timer::sleep(FINISHED_PEER_LOOK).await;
            clock::woken();
        }
        Ok(())
    }

    async fn finish(&self) -> io::Result<()> {
        match rustix::net::shutdown(self.descriptor(), Shutdown::Write) {
            // The peer was faster.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn abort(&self) {
        // Best effort: a connection that is gone needs no RST.
        let _ = SockRef::from(&self.descriptor()).set_linger(Some(Duration::ZERO));
    }
}

/// Unsent bytes that may wait in the kernel for a tunnel.
const TUNNEL_UNSENT_BYTES: u32 = 256 * 1024;
/// A tunnel whose sent bytes nobody acknowledges for this long is dead, also when the peer's own
/// keepalive is lost in the same hole; just above the multiplexer's own limit of 9 s.
const TUNNEL_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP keepalive of local connections: idle time, interval and probes until a vanished peer is noticed.
const LOCAL_KEEPALIVE: Duration = Duration::from_secs(60);
const LOCAL_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const LOCAL_KEEPALIVE_PROBES: u32 = 4;

/// How often a socket whose peer has finished sending is looked at while it is full: each time a third of its
/// buffer or more has room.
const FINISHED_PEER_LOOK: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use adit_runtime::shard::{Driver, choose, run_here};

    fn on_both_drivers(test: impl AsyncFn()) {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            run_here(driver, test()).unwrap();
        }
    }

    async fn pair() -> (Socket, Socket) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let one = Socket::connect(address, Duration::from_secs(5), Leg::Local)
            .await
            .unwrap();
        let (other, _) = listener.accept().unwrap();
        (one, Socket::from_std(other, Leg::Local).unwrap())
    }

    fn fill(one: &Socket) {
        let chunk = [0; 64 * 1024];
        while one.try_write(&[IoSlice::new(&chunk)]).is_ok() {}
    }

    fn read_all(mut from: std::net::TcpStream, later: Duration) -> std::thread::JoinHandle<()> {
        from.set_nonblocking(false).unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(later);
            let mut chunk = vec![0; 64 * 1024];
            while from.read(&mut chunk).unwrap() > 0 {}
        })
    }

    #[test]
    fn an_empty_socket_would_block_and_wakes_its_reader() {
        on_both_drivers(async || {
            let (one, other) = pair().await;
            let mut bytes = [0_u8; 8];
            let error = one
                .try_read(&mut [IoSliceMut::new(&mut bytes)])
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            other.write_all(b"late").await.unwrap();
            assert_eq!(one.read(&mut bytes).await.unwrap(), 4);
        });
    }

    #[test]
    fn whoever_waited_for_a_socket_finds_the_clock_read_anew() {
        const LATER: Duration = Duration::from_millis(30);
        on_both_drivers(async || {
            let (one, other) = pair().await;
            let far = other.detach().unwrap();
            let begun = clock::now();
            let writing = std::thread::spawn(move || {
                std::thread::sleep(LATER);
                (&far).write_all(b"late").unwrap();
                far
            });
            one.readable().await.unwrap();
            assert!(clock::recent() - begun >= LATER, "readable");
            let far = writing.join().unwrap();

            fill(&one);
            let begun = clock::now();
            let reading = read_all(far, LATER);
            one.writable().await.unwrap();
            assert!(clock::recent() - begun >= LATER, "writable");
            one.finish().await.unwrap();
            reading.join().unwrap();
        });
    }

    #[test]
    fn a_peer_that_has_finished_sending_makes_no_room_in_a_full_socket() {
        on_both_drivers(async || {
            let (one, other) = pair().await;
            other.finish().await.unwrap();
            let far = other.detach().unwrap();
            fill(&one);
            let early = timer::timeout(Duration::from_millis(100), one.writable()).await;
            assert!(early.is_err(), "full: {early:?}");
            let reading = read_all(far, Duration::ZERO);
            one.writable().await.unwrap();
            assert!(one.try_write(&[IoSlice::new(b"more")]).is_ok());
            one.finish().await.unwrap();
            reading.join().unwrap();
        });
    }

    // monoio 0.2.4's `write_vectored_all` is wrong after a partial write; ours is a loop over a
    // cursor. This pins the loop with a peer whose window is smaller than the message.
    #[test]
    fn a_gather_write_that_is_cut_by_the_window_loses_nothing() {
        on_both_drivers(async || {
            let (one, other) = pair().await;
            let whole: Vec<u8> = (0..8_000_000_u32)
                .map(|n| u8::try_from(n % 251).unwrap())
                .collect();
            let expected = whole.clone();
            let mut socket = other.detach().unwrap();
            drop(other);
            let reader = std::thread::spawn(move || {
                use std::io::Read;
                let mut read = Vec::new();
                socket.set_nonblocking(false).unwrap();
                socket.read_to_end(&mut read).unwrap();
                assert!(read == expected, "bytes differ");
            });
            let mut at = 0;
            while at < whole.len() {
                let pieces: Vec<IoSlice<'_>> = whole[at..]
                    .chunks(70_000)
                    .take(64)
                    .map(IoSlice::new)
                    .collect();
                match one.try_write(&pieces) {
                    Ok(n) => at += n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        one.writable().await.unwrap()
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            one.finish().await.unwrap();
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_detached_socket_lives_on_another_thread() {
        on_both_drivers(async || {
            let (one, other) = pair().await;
            let detached = other.detach().unwrap();
            drop(other);
            std::thread::spawn(move || {
                run_here(Driver::Epoll, async move {
                    let moved = Socket::from_std(detached, Leg::Local).unwrap();
                    moved.write_all(b"moved").await.unwrap();
                })
                .unwrap();
            });
            let mut bytes = [0_u8; 8];
            assert_eq!(one.read(&mut bytes).await.unwrap(), 5);
        });
    }
}
