//! adit as a subject: keys made by `adit`, a gateway and an agent as processes, rules pushed.
//!
//! Everything goes through the doors an operator has: command line, configuration files, admin
//! sockets.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::interrupt;
use crate::link::Link;
use crate::place::Seat;
use crate::plane::Plane;
use crate::process::{self, Process};
use crate::route::{Opaque, Route};
use crate::subject::{Part, Setting, Subject};

/// The admin doors of a gateway and an agent.
#[derive(Debug)]
pub(crate) struct Nodes {
    adit: PathBuf,
    folder: PathBuf,
    backend: (SocketAddr, SocketAddr),
}

/// Starts a gateway and an agent and waits until requests can be sent.
pub(crate) fn start(setting: &Setting) -> Result<Subject> {
    start_governed(setting, None)
}

/// The same where certificates and rules come from a control plane.
pub(crate) fn start_under(setting: &Setting, plane: &mut Plane) -> Result<Subject> {
    start_governed(setting, Some(plane))
}

fn start_governed(setting: &Setting, mut plane: Option<&mut Plane>) -> Result<Subject> {
    let folder = tempfile::Builder::new().prefix("adit-load-").tempdir()?;
    let dir = folder.path().to_owned();
    let aditd = setting.programs.join("aditd");
    let nodes = Nodes {
        adit: setting.programs.join("adit"),
        folder: dir.clone(),
        backend: (setting.http, setting.tcp),
    };
    let governed = plane.as_ref().map(|plane| plane.url());
    if governed.is_none() {
        nodes.make_certificates()?;
    }
    let token = nodes.make_token()?;
    let shards = setting.shards;

    let gateway = gateway_toml(shards, governed.as_deref());
    std::fs::write(dir.join("gateway.toml"), gateway)?;
    if let Some(plane) = &mut plane {
        plane.enrol("gateway", "gw-1", &dir)?;
    }
    let mut parts = Vec::new();
    parts.push(node(setting, &aditd, "gateway", Seat::Gateway, &dir)?);
    let tunnel = nodes.door(&mut parts, "tunnel")?;
    let http = nodes.door(&mut parts, "http")?;
    let doors = setting.tunnels.div_ceil(TUNNELS_TO_AN_ADDRESS);
    let (dialled, link) = if doors > 1 {
        // One agent has so many tunnels to an address at most, and takes an address once: the link
        // gives it as many addresses as it needs.
        let quality = setting.quality.unwrap_or_default();
        let link = Link::with_doors(doors, tunnel, quality, &setting.places)?;
        (
            std::iter::once(link.address)
                .chain(link.more.iter().copied())
                .collect(),
            Some(link),
        )
    } else {
        let (dialled, link) = setting.via(tunnel)?;
        (vec![dialled], link)
    };
    let each = setting.tunnels.div_ceil(doors.max(1));
    let mut agent = agent_toml(&dialled, shards, each, governed.as_deref());
    if let Some(level) = setting.audit {
        // Writing to a String does not fail.
        let _ = writeln!(agent, "[audit]\nlevel = \"{level}\"");
        if let Some(url) = &setting.sink {
            let _ = writeln!(agent, "[audit.otlp]\nurl = \"{url}\"");
        }
    }
    std::fs::write(dir.join("agent.toml"), agent)?;
    if let Some(plane) = &mut plane {
        plane.enrol("agent", "a1", &dir)?;
    }
    parts.push(node(setting, &aditd, "agent", Seat::Agent, &dir)?);
    let mut subject = Subject {
        name: NAME.to_owned(),
        route: route(http, &token),
        parts,
        link,
        nodes: None,
        _folder: Some(folder),
    };
    interrupt::until("the agent answers", PATIENCE, || {
        subject.must_run().is_err() || nodes.get("agent", "/healthz").is_ok()
    })?;
    subject.must_run()?;
    match plane {
        Some(plane) => plane.apply(&nodes.rules(0)).map(|_applied| ())?,
        None => nodes.push(0)?,
    }
    interrupt::until("the agent is ready", PATIENCE, || {
        subject.must_run().is_err() || nodes.is_ready()
    })?;
    let wanted = if setting.tunnels > 0 {
        setting.tunnels
    } else {
        shards.min(4)
    };
    interrupt::until("all tunnels are up", PATIENCE, || {
        subject.must_run().is_err()
            || nodes.metric("gateway", "gateway_tunnels") >= crate::figure::length(wanted)
    })?;
    subject.must_run()?;
    subject.nodes = Some(nodes);
    Ok(subject)
}

