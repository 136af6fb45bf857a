//! One HTTP request and its response.
//!
//! The request is judged by the head that is forwarded: what goes to the backend is written from the very
//! parse the rules were asked about. Bodies stream in both directions at once; a backend connection is
//! kept only when both messages ended where their framing said, and with nothing behind them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use adit_policy::{HostHeader as Told, InternalProtocol, Permit};
use adit_proto::connect::{Request as Connect, Response};
use adit_proto::http::{
    Body, Framing, HeadError, HostHeader, Internal, Limits, RequestHead, ResponseHead, Rewrite,
    Target,
};
use adit_proto::refusal::Refusal;
use adit_relay::Broken;
use adit_relay::duplex::duplex;
use adit_relay::exchange::exchange;
use adit_relay::gather::{self, Gathered};
use adit_relay::pipe::{Reading, stream_to_wire, wire_to_stream};
use adit_runtime::local::{Either, Notify, either};
use adit_runtime::{buffer, clock};
use adit_transport::{Piece, Stream, Wire};

use super::{Asked, Ended, Progress, dial, refuse, while_granted};
use crate::backend::Backend;
use crate::backend::pool::Target as Leads;
use crate::enforce::{self, InForce};
use crate::limits::INTERIM_MAX;
use crate::metrics::Outcome;
use crate::shard::Shard;
use crate::trace::Steps;

pub(super) async fn serve(
    shard: &Rc<Shard>,
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: &Rc<Asked>,
    connect: Connect<'_>,
    head: &RequestHead,
) -> Ended {
    let message = asked.message();
    // The gateway has judged routes by what it says in the connect request; the head must say the same.
    let is_same_place = head.authority(message).is(connect.host, connect.port);
    let is_server_form = matches!(head.target, Target::Origin | Target::Asterisk);
    if !is_same_place || !is_server_form {
        return refuse(shard, stream, Refusal::HostMismatch).await;
    }
    let request = asked.request_of(&connect);
    let (permit, in_force) = match enforce::judge(shard, &connect, &request) {
        Ok(granted) => granted,
        Err(refusal) => return refuse(shard, stream, refusal).await,
    };
    let entered = shard.live.enter(Rc::clone(asked), permit.clone());
    let steps = Steps::begin();
    let end = |outcome| {
        shard
            .counters
            .ended(&shard.shared.labels, permit.system_name(), outcome);
        let traces = &shard.shared.traces;
        traces.keep(shard.index, &connect, &request, &permit, &steps, outcome);
    };

    let granted = Granted {
        shard,
        stream,
        connect,
        head,
        message,
        permit: &permit,
        in_force: &in_force,
        told: Cell::new(false),
        steps: &steps,
    };
    let progress = {
        let carrying = pin!(granted.carry(pieces));
        while_granted(stream, &entered, carrying).await
    };
    let told = granted.told.get();
    match progress {
        Progress::Done(Ok(())) => {
            end(Outcome::Answered);
            Ended::Finished
        }
        Progress::Done(Err(Trouble::Refused(refusal))) if !told => {
            end(Outcome::Refused);
            refuse(shard, stream, refusal).await
        }
        Progress::Withdrawn if !told => {
            end(Outcome::Withdrawn);
            refuse(shard, stream, Refusal::PermitWithdrawn).await
        }
        Progress::Withdrawn => {
            end(Outcome::Withdrawn);
            Ended::Broken
        }
        Progress::Done(Err(Trouble::Refused(_) | Trouble::Cut)) | Progress::BrokenOff => {
            end(Outcome::Broken);
            Ended::Broken
        }
    }
}

/// A request that may be sent.
struct Granted<'a> {
    shard: &'a Rc<Shard>,
    stream: &'a Stream,
    connect: Connect<'a>,
    head: &'a RequestHead,
    // The head and what came of the body with it.
    message: &'a [u8],
    permit: &'a Permit,
    in_force: &'a Arc<InForce>,
    // The other side has heard a part of the answer.
    told: Cell<bool>,
    steps: &'a Steps,
}

