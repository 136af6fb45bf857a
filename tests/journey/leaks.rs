//! Whatever clients and backends do to their connections, nothing is left over afterwards.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use adit_tests::payload::{Noise, digest_of};
use adit_tests::python::WebSocketServer;
use adit_tests::wait::SOON;
use adit_tests::{Backend, Connection, Nginx, Rules, World, net, on_both_drivers, socks, until};

// Nothing of any request is left: no stream, no connection, no descriptor but a few kept ones.
fn nothing_is_left(world: &mut World, descriptors: (usize, usize)) {
    let (gateway, agent) = (world.gateway.admin(), world.agents[0].admin());
    until("no stream is left at the agent", SOON, || {
        agent.status()["streams"] == 0
    });
    until("no stream is left at the gateway", SOON, || {
        let status = gateway.status();
        let tunnels = status["tunnels"].as_array().cloned().unwrap_or_default();
        tunnels.iter().all(|tunnel| tunnel["streams"] == 0)
    });
    until("no application is connected", SOON, || {
        gateway.metric("gateway_connections", &[]) < 0.5
    });
    until("the gateway's descriptors are back", SOON, || {
        world.gateway.process().descriptors() <= descriptors.0 + 2
    });
    // Quiet connections to backends are kept for a while.
    until(
        "the agent's descriptors are back",
        Duration::from_secs(40),
        || world.agents[0].process().descriptors() <= descriptors.1 + 2,
    );
}

fn descriptors(world: &mut World) -> (usize, usize) {
    (
        world.gateway.process().descriptors(),
        world.agents[0].process().descriptors(),
    )
}

