//! `adit users` and `adit tokens`: who may do what in the control plane, and tokens for programs.
//!
//! What a role may do is the server's. A grant is written `operator@acme`, or `auditor@*` for everywhere.

use std::path::PathBuf;
use std::str::FromStr;

use adit_api::{Grant, NewToken, NewUser, Role, Scope, Token, User, UserChange, Users};
use serde_json::json;

use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::{plain, when};
use crate::plane::{Answer, Call, Connect, Plane, prompt};
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the people that you may see
    List {
        #[command(flatten)]
        connect: Connect,
    },
    /// Make a user
    Add(AddArgs),
    /// Change a user: grants, password, whether they may do anything for now
    Set(SetArgs),
    /// Take a user away; their logins and tokens count no more
    Remove {
        /// Name
        name: String,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct AddArgs {
    /// Name
    name: String,
    /// What they may do, ROLE@SUBACCOUNT or ROLE@*; again for more
    ///
    /// Roles: administrator (everything), operator (rules and nodes), auditor (reads everything, the acts too), viewer
    /// (reads rules and nodes).
    #[arg(long, value_name = "GRANT")]
    grant: Vec<GrantText>,
    /// A file with the password, or - for standard input; without it the terminal asks
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct SetArgs {
    /// Name
    name: String,
    /// What they may do from now on, ROLE@SUBACCOUNT or ROLE@*, instead of what they might before; again for more
    #[arg(long, value_name = "GRANT")]
    grant: Vec<GrantText>,
    /// Ask the terminal for a new password; it ends their logins
    #[arg(long, conflicts_with = "password_file")]
    password: bool,
    /// A file with a new password, or - for standard input; it ends their logins
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// They may do nothing for now
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// They may do again what they might
    #[arg(long)]
    enable: bool,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for a program: it may do what you may, until it ends
    ///
    /// A program gives it by --token-file or ADIT_TOKEN_FILE.
    New {
        /// What it is for, as the acts will show it
        #[arg(long)]
        label: String,
        /// For how many days it counts
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=366))]
        days: u64,
        /// Where the token is written, with mode 0600; it is shown nowhere else
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        connect: Connect,
    },
}

/// A grant as people write it.
#[derive(Clone, Debug)]
struct GrantText(Grant);

impl FromStr for GrantText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, scope) = text
            .split_once('@')
            .ok_or("write ROLE@SUBACCOUNT, or ROLE@* for everywhere")?;
        let role = match role {
            "administrator" => Role::Administrator,
            "operator" => Role::Operator,
            "auditor" => Role::Auditor,
            "viewer" => Role::Viewer,
            _ => return Err("the roles are administrator, operator, auditor and viewer".to_owned()),
        };
        let scope = match scope {
            "" => return Err("the subaccount is missing; `*` is everywhere".to_owned()),
            "*" => Scope::All,
            subaccount => Scope::Subaccount(subaccount.to_owned()),
        };
        Ok(Self(Grant { role, scope }))
    }
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::List { connect } => list(&connect.open()?, output).await,
        Command::Add(args) => add(args, output).await,
        Command::Set(args) => set(args, output).await,
        Command::Remove { name, connect } => {
            let plane = connect.open()?;
            let (_, tag) = read(&plane, &name).await?;
            let call = Call::delete(path(&name)?).based_on(Some(&tag));
            plane.ask(call).await?;
            output.result(format_args!("{name} is removed"), &json!({"removed": name}));
            Ok(())
        }
    }
}

