//! What nodes ask: to become one, for the next certificate, and for what is new.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_proto::control::{
    Ack, Answer, Beat, ENROL, Enrol, Enrolled, Hello, Nack, RENEW, Renew, SUBSCRIPTIONS, read_json,
};
use adit_proto::limits::CONTROL_BYTES_MAX;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http_body::Frame;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Connection;
use super::peer::Peer;
use crate::hub::{Hub, Subscription};
use crate::limits::{BODY_LIMIT, EVENTS_WAITING_MAX, SOFTWARE_BYTES_MAX};
use crate::rest::{Parts, RequestId};
use crate::trouble::Trouble;

/// The paths under `/node/v1`.
pub(super) fn routes(parts: Arc<Parts>) -> Router {
    Router::new()
        .route(ENROL, post(enrol))
        .route(RENEW, post(renew))
        .route(SUBSCRIPTIONS, post(subscribe))
        .route(&format!("{SUBSCRIPTIONS}/{{subscription}}/ack"), post(ack))
        .route(
            &format!("{SUBSCRIPTIONS}/{{subscription}}/nack"),
            post(nack),
        )
        .route(
            &format!("{SUBSCRIPTIONS}/{{subscription}}/beat"),
            post(beat),
        )
        .route(
            &format!("{SUBSCRIPTIONS}/{{subscription}}/answers/{{ask}}"),
            post(answer),
        )
        .layer(axum::middleware::from_fn(crate::rest::named))
        .with_state(parts)
}

type Of = State<Arc<Parts>>;

async fn enrol(
    State(parts): Of,
    Extension(id): Extension<RequestId>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Result<(StatusCode, Json<Enrolled>), Trouble> {
    // A stranger's words: few of them.
    let wish: Enrol = read(body, ENROL_BYTES_MAX, "enrolment").await?;
    if wish.software.len() > SOFTWARE_BYTES_MAX {
        return Err(Trouble::Invalid(format!(
            "software: at most {SOFTWARE_BYTES_MAX} bytes"
        )));
    }
    let enrolled = parts.register.enrol(&wish, &id.0).await;
    if let Err(trouble) = &enrolled {
        tracing::warn!(source = %connection.source, ?trouble, "an enrolment was refused");
    }
    Ok((StatusCode::CREATED, Json(enrolled?)))
}

async fn renew(
    State(parts): Of,
    Extension(id): Extension<RequestId>,
    Extension(connection): Extension<Connection>,
    mut head: axum::extract::Request,
) -> Result<(StatusCode, Json<Enrolled>), Trouble> {
    let body = std::mem::take(head.body_mut());
    let wish: Renew = read(body, ENROL_BYTES_MAX, "renewal").await?;
    let enrolled = match &wish.expired {
        None => {
            let (mut head, _) = head.into_parts();
            let peer =
                <Peer as axum::extract::FromRequestParts<()>>::from_request_parts(&mut head, &())
                    .await?;
            parts
                .register
                .renew(&peer.id, &peer.serial, &wish.csr, &id.0)
                .await
        }
        Some(proof) => parts.register.renew_expired(proof, &wish.csr, &id.0).await,
    };
    if let Err(trouble) = &enrolled {
        tracing::warn!(source = %connection.source, ?trouble, "a renewal was refused");
    }
    Ok((StatusCode::CREATED, Json(enrolled?)))
}

async fn subscribe(State(parts): Of, peer: Peer, body: Body) -> Result<Response, Trouble> {
    let hello: Hello = read(body, ENROL_BYTES_MAX, "hello").await?;
    let (subscription, events) = parts.hub.subscribe(peer, hello).await?;
    let row = Events {
        events,
        of: Ended {
            hub: Arc::clone(&parts.hub),
            subscription,
        },
    };
    let mut response = Response::new(Body::new(row));
    response.headers_mut().insert(
        axum::http::header::CONTENT_TYPE,
        axum::http::HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

async fn ack(
    State(parts): Of,
    peer: Peer,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Trouble> {
    let subscription = subscription(&parts, &peer, &name)?;
    let ack: Ack = read(body, ENROL_BYTES_MAX, "ack").await?;
    subscription.acked(&ack);
    parts.hub.changed(&subscription);
    Ok(StatusCode::NO_CONTENT)
}

async fn nack(
    State(parts): Of,
    peer: Peer,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Trouble> {
    let subscription = subscription(&parts, &peer, &name)?;
    let nack: Nack = read(body, CONTROL_BYTES_MAX, "nack").await?;
    subscription.nacked(nack);
    parts.hub.changed(&subscription);
    Ok(StatusCode::NO_CONTENT)
}

async fn beat(
    State(parts): Of,
    peer: Peer,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Trouble> {
    let subscription = subscription(&parts, &peer, &name)?;
    let beat: Beat = read(body, ENROL_BYTES_MAX, "beat").await?;
    if subscription.beaten(beat) {
        parts.hub.changed(&subscription);
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(
    State(parts): Of,
    peer: Peer,
    Path((name, ask)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Trouble> {
    let subscription = subscription(&parts, &peer, &name)?;
    let answer: Answer = read(body, CONTROL_BYTES_MAX, "answer").await?;
    // Too late is no fault of the node's.
    subscription.answered(&ask, answer);
    Ok(StatusCode::NO_CONTENT)
}

fn subscription(parts: &Parts, peer: &Peer, name: &str) -> Result<Arc<Subscription>, Trouble> {
    let found = parts
        .hub
        .subscription(&peer.id, name)
        .filter(|subscription| subscription.serial == peer.serial);
    found.ok_or_else(|| {
        Trouble::NotFound("there is no such subscription any more; subscribe again".to_owned())
    })
}

async fn read<T: DeserializeOwned>(
    body: Body,
    limit: usize,
    part: &'static str,
) -> Result<T, Trouble> {
    let (bytes, _room) = crate::rest::bytes(body, limit, BODY_LIMIT).await?;
    read_json(&bytes, part).map_err(|error| Trouble::Invalid(error.to_string()))
}

/// Bytes of what a node says, but for refusals and answers. 64 KiB: a request for a certificate, a list of reasons.
const ENROL_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(EVENTS_WAITING_MAX > 4);

/// The row of events of one subscription.
struct Events {
    events: mpsc::Receiver<Bytes>,
    of: Ended,
}

/// Tells the hub when nobody reads the events any more.
struct Ended {
    hub: Arc<Hub>,
    subscription: Arc<Subscription>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.hub.gone(&self.subscription);
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(Ok(Frame::data(event)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.of.subscription.is_ended() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_world::{World, hello};

    #[tokio::test]
    async fn a_word_counts_under_the_name_of_a_line_and_by_the_certificate_that_it_rests_on() {
        let world = World::new(1).await;
        let peer = world.agent("berlin-1").await;
        let other = world.agent("berlin-2").await;
        let line = world.subscribe(peer.clone(), hello("a 1")).await;
        let (line, _events) = line.unwrap();
        let is_found = |peer: &Peer, name: &str| subscription(&world.parts, peer, name).is_ok();
        assert!(is_found(&peer, &line.id));
        assert!(!is_found(&peer, "another"));
        assert!(!is_found(&other, &line.id));
        let renewed = Peer {
            serial: "77".to_owned(),
            ..peer
        };
        assert!(!is_found(&renewed, &line.id));
    }
}