on_both_drivers! {
    fn clients_that_break_off_anywhere_leave_nothing_behind(driver: Driver) {
        let nginx = Nginx::start();
        let (silent, echo, mirror) = (Backend::silent(), Backend::echo(), Backend::mirror());
        let ws = WebSocketServer::start();
        let rules = Rules::none()
            .http("web.virtual:80", nginx.url())
            .http("silent.virtual:80", silent.url())
            .http("mirror.virtual:80", mirror.url())
            .tcp("echo.virtual:7", echo.address())
            .http_with("ws.virtual:80", format!("http://{}", ws.address()), "")
            .resource("path = \"/\"\nscope = \"subtree\"\nupgrade = true");
        let mut world = World::builder()
            .driver(driver)
            .rules(rules)
            .agent(|config| {
                config.text("backend.idle_timeout", "2s");
            })
            .alone()
            .start();
        let before = descriptors(&mut world);
        let mut noise = Noise::new(11);
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for number in 0..300 {
            let mut connection = world.connect();
            match number % 10 {
                // In the middle of a head.
                0 => {
                    let head = world.request("GET", "http://web.virtual/1m", "");
                    connection.send(&head[..noise.below(head.len())]).unwrap();
                }
                // Before the answer.
                1 => connection.send(world.request("GET", "http://web.virtual/1m", "")).unwrap(),
                // In the middle of the answer.
                2 => {
                    connection.send(world.request("GET", "http://web.virtual/1m", "")).unwrap();
                    connection.exactly(1 + noise.below(100_000)).unwrap();
                }
                // In the middle of a body.
                3 => {
                    let length = "Content-Length: 1000000\r\n";
                    connection.send(world.request("PUT", "http://web.virtual/upload/x", length)).unwrap();
                    connection.send(vec![b'x'; noise.below(200_000)]).unwrap();
                }
                // In the middle of a chunk.
                4 => {
                    let chunked = "Transfer-Encoding: chunked\r\n";
                    connection.send(world.request("POST", "http://mirror.virtual/", chunked)).unwrap();
                    connection.send(format!("ff\r\n{}", "x".repeat(noise.below(200)))).unwrap();
                }
                // While the backend thinks.
                5 => connection.send(world.request("GET", "http://silent.virtual/", "")).unwrap(),
                // With three more requests waiting.
                6 => {
                    let one = world.request("GET", "http://web.virtual/1m", "");
                    connection.send(one.repeat(4)).unwrap();
                    connection.exactly(noise.below(1000)).unwrap();
                }
                // In a conversation.
                7 => {
                    let mut stream = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
                    stream.write_all(&vec![b'x'; noise.below(100_000)]).unwrap();
                    if noise.below(2) == 0 {
                        net::linger_none(&stream);
                    }
                }
                // In an upgraded connection.
                8 => {
                    connection.send(world.request("GET", "http://ws.virtual/chat", upgrade)).unwrap();
                    if noise.below(2) == 0 {
                        assert_eq!(connection.head().unwrap().status, 101);
                    }
                }
                // In the middle of a negotiation.
                _ => {
                    let mut stream = net::connect(world.socks()).unwrap();
                    let all = [&[5, 1, 0x80][..], &socks::jwt(world.token(), "")].concat();
                    stream.write_all(&all[..noise.below(all.len())]).unwrap();
                }
            }
            if noise.below(2) == 0 {
                net::linger_none(connection.stream());
            }
        }
        until("no backend is kept waiting", SOON, || silent.open() == 0 && echo.open() == 0);
        nothing_is_left(&mut world, before);
        assert_eq!(world.get("http://web.virtual/1k").status, 200);
    }

    fn backends_that_break_off_anywhere_leave_nothing_behind(driver: Driver) {
        let backend = Backend::start(|visit| {
            let mut noise = Noise::new(u64::try_from(visit.number).unwrap_or(0));
            let Some(mut head) = visit.head()? else { return Ok(()) };
            if noise.below(2) == 0 {
                visit.body(&mut head)?;
            }
            match noise.below(6) {
                0 => {}
                1 => visit.send("HTTP/1.1 200 OK\r\nContent-")?,
                2 => visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")?,
                3 => visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?,
                4 => visit.send("HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => visit.send("nonsense\r\n\r\n")?,
            }
            if noise.below(2) == 0 { visit.reset() } else { Ok(()) }
        });
        let rules = Rules::none().http("bad.virtual:80", backend.url());
        let mut world = World::builder().driver(driver).rules(rules).alone().start();
        let before = descriptors(&mut world);
        for number in 0..200 {
            let mut connection = world.connect();
            let body = vec![b'x'; (number % 7) * 3000];
            let length = format!("Content-Length: {}\r\n", body.len());
            let method = if number % 2 == 0 { "POST" } else { "PUT" };
            connection.send(world.request(method, "http://bad.virtual/", &length)).unwrap();
            let _ = connection.send(&body);
            // A refusal, or a part of an answer and the end: never silence, never a whole answer.
            connection.patience(Duration::from_secs(15)).unwrap();
            match connection.response() {
                Ok(response) => assert!(matches!(response.status, 502 | 504), "{number}: {}", response.line),
                Err(error) => assert!(
                    !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                    "{number}: silence"
                ),
            }
        }
        nothing_is_left(&mut world, before);
    }
}

#[test]
fn an_upload_nobody_takes_waits_at_the_client_and_not_in_memory() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    const LENGTH: usize = 150 << 20;
    let backend = Backend::start(move |visit| {
        let Some(head) = visit.head()? else {
            return Ok(());
        };
        gone.lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(60))
            .map_err(std::io::Error::other)?;
        let mut sum = adit_tests::payload::Sum::default();
        let mut seen = 0;
        while seen < LENGTH {
            let some = visit.some()?;
            if some.is_empty() {
                break;
            }
            seen += some.len();
            sum.add(&some);
        }
        visit.note(&head);
        visit.send(adit_tests::backend::ok(sum.digest().sha256))
    });
    let rules = Rules::none().http("web.virtual:80", backend.url());
    let mut world = World::builder().rules(rules).alone().start();
    let before =
        world.gateway.process().resident_bytes() + world.agents[0].process().resident_bytes();
    let body = Noise::new(5).bytes(LENGTH);
    let expected = digest_of(body.as_slice()).unwrap().sha256;
    let mut connection = world.connect();
    connection
        .send(world.request(
            "POST",
            "http://web.virtual/",
            &format!("Content-Length: {LENGTH}\r\n"),
        ))
        .unwrap();
    let mut writer = connection.stream().try_clone().unwrap();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let writing = std::thread::spawn(move || {
        for piece in body.chunks(64 * 1024) {
            writer.write_all(piece).unwrap();
            count.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
        }
    });
    // It has come to a stop when nothing was taken for a while.
    let mut last = (usize::MAX, std::time::Instant::now());
    until("the upload has come to a stop", SOON, || {
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(1)
    });
    assert!(last.0 < LENGTH, "all of it was taken by nobody");
    let after =
        world.gateway.process().resident_bytes() + world.agents[0].process().resident_bytes();
    assert!(
        after < before + (64 << 20),
        "{} MiB are held for one upload",
        (after.saturating_sub(before)) >> 20
    );
    go.send(()).unwrap();
    let response = connection.response().unwrap();
    writing.join().unwrap();
    assert_eq!((response.status, response.text()), (200, expected));
}

