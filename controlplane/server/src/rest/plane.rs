//! The control plane about itself: its servers, and its certificate authority.

use adit_api::{Authority, AuthorityStep, Server, Status};
use adit_people::Verb;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::condition::{Condition, etag};
use super::people::Tagged;
use super::wire::{Refusals, Said};
use super::{Of, Parts};
use crate::keys;
use crate::limits::PAGE_ITEMS_MAX;
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<std::sync::Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(authority))
        .routes(routes!(roll))
        .route("/healthz", axum::routing::get(healthz))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// How the servers are.
#[utoipa::path(get, path = "/api/v1/status", tag = "control plane", security(("bearer" = [])),
    responses((status = 200, body = Status), Refusals))]
async fn status(State(parts): Of, caller: Caller) -> Result<Json<Status>, Trouble> {
    caller.may_globally(Verb::ServerStatus)?;
    let page = parts
        .store
        .list(&keys::servers(), None, PAGE_ITEMS_MAX)
        .await?;
    let read = |entry: &adit_store::Entry| keys::read::<Server>(&entry.key, entry.value.as_bytes());
    let servers = page.entries.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Status {
        server: parts.name.clone(),
        software: crate::SOFTWARE.to_owned(),
        epoch: parts.life.epoch(),
        store: parts.store_kind.to_owned(),
        servers,
        connected: u64::try_from(parts.hub.connected()).unwrap_or(u64::MAX),
    }))
}

/// Roots, signing keys, and what is revoked.
#[utoipa::path(get, path = "/api/v1/authority", tag = "control plane", security(("bearer" = [])),
    responses((status = 200, body = Authority, headers(("etag" = String))), Refusals))]
async fn authority(State(parts): Of, caller: Caller) -> Result<(Tagged, Json<Authority>), Trouble> {
    caller.may_globally(Verb::AuthorityRead)?;
    let (shown, revision) = parts.life.shown().await?;
    Ok(([(ETAG, etag(revision))], Json(shown)))
}

/// Which step to take.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Roll {
    step: AuthorityStep,
}

/// Take a step of a roll-over: of the root and the key that signs rules.
#[utoipa::path(post, path = "/api/v1/authority/roll", tag = "control plane", security(("bearer" = [])),
    params(("if-match" = String, Header)), request_body = Roll, responses((status = 204), Refusals))]
async fn roll(
    State(parts): Of,
    caller: Caller,
    condition: Condition,
    Said(wish): Said<Roll>,
) -> Result<StatusCode, Trouble> {
    caller.may_globally(Verb::AuthorityRoll)?;
    parts
        .life
        .roll(&caller.by(), condition.revision()?, wish.step)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
