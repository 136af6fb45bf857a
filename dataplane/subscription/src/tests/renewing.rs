//! Certificates that change while the node goes on, and what happens when they could not.

use std::sync::Arc;
use std::time::Duration;

use adit_proto::control::Expired;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::pem::PemObject as _;

use super::server::{Heard, Server};
use super::world::{Node, Recorder, Told, run};
use crate::subscriber::Change;

#[test]
fn at_half_of_its_life_a_certificate_is_renewed_and_the_node_subscribes_with_the_new_one() {
    run(async {
        let mut server = Server::new().await;
        // Half of 40 s is over.
        let node = Node::new(&server.authority, 21, 19);
        let old_key = std::fs::read(node.folder.path().join("key.pem")).unwrap();
        server.script.lock().trust = 2;
        let (recorder, mut told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        let (asked, serial) = server
            .until(|heard| match heard {
                Heard::Renew(asked, serial) => Some((asked, serial)),
                _ => None,
            })
            .await;
        assert_eq!(
            serial.as_deref(),
            Some("a1"),
            "proven by the old certificate"
        );
        assert_eq!(asked.expired, None);
        let new = "101".to_owned();
        assert_eq!(
            told.recv().await,
            Some(Told::Identity(new.clone(), Change::Credentials))
        );
        assert_eq!(
            told.recv().await,
            Some(Told::Identity(new.clone(), Change::Trust))
        );
        // Whether or not it had subscribed with the old one: from now on it is with the new.
        while server.hello().await.1 != Some(new.clone()) {}
        let kept = node.identity();
        assert_eq!((kept.leaf().serial.clone(), kept.trust().version), (new, 2));
        assert_eq!(subscription.identity().leaf(), kept.leaf());
        let key = std::fs::read(node.folder.path().join("key.pem")).unwrap();
        assert_ne!(key, old_key, "with a new key");
        assert!(!node.folder.path().join("cert.next.pem").exists());
    });
}

#[test]
fn a_renewal_with_a_trust_that_the_role_cannot_use_brings_the_certificate_and_not_the_trust() {
    run(async {
        let server = Server::new().await;
        server.script.lock().trust = 5;
        let node = Node::new(&server.authority, 21, 19);
        let (mut recorder, mut told) = Recorder::new();
        recorder.unusable = vec![5];
        let subscription = node.start(&server, recorder);
        let new = "101".to_owned();
        assert_eq!(
            told.recv().await,
            Some(Told::Identity(new.clone(), Change::Credentials))
        );
        let kept = node.identity();
        assert_eq!((kept.leaf().serial.clone(), kept.trust().version), (new, 1));
        assert!(
            subscription.problems()[0].contains("trust 5 is not taken: signing keys"),
            "{:?}",
            subscription.problems()
        );
    });
}

#[test]
fn s08_with_a_renewal_endpoint_that_fails_half_of_the_time_each_certificate_is_renewed_in_time() {
    run(async {
        let mut server = Server::new().await;
        {
            let mut script = server.script.lock();
            script.fails_every_other = true;
            // Six seconds for what takes thirty days.
            script.life = (0, 6);
        }
        let node = Node::new(&server.authority, 4, 6);
        let (recorder, mut told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        for serial in ["101", "102", "103"] {
            let told = loop {
                assert_eq!(subscription.problems(), Vec::<String>::new());
                match tokio::time::timeout(Duration::from_millis(50), told.recv()).await {
                    Ok(told) => break told,
                    Err(_elapsed) => {}
                }
            };
            assert_eq!(
                told,
                Some(Told::Identity(serial.to_owned(), Change::Credentials))
            );
        }
        assert_eq!(server.script.lock().asked, 6, "every other one failed");
        let beat = server.beat().await;
        assert_eq!(beat.problems, Vec::<String>::new());
    });
}

#[test]
fn s08_a_certificate_that_is_not_renewed_raises_the_alarm_at_a_third_of_its_life_and_tries_go_on_after_its_end()
 {
    run(async {
        let mut server = Server::new().await;
        server.script.lock().denials.extend([503; 100_000]);
        // Half of it is over, and a third is reached in two seconds.
        let node = Node::new(&server.authority, 6, 6);
        let (recorder, _told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        // The control plane is told without being asked.
        let mut told = Vec::new();
        while told.is_empty() {
            let left = |node: &Node| {
                let until = node.identity().leaf().until_unix_s;
                until.saturating_sub(adit_runtime::clock::unix_now())
            };
            told = server.beat().await.problems;
            assert!(
                !told.is_empty() || left(&node) >= 3,
                "no alarm with {} s left",
                left(&node)
            );
            assert!(
                told.is_empty() || left(&node) <= 4,
                "an alarm with {} s left",
                left(&node)
            );
            server.say(&adit_proto::control::Event::Beat);
        }
        assert!(told[0].contains("less than a third"), "{told:?}");
        assert_eq!(subscription.problems(), told);
        // From its end on the key alone speaks for the node.
        let (asked, shown) = server
            .until(|heard| match heard {
                Heard::Renew(asked, shown) if asked.expired.is_some() => Some((asked, shown)),
                _ => None,
            })
            .await;
        assert!(asked.expired.is_some() && shown.is_none());
        assert!(subscription.problems()[0].contains("has expired"));
        server.script.lock().denials.clear();
        server.hello().await;
        while !subscription.problems().is_empty() {
            server.beat().await;
        }
    });
}

#[test]
fn a_certificate_in_its_first_half_is_left_alone() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 100, 3600);
        let (recorder, _told) = Recorder::new();
        node.start(&server, recorder);
        for _ in 0..3 {
            server.beat().await;
        }
        let renewed = server
            .rest()
            .into_iter()
            .any(|heard| matches!(heard, Heard::Renew(..)));
        assert!(!renewed);
        let identity = node.identity();
        assert_eq!(identity.renew_unix_s(), identity.leaf().from_unix_s + 1850);
    });
}

