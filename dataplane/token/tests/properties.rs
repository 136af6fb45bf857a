//! What holds for every token: damage is refused, nothing panics.

mod support;

use std::sync::LazyLock;

use adit_token::{Algorithm, KeySet, Verifier};
use proptest::prelude::*;
use support::{CLAIMS, NOW, jwks, token, verifier};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    Algorithm::ALL
        .into_iter()
        .map(|algorithm| token(algorithm, CLAIMS))
        .collect()
});

#[test]
fn every_single_byte_of_a_token_counts() {
    for token in TOKENS.iter() {
        assert!(VERIFIER.verify(token, NOW).is_ok());
        for index in 0..token.len() {
            let mut damaged = token.clone().into_bytes();
            damaged[index] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(VERIFIER.verify(&damaged, NOW).is_err(), "byte {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_flipped_byte_is_refused(
        which in 0_usize..4,
        place in any::<prop::sample::Index>(),
        flip in 1_u8..128,
    ) {
        let mut damaged = TOKENS[which].clone().into_bytes();
        let place = place.index(damaged.len());
        damaged[place] ^= flip;
        let damaged = String::from_utf8(damaged).expect("ASCII stays ASCII below 128");
        prop_assert!(VERIFIER.verify(&damaged, NOW).is_err());
    }

    #[test]
    fn a_token_cut_or_stretched_is_refused(
        which in 0_usize..4,
        place in any::<prop::sample::Index>(),
        added in "[A-Za-z0-9_.-]{1,8}",
    ) {
        let token = &TOKENS[which];
        let place = place.index(token.len());
        prop_assert!(VERIFIER.verify(&token[..place], NOW).is_err());
        let stretched = format!("{}{added}{}", &token[..place], &token[place..]);
        prop_assert!(VERIFIER.verify(&stretched, NOW).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused_without_a_panic(text in any::<String>(), now in any::<u64>()) {
        prop_assert!(VERIFIER.verify(&text, now).is_err());
    }

    #[test]
    fn arbitrary_bytes_in_three_parts_are_refused_without_a_panic(
        header in prop::collection::vec(any::<u8>(), 0..64),
        claims in prop::collection::vec(any::<u8>(), 0..64),
        signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let token = format!(
            "{}.{}.{}",
            support::encode(header),
            support::encode(claims),
            support::encode(signature)
        );
        prop_assert!(VERIFIER.verify(&token, NOW).is_err());
    }

    /// Whatever stands in truly signed claims, reading them never panics.
    #[test]
    fn arbitrary_signed_claims_never_panic(
        claims in prop::collection::vec(any::<u8>(), 0..64),
        exp in "-?[0-9]{1,22}(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
        now in any::<u64>(),
    ) {
        let raw = String::from_utf8_lossy(&claims).into_owned();
        let _ = VERIFIER.verify(&token(Algorithm::EdDsa, &raw), now);
        let timed = support::claims_with("1800000600", &exp);
        let _ = VERIFIER.verify(&token(Algorithm::EdDsa, &timed), now);
    }

    #[test]
    fn arbitrary_key_documents_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = KeySet::from_jwks(&bytes);
    }

    #[test]
    fn a_damaged_key_document_never_panics(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut document = jwks().into_bytes();
        let place = place.index(document.len());
        document[place] = byte;
        if let Ok(keys) = KeySet::from_jwks(&document) {
            let verifier = Verifier::new(support::settings(), keys);
            for token in TOKENS.iter() {
                let _ = verifier.verify(token, NOW);
            }
        }
    }
}
