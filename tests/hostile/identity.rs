//! Who a peer is stands in the certificate it proved, and nothing it says changes that (S-01, S-02).

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use adit_proto::connect::{Protocol, Response};
use adit_proto::hello::{VERSION, VERSION_OLDEST};
use adit_proto::refusal::Refusal;
use adit_tests::tunnel::{Disguise, Peer, asking, wire};
use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, net, node, until};

fn tunnels_of(world: &World, agent: &str) -> Vec<(String, String)> {
    let status = world.gateway.admin().status();
    let tunnels = status["tunnels"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let ours = tunnels.iter().filter(|tunnel| tunnel["agent"] == agent);
    ours.map(|tunnel| (text(&tunnel["subaccount"]), text(&tunnel["location"])))
        .collect()
}

#[test]
fn s01_the_leaf_that_was_proven_counts_and_not_what_stands_behind_it() {
    let world = World::builder().start();
    let own = Disguise::from(&world.keys.agent("pki", "evil", "mallory", "mallory"));
    let victim = Disguise::from(&world.keys.agent("pki", "victim", "alice", "alice"));
    let door = world.gateway.door("tunnel");

    // Another agent's certificate as filler: whatever comes of it, it is no tunnel of the victim.
    let filled = own.with_filler(&victim).dial(door, "");
    if filled.is_ok() {
        let own_name = [("evil".to_owned(), String::new())];
        until("it is registered under its own name", SOON, || {
            tunnels_of(&world, "mallory") == own_name
        });
    }
    assert!(tunnels_of(&world, "alice").is_empty());

    // Another agent's certificate with one's own key: the handshake is not proven.
    let own = Disguise::from(&world.keys.path("mallory"));
    let mut peer = own.with_chain_of(&victim).shake(door).unwrap();
    assert!(peer.say_hello("").is_err());
    assert!(tunnels_of(&world, "alice").is_empty());
}

#[test]
fn s02_a_token_reaches_agents_of_its_own_subaccount_only() {
    let mirror = Backend::mirror();
    let rules = Rules::none().http("web.virtual:80", mirror.url());
    let mut world = World::with(rules.clone());
    world.add_agent("globex", "", "globex-1", &rules);
    let globex = world.keys.token("globex");
    world.agents[0].stop();
    until("only globex is left", SOON, || {
        tunnels_of(&world, "agent-1").is_empty() && !tunnels_of(&world, "globex-1").is_empty()
    });
    // Fields that name another subaccount are SAP's, and change nothing.
    let fields =
        "SAP-Connectivity-ConsumerAccount: globex\r\nX-Subaccount: globex\r\ntenantid: globex\r\n";
    let response = world
        .exchange(world.request("GET", "http://web.virtual/", fields))
        .unwrap();
    assert_eq!((response.status, response.refusal()), (503, "no-agent"));
    assert_eq!(mirror.accepted(), 0);
    let request = format!(
        "GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer {globex}\r\n\r\n"
    );
    assert_eq!(world.exchange(request).unwrap().status, 200);
}

#[test]
fn s02_who_is_no_agent_opens_no_tunnel() {
    let world = World::builder().start();
    let door = world.gateway.door("tunnel");
    world.keys.authority("elsewhere");
    let foreign = Disguise::from(&world.keys.agent("elsewhere", "acme", "agent-1", "foreign"));
    let refused = foreign.dial(door, "").unwrap_err();
    assert_ne!(
        refused.kind(),
        io::ErrorKind::TimedOut,
        "it is told at once"
    );

    let gateway = Disguise::from(&world.keys.gateway("pki", "gw-2", "gw-2"));
    let refused = gateway.dial(door, "").unwrap_err();
    assert_ne!(refused.kind(), io::ErrorKind::TimedOut);

    // No TLS at all.
    let mut stream = net::connect(door).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:02x?}");
    until("all are counted", SOON, || {
        world
            .gateway
            .admin()
            .metric("gateway_tunnels_failed_total", &[])
            >= 3.0
    });
    assert_eq!(world.tunnels().len(), 2, "the agent's own");
}

#[test]
fn s02_an_agent_certificate_is_no_gateway() {
    let mut world = World::builder().start();
    let disguise = Disguise::from(&world.keys.agent("pki", "acme", "agent-2", "agent-2"));
    let (listener, address) = net::listen();
    let agent = world.agent();
    agent
        .config
        .set("tunnel.gateways", format!("[\"{address}\"]"));
    agent.start();
    let welcomed = disguise.welcome(&listener);
    assert!(
        welcomed.is_err(),
        "the agent has said hello to another agent"
    );
    let admin = agent.admin();
    until("the status says why", SOON, || {
        node::failures(&admin.status()).contains("invalid peer certificate")
    });
}

