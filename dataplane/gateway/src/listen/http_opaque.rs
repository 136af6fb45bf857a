//! CONNECT on the HTTP door: opaque conversations with systems of protocol tcp or tls.
//!
//! SAP's proxy answers 405 to every CONNECT; here it works where the agent's rules know the target as
//! an opaque system, and is still answered with 405 where they know it as HTTP.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use adit_proto::connect::{Protocol, Response};
use adit_proto::refusal::Refusal;
use adit_relay::gather;
use adit_transport::{Link, Wire};

use super::http::{Asking, Connection, Next};
use crate::directory::Entry;
use crate::door::{self, Conversation};
use crate::metrics::Counters;
use crate::refuse::Asked;
use crate::shard::Shard;

pub(super) async fn serve(
    connection: &Connection,
    shard: &Rc<Shard>,
    asking: &Asking<'_>,
    asked: &Asked<'_>,
    input: &[u8],
    link: Rc<Link>,
    entry: Arc<Entry>,
) -> Next {
    let mut front = Vec::with_capacity(256);
    let encoded = door::encode(
        &mut front,
        Protocol::Tcp,
        asking.host,
        asking.port,
        asking.caller,
        None,
        asking.id,
    );
    let opened = match encoded {
        Ok(()) => door::open(shard, &link, &entry).await,
        Err(refusal) => Err(refusal),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            return connection
                .refuse(shard, refusal, asked, asking.id, false)
                .await;
        }
    };
    // What the client sent behind its head belongs to the conversation.
    front.extend_from_slice(input.get(asking.head.head_bytes..).unwrap_or_default());
    let mut pieces = VecDeque::new();
    let mut answer = Vec::new();
    let verdict = async {
        opened
            .stream
            .send_bytes(&front, false)
            .await
            .map_err(door::lost)?;
        let (verdict, used) =
            gather::from_stream(&opened.stream, &mut pieces, &mut answer, Response::decode)
                .await
                .map_err(|_cut| Refusal::TunnelLost)?;
        match verdict {
            Response::Accepted => Ok(used),
            // Known, but as an HTTP system: the answer SAP's proxy gives to every CONNECT.
            Response::Refused {
                refusal: Refusal::ResourceDenied,
                ..
            } => Err(Refusal::MethodUnsupported),
            Response::Refused { refusal, .. } => Err(refusal),
        }
    }
    .await;
    let used = match verdict {
        Ok(used) => used,
        Err(refusal) => {
            return connection
                .refuse(shard, refusal, asked, asking.id, false)
                .await;
        }
    };
    let mut established = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
    established.extend_from_slice(answer.get(used..).unwrap_or_default());
    if connection.wire.write_all(&established).await.is_err() {
        opened.stream.reset();
        return Next::Over;
    }
    asked.steps.answered(0);
    let traces = &shard.shared.traces;
    traces.answered(shard.index, asking.id, asked.door(), &asked.steps);
    Counters::opaque("http");
    Next::Converse(Box::new(Conversation { opened, pieces }))
}
