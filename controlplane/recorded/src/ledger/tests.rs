//! Lines as a recorder writes them, and what is held of them.
use std::borrow::Cow;

use adit_audit::{Chain, Digest, Gap, Started, Text};

use super::*;

pub(crate) fn decision<'a>(
    request: &'a Request<'a>,
    system: &'a str,
    caller: &'a str,
    outcome: Outcome<'a>,
    unix_ms: u64,
) -> Record<'a> {
    let (method, path) = match request {
        Request::Http { method, path, .. } => (Some(Text::of(*method)), Some(Text::of(*path))),
        Request::Tcp { .. } | _ => (None, None),
    };
    Record::Decision(Decision {
        unix_ms,
        request: Text::of("id"),
        subaccount: Text::of("acme"),
        caller: Text::of(caller),
        system: Text::of(system),
        method,
        path,
        upgrade: matches!(request, Request::Http { upgrade: true, .. }),
        outcome,
        version: 1,
    })
}

/// A ledger of requests: the text of each, its caller, and the rule that granted it or `!` and the reason.
pub(crate) fn ledger(callers: Callers, asked: &[(&str, &str, &str)]) -> Ledger {
    let mut ledger = Ledger::new(callers);
    let mut chain = Chain::new(Digest::ZERO);
    for (at, (request, caller, ground)) in asked.iter().enumerate() {
        let request: OwnedRequest = request.parse().unwrap();
        let request = request.as_request();
        let system = format!("{}:{}", request.host(), request.port());
        let outcome = match ground.strip_prefix('!') {
            Some(reason) => Outcome::Denied {
                reason: Text::of(reason),
            },
            None => Outcome::Allowed {
                rule: Text::of(*ground),
            },
        };
        let mut line = Vec::new();
        let time = 1000 + u64::try_from(at).unwrap();
        chain.append(
            &decision(&request, &system, caller, outcome, time),
            &mut line,
        );
        ledger.line(&line).unwrap();
    }
    ledger
}

#[test]
fn the_same_request_is_held_once_and_counted_and_callers_are_told_apart_where_that_matters() {
    let asked = [
        ("GET http://erp/a", "one", "/a"),
        ("GET http://erp/a", "two", "/a"),
        ("GET http://erp/a", "two", "/a"),
        ("GET http://erp/b", "two", "!resource-denied"),
    ];
    let together = ledger(Callers::Together, &asked);
    assert_eq!(
        together
            .granted()
            .map(|(_, count)| count)
            .collect::<Vec<_>>(),
        [3]
    );
    let apart = ledger(Callers::Apart, &asked);
    assert_eq!(apart.granted().count(), 2);
    let facts = apart.facts();
    assert_eq!((facts.records, facts.granted, facts.denied), (4, 3, 1));
    assert_eq!((facts.first_unix_ms, facts.last_unix_ms), (1000, 1003));
}

#[test]
fn what_a_node_counted_is_held_like_its_lines() {
    let seen = |path: &str, granted: bool, count| Seen {
        asked: adit_audit::Asked {
            caller: "shop".to_owned(),
            system: "erp:80".to_owned(),
            method: Some("GET".to_owned()),
            path: Some(path.to_owned()),
            upgrade: false,
            granted,
            ground: if granted { "/a" } else { "resource-denied" }.to_owned(),
        },
        count,
        last_unix_ms: count,
    };
    let mut counted = Ledger::new(Callers::Apart);
    counted.seen("acme", &seen("/a", true, 2));
    counted.seen("acme", &seen("/a", true, 1));
    counted.seen("acme", &seen("/b", false, 1));
    let lines = ledger(
        Callers::Apart,
        &[
            ("GET http://erp/a", "shop", "/a"),
            ("GET http://erp/a", "shop", "/a"),
            ("GET http://erp/a", "shop", "/a"),
            ("GET http://erp/b", "shop", "!resource-denied"),
        ],
    );
    assert_eq!(counted.granted, lines.granted);
    assert_eq!(counted.denied, lines.denied);
    counted.rule(&SeenRule {
        system: "erp:80".to_owned(),
        method: None,
        rule: "/a".to_owned(),
        count: 5,
    });
    counted.more(7, 11);
    let facts = counted.facts();
    assert_eq!((facts.granted, facts.denied, facts.unheld), (15, 12, 18));
    assert_eq!(counted.folded().map(|(_, count)| count).sum::<u64>(), 5);
}

#[test]
fn an_agent_that_counts_more_than_there_can_be_breaks_no_sum() {
    let rules = "[[system]]\nvirtual = \"erp:80\"\nprotocol = \"http\"\ninternal = \"http://10.1.2.3:80\"\n\
                 [[system.resource]]\npath = \"/a\"\nscope = \"subtree\"\n";
    let rules = adit_policy::parse("rules.toml", rules).unwrap();
    let table = adit_policy::Table::compile(&rules).unwrap();
    let mut ledger = Ledger::new(Callers::Apart);
    // Twice of what is judged, of what is too long to be, and of what is known by its rule only.
    for path in ["/a/1", "/a/2", "/a... (9000 bytes)", "/a/b... (9000 bytes)"] {
        let asked = adit_audit::Asked {
            caller: "shop".to_owned(),
            system: "erp:80".to_owned(),
            method: Some("GET".to_owned()),
            path: Some(path.to_owned()),
            upgrade: false,
            granted: true,
            ground: "/a".to_owned(),
        };
        let seen = Seen {
            asked,
            count: u64::MAX,
            last_unix_ms: u64::MAX,
        };
        ledger.seen("acme", &seen);
        ledger.rule(&SeenRule {
            system: "erp:80".to_owned(),
            method: Some("GET".to_owned()),
            rule: path.to_owned(),
            count: u64::MAX,
        });
    }
    let hits = crate::hits(&table, &ledger);
    assert_eq!((hits.judged, hits.unjudged), (u64::MAX, u64::MAX));
    let made = crate::suggest(&table, &ledger);
    assert_eq!((made.covered, made.kept_whole), (u64::MAX, u64::MAX));
    assert_eq!(made.no_longer_granted, u64::MAX);
}

