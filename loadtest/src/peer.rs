//! Peers: other tunnels doing the same work, each with the configuration in `peers/`.
//!
//! Each is two programs, the near end where clients come and the far end at the backend, with the
//! processors, keys and link that adit has.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::client::hold;
use crate::interrupt;
use crate::link::Link;
use crate::place::Seat;
use crate::process::{self, Process};
use crate::route::Route;
use crate::subject::{Part, Setting, Subject, free_port};

/// A peer there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What must be installed.
    programs: &'static [&'static str],
    start: fn(&mut Stage<'_>) -> Result<()>,
    /// Whether it carries bytes without looking at them, so that there is a TCP port too.
    opaque: bool,
}

/// All that are known.
pub(crate) const PEERS: [Peer; 7] = [
    Peer {
        name: "ssh",
        what: "OpenSSH, remote forwarding (-R)",
        programs: &["sshd", "ssh", "ssh-keygen"],
        start: ssh,
        opaque: true,
    },
    Peer {
        name: "rathole",
        what: "reverse proxy of TCP, TLS for each connection",
        programs: &["rathole", "openssl"],
        start: rathole,
        opaque: true,
    },
    Peer {
        name: "wstunnel",
        what: "TCP over WebSocket over TLS",
        programs: &["wstunnel", "openssl"],
        start: wstunnel,
        opaque: true,
    },
    Peer {
        name: "frp",
        what: "reverse proxy of TCP, yamux over TLS",
        programs: &["frps", "frpc", "openssl"],
        start: frp,
        opaque: true,
    },
    Peer {
        name: "chisel",
        what: "TCP over SSH over WebSocket over TLS",
        programs: &["chisel", "openssl"],
        start: chisel,
        opaque: true,
    },
    Peer {
        name: "haproxy",
        what: "HTTP, HTTP/2 over TLS upstream; no reverse tunnel",
        programs: &["haproxy", "openssl"],
        start: haproxy,
        opaque: false,
    },
    Peer {
        name: "nginx",
        what: "HTTP, HTTP/1.1 over TLS upstream; no reverse tunnel",
        programs: &["nginx", "openssl"],
        start: nginx,
        opaque: false,
    },
];

impl Peer {
    /// The first program that is not here.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.programs
            .iter()
            .find(|program| process::find(program, &[]).is_none())
            .copied()
    }
}

/// Starts the peer called `name` and waits until it carries.
pub(crate) fn start(name: &str, setting: &Setting) -> Result<Subject> {
    let peer = PEERS.iter().find(|peer| peer.name == name);
    let peer = peer.with_context(|| format!("{name} is no subject"))?;
    let mut stage = Stage::new(setting)?;
    (peer.start)(&mut stage)?;
    let mut subject = Subject {
        name: name.to_owned(),
        route: Route::plain(stage.http, peer.opaque.then_some(stage.tcp)),
        parts: stage.parts,
        link: stage.link,
        nodes: None,
        _folder: Some(stage.folder),
    };
    interrupt::until("it carries", PATIENCE, || {
        subject.must_run().is_err() || carries(&subject.route)
    })?;
    subject.must_run()?;
    Ok(subject)
}

/// Whether a request is answered through it, and a byte comes back.
fn carries(route: &Route) -> bool {
    let answered = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect(route.http)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(&route.get("/1k", true))?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(crate::head::read(&answer).is_some_and(|head| head.status == 200))
    };
    answered().unwrap_or(false) && (route.tcp.is_none() || hold::open(route, 1).is_ok())
}

/// A peer while it is being started.
struct Stage<'s> {
    setting: &'s Setting,
    folder: TempDir,
    /// Where clients come.
    http: SocketAddr,
    tcp: SocketAddr,
    /// Where the one end listens for the other, and where that one dials.
    tunnel: SocketAddr,
    dialled: SocketAddr,
    link: Option<Link>,
    parts: Vec<Part>,
}

