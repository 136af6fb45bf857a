//! What the demo's operator types: commands of this very program, shown with what they answer.
//!
//! They run in the demo's folder with a login of their own, so that a person can go on where the demo stops. What the
//! commands do is theirs.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use super::world::{SUBACCOUNT, World};
use crate::output::Output;

/// How long a command may take: what waits for agents is the longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// The operator.
#[derive(Debug)]
pub(super) struct Operator {
    program: PathBuf,
    folder: PathBuf,
    output: Output,
}

impl Operator {
    pub(super) fn new(world: &World, output: Output) -> Result<Self> {
        Ok(Self {
            program: std::env::current_exe().context("where this program is")?,
            folder: world.path(""),
            output,
        })
    }

    /// Types `adit` and `words`; the exit code must be one of `expected`. Gives back what was answered.
    pub(super) async fn types(&self, words: &[&str], expected: &[i32]) -> Result<String> {
        let line = self.shown(words);
        self.output.line(format_args!("\n$ {line}"));
        let child = Command::new(&self.program)
            .args(words)
            .current_dir(&self.folder)
            .env("ADIT_CONFIG_DIR", self.folder.join(LOGIN))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| line.clone())?;
        let Ok(ended) = timeout(ANSWER_WITHIN, child.wait_with_output()).await else {
            bail!("`{line}` did not end within {} s", ANSWER_WITHIN.as_secs());
        };
        let ended = ended.with_context(|| line.clone())?;
        let answer = String::from_utf8_lossy(&ended.stdout).into_owned();
        for told in answer.lines() {
            self.output.line(format_args!("  {told}"));
        }
        let code = ended.status.code();
        ensure!(
            code.is_some_and(|code| expected.contains(&code)),
            "`{line}` ended with {}: {}",
            ended.status,
            String::from_utf8_lossy(&ended.stderr).trim_end()
        );
        Ok(answer)
    }

    /// Puts the rules of `file` in force and waits for the agents.
    pub(super) async fn applies(&self, file: &str, message: &str) -> Result<String> {
        let words = [
            "rules",
            "apply",
            file,
            "--subaccount",
            SUBACCOUNT,
            "--message",
            message,
            "--yes",
            "--wait",
        ];
        self.types(&words, &[3]).await
    }

    fn shown(&self, words: &[&str]) -> String {
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("adit {}", quoted.join(" "))
    }
}

/// This program as it was called, which works again in the same folder whether it is installed or not.
pub(super) fn as_called() -> String {
    match std::env::args_os().next() {
        Some(word) => quoted(&word.to_string_lossy()),
        None => "adit".to_owned(),
    }
}

fn quoted(word: &str) -> String {
    if word.contains(' ') {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

/// Folder of the operator's login, in the demo's.
pub(super) const LOGIN: &str = "login";
