//! `adit rules suggest`: what of a rule set is used, the least that recorded traffic needs, and what was denied often.
//!
//! All of it is `recorded`'s; here it becomes TOML, tables, or JSON.

use std::path::PathBuf;

use adit_recorded::{Callers, Suggestion, Wanted};
use serde_json::{Value, json};

use super::held::Place;
use super::records::Evidence;
use super::traffic::Days;
use super::{compile, count, read_rules, records, traffic, wrong};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::Connect;
use crate::safe_file::{self, Readers};

/// Lines of a table; the JSON has all of them.
pub(super) const LINES_MAX: usize = 100;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The rule set, TOML, or as `adit rules sign` wrote it [default: the rules that --subaccount has in force]
    #[arg(required_unless_present = "subaccount")]
    file: Option<PathBuf>,
    /// Recorded decisions: files, and folders of *.jsonl
    #[arg(long, num_args = 1.., value_name = "PATH", required_unless_present = "recorded")]
    audit: Vec<PathBuf>,
    /// What the agents recorded in the last days, such as 7d; the control plane asks those of --subaccount and --location
    #[arg(
        long,
        value_name = "DAYS",
        conflicts_with = "audit",
        requires = "subaccount"
    )]
    recorded: Option<Days>,
    /// The subaccount at the control plane
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
    /// With --subaccount: the location [default: the default location]
    #[arg(long, value_name = "LOCATION", requires = "subaccount")]
    location: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// Where the suggested rules are written; nothing that is there is overwritten. Without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Name requests that were denied so many times or more
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    often: u64,
}

pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let subaccount = args.subaccount.as_deref();
    let place = Place::named(subaccount, args.location.as_deref(), &args.connect)?;
    let (name, rules) = match (&args.file, &place) {
        (Some(file), _) => read_rules(file)?,
        (None, Some((place, plane))) => {
            let held = place.held(plane).await?;
            (place.to_string(), held.text().to_owned())
        }
        (None, None) => return Err(Failure::usage("say FILE or --subaccount SUBACCOUNT")),
    };
    let old = compile(&name, rules).map_err(|problems| wrong(&problems))?;
    let evidence = match (args.recorded, &place) {
        (Some(days), Some((place, plane))) => {
            traffic::read(place, plane, days, Callers::Together).await?
        }
        _ => records::read(&args.audit, Callers::Together, output)?,
    };
    evidence.warn(output);
    let suggestion = adit_recorded::suggest(old.table(), &evidence.ledger);
    let wanted = adit_recorded::wanted(old.table(), &evidence.ledger, args.often);
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
    let report = text(&name, &evidence, &suggestion, &wanted, &args);
    if output.is_json() {
        output.result("", &value(&name, &evidence, &suggestion, &wanted, &rules));
    } else if args.out.is_some() {
        output.line(report);
    } else {
        output.raw(rules.as_bytes());
        output.hint(report);
    }
    Ok(())
}

fn text(
    name: &str,
    evidence: &Evidence,
    made: &Suggestion,
    wanted: &[Wanted],
    args: &Args,
) -> String {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let resources: usize = made
        .rules
        .systems
        .iter()
        .map(|system| system.resources.len())
        .sum();
    let mut text = format!(
        "{name}: {}\nneeded: {} and {}, which cover {} grants; {} not used",
        evidence.told,
        count(number(made.rules.systems.len()), "system"),
        count(number(resources), "resource"),
        made.covered.saturating_add(made.kept_whole),
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

fn value(
    name: &str,
    evidence: &Evidence,
    made: &Suggestion,
    wanted: &[Wanted],
    rules: &str,
) -> Value {
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
        evidence.member: evidence.read,
        "covered": made.covered,
        "kept_whole": made.kept_whole,
        "no_longer_granted": made.no_longer_granted,
        "unused": unused,
        "denied": denied,
        "rules": rules,
    })
}
