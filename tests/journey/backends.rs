//! Backends that refuse, keep silent, break off and drip: each with its own status and reason.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use adit_tests::{Backend, Rules, World, backend, net, on_both_drivers, socks, until};

on_both_drivers! {
    fn r12_each_trouble_of_a_backend_has_its_status_and_reason(driver: Driver) {
        let silent = Backend::silent();
        let closing = Backend::start(|visit| visit.head().map(drop));
        let resetting = Backend::start(|visit| {
            visit.head()?;
            visit.reset()
        });
        let garbage = Backend::saying("ICY 200 OK\r\n\r\n");
        let half_head = Backend::start(move |visit| {
            visit.head()?;
            visit.send("HTTP/1.1 200 OK\r\nContent-Le")
        });
        let rules = Rules::none()
            .http("refusing.virtual:80", format!("http://{}", Backend::refusing()))
            .http("silent.virtual:80", silent.url())
            .http("closing.virtual:80", closing.url())
            .http("resetting.virtual:80", resetting.url())
            .http("garbage.virtual:80", garbage.url())
            .http("half-head.virtual:80", half_head.url())
            .http("unknown.virtual:80", "http://no-such-host.invalid:80");
        let world = World::builder()
            .driver(driver)
            .rules(rules)
            .agent(|config| {
                config.text("backend.answer_timeout", "1s");
            })
            .start();
        for (host, status, reason) in [
            ("refusing", 502, "backend-refused"),
            ("silent", 504, "backend-silent"),
            ("closing", 502, "backend-reset"),
            ("resetting", 502, "backend-reset"),
            ("garbage", 502, "backend-malformed"),
            ("half-head", 502, "backend-reset"),
            ("unknown", 502, "backend-dns"),
        ] {
            let response = world.get(&format!("http://{host}.virtual/"));
            assert_eq!((response.status, response.refusal()), (status, reason), "{host}");
            assert!(response.refusal_id().is_some_and(|id| id.len() == 32), "{host}");
            // Names and addresses of the private network stay there.
            assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
        }
    }

    fn r12_a_reset_in_the_middle_of_a_response_is_told_by_a_cut(driver: Driver) {
        let backend = Backend::start(|visit| {
            visit.request()?;
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            visit.send([b'x'; 5000])?;
            visit.reset()
        });
        let world = World::on(driver, Rules::none().http("web.virtual:80", backend.url()));
        let mut connection = world.connect();
        connection.send(world.request("GET", "http://web.virtual/", "")).unwrap();
        assert_eq!(connection.head().unwrap().status, 200);
        let rest = connection.to_close().unwrap();
        assert!(rest.len() < 100_000, "nobody invents the rest");
    }
}

#[test]
fn r12_a_chunked_response_that_breaks_off_never_looks_whole() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/", ""))
        .unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    let rest = connection.to_close().unwrap();
    assert!(
        !rest.windows(5).any(|end| end == b"0\r\n\r\n"),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
}

#[test]
fn r12_a_backend_that_accepts_no_connection_in_time_is_504() {
    // A queue of one that is full: from then on the kernel drops whoever knocks.
    let (listener, address) = net::listen();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue does not fill up");
    }
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", format!("http://{address}")))
        .agent(|config| {
            config.text("backend.connect_timeout", "1s");
        })
        .start();
    let response = world.get("http://web.virtual/");
    assert_eq!(
        (response.status, response.refusal()),
        (504, "backend-timeout")
    );
}

#[test]
fn r12_a_request_that_may_not_be_repeated_reaches_the_backend_once() {
    let backend = Backend::start(|visit| {
        if let Some(request) = visit.head()? {
            visit.note(&request);
        }
        Ok(())
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let length = "Content-Length: 0\r\n";
    let response = world
        .exchange(world.request("POST", "http://web.virtual/", length))
        .unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (502, "backend-reset")
    );
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_kept_backend_connection_that_died_costs_no_request() {
    // Each connection serves one request, says keep-alive, and is then closed without a word.
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send(backend::ok("once"))
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    for number in 0..50 {
        let length = "Content-Length: 0\r\n";
        let response = world
            .exchange(world.request("POST", "http://web.virtual/", length))
            .unwrap();
        // A POST is not sent twice, but a connection whose end has arrived is not used at all.
        assert_eq!(response.status, 200, "{number}: {}", response.refusal());
        until("the backend has closed", Duration::from_secs(5), || {
            backend.open() == 0
        });
    }
    assert_eq!(backend.requests().len(), 50);
}

#[test]
fn r12_a_dripping_response_is_carried_as_it_comes() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")?;
        for _ in 0..30 {
            visit.send("x")?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let response = world.get("http://web.virtual/");
    assert_eq!(response.body, [b'x'; 30]);
}

#[test]
fn r12_a_backend_that_ends_its_direction_still_gets_all_of_ours() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let backend = Backend::start(move |visit| {
        visit.send("bye")?;
        visit.finish()?;
        let mut all = Vec::new();
        loop {
            let some = visit.some()?;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        sender.send(all).map_err(std::io::Error::other)
    });
    let world = World::with(Rules::none().tcp("log.virtual:514", backend.address()));
    let mut stream = socks::connect(world.socks(), world.token(), "log.virtual", 514).unwrap();
    assert_eq!(net::read_to_close(&mut stream).unwrap(), b"bye");
    stream.write_all(&[b'y'; 50_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let arrived = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(arrived.len(), 50_000);
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let backend = Backend::silent();
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    for hard in [false, true] {
        let mut connection = world.connect();
        connection
            .send(world.request("GET", "http://web.virtual/", ""))
            .unwrap();
        until("the backend has it", Duration::from_secs(10), || {
            backend.open() == 1
        });
        if hard {
            net::linger_none(connection.stream());
        }
        drop(connection);
        let what = format!("the backend is let go; with RST: {hard}");
        until(&what, Duration::from_secs(10), || backend.open() == 0);
    }
}

#[test]
fn a_client_that_resets_its_conversation_ends_it_at_the_backend() {
    let backend = Backend::silent();
    let world = World::with(Rules::none().tcp("tcp.virtual:1", backend.address()));
    let stream = socks::connect(world.socks(), world.token(), "tcp.virtual", 1).unwrap();
    until("the backend has it", Duration::from_secs(10), || {
        backend.open() == 1
    });
    net::reset(stream);
    until("the backend is let go", Duration::from_secs(10), || {
        backend.open() == 0
    });
}
