//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures adit from outside, beside nothing and beside its peers, on this machine.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists scenarios, goals and peers
    List,
    /// Measures adit, and the same work without a tunnel
    Run(RunArgs),
    /// Measures adit and every peer found here, one after the other in each round
    Compare(RunArgs),
    /// Shows a kept record again
    Report(ReportArgs),
    /// Serves as the backend until standard input ends
    #[command(hide = true)]
    Backend(BackendArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenarios by name or letter, such as `download c f`, or `plane` for those of the control plane; none is all of
    /// the data plane
    pub(crate) scenarios: Vec<String>,
    /// How often everything is measured; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// One round, short measurements, fewer of the long cases
    #[arg(long)]
    pub(crate) quick: bool,
    /// Peers: latency once, no 10,000 idle streams, of the long links only the longest
    #[arg(long)]
    pub(crate) brief_peers: bool,
    /// Length of one measurement in seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// Length of the load of scenario `push` in seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) push_seconds: Option<f64>,
    /// Shards of adit, and threads of peers
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub(crate) shards: usize,
    /// Threads of the client and of the backend; by default a quarter of the processors
    #[arg(long, value_parser = count)]
    pub(crate) threads: Option<usize>,
    /// How adit waits: auto, `io_uring` or epoll
    #[arg(long, default_value = "auto")]
    pub(crate) driver: String,
    /// Do not tie programs to processors
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Peers to compare with; by default all that are found
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) peers: Option<Vec<String>>,
    /// Where `aditd` and `adit` are; by default beside this program
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Where records are kept
    #[arg(long, value_name = "DIR", default_value = "target/loadtest")]
    pub(crate) out: PathBuf,
    /// Writes the record there as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the page there as well
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A record, its folder, or a folder of records, of which the newest is shown
    #[arg(default_value = "target/loadtest")]
    pub(crate) record: PathBuf,
    /// Writes the page there instead of showing the table
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackendArgs {
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// The file its doors are written to
    #[arg(long)]
    pub(crate) doors: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("give seconds from 0.1 to 3600".to_owned()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1024).contains(&count) => Ok(count),
        Ok(_) | Err(_) => Err("give a number from 1 to 1024".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_counts_have_borders_on_both_sides() {
        for good in ["0.1", "1", "3600"] {
            assert!(seconds(good).is_ok(), "{good}");
        }
        for bad in ["0.09", "3601", "1e19", "NaN", "-1", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!((count("1"), count("1024")), (Ok(1), Ok(1024)));
        assert!(count("0").is_err() && count("1025").is_err());
        let parsed =
            |rounds: &str| Cli::try_parse_from(["adit-loadtest", "run", "--rounds", rounds]);
        assert!(parsed("100").is_ok() && parsed("101").is_err() && parsed("0").is_err());
    }
}
