//! Messages in all the forms HTTP/1.1 has for them.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use adit_tests::{Backend, Nginx, Rules, World, backend, on_both_drivers};

fn world_of(backend: &Backend) -> World {
    World::with(Rules::none().http("web.virtual:80", backend.url()))
}

on_both_drivers! {
    fn chunked_bodies_and_trailers_pass_both_ways(driver: Driver) {
        let backend = Backend::answering(|request| {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n".to_vec();
            for chunk in request.body.chunks(7) {
                answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\nX-Sum: from-backend\r\n\r\n");
            answer
        });
        let world = World::on(driver, Rules::none().http("web.virtual:80", backend.url()));
        let mut connection = world.connect();
        // Twice: the connection is as good after a chunked body as before.
        for _ in 0..2 {
            let fields = "Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Check\r\n";
            connection.send(world.request("POST", "http://web.virtual/", fields)).unwrap();
            connection.send("5\r\nhello\r\n1;ext=1\r\n \r\n00a\r\nbig  world\r\n").unwrap();
            connection.send("0\r\nX-Check: from-client\r\n\r\n").unwrap();
            let response = connection.response().unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "hello big  world"));
            assert_eq!(response.trailers, [("x-sum".to_owned(), "from-backend".to_owned())]);
        }
        let seen = backend.last();
        assert_eq!(seen.body, b"hello big  world");
        assert_eq!(seen.trailers, [("X-Check".to_owned(), "from-client".to_owned())]);
    }

    fn a_client_that_expects_100_waits_for_the_backends_word(driver: Driver) {
        let backend = Backend::start(|visit| {
            while let Some(mut head) = visit.head()? {
                assert_eq!(head.field("expect"), Some("100-continue"));
                visit.send("HTTP/1.1 100 Continue\r\n\r\n")?;
                visit.body(&mut head)?;
                visit.note(&head);
                visit.send(backend::ok("thanks"))?;
            }
            Ok(())
        });
        let world = World::on(driver, Rules::none().http("web.virtual:80", backend.url()));
        let mut connection = world.connect();
        for _ in 0..2 {
            let fields = "Expect: 100-continue\r\nContent-Length: 4\r\n";
            connection.send(world.request("PUT", "http://web.virtual/", fields)).unwrap();
            assert_eq!(connection.head().unwrap().status, 100);
            connection.send("body").unwrap();
            let response = connection.response().unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "thanks"));
        }
        assert_eq!(backend.last().body, b"body");
    }
}

#[test]
fn a_client_that_expects_100_may_be_told_no_instead() {
    let backend = Backend::start(|visit| {
        visit.head()?;
        visit.send(
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        )
    });
    let world = world_of(&backend);
    let mut connection = world.connect();
    let fields = "Expect: 100-continue\r\nContent-Length: 4\r\n";
    connection
        .send(world.request("PUT", "http://web.virtual/", fields))
        .unwrap();
    let response = connection.response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (417, "no"));
    assert!(response.interim.is_empty());
    // The body was not sent, so what comes next could be taken for it: the connection must end.
    assert!(response.closes());
}

#[test]
fn curl_uploads_to_nginx_with_expect_100() {
    let nginx = Nginx::start();
    let world = World::with(Rules::none().http("web.virtual:80", nginx.url()));
    let file = nginx.path("1m").display().to_string();
    let proxy = format!("http://{}", world.http());
    let authorization = format!("Proxy-Authorization: Bearer {}", world.token());
    let expect = "Expect: 100-continue";
    let url = "http://web.virtual/upload/m";
    let args = [
        "-f",
        "-x",
        &proxy,
        "--proxy-header",
        &authorization,
        "-H",
        expect,
        "-T",
        &file,
        url,
    ];
    let outcome = adit_tests::curl::Curl::new(&args).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(nginx.digest("upload/m"), nginx.digest("1m"));
}

#[test]
fn head_is_answered_without_a_body_and_the_connection_goes_on() {
    let nginx = Nginx::start();
    let world = World::with(Rules::none().http("web.virtual:80", nginx.url()));
    let mut connection = world.connect();
    for _ in 0..3 {
        connection
            .send(world.request("HEAD", "http://web.virtual/1m", ""))
            .unwrap();
        let response = connection.response_to("HEAD").unwrap();
        assert_eq!(
            (response.status, response.field("content-length")),
            (200, Some("1048576"))
        );
        connection
            .send(world.request("HEAD", "http://nowhere.virtual/", ""))
            .unwrap();
        assert_eq!(connection.response_to("HEAD").unwrap().status, 403);
        connection
            .send(world.request("GET", "http://web.virtual/1k", ""))
            .unwrap();
        assert_eq!(connection.response().unwrap().body.len(), 1024);
    }
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let mut answer = [hints, hints, "HTTP/1.1 102 Processing\r\n\r\n"]
        .concat()
        .into_bytes();
    answer.extend(backend::ok("done"));
    let backend = Backend::saying(answer);
    let world = world_of(&backend);
    let mut connection = world.connect();
    for _ in 0..2 {
        connection
            .send(world.request("GET", "http://web.virtual/", ""))
            .unwrap();
        let response = connection.response().unwrap();
        assert_eq!(response.interim, [103, 103, 102]);
        assert_eq!((response.status, response.text().as_str()), (200, "done"));
    }
    // RFC 9110, section 15.2: not to a client of HTTP/1.0.
    let credentials = world.credentials();
    let response = world
        .exchange(format!(
            "GET http://web.virtual/ HTTP/1.0\r\n{credentials}\r\n"
        ))
        .unwrap();
    assert_eq!(
        (response.interim.len(), response.text().as_str()),
        (0, "done")
    );
}

