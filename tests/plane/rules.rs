//! Rules: put in force, on trial, back; pushed to nodes, and how far they have come.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use adit_manifest::{PublicKey, Signers, verify};
use adit_proto::control::Trust;
use adit_tests::member::{Document, Member};
use adit_tests::plane::{Caller, Memory, Plane, rules_number};
use adit_tests::wait::{SOON, until, until_some};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::{adit, on_both_memories};

/// The rules of a document whose signature is by a key of this trust.
pub(crate) fn verified(document: &Document, trust: &Trust, audience: &str) -> String {
    let keys: Vec<PublicKey> =
        SubjectPublicKeyInfoDer::pem_slice_iter(trust.signing_keys.as_bytes())
            .map(|key| PublicKey::from_spki(&key.unwrap()).unwrap())
            .collect();
    verify(&document.0, Signers::Keys(&keys), audience, None)
        .unwrap_or_else(|why| panic!("{why}"))
        .content
        .to_owned()
}

pub(crate) fn rollout(caller: &Caller, subaccount: &str) -> Value {
    caller
        .get(&format!("/api/v1/subaccounts/{subaccount}/rules/rollout"))
        .json()
}

fn post_now(root: &Caller, below: &str, body: &Value) -> adit_tests::plane::Reply {
    let etag = root.rules("acme").etag();
    root.post_at(
        &format!("/api/v1/subaccounts/acme/rules/{below}"),
        &etag,
        body,
    )
}

