//! Streams served under a real tunnel, with scripted backends, on both drivers.

mod bulk;
mod conversations;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use adit_transport::StreamError;

use adit_runtime::shard::{choose, run_here};

use super::*;
use crate::limits::INTERIM_MAX;
use crate::test_world::{
    Answer, Backend, World, all_of, front, http, on_both_drivers, opaque, read_request,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: erp.virtual\r\n\r\n")
}

fn post(body: &str) -> String {
    format!(
        "POST /a HTTP/1.1\r\nhost: erp.virtual\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn rules(backend: &Backend) -> String {
    all_of(&format!("http://{}", backend.address))
}

#[test]
fn a_granted_request_reaches_the_backend_as_it_was_judged() {
    on_both_drivers(async |driver| {
        let (seen, heard) = mpsc::channel();
        let backend = Backend::new(move |_, socket| {
            seen.send(read_request(socket)).unwrap();
            socket.write_all(OK.as_bytes()).unwrap();
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let message = "PUT /a;v=2/b%20c?x=../y HTTP/1.1\r\nhost: ERP.virtual\r\nx-own: 1\r\ncontent-length: 4\r\n\r\nbody";
        let answer = world.ask(message).await;
        assert_eq!(answer.whole(), OK);
        let request = heard.recv().unwrap();
        assert!(
            request.starts_with("PUT /a;v=2/b%20c?x=../y HTTP/1.1\r\nhost: erp.virtual\r\n"),
            "{request}"
        );
        assert!(
            request.contains("x-own: 1\r\n") && request.ends_with("\r\n\r\nbody"),
            "{request}"
        );
    });
}

#[test]
fn what_no_rule_grants_is_refused_and_no_backend_is_asked() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let narrow =
            rules(&backend).replace("path = \"/\"", "path = \"/open\"\nmethods = [\"GET\"]");
        let world = World::new(driver, &narrow, |_| {}).await;
        for (message, reason) in [
            (get("/closed"), "resource-denied"),
            (get("/openly"), "resource-denied"),
            (get("/open/../closed"), "path-ambiguous"),
            (get("/open%2fclosed"), "path-ambiguous"),
            (post("").replace("/a", "/open"), "method-denied"),
        ] {
            assert_eq!(world.ask(&message).await.reason(), reason, "{message}");
        }
        assert_eq!(backend.connections(), 0);
        let denials = world.shard.shared.decisions.denials();
        assert_eq!(denials.len(), 5);
    });
}

#[test]
fn a_head_for_another_host_or_port_than_the_stream_is_refused() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        for message in [
            get("/").replace("erp.virtual", "other.virtual"),
            get("/").replace("erp.virtual", "erp.virtual:81"),
            get("http://erp.virtual/"),
        ] {
            assert_eq!(
                world.ask(&message).await.reason(),
                "host-mismatch",
                "{message}"
            );
        }
        assert_eq!(
            world
                .ask(&get("/").replace("erp.virtual", "ERP.virtual:80"))
                .await
                .whole(),
            OK
        );
    });
}

#[test]
fn s02_a_stream_of_another_subaccount_is_refused_and_told_to_the_operator() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let foreign = front(Protocol::Http, "globex", "erp.virtual", 80, &get("/"));
        let stream = world.open(&foreign, true).await;
        assert_eq!(Answer::read(&stream).await.reason(), "protocol-error");
        let told = world
            .shard
            .shared
            .journal
            .latest("stream-refused")
            .unwrap()
            .message;
        assert!(told.contains("globex") && told.contains("acme"), "{told}");
        assert_eq!(backend.connections(), 0);
    });
}

#[test]
fn bytes_that_are_no_connect_request_are_refused() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let stream = world.open(b"GET / HTTP/1.1\r\n\r\n", true).await;
        assert_eq!(Answer::read(&stream).await.reason(), "protocol-error");
    });
}

#[test]
fn without_rules_nothing_is_granted() {
    on_both_drivers(async |driver| {
        let world = World::new(driver, "", |_| {}).await;
        world.shard.shared.in_force.store(None);
        assert_eq!(world.ask(&get("/")).await.reason(), "no-snapshot");
    });
}

#[test]
fn a_connection_that_came_back_clean_is_used_again() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        for _ in 0..3 {
            assert_eq!(world.ask(&get("/")).await.whole(), OK);
        }
        assert_eq!(backend.connections(), 1);
    });
}

