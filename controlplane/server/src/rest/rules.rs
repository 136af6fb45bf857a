//! Rules: what is in force, its versions, changes, and how far they have come.

use std::sync::Arc;

use adit_api::limits::RULES_BYTES_MAX;
use adit_api::{
    Applied, NodeState, Rollback, Rollout, RolloutNode, RuleSets, Rules, Version, Versions,
};
use adit_people::{Verb, Visible, visible};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::ETAG;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::condition::{Condition, etag};
use super::people::Tagged;
use super::wire::{Asked, Named, Paging, Refusals, Said, bytes, items_max, message, number};
use super::{Of, Parts};
use crate::book::Wish;
use crate::keys;
use crate::limits::RULES_LIMIT;
use crate::place::{NodeId, Place};
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(sets))
        .routes(routes!(get, put))
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(roll_back))
        .routes(routes!(promote))
        .routes(routes!(abandon))
        .routes(routes!(rollout))
}

/// Which location.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct At {
    /// The location; absent or empty is the default one.
    #[serde(default)]
    #[param(required = false)]
    location: String,
}

impl At {
    fn place(&self, subaccount: &str) -> Result<Place, Trouble> {
        Place::new(subaccount, &self.location).map_err(Trouble::Invalid)
    }
}

/// Locations that have rules, in the subaccounts that the caller may see.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", security(("bearer" = [])), params(Paging),
    responses((status = 200, body = RuleSets), Refusals))]
async fn sets(
    State(parts): Of,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Json<RuleSets>, Trouble> {
    let after = paging.after(&keys::heads())?;
    let items_max = paging.items_max()?;
    let (items, next) = match visible(caller.principal(), Verb::RulesRead) {
        Visible::All => parts.book.places(None, after.as_ref(), items_max).await?,
        Visible::Some(names) => {
            let names = Some(names.as_slice());
            parts.book.places(names, after.as_ref(), items_max).await?
        }
        Visible::None => (Vec::new(), None),
    };
    Ok(Json(RuleSets { items, next }))
}

/// The rules in force.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/rules", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), At),
    responses((status = 200, body = Rules, headers(("etag" = String))), Refusals))]
async fn get(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(at): Asked<At>,
) -> Result<(Tagged, Json<Rules>), Trouble> {
    caller.may(Verb::RulesRead, &subaccount)?;
    let place = at.place(&subaccount)?;
    let current = parts
        .book
        .current(&place)
        .await?
        .ok_or_else(|| no_rules(&place))?;
    // While the first version ever is on trial, it is what there is to see.
    let version = match (current.head.version, &current.head.canary) {
        (0, Some(canary)) => canary.version,
        (version, _) => version,
    };
    let rules = Rules {
        version: parts.book.version(&place, version).await?,
        canary: current.head.canary,
        text: parts.book.text(&place, version).await?,
    };
    Ok(([(ETAG, etag(current.revision))], Json(rules)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Put {
    /// The location; absent or empty is the default one.
    #[serde(default)]
    #[param(required = false)]
    location: String,
    /// Why.
    message: Option<String>,
    /// Agents that get it first, separated by commas; the others wait for `promote`.
    canary: Option<String>,
}

/// Put rules in force, or on trial. The rules in force already are no change.
#[utoipa::path(put, path = "/api/v1/subaccounts/{subaccount}/rules", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), Put, ("if-match" = Option<String>, Header), ("if-none-match" = Option<String>, Header)),
    request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = Applied), Refusals))]
async fn put(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(put): Asked<Put>,
    condition: Condition,
    request: Request,
) -> Result<Json<Applied>, Trouble> {
    caller.may(Verb::RulesApply, &subaccount)?;
    let place = Place::new(&subaccount, &put.location).map_err(Trouble::Invalid)?;
    let message = message(put.message)?;
    let canary = match put.canary {
        None => None,
        Some(names) => Some(canary(&parts, &place, &names).await?),
    };
    let kind = request
        .headers()
        .get(axum::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if kind.and_then(|kind| kind.split(';').next()).map(str::trim) != Some(adit_api::RULES_TYPE) {
        return Err(Trouble::MediaType(adit_api::RULES_TYPE));
    }
    // Until they are compiled and stored they are as large as they came.
    let (body, _room) = bytes(request.into_body(), RULES_BYTES_MAX, RULES_LIMIT).await?;
    let text = String::from_utf8(body.into()).map_err(|error| {
        Trouble::Invalid(format!("the rules are not UTF-8: {}", error.utf8_error()))
    })?;
    let wish = Wish {
        text,
        message,
        canary,
    };
    Ok(Json(
        parts
            .book
            .apply(&caller.by(), &place, condition.0, wish)
            .await?,
    ))
}

async fn canary(parts: &Parts, place: &Place, names: &str) -> Result<Vec<String>, Trouble> {
    let known = parts.register.agents_at(place).await?;
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    for name in &names {
        if !known.contains(name) {
            return Err(Trouble::Invalid(format!(
                "canary: there is no agent {name:?} at {place}; there are: {}",
                known.join(", ")
            )));
        }
    }
    Ok(names)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Before {
    /// The location; absent or empty is the default one.
    #[serde(default)]
    #[param(required = false)]
    location: String,
    /// What the page before gave as `next`.
    before: Option<u64>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: Option<u64>,
}

/// Versions, newest first.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/rules/versions", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), Before), responses((status = 200, body = Versions), Refusals))]
async fn versions(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(before): Asked<Before>,
) -> Result<Json<Versions>, Trouble> {
    caller.may(Verb::RulesRead, &subaccount)?;
    let place = Place::new(&subaccount, &before.location).map_err(Trouble::Invalid)?;
    let (items, next) = parts
        .book
        .versions(&place, number(before.before)?, items_max(before.limit)?)
        .await?;
    Ok(Json(Versions { items, next }))
}

/// One version with its rules.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/rules/versions/{version}", tag = "rules",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("version" = u64, Path), At),
    responses((status = 200, body = Rules), Refusals))]
