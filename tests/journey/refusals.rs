//! Callers who may not: each learns why, in the words their clients know.

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, backend, socks, until, until_some};
use serde_json::json;

fn ask(world: &World, credentials: &str, more: &str) -> adit_tests::Response {
    world
        .exchange(format!(
            "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{credentials}{more}\r\n"
        ))
        .unwrap()
}

#[test]
fn a_request_without_a_good_token_is_407_with_the_reason() {
    let backend = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let keys = &world.keys;
    let bearer = |token: &str| format!("Proxy-Authorization: Bearer {token}\r\n");
    let spoilt = |claim: &str, value: serde_json::Value| {
        let mut claims = keys.claims();
        claims[claim] = value;
        keys.token_of(&claims)
    };
    // The claims of one token under the signature of another.
    let other = keys.token("globex");
    let (claims, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = world.token().rsplit_once('.').unwrap();
    let patched = format!("{claims}.{signature}");
    let foreign = World::builder().start().keys.token("acme");
    for (credentials, reason) in [
        (String::new(), "token-missing"),
        (bearer("nonsense"), "token-malformed"),
        (bearer(&patched), "token-signature"),
        (bearer(&foreign), "token-signature"),
        (
            bearer(&spoilt("exp", json!(1_000_000_000))),
            "token-expired",
        ),
        (
            bearer(&spoilt("nbf", json!(32_000_000_000_u64))),
            "token-not-yet-valid",
        ),
        (
            bearer(&spoilt("aud", json!("somebody-else"))),
            "token-audience",
        ),
        (
            bearer(&spoilt("iss", json!("somebody-else"))),
            "token-issuer",
        ),
        (bearer(&spoilt("zid", json!(7))), "token-subaccount"),
        (
            bearer(&keys.token_with(&["--subaccount", "acme", "--audience", "x"])),
            "token-audience",
        ),
    ] {
        let response = ask(&world, &credentials, "");
        assert_eq!(
            (response.status, response.refusal()),
            (407, reason),
            "{credentials}"
        );
        assert_eq!(
            response.field("proxy-authenticate"),
            Some("Bearer"),
            "{reason}"
        );
        assert!(
            response.refusal_id().is_some_and(|id| id.len() == 32),
            "{reason}"
        );
        assert!(
            !response.closes(),
            "{reason}: the client may try again on this connection"
        );
        let counted = world
            .gateway
            .admin()
            .metric("gateway_refused_total", &[("reason", reason)]);
        assert!(counted >= 1.0, "{reason} is counted");
    }
    assert_eq!(
        ask(&world, &world.credentials(), "").status,
        200,
        "the twin of them all"
    );
    assert_eq!(
        backend.accepted(),
        1,
        "nothing else has reached the backend"
    );
}

#[test]
fn a_location_without_an_agent_is_503_in_saps_words() {
    let backend = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let response = ask(
        &world,
        &world.credentials(),
        "SAP-Connectivity-SCC-Location_ID: berlin\r\n",
    );
    assert_eq!((response.status, response.refusal()), (503, "no-agent"));
    assert_eq!(
        response.text(),
        "There is no SAP Cloud Connector (SCC) connected to your subaccount matching the requested tunnel for \
         subaccount \"acme\" and SCC location ID \"berlin\". Check the configuration on SCC and cloud side."
    );
    // A token of another subaccount finds no agent either, and learns nothing of ours.
    let stranger = format!(
        "Proxy-Authorization: Bearer {}\r\n",
        world.keys.token("globex")
    );
    let response = ask(&world, &stranger, "");
    assert_eq!(response.status, 503);
    assert!(
        response
            .text()
            .contains("subaccount \"globex\" and SCC location ID \"\""),
        "{}",
        response.text()
    );
}

#[test]
fn what_the_rules_do_not_grant_is_403_in_saps_words() {
    let backend = Backend::saying(backend::ok("never"));
    let rules = Rules::none()
        .http_with("web.virtual:80", backend.url(), "")
        .resource("path = \"/a\"\nmethods = [\"GET\"]")
        .resource("path = \"/off\"\nactive = false");
    let world = World::with(rules);
    for (method, url, reason, text) in [
        (
            "GET",
            "http://erp.virtual/a",
            "system-unknown",
            "Access denied to system erp.virtual:80. In case this was a valid request, ensure to expose the system \
             correctly in your cloud connector.",
        ),
        (
            "GET",
            "http://web.virtual:8080/a",
            "port-denied",
            "Access denied to system web.virtual:8080. In case this was a valid request, ensure to expose the system \
             correctly in your cloud connector.",
        ),
        (
            "GET",
            "http://web.virtual/b",
            "resource-denied",
            "Access denied to resource /b on system web.virtual:80. In case this was a valid request, ensure to expose \
             the resource correctly in your cloud connector.",
        ),
        (
            "DELETE",
            "http://web.virtual/a",
            "method-denied",
            "Access denied to resource /a on system web.virtual:80. In case this was a valid request, ensure to expose \
             the resource correctly in your cloud connector.",
        ),
        (
            "GET",
            "http://web.virtual/off",
            "resource-denied",
            "Access denied to resource /off on system web.virtual:80. In case this was a valid request, ensure to \
             expose the resource correctly in your cloud connector.",
        ),
    ] {
        let response = world.exchange(world.request(method, url, "")).unwrap();
        assert_eq!(
            (response.status, response.refusal()),
            (403, reason),
            "{method} {url}"
        );
        assert_eq!(response.text(), text, "{method} {url}");
    }
    assert_eq!(backend.accepted(), 0);
    let denials = world.agents[0].admin().status()["denials"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(denials, 5, "the operator sees them");
}

#[test]
fn an_https_target_is_405_and_a_target_without_a_system_400() {
    let backend = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let response = world
        .exchange(world.request("GET", "https://web.virtual/a", ""))
        .unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (405, "scheme-unsupported")
    );
    let credentials = world.credentials();
    let origin = format!("GET /a HTTP/1.1\r\nHost: web.virtual\r\n{credentials}\r\n");
    let response = world.exchange(origin).unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (400, "request-malformed")
    );
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn an_agent_without_rules_grants_nothing_and_says_so() {
    let world = World::builder().start();
    world.wait_for_tunnels(2);
    let response = ask(&world, &world.credentials(), "");
    assert_eq!((response.status, response.refusal()), (503, "no-snapshot"));
    let (code, why) = world.agents[0].admin().get("/readyz").unwrap();
    assert_eq!(code, 503);
    assert!(why.contains("adit rules push"), "{why}");
}

#[test]
fn a_request_whose_agent_dies_before_its_answer_is_502_tunnel_lost() {
    let silent = Backend::silent();
    let mut world = World::with(Rules::none().http("web.virtual:80", silent.url()));
    // Not sent again on another tunnel: it may have been done.
    let mut post = world.connect();
    post.send(world.request("POST", "http://web.virtual/a", "Content-Length: 0\r\n"))
        .unwrap();
    until("the backend has it", SOON, || silent.accepted() == 1);
    world.agent().stop();
    let response = post.response().unwrap();
    assert_eq!((response.status, response.refusal()), (502, "tunnel-lost"));
}

#[test]
fn a_tunnel_with_as_many_streams_as_it_may_have_is_503_until_one_ends() {
    let (echo, mirror) = (Backend::echo(), Backend::mirror());
    let rules = Rules::none()
        .tcp("echo.virtual:7", echo.address())
        .http("web.virtual:80", mirror.url());
    let world = World::builder()
        .shards(1)
        .rules(rules)
        .gateway(|config| {
            config.set("tunnel.streams_max", "2");
        })
        .start();
    let converse = || socks::connect(world.socks(), world.token(), "echo.virtual", 7);
    let first = converse().unwrap();
    assert_eq!(world.get("http://web.virtual/").status, 200, "the last one");
    let second = until_some("that stream is free again", SOON, || converse().ok());
    let response = world.get("http://web.virtual/");
    assert_eq!(
        (response.status, response.refusal()),
        (503, "streams-exhausted")
    );
    assert_eq!(
        converse().unwrap_err().to_string(),
        "reply 1",
        "the same at the other door"
    );
    drop((first, second));
    until("a stream is free again", SOON, || {
        world.get("http://web.virtual/").status == 200
    });
}

#[test]
fn a_line_of_the_documented_length_passes_and_a_longer_one_is_431() {
    let backend = Backend::mirror();
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    // `GET ` + target + ` HTTP/1.1` is the request line; 8192 bytes is SAP's documented limit.
    let line = |bytes: usize| {
        let fixed = "GET http://web.virtual/ HTTP/1.1".len();
        format!("http://web.virtual/{}", "a".repeat(bytes - fixed))
    };
    let response = world
        .exchange(world.request("GET", &line(8192), ""))
        .unwrap();
    assert_eq!(response.status, 200, "{}", response.refusal());
    let response = world
        .exchange(world.request("GET", &line(8300), ""))
        .unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (431, "line-too-large")
    );
    assert_eq!(backend.requests().len(), 1);
}
