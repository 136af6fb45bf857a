//! One connection to one server of the control plane: name, proxy, TCP, TLS, HTTP/2; and requests on it.
//!
//! Which server, how often and with which certificate is the caller's.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::control;
use adit_tls::{CONTROL_ALPN, CertificateDer, ServerName};
use adit_transport::proxy::{self, Proxy};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::CertificateError;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::limits::{ANSWER_WAIT, REFUSAL_BYTES_MAX};
use crate::settings::ControlUrl;

/// A connection; closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: String,
    /// The server's chain, leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    driver: JoinHandle<()>,
}

/// Requests on a connection, from any task.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: String,
}

/// Why there is no answer, or what it says instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The way there, or the other end: another try may help.
    Path(String),
    /// The server says no.
    Refused { status: u16, words: String },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(what) => f.write_str(what),
            Self::Refused { status, words } if words.is_empty() => {
                write!(f, "the control plane answered {status}")
            }
            Self::Refused { status, words } => {
                write!(f, "the control plane answered {status}: {words}")
            }
        }
    }
}

impl Connection {
    /// Dials `url`, through `proxy` unless that is told to let it pass.
    pub(crate) async fn dial(
        url: &ControlUrl,
        proxy: Option<&Proxy>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Failed> {
        within(
            ANSWER_WAIT,
            "connection",
            Self::dial_patiently(url, proxy, tls),
        )
        .await
    }

    async fn dial_patiently(
        url: &ControlUrl,
        proxy: Option<&Proxy>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Failed> {
        let socket = reach(url, proxy).await?;
        let name = ServerName::try_from(url.host.clone()).map_err(|_invalid| {
            Failed::Path(format!("{} is neither a DNS name nor an address", url.host))
        })?;
        let stream = TlsConnector::from(tls)
            .connect(name, socket)
            .await
            .map_err(|error| Failed::Path(format!("tls: {}", handshake(&error))))?;
        let (_, state) = stream.get_ref();
        if state.alpn_protocol() != Some(CONTROL_ALPN) {
            return Err(Failed::Path(
                "tls: the server does not speak HTTP/2; is this the nodes' door of a control plane?".to_owned(),
            ));
        }
        let chain = state
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let (sender, driving) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WAIT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failed::Path(format!("http/2: {error}")))?;
        let driver = tokio::spawn(async move {
            // Whoever asks hears of it by the request that fails.
            let _ = driving.await;
        });
        Ok(Self {
            sender,
            authority: url.authority(),
            chain,
            driver,
        })
    }

    /// For requests.
    pub(crate) fn asker(&self) -> Asker {
        Asker {
            sender: self.sender.clone(),
            authority: self.authority.clone(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Asker {
    /// Asks, and hands over the answer when its head says `expected`.
    pub(crate) async fn open(
        &self,
        path: &str,
        body: Vec<u8>,
        expected: StatusCode,
    ) -> Result<Incoming, Failed> {
        let answer = within(ANSWER_WAIT, "answer", self.send(path, body)).await?;
        let status = answer.status();
        if status == expected {
            return Ok(answer.into_body());
        }
        let words = within(ANSWER_WAIT, "answer", async {
            let read = Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect();
            read.await
                .map(|read| read.to_bytes())
                .map_err(|error| Failed::Path(error.to_string()))
        });
        // What it says is worth having, but not needed.
        let words = words.await.unwrap_or_default();
        Err(Failed::Refused {
            status: status.as_u16(),
            words: told(&words),
        })
    }

    /// Asks, and reads the whole answer, of the message type `T`.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        expected: StatusCode,
    ) -> Result<T, Failed> {
        let body = self.open(path, body, expected).await?;
        let read = within(ANSWER_WAIT, "answer", async {
            let read = Limited::new(body, adit_proto::limits::CONTROL_BYTES_MAX).collect();
            read.await
                .map(|read| read.to_bytes())
                .map_err(|error| Failed::Path(format!("the answer broke off: {error}")))
        });
        control::read_json(&read.await?, "answer").map_err(|error| Failed::Path(error.to_string()))
    }

    /// Says something that is answered with nothing.
    pub(crate) async fn tell(&self, path: &str, body: Vec<u8>) -> Result<(), Failed> {
        self.open(path, body, StatusCode::NO_CONTENT)
            .await
            .map(drop)
    }

    async fn send(&self, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Failed> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failed::Path(error.to_string()))?;
        let mut sender = self.sender.clone();
        let lost = |error: hyper::Error| Failed::Path(format!("http/2: {}", causes(&error)));
        sender.ready().await.map_err(lost)?;
        sender.send_request(request).await.map_err(lost)
    }
}

async fn reach(url: &ControlUrl, proxy: Option<&Proxy>) -> Result<TcpStream, Failed> {
    let proxy = proxy.filter(|proxy| !proxy.passes(&url.host));
    let (host, port) = proxy.map_or((url.host.as_str(), url.port), |proxy| {
        (proxy.host.as_str(), proxy.port)
    });
    let mut socket = TcpStream::connect((host, port))
        .await
        .map_err(|error| Failed::Path(format!("tcp: {host}:{port}: {error}")))?;
    socket
        .set_nodelay(true)
        .map_err(|error| Failed::Path(format!("tcp: {error}")))?;
    if let Some(proxy) = proxy {
        ask_proxy(&mut socket, proxy, url)
            .await
            .map_err(|why| Failed::Path(format!("proxy: {why}")))?;
    }
    Ok(socket)
}

async fn ask_proxy(socket: &mut TcpStream, proxy: &Proxy, url: &ControlUrl) -> Result<(), String> {
    let request = proxy.request(&url.host, url.port);
    socket
        .write_all(request.as_bytes())
        .await
        .map_err(|error| format!("closed while we asked: {error}"))?;
    // Byte by byte up to the blank line: what follows is the server's. Once per dial.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => return Err(format!("closed without an answer to CONNECT: {error}")),
        }
        if head.len() > proxy::ANSWER_MAX {
            return Err(format!(
                "answered CONNECT with more than {} bytes of head",
                proxy::ANSWER_MAX
            ));
        }
    }
    proxy::verdict(&String::from_utf8_lossy(&head))
}

async fn within<T>(
    limit: Duration,
    what: &str,
    asking: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, asking).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(Failed::Path(format!(
            "no {what} within {} s",
            limit.as_secs()
        ))),
    }
}

