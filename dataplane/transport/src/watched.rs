//! A socket whose wait for readability outlives the one who asked for it.
//!
//! A door waits for the next request, and while a response is under way it watches whether the
//! application is still there: both are the same wait, armed once with the driver and kept.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::socket::Socket;
use crate::wire::Wire;

type Armed = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// See the module.
pub struct Watched {
    socket: Rc<Socket>,
    armed: RefCell<Option<Armed>>,
    patience: Cell<Option<Duration>>,
}

impl Watched {
    /// Watches `socket` from the first wait on.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self {
            socket: Rc::new(socket),
            armed: RefCell::new(None),
            patience: Cell::new(None),
        }
    }

    /// From here on a wait for readability that lasts longer than `limit` is an error (`TimedOut`);
    /// `None` waits for ever.
    pub fn be_patient(&self, limit: Option<Duration>) {
        self.patience.set(limit);
    }

    async fn armed(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            let mut armed = self.armed.borrow_mut();
            let wait = armed.get_or_insert_with(|| {
                let socket = Rc::clone(&self.socket);
                Box::pin(async move { socket.readable().await })
            });
            match wait.as_mut().poll(cx) {
                Poll::Ready(outcome) => {
                    *armed = None;
                    Poll::Ready(outcome)
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until the other end is gone: broken off, or its direction ended (FIN). Somebody who has
    /// asked and then ends his direction is a client that gave up, as nginx and Envoy take it too.
    /// While bytes wait to be read, that is looked for once a second.
    pub async fn gone(&self) -> io::Error {
        loop {
            if let Err(error) = self.readable().await {
                return error;
            }
            match self.socket.peek() {
                // The wait was armed for bytes that somebody has taken since.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
                Ok(0) => {
                    return io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "closed by the client",
                    );
                }
                // The socket is readable and stays so: no wait for that would tell of more. Who sends a byte that
                // nobody reads, and leaves, must not count as one who is still there. Not looked at before the first
                // second is over: whoever sends several requests and then ends his direction gets what is answered soon.
                Ok(_) => {
                    adit_runtime::timer::sleep(UNREAD_LOOK).await;
                    if let Err(error) = self.socket.still_there() {
                        return error;
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watched({:?})", self.socket)
    }
}

impl Wire for Watched {
    fn try_read(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_read(into)
    }

    fn try_write(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write(from)
    }

    async fn readable(&self) -> io::Result<()> {
        let Some(limit) = self.patience.get() else {
            return self.armed().await;
        };
        match adit_runtime::timer::timeout(limit, self.armed()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no byte within {} s", limit.as_secs()),
            )),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    async fn finish(&self) -> io::Result<()> {
        self.socket.finish().await
    }

    fn abort(&self) {
        self.socket.abort();
    }
}

/// How often somebody whose bytes wait unread is looked at: as often as limits of seconds need, and what that costs is
/// nothing beside a request.
const UNREAD_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use adit_runtime::shard::{Driver, choose, run_here};
    use adit_runtime::timer::timeout;

    use super::*;
    use crate::socket::Leg;

    const LONG: Duration = Duration::from_secs(10);

    // Watched, with a byte that nobody has read; and its other end.
    async fn with_a_byte() -> (Watched, Socket) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = Socket::connect(address, LONG, Leg::Local).await.unwrap();
        let (accepted, _) = listener.accept().unwrap();
        other.write_all(b"x").await.unwrap();
        let watched = Watched::new(Socket::from_std(accepted, Leg::Local).unwrap());
        watched.readable().await.unwrap();
        (watched, other)
    }

    fn on_both_drivers(test: impl AsyncFn()) {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            run_here(driver, test()).unwrap();
        }
    }

    #[test]
    fn whoever_sends_a_byte_that_nobody_reads_and_leaves_is_gone() {
        on_both_drivers(async || {
            let (watched, other) = with_a_byte().await;
            other.abort();
            drop(other);
            let error = timeout(LONG, watched.gone()).await.expect("reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

            let (watched, other) = with_a_byte().await;
            other.finish().await.unwrap();
            let error = timeout(LONG, watched.gone()).await.expect("ended");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            assert_eq!(watched.read(&mut [0; 8]).await.unwrap(), 1);
        });
    }

    #[test]
    fn somebody_who_leaves_while_his_byte_is_watched_is_gone() {
        on_both_drivers(async || {
            let (watched, other) = with_a_byte().await;
            let stays = timeout(Duration::from_millis(100), watched.gone()).await;
            assert!(stays.is_err(), "it is still there: {stays:?}");
            let far = other.detach().unwrap();
            drop(other);
            let leaving = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                drop(far);
            });
            let error = timeout(LONG, watched.gone()).await.expect("it has left");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
            leaving.join().unwrap();
        });
    }
}