#[test]
fn a_request_that_asked_for_an_upgrade_is_judged_as_one() {
    let rules = "[[system]]\nvirtual = \"erp:80\"\nprotocol = \"http\"\ninternal = \"http://10.1.2.3:80\"\n\
                 [[system.resource]]\npath = \"/a\"\n";
    let rules = adit_policy::parse("rules.toml", rules).unwrap();
    let table = adit_policy::Table::compile(&rules).unwrap();
    let asked = ledger(
        Callers::Apart,
        &[
            ("GET http://erp/a", "shop", "/a"),
            ("GET ws://erp/a", "shop", "/a"),
        ],
    );
    let hits = crate::hits(&table, &asked);
    assert_eq!(hits.judged, 2);
    let told: Vec<_> = hits.list.iter().map(|hit| hit.request.as_str()).collect();
    assert_eq!(told, ["GET ws://erp:80/a"]);
    assert_eq!(hits.list[0].reason, "upgrade-denied");
}

#[test]
fn a_line_that_is_not_the_next_of_its_chain_is_not_taken() {
    let mut chain = Chain::new(Digest::ZERO);
    let mut lines = [Vec::new(), Vec::new()];
    let started = Record::Started(Started {
        unix_ms: 5,
        node: Text::of("agent"),
        software: Text::of("aditd"),
    });
    chain.append(&started, &mut lines[0]);
    let gap = Record::Gap(Gap {
        unix_ms: 7,
        since_unix_ms: 6,
        lost: 3,
    });
    chain.append(&gap, &mut lines[1]);
    let mut ledger = Ledger::new(Callers::Together);
    ledger.line(&lines[0]).unwrap();
    assert!(ledger.line(&lines[0]).is_err(), "the same again");
    ledger.line(&lines[1]).unwrap();
    assert_eq!(ledger.facts().lost, 3);
    assert_eq!(ledger.facts().records, 2);
    ledger.next_file();
    ledger.line(&lines[0]).unwrap();
}

#[test]
fn the_bytes_of_a_text_come_back_and_a_cut_one_is_known() {
    for bytes in [&b"/a/b;v=2"[..], b"/\xc3\x9f", b"/a\\b\x00", b"/\\x41"] {
        assert_eq!(
            written(Text::of(bytes).as_str()),
            Written::Whole(bytes.into())
        );
    }
    let long = vec![b'a'; 2000];
    assert!(matches!(written(Text::of(&long).as_str()), Written::Cut(_)));
    assert!(matches!(written("/a\\q"), Written::Cut(_)));
    assert!(matches!(written("/a\\x4"), Written::Cut(_)));
}

/// A record with any path.
fn many(ledger: &mut Ledger, paths: std::ops::Range<usize>, rule: &str, granted: bool) {
    for at in paths {
        let path = format!("/{at}");
        let text = Cow::<str>::Borrowed(rule);
        let outcome = if granted {
            Outcome::Allowed {
                rule: Text::of(text.as_ref()),
            }
        } else {
            Outcome::Denied {
                reason: Text::of(text.as_ref()),
            }
        };
        let request = Request::Http {
            host: "erp",
            port: 80,
            method: "GET",
            path: path.as_bytes(),
            upgrade: false,
        }
        .to_owned();
        let request = request.as_request();
        let Record::Decision(decision) = decision(&request, "erp:80", "x", outcome, 1) else {
            panic!("it is a decision");
        };
        ledger.decision(&decision);
    }
}

#[test]
fn as_many_requests_as_the_limit_are_held_and_one_more_is_folded_or_counted() {
    let mut ledger = Ledger::new(Callers::Together);
    many(&mut ledger, 0..REQUESTS_MAX, "/r", true);
    many(&mut ledger, 0..1, "/r", true);
    assert_eq!(
        (ledger.granted().count(), ledger.folded().count()),
        (REQUESTS_MAX, 0)
    );
    many(&mut ledger, REQUESTS_MAX..REQUESTS_MAX + 2, "/r", true);
    assert_eq!(
        (ledger.granted().count(), ledger.folded().count()),
        (REQUESTS_MAX, 1)
    );
    for rule in 1..FOLDED_MAX {
        many(
            &mut ledger,
            REQUESTS_MAX..REQUESTS_MAX + 1,
            &format!("/r{rule}"),
            true,
        );
    }
    assert_eq!(
        (ledger.folded().count(), ledger.facts().unheld),
        (FOLDED_MAX, 0)
    );
    many(
        &mut ledger,
        REQUESTS_MAX..REQUESTS_MAX + 1,
        "/further",
        true,
    );
    assert_eq!(
        (ledger.folded().count(), ledger.facts().unheld),
        (FOLDED_MAX, 1)
    );
    many(&mut ledger, 0..REQUESTS_MAX + 1, "resource-denied", false);
    assert_eq!(
        (ledger.denied().count(), ledger.facts().unheld),
        (REQUESTS_MAX, 2)
    );
}