#[test]
fn m16_an_agent_of_a_version_that_is_no_longer_spoken_is_told_so_and_a_newer_one_is_welcome() {
    let mut world = World::builder().start();
    let disguise = Disguise::from(&world.keys.agent("pki", "acme", "agent-2", "agent-2"));
    let door = world.gateway.door("tunnel");
    let mut old = disguise.shake(door).unwrap();
    let refused = old.say_hello_in(VERSION_OLDEST - 1, "").unwrap_err();
    let reason = Refusal::VersionUnsupported.reason();
    assert!(
        refused.to_string().starts_with(&format!("{reason}: ")),
        "{refused}"
    );
    let admin = world.gateway.admin();
    until("the gateway's status says so too", SOON, || {
        node::failures(&admin.status()).contains(reason)
    });
    for version in [VERSION_OLDEST, VERSION + 1] {
        let mut peer = disguise.shake(door).unwrap();
        peer.say_hello_in(version, "").unwrap();
    }

    // The other way round: a gateway that chooses what was not offered.
    let disguise = Disguise::from(&world.keys.gateway("pki", "gw-2", "gw-2"));
    let (listener, address) = net::listen();
    let agent = world.agent();
    agent
        .config
        .set("tunnel.gateways", format!("[\"{address}\"]"));
    agent.start();
    drop(disguise.welcome_in(VERSION + 1, &listener).unwrap());
    let admin = agent.admin();
    until("the agent's status says why", SOON, || {
        node::failures(&admin.status()).contains("which was not offered")
    });
}

#[test]
fn an_agent_with_as_many_tunnels_as_it_may_have_gets_no_more() {
    let world = World::builder()
        .gateway(|config| {
            config.set("tunnel.tunnels_per_agent_max", "2");
        })
        .start();
    let disguise = Disguise::from(&world.keys.agent("pki", "acme", "agent-2", "agent-2"));
    // What it says of itself, its location and the name of its process, makes no other agent of it.
    let dial = |location: &str| disguise.dial(world.gateway.door("tunnel"), location);
    let _allowed = [dial("").unwrap(), dial("berlin").unwrap()];
    let refused = dial("hamburg").unwrap_err();
    assert!(
        refused.to_string().starts_with("streams-exhausted: "),
        "{refused}"
    );
}

/// A hostile gateway with one tunnel of a real agent.
fn hostile_gateway(world: &mut World) -> Peer {
    let disguise = Disguise::from(&world.keys.gateway("pki", "gw-evil", "gw-evil"));
    let (listener, address) = net::listen();
    let agent = world.agent();
    agent
        .config
        .set("tunnel.gateways", format!("[\"{address}\"]"))
        .set("tunnel.tunnels", "1");
    agent.start();
    let (peer, hello) = disguise.welcome(&listener).unwrap();
    assert_eq!(hello.location, "");
    peer
}

fn answer(peer: &mut Peer, stream: u32) -> Response {
    let mut bytes = Vec::new();
    loop {
        let frame = peer
            .frame_where(|frame| frame.stream == stream && frame.kind == wire::DATA)
            .unwrap();
        bytes.extend(frame.payload);
        if let Some((response, _)) = Response::decode(&bytes).unwrap() {
            return response;
        }
    }
}

