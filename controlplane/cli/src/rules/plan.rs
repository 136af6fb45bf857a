//! `adit rules plan`: what a change of rules would mean for requests.
//!
//! Comparing is `policy`'s; here the old rules are fetched, from a file, a node or the control plane, and the plan becomes a table, or JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_policy::plan::Line;
use adit_policy::{Plan, Snapshot};
use adit_recorded::{Callers, Hits};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::held::Place;
use super::records::Evidence;
use super::traffic::Days;
use super::{compile, failing, folder, read_rules, records, suggest, traffic, wrong};
use crate::ending::Failure;
use crate::node::NodeAddress;
use crate::output::{Output, Table};
use crate::plane::{Connect, Plane};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The rule set that is to come, TOML, or as `adit rules sign` wrote it; or a folder of them, as `adit rules apply`
    /// takes it, compared with what the control plane has in force
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
    /// Name the callers who would have been hit in the last days, such as 7d: the control plane asks the agents what they
    /// recorded
    #[arg(long, value_name = "DAYS", conflicts_with = "audit")]
    recorded: Option<Days>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
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
    if args.file.is_dir() {
        return folder_of(args, output).await;
    }
    let new = tested(&args.file, output)?;
    let subaccount = args.old.subaccount.as_deref();
    let place = Place::named(subaccount, args.location.as_deref(), &args.connect)?;
    let old = match (&args.old.against, &args.old.node, &place) {
        (Some(file), _, _) => from_file(file)?,
        (None, Some(node), _) => in_force(node).await?,
        (None, None, Some((place, plane))) => held(place, plane).await?,
        (None, None, None) => {
            return Err(Failure::usage(
                "say --against FILE, --node ADDRESS or --subaccount SUBACCOUNT",
            ));
        }
    };
    let evidence = match (args.recorded, &place) {
        (Some(days), Some((place, plane))) => {
            Some(traffic::read(place, plane, days, Callers::Apart).await?)
        }
        (Some(_), None) => {
            return Err(Failure::usage(
                "--recorded: the control plane asks the agents of a place; add --subaccount SUBACCOUNT",
            ));
        }
        (None, _) if args.audit.is_empty() => None,
        (None, _) => Some(records::read(&args.audit, Callers::Apart, output)?),
    };
    let comparison = compare(&old, &new, evidence.as_ref(), output)?;
    output.result(&comparison.text, &comparison.value);
    comparison.end()
}

/// Compares each file of a folder with what its place has in force.
async fn folder_of(args: Args, output: Output) -> Result<(), Failure> {
    if args.old.against.is_some() || args.old.node.is_some() || args.location.is_some() {
        return Err(Failure::usage(
            "a folder is compared with what the control plane has in force for the places that it names; leave \
             --against, --node and --location out",
        ));
    }
    if !args.audit.is_empty() {
        return Err(Failure::usage(
            "--audit: files do not say of which location they are; take --recorded, or one file of rules",
        ));
    }
    let mut wanted = Vec::new();
    for (place, file) in folder::places(&args.file, args.old.subaccount.as_deref())? {
        wanted.push((place, tested(&file, output)?));
    }
    let plane = args.connect.open()?;
    let mut ended = Ok(());
    let mut values = Vec::new();
    for (at, (place, new)) in wanted.iter().enumerate() {
        let old = held(place, &plane).await?;
        let evidence = match args.recorded {
            Some(days) => Some(traffic::read(place, &plane, days, Callers::Apart).await?),
            None => None,
        };
        let comparison = compare(&old, new, evidence.as_ref(), output)?;
        let space = if at == 0 { "" } else { "\n" };
        output.line(format_args!("{space}{}", comparison.text));
        // One that could not be told to its end weighs more than one that changes something.
        if ended.is_ok() || comparison.unfinished.is_some() {
            ended = comparison.end();
        }
        values.push(json!({"place": place.to_string(), "plan": comparison.value}));
    }
    if output.is_json() {
        output.result("", &json!({"places": values}));
    }
    ended
}

/// Shows what the way from `old` to `new` means; exit code 3 if it means something.
pub(super) fn tell(old: &Rules, new: &Rules, output: Output) -> Result<(), Failure> {
    let comparison = compare(old, new, None, output)?;
    output.result(&comparison.text, &comparison.value);
    comparison.end()
}

/// What the way from one rule set to another means.
struct Comparison {
    text: String,
    value: Value,
    /// Nothing where it was compared to the end.
    unfinished: Option<String>,
    is_empty: bool,
}

impl Comparison {
    fn end(&self) -> Result<(), Failure> {
        match &self.unfinished {
            Some(why) => Err(Failure::failed(why)),
            None if self.is_empty => Ok(()),
            None => Err(Failure::changes()),
        }
    }
}

fn compare(
    old: &Rules,
    new: &Rules,
    evidence: Option<&Evidence>,
    output: Output,
) -> Result<Comparison, Failure> {
    let plan = adit_policy::plan(old.snapshot.table(), new.snapshot.table());
    let mut text = text(&plan, old, new);
    let mut value = value(&plan, old, new)?;
    if let Some(evidence) = evidence {
        evidence.warn(output);
        let hits = adit_recorded::hits(new.snapshot.table(), &evidence.ledger);
        text.push_str(&hits_text(&hits, evidence));
        if let Value::Object(members) = &mut value {
            members.insert(evidence.member.to_owned(), hits_value(&hits, evidence));
        }
    }
    let unfinished = plan.unfinished.then(|| {
        format!(
            "{} and {} are too large and too different to be compared to the end; more may change than is shown",
            old.name, new.name
        )
    });
    Ok(Comparison {
        text,
        value,
        unfinished,
        is_empty: plan.is_empty(),
    })
}

/// The rules that a place has in force.
async fn held(place: &Place, plane: &Plane) -> Result<Rules, Failure> {
    let held = place.held(plane).await?;
    let version = held.rules.as_ref().map(|rules| rules.version.version);
    Rules::of_text(&place.to_string(), version, held.text().to_owned())
}

/// The rules of a file; that tests of them fail is said, and is no reason not to compare.
fn tested(file: &Path, output: Output) -> Result<Rules, Failure> {
    let new = from_file(file)?;
    if let Err(problems) = new.snapshot.table().run_tests() {
        output.hint(format_args!(
            "adit: a push of {} would be refused, for tests of it fail\n{problems}",
            new.name
        ));
    }
    Ok(new)
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
fn hits_text(hits: &Hits, evidence: &Evidence) -> String {
    let mut text = format!("\n\n{}", evidence.told);
    let counts = hits.list.iter().map(|hit| hit.count);
    let count = counts.fold(0, u64::saturating_add);
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

fn hits_value(hits: &Hits, evidence: &Evidence) -> Value {
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
        "read": evidence.read,
        "doubts": evidence.doubts,
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
