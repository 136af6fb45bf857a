//! The control plane about itself: its servers, and its certificate authority.

use adit_api::limits::BODY_BYTES_MAX;
use adit_api::{Authority, AuthorityStep, Server, Status};
use adit_people::Verb;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::ETAG;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::condition::{Condition, etag};
use super::people::Tagged;
use super::wire::{Refusals, Said, bytes};
use super::{Of, Parts};
use crate::acts::Deed;
use crate::backup;
use crate::keys;
use crate::limits::{BACKUP_BYTES_MAX, PAGE_ITEMS_MAX, RULES_LIMIT};
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<std::sync::Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(authority))
        .routes(routes!(roll))
        .routes(routes!(back_up))
        .routes(routes!(restore))
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
    let read = |entry: &adit_store::Entry| keys::hear::<Server>(&entry.key, entry.value.as_bytes());
    let servers = page.entries.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Status {
        server: parts.name.clone(),
        software: crate::SOFTWARE.to_owned(),
        epoch: parts.life.epoch(),
        store: parts.store_kind.to_owned(),
        servers,
        sinks: match parts.store.get(&keys::sender_facts()).await? {
            Some(entry) => keys::hear(&entry.key, entry.value.as_bytes())?,
            None => Vec::new(),
        },
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

/// The password of a backup.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Sealing {
    /// At least 12 bytes.
    password: String,
}

/// Make a backup of everything, sealed with a password.
#[utoipa::path(post, path = "/api/v1/backup", tag = "control plane", security(("bearer" = [])),
    request_body = Sealing, responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Refusals))]
async fn back_up(
    State(parts): Of,
    caller: Caller,
    Said(wish): Said<Sealing>,
) -> Result<Vec<u8>, Trouble> {
    caller.may_globally(Verb::BackupCreate)?;
    if wish.password.len() < BACKUP_PASSWORD_BYTES_MIN {
        return Err(Trouble::Invalid(format!(
            "password: at least {BACKUP_PASSWORD_BYTES_MIN} bytes"
        )));
    }
    let (sealed, header) = backup::create(&parts.store, &parts.life, wish.password).await?;
    let deed = Deed {
        verb: "backup-create",
        subaccount: None,
        what: "control plane".to_owned(),
        detail: format!("{} entries, {} bytes", header.entries, sealed.len()),
    };
    parts.acts.note(&caller.by(), &deed).await?;
    Ok(sealed)
}

/// Put a backup in place of everything, in one step. The header `adit-backup-password` holds the password in base64.
/// Every server begins anew with it; nodes come back by themselves.
#[utoipa::path(post, path = "/api/v1/restore", tag = "control plane", security(("bearer" = [])),
    params(("adit-backup-password" = String, Header)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), Refusals))]
async fn restore(
    State(parts): Of,
    caller: Caller,
    request: Request,
) -> Result<StatusCode, Trouble> {
    caller.may_globally(Verb::BackupRestore)?;
    let field = request
        .headers()
        .get("adit-backup-password")
        .and_then(|value| value.to_str().ok());
    let password = field
        .and_then(|field| STANDARD.decode(field).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let password = password.ok_or_else(|| {
        Trouble::Invalid("adit-backup-password: the password in base64".to_owned())
    })?;
    // Seal and base64 stand around what is counted.
    let (sealed, _room) = bytes(
        request.into_body(),
        BACKUP_BYTES_MAX + BODY_BYTES_MAX,
        RULES_LIMIT,
    )
    .await?;
    backup::restore(
        &parts.generations,
        &parts.life,
        &caller.by(),
        sealed.into(),
        password,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// As short as a password of a person.
const BACKUP_PASSWORD_BYTES_MIN: usize = 12;

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
    let base = condition.revision()?;
    if wish.step == AuthorityStep::Finish {
        parts.book.sign_anew().await?;
    }
    parts.life.roll(&caller.by(), base, wish.step).await?;
    Ok(StatusCode::NO_CONTENT)
}
