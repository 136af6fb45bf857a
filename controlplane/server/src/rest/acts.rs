//! Who did what.

use adit_api::{Act, Acts};
use adit_people::{Verb, Visible, visible};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::wire::{Asked, Refusals, items_max, number};
use super::{Of, Parts};
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<std::sync::Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(chain))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Of this subaccount only.
    subaccount: Option<String>,
    /// By this person or node only.
    who: Option<String>,
    /// What the page before gave as `next`.
    after: Option<u64>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: Option<u64>,
}

/// What was done, oldest first: in the subaccounts whose audit the caller may read.
#[utoipa::path(get, path = "/api/v1/acts", tag = "audit", security(("bearer" = [])), params(Wanted),
    responses((status = 200, body = Acts), Refusals))]
async fn list(
    State(parts): Of,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Acts>, Trouble> {
    let sees = visible(caller.principal(), Verb::AuditRead);
    if sees == Visible::None {
        caller.may_globally(Verb::AuditRead)?;
    }
    let shows = |act: &Act| {
        let seen = match (&sees, &act.subaccount) {
            (Visible::All, _) => true,
            (Visible::Some(names), Some(subaccount)) => names.contains(subaccount),
            (Visible::Some(_) | Visible::None, _) => false,
        };
        seen && wanted
            .subaccount
            .as_ref()
            .is_none_or(|name| act.subaccount.as_ref() == Some(name))
            && wanted.who.as_ref().is_none_or(|who| act.who == *who)
    };
    let limit = items_max(wanted.limit)?;
    let (items, next) = parts
        .acts
        .list(number(wanted.after)?.unwrap_or_default(), limit, shows)
        .await?;
    Ok(Json(Acts { items, next }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Behind {
    /// The number of the last line that is known.
    after: Option<u64>,
}

/// The chain itself, line by line, for `adit audit verify`. The header `adit-next` says where to go on.
#[utoipa::path(get, path = "/api/v1/acts/chain", tag = "audit", security(("bearer" = [])), params(Behind),
    responses((status = 200, body = String, content_type = "application/jsonl"), Refusals))]
async fn chain(
    State(parts): Of,
    caller: Caller,
    Asked(behind): Asked<Behind>,
) -> Result<([(HeaderName, String); 2], Vec<u8>), Trouble> {
    caller.may_globally(Verb::AuditRead)?;
    let (lines, next) = parts
        .acts
        .lines(number(behind.after)?.unwrap_or_default())
        .await?;
    let next = next.map_or_else(String::new, |next| next.to_string());
    let kind = (
        axum::http::header::CONTENT_TYPE,
        "application/jsonl".to_owned(),
    );
    Ok(([kind, (HeaderName::from_static("adit-next"), next)], lines))
}
