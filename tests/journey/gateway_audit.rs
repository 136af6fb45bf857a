//! Records of a real gateway: who came to its doors and was refused, tunnels, a disk that is full, a collector.

use std::path::PathBuf;

use adit_tests::wait::{SOON, until};
use adit_tests::world::{Driver, Node, SUBACCOUNT, until_answered};
use adit_tests::{Nginx, Rsyslog, Rules, World, socks};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

/// A world before nginx, whose gateway records as `more` of its configuration says.
fn world(more: &[(&str, &str)]) -> (World, Nginx) {
    let nginx = Nginx::start();
    nginx.file("open", 10);
    let builder = World::builder().rules(
        Rules::none()
            .http_with("web.virtual:80", nginx.url(), "")
            .resource("path = \"/open\"\n"),
    );
    let world = builder
        .gateway(|config| {
            for (key, value) in more {
                config.text(key, value);
            }
        })
        .start();
    until_answered(&world, "http://web.virtual/open", 200, SOON);
    (world, nginx)
}

/// Where a gateway keeps its records unless it is told otherwise.
fn folder(world: &World) -> PathBuf {
    world.gateway.scratch().path("gateway/audit")
}

fn audit(world: &World, act: &str, more: &[&str]) -> (i32, Value) {
    crate::audit::run(&folder(world), act, more)
}

fn verify(world: &World) -> i32 {
    crate::audit::verify_folder(&folder(world)).0
}

/// The first record that matches, once it is written.
fn found(world: &World, asked: &[&str], is_it: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    until("the record is written", SOON, || {
        let (_, told) = audit(world, "query", asked);
        let records = told.as_array().unwrap();
        found = records
            .iter()
            .find(|one| is_it(one))
            .cloned()
            .unwrap_or_default();
        !found.is_null()
    });
    found
}

fn of_request(world: &World, id: &str) -> Value {
    found(world, &["--request-id", id], |_| true)
}

fn metric(world: &World, name: &str) -> f64 {
    world.gateway.admin().metric(name, &[])
}

