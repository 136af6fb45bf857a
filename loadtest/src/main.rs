//! The program `adit-loadtest`: measures adit from outside, beside nothing and beside its peers.
//!
//! Reads the command line and runs one command. A black box: it starts the real programs and speaks
//! to their doors, and shares no code with them.

#![forbid(unsafe_code)]

mod adit;
mod args;
mod backend;
mod bench;
mod case;
mod client;
mod content;
mod figure;
mod fleet;
mod goal;
mod head;
mod interrupt;
mod link;
mod marked;
mod measure;
mod peer;
mod place;
mod plane;
mod poll;
mod process;
mod procfs;
mod record;
mod report;
mod rest;
mod route;
mod run;
mod scenario;
mod slots;
mod subject;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    match main_with(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn main_with(cli: Cli) -> Result<()> {
    match cli.command {
        Command::List => {
            report::list();
            Ok(())
        }
        Command::Run(args) => run::run(&args, false),
        Command::Compare(args) => run::run(&args, true),
        Command::Report(args) => run::report(&args),
        Command::Backend(args) => run::backend(&args),
    }
}