async fn version(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, version)): Named<(String, u64)>,
    Asked(at): Asked<At>,
) -> Result<Json<Rules>, Trouble> {
    caller.may(Verb::RulesRead, &subaccount)?;
    let place = at.place(&subaccount)?;
    let known: Version = parts.book.version(&place, version).await?;
    let text = parts.book.text(&place, version).await?;
    Ok(Json(Rules {
        version: known,
        canary: None,
        text,
    }))
}

/// Bring the rules of an earlier version back, as a new version.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/rules/rollback", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), At, ("if-match" = String, Header)), request_body = Rollback,
    responses((status = 200, body = Applied), Refusals))]
async fn roll_back(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(at): Asked<At>,
    condition: Condition,
    Said(wish): Said<Rollback>,
) -> Result<Json<Applied>, Trouble> {
    caller.may(Verb::RulesApply, &subaccount)?;
    let place = at.place(&subaccount)?;
    let message = message(Some(wish.message))?;
    Ok(Json(
        parts
            .book
            .roll_back(&caller.by(), &place, condition.0, wish.to, message)
            .await?,
    ))
}

/// End a trial: all agents get the version.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/rules/promote", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), At, ("if-match" = String, Header)),
    responses((status = 200, body = Applied), Refusals))]
async fn promote(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(at): Asked<At>,
    condition: Condition,
) -> Result<Json<Applied>, Trouble> {
    caller.may(Verb::RulesApply, &subaccount)?;
    let place = at.place(&subaccount)?;
    Ok(Json(
        parts
            .book
            .promote(&caller.by(), &place, condition.0)
            .await?,
    ))
}

/// End a trial: what was before comes back to the agents that had the version.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/rules/abandon", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), At, ("if-match" = String, Header)),
    responses((status = 200, body = Applied), Refusals))]
async fn abandon(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(at): Asked<At>,
    condition: Condition,
) -> Result<Json<Applied>, Trouble> {
    caller.may(Verb::RulesApply, &subaccount)?;
    let place = at.place(&subaccount)?;
    Ok(Json(
        parts
            .book
            .abandon(&caller.by(), &place, condition.0)
            .await?,
    ))
}

/// How far the rules have come.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/rules/rollout", tag = "rules", security(("bearer" = [])),
    params(("subaccount" = String, Path), At),
    responses((status = 200, body = Rollout, headers(("etag" = String))), Refusals))]
async fn rollout(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(at): Asked<At>,
) -> Result<(Tagged, Json<Rollout>), Trouble> {
    caller.may(Verb::RulesRead, &subaccount)?;
    let place = at.place(&subaccount)?;
    let current = parts
        .book
        .current(&place)
        .await?
        .ok_or_else(|| no_rules(&place))?;
    let connected = parts
        .hub
        .connections(&keys::live_agents_of(&subaccount))
        .await?;
    let mut agents = Vec::new();
    for name in parts.register.agents_at(&place).await? {
        let id = NodeId::agent(&subaccount, &name).map_err(Trouble::Invalid)?;
        let wanted = current.head.wanted(&name).unwrap_or_default();
        let live = connected.get(&id);
        let running = live.and_then(|live| live.running.as_ref());
        let refused = live.and_then(|live| live.refused.as_ref());
        let has = running.is_some_and(|running| {
            running.epoch == Some(parts.life.epoch()) && running.version == wanted
        });
        let state = match live {
            None => NodeState::Away,
            Some(_) if has || wanted == 0 => NodeState::InForce,
            Some(_) if refused.is_some_and(|nack| nack.version == wanted) => NodeState::Refused,
            Some(_) => NodeState::Pending,
        };
        let problems = match (state, refused) {
            (NodeState::Refused, Some(nack)) => nack.problems.clone(),
            _ => Vec::new(),
        };
        agents.push(RolloutNode {
            name,
            wanted,
            version: running.map(|running| running.version),
            state,
            problems,
        });
    }
    let count = |wanted: fn(&NodeState) -> bool| {
        u64::try_from(agents.iter().filter(|agent| wanted(&agent.state)).count())
            .unwrap_or(u64::MAX)
    };
    // Also where the rules themselves are damaged and cannot be read: new ones can be put in their place.
    let tag = [(ETAG, etag(current.revision))];
    let rollout = Rollout {
        version: current.head.version,
        connected: count(|state| *state != NodeState::Away),
        acked: count(|state| *state == NodeState::InForce),
        agents,
    };
    Ok((tag, Json(rollout)))
}

fn no_rules(place: &Place) -> Trouble {
    Trouble::NotFound(format!("there are no rules of {place} yet"))
}
