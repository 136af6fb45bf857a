//! nginx as a backend: files to fetch, a folder to upload into.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::payload::{self, Digest, Noise};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// A running nginx with a folder of its own.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    _process: Process,
    scratch: Scratch,
}

impl Nginx {
    /// Starts one. `/1k` and `/1m` are there; `PUT /upload/...` writes a file.
    #[must_use]
    pub fn start() -> Self {
        Self::configured("", "")
    }

    /// Starts one whose `server` block has `more` lines, and behind which stand `servers`.
    ///
    /// # Panics
    /// When nginx does not come up.
    #[must_use]
    pub fn configured(more: &str, servers: &str) -> Self {
        let scratch = Scratch::new();
        for folder in ["www", "www/upload", "tmp"] {
            std::fs::create_dir(scratch.path(folder)).expect("a folder of the test can be made");
        }
        // The port is free now and may be taken in a moment: then another is tried.
        for _ in 0..5 {
            let address = net::free_address();
            scratch.write("nginx.conf", config(&scratch, address, more, servers));
            let mut command = Command::new("nginx");
            command
                .arg("-p")
                .arg(scratch.dir())
                .arg("-c")
                .arg(scratch.path("nginx.conf"))
                .env("PATH", with_sbin());
            let mut process = Process::start("nginx", &mut command, &scratch.path("nginx.log"));
            until("nginx answers or ends", Duration::from_secs(10), || {
                process.ended().is_some() || net::connect(address).is_ok()
            });
            if process.ended().is_none() {
                let nginx = Self {
                    address,
                    _process: process,
                    scratch,
                };
                nginx.file("1k", 1 << 10);
                nginx.file("1m", 1 << 20);
                return nginx;
            }
        }
        panic!("nginx does not start:\n{}", scratch.read("nginx.log"));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a file of noise to be fetched as `/name`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, len: u64) -> Digest {
        let path = self.path(name);
        let mut file =
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let seed = name.bytes().fold(len, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        Noise::new(seed)
            .write(len, &mut file)
            .expect("the disk has room for the test's files")
    }

    /// Where `/name` lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path("www").join(name)
    }

    /// What is in `/name`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn digest(&self, name: &str) -> Digest {
        let path = self.path(name);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        payload::digest_of(BufReader::new(file)).expect("a file can be read")
    }

    /// The requests it has answered, one line each: status, request line, bytes.
    #[must_use]
    pub fn access_log(&self) -> Vec<String> {
        self.scratch
            .read("access.log")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn config(scratch: &Scratch, address: SocketAddr, more: &str, servers: &str) -> String {
    let dir = scratch.dir().display();
    let mut temps = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(temps, "    {kind}_temp_path {dir}/tmp/{kind};");
    }
    format!(
        r#"daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    types {{ }}
    default_type application/octet-stream;
    log_format short '$status "$request" $body_bytes_sent';
    access_log {dir}/access.log short;
    keepalive_requests 1000000;
{temps}
    server {{
        listen {address} backlog=2048;
        root {dir}/www;
        client_max_body_size 0;
        sendfile on;
        location /upload/ {{
            dav_methods PUT DELETE;
        }}
{more}
    }}
{servers}
}}
"#
    )
}

// Debian keeps nginx in /usr/sbin, which is not in everybody's path.
pub(crate) fn with_sbin() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    if Path::new("/usr/sbin").is_dir() {
        format!("{path}:/usr/sbin")
    } else {
        path
    }
}
