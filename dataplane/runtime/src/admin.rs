//! The admin endpoint of a node: metrics, health, readiness, status, and what its role adds, over HTTP/1.1.
//!
//! It listens on TCP, for probes and Prometheus, and on a unix socket only its owner may open, for the CLI; what
//! changes a node comes by the socket alone ([`AdminRequest::trusted`]). What a node knows about itself, and the paths
//! of its role, come through [`Node`].

mod door;
mod limits;
mod routes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

pub use door::{Doors, OpenError};
pub use limits::*;

use crate::settings::Section;

/// Where the admin endpoint listens: on both, one or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "two doors; tests and the demo write it out"
)]
pub struct Settings {
    /// TCP address: everybody who reaches it may look, nobody may change anything.
    pub listen: Option<SocketAddr>,
    /// Unix socket: its owner may do all the role offers.
    pub socket: Option<PathBuf>,
}

impl Settings {
    /// Reads `listen` and `socket` of the section `[admin]`.
    pub fn read(section: &Section<'_>) -> Self {
        Self {
            listen: section.address_opt("listen"),
            socket: section.path_opt("socket"),
        }
    }
}

/// A future in a box, as trait objects give them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a node says of itself. Called on the housekeeping thread, so answers come from memory, without waiting.
pub trait Node: Send + Sync {
    /// The answer to `GET /status`.
    fn status(&self) -> serde_json::Value;

    /// Whether new work may be sent here; if not, why, a line each.
    ///
    /// # Errors
    /// The reasons.
    fn ready(&self) -> Result<(), Vec<String>>;

    /// Whether the node works at all; if not, it should be restarted. A node without agent or rules is healthy.
    ///
    /// # Errors
    /// The reasons, a line each.
    fn healthy(&self) -> Result<(), Vec<String>> {
        Ok(())
    }

    /// The paths [`handle`](Self::handle) answers, to be listed when somebody asks for another.
    fn paths(&self) -> &[&'static str] {
        &[]
    }

    /// Answers a request for a path that is not one of the endpoint's own; `None` when it is not the role's either.
    /// Dropped unanswered when its connection has lived for [`CONNECTION_LIFE`] and [`CONNECTION_GRACE`].
    fn handle(&self, request: AdminRequest) -> BoxFuture<'_, Option<AdminResponse>> {
        drop(request);
        Box::pin(std::future::ready(None))
    }
}

/// What `node` answers to a request that did not come by a door: whoever makes it has decided what may be asked. Its own
/// paths and `/status`; no other of the endpoint's.
pub async fn ask(
    node: &dyn Node,
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
) -> AdminResponse {
    if path == "/status" {
        return match method.as_str() {
            "GET" | "HEAD" => AdminResponse::json(200, &node.status()),
            _ => AdminResponse::method_not_allowed("GET, HEAD"),
        };
    }
    let request = AdminRequest {
        method,
        path,
        query,
        body,
        trusted: true,
        headers: hyper::HeaderMap::new(),
    };
    match node.handle(request).await {
        Some(response) => response,
        None => AdminResponse::text(404, "this node has no such path\n"),
    }
}

/// A JSON object of those members that have a value.
#[must_use]
pub fn members<const N: usize>(
    members: [(&str, Option<serde_json::Value>); N],
) -> serde_json::Value {
    let known = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    serde_json::Value::Object(known.collect())
}

/// A request for a path of the role.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdminRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// What follows the `?`, or nothing.
    pub query: String,
    /// The whole body, at most [`TRUSTED_BODY_BYTES_MAX`] or [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// It came over the unix socket, which only the node's own user can open.
    pub trusted: bool,
    headers: hyper::HeaderMap,
}

impl AdminRequest {
    /// The first field called `name` (in any case), if its value is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminResponse {
    /// HTTP status, 200 to 599; anything else becomes 500.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The methods a 405 names.
    pub allow: Option<&'static str>,
}

impl AdminResponse {
    /// Text for a person.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into().into_bytes(),
            allow: None,
        }
    }

    /// JSON, in lines, because people read it with curl.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(status, format!("{value:#}\n"))
        }
    }

    /// 405, naming the methods the path has, such as `GET, HEAD`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::text(
                405,
                format!("this path does not have that method; use {allow}\n"),
            )
        }
    }

    /// 403 to a request that changes something and did not come by the unix socket.
    pub fn untrusted() -> Self {
        Self::text(
            403,
            "this is answered on the unix socket of the node only\n",
        )
    }
}

impl fmt::Display for AdminResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}
