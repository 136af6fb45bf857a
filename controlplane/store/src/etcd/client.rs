//! Requests to etcd's JSON gateway: endpoints in turn, TLS, and what an answer means.
//!
//! What is asked is the store's. A request that may have been carried out is sent once more only when doing it twice
//! does no harm.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::Value as Json;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where an etcd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port, as the Host field has them.
    authority: String,
    /// Whom its certificate must name; `None` without TLS.
    name: Option<ServerName<'static>>,
}

impl Endpoint {
    /// Reads `http://host:port` or `https://host:port`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("etcd endpoint {text}: {what}");
        let form = "is not of the form http://host:port or https://host:port";
        let (scheme, authority) = text.split_once("://").ok_or_else(|| wrong(form))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| wrong(form))?;
        if port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(wrong("its port is not a number from 1 to 65535"));
        }
        if host.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong(form));
        }
        let name = match scheme {
            "http" => None,
            "https" => {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(host.to_owned());
                Some(name.map_err(|error| wrong(&error.to_string()))?)
            }
            _other => return Err(wrong(form)),
        };
        Ok(Self {
            authority: authority.to_owned(),
            name,
        })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.name.is_some()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.name.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Why there is no answer, or what the answer says instead.
#[derive(Debug)]
pub(super) struct Failed {
    /// The endpoint spoken to last.
    pub(super) place: String,
    pub(super) why: String,
    pub(super) kind: FailedKind,
}

/// What a failure means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedKind {
    /// It was not carried out; another time it may be.
    NotDone,
    /// Nobody knows.
    Unknown,
    /// etcd has no room (`NOSPACE`).
    Full,
    /// There is no such lease, or no such key.
    NotFound,
    /// The revision asked for is compacted.
    Compacted,
}

/// Whether a request may be carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Harmless,
    Never,
}

/// The endpoints, and connections that wait for the next request.
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
    tls: Option<TlsConnector>,
    idle: Mutex<Vec<(usize, Sender)>>,
}

