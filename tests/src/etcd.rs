//! etcd as the memory of a control plane.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// A running etcd, fresh, and gone with its test.
#[derive(Debug)]
pub struct Etcd {
    address: SocketAddr,
    peers: SocketAddr,
    /// Its name, and the whole cluster as its command line has it.
    member: (String, String),
    scheme: &'static str,
    options: Vec<String>,
    process: Process,
    scratch: Scratch,
}

impl Etcd {
    /// Starts one without TLS.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// Starts one that shows the certificate and wants one of the same authority.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_tls(certificate: &Path, key: &Path, authority: &Path) -> Self {
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        Self::start_with(
            "https",
            &[
                option("cert-file", certificate),
                option("key-file", key),
                option("trusted-ca-file", authority),
                "--client-cert-auth".to_owned(),
            ],
        )
    }

    /// Starts one with further options of its command line.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_with(scheme: &'static str, options: &[String]) -> Self {
        for _ in 0..5 {
            let scratch = Scratch::new();
            let (address, peers) = (net::free_address(), net::free_address());
            let member = ("one".to_owned(), format!("one=http://{peers}"));
            let process = launch(&scratch, scheme, address, peers, &member, options);
            let mut etcd = Self {
                address,
                peers,
                member,
                scheme,
                options: options.to_vec(),
                process,
                scratch,
            };
            if etcd.comes_up() {
                return etcd;
            }
        }
        panic!("etcd does not start five times in a row");
    }

    /// Starts a cluster of three.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn cluster() -> Vec<Self> {
        for _ in 0..5 {
            let peers = [(); 3].map(|()| net::free_address());
            let cluster: Vec<String> = (0..).zip(peers).map(named).collect();
            let cluster = cluster.join(",");
            let mut members = Vec::new();
            for (number, peers) in peers.into_iter().enumerate() {
                let scratch = Scratch::new();
                let address = net::free_address();
                let member = (format!("m{number}"), cluster.clone());
                let process = launch(&scratch, "http", address, peers, &member, &[]);
                members.push(Self {
                    address,
                    peers,
                    member,
                    scheme: "http",
                    options: Vec::new(),
                    process,
                    scratch,
                });
            }
            if members.iter_mut().all(Self::comes_up) {
                return members;
            }
        }
        panic!("a cluster of etcd does not start five times in a row");
    }

    /// Its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Ends it by SIGKILL; its data stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its data.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        let options = self.options.clone();
        self.process = launch(
            &self.scratch,
            self.scheme,
            self.address,
            self.peers,
            &self.member,
            &options,
        );
        assert!(
            self.comes_up(),
            "etcd does not come back:\n{}",
            self.process.log()
        );
    }

    fn comes_up(&mut self) -> bool {
        // The line that all versions write when clients are served.
        let ready = "erving ";
        let process = &mut self.process;
        let address = self.address;
        until("etcd answers or ends", Duration::from_secs(20), || {
            process.ended().is_some()
                || (process.log().contains(ready) && net::connect(address).is_ok())
        });
        self.process.ended().is_none()
    }
}

fn named((number, peers): (usize, SocketAddr)) -> String {
    format!("m{number}=http://{peers}")
}

fn launch(
    scratch: &Scratch,
    scheme: &str,
    address: SocketAddr,
    peers: SocketAddr,
    (name, cluster): &(String, String),
    options: &[String],
) -> Process {
    let clients = format!("{scheme}://{address}");
    let peers = format!("http://{peers}");
    let mut command = Command::new("etcd");
    command
        .args(["--name", name, "--data-dir", "data"])
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", cluster])
        .args(options)
        .current_dir(scratch.dir());
    Process::start("etcd", &mut command, &scratch.path("etcd.log"))
}
