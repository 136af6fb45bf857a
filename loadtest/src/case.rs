//! The catalogue: every scenario of the harness with its variants.
//!
//! What is done in one is left to `scenario`; what its figures should be, to `goal`.

use crate::client::bulk::Direction;
use crate::client::disturb::Nuisance;
use crate::plane::Memory;

/// One thing to measure.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: &'static str,
    pub(crate) variant: String,
    pub(crate) kind: Kind,
    /// Rounds above this one tell nothing new for the time they take.
    pub(crate) rounds_most: u32,
    /// The same for peers: what is of interest is whether adit meets its goal. With 0 they are left out.
    pub(crate) rounds_most_of_peers: u32,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bulk {
        direction: Direction,
        streams: usize,
    },
    Requests {
        connections: usize,
    },
    Churn,
    Latency,
    IdleStreams(usize),
    IdleTunnels(usize),
    Isolation(Option<Nuisance>),
    Outage(Cut),
    Delay {
        round_trip_ms: u32,
        streams: usize,
    },
    Push,
    Shards(usize),
    /// Simulated nodes under a control plane.
    Nodes(Memory),
    /// A rule set of a million resources.
    Million,
    /// A thousand pushes of a control plane.
    Pushes,
    /// Levels of audit.
    Audit,
    /// Audit records that are sent on, and a sink that is down.
    Sinks,
}

/// How a tunnel dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its connections are reset.
    Reset,
    /// Its connections go silent; new ones are fine.
    Silent,
    /// Nothing goes for a while.
    Dark,
}

/// A scenario for whoever chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) letter: char,
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Measured when none is named.
    pub(crate) is_default: bool,
}

/// All of them, in order.
pub(crate) const SCENARIOS: [Scenario; 15] = [
    scenario('a', "download", "bytes from the backend, 1 and 16 streams"),
    scenario('b', "upload", "bytes to the backend, 1 and 16 streams"),
    scenario(
        'c',
        "requests",
        "GET of 1 KB on 64 and 512 kept connections, closed loop",
    ),
    scenario('d', "churn", "GET of 1 KB, a new connection for each"),
    scenario('e', "memory", "idle streams and idle tunnels"),
    scenario('f', "latency", "GET of 1 KB at 200 requests/s, open loop"),
    scenario(
        'g',
        "isolation",
        "ping-pong of 64 streams beside neighbours that are a nuisance",
    ),
    scenario('h', "outage", "the tunnel is killed under 200 requests/s"),
    scenario(
        'i',
        "delay",
        "download over a link of 1 Gbit/s with 10, 50, 100 ms round trip",
    ),
    scenario(
        'j',
        "push",
        "half of the maximum rate with a rule push each second",
    ),
    scenario(
        'k',
        "shards",
        "download and requests with 1 to N shards, not pinned",
    ),
    of_plane(
        'l',
        "nodes",
        "1,000 simulated nodes of a control plane: a change enforced at all of them, memory",
    ),
    of_plane(
        'm',
        "million",
        "1,000,000 resources compiled, and pushed to an agent under load",
    ),
    of_plane('n', "pushes", "1,000 pushes of a control plane under load"),
    of_plane(
        'o',
        "audit",
        "what recording decisions costs a request under full load; p99 with a sink that takes, and one that is down",
    ),
];

const fn scenario(letter: char, name: &'static str, what: &'static str) -> Scenario {
    Scenario {
        letter,
        name,
        what,
        is_default: true,
    }
}

const fn of_plane(letter: char, name: &'static str, what: &'static str) -> Scenario {
    Scenario {
        is_default: false,
        ..scenario(letter, name, what)
    }
}

/// The scenarios somebody means by a letter or name; `plane` is all of the control plane.
pub(crate) fn named(text: &str) -> Vec<&'static Scenario> {
    SCENARIOS
        .iter()
        .filter(|one| {
            one.name == text || text.chars().eq([one.letter]) || (text == PLANE && !one.is_default)
        })
        .collect()
}

