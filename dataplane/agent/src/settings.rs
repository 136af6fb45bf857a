//! The agent's configuration: what the file may say, with defaults, and what the program relies on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_manifest::PublicKey;
use adit_proto::check_location;
use adit_proto::control::Trust;
use adit_recorder::AuditSettings;
use adit_runtime::settings::{Document, Problems, Section};
use adit_runtime::{admin, logging, shard};
use adit_subscription::{Control, Enrolment, Subscription};
use adit_tls::{ClientSettings, Credentials, Role, RoleName, Roots};
use adit_transport::backoff::{CAP_DEFAULT, CAP_MAX};
use adit_transport::proxy::Proxy;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use crate::limits::{SIGNING_KEYS_MAX, TUNNELS_MAX};

/// All that an agent needs to know, checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Its name within its subaccount, from its certificate.
    pub name: String,
    /// The subaccount it serves, from its certificate, and no other.
    pub subaccount: String,
    /// The location it serves; empty is the default one.
    pub location: String,
    /// The folder of the last good snapshot.
    pub state: PathBuf,
    /// How long running requests may go on after a drain began.
    pub drain: Duration,
    /// Where tunnels go.
    pub gateways: Vec<Gateway>,
    /// Tunnels to each of them.
    pub tunnels: TunnelCount,
    /// Certificate, key and the roots that gateways are checked against.
    pub tls: ClientSettings,
    /// The way out, if not direct.
    pub proxy: Option<Proxy>,
    /// For TCP to a gateway; the handshake gets as long again.
    pub connect_timeout: Duration,
    /// The longest wait between two dials.
    pub retry_cap: Duration,
    /// Streams a tunnel may carry at once.
    pub streams_max: usize,
    /// Whose signature a push must bear; `None`: whoever opens the admin socket may push. With a control plane, as it
    /// said last.
    pub signing_keys: Option<Vec<PublicKey>>,
    /// The control plane, if the agent has one.
    pub control: Option<Control>,
    /// How backends are spoken to.
    pub backend: BackendSettings,
    /// How records of decisions and pushes are kept, and where they are sent to.
    pub audit: AuditSettings,
    /// Admin endpoint.
    pub admin: admin::Settings,
    /// Log.
    pub logging: logging::Settings,
    /// Threads.
    pub shards: usize,
}

/// The address of a gateway's tunnel door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gateway {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As it was written.
    pub text: String,
}

/// How many tunnels go to one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: a number or as many as fit"
)]
pub enum TunnelCount {
    /// One for each shard the gateway says it has, at most four.
    Auto,
    /// So many.
    Fixed(usize),
}

/// How backends are spoken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendSettings {
    /// For name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the response; 0 means no limit.
    pub answer_timeout: Duration,
    /// How long a quiet connection is kept.
    pub idle_timeout: Duration,
    /// Quiet connections kept to one target by one shard.
    pub pool_max: usize,
    /// Whom to trust when a system names no CA file.
    pub tls_roots: TlsRoots,
}

/// Whom to trust when a system names no CA file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: the machine's store or a file"
)]
pub enum TlsRoots {
    /// The operating system's store.
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
}

impl Settings {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// All that is wrong, a line each.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        Self::from_document(Document::read(path)?)
    }

    /// What `path` says about enrolling, for an agent that has no identity yet. The rest is not looked at.
    ///
    /// # Errors
    /// All that is wrong with that, a line each.
    pub fn read_enrolment(path: &Path) -> Result<Enrolment, Problems> {
        let document = Document::read(path)?;
        let location = read_location(&document);
        let (control, _none) = read_identity(&document, location.as_deref(), false);
        let proxy = read_proxy(&document.root().section("tunnel"));
        document.finish_in_part()?;
        let Some(control) = control else {
            unreachable!("a missing section is a problem where it is needed");
        };
        Ok(Enrolment {
            role: RoleName::Agent,
            folder: control.identity,
            proxy,
            location,
            software: SOFTWARE.to_owned(),
            usable: |trust| signing_keys(trust).map(drop),
        })
    }

    fn from_document(document: Document) -> Result<Self, Problems> {
        let root = document.root();
        let agent = root.section("agent");
        let location = read_location(&document);
        let state = agent.path("state", "agent/state");
        let drain = agent.duration("drain", secs(30), secs(0)..=secs(3600));

        let tunnel = root.section("tunnel");
        let gateways = read_gateways(&tunnel);
        let tunnels = read_tunnels(&tunnel);
        let (control, identity) = read_identity(&document, location.as_deref(), true);
        let proxy = read_proxy(&tunnel);
        let connect_timeout = tunnel.duration("connect_timeout", secs(5), millis(100)..=secs(60));
        let retry_cap = tunnel.duration("retry_cap", CAP_DEFAULT, millis(100)..=CAP_MAX);
        let streams_max = size(tunnel.integer("streams_max", 16_384, 1..=1_000_000));

        let backend = read_backend(&root.section("backend"));
        let audit = AuditSettings::read(&root.section("audit"), state.join("audit"));
        let admin = admin::Settings::read(&root.section("admin"));
        let logging = logging::Settings::read(&root.section("log"));
        let cores = u64::try_from(shard::cores()).unwrap_or(1).min(SHARDS_MAX);
        let shards = size(
            root.section("runtime")
                .integer("shards", cores, 1..=SHARDS_MAX),
        );
        document.finish()?;
        // Whatever was wrong with it was recorded, and `finish` has reported it.
        let Some(Identity {
            tls,
            subaccount,
            name,
            location,
            signing_keys,
        }) = identity
        else {
            unreachable!("no identity is returned together with a problem");
        };
        Ok(Self {
            name,
            subaccount,
            location,
            state,
            drain,
            gateways,
            tunnels,
            tls,
            proxy,
            connect_timeout,
            retry_cap,
            streams_max,
            signing_keys,
            control,
            backend,
            audit,
            admin,
            logging,
            shards,
        })
    }
}

