//! Peers that misuse the multiplexer, at process level (M-01 to M-06, M-15): the tunnel ends, the process and
//! its other tunnels do not.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use adit_proto::connect::Protocol;
use adit_tests::tunnel::{Disguise, Frame, Peer, asking, header, wire};
use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, backend, net, socks, until};

struct Stage {
    world: World,
    _backend: Backend,
}

impl Stage {
    fn new() -> Self {
        let backend = Backend::saying(backend::ok("hello"));
        let world = World::builder()
            .rules(Rules::none().http("web.virtual:80", backend.url()))
            .alone()
            .start();
        Self {
            world,
            _backend: backend,
        }
    }

    /// An agent of another subaccount that means no good.
    fn hostile_agent(&self, name: &str) -> Peer {
        let certificates = self.world.keys.agent("pki", "evil", name, name);
        let peer = Disguise::from(&certificates)
            .dial(self.world.gateway.door("tunnel"), "")
            .unwrap();
        until("the hostile tunnel is up", SOON, || {
            self.world.tunnels().len() == 3
        });
        peer
    }

    /// After the attack: the hostile tunnel is gone, the others are not, requests are answered.
    fn unharmed(&mut self, what: &str) {
        until(&format!("{what}: the hostile tunnel is gone"), SOON, || {
            self.world.tunnels().len() == 2
        });
        assert!(self.world.gateway.process().ended().is_none(), "{what}");
        assert_eq!(
            self.world.get("http://web.virtual/").text(),
            "hello",
            "{what}"
        );
    }
}

// Sends until the peer ends the tunnel; gives back how many rounds it took. A peer that only stops reading
// has not ended it.
fn flood(peer: &mut Peer, round: &[u8], rounds_max: usize) -> usize {
    for number in 0..rounds_max {
        match peer.raw(round) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                panic!("the peer neither takes the flood nor ends it: {error}")
            }
            Err(_ended) => return number,
        }
    }
    rounds_max
}

