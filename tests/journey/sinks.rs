//! Audit records on their way to collectors: a real rsyslog over TLS, and an OTLP collector of the tests' own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_audit::Verifier;
use adit_tests::wait::{SOON, until};
use adit_tests::world::{Node, until_answered};
use adit_tests::{Backend, Rsyslog, Rules, World, backend};
use serde_json::Value;

/// A world whose agent records everything in small segments, of which two are kept, and sends it on.
fn world(sink: &[(&str, String)]) -> (World, Backend) {
    let backend = Backend::saying(backend::ok("hello"));
    let mut world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let agent = world.agent();
    agent.stop();
    let folder = folder(agent);
    agent.config.text("audit.folder", folder.display());
    agent.config.text("audit.level", "all");
    agent.config.text("audit.segment_bytes", "64KiB");
    agent.config.text("audit.keep_bytes", "128KiB");
    for (key, value) in sink {
        agent.config.text(key, value);
    }
    agent.start();
    until_answered(&world, "http://web.virtual/", 200, SOON);
    (world, backend)
}

fn folder(agent: &Node) -> PathBuf {
    agent.scratch().path("audit")
}

fn metric(world: &World, name: &str, sink: &str) -> f64 {
    world.agents[0].admin().metric(name, &[("sink", sink)])
}

/// What `status` says of the one sink.
fn sink(world: &World) -> Value {
    world.agents[0].admin().status()["audit_sinks"][0].clone()
}

/// So many requests, each of which must be served.
fn requests(world: &World, count: usize) {
    for _ in 0..count {
        assert_eq!(world.get("http://web.virtual/").status, 200);
    }
}

/// The number of the last record on disk.
fn head(world: &World) -> u64 {
    let status = world.agents[0].admin().status();
    let last = status["audit"]["last"].as_str().unwrap().to_owned();
    last.split(':').next().unwrap().parse().unwrap()
}

fn verify(world: &World) -> i32 {
    crate::audit::verify_folder(&folder(&world.agents[0])).0
}

/// What has arrived: lines by number, and the numbers of which a gap was told.
#[derive(Debug, Default)]
struct Arrived {
    lines: BTreeMap<u64, String>,
    gaps: Vec<(u64, u64)>,
    /// Numbers in the order they came.
    order: Vec<u64>,
}

impl Arrived {
    fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut arrived = Self::default();
        for text in texts {
            let read: Value = serde_json::from_str(text).unwrap();
            if read["forwarder"] == "not-sent" {
                let number = |name: &str| read[name].as_u64().unwrap();
                arrived.gaps.push((number("from"), number("to")));
                continue;
            }
            let number = read["sequence"].as_u64().unwrap();
            arrived.order.push(number);
            let before = arrived.lines.insert(number, text.to_owned());
            assert!(
                before.is_none_or(|before| before == text),
                "{number} differs"
            );
        }
        arrived
    }

    fn last(&self) -> u64 {
        self.lines.keys().last().copied().unwrap_or(0)
    }

    /// Everything from 1 to `last` has come or was told as a gap, and what came is the chain.
    fn must_be_whole(&self, last: u64) {
        let is_told = |number: &u64| {
            let mut gaps = self.gaps.iter();
            gaps.any(|(from, to)| (from..=to).contains(&number))
        };
        let missing: Vec<u64> = (1..=last)
            .filter(|number| !self.lines.contains_key(number) && !is_told(number))
            .collect();
        assert!(missing.is_empty(), "{missing:?} of {last} are missing");
        let mut verifier = Verifier::new(None);
        let mut before = 0;
        for (number, line) in &self.lines {
            if *number != before + 1 {
                verifier = Verifier::new(None);
            }
            before = *number;
            let read = verifier.line(format!("{line}\n").as_bytes()).map(drop);
            assert_eq!(read, Ok(()), "{number}");
        }
    }

    /// Nothing came twice, and nothing before what stands before it.
    fn must_be_in_order(&self) {
        assert!(
            self.order.is_sorted_by(|one, two| one < two),
            "{:?}",
            self.order
        );
    }
}

fn of_syslog(rsyslog: &Rsyslog) -> Arrived {
    let messages = rsyslog.messages();
    Arrived::of(messages.iter().map(|message| message.text.as_str()))
}

