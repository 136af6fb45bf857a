//! Rules that change while requests run: pushed, refused, withdrawn, kept over a restart; and explained
//! by what enforces them.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use adit_tests::load::Load;
use adit_tests::payload::Noise;
use adit_tests::wait::SOON;
use adit_tests::{
    Backend, Nginx, Rules, World, backend, net, on_both_drivers, programs, socks, until,
};

on_both_drivers! {
    fn a_hundred_pushes_under_load_cost_no_request(driver: Driver) {
        let nginx = Nginx::start();
        let rules = |number: usize| {
            Rules::none()
                .http("web.virtual:80", nginx.url())
                .http(&format!("other-{number}.virtual:80"), "http://10.1.2.3:80")
        };
        let mut world = World::builder().driver(driver).rules(rules(0)).alone().start();
        let load = Load::start(
            world.http(),
            8,
            world.request("GET", "http://web.virtual/1k", ""),
            |response| response.status == 200 && response.body.len() == 1024,
        );
        load.flows(100);
        for number in 1..=100 {
            world.push(&rules(number));
        }
        load.flows(100);
        let outcome = load.stop();
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert_eq!(outcome.reopened, 0);
        assert_eq!(world.agent().admin().status()["snapshot"]["version"], 101);
    }

    fn a_live_conversation_ends_within_a_second_after_its_permit_was_withdrawn(driver: Driver) {
        let (echo, other) = (Backend::echo(), Backend::echo());
        let slow = Backend::start(|visit| {
            visit.request()?;
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin")?;
            while !visit.some()?.is_empty() {}
            Ok(())
        });
        let keeps = Rules::none().tcp("other.virtual:7", other.address());
        let all = keeps.clone().tcp("echo.virtual:7", echo.address()).http("slow.virtual:80", slow.url());
        let world = World::builder().driver(driver).rules(all).alone().start();
        let mut ends = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
        let mut stays = socks::connect(world.socks(), world.token(), "other.virtual", 7).unwrap();
        let mut download = world.connect();
        download.send(world.request("GET", "http://slow.virtual/", "")).unwrap();
        assert_eq!(download.head().unwrap().status, 200);
        assert_eq!(download.exactly(5).unwrap(), b"begin");

        world.push(&keeps);
        let pushed = Instant::now();
        assert_eq!(net::read_to_close(&mut ends).unwrap(), b"");
        assert_eq!(download.to_close().unwrap(), b"");
        // One second is promised, the rest is for a busy machine.
        assert!(pushed.elapsed() < Duration::from_secs(2), "{:?}", pushed.elapsed());
        until("the backends hear of it", SOON, || echo.open() == 0 && slow.open() == 0);

        stays.write_all(b"still here").unwrap();
        let mut back = [0; 10];
        stays.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"still here");
        assert_eq!(world.get("http://slow.virtual/").refusal(), "system-unknown");
        let withdrawn = world.agents[0].admin().metric("agent_permits_withdrawn_total", &[]);
        assert!((withdrawn - 2.0).abs() < 0.1, "{withdrawn}");
    }
}

