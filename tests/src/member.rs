//! A scripted node of a control plane: it speaks the contract and enforces nothing.
//!
//! mTLS and HTTP/2 are real; what is said, and when, the tests decide.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adit_proto::control::{
    Ack, Answer, Ask, Beat, ENROL, Enrol, Enrolled, Event, Goodbye, Hello, InForce, Nack, RENEW,
    Renew, SUBSCRIPTIONS, Trust, Welcome, to_json,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::plane::{Plane, config};
use crate::wait::SOON;

/// What a node is to its control plane: a key, a certificate, and whom it trusts.
#[derive(Debug)]
pub struct Member {
    key: KeyPair,
    /// What it got last.
    pub enrolled: Enrolled,
    instance: String,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status; 0 when the connection was refused.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Member {
    /// Becomes a node by an invitation.
    ///
    /// # Errors
    /// The control plane says no.
    pub fn enrol(plane: &Plane, token: &str) -> Result<Self, Refused> {
        let (key, csr) = request();
        let wish = Enrol {
            token: token.to_owned(),
            csr,
            software: "fake 1".to_owned(),
        };
        let settings = config(&plane.roots()).with_no_client_auth();
        let body = ask_once(plane.address(), settings, ENROL, to_json(&wish))?;
        Ok(Self {
            key,
            enrolled: serde_json::from_slice(&body).expect("an enrolment is JSON"),
            instance: instance(),
        })
    }

    /// The same identity in another process.
    ///
    /// # Panics
    /// When its key cannot be copied.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            key: KeyPair::from_pem(&self.key.serialize_pem()).expect("it wrote it"),
            enrolled: self.enrolled.clone(),
            instance: instance(),
        }
    }

    /// The process starts again.
    pub fn restart(&mut self) {
        self.instance = instance();
    }

    /// Its private key, PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Its certificate's serial number, as openssl prints it, in lower case.
    ///
    /// # Panics
    /// When openssl does not read it.
    #[must_use]
    pub fn serial(&self) -> String {
        let scratch = crate::scratch::Scratch::new();
        let path = scratch.write("node.pem", &self.enrolled.certificate);
        let output = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-serial", "-in"])
            .arg(path)
            .output()
            .expect("openssl is installed; see tests/peers.sh");
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        let number = text.trim().trim_start_matches("serial=");
        number.trim_start_matches('0').to_owned()
    }

    /// Gets the next certificate, with a new key.
    ///
    /// # Errors
    /// The control plane says no.
    pub fn renew(&self, plane: &Plane) -> Result<Self, Refused> {
        let (key, csr) = request();
        let wish = Renew { csr, expired: None };
        let body = ask_once(plane.address(), self.tls(), RENEW, to_json(&wish))?;
        Ok(Self {
            key,
            enrolled: serde_json::from_slice(&body).expect("an enrolment is JSON"),
            instance: self.instance.clone(),
        })
    }

    /// Subscribes, and reads as far as the trust.
    ///
    /// # Errors
    /// The control plane says no.
    pub fn subscribe(&self, plane: &Plane) -> Result<Line, Refused> {
        self.subscribe_with(plane, None)
    }

    /// Subscribes with rules in force.
    ///
    /// # Errors
    /// The control plane says no.
    pub fn subscribe_with(
        &self,
        plane: &Plane,
        in_force: Option<InForce>,
    ) -> Result<Line, Refused> {
        let hello = Hello {
            format: adit_proto::control::FORMAT,
            software: "fake 1".to_owned(),
            instance: self.instance.clone(),
            location: self.enrolled.location.clone(),
            in_force,
            trust: self.enrolled.trust.version,
            features: Vec::new(),
        };
        self.say_hello(plane, &to_json(&hello))
    }

    /// Subscribes with any hello.
    ///
    /// # Errors
    /// The control plane says no.
    pub fn say_hello(&self, plane: &Plane, hello: &[u8]) -> Result<Line, Refused> {
        let settings = self.tls();
        let address = plane.address();
        let hello = hello.to_vec();
        let (sender, events) = channel();
        let mut connection = runtime().block_on(async move {
            let mut connection = dial(address, settings).await?;
            let response = post(&mut connection, SUBSCRIPTIONS, hello).await?;
            let status = response.status().as_u16();
            if status != 200 {
                return Err(refused(status, response).await);
            }
            tokio::spawn(read(response, sender));
            Ok(connection)
        })?;
        let welcome = match events.recv_timeout(SOON) {
            Ok(Event::Welcome(welcome)) => welcome,
            other => panic!("no welcome but {other:?}"),
        };
        // Kept alive by what it is asked.
        connection = connection.clone();
        Ok(Line {
            connection,
            welcome,
            events,
            trust: None,
        })
    }

    fn tls(&self) -> ClientConfig {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.enrolled.certificate.as_bytes())
                .map(|certificate| certificate.expect("a certificate is PEM"))
                .collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes())
            .expect("rcgen writes keys");
        config(&self.enrolled.trust.roots)
            .with_client_auth_cert(chain, key)
            .expect("a key of this certificate")
    }
}

/// A subscription.
#[derive(Debug)]
pub struct Line {
    connection: SendRequest<Full<Bytes>>,
    /// How it began.
    pub welcome: Welcome,
    events: Receiver<Event>,
    /// The last it was told.
    pub trust: Option<Trust>,
}

