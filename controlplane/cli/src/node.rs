//! Talks to a node's admin endpoint: plain HTTP/1.1 over a unix socket or TCP.
//!
//! One request, one answer, bounded in time and size. What is asked is left to the commands.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long a node may take to answer: compiling a large rule set is the longest of its tasks.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Largest answer in bytes: rules of 64 MiB, which is what an agent takes, with their quotes and line ends escaped. Held
/// whole, once.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where a node's admin endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeAddress {
    /// The unix socket: its owner may do everything.
    Unix(PathBuf),
    /// The TCP address: looking only.
    Http(Authority),
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the node's answer ({}) is not JSON", self.status))
    }

    /// The body as text for an error message: its first line, without control bytes.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().next().unwrap_or_default();
        let line: String = line
            .chars()
            .filter(|char| !char.is_control())
            .take(300)
            .collect();
        format!("the node answered {}: {line}", self.status)
    }
}

impl NodeAddress {
    /// Asks for `path`.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, &[], Vec::new()).await
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        request = match self {
            // The path of the socket is no host name; any name serves.
            Self::Unix(_) => request.header(HOST, "node"),
            Self::Http(authority) => request.header(HOST, authority.as_str()),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            match self {
                Self::Unix(path) => send(UnixStream::connect(path).await?, request).await,
                Self::Http(authority) => {
                    let port = authority.port_u16().unwrap_or(80);
                    let host = authority.host().trim_matches(['[', ']']);
                    send(TcpStream::connect((host, port)).await?, request).await
                }
            }
        };
        match timeout(ANSWER_WITHIN, exchange).await {
            Ok(answer) => answer.map_err(|error| self.explain(error)),
            Err(_elapsed) => Err(anyhow!(
                "{self}: no answer within {} s",
                ANSWER_WITHIN.as_secs()
            )),
        }
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let hint = match error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
        {
            Some(ErrorKind::NotFound) => {
                "nothing is there; is the node running, and is this its `admin.socket`?"
            }
            Some(ErrorKind::ConnectionRefused) => "nothing listens there; is the node running?",
            Some(ErrorKind::PermissionDenied) => {
                "only the node's own user may open its socket; try with that user"
            }
            Some(ErrorKind::InvalidInput) => {
                "a socket's path has at most 107 bytes; use a shorter one"
            }
            _ => return error.context(self.to_string()),
        };
        anyhow!("{self}: {hint}")
    }
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow!(error))?
            .to_bytes();
        Ok(Answer { status, body })
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    // The connection does the input and output; it may end before the answer has been taken.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("the path is missing; write unix:/run/adit/agent.sock".to_owned());
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            return authority
                .parse::<Authority>()
                .map(Self::Http)
                .map_err(|error| format!("{authority:?} is not host:port: {error}"));
        }
        Err("write unix:PATH or http://HOST:PORT".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[test]
    fn addresses_read_back_as_themselves() {
        for text in [
            "unix:/run/adit/agent.sock",
            "unix:demo/agent/admin.sock",
            "http://127.0.0.1:9494",
            "http://[::1]:9494",
            "http://gateway",
        ] {
            assert_eq!(text.parse::<NodeAddress>().unwrap().to_string(), text);
        }
        assert_eq!(
            "http://localhost:1/"
                .parse::<NodeAddress>()
                .unwrap()
                .to_string(),
            "http://localhost:1"
        );
    }

    #[test]
    fn what_is_no_address_says_how_to_write_one() {
        for text in [
            "",
            "127.0.0.1:9494",
            "https://gateway",
            "unix:",
            "http://a b",
            "http://a/b",
        ] {
            assert!(text.parse::<NodeAddress>().is_err(), "{text}");
        }
    }

    /// Reads one head, answers with `answer`, gives back the head.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn a_node_is_asked_over_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let node = NodeAddress::Unix(path);
        let (answer, head) = tokio::join!(node.get("/status"), async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}",
            )
            .await
        });
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json().unwrap(), serde_json::json!({"a": 1}));
        assert!(head.starts_with("GET /status HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("\r\nhost: node\r\n"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn a_node_is_asked_over_tcp_and_may_close_after_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node: NodeAddress = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let (answer, head) = tokio::join!(node.get("/healthz"), async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(
                stream,
                "HTTP/1.1 503 Busy\r\nconnection: close\r\n\r\nno tunnel\nmore\n",
            )
            .await
        });
        assert_eq!(
            answer.unwrap().complaint(),
            "the node answered 503 Service Unavailable: no tunnel"
        );
        assert!(
            head.to_ascii_lowercase()
                .contains(&format!("\r\nhost: {}\r\n", listener.local_addr().unwrap()))
        );
    }

    #[tokio::test]
    async fn an_absent_node_says_what_to_look_at() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeAddress::Unix(dir.path().join("admin.sock"));
        let error = node.get("/status").await.unwrap_err().to_string();
        assert!(
            error.ends_with(
                "nothing is there; is the node running, and is this its `admin.socket`?"
            )
        );

        let long = NodeAddress::Unix(PathBuf::from(format!("/tmp/{}", "a".repeat(200))));
        let error = long.get("/status").await.unwrap_err().to_string();
        assert!(error.contains("at most 107 bytes"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node: NodeAddress = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let (answer, _) = tokio::join!(node.get("/status"), async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await
        });
        assert!(answer.is_err());
    }
}
