//! One shard of an agent under a real tunnel, for tests: the gateway's end is a plain link, backends
//! are scripted threads.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_policy::Snapshot;
use adit_proto::connect::{Protocol, Request as Connect, RequestId, Response};
use adit_proto::hello::{Hello, VERSION, Welcome};
use adit_runtime::housekeeping::{Handle, Housekeeping};
use adit_runtime::journal::Journal;
use adit_runtime::local::both;
use adit_runtime::shard::{Choice, Driver, choose, run_here};
use adit_runtime::{admin, logging};
use adit_transport::listen::{Listener, bind};
use adit_transport::socket::Leg;
use adit_transport::{Link, Received, Stream, StreamError, accept};

use crate::backend::trust::Trust;
use crate::enforce::InForce;
use crate::run::share;
use crate::settings::{BackendSettings, Settings, TlsRoots, TunnelCount};
use crate::shard::{Shard, Shared};

/// A shard whose one tunnel's other end is `gateway`.
pub(crate) struct World {
    pub(crate) shard: Rc<Shard>,
    pub(crate) gateway: Rc<Link>,
    housekeeping: Handle,
}

impl World {
    /// Under these rules, with backend settings changed by `change`.
    pub(crate) async fn new(
        driver: Driver,
        rules: &str,
        change: impl FnOnce(&mut BackendSettings),
    ) -> Self {
        Self::set(driver, rules, |settings| change(&mut settings.backend)).await
    }

    /// Under these rules, with any settings changed by `change`.
    pub(crate) async fn set(
        driver: Driver,
        rules: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let (client, server) = certificates();
        let housekeeping = Housekeeping::start("test").unwrap();
        let mut settings = settings(client);
        change(&mut settings);
        let choice = Choice {
            driver,
            reason: String::new(),
        };
        let (shared, _inboxes) = share(
            settings,
            &housekeeping,
            choice,
            Arc::new(Journal::new()),
            None,
        )
        .unwrap();
        let shard = Rc::new(Shard::new(0, Arc::clone(&shared)));
        put_in_force(&shared, 1, rules);
        let (agent, gateway) = tunnel(driver, &shared, &server).await;
        let of = Rc::clone(&shard);
        monoio::spawn(async move {
            while let Some(stream) = agent.accept().await {
                monoio::spawn(crate::serve::run(Rc::clone(&of), stream));
            }
        });
        Self {
            shard,
            gateway,
            housekeeping,
        }
    }

    /// Puts other rules in force, as a push does, and has this shard judge by them.
    pub(crate) async fn push(&self, version: u64, rules: &str) {
        put_in_force(&self.shard.shared, version, rules);
        let rules = self.shard.shared.in_force.load_full().unwrap();
        self.shard
            .live
            .judge_again(|| Some(Arc::clone(&rules.snapshot)))
            .await;
    }

    /// Opens a stream and sends `bytes` on it.
    pub(crate) async fn open(&self, bytes: &[u8], last: bool) -> Stream {
        let stream = self.gateway.open().await.unwrap();
        stream.send_bytes(bytes, last).await.unwrap();
        stream
    }

    /// A whole HTTP request to `erp.virtual:80`, and what comes of it.
    pub(crate) async fn ask(&self, message: &str) -> Answer {
        let stream = self.open(&http("erp.virtual", 80, message), true).await;
        Answer::read(&stream).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.housekeeping.shutdown();
    }
}

/// What came back on a stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Option<Response>,
    pub(crate) text: String,
    pub(crate) end: Result<(), StreamError>,
}