/// How large files of the gateway may become.
fn limit_files(world: &mut World, bytes: Option<u64>) {
    let pid = i32::try_from(world.gateway.process().pid()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
}

/// No file of the gateway can become larger than its records are.
fn fill_disk(world: &mut World) {
    let entries = std::fs::read_dir(folder(world)).unwrap();
    let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
    let full = sizes.max().unwrap();
    limit_files(world, Some(full));
}

#[test]
fn who_was_refused_at_the_door_is_recorded_there_and_a_changed_byte_is_found_out() {
    let (mut world, _nginx) = world(&[]);
    // Without a token: known by his address and what he wanted, without the secrets in it.
    let anonymous = "GET http://web.virtual/open?key=s3cret HTTP/1.1\r\nHost: web.virtual\r\n\r\n";
    let refused = world.exchange(anonymous).unwrap();
    assert_eq!((refused.status, refused.refusal()), (407, "token-missing"));
    let record = of_request(&world, refused.refusal_id().unwrap());
    assert_eq!(record["outcome"]["refused"]["reason"], "token-missing");
    let asked = [&record["system"], &record["method"], &record["path"]];
    assert_eq!(asked, ["web.virtual:80", "GET", "/open"]);
    assert!(record["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(record["caller"], Value::Null);

    // A caller whose subaccount has no agent.
    let token = world.keys.token("globex");
    let text = format!(
        "GET http://web.virtual/open HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
    );
    let refused = world.exchange(text).unwrap();
    assert_eq!((refused.status, refused.refusal()), (503, "no-agent"));
    let record = of_request(&world, refused.refusal_id().unwrap());
    assert_eq!(record["outcome"]["refused"]["reason"], "no-agent");
    assert_eq!(
        (&record["subaccount"], &record["agent"]),
        (&"globex".into(), &Value::Null)
    );

    // The SOCKS5 door turns away before anybody says what he wants.
    let forged = format!("{token}x");
    assert!(socks::connect(world.socks(), &forged, "web.virtual", 80).is_err());
    let record = found(&world, &["--outcome", "denied"], |one| {
        one["door"] == "socks5"
    });
    assert_eq!(record["outcome"]["refused"]["reason"], "token-malformed");
    assert_eq!(record["system"], Value::Null);

    // The agent of this world is up, and one with a certificate of elsewhere never comes.
    let up = found(&world, &["--outcome", "allowed"], |one| {
        one["event"] == "up"
    });
    let identity = up["identity"].as_str().unwrap();
    assert!(
        identity.ends_with("/subaccount/acme/agent/agent-1"),
        "{identity}"
    );
    assert!(
        up["serial"]
            .as_str()
            .is_some_and(|serial| !serial.is_empty())
    );
    world.keys.authority("elsewhere");
    let strange = world
        .keys
        .agent("elsewhere", SUBACCOUNT, "agent-9", "strange");
    let own = world.keys.path("acme-agent-1/ca.pem");
    std::fs::copy(own, strange.join("ca.pem")).unwrap();
    let door = world.gateway.door("tunnel");
    let mut stranger = Node::agent(
        &world.keys,
        SUBACCOUNT,
        "",
        "agent-8",
        Driver::Epoll,
        &[door],
    );
    for (key, file) in [
        ("certificate", "cert.pem"),
        ("key", "key.pem"),
        ("roots", "ca.pem"),
    ] {
        stranger
            .config
            .text(&format!("tunnel.{key}"), strange.join(file).display());
    }
    stranger.start();
    let refused = found(&world, &["--outcome", "denied"], |one| {
        one["record"] == "tunnel"
    });
    assert_eq!(refused["event"]["refused"]["reason"], "tls", "{refused}");
    stranger.stop();

    // What was passed on, or denied by the agent, is the agent's to record at this level.
    let denied = world.get("http://web.virtual/shut");
    assert_eq!(denied.refusal(), "resource-denied");
    let status = world.gateway.admin().status();
    assert_eq!(status["audit"]["level"], "denied");

    assert_eq!(verify(&world), 0);
    world.gateway.process().terminate();
    assert!(world.gateway.process().wait(SOON).success());
    let (code, told) = audit(&world, "verify", &[]);
    assert_eq!((code, &told["stopped"]), (0, &true.into()), "{told}");
    let segment = folder(&world).join("0000000001.jsonl");
    let lines = std::fs::read_to_string(&segment).unwrap();
    for absent in ["s3cret", &token, world.token(), "/shut"] {
        assert!(!lines.contains(absent));
    }
    std::fs::write(
        &segment,
        lines.replacen("token-missing", "token-expired", 1),
    )
    .unwrap();
    let (code, told) = audit(&world, "verify", &[]);
    assert_eq!((code, &told["whole"]), (1, &false.into()), "{told}");
}

#[test]
fn at_level_all_what_was_passed_on_is_recorded_with_its_agent_and_comes_to_a_syslog_server() {
    let mut rsyslog = Rsyslog::stopped();
    rsyslog.start();
    let (certificate, key) = rsyslog.client();
    let (world, _nginx) = world(&[
        ("audit.level", "all"),
        ("audit.syslog.server", &rsyslog.address().to_string()),
        (
            "audit.syslog.ca_file",
            &rsyslog.roots().display().to_string(),
        ),
        (
            "audit.syslog.certificate_file",
            &certificate.display().to_string(),
        ),
        ("audit.syslog.key_file", &key.display().to_string()),
    ]);
    let denied = world.get("http://web.virtual/shut");
    let record = of_request(&world, denied.refusal_id().unwrap());
    assert_eq!(
        record["outcome"]["refused-by-agent"]["reason"],
        "resource-denied"
    );
    let passed = found(&world, &["--outcome", "allowed"], |one| {
        one["record"] == "request"
    });
    assert_eq!(passed["outcome"]["passed"]["status"], 200);
    let told = ["system", "path", "agent", "subaccount"].map(|name| &passed[name]);
    assert_eq!(told, ["web.virtual:80", "/open", "agent-1", SUBACCOUNT]);
    assert!(
        passed["caller"].is_string() && passed["tunnel"].is_u64(),
        "{passed}"
    );
    assert_eq!(verify(&world), 0);

    until("all kinds of records have come", SOON * 3, || {
        let messages = rsyslog.messages();
        let came = |kind: &str| messages.iter().any(|message| message.kind == kind);
        came("started") && came("tunnel") && came("request")
    });
    let messages = rsyslog.messages();
    let is_denied = |text: &str| text.contains("refused-by-agent");
    for message in messages.iter().filter(|message| message.kind == "request") {
        assert_eq!(message.app_name, "aditd");
        // audit is 13; what was refused is a notice, what was passed on is informational.
        let severity = if is_denied(&message.text) { 5 } else { 6 };
        assert_eq!(message.priority, (13, severity), "{message:?}");
        assert!(
            message.data.starts_with("[adit@32473 node=\"gw-1\" "),
            "{message:?}"
        );
    }
}

#[test]
fn r03_a_gateway_on_a_full_disk_serves_on_and_tells_later_how_many_records_were_lost() {
    let (mut world, _nginx) = world(&[("audit.level", "all"), ("audit.spool_bytes", "64KiB")]);
    fill_disk(&mut world);
    until("the spool is full", SOON * 3, || {
        assert_eq!(world.get("http://web.virtual/open").status, 200);
        metric(&world, "recorder_records_lost_total") > 3.0
    });
    assert!((metric(&world, "recorder_unwritable") - 1.0).abs() < 0.1);
    let status = world.gateway.admin().status();
    assert!(status["audit"]["unwritable"].is_string(), "{status:#}");
    limit_files(&mut world, None);
    found(&world, &[], |one| one["record"] == "gap");
    assert_eq!(verify(&world), 0);
    world.gateway.process().must_run();
}

#[test]
fn r03_a_gateway_that_fails_closed_passes_nothing_on_and_admits_no_tunnel_until_it_can_record() {
    let more = [("audit.level", "all"), ("audit.when_unwritable", "refuse")];
    let (mut world, _nginx) = world(&more);
    fill_disk(&mut world);
    until("requests are refused", SOON, || {
        let answer = world.get("http://web.virtual/open");
        answer.status == 503 && answer.refusal() == "audit-unavailable"
    });
    assert!(socks::connect(world.socks(), world.token(), "web.virtual", 80).is_err());
    world.agent().stop();
    world.agent().start();
    until("its tunnel is refused", SOON, || {
        let status = world.gateway.admin().status();
        status["failures"].to_string().contains("audit-unavailable")
    });
    assert_eq!(world.tunnels(), Vec::<u64>::new());
    limit_files(&mut world, None);
    until_answered(&world, "http://web.virtual/open", 200, SOON * 3);
    let (_, denied) = audit(&world, "query", &["--outcome", "denied"]);
    assert!(denied.to_string().contains("audit-unavailable"), "{denied}");
    assert_eq!(verify(&world), 0);
}
