//! One direction's traffic key: what rustls derived, in the form the record layer works with.
//!
//! Derivation is rustls'; this module only unpacks its answer. It prints nothing of it.

use std::fmt;

use ring::aead::{self, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use crate::error::Error;

/// The cipher suites of TLS 1.3 that a tunnel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a further suite needs a further cipher in every test of this room"
)]
pub enum Suite {
    /// `TLS_AES_128_GCM_SHA256`, preferred: the fastest where the processor helps with AES.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256Gcm,
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    Chacha20Poly1305,
}

impl Suite {
    /// All suites, in our order of preference.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Chacha20Poly1305];

    /// The name in the IANA registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::Chacha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Key and initialisation vector of one direction until its next key update.
pub(crate) struct TrafficKey {
    pub(crate) cipher: LessSafeKey,
    suite: Suite,
    /// The vector, split where the sequence number is added.
    iv_head: [u8; 4],
    iv_tail: u64,
}

impl TrafficKey {
    pub(crate) fn new(secrets: &ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (suite, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (Suite::Chacha20Poly1305, key, iv)
            }
            _ => return Err(unusable("of an unknown suite")),
        };
        Self::from_parts(suite, key.as_ref(), iv.as_ref())
    }

    /// The key of `suite` made of raw bytes.
    pub(crate) fn from_parts(suite: Suite, key: &[u8], iv: &[u8]) -> Result<Self, Error> {
        let unbound = UnboundKey::new(suite.algorithm(), key)
            .map_err(|ring::error::Unspecified| unusable("with a key of the wrong length"))?;
        let Ok([a, b, c, d, tail @ ..]) = <[u8; 12]>::try_from(iv) else {
            return Err(unusable("with a vector of the wrong length"));
        };
        Ok(Self {
            cipher: LessSafeKey::new(unbound),
            suite,
            iv_head: [a, b, c, d],
            iv_tail: u64::from_be_bytes(tail),
        })
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// The nonce of record number `sequence` under this key.
    //= RFC 8446, section 5.3
    //# The padded sequence number is XORed with either the static client_write_iv or
    //# server_write_iv (depending on the role).
    #[inline]
    pub(crate) fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        let (head, tail) = nonce.split_at_mut(4);
        head.copy_from_slice(&self.iv_head);
        tail.copy_from_slice(&(self.iv_tail ^ sequence).to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for TrafficKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrafficKey({}, secret)", self.suite)
    }
}

fn unusable(how: &str) -> Error {
    Error::Secrets(Box::new(rustls::Error::General(format!("secrets {how}"))))
}