#[test]
fn h06_a_connection_with_bytes_behind_its_answer_is_never_used_again() {
    on_both_drivers(async |driver| {
        for dirty in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        ] {
            let backend = Backend::answering(dirty);
            let world = World::new(driver, &rules(&backend), |_| {}).await;
            for _ in 0..2 {
                assert!(
                    world
                        .ask(&get("/"))
                        .await
                        .whole()
                        .ends_with("\r\n\r\nhello")
                );
            }
            assert_eq!(backend.connections(), 2, "{dirty}");
        }
    });
}

#[test]
fn h06_an_answer_that_nobody_asked_for_is_nobodys_answer() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            read_request(socket);
            socket.write_all(OK.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            // After its answer was carried away, while the connection is kept.
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
            read_request(socket);
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        adit_runtime::timer::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        assert_eq!(backend.connections(), 2);
    });
}

// The first connection answers once and then closes on the next request, as a backend does whose own
// idle limit strikes just then.
fn forgetful() -> Backend {
    Backend::new(|number, socket| {
        read_request(socket);
        socket.write_all(OK.as_bytes()).unwrap();
        read_request(socket);
        if number > 0 {
            socket.write_all(OK.as_bytes()).unwrap();
            read_request(socket);
        }
    })
}

#[test]
fn r12_a_get_on_a_kept_connection_that_dies_is_sent_again() {
    on_both_drivers(async |driver| {
        let backend = forgetful();
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        assert_eq!(backend.connections(), 2);
    });
}

#[test]
fn r12_a_post_on_a_kept_connection_that_dies_is_not_sent_twice() {
    on_both_drivers(async |driver| {
        let backend = forgetful();
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        assert_eq!(world.ask(&post("x")).await.reason(), "backend-reset");
        assert_eq!(backend.connections(), 1);
    });
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_is_noticed_before_a_post_is_sent() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            read_request(socket);
            socket.write_all(OK.as_bytes()).unwrap();
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        assert_eq!(world.ask(&post("x")).await.whole(), OK);
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.ask(&post("x")).await.whole(), OK);
        assert_eq!(backend.connections(), 2);
    });
}

#[test]
fn r12_each_way_to_fail_has_its_reason() {
    on_both_drivers(async |driver| {
        for (script, reason) in [
            ("HTP/1.1 200 OK\r\n\r\n", "backend-malformed"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
                "backend-malformed",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
                "backend-malformed",
            ),
            (
                "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
                "backend-malformed",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-le", "backend-reset"),
            ("", "backend-reset"),
        ] {
            let backend = Backend::new(move |_, socket| {
                read_request(socket);
                socket.write_all(script.as_bytes()).unwrap();
            });
            let world = World::new(driver, &rules(&backend), |_| {}).await;
            assert_eq!(world.ask(&get("/")).await.reason(), reason, "{script:?}");
        }
    });
}

#[test]
fn r12_a_backend_that_is_not_there_or_does_not_answer_has_its_reason() {
    on_both_drivers(async |driver| {
        let gone = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let world = World::new(driver, &all_of(&format!("http://{gone}")), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.reason(), "backend-refused");
        let told = world
            .shard
            .shared
            .journal
            .latest("backend")
            .unwrap()
            .message;
        assert!(
            told.contains("erp.virtual: backend-refused: ") && told.contains(&gone.to_string()),
            "{told}"
        );

        let world = World::new(driver, &all_of("http://does-not-exist.invalid:80"), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.reason(), "backend-dns");

        let silent = Backend::new(|_, socket| {
            read_request(socket);
            std::thread::sleep(Duration::from_secs(5));
        });
        let world = World::new(driver, &rules(&silent), |backend| {
            backend.answer_timeout = Duration::from_millis(100);
        })
        .await;
        let started = Instant::now();
        assert_eq!(world.ask(&get("/")).await.reason(), "backend-silent");
        assert!(started.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn an_answer_that_is_cut_resets_the_stream_and_is_never_whole() {
    on_both_drivers(async |driver| {
        for cut in [
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            let backend = Backend::new(move |_, socket| {
                read_request(socket);
                socket.write_all(cut.as_bytes()).unwrap();
            });
            let world = World::new(driver, &rules(&backend), |_| {}).await;
            let answer = world.ask(&get("/")).await;
            assert_eq!(answer.end, Err(StreamError::Reset), "{cut:?}");
            assert_eq!(answer.text, *cut, "what came before is not lost");
        }
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            read_request(socket);
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            socket.write_all(&[b'x'; 100_000]).unwrap();
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let answer = world.ask(&get("/")).await;
        let body = answer
            .whole()
            .strip_prefix("HTTP/1.1 200 OK\r\n\r\n")
            .unwrap();
        assert_eq!(body.len(), 100_000);
    });
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        for _ in 0..2 {
            let answer = world.ask(&get("/").replace("GET", "HEAD")).await;
            assert_eq!(
                answer.whole(),
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
            );
        }
        assert_eq!(backend.connections(), 1);
    });
}

#[test]
fn interim_answers_pass_and_a_flood_of_them_does_not() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        );
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        assert_eq!(
            world.ask(&get("/")).await.whole(),
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}"
            )
        );
        let flood = Backend::new(|_, socket| {
            read_request(socket);
            while socket.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
        });
        let world = World::new(driver, &rules(&flood), |_| {}).await;
        assert_eq!(world.ask(&get("/")).await.end, Err(StreamError::Reset));
    });
}

