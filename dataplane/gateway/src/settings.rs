//! The gateway's configuration: what the file may say, with defaults, and what the program relies on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_audit::Level;
use adit_recorder::AuditSettings;
use adit_runtime::settings::{Document, Problems, Section};
use adit_runtime::{admin, logging};
use adit_subscription::{Control, Enrolment, Subscription};
use adit_tls::{Credentials, RoleName, Roots, ServerSettings};
use adit_token::{Algorithm, KeySet, Settings as TokenSettings, Verifier};

/// All that a gateway needs to know, checked.
#[derive(Debug)]
pub struct Settings {
    /// Its name, for agents and people.
    pub name: String,
    /// Where tunnels arrive.
    pub tunnel: SocketAddr,
    /// Certificate, key and the roots that agents are checked against.
    pub tls: ServerSettings,
    /// The control plane, if the gateway has one.
    pub control: Option<Control>,
    /// Streams a tunnel may carry at once.
    pub streams_max: usize,
    /// HTTP proxy door.
    pub http: Option<SocketAddr>,
    /// SOCKS5 door.
    pub socks5: Option<SocketAddr>,
    /// Waiting times of the doors.
    pub limits: Limits,
    /// Judges tokens.
    pub verifier: Verifier,
    /// Where its keys come from, to look for new ones.
    pub keys: KeySource,
    /// How records of requests and tunnels are kept, and where they are sent to.
    pub audit: AuditSettings,
    /// Admin endpoint.
    pub admin: admin::Settings,
    /// Log.
    pub logging: logging::Settings,
    /// Threads.
    pub shards: usize,
    /// How long running requests may go on after a drain began.
    pub drain: Duration,
}

/// A JWKS file and what to make of it.
#[derive(Clone, Debug)]
pub struct KeySource {
    file: PathBuf,
    settings: TokenSettings,
    clients: Vec<String>,
}

impl KeySource {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the keys as they are now.
    ///
    /// # Errors
    /// Why the file cannot be used; the keys in force stay.
    pub fn load(&self) -> Result<Verifier, String> {
        let document = std::fs::read(&self.file).map_err(|error| error.to_string())?;
        let keys = KeySet::from_jwks(&document).map_err(|error| error.to_string())?;
        let verifier = Verifier::new(self.settings.clone(), keys);
        Ok(if self.clients.is_empty() {
            verifier
        } else {
            verifier.only_clients(self.clients.clone())
        })
    }
}

/// How long the doors wait, and for how many.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A connection without a request, also the first one.
    pub idle: Duration,
    /// From the first byte of a head to its last (H-11).
    pub head: Duration,
    /// For the agent's answer: the backend's first byte. 0 means no limit.
    pub answer: Duration,
    /// For an agent that was here a moment ago to come back, before a request gets its 503.
    pub agent_wait: Duration,
    /// For the next byte of a request's body (H-11).
    pub body: Duration,
    /// For a tunnel's handshake and hello (H-11).
    pub handshake: Duration,
    /// For a SOCKS5 negotiation (S-11).
    pub socks: Duration,
    /// Connections of applications per shard; about 1.1 KiB each while quiet.
    pub connections_max: usize,
    /// Tunnels of one agent over all shards.
    pub tunnels_per_agent_max: usize,
}

impl Settings {
    /// What `path` says about enrolling, for a gateway that has no identity yet. The rest is not looked at.
    ///
    /// # Errors
    /// All that is wrong with that, a line each.
    pub fn read_enrolment(path: &Path) -> Result<Enrolment, Problems> {
        let document = Document::read(path)?;
        let (control, _none) = read_identity(&document, false);
        document.finish_in_part()?;
        let Some(control) = control else {
            unreachable!("a missing section is a problem where it is needed");
        };
        Ok(Enrolment {
            role: RoleName::Gateway,
            folder: control.identity,
            proxy: None,
            location: None,
            software: SOFTWARE.to_owned(),
            usable: |_trust| Ok(()),
        })
    }

    /// Reads and checks `path`.
    ///
    /// # Errors
    /// All that is wrong, a line each.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let document = Document::read(path)?;
        let root = document.root();
        let gateway = root.section("gateway");
        let name = gateway.string("name", Some("gateway"));
        let drain = gateway.duration("drain", secs(30), secs(0)..=secs(3600));

        let tunnel = root.section("tunnel");
        let tunnel_address = tunnel.address("listen", Some("0.0.0.0:8443"));
        let (control, tls) = read_identity(&document, true);
        let streams_max = size(tunnel.integer("streams_max", 16_384, 1..=1_000_000));
        let handshake = tunnel.duration("handshake_timeout", secs(5), millis(100)..=secs(60));
        let tunnels_per_agent_max = size(tunnel.integer("tunnels_per_agent_max", 64, 1..=1024));

        let http = root.section("http");
        let http_address = door(&http, "0.0.0.0:20003");
        let idle = http.duration("idle_timeout", secs(120), secs(1)..=secs(3600));
        let head = http.duration("head_timeout", secs(10), millis(100)..=secs(120));
        let answer = http.duration("answer_timeout", secs(0), secs(0)..=secs(86_400));
        let body = http.duration("body_timeout", secs(60), secs(1)..=secs(3600));
        let agent_wait = http.duration("agent_wait", secs(2), secs(0)..=secs(60));
        let connections_max = size(http.integer("connections_max", 50_000, 1..=1_000_000));

        let socks = root.section("socks5");
        let socks_address = door(&socks, "0.0.0.0:20004");
        let socks_limit = socks.duration("negotiation_timeout", secs(5), millis(100)..=secs(60));

