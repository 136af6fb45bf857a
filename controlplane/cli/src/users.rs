//! `adit users`: who may do what in the control plane, and one's own password.
//!
//! What a role may do is the server's. A grant is written `operator@acme`, or `auditor@*` for everywhere.

use std::path::PathBuf;
use std::str::FromStr;

use adit_api::{Grant, NewUser, PasswordChange, Role, Scope, User, UserChange, Users, Whoami};
use serde_json::json;

use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::{plain, when};
use crate::plane::{Answer, Call, Connect, Plane, prompt};

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
    /// Change your own password; your other logins end, your tokens go on
    Password(PasswordArgs),
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
    /// They have no password, and come by a client certificate that names them
    #[arg(long, conflicts_with = "password_file")]
    certificate: bool,
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

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct PasswordArgs {
    /// A file with the password that counts now, or - for standard input; without it the terminal asks
    #[arg(long, value_name = "FILE")]
    old_password_file: Option<PathBuf>,
    /// A file with the new password, or - for standard input (its next line); without it the terminal asks
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
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
        Command::Password(args) => password(args, output).await,
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
        let way = if user.certificate {
            ", by certificate"
        } else {
            ""
        };
        table.row([
            plain(&user.name),
            grants(&user.grants),
            format!("{state}{way}"),
            when(user.created_unix_s),
        ]);
    }
    output.result(table, &json!({"items": users}));
    Ok(())
}

async fn add(args: AddArgs, output: Output) -> Result<(), Failure> {
    let plane = args.connect.open()?;
    let password = if args.certificate {
        None
    } else {
        Some(prompt::password(args.password_file.as_ref(), &args.name, true).await?)
    };
    let wish = NewUser {
        name: args.name,
        password,
        certificate: args.certificate,
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

async fn password(args: PasswordArgs, output: Output) -> Result<(), Failure> {
    let plane = args.connect.open()?;
    let who: Whoami = plane.get(Call::get("/api/v1/whoami")).await?;
    if who.how != "local" {
        return Err(Failure::failed(format!(
            "{} has no password here to change ({}); log in with one: adit login",
            plain(&who.name),
            plain(&who.how)
        )));
    }
    let now = format!("{} as it is now", who.name);
    let old = prompt::password(args.old_password_file.as_ref(), &now, false).await?;
    let next = format!("{} from now on", who.name);
    let new = prompt::password(args.password_file.as_ref(), &next, true).await?;
    let call = Call::post("/api/v1/password").json(&PasswordChange { old, new })?;
    plane.ask(call).await?;
    output.result(
        format_args!(
            "{}: the password is changed; other logins have ended",
            plain(&who.name)
        ),
        &json!({"name": who.name, "changed": true}),
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

/// A user's path. Their names may hold what other names may not: mail addresses are names too.
fn path(name: &str) -> Result<String, Failure> {
    Ok(format!(
        "/api/v1/users/{}",
        crate::plane::user_segment("NAME", name)?
    ))
}

fn unwrapped(grants: Vec<GrantText>) -> Vec<Grant> {
    grants.into_iter().map(|grant| grant.0).collect()
}

fn tell(user: &User, output: Output) {
    let way = if user.certificate {
        ", by certificate"
    } else {
        ""
    };
    let state = if user.disabled { ", disabled" } else { "" };
    output.result(
        format_args!(
            "{}: {}{way}{state}",
            plain(&user.name),
            grants(&user.grants)
        ),
        &json!(user),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_address_is_a_name_in_a_path_and_a_path_is_not() {
        for (name, segment) in [
            ("ada", "ada"),
            ("ada+ops@example.com", "ada%2Bops%40example.com"),
        ] {
            assert_eq!(path(name).unwrap(), format!("/api/v1/users/{segment}"));
        }
        for name in ["", ".", "..", "a/b", "a b", "a%2fb", "a?b"] {
            assert!(path(name).is_err(), "{name}");
        }
    }

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
