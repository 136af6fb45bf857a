//! The control plane as a process, and whoever asks it over its REST door.
//!
//! HTTP/1.1 is written and read by hand, one connection for each request. What nodes say is `member`'s.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::etcd::Etcd;
use crate::net;
use crate::process::Process;
use crate::programs::{adit, behind};
use crate::scratch::Scratch;
use crate::wait::{SOON, until_some};

/// What the first administrator of each test is called.
pub const ROOT: &str = "root-admin";
/// The password of everybody in these tests.
pub const PASSWORD: &str = "CANARY-of-a-password-7kq2";

/// A running `adit serve`, gone with its test.
#[derive(Debug)]
pub struct Plane {
    name: String,
    address: SocketAddr,
    config: PathBuf,
    // Its state, as it is seen from here.
    state: PathBuf,
    before: Vec<String>,
    starts: u32,
    log_level: &'static str,
    process: Process,
    scratch: Scratch,
}

/// Which memory a control plane has.
#[derive(Debug)]
#[non_exhaustive]
pub enum Memory {
    /// Its own file.
    Embedded,
    /// A real etcd.
    Etcd(Box<Etcd>),
}

impl Memory {
    /// Fresh, of either kind.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        match kind {
            "etcd" => Self::Etcd(Box::new(Etcd::start())),
            _ => Self::Embedded,
        }
    }
}

impl Plane {
    /// Starts one with a memory of its own or in etcd; `more` are further lines of its configuration.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(name: &str, memory: &Memory, more: &str) -> Self {
        Self::start_logging(name, memory, more, "info")
    }

    /// Starts one that logs at `level`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_logging(name: &str, memory: &Memory, more: &str, level: &'static str) -> Self {
        Self::begin(name, memory, more, level, None)
    }

    /// Starts one with a memory of its own that keeps its state on `disk`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_on(name: &str, disk: &Disk) -> Self {
        Self::begin(name, &Memory::Embedded, "", "info", Some(disk))
    }

    fn begin(
        name: &str,
        memory: &Memory,
        more: &str,
        level: &'static str,
        disk: Option<&Disk>,
    ) -> Self {
        let scratch = Scratch::new();
        let below = |folder: PathBuf| folder.join("state");
        let (inside, state, before) = match disk {
            None => (
                below(scratch.dir().to_owned()),
                scratch.path("state"),
                Vec::new(),
            ),
            Some(disk) => (
                below(disk.path().to_owned()),
                below(disk.outside()),
                disk.enter(),
            ),
        };
        let store = match memory {
            Memory::Embedded => String::new(),
            Memory::Etcd(etcd) => format!(
                "[store]\nkind = \"etcd\"\nendpoints = [\"{}\"]\n",
                etcd.endpoint()
            ),
        };
        let seal = scratch.write("shared-seal.key", SEAL);
        std::fs::set_permissions(&seal, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("one's own file");
        let config = scratch.write(
            "server.toml",
            format!(
                "[server]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nstate = \"{}\"\n{store}\
                 [authority]\nseal_key = \"shared-seal.key\"\n{more}",
                inside.display()
            ),
        );
        let (process, address) = launch(&scratch, &before, &config, 0, level);
        Self {
            name: name.to_owned(),
            address,
            config,
            state,
            before,
            starts: 1,
            log_level: level,
            process,
            scratch,
        }
    }

    /// Starts one, and makes its first administrator.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn ready(name: &str, memory: &Memory, more: &str) -> (Self, Caller) {
        let plane = Self::start(name, memory, more);
        let root = plane.set_up();
        (plane, root)
    }

    /// Makes the first administrator.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn set_up(&self) -> Caller {
        let wish = json!({"token": self.setup_token(), "user": ROOT, "password": PASSWORD});
        let reply = self.nobody().post("/api/v1/setup", &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
        self.bearer(reply.text_of("token"))
    }

    /// The one-time token that it left in a file.
    #[must_use]
    pub fn setup_token(&self) -> String {
        self.read("setup-token").trim().to_owned()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Its process.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its root certificates, PEM, as people get them.
    #[must_use]
    pub fn roots(&self) -> String {
        self.read("ca.pem")
    }

    /// A file of its state.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    fn read(&self, name: &str) -> String {
        let path = self.state(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// All that its starts have logged.
    #[must_use]
    pub fn log(&self) -> String {
        (0..self.starts)
            .map(|start| self.scratch.read(&log_name(start)))
            .collect()
    }

    /// Starts it again on what it has kept, where it was.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        let text = std::fs::read_to_string(&self.config).expect("one's own file");
        let text = text.replace("\"127.0.0.1:0\"", &format!("\"{}\"", self.address));
        std::fs::write(&self.config, text).expect("one's own file");
        let (scratch, before) = (&self.scratch, &self.before);
        let (process, address) = launch(scratch, before, &self.config, self.starts, self.log_level);
        self.starts += 1;
        self.process = process;
        self.address = address;
    }

    /// Starts it where it cannot: what it said.
    ///
    /// # Panics
    /// When it starts.
    pub fn fails_to_start(&mut self) -> String {
        let log = self.scratch.path("refused.log");
        let mut command = serving(&self.before, &self.config, self.log_level);
        let mut process = Process::start("adit serve", &mut command, &log);
        let status = process.wait(SOON);
        assert!(!status.success(), "{}", process.log());
        process.log()
    }

    /// Somebody without a token.
    ///
    /// # Panics
    /// When its roots cannot be read.
    #[must_use]
    pub fn nobody(&self) -> Caller {
        Caller {
            address: self.address,
            tls: Arc::new(config(&self.roots()).with_no_client_auth()),
            bearer: None,
        }
    }

    /// Whoever has this token.
    #[must_use]
    pub fn bearer(&self, token: impl Into<String>) -> Caller {
        Caller {
            bearer: Some(token.into()),
            ..self.nobody()
        }
    }

    /// Whoever has this certificate and key, files in PEM form.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn certified(&self, (certificate, key): &(PathBuf, PathBuf)) -> Caller {
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .expect("a file of the test")
            .collect::<Result<_, _>>()
            .expect("certificates in PEM form");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key in PEM form");
        let tls = config(&self.roots()).with_client_auth_cert(chain, key);
        Caller {
            tls: Arc::new(tls.expect("a certificate and its key")),
            ..self.nobody()
        }
    }

    /// Logs in.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn log_in(&self, user: &str) -> Caller {
        let wish = json!({"user": user, "password": PASSWORD});
        let reply = self.nobody().post("/api/v1/logins", &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
        self.bearer(reply.text_of("token"))
    }
}