type Sender = SendRequest<Full<Bytes>>;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(endpoints: Vec<Endpoint>, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self {
            endpoints,
            preferred: AtomicUsize::new(0),
            tls: tls.map(TlsConnector::from),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The endpoints, for people.
    pub(super) fn place(&self) -> String {
        let all: Vec<String> = self.endpoints.iter().map(Endpoint::to_string).collect();
        format!("etcd {}", all.join(", "))
    }

    /// Asks, and reads the whole answer.
    pub(super) async fn call(
        &self,
        path: &str,
        body: &Json,
        repeat: Repeat,
    ) -> Result<Json, Failed> {
        let body = Bytes::from(body.to_string());
        let mut turns = self.turns(repeat);
        while let Some(number) = turns.next() {
            match self.ask(number, path, &body).await {
                Ok(answer) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(stumble) => turns.note(number, stumble)?,
            }
        }
        Err(turns.given_up())
    }

    /// Asks for a stream of answers, one JSON document a line.
    pub(super) async fn stream(&self, path: &str, body: &Json) -> Result<Lines, Failed> {
        let body = Bytes::from(body.to_string());
        let mut turns = self.turns(Repeat::Harmless);
        while let Some(number) = turns.next() {
            match self.open(number, path, &body).await {
                Ok(lines) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(lines);
                }
                Err(stumble) => turns.note(number, stumble)?,
            }
        }
        Err(turns.given_up())
    }

    fn turns(&self, repeat: Repeat) -> Turns<'_> {
        Turns {
            endpoints: &self.endpoints,
            repeat,
            first: self.preferred.load(Ordering::Relaxed),
            turn: 0,
            last: None,
        }
    }

    async fn ask(&self, number: usize, path: &str, body: &Bytes) -> Result<Json, Stumble> {
        let mut sender = self.sender(number).await?;
        let asking = async {
            let answer = send(&mut sender, &self.endpoints[number], path, body, "").await?;
            let status = answer.status();
            let read = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
            let read = read
                .await
                .map_err(|error| Stumble::Lost(error.to_string()))?;
            Ok((status, read.to_bytes()))
        };
        let (status, answer) = within(CALL_WITHIN, asking).await?;
        self.put_back(number, sender);
        parse(status, &answer)
    }

    async fn open(&self, number: usize, path: &str, body: &Bytes) -> Result<Lines, Stumble> {
        let mut sender = self.dial(number).await?;
        // A member without the others would be silent for ever.
        let asking = send(&mut sender, &self.endpoints[number], path, body, "true");
        let answer = within(CALL_WITHIN, asking).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            let read = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
            let read = read
                .await
                .map_err(|error| Stumble::Lost(error.to_string()))?;
            let why = match parse(status, &read.to_bytes()) {
                Ok(_) => Stumble::Lost(format!("status {status}")),
                Err(stumble) => stumble,
            };
            return Err(why);
        }
        Ok(Lines {
            place: self.endpoints[number].to_string(),
            body: answer.into_body(),
            held: Held::default(),
            _sender: sender,
        })
    }

    async fn sender(&self, number: usize) -> Result<Sender, Stumble> {
        let waiting = {
            let mut idle = self.idle.lock();
            idle.retain(|(_, sender)| !sender.is_closed());
            let at = idle.iter().position(|(of, _)| *of == number);
            at.map(|at| idle.swap_remove(at).1)
        };
        match waiting {
            Some(sender) => Ok(sender),
            None => self.dial(number).await,
        }
    }

    fn put_back(&self, number: usize, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push((number, sender));
        }
    }

    async fn dial(&self, number: usize) -> Result<Sender, Stumble> {
        let endpoint = &self.endpoints[number];
        let dialling = async {
            let socket = TcpStream::connect(&endpoint.authority).await?;
            socket.set_nodelay(true)?;
            // A watch sends nothing: without this a cut wire looks like a quiet cluster.
            SockRef::from(&socket).set_tcp_keepalive(
                &TcpKeepalive::new()
                    .with_time(PROBE_EVERY)
                    .with_interval(PROBE_EVERY)
                    .with_retries(PROBES),
            )?;
            let name = match (&endpoint.name, &self.tls) {
                (None, _) => return shake(socket).await,
                (Some(name), Some(tls)) => (name.clone(), tls),
                (Some(_), None) => return Err(io::Error::other("no TLS is set up")),
            };
            shake(name.1.connect(name.0, socket).await?).await
        };
        match tokio::time::timeout(DIAL_WITHIN, dialling).await {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(Stumble::Unsent(error.to_string())),
            Err(_late) => Err(Stumble::Unsent(format!(
                "no connection within {} s",
                DIAL_WITHIN.as_secs()
            ))),
        }
    }
}

/// One attempt at one endpoint.
enum Stumble {
    /// Nothing was sent.
    Unsent(String),
    /// It was sent, and no answer came.
    Lost(String),
    /// etcd says no.
    Answer(String, FailedKind),
}

/// The endpoints in turn, the one that answered last first.
struct Turns<'c> {
    endpoints: &'c [Endpoint],
    repeat: Repeat,
    first: usize,
    turn: usize,
    last: Option<Failed>,
}

impl Turns<'_> {
    fn next(&mut self) -> Option<usize> {
        let count = self.endpoints.len();
        // Once more than there are endpoints: a connection that waited may have been closed meanwhile.
        if count == 0 || self.turn > count {
            return None;
        }
        self.turn += 1;
        Some((self.first + self.turn - 1) % count)
    }

    /// Whether the next one may be asked.
    fn note(&mut self, number: usize, stumble: Stumble) -> Result<(), Failed> {
        let failed = |why, kind| Failed {
            place: self.endpoints[number].to_string(),
            why,
            kind,
        };
        match stumble {
            Stumble::Answer(why, kind) => Err(failed(why, kind)),
            Stumble::Lost(why) if self.repeat == Repeat::Never => {
                Err(failed(why, FailedKind::Unknown))
            }
            Stumble::Unsent(why) | Stumble::Lost(why) => {
                self.last = Some(failed(why, FailedKind::NotDone));
                Ok(())
            }
        }
    }

    fn given_up(self) -> Failed {
        self.last.unwrap_or_else(|| Failed {
            place: "etcd".to_owned(),
            why: "no endpoint is configured".to_owned(),
            kind: FailedKind::NotDone,
        })
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Stumble>>,
) -> Result<T, Stumble> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_late| {
            Err(Stumble::Lost(format!(
                "no answer within {} s",
                limit.as_secs()
            )))
        })
}

