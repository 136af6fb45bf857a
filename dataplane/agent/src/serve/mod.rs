//! One stream from its first byte to its last: what it asks for, and the answer.
//!
//! The gateway is a stranger here: what it says is parsed again, and a stream for another subaccount
//! than ours is refused. What may be reached is `enforce`'s, how it is carried [`http`]'s and [`opaque`]'s.

mod http;
mod opaque;

use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use adit_policy::{Permit, Request};
use adit_proto::DecodeError;
use adit_proto::connect::{Protocol, Request as Connect, RequestId, Response};
use adit_proto::http::{HeadError, Limits, RequestHead};
use adit_proto::refusal::Refusal;
use adit_relay::gather::{self, Gathered};
use adit_runtime::clock;
use adit_runtime::pace::yield_now;
use adit_transport::piece::{copy_out, total};
use adit_transport::{Piece, Received, Stream};

use crate::backend::dial::Dialled;
use crate::enforce::InForce;
use crate::limits::OPENING_WAIT;
use crate::live::{Entered, Judged};
use crate::shard::Shard;
use crate::trace::Steps;

/// Serves one stream that the gateway opened.
pub(crate) fn run(shard: Rc<Shard>, stream: Stream) -> impl Future<Output = ()> {
    async move {
        let _busy = shard.busy();
        let mut pieces = VecDeque::new();
        // Held only while it lasts: what it leaves behind may be a conversation that is quiet for hours.
        let ended = match Box::pin(begin(&shard, &stream, &mut pieces)).await {
            Begun::Ended(ended) => ended,
            Begun::Conversation(conversation) => {
                conversation.carry(&shard, &stream, &mut pieces).await
            }
        };
        match ended {
            Ended::Finished => linger(&stream, &mut pieces).await,
            Ended::Broken => {
                // A reset drops what is queued: what the backend said before it broke off leaves first.
                yield_now().await;
                stream.reset();
            }
        }
    }
}

/// How far a stream came in one go.
enum Begun {
    Ended(Ended),
    /// Its backend is connected; bytes may be carried.
    Conversation(Box<opaque::Conversation>),
}

async fn begin(shard: &Rc<Shard>, stream: &Stream, pieces: &mut VecDeque<Piece>) -> Begun {
    let mut front = Vec::new();
    let opening = gather::from_stream(stream, pieces, &mut front, Opening::parse);
    let opening = adit_runtime::timer::timeout(OPENING_WAIT, opening).await;
    Begun::Ended(match opening {
        Ok(Ok(opening)) => {
            let asked = Asked { front, opening };
            return serve(shard, stream, pieces, Rc::new(asked)).await;
        }
        Ok(Err(Gathered::Refused(unreadable))) => {
            tracing::debug!(%unreadable, "stream refused");
            refuse(shard, stream, unreadable.refusal()).await
        }
        // Ended or broken before it said what it is for: nobody to answer.
        Ok(Err(_)) => Ended::Broken,
        Err(_elapsed) => refuse(shard, stream, Refusal::HeaderTimeout).await,
    })
}

async fn serve(
    shard: &Rc<Shard>,
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: Rc<Asked>,
) -> Begun {
    let Some(connect) = asked.connect() else {
        return Begun::Ended(refuse(shard, stream, Refusal::ProtocolError).await);
    };
    if connect.subaccount != shard.shared.subaccount {
        let gateway = stream.link().peer().welcome.gateway;
        shard.shared.journal.record(
            "stream-refused",
            &format!(
                "gateway `{gateway}` sent a request of subaccount `{}`; this agent serves `{}` only",
                connect.subaccount, shard.shared.subaccount
            ),
            clock::unix_now(),
        );
        return Begun::Ended(refuse(shard, stream, Refusal::ProtocolError).await);
    }
    match &asked.opening.head {
        Some(head) => Begun::Ended(http::serve(shard, stream, pieces, &asked, connect, head).await),
        None => match opaque::serve(shard, stream, pieces, &asked, connect).await {
            Ok(conversation) => Begun::Conversation(conversation),
            Err(ended) => Begun::Ended(ended),
        },
    }
}

/// How the serving of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All was said that there was to say; our direction has ended.
    Finished,
    /// It broke, or must break: the other side shall not take a part for the whole.
    Broken,
}

/// How far work under a permit came.
enum Progress<T> {
    Done(T),
    /// The rules changed and no longer grant it.
    Withdrawn,
    /// The other side gave up, or its tunnel ended.
    BrokenOff,
}

