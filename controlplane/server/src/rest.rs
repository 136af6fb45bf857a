//! The REST door: `/api/v1`, and the document that describes it, made from the same types.
//!
//! Handlers read, ask whether the caller may, call one of the rooms behind and write. Nothing is decided here but that.

#![allow(
    unused_qualifications,
    reason = "the document's generator writes them for the parameters of each path"
)]

mod acts;
mod caller;
mod condition;
mod nodes;
mod people;
mod plane;
mod rules;
mod wire;

use std::sync::Arc;

use adit_api::Problem;
use adit_store::Store;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::acts::Acts;
use crate::backup::Generations;
use crate::book::Book;
use crate::hub::Hub;
use crate::life::Life;
use crate::members::Members;
use crate::metrics;
use crate::register::Register;
use crate::secret::random_name;
use crate::trouble::Trouble;

pub(crate) use wire::bytes;

/// The rooms behind the door.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) store_kind: &'static str,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) generations: Generations,
    pub(crate) acts: Acts,
    pub(crate) book: Arc<Book>,
    pub(crate) register: Arc<Register>,
    pub(crate) members: Arc<Members>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) life: Arc<Life>,
}

/// Handlers get the rooms by this.
pub(crate) type Of = State<Arc<Parts>>;

/// The id of a request: given in the answer, kept with what was done.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

#[derive(OpenApi)]
#[openapi(info(
    title = "adit control plane",
    description = "Rules, nodes, people and keys. Times are seconds since 1970. A writable resource has an ETag; \
                       a change names it in If-Match, and is refused with 412 when somebody else was first."
))]
struct Described;

fn described() -> (Router<Arc<Parts>>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Described::openapi())
        .merge(people::routes())
        .merge(rules::routes())
        .merge(nodes::routes())
        .merge(acts::routes())
        .merge(plane::routes())
        .split_for_parts();
    tell_ways(&mut document);
    (router, document)
}

/// Says how somebody is known. Whatever takes a token takes a certificate as well.
fn tell_ways(document: &mut Document) {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let certificate = SecurityScheme::MutualTls {
        description: Some(
            "A client certificate of the people's authority, where the server has one (people.certificates). Not together \
             with a token."
                .to_owned(),
        ),
        deprecated: None,
        extensions: None,
    };
    let schemes = document.components.get_or_insert_default();
    schemes.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    schemes.add_security_scheme("certificate", certificate);
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for ways in operations
            .into_iter()
            .flatten()
            .filter_map(|operation| operation.security.as_mut())
        {
            ways.push(SecurityRequirement::new::<_, [&str; 0], _>(
                "certificate",
                [],
            ));
        }
    }
}

/// The OpenAPI document, JSON.
#[must_use]
pub fn openapi() -> String {
    let (_, document) = described();
    document.to_pretty_json().unwrap_or_default()
}

/// All of `/api/v1`.
pub(crate) fn routes(parts: Arc<Parts>) -> Router {
    let (router, document) = described();
    let document = Arc::new(document);
    router
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || std::future::ready(Json((*document).clone()))),
        )
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .layer(axum::middleware::from_fn(named))
        .with_state(parts)
}

async fn nothing() -> Trouble {
    Trouble::NotFound(
        "there is nothing at this path; /api/v1/openapi.json lists what is".to_owned(),
    )
}

async fn no_method() -> Trouble {
    Trouble::NoMethod
}

/// Gives each request an id, and each refusal its body.
pub(crate) async fn named(mut request: Request, next: Next) -> Response {
    let id = random_name();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Some(Refusal(trouble)) = response.extensions_mut().remove::<Refusal>() {
        let trouble = Arc::into_inner(trouble)
            .unwrap_or_else(|| Trouble::Internal("a refusal is shared".to_owned()));
        response = refused(trouble, id.clone(), response);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
        .headers_mut()
        .insert("cache-control", HeaderValue::from_static("no-store"));
    metrics::requested(response.status().as_u16());
    response
}

/// Carries what went wrong to where the request's id is known.
#[derive(Clone)]
struct Refusal(Arc<Trouble>);

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (status, _) = self.status();
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap_or_default();
        response.extensions_mut().insert(Refusal(Arc::new(self)));
        response
    }
}

fn refused(trouble: Trouble, id: String, mut response: Response) -> Response {
    let mut wait = None;
    if let Trouble::Throttled { retry_after_s } = &trouble {
        wait = Some(*retry_after_s);
    } else if let Trouble::Busy = &trouble {
        wait = Some(1);
    } else if let Trouble::Internal(why) = &trouble {
        tracing::error!(request = id, why, "internal error");
    } else if let Trouble::Store(error) = &trouble {
        wait = matches!(response.status().as_u16(), 503 | 507).then_some(1);
        tracing::warn!(request = id, %error, "the store");
    }
    let unauthenticated = matches!(trouble, Trouble::Unauthenticated(_));
    let problem: Problem = trouble.into_problem(id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = body.into();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(adit_api::PROBLEM_TYPE),
    );
    if let Some(seconds) = wait {
        headers.insert("retry-after", HeaderValue::from(seconds));
    }
    if unauthenticated {
        headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests;
