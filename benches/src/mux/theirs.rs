//! Two connections of the `yamux` crate on a local pool, with its default settings.
//!
//! As a program would write it: a task for each end that drives it, woken when its pipe has bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::channel::mpsc;
use futures::executor::LocalPool;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::stream::StreamExt;
use futures::task::LocalSpawnExt;
use yamux::{Config, Connection, Mode, Stream};

use super::{FRAMES, STREAMS, WORDS, payload};
use crate::case::Work;
use crate::pipe::Pipe;

/// One direction, and who waits for its bytes.
#[derive(Default)]
struct Direction {
    pipe: Pipe,
    reader: Option<Waker>,
}

struct Socket {
    incoming: Rc<RefCell<Direction>>,
    outgoing: Rc<RefCell<Direction>>,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.pipe.is_empty() {
            incoming.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(incoming.pipe.read(buffer)))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.pipe.write(bytes);
        if let Some(reader) = outgoing.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Both ends, driven by tasks of the pool.
struct Pair {
    pool: LocalPool,
    near: Rc<RefCell<Connection<Socket>>>,
    /// Streams that came to the far end.
    inbound: mpsc::UnboundedReceiver<Stream>,
}

impl Pair {
    fn new() -> Self {
        let up = Rc::new(RefCell::new(Direction::default()));
        let down = Rc::new(RefCell::new(Direction::default()));
        let near = Socket {
            incoming: Rc::clone(&down),
            outgoing: Rc::clone(&up),
        };
        let far = Socket {
            incoming: up,
            outgoing: down,
        };
        let near = Connection::new(near, Config::default(), Mode::Client);
        let near = Rc::new(RefCell::new(near));
        let mut far = Connection::new(far, Config::default(), Mode::Server);
        let (came, inbound) = mpsc::unbounded();
        let pool = LocalPool::new();
        let driven = Rc::clone(&near);
        let drive_near = async move {
            let next = || poll_fn(|cx| driven.borrow_mut().poll_next_inbound(cx));
            while next().await.is_some() {}
        };
        let drive_far = async move {
            while let Some(Ok(stream)) = poll_fn(|cx| far.poll_next_inbound(cx)).await {
                if came.unbounded_send(stream).is_err() {
                    return;
                }
            }
        };
        let spawner = pool.spawner();
        spawner.spawn_local(drive_near).expect("the pool is there");
        spawner.spawn_local(drive_far).expect("the pool is there");
        Self {
            pool,
            near,
            inbound,
        }
    }
}

async fn open(connection: &RefCell<Connection<Socket>>) -> Stream {
    poll_fn(|cx| connection.borrow_mut().poll_new_outbound(cx))
        .await
        .expect("a stream can be opened")
}

struct Exchange {
    pair: Pair,
    near: Stream,
    far: Stream,
    bytes: usize,
    buffer: Vec<u8>,
}

/// One stream; what is written at one end is read at the other.
pub(super) fn exchange(bytes: usize) -> Box<dyn Work> {
    let mut pair = Pair::new();
    let connection = Rc::clone(&pair.near);
    let inbound = &mut pair.inbound;
    let (near, far) = pair.pool.run_until(async {
        let mut near = open(&connection).await;
        near.write_all(payload(1)).await.expect("the pipe is open");
        let mut far = inbound.next().await.expect("the stream comes");
        far.read_exact(&mut [0]).await.expect("its byte comes");
        (near, far)
    });
    Box::new(Exchange {
        pair,
        near,
        far,
        bytes,
        buffer: vec![0; bytes],
    })
}

impl Work for Exchange {
    fn run(&mut self) {
        let Self {
            pair,
            near,
            far,
            bytes,
            buffer,
        } = self;
        let write = async {
            for _ in 0..FRAMES {
                near.write_all(payload(*bytes))
                    .await
                    .expect("the pipe is open");
            }
        };
        let read = async {
            for _ in 0..FRAMES {
                far.read_exact(buffer).await.expect("the pipe is open");
            }
        };
        pair.pool.run_until(futures::future::join(write, read));
    }
}

struct Streams {
    pair: Pair,
}

/// Streams from opening to end, one after the other.
pub(super) fn streams() -> Box<dyn Work> {
    let mut pair = Pair::new();
    let (_, nobody) = mpsc::unbounded();
    let mut inbound = std::mem::replace(&mut pair.inbound, nobody);
    let answer = async move {
        let mut buffer = [0; WORDS + 1];
        while let Some(mut stream) = inbound.next().await {
            hear(&mut stream, &mut buffer).await;
            stream
                .write_all(payload(WORDS))
                .await
                .expect("the pipe is open");
            stream.close().await.expect("the pipe is open");
        }
    };
    let spawner = pair.pool.spawner();
    spawner.spawn_local(answer).expect("the pool is there");
    Box::new(Streams { pair })
}

impl Work for Streams {
    fn run(&mut self) {
        let connection = &self.pair.near;
        self.pair.pool.run_until(async {
            let mut buffer = [0; WORDS + 1];
            for _ in 0..STREAMS {
                let mut stream = open(connection).await;
                stream
                    .write_all(payload(WORDS))
                    .await
                    .expect("the pipe is open");
                stream.close().await.expect("the pipe is open");
                hear(&mut stream, &mut buffer).await;
            }
        });
    }
}

/// Reads to the end, which must come behind [`WORDS`] bytes.
async fn hear(stream: &mut Stream, buffer: &mut [u8]) {
    let mut heard = 0;
    loop {
        let length = stream.read(buffer).await.expect("the pipe is open");
        if length == 0 {
            break;
        }
        heard += length;
    }
    assert_eq!(heard, WORDS, "all was said");
}
