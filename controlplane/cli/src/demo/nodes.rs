//! The demo's children: control plane, gateway and agent, the real programs.
//!
//! Starts them, waits until they are ready, and ends each by its own process id, also when the demo
//! fails. What they are configured with is `world`'s.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::operator::Operator;
use super::story::Story;
use super::world::{AGENT, GATEWAY, OPERATOR, SUBACCOUNT, World};
use crate::ending::Failure;
use crate::node::NodeAddress;

/// How long a node may take to be ready, its keys and sockets included.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How often a node is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How long a node may take to end after SIGTERM before it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How much of a log is shown when its node has failed, in lines.
const LOG_LINES: usize = 20;

/// The program both nodes are: `$ADITD`, or `aditd` beside this program.
pub(super) fn find_aditd() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("ADITD") {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Failure::usage(format!(
                "ADITD names {}, and that is no file",
                named.display()
            )))
        };
    }
    let beside = std::env::current_exe()
        .context("where this program is")?
        .with_file_name("aditd");
    if beside.is_file() {
        Ok(beside)
    } else {
        Err(Failure::failed(format!(
            "{} is missing; build it with `cargo build -p aditd`, or name it in ADITD",
            beside.display()
        )))
    }
}

/// All children. Dropping it kills what still runs.
#[derive(Debug)]
pub(super) struct Nodes {
    program: PathBuf,
    control: Option<Node>,
    gateway: Option<Node>,
    agent: Option<Node>,
}

impl Nodes {
    pub(super) fn new(program: PathBuf) -> Self {
        Self {
            program,
            control: None,
            gateway: None,
            agent: None,
        }
    }

    /// Starts control plane, gateway and agent as an operator does, puts the rules in force and waits until requests can
    /// be sent.
    pub(super) async fn start(
        &mut self,
        world: &World,
        operator: &Operator,
        story: &Story<'_>,
    ) -> Result<(), Failure> {
        let this = std::env::current_exe().context("where this program is")?;
        let control = Command::new(this);
        let control = self
            .control
            .insert(Node::spawn("control", control, world, &["serve"])?);
        control.listens(world).await?;
        story.started("control", control.pid());
        let url = world.control_url();
        let login = [
            "login",
            &url,
            "--root",
            "control/ca.pem",
            "--setup",
            "control/setup-token",
            "--user",
            OPERATOR,
            "--password-file",
            "password",
        ];
        operator.types(&login, &[0]).await?;

        let invite = [
            "nodes",
            "invite",
            "--role",
            "gateway",
            "--name",
            GATEWAY,
            "--out",
            "gateway.invitation",
        ];
        operator.types(&invite, &[0]).await?;
        let gateway = self
            .gateway
            .insert(Node::enrol("gateway", &self.program, world)?);
        gateway
            .answers(&world.gateway_admin(), "/healthz", READY_WITHIN)
            .await?;
        story.started("gateway", gateway.pid());

        let invite = [
            "nodes",
            "invite",
            "--role",
            "agent",
            "--subaccount",
            SUBACCOUNT,
            "--name",
            AGENT,
            "--out",
            "agent.invitation",
        ];
        operator.types(&invite, &[0]).await?;
        let agent = self
            .agent
            .insert(Node::enrol("agent", &self.program, world)?);
        agent
            .answers(&world.agent_admin(), "/healthz", READY_WITHIN)
            .await?;
        story.started("agent", agent.pid());

        operator
            .types(
                &["rules", "plan", "rules.toml", "--subaccount", SUBACCOUNT],
                &[3],
            )
            .await?;
        operator
            .applies("rules.toml", "orders may be read and written")
            .await?;
        agent
            .answers(&world.agent_admin(), "/readyz", READY_WITHIN)
            .await?;
        gateway
            .answers(&world.gateway_admin(), "/readyz", READY_WITHIN)
            .await?;
        story.ready();
        Ok(())
    }

    pub(super) fn control_pid(&self) -> Option<u32> {
        self.control.as_ref().and_then(Node::pid)
    }

