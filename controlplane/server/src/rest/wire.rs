//! Bodies, queries and paths: read within limits, refused with a reason.

use adit_api::limits::{BODY_BYTES_MAX, MESSAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use adit_store::Key;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts as Head;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

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
    let bytes = bytes(request.into_body(), limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| Trouble::Invalid(error.to_string()))
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// It is longer, or was cut.
pub(crate) async fn bytes(body: Body, limit: usize) -> Result<bytes::Bytes, Trouble> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Trouble::TooLarge { limit })
        }
        Err(_cut) => Err(Trouble::Invalid("the body ended early".to_owned())),
    }
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