/// The name of the scenarios of the control plane together.
pub(crate) const PLANE: &str = "plane";

impl Case {
    /// What peers are spared when a run is to be short: long, and told by another case, or by one round.
    pub(crate) fn brief_for_peers(self) -> Self {
        // They end at the descriptors of their own configurations, after a while.
        let crowded = matches!(self.kind, Kind::IdleStreams(streams) if streams > 1_000);
        let near = matches!(self.kind, Kind::Delay { round_trip_ms, .. } if round_trip_ms < 100);
        let most = if crowded || near {
            0
        } else if matches!(self.kind, Kind::Latency) {
            1
        } else {
            self.rounds_most_of_peers
        };
        Self {
            rounds_most_of_peers: most,
            ..self
        }
    }
}

/// Every case of a scenario; fewer of the long ones when `quick`.
pub(crate) fn cases(scenario: &Scenario, quick: bool, processors: usize) -> Vec<Case> {
    let case = |variant: &str, kind: Kind| Case {
        scenario: scenario.name,
        variant: variant.to_owned(),
        kind,
        rounds_most: u32::MAX,
        rounds_most_of_peers: u32::MAX,
    };
    let bulk = |direction| {
        [(1, "1 stream"), (16, "16 streams")]
            .map(|(streams, variant)| case(variant, Kind::Bulk { direction, streams }))
            .to_vec()
    };
    let few = |most: u32, cases: Vec<Case>| -> Vec<Case> {
        cases
            .into_iter()
            .map(|case| Case {
                rounds_most: most,
                rounds_most_of_peers: most,
                ..case
            })
            .collect()
    };
    match scenario.letter {
        'a' => bulk(Direction::Down),
        'b' => bulk(Direction::Up),
        'c' => [64, 512]
            .map(|connections| {
                case(
                    &format!("{connections} connections"),
                    Kind::Requests { connections },
                )
            })
            .to_vec(),
        'd' => vec![case("64 at a time", Kind::Churn)],
        'e' => {
            let streams =
                |count: usize| case(&format!("{count} streams"), Kind::IdleStreams(count));
            let mut cases = vec![streams(1_000)];
            if !quick {
                cases.push(streams(10_000));
            }
            cases.push(case("1000 tunnels", Kind::IdleTunnels(1_000)));
            few(1, cases)
        }
        'f' => vec![case("200 requests/s", Kind::Latency)],
        'g' => {
            let nuisances = [
                ("alone", None),
                ("1 stalled reader", Some(Nuisance::Stalled(1))),
                ("32 stalled readers", Some(Nuisance::Stalled(32))),
                ("dripping reader", Some(Nuisance::Dripping)),
                ("open/reset flood", Some(Nuisance::Flood(500))),
                ("bulk at full speed", Some(Nuisance::Bulk)),
            ];
            let cases =
                nuisances.map(|(variant, nuisance)| case(variant, Kind::Isolation(nuisance)));
            cases
                .into_iter()
                .map(|case| Case {
                    rounds_most_of_peers: 1,
                    ..case
                })
                .collect()
        }
        'h' => {
            let mut cases = vec![
                case("reset", Kind::Outage(Cut::Reset)),
                case("silent", Kind::Outage(Cut::Silent)),
            ];
            if !quick {
                cases.push(case("dark for 12 s", Kind::Outage(Cut::Dark)));
            }
            few(1, cases)
        }
        'i' => {
            let mut cases = Vec::new();
            for (round_trip_ms, streams, variant) in [
                (10, 1, "10 ms, 1 stream"),
                (10, 16, "10 ms, 16 streams"),
                (50, 1, "50 ms, 1 stream"),
                (50, 16, "50 ms, 16 streams"),
                (100, 1, "100 ms, 1 stream"),
                (100, 16, "100 ms, 16 streams"),
            ] {
                if !quick || round_trip_ms == 100 {
                    cases.push(case(
                        variant,
                        Kind::Delay {
                            round_trip_ms,
                            streams,
                        },
                    ));
                }
            }
            few(1, cases)
        }
        'j' => few(1, vec![case("50 % load", Kind::Push)]),
        'k' => {
            let cases = (1..=processors)
                .map(|shards| case(&format!("{shards} shards"), Kind::Shards(shards)))
                .collect();
            few(3, cases)
        }
        'l' => few(
            1,
            vec![
                case("embedded store", Kind::Nodes(Memory::Embedded)),
                case("etcd", Kind::Nodes(Memory::Etcd)),
            ],
        ),
        'm' => few(1, vec![case("1000000 resources", Kind::Million)]),
        'n' => few(1, vec![case("50 % load", Kind::Pushes)]),
        'o' => few(
            1,
            vec![
                case("64 connections", Kind::Audit),
                case("sinks, 50 % load", Kind::Sinks),
            ],
        ),
        _ => Vec::new(),
    }
}

