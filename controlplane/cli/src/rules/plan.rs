//! `adit rules plan`: what a change of rules would mean for requests.
//!
//! Comparing is `policy`'s; here the old rules are fetched, from a file, a node or the control plane, and the plan becomes a table, or JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_policy::plan::Line;
use adit_policy::{Plan, Snapshot};
use adit_recorded::{Callers, Facts, Hits};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::held::Place;
use super::{compile, failing, read_rules, records, suggest, wrong};
use crate::ending::Failure;
use crate::node::NodeAddress;
use crate::output::{Output, Table};
use crate::plane::Connect;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The rule set that is to come, TOML, or as `adit rules sign` wrote it
    file: PathBuf,
    #[command(flatten)]
    old: OldRules,
    /// With --subaccount: the location [default: the default location]
    #[arg(long, value_name = "LOCATION", requires = "subaccount")]
    location: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// Name the callers in recorded decisions who would have been hit: files, and folders of *.jsonl
    #[arg(long, num_args = 1.., value_name = "PATH")]
    audit: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct OldRules {
    /// Compare with this rule set
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Compare with the rules in force on this agent: unix:PATH
    #[arg(long, value_name = "ADDRESS")]
    node: Option<NodeAddress>,
    /// Compare with the rules that the control plane has in force for this subaccount
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
}

pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let new = from_file(&args.file)?;
    if let Err(problems) = new.snapshot.table().run_tests() {
        output.hint(format_args!(
            "adit: a push of {} would be refused, for tests of it fail\n{problems}",
            new.name
        ));
    }
    let old = match (args.old.against, args.old.node, args.old.subaccount) {
        (Some(file), _, _) => from_file(&file)?,
        (None, Some(node), _) => in_force(&node).await?,
        (None, None, Some(subaccount)) => {
            let place = Place::new(&subaccount, args.location.as_deref().unwrap_or_default())?;
            let held = place.held(&args.connect.open()?).await?;
            let version = held.rules.as_ref().map(|rules| rules.version.version);
            Rules::of_text(&place.to_string(), version, held.text().to_owned())?
        }
        (None, None, None) => {
            return Err(Failure::usage(
                "say --against FILE, --node ADDRESS or --subaccount SUBACCOUNT",
            ));
        }
    };
    let hits = if args.audit.is_empty() {
        None
    } else {
        let ledger = records::read(&args.audit, Callers::Apart, output)?;
        let hits = adit_recorded::hits(new.snapshot.table(), &ledger);
        Some((hits, ledger.facts()))
    };
    tell_with(&old, &new, hits.as_ref(), output)
}

/// Shows what the way from `old` to `new` means; exit code 3 if it means something.
pub(super) fn tell(old: &Rules, new: &Rules, output: Output) -> Result<(), Failure> {
    tell_with(old, new, None, output)
}

fn tell_with(
    old: &Rules,
    new: &Rules,
    hits: Option<&(Hits, Facts)>,
    output: Output,
) -> Result<(), Failure> {
    let plan = adit_policy::plan(old.snapshot.table(), new.snapshot.table());
    let mut text = text(&plan, old, new);
    let mut value = value(&plan, old, new)?;
    if let Some((hits, facts)) = hits {
        text.push_str(&hits_text(hits, *facts));
        if let Value::Object(members) = &mut value {
            members.insert("audit".to_owned(), hits_value(hits, *facts));
        }
    }
    output.result(text, &value);
    if plan.unfinished {
        return Err(Failure::failed(format!(
            "{} and {} are too large and too different to be compared to the end; more may change than is shown",
            old.name, new.name
        )));
    }
    if plan.is_empty() {
        Ok(())
    } else {
        Err(Failure::changes())
    }
}

/// Rules, and where they are from.
pub(super) struct Rules {
    name: String,
    /// Where they are in force, their version there.
    version: Option<u64>,
    pub(super) snapshot: Arc<Snapshot>,
    text: String,
}

impl Rules {
    /// Rules that were read from a place called `name`, where they have this version.
    pub(super) fn of_text(name: &str, version: Option<u64>, text: String) -> Result<Self, Failure> {
        let snapshot = compile(name, text.clone()).map_err(|problems| wrong(&problems))?;
        Ok(Self {
            name: name.to_owned(),
            version,
            snapshot,
            text,
        })
    }

    /// As they are written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// That the tests in them pass.
    pub(super) fn pass_tests(&self) -> Result<(), Failure> {
        let tests = self.snapshot.table().run_tests();
        tests.map(drop).map_err(|problems| failing(&problems))
    }

    fn title(&self) -> String {
        let hash = self.snapshot.hash_hex();
        let hash = hash.get(..12).unwrap_or_default();
        match self.version {
            Some(version) => format!("{} version {version} (sha256 {hash})", self.name),
            None => format!("{} (sha256 {hash})", self.name),
        }
    }

