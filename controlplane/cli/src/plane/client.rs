//! Requests to the control plane: HTTPS, one at a time, bounded in time and size, from one of its servers to the next.
//!
//! A refusal becomes an error that says where, what and how to mend. Whom to believe is `trust`'s.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use adit_api::Problem;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::ClientCertificate;
use super::shown::plain;
use super::trust::{self, Trust};
use crate::ending::Failure;

/// How long a server may take for a connection and its handshake, before the next one is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long an answer may take: compiling and storing the largest rule set is the longest of a server's tasks.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Largest answer in bytes: rules of 64 MiB with their quotes and line ends escaped. Held whole, once.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where a server of the control plane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServerUrl(Authority);

/// The control plane, and who asks it.
pub(crate) struct Plane {
    urls: Vec<ServerUrl>,
    tls: TlsConnector,
    token: Option<String>,
}

/// One request. Its body may hold a password.
pub(crate) struct Call {
    method: Method,
    path: String,
    has_query: bool,
    condition: Option<Condition>,
    secret: Option<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
}

#[derive(Debug)]
enum Condition {
    Match(String),
    Absent,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    server: ServerUrl,
    headers: HeaderMap,
    body: Bytes,
}

impl Plane {
    /// A control plane whose servers prove themselves by `trust`, asked as whoever has this certificate.
    pub(crate) fn new(
        urls: Vec<ServerUrl>,
        trust: &Trust,
        trust_domain: Option<&str>,
        certificate: Option<ClientCertificate>,
    ) -> Result<Self, Failure> {
        let config: ClientConfig = trust.config(trust_domain, certificate)?;
        Ok(Self {
            urls,
            tls: TlsConnector::from(Arc::new(config)),
            token: None,
        })
    }

    /// Asks as whoever has this token.
    pub(crate) fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, call: Call) -> Result<T, Failure> {
        self.ask(call).await?.json()
    }

    /// Sends a request that has to be done.
    ///
    /// # Errors
    /// No server can be reached, or it refuses.
    pub(crate) async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        let answer = self.send(call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.refusal())
        }
    }

    /// Sends a request, and gives the answer whatever it is.
    ///
    /// # Errors
    /// No server can be reached.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Failure> {
        let mut tried = Vec::new();
        for url in &self.urls {
            let stream = match self.connect(url).await {
                Ok(stream) => stream,
                Err(why) => {
                    tried.push(format!("{url}: {why}"));
                    continue;
                }
            };
            let request = self.request(url, &call)?;
            match timeout(ANSWER_WITHIN, exchange(url, stream, request)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => tried.push(format!("{url}: {why}")),
                Err(_elapsed) => tried.push(format!(
                    "{url}: no answer within {} s",
                    ANSWER_WITHIN.as_secs()
                )),
            }
            // Reading twice does no harm; a change may have been made although its answer was lost.
            if call.method != Method::GET {
                tried.push(
                    "it may have been done nevertheless; look before you try again".to_owned(),
                );
                break;
            }
        }
        Err(Failure::failed(tried.join("\n")))
    }

    /// The chain that the first server proved.
    pub(crate) async fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let mut tried = Vec::new();
        for url in &self.urls {
            match self.connect(url).await {
                Ok(stream) => {
                    let chain = stream.get_ref().1.peer_certificates();
                    return Ok(chain.unwrap_or_default().to_vec());
                }
                Err(why) => tried.push(format!("{url}: {why}")),
            }
        }
        Err(Failure::failed(tried.join("\n")))
    }

    async fn connect(&self, url: &ServerUrl) -> Result<TlsStream<TcpStream>, String> {
        let (host, port) = (url.host(), url.port());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connecting = async {
            let stream = TcpStream::connect((host, port))
                .await
                .map_err(|error| format!("{error}; does a server listen there?"))?;
            let _ = stream.set_nodelay(true);
            self.tls
                .connect(name, stream)
                .await
                .map_err(|error| trust::explained(&error))
        };
        timeout(CONNECT_WITHIN, connecting)
            .await
            .map_err(|_elapsed| format!("no connection within {} s", CONNECT_WITHIN.as_secs()))?
    }

    fn request(&self, url: &ServerUrl, call: &Call) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header(HOST, url.0.as_str());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request = match &call.condition {
            Some(Condition::Match(tag)) => request.header(IF_MATCH, tag),
            Some(Condition::Absent) => request.header(IF_NONE_MATCH, "*"),
            None => request,
        };
        if let Some((name, secret)) = &call.secret {
            request = request.header(*name, secret);
        }
        let body = match &call.body {
            Some((kind, body)) => {
                request = request.header(CONTENT_TYPE, *kind);
                Bytes::from(body.clone())
            }
            None => Bytes::new(),
        };
        // Never the builder's own words: they may hold the token.
        request.body(Full::new(body)).map_err(|_may_show_a_secret| {
            Failure::failed(format!(
                "{url}: a name or the token holds what HTTP cannot carry"
            ))
        })
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

