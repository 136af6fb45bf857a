//! Sealing: bytes at rest that only a key or a passphrase opens, and that cannot be altered unseen.
//!
//! ```text
//! "adit-sealed" [version 1] [kind of key] [memory, KiB: 4] [passes: 4] [lanes: 4] [salt: 16] [nonce: 12]
//! [length of purpose: 1] [purpose] [ciphertext] [tag: 16]
//! ```
//!
//! Numbers are big-endian. AES-256-GCM; all in front of the ciphertext is authenticated with it. Its key is made of the
//! secret, the salt and the purpose by HKDF-SHA256 (RFC 5869), so each sealing has its own; a passphrase goes through
//! Argon2id (RFC 9106) before, as costly as the header says. Where sealed bytes lie is left to whoever calls.

use core::fmt;
use core::hint::black_box;

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::error::OpenError;
use crate::limits::{KDF_LANES_MAX, KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX, PURPOSE_BYTES_MAX};
use crate::root::random;

/// What opens sealed bytes.
pub struct SealKey(Secret);

enum Secret {
    Bytes([u8; 32]),
    Passphrase(String),
}

impl SealKey {
    /// 32 random bytes, as a key file holds them. Costs nothing to use.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::Bytes(bytes))
    }

    /// What a person remembers. To seal or open takes 64 MiB and about a fifth of a second.
    #[must_use]
    pub fn passphrase(passphrase: String) -> Self {
        Self(Secret::Passphrase(passphrase))
    }
}

impl fmt::Debug for SealKey {
    /// Says which kind; the rest is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Secret::Bytes(_) => "SealKey(bytes)",
            Secret::Passphrase(_) => "SealKey(passphrase)",
        })
    }
}

impl Drop for SealKey {
    fn drop(&mut self) {
        match &mut self.0 {
            Secret::Bytes(bytes) => wipe(bytes),
            Secret::Passphrase(passphrase) => {
                let mut bytes = core::mem::take(passphrase).into_bytes();
                wipe(&mut bytes);
            }
        }
    }
}

/// Seals `content`; `purpose` is a word for what it is, and must be said again to open it. Takes as much memory as
/// `content` once more.
///
/// # Errors
/// [`OpenError::LongPurpose`], [`OpenError::NoRandomness`].
pub fn seal(content: &[u8], purpose: &str, key: &SealKey) -> Result<Vec<u8>, OpenError> {
    seal_at(content, purpose, key, PASSPHRASE_COSTS)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`OpenError`]; one and the same for another key, another passphrase and altered bytes.
pub fn open(sealed: &[u8], purpose: &str, key: &SealKey) -> Result<Vec<u8>, OpenError> {
    let (header, head_bytes) = Header::read(sealed)?;
    if header.purpose != purpose {
        return Err(OpenError::Purpose {
            found: header.purpose.to_owned(),
        });
    }
    let (head, ciphertext) = sealed.split_at(head_bytes);
    let aead = header.key(key)?;
    let mut content = ciphertext.to_vec();
    let length = aead
        .open_in_place(
            Nonce::assume_unique_for_key(header.nonce),
            Aad::from(head),
            &mut content,
        )
        .map_err(|_unspecified| OpenError::Key)?
        .len();
    content.truncate(length);
    Ok(content)
}

/// Overwrites what was a secret. As good as safe code can; copies the compiler made stay.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// What Argon2id is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// RFC 9106, section 4, the second choice, with one lane: we have one thread.
const PASSPHRASE_COSTS: Costs = Costs {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};

/// A key of 32 bytes costs nothing.
const NO_COSTS: Costs = Costs {
    memory_kib: 0,
    passes: 0,
    lanes: 0,
};

const MAGIC: &[u8; 11] = b"adit-sealed";
const VERSION: u8 = 1;
const KIND_BYTES: u8 = 1;
const KIND_PASSPHRASE: u8 = 2;

/// What stands in front of the ciphertext.
#[derive(Debug, PartialEq, Eq)]
struct Header<'b> {
    /// For a passphrase, what it costs.
    costs: Option<Costs>,
    salt: [u8; 16],
    nonce: [u8; 12],
    purpose: &'b str,
}

