//! The internal side of the demo: a small HTTP and a small TCP service on loopback.
//!
//! They answer as services nobody wrote for adit would, and remember what reached them. No request
//! comes here but through the agent.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the TCP backend says first.
pub(super) const GREETING: &str = "220 echo at your service";

/// Longest line the TCP backend reads, in bytes.
const LINE_BYTES_MAX: u64 = 8192;

/// Both backends; they serve as long as the runtime lives.
#[derive(Debug)]
pub(super) struct Backends {
    pub(super) http: SocketAddr,
    pub(super) tcp: SocketAddr,
    seen: Seen,
}

/// The last request that reached the HTTP backend, as it saw it.
type Seen = Arc<Mutex<Option<String>>>;

impl Backends {
    /// Listens on two free ports and serves in the background.
    pub(super) async fn start() -> Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (http, tcp) = (bind().await, bind().await);
        let (http, tcp) = (
            http.context("a port for the HTTP backend")?,
            tcp.context("a port for the TCP backend")?,
        );
        let backends = Self {
            http: http.local_addr()?,
            tcp: tcp.local_addr()?,
            seen: Seen::default(),
        };
        tokio::spawn(serve_http(http, Arc::clone(&backends.seen)));
        tokio::spawn(serve_tcp(tcp));
        Ok(backends)
    }

    /// Addresses with nobody behind them.
    #[cfg(test)]
    pub(super) fn unserved(http: SocketAddr, tcp: SocketAddr) -> Self {
        Self {
            http,
            tcp,
            seen: Seen::default(),
        }
    }

    /// Takes the last request that reached the HTTP backend.
    pub(super) fn take_seen(&self) -> Option<String> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

async fn serve_http(listener: TcpListener, seen: Seen) {
    while let Some(stream) = accept(&listener).await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&seen)));
            // A connection that ends badly is the agent's affair, and it tells.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

async fn answer(request: Request<Incoming>, seen: Seen) -> Result<Response<Body>, Infallible> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("none")
        .to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    *seen.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(format!("{method} {path}, host {host}"));

    let order = path.strip_prefix("/orders");
    let mut response = match (order, &method) {
        // What is sent comes back, as it arrives.
        (Some(_), &Method::POST) => Response::new(request.into_body().boxed()),
        (Some(order), _) => Response::new(text(
            json!({"order": order.trim_start_matches('/'), "item": "a level passage", "host": host})
                .to_string(),
        )),
        (None, _) if path.starts_with("/admin") => {
            Response::new(text("if you read this, the agent let you in".to_owned()))
        }
        (None, _) => {
            let mut response = Response::new(text("nothing here".to_owned()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn text(text: String) -> Body {
    Full::new(Bytes::from(text + "\n"))
        .map_err(|never: Infallible| match never {})
        .boxed()
}

async fn serve_tcp(listener: TcpListener) {
    while let Some(stream) = accept(&listener).await {
        // As above: who ends the conversation badly knows it.
        tokio::spawn(async move { echo(stream).await.unwrap_or_default() });
    }
}

/// Greets, then gives every line back, until the other side ends or a line is too long.
async fn echo(stream: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    writer
        .write_all(format!("{GREETING}\r\n").as_bytes())
        .await?;
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        writer.write_all(&line).await?;
    }
}

/// The next connection. Running out of descriptors passes; a pause keeps it from burning a core.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers go out at once; that it cannot be set is no reason not to answer.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            Err(_passes) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tcp_backend_greets_and_gives_lines_back() {
        let backends = Backends::start().await.unwrap();
        let mut stream = BufReader::new(TcpStream::connect(backends.tcp).await.unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "220 echo at your service\r\n");
        for sent in ["hello\r\n", "\n", "second\n"] {
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            assert_eq!(line, sent);
        }
    }

    #[tokio::test]
    async fn a_line_of_the_longest_length_comes_back_and_a_longer_one_ends_the_conversation() {
        let longest = usize::try_from(LINE_BYTES_MAX).unwrap();
        for (length, answered) in [(longest, true), (longest + 1, false)] {
            let backends = Backends::start().await.unwrap();
            let mut stream = TcpStream::connect(backends.tcp).await.unwrap();
            let mut sent = vec![b'x'; length - 1];
            sent.push(b'\n');
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut received = Vec::new();
            // An end with unread bytes may be a reset; what counts is what came before it.
            let _ = stream.read_to_end(&mut received).await;
            assert_eq!(received.ends_with(&sent), answered, "{length}");
        }
    }
}