impl<'s> Stage<'s> {
    fn new(setting: &'s Setting) -> Result<Self> {
        let tunnel = free_port()?;
        let (dialled, link) = setting.via(tunnel)?;
        Ok(Self {
            setting,
            folder: tempfile::Builder::new().prefix("adit-load-").tempdir()?,
            http: free_port()?,
            tcp: free_port()?,
            tunnel,
            dialled,
            link,
            parts: Vec::new(),
        })
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// Writes a configuration of `peers/` with what is known now.
    fn write(&self, name: &str, template: &str) -> Result<String> {
        let path = self.path(name);
        let root = rustix::process::geteuid().is_root();
        let values = [
            ("@DIR@", self.dir().display().to_string()),
            ("@HTTP@", self.http.port().to_string()),
            ("@TCP@", self.tcp.port().to_string()),
            ("@TUNNEL@", self.tunnel.port().to_string()),
            ("@DIALLED@", self.dialled.to_string()),
            ("@DIALLED_IP@", self.dialled.ip().to_string()),
            ("@DIALLED_PORT@", self.dialled.port().to_string()),
            ("@BACKEND@", self.setting.http.to_string()),
            ("@BACKEND_PORT@", self.setting.http.port().to_string()),
            ("@ECHO@", self.setting.tcp.to_string()),
            ("@ECHO_PORT@", self.setting.tcp.port().to_string()),
            ("@THREADS@", self.setting.shards.to_string()),
            // The folder is private, so a server started by root must not change its user.
            ("@USER@", if root { "user root;" } else { "" }.to_owned()),
        ];
        let mut text = template.to_owned();
        for (word, value) in values {
            text = text.replace(word, &value);
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A certificate for `localhost`: `cert.pem`, `key.pem`, and both in `both.pem`.
    fn certificate(&self) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl
            .current_dir(self.dir())
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"]);
        process::run(&mut openssl)?;
        let both = [
            fs::read(self.dir().join("cert.pem"))?,
            fs::read(self.dir().join("key.pem"))?,
        ];
        fs::write(self.dir().join("both.pem"), both.concat())?;
        Ok(())
    }

    fn run(&mut self, role: &'static str, program: &str, arguments: &[&str]) -> Result<()> {
        let seat = if role == "gateway" {
            Seat::Gateway
        } else {
            Seat::Agent
        };
        let mut command = Command::new(found(program)?);
        command.args(arguments).current_dir(self.dir());
        // Go's own scheduler is told what the others are told by pinning.
        command.env("GOMAXPROCS", self.setting.shards.to_string());
        let log = self.dir().join(format!("{role}.log"));
        let places = if self.setting.shards > 1 {
            self.setting.places.unpinned()
        } else {
            self.setting.places.clone()
        };
        let process = places.on(seat, || Process::start(program, &mut command, &log))??;
        self.parts.push(Part { role, process });
        Ok(())
    }

    /// Waits until the end that listens does.
    fn listens(&mut self) -> Result<()> {
        let tunnel = self.tunnel;
        let parts = &mut self.parts;
        interrupt::until("the listening end", PATIENCE, || {
            parts
                .iter_mut()
                .any(|part| part.process.must_run().is_err())
                || TcpStream::connect(tunnel).is_ok()
        })?;
        parts
            .iter_mut()
            .try_for_each(|part| part.process.must_run())
    }
}

fn found(program: &str) -> Result<PathBuf> {
    process::find(program, &[]).with_context(|| format!("{program} is not installed"))
}

fn ssh(stage: &mut Stage<'_>) -> Result<()> {
    for key in ["host_key", "user_key"] {
        let mut keygen = Command::new(found("ssh-keygen")?);
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &stage.path(key)]);
        process::run(&mut keygen)?;
    }
    if rustix::process::geteuid().is_root() {
        // Where an sshd of root leaves its privileges; the package makes it at boot only.
        fs::create_dir_all("/run/sshd")?;
    }
    let config = stage.write("sshd_config", include_str!("../peers/sshd_config"))?;
    stage.run("gateway", "sshd", &["-D", "-e", "-f", &config])?;
    stage.listens()?;
    let user = process::run(Command::new("id").arg("-un"))?;
    let forward = |near: SocketAddr, backend: SocketAddr| format!("{near}:{backend}");
    let http = forward(stage.http, stage.setting.http);
    let tcp = forward(stage.tcp, stage.setting.tcp);
    let port = stage.dialled.port().to_string();
    let key = stage.path("user_key");
    let destination = format!("{}@127.0.0.1", user.trim());
    let arguments = [
        "-N",
        "-F",
        "none",
        "-p",
        &port,
        "-i",
        &key,
        "-R",
        &http,
        "-R",
        &tcp,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "ExitOnForwardFailure=yes",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "BatchMode=yes",
        // Else it would never notice a silent wire.
        "-o",
        "ServerAliveInterval=3",
        "-o",
        "ServerAliveCountMax=3",
        &destination,
    ];
    stage.run("agent", "ssh", &arguments)
}

fn rathole(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let mut openssl = Command::new("openssl");
    openssl
        .current_dir(stage.dir())
        .args([
            "pkcs12",
            "-export",
            "-in",
            "cert.pem",
            "-inkey",
            "key.pem",
            "-out",
            "identity.pfx",
        ])
        // rathole reads the old algorithms only.
        .args([
            "-certpbe",
            "PBE-SHA1-3DES",
            "-keypbe",
            "PBE-SHA1-3DES",
            "-macalg",
            "sha1",
        ])
        .args(["-passout", "pass:loadtest"]);
    process::run(&mut openssl)?;
    let server = stage.write("server.toml", include_str!("../peers/rathole-server.toml"))?;
    let client = stage.write("client.toml", include_str!("../peers/rathole-client.toml"))?;
    stage.run("gateway", "rathole", &["--server", &server])?;
    stage.listens()?;
    stage.run("agent", "rathole", &["--client", &client])
}