on_both_memories! {
    fn rules_reach_a_node_signed_and_the_rollout_says_so(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = one.subscribe(&plane).unwrap();
        assert_eq!(root.rules("acme").status, 404);
        let applied = root.apply_at("acme", "?message=first", None, &rules_number(1));
        assert_eq!(applied.status, 200, "{applied:?}");
        assert_eq!(applied.json()["version"], 1);
        let document = line.push();
        let trust = line.trust_with(|_| true);
        assert_eq!(verified(&document, &trust, "acme/"), rules_number(1));
        until("one waits", SOON, || rollout(&root, "acme")["agents"][0]["state"] == "pending");
        assert_eq!(line.ack(&document), 204);
        until("one of one", SOON, || {
            let rollout = rollout(&root, "acme");
            (rollout["acked"].as_u64(), rollout["connected"].as_u64()) == (Some(1), Some(1))
        });
        // What is in force already is no change.
        let same = root.apply("acme", "", &rules_number(1));
        assert_eq!(same.json()["changed"], false, "{same:?}");
        assert_eq!(same.json()["version"], 1);
        // A node that has them is not sent them again.
        let in_force = document.in_force();
        let mut again = one.subscribe_with(&plane, Some(in_force)).unwrap();
        assert_eq!(root.apply("acme", "", &rules_number(2)).status, 200);
        let second = again.push();
        assert_eq!(second.version(), 2);
        // A refusal shows, with its reason.
        assert_eq!(again.nack(&second, "signature", "the key is not known"), 204);
        let refused = until_some("the refusal shows", SOON, || {
            let rollout = rollout(&root, "acme");
            (rollout["agents"][0]["state"] == "refused").then_some(rollout)
        });
        assert_eq!(refused["agents"][0]["problems"], json!(["the key is not known"]));
        assert_eq!(refused["agents"][0]["version"], 1);
    }

    fn nobody_writes_over_what_they_have_not_read(memory: &Memory) {
        let (_plane, root) = Plane::ready("cp-1", memory, "");
        let path = "/api/v1/subaccounts/acme/rules";
        let kind = ("content-type", "application/toml");
        let unnamed = root.ask("PUT", path, &[kind], rules_number(1).as_bytes());
        assert_eq!(unnamed.status, 428, "{unnamed:?}");
        assert_eq!(root.apply_at("acme", "", None, &rules_number(1)).status, 200);
        assert_eq!(root.apply_at("acme", "", None, &rules_number(2)).status, 412);
        let first = root.rules("acme").etag();
        assert_eq!(root.apply_at("acme", "", Some(&first), &rules_number(2)).status, 200);
        let stale = root.apply_at("acme", "", Some(&first), &rules_number(3));
        assert_eq!(stale.status, 412, "{stale:?}");
        assert_eq!(root.rules("acme").json()["version"], 2);
        assert_eq!(root.apply_at("acme", "", Some("\"abc\""), &rules_number(3)).status, 412);
        let text = root.ask("PUT", path, &[("content-type", "text/plain"), ("if-match", &first)], b"");
        assert_eq!(text.status, 415, "{text:?}");
    }

    fn a_trial_is_for_some_and_ends_for_all(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let two = Member::enrol(&plane, &root.invite("acme", "a-2")).unwrap();
        let (mut one, mut two) = (one.subscribe(&plane).unwrap(), two.subscribe(&plane).unwrap());
        assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
        for line in [&mut one, &mut two] {
            let document = line.push();
            assert_eq!(document.version(), 1);
            line.ack(&document);
        }
        assert_eq!(root.apply("acme", "?canary=nobody", &rules_number(2)).status, 400);
        let trial = root.apply("acme", "?canary=a-1", &rules_number(2));
        assert_eq!(trial.json()["canary"], true, "{trial:?}");
        let document = one.push();
        assert_eq!(document.version(), 2);
        one.ack(&document);
        until("both have what they shall have", SOON, || rollout(&root, "acme")["acked"] == 2);
        assert_eq!(root.rules("acme").json()["canary"], json!({"version": 2, "agents": ["a-1"]}));
        // While it lasts, nothing else is put in force.
        assert_eq!(root.apply("acme", "", &rules_number(3)).status, 409);
        assert_eq!(post_now(&root, "promote", &json!({})).json()["version"], 2);
        assert_eq!(two.push().version(), 2);
        assert_eq!(post_now(&root, "promote", &json!({})).status, 409);

        // The next one is abandoned: what was before comes back, as a newer version.
        assert_eq!(root.apply("acme", "?canary=a-2", &rules_number(4)).status, 200);
        assert_eq!(two.push().version(), 3);
        let back = post_now(&root, "abandon", &json!({}));
        assert_eq!(back.json()["version"], 4, "{back:?}");
        for line in [&mut one, &mut two] {
            let document = line.push();
            let trust = line.trust_with(|_| true);
            assert_eq!(verified(&document, &trust, "acme/"), rules_number(2));
            assert_eq!(document.version(), 4);
        }
        assert_eq!(root.rules("acme").json()["change"], json!({"abandoned": {"canary": 3}}));
    }

    fn what_comes_back_is_a_new_version(memory: &Memory) {
        let (_plane, root) = Plane::ready("cp-1", memory, "");
        for number in 1..=5 {
            assert_eq!(root.apply("acme", "", &rules_number(number)).status, 200);
        }
        let back = post_now(&root, "rollback", &json!({"to": 2, "message": "it was better"}));
        assert_eq!(back.json()["version"], 6, "{back:?}");
        let now = root.rules("acme").json();
        assert_eq!(now["text"], json!(rules_number(2)));
        assert_eq!(now["change"], json!({"rolled-back": {"to": 2}}));
        assert_eq!(post_now(&root, "rollback", &json!({"to": 99})).status, 404);
        let third = root.get("/api/v1/subaccounts/acme/rules/versions/3").json();
        assert_eq!(third["text"], json!(rules_number(3)));
        // Pages of two, newest first, each version once.
        let mut seen = Vec::new();
        let mut path = "/api/v1/subaccounts/acme/rules/versions?limit=2".to_owned();
        loop {
            let page = root.get(&path).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item["version"].as_u64().unwrap()));
            match page["next"].as_u64() {
                Some(next) => path = format!("/api/v1/subaccounts/acme/rules/versions?limit=2&before={next}"),
                None => break,
            }
        }
        assert_eq!(seen, [6, 5, 4, 3, 2, 1]);
    }

    fn wrong_rules_change_nothing_and_say_which_line(memory: &Memory) {
        let (_plane, root) = Plane::ready("cp-1", memory, "");
        let wrong = root.apply("acme", "", "[[system]]\nvirtual = 1\n");
        assert_eq!(wrong.status, 422, "{wrong:?}");
        let problems = wrong.json()["problems"].to_string();
        assert!(problems.contains('2'), "{problems}");
        let failing = format!(
            "{}\n[[test]]\nrequest = \"GET http://erp1.virtual/\"\nexpect = \"deny\"\n",
            rules_number(1)
        );
        let failing = root.apply("acme", "", &failing);
        assert_eq!(failing.status, 422, "{failing:?}");
        assert!(!failing.json()["problems"].as_array().unwrap().is_empty());
        assert_eq!(root.rules("acme").status, 404);
    }
}

#[test]
fn what_was_written_is_told_also_when_the_server_is_lost_while_its_way_is_followed() {
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let member = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
    let mut line = member.subscribe(&plane).unwrap();
    plane.scratch().write("rules.toml", rules_number(1));
    for (number, args) in [
        (1, &["apply", "rules.toml"][..]),
        (2, &["rollback", "--to", "1"]),
    ] {
        if number == 2 {
            plane.restart();
            let root = root.at(&plane);
            assert_eq!(root.apply("acme", "", &rules_number(2)).status, 200);
            line = member.subscribe(&plane).unwrap();
            while line.push().version() != 2 {}
        }
        let mut child = adit(&plane, &root)
            .args(["rules"])
            .args(args)
            .args(["--subaccount", "acme", "--yes", "--wait=60"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let version = if number == 1 { 1 } else { 3 };
        while line.push().version() != version {}
        // The agent may hear of it before whoever made it does.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains(&format!("version {version}: 0 of 1 agent")) {
            assert!(said.read_line(&mut told).unwrap() > 0, "{told}");
        }
        plane.process().kill();
        let output = child.wait_with_output().unwrap();
        said.read_to_string(&mut told).unwrap();
        let follows = told;
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            told.contains(&format!("acme/: version {version}")),
            "{output:?}"
        );
        assert!(follows.contains("the change is made"), "{follows}");
    }
}
