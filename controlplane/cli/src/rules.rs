//! `adit rules`: import, check, test, explain, plan, apply and push rule sets.
//!
//! Reading and judging are `policy`'s, the very code that agents enforce with; a node is asked
//! through its admin endpoint, the control plane by `plane`. Nothing is decided here.

mod apply;
mod change;
mod folder;
mod held;
mod import;
mod plan;
mod records;
mod rollout;
mod suggest;
mod test;
mod traffic;
mod versions;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use adit_manifest::Stamp;
use adit_manifest::limits::SIGNATURES_MAX;
use adit_policy::limits::RULES_TEXT_BYTES_MAX;
use adit_policy::{OwnedRequest, Problems, Request, Snapshot};
use anyhow::{Context as _, Result};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::ending::Failure;
use crate::node::NodeAddress;
use crate::output::Output;
use crate::pki::signer;
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read and compile a rule set and run its tests, and name everything that is wrong with it
    Check {
        /// The rule set, TOML
        file: PathBuf,
    },
    /// Run the tests that a rule set carries, and show what came of each
    ///
    /// Each is judged by the function that enforces. Exit code 0: all passed; 1: one failed.
    Test {
        /// The rule set, TOML
        file: PathBuf,
    },
    /// Say whether a request is allowed, by which rule, or why not
    ///
    /// The answer comes from the function that enforces, with a file's rules or with those in
    /// force on a node. Exit code 0: allowed; 1: denied.
    Explain(ExplainArgs),
    /// Show what a change of rules would make reachable, unreachable, or lead elsewhere
    ///
    /// In terms of requests, not of lines: rules in another order, under other names or written otherwise are no
    /// change. `+` becomes reachable, `-` stops being reachable, `~` leads elsewhere. `/a` is this path, `/a[/*]` also
    /// what is below it, `/a/*` what begins with `/a/`; `;*` are parameters; `*` are all methods. Exit code 0: no
    /// change; 3: changes; 1: failed.
    Plan(plan::Args),
    /// Say what of a rule set is used, and make the smallest one that recorded traffic needs
    ///
    /// From recorded decisions: rules that no grant used; rules within these that grant every recorded request; and
    /// requests that were denied often, of which no rule is made. A rule that allows an upgrade keeps it.
    Suggest(suggest::Args),
    /// Make a rule set of access control that was written for another program
    #[command(subcommand)]
    Import(import::Source),
    /// Sign a rule set for the agents of a location
    ///
    /// An agent that was told of the key takes it if the audience is its own and the version is newer
    /// than what it has.
    Sign(SignArgs),
    /// Put a rule set in force on an agent
    ///
    /// The agent verifies, tests, keeps and swaps it, or refuses it without any effect.
    Push {
        /// The rule set, TOML, or as `adit rules sign` wrote it
        file: PathBuf,
        /// The agent's admin socket: unix:PATH
        #[arg(long, value_name = "ADDRESS")]
        node: NodeAddress,
    },
    /// Put rules in force at the control plane: show what that means, ask, write, wait
    ///
    /// Refused if somebody else changed them since they were read. Exit code 0: no change; 3: changed; 1: refused or
    /// failed; 78: the rules are wrong, or a test in them fails.
    Apply(apply::Args),
    /// List the versions of a place's rules, newest first
    History(versions::HistoryArgs),
    /// Print rules of the control plane as they were written
    Show(versions::ShowArgs),
    /// Show what the way from one version to another means for requests
    ///
    /// Told as a plan is. Exit code 0: nothing; 3: something.
    Diff(versions::DiffArgs),
    /// Bring the rules of an earlier version back, as a new version
    Rollback(change::RollbackArgs),
    /// End a trial: all agents get the version that is on trial
    Promote(change::ChangeArgs),
    /// End a trial: what was in force before comes back to the agents that have the version on trial
    Abandon(change::ChangeArgs),
    /// Show how far the rules in force have come, agent by agent
    Rollout(rollout::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The rule set, TOML
    file: PathBuf,
    /// The private key, as `adit pki signer` made it; up to four, to change from one to another
    #[arg(long, required = true, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// For which agents: SUBACCOUNT/LOCATION, or SUBACCOUNT/ for the default location
    #[arg(long, value_name = "AUDIENCE")]
    audience: Audience,
    /// Version of the rule set: one more than the last one signed for this audience
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    version: u64,
    /// Raise it to give versions away again, after a restored backup for example
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    epoch: u64,
    /// Where the signed rule set is written; an older file there is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// For whom a rule set is signed.
#[derive(Clone, Debug)]
struct Audience(String);

impl FromStr for Audience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has_subaccount = text.split_once('/').is_some_and(|(subaccount, location)| {
            !subaccount.is_empty() && !location.contains('/')
        });
        if has_subaccount && adit_manifest::is_audience(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write SUBACCOUNT/LOCATION, or SUBACCOUNT/ for the default location".to_owned())
        }
    }
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    rules: RulesSource,
    /// Ask as for a request that wants to change the protocol, as a WebSocket does
    #[arg(long)]
    upgrade: bool,
    /// The request: 'GET http://erp.virtual:80/path' or 'tcp://db.virtual:5432'
    request: String,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct RulesSource {
    /// Judge by this rule set
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Judge by the rules in force on this agent: unix:PATH or http://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    node: Option<NodeAddress>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Check { file } => check(&file, output),
        Command::Test { file } => test::run(&file, output),
        Command::Explain(args) => explain(args, output).await,
        Command::Plan(args) => plan::run(args, output).await,
        Command::Suggest(args) => suggest::run(args, output).await,
        Command::Import(source) => import::run(source, output),
        Command::Sign(args) => sign(&args, output),
        Command::Push { file, node } => push(&file, &node, output).await,
        Command::Apply(args) => apply::run(args, output).await,
        Command::History(args) => versions::history(args, output).await,
        Command::Show(args) => versions::show(args, output).await,
        Command::Diff(args) => versions::diff(args, output).await,
        Command::Rollback(args) => change::roll_back(args, output).await,
        Command::Promote(args) => change::promote(args, output).await,
        Command::Abandon(args) => change::abandon(args, output).await,
        Command::Rollout(args) => rollout::run(args, output).await,
    }
}