        let token = read_token(&root.section("token"));
        let identity = control.as_ref().map_or_else(
            || gateway.path("identity", IDENTITY),
            |control| control.identity.clone(),
        );
        let section = root.section("audit");
        let audit = AuditSettings::read(&section, identity.with_file_name("audit"));
        if audit.keeping.level == Level::Off && !audit.sinks.is_empty() {
            section.problem(
                "level",
                "at \"off\" a gateway records nothing, and so sends nothing; take \"denied\" or \"all\", or delete \
                 [audit.syslog] and [audit.otlp]",
            );
        }
        let admin = admin::Settings::read(&root.section("admin"));
        let logging = logging::Settings::read(&root.section("log"));
        let cores = u64::try_from(adit_runtime::shard::cores()).unwrap_or(1);
        let shards = size(root.section("runtime").integer("shards", cores, 1..=256));
        document.finish()?;
        // Whatever was wrong with these was recorded and `finish` has reported it.
        let (Some(tls), Some((keys, verifier))) = (tls, token) else {
            unreachable!("a placeholder is returned together with a problem");
        };
        Ok(Self {
            name,
            tunnel: tunnel_address,
            tls,
            control,
            streams_max,
            http: http_address,
            socks5: socks_address,
            limits: Limits {
                idle,
                head,
                answer,
                agent_wait,
                body,
                handshake,
                socks: socks_limit,
                connections_max,
                tunnels_per_agent_max,
            },
            verifier,
            keys,
            audit,
            admin,
            logging,
            shards,
            drain,
        })
    }
}

// The control plane, and who we are: by the folder of the identity where there is one.
fn read_identity(
    document: &Document,
    is_enrolled: bool,
) -> (Option<Control>, Option<ServerSettings>) {
    let root = document.root();
    let gateway = root.section("gateway");
    let tunnel = root.section("tunnel");
    let section = root.section("control");
    let folder = gateway.path("identity", IDENTITY);
    let Some(control) = Control::read(&section, folder, false) else {
        if gateway.has("identity") {
            gateway.problem(
                "identity",
                "is for a gateway with a control plane; add [control] or delete it",
            );
        }
        if !is_enrolled {
            section.problem(
                "urls",
                "to enrol, add the section [control] with urls = [\"https://cp1:7420\"]",
            );
            return (None, None);
        }
        return (None, read_tls(&tunnel));
    };
    for key in ["certificate", "key", "roots"] {
        if tunnel.has(key) {
            tunnel.problem(
                key,
                "delete it: with [control] the identity is in the folder gateway.identity",
            );
        }
    }
    let tls = is_enrolled
        .then(|| {
            let found = Subscription::look(&control.identity)?;
            adit_tls::server(found.credentials(), found.roots()).map_err(|error| error.to_string())
        })
        .transpose()
        .map_err(|why| gateway.problem("identity", &why))
        .ok()
        .flatten();
    (Some(control), tls)
}

fn door(section: &Section<'_>, default: &str) -> Option<SocketAddr> {
    let address = section.address("listen", Some(default));
    section.boolean("enabled", true).then_some(address)
}

fn read_tls(section: &Section<'_>) -> Option<ServerSettings> {
    let chain = section.file("certificate");
    let key = section.secret_file("key");
    let roots = section.file("roots");
    let (chain, key, roots) = (
        std::fs::read(chain).ok()?,
        std::fs::read(key).ok()?,
        std::fs::read(roots).ok()?,
    );
    let credentials = Credentials::from_pem(&chain, &key)
        .map_err(|error| section.problem("certificate", &error.to_string()))
        .ok();
    let roots = Roots::from_pem(&roots)
        .map_err(|error| section.problem("roots", &error.to_string()))
        .ok();
    adit_tls::server(&credentials?, &roots?)
        .map_err(|error| section.problem("certificate", &error.to_string()))
        .ok()
}

fn read_token(section: &Section<'_>) -> Option<(KeySource, Verifier)> {
    let file = section.file("jwks");
    let issuers = section.strings("issuers", &[]);
    let audiences = section.strings("audiences", &[]);
    let algorithms = section.strings("algorithms", &["RS256", "ES256", "PS256", "EdDSA"]);
    let subaccount_claims = section.strings("subaccount_claims", &["zid", "subaccountid"]);
    let leeway_s = section.integer("leeway_s", 60, 0..=60);
    let clients = section.strings("clients", &[]);
    if issuers.is_empty() {
        section.problem(
            "issuers",
            "name at least one; a token's `iss` must be one of them",
        );
    }
    if audiences.is_empty() {
        section.problem(
            "audiences",
            "name at least one; one of a token's `aud` must be one of them",
        );
    }
    let mut accepted = Vec::new();
    for name in &algorithms {
        match name.parse::<Algorithm>() {
            Ok(algorithm) => accepted.push(algorithm),
            Err(error) => section.problem("algorithms", &error.to_string()),
        }
    }
    let source = KeySource {
        file,
        settings: TokenSettings {
            issuers,
            audiences,
            algorithms: accepted,
            subaccount_claims,
            leeway_s,
            ..TokenSettings::default()
        },
        clients,
    };
    if !source.file.is_file() {
        // `file` has said so already.
        return None;
    }
    let verifier = source
        .load()
        .map_err(|error| section.problem("jwks", &error))
        .ok()?;
    Some((source, verifier))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Where the identity is, counted from the folder of the configuration.
const IDENTITY: &str = "gateway/identity";
/// Name and version, as peers are told.
pub(crate) const SOFTWARE: &str = concat!("adit-gateway/", env!("CARGO_PKG_VERSION"));