fn node(
    setting: &Setting,
    aditd: &Path,
    role: &'static str,
    seat: Seat,
    dir: &Path,
) -> Result<Part> {
    let mut command = Command::new(aditd);
    command
        .arg(role)
        .arg("--config")
        .arg(dir.join(format!("{role}.toml")))
        .env("ADITD_DRIVER", &setting.driver);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let log = dir.join(format!("{role}.log"));
    // Shards that share processors are not pinned to one.
    let places = if setting.shards > 1 {
        setting.places.unpinned()
    } else {
        setting.places.clone()
    };
    let process = places.on(seat, || Process::start(role, &mut command, &log))??;
    Ok(Part { role, process })
}

fn route(http: SocketAddr, token: &str) -> Route {
    let authorization = format!("Proxy-Authorization: Bearer {token}\r\n");
    Route {
        http,
        origin: "http://web.virtual".to_owned(),
        fields: format!("Host: web.virtual\r\n{authorization}"),
        tcp: Some(Opaque {
            address: http,
            greeting: format!(
                "CONNECT echo.virtual:7 HTTP/1.1\r\nHost: echo.virtual:7\r\n{authorization}\r\n"
            )
            .into_bytes(),
        }),
    }
}

impl Nodes {
    fn adit(&self, arguments: &[&str]) -> Result<String> {
        process::run(
            Command::new(&self.adit)
                .args(arguments)
                .current_dir(&self.folder),
        )
    }

    fn make_certificates(&self) -> Result<()> {
        self.adit(&["pki", "init", "--dir", "pki"])?;
        let gateway = ["pki", "issue", "gateway", "--dir", "pki", "--name", "gw-1"];
        self.adit(&[&gateway[..], &["--out", "gw"]].concat())?;
        let agent = [
            "pki",
            "issue",
            "agent",
            "--dir",
            "pki",
            "--subaccount",
            "acme",
        ];
        self.adit(&[&agent[..], &["--name", "a1", "--out", "ag"]].concat())?;
        Ok(())
    }

    fn make_token(&self) -> Result<String> {
        self.adit(&["token", "issuer", "init", "--dir", "issuer"])?;
        let token = ["token", "issue", "--dir", "issuer", "--subaccount", "acme"];
        let token = self.adit(&[&token[..], &["--ttl", "12h"]].concat())?;
        Ok(token.trim().to_owned())
    }

    /// Pushes rules with `adit rules push`; another `edition` is other rules that grant the same.
    pub(crate) fn push(&self, edition: u32) -> Result<()> {
        std::fs::write(self.folder.join("rules.toml"), self.rules(edition))?;
        let node = format!("unix:{}", self.socket("agent").display());
        self.adit(&["rules", "push", "rules.toml", "--node", &node])?;
        Ok(())
    }

    /// What is pushed as an edition.
    pub(crate) fn rules(&self, edition: u32) -> String {
        let (http, tcp) = self.backend;
        let mut rules = format!(
            "[[system]]\nvirtual = \"web.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://{http}\"\n\
             allow_loopback = true\n[[system.resource]]\npath = \"/\"\nscope = \"subtree\"\n\
             [[system]]\nvirtual = \"echo.virtual:7\"\nprotocol = \"tcp\"\ninternal = \"{tcp}\"\n\
             allow_loopback = true\n"
        );
        // A landscape of some size around them, none of it asked for.
        for number in 0..OTHER_SYSTEMS {
            // Writing to a String does not fail.
            let _ = write!(
                rules,
                "[[system]]\nvirtual = \"s{number}.virtual:80\"\nprotocol = \"http\"\n\
                 internal = \"http://10.0.0.1:80\"\ndescription = \"edition {edition}\"\n\
                 [[system.resource]]\npath = \"/a{number}/{edition}\"\nscope = \"subtree\"\n"
            );
        }
        rules
    }

    fn socket(&self, role: &str) -> PathBuf {
        self.folder.join(format!("{role}.sock"))
    }

