//! Slowloris in its forms: whoever is slow is sent away at a deadline, and nobody else waits (H-11).

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use adit_tests::tunnel::Disguise;
use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, backend, net, until};

const DEADLINE: Duration = Duration::from_secs(1);
// Of a busy machine.
const SLACK: Duration = Duration::from_secs(5);

fn impatient(backend: &Backend) -> World {
    World::builder()
        .rules(Rules::none().http("web.virtual:80", backend.url()))
        .gateway(|config| {
            config
                .text("http.head_timeout", "1s")
                .text("http.idle_timeout", "1s")
                .text("tunnel.handshake_timeout", "1s")
                .text("socks5.negotiation_timeout", "1s");
        })
        .start()
}

// Sends one byte of `bytes` after the other for as long as the peer takes them; gives back what it said
// and how long it listened.
fn drip(mut stream: TcpStream, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let started = Instant::now();
    let mut reader = stream.try_clone().unwrap();
    let listening =
        std::thread::spawn(move || (net::read_to_close(&mut reader).unwrap(), started.elapsed()));
    for byte in bytes.iter().cycle() {
        if listening.is_finished()
            || stream.write_all(&[*byte]).is_err()
            || started.elapsed() > DEADLINE + SLACK
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    listening.join().unwrap()
}

fn in_time(took: Duration, what: &str) {
    assert!(
        took >= DEADLINE / 2 && took < DEADLINE + SLACK,
        "{what}: {took:?}"
    );
}

#[test]
fn h11_a_head_that_drips_in_is_408_at_its_deadline() {
    let backend = Backend::saying(backend::ok("hello"));
    let world = impatient(&backend);
    let head =
        "GET http://web.virtual/ HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let (answer, took) = drip(net::connect(world.http()).unwrap(), head.as_bytes());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("header-timeout"),
        "{answer}"
    );
    in_time(took, "head");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn h11_a_body_that_stops_coming_is_408_and_one_that_is_only_slow_arrives() {
    let backend = Backend::mirror();
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", backend.url()))
        .gateway(|config| {
            config.text("http.body_timeout", "1s");
        })
        .start();
    let head = world.request("POST", "http://web.virtual/a", "Content-Length: 4\r\n");
    let mut slow = world.connect();
    slow.send(&head).unwrap();
    for byte in b"slow" {
        std::thread::sleep(DEADLINE / 2);
        slow.send([*byte]).unwrap();
    }
    assert_eq!(slow.response().unwrap().status, 200);

    let mut stuck = world.connect();
    stuck.send(format!("{head}stu")).unwrap();
    let started = Instant::now();
    let response = stuck.response().unwrap();
    assert_eq!((response.status, response.refusal()), (408, "body-timeout"));
    assert!(
        response.closes(),
        "what comes later is no request of its own"
    );
    in_time(started.elapsed(), "body");
}

#[test]
fn h11_connections_that_say_nothing_are_closed() {
    let backend = Backend::saying(backend::ok("hello"));
    let world = impatient(&backend);
    for door in [world.http(), world.socks(), world.gateway.door("tunnel")] {
        let started = Instant::now();
        let mut stream = net::connect(door).unwrap();
        assert_eq!(net::read_to_close(&mut stream).unwrap(), b"");
        in_time(started.elapsed(), "a silent connection");
    }
}

#[test]
fn h11_a_handshake_that_drips_in_is_closed_at_its_deadline() {
    let backend = Backend::saying(backend::ok("hello"));
    let mut world = impatient(&backend);
    let door = world.gateway.door("tunnel");
    // The beginning of a record with a ClientHello, and then one byte after the other.
    let (_, took) = drip(
        net::connect(door).unwrap(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    );
    in_time(took, "TLS handshake");

    // TLS in full, and then no hello.
    let certificates = world.keys.agent("pki", "acme", "mute", "mute");
    let mut peer = Disguise::from(&certificates).shake(door).unwrap();
    let started = Instant::now();
    assert!(peer.read_answer().is_err());
    in_time(started.elapsed(), "hello");
    assert!(world.gateway.process().ended().is_none());
    assert_eq!(world.tunnels().len(), 2, "the agent's own");
}

#[test]
fn h11_a_socks_negotiation_that_drips_in_is_closed_at_its_deadline() {
    let backend = Backend::saying(backend::ok("hello"));
    let world = impatient(&backend);
    let (_, took) = drip(net::connect(world.socks()).unwrap(), &[5, 255, 1, 1, 1, 1]);
    in_time(took, "SOCKS negotiation");
}

#[test]
fn h11_1024_handshakes_may_be_under_way_on_a_shard_and_one_more_is_closed_at_once() {
    let world = World::builder()
        .rules(Rules::none())
        .shards(1)
        .alone()
        .gateway(|config| {
            config.text("tunnel.handshake_timeout", "30s");
        })
        .start();
    let door = world.gateway.door("tunnel");
    let mut silent: Vec<_> = (0..1024).map(|_| net::connect(door).unwrap()).collect();
    let shed = || {
        let admin = world.gateway.admin();
        admin.metric("gateway_connections_shed_total", &[])
    };
    let closed = |stream: &mut TcpStream| net::read_to_close(stream).unwrap();
    assert_eq!(closed(&mut net::connect(door).unwrap()), b"");
    assert!((shed() - 1.0).abs() < 0.5, "{} were shed", shed());
    // The others are still waited for; when one has left there is room for one.
    drop(silent.pop());
    until("an agent gets in again", SOON, || {
        let certificates = world.keys.agent("pki", "acme", "agent-2", "agent-2");
        Disguise::from(&certificates).dial(door, "").is_ok()
    });
    let before = shed();
    silent.push(net::connect(door).unwrap());
    assert_eq!(closed(&mut net::connect(door).unwrap()), b"");
    assert!((shed() - before - 1.0).abs() < 0.5);
}

#[test]
fn h11_a_thousand_idle_and_dripping_connections_keep_nobody_waiting() {
    let backend = Backend::saying(backend::ok("hello"));
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", backend.url()))
        .alone()
        .start();
    let mut idle: Vec<_> = (0..1000)
        .map(|_| net::connect(world.http()).unwrap())
        .collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        if number % 2 == 0 {
            stream.write_all(b"GET http://web.virtual/ HT").unwrap();
        }
    }
    let mut connection = world.connect();
    for _ in 0..200 {
        connection
            .send(world.request("GET", "http://web.virtual/", ""))
            .unwrap();
        assert_eq!(connection.response().unwrap().text(), "hello");
    }
    // The default for a head is ten seconds.
    until(
        "those that began a head are sent away",
        Duration::from_secs(20),
        || {
            world
                .gateway
                .admin()
                .metric("gateway_refused_total", &[("reason", "header-timeout")])
                >= 500.0
        },
    );
    drop(idle);
    until("all are gone", SOON, || {
        world
            .gateway
            .admin()
            .metric("gateway_connections", &[("door", "http")])
            <= 1.0
    });
}
