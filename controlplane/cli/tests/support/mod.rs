//! Runs the program as a person would, and plays the node it talks to.

#![allow(
    dead_code,
    reason = "each test file uses the part of the support that it needs"
)]

pub(crate) mod plane;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

/// Rules with one system of each kind.
pub(crate) const RULES: &str = r#"
[[system]]
name = "erp"
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3:8000"

[[system.resource]]
path = "/orders"
scope = "subtree"
methods = ["GET"]

[[system.resource]]
path = "/chat"
upgrade = true

[[system]]
virtual = "db.virtual:5432"
protocol = "tcp"
internal = "10.1.2.4:5432"
"#;

/// A folder, and `adit` run in it.
pub(crate) struct Desk {
    dir: TempDir,
}

/// How a run of `adit` ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("adit prints JSON when it is asked to")
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("adit prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("adit prints UTF-8"),
        }
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the test");
        std::fs::write(dir.path().join("rules.toml"), RULES).expect("rules for the test");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file for the test");
        path
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.current_dir(self.dir.path()).env_remove("ADITD");
        command
    }

    pub(crate) fn adit(&self, args: &[&str]) -> Run {
        self.command()
            .args(args)
            .output()
            .expect("adit was built")
            .into()
    }
}

/// A node that answers one request on a unix socket.
pub(crate) struct Node {
    pub(crate) address: String,
    thread: JoinHandle<Asked>,
}

/// What the node was asked.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Node {
    pub(crate) fn answering(socket: &Path, status: &str, body: &str) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket for the test");
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("adit connects");
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("adit sends a head");
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length is a number");
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("adit sends a body");
            reader
                .get_mut()
                .write_all(answer.as_bytes())
                .expect("adit takes the answer");
            Asked {
                head,
                body: String::from_utf8(body).expect("adit sends UTF-8"),
            }
        });
        Self {
            address: format!("unix:{}", socket.display()),
            thread,
        }
    }

    pub(crate) fn asked(self) -> Asked {
        self.thread.join().expect("the node was asked properly")
    }
}