// What a refusal says: the detail or title of a problem document, else its first line; without control characters, for
// it goes to the log.
fn told(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let document: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let member = |name: &str| Some(document.as_ref()?.get(name)?.as_str()?.to_owned());
    let words = member("detail")
        .or_else(|| member("title"))
        .unwrap_or_else(|| text.lines().next().unwrap_or_default().to_owned());
    words
        .chars()
        .filter(|letter| !letter.is_control())
        .take(WORDS_MAX)
        .collect()
}

// What went wrong in a handshake, in words for who configures it.
fn handshake(error: &std::io::Error) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            format!("the server's certificate {}", other.0)
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the server's certificate does not end at a root that is trusted (UnknownIssuer)"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose)) => {
            "the server's certificate is not for the purpose of a TLS server".to_owned()
        }
        Some(_) | None => error.to_string(),
    }
}

// hyper's own words end at "connection error"; the cause is below.
fn causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// How often the connection is asked whether it lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WAIT: Duration = Duration::from_secs(5);
/// Characters of a refusal that are shown.
const WORDS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_detail_or_its_first_line_without_control_characters() {
        for (body, words) in [
            (
                r#"{"title":"gone","detail":"the token was used"}"#,
                "the token was used",
            ),
            (r#"{"title":"gone"}"#, "gone"),
            ("no\u{1b}[31m\nmore", "no[31m"),
            ("", ""),
        ] {
            assert_eq!(told(body.as_bytes()), words);
        }
        assert_eq!(told("x".repeat(1000).as_bytes()).len(), WORDS_MAX);
    }
}
