//! Ed25519 keys: the private one that signs, the public ones that count, and what a key is called.
//!
//! Keys go in and out in their standard DER forms (RFC 8410), so that openssl reads and makes them;
//! PEM and files are left to whoever calls.

use core::fmt;
use core::str::FromStr;

use ring::digest;
use ring::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// SubjectPublicKeyInfo (RFC 8410, section 4) in front of the 32 bytes of an Ed25519 key.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What a key is called: the first 8 bytes of the SHA-256 of its 32 bytes, as 16 hexadecimal digits.
///
/// It finds a key among those that count and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.as_bytes().iter().all(lower) {
            return Err(KeyError::Id);
        }
        u64::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_not_hexadecimal| KeyError::Id)
    }
}

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the SubjectPublicKeyInfo of an Ed25519 key.
    Public,
    /// Not the PKCS#8 of an Ed25519 key.
    Private,
    /// Not 16 lower-case hexadecimal digits.
    Id,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "not an Ed25519 public key (SubjectPublicKeyInfo, RFC 8410)",
            Self::Private => "not an Ed25519 private key (PKCS#8, RFC 8410)",
            Self::Id => "a key id is 16 lower-case hexadecimal digits",
        })
    }
}

impl core::error::Error for KeyError {}

/// A key whose signatures count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
    id: KeyId,
}

impl PublicKey {
    /// From its SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::Public`] for anything but an Ed25519 key.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        der.strip_prefix(&SPKI_PREFIX)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self::new)
            .ok_or(KeyError::Public)
    }

    fn new(bytes: [u8; 32]) -> Self {
        let mut id = [0; 8];
        let digest = digest::digest(&digest::SHA256, &bytes);
        for (to, from) in id.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self {
            bytes,
            id: KeyId(id),
        }
    }

    /// Its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.bytes].concat()
    }

    /// What it is called.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ED25519, self.bytes)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

/// Whose signatures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: anybody's or those of some keys"
)]
pub enum Signers<'k> {
    /// Anybody's, unchecked: for whoever was told of no key a document is as good as its way here.
    Anybody,
    /// Those of these keys; of none when there are none.
    Keys(&'k [PublicKey]),
}

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// From its PKCS#8 in DER, version 1 as openssl writes it or version 2 with the public half.
    ///
    /// # Errors
    /// [`KeyError::Private`] for anything but an Ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_rejected| KeyError::Private)?;
        Self::from_pair(pair)
    }

    /// From its 32 bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Private`] when they are refused.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_rejected| KeyError::Private)?;
        Self::from_pair(pair)
    }

    fn from_pair(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let bytes = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .map_err(|_another_length| KeyError::Private)?;
        Ok(Self {
            pair,
            public: PublicKey::new(bytes),
        })
    }

    /// The half that others count on.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        bytes
    }
}

impl fmt::Debug for SigningKey {
    /// Says which; the key itself is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8410, section 10.1 and 10.3: the key of the examples.
    const SPKI: [u8; 44] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x19, 0xbf, 0x44,
        0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50,
        0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1,
    ];
    const PKCS8: [u8; 48] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20, 0xd4, 0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69,
        0xf8, 0xad, 0x3a, 0xfe, 0x7c, 0x28, 0xcb, 0xf1, 0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44,
        0x75, 0x58, 0x42,
    ];

    #[test]
    fn the_keys_of_the_standards_examples_belong_together() {
        let signing = SigningKey::from_pkcs8(&PKCS8).unwrap();
        let public = PublicKey::from_spki(&SPKI).unwrap();
        assert_eq!(signing.public(), public);
        let seed = PKCS8[16..].try_into().unwrap();
        assert_eq!(SigningKey::from_seed(seed).unwrap().public(), public);
        assert_eq!(public.to_spki(), SPKI);
        assert!(public.verifies(b"message", &signing.sign(b"message")));
        assert!(!public.verifies(b"massage", &signing.sign(b"message")));
    }

    #[test]
    fn another_kind_or_length_of_key_is_refused() {
        let mut x25519 = SPKI;
        x25519[8] = 0x6e;
        let longer = [SPKI.as_slice(), &[0]].concat();
        for der in [&x25519[..], &SPKI[..43], &longer, &[]] {
            assert_eq!(PublicKey::from_spki(der), Err(KeyError::Public));
        }
        for der in [&PKCS8[..47], &SPKI, &[]] {
            assert!(matches!(
                SigningKey::from_pkcs8(der),
                Err(KeyError::Private)
            ));
        }
    }

    #[test]
    fn a_key_id_is_read_as_it_is_shown_and_in_no_other_way() {
        let id = PublicKey::from_spki(&SPKI).unwrap().id();
        assert_eq!(id.to_string().parse(), Ok(id));
        let upper = id.to_string().to_uppercase();
        for text in ["", "12", "+123456789abcdef", &upper, "00000000000000000"] {
            assert_eq!(text.parse::<KeyId>(), Err(KeyError::Id), "{text}");
        }
    }

    #[test]
    fn a_private_key_is_not_shown() {
        let key = SigningKey::from_pkcs8(&PKCS8).unwrap();
        let wanted = format!("SigningKey({})", key.public().id());
        assert_eq!(format!("{key:?}"), wanted);
    }
}
