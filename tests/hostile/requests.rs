//! Requests that two readers could read in two ways, at the HTTP door: answered with a refusal, and not
//! one byte of them reaches a backend (H-01 to H-06).

use adit_tests::payload::Noise;
use adit_tests::{Backend, Rules, World, backend};

/// A mirror that nobody may reach, and the world around it.
fn world() -> (World, Backend) {
    let mirror = Backend::mirror();
    (
        World::with(Rules::none().http("web.virtual:80", mirror.url())),
        mirror,
    )
}

// A request line, a host and a token in front of `fields`, which bring their own line ends.
fn post(world: &World, fields: &str, body: &str) -> Vec<u8> {
    let credentials = world.credentials();
    format!(
        "POST http://web.virtual/x HTTP/1.1\r\nHost: web.virtual\r\n{credentials}{fields}\r\n{body}"
    )
    .into_bytes()
}

/// Sends each of `requests`; each must be refused with `status`, and the connection must end.
fn all_refused<'a>(
    world: &World,
    mirror: &Backend,
    status: u16,
    requests: impl IntoIterator<Item = (&'a str, Vec<u8>)>,
) {
    let mut count = 0;
    for (name, bytes) in requests {
        count += 1;
        let mut connection = world.connect();
        // A second request rides behind: it must not be taken for one.
        let mut bytes = bytes;
        bytes.extend(
            world
                .request("GET", "http://web.virtual/smuggled", "")
                .into_bytes(),
        );
        connection.send(&bytes).unwrap();
        let response = connection
            .response()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(response.status, status, "{name}: {}", response.refusal());
        assert!(response.closes(), "{name}");
        assert!(
            connection.closes().unwrap(),
            "{name}: nothing is answered behind a refusal"
        );
        assert_eq!(mirror.bytes(), 0, "{name}: bytes have reached the backend");
    }
    assert!(count > 0, "a test over nothing");
}

fn rejected(world: &World) -> f64 {
    world
        .gateway
        .admin()
        .metric("gateway_smuggling_rejected_total", &[])
}