// Does `work` as long as the stream lives and the permit holds.
fn while_granted<T>(
    stream: &Stream,
    entered: &Entered<Asked>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Progress<T>> {
    async move {
        let mut broken = pin!(stream.broken_off());
        let mut withdrawn = pin!(entered.withdrawn());
        std::future::poll_fn(|cx| {
            if broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Progress::BrokenOff);
            }
            if withdrawn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Progress::Withdrawn);
            }
            work.as_mut().poll(cx).map(Progress::Done)
        })
        .await
    }
}

// Dials; that may take seconds, and neither what has come behind the head nor what comes meanwhile may keep the
// tunnel's blocks from being used again.
async fn dial(
    shard: &Shard,
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    permit: &Permit,
    in_force: &InForce,
    id: RequestId,
    steps: &Steps,
) -> Result<Dialled, Refusal> {
    copy_out(pieces);
    stream.stall(true);
    let dialled = shard.dial(permit, in_force, id).await;
    stream.stall(false);
    match dialled {
        Ok(dialled) => {
            steps.dialled(dialled.address);
            Ok(dialled)
        }
        Err(error) => {
            steps.failed(error.refusal, &error.detail);
            Err(error.refusal)
        }
    }
}

// Says no, in the gateway's grammar. The reason is from the closed list; names and addresses stay here.
async fn refuse(shard: &Shard, stream: &Stream, refusal: Refusal) -> Ended {
    shard.counters.refused(refusal);
    let mut answer = Vec::with_capacity(8);
    Response::Refused {
        refusal,
        detail: String::new(),
    }
    .encode(&mut answer);
    match stream.send_bytes(&answer, true).await {
        Ok(()) => Ended::Finished,
        Err(_) => Ended::Broken,
    }
}

// Waits until the other side has ended as well: a stream that is dropped earlier is reset, and a reset
// overtakes the answer. What still comes is dropped and its credit kept, so that an upload nobody reads
// stops by itself.
async fn linger(stream: &Stream, pieces: &mut VecDeque<Piece>) {
    let mut dropped = 0;
    loop {
        dropped += total(pieces);
        pieces.clear();
        match stream.receive(pieces).await {
            Ok(Received::Data) => {}
            Ok(_) | Err(_) => break,
        }
    }
    stream.consumed(dropped);
}

/// What a stream asks for, in the bytes it came in.
#[derive(Debug)]
pub(crate) struct Asked {
    // The connect request, what follows it as far as it was gathered.
    front: Vec<u8>,
    opening: Opening,
}

/// Where the parts of a stream's front are.
#[derive(Debug)]
struct Opening {
    connect_bytes: usize,
    // Of an HTTP request. A conversation may be long, and has none.
    head: Option<Box<RequestHead>>,
}

/// A stream's front is not what a gateway of ours writes.
#[derive(Debug)]
enum Unreadable {
    Connect(DecodeError),
    Protocol,
    Head(HeadError),
}

impl Unreadable {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(_) | Self::Protocol => Refusal::ProtocolError,
            Self::Head(error) => error.refusal(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Protocol => {
                f.write_str("the stream is for a protocol this agent does not know; update it")
            }
            Self::Head(error) => error.fmt(f),
        }
    }
}

impl Opening {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let Some((connect, connect_bytes)) = Connect::decode(bytes).map_err(Unreadable::Connect)?
        else {
            return Ok(None);
        };
        let head = match connect.protocol {
            Protocol::Tcp => None,
            Protocol::Http => {
                let message = bytes.get(connect_bytes..).unwrap_or_default();
                match RequestHead::parse(message, &Limits::TUNNELLED).map_err(Unreadable::Head)? {
                    Some(head) => Some(Box::new(head)),
                    None => return Ok(None),
                }
            }
            _ => return Err(Unreadable::Protocol),
        };
        Ok(Some(Self {
            connect_bytes,
            head,
        }))
    }
}

impl Asked {
    // Decoded anew instead of kept: it borrows.
    fn connect(&self) -> Option<Connect<'_>> {
        let decoded = Connect::decode(&self.front).ok()?;
        decoded.map(|(connect, _)| connect)
    }

    fn request_of<'a>(&'a self, connect: &Connect<'a>) -> Request<'a> {
        let (host, port) = (connect.host, connect.port);
        match &self.opening.head {
            None => Request::Tcp { host, port },
            Some(head) => {
                let message = self.message();
                Request::Http {
                    host,
                    port,
                    method: head.method(message),
                    path: head.path(message),
                    upgrade: head.upgrade,
                }
            }
        }
    }

    // What follows the connect request.
    fn message(&self) -> &[u8] {
        self.front
            .get(self.opening.connect_bytes..)
            .unwrap_or_default()
    }
}

impl Judged for Asked {
    fn request(&self) -> Option<Request<'_>> {
        Some(self.request_of(&self.connect()?))
    }
}

#[cfg(test)]
mod tests;