async fn shake<S>(socket: S) -> io::Result<Sender>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    // It ends with the sender; what went wrong is told to the request.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut Sender,
    endpoint: &Endpoint,
    path: &str,
    body: &Bytes,
    leader: &'static str,
) -> Result<Response<Incoming>, Stumble> {
    let unsent = |error: &dyn fmt::Display| Stumble::Unsent(error.to_string());
    sender.ready().await.map_err(|error| unsent(&error))?;
    let request = Request::post(path)
        .header(HOST, &endpoint.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(HAS_LEADER, leader)
        .body(Full::new(body.clone()))
        .map_err(|error| unsent(&error))?;
    let answer = sender.send_request(request).await;
    answer.map_err(|error| {
        // It was closed while it waited: the request met nobody.
        if error.is_canceled() {
            unsent(&error)
        } else {
            Stumble::Lost(error.to_string())
        }
    })
}

fn parse(status: StatusCode, answer: &[u8]) -> Result<Json, Stumble> {
    let answer: Json = serde_json::from_slice(answer)
        .map_err(|error| Stumble::Lost(format!("status {status} and no JSON: {error}")))?;
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let (why, code) = complaint(&answer);
    Err(match kind(code, &why) {
        Some(kind) => Stumble::Answer(why, kind),
        None => Stumble::Lost(why),
    })
}

/// Message and gRPC code of an error, in the forms of etcd 3.4 to 3.6 and of its streams.
pub(super) fn complaint(answer: &Json) -> (String, u64) {
    let nested = answer.get("error").filter(|error| error.is_object());
    let error = nested.unwrap_or(answer);
    let text = |name: &str| error.get(name).and_then(Json::as_str);
    let why = text("message")
        .or_else(|| text("error"))
        .unwrap_or("refused");
    let code = ["grpc_code", "code"]
        .iter()
        .find_map(|name| error.get(name).and_then(Json::as_u64));
    (why.to_owned(), code.unwrap_or(CODE_UNKNOWN))
}

/// What a gRPC code of etcd's means for the request; `None` when nobody knows.
fn kind(code: u64, why: &str) -> Option<FailedKind> {
    match code {
        // INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, FAILED_PRECONDITION: not even tried.
        3 | 7 | 9 | 16 => Some(FailedKind::NotDone),
        // NOT_FOUND
        5 => Some(FailedKind::NotFound),
        // RESOURCE_EXHAUSTED
        8 if why.contains("space exceeded") => Some(FailedKind::Full),
        8 => Some(FailedKind::NotDone),
        // OUT_OF_RANGE
        11 if why.contains("compacted") => Some(FailedKind::Compacted),
        _unknown => None,
    }
}

/// A stream of JSON documents, one a line.
pub(super) struct Lines {
    pub(super) place: String,
    body: Incoming,
    held: Held,
    // The connection ends with it.
    _sender: Sender,
}

impl Lines {
    /// The next document; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Json>, String> {
        loop {
            if let Some(line) = self.held.line()? {
                return match serde_json::from_slice(&line) {
                    Ok(document) => Ok(Some(document)),
                    Err(error) => Err(format!("no JSON: {error}")),
                };
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.held.bytes.extend_from_slice(bytes);
                    }
                }
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(None),
            }
        }
    }
}

/// What came of a stream and is no whole line yet.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    /// So many bytes at the beginning are known to hold no end of a line.
    searched: usize,
}

