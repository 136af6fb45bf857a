//! `adit tokens`: tokens for programs that use the control plane.
//!
//! A secret is written into a file once; afterwards a token is known by its id, which is none.

use std::path::PathBuf;

use adit_api::{ApiToken, ApiTokens, NewToken, Token};
use serde_json::json;

use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::{plain, when};
use crate::plane::{Call, Connect, Plane, segment};
use crate::safe_file::{self, Readers};
use crate::users::grants;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
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
    /// List your tokens, and those of people whom you may see; without their secrets
    List {
        #[command(flatten)]
        connect: Connect,
    },
    /// End a token: yours, or one of somebody whom you may change
    Revoke {
        /// Its id, as `adit tokens list` shows it
        id: String,
        #[command(flatten)]
        connect: Connect,
    },
}

pub(crate) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::New {
            label,
            days,
            out,
            connect,
        } => make(NewToken { label, days }, out, &connect, output).await,
        Command::List { connect } => list(&connect.open()?, output).await,
        Command::Revoke { id, connect } => {
            let path = format!("/api/v1/tokens/{}", segment("ID", &id)?);
            connect.open()?.ask(Call::delete(path)).await?;
            output.result(format_args!("{id} is revoked"), &json!({"revoked": id}));
            Ok(())
        }
    }
}

async fn make(
    wish: NewToken,
    out: PathBuf,
    connect: &Connect,
    output: Output,
) -> Result<(), Failure> {
    let plane = connect.open()?;
    // Before there is a token: one that cannot be kept would count all the same.
    let file = safe_file::begin(&out, Readers::Owner)?;
    let token: Token = plane
        .ask(Call::post("/api/v1/tokens").json(&wish)?)
        .await?
        .json()?;
    file.finish(token.token.as_bytes())?;
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

async fn list(plane: &Plane, output: Output) -> Result<(), Failure> {
    let mut tokens: Vec<ApiToken> = Vec::new();
    let mut after = None;
    loop {
        let call = Call::get("/api/v1/tokens").query("after", after);
        let page: ApiTokens = plane.get(call).await?;
        tokens.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut table = Table::new(["ID", "OF", "FOR", "MAY", "MADE", "ENDS"]);
    for token in &tokens {
        table.row([
            plain(&token.id),
            plain(&token.user),
            plain(&token.label),
            grants(&token.grants),
            when(token.created_unix_s),
            when(token.expires_unix_s),
        ]);
    }
    output.result(table, &json!({"items": tokens}));
    Ok(())
}
