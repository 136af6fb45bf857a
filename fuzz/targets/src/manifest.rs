//! Signed snapshots.

use std::sync::OnceLock;

use adit_manifest::{News, Refused, Signers, SigningKey, read, verify};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::Ed25519KeyPair;

use crate::input::Input;
use crate::token::SECRET;

/// For whom documents count.
const AUDIENCE: &str = "acme/plant-1";

/// The RFC's key, as what signs snapshots and as what signs any bytes.
struct Keys {
    signing: SigningKey,
    pair: Ed25519KeyPair,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let secret = URL_SAFE_NO_PAD
            .decode(SECRET)
            .expect("the RFC writes base64url");
        let seed = secret.as_slice().try_into().expect("of 32 bytes");
        Keys {
            signing: SigningKey::from_seed(seed).expect("the RFC's secret is one"),
            pair: Ed25519KeyPair::from_seed_unchecked(&secret).expect("the RFC's secret is one"),
        }
    })
}

/// [`verify`] and [`read`] on any bytes, and on any lines that are truly signed. The first byte chooses; for the latter
/// the next two tell where the lines end and the content begins.
pub fn manifest(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() % 2 == 0 {
        judge(input.rest());
        return;
    }
    let length = usize::from(input.word() % 1024);
    let lines = input.take(length);
    let content = input.rest();
    let signature = STANDARD.encode(keys().pair.sign(lines));
    let id = keys().signing.public().id();
    let with = |signature: &str| {
        let signature = format!("signature {id} {signature}\n\n");
        [lines, signature.as_bytes(), content].concat()
    };
    judge(&with(&signature));
    let mut forged = signature.into_bytes();
    forged[7] = if forged[7] == b'A' { b'B' } else { b'A' };
    let forged = with(&String::from_utf8_lossy(&forged));
    assert!(
        verify(
            &forged,
            Signers::Keys(&[keys().signing.public()]),
            AUDIENCE,
            None
        )
        .is_err(),
        "a forged signature"
    );
}

fn judge(document: &[u8]) {
    let key = keys().signing.public();
    match verify(document, Signers::Keys(&[key]), AUDIENCE, None) {
        Ok(verified) => {
            assert_eq!(verified.news, News::Newer);
            assert_eq!(verified.signed_by, Some(key.id()));
            assert_eq!(verified.manifest.audience, AUDIENCE);
            let lines = verified.manifest.to_string();
            assert!(document.starts_with(lines.as_bytes()), "one way to write");
            assert!(document.ends_with(verified.content.as_bytes()));
            let (manifest, content) = read(document).expect("what is verified can be read");
            assert_eq!((manifest, content), (verified.manifest, verified.content));
        }
        Err(refused) => {
            tell(&refused);
            if let Err(refused) = read(document) {
                tell(&refused);
            }
        }
    }
}

fn tell(refused: &Refused) {
    assert!(!refused.why().is_empty());
    let told = refused.to_string();
    assert!(told.len() < 1000, "an error of {} bytes", told.len());
    assert!(!told.chars().any(char::is_control), "{told:?}");
}
