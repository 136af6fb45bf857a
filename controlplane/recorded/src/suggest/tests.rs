//! Rules, recorded decisions by them, and what is suggested.
use adit_audit::{Chain, Digest, Outcome, Text};
use adit_policy::sample::Sample;
use adit_policy::{OwnedRequest, Snapshot, parse, plan};

use super::*;
use crate::ledger::Callers;
use crate::ledger::tests::{decision, ledger};
use crate::{hits, wanted};

const RULES: &str = r#"
[[system]]
name = "erp"
virtual = "erp:80"
protocol = "http"
internal = "http://10.1.2.3:8000"

[[system.resource]]
path = "/orders"
scope = "subtree"

[[system.resource]]
path = "/unused"

[[system.resource]]
path = "/off"
active = false

[[system.resource]]
path = "/chat"
upgrade = true

[[system]]
name = "db"
virtual = "db:5432-5440"
protocol = "tcp"
internal = "10.1.2.4:6432-6440"

[[system]]
name = "old"
virtual = "old:80"
protocol = "http"
internal = "http://10.1.2.5"
"#;

fn table() -> Table {
    Table::compile(&parse("rules.toml", RULES).unwrap()).unwrap()
}

fn recorded() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("GET http://erp/orders/7", "shop", "/orders"),
        ("GET http://erp/orders/7", "shop", "/orders"),
        ("PUT http://erp/orders/8", "desk", "/orders"),
        ("GET http://erp/chat", "shop", "/chat"),
        ("tcp://db:5433", "shop", "db"),
        ("tcp://db:5435", "shop", "db"),
        ("GET http://erp/gone", "shop", "/gone"),
        ("GET http://erp/else", "shop", "!resource-denied"),
        ("GET http://erp/else", "desk", "!resource-denied"),
        ("GET http://new/", "desk", "!system-unknown"),
        ("GET http://erp/orders/9", "desk", "!resource-denied"),
        ("GET http://erp/orders/9", "desk", "!resource-denied"),
    ]
}

#[test]
fn the_rules_that_are_needed_are_suggested_and_the_others_are_named() {
    let suggestion = suggest(&table(), &ledger(Callers::Together, &recorded()));
    assert_eq!(
        suggestion.rules.to_string(),
        r#"[[system]]
name = "erp"
virtual = "erp:80"
protocol = "http"
internal = "http://10.1.2.3:8000"

[[system.resource]]
path = "/orders/7"
methods = ["GET"]

[[system.resource]]
path = "/orders/8"
methods = ["PUT"]

[[system.resource]]
path = "/chat"
methods = ["GET"]
upgrade = true

[[system]]
name = "db"
virtual = "db:5433-5435"
protocol = "tcp"
internal = "10.1.2.4:6433-6435"
"#
    );
    let unused: Vec<_> = suggestion
        .unused
        .iter()
        .map(|unused| format!("{} {:?} {}", unused.system, unused.rule, unused.line))
        .collect();
    assert_eq!(unused, ["erp Some(\"exact /unused\") 13", "old None 29"]);
    assert_eq!(suggestion.used, 4);
    assert_eq!((suggestion.covered, suggestion.no_longer_granted), (6, 1));
    assert_eq!(suggestion.mistakes, Vec::<String>::new());
}

#[test]
fn what_was_denied_often_and_still_is_is_told_and_made_no_rule() {
    let ledger = ledger(Callers::Together, &recorded());
    let list = wanted(&table(), &ledger, 2);
    let told: Vec<_> = list
        .iter()
        .map(|wanted| (wanted.request.as_str(), wanted.count, wanted.needs.as_str()))
        .collect();
    assert_eq!(
        told,
        [(
            "GET http://erp:80/else",
            2,
            "a resource that reaches the path"
        )]
    );
    assert_eq!(wanted(&table(), &ledger, 1).len(), 2);
    let suggestion = suggest(&table(), &ledger);
    assert!(!suggestion.rules.to_string().contains("else"));
}

