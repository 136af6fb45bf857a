//! What comes of invitations and of certificates that have ended, and the limits of both.

use std::str::FromStr as _;
use std::time::Duration;

use adit_api::{Invite, Invited};
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
use crate::limits::{INVITATION_LIFE, INVITATIONS_HERE_MAX, INVITATIONS_MAX, RENEWALS_PER_LIFE};
use crate::test_world::{add_member, by, put_all};

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

async fn invited(register: &Register, subaccount: &str, number: usize) -> Result<Invited, Trouble> {
    let name = format!("a-{number}");
    let id = NodeId::agent(subaccount, &name).unwrap();
    let location = String::new();
    let wish = Invite { name, location };
    register.invite(&by(), &id, &wish).await
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
    let invite = async |subaccount: &str, number| invited(&register, subaccount, number).await;
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

/// An agent that has enrolled: who it is, and the serial number of its certificate.
async fn enrolled(register: &Register, name: &str) -> (NodeId, String) {
    let id = NodeId::agent("acme", name).unwrap();
    let wish = Invite {
        name: name.to_owned(),
        location: String::new(),
    };
    let token = register.invite(&by(), &id, &wish).await.unwrap().token;
    let wish = Enrol {
        token,
        csr: request().1,
        software: String::new(),
    };
    register.enrol(&wish, "").await.unwrap();
    let serial = register.get(&id).await.unwrap().0.certificate.serial;
    (id, serial)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_renews_without_end_drops_the_oldest_which_all_hear_of_and_waits_before() {
    const PAUSE_S: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let mut register = register(folder.path(), 0).await;
    register.policy.life_s = PAUSE_S * RENEWALS_PER_LIFE;
    let begun = clock::unix_s();
    clock::stop_at(begun);
    let (id, serial) = enrolled(&register, "a-1").await;
    for _ in 1..CERTIFICATES_MAX {
        register
            .renew(&id, &serial, &request().1, "")
            .await
            .unwrap();
    }
    let known = register.enrolment(&id).await.unwrap().0.certificates;
    clock::stop_at(begun + PAUSE_S - 1);
    let refused = register.renew(&id, &serial, &request().1, "").await;
    assert!(
        matches!(refused, Err(Trouble::Throttled { retry_after_s: 1 })),
        "{refused:?}"
    );
    assert_eq!(register.trust().await.unwrap().revoked, [""; 0]);
    clock::stop_at(begun + PAUSE_S);
    register
        .renew(&id, &serial, &request().1, "")
        .await
        .unwrap();
    // Not the one that asks, but the oldest of the others.
    let dropped = &known[1].serial;
    assert_eq!(
        &register.trust().await.unwrap().revoked,
        std::slice::from_ref(dropped)
    );
    let refused = register.admit(&id, dropped).await;
    assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
    let now = register.admit(&id, &serial).await.unwrap().certificates;
    assert_eq!(now.len(), CERTIFICATES_MAX);
    // What was made for longer, before the settings were changed, keeps nobody waiting.
    register.policy.life_s /= 2;
    register
        .renew(&id, &serial, &request().1, "")
        .await
        .unwrap();
    // Another node may renew all the while.
    let (other, its) = enrolled(&register, "a-2").await;
    register
        .renew(&other, &its, &request().1, "")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_who_drops_only_what_has_ended_waits_for_nothing_until_the_rest_is_live() {
    const PAUSE_S: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let mut register = register(folder.path(), u64::MAX / 4).await;
    register.policy.life_s = PAUSE_S * RENEWALS_PER_LIFE;
    let begun = clock::unix_s();
    clock::stop_at(begun);
    let (id, serial) = enrolled(&register, "a-1").await;
    let renew = async || register.renew(&id, &serial, &request().1, "").await;
    for _ in 1..CERTIFICATES_MAX {
        renew().await.unwrap();
    }
    clock::stop_at(begun + register.policy.life_s + 1);
    // Of each the answer got lost; the one that asks stays.
    let told = register.trust().await.unwrap().version;
    for _ in 1..CERTIFICATES_MAX {
        renew().await.unwrap();
    }
    let trust = register.trust().await.unwrap();
    assert_eq!((trust.version, trust.revoked), (told, Vec::new()));
    // What would be dropped now is live.
    let refused = renew().await;
    assert!(
        matches!(
            refused,
            Err(Trouble::Throttled {
                retry_after_s: PAUSE_S
            })
        ),
        "{refused:?}"
    );
    clock::stop_at(begun + register.policy.life_s + 1 + PAUSE_S);
    renew().await.unwrap();
    assert_eq!(register.trust().await.unwrap().revoked.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_nothing_is_used_up_by_whoever_cannot_be_told_whom_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    let (id, serial) = enrolled(&register, "a-1").await;
    let known = register.enrolment(&id).await.unwrap();
    let next = NodeId::agent("acme", "a-2").unwrap();
    let wish = Invite {
        name: "a-2".to_owned(),
        location: String::new(),
    };
    let token = register.invite(&by(), &next, &wish).await.unwrap().token;
    let wish = Enrol {
        token,
        csr: request().1,
        software: String::new(),
    };
    let before = add_member(&*register.store, &keys::trust(), "").await;
    let newer = |error: &Trouble| matches!(error, Trouble::Store(Error::Newer { .. }));
    let refused = register.enrol(&wish, "").await.unwrap_err();
    assert!(newer(&refused), "{refused:?}");
    let refused = register.renew(&id, &serial, &request().1, "").await;
    let refused = refused.unwrap_err();
    assert!(newer(&refused), "{refused:?}");
    assert_eq!(register.enrolment(&id).await.unwrap(), known);
    put_all(&*register.store, &[(keys::trust(), before)]).await;
    register.enrol(&wish, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_invitations_that_only_a_newer_version_knows_count_as_open_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    let invite = async |subaccount: &str, number| invited(&register, subaccount, number).await;
    invite("acme", 0).await.unwrap();
    let all = scan::all(&*register.store, &keys::invitations()).await;
    add_member(&*register.store, &all.unwrap()[0].key, "").await;
    for number in 1..INVITATIONS_HERE_MAX {
        invite("acme", number).await.unwrap();
    }
    let refused = invite("acme", INVITATIONS_HERE_MAX).await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    invite("other", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_an_invitation_is_used_once_or_taken_back_where_it_belongs_or_ends() {
    let folder = tempfile::tempdir().unwrap();
    let register = register(folder.path(), 0).await;
    clock::stop_at(clock::unix_s());
    let id = NodeId::agent("acme", "a-1").unwrap();
    let invite = async || {
        let wish = Invite {
            name: "a-1".to_owned(),
            location: String::new(),
        };
        register.invite(&by(), &id, &wish).await.unwrap().token
    };
    let enrol = async |token: &str| {
        let wish = Enrol {
            token: token.to_owned(),
            csr: request().1,
            software: String::new(),
        };
        register.enrol(&wish, "").await
    };
    let open = async || register.invitations(|_| true).await.unwrap();
    let used = invite().await;
    enrol(&used).await.unwrap();
    let first = register.get(&id).await.unwrap().0.certificate.serial;
    let again = enrol(&used).await;
    assert!(
        matches!(again, Err(Trouble::Unauthenticated(_))),
        "{again:?}"
    );

    let token = invite().await;
    let known = open().await;
    assert_eq!(known.len(), 1);
    let others = |id: &NodeId| id.subaccount() == Some("other");
    let elsewhere = register.take_back(&by(), &known[0].id, others).await;
    assert!(
        matches!(elsewhere, Err(Trouble::NotFound(_))),
        "{elsewhere:?}"
    );
    register
        .take_back(&by(), &known[0].id, |_| true)
        .await
        .unwrap();
    assert!(open().await.is_empty());
    let gone = enrol(&token).await;
    assert!(matches!(gone, Err(Trouble::Unauthenticated(_))), "{gone:?}");

    // Whoever gets the name ends what had it before, here and at the peers.
    let token = invite().await;
    let told = register.trust().await.unwrap().version;
    enrol(&token).await.unwrap();
    let trust = register.trust().await.unwrap();
    assert_eq!(trust.revoked, std::slice::from_ref(&first));
    assert!(trust.version > told);
    let refused = register.admit(&id, &first).await;
    assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");

    invite().await;
    clock::stop_at(clock::unix_s() + INVITATION_LIFE.as_secs());
    assert!(open().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_is_told_of_to_all_its_peers_is_no_agent_of_its_place_and_may_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut register = register(folder.path(), 0).await;
    register.policy.life_s = 1000;
    let begun = clock::unix_s();
    clock::stop_at(begun);
    let (id, serial) = enrolled(&register, "a-1").await;
    enrolled(&register, "a-2").await;
    let place = |location: &str| Place::new("acme", location).unwrap();
    assert_eq!(
        register.agents_at(&place("")).await.unwrap(),
        ["a-1", "a-2"]
    );
    assert_eq!(register.agents_at(&place("plant")).await.unwrap(), [""; 0]);
    // The next one is due at half of the life, while the one before still counts.
    let renewed = register
        .renew(&id, &serial, &request().1, "")
        .await
        .unwrap();
    assert_eq!(renewed.renew_unix_s, begun + 500);
    let next = register.get(&id).await.unwrap().0.certificate.serial;
    let too_early = register.remove(&by(), &id).await;
    assert!(
        matches!(too_early, Err(Trouble::Conflict(_))),
        "{too_early:?}"
    );

    let told = register.trust().await.unwrap().version;
    register.revoke(&by(), &id).await.unwrap();
    let trust = register.trust().await.unwrap();
    let mut both = [serial.clone(), next.clone()];
    both.sort();
    assert_eq!(trust.revoked, both);
    assert!(trust.version > told);
    for serial in &both {
        let refused = register.admit(&id, serial).await;
        assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
        let refused = register.renew(&id, serial, &request().1, "").await;
        assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
    }
    assert_eq!(register.agents_at(&place("")).await.unwrap(), ["a-2"]);
    register.remove(&by(), &id).await.unwrap();
    // For an hour after their end nodes whose clocks are late hear of them.
    clock::stop_at(begun + 1000 + 3599);
    assert_eq!(register.trust().await.unwrap().revoked, both);
    clock::stop_at(begun + 1000 + 3600);
    assert_eq!(register.trust().await.unwrap().revoked, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_have_ended_and_cannot_be_renewed_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut register = register(folder.path(), 0).await;
    register.policy.life_s = 1000;
    let begun = clock::unix_s();
    clock::stop_at(begun);
    let (id, first) = enrolled(&register, "a-1").await;
    clock::stop_at(begun + 500);
    register.renew(&id, &first, &request().1, "").await.unwrap();
    let second = register.get(&id).await.unwrap().0.certificate.serial;
    clock::stop_at(begun + 1000);
    register
        .renew(&id, &second, &request().1, "")
        .await
        .unwrap();
    let known = register.admit(&id, &second).await.unwrap().certificates;
    assert!(known.iter().all(|certificate| certificate.serial != first));
    let refused = register.admit(&id, &first).await;
    assert!(matches!(refused, Err(Trouble::Denied(_))), "{refused:?}");
    // What has ended by itself nobody needs to hear of.
    assert_eq!(register.trust().await.unwrap().revoked, [""; 0]);
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
