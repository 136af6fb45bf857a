//! `adit backup`: a sealed copy of the control plane, and one put in place of it.
//!
//! Sealing, checking and the one step are the server's. The password comes from a file or the terminal, never from the
//! command line.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::ending::Failure;
use crate::output::Output;
use crate::plane::{Call, Connect, prompt};
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write a backup of everything: rules and their versions, people, nodes, acts, the certificate authority
    ///
    /// Whoever has the file and its password has the control plane: keep them apart.
    Create {
        /// The file, written with mode 0600; never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// A file with the backup's password (12 bytes or more), or - for standard input; without it the terminal asks
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Put a backup in place of everything, in one step
    ///
    /// It is checked first. All servers begin anew with it, nodes come back by themselves and get their rules as new
    /// versions; nodes that were enrolled after the backup are invited anew.
    Restore {
        /// The backup
        file: PathBuf,
        /// A file with the backup's password, or - for standard input; without it the terminal asks
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        connect: Connect,
    },
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Create {
            out,
            password_file,
            connect,
        } => {
            let plane = connect.open()?;
            let password = prompt::password(password_file.as_ref(), "the backup", true).await?;
            // Before there is a backup: the act of making one is recorded whatever becomes of it.
            let file = safe_file::begin(&out, Readers::Owner)?;
            let call = Call::post("/api/v1/backup").json(&json!({"password": password}))?;
            let answer = plane.ask(call).await?;
            file.finish(answer.bytes())?;
            let bytes = answer.bytes().len();
            output.result(
                format_args!("{}: {bytes} bytes, sealed with the password", out.display()),
                &json!({"file": out, "bytes": bytes}),
            );
            Ok(())
        }
        Command::Restore {
            file,
            password_file,
            yes,
            connect,
        } => {
            let place = file.display();
            let sealed = std::fs::read(&file)
                .map_err(|error| Failure::config(format!("{place}: {error}")))?;
            let plane = connect.open()?;
            let password = prompt::password(password_file.as_ref(), "the backup", false).await?;
            if !yes {
                prompt::confirm(&format!(
                    "put {place} in place of everything at the control plane?"
                ))?;
            }
            let call = Call::post("/api/v1/restore")
                .secret("adit-backup-password", STANDARD.encode(password))
                .body("application/octet-stream", sealed);
            plane.ask(call).await?;
            output.result(
                format_args!("{place} is in force; `adit nodes list` shows who is back"),
                &json!({"file": file, "restored": true}),
            );
            Ok(())
        }
    }
}
