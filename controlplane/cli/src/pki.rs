//! `adit pki`: a small certificate authority in a folder.
//!
//! Declares the commands and says what was made. Keys and certificates are left to `authority`.

pub(crate) mod authority;
pub(crate) mod signer;

use std::path::{Path, PathBuf};

use adit_authority::{Identity, Name, TrustDomain};
use anyhow::Result;
use serde_json::json;
use time::OffsetDateTime;

use self::authority::{Authority, Issued};
use crate::ending::Failure;
use crate::output::Output;
use crate::safe_file::{self, Readers};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a certificate authority: ca.pem and ca-key.pem
    ///
    /// Nothing is ever overwritten.
    Init {
        /// Folder of the authority; made with mode 0700 if it is not there
        #[arg(long)]
        dir: PathBuf,
        /// First part of every identity: spiffe://TRUST-DOMAIN/...
        #[arg(long, default_value = "adit.local")]
        trust_domain: TrustDomain,
        /// How long the authority's own certificate is valid
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
    },
    /// Make a key that signs rule sets: signer-key.pem and signer.pem
    ///
    /// An agent whose configuration names signer.pem as `rules.signing_keys` takes no rules but those
    /// signed with the key. Nothing is ever overwritten.
    Signer {
        /// Folder for both files; made with mode 0700 if it is not there
        #[arg(long)]
        out: PathBuf,
    },
    /// Issue the certificate of a node: cert.pem, key.pem and ca.pem
    #[command(subcommand)]
    Issue(Issue),
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Issue {
    /// For an agent: it may serve one subaccount and no other
    Agent {
        /// The subaccount it serves
        #[arg(long, value_name = "ID")]
        subaccount: Name,
        #[command(flatten)]
        common: IssueArgs,
    },
    /// For a gateway
    Gateway {
        #[command(flatten)]
        common: IssueArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct IssueArgs {
    /// Folder of the authority
    #[arg(long)]
    dir: PathBuf,
    /// Name of the node
    #[arg(long)]
    name: Name,
    /// Folder for cert.pem, key.pem and ca.pem; made with mode 0700 if it is not there
    #[arg(long)]
    out: PathBuf,
    /// How long the certificate is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace the files of an earlier certificate
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(command: Command, output: Output) -> Result<(), Failure> {
    let now = OffsetDateTime::now_utc();
    match command {
        Command::Init {
            dir,
            trust_domain,
            days,
        } => {
            let not_after = authority::init(&dir, &trust_domain, days, now)?;
            output.result(
                format_args!(
                    "the authority of {trust_domain} is in {}, valid until {}; guard ca-key.pem: \
                     who has it can be any node",
                    dir.display(),
                    not_after.date()
                ),
                &json!({
                    "trust_domain": trust_domain.to_string(),
                    "certificate": dir.join(authority::CERTIFICATE),
                    "key": dir.join(authority::KEY),
                    "not_after": not_after.unix_timestamp(),
                }),
            );
        }
        Command::Signer { out } => {
            let id = signer::init(&out)?;
            let (key, public) = (out.join(signer::KEY), out.join(signer::PUBLIC));
            output.result(
                format_args!(
                    "signer {id}: name {} as rules.signing_keys of the agents, and guard {}: who has it \
                     decides what is exposed",
                    public.display(),
                    key.display()
                ),
                &json!({"key_id": id.to_string(), "key": key, "public_key": public}),
            );
        }
        Command::Issue(issue) => {
            let (identity, args) = match issue {
                Issue::Agent { subaccount, common } => (
                    Identity::Agent {
                        subaccount,
                        name: common.name.clone(),
                    },
                    common,
                ),
                Issue::Gateway { common } => (
                    Identity::Gateway {
                        name: common.name.clone(),
                    },
                    common,
                ),
            };
            let issued = Authority::open(&args.dir)?.issue(&identity, args.days, now)?;
            write(&args.out, &issued, args.replace)?;
            output.result(
                format_args!(
                    "{} is in {}, valid until {}",
                    issued.spiffe_id,
                    args.out.display(),
                    issued.not_after.date()
                ),
                &json!({
                    "spiffe_id": issued.spiffe_id,
                    "certificate": args.out.join("cert.pem"),
                    "key": args.out.join("key.pem"),
                    "roots": args.out.join("ca.pem"),
                    "not_after": issued.not_after.unix_timestamp(),
                }),
            );
        }
    }
    Ok(())
}

/// Writes the three files of a node. The key comes first: a certificate without its key is the one
/// state that nobody can repair.
pub(crate) fn write(out: &Path, issued: &Issued, replace: bool) -> Result<()> {
    safe_file::make_folder(out)?;
    let files = [
        ("key.pem", &issued.key, Readers::Owner),
        ("cert.pem", &issued.certificate, Readers::Everybody),
        ("ca.pem", &issued.roots, Readers::Everybody),
    ];
    let put = if replace {
        safe_file::replace
    } else {
        // All or nothing: the first of these that is there refuses the whole.
        for (name, _, _) in &files {
            let path = out.join(name);
            if path.exists() {
                anyhow::bail!(
                    "{}: is there already; choose another folder, or say --replace",
                    path.display()
                );
            }
        }
        safe_file::create
    };
    for (name, text, readers) in files {
        put(&out.join(name), text.as_bytes(), readers)?;
    }
    Ok(())
}
