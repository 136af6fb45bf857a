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
    /// Never ends when bytes wait to be read.
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
                Ok(_) => return std::future::pending().await,
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
