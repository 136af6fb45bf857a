//! The demo's folder: token, rules and configurations, all fresh. Keys are made by the programs themselves.
//!
//! Writes what a person would write following the documentation. Starting programs is left to
//! `nodes`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use super::Ports;
use super::backends::Backends;
use super::nodes::Nodes;
use super::operator::LOGIN;
use crate::node::NodeAddress;
use crate::safe_file::{self, Readers};
use crate::token::issuer::{self, Claims, Issuer};

/// Marks a folder as a demo's, and is locked while the demo runs.
const MARK: &str = ".adit-demo";

/// Longest path of a unix socket in bytes (`sun_path` holds 108 with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How long the demo's token is valid, in seconds: a week, for a demo that stays up.
const TOKEN_S: u64 = 7 * 24 * 3600;

/// How many letters the operator's password has.
const PASSWORD_CHARS: usize = 24;

pub(super) const OPERATOR: &str = "operator";
pub(super) const SUBACCOUNT: &str = "demo";
pub(super) const GATEWAY: &str = "gw-1";
pub(super) const AGENT: &str = "agent-1";
pub(super) const ALLOWED_URL: &str = "http://erp.virtual/orders/1";
pub(super) const DENIED_URL: &str = "http://erp.virtual/admin/users";
pub(super) const TCP_HOST: &str = "echo.virtual";
pub(super) const TCP_PORT: u16 = 7;

/// Everything the demo made and where it is.
#[derive(Debug)]
pub(super) struct World {
    dir: PathBuf,
    pub(super) endpoints: Endpoints,
    pub(super) token: String,
    pub(super) rules: String,
    /// Held until the end, so that no second demo takes the folder.
    _lock: File,
}

/// Where the nodes listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoints {
    pub(super) control: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) socks5: SocketAddr,
    pub(super) tunnel: SocketAddr,
    pub(super) gateway_admin: SocketAddr,
    pub(super) agent_metrics: SocketAddr,
}

impl World {
    /// Makes the folder and everything in it.
    pub(super) fn make(
        dir: &Path,
        ports: Ports,
        shards: Option<NonZeroU16>,
        backends: &Backends,
    ) -> Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| dir.display().to_string())?;
        let lock = claim(&dir)?;
        clear(&dir)?;
        let endpoints = Endpoints::choose(ports)?;
        let world = Self {
            token: token(&dir)?,
            rules: rules(backends),
            dir,
            endpoints,
            _lock: lock,
        };
        for folder in ["gw", "agent"] {
            safe_file::make_folder(&world.dir.join(folder))?;
        }
        let password = format!("{}\n", password()?);
        safe_file::replace(&world.path("password"), password.as_bytes(), Readers::Owner)?;
        world.write("rules.toml", &world.rules)?;
        world.write("wrong.toml", &world.rules.replace("/orders", "/invoices"))?;
        world.write("control.toml", &world.control_config())?;
        world.write("gateway.toml", &world.gateway_config(shards))?;
        world.write("agent.toml", &world.agent_config(shards))?;
        let socket = world.dir.join("agent/admin.sock");
        ensure!(
            socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX,
            "{}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes; choose a shorter --dir",
            socket.display()
        );
        Ok(world)
    }

    /// Where `name` lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The agent's admin socket, where rules go in.
    pub(super) fn agent_admin(&self) -> NodeAddress {
        NodeAddress::Unix(self.path("agent/admin.sock"))
    }

    /// The gateway's admin socket.
    pub(super) fn gateway_admin(&self) -> NodeAddress {
        NodeAddress::Unix(self.path("gw/admin.sock"))
    }

    /// Writes `demo.json`: whoever waits for it finds everything ready.
    pub(super) fn announce(&self, nodes: &Nodes) -> Result<()> {
        let Endpoints {
            http,
            socks5,
            tunnel,
            gateway_admin,
            agent_metrics,
            ..
        } = self.endpoints;
        let ready = json!({
            "control": {
                "url": self.control_url(),
                "root": self.path("control/ca.pem"),
                "config_dir": self.path(LOGIN),
                "pid": nodes.control_pid(),
            },
            "gateway": {
                "http": http.to_string(),
                "socks5": socks5.to_string(),
                "tunnel": tunnel.to_string(),
                "admin": format!("http://{gateway_admin}"),
                "pid": nodes.gateway_pid(),
            },
            "agent": {
                "admin": self.agent_admin().to_string(),
                "metrics": format!("http://{agent_metrics}"),
                "pid": nodes.agent_pid(),
            },
            "token_file": self.path("token"),
            "rules_file": self.path("rules.toml"),
            "subaccount": SUBACCOUNT,
            "location": "",
            "examples": {
                "allowed_url": ALLOWED_URL,
                "denied_url": DENIED_URL,
                "tcp": format!("{TCP_HOST}:{TCP_PORT}"),
            },
        });
        self.write("demo.json", &format!("{ready:#}\n"))
    }

    /// Takes `demo.json` away: what it says is no longer true. Keys and logs stay, to be looked at.
    pub(super) fn close(&self) {
        // Already gone is as good.
        let _ = fs::remove_file(self.path("demo.json"));
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        safe_file::replace(&self.path(name), text.as_bytes(), Readers::Everybody)
    }

    /// Where the control plane is.
    pub(super) fn control_url(&self) -> String {
        format!("https://{}", self.endpoints.control)
    }

    fn control_config(&self) -> String {
        format!(
            r#"# The control plane. Paths count from this file's folder.
[server]
name = "control-1"
listen = "{}"
state = "control"
"#,
            self.endpoints.control
        )
    }

    fn gateway_config(&self, shards: Option<NonZeroU16>) -> String {
        let Endpoints {
            http,
            socks5,
            tunnel,
            gateway_admin,
            ..
        } = self.endpoints;
        format!(
            r#"# The cloud end. Paths count from this file's folder.
[gateway]
identity = "gw/identity"

[control]
urls = ["{}"]

[tunnel]
listen = "{tunnel}"

[http]
listen = "{http}"

[socks5]
listen = "{socks5}"

[token]
jwks = "issuer/jwks.json"
issuers = ["{ISSUER}"]
audiences = ["{AUDIENCE}"]
algorithms = ["EdDSA"]

[admin]
listen = "{gateway_admin}"
socket = "gw/admin.sock"
{}"#,
            self.control_url(),
            runtime(shards)
        )
    }

    fn agent_config(&self, shards: Option<NonZeroU16>) -> String {
        let Endpoints {
            tunnel,
            agent_metrics,
            ..
        } = self.endpoints;
        format!(
            r#"# The on-premise end. Paths count from this file's folder.
[agent]
state = "agent/state"
identity = "agent/identity"

[control]
urls = ["{}"]

[tunnel]
gateways = ["{tunnel}"]

[admin]
listen = "{agent_metrics}"
socket = "agent/admin.sock"
{}"#,
            self.control_url(),
            runtime(shards)
        )
    }
}