async fn list(plane: &Plane, output: Output) -> Result<(), Failure> {
    let mut users: Vec<User> = Vec::new();
    let mut after = None;
    loop {
        let call = Call::get("/api/v1/users").query("after", after);
        let page: Users = plane.get(call).await?;
        users.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut table = Table::new(["NAME", "MAY", "STATE", "SINCE"]);
    for user in &users {
        let state = if user.disabled { "disabled" } else { "enabled" };
        table.row([
            plain(&user.name),
            grants(&user.grants),
            state.to_owned(),
            when(user.created_unix_s),
        ]);
    }
    output.result(table, &json!({"items": users}));
    Ok(())
}

async fn add(args: AddArgs, output: Output) -> Result<(), Failure> {
    let plane = args.connect.open()?;
    let password = prompt::password(args.password_file.as_ref(), &args.name, true).await?;
    let wish = NewUser {
        name: args.name,
        password,
        grants: unwrapped(args.grant),
    };
    let user: User = plane
        .ask(Call::post("/api/v1/users").json(&wish)?)
        .await?
        .json()?;
    tell(&user, output);
    Ok(())
}

async fn set(args: SetArgs, output: Output) -> Result<(), Failure> {
    let wants_password = args.password || args.password_file.is_some();
    if !wants_password && args.grant.is_empty() && !args.disable && !args.enable {
        return Err(Failure::usage(
            "nothing is to be changed; write --grant, --password, --password-file, --disable or --enable",
        ));
    }
    let plane = args.connect.open()?;
    let (_, tag) = read(&plane, &args.name).await?;
    let password = if wants_password {
        let password = prompt::password(args.password_file.as_ref(), &args.name, true).await?;
        Some(password)
    } else {
        None
    };
    let wish = UserChange {
        password,
        grants: (!args.grant.is_empty()).then(|| unwrapped(args.grant)),
        disabled: (args.disable || args.enable).then_some(args.disable),
    };
    let call = Call::patch(path(&args.name)?)
        .based_on(Some(&tag))
        .json(&wish)?;
    let user: User = plane.ask(call).await?.json()?;
    tell(&user, output);
    Ok(())
}

pub(crate) async fn tokens(command: TokenCommand, output: Output) -> Result<(), Failure> {
    let TokenCommand::New {
        label,
        days,
        out,
        connect,
    } = command;
    if out.exists() {
        return Err(Failure::failed(format!(
            "{}: is there already and is not overwritten; choose another file",
            out.display()
        )));
    }
    let plane = connect.open()?;
    let wish = NewToken { label, days };
    let token: Token = plane
        .ask(Call::post("/api/v1/tokens").json(&wish)?)
        .await?
        .json()?;
    safe_file::create(&out, token.token.as_bytes(), Readers::Owner)?;
    output.result(
        format_args!(
            "{}: a token of {} until {}",
            out.display(),
            plain(&token.user),
            when(token.expires_unix_s)
        ),
        &json!({"file": out, "user": token.user, "expires_unix_s": token.expires_unix_s}),
    );
    Ok(())
}

/// Grants as people write them.
pub(crate) fn grants(grants: &[Grant]) -> String {
    if grants.is_empty() {
        return "nothing".to_owned();
    }
    let words: Vec<_> = grants
        .iter()
        .map(|grant| {
            let role = match grant.role {
                Role::Administrator => "administrator",
                Role::Operator => "operator",
                Role::Auditor => "auditor",
                Role::Viewer => "viewer",
            };
            match &grant.scope {
                Scope::All => format!("{role}@*"),
                Scope::Subaccount(name) => format!("{role}@{}", plain(name)),
            }
        })
        .collect();
    words.join(", ")
}

async fn read(plane: &Plane, name: &str) -> Result<(User, String), Failure> {
    let answer: Answer = plane.ask(Call::get(path(name)?)).await?;
    let tag = answer.etag().unwrap_or_default();
    Ok((answer.json()?, tag))
}

fn path(name: &str) -> Result<String, Failure> {
    Ok(format!(
        "/api/v1/users/{}",
        crate::plane::segment("NAME", name)?
    ))
}

fn unwrapped(grants: Vec<GrantText>) -> Vec<Grant> {
    grants.into_iter().map(|grant| grant.0).collect()
}

fn tell(user: &User, output: Output) {
    let state = if user.disabled { ", disabled" } else { "" };
    output.result(
        format_args!("{}: {}{state}", plain(&user.name), grants(&user.grants)),
        &json!(user),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_back_as_it_was_written() {
        for text in [
            "administrator@*",
            "operator@acme",
            "auditor@*",
            "viewer@a.b-c",
        ] {
            let grant: GrantText = text.parse().unwrap();
            assert_eq!(grants(&[grant.0]), text);
        }
        for text in ["", "operator", "operator@", "root@*", "@acme"] {
            assert!(text.parse::<GrantText>().is_err(), "{text}");
        }
    }
}
