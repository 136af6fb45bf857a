//! The HTTP proxy door: absolute-form requests, each routed and authorised for itself.
//!
//! A connection belongs to nobody: token, location and target are looked at per request, so pooled
//! connections may carry requests of different callers. Bodies stream; nothing is held whole.

mod carry;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::connect::RequestId;
use adit_proto::http::{Framing, HeadError, Limits, ProxyCredentials, RequestHead, Target};
use adit_proto::refusal::Refusal;
use adit_relay::gather::{self, Gathered};
use adit_runtime::local::{Either, either};
use adit_transport::listen::Listener;
use adit_transport::socket::Leg;
use adit_transport::{Socket, Watched, Wire};

use super::http_opaque;
use crate::authenticate;
use crate::door::{self, Conversation, Route};
use crate::metrics::Counters;
use crate::refuse::{self, Asked};
use crate::shard::{Held, HttpAsked, Message, Shard};
use crate::trace::{Outcome, Steps};

/// Accepts connections until the drain begins.
pub(crate) async fn serve(shard: Rc<Shard>, listener: Listener) {
    let accepting = async {
        loop {
            let (socket, peer) = listener
                .accept(|error| {
                    shard.counters.accept_trouble.increment(1);
                    tracing::warn!(%error, door = "http", "accept failed");
                })
                .await;
            if let Some(held) = shard.hold() {
                start(&shard, held, socket, peer, None);
            }
        }
    };
    either(shard.draining.wait(), accepting).await;
}

/// A connection that another shard read a head from.
pub(crate) fn adopt(shard: &Rc<Shard>, socket: std::net::TcpStream, asked: HttpAsked) {
    match (Socket::from_std(socket, Leg::Local), shard.hold()) {
        (Ok(socket), Some(held)) => start(shard, held, socket, asked.from, Some(asked)),
        (Ok(_), None) | (Err(_), _) => unserved(shard, &asked),
    }
}

// Its caller was let in, and now there is no place for it: it ends without an answer, and not without a record.
fn unserved(shard: &Shard, asked: &HttpAsked) {
    // It was read before.
    let Ok(Some(head)) = RequestHead::parse(&asked.input, &Limits::REQUESTS) else {
        return;
    };
    let host = head.authority(&asked.input).canonical_host();
    let wanted = wanted_by(asked.from, &head, &asked.input, &host);
    wanted.steps.called_by(&asked.caller);
    shard.ended(
        asked.id,
        &wanted.steps,
        &wanted.wanted(),
        Outcome::BrokenOff,
    );
}

fn wanted_by<'a>(
    from: SocketAddr,
    head: &RequestHead,
    input: &'a [u8],
    host: &'a str,
) -> Asked<'a> {
    Asked {
        from: Some(from),
        method: head.method(input),
        host,
        port: head.authority(input).port_or_default(),
        path: std::str::from_utf8(head.path(input)).unwrap_or_default(),
        location: head.location(input).unwrap_or_default(),
        steps: Steps::begin(),
        ..Asked::default()
    }
}

fn start(
    shard: &Rc<Shard>,
    held: Held,
    socket: Socket,
    peer: SocketAddr,
    moved: Option<HttpAsked>,
) {
    let shard = Rc::clone(shard);
    let mut connection = Connection {
        wire: Watched::new(socket),
        moved: moved.is_some(),
        id: moved.as_ref().map(|moved| moved.id),
        tries: moved.as_ref().map_or(0, |moved| moved.tries),
        input: moved.map(|moved| moved.input).unwrap_or_default(),
        peer,
    };
    monoio::spawn(async move {
        shard.counters.http_connections.increment(1.0);
        let conversation = loop {
            match connection.serve_one(&shard).await {
                Next::Again => {}
                Next::Over => break None,
                Next::Converse(conversation) => break Some(conversation),
            }
        };
        if let Some(mut conversation) = conversation {
            conversation.carry(&connection.wire).await;
        }
        shard.counters.http_connections.decrement(1.0);
        drop(held);
    });
}

/// What becomes of a connection after a request.
pub(super) enum Next {
    Again,
    Over,
    /// From here on it is a conversation.
    Converse(Box<Conversation>),
}

