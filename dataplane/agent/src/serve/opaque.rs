//! Opaque conversations: systems of protocol tcp and tls.
//!
//! Judged once at the beginning, then carried in both directions until both have ended; a change of the
//! rules ends what it no longer grants.

use std::collections::VecDeque;
use std::rc::Rc;

use adit_proto::connect::Response;
use adit_proto::refusal::Refusal;
use adit_relay::duplex::duplex;
use adit_runtime::local::{Either, either};
use adit_transport::{Piece, Stream, Wire};

use super::{Asked, Ended, refuse};
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
    let end = |outcome| shard.counters.ended(&shard.shared.labels, permit.system_name(), outcome);

    let dialling = shard.dial(&permit, &in_force, connect.id);
    let backend = match either(stream.broken_off(), either(entered.withdrawn(), dialling)).await {
        Either::Right(Either::Right(Ok(dialled))) => dialled.backend,
        Either::Right(Either::Right(Err(refusal))) => {
            end(Outcome::Refused);
            return refuse(shard, stream, refusal).await;
        }
        Either::Right(_) => {
            end(Outcome::Withdrawn);
            return refuse(shard, stream, Refusal::PermitWithdrawn).await;
        }
        _ => {
            end(Outcome::Broken);
            return Ended::Broken;
        }
    };
    let conversation = converse(stream, pieces, &asked, &backend);
    match either(entered.withdrawn(), conversation).await {
        Either::Right(Ended::Finished) => {
            end(Outcome::Answered);
            Ended::Finished
        }
        Either::Right(Ended::Broken) => {
            end(Outcome::Broken);
            backend.abort();
            Ended::Broken
        }
        _ => {
            end(Outcome::Withdrawn);
            backend.abort();
            Ended::Broken
        }
    }
}

async fn converse(stream: &Stream, pieces: &mut VecDeque<Piece>, asked: &Asked, backend: &Backend) -> Ended {
    let mut accepted = Vec::with_capacity(1);
    Response::Accepted.encode(&mut accepted);
    if stream.send_bytes(&accepted, false).await.is_err() {
        return Ended::Broken;
    }
    // What came with the connect request goes first.
    match either(stream.broken_off(), backend.write_all(asked.message())).await {
        Either::Right(Ok(())) => {}
        _ => return Ended::Broken,
    }
    match duplex(stream, pieces, backend).await.broken {
        None => Ended::Finished,
        Some(broken) => {
            tracing::debug!(%broken, "conversation broke off");
            Ended::Broken
        }
    }
}
