//! HAProxy as a second reader of HTTP: what it understood stands in its log, whoever answers behind it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::nginx::with_sbin;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// A running HAProxy in front of one server.
#[derive(Debug)]
pub struct Haproxy {
    address: SocketAddr,
    _process: Process,
    scratch: Scratch,
}

impl Haproxy {
    /// Starts one in front of `server`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let scratch = Scratch::new();
        // The port is free now and may be taken in a moment: then another is tried.
        for _ in 0..5 {
            let address = net::free_address();
            let config = scratch.write("haproxy.cfg", config(address, server));
            let mut command = Command::new("haproxy");
            command
                .args(["-db", "-f"])
                .arg(config)
                .env("PATH", with_sbin());
            let log = scratch.path("haproxy.log");
            let mut process = Process::start("haproxy", &mut command, &log);
            until("haproxy answers or ends", Duration::from_secs(10), || {
                process.ended().is_some() || net::connect(address).is_ok()
            });
            if process.ended().is_none() {
                return Self {
                    address,
                    _process: process,
                    scratch,
                };
            }
        }
        panic!("haproxy does not start:\n{}", scratch.read("haproxy.log"));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests it has read, one line each, in nginx's form: status, request line, bytes.
    #[must_use]
    pub fn access_log(&self) -> Vec<String> {
        let log = self.scratch.read("haproxy.log");
        // Its own notices stand there too.
        log.lines()
            .filter(|line| line.contains(" \"") && !line.contains("<BADREQ>"))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    }
}

fn config(address: SocketAddr, server: SocketAddr) -> String {
    format!(
        r#"global
    log stdout format raw local0
    nbthread 1
defaults
    mode http
    log global
    log-format "%ST %{{+Q}}r %B"
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend door
    bind {address}
    default_backend server
backend server
    server one {server}
"#
    )
}