pub(super) struct Connection {
    pub(super) wire: Watched,
    // Bytes read and not yet used: the head under way, what follows it.
    pub(super) input: Vec<u8>,
    moved: bool,
    // Of a request that was moved here: the one it has.
    id: Option<RequestId>,
    // How often the request under way was sent on another shard.
    tries: u32,
    peer: SocketAddr,
}

/// One request on its way.
pub(super) struct Asking<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) id: RequestId,
    pub(super) caller: &'a Arc<adit_token::Caller>,
    pub(super) location: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) keep_alive: bool,
}

impl Connection {
    async fn serve_one(&mut self, shard: &Rc<Shard>) -> Next {
        let head = match self.read_head(shard).await {
            Ok(Some(head)) => head,
            Ok(None) => return Next::Over,
            Err(refused) => {
                let id = door::request_id();
                if let Refused::Head(error) = &refused
                    && let Some(class) = error.smuggling()
                {
                    Counters::smuggling(class.name());
                }
                let refusal = refused.refusal();
                tracing::debug!(peer = %self.peer, %id, reason = refusal.reason(), "request refused");
                let asked = Asked {
                    from: Some(self.peer),
                    ..Asked::default()
                };
                return Box::pin(self.refuse(shard, refusal, &asked, id, false)).await;
            }
        };
        // One that was moved here has its id, and was counted where it came from.
        if self.id.is_none() {
            shard.counters.requests.increment(1);
        }
        // Taken out, so that the head can be looked at while the connection is used.
        let input = std::mem::take(&mut self.input);
        // A connection between two requests holds nothing of either.
        Box::pin(self.judge(shard, &head, input)).await
    }

    async fn read_head(&mut self, shard: &Rc<Shard>) -> Result<Option<RequestHead>, Refused> {
        let limits = &shard.shared.limits;
        if self.input.is_empty() {
            let wait = adit_runtime::timer::timeout(
                limits.idle,
                gather::read_more(&self.wire, &mut self.input),
            );
            match either(shard.draining.wait(), wait).await {
                Either::Right(Ok(Ok(n))) if n > 0 => {}
                // Idle for too long, drained, ended or broken between two requests: nobody to answer.
                Either::Left(()) | Either::Right(_) => return Ok(None),
            }
        }
        let parse = |bytes: &[u8]| RequestHead::parse(bytes, &Limits::REQUESTS);
        if let Some(head) = parse(&self.input).map_err(Refused::Head)? {
            return Ok(Some(head));
        }
        match adit_runtime::timer::timeout(
            limits.head,
            gather::from_wire(&self.wire, &mut self.input, parse),
        )
        .await
        {
            Ok(Ok(head)) => Ok(Some(head)),
            Ok(Err(Gathered::Refused(error))) => Err(Refused::Head(error)),
            Ok(Err(_gone)) => Ok(None),
            Err(_elapsed) => Err(Refused::Timeout),
        }
    }

    async fn judge(&mut self, shard: &Rc<Shard>, head: &RequestHead, input: Vec<u8>) -> Next {
        let id = self.id.take().unwrap_or_else(door::request_id);
        let keep_alive = head.keep_alive && shard.shared.drain.is_serving();
        let host = head.authority(&input).canonical_host();
        let mut asked = wanted_by(self.peer, head, &input, &host);
        let is_connect = head.target == Target::Authority;
        // What cannot be read to its end without a backend must not be taken for the next request.
        let keep_refused = keep_alive && head.framing == Framing::None && !is_connect;

        // Origin form is for servers, and this is a proxy: which system is meant must stand in the target.
        if matches!(head.target, Target::Origin | Target::Asterisk) {
            let refusal = Refusal::RequestMalformed;
            return self
                .refuse_and_keep(shard, refusal, &asked, id, keep_refused, head, &input)
                .await;
        }
        let caller = match head.proxy_authorization(&input) {
            // SAP's own answer to CONNECT without a token: its clients send it for https:// targets.
            None if is_connect => Err(Refusal::MethodUnsupported),
            None => Err(Refusal::TokenMissing),
            Some(value) => ProxyCredentials::parse(value)
                .and_then(|credentials| authenticate::caller(shard, credentials.token())),
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(refusal) => {
                return self
                    .refuse_and_keep(shard, refusal, &asked, id, keep_refused, head, &input)
                    .await;
            }
        };
        let location = asked.location;
        asked.steps.called_by(&caller);
        asked.subaccount = &caller.subaccount;

        if let Err(refusal) = shard.shared.records.may_pass() {
            return self
                .refuse_and_keep(shard, refusal, &asked, id, keep_refused, head, &input)
                .await;
        }
        let route =
            door::route_or_wait(shard, &caller.subaccount, location, self.moved, None).await;
        let (link, entry) = match route {
            Route::Here(link, entry) => (link, entry),
            Route::Shard(target) => {
                let tries = self.tries;
                let moved = HttpAsked {
                    from: self.peer,
                    caller,
                    id,
                    input,
                    tries,
                };
                if let Err(asked) = self.hand_over(shard, target, Box::new(moved)) {
                    unserved(shard, &asked);
                }
                return Next::Over;
            }
            Route::Nowhere => {
                return self
                    .refuse_and_keep(
                        shard,
                        Refusal::NoAgent,
                        &asked,
                        id,
                        keep_refused,
                        head,
                        &input,
                    )
                    .await;
            }
        };
        asked.steps.routed_to(&entry);
        // From here on the next request may find another way.
        self.moved = false;
        let asking = Asking {
            head,
            id,
            caller: &caller,
            location,
            host: &host,
            port: asked.port,
            keep_alive,
        };
        if is_connect {
            return http_opaque::serve(self, shard, &asking, &asked, &input, link, entry).await;
        }
        self.carry(shard, &asking, &asked, &input, link, entry)
            .await
    }

