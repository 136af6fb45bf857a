//! Which path is answered how.
//!
//! The endpoint's own paths are here; the rest goes to the node. Bodies are read whole, within their limits, before
//! the node sees the request.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{
    AdminRequest, AdminResponse, BODY_BYTES_MAX, BODY_TIMEOUT, CONNECTION_LIFE, Node,
    TRUSTED_BODY_BYTES_MAX,
};
use crate::metrics;

/// What all connections of an endpoint share.
pub(super) struct Answers {
    node: Arc<dyn Node>,
    /// One seat: whoever holds it may have a body above `BODY_BYTES_MAX` in memory.
    large_body: Semaphore,
}

impl Answers {
    pub(super) fn new(node: Arc<dyn Node>) -> Self {
        Self {
            node,
            large_body: Semaphore::new(1),
        }
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        trusted: bool,
    ) -> Response<Full<Bytes>> {
        let own = OWN_PATHS
            .iter()
            .find(|(path, _)| *path == request.uri().path());
        let response = match own {
            Some((_, answer)) if matches!(*request.method(), Method::GET | Method::HEAD) => {
                answer(self.node.as_ref())
            }
            Some(_) => AdminResponse::method_not_allowed("GET, HEAD"),
            None => self.ask_node(request, trusted).await,
        };
        written(response)
    }

    async fn ask_node(&self, request: Request<Incoming>, trusted: bool) -> AdminResponse {
        let (head, body) = request.into_parts();
        // Held until the node has answered: until then the body is in memory.
        let mut seat = None;
        let body = match self.read_body(body, trusted, &mut seat).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let request = AdminRequest {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body,
            trusted,
            headers: head.headers,
        };
        match self.node.handle(request).await {
            Some(response) => response,
            None => self.not_found(),
        }
    }

    async fn read_body<'s>(
        &'s self,
        mut body: Incoming,
        trusted: bool,
        seat: &mut Option<SemaphorePermit<'s>>,
    ) -> Result<Vec<u8>, AdminResponse> {
        let (bytes_max, time_max) = if trusted {
            (TRUSTED_BODY_BYTES_MAX, CONNECTION_LIFE)
        } else {
            (BODY_BYTES_MAX, BODY_TIMEOUT)
        };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(too_large(bytes_max));
        }
        let read = async {
            let mut read = Vec::new();
            while let Some(frame) = timeout(BODY_TIMEOUT, body.frame())
                .await
                .map_err(|_elapsed| too_slow(BODY_TIMEOUT))?
            {
                let frame = frame.map_err(|error| {
                    AdminResponse::text(400, format!("the body is not as announced: {error}\n"))
                })?;
                let Ok(data) = frame.into_data() else {
                    continue; // trailers
                };
                if data.len() > bytes_max - read.len() {
                    return Err(too_large(bytes_max));
                }
                if read.len() + data.len() > BODY_BYTES_MAX && seat.is_none() {
                    if announced == 0 {
                        return Err(length_required());
                    }
                    let permit = self.large_body.acquire().await;
                    *seat = Some(permit.expect("the semaphore is never closed"));
                    // Once, not by doubling: doubling would hold more than the limit says.
                    read.reserve_exact(announced.saturating_sub(read.len()));
                }
                read.extend_from_slice(&data);
            }
            Ok(read)
        };
        timeout(time_max, read)
            .await
            .map_err(|_elapsed| too_slow(time_max))?
    }

    fn not_found(&self) -> AdminResponse {
        let mut text = "there is nothing here; the paths of this node are\n".to_owned();
        let own = OWN_PATHS.iter().map(|(path, _)| path);
        for path in own.chain(self.node.paths()) {
            text.push_str("  ");
            text.push_str(path);
            text.push('\n');
        }
        AdminResponse::text(404, text)
    }
}

type OwnAnswer = fn(&dyn Node) -> AdminResponse;

const OWN_PATHS: [(&str, OwnAnswer); 4] = [
    ("/healthz", |node| verdict(node.healthy(), "ok\n")),
    ("/metrics", |_| AdminResponse {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        ..AdminResponse::text(200, metrics::render())
    }),
    ("/readyz", |node| verdict(node.ready(), "ready\n")),
    ("/status", |node| AdminResponse::json(200, &node.status())),
];

fn verdict(outcome: Result<(), Vec<String>>, fine: &str) -> AdminResponse {
    match outcome {
        Ok(()) => AdminResponse::text(200, fine),
        Err(reasons) => {
            let mut text = String::new();
            for reason in reasons {
                text.push_str(&reason.replace(['\r', '\n'], " "));
                text.push('\n');
            }
            AdminResponse::text(503, text)
        }
    }
}

fn too_large(bytes_max: usize) -> AdminResponse {
    AdminResponse::text(
        413,
        format!("a body may have at most {bytes_max} bytes here\n"),
    )
}

fn length_required() -> AdminResponse {
    AdminResponse::text(
        411,
        format!("a body above {BODY_BYTES_MAX} bytes needs a Content-Length, not chunks\n"),
    )
}

fn too_slow(waited: Duration) -> AdminResponse {
    AdminResponse::text(
        408,
        format!("the body did not come within {} s\n", waited.as_secs()),
    )
}

fn written(response: AdminResponse) -> Response<Full<Bytes>> {
    let AdminResponse {
        status,
        content_type,
        body,
        allow,
    } = response;
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_informational() && status.as_u16() < 600)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(allow) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
