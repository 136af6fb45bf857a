//! The door at its limits: who is slow with a handshake or a head. Time stands still, and the line is in memory.

use std::future::Future;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, advance, pause, resume};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::hub::test_world::World;

const MOMENT: Duration = Duration::from_millis(50);
/// Bytes that are on the line at most.
const LINE_BYTES: usize = 64 * 1024;

/// A door, a line to it, and the connection that it has accepted.
struct Called {
    world: World,
    line: DuplexStream,
    served: tokio::task::JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

async fn call() -> Called {
    let world = World::new(1).await;
    let (life, parts) = (Arc::clone(&world.parts.life), Arc::clone(&world.parts));
    let door = Door::new("cp-1", &["localhost".to_owned()], None, life, parts).unwrap();
    let (line, far) = duplex(LINE_BYTES);
    let (stop, stopped) = watch::channel(false);
    pause();
    let source = SocketAddr::from(([127, 0, 0, 1], 1));
    let served = tokio::spawn(async move { door.converse(far, source, stopped).await });
    Called {
        world,
        line,
        served,
        _stop: stop,
    }
}

async fn shake(world: &World, line: DuplexStream, alpn: &[&str]) -> TlsStream<DuplexStream> {
    let mut roots = RootCertStore::empty();
    for root in certificates(world.parts.life.roots_pem().as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, line).await.unwrap()
}

/// How long something took; it ends within minutes in any case.
async fn took(what: impl Future) -> Duration {
    let begun = Instant::now();
    let _ = timeout(Duration::from_secs(600), what).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_handshake_that_comes_in_time_is_taken_and_one_that_does_not_is_not_waited_for() {
    let called = call().await;
    advance(HANDSHAKE_LIMIT - MOMENT).await;
    let mut stream = shake(&called.world, called.line, &["http/1.1"]).await;
    stream
        .write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{answer:?}");

    resume();
    let called = call().await;
    let silent = took(called.served).await;
    assert!((HANDSHAKE_LIMIT..HANDSHAKE_LIMIT + MOMENT).contains(&silent));
    drop(called.line);
}

#[tokio::test]
async fn a_head_that_comes_in_time_is_answered_and_one_that_does_not_is_not_waited_for() {
    let first = b"GET /nothing HTTP/1.1\r\nhost: loc";
    let called = call().await;
    let mut stream = shake(&called.world, called.line, &["http/1.1"]).await;
    stream.write_all(first).await.unwrap();
    timeout(HEAD_LIMIT - MOMENT, std::future::pending::<()>())
        .await
        .unwrap_err();
    stream
        .write_all(b"alhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{answer:?}");

    resume();
    let called = call().await;
    let mut stream = shake(&called.world, called.line, &["http/1.1"]).await;
    stream.write_all(first).await.unwrap();
    let waited = took(called.served).await;
    assert!((HEAD_LIMIT - MOMENT..HEAD_LIMIT + MOMENT).contains(&waited));
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_is_not_waited_for_longer_than_for_a_head() {
    for (alpn, said) in [
        (&[][..], ""),
        (&["http/1.1"][..], ""),
        (&["http/1.1"][..], "G"),
        (&["h2"][..], ""),
        (&["h2"][..], "PRI * HTTP/2.0"),
    ] {
        let called = call().await;
        let mut stream = shake(&called.world, called.line, alpn).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let waited = took(called.served).await;
        assert!(waited < HEAD_LIMIT + MOMENT, "{alpn:?} {said:?} {waited:?}");
        resume();
    }
}

#[tokio::test]
async fn who_begins_http2_and_then_says_nothing_is_asked_whether_it_lives_and_let_go() {
    let called = call().await;
    let mut stream = shake(&called.world, called.line, &["h2"]).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let waited = took(called.served).await;
    assert!(waited < KEEP_ALIVE * 3, "{waited:?}");
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "it was taken for HTTP/2");
}
