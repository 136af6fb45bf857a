//! A control plane as a script: real TLS and HTTP/2, answers as a test sets them, and all it heard in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_proto::control::{
    self, Ack, Answer, Beat, Enrol, Enrolled, Event, Hello, Nack, Renew, Welcome,
};
use adit_tls::CertificateDer;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::authority::{AGENT, Authority, SERVER};

/// What a server heard.
#[derive(Debug)]
pub(super) enum Heard {
    Enrol(Enrol),
    /// With the serial of the client's certificate, if it showed one.
    Renew(Renew, Option<String>),
    Hello(Hello, Option<String>),
    Ack(Ack),
    Nack(Nack),
    Beat(Beat),
    /// An answer that is not taken yet.
    Answering,
    Answer(String, Answer),
}

/// What a test changes of a server.
pub(super) struct Script {
    pub(super) serial: u64,
    /// Requests for a certificate so far.
    pub(super) asked: u64,
    /// Whom the next certificates name.
    pub(super) names: String,
    /// How long ago they began, and how long they go on.
    pub(super) life: (i64, i64),
    pub(super) renew_unix_s: u64,
    pub(super) trust: u64,
    pub(super) revoked: Vec<&'static str>,
    /// Status of the next answers to requests for a certificate.
    pub(super) denials: VecDeque<u16>,
    /// What they say.
    pub(super) denial: String,
    /// Answers are not taken while somebody holds it for writing.
    pub(super) desk: Arc<tokio::sync::RwLock<()>>,
    /// Whether every other request for a certificate is answered 503.
    pub(super) fails_every_other: bool,
    /// Format and features of the welcome.
    pub(super) speaks: (u16, Vec<String>),
    /// Whether a hello is answered with a welcome.
    pub(super) welcomes: bool,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) authority: Arc<Authority>,
    pub(super) script: Arc<Mutex<Script>>,
    row: Arc<Mutex<Option<mpsc::UnboundedSender<Bytes>>>>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

/// How a server presents itself.
pub(super) struct Guise {
    pub(super) uri: &'static str,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(super) serial: u64,
    pub(super) versions: Vec<&'static rustls::SupportedProtocolVersion>,
    pub(super) alpn: &'static [u8],
}

impl Default for Guise {
    fn default() -> Self {
        Self {
            uri: SERVER,
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
            serial: 0x5e,
            versions: vec![&rustls::version::TLS13],
            alpn: b"h2",
        }
    }
}

impl Server {
    pub(super) async fn new() -> Self {
        Self::of(Arc::new(Authority::new()), Guise::default()).await
    }

