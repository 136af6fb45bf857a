//! What nodes and control planes of earlier versions say to each other, byte for byte, as this version reads it.
//!
//! A file is `message.N.json`: the message as it was written when it had changed N - 1 times. Files are added, never
//! changed: a version that no longer reads one breaks a mixed fleet.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;

use adit_proto::control::{
    Ack, Answer, Ask, Beat, Enrol, Enrolled, Event, Goodbye, Hello, Nack, Renew, Trust, Welcome,
    read_json, to_json,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a file as it stands, and as a later version may write it: with a member more in each object.
fn read<T>(text: &str, name: &str)
where
    T: DeserializeOwned + Serialize + Debug,
{
    let message: T =
        read_json(text.as_bytes(), "file").unwrap_or_else(|_| panic!("{name} is not read"));
    let wrote: Value = serde_json::from_str(text).unwrap();
    let written: Value = serde_json::from_slice(&to_json(&message)).unwrap();
    // All that was said has been understood.
    includes(&written, &wrote, name);
    let later = with_more(wrote).to_string();
    let again: T = read_json(later.as_bytes(), "file")
        .unwrap_or_else(|_| panic!("{name} with more is not read"));
    assert_eq!(format!("{message:?}"), format!("{again:?}"), "{name}");
}

fn includes(whole: &Value, part: &Value, name: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                let same = whole
                    .get(key)
                    .unwrap_or_else(|| panic!("{name}: {key} was lost"));
                includes(same, value, name);
            }
        }
        _ => assert_eq!(whole, part, "{name}"),
    }
}

fn with_more(value: Value) -> Value {
    let Value::Object(members) = value else {
        return value;
    };
    let mut members: serde_json::Map<String, Value> = members
        .into_iter()
        .map(|(key, value)| (key, with_more(value)))
        .collect();
    members.insert(
        "of_a_later_version".to_owned(),
        serde_json::json!([{"a": 1}]),
    );
    Value::Object(members)
}

#[test]
fn r15_every_message_that_an_earlier_version_wrote_is_read_and_so_is_one_with_more_in_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let kind = name.split('.').next().unwrap().to_owned();
        match kind.as_str() {
            "enrol" => {
                let message: Enrol = read_json(text.as_bytes(), "file").unwrap();
                assert_eq!(message.software, "adit-agent/0.1.0");
            }
            "enrolled" => read::<Enrolled>(&text, &name),
            "renew" | "renew_expired" => read::<Renew>(&text, &name),
            "hello" => read::<Hello>(&text, &name),
            "welcome" => read::<Welcome>(&text, &name),
            "trust" => read::<Trust>(&text, &name),
            "ask" => read::<Ask>(&text, &name),
            "answer" => read::<Answer>(&text, &name),
            "ack" => read::<Ack>(&text, &name),
            "nack" => read::<Nack>(&text, &name),
            "beat" => read::<Beat>(&text, &name),
            "goodbye" => read::<Goodbye>(&text, &name),
            _ => panic!("{name}: of which message?"),
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 13, "{kinds:?}");
}

#[test]
fn r15_a_row_of_events_of_the_first_version_is_read_and_kinds_of_later_ones_are_passed_over() {
    let welcome = include_bytes!("golden/welcome.1.json");
    let mut row = vec![1, 0, 0, 0, u8::try_from(welcome.len()).unwrap()];
    row.extend_from_slice(welcome);
    row.extend_from_slice(&[2, 0, 0, 0, 2, b'h', b'i']);
    row.extend_from_slice(&[77, 0, 0, 0, 3, 1, 2, 3]);
    row.extend_from_slice(&[5, 0, 0, 0, 0]);
    let mut rest = row.as_slice();
    let mut events = Vec::new();
    while let Some((event, took)) = Event::decode(rest).unwrap() {
        events.push(event);
        rest = &rest[took..];
    }
    assert!(rest.is_empty());
    let [
        Some(Event::Welcome(welcome)),
        Some(Event::Push(document)),
        None,
        Some(Event::Beat),
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    // What it did not say.
    assert_eq!((welcome.format, welcome.features.len()), (1, 0));
    assert_eq!(document, b"hi");
}

#[test]
fn r15_a_first_version_says_what_a_tunnel_says_first() {
    use adit_proto::hello::{Answer, Hello, common_version};
    let features = [0, 0, 0, 0, 0, 0, 0, 0];
    let mut bytes = b"ADH1\x00\x28\x00\x01".to_vec();
    bytes.extend_from_slice(&features);
    bytes.extend_from_slice(&[7; 16]);
    bytes.extend_from_slice(b"\x00\x03b-1\x00\x07aditd 0");
    let (hello, took) = Hello::decode(&bytes).unwrap().unwrap();
    assert_eq!(
        (took, hello.version, hello.location.as_str()),
        (bytes.len(), 1, "b-1")
    );
    // A later version: more features, and a field at the end.
    bytes[5] += 2;
    bytes[7] = 9;
    bytes[8] = 0x80;
    bytes.extend_from_slice(b"++");
    let (later, took) = Hello::decode(&bytes).unwrap().unwrap();
    assert_eq!((took, later.software), (bytes.len(), hello.software));
    assert_eq!(common_version(later.version), Some(1));
    let answer =
        b"ADA1\x00\x13\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x02\x00\x02gw";
    let Some((Answer::Welcome(welcome), took)) = Answer::decode(answer).unwrap() else {
        panic!("no welcome");
    };
    assert_eq!(
        (
            took,
            welcome.shard,
            welcome.shards,
            welcome.gateway.as_str()
        ),
        (answer.len(), 1, 2, "gw")
    );
}