fn check(file: &Path, output: Output) -> Result<(), Failure> {
    let (name, rules) = read_rules(file)?;
    let tell = |problems: &Problems| {
        if output.is_json() {
            let list: Vec<_> = problems.list().iter().map(problem_json).collect();
            output.result(
                "",
                &json!({"file": name, "problems": list, "unlisted": problems.unlisted()}),
            );
        }
    };
    let snapshot = compile(&name, rules).map_err(|problems| {
        tell(&problems);
        wrong(&problems)
    })?;
    let tests = snapshot.table().run_tests().map_err(|problems| {
        tell(&problems);
        failing(&problems)
    })?;
    let (systems, resources) = size(&snapshot);
    let passed = match u64::try_from(tests).unwrap_or(u64::MAX) {
        0 => String::new(),
        tests => format!(", {} passed", count(tests, "test")),
    };
    output.result(
        format_args!(
            "{name}: {}, {}{passed}, sha256 {}",
            count(systems, "system"),
            count(resources, "resource"),
            snapshot.hash_hex()
        ),
        &json!({
            "file": name,
            "systems": systems,
            "resources": resources,
            "tests": tests,
            "hash": snapshot.hash_hex(),
        }),
    );
    Ok(())
}

async fn explain(args: ExplainArgs, output: Output) -> Result<(), Failure> {
    // `ws` is how the request language writes an upgrade.
    let text = if args.upgrade {
        args.request.replacen("http://", "ws://", 1)
    } else {
        args.request
    };
    let request: OwnedRequest = text.parse().map_err(Failure::usage)?;
    let (allowed, text, value) = match (args.rules.rules, args.rules.node) {
        (Some(file), _) => {
            let (name, rules) = read_rules(&file)?;
            let snapshot = compile(&name, rules).map_err(|problems| wrong(&problems))?;
            let explanation = adit_policy::explain(&snapshot, &request.as_request());
            let value = serde_json::to_value(&explanation).context("the explanation")?;
            (explanation.is_allowed(), explanation.to_string(), value)
        }
        (None, Some(node)) => explain_on(&node, &request).await?,
        (None, None) => return Err(Failure::usage("say --rules FILE or --node ADDRESS")),
    };
    output.result(text, &value);
    if allowed {
        Ok(())
    } else {
        Err(Failure::denied())
    }
}

