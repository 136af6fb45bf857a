//! `openssl` as an HTTPS and TLS backend, with an authority of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// An authority made by openssl, and certificates it signed.
#[derive(Debug)]
pub struct Authority {
    scratch: Scratch,
}

/// A running `openssl s_server`.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _process: Process,
    scratch: Scratch,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn new() -> Self {
        let scratch = Scratch::new();
        openssl(
            &scratch,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 \
             -subj /CN=test-authority -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
        );
        Self { scratch }
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.scratch.path("ca.pem")
    }

    /// Issues `name.pem` and `name.key` for the subject alternative name `san` (`IP:127.0.0.1`, `DNS:x`).
    #[must_use]
    pub fn issue(&self, name: &str, san: &str) -> (PathBuf, PathBuf) {
        self.scratch.write(
            &format!("{name}.ext"),
            format!(
                "subjectAltName={san}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
            ),
        );
        openssl(
            &self.scratch,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            &self.scratch,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
            ),
        );
        (
            self.scratch.path(&format!("{name}.pem")),
            self.scratch.path(&format!("{name}.key")),
        )
    }

    /// Issues `name.pem` and `name.key` (mode 0600) to a client whose common name is `name`, from `from` to `to`, both as
    /// `YYYYMMDDHHMMSSZ`; `extensions` are lines of an extension file.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn issue_client(
        &self,
        name: &str,
        extensions: &str,
        [from, to]: [&str; 2],
    ) -> (PathBuf, PathBuf) {
        let lines = format!("basicConstraints=CA:FALSE\n{extensions}\n");
        self.scratch.write(&format!("{name}.ext"), lines);
        // `openssl x509` of version 3.0 cannot be told the first second.
        self.scratch.write("ca.cnf", CA_SETTINGS);
        self.scratch.write("index.txt", "");
        for command in [
            format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
            format!(
                "ca -batch -notext -config ca.cnf -in {name}.csr -out {name}.pem -startdate {from} -enddate {to} \
                 -extfile {name}.ext"
            ),
        ] {
            openssl(&self.scratch, &command);
        }
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let key = self.scratch.path(&key);
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("one's own file");
        (self.scratch.path(&certificate), key)
    }

    /// Starts `openssl s_server` for 127.0.0.1 with `more` arguments. With `-WWW` it serves the files
    /// written with [`Server::file`], with `-rev` it sends back each line reversed.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn serve(&self, more: &[&str]) -> Server {
        let (certificate, key) = self.issue("server", "IP:127.0.0.1");
        let scratch = Scratch::new();
        for _ in 0..5 {
            let address = net::free_address();
            let mut command = Command::new("openssl");
            command
                .args(["s_server", "-quiet", "-accept"])
                .arg(address.to_string())
                .arg("-cert")
                .arg(&certificate)
                .arg("-key")
                .arg(&key)
                .args(more)
                .current_dir(scratch.dir());
            let mut process = Process::start(
                "openssl s_server",
                &mut command,
                &scratch.path("openssl.log"),
            );
            until(
                "openssl s_server listens or ends",
                Duration::from_secs(10),
                || process.ended().is_some() || listens(address),
            );
            if process.ended().is_none() {
                return Server {
                    address,
                    _process: process,
                    scratch,
                };
            }
        }
        panic!(
            "openssl s_server does not start:\n{}",
            scratch.read("openssl.log")
        );
    }
}

const CA_SETTINGS: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\ncertificate=ca.pem\n\
    private_key=ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\nrand_serial=yes\n[p]\ncommonName=supplied\n";

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes a file that `-WWW` serves as `/name`.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        self.scratch.write(name, content);
    }
}

// It serves one connection at a time, and a connection of ours would be that one.
fn listens(address: SocketAddr) -> bool {
    let port = format!(":{:04X}", address.port());
    std::fs::read_to_string("/proc/net/tcp")
        .unwrap_or_default()
        .lines()
        .any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let (local, state) = (columns.next().unwrap_or_default(), columns.nth(1));
            local.ends_with(&port) && state == Some("0A")
        })
}

fn openssl(scratch: &Scratch, args: &str) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(scratch.dir())
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "openssl {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