    pub(super) async fn of(authority: Arc<Authority>, guise: Guise) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(listener, authority, guise)
    }

    pub(super) fn at(listener: TcpListener, authority: Arc<Authority>, guise: Guise) -> Self {
        let tls = acceptor(&authority, &guise);
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let script = Arc::new(Mutex::new(Script {
            serial: 0x100,
            asked: 0,
            names: AGENT.to_owned(),
            life: (1, 3600),
            renew_unix_s: 0,
            trust: 1,
            revoked: Vec::new(),
            denials: VecDeque::new(),
            denial: r#"{"title":"no","detail":"the test says no"}"#.to_owned(),
            desk: Arc::default(),
            fails_every_other: false,
            speaks: (control::FORMAT, vec![control::PROBLEMS.to_owned()]),
            welcomes: true,
        }));
        let row = Arc::new(Mutex::new(None));
        let desk = Arc::new(Desk {
            authority: Arc::clone(&authority),
            script: Arc::clone(&script),
            row: Arc::clone(&row),
            tell,
        });
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(tls.clone(), socket, Arc::clone(&desk)));
            }
        });
        Self {
            address,
            authority,
            script,
            row,
            heard,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The next thing heard that `wanted` wants; others are passed over.
    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(Heard) -> Option<T>) -> T {
        loop {
            let heard = self.heard.recv().await.expect("the server lives");
            if let Some(found) = wanted(heard) {
                return found;
            }
        }
    }

    pub(super) async fn hello(&mut self) -> (Hello, Option<String>) {
        self.until(|heard| match heard {
            Heard::Hello(hello, serial) => Some((hello, serial)),
            _ => None,
        })
        .await
    }

    pub(super) async fn beat(&mut self) -> Beat {
        self.until(|heard| match heard {
            Heard::Beat(beat) => Some(beat),
            _ => None,
        })
        .await
    }

    /// Says `event` on the row that was welcomed last.
    pub(super) fn say(&self, event: &Event) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.say_bytes(bytes);
    }

    pub(super) fn say_bytes(&self, bytes: Vec<u8>) {
        let row = self.row.lock();
        // It may have gone meanwhile.
        let _ = row
            .as_ref()
            .expect("somebody has subscribed")
            .send(Bytes::from(bytes));
    }

    /// What was heard and not asked for.
    pub(super) fn rest(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

fn acceptor(authority: &Authority, guise: &Guise) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let (chain, key) = authority.server(guise.uri, &guise.usages, guise.serial);
    roots.add(chain[1].clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&guise.versions)
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![guise.alpn.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(tls: TlsAcceptor, socket: tokio::net::TcpStream, desk: Arc<Desk>) {
    let Ok(stream) = tls.accept(socket).await else {
        return;
    };
    let peer = stream.get_ref().1.peer_certificates();
    let serial = peer.and_then(|chain| {
        let leaf: &CertificateDer<'_> = chain.first()?;
        Some(adit_tls::Leaf::read(leaf).unwrap().serial)
    });
    let service = service_fn(move |request| {
        let (desk, serial) = (Arc::clone(&desk), serial.clone());
        async move { Ok::<_, std::convert::Infallible>(desk.answer(request, serial).await) }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct Desk {
    authority: Arc<Authority>,
    script: Arc<Mutex<Script>>,
    row: Arc<Mutex<Option<mpsc::UnboundedSender<Bytes>>>>,
    tell: mpsc::UnboundedSender<Heard>,
}

type Written = Response<Either<Full<Bytes>, Events>>;

impl Desk {
    async fn answer(&self, request: Request<Incoming>, serial: Option<String>) -> Written {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let parts: Vec<&str> = path.split('/').skip(3).collect();
        let heard = match parts.as_slice() {
            ["enrol"] => {
                let asked: Enrol = message(&body);
                let csr = asked.csr.clone();
                let _ = self.tell.send(Heard::Enrol(asked));
                return self.sign(&csr);
            }
            ["renew"] => {
                let asked: Renew = message(&body);
                let csr = asked.csr.clone();
                let _ = self.tell.send(Heard::Renew(asked, serial));
                return self.sign(&csr);
            }
            ["subscriptions"] => {
                let (say, row) = mpsc::unbounded_channel();
                let mut bytes = Vec::new();
                let (format, features) = self.script.lock().speaks.clone();
                let welcome = Welcome {
                    subscription: "s1".to_owned(),
                    server: "cp-1".to_owned(),
                    format,
                    features,
                };
                Event::Welcome(welcome).encode(&mut bytes);
                if self.script.lock().welcomes {
                    say.send(Bytes::from(bytes)).unwrap();
                }
                *self.row.lock() = Some(say);
                let _ = self.tell.send(Heard::Hello(message(&body), serial));
                return Response::new(Either::Right(Events(row)));
            }
            ["subscriptions", "s1", "ack"] => Heard::Ack(message(&body)),
            ["subscriptions", "s1", "nack"] => Heard::Nack(message(&body)),
            ["subscriptions", "s1", "beat"] => Heard::Beat(message(&body)),
            ["subscriptions", "s1", "answers", ask] => {
                let _ = self.tell.send(Heard::Answering);
                let desk = Arc::clone(&self.script.lock().desk);
                drop(desk.read().await);
                Heard::Answer((*ask).to_owned(), message(&body))
            }
            _ => return status(404, ""),
        };
        let _ = self.tell.send(heard);
        status(204, "")
    }

    fn sign(&self, csr: &str) -> Written {
        let mut script = self.script.lock();
        script.asked += 1;
        if script.fails_every_other && script.asked % 2 == 1 {
            return status(503, &script.denial);
        }
        if let Some(denial) = script.denials.pop_front() {
            return status(denial, &script.denial);
        }
        script.serial += 1;
        let (ago, left) = script.life;
        let certificate = self
            .authority
            .sign(csr, &script.names, script.serial, ago, left);
        let enrolled = Enrolled {
            certificate,
            location: "berlin".to_owned(),
            renew_unix_s: script.renew_unix_s,
            trust: self.authority.trust(script.trust, &script.revoked),
        };
        let text = String::from_utf8(control::to_json(&enrolled)).unwrap();
        status(201, &text)
    }
}

fn status(status: u16, body: &str) -> Written {
    let body = Either::Left(Full::new(Bytes::from(body.to_owned())));
    Response::builder().status(status).body(body).unwrap()
}

struct Events(mpsc::UnboundedReceiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn message<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    control::read_json(body, "message")
        .unwrap_or_else(|_| panic!("no message: {}", String::from_utf8_lossy(body)))
}
