//! CONNECT on the HTTP door: opaque conversations with systems of protocol tcp or tls.
//!
//! SAP's proxy answers 405 to every CONNECT; here it works where the agent's rules know the target as
//! an opaque system, and is still answered with 405 where they know it as HTTP.

use std::rc::Rc;
use std::sync::Arc;

use adit_proto::connect::Protocol;
use adit_proto::refusal::Refusal;
use adit_transport::{Link, Wire};

use super::http::{Asking, Connection, Next};
use crate::directory::Entry;
use crate::door::{self, Unbegun};
use crate::metrics::Counters;
use crate::refuse::Asked;
use crate::shard::Shard;
use crate::trace::Outcome;

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
    // What the client sent behind its head belongs to the conversation.
    front.extend_from_slice(input.get(asking.head.head_bytes..).unwrap_or_default());
    let begun = match encoded {
        Ok(()) => {
            door::converse(
                shard,
                (&link, &entry),
                &front,
                &asked.steps,
                &connection.wire,
            )
            .await
        }
        Err(refusal) => Err(refusal.into()),
    };
    let gone = || {
        let wanted = asked.wanted();
        shard.ended(asking.id, &asked.steps, &wanted, Outcome::BrokenOff);
    };
    let (conversation, early) = match begun {
        Ok(begun) => begun,
        Err(Unbegun::Gone) => {
            gone();
            return Next::Over;
        }
        Err(Unbegun::Refused(refusal)) => {
            // Known, but as an HTTP system: the answer SAP's proxy gives to every CONNECT.
            let is_known = matches!(refusal, Refusal::ResourceDenied);
            let refusal = if is_known {
                Refusal::MethodUnsupported
            } else {
                refusal
            };
            return connection
                .refuse(shard, refusal, asked, asking.id, false)
                .await;
        }
    };
    let mut established = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
    established.extend_from_slice(&early);
    asked.steps.answered(0);
    if connection.wire.write_all(&established).await.is_err() {
        gone();
        conversation.opened.stream.reset();
        return Next::Over;
    }
    let outcome = asked.steps.outcome();
    shard.ended(asking.id, &asked.steps, &asked.wanted(), outcome);
    Counters::opaque("http");
    Next::Converse(conversation)
}