#[test]
fn an_answer_before_the_request_has_ended_reaches_the_client() {
    let backend = Backend::start(|visit| {
        visit.head()?;
        visit.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much")?;
        visit.finish()?;
        while !visit.some()?.is_empty() {}
        Ok(())
    });
    let world = world_of(&backend);
    let mut connection = world.connect();
    connection
        .send(world.request("POST", "http://web.virtual/", "Content-Length: 1000000\r\n"))
        .unwrap();
    connection.send([b'x'; 1000]).unwrap();
    let response = connection.response().unwrap();
    assert_eq!(
        (response.status, response.text().as_str()),
        (413, "too much")
    );
    assert!(
        response.closes(),
        "the rest of the body must not be taken for a request"
    );
}

#[test]
fn a_response_of_http_1_0_without_length_ends_with_its_connection() {
    let backend = Backend::start(|visit| {
        visit.request()?;
        visit.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of ")?;
        visit.send("it")
    });
    let world = world_of(&backend);
    for _ in 0..2 {
        let response = world.get("http://web.virtual/");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "all of it")
        );
        assert_eq!(response.line, "HTTP/1.1 200 OK");
    }
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn no_content_and_not_modified_have_no_body() {
    let (sender, receiver) = mpsc::channel::<&str>();
    let receiver = Mutex::new(receiver);
    let backend = Backend::answering(move |_| receiver.lock().unwrap().recv().unwrap().into());
    let world = world_of(&backend);
    let mut connection = world.connect();
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 1000\r\n\r\n",
            304,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ] {
        sender.send(answer).unwrap();
        connection
            .send(world.request("GET", "http://web.virtual/", ""))
            .unwrap();
        let response = connection.response().unwrap();
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
}

#[test]
fn fields_that_belong_to_one_hop_stay_there() {
    let backend = Backend::answering(|request| {
        let mut answer = backend::mirrored(request);
        let at = b"HTTP/1.1 200 OK\r\n".len();
        let fields = b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\n";
        answer.splice(at..at, fields.iter().copied());
        answer
    });
    let world = world_of(&backend);
    let fields = "Authorization: Basic dTpw\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n\
                  Proxy-Connection: keep-alive\r\nSAP-Connectivity-Authentication: Bearer x.y.z\r\n\
                  SAP-Connectivity-SCC-Location_ID: \r\nX-Other: 3\r\nX_under: 4\r\n";
    let response = world
        .exchange(world.request("GET", "http://web.virtual/p?q=1", fields))
        .unwrap();
    assert_eq!(response.status, 200, "{}", response.refusal());
    assert_eq!(
        (response.field("x-hop"), response.field("x-end")),
        (None, Some("2"))
    );
    let seen = backend.last();
    assert_eq!(seen.line, "GET /p?q=1 HTTP/1.1");
    assert_eq!(seen.field("authorization"), Some("Basic dTpw"));
    assert_eq!(
        (seen.field("x-other"), seen.field("x_under")),
        (Some("3"), Some("4"))
    );
    for gone in [
        "x-mine",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
    ] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    assert!(
        !seen
            .fields
            .iter()
            .any(|(name, _)| name.to_ascii_lowercase().starts_with("sap-connectivity")),
        "{seen:?}"
    );
}

#[test]
fn a_body_is_not_held_back_until_it_is_whole() {
    // Server-sent events: each must arrive while the response goes on.
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let backend = Backend::start(move |visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for number in 0..5 {
            visit.send(format!("9\r\ndata: {number}\n\n\r\n"))?;
            gone.lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(20))
                .map_err(std::io::Error::other)?;
        }
        visit.send("0\r\n\r\n")
    });
    let world = world_of(&backend);
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/events", ""))
        .unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    for number in 0..5 {
        // The next event is sent only after this one has arrived.
        let event = connection.chunk().unwrap().unwrap();
        assert_eq!(event, format!("data: {number}\n\n").as_bytes());
        go.send(()).unwrap();
    }
    assert_eq!(connection.chunk().unwrap(), None);
}