fn wstunnel(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let (cert, key) = (stage.path("cert.pem"), stage.path("key.pem"));
    let server = format!("wss://{}", stage.tunnel);
    let arguments = [
        "server",
        "--tls-certificate",
        &cert,
        "--tls-private-key",
        &key,
        &server,
    ];
    stage.run("gateway", "wstunnel", &arguments)?;
    stage.listens()?;
    let http = format!("tcp://{}:{}", stage.http, stage.setting.http);
    let tcp = format!("tcp://{}:{}", stage.tcp, stage.setting.tcp);
    let server = format!("wss://{}", stage.dialled);
    stage.run(
        "agent",
        "wstunnel",
        &["client", "-R", &http, "-R", &tcp, &server],
    )
}

fn frp(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let server = stage.write("frps.toml", include_str!("../peers/frps.toml"))?;
    let client = stage.write("frpc.toml", include_str!("../peers/frpc.toml"))?;
    stage.run("gateway", "frps", &["-c", &server])?;
    stage.listens()?;
    stage.run("agent", "frpc", &["-c", &client])
}

fn chisel(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let (cert, key) = (stage.path("cert.pem"), stage.path("key.pem"));
    let port = stage.tunnel.port().to_string();
    let server = [
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--reverse",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    stage.run("gateway", "chisel", &server)?;
    stage.listens()?;
    let url = format!("https://{}", stage.dialled);
    let http = format!("R:{}:{}", stage.http, stage.setting.http);
    let tcp = format!("R:{}:{}", stage.tcp, stage.setting.tcp);
    let client = ["client", "--tls-ca", &cert, &url, &http, &tcp];
    stage.run("agent", "chisel", &client)
}

fn haproxy(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let agent = stage.write("agent.cfg", include_str!("../peers/haproxy-agent.cfg"))?;
    let gateway = stage.write("gateway.cfg", include_str!("../peers/haproxy-gateway.cfg"))?;
    stage.run("agent", "haproxy", &["-db", "-f", &agent])?;
    stage.listens()?;
    stage.run("gateway", "haproxy", &["-db", "-f", &gateway])
}

fn nginx(stage: &mut Stage<'_>) -> Result<()> {
    stage.certificate()?;
    let agent = stage.write("agent.conf", include_str!("../peers/nginx-agent.conf"))?;
    let gateway = stage.write("gateway.conf", include_str!("../peers/nginx-gateway.conf"))?;
    stage.run("agent", "nginx", &["-c", &agent])?;
    stage.listens()?;
    stage.run("gateway", "nginx", &["-c", &gateway])
}

const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let setting = Setting {
            programs: PathBuf::new(),
            places: crate::place::Places::new(false).unwrap(),
            http: "127.0.0.1:1001".parse().unwrap(),
            tcp: "127.0.0.1:1002".parse().unwrap(),
            shards: 1,
            driver: "auto".to_owned(),
            quality: None,
            tunnels: 0,
            audit: None,
            sink: None,
        };
        let stage = Stage::new(&setting).unwrap();
        let templates = [
            include_str!("../peers/sshd_config"),
            include_str!("../peers/haproxy-gateway.cfg"),
            include_str!("../peers/haproxy-agent.cfg"),
            include_str!("../peers/nginx-gateway.conf"),
            include_str!("../peers/nginx-agent.conf"),
            include_str!("../peers/rathole-server.toml"),
            include_str!("../peers/rathole-client.toml"),
            include_str!("../peers/frps.toml"),
            include_str!("../peers/frpc.toml"),
        ];
        for template in templates {
            let path = stage.write("filled", template).unwrap();
            let text = fs::read_to_string(path).unwrap();
            let left: Vec<&str> = text
                .split_whitespace()
                .filter(|word| {
                    word.starts_with('@') || word.contains("@:") || word.matches('@').count() > 1
                })
                .collect();
            assert!(left.is_empty(), "{left:?}");
            assert!(
                template.starts_with("# "),
                "a configuration says what it is"
            );
        }
    }

    #[test]
    fn what_is_not_installed_is_named() {
        let peer = Peer {
            programs: &["sh", "no-such-program-anywhere"],
            ..PEERS[0]
        };
        assert_eq!(peer.missing(), Some("no-such-program-anywhere"));
    }
}
