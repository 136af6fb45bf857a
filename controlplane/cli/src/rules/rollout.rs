//! `adit rules rollout`, and waiting for a version to arrive: how many agents enforce it.
//!
//! Agents that are away get it when they come back; nobody waits for them.

use std::time::Duration;

use adit_api::{NodeState, Rollout};
use serde_json::json;
use tokio::time::Instant;

use super::held::{Place, PlaceArgs};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::plain;
use crate::plane::{Call, Plane};

/// How long `--wait` waits without a number, in seconds.
const WAIT_S: &str = "60";

/// How soon the next look is taken.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct WaitArgs {
    /// Wait until all connected agents enforce it, at most this many seconds [60]; exit code 1 if one does not
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = WAIT_S
    )]
    wait: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let mut rollout = look(&place, &plane).await?;
    let mut ended = Ok(());
    if args.wait.is_wanted() {
        let version = rollout.version;
        (rollout, ended) = args.wait.follow(&place, &plane, version, output).await?;
    }
    let mut table = Table::new(["AGENT", "STATE", "SHALL HAVE", "HAS", "PROBLEM"]);
    for agent in &rollout.agents {
        let state = match agent.state {
            NodeState::InForce => "in force",
            NodeState::Pending => "pending",
            NodeState::Refused => "refused",
            NodeState::Away => "away",
        };
        let has = agent
            .version
            .map_or_else(|| "-".to_owned(), |version| version.to_string());
        table.row([
            plain(&agent.name),
            state.to_owned(),
            agent.wanted.to_string(),
            has,
            plain(agent.problems.first().map_or("", String::as_str)),
        ]);
    }
    let summary = format!("version {}: {}", rollout.version, progress(&rollout, None));
    if rollout.agents.is_empty() {
        output.result(summary, &json!(rollout));
    } else {
        output.result(format_args!("{table}\n\n{summary}"), &json!(rollout));
    }
    ended
}

impl WaitArgs {
    pub(super) fn is_wanted(self) -> bool {
        self.wait.is_some()
    }

    /// Waits until `version` has arrived at all agents that shall have it and are connected. Gives the last look, and
    /// whether it has.
    pub(super) async fn follow(
        self,
        place: &Place,
        plane: &Plane,
        version: u64,
        output: Output,
    ) -> Result<(Rollout, Result<(), Failure>), Failure> {
        let seconds = self.wait.unwrap_or_default();
        let until = Instant::now() + Duration::from_secs(seconds.min(WAIT_S_MAX));
        let mut told = String::new();
        loop {
            let rollout = look(place, plane).await?;
            let now = progress(&rollout, Some(version));
            if now != told {
                output.hint(format_args!("{place}: version {version}: {now}"));
                told = now;
            }
            match arrived(&rollout, version) {
                Some(ended) => {
                    let ended = ended.map_err(|why| Failure::failed(format!("{place}: {why}")));
                    return Ok((rollout, ended));
                }
                None if Instant::now() >= until => {
                    let late = Failure::failed(format!(
                        "{place}: version {version} has not arrived everywhere within {seconds} s: {told}; it is in force \
                         and goes on: adit rules rollout"
                    ));
                    return Ok((rollout, Err(late)));
                }
                None => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }
}

/// Longest wait: a day.
const WAIT_S_MAX: u64 = 86_400;

/// Takes one look.
pub(super) async fn look(place: &Place, plane: &Plane) -> Result<Rollout, Failure> {
    plane
        .get(place.call(Call::get(place.path("/rollout"))))
        .await
}

/// Whether `version` has arrived; nothing while it is under way.
fn arrived(rollout: &Rollout, version: u64) -> Option<Result<(), String>> {
    if rollout.version > version {
        return Some(Err(format!(
            "version {} has taken the place of version {version}",
            rollout.version
        )));
    }
    let mut all = true;
    for agent in rollout
        .agents
        .iter()
        .filter(|agent| agent.wanted == version)
    {
        match agent.state {
            NodeState::InForce | NodeState::Away => {}
            NodeState::Pending => all = false,
            NodeState::Refused => {
                return Some(Err(format!(
                    "agent {} refused version {version}\n{}",
                    plain(&agent.name),
                    agent
                        .problems
                        .iter()
                        .map(|line| plain(line))
                        .collect::<Vec<_>>()
                        .join("\n")
                )));
            }
        }
    }
    all.then_some(Ok(()))
}

/// How far it has come, in words: of all agents, or of those that shall have `version`.
pub(super) fn progress(rollout: &Rollout, version: Option<u64>) -> String {
    let meant = || {
        rollout
            .agents
            .iter()
            .filter(|agent| version.is_none_or(|version| agent.wanted == version))
    };
    let is = |state: NodeState| meant().filter(|agent| agent.state == state).count();
    let (all, away, done) = (meant().count(), is(NodeState::Away), is(NodeState::InForce));
    let connected = all - away;
    let mut text = match connected {
        0 => "no agent is connected yet".to_owned(),
        1 => format!("{done} of 1 agent"),
        _ => format!("{done} of {connected} agents"),
    };
    let refused = is(NodeState::Refused);
    if refused > 0 {
        text.push_str(&format!(", {refused} refused"));
    }
    if away > 0 {
        text.push_str(&format!(", {away} away"));
    }
    text
}

#[cfg(test)]
mod tests {
    use adit_api::RolloutNode;

    use super::*;

    fn rollout(agents: &[(u64, NodeState)]) -> Rollout {
        let agents: Vec<_> = agents
            .iter()
            .enumerate()
            .map(|(number, (wanted, state))| RolloutNode {
                name: format!("a{number}"),
                wanted: *wanted,
                version: None,
                state: *state,
                problems: vec!["line 3 is wrong".to_owned()],
            })
            .collect();
        Rollout {
            version: 42,
            connected: 0,
            acked: 0,
            agents,
        }
    }

    #[test]
    fn a_version_has_arrived_when_no_connected_agent_lacks_it() {
        use NodeState::{Away, InForce, Pending, Refused};
        let three = rollout(&[(42, InForce), (42, InForce), (42, InForce)]);
        assert_eq!(progress(&three, Some(42)), "3 of 3 agents");
        assert_eq!(arrived(&three, 42), Some(Ok(())));

        let two = rollout(&[(42, InForce), (42, Pending), (42, Away)]);
        assert_eq!(progress(&two, Some(42)), "1 of 2 agents, 1 away");
        assert_eq!(arrived(&two, 42), None);

        let none = rollout(&[(42, Away)]);
        assert_eq!(
            progress(&none, Some(42)),
            "no agent is connected yet, 1 away"
        );
        assert_eq!(arrived(&none, 42), Some(Ok(())));

        let refused = rollout(&[(42, InForce), (42, Refused)]);
        assert_eq!(progress(&refused, Some(42)), "1 of 2 agents, 1 refused");
        let why = arrived(&refused, 42).unwrap().unwrap_err();
        assert!(
            why.contains("a1") && why.contains("line 3 is wrong"),
            "{why}"
        );
    }

    #[test]
    fn a_trial_waits_for_its_agents_only() {
        use NodeState::{InForce, Pending};
        let mut trial = rollout(&[(43, InForce), (42, Pending)]);
        assert_eq!(progress(&trial, Some(43)), "1 of 1 agent");
        assert_eq!(arrived(&trial, 43), Some(Ok(())));
        trial.version = 44;
        assert!(
            arrived(&trial, 43).unwrap().is_err(),
            "somebody else was faster"
        );
    }
}
