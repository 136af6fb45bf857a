//! The keys that confirm signatures, from a JWKS document (RFC 7517).
//!
//! Only public keys of three kinds are kept: RSA, P-256 and Ed25519. What else a set holds is
//! skipped with a warning; what would be dangerous to keep is an error. Where the document comes
//! from is left to the caller.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::Algorithm;
use crate::error::{AlgorithmProblem, SignatureProblem, TokenError, quoted};
use crate::json::{self, Json, JsonError, Object};
use crate::limits::{
    JWKS_BYTES_MAX, KEYS_MAX, KEYS_TRIED_MAX, KID_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN,
};

/// Public keys of token issuers. Holds at least one.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    warnings: Vec<String>,
}

/// Why a document is not a usable key set: what, where, and how to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(String);

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for KeySetError {}

impl KeySet {
    /// Reads a JWKS document.
    ///
    /// Keys of other types, curves or uses are skipped, see [`KeySet::warnings`].
    ///
    /// # Errors
    /// When the document is too large, not a JWKS, holds more than [`KEYS_MAX`] keys, two keys
    /// of one id, a private key, a damaged key, or none that can be used.
    pub fn from_jwks(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > JWKS_BYTES_MAX {
            return Err(KeySetError(format!(
                "the JWKS has {} bytes and at most {JWKS_BYTES_MAX} are read",
                document.len()
            )));
        }
        let members = json::object(document).map_err(|error| {
            KeySetError(match error {
                JsonError::Syntax(detail) => format!("the JWKS is not JSON: {detail}"),
                JsonError::DuplicateKey(name) => format!("the JWKS names {name:?} twice"),
                JsonError::NotAnObject => "the JWKS is not a JSON object".to_owned(),
            })
        })?;
        let Some(Json::List(entries)) = members.get("keys") else {
            return Err(KeySetError(
                "the JWKS has no list `keys`; write {\"keys\": [..]}".to_owned(),
            ));
        };
        if entries.len() > KEYS_MAX {
            return Err(KeySetError(format!(
                "the JWKS has {} keys and at most {KEYS_MAX} are read",
                entries.len()
            )));
        }

        let mut set = Self {
            keys: Vec::new(),
            warnings: Vec::new(),
        };
        for (index, entry) in entries.iter().enumerate() {
            let Json::Object(entry) = entry else {
                return Err(KeySetError(format!("keys[{index}] is not a JSON object")));
            };
            match Key::read(entry) {
                Ok(key) => set.add(index, key)?,
                Err(NoKey::Skipped(why)) => {
                    set.warnings
                        .push(format!("keys[{index}] is skipped: {why}"));
                }
                Err(NoKey::Damaged(what)) => {
                    return Err(KeySetError(format!("keys[{index}]: {what}")));
                }
            }
        }
        if set.keys.is_empty() {
            let mut message = "the JWKS holds no key that can check a token".to_owned();
            for warning in &set.warnings {
                message.push_str("; ");
                message.push_str(warning);
            }
            return Err(KeySetError(message));
        }
        Ok(set)
    }

    /// Which keys were skipped and why, one sentence each, for the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many keys can be used; never 0.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a key set is never empty: reading one without a key is an error"
    )]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Checks a signature with the key that `kid` names, or with each key that fits.
    pub(crate) fn check(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        let confirmed = match kid {
            Some(kid) => {
                let key = self.named(kid).ok_or_else(|| {
                    TokenError::Signature(SignatureProblem::UnknownKey(quoted(kid)))
                })?;
                if !key.fits(algorithm) {
                    return Err(TokenError::Algorithm(AlgorithmProblem::KeyMismatch(
                        algorithm,
                    )));
                }
                key.confirms(algorithm, message, signature)
            }
            None => {
                let mut fitting = self
                    .keys
                    .iter()
                    .filter(|key| key.fits(algorithm))
                    .take(KEYS_TRIED_MAX)
                    .peekable();
                if fitting.peek().is_none() {
                    return Err(TokenError::Signature(SignatureProblem::NoKey(algorithm)));
                }
                fitting.any(|key| key.confirms(algorithm, message, signature))
            }
        };
        if confirmed {
            Ok(())
        } else {
            Err(TokenError::Signature(SignatureProblem::Wrong))
        }
    }

    fn add(&mut self, index: usize, key: Key) -> Result<(), KeySetError> {
        if let Some(kid) = &key.kid
            && self.named(kid).is_some()
        {
            return Err(KeySetError(format!(
                "keys[{index}]: key id {:?} is taken by an earlier key; give each its own",
                quoted(kid)
            )));
        }
        self.keys.push(key);
        Ok(())
    }

    fn named(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid.as_deref() == Some(kid))
    }
}

