//! Changes of rules that are looked at before they are made: by tests that the rules carry.

use std::process::{Command, Output};

use adit_tests::{Backend, Rules, World, backend, programs};

fn adit(args: &[&str]) -> Output {
    Command::new(programs::adit()).args(args).output().unwrap()
}

#[test]
fn a_push_with_a_failing_test_is_refused_and_traffic_keeps_the_old_rules() {
    let backend = Backend::saying(backend::ok("hello"));
    let old = Rules::none().http("web.virtual:80", backend.url());
    let new = old
        .clone()
        .http("admin.virtual:80", backend.url())
        .text("[[test]]\nname = \"nobody administers\"\nrequest = \"GET http://admin.virtual/\"\nexpect = \"deny\"");
    let mut world = World::with(old);
    let admin = world.agent().admin();
    let before = admin.get("/rules").unwrap();

    // The command line says it without asking the agent.
    let file = world.agents[0].scratch().write("new.toml", new.to_string());
    let output = adit(&[
        "rules",
        "push",
        &file.display().to_string(),
        "--node",
        &admin.address(),
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("test \"nobody administers\""), "{told}");
    let refused = |why: &str| admin.metric("agent_snapshots_refused_total", &[("why", why)]);
    assert!(refused("tests") < 0.1);

    // So does the agent, whoever sends it.
    let (code, problems) = admin.ask("PUT", "/rules", &new.to_string()).unwrap();
    assert_eq!(code, 422);
    assert!(
        problems.contains(
            "is meant to be denied, and is allowed by subtree `/` of system `admin.virtual`"
        ),
        "{problems}"
    );
    assert!((refused("tests") - 1.0).abs() < 0.1);
    assert!(refused("rules") < 0.1);

    assert_eq!(admin.get("/rules").unwrap(), before, "nothing has changed");
    assert_eq!(world.get("http://web.virtual/").text(), "hello");
    assert_eq!(
        world.get("http://admin.virtual/").refusal(),
        "system-unknown"
    );

    // With the test mended the same rules are taken.
    let mended = new
        .to_string()
        .replace("expect = \"deny\"", "expect = \"allow\"");
    let file = world.agents[0].scratch().write("mended.toml", &mended);
    let output = adit(&[
        "rules",
        "push",
        &file.display().to_string(),
        "--node",
        &admin.address(),
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(world.get("http://admin.virtual/").text(), "hello");
}
