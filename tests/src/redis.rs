//! redis-server as a TCP backend.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// A running redis that keeps nothing.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl Redis {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let scratch = Scratch::new();
        for _ in 0..5 {
            let address = net::free_address();
            let mut command = Command::new("redis-server");
            command
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--port",
                ])
                .arg(address.port().to_string())
                .current_dir(scratch.dir());
            let mut process =
                Process::start("redis-server", &mut command, &scratch.path("redis.log"));
            until("redis answers or ends", Duration::from_secs(10), || {
                process.ended().is_some() || net::connect(address).is_ok()
            });
            if process.ended().is_none() {
                return Self {
                    address,
                    _process: process,
                    _scratch: scratch,
                };
            }
        }
        panic!("redis does not start:\n{}", scratch.read("redis.log"));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
