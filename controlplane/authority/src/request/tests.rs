//! Signing requests, good and bad. Requests that openssl makes are in `tests/`.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _, SignatureAlgorithm,
};

use super::*;
use crate::pem::pem;

fn request(algorithm: &'static SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (request.der().to_vec(), key.subject_public_key_info())
}

fn read(der: &[u8]) -> Result<NodeKey, RequestError> {
    proven_key(&pem("CERTIFICATE REQUEST", der))
}

#[test]
fn every_kind_of_key_we_certify_is_taken_as_it_is() {
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ] {
        let (der, public) = request(algorithm);
        let key = read(&der).unwrap();
        assert_eq!(key.subject_public_key_info(), public, "{algorithm:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_request_is_refused() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let (der, _) = request(algorithm);
        let mut found = Vec::new();
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut altered = der.clone();
                altered[at] ^= 1 << bit;
                if read(&altered).is_ok() {
                    found.push((at, bit, der[at]));
                }
            }
        }
        assert_eq!(found, [], "{algorithm:?}: byte, bit, what it was");
    }
}

#[test]
fn a_request_cut_off_or_with_something_behind_it_is_refused() {
    let (der, _) = request(&PKCS_ECDSA_P256_SHA256);
    for length in 0..der.len() {
        assert!(read(&der[..length]).is_err(), "{length}");
    }
    let longer = [der.as_slice(), &[0]].concat();
    assert_eq!(read(&longer), Err(RequestError::Malformed));
}

#[test]
fn what_is_not_one_pem_section_of_a_request_is_refused() {
    let (der, _) = request(&PKCS_ECDSA_P256_SHA256);
    let good = pem("CERTIFICATE REQUEST", &der);
    assert!(proven_key(&good).is_ok());
    for bad in [
        String::new(),
        "hello".to_owned(),
        pem("CERTIFICATE", &der),
        good.replace("-----END CERTIFICATE REQUEST-----", ""),
        format!("{good}{good}"),
        good.replacen('M', "!", 1),
    ] {
        assert_eq!(proven_key(&bad), Err(RequestError::NotPem), "{bad}");
    }
    assert_eq!(read(&[]), Err(RequestError::Malformed));
    assert_eq!(read(&[0x30, 0x00]), Err(RequestError::Malformed));
}

#[test]
fn another_keys_signature_is_refused() {
    let (mine, _) = request(&PKCS_ED25519);
    let (other, _) = request(&PKCS_ED25519);
    // Same lengths, so the last 64 bytes are the signature.
    let swapped = [&mine[..mine.len() - 64], &other[other.len() - 64..]].concat();
    assert_eq!(read(&swapped), Err(RequestError::Signature));
}

#[test]
fn a_signature_of_another_kind_than_the_key_is_refused() {
    let (p256, _) = request(&PKCS_ECDSA_P256_SHA256);
    // ecdsa-with-SHA256 (1.2.840.10045.4.3.2) becomes ecdsa-with-SHA512 (..4), which no key of ours signs with.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let at = p256.windows(8).position(|window| window == oid).unwrap();
    let mut altered = p256;
    altered[at + 7] = 4;
    assert_eq!(read(&altered), Err(RequestError::Key));
}

#[test]
fn a_request_of_request_bytes_max_is_read_and_one_byte_more_is_not() {
    let (der, _) = request(&PKCS_ECDSA_P256_SHA256);
    let good = pem("CERTIFICATE REQUEST", &der);
    let padded = |bytes: usize| format!("{}{good}", "\n".repeat(bytes - good.len()));
    assert!(proven_key(&padded(REQUEST_BYTES_MAX)).is_ok());
    assert_eq!(
        proven_key(&padded(REQUEST_BYTES_MAX + 1)),
        Err(RequestError::TooLong {
            bytes: REQUEST_BYTES_MAX + 1
        })
    );
}

#[test]
fn what_a_request_asks_for_is_not_looked_at() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["erp.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.serialize_request(&key).unwrap().der().to_vec();
    let read = read(&der).unwrap();
    assert_eq!(read.der_bytes(), key.public_key_raw());
}

proptest::proptest! {
    #[test]
    fn any_bytes_for_a_request_are_refused_without_panic(bytes: Vec<u8>) {
        proptest::prop_assert!(read(&bytes).is_err());
        proptest::prop_assert!(proven_key(&String::from_utf8_lossy(&bytes)).is_err());
    }
}
