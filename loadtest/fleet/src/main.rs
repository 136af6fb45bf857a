//! The program `adit-fleet`: what `adit-loadtest` measures a control plane with.
//!
//! Many agents in one process, each with the real subscription and the real judge and without shards, tunnels and disk;
//! and what taking a rule set in costs, by itself. The harness starts it and speaks to it by its standard input and
//! output; it shares no code with the harness.

#![forbid(unsafe_code)]

mod compile;
mod fleet;
mod node;
mod ticks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about = "Simulated nodes for adit-loadtest")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrols agents and keeps them subscribed until standard input ends
    Nodes(NodesArgs),
    /// Takes a rule set in as an agent does, and says what that costs
    Compile(CompileArgs),
}

#[derive(Debug, Args)]
struct NodesArgs {
    /// The control plane, as https://host:port
    #[arg(long)]
    url: String,
    /// Where the identities are kept
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct CompileArgs {
    /// The rule set
    file: PathBuf,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

fn main() -> ExitCode {
    match main_with(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn main_with(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Nodes(args) => fleet::run(&args.url, &args.folder),
        Command::Compile(args) => compile::run(&args.file, args.rounds),
    }
}

/// Writes one line for the harness, at once.
fn tell(line: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
