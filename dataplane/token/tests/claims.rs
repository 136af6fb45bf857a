//! What a verified token says beside its caller.

mod support;

use adit_token::limits::NAME_BYTES_MAX;
use adit_token::{Algorithm, Claims, KeySet, TokenError};
use support::{CLAIMS, NOW, claims_with, jwks, settings, token, verifier};

fn verified(claims: &str) -> Result<Claims, TokenError> {
    let keys = KeySet::from_jwks(jwks().as_bytes()).expect("the issuer's keys are fine");
    Claims::verified(&token(Algorithm::EdDsa, claims), &settings(), &keys, NOW)
}

#[test]
fn claims_are_read_by_name_and_by_path() {
    let text = claims_with(
        r#""zid":"acme""#,
        r#""groups":["a",7,"b",["c"]],"one":"d","ext":{"roles":["e"],"mail":"f"},"n":7"#,
    );
    let claims = verified(&text).unwrap();
    assert_eq!(claims.expires(), NOW + 600);
    assert_eq!(claims.name("sub"), Some("user"));
    assert_eq!(claims.name("/ext/mail"), Some("f"));
    assert_eq!(claims.texts("groups"), ["a", "b"]);
    assert_eq!(claims.texts("one"), ["d"]);
    assert_eq!(claims.texts("/ext/roles"), ["e"]);
    for absent in [
        "",
        "/",
        "n",
        "ext",
        "/ext",
        "/ext/none",
        "/groups/0",
        "none",
    ] {
        assert_eq!(claims.name(absent), None, "{absent:?}");
        assert_eq!(claims.texts(absent), [""; 0], "{absent:?}");
    }
    assert!(!format!("{claims:?}").contains("user"));
}

#[test]
fn a_name_is_a_text_fit_for_records() {
    let named = |name: &str| {
        let text = claims_with(r#""sub":"user""#, &format!(r#""sub":"{name}""#));
        verified(&text).unwrap().name("sub").is_some()
    };
    assert!(named(&"a".repeat(NAME_BYTES_MAX)));
    assert!(!named(&"a".repeat(NAME_BYTES_MAX + 1)));
    assert!(!named("") && !named(r"a\nb"));
}

#[test]
fn claims_are_given_of_the_tokens_that_have_a_caller_and_of_no_worse() {
    for (from, to) in [
        ("issuer.example", "issuer.exampl"),
        (r#""aud":"adit""#, r#""aud":"other""#),
        ("1800000600", "1799999000"),
        ("1799999400", "1800000400"),
        (r#""exp":1800000600,"#, ""),
    ] {
        let text = claims_with(from, to);
        let told = verifier()
            .verify(&token(Algorithm::EdDsa, &text), NOW)
            .unwrap_err();
        assert_eq!(verified(&text).unwrap_err(), told, "{to}");
    }
    assert!(verified(CLAIMS).is_ok());
    let keys = KeySet::from_jwks(jwks().as_bytes()).unwrap();
    let mut bad = token(Algorithm::EdDsa, CLAIMS);
    bad.truncate(bad.len() - 4);
    bad.push_str("AAAA");
    let wrong = Claims::verified(&bad, &settings(), &keys, NOW).unwrap_err();
    assert_eq!(wrong.reason(), "token-signature");
    assert_eq!(
        Claims::verified("", &settings(), &keys, NOW).unwrap_err(),
        TokenError::Missing
    );
}