#[test]
fn h01_a_length_that_reads_in_two_ways_is_refused() {
    let (world, mirror) = world();
    let smuggled = "GET /evil HTTP/1.1\r\nHost: web.virtual\r\n\r\n";
    let cases = [
        (
            "CL.TE",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "TE.CL",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        ("0.CL", "Content-Length: 0\r\nContent-Length: 44\r\n"),
        ("CL.0", "Content-Length: 44\r\nContent-Length: 0\r\n"),
        (
            "the same twice",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
        ),
        ("a list", "Content-Length: 5, 5\r\n"),
        ("a list of two", "Content-Length: 5, 6\r\n"),
        ("a sign", "Content-Length: +5\r\n"),
        ("hexadecimal", "Content-Length: 0x5\r\n"),
        ("a space behind", "Content-Length: 5 \r\n"),
        ("twenty digits", "Content-Length: 00000000000000000005\r\n"),
        ("nothing", "Content-Length: \r\n"),
        (
            "TE.TE case and list",
            "Transfer-Encoding: Chunked, identity\r\n",
        ),
        ("a tab", "Transfer-Encoding:\tchunked\r\n"),
        ("a list of codings", "Transfer-Encoding: gzip, chunked\r\n"),
        (
            "twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "twice, one strange",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        ),
        ("a parameter", "Transfer-Encoding: chunked;x=y\r\n"),
        ("a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        ("unknown", "Transfer-Encoding: xchunked\r\n"),
        (
            "a lookalike",
            "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        ),
        (
            "a space before the colon",
            "Transfer-Encoding : chunked\r\n",
        ),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n"),
    ];
    let before = rejected(&world);
    let requests = cases
        .iter()
        .map(|(name, fields)| (*name, post(&world, fields, smuggled)));
    all_refused(&world, &mirror, 400, requests);
    let counted = rejected(&world) - before;
    assert!(
        counted >= 18.0,
        "only {counted} of {} are counted as smuggling",
        cases.len()
    );
    // The twin: one plain length passes.
    let response = world
        .exchange(post(&world, "Content-Length: 5\r\n", "hello"))
        .unwrap();
    assert_eq!(response.status, 200);
}

#[test]
fn h02_a_head_with_strange_line_ends_or_names_is_refused() {
    let (world, mirror) = world();
    let credentials = world.credentials();
    let plain = "GET http://web.virtual/x HTTP/1.1\r\nHost: web.virtual\r\n";
    let with = |fields: &str| format!("{plain}{credentials}{fields}\r\n").into_bytes();
    let mut cases = vec![
        ("folded", with("X-A: 1\r\n 2\r\n")),
        ("folded by tab", with("X-A: 1\r\n\t2\r\n")),
        ("space before colon", with("X-A : 1\r\n")),
        ("bare CR in value", with("X-A: 1\rX-B: 2\r\n")),
        ("bare LF as line end", with("X-A: 1\nX-B: 2\r\n")),
        ("NUL in value", with("X-A: 1\x002\r\n")),
        ("NUL in name", with("X\x00A: 1\r\n")),
        ("empty name", with(": 1\r\n")),
        ("no colon", with("X-A\r\n")),
        ("space in name", with("X A: 1\r\n")),
        ("a field before the first", format!("GET http://web.virtual/x HTTP/1.1\r\n X: 1\r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("bare LF behind the request line", format!("GET http://web.virtual/x HTTP/1.1\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("two spaces", format!("GET  http://web.virtual/x HTTP/1.1\r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("a tab", format!("GET\thttp://web.virtual/x HTTP/1.1\r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("a space behind", format!("GET http://web.virtual/x HTTP/1.1 \r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("version 1.2", format!("GET http://web.virtual/x HTTP/1.2\r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("version 2.0", format!("GET http://web.virtual/x HTTP/2.0\r\nHost: web.virtual\r\n{credentials}\r\n").into_bytes()),
        ("no version", b"GET http://web.virtual/x\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
    ];
    let mut many = b"\r\n".repeat(20);
    many.extend(with(""));
    cases.push(("twenty empty lines first", many));
    all_refused(&world, &mirror, 400, cases);
    let response = world.exchange(with("X_A: 1\r\n")).unwrap();
    assert_eq!(
        response.status, 200,
        "an underscore in a name is what SAP's clients send"
    );
}

#[test]
fn h03_a_chunked_body_that_reads_in_two_ways_is_refused() {
    let (world, mirror) = world();
    let cases = [
        (
            "bare LF behind the size",
            "5\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "bare LF in an extension (TERM.EXT)",
            "5;a\nb\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "bare CR in an extension (EXT.TERM)",
            "5;a\rb\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "NUL in an extension",
            "5;a\x00b\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "no line end behind the data",
            "5\r\nhello0\r\n\r\n".to_owned(),
        ),
        ("LF behind the data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("two bytes too many", "5\r\nhelloXX\r\n0\r\n\r\n".to_owned()),
        ("no size", "\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a space before", " 5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a space behind", "5 \r\nhello\r\n0\r\n\r\n".to_owned()),
        (
            "seventeen digits",
            "00000000000000005\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a length in a trailer",
            "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n".to_owned(),
        ),
        (
            "a coding in a trailer",
            "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ),
        (
            "a host in a trailer",
            "5\r\nhello\r\n0\r\nHost: evil\r\n\r\n".to_owned(),
        ),
        (
            "a token in a trailer",
            "5\r\nhello\r\n0\r\nProxy-Authorization: Bearer x\r\n\r\n".to_owned(),
        ),
        (
            "a folded trailer",
            "5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n".to_owned(),
        ),
        ("bare LF as the end", "5\r\nhello\r\n0\r\n\n".to_owned()),
    ];
    let chunked = "Transfer-Encoding: chunked\r\n";
    let requests = cases
        .iter()
        .map(|(name, body)| (*name, post(&world, chunked, body)));
    all_refused(&world, &mirror, 400, requests);
    let response = world
        .exchange(post(&world, chunked, "5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n"))
        .unwrap();
    assert_eq!(response.status, 200, "{}", response.refusal());
}

#[test]
fn h03_a_chunk_extension_beyond_its_budget_is_refused_however_it_arrives() {
    let (world, mirror) = world();
    for length in [5000, 100_000] {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length));
        let response = world
            .exchange(post(&world, "Transfer-Encoding: chunked\r\n", &long))
            .unwrap();
        assert_eq!(
            (response.status, response.refusal()),
            (400, "body-framing"),
            "{length}"
        );
        assert!(response.closes());
    }
    assert!(
        mirror.requests().is_empty(),
        "no backend has seen a whole request"
    );
    assert!(rejected(&world) >= 2.0);
}

#[test]
fn h03_a_million_one_byte_chunks_are_too_many() {
    let (world, mirror) = world();
    let mut connection = world.connect();
    connection
        .send(post(&world, "Transfer-Encoding: chunked\r\n", ""))
        .unwrap();
    let thousand = "1\r\nx\r\n".repeat(1000);
    for _ in 0..1000 {
        // Refused long before the end; then nobody reads on.
        if connection.send(&thousand).is_err() {
            break;
        }
    }
    let _ = connection.send("0\r\n\r\n");
    if let Ok(response) = connection.response() {
        assert_eq!((response.status, response.refusal()), (400, "body-framing"));
    }
    // The answer may be lost in the reset of what was still being sent; the count is not.
    let refused = [("reason", "body-framing")];
    let admin = world.gateway.admin();
    assert!(admin.metric("gateway_refused_total", &refused) >= 1.0);
    assert!(
        mirror.requests().is_empty(),
        "no backend has seen a whole request"
    );
}

#[test]
fn h03_a_chunk_that_goes_wrong_later_never_ends_the_request_well() {
    let (world, mirror) = world();
    let mut connection = world.connect();
    connection
        .send(post(
            &world,
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n",
        ))
        .unwrap();
    adit_tests::until(
        "the backend has the beginning",
        adit_tests::wait::SOON,
        || mirror.accepted() == 1,
    );
    connection.send("5\r\nhelloXX\r\n0\r\n\r\n").unwrap();
    let rest = connection.to_close().unwrap();
    assert!(
        !rest.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    adit_tests::until("the backend sees a cut", adit_tests::wait::SOON, || {
        mirror.open() == 0
    });
    assert!(mirror.requests().is_empty());
}

#[test]
fn h04_http_1_0_with_chunks_is_refused_and_bodies_of_get_and_head_are_bodies() {
    let (world, mirror) = world();
    let credentials = world.credentials();
    let old = format!(
        "POST http://web.virtual/x HTTP/1.0\r\n{credentials}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    all_refused(
        &world,
        &mirror,
        400,
        [("HTTP/1.0 with chunks", old.into_bytes())],
    );
    let mut connection = world.connect();
    for method in ["GET", "HEAD", "GET"] {
        // What looks like a request is the body, because the length says so.
        let inner = world.request("GET", "http://web.virtual/smuggled", "");
        let length = format!("Content-Length: {}\r\n", inner.len());
        connection
            .send(world.request(method, "http://web.virtual/x", &length))
            .unwrap();
        connection.send(&inner).unwrap();
        assert_eq!(connection.response_to(method).unwrap().status, 200);
        let seen = mirror.last();
        assert_eq!((seen.method(), seen.target()), (method, "/x"));
        assert_eq!(seen.body, inner.as_bytes());
    }
    assert_eq!(mirror.requests().len(), 3);
}

/// A world with one path that may be upgraded.
fn upgrading(backend: &Backend) -> World {
    let rules = Rules::none()
        .http_with("web.virtual:80", backend.url(), "")
        .resource("path = \"/ws\"\nupgrade = true");
    World::with(rules)
}

/// What a browser sends for a WebSocket (RFC 6455, section 1.3).
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn h05_a_request_behind_a_refused_upgrade_is_judged_for_itself() {
    let answer = backend::ok("no upgrade here");
    let backend = Backend::saying(answer);
    let world = upgrading(&backend);
    let upgrade = "Connection: Upgrade\r\nUpgrade: foo\r\n";
    let mut both = world.request("GET", "http://web.virtual/ws", upgrade);
    both += &world.request("GET", "http://web.virtual/secret", "");
    let mut connection = world.connect();
    connection.send(&both).unwrap();
    let first = connection.response().unwrap();
    assert_eq!(
        (first.status, first.text().as_str()),
        (200, "no upgrade here"),
        "{}",
        first.refusal()
    );
    // Either the connection ends, or the second request is read as what it is.
    if let Ok(second) = connection.response() {
        assert_eq!((second.status, second.refusal()), (403, "resource-denied"));
    }
    let targets: Vec<_> = backend
        .requests()
        .iter()
        .map(|request| request.target().to_owned())
        .collect();
    assert_eq!(targets, ["/ws"], "nothing has passed unjudged");
}

#[test]
fn h05_bytes_behind_an_upgrade_wait_for_a_real_101() {
    // The backend answers 200 to the upgrade; what the client sent behind it must not have reached it.
    let backend = Backend::start(|visit| {
        let Some(head) = visit.head()? else {
            return Ok(());
        };
        visit.note(&head);
        visit
            .stream()
            .set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
        let more = visit.some().unwrap_or_default();
        visit.send(backend::ok(format!("{} bytes more", more.len())))
    });
    let world = upgrading(&backend);
    let mut connection = world.connect();
    let mut bytes = world
        .request("GET", "http://web.virtual/ws", UPGRADE)
        .into_bytes();
    bytes.extend(b"\x81\x85\x00\x00\x00\x00hello");
    connection.send(&bytes).unwrap();
    let response = connection.response().unwrap();
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "0 bytes more"),
        "{}",
        response.refusal()
    );
    // What follows is no HTTP, and is told so or not answered at all.
    connection.finish().unwrap();
    let rest = connection.to_close().unwrap();
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
}

#[test]
fn h05_bytes_behind_an_upgrade_follow_a_101_wherever_they_were_cut() {
    let backend = Backend::start(|visit| {
        let Some(head) = visit.head()? else {
            return Ok(());
        };
        visit.note(&head);
        visit.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )?;
        let mut all = Vec::new();
        while all.len() < 10 {
            match visit.some() {
                Ok(more) if !more.is_empty() => all.extend(more),
                _ => break,
            }
        }
        visit.send(all)
    });
    let world = upgrading(&backend);
    for early in [0, 4, 10] {
        let mut connection = world.connect();
        let (before, after) = b"0123456789".split_at(early);
        let mut bytes = world
            .request("GET", "http://web.virtual/ws", UPGRADE)
            .into_bytes();
        bytes.extend(before);
        connection.send(&bytes).unwrap();
        assert_eq!(connection.head().unwrap().status, 101);
        connection.send(after).unwrap();
        let echo = connection.exactly(10).unwrap();
        assert_eq!(echo, b"0123456789", "{early} bytes came with the head");
    }
}

#[test]
fn h05_a_101_nobody_asked_for_is_the_backends_fault() {
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
    let backend = Backend::saying(answer.as_slice());
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let response = world.get("http://web.virtual/");
    assert_eq!(
        (response.status, response.refusal()),
        (502, "backend-malformed")
    );
}

#[test]
fn h06_expectations_other_than_100_continue_are_417() {
    let (world, mirror) = world();
    let cases = [
        (
            "another",
            post(&world, "Expect: 200-ok\r\nContent-Length: 0\r\n", ""),
        ),
        (
            "two",
            post(
                &world,
                "Expect: 100-continue, x\r\nContent-Length: 0\r\n",
                "",
            ),
        ),
    ];
    all_refused(&world, &mirror, 417, cases);
}

#[test]
fn h06_clients_that_wait_and_clients_that_do_not_stay_in_step() {
    // Every response must be the one to the request before it, whatever was expected and sent when.
    let backend = Backend::start(|visit| {
        while let Some(mut head) = visit.head()? {
            let number: usize = head.target().trim_start_matches('/').parse().unwrap_or(0);
            if head.field("expect").is_some() {
                match number % 4 {
                    0 => visit.send("HTTP/1.1 100 Continue\r\n\r\n")?,
                    1 => visit
                        .send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")?,
                    2 => {}
                    _ => {
                        // Refuses unread; whoever did not send the body yet may keep it.
                        let body = format!("{number}");
                        visit.send(format!(
                            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ))?;
                        visit.finish()?;
                        while !visit.some()?.is_empty() {}
                        return Ok(());
                    }
                }
            }
            visit.body(&mut head)?;
            visit.send(backend::ok(format!("{number}")))?;
        }
        Ok(())
    });
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut noise = Noise::new(6);
    let mut connection = world.connect();
    for number in 0..400 {
        let body = "b".repeat(noise.below(3) * 50);
        let chunked = noise.below(2) == 0;
        // Without a body there is nothing to wait for, and the expectation goes no further.
        let expects = noise.below(2) == 0 && (chunked || !body.is_empty());
        let at_once = !expects || noise.below(2) == 0;
        let mut fields = if chunked {
            "Transfer-Encoding: chunked\r\n".to_owned()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        if expects {
            fields += "Expect: 100-continue\r\n";
        }
        let sent = match (chunked, body.len()) {
            (true, 0) => "0\r\n\r\n".to_owned(),
            (true, length) => format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
            (false, _) => body.clone(),
        };
        let head = world.request("POST", &format!("http://web.virtual/{number}"), &fields);
        let what = format!(
            "{number}: expects {expects}, chunked {chunked}, at once {at_once}, {} bytes",
            body.len()
        );
        let response = if at_once || sent.is_empty() {
            connection.send(format!("{head}{sent}")).unwrap();
            connection.response()
        } else {
            connection.send(&head).unwrap();
            if number % 4 < 2 {
                let interim = connection.head().unwrap();
                assert_eq!(interim.status, 100, "{what}");
            } else if number % 4 == 2 {
                // Nobody answers an expectation that the backend ignores: a client may go on.
            }
            if number % 4 != 3 {
                connection.send(&sent).unwrap();
            }
            connection.response()
        };
        let response = response.unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = if expects && number % 4 == 3 { 403 } else { 200 };
        let refused = expects && number % 4 == 3;
        if response.status == 502 && refused && !sent.is_empty() {
            // The backend closed while we wrote: its answer may be lost with the connection.
        } else {
            assert_eq!(response.status, status, "{what}: {}", response.refusal());
            assert_eq!(response.text(), number.to_string(), "{what}");
        }
        if response.closes() {
            connection = world.connect();
        }
    }
}
