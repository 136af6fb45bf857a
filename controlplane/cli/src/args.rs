//! The command line, declared once: parser, help, completions and man pages all come from here.
//!
//! A noun's own arguments are declared beside the code that uses them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::plane::Connect;
use crate::{
    acts, audit, authority, backup, demo, explain, login, nodes, pki, rules, serve, status, token,
    tokens, users,
};

/// Reach systems in a private network without opening one inbound port there.
#[derive(Debug, Parser)]
#[command(
    name = "adit",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Cli {
    /// Print JSON on standard output, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  done; for `explain` and `rules explain`: allowed; for `rules plan`, `rules diff` and `rules apply`: no change
   1  failed or refused; for `explain` and `rules explain`: denied; for `rules test`: a test failed; for
      `audit verify`: broken
   2  the command line is wrong
   3  for `rules plan` and `rules diff`: changes; for `rules apply`: changed; for `rules import`: imported, and
      something needs a look; for `audit verify`: whole, but its end is not proven
  78  a rule or configuration file is wrong, or a test in it fails

Results go to standard output, everything else to standard error.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Import, check, test, explain, plan, apply and push rule sets
    #[command(subcommand)]
    Rules(rules::Command),

    /// Look for, verify and export the audit records of a node
    #[command(subcommand)]
    Audit(audit::Command),

    /// Show what a node says about itself
    Status(status::Args),

    /// Run the control plane
    ///
    /// Keeps rules, nodes, people and keys; nodes dial it. Without a configuration it listens on
    /// 127.0.0.1:7420 and keeps everything in ./adit-server.
    Serve(serve::Args),

    /// Log in at the control plane, for the commands to come
    ///
    /// What comes of it is in ~/.config/adit/plane.json (or $ADIT_CONFIG_DIR), mode 0600.
    Login(login::Args),

    /// End the login, at the control plane and here
    Logout,

    /// Say who asks, as the control plane sees it
    Whoami {
        #[command(flatten)]
        connect: Connect,
    },

    /// Manage the people of the control plane
    #[command(subcommand)]
    Users(users::Command),

    /// Make, list and revoke tokens for programs that use the control plane
    #[command(subcommand)]
    Tokens(tokens::Command),

    /// Invite, list, revoke agents and gateways, and ask them
    #[command(subcommand)]
    Nodes(nodes::Command),

    /// Ask a live agent whether it allows a request, by which rule, or why not
    ///
    /// Asked through the control plane, answered by the rules that the agent enforces. Exit code 0: allowed; 1: denied.
    Explain(explain::Args),

    /// Show what the nodes know of a request, by the id that its caller got
    Why(explain::WhyArgs),

    /// Show and change the certificate authority and the key that signs rules
    #[command(subcommand)]
    Authority(authority::Command),

    /// Show who did what in the control plane, or export it
    #[command(subcommand)]
    Acts(acts::Command),

    /// Back up the control plane, and restore it
    #[command(subcommand)]
    Backup(backup::Command),

    /// Look at the control plane itself
    #[command(subcommand)]
    Plane(authority::PlaneCommand),

    /// Make the certificates of agents and gateways
    ///
    /// For small landscapes and tests: one certificate authority in a folder, certificates of 90
    /// days. The identity of a node is the SPIFFE ID in its certificate.
    #[command(subcommand)]
    Pki(pki::Command),

    /// Make tokens for development
    ///
    /// In production tokens come from an identity provider; its JWKS goes into the gateway's
    /// configuration.
    #[command(subcommand)]
    Token(token::Command),

    /// Run the whole journey on this machine: gateway, agent, backends, rules and requests
    Demo(demo::Args),

    /// Print the completion script of a shell
    ///
    /// For example: adit completions bash > /etc/bash_completion.d/adit
    Completions {
        /// For which shell
        shell: Shell,
    },

    /// Write the man pages, one for each command
    Man {
        /// Folder for the pages; made if it is not there
        dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        fn check(command: &clap::Command, seen: &mut usize) {
            assert!(
                command.get_about().is_some(),
                "command {} says nothing about itself",
                command.get_name()
            );
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "argument {} of {} says nothing about itself",
                    argument.get_id(),
                    command.get_name()
                );
                *seen += 1;
            }
            command
                .get_subcommands()
                .for_each(|command| check(command, seen));
        }
        let mut seen = 0;
        check(&Cli::command(), &mut seen);
        assert!(seen > 20, "only {seen} arguments were looked at");
    }
}
