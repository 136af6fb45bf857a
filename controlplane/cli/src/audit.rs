//! `adit audit`: look for records of a node, verify that they are all there, hand them on.
//!
//! Reads the files that a node writes, while it writes them too. What a record is, and what makes a chain whole, is the
//! room `audit`'s.

mod export;
mod files;
mod filter;
mod query;
mod verify;

use std::path::PathBuf;

use crate::ending::Failure;
use crate::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the records that match, the newest ones at the end
    Query(query::Args),
    /// Say whether records were changed, taken out, put in or moved, and where
    ///
    /// Of a node's audit folder, or of segments in the order of their numbers. Exit code 0: whole; 1: broken; 3: whole
    /// as far as it goes, but the end is not proven: no node writes there, and it did not end with a signed stop.
    Verify(verify::Args),
    /// Write records to a file, for other programs
    Export(export::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The node's audit folder
    dir: PathBuf,
}

pub(crate) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Query(args) => query::run(&args, output),
        Command::Verify(args) => verify::run(&args, output),
        Command::Export(args) => export::run(&args, output),
    }
}
