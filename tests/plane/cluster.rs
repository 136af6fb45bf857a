//! Several servers on one memory, servers that are killed, and authorities that change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_audit::Verifier;
use adit_tests::member::{Line, Member};
use adit_tests::plane::{Caller, Memory, Plane, rules_number};
use adit_tests::wait::{SOON, until, until_some};
use serde_json::json;

use crate::on_both_memories;
use crate::rules::{rollout, verified};

/// Reads the chain of acts and checks each link.
pub(crate) fn check_chain(caller: &Caller) -> u64 {
    let lines = caller.chain();
    let mut verifier = Verifier::new(None);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        verifier.line(line).unwrap_or_else(|why| panic!("{why:?}"));
    }
    verifier.summary().lines
}

/// All versions of acme's rules: number and hash.
pub(crate) fn history(caller: &Caller) -> BTreeMap<u64, String> {
    let page = caller.get("/api/v1/subaccounts/acme/rules/versions").json();
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| {
            let sha256 = item["sha256"].as_str().unwrap().to_owned();
            (item["version"].as_u64().unwrap(), sha256)
        })
        .collect()
}

/// Applies rules one after another until told to stop: what was acknowledged.
fn storm(caller: &Caller, first: u32, stop: &AtomicBool) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let path = "/api/v1/subaccounts/acme/rules";
        let Ok(now) = caller.try_ask("GET", path, &[], b"") else {
            continue;
        };
        let etag = now.field("etag").map(str::to_owned);
        let condition = match &etag {
            Some(etag) => ("if-match", etag.as_str()),
            None if now.status == 404 => ("if-none-match", "*"),
            None => continue,
        };
        let fields = [("content-type", "application/toml"), condition];
        let text = rules_number(number);
        match caller.try_ask("PUT", path, &fields, text.as_bytes()) {
            Ok(reply) if reply.status == 200 => {
                let applied = reply.json();
                assert_eq!(applied["changed"], true);
                let sha256 = applied["sha256"].as_str().unwrap().to_owned();
                acknowledged.push((applied["version"].as_u64().unwrap(), sha256));
            }
            Ok(reply) => assert!(matches!(reply.status, 412 | 503), "{reply:?}"),
            Err(_) => {}
        }
    }
    acknowledged
}

fn check_storm(acknowledged: &[(u64, String)], caller: &Caller) {
    let history = history(caller);
    let mut seen = BTreeMap::new();
    for (version, sha256) in acknowledged {
        // R-07: one writer wins per version.
        assert_eq!(
            seen.insert(version, sha256),
            None,
            "version {version} was given twice"
        );
        if let Some(found) = history.get(version) {
            assert_eq!(found, sha256, "version {version}");
        } else {
            let oldest = history.keys().next().unwrap();
            assert!(version < oldest, "version {version} is lost: {history:?}");
        }
    }
    let numbers: Vec<u64> = history.keys().copied().collect();
    let last = *numbers.last().unwrap();
    let first = *numbers.first().unwrap();
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "no gaps");
}

// R-07
#[test]
fn r07_of_three_servers_one_is_killed_in_a_storm_and_nothing_acknowledged_is_lost() {
    let memory = Memory::of("etcd");
    let (first, root) = Plane::ready("cp-1", &memory, "");
    let mut killed = Plane::start("cp-2", &memory, "");
    let third = Plane::start("cp-3", &memory, "");
    let member = |name: &str| Member::enrol(&first, &root.invite("acme", name)).unwrap();
    let mut lines: Vec<Line> = vec![
        member("a-1").subscribe(&first).unwrap(),
        member("a-3").subscribe(&third).unwrap(),
    ];
    let stop = AtomicBool::new(false);
    let callers = [
        root.clone(),
        root.at(&killed),
        root.at(&third),
        root.at(&killed),
    ];
    let acknowledged: Vec<(u64, String)> = std::thread::scope(|scope| {
        let storms: Vec<_> = (1..)
            .zip(&callers)
            .map(|(number, caller)| {
                let stop = &stop;
                scope.spawn(move || storm(caller, number * 100_000, stop))
            })
            .collect();
        until("ten versions", SOON, || history(&root).len() >= 10);
        killed.process().kill();
        let then = history(&root).len();
        until("ten more without it", SOON, || {
            history(&root).len() >= then + 10
        });
        stop.store(true, Ordering::Relaxed);
        storms
            .into_iter()
            .flat_map(|each| each.join().unwrap())
            .collect()
    });
    for caller in [&root, &root.at(&third)] {
        check_storm(&acknowledged, caller);
        check_chain(caller);
    }
    // The nodes of both servers end at the last version.
    let last = *history(&root).keys().last().unwrap();
    for line in &mut lines {
        let mut before = 0;
        loop {
            let document = line.push();
            assert!(document.version() > before, "never an older one");
            before = document.version();
            if before == last {
                line.ack(&document);
                break;
            }
        }
    }
    until("both have it", SOON, || {
        rollout(&root, "acme")["acked"] == 2
    });
    // And a server that starts again takes part.
    killed.restart();
    check_storm(&acknowledged, &root.at(&killed));
}