impl Held {
    fn line(&mut self) -> Result<Option<BytesMut>, String> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line = self.bytes.split_to(self.searched + at + 1);
            self.searched = 0;
            return Ok(Some(line));
        }
        self.searched = self.bytes.len();
        if self.searched > ANSWER_BYTES_MAX {
            return Err("a line without end".to_owned());
        }
        Ok(None)
    }
}

/// Becomes metadata of the gRPC request: with `true` etcd ends a stream of a member that has lost its leader.
const HAS_LEADER: &str = "grpc-metadata-hasleader";
/// How long a connection may be silent before the kernel probes it, and how often then: dead after 20 s.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
/// `UNKNOWN` of gRPC.
const CODE_UNKNOWN: u64 = 2;
/// Time for TCP and TLS: an endpoint that takes longer is passed over.
const DIAL_WITHIN: Duration = Duration::from_secs(3);
/// Time for an answer: etcd itself gives up a request after 7 s at its defaults.
const CALL_WITHIN: Duration = Duration::from_secs(15);
/// Connections that wait for the next request. 8: a server asks a few things at once. About 20 KiB each with TLS.
const IDLE_MAX: usize = 8;
/// Bytes of an answer. 32 MiB: a page of 500 values of 16 KiB in base64 is 11 MiB, a watch of 60 changes each 1.4 MiB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_lines_wherever_its_frames_end() {
        let text = b"{}\n\n{\"a\":1}\n{\"b\"";
        for step in 1..=text.len() {
            let mut held = Held::default();
            let mut lines = Vec::new();
            for frame in text.chunks(step) {
                held.bytes.extend_from_slice(frame);
                while let Some(line) = held.line().unwrap() {
                    lines.push(line.to_vec());
                }
            }
            let wanted: [&[u8]; 3] = [b"{}\n", b"\n", b"{\"a\":1}\n"];
            assert_eq!(lines, wanted, "frames of {step}");
            assert_eq!(&held.bytes[..], b"{\"b\"");
        }
    }

    #[test]
    fn a_line_of_answer_bytes_max_is_waited_for_and_one_byte_more_is_not() {
        let mut held = Held::default();
        held.bytes.resize(ANSWER_BYTES_MAX, b'x');
        assert_eq!(held.line(), Ok(None));
        held.bytes.extend_from_slice(b"x");
        assert!(held.line().is_err());
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        let plain = Endpoint::parse("http://etcd-1:2379").unwrap();
        assert_eq!(plain.to_string(), "http://etcd-1:2379");
        assert!(!plain.has_tls());
        let secure = Endpoint::parse("https://[::1]:2379/").unwrap();
        assert_eq!(secure.to_string(), "https://[::1]:2379");
        assert!(secure.has_tls());
        for wrong in [
            "",
            "etcd:2379",
            "ftp://etcd:2379",
            "http://etcd",
            "http://etcd:0",
            "http://etcd:65536",
            "http://:2379",
            "http://user@etcd:2379",
            "http://etcd:2379/v3",
        ] {
            let error = Endpoint::parse(wrong).unwrap_err();
            assert!(error.starts_with("etcd endpoint "), "{error}");
        }
    }

    #[test]
    fn errors_of_all_versions_are_understood() {
        let forms = [
            r#"{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}"#,
            r#"{"code":5,"message":"etcdserver: requested lease not found","details":[]}"#,
            r#"{"error":{"grpc_code":5,"http_code":404,"message":"etcdserver: requested lease not found","http_status":"Not Found"}}"#,
        ];
        for form in forms {
            let (why, code) = complaint(&serde_json::from_str(form).unwrap());
            assert_eq!(why, "etcdserver: requested lease not found");
            assert_eq!(kind(code, &why), Some(FailedKind::NotFound));
        }
        let full = kind(8, "etcdserver: mvcc: database space exceeded");
        assert_eq!(full, Some(FailedKind::Full));
        assert_eq!(kind(14, "etcdserver: leader changed"), None);
    }
}