    pub(super) fn gateway_pid(&self) -> Option<u32> {
        self.gateway.as_ref().and_then(Node::pid)
    }

    pub(super) fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().and_then(Node::pid)
    }

    /// Waits until a child ends by itself, and tells which and why.
    pub(super) async fn any_ended(&mut self) -> String {
        async fn ended(node: &mut Option<Node>) -> String {
            match node {
                Some(node) => node.ended().await,
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            told = ended(&mut self.control) => told,
            told = ended(&mut self.gateway) => told,
            told = ended(&mut self.agent) => told,
        }
    }

    /// Ends all: SIGTERM, and SIGKILL after ten seconds or when `hurry` comes first.
    pub(super) async fn stop(mut self, hurry: impl Future<Output = ()>) {
        async fn end(node: Option<&mut Node>) {
            if let Some(node) = node {
                node.terminate().await;
            }
        }
        tokio::select! {
            _ = async {
                tokio::join!(end(self.agent.as_mut()), end(self.gateway.as_mut()));
                end(self.control.as_mut()).await;
            } => {}
            () = hurry => {}
        }
        for node in [self.agent, self.gateway, self.control]
            .into_iter()
            .flatten()
        {
            node.kill().await;
        }
    }
}

/// One child.
#[derive(Debug)]
struct Node {
    role: &'static str,
    child: Child,
    log: PathBuf,
}

impl Node {
    /// A node that becomes one by its invitation.
    fn enrol(role: &'static str, program: &Path, world: &World) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg(role)
            .arg("--enrol")
            .arg(world.control_url())
            .arg("--token-file")
            .arg(world.path(&format!("{role}.invitation")));
        Self::spawn(role, command, world, &[])
    }

    fn spawn(
        role: &'static str,
        mut command: Command,
        world: &World,
        words: &[&str],
    ) -> Result<Self> {
        let log = world.path(&format!("{role}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let child = command
            .args(words)
            .arg("--config")
            .arg(world.path(&format!("{role}.toml")))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("the log's second descriptor")?)
            .stderr(file)
            // A group of its own: Ctrl-C at the terminal reaches the demo, and the demo ends it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| role.to_owned())?;
        Ok(Self { role, child, log })
    }

    /// Waits until the control plane can be reached and has said how to begin.
    async fn listens(&mut self, world: &World) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().context(self.role)? {
                bail!("{}", self.obituary(status));
            }
            let listens = TcpStream::connect(world.endpoints.control).await.is_ok();
            if listens && world.path("control/setup-token").exists() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the control plane is not ready after {} s; the end of {}:\n{}",
                    READY_WITHIN.as_secs(),
                    self.log.display(),
                    self.last_lines()
                );
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// The process id; `None` once it has ended and been waited for.
    fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `path` is answered with success; an end of the child is told at once.
    async fn answers(&mut self, admin: &NodeAddress, path: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().context(self.role)? {
                bail!("{}", self.obituary(status));
            }
            let why_not = match admin.get(path).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => answer.complaint(),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() >= deadline {
                bail!(
                    "the {} is not ready after {} s ({path}: {why_not}); the end of {}:\n{}",
                    self.role,
                    within.as_secs(),
                    self.log.display(),
                    self.last_lines()
                );
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => self.obituary(status),
            Err(error) => format!("the {} cannot be waited for: {error}", self.role),
        }
    }

    /// Asks it to end and gives it time.
    async fn terminate(&mut self) {
        // The id is still the child's: it is freed only by waiting, and waiting clears it here.
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid else { return };
        if kill_process(pid, Signal::TERM).is_ok() {
            // Too late is answered by the caller, with SIGKILL.
            let _ = timeout(END_WITHIN, self.child.wait()).await;
        }
    }

    async fn kill(mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill().await;
    }

    fn obituary(&self, status: std::process::ExitStatus) -> String {
        format!(
            "the {} ended by itself ({status}); the end of {}:\n{}",
            self.role,
            self.log.display(),
            self.last_lines()
        )
    }

    fn last_lines(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LOG_LINES);
        lines
            .iter()
            .skip(first)
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