#[test]
fn s02_an_agent_serves_its_own_subaccount_whatever_a_gateway_says() {
    let mirror = Backend::mirror();
    let rules = Rules::none().http("web.virtual:80", mirror.url());
    let mut world = World::with(rules);
    let mut peer = hostile_gateway(&mut world);
    let head = b"GET / HTTP/1.1\r\nHost: web.virtual\r\n\r\n";
    let ask = |subaccount: &str| {
        [
            asking(Protocol::Http, "web.virtual", 80, subaccount).as_slice(),
            head,
        ]
        .concat()
    };

    peer.data(wire::SYN, 2, &ask("globex")).unwrap();
    let refused = answer(&mut peer, 2);
    assert!(
        matches!(
            refused,
            Response::Refused {
                refusal: Refusal::ProtocolError,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(mirror.accepted(), 0);
    let admin = world.agent().admin();
    assert!(
        node::failures(&admin.status()).contains("globex"),
        "the operator hears of it"
    );

    peer.data(wire::SYN, 4, &ask("acme")).unwrap();
    assert_eq!(answer(&mut peer, 4), Response::Accepted, "its twin");
}

#[test]
fn s02_the_head_must_be_for_the_host_the_stream_was_opened_for() {
    let (one, two) = (Backend::mirror(), Backend::mirror());
    let rules = Rules::none()
        .http("one.virtual:80", one.url())
        .http_with("two.virtual:80", two.url(), "")
        .resource("path = \"/open\"")
        .tcp("tcp.virtual:1", two.address());
    let mut world = World::with(rules);
    let mut peer = hostile_gateway(&mut world);
    let mut stream = 0;
    let mut ask = |protocol, host: &str, port, head: &str| {
        stream += 2;
        let bytes = [
            asking(protocol, host, port, "acme").as_slice(),
            head.as_bytes(),
        ]
        .concat();
        peer.data(wire::SYN, stream, &bytes).unwrap();
        match answer(&mut peer, stream) {
            Response::Refused { refusal, .. } => Some(refusal),
            Response::Accepted => None,
        }
    };
    let http = Protocol::Http;
    for (host, port, head, refusal) in [
        (
            "one.virtual",
            80,
            "GET /secret HTTP/1.1\r\nHost: two.virtual\r\n\r\n",
            Refusal::HostMismatch,
        ),
        (
            "one.virtual",
            80,
            "GET / HTTP/1.1\r\nHost: one.virtual:81\r\n\r\n",
            Refusal::HostMismatch,
        ),
        (
            "one.virtual",
            80,
            "GET http://two.virtual/open HTTP/1.1\r\nHost: two.virtual\r\n\r\n",
            Refusal::HostMismatch,
        ),
        (
            "two.virtual",
            80,
            "GET /secret HTTP/1.1\r\nHost: two.virtual\r\n\r\n",
            Refusal::ResourceDenied,
        ),
        (
            "two.virtual",
            80,
            "GET /open/../secret HTTP/1.1\r\nHost: two.virtual\r\n\r\n",
            Refusal::PathAmbiguous,
        ),
        (
            "two.virtual",
            81,
            "GET /open HTTP/1.1\r\nHost: two.virtual:81\r\n\r\n",
            Refusal::PortDenied,
        ),
        (
            "three.virtual",
            80,
            "GET / HTTP/1.1\r\nHost: three.virtual\r\n\r\n",
            Refusal::SystemUnknown,
        ),
        (
            "one.virtual",
            80,
            "POST / HTTP/1.1\r\nHost: one.virtual\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refusal::BodyFraming,
        ),
        (
            "one.virtual",
            80,
            "GET / HTTP/1.1\r\nHost: one.virtual\r\n\r\nGET /2 HTTP/1.1\r\nHost: one.virtual\r\n\r\n",
            Refusal::BodyFraming,
        ),
    ] {
        let told = ask(http, host, port, head);
        assert_eq!(told, Some(refusal), "{host}:{port} {head:?}");
    }
    assert_eq!(
        ask(Protocol::Tcp, "one.virtual", 80, ""),
        Some(Refusal::ResourceDenied),
        "http as tcp"
    );
    let as_http = "GET / HTTP/1.1\r\nHost: tcp.virtual:1\r\n\r\n";
    assert!(
        ask(http, "tcp.virtual", 1, as_http).is_some(),
        "tcp as http"
    );
    assert_eq!((one.accepted(), two.accepted()), (0, 0));
    assert_eq!(
        ask(
            http,
            "two.virtual",
            80,
            "GET /open HTTP/1.1\r\nHost: two.virtual\r\n\r\n"
        ),
        None
    );
}

#[test]
fn a_stream_that_never_says_what_it_is_for_is_ended() {
    let mut world = World::with(Rules::none());
    let mut peer = hostile_gateway(&mut world);
    peer.patience(Duration::from_secs(20)).unwrap();
    // The first byte of a connect request, and then nothing; and one that is none.
    peer.data(wire::SYN, 2, &[0xC1]).unwrap();
    peer.data(wire::SYN, 4, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let refused = answer(&mut peer, 4);
    assert!(
        matches!(
            refused,
            Response::Refused {
                refusal: Refusal::ProtocolError,
                ..
            }
        ),
        "{refused:?}"
    );
    let refused = answer(&mut peer, 2);
    assert!(
        matches!(
            refused,
            Response::Refused {
                refusal: Refusal::HeaderTimeout,
                ..
            }
        ),
        "{refused:?}"
    );
}