#[derive(Clone, Debug)]
struct Key {
    kid: Option<String>,
    /// The only algorithm this key is for, if the set says so (RFC 7517, section 4.4).
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Uncompressed point: `04 || x || y`.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

enum NoKey {
    Skipped(String),
    Damaged(String),
}

impl Key {
    fn read(entry: &Object) -> Result<Self, NoKey> {
        let kty =
            text(entry, "kty")?.ok_or_else(|| NoKey::Damaged("`kty` is missing".to_owned()))?;
        if kty == "oct" {
            return Err(NoKey::Skipped(
                "it is a shared secret, which would let this gateway sign tokens".to_owned(),
            ));
        }
        // A file with the private half is a leak in the making; say so rather than work.
        if entry.contains_key("d") {
            return Err(NoKey::Damaged(
                "it holds the private half (`d`); publish the public half only, and replace the \
                 key if others could read it"
                    .to_owned(),
            ));
        }
        if let Some(purpose) = text(entry, "use")?
            && purpose != "sig"
        {
            return Err(NoKey::Skipped(format!("its use is {:?}", quoted(purpose))));
        }
        if let Some(operations) = entry.get("key_ops") {
            let Json::List(operations) = operations else {
                return Err(NoKey::Damaged("`key_ops` is not a list".to_owned()));
            };
            if !operations.iter().any(|one| one.text() == Some("verify")) {
                return Err(NoKey::Skipped("its `key_ops` lack \"verify\"".to_owned()));
            }
        }
        let kid = text(entry, "kid")?.map(ToOwned::to_owned);
        if let Some(kid) = &kid
            && kid.len() > KID_BYTES_MAX
        {
            return Err(NoKey::Damaged(format!(
                "`kid` has {} bytes and at most {KID_BYTES_MAX} are read",
                kid.len()
            )));
        }
        let only = match text(entry, "alg")? {
            None => None,
            Some(name) => Some(
                name.parse::<Algorithm>()
                    .map_err(|unknown| NoKey::Skipped(unknown.to_string()))?,
            ),
        };
        let material = match kty {
            "RSA" => rsa(entry)?,
            "EC" => {
                curve(entry, "P-256")?;
                let (x, y) = (bytes(entry, "x", Some(32))?, bytes(entry, "y", Some(32))?);
                Material::P256([&[4], x.as_slice(), y.as_slice()].concat())
            }
            "OKP" => {
                curve(entry, "Ed25519")?;
                Material::Ed25519(bytes(entry, "x", Some(32))?)
            }
            other => {
                return Err(NoKey::Skipped(format!("its type is {:?}", quoted(other))));
            }
        };
        let key = Self {
            kid,
            only: None,
            material,
        };
        match only {
            Some(algorithm) if !key.fits(algorithm) => Err(NoKey::Damaged(format!(
                "`alg` is {algorithm}, which a key of type {kty} cannot do"
            ))),
            only => Ok(Self { only, ..key }),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let of_type = match (&self.material, algorithm) {
            (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
            | (Material::P256(_), Algorithm::Es256)
            | (Material::Ed25519(_), Algorithm::EdDsa) => true,
            (Material::Rsa { .. }, Algorithm::Es256 | Algorithm::EdDsa)
            | (Material::P256(_), Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::EdDsa)
            | (Material::Ed25519(_), Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256) => {
                false
            }
        };
        of_type && self.only.is_none_or(|only| only == algorithm)
    }

    fn confirms(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        debug_assert!(self.fits(algorithm), "the caller chose a key that fits");
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Es256 | Algorithm::EdDsa => return false,
                };
                RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .verify(parameters, message, signature)
                .is_ok()
            }
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
            Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

fn rsa(entry: &Object) -> Result<Material, NoKey> {
    let (modulus, exponent) = (bytes(entry, "n", None)?, bytes(entry, "e", None)?);
    //= RFC 7518, section 6.3.1.1
    //# The octet sequence MUST utilize the minimum number of octets needed to represent the value.
    // Several issuers nevertheless put a zero byte in front; the number is the same.
    let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
    let exponent: Vec<u8> = exponent.into_iter().skip_while(|byte| *byte == 0).collect();
    let bits = modulus.first().map_or(0, |first| {
        let leading = usize::try_from(first.leading_zeros()).unwrap_or(8);
        modulus.len() * 8 - leading
    });
    if bits < RSA_BITS_MIN {
        return Err(NoKey::Skipped(format!(
            "its RSA modulus has {bits} bits; at least {RSA_BITS_MIN} are safe"
        )));
    }
    if bits > RSA_BITS_MAX {
        return Err(NoKey::Skipped(format!(
            "its RSA modulus has {bits} bits; at most {RSA_BITS_MAX} are checked"
        )));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !odd(&modulus) {
        return Err(NoKey::Damaged("`n` is even, so no RSA modulus".to_owned()));
    }
    // ring takes odd exponents from 3 to 2^33 - 1; 1 would make every message its own signature.
    let small = exponent.len() <= 4 || (exponent.len() == 5 && exponent.first() == Some(&1));
    if !odd(&exponent) || exponent == [1] || !small {
        return Err(NoKey::Damaged(
            "`e` is no RSA exponent (an odd number from 3 to 2^33 - 1)".to_owned(),
        ));
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn curve(entry: &Object, wanted: &str) -> Result<(), NoKey> {
    match text(entry, "crv")? {
        Some(curve) if curve == wanted => Ok(()),
        Some(curve) => Err(NoKey::Skipped(format!(
            "its curve is {:?} and not {wanted}",
            quoted(curve)
        ))),
        None => Err(NoKey::Damaged("`crv` is missing".to_owned())),
    }
}

fn text<'e>(entry: &'e Object, name: &str) -> Result<Option<&'e str>, NoKey> {
    match entry.get(name) {
        None => Ok(None),
        Some(value) => value
            .text()
            .map(Some)
            .ok_or_else(|| NoKey::Damaged(format!("`{name}` is not a text"))),
    }
}

fn bytes(entry: &Object, name: &str, length: Option<usize>) -> Result<Vec<u8>, NoKey> {
    let encoded =
        text(entry, name)?.ok_or_else(|| NoKey::Damaged(format!("`{name}` is missing")))?;
    let decoded = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|error| NoKey::Damaged(format!("`{name}` is not base64url: {error}")))?;
    match length {
        Some(length) if decoded.len() != length => Err(NoKey::Damaged(format!(
            "`{name}` has {} bytes and not {length}",
            decoded.len()
        ))),
        _ => Ok(decoded),
    }
}

#[cfg(test)]
mod tests;
