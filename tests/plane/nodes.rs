//! Nodes: invited, enrolled, subscribed, renewed, revoked, asked.

use std::time::Duration;

use adit_proto::control::Event;
use adit_tests::member::Member;
use adit_tests::plane::{Memory, Plane, rules_number};
use adit_tests::wait::{SOON, until};
use serde_json::json;

use crate::on_both_memories;

on_both_memories! {
    // S-06
    fn s06_an_invitation_makes_one_node_once(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let token = root.invite("acme", "a-1");
        let tries: Vec<Result<Member, _>> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| Member::enrol(&plane, &token)))
                .collect();
            tries.into_iter().map(|each| each.join().unwrap()).collect()
        });
        let won = tries.iter().filter(|each| each.is_ok()).count();
        assert_eq!(won, 1, "{tries:?}");
        for lost in tries.iter().filter_map(|each| each.as_ref().err()) {
            assert_eq!(lost.status, 401, "{lost:?}");
        }
        // Used once, it is worth nothing, and says no more than one that never was.
        let used = Member::enrol(&plane, &token).unwrap_err();
        let never = Member::enrol(&plane, "adit1.nothing.nothing").unwrap_err();
        assert_eq!((used.status, never.status), (401, 401));
        let title = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["title"].clone();
        assert_eq!(title(&used.body), title(&never.body));
        let nodes = root.get("/api/v1/subaccounts/acme/agents").json();
        assert_eq!(nodes["items"].as_array().unwrap().len(), 1, "{nodes}");

        // Taken back, it is worth nothing either.
        let token = root.invite("acme", "a-2");
        let open = root.get("/api/v1/subaccounts/acme/invitations").json();
        let id = open["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(root.delete(&format!("/api/v1/subaccounts/acme/invitations/{id}"), None).status, 204);
        assert_eq!(Member::enrol(&plane, &token).unwrap_err().status, 401);
    }

    fn a_revoked_node_is_cut_off_and_the_others_hear_its_number(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let gateway = Member::enrol(&plane, &root.invite_gateway("gw-1")).unwrap();
        let mut line = one.subscribe(&plane).unwrap();
        let mut other = gateway.subscribe(&plane).unwrap();
        let before = other.trust_with(|_| true);
        assert!(before.revoked.is_empty(), "{before:?}");
        let path = "/api/v1/subaccounts/acme/agents/a-1/revoke";
        assert_eq!(root.post(path, &json!({})).status, 204);
        assert_eq!(root.post(path, &json!({})).status, 204, "twice is once");
        let goodbye = line.goodbye();
        assert!(!goodbye.come_back, "{goodbye:?}");
        assert_eq!(line.event(SOON), None);
        let serial = one.serial();
        let trust = other.trust_with(|trust| trust.revoked.contains(&serial));
        assert!(trust.version > before.version);
        // Nothing that it shows counts any more.
        assert_eq!(one.subscribe(&plane).unwrap_err().status, 403);
        assert_eq!(one.renew(&plane).unwrap_err().status, 403);
        assert_ne!(line.say("beat", b"{}"), 204);
        // Its name may come back, with another key.
        let again = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = again.subscribe(&plane).unwrap();
        assert!(line.trust_with(|_| true).revoked.contains(&serial));
        assert_eq!(one.subscribe(&plane).unwrap_err().status, 403);
    }

    fn a_name_that_is_enrolled_anew_ends_what_had_it_before(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let old = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = old.subscribe(&plane).unwrap();
        let new = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        assert!(!line.goodbye().come_back);
        assert_eq!(old.subscribe(&plane).unwrap_err().status, 403);
        new.subscribe(&plane).unwrap();
    }

    fn a_renewed_certificate_counts_beside_the_old_one(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let first = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let second = first.renew(&plane).unwrap();
        assert_ne!(first.serial(), second.serial());
        drop(first.subscribe(&plane).unwrap());
        until("the new one is taken", SOON, || second.subscribe(&plane).is_ok());
        let node = root.get("/api/v1/subaccounts/acme/agents/a-1").json();
        assert_eq!(node["certificate"]["serial"], json!(second.serial()), "{node}");
        // The old one may still be renewed: an answer may have been lost.
        first.renew(&plane).unwrap();
        // Revoking the node takes all of them.
        assert_eq!(root.post("/api/v1/subaccounts/acme/agents/a-1/revoke", &json!({})).status, 204);
        for each in [&first, &second] {
            assert_eq!(each.subscribe(&plane).unwrap_err().status, 403);
        }
    }

    // S-12
    fn s12_a_second_process_with_the_same_identity_is_refused_and_told_of(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = one.subscribe(&plane).unwrap();
        let copy = one.copy();
        assert_eq!(copy.subscribe(&plane).unwrap_err().status, 409);
        assert_eq!(line.say("beat", br#"{"not_ready":[],"tunnels":0,"streams":0,"certificate_until_unix_s":0}"#), 204);
        let told = |verb: &str| root.acts().iter().filter(|act| act["verb"] == verb).count();
        assert_eq!(told("node-used-twice"), 1);
        // The same process comes back over another connection, and takes the place of its old one.
        let mut again = one.subscribe(&plane).unwrap();
        assert!(line.goodbye().come_back);
        assert_eq!(again.say("beat", br#"{"not_ready":[],"tunnels":0,"streams":0,"certificate_until_unix_s":0}"#), 204);
        // Once it is gone the other one may come.
        drop(again);
        drop(line);
        until("the first is gone", SOON, || copy.subscribe(&plane).is_ok());
    }

    fn many_copies_at_one_moment_are_one(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let copies: Vec<Member> = (0..6).map(|_| one.copy()).collect();
        let lines: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = copies
                .iter()
                .map(|copy| scope.spawn(|| copy.subscribe(&plane)))
                .collect();
            tries.into_iter().map(|each| each.join().unwrap()).collect()
        });
        let won = lines.iter().filter(|line| line.is_ok()).count();
        assert_eq!(won, 1, "{lines:?}");
        drop(lines);
    }

    fn a_node_is_asked_and_its_answer_comes_back(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let away = root.get("/api/v1/subaccounts/acme/agents/a-1/status");
        assert_eq!(away.status, 504, "{away:?}");
        let mut line = one.subscribe(&plane).unwrap();
        let (status, explain, why) = std::thread::scope(|scope| {
            let root = &root;
            let status = scope.spawn(|| root.get("/api/v1/subaccounts/acme/agents/a-1/status"));
            let ask = line.question();
            assert_eq!((ask.method.as_str(), ask.path.as_str()), ("GET", "/status"));
            assert_eq!(line.answer(&ask, 200, r#"{"state":"fine"}"#), 204);
            let wish = json!({"request": "GET http://erp1.virtual:80/x"});
            let explain = scope.spawn(move || root.post("/api/v1/subaccounts/acme/agents/a-1/explain", &wish));
            let ask = line.question();
            assert_eq!((ask.method.as_str(), ask.path.as_str()), ("POST", "/explain"));
            assert!(ask.body.contains("http://erp1.virtual:80/x"), "{ask:?}");
            line.answer(&ask, 200, r#"{"allowed":true}"#);
            let why = scope.spawn(|| root.get("/api/v1/subaccounts/acme/why/0123abcd"));
            let ask = line.question();
            assert_eq!((ask.path.as_str(), ask.query.as_str()), ("/why", "id=0123abcd"));
            line.answer(&ask, 200, r#"{"outcome":"denied"}"#);
            (status.join().unwrap(), explain.join().unwrap(), why.join().unwrap())
        });
        assert_eq!((status.status, status.json()), (200, json!({"state": "fine"})));
        assert_eq!((explain.status, explain.json()), (200, json!({"allowed": true})));
        assert_eq!(why.json()["parts"], json!([{"node": "agent/acme/a-1", "answer": {"outcome": "denied"}}]));
    }

    fn a_server_that_ends_sends_its_nodes_elsewhere(memory: &Memory) {
        let (mut plane, root) = Plane::ready("cp-1", memory, "");
        let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        let mut line = one.subscribe(&plane).unwrap();
        plane.process().terminate();
        assert!(line.goodbye().come_back);
        let status = plane.process().wait(Duration::from_secs(10));
        assert!(status.success(), "{status}");
        // It comes back to itself.
        plane.restart();
        let root = plane.bearer(root.token());
        assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
        let mut line = one.subscribe(&plane).unwrap();
        assert_eq!(line.push().version(), 1);
    }
}

#[test]
fn a_line_that_is_alive_beats() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let one = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
    let mut line = one.subscribe(&plane).unwrap();
    assert!(matches!(line.event(SOON), Some(Event::Trust(_))));
}
