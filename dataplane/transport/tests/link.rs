//! A tunnel between two links on one shard, over loopback, on both drivers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use adit_proto::hello::{Hello, Welcome};
use adit_runtime::buffer::{Class, lent};
use adit_runtime::housekeeping::Housekeeping;
use adit_runtime::local::both;
use adit_runtime::resolve::Resolver;
use adit_runtime::shard::{Driver, choose, run_here};
use adit_transport::dial::Dialler;
use adit_transport::listen::{Listener, bind};
use adit_transport::socket::Leg;
use adit_transport::{Ending, Link, Received, StreamError, accept};

struct World {
    agent: Rc<Link>,
    gateway: Rc<Link>,
}

fn certificates() -> (adit_tls::ClientSettings, adit_tls::ServerSettings) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let issue = |uri: &str, usage: rcgen::ExtendedKeyUsagePurpose| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        leaf.extended_key_usages = vec![usage];
        let pem = leaf.signed_by(&key, &issuer).unwrap().pem();
        adit_tls::Credentials::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    let roots = adit_tls::Roots::from_pem(ca_pem.as_bytes()).unwrap();
    (
        adit_tls::client(
            &issue(
                "spiffe://adit.local/subaccount/acme/agent/a1",
                rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            ),
            &roots,
        )
        .unwrap(),
        adit_tls::server(
            &issue(
                "spiffe://adit.local/gateway/gw",
                rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            ),
            &roots,
        )
        .unwrap(),
    )
}

async fn world(driver: Driver) -> World {
    let (client, server) = certificates();
    let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    let listener = Listener::new(listener, driver, Leg::Tunnel).unwrap();
    let housekeeping = Housekeeping::start("test").unwrap();
    let dialler = Dialler {
        tls: std::sync::Arc::new(arc_swap::ArcSwap::from_pointee(client)),
        mux: adit_mux::Settings::default(),
        resolver: Resolver::new(housekeeping),
        proxy: None,
        connect_limit: Duration::from_secs(5),
    };
    let hello = Hello {
        version: 1,
        features: 0,
        location: "berlin".to_owned(),
        instance: [7; 16],
        software: "test".to_owned(),
    };
    let (gateway, agent) = both(
        async {
            let (socket, _) = listener.accept(|e| panic!("{e}")).await;
            let admitted = accept::open(
                &socket,
                &server,
                adit_mux::Settings::default(),
                Duration::from_secs(5),
                |identity, hello| {
                    assert_eq!(
                        identity.id.to_string(),
                        "spiffe://adit.local/subaccount/acme/agent/a1"
                    );
                    assert_eq!(hello.location, "berlin");
                    Ok(Welcome {
                        version: 1,
                        features: 0,
                        gateway: "gw".to_owned(),
                        shard: 0,
                        shards: 1,
                    })
                },
            )
            .await
            .unwrap();
            Link::start(admitted.tunnel, socket, admitted.leftover)
        },
        async {
            let (socket, admitted) = dialler
                .dial("127.0.0.1", address.port(), hello)
                .await
                .unwrap();
            Link::start(admitted.tunnel, socket, admitted.leftover)
        },
    )
    .await;
    World { agent, gateway }
}

fn on_both_drivers(test: impl AsyncFn(World)) {
    for driver in [choose(None).unwrap().driver, Driver::Epoll] {
        run_here(driver, async {
            let world = world(driver).await;
            adit_runtime::timer::timeout(Duration::from_secs(60), test(world))
                .await
                .expect("done within a minute");
        })
        .unwrap();
    }
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from((n * 31 + n / 251 + seed) % 256).unwrap())
        .collect()
}

async fn read_all(stream: &adit_transport::Stream) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    let mut pieces = VecDeque::new();
    while stream.receive(&mut pieces).await? == Received::Data {
        for piece in pieces.drain(..) {
            all.extend_from_slice(piece.bytes());
            stream.consumed(piece.len());
        }
    }
    Ok(all)
}

