//! The bench: backend, subjects that stand ready, and how long things are measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::interrupt;
use crate::link::Quality;
use crate::place::Seat;
use crate::process::Process;
use crate::subject::{DIRECT, Setting, Subject};
use crate::{adit, peer};

/// Everything a scenario needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) setting: Setting,
    pub(crate) client_threads: usize,
    /// Length of a measurement.
    pub(crate) time: Duration,
    pub(crate) quick: bool,
    /// Length of the steady load of scenario `push`.
    pub(crate) push_time: Duration,
    standing: BTreeMap<String, Subject>,
    backend: Process,
    /// Descriptors a process may have.
    pub(crate) descriptors: u64,
    _folder: TempDir,
}

impl Bench {
    /// Starts the backend as a process of its own. The doors in `setting` become the backend's.
    pub(crate) fn new(mut setting: Setting, threads: usize) -> Result<Self> {
        let descriptors = raise_descriptors()?;
        let folder = tempfile::Builder::new().prefix("adit-load-").tempdir()?;
        let doors = folder.path().join("doors");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("backend")
            .arg("--threads")
            .arg(threads.to_string())
            .arg("--doors")
            .arg(&doors);
        let log = folder.path().join("backend.log");
        let places = &setting.places;
        let mut backend = places.on(Seat::Backend, || {
            Process::start("backend", &mut command, &log)
        })??;
        let mut found = None;
        interrupt::until("the backend is there", Duration::from_secs(10), || {
            found = read_doors(&doors);
            found.is_some() || backend.must_run().is_err()
        })?;
        backend.must_run()?;
        (setting.http, setting.tcp) = found.context("the backend's doors")?;
        Ok(Self {
            setting,
            client_threads: threads,
            time: Duration::from_secs(3),
            quick: false,
            push_time: Duration::from_secs(60),
            standing: BTreeMap::new(),
            backend,
            descriptors,
            _folder: folder,
        })
    }

    pub(crate) fn backend_pids(&self) -> Vec<u32> {
        self.backend.family()
    }

    /// How long a load runs before it counts.
    pub(crate) fn warm(&self) -> Duration {
        if self.quick {
            Duration::from_millis(300)
        } else {
            Duration::from_millis(700)
        }
    }

    /// Takes the subject that stands ready, or starts it. Give it back with [`Self::stand`].
    pub(crate) fn take(&mut self, name: &str) -> Result<Subject> {
        match self.standing.remove(name) {
            Some(mut subject) => {
                subject.must_run()?;
                Ok(subject)
            }
            None => self.fresh(name, |_| {}),
        }
    }

    /// A subject that carries stays for the next measurement; idle it costs nothing.
    pub(crate) fn stand(&mut self, subject: Subject) {
        self.standing.insert(subject.name.clone(), subject);
    }

    /// Starts a subject of its own with another setting.
    pub(crate) fn fresh(&self, name: &str, change: impl FnOnce(&mut Setting)) -> Result<Subject> {
        let mut setting = self.setting.clone();
        change(&mut setting);
        match name {
            DIRECT => Subject::direct(&setting),
            adit::NAME => adit::start(&setting),
            name => peer::start(name, &setting),
        }
        .with_context(|| format!("{name} does not start"))
    }

    /// The same with a link between its ends.
    pub(crate) fn over_link(&self, name: &str, quality: Quality) -> Result<Subject> {
        self.fresh(name, |setting| setting.quality = Some(quality))
    }
}

/// Raises the soft limit to the hard one, for itself and what it starts.
fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1_000_000).min(1_000_000);
    let wanted = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        bail!("the limit of descriptors cannot be raised to {most}: {error}");
    }
    Ok(most)
}

fn read_doors(file: &Path) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
    let text = std::fs::read_to_string(file).ok()?;
    let (http, tcp) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((http.parse().ok()?, tcp.parse().ok()?))
}
