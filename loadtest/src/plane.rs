//! A control plane: `adit serve` as a process, set up and asked over its REST door.
//!
//! What its nodes do is left to `adit` (real ones) and `fleet` (simulated ones).

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interrupt;
use crate::process::{self, Process};
use crate::rest::Rest;
use crate::subject::{Setting, free_port};

/// Where a control plane keeps what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Embedded,
    Etcd,
}

/// A control plane with an administrator and no nodes.
#[derive(Debug)]
pub(crate) struct Plane {
    aditd: PathBuf,
    address: SocketAddr,
    rest: Rest,
    process: Process,
    etcd: Option<Process>,
    _folder: TempDir,
}

/// Rules were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied {
    pub(crate) version: u64,
    /// When the request was sent, on the clock that all processes share.
    pub(crate) sent_ns: u64,
    /// How long the answer took.
    pub(crate) took: Duration,
}

/// How far the rules in force have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) connected: u64,
    pub(crate) acked: u64,
}

impl Plane {
    /// Starts one and makes its first administrator.
    pub(crate) fn start(setting: &Setting, memory: Memory) -> Result<Self> {
        Self::launch(memory, Command::new(setting.programs.join("adit")), setting)
    }

    /// The same with only the processor time that everybody else leaves: it has a machine of its own elsewhere, and what
    /// is measured is what its pushes cost gateway and agent.
    pub(crate) fn start_aside(setting: &Setting) -> Result<Self> {
        let mut command = Command::new("chrt");
        command
            .args(["--idle", "0"])
            .arg(setting.programs.join("adit"));
        Self::launch(Memory::Embedded, command, setting)
    }

    fn launch(memory: Memory, mut command: Command, setting: &Setting) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("adit-load-").tempdir()?;
        let dir = folder.path();
        let (etcd, store) = match memory {
            Memory::Embedded => (None, String::new()),
            Memory::Etcd => {
                let (process, address) = start_etcd(dir)?;
                let store =
                    format!("[store]\nkind = \"etcd\"\nendpoints = [\"http://{address}\"]\n");
                (Some(process), store)
            }
        };
        let config = dir.join("server.toml");
        std::fs::write(
            &config,
            format!(
                "[server]\nname = \"cp-1\"\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n{store}"
            ),
        )?;
        let log = dir.join("serve.log");
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "warn")
            .env_remove("STATE_DIRECTORY")
            .env_remove("CREDENTIALS_DIRECTORY");
        let mut process = Process::start("adit serve", &mut command, &log)?;
        let mut address = None;
        interrupt::until("the control plane serves", PATIENCE, || {
            address = serving(&std::fs::read_to_string(&log).unwrap_or_default());
            address.is_some() || process.must_run().is_err()
        })?;
        process.must_run()?;
        let address = address.context("the control plane's address")?;
        let mut rest = Rest::new(address, &std::fs::read(dir.join("state/ca.pem"))?)?;
        let token = std::fs::read_to_string(dir.join("state/setup-token"))?;
        let wish =
            json!({"token": token.trim(), "user": "root-admin", "password": "of-a-load-test-only"});
        let token = rest.post("/api/v1/setup", &wish)?.text_of("token")?;
        rest.log_in(token);
        Ok(Self {
            aditd: setting.programs.join("aditd"),
            address,
            rest,
            process,
            etcd,
            _folder: folder,
        })
    }

    /// Where nodes find it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The processes of the server; etcd is not among them.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.process.family()
    }

    /// Those of its store, if that is a program of its own.
    pub(crate) fn store_pids(&self) -> Vec<u32> {
        self.etcd.as_ref().map(Process::family).unwrap_or_default()
    }

    pub(crate) fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }

    /// An invitation for an agent, or for a gateway.
    pub(crate) fn invite(&mut self, role: &str, name: &str) -> Result<String> {
        let path = match role {
            "agent" => format!("/api/v1/subaccounts/{SUBACCOUNT}/invitations"),
            _ => "/api/v1/gateways/invitations".to_owned(),
        };
        let wish = json!({"name": name, "location": ""});
        self.rest.post(&path, &wish)?.text_of("token")
    }

    /// Makes a real node of whoever is configured in `dir`.
    pub(crate) fn enrol(&mut self, role: &str, name: &str, dir: &Path) -> Result<()> {
        let invitation = self.invite(role, name)?;
        process::run(
            Command::new(&self.aditd)
                .args([role, "--enrol", &self.url(), "--enrol-only", "--config"])
                .arg(dir.join(format!("{role}.toml")))
                .env("ADIT_INVITATION", invitation),
        )?;
        Ok(())
    }

    /// Puts rules in force.
    pub(crate) fn apply(&mut self, rules: &str) -> Result<Applied> {
        let now = self.rest.ask("GET", ROLLOUT, &[], b"");
        let etag = now.ok().and_then(|reply| reply.etag);
        let condition = match &etag {
            Some(etag) => ("if-match", etag.as_str()),
            None => ("if-none-match", "*"),
        };
        let fields = [("content-type", "application/toml"), condition];
        let (sent_ns, began) = (shared_ns(), Instant::now());
        let reply = self.rest.ask("PUT", RULES, &fields, rules.as_bytes())?;
        let took = began.elapsed();
        let version = reply.json()?.get("version").and_then(Value::as_u64);
        Ok(Applied {
            version: version.context("an answer with a version")?,
            sent_ns,
            took,
        })
    }

    pub(crate) fn rollout(&mut self) -> Result<Rollout> {
        let reply = self.rest.ask("GET", ROLLOUT, &[], b"")?.json()?;
        let count = |name: &str| reply.get(name).and_then(Value::as_u64).unwrap_or(0);
        Ok(Rollout {
            connected: count("connected"),
            acked: count("acked"),
        })
    }

    /// Waits until `nodes` are connected and have what they shall have.
    pub(crate) fn all_acked(&mut self, nodes: u64, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let rollout = self.rollout()?;
            if rollout.connected >= nodes && rollout.acked >= nodes {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("{nodes} nodes are to have acknowledged: {rollout:?}");
            }
            interrupt::pause(Duration::from_millis(100))?;
        }
    }
}

