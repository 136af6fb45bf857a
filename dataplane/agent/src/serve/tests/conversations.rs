//! Opaque conversations, and those that begin with an upgrade.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use adit_transport::StreamError;

use super::*;

#[test]
fn an_upgrade_that_the_backend_takes_becomes_a_conversation() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            let request = read_request(socket);
            assert!(request.contains("upgrade: websocket\r\n"), "{request}");
            socket
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi")
                .unwrap();
            let mut said = [0; 4];
            socket.read_exact(&mut said).unwrap();
            socket.write_all(&said).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).unwrap();
        });
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let message = "GET /chat HTTP/1.1\r\nhost: erp.virtual\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let stream = world.open(&http("erp.virtual", 80, message), false).await;
        // The client speaks once it has heard the answer; our stream carries it all the same.
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        stream.send_bytes(b"ping", true).await.unwrap();
        let answer = Answer::read(&stream).await;
        let text = answer.whole();
        assert!(
            text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\nhiping"),
            "{text}"
        );
    });
}

#[test]
fn an_upgrade_that_the_backend_declines_is_an_ordinary_answer() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering(OK);
        let world = World::new(driver, &rules(&backend), |_| {}).await;
        let message = "GET /chat HTTP/1.1\r\nhost: erp.virtual\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let stream = world.open(&http("erp.virtual", 80, message), false).await;
        assert_eq!(Answer::read(&stream).await.whole(), OK);
        let denied = rules(&backend).replace("upgrade = true", "");
        world.push(2, &denied).await;
        assert_eq!(world.ask(message).await.reason(), "upgrade-denied");
    });
}

#[test]
fn a_conversation_passes_both_ways_and_half_closes() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            let mut all = Vec::new();
            socket.read_to_end(&mut all).unwrap();
            all.reverse();
            socket.write_all(&all).unwrap();
        });
        let world = World::new(
            driver,
            &opaque("tcp", &backend.address.to_string(), ""),
            |_| {},
        )
        .await;
        // "abc" comes with the connect request, the rest later.
        let stream = world
            .open(
                &front(Protocol::Tcp, "acme", "db.virtual", 5432, "abc"),
                false,
            )
            .await;
        stream.send_bytes(b"def", true).await.unwrap();
        assert_eq!(Answer::read(&stream).await.whole(), "fedcba");
        let message = get("/").replace("erp.virtual", "db.virtual:5432");
        let http_on_tcp = world.open(&http("db.virtual", 5432, &message), true).await;
        assert_eq!(Answer::read(&http_on_tcp).await.reason(), "resource-denied");
        let unknown = world
            .open(&front(Protocol::Tcp, "acme", "db.virtual", 5433, ""), false)
            .await;
        assert_eq!(Answer::read(&unknown).await.reason(), "port-denied");
    });
}

#[test]
fn a_conversation_that_new_rules_do_not_grant_ends_at_once() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest);
        });
        let tcp = opaque("tcp", &backend.address.to_string(), "");
        let world = World::new(driver, &tcp, |_| {}).await;
        let stream = world
            .open(
                &front(Protocol::Tcp, "acme", "db.virtual", 5432, "x"),
                false,
            )
            .await;
        while backend.connections() == 0 || world.shard.live.count() == 0 {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        world.push(2, &tcp).await;
        assert_eq!(
            world.shard.live.count(),
            1,
            "the same rules again change nothing"
        );
        let pushed = Instant::now();
        world.push(3, "").await;
        let answer = Answer::read(&stream).await;
        assert_eq!(
            (answer.verdict, answer.end),
            (Some(Response::Accepted), Err(StreamError::Reset))
        );
        assert!(pushed.elapsed() < Duration::from_secs(1));
    });
}
