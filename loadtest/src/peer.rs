//! Peers: other tunnels doing the same work, each configured fairly.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::process;
use crate::subject::{Setting, Subject};

/// A peer there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What must be installed.
    programs: &'static [&'static str],
    start: fn(&Setting) -> Result<Subject>,
}

/// All that are known.
pub(crate) const PEERS: [Peer; 0] = [];

impl Peer {
    /// The first program that is not here.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.programs
            .iter()
            .find(|program| find(program).is_none())
            .copied()
    }
}

/// Starts the peer called `name`.
pub(crate) fn start(name: &str, setting: &Setting) -> Result<Subject> {
    let peer = PEERS.iter().find(|peer| peer.name == name);
    (peer.with_context(|| format!("{name} is no subject"))?.start)(setting)
}

/// Where a peer's program is.
fn find(name: &str) -> Option<PathBuf> {
    process::find(name, &[])
}
