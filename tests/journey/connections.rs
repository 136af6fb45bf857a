//! Connections of applications: one at a time, a thousand at once, kept, shared and pipelined.

use std::collections::BTreeSet;
use std::process::Command;

use adit_tests::world::SUBACCOUNT;
use adit_tests::{Backend, Nginx, Rules, Scratch, World, backend, on_both_drivers};

on_both_drivers! {
    fn one_to_a_thousand_requests_at_once_are_all_answered(driver: Driver) {
        let nginx = Nginx::start();
        let web = Rules::none().http("web.virtual:80", nginx.url());
        let world = World::builder().driver(driver).rules(web).alone().start();
        let expected = std::fs::read(nginx.path("1k")).unwrap();
        for parallel in [1, 10, 100, 1000] {
            let mut connections: Vec<_> = (0..parallel).map(|_| world.connect()).collect();
            let request = world.request("GET", "http://web.virtual/1k", "");
            for connection in &mut connections {
                connection.send(&request).unwrap();
            }
            for (number, connection) in connections.iter_mut().enumerate() {
                let response = connection.response().unwrap();
                let what = format!("{number} of {parallel}: {}", response.refusal());
                assert_eq!(response.status, 200, "{what}");
                assert_eq!(response.body, expected, "{what}");
            }
        }
    }

    fn wrk_with_256_connections_sees_no_error(driver: Driver) {
        // A minute with `ADIT_TEST_LARGE=1`.
        let nginx = Nginx::start();
        let web = Rules::none().http("web.virtual:80", nginx.url());
        let world = World::builder().driver(driver).rules(web).alone().start();
        let scratch = Scratch::new();
        let script = scratch.write(
            "load.lua",
            format!(
                "wrk.path = \"http://web.virtual/1k\"\n\
                 wrk.headers[\"Host\"] = \"web.virtual\"\n\
                 wrk.headers[\"Proxy-Authorization\"] = \"Bearer {}\"\n",
                world.token()
            ),
        );
        let output = Command::new("wrk")
            .args(["-t", "2", "-c", "256", "-d", load_seconds(), "--timeout", "10s", "-s"])
            .arg(script)
            .arg(format!("http://{}/", world.http()))
            .output()
            .expect("wrk is installed; see tests/peers.sh");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}");
        // wrk prints these lines only when there is something to count.
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
        let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests: u64 = requests.and_then(|(count, _)| count.parse().ok()).unwrap();
        assert!(requests > 1000, "{report}");
    }

    fn a_kept_connection_carries_requests_to_many_targets(driver: Driver) {
        let (one, two) = (Backend::saying(backend::ok("one")), Backend::saying(backend::ok("two")));
        let rules = Rules::none().http("one.virtual:80", one.url()).http("two.virtual:8080", two.url());
        let world = World::on(driver, rules);
        let mut connection = world.connect();
        for _ in 0..20 {
            for (url, says) in [("http://one.virtual/", "one"), ("http://two.virtual:8080/", "two")] {
                connection.send(world.request("GET", url, "")).unwrap();
                let response = connection.response().unwrap();
                assert_eq!((response.status, response.text().as_str()), (200, says), "{}", response.refusal());
                assert!(!response.closes());
            }
            connection.send(world.request("GET", "http://three.virtual/", "")).unwrap();
            let response = connection.response().unwrap();
            assert_eq!((response.status, response.refusal()), (403, "system-unknown"));
            assert!(!response.closes(), "a refusal does not cost the connection");
        }
        assert_eq!(one.requests().len(), 20);
        // The backend's connections were kept, too: one for each shard at most.
        assert!(one.accepted() <= 2, "{} connections for 20 requests in a row", one.accepted());
    }
}

