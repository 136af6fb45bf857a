//! Nodes: invitations, who is there, what they run, and questions to one of them. Questions to all are `asked`'s.

pub(super) mod asked;

use std::sync::Arc;

use adit_api::{Explain, Invitations, Invite, Invited, Node, NodeRole, Nodes};
use adit_people::{Verb, Visible, visible};
use adit_policy::{OwnedRequest, Request as Wanted};
use adit_proto::control::{Answer, Ask};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::condition::etag;
use super::people::Tagged;
use super::wire::{Asked, Named, Paging, Refusals, Said};
use super::{Of, Parts};
use crate::hub::shown;
use crate::keys;
use crate::place::{NodeId, Place};
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(all_agents))
        .routes(routes!(agents))
        .routes(routes!(gateways))
        .routes(routes!(agent, remove_agent))
        .routes(routes!(gateway, remove_gateway))
        .routes(routes!(invite_agent, agent_invitations))
        .routes(routes!(invite_gateway, gateway_invitations))
        .routes(routes!(take_back_agent))
        .routes(routes!(take_back_gateway))
        .routes(routes!(revoke_agent))
        .routes(routes!(revoke_gateway))
        .routes(routes!(agent_status))
        .routes(routes!(gateway_status))
        .routes(routes!(explain))
        .routes(routes!(asked::why))
        .routes(routes!(asked::traffic))
}

/// Agents, in the subaccounts that the caller may see.
#[utoipa::path(get, path = "/api/v1/agents", tag = "nodes", security(("bearer" = [])), params(Paging),
    responses((status = 200, body = Nodes), Refusals))]
async fn all_agents(
    State(parts): Of,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Json<Nodes>, Trouble> {
    let all = keys::all_agents();
    let mut prefixes: Vec<_> = match visible(caller.principal(), Verb::NodesRead) {
        Visible::All => return list(&parts, &all, &paging).await,
        Visible::Some(subaccounts) => subaccounts
            .iter()
            .map(|name| keys::agents_of(name))
            .collect(),
        Visible::None => Vec::new(),
    };
    // In the order of the keys, which is not that of the names: `a-b/` stands before `a/`.
    prefixes.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    let after = paging.after(&all)?;
    for prefix in prefixes {
        let begun = after.as_ref().filter(|after| prefix.holds(after));
        let is_behind = after
            .as_ref()
            .is_some_and(|after| after.as_str() > prefix.as_str());
        if is_behind && begun.is_none() {
            continue;
        }
        let paging = Paging {
            after: begun.map(ToString::to_string),
            limit: paging.limit,
        };
        let Json(mut page) = list(&parts, &prefix, &paging).await?;
        // A page is of one subaccount; the next one begins behind its last agent.
        if let Some(last) = page.items.last() {
            page.next = Some(format!("{}{}", prefix.as_str(), last.name));
            return Ok(Json(page));
        }
    }
    Ok(Json(Nodes {
        items: Vec::new(),
        next: None,
    }))
}

/// Agents of a subaccount.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/agents", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path), Paging), responses((status = 200, body = Nodes), Refusals))]
async fn agents(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(paging): Asked<Paging>,
) -> Result<Json<Nodes>, Trouble> {
    caller.may(Verb::NodesRead, &subaccount)?;
    list(&parts, &keys::agents_of(&subaccount), &paging).await
}

/// Gateways.
#[utoipa::path(get, path = "/api/v1/gateways", tag = "nodes", security(("bearer" = [])), params(Paging),
    responses((status = 200, body = Nodes), Refusals))]
async fn gateways(
    State(parts): Of,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Json<Nodes>, Trouble> {
    caller.may_globally(Verb::NodesRead)?;
    list(&parts, &keys::gateways(), &paging).await
}

async fn list(
    parts: &Parts,
    prefix: &adit_store::Prefix,
    paging: &Paging,
) -> Result<Json<Nodes>, Trouble> {
    let after = paging.after(prefix)?;
    let (found, next) = parts
        .register
        .list(prefix, after.as_ref(), paging.items_max()?)
        .await?;
    let mut items = Vec::new();
    for (id, mut node) in found {
        node.connected = parts.hub.connection(&id).await?.as_ref().map(shown);
        items.push(node);
    }
    Ok(Json(Nodes { items, next }))
}

/// One agent.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/agents/{name}", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Node, headers(("etag" = String))), Refusals))]
async fn agent(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, name)): Named<(String, String)>,
) -> Result<(Tagged, Json<Node>), Trouble> {
    caller.may(Verb::NodesRead, &subaccount)?;
    one(&parts, &agent_id(&subaccount, &name)?).await
}

