//! Recorded decisions of a place, asked for at the control plane, which asks the agents themselves.
//!
//! What an agent does not tell is told here: who did not answer, how far back records reach, and what they leave out.

use std::str::FromStr;

use adit_api::{Traffic, TrafficLevel};
use adit_recorded::{Asked, Callers, Ledger, Seen, SeenRule};
use serde_json::json;

use super::held::Place;
use super::records::Evidence;
use crate::ending::Failure;
use crate::output::Table;
use crate::plane::shown::{plain, when};
use crate::plane::{Call, Plane};

/// How far back, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days(u64);

impl FromStr for Days {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('d').filter(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        number
            .and_then(|number| number.parse().ok())
            .filter(|days| (1..=adit_api::limits::TRAFFIC_DAYS_MAX).contains(days))
            .map(Self)
            .ok_or("write a number of days, such as 7d, up to 366d")
    }
}

/// What the agents of `place` recorded in the last `days`.
pub(super) async fn read(
    place: &Place,
    plane: &Plane,
    days: Days,
    callers: Callers,
) -> Result<Evidence, Failure> {
    let path = format!("/api/v1/subaccounts/{}/traffic", place.subaccount());
    let call = Call::get(path).query("days", Some(days.0));
    let traffic: Traffic = plane.get(place.call(call)).await?;
    let mut ledger = Ledger::new(callers);
    for request in &traffic.requests {
        let asked = Asked {
            caller: request.caller.clone(),
            system: request.system.clone(),
            method: request.method.clone(),
            path: request.path.clone(),
            upgrade: request.upgrade,
            granted: request.granted,
            ground: request.ground.clone(),
        };
        let seen = Seen {
            asked,
            count: request.count,
            last_unix_ms: request.last_unix_ms,
        };
        ledger.seen(place.subaccount(), &seen);
    }
    for rule in &traffic.rules {
        ledger.rule(&SeenRule {
            system: rule.system.clone(),
            method: rule.method.clone(),
            rule: rule.rule.clone(),
            count: rule.count,
        });
    }
    ledger.more(traffic.more_granted, traffic.more_denied);
    let facts = ledger.facts();
    let told = format!(
        "recorded decisions since {}: {} granted, {} denied\n\n{}",
        when(traffic.since_unix_s),
        facts.granted,
        facts.denied,
        table(&traffic)
    );
    let mut read = json!(traffic);
    if let Some(members) = read.as_object_mut() {
        members.remove("requests");
        members.remove("rules");
        members.insert("granted".to_owned(), json!(facts.granted));
        members.insert("denied".to_owned(), json!(facts.denied));
    }
    Ok(Evidence {
        ledger,
        member: "recorded",
        told,
        doubts: doubts(&traffic),
        read,
    })
}

fn table(traffic: &Traffic) -> Table {
    let mut table = Table::new(["AGENT", "RECORDS", "BACK TO", "READ"]);
    for agent in &traffic.agents {
        let level = match agent.level {
            TrafficLevel::Off => "nothing",
            TrafficLevel::Denied => "denials",
            TrafficLevel::All => "all",
        };
        let first = agent.first_unix_ms.map(|unix_ms| when(unix_ms / 1000));
        let read = if agent.complete { "all" } else { "in part" };
        table.row([
            plain(&agent.name),
            level.to_owned(),
            first.unwrap_or_else(|| "-".to_owned()),
            read.to_owned(),
        ]);
    }
    for silent in &traffic.silent {
        table.row([
            plain(&silent.name),
            "-".to_owned(),
            "-".to_owned(),
            plain(&silent.why),
        ]);
    }
    table
}