#[test]
fn megabytes_cross_both_ways_on_many_streams_at_once() {
    on_both_drivers(async |world| {
        let agent = Rc::clone(&world.agent);
        monoio::spawn(async move {
            while let Some(stream) = agent.accept().await {
                monoio::spawn(async move {
                    let all = read_all(&stream).await.unwrap();
                    stream.send_bytes(&all, true).await.unwrap();
                    // Held until the peer has read: dropping a whole stream is no reset.
                });
            }
        });
        let mut tasks = Vec::new();
        for n in 0..20 {
            let link = Rc::clone(&world.gateway);
            tasks.push(monoio::spawn(async move {
                let sent = pattern(1_000_000 + n * 1000, n);
                let stream = link.open().await.unwrap();
                stream.send_bytes(&sent, true).await.unwrap();
                assert!(
                    read_all(&stream).await.unwrap() == sent,
                    "stream {n} differs"
                );
            }));
        }
        for task in tasks {
            task.await;
        }
        assert_eq!(world.gateway.streams(), 0);
    });
}

#[test]
fn a_stream_that_nobody_reads_does_not_stop_its_neighbours() {
    on_both_drivers(async |world| {
        let stalled = world.gateway.open().await.unwrap();
        stalled
            .send_bytes(&pattern(200_000, 1), false)
            .await
            .unwrap();
        let held = world.agent.accept().await.unwrap();
        for n in 0..50 {
            let stream = world.gateway.open().await.unwrap();
            stream.send_bytes(&pattern(100_000, n), true).await.unwrap();
            let other = world.agent.accept().await.unwrap();
            assert!(read_all(&other).await.unwrap() == pattern(100_000, n));
            other.finish();
            assert!(read_all(&stream).await.unwrap().is_empty());
        }
        stalled.finish();
        assert!(read_all(&held).await.unwrap() == pattern(200_000, 1));
    });
}

#[test]
fn small_frames_fill_a_shared_record_to_the_last_byte_of_its_memory() {
    on_both_drivers(async |world| {
        // Around a quarter of a record and of its memory, with their mux headers.
        for length in 4070..=4096 {
            let mut streams = Vec::new();
            for seed in 0..4 {
                let stream = world.gateway.open().await.unwrap();
                stream
                    .send_bytes(&pattern(length, seed), true)
                    .await
                    .unwrap();
                streams.push(stream);
            }
            for seed in 0..4 {
                let stream = world.agent.accept().await.expect("the tunnel holds");
                assert_eq!(read_all(&stream).await.unwrap(), pattern(length, seed));
                stream.finish();
            }
        }
    });
}

#[test]
fn single_bytes_that_wait_for_a_tunnel_share_their_memory() {
    // Each in a frame of its own would be more than a batch takes on.
    const BYTES: usize = 60_000;
    on_both_drivers(async |world| {
        // More than the kernel takes while nobody reads at the other end, who is on this very thread.
        let mut full = Vec::new();
        for seed in 0..100 {
            let stream = world.gateway.open().await.unwrap();
            stream
                .send_bytes(&pattern(250_000, seed), false)
                .await
                .unwrap();
            full.push(stream);
        }
        let dripping = world.gateway.open().await.unwrap();
        let before = lent(Class::Small);
        for n in 0..BYTES {
            dripping.send_bytes(&pattern(1, n), false).await.unwrap();
        }
        let held = lent(Class::Small) - before;
        assert!(held <= BYTES / 1000, "{held} buffers for {BYTES} bytes");
        dripping.finish();
        let mut got = Vec::new();
        for n in 0..=full.len() {
            let stream = world.agent.accept().await.unwrap();
            if n == full.len() {
                got = read_all(&stream).await.unwrap();
            }
        }
        let sent: Vec<u8> = (0..BYTES).flat_map(|n| pattern(1, n)).collect();
        assert!(got == sent, "they arrive in order");
    });
}

#[test]
fn a_dropped_stream_is_reset_at_the_other_end() {
    on_both_drivers(async |world| {
        let stream = world.gateway.open().await.unwrap();
        stream.send_bytes(b"hello", false).await.unwrap();
        let other = world.agent.accept().await.unwrap();
        let mut pieces = VecDeque::new();
        other.receive(&mut pieces).await.unwrap();
        drop(stream);
        pieces.clear();
        assert_eq!(other.receive(&mut pieces).await, Err(StreamError::Reset));
    });
}

#[test]
fn closing_one_link_ends_the_other_in_good_order() {
    on_both_drivers(async |world| {
        let stream = world.gateway.open().await.unwrap();
        stream.send_bytes(b"x", false).await.unwrap();
        world.agent.close().await;
        assert_eq!(world.gateway.ended().await, Ending::PeerClosed);
        assert_eq!(stream.credit().await, Err(StreamError::TunnelLost));
        assert!(world.gateway.open().await.is_err());
    });
}
