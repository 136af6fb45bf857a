//! The program `adit`: rules, node status, certificates, development tokens and the demo.
//!
//! Reads the command line, runs one command and turns its end into an exit code. What a command
//! does is left to the file of its noun.

#![forbid(unsafe_code)]

mod args;
mod ending;
mod manual;
mod node;
mod output;
mod private_key;
mod safe_file;

mod audit;
mod demo;
mod pki;
mod rules;
mod serve;
mod status;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::ending::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command, Output::new(cli.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}

fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Rules(command) => in_runtime(rules::run(command, output)),
        Command::Serve(args) => serve::run(args, output),
        Command::Audit(command) => audit::run(command, output),
        Command::Status(args) => in_runtime(status::run(args, output)),
        Command::Pki(command) => pki::run(command, output),
        Command::Token(command) => token::run(command, output),
        Command::Demo(args) => in_runtime(demo::run(args, output)),
        Command::Completions { shell } => manual::completions(shell, output),
        Command::Man { dir } => manual::pages(&dir, output),
    }
}

/// One thread is plenty: a command waits for one thing at a time, and the demo's backends are small.
fn in_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime did not start: {error}")))?
        .block_on(command)
}
