//! The key of a node, and what it signs: that the chain stood at this record at that time.
//!
//! Making and keeping keys is left to whoever has files and randomness.
use core::fmt;

use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::hex;
use crate::record::Checkpoint;

/// The first 8 bytes of the SHA-256 of a public key: tells keys apart, proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

/// The public half of a node's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    bytes: [u8; 32],
}

/// A node's key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// These bytes are no Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyError;

impl SigningKey {
    /// Reads a private key in PKCS #8 (RFC 8410).
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_no_reason_told| KeyError)?;
        let bytes =
            <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_another_length| KeyError)?;
        Ok(Self {
            pair,
            public: PublicKey::new(bytes),
        })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The record of number `sequence`, behind the line of digest `previous`, that signs all up to itself.
    #[must_use]
    pub fn checkpoint(&self, sequence: u64, previous: Digest, unix_ms: u64) -> Checkpoint {
        let signature = self.pair.sign(&signed(sequence, previous, unix_ms));
        let mut bytes = [0; 64];
        bytes.copy_from_slice(signature.as_ref());
        Checkpoint {
            unix_ms,
            key: self.public.id,
            signature: Signature(bytes),
        }
    }
}

impl PublicKey {
    fn new(bytes: [u8; 32]) -> Self {
        let mut id = [0; 8];
        let digest = digest::digest(&digest::SHA256, &bytes);
        for (to, from) in id.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self {
            id: KeyId(id),
            bytes,
        }
    }

    /// Reads a SubjectPublicKeyInfo (RFC 8410).
    ///
    /// # Errors
    /// When it is none of Ed25519.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let bytes = der.strip_prefix(&SPKI).ok_or(KeyError)?;
        <[u8; 32]>::try_from(bytes)
            .map(Self::new)
            .map_err(|_another_length| KeyError)
    }

    /// Writes a SubjectPublicKeyInfo.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        [&SPKI[..], &self.bytes].concat()
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether this key signed `checkpoint`, as record `sequence` behind the line of digest `previous`.
    #[must_use]
    pub fn has_signed(&self, checkpoint: &Checkpoint, sequence: u64, previous: Digest) -> bool {
        let signed = signed(sequence, previous, checkpoint.unix_ms);
        UnparsedPublicKey::new(&ED25519, self.bytes)
            .verify(&signed, &checkpoint.signature.0)
            .is_ok()
    }
}

/// What is signed: a name that no other signature of ours begins with, and numbers of fixed length.
fn signed(sequence: u64, previous: Digest, unix_ms: u64) -> Vec<u8> {
    let mut bytes = b"adit-audit-checkpoint 1\n".to_vec();
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(previous.as_bytes());
    bytes.extend_from_slice(&unix_ms.to_be_bytes());
    bytes
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no Ed25519 key")
    }
}

impl std::error::Error for KeyError {}

macro_rules! in_hex {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::text(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                hex::read(&text)
                    .map(Self)
                    .ok_or_else(|| serde::de::Error::custom($what))
            }
        }
    };
}

in_hex!(KeyId, "a key is named by 16 lower-case hexadecimal digits");
in_hex!(
    Signature,
    "a signature is 128 lower-case hexadecimal digits"
);

/// SubjectPublicKeyInfo of Ed25519 up to the 32 bytes of the key (RFC 8410, section 4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The key of RFC 8032, section 7.1, test 1, in PKCS #8 (RFC 8410, section 7).
    pub(crate) fn key() -> SigningKey {
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend(
            hex::read::<32>("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
                .unwrap(),
        );
        SigningKey::from_pkcs8(&der).unwrap()
    }

    #[test]
    fn the_public_half_is_the_one_of_the_standard_and_reads_back() {
        let public = key().public();
        assert_eq!(
            hex::text(&public.bytes),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(PublicKey::from_spki(&public.to_spki()), Ok(public));
        let mut longer = public.to_spki();
        longer.push(0);
        for wrong in [&[][..], &longer, &longer[1..], &longer[..43]] {
            assert_eq!(PublicKey::from_spki(wrong), Err(KeyError));
        }
        assert!(SigningKey::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn a_checkpoint_is_signed_for_its_place_and_time_only() {
        let key = key();
        let before = Digest::of(b"line");
        let checkpoint = key.checkpoint(7, before, 99);
        let public = key.public();
        assert!(public.has_signed(&checkpoint, 7, before));
        assert!(!public.has_signed(&checkpoint, 8, before));
        assert!(!public.has_signed(&checkpoint, 7, Digest::ZERO));
        let later = Checkpoint {
            unix_ms: 100,
            ..checkpoint
        };
        assert!(!public.has_signed(&later, 7, before));
        assert!(!format!("{key:?}").contains("9d61"));
    }
}
