//! Bodies, queries and paths: read within limits, refused with a reason.

use std::time::Duration;

use adit_api::limits::{BODY_BYTES_MAX, MESSAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use adit_store::Key;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts as Head;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use crate::limits::{BODIES_BYTES_MAX, BODY_LIMIT};
use crate::trouble::Trouble;

/// A JSON body of at most [`BODY_BYTES_MAX`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Trouble;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Trouble> {
        json(request, BODY_BYTES_MAX).await.map(Self)
    }
}

/// Reads a JSON body.
///
/// # Errors
/// It is too long, of another type, or not what is wanted.
pub(crate) async fn json<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Trouble> {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Trouble::MediaType("application/json"));
    }
    let (bytes, _room) = bytes(request.into_body(), limit, BODY_LIMIT).await?;
    serde_json::from_slice(&bytes).map_err(|error| Trouble::Invalid(error.to_string()))
}

/// The room that the bytes of a body take: given back when this is dropped, so whoever works with the bytes keeps it.
#[derive(Debug)]
pub(crate) struct Room {
    _pieces: Vec<SemaphorePermit<'static>>,
}

/// Reads a body of at most `limit` bytes, that must have come within `time`.
///
/// # Errors
/// It is longer, was cut, or came too slowly; or too many bytes are being read or worked with already.
pub(crate) async fn bytes(
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<(Bytes, Room), Trouble> {
    bytes_within(&ROOM, body, limit, time).await
}

async fn bytes_within(
    rooms: &'static Semaphore,
    mut body: Body,
    limit: usize,
    time: Duration,
) -> Result<(Bytes, Room), Trouble> {
    let deadline = Instant::now() + time;
    let mut read = BytesMut::new();
    let mut room: Vec<SemaphorePermit<'static>> = Vec::new();
    loop {
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_elapsed| Trouble::Slow)?;
        let Some(frame) = frame else {
            return Ok((read.freeze(), Room { _pieces: room }));
        };
        let frame = frame.map_err(|_cut| Trouble::Invalid("the body ended early".to_owned()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let wanted = read.len() + data.len();
        if wanted > limit {
            return Err(Trouble::TooLarge { limit });
        }
        while room.len() * ROOM_BYTES < wanted {
            // Nobody waits for room while holding some, so nobody waits for ever.
            room.push(rooms.try_acquire().map_err(|_none_left| Trouble::Busy)?);
        }
        read.extend_from_slice(&data);
    }
}

/// Bodies are held whole, so all of them together are bounded, in pieces of this size.
const ROOM_BYTES: usize = 64 * 1024;
static ROOM: Semaphore = rooms();

const fn rooms() -> Semaphore {
    Semaphore::const_new(BODIES_BYTES_MAX / ROOM_BYTES)
}

/// Bytes of bodies that are held at the moment, in whole pieces.
#[cfg(test)]
pub(super) fn bytes_held() -> usize {
    BODIES_BYTES_MAX - ROOM.available_permits() * ROOM_BYTES
}

/// A query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, _state: &S) -> Result<Self, Trouble> {
        axum::extract::Query::try_from_uri(&head.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| Trouble::Invalid(rejection.body_text()))
    }
}

/// Names in a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, state: &S) -> Result<Self, Trouble> {
        axum::extract::Path::from_request_parts(head, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|rejection| Trouble::Invalid(rejection.body_text()))
    }
}

/// Which part of a list.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// What the page before gave as `next`.
    pub(crate) after: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200, default = 200)]
    pub(crate) limit: Option<u64>,
}

impl Paging {
    /// Where to begin: a key below `prefix`, so that nobody lists what is elsewhere.
    ///
    /// # Errors
    /// `after` is none of ours.
    pub(crate) fn after(&self, prefix: &adit_store::Prefix) -> Result<Option<Key>, Trouble> {
        let Some(after) = &self.after else {
            return Ok(None);
        };
        let key = Key::new(after.clone()).ok().filter(|key| prefix.holds(key));
        key.map(Some).ok_or_else(|| {
            Trouble::Invalid("after: give what the page before gave as `next`".to_owned())
        })
    }

    /// # Errors
    /// It is beyond what a page can hold.
    pub(crate) fn items_max(&self) -> Result<usize, Trouble> {
        items_max(self.limit)
    }
}

/// How many items a page may have.
///
/// # Errors
/// More are wanted than a page can hold, or none.
pub(crate) fn items_max(limit: Option<u64>) -> Result<usize, Trouble> {
    let limit = limit.unwrap_or(PAGE_ITEMS_MAX);
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Err(Trouble::Invalid(format!("limit: 1 to {PAGE_ITEMS_MAX}")));
    }
    usize::try_from(limit).map_err(|error| Trouble::Invalid(error.to_string()))
}

/// A number as the document describes it: of 63 bits.
///
/// # Errors
/// It is larger.
pub(crate) fn number(number: Option<u64>) -> Result<Option<u64>, Trouble> {
    match number {
        Some(number) if i64::try_from(number).is_err() => Err(Trouble::Invalid(format!(
            "{number} is larger than any number here"
        ))),
        number => Ok(number),
    }
}

