//! The data-plane program: `aditd gateway|agent|check`.
//!
//! Reads the configuration, enrols where that is asked for, raises the limit of descriptors, starts the role and ends
//! with its exit code. What a role does is its crate's.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use adit_runtime::settings::{EXIT_CONFIG, Problems};
use clap::{Parser, Subcommand, ValueEnum};

mod enrol;

use enrol::EnrolArguments;

/// adit's data plane: the gateway in the cloud, or the agent in the private network.
#[derive(Debug, Parser)]
#[command(
    name = "aditd",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 ended in good order, 1 could not start or failed, 2 wrong usage, \
                        78 wrong configuration (one line each on standard error, before anything listens)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as the cloud end: doors for applications, and the door for agents' tunnels
    Gateway {
        /// The configuration file, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        enrol: EnrolArguments,
    },
    /// Serve as the on-premise end: tunnels out, requests judged by the rules in force
    Agent {
        /// The configuration file, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        enrol: EnrolArguments,
    },
    /// Read a configuration file, name everything that is wrong with it, and start nothing
    Check {
        /// Which role the file is for
        role: Role,
        /// The configuration file, TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// The cloud end
    Gateway,
    /// The on-premise end
    Agent,
}

fn main() -> ExitCode {
    die_of_any_panic();
    match Arguments::parse().command {
        Command::Gateway { config, enrol } => {
            let enrolment = adit_gateway::Settings::read_enrolment;
            before(&config, &enrol, enrolment).unwrap_or_else(|| gateway(&config))
        }
        Command::Agent { config, enrol } => {
            let enrolment = adit_agent::Settings::read_enrolment;
            before(&config, &enrol, enrolment).unwrap_or_else(|| agent(&config))
        }
        Command::Check { role, config } => check(role, &config),
    }
}

// A shard that panicked would leave its connections open and silent: never connected but dead. Optimised builds abort
// by themselves; whoever supervises the process starts it anew.
fn die_of_any_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

// What is done before a role starts; an exit code where that was all.
fn before(
    config: &Path,
    enrol: &EnrolArguments,
    read: impl FnOnce(&Path) -> Result<adit_subscription::Enrolment, Problems>,
) -> Option<ExitCode> {
    let url = enrol.url()?;
    let enrolment = match read(config) {
        Ok(enrolment) => enrolment,
        Err(problems) => return Some(misconfigured(&problems)),
    };
    match enrol.run(&enrolment, url) {
        Ok(told) => {
            say(&told);
            enrol.is_all().then_some(ExitCode::SUCCESS)
        }
        Err(why) => Some(failed(&why)),
    }
}

fn gateway(config: &Path) -> ExitCode {
    let settings = match adit_gateway::Settings::read(config) {
        Ok(settings) => settings,
        Err(problems) => return misconfigured(&problems),
    };
    raise_descriptor_limit();
    match adit_gateway::Gateway::start(settings) {
        Ok(gateway) => gateway.run(),
        Err(error) => failed(&error),
    }
}

fn agent(config: &Path) -> ExitCode {
    let settings = match adit_agent::Settings::read(config) {
        Ok(settings) => settings,
        Err(problems) => return misconfigured(&problems),
    };
    raise_descriptor_limit();
    match adit_agent::Agent::start(settings) {
        Ok(agent) => agent.run(),
        Err(error) => failed(&error),
    }
}

fn check(role: Role, config: &Path) -> ExitCode {
    let checked = match role {
        Role::Gateway => adit_gateway::Settings::read(config).map(drop),
        Role::Agent => adit_agent::Settings::read(config).map(drop),
    };
    match checked {
        Ok(()) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stdout(), "{}: ok", config.display());
            ExitCode::SUCCESS
        }
        Err(problems) => misconfigured(&problems),
    }
}

fn misconfigured(problems: &Problems) -> ExitCode {
    say(problems);
    ExitCode::from(EXIT_CONFIG)
}

fn failed(error: &dyn Display) -> ExitCode {
    say(error);
    ExitCode::FAILURE
}

fn say(what: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

// Every connection is a descriptor, and the soft limit is made for programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What we got stays if it cannot be raised.
    let _ = setrlimit(Resource::Nofile, limit);
}
