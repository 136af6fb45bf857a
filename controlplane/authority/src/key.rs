//! Public keys of nodes: which kinds we certify, and whether one has signed something.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519,
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

    /// Whether a signature of `algorithm` (an AlgorithmIdentifier, DER) can be one of this key.
    pub(crate) fn signs_with(&self, algorithm: &[u8]) -> bool {
        self.verification(algorithm).is_some()
    }

    /// Whether `signature`, of `algorithm`, is this key's over `message`.
    pub(crate) fn verifies_as(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        self.verification(algorithm).is_some_and(|algorithm| {
            UnparsedPublicKey::new(algorithm, &self.bytes)
                .verify(message, signature)
                .is_ok()
        })
    }

    /// [`verifies_as`](Self::verifies_as) where nothing names the algorithm: with SHA-256 for P-256, SHA-384 for P-384.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self.kind {
            Kind::P256 => ECDSA_WITH_SHA256,
            Kind::P384 => ECDSA_WITH_SHA384,
            Kind::Ed25519 => WITH_ED25519,
        };
        self.verifies_as(algorithm, message, signature)
    }

    fn verification(&self, algorithm: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self.kind, algorithm) {
            (Kind::P256, ECDSA_WITH_SHA256) => &ECDSA_P256_SHA256_ASN1,
            (Kind::P256, ECDSA_WITH_SHA384) => &ECDSA_P256_SHA384_ASN1,
            // What openssl signs requests with for any key, unless it is told otherwise.
            (Kind::P384, ECDSA_WITH_SHA256) => &ECDSA_P384_SHA256_ASN1,
            (Kind::P384, ECDSA_WITH_SHA384) => &ECDSA_P384_SHA384_ASN1,
            (Kind::Ed25519, WITH_ED25519) => &ED25519,
            _ => return None,
        })
    }
}

/// ecdsa-with-SHA256 (RFC 5758, section 3.2): no parameters.
const ECDSA_WITH_SHA256: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

/// ecdsa-with-SHA384 (RFC 5758, section 3.2): no parameters.
const ECDSA_WITH_SHA384: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03,
];

/// id-Ed25519 (RFC 8410, section 3): no parameters.
const WITH_ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

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
