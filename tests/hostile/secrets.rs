//! S-10: what is secret stands in no log, not even in the most talkative one, and in no status.

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, backend, socks, until};

#[test]
fn s10_no_token_password_or_key_is_ever_printed() {
    let backend = Backend::saying(backend::ok("hello"));
    let rules = Rules::none()
        .http("web.virtual:80", backend.url())
        .tcp("tcp.virtual:1", backend.address());
    let mut world = World::with(rules);
    world.gateway.keep_doors();
    world.gateway.environment("ADIT_LOG", "trace");
    world.gateway.start();
    world.agents[0].environment("ADIT_LOG", "trace");
    world.agents[0].config.text("tunnel.no_proxy", "127.0.0.1");
    world.agents[0].config.text(
        "tunnel.proxy",
        "http://corp:canary-proxy-password@192.0.2.1:3128",
    );
    world.agents[0].start();
    world.wait_for_tunnels(2);

    let fields = "Authorization: Basic canary-authorization\r\nCookie: canary-cookie\r\n\
                  SAP-Connectivity-Authentication: Bearer canary-principal\r\n";
    let response = world
        .exchange(world.request("GET", "http://web.virtual/canary-path?canary-query", fields))
        .unwrap();
    assert_eq!(response.status, 200, "{}", response.refusal());
    let response = world
        .exchange(world.request("GET", "http://nowhere.virtual/", fields))
        .unwrap();
    assert_eq!(response.status, 403);
    let bad = "GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer canary.bad.token\r\n\r\n";
    assert_eq!(world.exchange(bad).unwrap().status, 407);
    assert!(socks::connect(world.socks(), world.token(), "tcp.virtual", 1).is_ok());
    assert!(socks::connect(world.socks(), "canary-socks-token", "tcp.virtual", 1).is_err());

    let key = std::fs::read_to_string(world.keys.path("gw-1/key.pem")).unwrap();
    let key_line = key.lines().nth(1).unwrap().to_owned();
    let signature = world.token().rsplit('.').next().unwrap().to_owned();
    // Events are written by a thread of their own. The last thing that was logged is there when those before it are.
    until(
        "the logs are talkative, and tell of the last request",
        SOON,
        || {
            let (gateway, agent) = (world.gateway.log(), world.agents[0].log());
            gateway.matches("token refused").count() >= 2 && agent.contains("DEBUG")
        },
    );
    let (gateway, agent) = (world.gateway.log(), world.agents[0].log());
    let mut places = vec![("gateway's log", gateway), ("agent's log", agent)];
    for (name, node) in [("gateway", &world.gateway), ("agent", &world.agents[0])] {
        for page in ["/status", "/metrics"] {
            places.push((name, node.admin().get(page).unwrap().1));
        }
    }
    for (place, text) in &places {
        for secret in [
            signature.as_str(),
            &key_line,
            "canary-proxy-password",
            "canary-authorization",
            "canary-cookie",
            "canary-principal",
            "canary.bad.token",
            "canary-socks-token",
        ] {
            assert!(!text.contains(secret), "{secret} stands in the {place}");
        }
    }
}