#[test]
fn callers_of_what_other_rules_deny_are_named() {
    let narrower = RULES.replace("path = \"/orders\"", "path = \"/orders/7\"");
    let narrower = Table::compile(&parse("new.toml", &narrower).unwrap()).unwrap();
    let hits = hits(&narrower, &ledger(Callers::Apart, &recorded()));
    let told: Vec<_> = hits
        .list
        .iter()
        .map(|hit| {
            (
                hit.caller.as_str(),
                hit.request.as_str(),
                hit.count,
                hit.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("desk", "PUT http://erp:80/orders/8", 1, "resource-denied"),
            ("shop", "GET http://erp:80/gone", 1, "resource-denied"),
        ]
    );
    assert_eq!((hits.judged, hits.unjudged), (7, 0));
}

#[test]
fn a_path_that_was_cut_when_it_was_recorded_keeps_the_rule_as_it_is() {
    let long = format!("GET http://erp/orders/{}", "x".repeat(2000));
    let suggestion = suggest(
        &table(),
        &ledger(Callers::Together, &[(&long, "shop", "/orders")]),
    );
    let text = suggestion.rules.to_string();
    assert!(
        text.contains("path = \"/orders\"\nscope = \"subtree\"\nmethods = [\"GET\"]"),
        "{text}"
    );
    assert_eq!(suggestion.kept_whole, 1);
}

/// Requests by a caller who works through many keys below a resource, and any others.
fn request(sample: &mut Sample, rules: &RuleSet) -> OwnedRequest {
    let system = &rules.systems[sample.below(rules.systems.len())];
    let resource = system.resources.get(sample.below(system.resources.len()));
    let Some(resource) = resource.filter(|_| sample.chance(60)) else {
        return sample.request(rules);
    };
    let path = resource.path.as_str().trim_end_matches('/');
    let below = match sample.below(4) {
        0 => String::new(),
        1 => format!(";v={}", sample.below(30)),
        2 => format!("/{}", sample.below(30)),
        _ => format!("/{}/{}", sample.below(3), sample.below(30)),
    };
    let path = format!("{path}{below}");
    Request::Http {
        host: system.virtual_end.host.as_str(),
        port: system.virtual_end.ports.first(),
        method: ["GET", "HEAD", "POST", "XYZZY"][sample.below(4)],
        path: path.as_bytes(),
        upgrade: sample.chance(30),
    }
    .to_owned()
}

/// Every recorded granted request is granted by what is suggested, and nothing that the old rules deny.
#[test]
fn what_is_suggested_grants_all_that_was_granted_and_nothing_that_was_denied() {
    let (mut granted, mut denied, mut subtrees, mut smaller) = (0, 0, 0, 0);
    for seed in 0..400 {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let old = Snapshot::new(1, rules.to_string()).unwrap();
        let mut chain = Chain::new(Digest::ZERO);
        let mut ledger = Ledger::new(Callers::Together);
        let mut asked = Vec::new();
        for _ in 0..sample.below(600) {
            let owned = request(&mut sample, &rules);
            let request = owned.as_request();
            let system = format!("{}:{}", request.host(), request.port());
            let permit = old.decide(&request);
            let outcome = match &permit {
                Ok(permit) => Outcome::Allowed {
                    rule: Text::of(permit.rule()),
                },
                Err(denial) => Outcome::Denied {
                    reason: Text::of(denial.reason().word()),
                },
            };
            let mut line = Vec::new();
            chain.append(&decision(&request, &system, "x", outcome, 1), &mut line);
            ledger.line(&line).unwrap();
            asked.push((owned, permit.is_ok()));
        }
        let suggestion = suggest(old.table(), &ledger);
        assert_eq!(suggestion.mistakes, Vec::<String>::new(), "seed {seed}");
        assert_eq!(suggestion.no_longer_granted, 0, "seed {seed}");
        let new = Snapshot::new(2, suggestion.rules.to_string()).unwrap();
        for (request, was) in &asked {
            let is = new.decide(&request.as_request()).is_ok();
            assert_eq!(
                is, *was,
                "seed {seed}: {request}\n{rules}\nsuggested\n{}",
                suggestion.rules
            );
            granted += usize::from(*was);
            denied += usize::from(!*was);
        }
        // Not only of what was asked: nothing at all becomes reachable.
        let plan = plan(old.table(), new.table());
        assert!(!plan.unfinished);
        for line in &plan.lines {
            assert!(
                line.to_string().starts_with('-'),
                "seed {seed}: {line}\n{rules}\nsuggested\n{}",
                suggestion.rules
            );
        }
        smaller += usize::from(!plan.lines.is_empty());
        let all = suggestion
            .rules
            .systems
            .iter()
            .flat_map(|system| &system.resources);
        subtrees += all
            .filter(|rule| rule.scope == adit_policy::Scope::Subtree)
            .count();
    }
    assert!(
        granted > 10_000 && denied > 10_000 && subtrees > 100 && smaller > 100,
        "{granted} {denied} {subtrees} {smaller}"
    );
}