fn launch(
    scratch: &Scratch,
    before: &[String],
    config: &Path,
    start: u32,
    level: &str,
) -> (Process, SocketAddr) {
    let log = scratch.path(&log_name(start));
    let mut command = serving(before, config, level);
    let mut process = Process::start("adit serve", &mut command, &log);
    let address = until_some("the control plane serves", SOON, || {
        process.must_run();
        let log = process.log();
        let (_, rest) = log.split_once("serving on https://")?;
        rest.split_once('\n')?.0.trim().parse().ok()
    });
    (process, address)
}

fn serving(before: &[String], config: &Path, level: &str) -> Command {
    let mut command = behind(before, &adit());
    command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .env("RUST_LOG", level)
        .env_remove("STATE_DIRECTORY")
        .env_remove("CREDENTIALS_DIRECTORY");
    command
}

fn log_name(start: u32) -> String {
    format!("serve-{start}.log")
}

/// The start of a client's TLS settings that trusts `roots`.
pub(crate) fn config(
    roots: &str,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store
            .add(root.expect("a control plane's root is PEM"))
            .expect("a control plane's root is a root");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3")
        .with_root_certificates(store)
}

/// Somebody who asks over the REST door.
#[derive(Clone, Debug)]
pub struct Caller {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    bearer: Option<String>,
}

/// What came back.
#[derive(Clone)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.fields, self.text())
    }
}

impl Reply {
    /// A field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Its ETag.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn etag(&self) -> String {
        self.field("etag")
            .unwrap_or_else(|| panic!("no ETag: {self:?}"))
            .to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// A text of the JSON body.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn text_of(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {}", self.text()))
            .to_owned()
    }
}

impl Caller {
    /// The same at another server of the same control plane.
    #[must_use]
    pub fn at(&self, plane: &Plane) -> Self {
        Self {
            address: plane.address,
            ..self.clone()
        }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    /// A TLS connection over HTTP/1.1.
    ///
    /// # Errors
    /// When there is none.
    ///
    /// # Panics
    /// When the client's settings are none.
    pub fn connect(&self) -> std::io::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
        let stream = net::connect(self.address)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connection =
            ClientConnection::new(Arc::clone(&self.tls), name).expect("settings of a client");
        Ok(StreamOwned::new(connection, stream))
    }

