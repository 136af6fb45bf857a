//! S-11: the SOCKS5 door and every way to begin badly.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, net, socks, until};

fn world() -> (World, Backend) {
    let echo = Backend::echo();
    let rules = Rules::none()
        .tcp("echo.virtual:7", echo.address())
        .tcp("10.1.2.3:7", echo.address());
    let world = World::builder()
        .rules(rules)
        .gateway(|config| {
            config.text("socks5.negotiation_timeout", "2s");
        })
        .start();
    (world, echo)
}

// Sends `bytes` and the end, and gives back all that comes.
fn told(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = net::connect(world.socks()).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    net::read_to_close(&mut stream).unwrap()
}

// A whole negotiation in one write, as a client would send it that does not wait.
fn negotiation(token: &str, request: &[u8]) -> Vec<u8> {
    [&[5, 1, 0x80], socks::jwt(token, "").as_slice(), request].concat()
}

#[test]
fn s11_a_negotiation_cut_after_each_byte_hurts_nobody() {
    let (mut world, echo) = world();
    let whole = negotiation(world.token(), &socks::request("echo.virtual", 7).unwrap());
    assert!(whole.len() > 100);
    for cut in 0..whole.len() {
        let answer = told(&world, &whole[..cut]);
        // Whatever was said, it was not "connected".
        assert!(answer.len() <= 4, "cut at {cut}: {answer:02x?}");
    }
    assert_eq!(echo.accepted(), 0);
    assert!(world.gateway.process().ended().is_none());
    // The whole of it works, also when it comes one byte at a time.
    let mut stream = net::connect(world.socks()).unwrap();
    for byte in &whole {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(b"ping").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = net::read_to_close(&mut stream).unwrap();
    assert_eq!(&answer[..6], [5, 0x80, 1, 0, 5, 0]);
    assert!(answer.ends_with(b"ping"), "{answer:02x?}");
    until("nothing is left open", SOON, || {
        world
            .gateway
            .admin()
            .metric("gateway_connections", &[("door", "socks5")])
            < 0.5
    });
}

#[test]
fn s11_what_is_no_socks5_is_answered_with_the_documented_code_or_nothing() {
    let (world, echo) = world();
    let token = world.token();
    let asking = |request: &[u8]| negotiation(token, request);
    let name = |bytes: &[u8]| {
        let mut request = vec![5, 1, 0, 3, u8::try_from(bytes.len()).unwrap()];
        request.extend(bytes);
        request.extend([0, 7]);
        asking(&request)
    };
    let authenticated: &[u8] = &[5, 0x80, 1, 0];
    let reply = |code: u8| [authenticated, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let method = [5, 0x80].to_vec();
    let no_method = [5, 0xff].to_vec();
    let large = [&[5, 1, 0x80, 1][..], &u32::MAX.to_be_bytes(), &[b'A'; 100]].concat();
    let empty = [&[5, 1, 0x80, 1][..], &0_u32.to_be_bytes(), &[0]].concat();
    let mut bad_location = [&[5, 1, 0x80][..], &socks::jwt(token, "")].concat();
    bad_location.pop();
    bad_location.extend([3, b'!', b'!', b'!']);
    let cases: [(&str, Vec<u8>, Vec<u8>); 20] = [
        ("version 4", vec![4, 1, 0, 80], vec![]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]),
        ("no methods", vec![5, 0], no_method.clone()),
        ("only no authentication", vec![5, 1, 0], no_method.clone()),
        ("only GSSAPI", vec![5, 1, 1], no_method.clone()),
        (
            "255 methods without ours",
            [&[5, 255][..], &[1; 255]].concat(),
            no_method,
        ),
        (
            "a token of 4 GiB",
            large,
            [method.clone(), vec![1, 1]].concat(),
        ),
        (
            "an empty token",
            empty,
            [method.clone(), vec![1, 1]].concat(),
        ),
        (
            "a bad token",
            negotiation("a.b.c", &[]),
            [method.clone(), vec![1, 1]].concat(),
        ),
        (
            "a location that is no base64",
            bad_location,
            [method, vec![1, 1]].concat(),
        ),
        ("BIND", asking(&[5, 2, 0, 3, 1, b'a', 0, 7]), reply(7)),
        ("UDP", asking(&[5, 3, 0, 3, 1, b'a', 0, 7]), reply(7)),
        (
            "IPv6",
            asking(&[&[5, 1, 0, 4][..], &[0; 16], &[0, 7]].concat()),
            reply(8),
        ),
        ("address type 2", asking(&[5, 1, 0, 2, 0, 0]), reply(8)),
        ("an empty name", name(b""), reply(8)),
        ("a name with NUL", name(b"echo\0virtual"), reply(8)),
        ("a name of 255 bytes", name(&[b'a'; 255]), reply(8)),
        ("an IPv6 address as name", name(b"[::1]"), reply(8)),
        ("port 0", asking(&[5, 1, 0, 3, 1, b'a', 0, 0]), reply(8)),
        (
            "version 4 in the request",
            asking(&[4, 1, 0, 3, 1, b'a', 0, 7]),
            reply(1),
        ),
    ];
    for (name, bytes, answer) in cases {
        let said = told(&world, &bytes);
        // In failures of authentication the second byte may be any but 0.
        let normal = if said.len() == 4 && said[2] == 1 && said[3] != 0 {
            [&said[..3], &[1]].concat()
        } else {
            said
        };
        assert_eq!(normal, answer, "{name}");
    }
    assert_eq!(echo.accepted(), 0);
    let counted = |reason| {
        let metrics = world.gateway.admin();
        metrics.metric("gateway_refused_total", &[("reason", reason)])
    };
    // Two commands that are not CONNECT, two kinds of address that are neither a name nor IPv4.
    assert_eq!(
        [
            counted("command-unsupported"),
            counted("address-unsupported")
        ],
        [2.0, 2.0]
    );
    // An IPv4 address in its own form is a virtual host like any other.
    let said = told(&world, &asking(&[5, 1, 0, 1, 10, 1, 2, 3, 0, 7]));
    assert_eq!(&said[..6], [5, 0x80, 1, 0, 5, 0], "{said:02x?}");
}

#[test]
fn s11_more_than_is_asked_for_is_the_conversation_and_no_second_request() {
    let (world, echo) = world();
    let request = socks::request("echo.virtual", 7).unwrap();
    let twice = [negotiation(world.token(), &request), request.clone()].concat();
    let mut stream = net::connect(world.socks()).unwrap();
    stream.write_all(&twice).unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(socks::reply(&mut stream).unwrap(), 0);
    let mut echoed = vec![0; request.len()];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, request);
    assert_eq!(echo.accepted(), 1);
}

#[test]
fn s11_a_token_promised_and_never_sent_ends_at_the_deadline() {
    let (world, _echo) = world();
    let mut stream = net::connect(world.socks()).unwrap();
    stream.write_all(&[5, 1, 0x80, 1, 0, 0, 0x40, 0]).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(net::read_to_close(&mut stream).unwrap(), [5, 0x80]);
    assert!(started.elapsed() < Duration::from_secs(10));
}
