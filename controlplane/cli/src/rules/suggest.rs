//! `adit rules suggest`: what of a rule set is used, the least that recorded traffic needs, and what was denied often.
//!
//! All of it is `recorded`'s; here it becomes TOML, tables, or JSON.

use std::path::PathBuf;

use adit_recorded::{Callers, Facts, Suggestion, Wanted};
use serde_json::{Value, json};

use super::{compile, count, read_rules, records, wrong};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::safe_file::{self, Readers};

/// Lines of a table; the JSON has all of them.
pub(super) const LINES_MAX: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rule set, TOML, or as `adit rules sign` wrote it
    file: PathBuf,
    /// Recorded decisions: files, and folders of *.jsonl
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    audit: Vec<PathBuf>,
    /// Where the suggested rules are written; nothing that is there is overwritten. Without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Name requests that were denied so many times or more
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    often: u64,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let (name, rules) = read_rules(&args.file)?;
    let old = compile(&name, rules).map_err(|problems| wrong(&problems))?;
    let ledger = records::read(&args.audit, Callers::Together, output)?;
    let suggestion = adit_recorded::suggest(old.table(), &ledger);
    let wanted = adit_recorded::wanted(old.table(), &ledger, args.often);
    if !suggestion.mistakes.is_empty() {
        return Err(Failure::failed(format!(
            "the suggested rules would refuse what was granted, which is a mistake of adit; nothing is suggested\n{}",
            suggestion.mistakes.join("\n")
        )));
    }
    let rules = format!(
        "# Made by `adit rules suggest`: what recorded traffic needed, within the rules it was granted by.\n\n{}",
        suggestion.rules
    );
    compile(&name, rules.clone()).map_err(|problems| {
        Failure::failed(format!(
            "the suggested rules are wrong, which is a mistake of adit\n{problems}"
        ))
    })?;
    if let Some(out) = &args.out {
        safe_file::create(out, rules.as_bytes(), Readers::Everybody)?;
    }
    let facts = ledger.facts();
    let report = text(&name, facts, &suggestion, &wanted, args);
    if output.is_json() {
        output.result("", &value(&name, facts, &suggestion, &wanted, &rules));
    } else if args.out.is_some() {
        output.line(report);
    } else {
        output.raw(rules.as_bytes());
        output.hint(report);
    }
    Ok(())
}

fn text(name: &str, facts: Facts, made: &Suggestion, wanted: &[Wanted], args: &Args) -> String {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let resources: usize = made
        .rules
        .systems
        .iter()
        .map(|system| system.resources.len())
        .sum();
    let mut text = format!(
        "{name}: {}\nneeded: {} and {}, which cover {} grants; {} not used",
        records::told(facts),
        count(number(made.rules.systems.len()), "system"),
        count(number(resources), "resource"),
        made.covered + made.kept_whole,
        count(number(made.unused.len()), "rule"),
    );
    if let Some(out) = &args.out {
        text.push_str(&format!("; written to {}", out.display()));
    }
    if made.kept_whole > 0 {
        text.push_str(&format!(
            "\n{} grants are known by their rule only, so that rule is kept as it is",
            made.kept_whole
        ));
    }
    if made.no_longer_granted > 0 {
        text.push_str(&format!(
            "\n{} recorded grants are denied by these rules already, and are not covered",
            made.no_longer_granted
        ));
    }
    if !made.unused.is_empty() {
        let mut table = Table::new(["NOT USED", "RULE", "LINE"]);
        for unused in made.unused.iter().take(LINES_MAX) {
            let rule = unused
                .rule
                .clone()
                .unwrap_or_else(|| "all of it".to_owned());
            table.row([unused.system.clone(), rule, unused.line.to_string()]);
        }
        text.push_str(&format!("\n\n{table}{}", further(made.unused.len())));
    }
    if !wanted.is_empty() {
        let mut table = Table::new(["DENIED", "REQUEST", "REASON", "WOULD HAVE NEEDED"]);
        for wanted in wanted.iter().take(LINES_MAX) {
            table.row([
                wanted.count.to_string(),
                wanted.request.clone(),
                wanted.reason.clone(),
                wanted.needs.clone(),
            ]);
        }
        text.push_str(&format!("\n\n{table}{}", further(wanted.len())));
    }
    text
}

/// How many lines a table leaves out.
pub(super) fn further(lines: usize) -> String {
    match lines.saturating_sub(LINES_MAX) {
        0 => String::new(),
        more => format!("\nand {more} more"),
    }
}

fn value(name: &str, facts: Facts, made: &Suggestion, wanted: &[Wanted], rules: &str) -> Value {
    let unused: Vec<Value> = made
        .unused
        .iter()
        .map(|unused| json!({"system": unused.system, "rule": unused.rule, "line": unused.line}))
        .collect();
    let denied: Vec<Value> = wanted
        .iter()
        .map(|wanted| {
            json!({
                "request": wanted.request,
                "count": wanted.count,
                "reason": wanted.reason,
                "needs": wanted.needs,
            })
        })
        .collect();
    json!({
        "file": name,
        "audit": records::value(facts),
        "covered": made.covered,
        "kept_whole": made.kept_whole,
        "no_longer_granted": made.no_longer_granted,
        "unused": unused,
        "denied": denied,
        "rules": rules,
    })
}