/// Why there is no whole answer.
enum Trouble {
    Refused(Refusal),
    /// Only breaking off is left.
    Cut,
}

/// Why an exchange on one connection came to nothing.
enum Failure {
    /// The connection was dead before it said a word. Whether it took some of the request is told.
    Dead {
        written: bool,
    },
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

enum Answer {
    /// Carried whole; nothing lies behind it, and the backend keeps the connection.
    Whole { clean: bool },
    /// From here on it is another protocol.
    Upgraded,
}

impl Granted<'_> {
    async fn carry(&self, pieces: &mut VecDeque<Piece>) -> Result<(), Trouble> {
        let mut body = Body::new(self.head.framing, &Limits::TUNNELLED);
        let behind = self.message.get(self.head.head_bytes..).unwrap_or_default();
        let step = body.advance(behind).map_err(|error| {
            tracing::debug!(id = %self.connect.id, %error, "request refused");
            Trouble::Refused(error.refusal())
        })?;
        if step.taken < behind.len() {
            // A stream carries one request; what else would this be?
            return Err(Trouble::Refused(Refusal::BodyFraming));
        }
        let mut front = Vec::with_capacity(self.message.len() + 256);
        let internal = self.internal();
        let host = match self.permit.host_header() {
            Told::Virtual => HostHeader::Virtual,
            Told::Internal => HostHeader::Internal(internal),
        };
        self.head.write_for_backend(self.message, &host, &mut front);
        front.extend_from_slice(behind);
        let sent_at_once = body.is_complete();

        let anchors = self.anchors()?;
        let leads = Leads {
            host: internal.host,
            port: internal.port,
            anchors,
        };
        let kept = self.shard.pool.take(leads, clock::recent(), |address| {
            self.permit.admits_address(address)
        });
        if let Some((backend, address)) = kept {
            self.shard.counters.reused.increment(1);
            self.steps.kept(address);
            let outcome = self
                .exchange(backend, address, leads, &front, &mut body, pieces)
                .await;
            match outcome {
                Ok(()) => return Ok(()),
                Err(Failure::Trouble(trouble)) => return Err(trouble),
                // RFC 9110, section 9.2.2: an unanswered request is sent again only when that cannot be
                // twice, or cannot hurt.
                Err(Failure::Dead { written }) => {
                    let again = !written || (sent_at_once && self.head.is_idempotent(self.message));
                    if !again {
                        return Err(self.failed(
                            Refusal::BackendReset,
                            "a kept connection ended without an answer",
                        ));
                    }
                    self.shard.counters.retried.increment(1);
                }
            }
        }
        let dialling = dial(
            self.shard,
            self.stream,
            pieces,
            self.permit,
            self.in_force,
            self.connect.id,
            self.steps,
        );
        let dialled = Box::pin(dialling).await.map_err(Trouble::Refused)?;
        let outcome = self
            .exchange(
                dialled.backend,
                dialled.address,
                leads,
                &front,
                &mut body,
                pieces,
            )
            .await;
        match outcome {
            Ok(()) => Ok(()),
            Err(Failure::Trouble(trouble)) => Err(trouble),
            Err(Failure::Dead { .. }) => Err(self.failed(
                Refusal::BackendReset,
                "the connection ended without an answer",
            )),
        }
    }