fn seal_at(
    content: &[u8],
    purpose: &str,
    key: &SealKey,
    costs: Costs,
) -> Result<Vec<u8>, OpenError> {
    let header = Header {
        costs: match key.0 {
            Secret::Bytes(_) => None,
            Secret::Passphrase(_) => Some(costs),
        },
        salt: random()?,
        nonce: random()?,
        purpose,
    };
    let mut sealed = header.write()?;
    let aead = header.key(key)?;
    let head_bytes = sealed.len();
    sealed.reserve_exact(content.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(content);
    let (head, body) = sealed.split_at_mut(head_bytes);
    let tag = aead
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(header.nonce),
            Aad::from(head),
            body,
        )
        .map_err(|_longer_than_64_gib| OpenError::Key)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

impl<'b> Header<'b> {
    fn write(&self) -> Result<Vec<u8>, OpenError> {
        let length = u8::try_from(self.purpose.len())
            .ok()
            .filter(|length| usize::from(*length) <= PURPOSE_BYTES_MAX)
            .ok_or(OpenError::LongPurpose)?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.push(if self.costs.is_some() {
            KIND_PASSPHRASE
        } else {
            KIND_BYTES
        });
        let costs = self.costs.unwrap_or(NO_COSTS);
        for number in [costs.memory_kib, costs.passes, costs.lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.nonce);
        bytes.push(length);
        bytes.extend_from_slice(self.purpose.as_bytes());
        Ok(bytes)
    }

    /// The header and its length in bytes. Costs nothing: what it asks for is within bounds.
    fn read(sealed: &'b [u8]) -> Result<(Self, usize), OpenError> {
        let mut rest = sealed.strip_prefix(MAGIC).ok_or(OpenError::NotSealed)?;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(OpenError::Version { version });
        }
        let [kind] = take(&mut rest)?;
        let [memory_kib, passes, lanes] = [
            u32::from_be_bytes(take(&mut rest)?),
            u32::from_be_bytes(take(&mut rest)?),
            u32::from_be_bytes(take(&mut rest)?),
        ];
        let costs = Costs {
            memory_kib,
            passes,
            lanes,
        };
        let costs = match kind {
            KIND_BYTES if costs == NO_COSTS => None,
            KIND_PASSPHRASE if costs.fit() => Some(costs),
            KIND_BYTES | KIND_PASSPHRASE => {
                return Err(OpenError::Costs {
                    memory_kib,
                    passes,
                    lanes,
                });
            }
            _ => return Err(OpenError::NotSealed),
        };
        let salt = take(&mut rest)?;
        let nonce = take(&mut rest)?;
        let [length] = take(&mut rest)?;
        let length = usize::from(length);
        if length > PURPOSE_BYTES_MAX {
            return Err(OpenError::NotSealed);
        }
        let (purpose, rest) = rest.split_at_checked(length).ok_or(OpenError::NotSealed)?;
        let header = Self {
            costs,
            salt,
            nonce,
            purpose: core::str::from_utf8(purpose).map_err(|_not_text| OpenError::NotSealed)?,
        };
        Ok((header, sealed.len() - rest.len()))
    }

    /// The key of these sealed bytes.
    fn key(&self, key: &SealKey) -> Result<LessSafeKey, OpenError> {
        let mut secret = match (&key.0, self.costs) {
            (Secret::Bytes(bytes), None) => *bytes,
            (Secret::Passphrase(passphrase), Some(costs)) => {
                costs.stretch(passphrase, &self.salt)?
            }
            (_, costs) => {
                return Err(OpenError::KindOfKey {
                    passphrase: costs.is_some(),
                });
            }
        };
        let info = [b"adit seal 1 ".as_slice(), self.purpose.as_bytes()];
        let made = Salt::new(HKDF_SHA256, &self.salt)
            .extract(&secret)
            .expand(&info, &AES_256_GCM)
            .map(UnboundKey::from)
            .map(LessSafeKey::new)
            .map_err(|_unspecified| OpenError::Key);
        wipe(&mut secret);
        made
    }
}

impl Costs {
    /// Whether we give that much, and Argon2 can do with that little (RFC 9106, section 3.1).
    fn fit(self) -> bool {
        (1..=KDF_LANES_MAX).contains(&self.lanes)
            && (1..=KDF_PASSES_MAX).contains(&self.passes)
            && (8 * self.lanes..=KDF_MEMORY_KIB_MAX).contains(&self.memory_kib)
    }

    fn stretch(self, passphrase: &str, salt: &[u8; 16]) -> Result<[u8; 32], OpenError> {
        let refused = |_cause: argon2::Error| OpenError::Costs {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
        };
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(refused)?;
        let mut secret = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, &mut secret)
            .map_err(refused)?;
        Ok(secret)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], OpenError> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(OpenError::NotSealed)?;
    *rest = behind;
    Ok(*bytes)
}

#[cfg(test)]
mod tests;
