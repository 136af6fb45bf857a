//! The program `adit`: rules, nodes, people, the control plane, certificates, development tokens and the demo.
//!
//! Reads the command line, runs one command and turns its end into an exit code. What a command
//! does is left to the file of its noun.

#![forbid(unsafe_code)]

mod args;
mod ending;
mod manual;
mod node;
mod output;
mod plane;
mod private_key;
mod safe_file;

mod acts;
mod audit;
mod authority;
mod backup;
mod demo;
mod explain;
mod login;
mod nodes;
mod pki;
mod rules;
mod serve;
mod status;
mod token;
mod tokens;
mod users;

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
        Command::Login(args) => in_runtime(login::run(args, output)),
        Command::Logout => in_runtime(login::out(output)),
        Command::Whoami { connect } => in_runtime(login::whoami(connect, output)),
        Command::Users(command) => in_runtime(users::run(command, output)),
        Command::Tokens(command) => in_runtime(tokens::run(command, output)),
        Command::Nodes(command) => in_runtime(nodes::run(command, output)),
        Command::Explain(args) => in_runtime(explain::run(args, output)),
        Command::Why(args) => in_runtime(explain::why(args, output)),
        Command::Authority(command) => in_runtime(authority::run(command, output)),
        Command::Backup(command) => in_runtime(backup::run(command, output)),
        Command::Acts(command) => in_runtime(acts::run(command, output)),
        Command::Plane(command) => in_runtime(authority::status(command, output)),
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