    // Request and response on one connection.
    async fn exchange(
        &self,
        backend: Backend,
        address: IpAddr,
        leads: Leads<'_>,
        front: &[u8],
        body: &mut Body,
        pieces: &mut VecDeque<Piece>,
    ) -> Result<(), Failure> {
        let lease = Lease(Some(backend));
        let Some(wire) = lease.0.as_ref() else {
            return Err(Trouble::Cut.into());
        };
        let sent = Sent::default();
        let request = async {
            sent.write_front(wire, front).await.map_err(Broken::Wire)?;
            if !body.is_complete() {
                stream_to_wire(self.stream, pieces, wire, Some(body)).await?;
            }
            sent.whole.set(true);
            sent.changed.notify();
            std::future::pending().await
        };
        let outcome = exchange(request, self.respond(wire, &sent), Broken::is_stream).await;
        match outcome {
            Ok((_, Ok(Answer::Whole { clean }))) => {
                if let Some(backend) = lease.release()
                    && clean
                    && sent.whole.get()
                {
                    self.shard
                        .pool
                        .put(leads, backend, address, clock::recent());
                }
                Ok(())
            }
            Ok((_, Ok(Answer::Upgraded))) => match duplex(self.stream, pieces, wire).await {
                Ok(()) => {
                    drop(lease.release());
                    Ok(())
                }
                Err(broken) => {
                    tracing::debug!(id = %self.connect.id, %broken, "upgraded connection broke off");
                    Err(Trouble::Cut.into())
                }
            },
            Ok((_, Err(Failure::Dead { .. }))) => Err(Failure::Dead {
                written: sent.some.get(),
            }),
            Ok((_, Err(failure))) => Err(failure),
            Err(broken) => {
                tracing::debug!(id = %self.connect.id, %broken, "request broke off");
                Err(Trouble::Cut.into())
            }
        }
    }