/// A message that goes with a change.
///
/// # Errors
/// It is too long.
pub(crate) fn message(text: Option<String>) -> Result<String, Trouble> {
    let text = text.unwrap_or_default();
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(Trouble::Invalid(format!(
            "message: at most {MESSAGE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// What every request may be answered with.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "read by the document's generator only")]
pub(crate) enum Refusals {
    /// It was not done, for a reason on the caller's side.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Caller(#[to_schema] adit_api::Problem),
    /// It was not done, for a reason on this side.
    #[response(status = "5XX", content_type = "application/problem+json")]
    Server(#[to_schema] adit_api::Problem),
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use adit_api::limits::RULES_BYTES_MAX;
    use http_body::Frame;
    use tokio::sync::mpsc;

    use super::*;
    use crate::limits::RULES_LIMIT;

    const MOMENT: Duration = Duration::from_millis(50);

    /// A body that comes as it is sent, and ends when its sender is gone.
    struct Coming(mpsc::UnboundedReceiver<Bytes>);

    impl http_body::Body for Coming {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let next = self.0.poll_recv(context);
            next.map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn coming() -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Body::new(Coming(receiver)))
    }

    fn json_request(body: Body) -> Request {
        let mut request = Request::new(body);
        let kind = axum::http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_so_long_and_not_longer() {
        // A JSON body.
        for (late, is_read) in [(BODY_LIMIT - MOMENT, true), (BODY_LIMIT + MOMENT, false)] {
            let (sender, body) = coming();
            let reading = tokio::spawn(json::<u64>(json_request(body), 10));
            sender.send(Bytes::from_static(b"4")).unwrap();
            tokio::task::yield_now().await;
            tokio::time::advance(late).await;
            tokio::task::yield_now().await;
            // Nobody listens any more when it is too late.
            let _ = sender.send(Bytes::from_static(b"2"));
            drop(sender);
            match reading.await.unwrap() {
                Ok(number) => assert!(is_read && number == 42),
                Err(Trouble::Slow) => assert!(!is_read),
                Err(other) => panic!("{other:?}"),
            }
        }
        // A byte now and then does not make it longer; rules have more time.
        for limit in [BODY_LIMIT, RULES_LIMIT] {
            let (sender, body) = coming();
            let begun = Instant::now();
            let drip = tokio::spawn(async move {
                let mut every = tokio::time::interval(Duration::from_secs(1));
                while sender.send(Bytes::from_static(b"x")).is_ok() {
                    every.tick().await;
                }
            });
            let slow = bytes(body, 1024, limit).await;
            assert!(matches!(slow, Err(Trouble::Slow)), "{slow:?}");
            assert!((limit..limit + MOMENT).contains(&begun.elapsed()));
            drip.await.unwrap();
        }
        let (sender, body) = coming();
        let reading = tokio::spawn(bytes(body, 10, RULES_LIMIT));
        tokio::task::yield_now().await;
        tokio::time::advance(RULES_LIMIT - MOMENT).await;
        sender.send(Bytes::from_static(b"rules")).unwrap();
        drop(sender);
        assert_eq!(&*reading.await.unwrap().unwrap().0, b"rules");
    }

    #[tokio::test]
    async fn all_bodies_may_have_so_many_bytes_until_nobody_works_with_them_any_more() {
        // Of this test alone: other bodies of the process have theirs.
        static ROOM: Semaphore = rooms();
        let bytes = async |body, limit| bytes_within(&ROOM, body, limit, BODY_LIMIT).await;
        let whole = || ROOM.available_permits() * ROOM_BYTES == BODIES_BYTES_MAX;

        // Rules of the largest size, and of one byte more.
        for (size, is_read) in [(RULES_BYTES_MAX, true), (RULES_BYTES_MAX + 1, false)] {
            let read = bytes(Body::from(vec![b'#'; size]), RULES_BYTES_MAX).await;
            match read {
                Ok((read, _room)) => assert!(is_read && read.len() == size),
                Err(Trouble::TooLarge { limit }) => assert!(!is_read && limit < size),
                Err(other) => panic!("{other:?}"),
            }
        }

        // Nothing of those is held any more.
        assert!(whole());
        let taken = u32::try_from(BODIES_BYTES_MAX / ROOM_BYTES - 2).unwrap();
        let others = ROOM.try_acquire_many(taken).unwrap();
        let last = vec![0; 2 * ROOM_BYTES];
        let (read, room) = bytes(Body::from(last.clone()), usize::MAX).await.unwrap();
        assert_eq!(read.len(), 2 * ROOM_BYTES);
        // Read, and still somebody's.
        let busy = bytes(Body::from(vec![0]), usize::MAX).await;
        assert!(matches!(busy, Err(Trouble::Busy)), "{busy:?}");
        drop(room);
        let more = [last, vec![0]].concat();
        let busy = bytes(Body::from(more.clone()), usize::MAX).await;
        assert!(matches!(busy, Err(Trouble::Busy)), "{busy:?}");
        drop(others);
        let (read, room) = bytes(Body::from(more), usize::MAX).await.unwrap();
        assert_eq!(read.len(), 2 * ROOM_BYTES + 1);
        drop(room);
        assert!(whole());
    }

    #[test]
    fn a_message_has_so_many_bytes_and_not_one_more() {
        let longest = "m".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(message(Some(longest.clone())).unwrap(), longest);
        let refused = message(Some(format!("{longest}m")));
        assert!(matches!(refused, Err(Trouble::Invalid(_))), "{refused:?}");
        assert_eq!(message(None).unwrap(), "");
    }
}
