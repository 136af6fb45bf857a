//! A node's admin endpoint, asked over its unix socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// An admin socket.
#[derive(Clone, Debug)]
pub struct Admin(PathBuf);

impl Admin {
    /// The one at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// As `--node` wants it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    /// `GET path`: status and body.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        self.ask("GET", path, "")
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| io::Error::other(format!("answer {answer:?}")))?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((
            status.ok_or_else(|| io::Error::other("status line"))?,
            body.to_owned(),
        ))
    }

    /// `/status`; `None` while nobody answers.
    #[must_use]
    pub fn try_status(&self) -> Option<Value> {
        let (code, body) = self.get("/status").ok()?;
        (code == 200)
            .then(|| serde_json::from_str(&body).ok())
            .flatten()
    }

    /// `/status`.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn status(&self) -> Value {
        self.try_status()
            .unwrap_or_else(|| panic!("{} does not answer", self.address()))
    }

    /// Whether `/readyz` says yes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|(code, _)| code == 200)
    }

    /// The sum of all series of the metric `name` whose labels contain all of `labels`.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (_, page) = self.get("/metrics").expect("the admin endpoint answers");
        page.lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let (series, value) = match rest.strip_prefix('{') {
                    Some(rest) => rest.split_once("} ")?,
                    None => ("", rest.strip_prefix(' ')?),
                };
                let wanted =
                    |(key, value): &(&str, &str)| series.contains(&format!("{key}=\"{value}\""));
                labels
                    .iter()
                    .all(wanted)
                    .then(|| value.trim().parse::<f64>().ok())
                    .flatten()
            })
            .sum()
    }
}

/// The texts of all entries in a status' `failures`, newest or oldest first as the node has them.
#[must_use]
pub fn failures(status: &Value) -> String {
    status
        .get("failures")
        .map(Value::to_string)
        .unwrap_or_default()
}