#[test]
fn r04_a_syslog_server_that_is_down_costs_no_request_and_has_every_record_when_it_is_back() {
    let mut rsyslog = Rsyslog::stopped();
    let (certificate, key) = rsyslog.client();
    let (mut world, _backend) = world(&[
        ("audit.syslog.server", rsyslog.address().to_string()),
        (
            "audit.syslog.ca_file",
            rsyslog.roots().display().to_string(),
        ),
        (
            "audit.syslog.certificate_file",
            certificate.display().to_string(),
        ),
        ("audit.syslog.key_file", key.display().to_string()),
        ("audit.syslog.facility", "local3".to_owned()),
    ]);
    // Down from the beginning: everything waits where it is kept anyway.
    requests(&world, 100);
    until("the sink is known to be down", SOON * 2, || {
        metric(&world, "forwarder_failures_total", "syslog") > 0.0
            && metric(&world, "forwarder_lag_records", "syslog") > 100.0
    });
    assert!(
        sink(&world)["trouble"]
            .as_str()
            .unwrap()
            .starts_with("tcp: ")
    );
    assert_eq!(verify(&world), 0);

    rsyslog.start();
    until("all of it has come", SOON * 3, || {
        of_syslog(&rsyslog).last() >= 101
    });
    let arrived = of_syslog(&rsyslog);
    arrived.must_be_in_order();
    arrived.must_be_whole(arrived.last());
    assert_eq!(sink(&world)["trouble"], Value::Null);
    let messages = rsyslog.messages();
    let one = messages
        .iter()
        .find(|message| message.kind == "decision")
        .unwrap();
    // local3 is 19; a grant is informational.
    assert_eq!((one.priority, one.app_name.as_str()), ((19, 6), "aditd"));
    assert!(
        one.data
            .starts_with("[adit@32473 node=\"agent-1\" sequence=\""),
        "{one:?}"
    );

    // Down for so long that records are removed here: they are counted, and told.
    rsyslog.kill();
    let before = head(&world);
    until("what was not sent is removed", SOON * 6, || {
        requests(&world, 100);
        metric(&world, "forwarder_gap_records_total", "syslog") > 0.0
    });
    assert!(head(&world) > before + 250, "segments are small");
    assert_eq!(verify(&world), 0);
    let last = head(&world);
    rsyslog.start();
    until("what is left of it has come", SOON * 4, || {
        of_syslog(&rsyslog).last() >= last
    });
    let arrived = of_syslog(&rsyslog);
    assert!(!arrived.gaps.is_empty());
    arrived.must_be_whole(last);

    // A restart loses nothing, whatever was on its way; the signed stop is the last to go.
    requests(&world, 50);
    world.agent().process().terminate();
    assert!(world.agent().process().wait(SOON).success());
    world.agent().stop();
    world.agent().start();
    until_answered(&world, "http://web.virtual/", 200, SOON);
    requests(&world, 10);
    let last = head(&world);
    until("the rest has come", SOON * 2, || {
        of_syslog(&rsyslog).last() >= last
    });
    of_syslog(&rsyslog).must_be_whole(last);
    assert_eq!(verify(&world), 0);
}

/// What it took: it refused so many requests first.
fn of_otlp(collector: &Backend, refused: usize) -> Arrived {
    let mut texts = Vec::new();
    for request in collector.requests().into_iter().skip(refused) {
        assert_eq!(request.target(), "/v1/logs");
        assert_eq!(request.field("authorization"), Some("Bearer s3cret"));
        let read: Value = serde_json::from_slice(&request.body).unwrap();
        for record in read["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
            .as_array()
            .unwrap()
        {
            texts.push(record["body"]["stringValue"].as_str().unwrap().to_owned());
        }
    }
    Arrived::of(texts.iter().map(String::as_str))
}

#[test]
fn r04_a_collector_that_is_full_is_left_alone_and_has_every_record_later() {
    let is_full = Arc::new(AtomicBool::new(true));
    let full = Arc::clone(&is_full);
    let collector = Backend::answering(move |_| {
        if full.load(Ordering::Relaxed) {
            b"HTTP/1.1 503 Full\r\nretry-after: 1\r\ncontent-length: 18\r\n\r\n{\"message\":\"full\"}".to_vec()
        } else {
            backend::ok("{}")
        }
    });
    let secrets = adit_tests::Scratch::new();
    let headers = secrets.write("headers", "authorization: Bearer s3cret\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&headers, mode).unwrap();
    let (mut world, _backend) = world(&[
        ("audit.otlp.url", collector.url()),
        ("audit.otlp.headers_file", headers.display().to_string()),
    ]);
    requests(&world, 50);
    until("it is known to be full", SOON, || {
        sink(&world)["trouble"] == "the collector answered 503: full"
    });
    let refused = collector.requests().len();
    is_full.store(false, Ordering::Relaxed);
    until("everything is taken", SOON * 2, || {
        metric(&world, "forwarder_lag_records", "otlp").abs() < 0.1
            && sink(&world)["delivered"].as_u64().unwrap() >= 51
    });
    assert!(metric(&world, "forwarder_failures_total", "otlp") > 0.0);
    of_otlp(&collector, refused).must_be_whole(51);

    // After a stop in good order nothing comes twice; after a kill nothing is missing.
    world.agent().process().terminate();
    assert!(world.agent().process().wait(SOON).success());
    let taken = of_otlp(&collector, refused);
    assert!(
        taken.lines[&taken.last()].contains("checkpoint"),
        "the signed stop"
    );
    let came = taken.order.len();
    world.agent().stop();
    world.agent().start();
    until_answered(&world, "http://web.virtual/", 200, SOON);
    until("it goes on", SOON, || {
        of_otlp(&collector, refused).order.len() > came
    });
    let again = of_otlp(&collector, refused);
    assert_eq!(again.order[came], taken.last() + 1);
    requests(&world, 20);
    world.agent().process().kill();
    world.agent().stop();
    world.agent().start();
    until_answered(&world, "http://web.virtual/", 200, SOON);
    let last = head(&world);
    until("all of it has come", SOON, || {
        of_otlp(&collector, refused).last() >= last
    });
    of_otlp(&collector, refused).must_be_whole(last);
    assert_eq!(verify(&world), 0);
    assert!(!world.agents[0].log().contains("s3cret"));
}
