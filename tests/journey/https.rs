//! Backends behind TLS, with the authority named in the rules; and what the backend is told about
//! the host it is called by.

use std::io::{Read as _, Write as _};

use adit_tests::openssl::Authority;
use adit_tests::{Backend, Nginx, Rules, World, on_both_drivers, socks};

fn ca(authority: &Authority) -> String {
    format!("ca_file = \"{}\"", authority.certificate().display())
}

fn rules(address: std::net::SocketAddr, authority: &Authority) -> Rules {
    Rules::none()
        .http_with(
            "web.virtual:80",
            format!("https://{address}"),
            &ca(authority),
        )
        .resource("path = \"/\"\nscope = \"subtree\"")
}

on_both_drivers! {
    fn a_backend_with_tls_1_2_and_one_with_1_3_are_reached(driver: Driver) {
        let authority = Authority::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let server = authority.serve(&["-WWW", version]);
            server.file("hello.txt", "hello by TLS\n");
            let world = World::on(driver, rules(server.address(), &authority));
            // Each response ends with its connection: s_server speaks HTTP/1.0.
            for _ in 0..2 {
                let response = world.get("http://web.virtual/hello.txt");
                assert_eq!(response.status, 200, "{version}: {} {}", response.refusal(), response.text());
                assert_eq!(response.text(), "hello by TLS\n", "{version}");
            }
        }
    }

    fn a_kept_connection_by_tls_carries_bodies_both_ways(driver: Driver) {
        let authority = Authority::new();
        let (certificate, key) = authority.issue("nginx", "IP:127.0.0.1");
        let port = adit_tests::net::free_address();
        let server = format!(
            "server {{ listen {port} ssl; ssl_certificate {}; ssl_certificate_key {}; root www; \
             client_max_body_size 0; location /upload/ {{ dav_methods PUT; }} }}",
            certificate.display(),
            key.display()
        );
        let nginx = Nginx::configured("", &server);
        let world = World::on(driver, rules(port, &authority));
        let large = nginx.file("large", 20 << 20);
        let mut connection = world.connect();
        for _ in 0..2 {
            connection.send(world.request("GET", "http://web.virtual/large", "")).unwrap();
            let response = connection.response().unwrap();
            assert_eq!(response.status, 200, "{}", response.refusal());
            assert_eq!(adit_tests::payload::digest_of(response.body.as_slice()).unwrap(), large);
            let length = format!("Content-Length: {}\r\n", response.body.len());
            connection.send(world.request("PUT", "http://web.virtual/upload/x", &length)).unwrap();
            connection.send(&response.body).unwrap();
            let answer = connection.response().unwrap();
            assert!(matches!(answer.status, 201 | 204), "{} {}", answer.line, answer.refusal());
            assert_eq!(nginx.digest("upload/x"), large);
        }
    }

    fn an_opaque_system_may_be_reached_by_tls(driver: Driver) {
        let authority = Authority::new();
        let server = authority.serve(&["-rev"]);
        let rules = Rules::none().opaque("tls", "rev.virtual:4433", server.address(), &ca(&authority));
        let world = World::on(driver, rules);
        let mut stream = socks::connect(world.socks(), world.token(), "rev.virtual", 4433).unwrap();
        // The cloud side speaks plain TCP, the agent TLS.
        for (line, reversed) in [("abc\n", "cba\n"), ("12345\n", "54321\n")] {
            stream.write_all(line.as_bytes()).unwrap();
            let mut back = vec![0; reversed.len()];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, reversed.as_bytes());
        }
    }
}

#[test]
fn a_backend_of_another_authority_is_not_spoken_to() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = right.serve(&["-WWW"]);
    server.file("hello.txt", "hello");
    let world = World::with(rules(server.address(), &wrong));
    let response = world.get("http://web.virtual/hello.txt");
    assert_eq!((response.status, response.refusal()), (502, "backend-tls"));
}

#[test]
fn a_backend_with_a_certificate_for_another_name_is_not_spoken_to() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("other", "DNS:other.example");
    let port = adit_tests::net::free_address();
    let server = format!(
        "server {{ listen {port} ssl; ssl_certificate {}; ssl_certificate_key {}; root www; }}",
        certificate.display(),
        key.display()
    );
    let _nginx = Nginx::configured("", &server);
    let world = World::with(rules(port, &authority));
    let response = world.get("http://web.virtual/1k");
    assert_eq!((response.status, response.refusal()), (502, "backend-tls"));
}

#[test]
fn a_backend_that_speaks_no_tls_is_backend_tls() {
    let plain = Nginx::start();
    let authority = Authority::new();
    let world = World::with(rules(plain.address(), &authority));
    let response = world.get("http://web.virtual/1k");
    assert_eq!((response.status, response.refusal()), (502, "backend-tls"));
}

#[test]
fn a_backend_called_by_its_internal_name_is_told_the_virtual_one_and_its_answers_are_rewritten() {
    let backend = Backend::start(|visit| {
        while let Some(request) = visit.request()? {
            let own = request.field("host").unwrap_or_default().to_owned();
            let name = own.split(':').next().unwrap_or_default();
            visit.send(format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{own}/next?x=1\r\n\
                 Set-Cookie: a=1; Domain={name}; Path=/\r\nSet-Cookie: b=2; Domain=other.example\r\n\
                 Content-Length: 0\r\n\r\n"
            ))?;
        }
        Ok(())
    });
    let internal = backend.address().to_string();
    let all = "path = \"/\"\nscope = \"subtree\"";
    let rules = Rules::none()
        .http_with(
            "in.virtual:8080",
            backend.url(),
            "host_header = \"internal\"",
        )
        .resource(all)
        .http_with("out.virtual:80", backend.url(), "")
        .resource(all);
    let world = World::with(rules);

    let response = world.get("http://in.virtual:8080/start");
    let seen = backend.last();
    assert_eq!(seen.field("host"), Some(internal.as_str()));
    assert_eq!(seen.field("x-forwarded-host"), Some("in.virtual:8080"));
    assert_eq!(response.status, 302, "a redirect is the client's to follow");
    assert_eq!(
        response.field("location"),
        Some("http://in.virtual:8080/next?x=1")
    );
    let cookies: Vec<_> = response.all("set-cookie").collect();
    assert_eq!(
        cookies,
        [
            "a=1; Domain=in.virtual; Path=/",
            "b=2; Domain=other.example"
        ]
    );

    let response = world.get("http://out.virtual/start");
    let seen = backend.last();
    assert_eq!(seen.field("host"), Some("out.virtual"));
    assert_eq!(seen.field("x-forwarded-host"), None);
    assert_eq!(
        response.field("location"),
        Some("http://out.virtual/next?x=1")
    );
}
