//! `adit rules history`, `show` and `diff`: the versions that a place has had.
//!
//! Only reads. A difference of two versions is told as a plan is: what it means for requests.

use adit_api::{Change, Version, Versions};
use serde_json::json;

use super::held::{self, PlaceArgs};
use super::plan::{self, Rules};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::Call;
use crate::plane::shown::{plain, short, when};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct HistoryArgs {
    /// How many of the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ShowArgs {
    /// This version, and not the one in force
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct DiffArgs {
    /// The version that is compared
    old: u64,
    /// The version it is compared with
    new: u64,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) async fn history(args: HistoryArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let in_force = place.held(&plane).await?;
    let mut versions: Vec<Version> = Vec::new();
    let mut before = None;
    while versions.len() < args.last {
        let call = Call::get(place.path("/versions")).query::<u64>("before", before);
        let page: Versions = plane.get(place.call(call)).await?;
        versions.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    versions.truncate(args.last);
    let canary = in_force
        .rules
        .as_ref()
        .and_then(|rules| rules.canary.as_ref());
    let mut table = Table::new([
        "VERSION",
        "STATE",
        "WHEN",
        "BY",
        "CHANGE",
        "SYSTEMS",
        "RESOURCES",
        "SHA256",
        "MESSAGE",
    ]);
    for version in &versions {
        let state = if canary.is_some_and(|canary| canary.version == version.version) {
            "on trial"
        } else if version.version == in_force.version() {
            "in force"
        } else {
            "-"
        };
        table.row([
            version.version.to_string(),
            state.to_owned(),
            when(version.changed_unix_s),
            plain(&version.changed_by),
            change(version.change),
            version.systems.to_string(),
            version.resources.to_string(),
            short(&version.sha256),
            plain(&version.message),
        ]);
    }
    if versions.is_empty() {
        output.result(
            format_args!("{place} has no rules yet"),
            &json!({"items": []}),
        );
    } else {
        let items: Vec<_> = versions.iter().map(held::value).collect();
        output.result(
            table,
            &json!({"items": items, "in_force": in_force.version()}),
        );
    }
    Ok(())
}

fn change(change: Change) -> String {
    match change {
        Change::Applied {} => "applied".to_owned(),
        Change::RolledBack { to } => format!("back to {to}"),
        Change::Restored { version, epoch } => format!("restored {version} of epoch {epoch}"),
        Change::Abandoned { canary } => format!("trial of {canary} ended"),
    }
}

pub(super) async fn show(args: ShowArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let rules = match args.version {
        Some(version) => place.version(&plane, version).await?,
        None => place
            .held(&plane)
            .await?
            .rules
            .ok_or_else(|| Failure::failed(format!("{place} has no rules yet")))?,
    };
    if output.is_json() {
        output.result("", &json!(rules));
    } else {
        // The text alone, so that it can become a file again.
        output.raw(rules.text.as_bytes());
        output.hint(format_args!("{place}: {}", held::told(&rules.version)));
    }
    Ok(())
}

pub(super) async fn diff(args: DiffArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let old = place.version(&plane, args.old).await?;
    let new = place.version(&plane, args.new).await?;
    let name = place.to_string();
    let old = Rules::of_text(&name, Some(args.old), old.text)?;
    let new = Rules::of_text(&name, Some(args.new), new.text)?;
    plan::tell(&old, &new, output)
}
