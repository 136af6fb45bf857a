//! From a caller to a stream: what all doors of applications share.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::connect::{Protocol, Request, RequestId, Response};
use adit_proto::refusal::Refusal;
use adit_relay::duplex::duplex;
use adit_relay::gather::{self, Gathered};
use adit_runtime::clock;
use adit_runtime::drain::Phase;
use adit_runtime::local::{Either, either};
use adit_transport::Link;
use adit_transport::link::OpenRefused;
use adit_transport::{Piece, Stream, StreamError, Watched, Wire};

use crate::directory::{Busy, Entry};
use crate::limits::HALF_CLOSED_LIMIT;
use crate::shard::Shard;
use crate::trace::Steps;

/// Where the next stream of a caller goes.
pub(crate) enum Route {
    /// On a tunnel of this shard.
    Here(Rc<Link>, Arc<Entry>),
    /// On a tunnel of that shard: the connection must be moved.
    Shard(usize),
    /// Nowhere.
    Nowhere,
}

/// A stream and its share in the tunnel's load.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) _busy: Busy,
}

/// A stream whose backend is connected: from here on bytes are carried, and nothing of what was asked is held. It may be
/// quiet for hours.
pub(crate) struct Conversation {
    pub(crate) opened: Opened,
    /// Of the stream, received already.
    pub(crate) pieces: VecDeque<Piece>,
}

impl Conversation {
    /// Carries both directions until both have ended, or one breaks. Either side may do that as it likes.
    pub(crate) fn carry<W: Wire>(&mut self, wire: &W) -> impl Future<Output = ()> {
        async move {
            let _ = duplex(&self.opened.stream, &mut self.pieces, wire).await;
        }
    }
}

/// Finds the tunnel for a new stream. `only_here` keeps a connection from being moved twice.
pub(crate) fn route(
    shard: &Shard,
    subaccount: &str,
    location: &str,
    only_here: bool,
    except: Option<u64>,
) -> Route {
    let directory = &shard.shared.directory;
    let Some(entry) = directory.choose(subaccount, location, shard.index, only_here, except) else {
        return Route::Nowhere;
    };
    if entry.shard != shard.index {
        return Route::Shard(entry.shard);
    }
    match shard.links.borrow().get(&entry.id) {
        Some(link) => Route::Here(Rc::clone(link), entry),
        // Registered, but still on its way to this shard.
        None => Route::Nowhere,
    }
}

/// As [`route`]; waits a little for an agent that was here a moment ago, so that a tunnel that is
/// replaced costs no request.
pub(crate) async fn route_or_wait(
    shard: &Shard,
    subaccount: &str,
    location: &str,
    only_here: bool,
    except: Option<u64>,
) -> Route {
    let mut until = None;
    loop {
        let found = route(shard, subaccount, location, only_here, except);
        if !matches!(found, Route::Nowhere) {
            return found;
        }
        let now = clock::now();
        let until = *until.get_or_insert(now + shard.shared.limits.agent_wait);
        if now >= until || !shard.shared.directory.was_here(subaccount, location, now) {
            return found;
        }
        // Who has cut the tunnel itself waits for no other: there is only time to say how the request ended.
        if shard.shared.drain.phase() == Phase::Cut {
            return found;
        }
        adit_runtime::timer::sleep(AGENT_POLL).await;
    }
}

/// Opens a stream on `link`.
///
/// # Errors
/// The refusal when the tunnel takes no more.
pub(crate) async fn open(
    shard: &Shard,
    link: &Rc<Link>,
    entry: &Arc<Entry>,
) -> Result<Opened, Refusal> {
    match link.open().await {
        Ok(stream) => Ok(Opened {
            stream,
            _busy: entry.busy(),
        }),
        Err(OpenRefused::Full) => Err(Refusal::StreamsExhausted),
        Err(_) => {
            shard.shared.directory.close(entry, clock::now());
            Err(Refusal::TunnelLost)
        }
    }
}

