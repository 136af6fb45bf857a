//! Connections that need a tunnel of another shard or gateway: moved with all they have read, as often
//! as it takes.

use std::io::{Read as _, Write as _};

use adit_tests::payload::Noise;
use adit_tests::wait::SOON;
use adit_tests::world::{Driver, Node, SUBACCOUNT};
use adit_tests::{
    Backend, Connection, Nginx, Rules, World, backend, net, on_both_drivers, socks, until,
};

fn moved(world: &World) -> f64 {
    world.gateway.admin().metric("gateway_moved_total", &[])
}

/// Two gateway shards and one tunnel: about half of all connections arrive where it is not.
fn one_tunnel(driver: Driver, rules: Rules) -> World {
    let world = World::builder()
        .driver(driver)
        .agent(|config| {
            config.set("tunnel.tunnels", "1");
        })
        .start();
    world.push(&rules);
    world.wait_for_tunnels(1);
    world
}

on_both_drivers! {
    fn a_connection_is_moved_to_the_shard_of_its_tunnel_with_all_that_was_read(driver: Driver) {
        let mirror = Backend::mirror();
        let world = one_tunnel(driver, Rules::none().http("web.virtual:80", mirror.url()));
        for number in 0..40 {
            // Bodies smaller and larger than what is read with a head, and a request behind them.
            let body = vec![b'b'; 1 + number * 700];
            let length = format!("Content-Length: {}\r\n", body.len());
            let mut bytes = world.request("POST", &format!("http://web.virtual/{number}"), &length).into_bytes();
            bytes.extend(&body);
            bytes.extend(world.request("GET", "http://web.virtual/behind", "").into_bytes());
            let mut connection = world.connect();
            connection.send(&bytes).unwrap();
            let response = connection.response().unwrap();
            assert_eq!(response.status, 200, "{number}: {}", response.refusal());
            assert!(response.body.ends_with(&body), "{number}");
            assert!(response.text().starts_with(&format!("POST /{number} ")), "{number}");
            let response = connection.response().unwrap();
            assert!(response.text().starts_with("GET /behind "), "{number}: {}", response.text());
        }
        assert!(moved(&world) >= 5.0, "{} of 40 connections were moved", moved(&world));
        let requests = world.gateway.admin().metric("gateway_requests_total", &[]);
        assert!((requests - 80.0).abs() < 0.5, "one that was moved is counted where it came from: {requests}");
    }

    fn opaque_conversations_are_moved_with_what_came_early(driver: Driver) {
        let echo = Backend::echo();
        let world = one_tunnel(driver, Rules::none().tcp("echo.virtual:7", echo.address()));
        let early = Noise::new(3).bytes(2000);
        for _ in 0..20 {
            let mut stream = net::connect(world.socks()).unwrap();
            let negotiation = [
                &[5, 1, 0x80][..],
                &socks::jwt(world.token(), ""),
                &socks::request("echo.virtual", 7).unwrap(),
                &early,
            ]
            .concat();
            stream.write_all(&negotiation).unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(socks::reply(&mut stream).unwrap(), 0);
            let mut back = vec![0; early.len()];
            stream.read_exact(&mut back).unwrap();
            assert!(back == early);

            let mut connection = world.connect();
            let credentials = world.credentials();
            let connect = "CONNECT echo.virtual:7 HTTP/1.1\r\nHost: echo.virtual:7\r\n";
            let mut bytes = format!("{connect}{credentials}\r\n").into_bytes();
            bytes.extend(&early);
            connection.send(bytes).unwrap();
            assert_eq!(connection.head().unwrap().status, 200);
            assert!(connection.exactly(early.len()).unwrap() == early);
        }
        assert!(moved(&world) >= 5.0, "{}", moved(&world));
    }
}