fn read_location(document: &Document) -> Option<String> {
    let agent = document.root().section("agent");
    let location = agent.string_opt("location")?;
    if let Err(error) = check_location(&location) {
        agent.problem("location", &error.to_string());
    }
    Some(location)
}

// The control plane, and who we are: by the folder of the identity where there is one.
fn read_identity(
    document: &Document,
    location: Option<&str>,
    is_enrolled: bool,
) -> (Option<Control>, Option<Identity>) {
    let root = document.root();
    let agent = root.section("agent");
    let tunnel = root.section("tunnel");
    let rules = root.section("rules");
    let section = root.section("control");
    let folder = agent.path("identity", "agent/identity");
    let Some(control) = Control::read(&section, folder, true) else {
        if agent.has("identity") {
            agent.problem(
                "identity",
                "is for an agent with a control plane; add [control] or delete it",
            );
        }
        if !is_enrolled {
            section.problem(
                "urls",
                "to enrol, add the section [control] with urls = [\"https://cp1:7420\"]",
            );
            return (None, None);
        }
        let signing_keys = read_signing_keys(&rules);
        let identity = read_tls(&tunnel).map(|identity| Identity {
            location: location.unwrap_or_default().to_owned(),
            signing_keys,
            ..identity
        });
        return (None, identity);
    };
    for key in ["certificate", "key", "roots"] {
        if tunnel.has(key) {
            tunnel.problem(
                key,
                "delete it: with [control] the identity is in the folder agent.identity",
            );
        }
    }
    if rules.has("signing_keys") {
        rules.problem(
            "signing_keys",
            "delete it: with [control] the control plane says whose signature counts",
        );
    }
    let identity = is_enrolled
        .then(|| enrolled(&agent, &control, location))
        .flatten();
    (Some(control), identity)
}

fn read_gateways(section: &Section<'_>) -> Vec<Gateway> {
    section
        .addresses_or_names("gateways")
        .into_iter()
        .filter_map(|text| {
            // The section has checked the form.
            let (host, port) = text.rsplit_once(':')?;
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let port = port.parse().ok()?;
            Some(Gateway { host, port, text })
        })
        .collect()
}

fn read_tunnels(section: &Section<'_>) -> TunnelCount {
    if section.is_text("tunnels") {
        section.choice("tunnels", &["auto"], "auto");
        return TunnelCount::Auto;
    }
    let count = section.integer("tunnels", 1, 1..=TUNNELS_MAX);
    if section.has("tunnels") {
        TunnelCount::Fixed(size(count))
    } else {
        TunnelCount::Auto
    }
}

struct Identity {
    tls: ClientSettings,
    subaccount: String,
    name: String,
    location: String,
    signing_keys: Option<Vec<PublicKey>>,
}

// Who we are by the folder of the identity.
fn enrolled(agent: &Section<'_>, control: &Control, location: Option<&str>) -> Option<Identity> {
    let problem = |why: &str| agent.problem("identity", why);
    let found = Subscription::look(&control.identity)
        .map_err(|why| problem(&why))
        .ok()?;
    if let Some(location) = location
        && location != found.location()
    {
        agent.problem(
            "location",
            &format!(
                "the control plane has this agent at `{}`; delete the key",
                found.location()
            ),
        );
        return None;
    }
    let tls = adit_tls::client(found.credentials(), found.roots())
        .map_err(|error| problem(&error.to_string()))
        .ok()?;
    let Role::Agent { subaccount, name } = &found.id().role else {
        problem("is no agent's");
        return None;
    };
    let keys = signing_keys(found.trust())
        .map_err(|why| problem(&why))
        .ok()?;
    Some(Identity {
        subaccount: subaccount.clone(),
        name: name.clone(),
        location: found.location().to_owned(),
        signing_keys: Some(keys),
        tls,
    })
}

