//! curl as a client.

use std::process::{Command, Stdio};

use crate::payload::{Digest, digest_of};

/// One run of curl.
#[derive(Debug)]
pub struct Curl(Command);

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Curl {
    /// `curl ARGS`, silent but for errors, ended after two minutes, untouched by the user's settings.
    #[must_use]
    pub fn new(args: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-sS", "--max-time", "120"])
            .args(args)
            .stdin(Stdio::null());
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        Self(command)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When curl is not installed.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let output = self
            .0
            .output()
            .expect("curl is installed; see tests/peers.sh");
        Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it with `input` on its standard input.
    ///
    /// # Panics
    /// When curl is not installed or takes no input.
    #[must_use]
    pub fn run_with(mut self, input: &[u8]) -> Outcome {
        use std::io::Write as _;
        let mut child = self
            .0
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed; see tests/peers.sh");
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        stdin.write_all(input).expect("curl reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and takes the digest of what it prints; asserts that it ended well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn digest(mut self) -> Digest {
        let mut child = self
            .0
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed; see tests/peers.sh");
        let digest = digest_of(child.stdout.take().expect("stdout was asked for"))
            .expect("a pipe can be read");
        let output = child.wait_with_output().expect("a child can be waited for");
        assert!(
            output.status.success(),
            "curl ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        digest
    }
}