/// Whose figures make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// adit, its peers, and nothing between client and backend.
    Everybody,
    /// What has a tunnel.
    Tunnels,
    /// Only adit.
    Adit,
}

impl Kind {
    /// Whether the program with simulated nodes is needed.
    pub(crate) fn needs_fleet(self) -> bool {
        matches!(self, Self::Nodes(_) | Self::Million)
    }

    pub(crate) fn applies(self) -> Applies {
        match self {
            Self::Bulk { .. }
            | Self::Requests { .. }
            | Self::Churn
            | Self::Latency
            | Self::Isolation(_)
            | Self::Delay { .. } => Applies::Everybody,
            Self::IdleStreams(_) | Self::Outage(Cut::Reset | Cut::Silent) => Applies::Tunnels,
            Self::IdleTunnels(_)
            | Self::Outage(Cut::Dark)
            | Self::Push
            | Self::Shards(_)
            | Self::Nodes(_)
            | Self::Million
            | Self::Pushes
            | Self::Audit
            | Self::Sinks => Applies::Adit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_letter_a_name_and_cases() {
        for (scenario, letter) in SCENARIOS.iter().zip('a'..='o') {
            assert_eq!(scenario.letter, letter);
            for text in [scenario.name.to_owned(), letter.to_string()] {
                let named = named(&text);
                assert_eq!(named.len(), 1, "{text}");
                assert_eq!(named[0].letter, letter);
            }
            for quick in [true, false] {
                assert!(!cases(scenario, quick, 2).is_empty(), "{letter}");
            }
        }
        assert!(named("z").is_empty() && named("").is_empty() && named("ab").is_empty());
    }

    #[test]
    fn the_scenarios_of_the_control_plane_have_a_name_together_and_are_measured_when_named() {
        let letters: String = named(PLANE).iter().map(|one| one.letter).collect();
        assert_eq!(letters, "lmno");
        assert!(
            SCENARIOS
                .iter()
                .all(|one| one.is_default == (one.letter < 'l'))
        );
    }

    #[test]
    fn in_a_brief_run_peers_are_spared_what_is_long_and_adit_nothing() {
        let of_peers = |letter: &str| -> Vec<u32> {
            cases(named(letter)[0], false, 2)
                .into_iter()
                .map(|whole| {
                    let brief = whole.clone().brief_for_peers();
                    assert_eq!(brief.rounds_most, whole.rounds_most);
                    brief.rounds_most_of_peers
                })
                .collect()
        };
        assert_eq!(of_peers("a"), [u32::MAX; 2]);
        assert_eq!(of_peers("e"), [1, 0, 1]);
        assert_eq!(of_peers("f"), [1]);
        assert_eq!(of_peers("i"), [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_quick_run_is_part_of_a_whole_one() {
        for scenario in &SCENARIOS {
            let whole = cases(scenario, false, 2);
            for case in cases(scenario, true, 2) {
                assert!(whole.iter().any(|other| other.variant == case.variant));
            }
        }
    }
}