    // Carries the response from the backend to the stream.
    async fn respond(&self, wire: &Backend, sent: &Sent) -> Result<Answer, Failure> {
        let rewrite = Rewrite {
            internal: self.internal(),
            virtual_host: self.permit.virtual_host(),
            virtual_port: self.permit.virtual_port(),
        };
        let mut front = Vec::new();
        let mut interim = 0;
        let (head, mut out) = loop {
            let head = self.read_head(wire, sent, &mut front, interim > 0).await?;
            head.check_upgrade(self.head.upgrade)
                .map_err(|error| self.malformed(&error))?;
            let mut out = buffer::vector();
            if !head.is_interim() {
                break (head, out);
            }
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(self
                    .failed(Refusal::BackendMalformed, "too many interim responses")
                    .into());
            }
            self.begin(&mut out);
            head.write_for_gateway(&front, &rewrite, &mut out);
            front.drain(..head.head_bytes.min(front.len()));
            self.say(&out, false).await?;
        };
        let waited = clock::recent().saturating_sub(self.steps.begun());
        self.steps.answered(head.status);
        self.shard.counters.first_byte.record(waited.as_secs_f64());
        self.begin(&mut out);
        head.write_for_gateway(&front, &rewrite, &mut out);
        let behind = front.get(head.head_bytes..).unwrap_or_default();
        if head.status == 101 {
            out.extend_from_slice(behind);
            self.say(&out, false).await?;
            return Ok(Answer::Upgraded);
        }
        let mut body = Body::new(head.framing, &Limits::RESPONSES);
        let step = body
            .advance(behind)
            .map_err(|error| self.failed(Refusal::BackendMalformed, &error.to_string()))?;
        let (ours, stray) = behind.split_at_checked(step.taken).unwrap_or((behind, &[]));
        // The head and what came with it leave in one frame, and with them the end if that came too.
        out.extend_from_slice(ours);
        let mut spill = stray.to_vec();
        drop(front);
        self.say(&out, body.is_complete()).await?;
        buffer::keep(out);
        if !body.is_complete() {
            let message = Reading {
                body: &mut body,
                spill: &mut spill,
            };
            wire_to_stream(wire, self.stream, Some(message))
                .await
                .map_err(|broken| self.failed(Refusal::BackendReset, &broken.to_string()))?;
            self.stream.finish();
        }
        Ok(Answer::Whole {
            clean: head.keep_alive && head.framing != Framing::UntilClose && spill.is_empty(),
        })
    }

    async fn read_head(
        &self,
        wire: &Backend,
        sent: &Sent,
        front: &mut Vec<u8>,
        heard: bool,
    ) -> Result<ResponseHead, Failure> {
        let bodiless = self.head.method(self.message) == "HEAD";
        let limit = self.shard.shared.backend.answer_timeout;
        let gathered = {
            let gathering = gather::from_wire(wire, front, |bytes| {
                ResponseHead::parse(bytes, bodiless, &Limits::RESPONSES)
            });
            let silence = async {
                if limit.is_zero() {
                    return std::future::pending().await;
                }
                // A long upload is no silence: the wait begins with its end.
                while !sent.whole.get() {
                    sent.changed.notified().await;
                }
                adit_runtime::timer::sleep(limit).await;
            };
            match either(gathering, silence).await {
                Either::Left(gathered) => gathered,
                _ => {
                    return Err(self
                        .failed(Refusal::BackendSilent, "no answer in time")
                        .into());
                }
            }
        };
        match gathered {
            Ok(head) => Ok(head),
            Err(Gathered::Refused(error)) => Err(self.malformed(&error).into()),
            Err(_) if front.is_empty() && !heard => Err(Failure::Dead { written: true }),
            Err(Gathered::Wire(error)) => Err(self
                .failed(Refusal::BackendReset, &error.to_string())
                .into()),
            Err(_) => Err(self
                .failed(Refusal::BackendReset, "ended in the middle of a head")
                .into()),
        }
    }

    // Everything that comes back on a stream follows our acceptance of it.
    fn begin(&self, out: &mut Vec<u8>) {
        if !self.told.get() {
            Response::Accepted.encode(out);
        }
    }

    async fn say(&self, out: &[u8], last: bool) -> Result<(), Trouble> {
        self.told.set(true);
        self.stream
            .send_bytes(out, last)
            .await
            .map_err(|_gone| Trouble::Cut)
    }

    fn internal(&self) -> Internal<'_> {
        let (host, port) = self.permit.internal();
        let https = match self.permit.protocol() {
            InternalProtocol::Https | InternalProtocol::Tls => true,
            InternalProtocol::Http | InternalProtocol::Tcp => false,
        };
        Internal { https, host, port }
    }

    fn anchors(&self) -> Result<Option<u64>, Trouble> {
        match self.in_force.trust.of(self.permit) {
            Ok(anchors) => Ok(anchors.map(|anchors| anchors.id)),
            Err(why) => Err(self.failed(Refusal::BackendTls, why)),
        }
    }

    fn malformed(&self, error: &HeadError) -> Trouble {
        self.failed(Refusal::BackendMalformed, &error.to_string())
    }

    // What the backend did is told to our log, and to the caller as a reason of the closed list.
    fn failed(&self, refusal: Refusal, detail: &str) -> Trouble {
        tracing::debug!(
            id = %self.connect.id, system = self.permit.system_name(), reason = refusal.reason(), detail,
            told = self.told.get(), "backend failed"
        );
        self.steps.failed(refusal, detail);
        if self.told.get() {
            Trouble::Cut
        } else {
            Trouble::Refused(refusal)
        }
    }
}

/// How far a request has gone out.
#[derive(Default)]
struct Sent {
    /// The backend's kernel may have taken some of it.
    some: Cell<bool>,
    whole: Cell<bool>,
    changed: Notify,
}

impl Sent {
    // The head, and what came of the body with it, in one write.
    async fn write_front(&self, wire: &Backend, front: &[u8]) -> std::io::Result<()> {
        // What rustls took is beyond recall, even when the socket then fails.
        self.some.set(matches!(wire, Backend::Tls(_)));
        let mut rest = front;
        while !rest.is_empty() {
            match wire.try_write(&[IoSlice::new(rest)]) {
                Ok(n) => {
                    self.some.set(true);
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    wire.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A backend connection in use. Dropped before its messages have ended, it is closed abruptly, so that
/// the backend does not take a part of a request for the whole.
struct Lease(Option<Backend>);

impl Lease {
    fn release(mut self) -> Option<Backend> {
        self.0.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(backend) = &self.0 {
            backend.abort();
        }
    }
}
