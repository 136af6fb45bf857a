//! From an invitation to an identity, and whom no secret is told to.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::authority::Authority;
use super::server::{Guise, Heard, Server};
use super::world::{Node, UNUSABLE, enrolment, run};
use crate::enrol::enrol_here;
use crate::invitation::Invitation;
use crate::run::Subscription;

fn invitation(pin: &str) -> Invitation {
    let secret = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    Invitation::parse(&format!("adit1.{secret}.{pin}")).unwrap()
}

#[test]
fn an_invitation_becomes_an_identity_that_only_its_owner_can_read() {
    run(async {
        let mut server = Server::new().await;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("agent/identity");
        let invitation = invitation(&server.authority.pin());
        let made = enrol_here(&enrolment(&place), &server.url(), &invitation)
            .await
            .unwrap();
        assert_eq!(made.id().to_string(), super::authority::AGENT);
        assert_eq!(made.location(), "berlin");
        let shown = server
            .until(|heard| match heard {
                Heard::Enrol(asked) => Some(asked.token),
                _ => None,
            })
            .await;
        assert_eq!(shown, invitation.text());
        let found = Subscription::look(&place).unwrap();
        assert_eq!(found.leaf(), made.leaf());
        assert_eq!(found.trust().roots, server.authority.root_pem);
        for name in ["key.pem", "cert.pem", "trust.json"] {
            let mode = std::fs::metadata(place.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!place.join("key.next.pem").exists());
    });
}

#[test]
fn a_server_that_is_not_the_one_of_the_pin_is_shown_no_invitation() {
    run(async {
        let mut server = Server::new().await;
        let folder = tempfile::tempdir().unwrap();
        let other = invitation(&Authority::new().pin());
        let error = enrol_here(&enrolment(folder.path()), &server.url(), &other)
            .await
            .unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{error}");
        assert!(server.rest().is_empty());
        assert!(
            Subscription::look(folder.path())
                .unwrap_err()
                .contains("none yet")
        );
    });
}

#[test]
fn a_node_of_the_same_authority_is_no_control_plane_to_enrol_at() {
    run(async {
        let guise = Guise {
            uri: "spiffe://adit.local/gateway/gw",
            ..Guise::default()
        };
        let mut server = Server::of(Arc::new(Authority::new()), guise).await;
        let folder = tempfile::tempdir().unwrap();
        let invitation = invitation(&server.authority.pin());
        let error = enrol_here(&enrolment(folder.path()), &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(error.contains("control plane"), "{error}");
        assert!(server.rest().is_empty());
    });
}

#[test]
fn a_refused_invitation_says_why_and_leaves_no_identity() {
    run(async {
        let server = Server::new().await;
        server.script.lock().denials.push_back(403);
        let folder = tempfile::tempdir().unwrap();
        let invitation = invitation(&server.authority.pin());
        let error = enrol_here(&enrolment(folder.path()), &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(error.contains("answered 403: the test says no"), "{error}");
        assert!(Subscription::look(folder.path()).is_err());
        // Another one may be tried at once.
        enrol_here(&enrolment(folder.path()), &server.url(), &invitation)
            .await
            .unwrap();
    });
}

#[test]
fn an_invitation_for_another_role_or_location_makes_no_identity() {
    run(async {
        let server = Server::new().await;
        let invitation = invitation(&server.authority.pin());
        let folder = tempfile::tempdir().unwrap();
        let mut elsewhere = enrolment(folder.path());
        elsewhere.location = Some("paris".to_owned());
        let error = enrol_here(&elsewhere, &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(
            error.contains("`berlin`") && error.contains("`paris`"),
            "{error}"
        );
        server.script.lock().names = "spiffe://adit.local/gateway/gw".to_owned();
        let error = enrol_here(&enrolment(folder.path()), &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(error.contains("for a gateway"), "{error}");
        assert!(Subscription::look(folder.path()).is_err());
    });
}

#[test]
fn a_trust_that_the_role_cannot_start_with_makes_no_identity() {
    run(async {
        let server = Server::new().await;
        server.script.lock().trust = UNUSABLE;
        let folder = tempfile::tempdir().unwrap();
        let invitation = invitation(&server.authority.pin());
        let error = enrol_here(&enrolment(folder.path()), &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(error.contains("more than 16 keys"), "{error}");
        assert!(Subscription::look(folder.path()).is_err());
    });
}

#[test]
fn an_identity_that_is_there_is_replaced_only_when_it_has_expired() {
    run(async {
        let mut server = Server::new().await;
        let invitation = invitation(&server.authority.pin());
        let node = Node::new(&server.authority, 10, 3600);
        let enrolment_of = |node: &Node| enrolment(node.folder.path());
        let error = enrol_here(&enrolment_of(&node), &server.url(), &invitation)
            .await
            .unwrap_err();
        assert!(error.contains("already"), "{error}");
        assert!(server.rest().is_empty());
        assert_eq!(node.identity().leaf().serial, "a1");
        let over = Node::new(&server.authority, 100, -1);
        enrol_here(&enrolment_of(&over), &server.url(), &invitation)
            .await
            .unwrap();
        assert_eq!(over.identity().leaf().serial, "101");
    });
}
