//! People: the first one, logins, users.

use adit_api::limits::OPEN_BODY_BYTES_MAX;
use adit_api::{
    ApiTokens, Login, NewToken, NewUser, PasswordChange, Setup, Token, User, UserChange, Users,
    Whoami,
};
use adit_people::How;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, HeaderValue};
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::condition::{Condition, etag};
use super::wire::{Asked, Named, Paging, Refusals, Said, items_max, json};
use super::{Of, Parts, RequestId};
use crate::door::Connection;
use crate::keys;
use crate::members::{is_id, shown_grants};
use crate::trouble::Trouble;

pub(super) fn routes() -> OpenApiRouter<std::sync::Arc<Parts>> {
    OpenApiRouter::new()
        .routes(routes!(set_up))
        .routes(routes!(log_in))
        .routes(routes!(log_out))
        .routes(routes!(whoami))
        .routes(routes!(change_password))
        .routes(routes!(tokens, new_token))
        .routes(routes!(revoke_token))
        .routes(routes!(list, create))
        .routes(routes!(get, change, remove))
}

/// Make the first administrator, once.
#[utoipa::path(post, path = "/api/v1/setup", tag = "people", request_body = Setup,
    responses((status = 201, body = Token), Refusals))]
async fn set_up(
    State(parts): Of,
    Extension(id): Extension<RequestId>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Result<(StatusCode, Json<Token>), Trouble> {
    let wish = json(request, OPEN_BODY_BYTES_MAX).await?;
    let token = parts
        .members
        .set_up(wish, connection.source.ip(), &id.0)
        .await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Log in with name and password.
#[utoipa::path(post, path = "/api/v1/logins", tag = "people", request_body = Login,
    responses((status = 201, body = Token), Refusals))]
async fn log_in(
    State(parts): Of,
    Extension(id): Extension<RequestId>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Result<(StatusCode, Json<Token>), Trouble> {
    let wish = json(request, OPEN_BODY_BYTES_MAX).await?;
    let token = parts
        .members
        .log_in(wish, connection.source.ip(), &id.0)
        .await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// End the login, or the token, by which this is asked.
#[utoipa::path(delete, path = "/api/v1/logins/current", tag = "people", security(("bearer" = [])),
    responses((status = 204), Refusals))]
async fn log_out(State(parts): Of, caller: Caller) -> Result<StatusCode, Trouble> {
    parts.members.log_out(&caller.by(), &caller.known).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "people", security(("bearer" = [])),
    responses((status = 200, body = Whoami), Refusals))]
async fn whoami(caller: Caller) -> Json<Whoami> {
    let principal = caller.principal();
    let how = if let How::Oidc { issuer } = &principal.how {
        issuer.clone()
    } else {
        principal.how.word().to_owned()
    };
    Json(Whoami {
        name: principal.name.clone(),
        how,
        grants: shown_grants(&principal.grants),
    })
}

/// Make a token for programs, with what its owner may do.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "people", security(("bearer" = [])), request_body = NewToken,
    responses((status = 201, body = Token), Refusals))]
async fn new_token(
    State(parts): Of,
    caller: Caller,
    Said(wish): Said<NewToken>,
) -> Result<(StatusCode, Json<Token>), Trouble> {
    let token = parts
        .members
        .new_token(&caller.by(), caller.principal(), wish)
        .await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Which tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Behind {
    /// What the page before gave as `next`.
    after: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: Option<u64>,
}

/// Tokens for programs that count: the caller's, and those of users that the caller may see. Without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "people", security(("bearer" = [])), params(Behind),
    responses((status = 200, body = ApiTokens), Refusals))]
async fn tokens(
    State(parts): Of,
    caller: Caller,
    Asked(behind): Asked<Behind>,
) -> Result<Json<ApiTokens>, Trouble> {
    let after = behind.after.as_deref();
    if after.is_some_and(|after| !is_id(after)) {
        return Err(Trouble::Invalid(
            "after: give what the page before gave as `next`".to_owned(),
        ));
    }
    let (items, next) = parts
        .members
        .tokens(caller.principal(), after, items_max(behind.limit)?)
        .await?;
    Ok(Json(ApiTokens { items, next }))
}

/// End a token: one's own, or one of a user that the caller may change.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "people", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 204), Refusals))]
async fn revoke_token(
    State(parts): Of,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<StatusCode, Trouble> {
    parts
        .members
        .revoke_token(&caller.by(), caller.principal(), &id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change one's own password. It ends one's other logins; tokens for programs go on.
#[utoipa::path(post, path = "/api/v1/password", tag = "people", security(("bearer" = [])), request_body = PasswordChange,
    responses((status = 204), Refusals))]
async fn change_password(
    State(parts): Of,
    caller: Caller,
    Extension(connection): Extension<Connection>,
    Said(wish): Said<PasswordChange>,
) -> Result<StatusCode, Trouble> {
    let source = connection.source.ip();
    parts
        .members
        .change_password(&caller.by(), &caller.known, wish, source)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Users that the caller may see.
#[utoipa::path(get, path = "/api/v1/users", tag = "people", security(("bearer" = [])), params(Paging),
    responses((status = 200, body = Users), Refusals))]
async fn list(
    State(parts): Of,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Json<Users>, Trouble> {
    let after = paging.after(&keys::users())?;
    let (items, next) = parts
        .members
        .list(caller.principal(), after.as_ref(), paging.items_max()?)
        .await?;
    Ok(Json(Users { items, next }))
}

/// Make a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "people", security(("bearer" = [])), request_body = NewUser,
    responses((status = 201, body = User, headers(("etag" = String))), Refusals))]
async fn create(
    State(parts): Of,
    caller: Caller,
    Said(wish): Said<NewUser>,
) -> Result<(StatusCode, Tagged, Json<User>), Trouble> {
    let (user, revision) = parts
        .members
        .create(&caller.by(), caller.principal(), wish)
        .await?;
    Ok((StatusCode::CREATED, [(ETAG, etag(revision))], Json(user)))
}

/// One user.
#[utoipa::path(get, path = "/api/v1/users/{name}", tag = "people", security(("bearer" = [])),
    params(("name" = String, Path)), responses((status = 200, body = User, headers(("etag" = String))), Refusals))]
async fn get(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<(Tagged, Json<User>), Trouble> {
    let (user, revision) = parts.members.get(caller.principal(), &name).await?;
    Ok(([(ETAG, etag(revision))], Json(user)))
}

/// Change a user: password, grants, whether disabled.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "people", security(("bearer" = [])),
    params(("name" = String, Path), ("if-match" = String, Header)), request_body = UserChange,
    responses((status = 200, body = User, headers(("etag" = String))), Refusals))]
async fn change(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
    condition: Condition,
    Said(wish): Said<UserChange>,
) -> Result<(Tagged, Json<User>), Trouble> {
    let base = condition.revision()?;
    let (user, revision) = parts
        .members
        .change(&caller.by(), caller.principal(), &name, base, wish)
        .await?;
    Ok(([(ETAG, etag(revision))], Json(user)))
}

/// Take a user away.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "people", security(("bearer" = [])),
    params(("name" = String, Path), ("if-match" = String, Header)), responses((status = 204), Refusals))]
async fn remove(
    State(parts): Of,
    caller: Caller,
    Named(name): Named<String>,
    condition: Condition,
) -> Result<StatusCode, Trouble> {
    parts
        .members
        .remove(
            &caller.by(),
            caller.principal(),
            &name,
            condition.revision()?,
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) type Tagged = [(axum::http::HeaderName, HeaderValue); 1];