/// Asks a node to explain `request`: whether it allows it, its text, and its whole answer.
pub(crate) async fn explain_on(
    node: &NodeAddress,
    request: &OwnedRequest,
) -> Result<(bool, String, Value)> {
    let question = match request.as_request() {
        Request::Http {
            host,
            port,
            method,
            path,
            upgrade,
        } => json!({
            "method": method,
            "url": format!("http://{host}:{port}{}", String::from_utf8_lossy(path)),
            "upgrade": upgrade,
        }),
        Request::Tcp { host, port } => json!({
            "method": "",
            "url": format!("tcp://{host}:{port}"),
            "upgrade": false,
        }),
        other => anyhow::bail!("{other} cannot be put to a node by this version of adit"),
    };
    let answer = node
        .ask(
            Method::POST,
            "/explain",
            &[("content-type", "application/json")],
            question.to_string().into_bytes(),
        )
        .await?;
    if !answer.status.is_success() {
        anyhow::bail!("{node}: {}", answer.complaint());
    }
    let value = answer.json()?;
    let text = value.get("text").and_then(Value::as_str);
    let allowed = match value.get("decision").and_then(Value::as_str) {
        Some("allow") => true,
        Some("deny") => false,
        _ => anyhow::bail!("{node}: the answer holds no decision; is it an agent of this version?"),
    };
    let text = text.map_or_else(|| format!("{value:#}"), ToOwned::to_owned);
    Ok((allowed, text, value))
}

fn sign(args: &SignArgs, output: Output) -> Result<(), Failure> {
    if args.key.len() > SIGNATURES_MAX {
        return Err(Failure::usage(format!(
            "at most {SIGNATURES_MAX} keys sign a rule set"
        )));
    }
    let name = args.file.display().to_string();
    let text = read(&args.file)?;
    compile_and_test(&name, &text)?;
    let keys = args.key.iter().map(|key| signer::open(key));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let keys: Vec<_> = keys.iter().collect();
    let stamp = Stamp {
        epoch: args.epoch,
        version: args.version,
    };
    let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0);
    let document = adit_manifest::sign(&args.audience.0, stamp, now, &text, &keys);
    safe_file::replace(&args.out, document.as_bytes(), Readers::Everybody)?;
    let signers: Vec<String> = keys
        .iter()
        .map(|key| key.public().id().to_string())
        .collect();
    output.result(
        format_args!(
            "{}: {stamp} for {}, signed by {}",
            args.out.display(),
            args.audience.0,
            signers.join(" and ")
        ),
        &json!({
            "file": args.out,
            "audience": args.audience.0,
            "epoch": stamp.epoch,
            "version": stamp.version,
            "signed_by": signers,
        }),
    );
    Ok(())
}

async fn push(file: &Path, node: &NodeAddress, output: Output) -> Result<(), Failure> {
    let name = file.display().to_string();
    let text = read(file)?;
    // Typos and failing tests are answered at once, also where no agent is near.
    compile_and_test(&name, rules_of(&name, &text)?)?;
    let accepted = push_to(node, &name, text).await?;
    let number = |member: &str| accepted.get(member).and_then(Value::as_u64).unwrap_or(0);
    output.result(
        format_args!(
            "version {} is in force on {node}: {}, {}",
            number("version"),
            count(number("systems"), "system"),
            count(number("resources"), "resource"),
        ),
        &accepted,
    );
    Ok(())
}

