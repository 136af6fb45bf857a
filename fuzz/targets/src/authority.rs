//! What strangers show to the certificate authority, and sealed bytes.

use std::sync::OnceLock;
use std::time::Duration;

use adit_authority::{
    Authority, Identity, Invitation, SealKey, TrustDomain, parse_leaf, pem, seal,
};
use adit_proto::control::Expired;
use time::OffsetDateTime;

use crate::input::Input;

const LIFE: Duration = Duration::from_secs(30 * 86_400);

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn ours() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let domain: TrustDomain = "adit.local".parse().expect("a trust domain");
        Authority::new(&domain, 100 * LIFE, now()).expect("there is randomness")
    })
}

fn gateway() -> Identity {
    Identity::Gateway {
        name: "gw-1".parse().expect("a name"),
    }
}

/// Invitations, requests, certificates, proofs and sealed bytes. The first byte chooses.
pub fn authority(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.byte() % 6;
    let rest = input.rest();
    let text = String::from_utf8_lossy(rest);
    match mode {
        0 => invitation(&text),
        1 => request(&text),
        2 => request(&pem("CERTIFICATE REQUEST", rest)),
        3 => certificate(rest),
        4 => sealed(rest),
        _ => identity(&text),
    }
}

fn invitation(text: &str) {
    match Invitation::parse(text) {
        Ok(invitation) => {
            assert_eq!(invitation.text(), text, "one spelling");
            assert_eq!(Invitation::hash_of(text), Ok(invitation.hash()));
            assert_eq!(
                Invitation::hash_of(&invitation.secret()),
                Ok(invitation.hash())
            );
            assert!(!format!("{invitation:?}").contains(&invitation.secret()));
        }
        Err(refused) => assert!(!refused.to_string().contains(text) || text.len() < 30),
    }
}

/// Whatever is issued names whom we said, under our number.
fn request(csr: &str) {
    let Ok(issued) = ours().issue(csr, &gateway(), LIFE, now()) else {
        return;
    };
    assert_eq!(issued.spiffe_id, "spiffe://adit.local/gateway/gw-1");
    assert_eq!(issued.serial.len(), 32);
}

fn certificate(der: &[u8]) {
    if let Ok(leaf) = parse_leaf(der) {
        assert!(leaf.serial == "0" || !leaf.serial.starts_with('0'));
    }
    let proof = Expired {
        certificate: pem("CERTIFICATE", der),
        signature: String::new(),
    };
    assert!(
        ours().check_expired(&proof, "", now()).is_err(),
        "nobody has our key"
    );
}

/// A key of bytes: what a passphrase costs is bounded, and still too much for a fuzzer.
fn sealed(bytes: &[u8]) {
    let key = SealKey::from_bytes([7; 32]);
    assert!(
        seal::open(bytes, "authority", &key).is_err(),
        "nobody has our key"
    );
    let sealed = seal::seal(bytes, "fuzz", &key).expect("there is randomness");
    assert_eq!(seal::open(&sealed, "fuzz", &key).as_deref(), Ok(bytes));
}

fn identity(text: &str) {
    let domain = ours().trust_domain();
    if let Some(identity) = Identity::parse(text, domain) {
        assert_eq!(identity.spiffe_id(domain), text, "one spelling");
    }
}
