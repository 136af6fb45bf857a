//! Public keys of nodes: which kinds we certify, and whether one has signed something.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519, Oid,
};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Which kinds of key nodes may have.
///
/// No RSA: our nodes make P-256 keys, and a large RSA key makes each handshake of whoever checks it dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
}

/// A node's public key, of a kind and length that fit. Whether it lies on its curve shows when it verifies something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeKey {
    kind: Kind,
    bytes: Vec<u8>,
}

impl NodeKey {
    pub(crate) fn read(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let parameters = info.algorithm.parameters.as_ref();
        let curve = || parameters.and_then(|parameters| parameters.as_oid().ok());
        let (kind, length) = if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = curve()?;
            // Uncompressed points (RFC 5480, section 2.2), the one form every TLS library reads.
            if curve == OID_EC_P256 {
                (Kind::P256, 65)
            } else if curve == OID_NIST_EC_P384 {
                (Kind::P384, 97)
            } else {
                return None;
            }
        //= RFC 8410, section 3
        //# For all of the OIDs, the parameters MUST be absent.
        } else if info.algorithm.algorithm == OID_SIG_ED25519 && parameters.is_none() {
            (Kind::Ed25519, 32)
        } else {
            return None;
        };
        let bits = &info.subject_public_key;
        let fits = bits.data.len() == length && bits.unused_bits == 0;
        let uncompressed = kind == Kind::Ed25519 || bits.data.first() == Some(&4);
        (fits && uncompressed).then(|| Self {
            kind,
            bytes: bits.data.to_vec(),
        })
    }

    /// Whether a signature of `algorithm` can be one of this key.
    pub(crate) fn signs_with(&self, algorithm: &Oid<'_>) -> bool {
        match self.kind {
            Kind::P256 | Kind::P384 => {
                *algorithm == OID_SIG_ECDSA_WITH_SHA256 || *algorithm == OID_SIG_ECDSA_WITH_SHA384
            }
            Kind::Ed25519 => *algorithm == OID_SIG_ED25519,
        }
    }

    /// Whether `signature` is this key's over `message`: with SHA-256 for P-256, SHA-384 for P-384, in ASN.1.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::P384 => &ECDSA_P384_SHA384_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes)
            .verify(message, signature)
            .is_ok()
    }
}

impl PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            Kind::P256 => &PKCS_ECDSA_P256_SHA256,
            Kind::P384 => &PKCS_ECDSA_P384_SHA384,
            Kind::Ed25519 => &PKCS_ED25519,
        }
    }
}
