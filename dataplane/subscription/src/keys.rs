//! A node's own key: made here, never sent; what is sent is a request for a certificate, signed with it.

use adit_proto::control::Expired;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SigningKey};

/// A new key (ECDSA P-256) and the request for its certificate.
pub(crate) struct Fresh {
    /// PKCS #8, PEM: secret.
    pub(crate) key_pem: String,
    /// PEM.
    pub(crate) csr: String,
}

impl Fresh {
    /// Draws a key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(crate) fn draw() -> Result<Self, String> {
        let say = |error: rcgen::Error| format!("a key cannot be made: {error}");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(say)?;
        let mut params = CertificateParams::default();
        // Whoever signs says who this is; a name in the request would only mislead.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(say)?;
        Ok(Self {
            key_pem: key.serialize_pem(),
            csr: request.pem().map_err(say)?,
        })
    }
}

/// The public key of `key_pem`, a DER `SubjectPublicKeyInfo`; `None` when it is no key.
pub(crate) fn public_key(key_pem: &str) -> Option<Vec<u8>> {
    let key = KeyPair::from_pem(key_pem).ok()?;
    Some(key.subject_public_key_info())
}

/// Proves that we hold the key of `certificate`, which has expired.
///
/// # Errors
/// When the key cannot sign.
pub(crate) fn prove(key_pem: &str, certificate: &str, csr: &str) -> Result<Expired, String> {
    let say = |error: rcgen::Error| format!("the old key cannot sign: {error}");
    let key = KeyPair::from_pem(key_pem).map_err(say)?;
    let signature = key.sign(&Expired::signed(csr)).map_err(say)?;
    Ok(Expired {
        certificate: certificate.to_owned(),
        signature: BASE64_STANDARD.encode(signature),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_with_the_key_and_names_nobody() {
        let fresh = Fresh::draw().unwrap();
        let request = rcgen::CertificateSigningRequestParams::from_pem(&fresh.csr).unwrap();
        assert_eq!(
            request.public_key.subject_public_key_info(),
            public_key(&fresh.key_pem).unwrap()
        );
        assert!(request.params.subject_alt_names.is_empty());
        assert_ne!(Fresh::draw().unwrap().key_pem, fresh.key_pem);
    }

    #[test]
    fn the_proof_of_an_old_key_verifies_with_its_public_half_and_for_this_request_only() {
        let fresh = Fresh::draw().unwrap();
        let proof = prove(&fresh.key_pem, "certificate", "request").unwrap();
        let signature = BASE64_STANDARD.decode(proof.signature).unwrap();
        let key = KeyPair::from_pem(&fresh.key_pem).unwrap();
        let public = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            key.public_key_raw(),
        );
        assert!(
            public
                .verify(&Expired::signed("request"), &signature)
                .is_ok()
        );
        assert!(
            public
                .verify(&Expired::signed("another"), &signature)
                .is_err()
        );
    }
}