/// Puts `text` in force on an agent; gives back its acknowledgement.
pub(crate) async fn push_to(
    node: &NodeAddress,
    name: &str,
    text: String,
) -> Result<Value, Failure> {
    if let NodeAddress::Http(_) = node {
        return Err(Failure::usage(format!(
            "{node}: an agent takes rules on its unix socket only; write --node unix:PATH"
        )));
    }
    // A field's value is visible ASCII; the name is for messages only.
    let name: String = name
        .chars()
        .map(|char| if char.is_ascii_graphic() { char } else { '_' })
        .collect();
    let answer = node
        .ask(
            Method::PUT,
            "/rules",
            &[
                ("content-type", "application/toml"),
                ("adit-rules-file", &name),
            ],
            text.into_bytes(),
        )
        .await?;
    match answer.status {
        StatusCode::OK => Ok(answer.json()?),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let value = answer.json()?;
            let problems: Vec<&str> = value
                .get("problems")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            Err(Failure::config(format!(
                "{node} refused the rules and keeps the old ones\n{}",
                problems.join("\n")
            )))
        }
        _ => Err(Failure::failed(format!("{node}: {}", answer.complaint()))),
    }
}

/// Reads a rule set's text, at most as much as a rule set may have.
fn read(file: &Path) -> Result<String, Failure> {
    let place = file.display();
    let wrong = |error: std::io::Error| Failure::config(format!("{place}: {error}"));
    let bytes = std::fs::metadata(file).map_err(wrong)?.len();
    if usize::try_from(bytes).map_or(true, |bytes| bytes > RULES_TEXT_BYTES_MAX) {
        return Err(Failure::config(format!(
            "{place}: {bytes} bytes; a rule set has at most {RULES_TEXT_BYTES_MAX}"
        )));
    }
    let bytes = std::fs::read(file).map_err(wrong)?;
    String::from_utf8(bytes).map_err(|error| {
        Failure::config(format!(
            "{place}: not UTF-8 after byte {}",
            error.utf8_error().valid_up_to()
        ))
    })
}

/// Reads the rules of a file, signed or not; gives back the file's name for messages as well.
fn read_rules(file: &Path) -> Result<(String, String), Failure> {
    let name = file.display().to_string();
    let text = read(file)?;
    let rules = rules_of(&name, &text)?.to_owned();
    Ok((name, rules))
}

/// The rules in a file's text, which may be signed.
fn rules_of<'t>(name: &str, text: &'t str) -> Result<&'t str, Failure> {
    if !adit_manifest::is_document(text.as_bytes()) {
        return Ok(text);
    }
    adit_manifest::read(text.as_bytes())
        .map(|(_, rules)| rules)
        .map_err(|refused| Failure::config(format!("{name}: {refused}")))
}

fn compile_and_test(name: &str, rules: &str) -> Result<(), Failure> {
    let snapshot = compile(name, rules.to_owned()).map_err(|problems| wrong(&problems))?;
    let tests = snapshot.table().run_tests();
    tests.map(drop).map_err(|problems| failing(&problems))
}

fn compile(name: &str, text: String) -> Result<Arc<Snapshot>, Problems> {
    // The version is the node's to give; a file has none.
    Snapshot::from_file(name, 0, text)
}

fn wrong(problems: &Problems) -> Failure {
    Failure::config(format!("the rules are wrong\n{problems}"))
}

fn failing(problems: &Problems) -> Failure {
    Failure::config(format!("tests of the rules fail\n{problems}"))
}

fn problem_json(problem: &adit_policy::Problem) -> Value {
    json!({
        "line": problem.line(),
        "column": problem.column(),
        "message": problem.message(),
    })
}

fn size(snapshot: &Snapshot) -> (u64, u64) {
    let systems = &snapshot.table().rules().systems;
    let resources: usize = systems.iter().map(|system| system.resources.len()).sum();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    (number(systems.len()), number(resources))
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
