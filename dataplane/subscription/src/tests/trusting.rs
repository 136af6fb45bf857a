//! Whom a node believes: certificates of control planes, newer and older trust, what cannot be kept or used.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::Event;
use rcgen::ExtendedKeyUsagePurpose;

use super::authority::Authority;
use super::server::{Guise, Heard, Server};
use super::world::{Node, Recorder, Told, run, subscribed};
use crate::subscriber::Change;

#[test]
fn who_is_no_control_plane_by_its_certificate_is_told_nothing() {
    let server_auth = || vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (guise, why) in [
        (
            Guise {
                uri: "spiffe://adit.local/gateway/gw",
                ..Guise::default()
            },
            "control plane",
        ),
        (
            Guise {
                uri: "spiffe://other.local/control/cp-1",
                ..Guise::default()
            },
            "trust domain",
        ),
        (
            Guise {
                usages: Vec::new(),
                ..Guise::default()
            },
            "purpose",
        ),
        (
            Guise {
                usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
                ..Guise::default()
            },
            "server authentication",
        ),
        (
            Guise {
                versions: vec![&rustls::version::TLS12],
                usages: server_auth(),
                ..Guise::default()
            },
            "ProtocolVersion",
        ),
        (
            Guise {
                alpn: b"http/1.1",
                ..Guise::default()
            },
            "NoApplicationProtocol",
        ),
        (
            Guise {
                serial: 0xbad,
                ..Guise::default()
            },
            "evoked",
        ),
    ] {
        run(async {
            let authority = Arc::new(Authority::new());
            let mut server = Server::of(Arc::clone(&authority), guise).await;
            let trust = authority.trust(1, &["bad"]);
            let node = Node::trusting(&authority, trust, 1, 3600);
            let (recorder, _told) = Recorder::new();
            let subscription = node.start(&server, recorder);
            let failure = loop {
                if let Some(failure) = subscription.status()["last_failure"].as_str() {
                    break failure.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert!(failure.contains(why), "{failure} without {why}");
            assert!(server.rest().is_empty(), "{why}");
        });
    }
}

#[test]
fn a_newer_trust_is_kept_and_told_and_an_older_one_is_not() {
    run(async {
        let (server, node, mut told, subscription) = subscribed().await;
        server.say(&Event::Trust(server.authority.trust(3, &["a2"])));
        assert_eq!(
            told.recv().await,
            Some(Told::Identity("a1".to_owned(), Change::Trust))
        );
        assert_eq!(node.identity().trust().version, 3);
        server.say(&Event::Trust(server.authority.trust(2, &["a3"])));
        server.say(&Event::Push(b"x".to_vec()));
        assert_eq!(told.recv().await, Some(Told::Push(1)));
        assert_eq!(subscription.identity().trust().revoked, ["a2"]);
        assert_eq!(node.identity().trust().version, 3);
    });
}

//
#[test]
fn r03_a_trust_that_cannot_be_kept_counts_all_the_same_and_is_kept_when_it_can_be() {
    run(async {
        let (server, node, mut told, subscription) = subscribed().await;
        // A folder where a file is to be written: not even root can.
        let in_the_way = node.folder.path().join("trust.json.half");
        std::fs::create_dir(&in_the_way).unwrap();
        server.say(&Event::Trust(server.authority.trust(3, &["a2"])));
        assert_eq!(
            told.recv().await,
            Some(Told::Identity("a1".to_owned(), Change::Trust))
        );
        assert_eq!(subscription.identity().trust().revoked, ["a2"]);
        assert_eq!(node.identity().trust().version, 1);
        let status = subscription.status();
        let failure = status["last_failure"].as_str().unwrap_or_default();
        assert!(
            failure.contains("trust 3 counts until a restart"),
            "{failure}"
        );
        std::fs::remove_dir(in_the_way).unwrap();
        while node.identity().trust().version != 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_trust_that_the_role_cannot_use_is_not_kept_and_is_told_until_a_usable_one_comes() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (mut recorder, mut told) = Recorder::new();
        recorder.unusable = vec![2];
        let subscription = node.start(&server, recorder);
        server.hello().await;
        server.say(&Event::Trust(server.authority.trust(2, &["a2"])));
        server.say(&Event::Push(b"x".to_vec()));
        assert_eq!(told.recv().await, Some(Told::Push(1)));
        assert_eq!(node.identity().trust().version, 1);
        assert_eq!(subscription.identity().trust().version, 1);
        let why = "trust 2 is not taken: signing keys: holds more than 16 keys";
        assert_eq!(subscription.problems(), [why]);
        // The one after it was made usable.
        server.say(&Event::Trust(server.authority.trust(3, &[])));
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        assert_eq!(node.identity().trust().version, 3);
        assert_eq!(subscription.problems(), Vec::<String>::new());
    });
}

#[test]
fn a_control_plane_whose_certificate_is_revoked_is_left_at_once_and_not_come_back_to() {
    run(async {
        let (mut server, _node, mut told, subscription) = subscribed().await;
        // The serial of the server itself.
        server.say(&Event::Trust(server.authority.trust(2, &["5e"])));
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        loop {
            let status = subscription.status();
            let failure = status["last_failure"].as_str().unwrap_or_default();
            if status["connected"] == false && failure.contains("evoked") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(
            !server
                .rest()
                .into_iter()
                .any(|heard| matches!(heard, Heard::Hello(..)))
        );
    });
}
