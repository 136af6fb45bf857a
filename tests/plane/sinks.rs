//! Acts on their way to collectors: one server of all sends, and another one goes on where it was.

use std::collections::BTreeSet;

use adit_tests::plane::{Caller, Memory, Plane};
use adit_tests::wait::{SOON, until};
use adit_tests::{Backend, Rsyslog, backend};
use serde_json::Value;

use crate::on_both_memories;

/// Lines of the configuration: both sinks.
fn both(rsyslog: &Rsyslog, collector: &Backend) -> String {
    let (certificate, key) = rsyslog.client();
    format!(
        "[acts.syslog]\nserver = \"{}\"\nca_file = {:?}\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n\
         [acts.otlp]\nurl = \"{}\"\n",
        rsyslog.address(),
        rsyslog.roots(),
        collector.url()
    )
}

/// The lines of the chain.
fn chain(caller: &Caller) -> Vec<String> {
    let text = String::from_utf8(caller.chain()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn of_otlp(collector: &Backend) -> Vec<String> {
    let mut lines = Vec::new();
    for request in collector.requests() {
        let read: Value = serde_json::from_slice(&request.body).unwrap();
        let records = read["resourceLogs"][0]["scopeLogs"][0]["logRecords"].clone();
        for record in records.as_array().unwrap() {
            lines.push(record["body"]["stringValue"].as_str().unwrap().to_owned());
        }
    }
    lines
}

fn of_syslog(rsyslog: &Rsyslog) -> Vec<String> {
    let messages = rsyslog.messages();
    messages.into_iter().map(|message| message.text).collect()
}

/// Each line of the chain has come, and nothing else.
fn must_be_all(caller: &Caller, rsyslog: &Rsyslog, collector: &Backend) {
    let lines: BTreeSet<String> = chain(caller).into_iter().collect();
    until("all acts have come to both", SOON * 3, || {
        let syslog: BTreeSet<String> = of_syslog(rsyslog).into_iter().collect();
        let otlp: BTreeSet<String> = of_otlp(collector).into_iter().collect();
        syslog == lines && otlp == lines
    });
}

on_both_memories! {
    fn r04_acts_go_to_both_sinks_also_when_one_was_down_and_the_server_has_restarted(memory: &Memory) {
        let mut rsyslog = Rsyslog::stopped();
        let collector = Backend::saying(backend::ok("{}"));
        let (mut plane, root) = Plane::ready("cp-1", memory, &both(&rsyslog, &collector));
        root.make_user("ada", &["operator@acme"]);
        until("the sink that is up has all, and the other one is told of", SOON * 2, || {
            let status = root.get("/api/v1/status").json();
            let sinks = status["sinks"].as_array().unwrap().clone();
            let of = |name: &str| sinks.iter().find(|sink| sink["sink"] == name).cloned();
            let is_down = of("syslog").is_some_and(|sink| sink["trouble"].is_string());
            is_down && of("otlp").is_some_and(|sink| sink["delivered"].as_u64() >= Some(2))
        });
        rsyslog.start();
        must_be_all(&root, &rsyslog, &collector);
        plane.process().terminate();
        assert!(plane.process().wait(SOON).success());
        plane.restart();
        root.make_user("bob", &["viewer@acme"]);
        must_be_all(&root, &rsyslog, &collector);
        let otlp = of_otlp(&collector);
        let once: BTreeSet<&String> = otlp.iter().collect();
        assert_eq!(once.len(), otlp.len(), "a stop in good order sends nothing twice");
        let message = rsyslog.messages().remove(0);
        assert_eq!((message.app_name.as_str(), message.kind.as_str()), ("adit", "act"));
        assert!(message.data.contains("node=\"adit.local/control-plane\""), "{message:?}");
    }
}

#[test]
fn r04_of_two_servers_one_sends_and_the_other_one_goes_on_when_it_is_killed() {
    let memory = Memory::of("etcd");
    let mut rsyslog = Rsyslog::stopped();
    rsyslog.start();
    let collector = Backend::saying(backend::ok("{}"));
    let more = both(&rsyslog, &collector);
    let (mut one, root) = Plane::ready("cp-1", &memory, &more);
    must_be_all(&root, &rsyslog, &collector);
    let two = Plane::start("cp-2", &memory, &more);
    let second = root.at(&two);
    second.make_user("ada", &["operator@acme"]);
    must_be_all(&second, &rsyslog, &collector);
    let sends = |caller: &Caller| {
        let status = caller.get("/api/v1/status").json();
        status["sinks"][0]["server"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(sends(&second), "cp-1");
    let otlp = of_otlp(&collector);
    let once: BTreeSet<&String> = otlp.iter().collect();
    assert_eq!(once.len(), otlp.len(), "nothing is sent by both");
    one.process().kill();
    second.make_user("bob", &["viewer@acme"]);
    must_be_all(&second, &rsyslog, &collector);
    until("the other one has the turn", SOON * 2, || {
        sends(&second) == "cp-2"
    });
}
