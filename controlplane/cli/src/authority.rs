//! `adit authority` and `adit plane`: the control plane about itself, and the roll-over of its keys.
//!
//! A login learns new roots here, as soon as a server that proves itself by the old ones tells of them.

use adit_api::{Authority, AuthorityStep, Status};
use serde_json::json;

use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::{plain, when};
use crate::plane::{Answer, Call, Connect, Plane, Profile, prompt};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show roots, signing keys and what is revoked
    Show {
        #[command(flatten)]
        connect: Connect,
    },
    /// Take a step of a roll-over of the root and of the key that signs rules
    ///
    /// begin: a second one is made and trusted beside the first. switch: the second one is used. finish: the first one
    /// is no longer trusted. Between two steps all nodes have to hear of the one before.
    Roll {
        /// Which step
        #[arg(value_enum)]
        step: Step,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Step {
    /// Make a second root and signing key, and trust them
    Begin,
    /// Use the second ones
    Switch,
    /// Trust the first ones no longer
    Finish,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PlaneCommand {
    /// Show its servers, its store, how many nodes are connected, and how far the sinks of acts are
    Status {
        #[command(flatten)]
        connect: Connect,
    },
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Show { connect } => {
            let plane = connect.open()?;
            let (authority, _) = read(&plane).await?;
            tell(&authority, output);
            learn(&connect, &authority)
        }
        Command::Roll { step, yes, connect } => {
            let plane = connect.open()?;
            let (before, tag) = read(&plane).await?;
            if !yes {
                prompt::confirm(question(step))?;
            }
            let step = match step {
                Step::Begin => AuthorityStep::Begin,
                Step::Switch => AuthorityStep::Switch,
                Step::Finish => AuthorityStep::Finish,
            };
            // Known before the step, so that a login never trusts less than the next certificate needs.
            learn(&connect, &before)?;
            let call = Call::post("/api/v1/authority/roll")
                .based_on(Some(&tag))
                .json(&json!({"step": step}))?;
            plane.ask(call).await?;
            let (authority, _) = read(&plane).await?;
            tell(&authority, output);
            learn(&connect, &authority)
        }
    }
}

fn question(step: Step) -> &'static str {
    match step {
        Step::Begin => "make a second root and signing key, trusted beside the first?",
        Step::Switch => {
            "use the second root and signing key? Nodes that have not heard of them refuse new rules."
        }
        Step::Finish => {
            "trust the first root and signing key no longer? Nodes with certificates of the first root are locked out."
        }
    }
}

pub(crate) async fn status(command: PlaneCommand, output: Output) -> Result<(), Failure> {
    let PlaneCommand::Status { connect } = command;
    let status: Status = connect.open()?.get(Call::get("/api/v1/status")).await?;
    output.result(told(&status), &json!(status));
    Ok(())
}

fn told(status: &Status) -> String {
    let mut servers = Table::new(["SERVER", "SINCE", "SOFTWARE"]);
    for server in &status.servers {
        servers.row([
            plain(&server.name),
            when(server.since_unix_s),
            plain(&server.software),
        ]);
    }
    let mut text = format!(
        "{} ({}): store {}, epoch {}, nodes connected to it {}\n\n{servers}",
        plain(&status.server),
        plain(&status.software),
        plain(&status.store),
        status.epoch,
        status.connected
    );
    if status.sinks.is_empty() {
        return text;
    }
    let mut sinks = Table::new([
        "SINK",
        "TARGET",
        "SENT BY",
        "BEHIND",
        "NEVER SENT",
        "TROUBLE",
    ]);
    for sink in &status.sinks {
        let behind = match sink.lag_records {
            0 => "nothing".to_owned(),
            records => format!("{records} acts, {} s", sink.lag_seconds),
        };
        sinks.row([
            plain(&sink.sink),
            plain(&sink.target),
            plain(&sink.server),
            behind,
            sink.gap_records.to_string(),
            sink.trouble.as_deref().map_or_else(String::new, plain),
        ]);
    }
    text.push_str(&format!("\n{sinks}"));
    text
}

async fn read(plane: &Plane) -> Result<(Authority, String), Failure> {
    let answer: Answer = plane.ask(Call::get("/api/v1/authority")).await?;
    let tag = answer.etag().unwrap_or_default();
    Ok((answer.json()?, tag))
}

/// Keeps the roots in the profile, if it is the profile that was used.
fn learn(connect: &Connect, authority: &Authority) -> Result<(), Failure> {
    if !connect.is_login() {
        return Ok(());
    }
    match Profile::read()? {
        Some(mut profile)
            if profile.trust_domain == authority.trust_domain
                && profile.roots.trim() != authority.roots_pem.trim() =>
        {
            profile.roots.clone_from(&authority.roots_pem);
            profile.write().map(drop)
        }
        _ => Ok(()),
    }
}

fn tell(authority: &Authority, output: Output) {
    let mut roots = Table::new(["ROOT", "UNTIL", "USE"]);
    for root in &authority.roots {
        let role = if root.issues { "issues" } else { "trusted" };
        roots.row([plain(&root.pin), when(root.until_unix_s), role.to_owned()]);
    }
    let mut keys = Table::new(["SIGNING KEY", "USE"]);
    for key in &authority.signing_keys {
        let role = if key.signs { "signs" } else { "trusted" };
        keys.row([plain(&key.id), role.to_owned()]);
    }
    let revoked = match authority.revoked.as_slice() {
        [] => "no certificate is revoked".to_owned(),
        serials => format!("revoked: {}", plain(&serials.join(", "))),
    };
    output.result(
        format_args!(
            "trust domain {}, trust version {}\n\n{roots}\n\n{keys}\n\n{revoked}",
            plain(&authority.trust_domain),
            authority.trust_version
        ),
        &json!(authority),
    );
}

#[cfg(test)]
mod tests {
    use adit_api::{ActsSink, Server};

    use super::*;

    #[test]
    fn the_sinks_of_acts_stand_below_the_servers_when_there_are_any() {
        let mut status = Status {
            server: "cp-1".to_owned(),
            software: "adit 0.1.0".to_owned(),
            epoch: 1,
            store: "embedded".to_owned(),
            servers: vec![Server {
                name: "cp-1".to_owned(),
                since_unix_s: 0,
                software: "adit 0.1.0".to_owned(),
            }],
            connected: 3,
            sinks: Vec::new(),
        };
        assert!(!told(&status).contains("SINK"));
        status.sinks.push(ActsSink {
            sink: "syslog".to_owned(),
            target: "logs:6514".to_owned(),
            server: "cp-1".to_owned(),
            delivered: 5,
            delivered_unix_s: 0,
            lag_records: 7,
            lag_seconds: 60,
            gap_records: 2,
            trouble: Some("refused\u{1b}".to_owned()),
        });
        let text = told(&status);
        let last = text.lines().last().unwrap();
        let cells = last.split("  ").map(str::trim);
        let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            cells,
            [
                "syslog",
                "logs:6514",
                "cp-1",
                "7 acts, 60 s",
                "2",
                "refused "
            ]
            .map(str::trim_end)
        );
    }
}
