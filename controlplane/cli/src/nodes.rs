//! `adit nodes`: agents and gateways of the control plane, and how a machine becomes one.
//!
//! An invitation's token is told once: on standard output by itself, or in a file that only its owner can read.

use std::path::PathBuf;

use adit_api::{Invitation, Invitations, Invite, Invited, Node, NodeRole, Nodes};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ending::Failure;
use crate::output::{Output, Plain, Table};
use crate::plane::shown::{now_unix_s, plain, when};
use crate::plane::{Call, Connect, Plane, segment};
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List agents and gateways: what they run, and until when their certificates count
    List {
        /// Agents of this subaccount only
        #[arg(long, value_name = "SUBACCOUNT")]
        subaccount: Option<String>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Show one agent or gateway
    Show(NodeArgs),
    /// Invite a machine: whoever has the token becomes this node, once, within 15 minutes
    ///
    /// The token is all that standard output gets, so that it can be piped to where the node is.
    Invite(InviteArgs),
    /// List invitations that nobody has used yet
    Invitations {
        /// Those of agents of this subaccount; without it those of gateways
        #[arg(long, value_name = "SUBACCOUNT")]
        subaccount: Option<String>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Take an invitation back
    Uninvite {
        /// Its id, as `adit nodes invitations` shows it
        id: String,
        /// The subaccount of an agent's invitation; without it a gateway's is meant
        #[arg(long, value_name = "SUBACCOUNT")]
        subaccount: Option<String>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Make the certificates of a node count no more; its tunnels end everywhere
    Revoke(NodeArgs),
    /// Take a revoked node out of the list
    Remove(NodeArgs),
    /// Ask a connected node what it says about itself
    Status(NodeArgs),
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct NodeArgs {
    /// The node's name
    name: String,
    /// An agent's subaccount; without it a gateway is meant
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct InviteArgs {
    /// Which kind of node
    #[arg(long, value_enum)]
    role: Role,
    /// The subaccount that an agent shall serve
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
    /// The location that an agent shall serve [default: the default location]
    #[arg(
        long,
        value_name = "LOCATION",
        default_value = "",
        hide_default_value = true
    )]
    location: String,
    /// The name that the node shall have
    #[arg(long)]
    name: String,
    /// Write the token to this file with mode 0600, and not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The on-premise end
    Agent,
    /// The cloud end
    Gateway,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::List {
            subaccount,
            connect,
        } => list(subaccount, &connect.open()?, output).await,
        Command::Show(args) => {
            let node: Node = args.connect.open()?.get(Call::get(args.path("")?)).await?;
            let value = json!(node);
            output.result(Plain(&value), &value);
            Ok(())
        }
        Command::Invite(args) => invite(args, output).await,
        Command::Invitations {
            subaccount,
            connect,
        } => invitations(subaccount, &connect.open()?, output).await,
        Command::Uninvite {
            id,
            subaccount,
            connect,
        } => {
            let path = format!(
                "{}/{}",
                invitations_of(subaccount.as_deref())?,
                segment("ID", &id)?
            );
            connect.open()?.ask(Call::delete(path)).await?;
            output.result(
                format_args!("invitation {id} is taken back"),
                &json!({"uninvited": id}),
            );
            Ok(())
        }
        Command::Revoke(args) => {
            let path = args.path("/revoke")?;
            done(&args, Call::post(path), "revoked", output).await
        }
        Command::Remove(args) => {
            let path = args.path("")?;
            done(&args, Call::delete(path), "removed", output).await
        }
        Command::Status(args) => {
            let path = args.path("/status")?;
            let status: Value = args.connect.open()?.get(Call::get(path)).await?;
            output.result(Plain(&status), &status);
            Ok(())
        }
    }
}

impl NodeArgs {
    fn path(&self, rest: &str) -> Result<String, Failure> {
        let name = segment("NAME", &self.name)?;
        Ok(format!(
            "{}/{name}{rest}",
            nodes_of(self.subaccount.as_deref())?
        ))
    }
}

async fn done(args: &NodeArgs, call: Call, what: &str, output: Output) -> Result<(), Failure> {
    args.connect.open()?.ask(call).await?;
    output.result(
        format_args!("{} is {what}", args.name),
        &json!({what: args.name, "subaccount": args.subaccount}),
    );
    Ok(())
}

/// A list that comes in pages.
async fn pages(plane: &Plane, path: &str) -> Result<Vec<Node>, Failure> {
    let page = plane.get(Call::get(path)).await?;
    further(plane, path, page).await
}

/// A page, and those behind it.
async fn further(plane: &Plane, path: &str, page: Nodes) -> Result<Vec<Node>, Failure> {
    let mut nodes = page.items;
    let mut after = page.next;
    while after.is_some() {
        let page: Nodes = plane.get(Call::get(path).query("after", after)).await?;
        nodes.extend(page.items);
        after = page.next;
    }
    Ok(nodes)
}

async fn list(subaccount: Option<String>, plane: &Plane, output: Output) -> Result<(), Failure> {
    let nodes = match &subaccount {
        Some(_) => pages(plane, &nodes_of(subaccount.as_deref())?).await?,
        None => {
            let mut nodes = pages(plane, "/api/v1/agents").await?;
            // Gateways belong to no subaccount; who sees some subaccounts only does not see them.
            let path = "/api/v1/gateways";
            let answer = plane.send(Call::get(path)).await?;
            if answer.status.is_success() {
                nodes.extend(further(plane, path, answer.json()?).await?);
            } else if answer.status != hyper::StatusCode::FORBIDDEN {
                return Err(answer.refusal());
            }
            nodes
        }
    };
    output.result(table(&nodes, now_unix_s()), &json!({"items": nodes}));
    Ok(())
}

fn table(nodes: &[Node], now_unix_s: u64) -> Table {
    let mut table = Table::new([
        "ROLE",
        "SUBACCOUNT",
        "LOCATION",
        "NAME",
        "STATE",
        "RULES",
        "TUNNELS",
        "STREAMS",
        "CERTIFICATE UNTIL",
    ]);
    for node in nodes {
        let connected = node.connected.as_ref();
        let state = if node.revoked {
            "revoked"
        } else if connected.is_some_and(|connected| connected.refused.is_some()) {
            "refused rules"
        } else if connected.is_some_and(|connected| !connected.not_ready.is_empty()) {
            "not ready"
        } else if connected.is_some_and(|connected| !connected.problems.is_empty()) {
            "has problems"
        } else if connected.is_some() {
            "connected"
        } else if node.certificate.until_unix_s <= now_unix_s {
            "expired"
        } else {
            "away"
        };
        let rules = connected.and_then(|connected| connected.running.as_ref());
        let number = |of: fn(&adit_api::Connected) -> u64| {
            connected.map_or_else(|| "-".to_owned(), |connected| of(connected).to_string())
        };
        table.row([
            role(node.role).to_owned(),
            plain(node.subaccount.as_deref().unwrap_or_default()),
            plain(&node.location),
            plain(&node.name),
            state.to_owned(),
            rules.map_or_else(|| "-".to_owned(), |rules| rules.version.to_string()),
            number(|connected| connected.tunnels),
            number(|connected| connected.streams),
            when(node.certificate.until_unix_s),
        ]);
    }
    table
}

async fn invite(args: InviteArgs, output: Output) -> Result<(), Failure> {
    let (path, whose) = match (args.role, args.subaccount.as_deref()) {
        (Role::Agent, Some(subaccount)) => (
            invitations_of(Some(subaccount))?,
            format!("agent {} of {subaccount}/{}", args.name, args.location),
        ),
        (Role::Agent, None) => {
            return Err(Failure::usage(
                "an agent has a subaccount: add --subaccount",
            ));
        }
        (Role::Gateway, None) if args.location.is_empty() => {
            (invitations_of(None)?, format!("gateway {}", args.name))
        }
        (Role::Gateway, _) => {
            return Err(Failure::usage(
                "a gateway has neither a subaccount nor a location; it serves all of them",
            ));
        }
    };
    let wish = Invite {
        name: args.name,
        location: args.location,
    };
    let plane = args.connect.open()?;
    // Before there is a token: one that cannot be kept would count all the same.
    let begun = match args.out {
        Some(out) => Some((safe_file::begin(&out, Readers::Owner)?, out)),
        None => None,
    };
    let invited: Invited = plane.ask(Call::post(path).json(&wish)?).await?.json()?;
    let until = when(invited.expires_unix_s);
    match begun {
        Some((file, out)) => {
            file.finish(invited.token.as_bytes())?;
            output.result(
                format_args!("{}: whoever has it becomes {whose}, until {until}", out.display()),
                &json!({"file": out, "name": invited.name, "expires_unix_s": invited.expires_unix_s}),
            );
        }
        None => {
            output.result(&invited.token, &json!(invited));
            output.hint(format_args!(
                "whoever has this token becomes {whose}, once, until {until}"
            ));
        }
    }
    Ok(())
}

/// An invitation as it is shown; the server never tells its token again.
#[derive(Serialize)]
struct Shown {
    items: Vec<Invitation>,
}

async fn invitations(
    subaccount: Option<String>,
    plane: &Plane,
    output: Output,
) -> Result<(), Failure> {
    let path = invitations_of(subaccount.as_deref())?;
    let mut shown = Shown { items: Vec::new() };
    let mut after = None;
    loop {
        let call = Call::get(path.clone()).query("after", after);
        let page: Invitations = plane.get(call).await?;
        shown.items.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut table = Table::new([
        "ID",
        "ROLE",
        "SUBACCOUNT",
        "LOCATION",
        "NAME",
        "BY",
        "UNTIL",
    ]);
    for item in &shown.items {
        table.row([
            plain(&item.id),
            role(item.role).to_owned(),
            plain(item.subaccount.as_deref().unwrap_or_default()),
            plain(&item.location),
            plain(&item.name),
            plain(&item.by),
            when(item.expires_unix_s),
        ]);
    }
    output.result(table, &json!(shown));
    Ok(())
}

fn nodes_of(subaccount: Option<&str>) -> Result<String, Failure> {
    Ok(match subaccount {
        Some(name) => format!(
            "/api/v1/subaccounts/{}/agents",
            segment("--subaccount", name)?
        ),
        None => "/api/v1/gateways".to_owned(),
    })
}

fn invitations_of(subaccount: Option<&str>) -> Result<String, Failure> {
    Ok(match subaccount {
        Some(name) => format!(
            "/api/v1/subaccounts/{}/invitations",
            segment("--subaccount", name)?
        ),
        None => "/api/v1/gateways/invitations".to_owned(),
    })
}

fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Agent => "agent",
        NodeRole::Gateway => "gateway",
    }
}
