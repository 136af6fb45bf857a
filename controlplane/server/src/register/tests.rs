//! What comes of invitations and of certificates that have ended, and the limits of both.

use std::str::FromStr as _;
use std::time::Duration;

use adit_api::Invite;
use adit_authority::{SealKey, TrustDomain, parse_leaf};
use adit_store::Embedded;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::limits::{INVITATION_LIFE, INVITATIONS_HERE_MAX, INVITATIONS_MAX};
use crate::test_world::{by, put_all};

async fn register(folder: &std::path::Path, renew_expired_s: u64) -> Register {
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&folder.join("store")).await.unwrap());
    let acts = Acts::new(Arc::clone(&store));
    let domain = TrustDomain::from_str("adit.local").unwrap();
    let seal = SealKey::from_bytes([7; 32]);
    let life = Life::open(Arc::clone(&store), acts.clone(), seal, &domain, "cp-1");
    let life = Arc::new(life.await.unwrap());
    let policy = CertificatePolicy {
        life_s: 10,
        renew_expired_s,
    };
    Register::new(store, acts, life, policy)
}

fn request() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key, request.pem().unwrap())
}

/// An agent whose certificate has just ended, and a request that its old key has signed.
async fn ended(register: &Register) -> (Expired, String) {
    let id = NodeId::agent("acme", "a-1").unwrap();
    let wish = Invite {
        name: "a-1".to_owned(),
        location: String::new(),
    };
    let token = register.invite(&by(), &id, &wish).await.unwrap().token;
    let (key, csr) = request();
    let wish = Enrol {
        token,
        csr,
        software: String::new(),
    };
    let enrolled = register.enrol(&wish, "").await.unwrap();
    let leaf = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes()).unwrap();
    let until = parse_leaf(&leaf).unwrap().not_after_unix_s;
    let mut asked = tokio::time::interval(Duration::from_millis(50));
    while clock::unix_s() <= until {
        asked.tick().await;
    }
    let (_, csr) = request();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &key.serialize_der(),
        &random,
    );
    let signature = pair.unwrap().sign(&random, &Expired::signed(&csr)).unwrap();
    let proof = Expired {
        certificate: enrolled.certificate,
        signature: STANDARD.encode(signature.as_ref()),
    };
    (proof, csr)
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_certificate_that_has_ended_is_renewed_where_that_is_allowed_also_after_a_lost_answer()
 {
    let folder = tempfile::tempdir().unwrap();
    let mut register = register(folder.path(), 0).await;
    let (proof, csr) = ended(&register).await;
    let refused = register.renew_expired(&proof, &csr, "").await.unwrap_err();
    assert!(matches!(refused, Trouble::Denied(_)), "{refused:?}");
    register.policy.renew_expired_s = 600;
    let first = register.renew_expired(&proof, &csr, "").await.unwrap();
    let second = register.renew_expired(&proof, &csr, "").await.unwrap();
    assert_ne!(first.certificate, second.certificate);
    // Revoked is revoked, whatever it proves.
    let id = NodeId::agent("acme", "a-1").unwrap();
    register.revoke(&by(), &id).await.unwrap();
    let refused = register.renew_expired(&proof, &csr, "").await.unwrap_err();
    assert!(matches!(refused, Trouble::Denied(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_here_max_may_be_open_and_one_more_may_not_and_others_are_not_kept_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    let invite = async |subaccount: &str, number: usize| {
        let name = format!("a-{number}");
        let id = NodeId::agent(subaccount, &name).unwrap();
        let location = String::new();
        register
            .invite(&by(), &id, &Invite { name, location })
            .await
    };
    for number in 0..INVITATIONS_HERE_MAX {
        invite("acme", number).await.unwrap();
    }
    let refused = invite("acme", INVITATIONS_HERE_MAX).await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    invite("other", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_max_may_be_open_and_one_more_may_not_until_others_end() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    clock::stop_at(1_900_000_000);
    let life = INVITATION_LIFE.as_secs();
    // Some of each subaccount, so that none has too many of its own.
    let others: Vec<_> = (1..INVITATIONS_MAX)
        .map(|number| {
            let stored = Stored {
                node: format!("agent/s-{}/a-{number}", number / 100),
                location: String::new(),
                by: "ada".to_owned(),
                expires_unix_s: 1_900_000_000 + life,
            };
            let key = keys::invitation(&format!("{number:064x}"));
            (key, keys::write(&stored))
        })
        .collect();
    put_all(&*register.store, &others).await;
    let invite = async |name: &str| {
        let id = NodeId::agent("acme", name).unwrap();
        let wish = Invite {
            name: name.to_owned(),
            location: String::new(),
        };
        register.invite(&by(), &id, &wish).await
    };
    invite("a-1").await.unwrap();
    let refused = invite("a-2").await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    clock::stop_at(1_900_000_000 + life);
    invite("a-2").await.unwrap();
    assert_eq!(register.invitations(|_| true).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_can_be_used_until_invitation_life_is_over_and_not_a_second_longer() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    let begun = clock::unix_s();
    clock::stop_at(begun);
    let id = NodeId::agent("acme", "a-1").unwrap();
    let wish = Invite {
        name: "a-1".to_owned(),
        location: String::new(),
    };
    let token = register.invite(&by(), &id, &wish).await.unwrap().token;
    let (_, csr) = request();
    let wish = Enrol {
        token,
        csr,
        software: String::new(),
    };
    clock::stop_at(begun + INVITATION_LIFE.as_secs());
    let refused = register.enrol(&wish, "").await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    clock::stop_at(begun + INVITATION_LIFE.as_secs() - 1);
    register.enrol(&wish, "").await.unwrap();
}

#[test]
fn a_node_is_changed_at_the_last_of_commit_tries_and_no_later() {
    let conflict = || Error::Conflict {
        key: keys::life(),
        found: None,
    };
    let mut tries = Tries::default();
    for _ in 1..COMMIT_TRIES {
        tries.again(conflict()).unwrap();
    }
    tries.again(conflict()).unwrap_err();
}
