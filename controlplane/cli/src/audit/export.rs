//! `adit audit export`: records as JSON lines or CSV.

use std::fs::Permissions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Folder;
use super::filter::{self, COLUMNS, Filter};
use crate::ending::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    filter: Filter,
    /// jsonl: lines as the node wrote them; csv: a table, safe to open in a spreadsheet
    #[arg(long, value_enum)]
    format: Format,
    /// Where they are written; an older file there is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Lines as the node wrote them
    Jsonl,
    /// A table, RFC 4180
    Csv,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let (written, unread) = write(args)?;
    output.result(
        format_args!("{written} records written to {}", args.out.display()),
        &json!({"records": written, "unreadable": unread, "file": args.out.display().to_string()}),
    );
    if unread > 0 {
        return Err(Failure::failed(format_args!(
            "{unread} lines could not be read and are not in it; `adit audit verify` says where"
        )));
    }
    Ok(())
}

// Whoever reads `out` meanwhile sees the old file or the whole new one.
fn write(args: &Args) -> Result<(u64, u64)> {
    let place = || args.out.display().to_string();
    let folder = match args.out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".adit-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .with_context(place)?;
    let mut written = 0;
    let unread = {
        let mut out = BufWriter::new(file.as_file_mut());
        if matches!(args.format, Format::Csv) {
            out.write_all(csv_row(&COLUMNS.map(str::to_owned)).as_bytes())
                .with_context(place)?;
        }
        let unread = args.filter.walk(&args.folder.dir, |line, numbered| {
            written += 1;
            match args.format {
                Format::Jsonl => out.write_all(line).with_context(place),
                Format::Csv => out
                    .write_all(csv_row(&filter::cells(numbered)).as_bytes())
                    .with_context(place),
            }
        })?;
        out.flush().with_context(place)?;
        unread
    };
    file.as_file().sync_all().with_context(place)?;
    file.persist(&args.out).with_context(place)?;
    Ok((written, unread))
}

fn csv_row(cells: &[String]) -> String {
    let mut row = cells
        .iter()
        .map(|cell| csv_cell(cell))
        .collect::<Vec<_>>()
        .join(",");
    row.push_str("\r\n");
    row
}

// Always quoted, so that a comma of another country's spreadsheet divides nothing. What a spreadsheet would take for a
// formula gets an apostrophe before it: paths and callers come from strangers.
fn csv_cell(cell: &str) -> String {
    let is_formula = cell.trim_start_matches([' ', '\u{a0}']).starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}',
        '\u{ff20}',
    ]);
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        for (cell, expected) in [
            ("plain", "\"plain\""),
            ("", "\"\""),
            ("a,\"b\"\n;c", "\"a,\"\"b\"\"\n;c\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("1-1", "\"1-1\""),
        ] {
            assert_eq!(csv_cell(cell), expected);
        }
        assert_eq!(
            csv_row(&["a".to_owned(), "=b".to_owned()]),
            "\"a\",\"'=b\"\r\n"
        );
    }
}
