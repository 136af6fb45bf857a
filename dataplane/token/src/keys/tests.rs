//! What a key set takes, skips and refuses, and the borders of its limits.
//!
//! Keys are those of RFC 7515 and RFC 8037; moduli that only count bits are made up.

use super::*;

const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

fn read(entries: &[String]) -> Result<KeySet, String> {
    let document = format!("{{\"keys\":[{}]}}", entries.join(","));
    KeySet::from_jwks(document.as_bytes()).map_err(|error| error.to_string())
}

/// An RSA key whose modulus has `bits` bits, all of them ones, so it is odd.
fn rsa_of(bits: usize, exponent: &[u8]) -> String {
    let mut modulus = vec![0xff_u8; bits.div_ceil(8)];
    let spare = modulus.len() * 8 - bits;
    modulus[0] = 0xff >> spare;
    format!(
        r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(modulus),
        URL_SAFE_NO_PAD.encode(exponent)
    )
}

const F4: &[u8] = &[1, 0, 1];

#[test]
fn what_real_issuers_add_is_ignored() {
    let set = read(&[format!(
        r#"{ED},"kid":"default-jwt-key--1","use":"sig","alg":"EdDSA","value":"-----BEGIN PUBLIC KEY-----","x5c":["MII"],"x5t":"abc","jku":"http://evil"}}"#
    )])
    .unwrap();
    assert_eq!(set.len(), 1);
    assert!(set.warnings().is_empty());
}