    /// Asks; an error is a connection that broke.
    ///
    /// # Errors
    /// As told.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        if let Some(bearer) = &self.bearer {
            head.push_str(&format!("authorization: Bearer {bearer}\r\n"));
        }
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || !matches!(method, "GET" | "HEAD" | "DELETE") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut stream = self.connect()?;
        stream.write_all(head.as_bytes())?;
        // A server that has refused already reads no further.
        let _ = stream.write_all(body).and_then(|()| stream.flush());
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Err(error) if bytes.is_empty() => return Err(error),
            _ => {}
        }
        parse(&bytes).ok_or_else(|| std::io::Error::other("no whole answer"))
    }

    /// Asks.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, path, fields, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// `GET`.
    #[must_use]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    /// `POST` of JSON.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// `POST` of JSON to what was read with this ETag.
    #[must_use]
    pub fn post_at(&self, path: &str, etag: &str, body: &Value) -> Reply {
        let fields = [JSON, ("if-match", etag)];
        self.ask("POST", path, &fields, body.to_string().as_bytes())
    }

    /// `PATCH` of what was read with this ETag.
    #[must_use]
    pub fn patch(&self, path: &str, etag: &str, body: &Value) -> Reply {
        let fields = [JSON, ("if-match", etag)];
        self.ask("PATCH", path, &fields, body.to_string().as_bytes())
    }

    /// `DELETE`; with an ETag where one is wanted.
    #[must_use]
    pub fn delete(&self, path: &str, etag: Option<&str>) -> Reply {
        let fields: Vec<(&str, &str)> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        self.ask("DELETE", path, &fields, b"")
    }

    /// Makes a user with these grants: `administrator@*`, `viewer@acme`.
    ///
    /// # Panics
    /// When that is refused.
    pub fn make_user(&self, name: &str, grants: &[&str]) {
        let grants: Vec<Value> = grants.iter().map(|grant| grant_json(grant)).collect();
        let wish = json!({"name": name, "password": PASSWORD, "grants": grants});
        let reply = self.post("/api/v1/users", &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    /// Makes a user who comes by certificate.
    ///
    /// # Panics
    /// When that is refused.
    pub fn make_certified(&self, name: &str, grants: &[&str]) {
        let grants: Vec<Value> = grants.iter().map(|grant| grant_json(grant)).collect();
        let wish = json!({"name": name, "certificate": true, "grants": grants});
        let reply = self.post("/api/v1/users", &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    /// The rules of a subaccount, and their ETag.
    #[must_use]
    pub fn rules(&self, subaccount: &str) -> Reply {
        self.get(&format!("/api/v1/subaccounts/{subaccount}/rules"))
    }

    /// Puts rules in force, whatever is there; `query` is what follows the path.
    #[must_use]
    pub fn apply(&self, subaccount: &str, query: &str, text: &str) -> Reply {
        let now = self.rules(subaccount);
        let condition = match now.status {
            404 => None,
            _ => Some(now.etag()),
        };
        self.apply_at(subaccount, query, condition.as_deref(), text)
    }

    /// Puts rules in force where these were read; `None` for where there were none.
    #[must_use]
    pub fn apply_at(&self, subaccount: &str, query: &str, etag: Option<&str>, text: &str) -> Reply {
        let condition = etag.map_or(("if-none-match", "*"), |etag| ("if-match", etag));
        let fields = [TOML, condition];
        let path = format!("/api/v1/subaccounts/{subaccount}/rules{query}");
        self.ask("PUT", &path, &fields, text.as_bytes())
    }

    /// Invites an agent: the token.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn invite(&self, subaccount: &str, name: &str) -> String {
        let wish = json!({"name": name, "location": ""});
        let path = format!("/api/v1/subaccounts/{subaccount}/invitations");
        let reply = self.post(&path, &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.text_of("token")
    }

    /// Invites a gateway: the token.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn invite_gateway(&self, name: &str) -> String {
        let wish = json!({"name": name, "location": ""});
        let reply = self.post("/api/v1/gateways/invitations", &wish);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.text_of("token")
    }

    /// The acts, all pages.
    ///
    /// # Panics
    /// When they are refused.
    #[must_use]
    pub fn acts(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("/api/v1/acts?after={after}"));
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return items,
            }
        }
    }

    /// The chain of acts, all lines.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn chain(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut path = "/api/v1/acts/chain".to_owned();
        loop {
            let page = self.get(&path);
            assert_eq!(page.status, 200, "{page:?}");
            lines.extend_from_slice(&page.body);
            match page.field("adit-next") {
                None | Some("") => return lines,
                Some(next) => path = format!("/api/v1/acts/chain?after={next}"),
            }
        }
    }
}

/// A grant as the door takes it.
///
/// # Panics
/// When it is not `ROLE@WHERE`.
#[must_use]
pub fn grant_json(grant: &str) -> Value {
    let (role, place) = grant.split_once('@').expect("ROLE@WHERE");
    match place {
        "*" => json!({"role": role, "scope": "all"}),
        name => json!({"role": role, "scope": {"subaccount": name}}),
    }
}

/// Rules that expose one system; different numbers are different rules.
#[must_use]
pub fn rules_number(number: u32) -> String {
    format!(
        "[[system]]\nvirtual = \"erp{number}.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://127.0.0.1:9\"\n\
         allow_loopback = true\n\n[[system.resource]]\npath = \"/\"\nscope = \"subtree\"\n"
    )
}

const JSON: (&str, &str) = ("content-type", "application/json");
const TOML: (&str, &str) = ("content-type", "application/toml");
/// The key of the seal of all servers in the tests: 32 bytes that are found in a log if they get there.
pub const SEAL: &[u8; 32] = b"CANARY-of-the-seal-key-32-bytes!";

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|found| found == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes.get(end + 4..)?.to_vec();
    let reply = Reply {
        status,
        fields,
        body,
    };
    let whole = reply
        .field("content-length")
        .and_then(|length| length.parse::<usize>().ok())
        .is_none_or(|length| length == reply.body.len() || status == 304);
    (whole || !reply.body.is_empty()).then_some(reply)
}