#[test]
fn quiet_connections_to_backends_are_kept_for_a_while_and_then_closed() {
    let mirror = Backend::mirror();
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", mirror.url()))
        .agent(|config| {
            config.text("backend.idle_timeout", "1s");
        })
        .start();
    for _ in 0..10 {
        assert_eq!(world.get("http://web.virtual/").status, 200);
    }
    assert!(
        mirror.accepted() <= 2,
        "one for each shard: {}",
        mirror.accepted()
    );
    until("they are closed", SOON, || mirror.open() == 0);
    assert_eq!(world.get("http://web.virtual/").status, 200);
}

#[test]
fn a_backend_that_wants_to_close_is_not_kept() {
    let backend = Backend::start(|visit| {
        while visit.request()?.is_some() {
            visit.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut connection = world.connect();
    for number in 1..=5 {
        connection
            .send(world.request("GET", "http://web.virtual/", ""))
            .unwrap();
        let response = connection.response().unwrap();
        assert_eq!(response.text(), "ok");
        assert!(!response.closes(), "that is between agent and backend");
        assert_eq!(backend.accepted(), number);
    }
}

#[test]
fn r12_a_name_with_a_dead_ipv6_address_and_a_live_ipv4_one_is_reached() {
    // `localhost` is both; nobody listens on ::1.
    let mirror = Backend::mirror();
    let port = mirror.address().port();
    let world =
        World::with(Rules::none().http("web.virtual:80", format!("http://localhost:{port}")));
    let started = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(world.get("http://web.virtual/").status, 200);
    }
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_drain_cuts_what_does_not_end_at_its_deadline() {
    let echo = Backend::echo();
    for role in ["agent", "gateway"] {
        let drain = |config: &mut adit_tests::world::Config| {
            config.text(&format!("{role}.drain"), "1s");
        };
        let builder = World::builder().rules(Rules::none().tcp("echo.virtual:7", echo.address()));
        let builder = if role == "agent" {
            builder.agent(drain)
        } else {
            builder.gateway(drain)
        };
        let mut world = builder.start();
        let mut stream = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        let node = if role == "agent" {
            &mut world.agents[0]
        } else {
            &mut world.gateway
        };
        node.process().terminate();
        assert_eq!(net::read_to_close(&mut stream).unwrap(), b"", "{role}");
        let _ = node.process().wait(Duration::from_secs(10));
        until("the backend is let go", SOON, || echo.open() == 0);
    }
}

#[test]
fn a_websocket_ends_when_its_permit_is_withdrawn() {
    let server = WebSocketServer::start();
    let rules = Rules::none()
        .http_with("ws.virtual:80", format!("http://{}", server.address()), "")
        .resource("path = \"/chat\"\nupgrade = true");
    let world = World::with(rules.clone());
    let mut connection: Connection = world.connect();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    connection
        .send(world.request("GET", "http://ws.virtual/chat", upgrade))
        .unwrap();
    assert_eq!(connection.head().unwrap().status, 101);
    // The same resource without the flag: an ordinary request is still granted, this one is not.
    world.push(
        &rules
            .to_string()
            .replace("upgrade = true", "upgrade = false")
            .parse()
            .unwrap(),
    );
    assert_eq!(connection.to_close().unwrap(), b"");
}
