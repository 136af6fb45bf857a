//! Completion scripts and man pages, from the declaration in `args`.
//!
//! What the commands are and say about themselves is left to that declaration.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::args::Cli;
use crate::ending::Failure;
use crate::output::Output;

/// Prints the completion script of `shell`.
pub(crate) fn completions(shell: Shell, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "adit", &mut script);
    output.raw(&script);
    Ok(())
}

/// Writes one man page for each command into `dir`.
pub(crate) fn pages(dir: &Path, output: Output) -> Result<(), Failure> {
    let place = || dir.display().to_string();
    std::fs::create_dir_all(dir).with_context(place)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(place)?;
    let mut pages: Vec<String> = std::fs::read_dir(dir)
        .with_context(place)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("adit") && name.ends_with(".1"))
        .collect();
    pages.sort();
    output.result(
        format_args!("{} man pages are in {}", pages.len(), dir.display()),
        &json!({"dir": dir, "pages": pages}),
    );
    Ok(())
}
