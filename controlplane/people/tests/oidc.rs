//! People of an OIDC issuer: tokens truly signed, with the key of RFC 8037, appendix A.

use adit_people::limits::GRANTS_MAX;
use adit_people::oidc::{OidcSettings, Refused, principal};
use adit_people::{Grant, How, Role};
use adit_token::{KeySet, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const KEYS: &str = r#"{"keys":[{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const CLAIMS: &str = r#"{"iss":"https://id.example","aud":"adit-control","exp":1800000600,"sub":"u-1","mail":"ada@example.org","groups":["ops","staff",7],"realm":{"roles":"audit"}}"#;

fn token(claims: &str) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"ed"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let secret = URL_SAFE_NO_PAD
        .decode(SECRET)
        .expect("the RFC writes base64url");
    let key = Ed25519KeyPair::from_seed_unchecked(&secret).expect("the RFC's secret is one");
    let signature = key.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn with(from: &str, to: &str) -> String {
    assert!(CLAIMS.contains(from), "{from}");
    token(&CLAIMS.replacen(from, to, 1))
}

fn settings() -> OidcSettings {
    let grants = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("the tests write grants"))
            .collect::<Vec<Grant>>()
    };
    OidcSettings::new(
        "https://id.example",
        "adit-control",
        [
            ("ops".to_owned(), grants(&["operator@b", "operator@a"])),
            ("more".to_owned(), grants(&["operator@a"])),
            ("audit".to_owned(), grants(&["auditor@*"])),
        ]
        .into(),
    )
}

fn keys() -> KeySet {
    KeySet::from_jwks(KEYS.as_bytes()).expect("the RFC's key is fine")
}

#[test]
fn groups_become_grants_and_the_name_is_the_subject() {
    let who = principal(&token(CLAIMS), &keys(), NOW, &settings()).unwrap();
    assert_eq!(who.name, "u-1");
    let issuer = "https://id.example".to_owned();
    assert_eq!(who.how, How::Oidc { issuer });
    let expected = ["a", "b"].map(|name| Grant::in_subaccount(Role::Operator, name));
    assert_eq!(who.grants, expected);
    let both = with(r#""ops","staff""#, r#""ops","more""#);
    assert_eq!(
        principal(&both, &keys(), NOW, &settings()).unwrap().grants,
        expected
    );
}

#[test]
fn name_and_groups_stand_where_the_settings_say() {
    let settings = OidcSettings {
        name_claim: "mail".to_owned(),
        groups_claim: "/realm/roles".to_owned(),
        ..settings()
    };
    let who = principal(&token(CLAIMS), &keys(), NOW, &settings).unwrap();
    assert_eq!(who.name, "ada@example.org");
    assert_eq!(who.grants, [Grant::all(Role::Auditor)]);
}

#[test]
fn a_stranger_with_a_good_token_is_nobody() {
    for (from, to) in [
        (r#""ops","#, ""),
        (r#""ops""#, r#""OPS""#),
        (r#""groups""#, r#""group""#),
        (r#"["ops","staff",7]"#, r#"{"ops":true}"#),
        (r#"["ops","staff",7]"#, r#"[["ops"]]"#),
    ] {
        let verdict = principal(&with(from, to), &keys(), NOW, &settings());
        assert_eq!(verdict, Err(Refused::NoGrant), "{to}");
    }
    for bad in [
        r#""sub":7"#,
        r#""sub":"""#,
        r#""sub":"a\nb""#,
        r#""sub":null"#,
    ] {
        let verdict = principal(&with(r#""sub":"u-1""#, bad), &keys(), NOW, &settings());
        assert_eq!(verdict, Err(Refused::Name), "{bad}");
    }
}

#[test]
fn a_token_that_does_not_count_is_refused_for_its_reason() {
    let reason = |token: &str, now: u64| match principal(token, &keys(), now, &settings()) {
        Err(Refused::Token(error)) => error.reason(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        reason(&with("id.example", "id.exampl"), NOW),
        "token-issuer"
    );
    assert_eq!(reason(&with("adit-control", "adit"), NOW), "token-audience");
    assert_eq!(reason(&token(CLAIMS), NOW + 660), "token-expired");
    assert!(principal(&token(CLAIMS), &keys(), NOW + 659, &settings()).is_ok());
    let strict = OidcSettings {
        leeway_s: 0,
        ..settings()
    };
    let over = principal(&token(CLAIMS), &keys(), NOW + 600, &strict);
    assert_eq!(
        over,
        Err(Refused::Token(TokenError::Expired { exp: NOW + 600 }))
    );
    let forged = format!("{}A", &token(CLAIMS)[..token(CLAIMS).len() - 1]);
    assert!(principal(&forged, &keys(), NOW, &settings()).is_err());
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(CLAIMS)
    );
    assert_eq!(reason(&unsigned, NOW), "token-algorithm");
    assert_eq!(reason("", NOW), "token-missing");
}

#[test]
fn groups_are_worth_at_most_the_limit() {
    let worth = |count: usize| {
        let grants = (0..count)
            .map(|at| Grant::in_subaccount(Role::Viewer, &format!("s{at}")))
            .collect();
        let settings = OidcSettings::new(
            "https://id.example",
            "adit-control",
            [("ops".to_owned(), grants)].into(),
        );
        principal(&token(CLAIMS), &keys(), NOW, &settings)
    };
    assert_eq!(worth(GRANTS_MAX).unwrap().grants.len(), GRANTS_MAX);
    assert!(matches!(worth(GRANTS_MAX + 1), Err(Refused::Grants(_))));
}

#[test]
fn settings_are_read_with_their_defaults_and_without_unknown_keys() {
    let text = r#"{"issuer":"https://id.example","audience":"adit-control","mapping":{"ops":[{"role":"operator","scope":{"subaccount":"a"}}]}}"#;
    let read: OidcSettings = serde_json::from_str(text).unwrap();
    assert_eq!(
        (
            read.leeway_s,
            read.name_claim.as_str(),
            read.groups_claim.as_str()
        ),
        (60, "sub", "groups")
    );
    assert!(serde_json::from_str::<OidcSettings>(&text.replacen("issuer", "issuers", 1)).is_err());
}