    fn value(&self) -> Value {
        json!({
            "from": self.name,
            "version": self.version,
            "hash": self.snapshot.hash_hex(),
        })
    }
}

fn from_file(file: &Path) -> Result<Rules, Failure> {
    let (name, rules) = read_rules(file)?;
    Rules::of_text(&name, None, rules)
}

async fn in_force(node: &NodeAddress) -> Result<Rules, Failure> {
    if let NodeAddress::Http(_) = node {
        return Err(Failure::usage(format!(
            "{node}: an agent shows its rules on its unix socket only; write --node unix:PATH"
        )));
    }
    let answer = node.get("/rules").await?;
    let name = node.to_string();
    let not_understood = || {
        Failure::failed(format!(
            "{node}: the answer holds no rules; is it an agent of this version?"
        ))
    };
    let (text, version) = match answer.status {
        StatusCode::OK => {
            let value = answer.json()?;
            let text = value.get("text").and_then(Value::as_str);
            let version = value.get("version").and_then(Value::as_u64);
            let (text, version) = text.zip(version).ok_or_else(not_understood)?;
            (text.to_owned(), Some(version))
        }
        // Without rules an agent grants nothing, which is what no rules say.
        StatusCode::NOT_FOUND if answer.body.starts_with(b"no rules in force") => {
            (String::new(), None)
        }
        _ => return Err(Failure::failed(format!("{node}: {}", answer.complaint()))),
    };
    let snapshot = compile(&name, text.clone()).map_err(|problems| {
        Failure::failed(format!(
            "{node} has rules in force that this version of adit does not understand\n{problems}"
        ))
    })?;
    Ok(Rules {
        name,
        version,
        snapshot,
        text,
    })
}

pub(super) fn text(plan: &Plan, old: &Rules, new: &Rules) -> String {
    let mut text = format!("from  {}\nto    {}\n\n", old.title(), new.title());
    for line in &plan.lines {
        text.push_str(&format!("{line}\n"));
    }
    if plan.unlisted > 0 {
        text.push_str(&format!("and {} more\n", plan.unlisted));
    }
    if !plan.lines.is_empty() {
        text.push('\n');
    }
    let all = plan.ends_changed + plan.ends_same;
    text.push_str(&match plan.ends_changed {
        0 => "no change".to_owned(),
        changed => format!("changes at {changed} of {all} virtual hosts and ports"),
    });
    text
}

pub(super) fn value(plan: &Plan, old: &Rules, new: &Rules) -> Result<Value, Failure> {
    let lines: Vec<Value> = plan.lines.iter().map(line).collect::<Result<_, _>>()?;
    Ok(json!({
        "old": old.value(),
        "new": new.value(),
        "lines": lines,
        "unlisted": plan.unlisted,
        "ends_same": plan.ends_same,
        "ends_changed": plan.ends_changed,
        "unfinished": plan.unfinished,
    }))
}

/// Who would have been hit, for people.
fn hits_text(hits: &Hits, facts: Facts) -> String {
    let mut text = format!("\n\n{}", records::told(facts));
    let count: u64 = hits.list.iter().map(|hit| hit.count).sum();
    if hits.list.is_empty() {
        text.push_str(&format!(
            "\nnone of {} recorded grants would have been denied",
            hits.judged
        ));
    } else {
        text.push_str(&format!(
            "\n{count} of {} recorded grants would have been denied\n\n",
            hits.judged
        ));
        let mut table = Table::new(["GRANTED", "CALLER", "REQUEST", "WOULD BE"]);
        for hit in hits.list.iter().take(suggest::LINES_MAX) {
            table.row([
                hit.count.to_string(),
                format!("{}/{}", hit.subaccount, hit.caller),
                hit.request.clone(),
                hit.reason.clone(),
            ]);
        }
        text.push_str(&format!("{table}{}", suggest::further(hits.list.len())));
    }
    if hits.unjudged > 0 {
        text.push_str(&format!(
            "\n{} recorded grants could not be judged: their paths were cut when they were recorded, or are too many",
            hits.unjudged
        ));
    }
    text
}

fn hits_value(hits: &Hits, facts: Facts) -> Value {
    let list: Vec<Value> = hits
        .list
        .iter()
        .map(|hit| {
            json!({
                "subaccount": hit.subaccount,
                "caller": hit.caller,
                "request": hit.request,
                "count": hit.count,
                "reason": hit.reason,
            })
        })
        .collect();
    json!({
        "read": records::value(facts),
        "judged": hits.judged,
        "unjudged": hits.unjudged,
        "hits": list,
    })
}

fn line(line: &Line) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(line)
        .map_err(|error| Failure::failed(format!("a line of the plan: {error}")))?;
    if let Value::Object(members) = &mut value {
        members.insert("text".to_owned(), Value::String(line.to_string()));
    }
    Ok(value)
}