#[test]
fn keys_for_other_purposes_are_skipped_with_a_warning() {
    let set = read(&[
        format!("{ED}}}"),
        r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(),
        r#"{"kty":"AKP","pub":"AA"}"#.to_owned(),
        format!(r#"{EC},"use":"enc"}}"#),
        format!(r#"{EC},"key_ops":["deriveKey"]}}"#),
        format!(r#"{EC},"alg":"ES512"}}"#),
    ])
    .unwrap();
    assert_eq!(set.len(), 1);
    assert_eq!(
        set.warnings(),
        [
            "keys[1] is skipped: it is a shared secret, which would let this gateway sign tokens",
            "keys[2] is skipped: its curve is \"P-384\" and not P-256",
            "keys[3] is skipped: its curve is \"X25519\" and not Ed25519",
            "keys[4] is skipped: its type is \"AKP\"",
            "keys[5] is skipped: its use is \"enc\"",
            "keys[6] is skipped: its `key_ops` lack \"verify\"",
            "keys[7] is skipped: unknown algorithm \"ES512\"; use one of RS256, PS256, ES256, EdDSA",
        ]
    );
}

#[test]
fn rsa_moduli_count_from_2048_to_8192_bits() {
    for (bits, usable) in [
        (1024, false),
        (RSA_BITS_MIN - 1, false),
        (RSA_BITS_MIN, true),
        (RSA_BITS_MAX, true),
        (RSA_BITS_MAX + 1, false),
    ] {
        assert_eq!(read(&[rsa_of(bits, F4)]).is_ok(), usable, "{bits} bits");
    }
}

#[test]
fn a_zero_byte_in_front_of_a_modulus_does_not_make_it_longer() {
    let short = rsa_of(RSA_BITS_MIN - 8, F4);
    let padded = short.replacen("\"n\":\"", "\"n\":\"AAAA", 1);
    let refused = read(&[padded]).unwrap_err();
    assert!(refused.contains("has 2040 bits"), "{refused}");
}

#[test]
fn exponents_that_are_none_are_refused() {
    for exponent in [
        &[][..],
        &[0],
        &[1],
        &[2],
        &[1, 0, 0],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 1],
    ] {
        let refused = read(&[rsa_of(2048, exponent)]).unwrap_err();
        assert!(refused.contains("`e`"), "{exponent:?}: {refused}");
    }
    for exponent in [
        &[3][..],
        &[1, 0, 1],
        &[0, 1, 0, 1],
        &[1, 255, 255, 255, 255],
    ] {
        assert!(read(&[rsa_of(2048, exponent)]).is_ok(), "{exponent:?}");
    }
}

#[test]
fn a_private_key_is_refused_and_not_worked_with() {
    let refused = read(&[format!(
        r#"{ED},"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}}"#
    )])
    .unwrap_err();
    assert!(
        refused.starts_with("keys[0]: it holds the private half"),
        "{refused}"
    );
    assert!(!refused.contains("nWGxne"), "the secret is not repeated");
}

#[test]
fn two_keys_of_one_id_are_refused() {
    let refused = read(&[
        format!(r#"{ED},"kid":"one"}}"#),
        format!(r#"{EC},"kid":"one"}}"#),
    ])
    .unwrap_err();
    assert_eq!(
        refused,
        "keys[1]: key id \"one\" is taken by an earlier key; give each its own"
    );
    assert!(read(&[format!("{ED}}}"), format!("{ED}}}")]).is_ok());
}

#[test]
fn damaged_keys_name_their_place_and_member() {
    for (entry, message) in [
        (r#"{}"#.to_owned(), "keys[0]: `kty` is missing"),
        (r#"{"kty":7}"#.to_owned(), "keys[0]: `kty` is not a text"),
        (r#"{"kty":"EC"}"#.to_owned(), "keys[0]: `crv` is missing"),
        (
            r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(),
            "keys[0]: `n` is missing",
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(),
            "keys[0]: `x` has 3 bytes and not 32",
        ),
        (
            format!(r#"{ED},"alg":"RS256"}}"#),
            "keys[0]: `alg` is RS256, which a key of type OKP cannot do",
        ),
        (
            format!(r#"{ED},"key_ops":"verify"}}"#),
            "keys[0]: `key_ops` is not a list",
        ),
        ("7".to_owned(), "keys[0] is not a JSON object"),
    ] {
        assert_eq!(
            read(std::slice::from_ref(&entry)).unwrap_err(),
            message,
            "{entry}"
        );
    }
    let padded = read(&[ED.replace("HURo\"", "HURo=\"") + "}"]).unwrap_err();
    assert!(
        padded.starts_with("keys[0]: `x` is not base64url"),
        "{padded}"
    );
}

#[test]
fn documents_that_are_no_key_set_say_why() {
    for (document, message) in [
        ("[]", "the JWKS is not a JSON object"),
        ("{}", "the JWKS has no list `keys`; write {\"keys\": [..]}"),
        (r#"{"keys":[],"keys":[]}"#, "the JWKS names \"keys\" twice"),
        (
            r#"{"keys":[]}"#,
            "the JWKS holds no key that can check a token",
        ),
        (
            r#"{"keys":[{"kty":"oct"}]}"#,
            "the JWKS holds no key that can check a token; keys[0] is skipped: it is a shared \
             secret, which would let this gateway sign tokens",
        ),
    ] {
        let refused = KeySet::from_jwks(document.as_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn the_document_the_keys_and_the_ids_have_a_limit() {
    let one = format!("{ED}}}");
    assert_eq!(read(&vec![one.clone(); KEYS_MAX]).unwrap().len(), KEYS_MAX);
    assert!(read(&vec![one.clone(); KEYS_MAX + 1]).is_err());

    let mut document = format!("{{\"keys\":[{one}]}}").into_bytes();
    document.resize(JWKS_BYTES_MAX, b' ');
    assert!(KeySet::from_jwks(&document).is_ok());
    document.push(b' ');
    assert!(KeySet::from_jwks(&document).is_err());

    let with_kid = |length: usize| format!(r#"{ED},"kid":"{}"}}"#, "k".repeat(length));
    assert!(read(&[with_kid(KID_BYTES_MAX)]).is_ok());
    assert!(read(&[with_kid(KID_BYTES_MAX + 1)]).is_err());
}

#[test]
fn a_token_without_key_id_is_tried_with_eight_keys_and_no_more() {
    // RFC 8037, appendix A.4, and seven or eight keys of others in front of the right one.
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = URL_SAFE_NO_PAD
        .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        .unwrap();
    let other = format!(
        r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#,
        URL_SAFE_NO_PAD.encode([7; 32])
    );
    let right = format!(r#"{ED},"kid":"right"}}"#);
    for (others, found) in [(KEYS_TRIED_MAX - 1, true), (KEYS_TRIED_MAX, false)] {
        let mut entries = vec![other.clone(); others];
        // Keys of another type are not among the eight.
        entries.insert(0, format!("{EC}}}"));
        entries.push(right.clone());
        let set = read(&entries).unwrap();
        let checked = set.check(Algorithm::EdDsa, None, message, &signature);
        assert_eq!(checked.is_ok(), found, "{others} others");
        assert!(
            set.check(Algorithm::EdDsa, Some("right"), message, &signature)
                .is_ok()
        );
    }
}

#[test]
fn no_key_of_the_type_is_told_apart_from_a_wrong_signature() {
    let set = read(&[format!("{ED}}}")]).unwrap();
    assert_eq!(
        set.check(Algorithm::Es256, None, b"", b""),
        Err(TokenError::Signature(SignatureProblem::NoKey(
            Algorithm::Es256
        )))
    );
    assert_eq!(
        set.check(Algorithm::EdDsa, None, b"", b""),
        Err(TokenError::Signature(SignatureProblem::Wrong))
    );
}
