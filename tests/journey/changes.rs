//! Changes of rules that are looked at before they are made: by tests that the rules carry, and by a plan.

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

#[test]
fn a_plan_against_a_running_node_says_what_a_push_then_changes() {
    let (one, two) = (
        Backend::saying(backend::ok("one")),
        Backend::saying(backend::ok("two")),
    );
    let old = Rules::none()
        .http_with("web.virtual:80", one.url(), "")
        .resource("path = \"/shop\"\nscope = \"subtree\"\nmethods = [\"GET\"]")
        .resource("path = \"/admin\"\nscope = \"subtree\"")
        .http("moved.virtual:80", one.url())
        .http("same.virtual:80", one.url());
    let new = Rules::none()
        .http_with("same.virtual:80", one.url(), "name = \"renamed\"")
        .resource("path = \"/\"\nscope = \"subtree\"")
        .http("moved.virtual:80", two.url())
        .http_with("web.virtual:80", one.url(), "")
        .resource("path = \"/shop\"\nscope = \"subtree\"\nmethods = [\"POST\", \"GET\"]");
    let mut world = World::with(old);
    let node = world.agent().admin().address();
    let file = world.agents[0].scratch().write("new.toml", new.to_string());
    let file = file.display().to_string();

    let output = adit(&["--json", "rules", "plan", &file, "--node", &node]);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["old"]["version"], 1);
    let lines = plan["lines"].as_array().unwrap().iter();
    let lines: Vec<&str> = lines.filter_map(|line| line["text"].as_str()).collect();
    assert_eq!(
        lines,
        [
            format!(
                "~ * http://moved.virtual:80/*  from {} to {}",
                one.url(),
                two.url()
            ),
            "- * http://web.virtual:80/admin[/*]".to_owned(),
            format!("+ POST http://web.virtual:80/shop[/*]  to {}", one.url()),
        ]
    );

    let asked = [
        ("GET", "http://moved.virtual/", "one", "two"),
        ("POST", "http://moved.virtual/x/y", "one", "two"),
        (
            "GET",
            "http://web.virtual/admin/x",
            "one",
            "resource-denied",
        ),
        (
            "GET",
            "http://web.virtual/adminx",
            "resource-denied",
            "resource-denied",
        ),
        ("POST", "http://web.virtual/shop/1", "method-denied", "one"),
        ("GET", "http://web.virtual/shop/1", "one", "one"),
        (
            "DELETE",
            "http://web.virtual/shop",
            "method-denied",
            "method-denied",
        ),
        ("GET", "http://same.virtual/shop", "one", "one"),
        (
            "GET",
            "http://new.virtual/",
            "system-unknown",
            "system-unknown",
        ),
    ];
    let answers = |world: &World| {
        asked.map(|(method, url, _, _)| {
            let mut connection = world.connect();
            connection
                .send(world.request(method, url, "Content-Length: 0\r\n"))
                .unwrap();
            let response = connection.response_to(method).unwrap();
            match response.refusal() {
                "" => response.text(),
                refusal => refusal.to_owned(),
            }
        })
    };
    assert_eq!(answers(&world), asked.map(|(_, _, before, _)| before));
    world.push(&new);
    assert_eq!(answers(&world), asked.map(|(_, _, _, after)| after));

    let output = adit(&["rules", "plan", &file, "--node", &node]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.ends_with("\nno change\n"), "{told}");
}