    fn get(&self, role: &str, path: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.socket(role))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("a whole answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{role} {path}: {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }

    fn is_ready(&self) -> bool {
        self.get("agent", "/readyz").is_ok()
    }

    /// The sum of all series of a metric; 0 while nobody answers.
    pub(crate) fn metric(&self, role: &str, name: &str) -> f64 {
        let page = self.get(role, "/metrics").unwrap_or_default();
        sum_of(&page, name)
    }

    fn door(&self, parts: &mut [Part], door: &str) -> Result<SocketAddr> {
        interrupt::until("the gateway answers", PATIENCE, || {
            let ended = parts
                .iter_mut()
                .any(|part| part.process.must_run().is_err());
            ended || self.get("gateway", "/healthz").is_ok()
        })?;
        for part in parts {
            part.process.must_run()?;
        }
        let status: serde_json::Value = serde_json::from_str(&self.get("gateway", "/status")?)?;
        let address = status.pointer(&format!("/doors/{door}"));
        let address = address.and_then(serde_json::Value::as_str);
        address
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("the gateway has no {door} door"))
    }
}

fn sum_of(page: &str, name: &str) -> f64 {
    page.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = match rest.strip_prefix('{') {
                Some(labelled) => labelled.split_once("} ")?.1,
                None => rest.strip_prefix(' ')?,
            };
            value.trim().parse::<f64>().ok()
        })
        .sum()
}

/// Who a node is: certificates in `folder`, or what the control plane at `governed` gives it.
fn identity(folder: &str, governed: Option<&str>) -> String {
    match governed {
        Some(url) => format!("[control]\nurls = [\"{url}\"]\n"),
        None => format!(
            "[tunnel]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\nroots = \"{folder}/ca.pem\"\n"
        ),
    }
}

fn gateway_toml(shards: usize, governed: Option<&str>) -> String {
    let identity = identity("gw", governed);
    let more = if governed.is_some() { "[tunnel]\n" } else { "" };
    format!(
        r#"[gateway]
name = "gw-1"
{identity}{more}listen = "127.0.0.1:0"
tunnels_per_agent_max = 1024
[http]
listen = "127.0.0.1:0"
[socks5]
listen = "127.0.0.1:0"
[token]
jwks = "issuer/jwks.json"
issuers = ["adit-dev"]
audiences = ["adit"]
algorithms = ["EdDSA"]
[admin]
socket = "gateway.sock"
[log]
filter = "warn"
[runtime]
shards = {shards}
"#
    )
}

fn agent_toml(
    gateways: &[SocketAddr],
    shards: usize,
    tunnels: usize,
    governed: Option<&str>,
) -> String {
    let identity = identity("ag", governed);
    let more = if governed.is_some() { "[tunnel]\n" } else { "" };
    let each = match tunnels {
        0 => "\"auto\"".to_owned(),
        tunnels => tunnels.to_string(),
    };
    let gateways: Vec<String> = gateways.iter().map(|one| format!("\"{one}\"")).collect();
    let gateways = gateways.join(", ");
    format!(
        r#"[agent]
state = "state"
{identity}{more}gateways = [{gateways}]
tunnels = {each}
[admin]
socket = "agent.sock"
[log]
filter = "warn"
[runtime]
shards = {shards}
"#
    )
}

/// How it is called in reports.
pub(crate) const NAME: &str = "adit";
const OTHER_SYSTEMS: u32 = 100;
const TUNNELS_TO_AN_ADDRESS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_dials_every_address_it_is_given() {
        let gateways = [
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        ];
        let text = agent_toml(&gateways, 1, 16, None);
        assert!(
            text.contains("gateways = [\"127.0.0.1:1\", \"127.0.0.1:2\"]"),
            "{text}"
        );
        assert!(text.contains("tunnels = 16"), "{text}");
        assert!(agent_toml(&gateways, 1, 0, None).contains("tunnels = \"auto\""));
    }

    #[test]
    fn a_metric_is_the_sum_of_its_series() {
        let page =
            "# HELP a_total x\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_more 9\nb 4\n";
        assert!((sum_of(page, "a_total") - 5.0).abs() < f64::EPSILON);
        assert!((sum_of(page, "b") - 4.0).abs() < f64::EPSILON);
    }
}