async fn exchange(
    url: &ServerUrl,
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| trust::told(&error))?;
    let exchange = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| trust::told(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Answer {
            status: head.status,
            server: url.clone(),
            headers: head.headers,
            body,
        })
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    // The connection does the input and output; it may end before the answer has been taken.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(trust::told(&error)),
        },
    }
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            has_query: false,
            condition: None,
            secret: None,
            body: None,
        }
    }

    /// Adds a parameter; an absent or empty one says nothing.
    pub(crate) fn query<V: ToString>(mut self, name: &str, value: Option<V>) -> Self {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        if !value.is_empty() {
            self.path.push(if self.has_query { '&' } else { '?' });
            self.has_query = true;
            self.path.push_str(name);
            self.path.push('=');
            self.path.push_str(&super::escaped(&value));
        }
        self
    }

    /// What was read, so that nobody else's change is lost: its ETag, or that there was nothing.
    pub(crate) fn based_on(mut self, tag: Option<&str>) -> Self {
        self.condition = Some(match tag {
            Some(tag) => Condition::Match(tag.to_owned()),
            None => Condition::Absent,
        });
        self
    }

    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<Self, Failure> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Failure::failed(format!("the request: {error}")))?;
        Ok(self.body("application/json", body))
    }

    /// Adds a field that nobody shall see.
    pub(crate) fn secret(mut self, name: &'static str, value: String) -> Self {
        self.secret = Some((name, value));
        self
    }

    pub(crate) fn body(mut self, kind: &'static str, body: Vec<u8>) -> Self {
        self.body = Some((kind, body));
        self
    }
}

impl Answer {
    /// The body.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::failed(format!(
                "{}: the answer is not understood ({error}); is it a server of this version?",
                self.server
            ))
        })
    }

    /// The body as it is.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The ETag of what was read.
    pub(crate) fn etag(&self) -> Option<String> {
        self.header(ETAG.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }

    /// Who answered.
    pub(crate) fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// A refusal as an error: where, what, how to mend, and by which id the server's log knows it.
    pub(crate) fn refusal(&self) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return Failure::failed(format!(
                "{}: answered {}; is it a server of the control plane?",
                self.server, self.status
            ));
        };
        let mut text = format!("{}: {}", self.server, plain(&problem.title));
        if self.status == StatusCode::UNAUTHORIZED && !problem.title.contains("adit login") {
            text.push_str(&format!("; adit login {}", self.server));
        }
        text.push_str(&format!(
            " ({}, request {})",
            self.status.as_u16(),
            plain(&problem.request_id)
        ));
        for problem in &problem.problems {
            text.push('\n');
            text.push_str(&plain(problem));
        }
        // Rules and their tests are files that a person wrote.
        if self.status == StatusCode::UNPROCESSABLE_ENTITY {
            Failure::config(text)
        } else {
            Failure::failed(text)
        }
    }
}

impl ServerUrl {
    fn host(&self) -> &str {
        self.0.host().trim_matches(['[', ']'])
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(443)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("https://")
            .ok_or("write https://HOST:PORT; the control plane speaks nothing else")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err("write https://HOST:PORT, without a user".to_owned());
        }
        let parsed: Authority = authority
            .parse()
            .map_err(|error| format!("{authority:?} is not HOST:PORT: {error}"))?;
        // Whoever reads a port that is none must not go to another one.
        let has_port = parsed.as_str().len() > parsed.host().len();
        if has_port && parsed.port_u16().is_none_or(|port| port == 0) {
            return Err(format!(
                "{authority:?}: the port is no number from 1 to 65535"
            ));
        }
        Ok(Self(parsed))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_and_nothing_else() {
        for (text, host, port) in [
            ("https://127.0.0.1:7420", "127.0.0.1", 7420),
            ("https://[::1]:7420", "::1", 7420),
            ("https://plane.example/", "plane.example", 443),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "127.0.0.1:7420",
            "http://a:1",
            "https://",
            "https://a/b",
            "https://ada:x@a:1",
            "https://a:99999",
            "https://a:65536",
            "https://a:0",
            "https://a:",
            "https://[::1]:70000",
            "https://a:7420x",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_parameter_is_one_parameter_whatever_is_in_it() {
        let call = Call::get("/x")
            .query("location", Some("a&b=c"))
            .query("none", Some(""))
            .query::<String>("absent", None)
            .query("message", Some("é +"));
        assert_eq!(call.path, "/x?location=a%26b%3Dc&message=%C3%A9%20%2B");
    }
}