fn read_tls(section: &Section<'_>) -> Option<Identity> {
    let chain = section.file("certificate");
    let key = section.secret_file("key");
    let roots = section.file("roots");
    let read = |key: &str, path: PathBuf| {
        if path.as_os_str().is_empty() {
            // Missing or unreadable, and reported as that.
            return None;
        }
        std::fs::read(&path)
            .map_err(|error| {
                section.problem(key, &format!("{} cannot be read: {error}", path.display()))
            })
            .ok()
    };
    let (chain, key, roots) = (
        read("certificate", chain),
        read("key", key),
        read("roots", roots),
    );
    let credentials = match (chain, key) {
        (Some(chain), Some(key)) => Credentials::from_pem(&chain, &key)
            .map_err(|error| section.problem("certificate", &error.to_string()))
            .ok(),
        _ => None,
    };
    let roots = roots.and_then(|roots| {
        Roots::from_pem(&roots)
            .map_err(|error| section.problem("roots", &error.to_string()))
            .ok()
    });
    let (credentials, roots) = (credentials?, roots?);
    let tls = adit_tls::client(&credentials, &roots)
        .map_err(|error| section.problem("certificate", &error.to_string()))
        .ok()?;
    match &tls.id().role {
        Role::Agent { subaccount, name } => Some(Identity {
            subaccount: subaccount.clone(),
            name: name.clone(),
            tls: tls.clone(),
            location: String::new(),
            signing_keys: None,
        }),
        Role::Gateway { .. } | Role::Control { .. } => {
            section.problem(
                "certificate",
                "is no agent's; issue one with `adit pki issue`",
            );
            None
        }
    }
}

fn read_proxy(section: &Section<'_>) -> Option<Proxy> {
    let no_proxy = section.string_opt("no_proxy").unwrap_or_else(|| {
        ["NO_PROXY", "no_proxy"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_default()
    });
    let address = section.string_opt("proxy")?;
    Proxy::parse(&address, &no_proxy)
        .map_err(|error| section.problem("proxy", &error))
        .ok()
}

fn read_signing_keys(section: &Section<'_>) -> Option<Vec<PublicKey>> {
    let path = section.file_opt("signing_keys")?;
    read_public_keys(&path)
        .map_err(|why| section.problem("signing_keys", &format!("{}: {why}", path.display())))
        .ok()
}

fn read_public_keys(path: &Path) -> Result<Vec<PublicKey>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let keys = public_keys(&text)?;
    if keys.is_empty() {
        return Err("holds no `PUBLIC KEY` in PEM; make one with `adit pki signer`".to_owned());
    }
    Ok(keys)
}

/// The public keys in a PEM text; there may be none.
/// Whose signature under rules counts, by what the control plane says.
///
/// # Errors
/// There are too many keys, or one cannot be read.
pub(crate) fn signing_keys(trust: &Trust) -> Result<Vec<PublicKey>, String> {
    public_keys(trust.signing_keys.as_bytes()).map_err(|why| format!("signing keys: {why}"))
}

fn public_keys(text: &[u8]) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    for der in SubjectPublicKeyInfoDer::pem_slice_iter(text) {
        if keys.len() == SIGNING_KEYS_MAX {
            return Err(format!("holds more than {SIGNING_KEYS_MAX} keys"));
        }
        let der = der.map_err(|error| error.to_string())?;
        keys.push(PublicKey::from_spki(&der).map_err(|error| error.to_string())?);
    }
    Ok(keys)
}

fn read_backend(section: &Section<'_>) -> BackendSettings {
    let tls_roots = match section.string_opt("tls_roots").as_deref() {
        None | Some("system") => TlsRoots::System,
        Some(_) => section
            .file_opt("tls_roots")
            .map_or(TlsRoots::System, TlsRoots::File),
    };
    BackendSettings {
        connect_timeout: section.duration("connect_timeout", secs(5), millis(100)..=secs(60)),
        answer_timeout: section.duration("answer_timeout", secs(0), secs(0)..=secs(86_400)),
        idle_timeout: section.duration("idle_timeout", secs(15), secs(0)..=secs(3600)),
        pool_max: size(section.integer("pool_max", 512, 0..=4096)),
        tls_roots,
    }
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

/// Name and version, as peers are told.
pub(crate) const SOFTWARE: &str = concat!("adit-agent/", env!("CARGO_PKG_VERSION"));
/// Threads that may be configured.
const SHARDS_MAX: u64 = 256;

#[cfg(test)]
mod tests;