#[test]
fn m04_a_flood_of_empty_and_tiny_frames_ends_the_tunnel_and_nothing_else() {
    let mut stage = Stage::new();
    let before = stage.world.gateway.process().resident_bytes();
    for (number, (name, frame)) in [
        ("empty data", header(wire::DATA, 0, 1, 0).to_vec()),
        (
            "one byte",
            [&header(wire::DATA, 0, 1, 1)[..], b"x"].concat(),
        ),
        (
            "window updates of nothing",
            header(wire::WINDOW, 0, 1, 0).to_vec(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = stage.hostile_agent(&format!("mallory-{number}"));
        let _ = peer.data(wire::SYN, 1, b"");
        let thousand = frame.repeat(1000);
        let rounds = flood(&mut peer, &thousand, 10_000);
        assert!(rounds < 10_000, "{name}: ten million frames were taken");
        stage.unharmed(name);
        drop(peer);
    }
    let after = stage.world.gateway.process().resident_bytes();
    assert!(
        after < before + (32 << 20),
        "{} MiB more than before",
        (after.saturating_sub(before)) >> 20
    );
}

#[test]
fn m04_a_flooding_peer_is_told_to_go_away_before_it_is_cut() {
    let mut stage = Stage::new();
    let mut peer = stage.hostile_agent("mallory");
    peer.data(wire::SYN, 1, b"").unwrap();
    // Slowly enough to hear the go-away, fast enough to earn it.
    let thousand = header(wire::DATA, 0, 1, 0).repeat(1000);
    peer.patience(Duration::from_millis(1)).unwrap();
    let mut told = false;
    for _ in 0..10_000 {
        if peer.raw(&thousand).is_err() {
            break;
        }
        while let Ok(frame) = peer.frame() {
            told |= frame.kind == wire::GO_AWAY;
        }
        if told {
            break;
        }
    }
    assert!(told, "no go-away came before the end");
    drop(peer);
    stage.unharmed("go-away");
}

#[test]
fn m05_a_flood_of_pings_ends_the_tunnel_and_nothing_else() {
    let mut stage = Stage::new();
    for (number, (name, flags)) in [("asked", wire::SYN), ("answers to nothing", wire::ACK)]
        .into_iter()
        .enumerate()
    {
        let mut peer = stage.hostile_agent(&format!("mallory-{number}"));
        let thousand: Vec<u8> = (0..1000)
            .flat_map(|value| header(wire::PING, flags, 0, value))
            .collect();
        let rounds = flood(&mut peer, &thousand, 1000);
        assert!(rounds < 1000, "{name}: a million pings were taken");
        stage.unharmed(name);
        drop(peer);
    }
}

#[test]
fn m01_m03_m07_m15_a_peer_that_breaks_the_protocol_loses_its_tunnel_and_nothing_else() {
    let mut stage = Stage::new();
    let window = wire::WINDOW;
    let cases: [(&str, Vec<u8>); 8] = [
        (
            "m03 a first frame above the window",
            header(wire::DATA, wire::SYN, 1, 262_145).to_vec(),
        ),
        (
            "m03 a first frame of 16 MiB",
            header(wire::DATA, wire::SYN, 1, 16 << 20).to_vec(),
        ),
        (
            "m03 a first frame of 4 GiB",
            header(wire::DATA, wire::SYN, 1, u32::MAX).to_vec(),
        ),
        (
            "m15 another version",
            [&[1][..], &header(wire::DATA, 0, 1, 0)[1..]].concat(),
        ),
        ("m15 an unknown type", header(9, 0, 1, 0).to_vec()),
        (
            "m07 stream zero",
            header(wire::DATA, wire::SYN, 0, 0).to_vec(),
        ),
        (
            "m07 an id of the other side",
            header(window, wire::SYN, 2, 0).to_vec(),
        ),
        (
            "m01 credit beyond all bounds",
            [
                &header(window, wire::SYN, 1, u32::MAX)[..],
                &header(window, 0, 1, u32::MAX),
                &header(window, 0, 1, u32::MAX),
            ]
            .concat(),
        ),
    ];
    for (number, (name, bytes)) in cases.into_iter().enumerate() {
        let mut peer = stage.hostile_agent(&format!("mallory-{number}"));
        peer.raw(&bytes).unwrap();
        peer.patience(Duration::from_secs(5)).unwrap();
        let ended = peer.to_end();
        assert!(ended.is_ok(), "{name}: {ended:?}");
        // Our end is still there: it is the gateway that has ended it.
        stage.unharmed(name);
        drop(peer);
    }
    let ended = stage
        .world
        .gateway
        .admin()
        .metric("gateway_tunnels_ended_total", &[]);
    assert!(ended >= 8.0, "{ended} are counted");
}

#[test]
fn m02_one_byte_more_than_granted_costs_its_stream_and_not_the_tunnel() {
    let mut stage = Stage::new();
    let mut peer = stage.hostile_agent("mallory");
    // A stream's first window is 256 KiB (yamux spec.md, "Flow Control"), and a gateway reads no stream of an agent.
    let window = vec![0; 256 * 1024];
    for stream in [1, 3] {
        peer.data(wire::SYN, stream, &window).unwrap();
    }
    peer.data(0, 3, b"x").unwrap();
    let reset = peer.frame_where(|frame| frame.flags & wire::RST != 0);
    assert_eq!(
        reset.unwrap().stream,
        3,
        "the last granted byte of stream 1 was taken"
    );
    peer.bare(wire::PING, wire::SYN, 0, 42).unwrap();
    let answer =
        |frame: &Frame| (frame.kind, frame.flags, frame.length) == (wire::PING, wire::ACK, 42);
    peer.frame_where(answer).unwrap();
    assert_eq!(stage.world.tunnels().len(), 3, "the tunnel is up");
    drop(peer);
    stage.unharmed("m02");
}

// Its close is a reset, as that of a process which has ended with something unread.
fn break_off(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn applications_that_leave_while_an_agent_says_nothing_leave_nothing_behind() {
    let stage = Stage::new();
    let mut peer = stage.hostile_agent("mallory");
    let token = stage.world.keys.token("evil");
    let connect = || {
        let mut connection = stage.world.connect();
        let head = format!(
            "CONNECT quiet.virtual:1 HTTP/1.1\r\nHost: quiet.virtual:1\r\n\
             Proxy-Authorization: Bearer {token}\r\n\r\n"
        );
        connection.send(head).unwrap();
        connection
    };
    let asked = |peer: &mut Peer| {
        let opened = |frame: &Frame| frame.flags & wire::SYN != 0 && frame.stream != 0;
        peer.frame_where(opened).unwrap().stream
    };
    let reset = |peer: &mut Peer, stream: u32| {
        peer.frame_where(|frame| frame.stream == stream && frame.flags & wire::RST != 0)
            .unwrap();
    };
    let socks = || socks::ask_jwt(stage.world.socks(), &token, "", "quiet.virtual", 1).unwrap();
    let waiting = connect();
    let stream = asked(&mut peer);
    break_off(waiting.stream());
    drop(waiting);
    reset(&mut peer, stream);
    let waiting = socks();
    let stream = asked(&mut peer);
    break_off(&waiting);
    drop(waiting);
    reset(&mut peer, stream);
    // Nor do those hold anything that have left something unread behind.
    let mut waiting = connect();
    let stream = asked(&mut peer);
    waiting.send("x").unwrap();
    break_off(waiting.stream());
    drop(waiting);
    reset(&mut peer, stream);
    // One that has only ended its direction waits for HALF_CLOSED_LIMIT, 30 s, and no longer; also one with a byte before
    // its end, which is seen up to a second later.
    let waiting = socks();
    let stream = asked(&mut peer);
    let mut with_a_byte = socks();
    let behind = asked(&mut peer);
    waiting.shutdown(Shutdown::Write).unwrap();
    with_a_byte.write_all(b"x").unwrap();
    with_a_byte.shutdown(Shutdown::Write).unwrap();
    let begin = Instant::now();
    peer.patience(Duration::from_secs(60)).unwrap();
    reset(&mut peer, stream);
    reset(&mut peer, behind);
    assert!(
        begin.elapsed() >= Duration::from_secs(29),
        "{:?}",
        begin.elapsed()
    );
    // One that the agent cuts is not told that the tunnel was lost.
    let mut cut = connect();
    let stream = asked(&mut peer);
    peer.bare(wire::WINDOW, wire::RST, stream, 0).unwrap();
    let response = cut.response_to("CONNECT").unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (503, "agent-overloaded")
    );
}

#[test]
fn m15_records_that_are_no_records_end_the_tunnel_and_nothing_else() {
    let mut stage = Stage::new();
    for (number, bytes) in [
        b"\x17\x03\x03\x00\x20AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = stage.hostile_agent(&format!("mallory-{number}"));
        // Past our own TLS, straight into the socket.
        io::Write::write_all(&mut peer.socket(), bytes).unwrap();
        peer.patience(Duration::from_secs(5)).unwrap();
        assert!(peer.to_end().is_ok());
        stage.unharmed("a forged record");
    }
}

/// A gateway that means no good, and one tunnel of a real agent to it.
fn hostile_gateway(world: &mut World) -> Peer {
    let disguise = Disguise::from(&world.keys.gateway("pki", "gw-evil", "gw-evil"));
    let (listener, address) = net::listen();
    let agent = world.agent();
    agent
        .config
        .set("tunnel.gateways", format!("[\"{address}\"]"))
        .set("tunnel.tunnels", "1");
    agent.start();
    disguise.welcome(&listener).unwrap().0
}

#[test]
fn m06_streams_opened_and_reset_at_once_leave_no_dials_behind() {
    let silent = Backend::silent();
    let rules = Rules::none().http("web.virtual:80", silent.url());
    let mut world = World::builder().rules(rules).alone().start();
    let mut peer = hostile_gateway(&mut world);
    let before = world.agent().process().resident_bytes();
    let request = [
        asking(Protocol::Http, "web.virtual", 80, "acme").as_slice(),
        b"GET / HTTP/1.1\r\nHost: web.virtual\r\n\r\n",
    ]
    .concat();
    let length = u32::try_from(request.len()).unwrap();
    let mut sent: u32 = 0;
    'flood: for _ in 0..1000 {
        let mut round = Vec::new();
        for _ in 0..100 {
            sent += 2;
            round.extend(header(wire::DATA, wire::SYN, sent, length));
            round.extend(&request);
            round.extend(header(wire::WINDOW, wire::RST, sent, 0));
        }
        if peer.raw(&round).is_err() {
            break 'flood;
        }
    }
    // The churn budget is 32 768 streams at once; a hundred thousand are beyond it.
    assert!(sent / 2 < 100_000, "all were taken");
    drop(peer);
    until(
        "no connection to the backend is left",
        Duration::from_secs(10),
        || silent.open() == 0,
    );
    let after = world.agent().process().resident_bytes();
    assert!(
        after < before + (64 << 20),
        "{} MiB more than before",
        (after.saturating_sub(before)) >> 20
    );
    assert!(world.agent().process().ended().is_none());
    let admin = world.agent().admin();
    until("the agent has forgotten the streams", SOON, || {
        admin.status()["streams"] == 0
    });
}

#[test]
fn m06_streams_that_stay_open_dial_no_more_than_the_cap() {
    let silent = Backend::silent();
    let rules = Rules::none().tcp("tcp.virtual:1", silent.address());
    let mut world = World::builder().rules(rules).alone().start();
    world.agents[0].config.set("tunnel.streams_max", "50");
    let mut peer = hostile_gateway(&mut world);
    let request = asking(Protocol::Tcp, "tcp.virtual", 1, "acme");
    for number in 1..=200 {
        peer.data(wire::SYN, number * 2, &request).unwrap();
    }
    let mut refused = 0;
    peer.frame_where(|frame| {
        refused += u32::from(frame.flags & wire::RST != 0);
        refused == 150
    })
    .unwrap();
    until("those within the cap are served", SOON, || {
        silent.open() == 50
    });
    assert_eq!(silent.open_most(), 50);
    drop(peer);
    until("they end with the tunnel", Duration::from_secs(15), || {
        silent.open() == 0
    });
}

#[test]
fn m11_a_stream_nobody_reads_from_stops_its_backend_and_not_the_agent() {
    // The backend sends for ever; the hostile gateway never gives credit.
    let endless = Backend::start(|visit| {
        loop {
            visit.send([b'x'; 64 * 1024])?;
        }
    });
    let rules = Rules::none()
        .tcp("tcp.virtual:1", endless.address())
        .http("web.virtual:80", endless.url());
    let mut world = World::builder().rules(rules).alone().start();
    let mut peer = hostile_gateway(&mut world);
    let before = world.agent().process().resident_bytes();
    let request = asking(Protocol::Tcp, "tcp.virtual", 1, "acme");
    for number in 1..=100 {
        peer.data(wire::SYN, number * 2, &request).unwrap();
    }
    let mut got = 0;
    // Each stream may send what its first window allows, 256 KiB, and not a byte more.
    peer.frame_where(|frame| {
        got += frame.payload.len();
        got >= 100 * 256 * 1024
    })
    .unwrap();
    assert_eq!(got, 100 * 256 * 1024);
    peer.patience(Duration::from_secs(2)).unwrap();
    let more = peer
        .frame_where(|frame| frame.kind == wire::DATA && !frame.payload.is_empty())
        .map(|frame| frame.stream);
    // Silence, and not the end of the tunnel.
    assert!(
        more.as_ref().is_err_and(|error| matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )),
        "more than the credit, or none at all: {more:?}"
    );
    let after = world.agent().process().resident_bytes();
    assert!(
        after < before + (64 << 20),
        "{} MiB for streams that nobody reads",
        (after - before) >> 20
    );
    assert_eq!(endless.open(), 100);
}