#[test]
fn a_kept_connection_moves_from_request_to_request() {
    let [here, there] = ["here", "there"].map(|name| Backend::saying(backend::ok(name)));
    let rules = |backend: &Backend| Rules::none().http("who.virtual:80", backend.url());
    let mut world = one_tunnel(Driver::IoUring, rules(&here));
    // Which shard their tunnels go to is the gateway's choice.
    for number in 0..6 {
        let door = world.gateway.door("tunnel");
        let (location, name) = (format!("l{number}"), format!("agent-l{number}"));
        let mut node = Node::agent(
            &world.keys,
            SUBACCOUNT,
            &location,
            &name,
            Driver::IoUring,
            &[door],
        );
        node.config.set("tunnel.tunnels", "1");
        node.start();
        node.push(&rules(&there));
        world.agents.push(node);
    }
    world.wait_for_tunnels(7);
    let mut connection = world.connect();
    for number in 0..120 {
        let location = number % 7;
        let (fields, says) = match location {
            6 => (String::new(), "here"),
            other => (
                format!("SAP-Connectivity-SCC-Location_ID: l{other}\r\n"),
                "there",
            ),
        };
        let length = format!("{fields}Content-Length: 5000\r\n");
        connection
            .send(world.request("POST", "http://who.virtual/", &length))
            .unwrap();
        connection.send([b'x'; 5000]).unwrap();
        let response = connection.response().unwrap();
        let answer = (response.status, response.text());
        assert_eq!(
            answer,
            (200, says.to_owned()),
            "{number}: {}",
            response.refusal()
        );
    }
}

#[test]
fn an_agent_serves_two_gateways_and_outlives_either() {
    let nginx = Nginx::start();
    let mut world = World::with(Rules::none().http("web.virtual:80", nginx.url()));
    let mut second = Node::gateway(&world.keys, "gw-2", Driver::IoUring);
    second.start();
    let doors = [world.gateway.door("tunnel"), second.door("tunnel")];
    let agent = world.agent();
    agent.config.set(
        "tunnel.gateways",
        format!("[\"{}\", \"{}\"]", doors[0], doors[1]),
    );
    agent.start();
    let up = |node: &Node| {
        let status = node.admin().try_status().unwrap_or_default();
        status["tunnels"].as_array().map_or(0, Vec::len)
    };
    until("both gateways have tunnels", SOON, || {
        up(&world.gateway) >= 2 && up(&second) >= 1
    });
    let fetch = |door: std::net::SocketAddr| {
        let mut connection = Connection::open(door)?;
        connection.send(world.request("GET", "http://web.virtual/1k", ""))?;
        connection.response().map(|response| response.status)
    };
    let (first_http, second_http) = (world.http(), second.door("http"));
    assert_eq!(fetch(first_http).unwrap(), 200);
    assert_eq!(fetch(second_http).unwrap(), 200);
    world.gateway.stop();
    for _ in 0..20 {
        let mut connection = Connection::open(second_http).unwrap();
        connection
            .send(world.request("GET", "http://web.virtual/1k", ""))
            .unwrap();
        assert_eq!(
            connection.response().unwrap().status,
            200,
            "the other has not noticed"
        );
    }
    assert!(world.agents[0].admin().is_ready());
}

#[test]
fn two_agents_of_a_location_share_the_work() {
    let [one, two] = ["one", "two"].map(|name| Backend::saying(backend::ok(name)));
    let rules = |backend: &Backend| Rules::none().http("who.virtual:80", backend.url());
    let mut world = World::with(rules(&one));
    world.add_agent(SUBACCOUNT, "", "agent-2", &rules(&two));
    world.wait_for_tunnels(4);
    for _ in 0..100 {
        assert_eq!(world.get("http://who.virtual/").status, 200);
    }
    let (first, second) = (one.requests().len(), two.requests().len());
    assert_eq!(first + second, 100);
    assert!(
        first >= 15 && second >= 15,
        "{first} and {second}: one of them does all the work"
    );
}

#[test]
fn an_agent_with_more_tunnels_than_allowed_works_with_those_it_has() {
    let nginx = Nginx::start();
    let world = World::builder()
        .gateway(|config| {
            config.set("tunnel.tunnels_per_agent_max", "1");
        })
        .start();
    world.push(&Rules::none().http("web.virtual:80", nginx.url()));
    world.wait_for_tunnels(1);
    let admin = world.agents[0].admin();
    until("the agent says why there is no second one", SOON, || {
        adit_tests::node::failures(&admin.status()).contains("tunnels_per_agent_max")
    });
    assert!(admin.is_ready());
    for _ in 0..20 {
        assert_eq!(world.get("http://web.virtual/1k").status, 200);
    }
}
