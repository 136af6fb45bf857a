//! What is measured: programs between client and backend, and the way through them.
//!
//! adit, its peers, and nothing at all (`direct`) look alike from here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::adit::Nodes;
use crate::link::{Link, Quality};
use crate::place::Places;
use crate::process::Process;
use crate::route::Route;

/// One tunnel, or nothing, ready to carry.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) route: Route,
    /// Ends before the folder with its files does.
    pub(crate) parts: Vec<Part>,
    /// Between its two ends, if one was asked for.
    pub(crate) link: Option<Link>,
    /// What only adit can be asked.
    pub(crate) nodes: Option<Nodes>,
    pub(crate) _folder: Option<TempDir>,
}

/// A program of a tunnel.
#[derive(Debug)]
pub(crate) struct Part {
    /// `gateway` is the end where clients come, `agent` the one that dials backends.
    pub(crate) role: &'static str,
    pub(crate) process: Process,
}

/// What every subject of a run has in common.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Where the programs of this build are.
    pub(crate) programs: PathBuf,
    pub(crate) places: Places,
    /// The backend's doors.
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) shards: usize,
    /// `auto`, `io_uring` or `epoll`, for adit.
    pub(crate) driver: String,
    pub(crate) quality: Option<Quality>,
    /// Tunnels of the one agent; 0 is what it does by itself.
    pub(crate) tunnels: usize,
    /// Which decisions adit's agent records; its own default if nothing is said.
    pub(crate) audit: Option<&'static str>,
    /// Where it sends its records as OTLP, if anywhere; goes with `audit`.
    pub(crate) sink: Option<String>,
}

impl Subject {
    /// Client and backend with nothing between them but the link.
    pub(crate) fn direct(setting: &Setting) -> Result<Self> {
        let link = setting.link(setting.http)?;
        let http = link.as_ref().map_or(setting.http, |link| link.address);
        // Over a link only HTTP is asked for.
        let tcp = link.is_none().then_some(setting.tcp);
        Ok(Self {
            name: DIRECT.to_owned(),
            route: Route::plain(http, tcp),
            parts: Vec::new(),
            link,
            nodes: None,
            _folder: None,
        })
    }

    /// All processes of the tunnel.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.parts
            .iter()
            .flat_map(|part| part.process.family())
            .collect()
    }

    pub(crate) fn pids_of(&self, role: &str) -> Vec<u32> {
        self.parts
            .iter()
            .filter(|part| part.role == role)
            .flat_map(|part| part.process.family())
            .collect()
    }

    pub(crate) fn must_run(&mut self) -> Result<()> {
        for part in &mut self.parts {
            part.process.must_run()?;
        }
        Ok(())
    }
}

impl Setting {
    /// The link to `target` that was asked for.
    pub(crate) fn link(&self, target: SocketAddr) -> Result<Option<Link>> {
        self.quality
            .map(|quality| Link::to(target, quality, &self.places))
            .transpose()
    }

    /// Where the far end of a tunnel dials: the link, or the near end itself.
    pub(crate) fn via(&self, target: SocketAddr) -> Result<(SocketAddr, Option<Link>)> {
        let link = self.link(target)?;
        Ok((link.as_ref().map_or(target, |link| link.address), link))
    }
}

/// A port nobody has now, for programs that cannot choose one themselves.
pub(crate) fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// The subject with nothing in it.
pub(crate) const DIRECT: &str = "direct";