#[test]
fn thirty_two_interim_answers_pass_and_one_more_is_a_backend_that_never_ends() {
    assert_eq!(INTERIM_MAX, 32);
    on_both_drivers(async |driver| {
        for (count, is_whole) in [(INTERIM_MAX, true), (INTERIM_MAX + 1, false)] {
            let backend = Backend::new(move |_, socket| {
                read_request(socket);
                for _ in 0..count {
                    let _ = socket.write_all(b"HTTP/1.1 102 Processing\r\n\r\n");
                }
                let _ = socket.write_all(OK.as_bytes());
            });
            let world = World::new(driver, &rules(&backend), |_| {}).await;
            let answer = world.ask(&get("/")).await;
            if is_whole {
                assert_eq!(answer.whole().matches(" 102 ").count(), 32);
                assert!(answer.whole().ends_with(OK));
            } else {
                assert_eq!(answer.end, Err(StreamError::Reset));
                assert!(!answer.text.contains("hello"), "{}", answer.text);
            }
        }
    });
}

#[test]
fn a_streams_front_has_ten_seconds_and_is_refused_then() {
    assert_eq!(OPENING_WAIT, Duration::from_secs(10));
    // On one driver: it takes those ten seconds.
    let driver = choose(None).unwrap().driver;
    run_here(driver, async {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let whole = http("erp.virtual", 80, &get("/"));
        let (begun, last) = whole.split_at(whole.len() - 1);
        let started = Instant::now();
        let slow = world.open(begun, false).await;
        let stuck = world.open(begun, false).await;
        adit_runtime::timer::sleep(OPENING_WAIT - Duration::from_secs(1)).await;
        slow.send_bytes(last, true).await.unwrap();
        assert_eq!(Answer::read(&slow).await.whole(), OK);
        assert_eq!(Answer::read(&stuck).await.reason(), "header-timeout");
        let waited = started.elapsed();
        assert!(
            waited >= OPENING_WAIT && waited < OPENING_WAIT + Duration::from_secs(5),
            "{waited:?}"
        );
    })
    .unwrap();
}