/// One gateway.
#[utoipa::path(get, path = "/api/v1/gateways/{name}", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path)), responses((status = 200, body = Node, headers(("etag" = String))), Refusals))]
async fn gateway(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<(Tagged, Json<Node>), Trouble> {
    caller.may_globally(Verb::NodesRead)?;
    one(&parts, &gateway_id(&name)?).await
}

async fn one(parts: &Parts, id: &NodeId) -> Result<(Tagged, Json<Node>), Trouble> {
    let (mut node, revision) = parts.register.get(id).await?;
    node.connected = parts.hub.connection(id).await?.as_ref().map(shown);
    Ok(([(ETAG, etag(revision))], Json(node)))
}

/// Take a revoked agent out of the register.
#[utoipa::path(delete, path = "/api/v1/subaccounts/{subaccount}/agents/{name}", tag = "nodes",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("name" = String, Path)),
    responses((status = 204), Refusals))]
async fn remove_agent(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, name)): Named<(String, String)>,
) -> Result<StatusCode, Trouble> {
    caller.may(Verb::NodesRevoke, &subaccount)?;
    parts
        .register
        .remove(&caller.by(), &agent_id(&subaccount, &name)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a revoked gateway out of the register.
#[utoipa::path(delete, path = "/api/v1/gateways/{name}", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path)), responses((status = 204), Refusals))]
async fn remove_gateway(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Trouble> {
    caller.may_globally(Verb::NodesRevoke)?;
    parts
        .register
        .remove(&caller.by(), &gateway_id(&name)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invite an agent: the token in the answer makes a machine this agent, once, within 15 minutes.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/invitations", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path)), request_body = Invite, responses((status = 201, body = Invited), Refusals))]
async fn invite_agent(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Said(wish): Said<Invite>,
) -> Result<(StatusCode, Json<Invited>), Trouble> {
    caller.may(Verb::NodesInvite, &subaccount)?;
    let id = agent_id(&subaccount, &wish.name)?;
    Place::new(&subaccount, &wish.location).map_err(Trouble::Invalid)?;
    Ok((
        StatusCode::CREATED,
        Json(parts.register.invite(&caller.by(), &id, &wish).await?),
    ))
}

/// Invite a gateway.
#[utoipa::path(post, path = "/api/v1/gateways/invitations", tag = "nodes", security(("bearer" = [])),
    request_body = Invite, responses((status = 201, body = Invited), Refusals))]
async fn invite_gateway(
    State(parts): Of,
    caller: Caller,
    Said(wish): Said<Invite>,
) -> Result<(StatusCode, Json<Invited>), Trouble> {
    caller.may_globally(Verb::NodesInvite)?;
    let id = gateway_id(&wish.name)?;
    if !wish.location.is_empty() {
        return Err(Trouble::Invalid("location: a gateway has none".to_owned()));
    }
    Ok((
        StatusCode::CREATED,
        Json(parts.register.invite(&caller.by(), &id, &wish).await?),
    ))
}

/// Invitations of a subaccount's agents that nobody has used, without their tokens.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/invitations", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path)), responses((status = 200, body = Invitations), Refusals))]
async fn agent_invitations(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
) -> Result<Json<Invitations>, Trouble> {
    caller.may(Verb::NodesRead, &subaccount)?;
    let items = parts
        .register
        .invitations(|id| id.subaccount() == Some(&subaccount))
        .await?;
    Ok(Json(Invitations { items, next: None }))
}

/// Invitations of gateways that nobody has used, without their tokens.
#[utoipa::path(get, path = "/api/v1/gateways/invitations", tag = "nodes", security(("bearer" = [])),
    responses((status = 200, body = Invitations), Refusals))]
async fn gateway_invitations(
    State(parts): Of,
    caller: Caller,
) -> Result<Json<Invitations>, Trouble> {
    caller.may_globally(Verb::NodesRead)?;
    let items = parts
        .register
        .invitations(|id| id.role == NodeRole::Gateway)
        .await?;
    Ok(Json(Invitations { items, next: None }))
}

/// Take an agent's invitation back.
#[utoipa::path(delete, path = "/api/v1/subaccounts/{subaccount}/invitations/{id}", tag = "nodes",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("id" = String, Path)),
    responses((status = 204), Refusals))]
