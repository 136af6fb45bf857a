//! A program the harness started: its log, and its certain end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::procfs;

/// A running program. It is killed by its own id when dropped, and so is all that came from it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`. Its standard input ends with the harness.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("{}", log.display()))?;
        let second = file.try_clone()?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(second)
            .spawn()
            .with_context(|| format!("{name}: {}", command.get_program().display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its standard input, once; otherwise that ends with the harness.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its id and those of all that came from it.
    pub(crate) fn family(&self) -> Vec<u32> {
        procfs::family(self.child.id())
    }

    /// # Errors
    /// When it has ended, with the end of its log.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines
                .get(lines.len().saturating_sub(LOG_LINES)..)
                .unwrap_or_default();
            bail!("{} ended: {status}\n{}", self.name, last.join("\n"));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was waited for its id may be somebody else's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // A master that sees its workers die starts others, so it is stopped first.
        signal(self.child.id(), Signal::STOP);
        for pid in self.family().into_iter().rev() {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // An error says that it is gone already.
        let _ = kill_process(pid, signal);
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it fails, with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is: in `PATH`, or where Debian keeps servers, or among the extra folders.
pub(crate) fn find(name: &str, extra: &[&Path]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).collect::<Vec<_>>();
    extra
        .iter()
        .map(|folder| folder.to_path_buf())
        .chain(folders)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

const LOG_LINES: usize = 20;