    // Gives back what it could not hand over: then the connection ends.
    fn hand_over(
        &self,
        shard: &Shard,
        target: usize,
        asked: Box<HttpAsked>,
    ) -> Result<(), Box<HttpAsked>> {
        let mailbox = shard.shared.mailboxes.get(target);
        let (Ok(socket), Some(mailbox)) = (self.wire.socket().detach(), mailbox) else {
            return Err(asked);
        };
        shard.counters.moved.increment(1);
        match mailbox.send(Message::Http { socket, asked }) {
            // A full mailbox: the other shard has more than it can do.
            Err(Message::Http { asked, .. }) => Err(asked),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one request's state, borrowed apart"
    )]
    async fn refuse_and_keep(
        &mut self,
        shard: &Rc<Shard>,
        refusal: Refusal,
        asked: &Asked<'_>,
        id: RequestId,
        keep: bool,
        head: &RequestHead,
        input: &[u8],
    ) -> Next {
        let next = self.refuse(shard, refusal, asked, id, keep).await;
        if matches!(next, Next::Again) {
            self.input = input.get(head.head_bytes..).unwrap_or_default().to_vec();
        }
        next
    }

    /// Answers in adit's own name. Without `keep` the connection ends behind it.
    pub(super) async fn refuse(
        &self,
        shard: &Shard,
        refusal: Refusal,
        asked: &Asked<'_>,
        id: RequestId,
        keep: bool,
    ) -> Next {
        shard.counters.refused(refusal);
        let outcome = Outcome::Refused(refusal);
        shard.ended(id, &asked.steps, &asked.wanted(), outcome);
        tracing::debug!(%id, reason = refusal.reason(), host = asked.host, port = asked.port, "refused");
        let page = refuse::page(refusal, asked, id, keep);
        if self.wire.write_all(&page).await.is_err() {
            return Next::Over;
        }
        if keep {
            return Next::Again;
        }
        self.close(true).await
    }

    // Closes so that the last answer arrives.
    //
    // Read to the end before closing: a close with unread bytes in the receive queue sends RST
    // (RFC 1122, section 4.2.2.13), and the peer may then never read the answer we just wrote.
    async fn close(&self, unread: bool) -> Next {
        let _ = self.wire.finish().await;
        if unread {
            let drain = async {
                let mut drained = 0;
                let mut chunk = vec![0_u8; 8 * 1024];
                while drained < LINGER_BYTES {
                    match self.wire.read(&mut chunk).await {
                        Ok(n) if n > 0 => drained += n,
                        _ => break,
                    }
                }
            };
            let _ = adit_runtime::timer::timeout(LINGER, drain).await;
        }
        Next::Over
    }
}

enum Refused {
    Head(HeadError),
    Timeout,
}

impl Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Head(error) => error.refusal(),
            Self::Timeout => Refusal::HeaderTimeout,
        }
    }
}

/// What is read and dropped of a refused request, and for how long.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);
