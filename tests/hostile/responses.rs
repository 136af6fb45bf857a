//! Backends that answer in two ways at once: the client gets one answer or none, and a connection with
//! anything behind its answer is never used again (H-04).

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, backend, until};

/// A backend that plays `answer` on its first connection and is honest on all others.
fn first(answer: &'static [u8]) -> Backend {
    Backend::start(move |visit| {
        while visit.request()?.is_some() {
            if visit.number == 0 {
                visit.send(answer)?;
            } else {
                visit.send(backend::ok("honest"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn h04_what_stands_behind_an_answer_is_never_the_next_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (name, method, answer, status) in [
        (
            "more than the length",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
        ),
        (
            "more than the chunks",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
        ),
        (
            "a body of 204",
            "GET",
            "HTTP/1.1 204 No Content\r\n\r\n",
            204,
        ),
        (
            "a body of 304",
            "GET",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            304,
        ),
        (
            "a body of HEAD",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n",
            200,
        ),
    ] {
        let bytes: &'static [u8] = format!("{answer}{evil}").into_bytes().leak();
        let backend = first(bytes);
        let world = World::builder()
            .shards(1)
            .rules(Rules::none().http("web.virtual:80", backend.url()))
            .start();
        let mut connection = world.connect();
        connection
            .send(world.request(method, "http://web.virtual/1", ""))
            .unwrap();
        let response = connection
            .response_to(method)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(response.status, status, "{name}: {}", response.refusal());
        assert!(!response.text().contains("evil"), "{name}");
        for _ in 0..2 {
            let response = world.get("http://web.virtual/2");
            assert_eq!(response.text(), "honest", "{name}: {}", response.refusal());
        }
        // The first connection was given up as soon as it was known to be dirty.
        until("the dirty connection is closed", SOON, || {
            backend.open() <= 1
        });
        assert!(backend.accepted() >= 2, "{name}");
    }
}

#[test]
fn h04_bytes_that_arrive_on_a_quiet_connection_cost_it_its_place() {
    let (go, gone) = mpsc::channel::<()>();
    let (gone, sent) = (Mutex::new(gone), mpsc::channel::<()>());
    let (told, sent) = sent;
    let backend = Backend::start(move |visit| {
        while visit.request()?.is_some() {
            visit.send(backend::ok("honest"))?;
            if visit.number == 0 {
                // Later, as if it were the answer to what comes next.
                gone.lock()
                    .unwrap()
                    .recv_timeout(Duration::from_secs(20))
                    .map_err(std::io::Error::other)?;
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
                told.send(()).map_err(std::io::Error::other)?;
            }
        }
        Ok(())
    });
    let world = World::builder()
        .shards(1)
        .rules(Rules::none().http("web.virtual:80", backend.url()))
        .start();
    assert_eq!(world.get("http://web.virtual/1").text(), "honest");
    go.send(()).unwrap();
    sent.recv_timeout(Duration::from_secs(20)).unwrap();
    for _ in 0..3 {
        assert_eq!(world.get("http://web.virtual/2").text(), "honest");
    }
}

#[test]
fn h04_answers_whose_length_reads_in_two_ways_are_502() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\x00A: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 99 Too Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        let backend = Backend::saying(answer);
        let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
        let response = world.get("http://web.virtual/");
        assert_eq!(
            (response.status, response.refusal()),
            (502, "backend-malformed"),
            "{answer:?}"
        );
    }
}

#[test]
fn h04_an_answer_shorter_than_it_says_is_a_cut_and_not_padded_by_the_next() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut connection = world.connect();
    // A second request waits behind: its answer must not fill up the first.
    let both = world.request("GET", "http://web.virtual/1", "")
        + &world.request("GET", "http://web.virtual/2", "");
    connection.send(both).unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.to_close().unwrap(), b"short");
}

#[test]
fn h04_an_early_answer_does_not_leave_the_rest_of_the_request_on_a_kept_connection() {
    // The backend answers before it has the body, claims to keep the connection, and then reads on.
    let backend = Backend::start(|visit| {
        let mut first = true;
        while let Some(mut head) = visit.head()? {
            if first {
                visit.send(backend::ok("early"))?;
            }
            visit.body(&mut head)?;
            if !first {
                visit.send(backend::ok("honest"))?;
            }
            first = false;
            visit.note(&head);
        }
        Ok(())
    });
    let world = World::builder()
        .shards(1)
        .rules(Rules::none().http("web.virtual:80", backend.url()))
        .start();
    let inner = world.request("GET", "http://web.virtual/smuggled", "");
    let length = format!("Content-Length: {}\r\n", inner.len());
    let mut connection = world.connect();
    connection
        .send(world.request("POST", "http://web.virtual/1", &length))
        .unwrap();
    let response = connection.response().unwrap();
    assert_eq!(response.text(), "early");
    // The body comes after the answer. Whatever becomes of the connection, it is no request.
    let _ = connection.send(&inner);
    let _ = connection.to_close();
    assert_eq!(world.get("http://web.virtual/2").status, 200);
    assert!(
        backend
            .requests()
            .iter()
            .all(|request| request.target() != "/smuggled")
    );
}

#[test]
fn h04_too_many_interim_answers_are_not_followed_for_ever() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        loop {
            visit.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(100))?;
        }
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/", ""))
        .unwrap();
    // Interim answers were passed on, so all that is left is a cut or a refusal.
    let rest = connection.to_close().unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"));
    until("the backend is let go", SOON, || backend.open() == 0);
}

#[test]
fn h04_a_head_without_end_is_not_kept_in_memory() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\n")?;
        loop {
            visit.send(format!("X-Filler: {}\r\n", "x".repeat(1000)))?;
        }
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let response = world.get("http://web.virtual/");
    assert_eq!(
        (response.status, response.refusal()),
        (502, "backend-malformed")
    );
}
