//! Records of a real agent: found, verified, exported; after a kill, on a disk that is full, and on one that fails closed.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_tests::wait::{SOON, until};
use adit_tests::world::Node;
use adit_tests::{Backend, Rules, World, backend, programs};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

/// A world whose agent records all decisions, and asks for `more` of its configuration.
fn world(more: &[(&str, &str)]) -> (World, Backend) {
    let backend = Backend::saying(backend::ok("hello"));
    let rules = Rules::none()
        .http_with("web.virtual:80", backend.url(), "")
        .resource("path = \"/open\"\nscope = \"subtree\"\n");
    let mut world = World::with(rules);
    let agent = world.agent();
    agent.stop();
    agent.config.text("audit.level", "all");
    for (key, value) in more {
        agent.config.text(key, value);
    }
    agent.config.text("audit.folder", folder(agent).display());
    agent.start();
    adit_tests::world::until_answered(&world, "http://web.virtual/open", 200, SOON);
    (world, backend)
}

fn folder(agent: &Node) -> PathBuf {
    agent.scratch().path("audit")
}

/// Runs `adit audit` on a node's folder; its exit code and what it said as JSON.
pub(crate) fn run(folder: &Path, act: &str, more: &[&str]) -> (i32, Value) {
    let output = Command::new(programs::adit())
        .args(["--json", "audit", act])
        .arg(folder)
        .args(more)
        .output()
        .unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{act}: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code().unwrap(), told)
}

/// Verifies it with its own key.
pub(crate) fn verify_folder(folder: &Path) -> (i32, Value) {
    let key = folder.join("public.pem");
    run(folder, "verify", &["--key", &key.display().to_string()])
}

fn audit(world: &World, act: &str, more: &[&str]) -> (i32, Value) {
    run(&folder(&world.agents[0]), act, more)
}

/// The one decision about this request, once it is written.
fn decision(world: &World, id: &str) -> Value {
    let mut found = Value::Null;
    until("the decision is written", SOON, || {
        let (_, told) = audit(world, "query", &["--request-id", id]);
        found = told[0].clone();
        !found.is_null()
    });
    found
}

fn verify(world: &World) -> (i32, Value) {
    verify_folder(&folder(&world.agents[0]))
}

fn metric(world: &World, name: &str) -> f64 {
    world.agents[0].admin().metric(name, &[])
}

/// How large files of the agent may become.
fn limit_files(world: &mut World, bytes: Option<u64>) {
    let pid = i32::try_from(world.agent().process().pid()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
}

fn written_bytes(world: &World) -> u64 {
    let entries = std::fs::read_dir(folder(&world.agents[0])).unwrap();
    let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
    sizes.max().unwrap()
}

#[test]
fn what_was_decided_is_found_explained_and_verified_also_after_a_kill() {
    let (mut world, _backend) = world(&[]);
    let denied = world.get("http://web.virtual/shut");
    let id = denied.refusal_id().unwrap().to_owned();
    let found = decision(&world, &id);
    assert_eq!(found["outcome"]["denied"]["reason"], "resource-denied");
    assert_eq!(
        (&found["path"], &found["method"]),
        (&"/shut".into(), &"GET".into())
    );
    let (code, why) = world.agents[0]
        .admin()
        .get(&format!("/why?id={id}"))
        .unwrap();
    assert_eq!(code, 200, "{why}");
    let why: Value = serde_json::from_str(&why).unwrap();
    assert_eq!(
        (&why["outcome"], &why["reason"]),
        (&"denied".into(), &"resource-denied".into())
    );
    assert_eq!(world.agents[0].admin().get("/why?id=0").unwrap().0, 400);
    let unknown = format!("/why?id={}", "0".repeat(32));
    assert_eq!(world.agents[0].admin().get(&unknown).unwrap().0, 404);

    let (_, allowed) = audit(
        &world,
        "query",
        &["--outcome", "allowed", "--system", "web.virtual"],
    );
    assert_eq!(allowed[0]["outcome"]["allowed"]["rule"], "/open");
    let (code, told) = verify(&world);
    assert_eq!((code, &told["live"]), (0, &true.into()), "{told}");
    let anchor = world.agents[0].admin().status()["audit"]["last"]
        .as_str()
        .unwrap()
        .to_owned();

    world.agent().process().kill();
    let (code, told) = verify(&world);
    assert_eq!((code, &told["whole"]), (3, &true.into()), "{told}");
    world.agent().stop();
    world.agent().start();
    until("it records again", SOON, || {
        audit(&world, "query", &[])
            .1
            .to_string()
            .contains("recovered")
    });
    assert_eq!(verify(&world).0, 0);
    // A stop in good order is proven by itself.
    world.agent().process().terminate();
    assert!(world.agent().process().wait(SOON).success());
    let (code, told) = verify(&world);
    assert_eq!((code, &told["stopped"]), (0, &true.into()), "{told}");
    assert_eq!(audit(&world, "verify", &["--contains", &anchor]).0, 0);

    let out = world.agents[0].scratch().path("records.csv");
    let text = out.display().to_string();
    let (code, _) = audit(
        &world,
        "export",
        &["--format", "csv", "--out", &text, "--outcome", "denied"],
    );
    assert_eq!(code, 0);
    let csv = std::fs::read_to_string(&out).unwrap();
    assert!(csv.starts_with("\"sequence\",\"time\""), "{csv}");
    assert!(
        csv.contains(&id) && csv.contains("\"resource-denied\""),
        "{csv}"
    );

    // Somebody who writes into the folder is found out.
    let segment = folder(&world.agents[0]).join("0000000001.jsonl");
    let lines = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, lines.replacen("/shut", "/open", 1)).unwrap();
    let (code, told) = verify(&world);
    assert_eq!((code, &told["whole"]), (1, &false.into()), "{told}");
}