async fn take_back_agent(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, invitation)): Named<(String, String)>,
) -> Result<StatusCode, Trouble> {
    caller.may(Verb::NodesInvite, &subaccount)?;
    parts
        .register
        .take_back(&caller.by(), &invitation, |id| {
            id.subaccount() == Some(&subaccount)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a gateway's invitation back.
#[utoipa::path(delete, path = "/api/v1/gateways/invitations/{id}", tag = "nodes", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 204), Refusals))]
async fn take_back_gateway(
    State(parts): Of,
    caller: Caller,
    Named(invitation): Named<String>,
) -> Result<StatusCode, Trouble> {
    caller.may_globally(Verb::NodesInvite)?;
    parts
        .register
        .take_back(&caller.by(), &invitation, |id| id.role == NodeRole::Gateway)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The certificates of an agent count no more: its tunnels end, here and at every gateway.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/agents/{name}/revoke", tag = "nodes",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("name" = String, Path)),
    responses((status = 204), Refusals))]
async fn revoke_agent(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, name)): Named<(String, String)>,
) -> Result<StatusCode, Trouble> {
    caller.may(Verb::NodesRevoke, &subaccount)?;
    parts
        .register
        .revoke(&caller.by(), &agent_id(&subaccount, &name)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The certificates of a gateway count no more.
#[utoipa::path(post, path = "/api/v1/gateways/{name}/revoke", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path)), responses((status = 204), Refusals))]
async fn revoke_gateway(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Trouble> {
    caller.may_globally(Verb::NodesRevoke)?;
    parts
        .register
        .revoke(&caller.by(), &gateway_id(&name)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an agent says of itself.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/agents/{name}/status", tag = "nodes",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), Refusals))]
async fn agent_status(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, name)): Named<(String, String)>,
) -> Result<Json<Value>, Trouble> {
    caller.may(Verb::NodesAsk, &subaccount)?;
    let id = agent_id(&subaccount, &name)?;
    parts.register.get(&id).await?;
    Ok(Json(value(
        parts
            .hub
            .ask(&id, asking("GET", "/status", String::new()))
            .await?,
    )?))
}

/// What a gateway says of itself.
#[utoipa::path(get, path = "/api/v1/gateways/{name}/status", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path)), responses((status = 200, body = Object), Refusals))]
async fn gateway_status(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Value>, Trouble> {
    caller.may_globally(Verb::NodesAsk)?;
    let id = gateway_id(&name)?;
    parts.register.get(&id).await?;
    Ok(Json(value(
        parts
            .hub
            .ask(&id, asking("GET", "/status", String::new()))
            .await?,
    )?))
}

/// Whether a live agent would allow a request, by which rule or why not: it is asked itself.
#[utoipa::path(post, path = "/api/v1/subaccounts/{subaccount}/agents/{name}/explain", tag = "nodes",
    security(("bearer" = [])), params(("subaccount" = String, Path), ("name" = String, Path)), request_body = Explain,
    responses((status = 200, body = Object), Refusals))]
async fn explain(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, name)): Named<(String, String)>,
    Said(wish): Said<Explain>,
) -> Result<Json<Value>, Trouble> {
    caller.may(Verb::NodesAsk, &subaccount)?;
    let id = agent_id(&subaccount, &name)?;
    parts.register.get(&id).await?;
    let question = question(&wish.request)?;
    Ok(Json(value(
        parts
            .hub
            .ask(&id, asking("POST", "/explain", question))
            .await?,
    )?))
}

fn agent_id(subaccount: &str, name: &str) -> Result<NodeId, Trouble> {
    NodeId::agent(subaccount, name).map_err(Trouble::Invalid)
}

fn gateway_id(name: &str) -> Result<NodeId, Trouble> {
    NodeId::gateway(name).map_err(Trouble::Invalid)
}

fn asking(method: &str, path: &str, body: String) -> Ask {
    Ask {
        ask: String::new(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        body,
    }
}

/// A node's question, of the request language that people write.
fn question(request: &str) -> Result<String, Trouble> {
    let request: OwnedRequest = request
        .parse()
        .map_err(|error: adit_policy::RequestError| Trouble::Invalid(error.to_string()))?;
    let question = match request.as_request() {
        Wanted::Http {
            host,
            port,
            method,
            path,
            upgrade,
        } => json!({
            "method": method,
            "url": format!("http://{host}:{port}{}", String::from_utf8_lossy(path)),
            "upgrade": upgrade,
        }),
        Wanted::Tcp { host, port } => {
            json!({"method": "", "url": format!("tcp://{host}:{port}"), "upgrade": false})
        }
        other => return Err(Trouble::Invalid(format!("{other} cannot be asked"))),
    };
    Ok(question.to_string())
}

fn value(answer: Answer) -> Result<Value, Trouble> {
    if answer.status != 200 {
        let first = answer.body.lines().next().unwrap_or_default();
        let first: String = first.chars().take(200).collect();
        return Err(Trouble::Conflict(format!(
            "the node says {}: {first}",
            answer.status
        )));
    }
    serde_json::from_str(&answer.body)
        .map_err(|error| Trouble::NodeSilent(format!("its answer is no JSON: {error}")))
}
