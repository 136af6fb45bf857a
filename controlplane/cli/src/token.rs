//! `adit token`: an issuer for development.
//!
//! Declares the commands and says what was made. Keys and signatures are left to `issuer`.

pub(crate) mod issuer;
mod lifetime;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use adit_authority::Name;
use anyhow::{Context as _, Result};
use serde_json::json;

use self::issuer::{Claims, Issuer};
use self::lifetime::Lifetime;
use crate::ending::Failure;
use crate::output::Output;
use crate::safe_file::{self, Readers};

/// What an RFC 1929 password can carry, in bytes: its length is one byte.
const PASSWORD_BYTES_MAX: usize = 255;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The development issuer itself
    #[command(subcommand)]
    Issuer(IssuerCommand),
    /// Issue a token that says who an application is
    Issue(IssueArgs),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum IssuerCommand {
    /// Make an issuer: issuer-key.pem (Ed25519) and jwks.json
    ///
    /// Nothing is ever overwritten.
    Init {
        /// Folder of the issuer; made with mode 0700 if it is not there
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct IssueArgs {
    /// Folder of the issuer
    #[arg(long)]
    dir: PathBuf,
    /// The subaccount whose systems may be reached (claim `zid`)
    #[arg(long, value_name = "ID")]
    subaccount: Name,
    /// The application (claim `sub`)
    #[arg(long, value_name = "NAME", default_value = "app")]
    client: String,
    /// How long the token is valid: 90s, 15m, 1h or 7d
    #[arg(long, default_value = "1h")]
    ttl: Lifetime,
    /// Who issues (claim `iss`); the gateway lists it
    #[arg(long, default_value = "adit-dev")]
    issuer: String,
    /// For whom (claim `aud`); the gateway lists it
    #[arg(long, default_value = "adit")]
    audience: String,
    /// File for the token, written with mode 0600; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

pub(crate) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Issuer(IssuerCommand::Init { dir }) => {
            issuer::init(&dir)?;
            output.result(
                format_args!(
                    "the issuer is in {}; give {} to the gateway as token.jwks",
                    dir.display(),
                    issuer::JWKS
                ),
                &json!({"key": dir.join(issuer::KEY), "jwks": dir.join(issuer::JWKS)}),
            );
        }
        Command::Issue(args) => issue(&args, output)?,
    }
    Ok(())
}

fn issue(args: &IssueArgs, output: Output) -> Result<()> {
    let unix_now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?
        .as_secs();
    let expires = unix_now + args.ttl.seconds();
    let subaccount = args.subaccount.to_string();
    let token = Issuer::open(&args.dir)?.sign(&Claims {
        iss: &args.issuer,
        aud: &args.audience,
        exp: expires,
        zid: &subaccount,
        sub: &args.client,
    })?;
    if token.len() > PASSWORD_BYTES_MAX {
        output.hint(format_args!(
            "note: the token has {} bytes; as a SOCKS5 password at most {PASSWORD_BYTES_MAX} fit, \
             use shorter names there",
            token.len()
        ));
    }
    let mut facts = json!({"subaccount": subaccount, "client": args.client, "expires": expires});
    if args.out == Path::new("-") {
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("token".to_owned(), token.clone().into());
        }
        output.result(token, &facts);
    } else {
        // No line end: `$(cat FILE)` and programs that read the whole file get the same bytes.
        safe_file::replace(&args.out, token.as_bytes(), Readers::Owner)?;
        if let Some(facts) = facts.as_object_mut() {
            facts.insert("file".to_owned(), json!(args.out));
        }
        output.result(
            format_args!(
                "a token of {} bytes for subaccount {subaccount} is in {}, valid for {}",
                token.len(),
                args.out.display(),
                args.ttl
            ),
            &facts,
        );
    }
    Ok(())
}
