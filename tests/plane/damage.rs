//! What a store was made to say is noticed.

use std::process::Command;
use std::time::Duration;

use adit_proto::control::Event;
use adit_tests::member::Member;
use adit_tests::plane::{Memory, Plane, rules_number};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn etcd(endpoint: &str, call: &str, body: &Value) -> Value {
    let output = Command::new("curl")
        .args(["-q", "-sS", "--max-time", "20", "-X", "POST", "-d"])
        .arg(body.to_string())
        .arg(format!("{endpoint}/v3/kv/{call}"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

//
#[test]
fn r02_a_damaged_document_is_pushed_to_nobody() {
    let memory = Memory::of("etcd");
    let (plane, root) = Plane::ready("cp-1", &memory, "");
    let member = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
    assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
    let Memory::Etcd(store) = &memory else {
        unreachable!()
    };
    let key = STANDARD.encode(format!("adit/k/g1/rules/acme/=/document/{:020}", 1));
    let found = etcd(&store.endpoint(), "range", &json!({"key": key}));
    let value = found["kvs"][0]["value"].as_str().unwrap();
    let mut bytes = STANDARD.decode(value).unwrap();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    let damaged = json!({"key": key, "value": STANDARD.encode(&bytes)});
    etcd(&store.endpoint(), "put", &damaged);

    let read = root.rules("acme");
    assert_eq!(read.status, 500, "{read:?}");
    assert!(!read.text().contains("erp1"), "{read:?}");
    // The node is not sent it, and keeps its line: it hears whom to trust.
    let mut line = member.subscribe(&plane).unwrap();
    assert!(matches!(
        line.event(Duration::from_secs(5)),
        Some(Event::Trust(_))
    ));
    let other = Member::enrol(&plane, &root.invite("acme", "a-2")).unwrap();
    assert_eq!(
        root.post("/api/v1/subaccounts/acme/agents/a-2/revoke", &json!({}))
            .status,
        204
    );
    let next = line.event(Duration::from_secs(20));
    let Some(Event::Trust(trust)) = next else {
        panic!("{next:?}")
    };
    assert!(trust.revoked.contains(&other.serial()));
    // New rules mend it.
    let etag = root.get("/api/v1/subaccounts/acme/rules/rollout").etag();
    assert_eq!(
        root.apply_at("acme", "", Some(&etag), &rules_number(2))
            .status,
        200
    );
    assert_eq!(line.push().version(), 2);
}