#[test]
fn a_large_body_goes_up_and_down_at_once() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            let head = read_head(socket);
            assert!(head.contains("content-length: 3000000"), "{head}");
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n")
                .unwrap();
            let mut left = 3_000_000;
            let mut chunk = vec![0; 50_000];
            while left > 0 {
                let n = socket.read(&mut chunk).unwrap();
                assert_ne!(n, 0);
                socket.write_all(&chunk[..n]).unwrap();
                left -= n;
            }
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let body: Vec<u8> = (0..3_000_000_u32)
            .map(|n| b'a' + u8::try_from(n % 23).unwrap())
            .collect();
        let head = "PUT /a HTTP/1.1\r\nhost: erp.virtual\r\ncontent-length: 3000000\r\n\r\n";
        let stream = world.open(&http("erp.virtual", 80, head), false).await;
        let (sent, answer) =
            adit_runtime::local::both(stream.send_bytes(&body, true), Answer::read(&stream)).await;
        sent.unwrap();
        let echoed = answer.whole().split_once("\r\n\r\n").unwrap().1;
        assert!(echoed.as_bytes() == body, "bytes differ");
    });
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut one = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut one).unwrap();
        head.push(one[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn an_early_answer_arrives_whole_and_its_connection_is_not_used_again() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|number, socket| {
            read_head(socket);
            if number == 0 {
                socket
                    .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
                    .unwrap();
                std::thread::sleep(Duration::from_millis(200));
            } else {
                socket.write_all(OK.as_bytes()).unwrap();
            }
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let head = "PUT /a HTTP/1.1\r\nhost: erp.virtual\r\ncontent-length: 1000000\r\n\r\n";
        let stream = world.open(&http("erp.virtual", 80, head), false).await;
        let answer = Answer::read(&stream).await;
        assert!(answer.whole().ends_with("\r\n\r\nbig"));
        drop(stream);
        assert_eq!(world.ask(&get("/")).await.whole(), OK);
        assert_eq!(backend.connections(), 2);
    });
}

#[test]
fn m06_a_request_that_is_given_up_frees_its_backend_within_100_ms() {
    on_both_drivers(async |driver| {
        let (tell, told) = mpsc::channel();
        let backend = Backend::new(move |_, socket| {
            read_request(socket);
            tell.send(Instant::now()).unwrap();
            let mut one = [0];
            // Ends when the agent closes.
            let _ = socket.read(&mut one);
            tell.send(Instant::now()).unwrap();
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let stream = world.open(&http("erp.virtual", 80, &get("/")), true).await;
        while told.try_recv().is_err() {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
        let given_up = Instant::now();
        stream.reset();
        let freed = loop {
            match told.try_recv() {
                Ok(freed) => break freed,
                Err(_) => adit_runtime::timer::sleep(Duration::from_millis(1)).await,
            }
        };
        assert!(
            freed - given_up < Duration::from_millis(100),
            "{:?}",
            freed - given_up
        );
        assert_eq!(world.shard.live.count(), 0);
    });
}

#[test]
fn the_backend_names_itself_and_the_caller_hears_the_virtual_name() {
    on_both_drivers(async |driver| {
        let (seen, heard) = mpsc::channel();
        let backend = Backend::new(move |_, socket| {
            let own = socket.local_addr().unwrap();
            seen.send(read_request(socket)).unwrap();
            let answer = format!(
                "HTTP/1.1 302 Found\r\nlocation: http://{own}/next\r\nset-cookie: a=b; Domain={}\r\n\
                 content-length: 0\r\n\r\n",
                own.ip()
            );
            socket.write_all(answer.as_bytes()).unwrap();
        });
        let internal = rules(&backend).replace(
            "allow_loopback",
            "host_header = \"internal\"\nallow_loopback",
        );
        let world = World::new(driver, &internal, |_| {}).await;
        let answer = world.ask(&get("/")).await;
        let text = answer.whole();
        assert!(
            text.contains("location: http://erp.virtual/next\r\n"),
            "{text}"
        );
        assert!(text.contains("Domain=erp.virtual\r\n"), "{text}");
        let request = heard.recv().unwrap();
        assert!(
            request.contains(&format!("host: {}\r\n", backend.address)),
            "{request}"
        );
        assert!(
            request.contains("x-forwarded-host: erp.virtual\r\n"),
            "{request}"
        );
    });
}

#[test]
fn a_request_without_answer_that_new_rules_do_not_grant_is_told_so() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            read_request(socket);
            read_request(socket);
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let stream = world.open(&http("erp.virtual", 80, &get("/")), true).await;
        while world.shard.live.count() == 0 {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
        world.push(2, "").await;
        assert_eq!(Answer::read(&stream).await.reason(), "permit-withdrawn");
    });
}

#[test]
fn every_cut_of_a_streams_front_is_read_the_same() {
    let bytes = http("erp.virtual", 80, &get("/a"));
    for cut in 0..bytes.len() {
        assert!(Opening::parse(&bytes[..cut]).unwrap().is_none(), "{cut}");
    }
    let opening = Opening::parse(&bytes).unwrap().unwrap();
    let asked = Asked {
        front: bytes,
        opening,
    };
    assert_eq!(
        asked.request().unwrap().to_string(),
        "GET http://erp.virtual:80/a"
    );
}