/// Nanoseconds of the system's monotonic clock, the same in every process.
pub(crate) fn shared_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// Whether etcd can be started here.
pub(crate) fn has_etcd() -> bool {
    process::find("etcd", &[]).is_some()
}

fn start_etcd(dir: &Path) -> Result<(Process, SocketAddr)> {
    let (clients, peers) = (free_port()?, free_port()?);
    let program = process::find("etcd", &[]).context("etcd")?;
    let mut command = Command::new(program);
    command
        .arg("--data-dir")
        .arg(dir.join("etcd"))
        .args(["--name", "one", "--log-level", "warn"])
        .arg(format!("--listen-client-urls=http://{clients}"))
        .arg(format!("--advertise-client-urls=http://{clients}"))
        .arg(format!("--listen-peer-urls=http://{peers}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peers}"))
        .arg(format!("--initial-cluster=one=http://{peers}"));
    let mut process = Process::start("etcd", &mut command, &dir.join("etcd.log"))?;
    interrupt::until("etcd is healthy", PATIENCE, || {
        process.must_run().is_err() || is_healthy(clients)
    })?;
    process.must_run()?;
    Ok((process, clients))
}

fn is_healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: etcd\r\nconnection: close\r\n\r\n")?;
        std::io::read_to_string(stream)
    };
    ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
}

/// The address in what a server says when it serves.
fn serving(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("serving on https://")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}

/// The subaccount of every agent here.
pub(crate) const SUBACCOUNT: &str = "acme";
const RULES: &str = "/api/v1/subaccounts/acme/rules";
const ROLLOUT: &str = "/api/v1/subaccounts/acme/rules/rollout";
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_once_its_line_is_whole() {
        assert_eq!(serving("serving on https://127.0.0.1:74"), None);
        let whole = "serving on https://127.0.0.1:7420\nroot x\n";
        assert_eq!(serving(whole), "127.0.0.1:7420".parse().ok());
    }

    #[test]
    fn the_shared_clock_goes_forward() {
        let before = shared_ns();
        assert!(shared_ns() >= before && before > 0);
    }
}
