//! rustls over a socket that does not block, as the yamux crate wants its transport.
//!
//! Nothing wakes a task here: whoever waits is polled again after a breath, which is all that a test
//! needs.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_tests::tunnel::Peer;
use futures::{AsyncRead, AsyncWrite};
use rustls::Connection;

/// The transport of one tunnel.
#[derive(Debug)]
pub(crate) struct Pipe {
    tls: Connection,
    socket: TcpStream,
    // Plaintext that came with the greetings.
    front: Vec<u8>,
}

/// Ends when `over` says so; until then everything else has its turns.
pub(crate) async fn turns_until(mut over: impl FnMut() -> bool) {
    futures::future::poll_fn(|cx| {
        if over() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Pipe {
    /// A tunnel whose greetings were exchanged.
    pub(crate) fn over(peer: Peer) -> Self {
        let (tls, socket, front) = peer.into_parts();
        socket
            .set_nonblocking(true)
            .expect("a socket can be told not to block");
        Self { tls, socket, front }
    }

    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

fn later<T>(cx: &Context<'_>) -> Poll<io::Result<T>> {
    cx.waker().wake_by_ref();
    // A breath, so that waiting does not cost a core.
    std::thread::sleep(Duration::from_micros(100));
    Poll::Pending
}

fn or_later<T>(outcome: io::Result<T>, cx: &Context<'_>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => later(cx),
        outcome => Poll::Ready(outcome),
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.front.is_empty() {
            let n = this.front.len().min(into.len());
            into[..n].copy_from_slice(&this.front[..n]);
            this.front.drain(..n);
            return Poll::Ready(Ok(n));
        }
        loop {
            match this.tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            match this.tls.read_tls(&mut this.socket) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(_) => {
                    this.tls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) => return or_later(Err(error), cx),
            }
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.tls.writer().write(from) {
            // rustls holds as much as it will until some of it is gone.
            Ok(0) => match self.push() {
                Ok(()) => later(cx),
                Err(error) => or_later(Err(error), cx),
            },
            Ok(n) => match self.push() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(n)),
            },
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.push();
        or_later(outcome, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        let outcome = self.push();
        or_later(outcome, cx)
    }
}