impl Answer {
    /// Reads to the end.
    pub(crate) async fn read(stream: &Stream) -> Self {
        let mut pieces = VecDeque::new();
        let mut bytes = Vec::new();
        let end = loop {
            match stream.receive(&mut pieces).await {
                Ok(Received::Data) => {
                    for piece in pieces.drain(..) {
                        bytes.extend_from_slice(piece.bytes());
                        stream.consumed(piece.len());
                    }
                }
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let decoded = Response::decode(&bytes).unwrap();
        let used = decoded.as_ref().map_or(0, |(_, used)| *used);
        Self {
            verdict: decoded.map(|(verdict, _)| verdict),
            text: String::from_utf8_lossy(&bytes[used..]).into_owned(),
            end,
        }
    }

    /// The reason of a refusal; empty for anything else.
    pub(crate) fn reason(&self) -> &'static str {
        match &self.verdict {
            Some(Response::Refused { refusal, .. }) if self.end == Ok(()) => refusal.reason(),
            _ => "",
        }
    }

    /// The text of a whole answer.
    pub(crate) fn whole(&self) -> &str {
        assert_eq!(
            (&self.verdict, self.end),
            (&Some(Response::Accepted), Ok(())),
            "{self:?}"
        );
        &self.text
    }
}

/// A backend that runs `script` for each connection, with its number from 0.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    pub(crate) fn new(script: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, script) = (Arc::clone(&connections), Arc::new(script));
        std::thread::spawn(move || {
            for accepted in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    let mut socket = accepted.unwrap();
                    script(number, &mut socket);
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// One that answers every request with `answer`, on connections that stay.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::new(move |_, socket| {
            while !read_request(socket).is_empty() {
                socket.write_all(answer.as_bytes()).unwrap();
            }
        })
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a head and a body of the length it says; empty at the end of the connection.
pub(crate) fn read_request(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut one = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read(&mut one).unwrap_or(0) == 0 {
            return String::new();
        }
        head.push(one[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    if socket.read_exact(&mut body).is_err() {
        return String::new();
    }
    head + std::str::from_utf8(&body).unwrap()
}

/// Rules that expose all of the HTTP backend at `internal` (`http://127.0.0.1:1`) as `erp.virtual:80`.
pub(crate) fn all_of(internal: &str) -> String {
    format!(
        "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\ninternal = \"{internal}\"\n\
         allow_loopback = true\n[[system.resource]]\npath = \"/\"\nscope = \"subtree\"\nupgrade = true\n"
    )
}

/// Rules that expose an opaque backend as `db.virtual:5432`.
pub(crate) fn opaque(protocol: &str, internal: &str, more: &str) -> String {
    format!(
        "[[system]]\nvirtual = \"db.virtual:5432\"\nprotocol = \"{protocol}\"\ninternal = \"{internal}\"\n\
         allow_loopback = true\n{more}\n"
    )
}

/// The front of a stream for an HTTP request.
pub(crate) fn http(host: &str, port: u16, message: &str) -> Vec<u8> {
    front(Protocol::Http, "acme", host, port, message)
}

/// The front of any stream.
pub(crate) fn front(
    protocol: Protocol,
    subaccount: &str,
    host: &str,
    port: u16,
    rest: &str,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    Connect {
        protocol,
        host,
        port,
        subaccount,
        caller: "app",
        principal: None,
        id: RequestId([7; 16]),
    }
    .encode(&mut bytes)
    .unwrap();
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Runs `test` with each driver.
pub(crate) fn on_both_drivers(test: impl AsyncFn(Driver)) {
    for driver in [choose(None).unwrap().driver, Driver::Epoll] {
        let limited = async {
            adit_runtime::timer::timeout(Duration::from_secs(60), test(driver))
                .await
                .expect("a test takes less than a minute")
        };
        run_here(driver, limited).unwrap();
    }
}

pub(crate) fn certificates() -> (adit_tls::ClientSettings, adit_tls::ServerSettings) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let roots = adit_tls::Roots::from_pem(ca_pem.as_bytes()).unwrap();
    let issue = |uri: &str, usage: rcgen::ExtendedKeyUsagePurpose| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        leaf.extended_key_usages = vec![usage];
        let pem = leaf.signed_by(&key, &issuer).unwrap().pem();
        adit_tls::Credentials::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    let agent = issue(
        "spiffe://adit.local/subaccount/acme/agent/a1",
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    );
    let gateway = issue(
        "spiffe://adit.local/gateway/gw",
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
    );
    (
        adit_tls::client(&agent, &roots).unwrap(),
        adit_tls::server(&gateway, &roots).unwrap(),
    )
}

/// Settings of an agent without gateways, one shard, defaults elsewhere.
pub(crate) fn settings(tls: adit_tls::ClientSettings) -> Settings {
    Settings {
        name: "a1".to_owned(),
        subaccount: "acme".to_owned(),
        location: String::new(),
        state: PathBuf::new(),
        drain: Duration::from_secs(5),
        gateways: Vec::new(),
        tunnels: TunnelCount::Auto,
        tls,
        proxy: None,
        connect_timeout: Duration::from_secs(5),
        retry_cap: Duration::from_secs(10),
        streams_max: 16_384,
        signing_keys: None,
        control: None,
        backend: BackendSettings {
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::ZERO,
            idle_timeout: Duration::from_secs(15),
            pool_max: 64,
            tls_roots: TlsRoots::System,
        },
        audit: adit_recorder::AuditSettings {
            keeping: adit_recorder::Settings {
                level: adit_audit::Level::Denied,
                folder: PathBuf::new(),
                segment_bytes: 1 << 20,
                segment_age: Duration::from_secs(3600),
                keep_bytes: 1 << 30,
                keep_age: Duration::from_secs(86_400),
                spool_bytes: 1 << 20,
                when_unwritable: adit_recorder::WhenUnwritable::Spool,
            },
            sinks: Vec::new(),
        },
        admin: admin::Settings::default(),
        logging: logging::Settings::default(),
        shards: 1,
    }
}

pub(crate) fn put_in_force(shared: &Shared, version: u64, rules: &str) {
    let snapshot = Snapshot::new(version, rules.to_owned()).unwrap();
    let trust = Trust::read(&snapshot, &shared.backend.tls_roots);
    assert_eq!(trust.problems(), Vec::<String>::new());
    shared.in_force.store(Some(Arc::new(InForce {
        snapshot,
        trust,
        stamp: None,
    })));
}

async fn tunnel(
    driver: Driver,
    shared: &Shared,
    server: &adit_tls::ServerSettings,
) -> (Rc<Link>, Rc<Link>) {
    let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let port = listener.local_addr().unwrap().port();
    let listener = Listener::new(listener, driver, Leg::Tunnel).unwrap();
    let mux = shared.dialler.mux.clone();
    let hello = Hello {
        version: VERSION,
        features: 0,
        location: String::new(),
        instance: [7; 16],
        software: "test".to_owned(),
    };
    let agent = async {
        let (socket, admitted) = shared.dialler.dial("127.0.0.1", port, hello).await.unwrap();
        Link::start(admitted.tunnel, socket, admitted.leftover)
    };
    let gateway = async {
        let (socket, _) = listener.accept(|error| panic!("{error}")).await;
        let welcome = Welcome {
            version: VERSION,
            features: 0,
            gateway: "gw".to_owned(),
            shard: 0,
            shards: 1,
        };
        let opened = accept::open(&socket, server, mux, Duration::from_secs(5), |_, _| {
            Ok(welcome)
        });
        let admitted = opened.await.unwrap();
        Link::start(admitted.tunnel, socket, admitted.leftover)
    };
    both(agent, gateway).await
}
