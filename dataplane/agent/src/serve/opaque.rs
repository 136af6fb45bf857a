//! Opaque conversations: systems of protocol tcp and tls.
//!
//! Judged once at the beginning, then carried in both directions until both have ended; a change of the
//! rules ends what it no longer grants.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use adit_policy::Permit;
use adit_proto::connect::{Request as Connect, Response};
use adit_proto::refusal::Refusal;
use adit_relay::Broken;
use adit_relay::duplex::duplex;
use adit_transport::{Piece, Stream, Wire};

use super::{Asked, Ended, Progress, dial, refuse, while_granted};
use crate::backend::Backend;
use crate::enforce;
use crate::live::Entered;
use crate::metrics::Outcome;
use crate::shard::Shard;
use crate::trace::Steps;

/// Judges what was asked for and dials its backend.
///
/// # Errors
/// How the stream ended instead.
pub(super) async fn serve(
    shard: &Rc<Shard>,
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: &Rc<Asked>,
    connect: Connect<'_>,
) -> Result<Box<Conversation>, Ended> {
    let request = asked.request_of(&connect);
    let (permit, in_force) = match enforce::judge(shard, &connect, &request) {
        Ok(granted) => granted,
        Err(refusal) => return Err(refuse(shard, stream, refusal).await),
    };
    let entered = shard.live.enter(Rc::clone(asked), permit.clone());
    let steps = Steps::begin();
    let keep = |outcome| {
        let traces = &shard.shared.traces;
        traces.keep(shard.index, &connect, &request, &permit, &steps, outcome);
    };
    let dialled = {
        let dialling = dial(
            shard, stream, pieces, &permit, &in_force, connect.id, &steps,
        );
        let dialling = pin!(dialling);
        while_granted(stream, &entered, dialling).await
    };
    let refusal = match dialled {
        Progress::Done(Ok(dialled)) => {
            // What becomes of the conversation is seen when it ends, and that may be in days.
            keep(Outcome::Answered);
            return Ok(Box::new(Conversation {
                asked: Rc::clone(asked),
                entered,
                permit,
                backend: dialled.backend,
            }));
        }
        Progress::Done(Err(refusal)) => {
            ended(shard, &permit, Outcome::Refused);
            keep(Outcome::Refused);
            refusal
        }
        Progress::Withdrawn => {
            ended(shard, &permit, Outcome::Withdrawn);
            keep(Outcome::Withdrawn);
            Refusal::PermitWithdrawn
        }
        Progress::BrokenOff => {
            ended(shard, &permit, Outcome::Broken);
            keep(Outcome::Broken);
            return Err(Ended::Broken);
        }
    };
    Err(refuse(shard, stream, refusal).await)
}

fn ended(shard: &Shard, permit: &Permit, outcome: Outcome) {
    shard
        .counters
        .ended(&shard.shared.labels, permit.system_name(), outcome);
}

/// A granted conversation whose backend is connected.
pub(super) struct Conversation {
    asked: Rc<Asked>,
    entered: Entered<Asked>,
    permit: Permit,
    backend: Backend,
}

impl Conversation {
    pub(super) fn carry(
        &self,
        shard: &Shard,
        stream: &Stream,
        pieces: &mut VecDeque<Piece>,
    ) -> impl Future<Output = Ended> {
        async move {
            let progress = {
                let work = pin!(converse(stream, pieces, &self.asked, &self.backend));
                while_granted(stream, &self.entered, work).await
            };
            let outcome = match progress {
                Progress::Done(Ok(())) => Outcome::Answered,
                Progress::Done(Err(Broke)) | Progress::BrokenOff => Outcome::Broken,
                Progress::Withdrawn => Outcome::Withdrawn,
            };
            ended(shard, &self.permit, outcome);
            if outcome == Outcome::Answered {
                return Ended::Finished;
            }
            self.backend.abort();
            Ended::Broken
        }
    }
}

/// The conversation did not end in good order.
struct Broke;

fn converse(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: &Asked,
    backend: &Backend,
) -> impl Future<Output = Result<(), Broke>> {
    async move {
        Box::pin(begin(stream, asked, backend))
            .await
            .map_err(|_gone| Broke)?;
        duplex(stream, pieces, backend).await.map_err(|broken| {
            tracing::debug!(%broken, "conversation broke off");
            Broke
        })
    }
}

// Says that the conversation is granted, and passes on what came with the connect request.
async fn begin(stream: &Stream, asked: &Asked, backend: &Backend) -> Result<(), Broken> {
    let mut accepted = Vec::with_capacity(1);
    Response::Accepted.encode(&mut accepted);
    stream.send_bytes(&accepted, false).await?;
    backend
        .write_all(asked.message())
        .await
        .map_err(Broken::Wire)
}
