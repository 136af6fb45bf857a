//! Opaque conversations: systems of protocol tcp and tls.
//!
//! Judged once at the beginning, then carried in both directions until both have ended; a change of the
//! rules ends what it no longer grants.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use adit_proto::connect::Response;
use adit_proto::refusal::Refusal;
use adit_relay::duplex::duplex;
use adit_transport::{Piece, Stream, Wire};

use super::{Asked, Ended, Progress, dial, refuse, while_granted};
use crate::backend::Backend;
use crate::enforce;
use crate::live::Judged;
use crate::metrics::Outcome;
use crate::shard::Shard;

pub(super) async fn serve(
    shard: &Rc<Shard>,
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: Asked,
) -> Ended {
    let asked = Rc::new(asked);
    let (Some(connect), Some(request)) = (asked.connect(), asked.request()) else {
        return refuse(shard, stream, Refusal::ProtocolError).await;
    };
    let (permit, in_force) = match enforce::judge(shard, &connect, &request) {
        Ok(granted) => granted,
        Err(refusal) => return refuse(shard, stream, refusal).await,
    };
    let entered = shard.live.enter(Rc::clone(&asked), permit.clone());
    let end = |outcome| {
        shard
            .counters
            .ended(&shard.shared.labels, permit.system_name(), outcome)
    };

    // Held only while it lasts.
    let mut dialling = Box::pin(dial(shard, stream, pieces, &permit, &in_force, connect.id));
    let dialled = while_granted(stream, &entered, dialling.as_mut()).await;
    drop(dialling);
    let backend = match dialled {
        Progress::Done(Ok(dialled)) => dialled.backend,
        Progress::Done(Err(refusal)) => {
            end(Outcome::Refused);
            return refuse(shard, stream, refusal).await;
        }
        Progress::Withdrawn => {
            end(Outcome::Withdrawn);
            return refuse(shard, stream, Refusal::PermitWithdrawn).await;
        }
        Progress::BrokenOff => {
            end(Outcome::Broken);
            return Ended::Broken;
        }
    };
    let conversation = pin!(converse(stream, pieces, &asked, &backend));
    let outcome = match while_granted(stream, &entered, conversation).await {
        Progress::Done(Ok(())) => {
            end(Outcome::Answered);
            return Ended::Finished;
        }
        Progress::Done(Err(Broke)) | Progress::BrokenOff => Outcome::Broken,
        Progress::Withdrawn => Outcome::Withdrawn,
    };
    end(outcome);
    backend.abort();
    Ended::Broken
}

/// The conversation did not end in good order.
struct Broke;

async fn converse(
    stream: &Stream,
    pieces: &mut VecDeque<Piece>,
    asked: &Asked,
    backend: &Backend,
) -> Result<(), Broke> {
    let mut accepted = Vec::with_capacity(1);
    Response::Accepted.encode(&mut accepted);
    stream
        .send_bytes(&accepted, false)
        .await
        .map_err(|_gone| Broke)?;
    // What came with the connect request goes first.
    backend
        .write_all(asked.message())
        .await
        .map_err(|_gone| Broke)?;
    match duplex(stream, pieces, backend).await.broken {
        None => Ok(()),
        Some(broken) => {
            tracing::debug!(%broken, "conversation broke off");
            Err(Broke)
        }
    }
}