const ISSUER: &str = "adit-dev";
const AUDIENCE: &str = "adit";

fn runtime(shards: Option<NonZeroU16>) -> String {
    shards.map_or_else(String::new, |shards| {
        format!("\n[runtime]\nshards = {shards}\n")
    })
}

/// Makes the folder ours, or says why it cannot be.
fn claim(dir: &Path) -> Result<File> {
    safe_file::make_folder(dir)?;
    let place = || dir.display().to_string();
    let mark = dir.join(MARK);
    if !mark.exists() {
        let strangers = fs::read_dir(dir).with_context(place)?.count();
        ensure!(
            strangers == 0,
            "{}: not empty and not a demo's folder; choose another --dir",
            dir.display()
        );
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(place)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&mark)
        .with_context(|| mark.display().to_string())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => bail!(
            "{}: a demo is running there; stop it or choose another --dir",
            dir.display()
        ),
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(place),
    }
}

/// Takes away what an earlier demo left, and nothing else.
fn clear(dir: &Path) -> Result<()> {
    let gone = |result: std::io::Result<()>, name: &str| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(anyhow!(error).context(dir.join(name).display().to_string()))
        }
        _ => Ok(()),
    };
    // First of all, so that nobody takes the old announcement for ours.
    for name in [
        "demo.json",
        "token",
        "password",
        "rules.toml",
        "wrong.toml",
        "control.toml",
        "gateway.toml",
        "agent.toml",
        "gateway.invitation",
        "agent.invitation",
        "control.log",
        "gateway.log",
        "agent.log",
    ] {
        gone(fs::remove_file(dir.join(name)), name)?;
    }
    for name in ["control", LOGIN, "pki", "issuer", "gw", "agent"] {
        gone(fs::remove_dir_all(dir.join(name)), name)?;
    }
    Ok(())
}

/// A password that nobody has to remember.
fn password() -> Result<String> {
    let mut bytes = [0_u8; PASSWORD_CHARS];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_nothing_to_tell| anyhow!("the system gives no random numbers"))?;
    let letter = |byte: &u8| char::from(b'a' + byte % 26);
    Ok(bytes.iter().map(letter).collect())
}

fn token(dir: &Path) -> Result<String> {
    let folder = dir.join("issuer");
    issuer::init(&folder)?;
    let unix_now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?
        .as_secs();
    let token = Issuer::open(&folder)?.sign(&Claims {
        iss: ISSUER,
        aud: AUDIENCE,
        exp: unix_now + TOKEN_S,
        zid: SUBACCOUNT,
        sub: "demo-app",
    })?;
    safe_file::replace(&dir.join("token"), token.as_bytes(), Readers::Owner)?;
    Ok(token)
}

fn rules(backends: &Backends) -> String {
    let (http, tcp) = (backends.http, backends.tcp);
    format!(
        r#"# What callers of subaccount "{SUBACCOUNT}" may reach. Everything else is denied.

[[system]]
name = "erp"
description = "the demo's HTTP backend"
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://{http}"
allow_loopback = true

[[system.resource]]
path = "/orders"
scope = "subtree"
methods = ["GET", "HEAD", "POST"]
description = "orders may be read and written"

[[system]]
name = "echo"
description = "the demo's TCP backend"
virtual = "{TCP_HOST}:{TCP_PORT}"
protocol = "tcp"
internal = "{tcp}"
allow_loopback = true
"#
    )
}

impl Endpoints {
    fn choose(ports: Ports) -> Result<Self> {
        let wanted = match ports {
            Ports::Default => [7420, 20003, 20004, 8443, 9494, 9495],
            Ports::Auto => [0; 6],
        };
        // All are held until all are known, so that no two are the same; then the nodes take them.
        let held = wanted
            .into_iter()
            .map(|port| {
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                    format!("port {port} on 127.0.0.1; free it or say --ports auto")
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut addresses = held.iter().map(TcpListener::local_addr);
        let mut next = || {
            addresses
                .next()
                .context("as many ports as endpoints")?
                .context("the address of a listener")
        };
        Ok(Self {
            control: next()?,
            http: next()?,
            socks5: next()?,
            tunnel: next()?,
            gateway_admin: next()?,
            agent_metrics: next()?,
        })
    }
}

#[cfg(test)]
mod tests;
