//! One request and its response over one tunnel, and over a second one when the first is lost.
//!
//! What may be sent twice is decided here; who may ask at all, and where, was decided before.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::connect::{Protocol, Response};
use adit_proto::http::{Body, Limits, ResponseHead, Version};
use adit_proto::refusal::Refusal;
use adit_relay::Broken;
use adit_relay::duplex::duplex;
use adit_relay::exchange::exchange;
use adit_relay::gather::{self, Gathered};
use adit_relay::pipe::{Reading, stream_to_wire, wire_to_stream};
use adit_runtime::{buffer, clock};
use adit_transport::{Piece, Stream, StreamError, Wire};

use super::{Asking, Connection, Next};
use crate::door::{self, Route};
use crate::metrics::Counters;
use crate::refuse::Asked;
use crate::shard::{HttpAsked, Shard};
use crate::trace::Outcome;

impl Connection {
    // Sends one request and its response, on a second tunnel if the first is lost.
    pub(super) async fn carry(
        &mut self,
        shard: &Rc<Shard>,
        asking: &Asking<'_>,
        asked: &Asked<'_>,
        input: &[u8],
        mut link: Rc<adit_transport::Link>,
        mut entry: Arc<crate::directory::Entry>,
    ) -> Next {
        let head = asking.head;
        let mut front = Vec::with_capacity(head.head_bytes + 256);
        let principal = head.principal(input);
        if let Err(refusal) = door::encode(
            &mut front,
            Protocol::Http,
            asking.host,
            asking.port,
            asking.caller,
            principal,
            asking.id,
        ) {
            return self.refuse(shard, refusal, asked, asking.id, false).await;
        }
        head.write_for_agent(input, &mut front);
        let mut body = Body::new(head.framing, &Limits::REQUESTS);
        let behind = input.get(head.head_bytes..).unwrap_or_default();
        // What was read of the body beside the head goes with it; what lies behind is the next request.
        let in_body = match body.advance(behind) {
            Ok(step) => step.taken,
            Err(error) => {
                if let Some(class) = error.smuggling() {
                    Counters::smuggling(class.name());
                }
                return self
                    .refuse(shard, error.refusal(), asked, asking.id, false)
                    .await;
            }
        };
        front.extend_from_slice(behind.get(..in_body).unwrap_or_default());
        let mut spill = behind.get(in_body..).unwrap_or_default().to_vec();
        let replayable = body.is_complete();
        let started = clock::recent();
        let mut tries = std::mem::take(&mut self.tries);
        let ended = |outcome| shard.ended(asking.id, &asked.steps, &asked.wanted(), outcome);
        loop {
            tries += 1;
            let attempt = match door::open(shard, &link, &entry).await {
                Ok(opened) => {
                    self.attempt(
                        shard,
                        asking,
                        asked,
                        &opened.stream,
                        &front,
                        &mut body,
                        &mut spill,
                        started,
                    )
                    .await
                }
                Err(refusal) => Attempt::Refused(refusal, Retry::Always),
            };
            match attempt {
                Attempt::Answered {
                    request_whole,
                    reusable,
                } => {
                    ended(asked.steps.outcome());
                    self.input = spill;
                    if request_whole && reusable && asking.keep_alive {
                        return Next::Again;
                    }
                    return self.close(!request_whole).await;
                }
                // Told when it began.
                Attempt::Upgraded => return self.close(false).await,
                Attempt::Gone => {
                    ended(Outcome::BrokenOff);
                    self.wire.abort();
                    return Next::Over;
                }
                Attempt::Refused(refusal, retry) => {
                    let may = match retry {
                        Retry::Always => replayable,
                        Retry::Idempotent => replayable && head.is_idempotent(input),
                        Retry::Never => false,
                    };
                    if link.has_ended() {
                        // Its own watcher may say so later; that its agent was here must be known now.
                        shard.shared.directory.close(&entry, clock::now());
                    }
                    if may && tries < TRIES_MAX {
                        let subaccount = &asking.caller.subaccount;
                        let other = door::route_or_wait(
                            shard,
                            subaccount,
                            asking.location,
                            true,
                            Some(entry.id),
                        );
                        match other.await {
                            Route::Here(next_link, next_entry) => {
                                shard.counters.retried.increment(1);
                                (link, entry) = (next_link, next_entry);
                                asked.steps.routed_to(&entry);
                                continue;
                            }
                            Route::Shard(target) => {
                                shard.counters.retried.increment(1);
                                let moved = HttpAsked {
                                    from: self.peer,
                                    caller: Arc::clone(asking.caller),
                                    id: asking.id,
                                    input: input.to_vec(),
                                    tries,
                                };
                                // Told here where it is known which agent had it.
                                if self.hand_over(shard, target, Box::new(moved)).is_err() {
                                    ended(Outcome::BrokenOff);
                                }
                                return Next::Over;
                            }
                            Route::Nowhere => {}
                        }
                    }
                    let keep = asking.keep_alive && replayable;
                    self.input = spill;
                    return self.refuse(shard, refusal, asked, asking.id, keep).await;
                }
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one request's state, borrowed apart"
    )]
    async fn attempt(
        &self,
        shard: &Rc<Shard>,
        asking: &Asking<'_>,
        asked: &Asked<'_>,
        stream: &Stream,
        front: &[u8],
        body: &mut Body,
        spill: &mut Vec<u8>,
        started: Duration,
    ) -> Attempt {
        let upgrade = asking.head.upgrade;
        let whole_at_once = body.is_complete();
        if let Err(error) = stream.send_bytes(front, whole_at_once && !upgrade).await {
            return Attempt::Refused(door::lost(error), Retry::Idempotent);
        }
        let request_whole = Cell::new(whole_at_once);
        let request = async {
            if !whole_at_once {
                self.wire.be_patient(Some(shard.shared.limits.body));
                let message = Reading { body, spill };
                let outcome = wire_to_stream(&self.wire, stream, Some(message)).await;
                self.wire.be_patient(None);
                outcome?;
                request_whole.set(true);
                if !upgrade {
                    stream.finish();
                }
            }
            Err(Broken::Wire(self.wire.gone().await))
        };
        let written = Cell::new(false);
        let mut pieces = VecDeque::new();
        let response = self.response(
            shard,
            asking,
            asked,
            stream,
            &mut pieces,
            started,
            &written,
            &request_whole,
        );
        let outcome = match exchange(request, response, |broken| !broken.is_stream()).await {
            Err(broken) => {
                stream.reset();
                return match broken {
                    _ if written.get() => Attempt::Gone,
                    Broken::WireBody(error) => {
                        if let Some(class) = error.smuggling() {
                            Counters::smuggling(class.name());
                        }
                        Attempt::Refused(error.refusal(), Retry::Never)
                    }
                    Broken::Wire(error) if error.kind() == io::ErrorKind::TimedOut => {
                        Attempt::Refused(Refusal::BodyTimeout, Retry::Never)
                    }
                    // The application is gone: so is its request.
                    Broken::Wire(_)
                    | Broken::Stream(_)
                    | Broken::StreamBody(_)
                    | Broken::WireCut
                    | Broken::StreamCut
                    | _ => Attempt::Gone,
                };
            }
            Ok((_, outcome)) => outcome,
        };
        match outcome {
            Ok(Answer::Whole { reusable }) => Attempt::Answered {
                request_whole: request_whole.get(),
                reusable,
            },
            Ok(Answer::Upgraded) => {
                // From here on it is a conversation, which may last for days.
                let outcome = asked.steps.outcome();
                shard.ended(asking.id, &asked.steps, &asked.wanted(), outcome);
                let mut first = pieces;
                // What came behind the head has waited for this.
                let early = std::mem::take(spill);
                // Either side may end it as it likes.
                if stream.send_bytes(&early, false).await.is_ok() {
                    let _ = duplex(stream, &mut first, &self.wire).await;
                }
                Attempt::Upgraded
            }
            Err(_) if written.get() => {
                stream.reset();
                Attempt::Gone
            }
            Err((refusal, retry)) => Attempt::Refused(refusal, retry),
        }
    }

    // Carries the response from the stream to the application.
    #[expect(
        clippy::too_many_arguments,
        reason = "one request's state, borrowed apart"
    )]
    async fn response(
        &self,
        shard: &Rc<Shard>,
        asking: &Asking<'_>,
        asked: &Asked<'_>,
        stream: &Stream,
        pieces: &mut VecDeque<Piece>,
        started: Duration,
        written: &Cell<bool>,
        request_whole: &Cell<bool>,
    ) -> Result<Answer, (Refusal, Retry)> {
        let limit = shard.shared.limits.answer;
        let mut front = Vec::new();
        let verdict = gather::from_stream(stream, pieces, &mut front, Response::decode);
        let verdict = if limit.is_zero() {
            verdict.await
        } else {
            match adit_runtime::timer::timeout(limit, verdict).await {
                Ok(verdict) => verdict,
                Err(_elapsed) => {
                    stream.reset();
                    return Err((Refusal::BackendTimeout, Retry::Never));
                }
            }
        };
        let (verdict, used) = verdict.map_err(lost)?;
        if let Response::Refused { refusal, .. } = verdict {
            asked.steps.refused_by_agent();
            // Said before any backend was asked.
            let unseen = matches!(
                refusal,
                Refusal::Draining | Refusal::NoSnapshot | Refusal::AgentOverloaded
            );
            let retry = if unseen { Retry::Always } else { Retry::Never };
            return Err((refusal, retry));
        }
        front.drain(..used.min(front.len()));
        let (head, mut out) = loop {
            let is_head = asked.is_head();
            let head = gather::from_stream(stream, pieces, &mut front, |bytes| {
                ResponseHead::parse(bytes, is_head, &Limits::TUNNELLED)
            })
            .await
            .map_err(lost)?;
            let mut out = buffer::vector();
            if head.status >= 200 {
                break (head, out);
            }
            if head.status == 101 {
                if !asking.head.upgrade || !head.upgrade {
                    return Err((Refusal::BackendMalformed, Retry::Never));
                }
                head.write_for_client(&front, true, &mut out);
                out.extend_from_slice(front.get(head.head_bytes..).unwrap_or_default());
                written.set(true);
                shard.counters.responded(101);
                asked.steps.answered(101);
                self.wire
                    .write_all(&out)
                    .await
                    .map_err(|_gone| (Refusal::Internal, Retry::Never))?;
                return Ok(Answer::Upgraded);
            }
            // RFC 9110, section 15.2: no 1xx to an HTTP/1.0 client.
            if asking.head.version == Version::Http11 {
                head.write_for_client(&front, true, &mut out);
                written.set(true);
                self.wire
                    .write_all(&out)
                    .await
                    .map_err(|_gone| (Refusal::Internal, Retry::Never))?;
            }
            front.drain(..head.head_bytes.min(front.len()));
        };
        shard
            .counters
            .first_byte
            .record((clock::recent().saturating_sub(started)).as_secs_f64());
        shard.counters.responded(head.status);
        asked.steps.answered(head.status);
        // An answer that overtakes its request ends the connection, and says so.
        let keep = asking.keep_alive && request_whole.get();
        let mut body = Body::new(head.framing, &Limits::RESPONSES);
        out.reserve(front.len() + REWRITTEN_BYTES);
        let keeps = head.write_for_client(&front, keep, &mut out);
        let behind = front.get(head.head_bytes..).unwrap_or_default();
        let step = body
            .advance(behind)
            .map_err(|_framing| (Refusal::BackendMalformed, Retry::Never))?;
        // The head and what came with it go out in one write.
        out.extend_from_slice(behind.get(..step.taken).unwrap_or_default());
        drop(front);
        written.set(true);
        self.wire
            .write_all(&out)
            .await
            .map_err(|_gone| (Refusal::Internal, Retry::Never))?;
        buffer::keep(out);
        stream_to_wire(stream, pieces, &self.wire, Some(&mut body))
            .await
            .map_err(|_cut| (Refusal::TunnelLost, Retry::Never))?;
        Ok(Answer::Whole { reusable: keeps })
    }
}

// How an attempt on one tunnel ended.
enum Attempt {
    // Response carried whole; the request as well or not.
    Answered { request_whole: bool, reusable: bool },
    // What was carried then has ended.
    Upgraded,
    // Refused or failed before a byte went to the application.
    Refused(Refusal, Retry),
    // The application is gone, or got a part of the response: only closing is left.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    // No backend has seen it.
    Always,
    // A backend may have seen it.
    Idempotent,
    Never,
}

enum Answer {
    Whole { reusable: bool },
    Upgraded,
}

fn lost<E>(gathered: Gathered<E>) -> (Refusal, Retry) {
    match gathered {
        Gathered::Broken(StreamError::Unseen) => (Refusal::AgentOverloaded, Retry::Always),
        Gathered::Broken(error) => (door::lost(error), Retry::Idempotent),
        Gathered::Cut => (Refusal::BackendReset, Retry::Idempotent),
        Gathered::Wire(_) | Gathered::Refused(_) => (Refusal::BackendMalformed, Retry::Never),
    }
}

/// By how much a head may grow on its way to the application; more costs an allocation.
const REWRITTEN_BYTES: usize = 64;

/// Tunnels tried for one request.
const TRIES_MAX: u32 = 2;