#[test]
fn a_server_that_was_killed_has_what_it_acknowledged() {
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    for round in 1..=3_u32 {
        let stop = AtomicBool::new(false);
        let callers: Vec<Caller> = (0..3).map(|_| plane.bearer(root.token())).collect();
        let begun = history_or_none(&callers[0]);
        let acknowledged: Vec<_> = std::thread::scope(|scope| {
            let storms: Vec<_> = (1..)
                .zip(&callers)
                .map(|(number, caller)| {
                    let stop = &stop;
                    scope.spawn(move || storm(caller, round * 1_000_000 + number * 100_000, stop))
                })
                .collect();
            until("five versions", SOON, || {
                history_or_none(&callers[0]) >= begun + 5
            });
            plane.process().kill();
            stop.store(true, Ordering::Relaxed);
            storms
                .into_iter()
                .flat_map(|each| each.join().unwrap())
                .collect()
        });
        plane.restart();
        let root = plane.bearer(root.token());
        check_storm(&acknowledged, &root);
        assert!(check_chain(&root) > u64::from(round) * 5);
    }
}

pub(crate) fn history_or_none(caller: &Caller) -> usize {
    match caller.rules("acme").status {
        200 => history(caller).len(),
        _ => 0,
    }
}

// S-12
#[test]
fn two_servers_are_one_control_plane() {
    let memory = Memory::of("etcd");
    let (one, root) = Plane::ready("cp-1", &memory, "");
    let mut two = Plane::start("cp-2", &memory, "");
    let member = Member::enrol(&one, &root.invite("acme", "a-1")).unwrap();
    let mut line = member.subscribe(&two).unwrap();
    let path = "/api/v1/subaccounts/acme/agents/a-1";
    let node = until_some("the other server knows", SOON, || {
        let node = root.get(path).json();
        node["connected"].is_object().then_some(node)
    });
    assert_eq!(node["connected"]["server"], "cp-2");
    let servers = root.get("/api/v1/status").json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 2, "{servers}");
    // Asked here, connected there.
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| root.get(&format!("{path}/status")));
        let ask = line.question();
        line.answer(&ask, 200, r#"{"far":"away"}"#);
        asked.join().unwrap()
    });
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"far": "away"}))
    );
    // A copy at the other server is a copy.
    assert_eq!(member.copy().subscribe(&one).unwrap_err().status, 409);
    // Rules that one takes are pushed by the other.
    assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
    assert_eq!(line.push().version(), 1);
    // What is revoked at one is cut off at the other.
    assert_eq!(root.post(&format!("{path}/revoke"), &json!({})).status, 204);
    assert!(!line.goodbye().come_back);
    // A server that ends well is not told of any longer.
    two.process().terminate();
    assert!(two.process().wait(SOON).success());
    until("one is left", SOON, || {
        root.get("/api/v1/status").json()["servers"]
            .as_array()
            .unwrap()
            .len()
            == 1
    });
}

on_both_memories! {
    fn an_authority_changes_with_nodes_connected_and_rules_kept(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let member = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = member.subscribe(&plane).unwrap();
        assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
        let old = line.push();
        line.ack(&old);
        let first = line.trust_with(|_| true);
        let step = |root: &Caller, step: &str| {
            let etag = root.get("/api/v1/authority").etag();
            root.post_at("/api/v1/authority/roll", &etag, &json!({"step": step})).status
        };
        assert_eq!(step(&root, "switch"), 409);
        assert_eq!(step(&root, "begin"), 204);
        assert_eq!(step(&root, "begin"), 409);
        let both = line.trust_with(|trust| trust.version > first.version);
        assert_eq!(both.roots.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(both.signing_keys.matches("BEGIN PUBLIC KEY").count(), 2);
        until("people's file of roots has both", SOON, || plane.roots().matches("BEGIN CERTIFICATE").count() == 2);
        let root = plane.bearer(root.token());
        assert_eq!(step(&root, "switch"), 204);
        let switched = line.trust_with(|trust| trust.version > both.version);
        // Signed by the new key, and counts for who knows both.
        assert_eq!(root.apply("acme", "", &rules_number(2)).status, 200);
        let document = line.push();
        assert_eq!(verified(&document, &switched, "acme/"), rules_number(2));
        // The node gets a certificate of the new root while the old one counts.
        let mut informed = member.copy();
        informed.enrolled.trust = switched.clone();
        let mut renewed = informed.renew(&plane).unwrap();
        renewed.enrolled.trust = switched.clone();
        assert_eq!(step(&root, "finish"), 204);
        let last = line.trust_with(|trust| trust.version > switched.version);
        assert_eq!(last.roots.matches("BEGIN CERTIFICATE").count(), 1);
        assert!(!first.roots.contains(last.roots.trim()));
        // What was signed before is there, and is pushed with a signature that counts now.
        until("people's file of roots is the new one", SOON, || plane.roots().matches("BEGIN CERTIFICATE").count() == 1);
        let root = plane.bearer(root.token());
        assert_eq!(root.rules("acme").json()["text"], json!(rules_number(2)));
        let before = root.get("/api/v1/subaccounts/acme/rules/versions/1").json();
        assert_eq!(before["text"], json!(rules_number(1)), "{before}");
        let etag = root.rules("acme").etag();
        let back = root.post_at("/api/v1/subaccounts/acme/rules/rollback", &etag, &json!({"to": 1}));
        assert_eq!(back.status, 200, "{back:?}");
        renewed.restart();
        drop(line);
        let mut line = until_some("the node comes back", SOON, || renewed.subscribe(&plane).ok());
        let document = line.push();
        let trust = line.trust_with(|_| true);
        assert_eq!(verified(&document, &trust, "acme/"), rules_number(1));
        // A certificate of the old root opens no door any more.
        assert!(informed.subscribe(&plane).is_err());
        assert_ne!(check_chain(&root), 0);
    }
}