#[test]
fn r03_a_disk_that_takes_no_more_records_costs_no_request_and_is_told_when_it_does_again() {
    let (mut world, _backend) = world(&[("audit.spool_bytes", "64KiB")]);
    let full = written_bytes(&world);
    limit_files(&mut world, Some(full));
    until("the spool is full", SOON * 3, || {
        assert_eq!(world.get("http://web.virtual/open").status, 200);
        metric(&world, "recorder_records_lost_total") > 3.0
    });
    assert!((metric(&world, "recorder_unwritable") - 1.0).abs() < 0.1);
    let status = world.agents[0].admin().status();
    assert!(status["audit"]["unwritable"].is_string(), "{status:#}");
    assert_eq!(verify(&world).0, 0, "what is there is whole");
    limit_files(&mut world, None);
    until("the gap is told", SOON, || {
        audit(&world, "query", &[])
            .1
            .to_string()
            .contains("\"gap\"")
    });
    assert!(metric(&world, "recorder_unwritable").abs() < 0.1);
    assert_eq!(verify(&world).0, 0);
    world.agent().process().must_run();
}

#[test]
fn r03_an_agent_that_fails_closed_refuses_what_it_cannot_record_until_it_can() {
    let (mut world, backend) = world(&[("audit.when_unwritable", "refuse")]);
    let full = written_bytes(&world);
    limit_files(&mut world, Some(full));
    until("requests are refused", SOON, || {
        let answer = world.get("http://web.virtual/open");
        answer.status == 503 && answer.refusal() == "audit-unavailable"
    });
    let rules = Rules::none().http("other.virtual:80", backend.url());
    let file = world.agents[0]
        .scratch()
        .write("more.toml", rules.to_string());
    let push = |world: &World| {
        Command::new(programs::adit())
            .args(["rules", "push", &file.display().to_string(), "--node"])
            .arg(world.agents[0].admin().address())
            .output()
            .unwrap()
    };
    let refused = push(&world);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(told.contains("audit records cannot be written"), "{told}");
    limit_files(&mut world, None);
    until("requests are served again", SOON, || {
        world.get("http://web.virtual/open").status == 200
    });
    assert!(push(&world).status.success());
    let (_, denied) = audit(&world, "query", &["--outcome", "denied"]);
    assert!(denied.to_string().contains("audit-unavailable"), "{denied}");
    assert_eq!(verify(&world).0, 0);
}
