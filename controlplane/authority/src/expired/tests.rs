//! Who comes too late, and what proves it.

use core::time::Duration;

use rcgen::{CertificateParams, KeyPair, SigningKey as _};

use super::*;
use crate::Authority;

const LIFE: Duration = Duration::from_secs(120);

/// An authority, and an agent whose certificate has ended a day ago.
struct Late {
    authority: Authority,
    key: KeyPair,
    certificate: String,
    csr: String,
}

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn now() -> OffsetDateTime {
    start() + Duration::from_secs(86_400)
}

fn domain() -> TrustDomain {
    "adit.local".parse().unwrap()
}

fn agent() -> Identity {
    Identity::Agent {
        subaccount: "acme".parse().unwrap(),
        name: "berlin-1".parse().unwrap(),
    }
}

fn csr(key: &KeyPair) -> String {
    let request = CertificateParams::default().serialize_request(key);
    request.unwrap().pem().unwrap()
}

impl Late {
    fn new() -> Self {
        Self::naming(&agent())
    }

    fn naming(identity: &Identity) -> Self {
        let life = Duration::from_secs(10 * 86_400);
        let authority = Authority::new(&domain(), life, start()).unwrap();
        let key = KeyPair::generate().unwrap();
        let issued = authority.issue(&csr(&key), identity, LIFE, start());
        Self {
            authority,
            certificate: issued.unwrap().certificate_pem,
            key,
            csr: csr(&KeyPair::generate().unwrap()),
        }
    }

    fn proof(&self) -> Expired {
        let signature = self.key.sign(&Expired::signed(&self.csr)).unwrap();
        Expired {
            certificate: self.certificate.clone(),
            signature: STANDARD.encode(signature),
        }
    }

    fn check(&self, proof: &Expired) -> Result<ExpiredNode, ExpiredError> {
        self.authority.check_expired(proof, &self.csr, now())
    }
}

#[test]
fn the_owner_of_an_expired_certificate_is_known_again() {
    let late = Late::new();
    let node = late.check(&late.proof()).unwrap();
    assert_eq!(node.identity, agent());
    assert_eq!(node.not_after_unix_s, 1_800_000_120);
    assert_eq!(node.serial.len(), 32);
}

#[test]
fn a_signature_for_another_request_or_by_another_key_is_refused() {
    let late = Late::new();
    let proof = late.proof();
    let other = csr(&KeyPair::generate().unwrap());
    let checked = late.authority.check_expired(&proof, &other, now());
    assert_eq!(checked, Err(ExpiredError::Signature));

    let stranger = KeyPair::generate().unwrap();
    let signature = stranger.sign(&Expired::signed(&late.csr)).unwrap();
    // Over the request without the fixed text in front: what a handshake or a request could have had signed.
    let bare = late.key.sign(late.csr.as_bytes()).unwrap();
    for signature in [
        STANDARD.encode(signature),
        STANDARD.encode(bare),
        String::new(),
        "!".to_owned(),
        "A".repeat(SIGNATURE_CHARS_MAX + 4),
    ] {
        let proof = Expired {
            signature,
            ..late.proof()
        };
        assert_eq!(late.check(&proof), Err(ExpiredError::Signature));
    }
}

#[test]
fn a_certificate_of_another_authority_with_the_same_name_is_refused() {
    let (ours, theirs) = (Late::new(), Late::new());
    let checked = ours
        .authority
        .check_expired(&theirs.proof(), &theirs.csr, now());
    assert_eq!(checked, Err(ExpiredError::Stranger));
}

#[test]
fn a_root_that_has_gone_or_ended_vouches_for_nobody() {
    let mut late = Late::new();
    let life = Duration::from_secs(20 * 86_400);
    late.authority.begin_roll(life, start()).unwrap();
    late.authority.switch().unwrap();
    assert!(late.check(&late.proof()).is_ok(), "it is still trusted");
    let end = start() + Duration::from_secs(10 * 86_400);
    let checked = late.authority.check_expired(&late.proof(), &late.csr, end);
    assert_eq!(checked, Err(ExpiredError::Stranger), "it has ended");
    late.authority.finish().unwrap();
    assert_eq!(late.check(&late.proof()), Err(ExpiredError::Stranger));
}

#[test]
fn who_is_no_node_is_not_renewed() {
    let control = Late::naming(&Identity::Control {
        name: "cp-1".parse().unwrap(),
    });
    assert_eq!(control.check(&control.proof()), Err(ExpiredError::Identity));
    let late = Late::new();
    let root = Expired {
        certificate: late.authority.trust(Vec::new()).roots,
        ..late.proof()
    };
    assert_eq!(late.check(&root), Err(ExpiredError::Identity));
}

#[test]
fn a_certificate_of_tomorrow_is_refused() {
    let late = Late::new();
    let yesterday = start() - Duration::from_secs(86_400);
    let checked = late
        .authority
        .check_expired(&late.proof(), &late.csr, yesterday);
    assert_eq!(checked, Err(ExpiredError::Early));
}

#[test]
fn every_flipped_bit_of_the_certificate_is_refused() {
    let late = Late::new();
    let der = CertificateDer::from_pem_slice(late.certificate.as_bytes()).unwrap();
    let mut found = Vec::new();
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut altered = der.to_vec();
            altered[at] ^= 1 << bit;
            let proof = Expired {
                certificate: crate::pem("CERTIFICATE", &altered),
                ..late.proof()
            };
            if late.check(&proof).is_ok() {
                found.push((at, bit, der[at]));
            }
        }
    }
    assert_eq!(found, [], "byte, bit, what it was");
}

#[test]
fn proofs_of_certificate_bytes_max_and_request_bytes_max_are_read_and_longer_ones_are_not() {
    let mut late = Late::new();
    let padded = |text: &str, bytes: usize| format!("{}{text}", "\n".repeat(bytes - text.len()));
    let proof = |bytes| Expired {
        certificate: padded(&late.certificate, bytes),
        ..late.proof()
    };
    assert!(late.check(&proof(CERTIFICATE_BYTES_MAX)).is_ok());
    let longer = proof(CERTIFICATE_BYTES_MAX + 1);
    assert_eq!(late.check(&longer), Err(ExpiredError::Certificate));
    late.csr = padded(&late.csr, REQUEST_BYTES_MAX);
    assert!(late.check(&late.proof()).is_ok());
    late.csr.push('\n');
    assert_eq!(late.check(&late.proof()), Err(ExpiredError::TooLong));
    let two = Expired {
        certificate: late.certificate.repeat(2),
        ..late.proof()
    };
    late.csr.pop();
    assert_eq!(late.check(&two), Err(ExpiredError::Certificate));
}
