//! What a node does not take from its control plane, and what ends a line that is alive: silence ends any line, so here
//! nothing counts as silence.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::{self, Ask, Event, Welcome};

use super::authority::{AGENT, Authority};
use super::server::{Heard, Server};
use super::world::{FAST, Node, Recorder, Told, run, start};
use crate::identity::Identity;
use crate::keys::Fresh;
use crate::run::{Pace, Subscription};
use crate::subscriber::Change;

const PATIENT: Pace = Pace {
    dead_after: Duration::from_secs(600),
    ..FAST
};

fn begin(node: &Node, server: &Server, recorder: Recorder) -> Arc<Subscription> {
    let subscription = node.subscription_at(&[server.url()], None, PATIENT);
    start(&subscription, recorder)
}

#[test]
fn a_control_plane_that_is_revoked_is_left_although_its_line_is_alive() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, mut told) = Recorder::new();
        let subscription = begin(&node, &server, recorder);
        server.hello().await;
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        // Another server's number is no reason to leave this one.
        server.say(&Event::Trust(server.authority.trust(2, &["77"])));
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        server.beat().await;
        assert_eq!(subscription.status()["connected"], true);
        server.say(&Event::Trust(server.authority.trust(3, &["5e", "77"])));
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        while subscription.status()["connected"] == true {
            looks.tick().await;
        }
    });
}

#[test]
fn a_node_with_the_next_certificate_leaves_the_line_of_the_one_before() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let subscription = begin(&node, &server, recorder);
        let (_, first) = server.hello().await;
        assert_eq!(first.as_deref(), Some("a1"));
        let next = subscription.identity().as_ref().clone();
        let fresh = Fresh::draw().unwrap();
        let chain = server.authority.sign(&fresh.csr, AGENT, 0xa2, 1, 3600);
        let next = Identity::new(&fresh.key_pem, &chain, "berlin", next.trust().clone());
        let (other, _told) = Recorder::new();
        subscription.adopt(&other, next.unwrap(), Change::Credentials);
        let (_, second) = server.hello().await;
        assert_eq!(second.as_deref(), Some("a2"));
    });
}

#[test]
fn a_control_plane_that_welcomes_twice_is_left_and_found_again() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, _told) = Recorder::new();
        let subscription = begin(&node, &server, recorder);
        server.hello().await;
        server.say(&Event::Welcome(Welcome {
            subscription: "s2".to_owned(),
            server: "cp-2".to_owned(),
            format: control::FORMAT,
            features: Vec::new(),
        }));
        server.hello().await;
        let failure = subscription.status()["last_failure"].to_string();
        assert!(failure.contains("second time"), "{failure}");
    });
}

#[test]
fn pushes_that_come_together_are_taken_one_after_the_other_and_each_is_answered() {
    const PUSHES: usize = 16;
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, mut told) = Recorder::new();
        begin(&node, &server, recorder);
        server.hello().await;
        let mut together = Vec::new();
        for number in 1..=PUSHES {
            Event::Push(vec![b'#'; number]).encode(&mut together);
        }
        server.say_bytes(together);
        for number in 1..=PUSHES {
            server
                .until(|heard| matches!(heard, Heard::Ack(_)).then_some(()))
                .await;
            assert_eq!(told.recv().await, Some(Told::Push(number)));
        }
    });
}

#[test]
fn a_renewal_that_comes_with_an_older_trust_brings_no_revoked_certificate_back() {
    run(async {
        let server = Server::new().await;
        // Its time has come already.
        let trust = server.authority.trust(5, &["77"]);
        let node = Node::trusting(&server.authority, trust.clone(), 100, 50);
        server.script.lock().trust = 4;
        let (recorder, mut told) = Recorder::new();
        let subscription = begin(&node, &server, recorder);
        loop {
            if let Some(Told::Identity(serial, change)) = told.recv().await {
                assert_eq!(change, Change::Credentials, "{serial}");
                break;
            }
        }
        assert_eq!(*subscription.identity().trust(), trust);
        assert_eq!(*node.identity().trust(), trust);
    });
}

#[test]
fn a_question_whose_name_could_be_another_path_is_not_looked_at() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let (recorder, mut told) = Recorder::new();
        begin(&node, &server, recorder);
        server.hello().await;
        let ask = |name: &str, method: &str, path: &str| {
            Event::Ask(Ask {
                ask: name.to_owned(),
                method: method.to_owned(),
                path: path.to_owned(),
                query: String::new(),
                body: String::new(),
            })
        };
        for name in ["../nack", "a/b", "a?b", "a%2fb", "a b", "\u{e4}"] {
            server.say(&ask(name, "GET", "/status"));
            // So few at one time that none is told to wait.
            server.say(&ask("q-1", "POST", "/explain"));
            let asked = "POST /explain".to_owned();
            assert_eq!(told.recv().await, Some(Told::Ask(asked)), "{name}");
            let name = server.until(|heard| match heard {
                Heard::Answer(name, _) => Some(name),
                _ => None,
            });
            assert_eq!(name.await, "q-1");
        }
    });
}

#[test]
fn a_certificate_of_another_key_and_a_location_that_can_be_none_make_no_identity() {
    let authority = Authority::new();
    let (own, other) = (Fresh::draw().unwrap(), Fresh::draw().unwrap());
    let chain = authority.sign(&own.csr, AGENT, 0xa1, 1, 3600);
    let made = |key: &Fresh, location: &str| {
        let made = Identity::new(&key.key_pem, &chain, location, authority.trust(1, &[]));
        made.map(drop)
    };
    assert_eq!(made(&own, "berlin"), Ok(()));
    assert_eq!(
        made(&other, "berlin"),
        Err("the certificate is for another key".to_owned())
    );
    for location in ["a/b", "a b", "\u{1b}[2J"] {
        assert!(made(&own, location).is_err(), "{location:?}");
    }
}
