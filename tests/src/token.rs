//! Tokens that `adit token issue` would not make: any header and claims, signed with any key.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use serde_json::Value;

/// Puts a token together from its three parts.
#[must_use]
pub fn assemble(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Signs with an Ed25519 key in the file that `adit token issuer init` makes.
///
/// # Panics
/// When it is no such file.
pub fn ed25519(key_pem: &str) -> impl FnOnce(&[u8]) -> Vec<u8> + use<> {
    let body: String = key_pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let pkcs8 = BASE64_STANDARD
        .decode(body)
        .expect("a PEM file holds base64");
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8)
        .expect("the issuer's key is an Ed25519 key");
    move |message| pair.sign(message).as_ref().to_vec()
}

/// Signs with HMAC-SHA-256, as an attacker does who takes a public key for a shared secret.
pub fn hs256(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> + use<> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}