#[test]
fn a_kept_connection_carries_requests_of_many_subaccounts_and_locations() {
    // Where SAP's proxy binds a connection to the first tunnel, each request finds its own here.
    let names = ["acme", "acme-berlin", "globex"];
    let [acme, berlin, globex] = names.map(|name| Backend::saying(backend::ok(name)));
    let rules = |backend: &Backend| Rules::none().http("who.virtual:80", backend.url());
    let mut world = World::with(rules(&acme));
    world.add_agent(SUBACCOUNT, "berlin", "berlin-1", &rules(&berlin));
    world.add_agent("globex", "", "globex-1", &rules(&globex));
    let globex_token = world.keys.token("globex");
    let own_token = world.token().to_owned();

    let mut connection = world.connect();
    let mut ask = |token: &str, location: &str| {
        let location = match location {
            "" => String::new(),
            location => format!("SAP-Connectivity-SCC-Location_ID: {location}\r\n"),
        };
        connection
            .send(format!(
                "GET http://who.virtual/ HTTP/1.1\r\nHost: who.virtual\r\n\
                 Proxy-Authorization: Bearer {token}\r\n{location}\r\n"
            ))
            .unwrap();
        let response = connection.response().unwrap();
        (response.status, response.text())
    };
    for _ in 0..10 {
        assert_eq!(ask(&own_token, ""), (200, "acme".to_owned()));
        assert_eq!(ask(&own_token, "berlin"), (200, "acme-berlin".to_owned()));
        assert_eq!(ask(&globex_token, ""), (200, "globex".to_owned()));
        let (status, text) = ask(&globex_token, "berlin");
        assert_eq!(status, 503);
        assert!(
            text.contains("subaccount \"globex\" and SCC location ID \"berlin\""),
            "{text}"
        );
    }
}

on_both_drivers! {
    fn pipelined_requests_are_answered_in_their_order(driver: Driver) {
        let mirror = Backend::mirror();
        let rules = Rules::none()
            .http_with("web.virtual:80", mirror.url(), "")
            .resource("path = \"/a\"\nscope = \"subtree\"");
        let world = World::on(driver, rules);
        let mut all = String::new();
        for number in 0..50 {
            match number % 5 {
                3 => all += &world.request("GET", &format!("http://web.virtual/denied/{number}"), ""),
                4 => {
                    let length = "Content-Length: 5\r\n";
                    all += &world.request("POST", &format!("http://web.virtual/a/{number}"), length);
                    all += "hello";
                }
                _ => all += &world.request("GET", &format!("http://web.virtual/a/{number}"), ""),
            }
        }
        let mut connection = world.connect();
        connection.send(&all).unwrap();
        for number in 0..50 {
            let response = connection.response().unwrap();
            if number % 5 == 3 {
                assert_eq!((response.status, response.refusal()), (403, "resource-denied"), "{number}");
                assert!(response.text().contains(&format!("/denied/{number} ")), "{}", response.text());
            } else {
                assert_eq!(response.status, 200, "{number}: {}", response.refusal());
                assert!(response.text().contains(&format!(" /a/{number} ")), "{number}: {}", response.text());
                assert_eq!(response.text().ends_with("hello"), number % 5 == 4, "{number}");
            }
        }
        let seen: BTreeSet<String> = mirror.requests().iter().map(|request| request.target().to_owned()).collect();
        assert_eq!(seen.len(), 40);
    }
}

#[test]
fn a_client_that_says_close_is_answered_and_then_the_connection_ends() {
    let mirror = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", mirror.url()));
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/", "Connection: close\r\n"))
        .unwrap();
    let response = connection.response().unwrap();
    assert_eq!(response.status, 200);
    assert!(response.closes());
    assert!(connection.closes().unwrap());
    assert!(
        mirror
            .last()
            .field("connection")
            .is_none_or(|value| value != "close"),
        "a hop's own affair"
    );
}

#[test]
fn a_client_of_http_1_0_gets_its_answer_and_then_the_end() {
    let mirror = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", mirror.url()));
    let mut connection = world.connect();
    let credentials = world.credentials();
    connection
        .send(format!(
            "GET http://web.virtual/old HTTP/1.0\r\n{credentials}\r\n"
        ))
        .unwrap();
    let response = connection.response().unwrap();
    assert_eq!(response.status, 200, "{}", response.refusal());
    assert!(connection.closes().unwrap());
    let seen = mirror.last();
    // Asked as HTTP/1.0, so that the backend sends nothing that such a client could not read.
    assert_eq!(
        (seen.line.as_str(), seen.field("host")),
        ("GET /old HTTP/1.0", Some("web.virtual"))
    );
}

fn load_seconds() -> &'static str {
    if adit_tests::payload::is_large() {
        "60s"
    } else {
        "4s"
    }
}