impl Line {
    /// The next event that is no beat, if one comes within `limit`; `None` also at the end.
    pub fn event(&mut self, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Beat) => {
                    self.say("beat", &to_json(&Beat::default()));
                }
                Ok(Event::Trust(trust)) => {
                    self.trust = Some(trust.clone());
                    return Some(Event::Trust(trust));
                }
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The next rules; what else comes before is noted and passed over.
    ///
    /// # Panics
    /// When none come.
    #[must_use]
    pub fn push(&mut self) -> Document {
        loop {
            match self.event(SOON) {
                Some(Event::Push(bytes)) => return Document(bytes),
                Some(Event::Trust(_)) => {}
                other => panic!("no rules but {other:?}"),
            }
        }
    }

    /// The next trust that `wanted` accepts.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    pub fn trust_with(&mut self, wanted: impl Fn(&Trust) -> bool) -> Trust {
        if let Some(trust) = self.trust.as_ref().filter(|trust| wanted(trust)) {
            return trust.clone();
        }
        loop {
            match self.event(SOON) {
                Some(Event::Trust(trust)) if wanted(&trust) => return trust,
                Some(Event::Trust(_) | Event::Push(_)) => {}
                other => panic!("no trust as wanted but {other:?}"),
            }
        }
    }

    /// The next question.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    pub fn question(&mut self) -> Ask {
        loop {
            match self.event(SOON) {
                Some(Event::Ask(ask)) => return ask,
                Some(Event::Trust(_) | Event::Push(_)) => {}
                other => panic!("no question but {other:?}"),
            }
        }
    }

    /// How the subscription ends.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn goodbye(&mut self) -> Goodbye {
        loop {
            match self.event(SOON) {
                Some(Event::Goodbye(goodbye)) => return goodbye,
                Some(_) => {}
                None => panic!("no goodbye"),
            }
        }
    }

    /// Says that it enforces a document.
    pub fn ack(&mut self, document: &Document) -> u16 {
        let ack = Ack {
            in_force: document.in_force(),
            systems: 1,
            resources: 1,
        };
        self.say("ack", &to_json(&ack))
    }

    /// Says that it refuses a document.
    pub fn nack(&mut self, document: &Document, why: &str, problem: &str) -> u16 {
        let nack = Nack {
            document_sha256: sha256(&document.0),
            why: why.to_owned(),
            problems: vec![problem.to_owned()],
        };
        self.say("nack", &to_json(&nack))
    }

    /// Answers a question.
    pub fn answer(&mut self, ask: &Ask, status: u16, body: &str) -> u16 {
        let answer = Answer {
            status,
            body: body.to_owned(),
        };
        self.say(&format!("answers/{}", ask.ask), &to_json(&answer))
    }

    /// Says anything below the subscription: the status, 0 when the connection is gone.
    pub fn say(&mut self, below: &str, body: &[u8]) -> u16 {
        let path = format!("{SUBSCRIPTIONS}/{}/{below}", self.welcome.subscription);
        let body = body.to_vec();
        let connection = &mut self.connection;
        runtime().block_on(async move {
            post(connection, &path, body)
                .await
                .map_or(0, |response| response.status().as_u16())
        })
    }
}

/// A signed document as it was pushed.
#[derive(Clone, Debug)]
pub struct Document(pub Vec<u8>);

impl Document {
    /// What a node says that has it in force: of the lines that the document begins with.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        InForce {
            epoch: self.number("epoch"),
            version: self.version(),
            sha256: self.line("sha256").unwrap_or_default(),
        }
    }

    /// Its version.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.number("version").expect("a document has a version")
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.line(name)?.parse().ok()
    }

    fn line(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map(|value| value.trim().to_owned())
    }
}

async fn read(response: Response<Incoming>, events: Sender<Event>) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        loop {
            match Event::decode(&bytes) {
                Ok(Some((event, took))) => {
                    bytes.drain(..took);
                    if let Some(event) = event
                        && events.send(event).is_err()
                    {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn ask_once(
    address: SocketAddr,
    settings: ClientConfig,
    path: &str,
    body: Vec<u8>,
) -> Result<Bytes, Refused> {
    runtime().block_on(async move {
        let mut connection = dial(address, settings).await?;
        let response = post(&mut connection, path, body).await?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(refused(status, response).await);
        }
        let body = response.into_body().collect().await;
        Ok(body.map_err(broken)?.to_bytes())
    })
}

async fn dial(
    address: SocketAddr,
    mut settings: ClientConfig,
) -> Result<SendRequest<Full<Bytes>>, Refused> {
    settings.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(broken)?;
    let name = ServerName::try_from("localhost").map_err(broken)?;
    let stream = TlsConnector::from(Arc::new(settings))
        .connect(name, stream)
        .await
        .map_err(broken)?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(broken)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn post(
    connection: &mut SendRequest<Full<Bytes>>,
    path: &str,
    body: Vec<u8>,
) -> Result<Response<Incoming>, Refused> {
    let request = Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    connection.ready().await.map_err(broken)?;
    connection.send_request(request).await.map_err(broken)
}

async fn refused(status: u16, response: Response<Incoming>) -> Refused {
    let body = response.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    Refused {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn broken(error: impl std::fmt::Display) -> Refused {
    Refused {
        status: 0,
        body: error.to_string(),
    }
}

/// A new key and its request for a certificate.
#[must_use]
pub fn request() -> (KeyPair, String) {
    let key = KeyPair::generate().expect("ring makes keys");
    let request = CertificateParams::default()
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .expect("rcgen writes requests");
    (key, request)
}

fn instance() -> String {
    let mut bytes = [0_u8; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .expect("the system has random numbers");
    hex(&bytes)
}

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Drives the connections of all scripted nodes.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads")
    })
}