#[test]
fn a_renewal_that_fails_is_tried_again_and_the_old_certificate_stays() {
    run(async {
        let mut server = Server::new().await;
        server.script.lock().denials.extend([500, 503, 403]);
        let node = Node::new(&server.authority, 3000, 600);
        let (recorder, mut told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        for _ in 0..3 {
            server
                .until(|heard| matches!(heard, Heard::Renew(..)).then_some(()))
                .await;
            assert_eq!(node.identity().leaf().serial, "a1");
        }
        // A sixth is left: somebody should look.
        assert_eq!(
            subscription.problems().len(),
            1,
            "{:?}",
            subscription.problems()
        );
        assert!(subscription.problems()[0].contains("less than a third"));
        assert!(matches!(told.recv().await, Some(Told::Identity(serial, _)) if serial == "101"));
        assert_eq!(subscription.problems(), Vec::<String>::new());
    });
}

#[test]
fn an_expired_certificate_is_renewed_with_a_proof_of_its_key_and_without_being_shown() {
    run(async {
        let mut server = Server::new().await;
        let node = Node::new(&server.authority, 100, -10);
        let old = node.identity();
        let (recorder, mut told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        let (asked, serial) = server
            .until(|heard| match heard {
                Heard::Renew(asked, serial) => Some((asked, serial)),
                _ => None,
            })
            .await;
        assert_eq!(serial, None);
        let proof = asked.expired.unwrap();
        let leaf = adit_tls::CertificateDer::from_pem_slice(proof.certificate.as_bytes()).unwrap();
        assert_eq!(adit_tls::Leaf::read(&leaf).unwrap(), *old.leaf());
        let signature = BASE64_STANDARD.decode(proof.signature).unwrap();
        // The key itself stands in the last 65 bytes of its DER form.
        let spki = &old.leaf().spki;
        ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            &spki[spki.len() - 65..],
        )
        .verify(&Expired::signed(&asked.csr), &signature)
        .unwrap();
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        server.hello().await;
        assert_eq!(subscription.problems(), Vec::<String>::new());
    });
}

#[test]
fn a_new_certificate_that_names_another_or_has_expired_is_not_taken() {
    run(async {
        for (names, life) in [
            ("spiffe://adit.local/subaccount/acme/agent/a2", (1, 3600)),
            ("spiffe://adit.local/gateway/a1", (1, 3600)),
            (super::authority::AGENT, (100, -10)),
        ] {
            let server = Server::new().await;
            {
                let mut script = server.script.lock();
                script.names = names.to_owned();
                script.life = life;
            }
            let node = Node::new(&server.authority, 21, 19);
            let (recorder, mut told) = Recorder::new();
            let subscription = node.start(&server, recorder);
            loop {
                let status = subscription.status();
                let failure = status["last_failure"].as_str().unwrap_or_default();
                if failure.contains("the new certificate") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(told.try_recv().is_err(), "{names}");
            assert_eq!(node.identity().leaf().serial, "a1");
        }
    });
}

#[test]
fn two_nodes_do_not_share_one_identity() {
    run(async {
        let server = Server::new().await;
        let node = Node::new(&server.authority, 1, 3600);
        let first: Arc<_> = node.subscription(&[server.url()]);
        let facts = crate::run::Facts {
            software: String::new(),
            instance: String::new(),
        };
        let control = node.control(&[server.url()]);
        let second = crate::run::Subscription::open(control, None, facts);
        assert!(second.unwrap_err().contains("another process uses it"));
        drop(first);
    });
}

#[test]
fn when_to_renew_is_what_the_control_plane_said_also_after_a_restart() {
    run(async {
        let server = Server::new().await;
        let when = adit_runtime::clock::unix_now() + 50;
        {
            let mut script = server.script.lock();
            // Its certificates begin long before they are made: half of that life is over at once.
            script.life = (3600, 100);
            script.renew_unix_s = when;
        }
        let node = Node::new(&server.authority, 21, 19);
        let (recorder, mut told) = Recorder::new();
        let subscription = node.start(&server, recorder);
        assert!(matches!(told.recv().await, Some(Told::Identity(..))));
        assert_eq!(subscription.identity().renew_unix_s(), when);
        assert_eq!(node.identity().renew_unix_s(), when);
        assert_eq!(subscription.problems(), Vec::<String>::new());
        // A third of twice fifty seconds.
        let until = node.identity().leaf().until_unix_s;
        assert!(!node.identity().is_nearly_over(until - 34));
        assert!(node.identity().is_nearly_over(until - 32));
    });
}