/// Why there is no conversation.
pub(crate) enum Unbegun {
    Refused(Refusal),
    /// Its application went away while it waited.
    Gone,
}

impl From<Refusal> for Unbegun {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Begins a conversation: `front` says with whom, and holds what the application has said already. With what the
/// backend has said at once.
///
/// # Errors
/// It was refused, or the application has not waited for it.
pub(crate) async fn converse(
    shard: &Shard,
    (link, entry): (&Rc<Link>, &Arc<Entry>),
    front: &[u8],
    steps: &Steps,
    wire: &Watched,
) -> Result<(Box<Conversation>, Vec<u8>), Unbegun> {
    let opened = open(shard, link, entry).await?;
    let (mut pieces, mut early) = (VecDeque::new(), Vec::new());
    let verdict = async {
        opened.stream.send_bytes(front, false).await.map_err(lost)?;
        gather::from_stream(&opened.stream, &mut pieces, &mut early, Response::decode)
            .await
            .map_err(|gathered| match gathered {
                Gathered::Broken(error) => lost(error),
                Gathered::Cut => Refusal::BackendReset,
                Gathered::Wire(_) | Gathered::Refused(_) => Refusal::BackendMalformed,
            })
    };
    let limit = shard.shared.limits.answer;
    let verdict = async {
        if limit.is_zero() {
            return verdict.await;
        }
        let verdict = adit_runtime::timer::timeout(limit, verdict).await;
        verdict.unwrap_or(Err(Refusal::BackendTimeout))
    };
    // An agent that says nothing must not hold what its applications have left: places here are for all. One that has
    // only ended its direction may wait for what comes back.
    let left = async {
        if wire.gone().await.kind() == io::ErrorKind::ConnectionAborted {
            adit_runtime::timer::sleep(HALF_CLOSED_LIMIT).await;
        }
    };
    let verdict = match either(verdict, left).await {
        Either::Left(verdict) => verdict,
        Either::Right(_gone) => {
            opened.stream.reset();
            return Err(Unbegun::Gone);
        }
    };
    match verdict {
        Ok((Response::Accepted, used)) => {
            early.drain(..used.min(early.len()));
            Ok((Box::new(Conversation { opened, pieces }), early))
        }
        Ok((Response::Refused { refusal, .. }, _)) => {
            steps.refused_by_agent();
            Err(refusal.into())
        }
        Err(refusal) => {
            opened.stream.reset();
            Err(refusal.into())
        }
    }
}

/// Writes what a stream is for.
///
/// # Errors
/// When a text of the caller is longer than the format carries.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    protocol: Protocol,
    host: &str,
    port: u16,
    caller: &adit_token::Caller,
    principal: Option<&str>,
    id: RequestId,
) -> Result<(), Refusal> {
    Request {
        protocol,
        host,
        port,
        subaccount: &caller.subaccount,
        caller: &caller.client,
        principal,
        id,
    }
    .encode(out)
    .map_err(|_too_long| Refusal::RequestMalformed)
}

/// A name for a request, for answers, logs and audit records: unique, not secret.
pub(crate) fn request_id() -> RequestId {
    thread_local! {
        // Seeded from the system's randomness once a thread; then a counter keeps it unique.
        static NEXT: Cell<u128> = Cell::new(fastrand::u128(..));
    }
    NEXT.with(|next| {
        let id = next.get();
        next.set(id.wrapping_add(1));
        RequestId(id.to_be_bytes())
    })
}

/// How often a waiting request looks for its agent.
const AGENT_POLL: Duration = Duration::from_millis(20);

/// What a broken stream means to the caller.
pub(crate) fn lost(error: StreamError) -> Refusal {
    match error {
        StreamError::TunnelLost => Refusal::TunnelLost,
        StreamError::Unseen => Refusal::AgentOverloaded,
        StreamError::Reset => Refusal::BackendReset,
    }
}
