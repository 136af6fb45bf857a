//! TCP systems: by CONNECT, by SOCKS5 with the token as password, and by SAP's method 0x80.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use adit_tests::curl::Curl;
use adit_tests::payload::Noise;
use adit_tests::redis::Redis;
use adit_tests::{Backend, Rules, World, net, on_both_drivers, socks};

fn ping(stream: &mut TcpStream) {
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

on_both_drivers! {
    fn curl_reaches_redis_by_socks_with_the_token_as_password(driver: Driver) {
        let redis = Redis::start();
        let world = World::on(driver, Rules::none().tcp("redis.virtual:6379", redis.address()));
        let door = world.socks().to_string();
        let user = format!(":{}", world.token());
        let args = ["--socks5-hostname", &door, "-U", &user, "telnet://redis.virtual:6379"];
        let outcome = Curl::new(&args).run_with(b"SET k hello\r\nGET k\r\nQUIT\r\n");
        assert_eq!(outcome.text(), "+OK\r\n$5\r\nhello\r\n+OK\r\n", "{:?} {}", outcome.code, outcome.stderr);
    }

    fn sap_clients_reach_redis_by_method_0x80(driver: Driver) {
        let redis = Redis::start();
        let rules = Rules::none().tcp("redis.virtual:6379", redis.address());
        let mut world = World::on(driver, rules.clone());
        world.add_agent("acme", "loc-1", "agent-loc-1", &rules);
        for location in ["", "loc-1"] {
            let (code, mut stream) =
                socks::connect_jwt(world.socks(), world.token(), location, "redis.virtual", 6379).unwrap();
            assert_eq!(code, 0, "location {location:?}");
            ping(&mut stream);
        }
    }

    fn connect_on_the_http_door_reaches_a_tcp_system(driver: Driver) {
        let redis = Redis::start();
        let world = World::on(driver, Rules::none().tcp("redis.virtual:6379", redis.address()));
        let mut connection = world.connect();
        let credentials = world.credentials();
        connection
            .send(format!("CONNECT redis.virtual:6379 HTTP/1.1\r\nHost: redis.virtual:6379\r\n{credentials}\r\n"))
            .unwrap();
        let head = connection.head().unwrap();
        assert_eq!(head.status, 200, "{}", head.line);
        // RFC 9110, section 9.3.6: no framing in a 2xx to CONNECT.
        assert_eq!((head.field("content-length"), head.field("transfer-encoding")), (None, None));
        ping(&mut connection.stream().try_clone().unwrap());
    }

    fn bytes_of_both_ends_arrive_also_after_a_half_close(driver: Driver) {
        let echo = Backend::echo();
        let world = World::on(driver, Rules::none().tcp("echo.virtual:7", echo.address()));
        for size in [0, 1, 100_000, 3_000_000] {
            let mut stream = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
            let sent = Noise::new(9).bytes(size);
            let mut writer = stream.try_clone().unwrap();
            let all = sent.clone();
            let writing = std::thread::spawn(move || {
                writer.write_all(&all).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let back = net::read_to_close(&mut stream).unwrap();
            writing.join().unwrap();
            assert_eq!(back.len(), size);
            assert!(back == sent, "{size} bytes came back changed");
        }
    }
}

#[test]
fn what_the_backend_says_first_and_last_arrives() {
    // A greeting before the client says a word, and a farewell after it has ended.
    let backend = Backend::start(|visit| {
        visit.send("220 ready\r\n")?;
        while !visit.some()?.is_empty() {}
        visit.send("221 bye\r\n")
    });
    let world = World::with(Rules::none().tcp("smtp.virtual:25", backend.address()));
    let mut stream = socks::connect(world.socks(), world.token(), "smtp.virtual", 25).unwrap();
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(net::read_to_close(&mut stream).unwrap(), b"221 bye\r\n");
}

#[test]
fn curl_opens_a_tunnel_through_the_http_door() {
    let redis = Redis::start();
    let world = World::with(Rules::none().tcp("redis.virtual:6379", redis.address()));
    let proxy = format!("http://{}", world.http());
    let authorization = format!("Proxy-Authorization: Bearer {}", world.token());
    let args = [
        "-p",
        "-x",
        &proxy,
        "--proxy-header",
        &authorization,
        "telnet://redis.virtual:6379",
    ];
    let outcome = Curl::new(&args).run_with(b"PING\r\nQUIT\r\n");
    assert_eq!(
        outcome.text(),
        "+PONG\r\n+OK\r\n",
        "{:?} {}",
        outcome.code,
        outcome.stderr
    );
}

#[test]
fn a_port_range_keeps_its_order() {
    let servers: Vec<_> = (0..2).map(|_| Backend::echo()).collect();
    let port = servers[0].address().port();
    // Two ports in a row cannot be asked of the system; a range of one is a range, too.
    let rules = Rules::none().tcp("db.virtual:5432-5432", format!("127.0.0.1:{port}-{port}"));
    let world = World::with(rules);
    let mut stream = socks::connect(world.socks(), world.token(), "db.virtual", 5432).unwrap();
    stream.write_all(b"x").unwrap();
    let mut back = [0; 1];
    stream.read_exact(&mut back).unwrap();
    let error = socks::connect(world.socks(), world.token(), "db.virtual", 5433).unwrap_err();
    assert_eq!(error.to_string(), "reply 2");
}

#[test]
fn socks_says_no_with_the_documented_codes() {
    let echo = Backend::echo();
    let http = Backend::mirror();
    let rules = Rules::none()
        .tcp("echo.virtual:7", echo.address())
        .tcp("gone.virtual:7", Backend::refusing())
        .http("web.virtual:80", http.url());
    let world = World::with(rules);
    let ask = |location: &str, host: &str, port| {
        socks::connect_jwt(world.socks(), world.token(), location, host, port)
            .map(|(code, _)| code)
            .unwrap()
    };
    assert_eq!(ask("", "echo.virtual", 7), 0);
    assert_eq!(ask("", "nowhere.virtual", 7), 2, "no such system");
    assert_eq!(ask("", "echo.virtual", 8), 2, "no such port");
    assert_eq!(ask("", "web.virtual", 80), 2, "not an opaque system");
    assert_eq!(ask("elsewhere", "echo.virtual", 7), 3, "no agent there");
    assert_eq!(ask("", "gone.virtual", 7), 4, "the backend refuses");
    let error = socks::connect(world.socks(), "not.a.token", "echo.virtual", 7).unwrap_err();
    assert!(error.to_string().starts_with("token "), "{error}");
}

#[test]
fn connect_to_an_http_system_is_405_and_to_an_unknown_one_403() {
    let http = Backend::mirror();
    let echo = Backend::echo();
    let rules = Rules::none()
        .http("web.virtual:80", http.url())
        .tcp("echo.virtual:7", echo.address());
    let world = World::with(rules);
    let credentials = world.credentials();
    let connect = |target: &str, credentials: &str| {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n");
        let response = world.exchange(request).unwrap();
        (response.status, response.refusal().to_owned())
    };
    assert_eq!(
        connect("web.virtual:80", &credentials),
        (405, "method-unsupported".to_owned())
    );
    assert_eq!(
        connect("nowhere.virtual:1", &credentials),
        (403, "system-unknown".to_owned())
    );
    // What SAP's clients send for https:// targets: no token at all.
    assert_eq!(
        connect("web.virtual:443", ""),
        (405, "method-unsupported".to_owned())
    );
    // And the other way round: HTTP to an opaque system.
    let response = world.get("http://echo.virtual:7/");
    assert_eq!(response.status, 403, "{}", response.refusal());
    assert_eq!((http.accepted(), echo.accepted()), (0, 0));
}
