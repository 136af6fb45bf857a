//! The demo's children: one gateway and one agent, the real programs.
//!
//! Starts them, waits until they are ready, and ends each by its own process id, also when the demo
//! fails. What they are configured with is `world`'s.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::story::Story;
use super::world::World;
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

/// Both children. Dropping it kills what still runs.
#[derive(Debug)]
pub(super) struct Nodes {
    program: PathBuf,
    gateway: Option<Node>,
    agent: Option<Node>,
}

impl Nodes {
    pub(super) fn new(program: PathBuf) -> Self {
        Self {
            program,
            gateway: None,
            agent: None,
        }
    }

    /// Starts gateway and agent, pushes the rules and waits until requests can be sent.
    pub(super) async fn start(&mut self, world: &World, story: &Story<'_>) -> Result<(), Failure> {
        let gateway = self
            .gateway
            .insert(Node::spawn(&self.program, "gateway", world)?);
        gateway
            .answers(&world.gateway_admin(), "/healthz", READY_WITHIN)
            .await?;
        story.started("gateway", gateway.pid());

        let agent = self
            .agent
            .insert(Node::spawn(&self.program, "agent", world)?);
        agent
            .answers(&world.agent_admin(), "/healthz", READY_WITHIN)
            .await?;
        story.started("agent", agent.pid());

        let rules = world.rules.clone();
        let accepted = crate::rules::push_to(&world.agent_admin(), "rules.toml", rules).await?;
        story.pushed(&accepted);
        agent
            .answers(&world.agent_admin(), "/readyz", READY_WITHIN)
            .await?;
        gateway
            .answers(&world.gateway_admin(), "/readyz", READY_WITHIN)
            .await?;
        story.ready();
        Ok(())
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
            told = ended(&mut self.gateway) => told,
            told = ended(&mut self.agent) => told,
        }
    }

    /// Ends both: SIGTERM, and SIGKILL after ten seconds or when `hurry` comes first.
    pub(super) async fn stop(mut self, hurry: impl Future<Output = ()>) {
        async fn end(node: Option<&mut Node>) {
            if let Some(node) = node {
                node.terminate().await;
            }
        }
        tokio::select! {
            _ = async { tokio::join!(end(self.agent.as_mut()), end(self.gateway.as_mut())) } => {}
            () = hurry => {}
        }
        for node in [self.agent, self.gateway].into_iter().flatten() {
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
    fn spawn(program: &Path, role: &'static str, world: &World) -> Result<Self> {
        let log = world.path(&format!("{role}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(program)
            .arg(role)
            .arg("--config")
            .arg(world.path(&format!("{role}.toml")))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("the log's second descriptor")?)
            .stderr(file)
            // A group of its own: Ctrl-C at the terminal reaches the demo, and the demo ends it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} {role}", program.display()))?;
        Ok(Self { role, child, log })
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
