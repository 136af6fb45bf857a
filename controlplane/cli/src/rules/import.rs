//! `adit rules import`: access control written for another program, made a rule set, with what it was worth there.
//!
//! Reading and judging are `importer`'s; here are files, the report as a table or JSON, and the exit code.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use adit_importer::limits::DOCUMENT_BYTES_MAX;
use adit_importer::{Choice, Finding, Import, Weight};
use adit_policy::EncodedSlash;
use serde_json::{Value, json};

use super::{compile, count};
use crate::ending::Failure;
use crate::output::Output;
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Source {
    /// Import the access control of a SAP Cloud Connector
    ///
    /// FILE is JSON from its REST API: the answer of .../systemMappings with the resources of each system put in, or
    /// one object with the paths that were asked for as members. The rules allow what was allowed there or less, never
    /// more; the report says what was wider there than it looked, and what is not imported. Exit code 0: imported; 3:
    /// imported, and the report has more than notes; 78: the file cannot be read.
    Scc(SccArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SccArgs {
    /// JSON of the Cloud Connector's REST API
    file: PathBuf,
    /// Where the rule set is written; nothing that is there is overwritten. Without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of several subaccounts in the file, this one
    #[arg(long, value_name = "ID")]
    subaccount: Option<String>,
    /// Of several subaccounts in the file, the one connected under this location ID
    #[arg(long, value_name = "ID")]
    location: Option<String>,
    /// Let paths hold `%2F`, as keys of OData services may
    #[arg(long)]
    keep_encoded_slash: bool,
}

pub(super) fn run(source: Source, output: Output) -> Result<(), Failure> {
    let Source::Scc(args) = source;
    let name = args.file.display().to_string();
    let document = read(&args.file)?;
    let choice = Choice {
        subaccount: args.subaccount,
        location: args.location,
        encoded_slash: if args.keep_encoded_slash {
            EncodedSlash::Keep
        } else {
            EncodedSlash::Refuse
        },
    };
    let import = adit_importer::import(&document, &choice)
        .map_err(|wrong| Failure::config(format!("{name}:{wrong}")))?;
    let rules = import.toml(&name);
    // What is written passes `adit rules check`, by asking the same function.
    compile(&name, rules.clone()).map_err(|problems| {
        Failure::failed(format!(
            "the imported rules are wrong, which is a mistake of adit\n{problems}"
        ))
    })?;
    if let Some(out) = &args.out {
        safe_file::create(out, rules.as_bytes(), Readers::Everybody)?;
    }
    let report = text(&import, &name, args.out.as_deref());
    if output.is_json() {
        output.result("", &value(&import, &name, args.out.as_deref(), &rules));
    } else if args.out.is_some() {
        output.line(report);
    } else {
        output.raw(rules.as_bytes());
        output.hint(report);
    }
    if import.needs_a_look {
        Err(Failure::changes())
    } else {
        Ok(())
    }
}

/// Reads the document, at most one byte more than it may have.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let place = file.display();
    let wrong = |error: std::io::Error| Failure::config(format!("{place}: {error}"));
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(wrong)?;
    opened
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    Ok(bytes)
}

/// The report for people.
fn text(import: &Import, name: &str, out: Option<&Path>) -> String {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut text = format!(
        "{name}: {} of {}, {} of {} imported",
        import.rules.systems.len(),
        count(number(import.systems_read), "system"),
        import.resources(),
        count(number(import.resources_read), "resource"),
    );
    if let Some(out) = out {
        text.push_str(&format!(", written to {}", out.display()));
    }
    for weight in Weight::ALL {
        let mut of_weight = import
            .findings
            .iter()
            .filter(|found| found.kind.weight() == weight)
            .peekable();
        if of_weight.peek().is_some() {
            text.push_str(&format!("\n\n{}\n", heading(weight)));
            let lines: Vec<String> = of_weight.map(line).collect();
            text.push_str(&lines.join("\n"));
        }
    }
    if import.unlisted > 0 {
        text.push_str(&format!("\n\nand {} more", import.unlisted));
    }
    text
}

fn heading(weight: Weight) -> &'static str {
    match weight {
        Weight::LeftOut => "not imported",
        Weight::Wider => "wider than you thought: allowed there, and seldom meant",
        Weight::Look => "needs a look",
        Weight::Note => "notes",
    }
}

fn line(found: &Finding) -> String {
    format!("  {:<15}  {found}", found.kind.word())
}

fn value(import: &Import, name: &str, out: Option<&Path>, rules: &str) -> Value {
    let findings: Vec<Value> = import
        .findings
        .iter()
        .map(|found| {
            json!({
                "kind": found.kind.word(),
                "weight": found.kind.weight().word(),
                "place": found.place,
                "about": found.about,
                "text": found.text,
            })
        })
        .collect();
    json!({
        "file": name,
        "out": out,
        "subaccount": import.subaccount,
        "systems": import.rules.systems.len(),
        "systems_read": import.systems_read,
        "resources": import.resources(),
        "resources_read": import.resources_read,
        "needs_a_look": import.needs_a_look,
        "findings": findings,
        "unlisted": import.unlisted,
        "rules": rules,
    })
}
