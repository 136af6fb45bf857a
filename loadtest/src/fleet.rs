//! Simulated nodes: the program `adit-fleet`, told what to do line by line and read line by line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::interrupt;
use crate::plane::Plane;
use crate::process::{self, Process};

/// Nodes of one control plane in one process.
#[derive(Debug)]
pub(crate) struct Fleet {
    process: Process,
    input: ChildStdin,
    said: PathBuf,
    /// Bytes of what it said that were read.
    read: usize,
}

impl Fleet {
    /// Starts the program with no node in it.
    pub(crate) fn start(programs: &Path, plane: &Plane, dir: &Path) -> Result<Self> {
        let mut command = Command::new(programs.join(PROGRAM));
        command
            .args(["nodes", "--url", &plane.url(), "--folder"])
            .arg(dir);
        let said = dir.join("fleet.log");
        let mut process = Process::start(PROGRAM, &mut command, &said)?;
        let input = process.input().context("its standard input")?;
        Ok(Self {
            process,
            input,
            said,
            read: 0,
        })
    }

    /// Makes one more agent.
    pub(crate) fn enrol(&mut self, plane: &mut Plane, name: &str) -> Result<()> {
        let invitation = plane.invite("agent", name)?;
        writeln!(self.input, "enrol {name} {invitation}")?;
        let said = self.line("a node is enrolled", ENROLLED_WITHIN)?;
        if said != format!("enrolled {name}") {
            bail!("{PROGRAM} says {said:?}");
        }
        Ok(())
    }

    /// All of them subscribe.
    pub(crate) fn subscribe(&mut self) -> Result<()> {
        Ok(writeln!(self.input, "subscribe")?)
    }

    /// When each node had `version` in force, on the clock that all processes share.
    pub(crate) fn enforced(&mut self, version: u64) -> Result<Vec<u64>> {
        loop {
            let line = self.line("all nodes enforce a version", ENFORCED_WITHIN)?;
            let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if told.get("version").and_then(Value::as_u64) == Some(version) {
                let times = told.get("at_ns").and_then(Value::as_array);
                let times = times.context("a line with times")?;
                return Ok(times.iter().filter_map(Value::as_u64).collect());
            }
        }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.process.family()
    }

    /// The next line that it says.
    fn line(&mut self, what: &str, limit: Duration) -> Result<String> {
        let mut line = None;
        interrupt::until(what, limit, || {
            let all = std::fs::read(&self.said).unwrap_or_default();
            let new = all.get(self.read..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', new) {
                line = new
                    .get(..end)
                    .map(|line| String::from_utf8_lossy(line).into_owned());
                self.read += end + 1;
            }
            line.is_some() || self.process.must_run().is_err()
        })?;
        if line.is_none() {
            self.process.must_run()?;
        }
        line.with_context(|| what.to_owned())
    }
}

/// What taking the rules of `file` in costs, as `adit-fleet compile` measures it: a value for each round.
pub(crate) fn compile(programs: &Path, file: &Path, rounds: u32) -> Result<Vec<Value>> {
    let said = process::run(
        Command::new(programs.join(PROGRAM))
            .arg("compile")
            .arg(file)
            .args(["--rounds", &rounds.to_string()]),
    )?;
    said.lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Its name, as it lies beside this program.
pub(crate) const PROGRAM: &str = "adit-fleet";
const ENROLLED_WITHIN: Duration = Duration::from_secs(10);
const ENFORCED_WITHIN: Duration = Duration::from_secs(60);
