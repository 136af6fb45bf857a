//! `adit acts`: who did what in the control plane.
//!
//! A list for people comes from the server; an export is the chain itself, held against its hashes while it is read.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use adit_api::{Act, Acts};
use adit_audit::{Digest, Summary, Verifier};
use serde_json::json;

use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::{plain, when};
use crate::plane::{Call, Connect, Plane};
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List what was done, oldest first
    List(ListArgs),
    /// Write the chain of acts to a file, verified line by line
    ///
    /// Exit code 1 where the chain is broken; the file holds what was read all the same.
    Export {
        /// Where the lines are written, with mode 0600; an older file there is replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ListArgs {
    /// Those in this subaccount only
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
    /// Those of this person or node only
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// How many of the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    last: usize,
    /// Go on with those to come, until interrupted; with --json one a line
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    connect: Connect,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args, output).await,
        Command::Export { out, connect } => export(&out, &connect.open()?, output).await,
    }
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let plane = args.connect.open()?;
    let mut newest: VecDeque<Act> = VecDeque::new();
    let mut after = 0;
    loop {
        let page = page(&plane, &args, after).await?;
        after = reached(&page, after);
        for act in page.items {
            newest.push_back(act);
            if newest.len() > args.last {
                newest.pop_front();
            }
        }
        if page.next.is_none() {
            break;
        }
    }
    if !args.follow {
        output.result(table(newest.iter()), &json!({"items": newest}));
        return Ok(());
    }
    for act in &newest {
        one(act, output);
    }
    loop {
        tokio::time::sleep(FOLLOW_PAUSE).await;
        let page = page(&plane, &args, after).await?;
        after = reached(&page, after);
        for act in &page.items {
            one(act, output);
        }
    }
}

/// How soon an act is seen by who follows.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

async fn page(plane: &Plane, args: &ListArgs, after: u64) -> Result<Acts, Failure> {
    let call = Call::get("/api/v1/acts")
        .query("subaccount", args.subaccount.as_ref())
        .query("who", args.who.as_ref())
        .query("after", Some(after));
    plane.get(call).await
}

/// The number behind which to go on.
fn reached(page: &Acts, before: u64) -> u64 {
    let last = page.items.last().map(|act| act.sequence);
    page.next.or(last).unwrap_or(before)
}

fn cells(act: &Act) -> [String; 7] {
    [
        act.sequence.to_string(),
        when(act.unix_ms / 1000),
        plain(&act.who),
        plain(&act.verb),
        plain(act.subaccount.as_deref().unwrap_or_default()),
        plain(&act.what),
        plain(&act.detail),
    ]
}

fn table<'a>(acts: impl Iterator<Item = &'a Act>) -> Table {
    let mut table = Table::new(["ACT", "WHEN", "WHO", "VERB", "SUBACCOUNT", "WHAT", "DETAIL"]);
    for act in acts {
        table.row(cells(act));
    }
    table
}

fn one(act: &Act, output: Output) {
    if output.is_json() {
        output.json_line(&json!(act));
    } else {
        output.line(cells(act).join("  "));
    }
}

async fn export(out: &std::path::Path, plane: &Plane, output: Output) -> Result<(), Failure> {
    let mut chain = Chain::default();
    let mut broken = None;
    let mut after = None;
    loop {
        let call = Call::get("/api/v1/acts/chain").query::<u64>("after", after);
        let answer = plane.ask(call).await?;
        if let Err(why) = chain.take(answer.bytes()) {
            broken.get_or_insert(why);
        }
        let next = answer.header("adit-next");
        match next.as_deref().unwrap_or_default() {
            "" => break,
            number => {
                let number = number.parse().ok();
                // A server that sends us round in circles would never end.
                if number.is_none() || number <= after {
                    return Err(Failure::failed(format!(
                        "{}: does not say where the chain goes on",
                        answer.server()
                    )));
                }
                after = number;
            }
        }
    }
    safe_file::replace(out, &chain.bytes, Readers::Owner)?;
    if let Some(why) = broken {
        return Err(Failure::failed(format!(
            "{}: the chain is broken: {why}",
            out.display()
        )));
    }
    let summary = chain.summary();
    output.result(
        format_args!(
            "{}: {} acts, whole, the last one number {} (sha256 {})",
            out.display(),
            summary.lines,
            summary.sequence,
            summary.last
        ),
        &json!({
            "file": out,
            "acts": summary.lines,
            "sequence": summary.sequence,
            "last": summary.last.to_string(),
            "complete": summary.start == Digest::ZERO,
        }),
    );
    Ok(())
}

/// What was read of a chain, and whether it is whole.
#[derive(Default)]
struct Chain {
    bytes: Vec<u8>,
    verifier: Option<Verifier>,
}

impl Chain {
    /// Takes the next lines.
    fn take(&mut self, lines: &[u8]) -> Result<(), String> {
        self.bytes.extend_from_slice(lines);
        let verifier = self.verifier.get_or_insert_with(|| Verifier::new(None));
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            verifier.line(line).map_err(|broken| broken.to_string())?;
            let summary = verifier.summary();
            // Old acts are dropped in time, so a chain may begin later; what is the first has nothing before it.
            if summary.lines == 1 && summary.sequence == 1 && summary.start != Digest::ZERO {
                return Err("the first act tells of one before it".to_owned());
            }
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        self.verifier
            .as_ref()
            .map_or_else(|| Verifier::new(None).summary(), Verifier::summary)
    }
}

#[cfg(test)]
mod tests {
    use adit_audit::{Record, Text};

    use super::*;

    fn lines(count: u64) -> Vec<u8> {
        let mut chain = adit_audit::Chain::new(Digest::ZERO);
        let mut lines = Vec::new();
        for number in 0..count {
            let act = adit_audit::Act {
                unix_ms: number,
                who: Text::of("ada"),
                verb: Text::of("rules-apply"),
                subaccount: None,
                what: Text::of("acme/"),
                detail: Text::of(""),
                request: Text::of("r"),
            };
            chain.append(&Record::Act(act), &mut lines);
        }
        lines
    }

    #[test]
    fn a_whole_chain_is_whole_in_pieces_too() {
        let lines = lines(4);
        let mut chain = Chain::default();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            chain.take(line).unwrap();
        }
        assert_eq!(chain.summary().lines, 4);
        assert_eq!(chain.bytes, lines);
    }

    #[test]
    fn a_changed_or_missing_act_breaks_the_chain_and_is_kept_as_evidence() {
        let whole = lines(4);
        let text = String::from_utf8(whole).unwrap();
        let second = text.split_inclusive('\n').nth(1).unwrap();
        for altered in [
            text.replacen("\"unix_ms\":1", "\"unix_ms\":7", 1),
            text.replacen(second, "", 1),
            text.trim_end().to_owned(),
        ] {
            assert_ne!(altered, text);
            let mut chain = Chain::default();
            assert!(chain.take(altered.as_bytes()).is_err());
            assert_eq!(chain.bytes, altered.as_bytes());
        }
    }
}