#[test]
fn a_bad_push_is_refused_with_all_problems_and_changes_nothing() {
    let backend = Backend::saying(backend::ok("hello"));
    let good = Rules::none().http("web.virtual:80", backend.url());
    let mut world = World::with(good.clone());
    let admin = world.agent().admin();
    let before = admin.get("/rules").unwrap();
    let bad = good
        .to_string()
        .replace("scope", "skope")
        .replace("protocol = \"http\"", "protocol = \"htpp\"");

    // The command line sees it at once.
    let file = world.agents[0].scratch().write("bad.toml", &bad);
    let output = Command::new(programs::adit())
        .args([
            "rules",
            "push",
            &file.display().to_string(),
            "--node",
            &admin.address(),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("skope") && told.contains("htpp"), "{told}");

    // So does the agent, whoever sends it.
    let (code, problems) = admin.ask("PUT", "/rules", &bad).unwrap();
    assert_eq!(code, 422);
    let problems: serde_json::Value = serde_json::from_str(&problems).unwrap();
    let problems = problems["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let (code, _) = admin.ask("PUT", "/rules", "not even TOML [").unwrap();
    assert_eq!(code, 422);

    assert_eq!(admin.get("/rules").unwrap(), before, "nothing has changed");
    assert_eq!(world.get("http://web.virtual/").text(), "hello");
    let refused = admin.metric("agent_snapshots_refused_total", &[]);
    assert!((refused - 2.0).abs() < 0.1, "{refused}");
}

#[test]
fn an_agent_starts_with_the_last_rules_that_were_good() {
    let backend = Backend::saying(backend::ok("hello"));
    let mut world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    world.push(
        &Rules::none()
            .http("web.virtual:80", backend.url())
            .http("new.virtual:80", backend.url()),
    );
    let agent = world.agent();
    let before = agent.admin().get("/rules").unwrap();
    let (code, _) = agent.admin().ask("PUT", "/rules", "[[system]]\n").unwrap();
    assert_eq!(code, 422);
    agent.stop();
    agent.start();
    let admin = agent.admin();
    until("the agent is ready without a push", SOON, || {
        admin.is_ready()
    });
    assert_eq!(admin.get("/rules").unwrap(), before);
    world.wait_for_tunnels(2);
    assert_eq!(world.get("http://new.virtual/").text(), "hello");
}

#[test]
fn rules_can_be_pushed_while_no_gateway_is_there() {
    let backend = Backend::saying(backend::ok("hello"));
    let mut world = World::builder().start();
    world.gateway.keep_doors();
    world.gateway.stop();
    world.push(&Rules::none().http("web.virtual:80", backend.url()));
    world.gateway.start();
    world.find_doors();
    let admin = world.agent().admin();
    until("the agent is ready", SOON, || admin.is_ready());
    world.wait_for_tunnels(2);
    assert_eq!(world.get("http://web.virtual/").text(), "hello");
}

#[test]
fn explain_says_what_the_data_plane_does() {
    let mirror = Backend::mirror();
    let rules = Rules::none()
        .http_with("web.virtual:80", mirror.url(), "")
        .resource("path = \"/sap/opu/odata\"\nscope = \"subtree\"\nmethods = [\"GET\", \"HEAD\"]")
        .resource("path = \"/sap/opu/odata/write\"\nscope = \"subtree\"")
        .resource("path = \"/exact\"")
        .resource("path = \"/with\"\nparameters = true")
        .resource("path = \"/off\"\nscope = \"subtree\"\nactive = false")
        .http_with(
            "keep.virtual:8080",
            mirror.url(),
            "encoded_slash = \"keep\"",
        )
        .resource("path = \"/k\"\nscope = \"subtree\"");
    let mut world = World::with(rules);
    let node = world.agent().admin().address();
    let mut noise = Noise::new(20_260_730);
    let (mut allowed, mut denied) = (0, 0);
    let mut connection = world.connect();
    for number in 0..300 {
        let (method, url) = request(&mut noise);
        let output = Command::new(programs::adit())
            .args([
                "--json",
                "rules",
                "explain",
                "--node",
                &node,
                &format!("{method} {url}"),
            ])
            .output()
            .unwrap();
        let explained: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
                panic!(
                    "{method} {url}: {error}: {}",
                    String::from_utf8_lossy(&output.stderr)
                )
            });
        let fields = if method == "POST" {
            "Content-Length: 0\r\n"
        } else {
            ""
        };
        connection
            .send(world.request(method, &url, fields))
            .unwrap();
        let response = connection.response_to(method).unwrap();
        let what = format!(
            "{number}: {method} {url}: {} {} {explained}",
            response.line,
            response.refusal()
        );
        if explained["decision"] == "allow" {
            allowed += 1;
            assert_eq!(output.status.code(), Some(0), "{what}");
            assert_eq!((response.status, response.refusal()), (200, ""), "{what}");
        } else {
            denied += 1;
            assert_eq!(output.status.code(), Some(1), "{what}");
            // A resource that is switched off is told to callers as one that is not exposed.
            let reason = match explained["reason"].as_str().unwrap() {
                "suspended" => "resource-denied",
                reason => reason,
            };
            assert_eq!(response.refusal(), reason, "{what}");
        }
        if response.closes() {
            connection = world.connect();
        }
    }
    assert!(
        allowed > 30 && denied > 30,
        "{allowed} allowed, {denied} denied: the set is one-sided"
    );
    // What was judged is what was forwarded.
    assert_eq!(mirror.requests().len(), allowed);
}

// Method and URL near the rules above: mostly their own words, sometimes something between.
fn request(noise: &mut Noise) -> (&'static str, String) {
    const METHODS: [&str; 4] = ["GET", "GET", "HEAD", "POST"];
    const PLACES: [&str; 6] = [
        "http://web.virtual:80",
        "http://web.virtual:80",
        "http://web.virtual:80",
        "http://keep.virtual:8080",
        "http://keep.virtual:80",
        "http://nowhere.virtual:80",
    ];
    const STARTS: [&str; 8] = [
        "/sap/opu/odata",
        "/sap/opu/odata/write",
        "/exact",
        "/with",
        "/off",
        "/k",
        "/SAP/opu/odata",
        "/sap/opu/odata/write",
    ];
    const ENDS: [&str; 24] = [
        "",
        "",
        "",
        "",
        "/",
        "/a",
        "/a/b",
        "x",
        "/..",
        "/../exact",
        "/%2e%2e/exact",
        "//a",
        ";v=2",
        "/a;v=2",
        "%2Fa",
        "/a%2Fb",
        "/%252e",
        "/a%20b",
        "/('x')",
        "/$metadata",
        "%00",
        "/%c0%ae",
        "/a%5cb",
        "/%25",
    ];
    let method = METHODS[noise.below(METHODS.len())];
    let place = PLACES[noise.below(PLACES.len())];
    let start = STARTS[noise.below(STARTS.len())];
    let end = ENDS[noise.below(ENDS.len())];
    (method, format!("{place}{start}{end}"))
}