/// Why less may be known than has happened, a line each.
fn doubts(traffic: &Traffic) -> Vec<String> {
    let mut doubts = Vec::new();
    if traffic.agents.is_empty() {
        doubts.push(
            "no agent has told anything, so nothing is known of what was let through".to_owned(),
        );
    }
    let names = |names: Vec<&str>| plain(&names.join(", "));
    let of = |which: &dyn Fn(&adit_api::TrafficAgent) -> bool| {
        let agents = traffic.agents.iter().filter(|agent| which(agent));
        let found: Vec<&str> = agents.map(|agent| agent.name.as_str()).collect();
        (!found.is_empty()).then(|| names(found))
    };
    if !traffic.silent.is_empty() {
        let silent = traffic.silent.iter().map(|silent| silent.name.as_str());
        doubts.push(format!(
            "what {} let through is missing, so less is known than has happened",
            names(silent.collect())
        ));
    }
    if traffic.unasked > 0 {
        doubts.push(format!(
            "{} more agents were not asked, so less is known than has happened",
            traffic.unasked
        ));
    }
    if let Some(agents) = of(&|agent| agent.level == TrafficLevel::Denied) {
        doubts.push(format!(
            "{agents}: records denials only, so what it granted is not known, nor who would be hit; set audit.level = \
             \"all\" there"
        ));
    }
    if let Some(agents) = of(&|agent| agent.level == TrafficLevel::Off) {
        doubts.push(format!(
            "{agents}: records nothing, so nothing of it is known; set audit.level = \"all\" there"
        ));
    }
    let since_ms = traffic.since_unix_s.saturating_mul(1000);
    if let Some(agents) = of(&|agent| agent.first_unix_ms.is_some_and(|first| first > since_ms)) {
        doubts.push(format!(
            "{agents}: the records do not reach back so far; the table says how far"
        ));
    }
    if let Some(agents) = of(&|agent| !agent.complete) {
        doubts.push(format!(
            "{agents}: there was no time to read all records; ask for fewer days"
        ));
    }
    if let Some(agents) = of(&|agent| agent.lost > 0 || agent.unreadable > 0) {
        doubts.push(format!(
            "{agents}: some records were lost or cannot be read, so less is known than has happened"
        ));
    }
    let more = traffic.more_granted.saturating_add(traffic.more_denied);
    if more > 0 {
        doubts.push(format!(
            "{more} decisions are counted only, for there are too many different ones; ask for fewer days"
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use adit_api::limits::TRAFFIC_DAYS_MAX;
    use adit_api::{TrafficAgent, TrafficSilent};

    use super::*;

    #[test]
    fn a_time_is_a_number_of_days() {
        for (text, days) in [("1d", 1), ("7d", 7), ("366d", TRAFFIC_DAYS_MAX)] {
            assert_eq!(text.parse(), Ok(Days(days)));
        }
        let more = format!("{}d", TRAFFIC_DAYS_MAX + 1);
        for text in ["", "7", "d", "0d", "+7d", "7h", more.as_str()] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_may_be_missing_is_told() {
        let agent = |name: &str, level, first_unix_ms, complete| TrafficAgent {
            name: name.to_owned(),
            level,
            first_unix_ms,
            complete,
            lost: 0,
            unreadable: 0,
        };
        let mut traffic = Traffic {
            since_unix_s: 10,
            agents: vec![agent("a-1", TrafficLevel::All, Some(10_000), true)],
            silent: Vec::new(),
            unasked: 0,
            requests: Vec::new(),
            rules: Vec::new(),
            more_granted: 0,
            more_denied: 0,
        };
        assert_eq!(doubts(&traffic), [""; 0]);
        traffic.agents = vec![
            agent("a-2", TrafficLevel::Denied, Some(10_001), true),
            agent("a-3", TrafficLevel::Off, None, false),
        ];
        traffic.silent = vec![TrafficSilent {
            name: "a-4".to_owned(),
            why: "is not connected".to_owned(),
        }];
        traffic.unasked = 1;
        traffic.more_denied = 1;
        let told = doubts(&traffic).join("\n");
        for wanted in [
            "a-2: records denials only",
            "a-3: records nothing",
            "what a-4 let through is missing",
            "1 more agents",
            "a-2: the records do not reach back",
            "a-3: there was no time",
            "1 decisions are counted only",
        ] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
        let shown = table(&traffic).to_string();
        assert!(
            shown.contains("a-4    -        -                     is not connected"),
            "{shown}"
        );
    }
}
