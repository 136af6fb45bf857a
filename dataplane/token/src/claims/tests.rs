//! Claims as issuers write them, and the borders of what is accepted.
//!
//! Signatures are left to `jws` and `keys`; here the claims are plain objects.

use super::*;
use crate::json;

fn settings() -> Settings {
    Settings {
        issuers: vec!["https://issuer.example".to_owned(), "adit-dev".to_owned()],
        audiences: vec!["adit".to_owned(), "gateway".to_owned()],
        ..Settings::default()
    }
}

/// `claims` on top of a set that is fine; `null` takes a claim away.
fn read(claims: &str) -> Result<Caller, TokenError> {
    read_with(claims, &settings(), None, 1_000_000)
}

fn read_with(
    claims: &str,
    settings: &Settings,
    clients: Option<&[String]>,
    unix_now: u64,
) -> Result<Caller, TokenError> {
    let mut all =
        json::object(br#"{"iss":"adit-dev","aud":"adit","exp":1000100,"zid":"acme","sub":"app"}"#)
            .unwrap();
    for (name, value) in json::object(claims.as_bytes()).unwrap() {
        if value == Json::Null {
            all.remove(&name);
        } else {
            all.insert(name, value);
        }
    }
    caller(&all, settings, clients, unix_now)
}

fn reason(claims: &str) -> &'static str {
    read(claims).unwrap_err().reason()
}

#[test]
fn a_plain_token_names_its_caller() {
    assert_eq!(
        read("{}").unwrap(),
        Caller {
            subaccount: "acme".to_owned(),
            client: "app".to_owned(),
            subject: None,
            expires: 1_000_100,
        }
    );
}

#[test]
fn the_client_is_the_first_of_four_claims() {
    for (claims, client) in [
        (r#"{"client_id":"a","cid":"b","azp":"c"}"#, "a"),
        (r#"{"cid":"b","azp":"c"}"#, "b"),
        (r#"{"azp":"c"}"#, "c"),
        (r#"{"azp":"sb-x!b1"}"#, "sb-x!b1"),
    ] {
        assert_eq!(read(claims).unwrap().client, client, "{claims}");
    }
    assert_eq!(reason(r#"{"sub":null}"#), "token-malformed");
}

#[test]
fn the_user_is_the_first_of_five_claims_and_never_the_client() {
    for (claims, subject) in [
        (r#"{"user_name":"u","email":"e","cid":"c"}"#, Some("u")),
        (
            r#"{"email":"ü@example.org","mail":"m"}"#,
            Some("ü@example.org"),
        ),
        (r#"{"mail":"m","user_uuid":"i"}"#, Some("m")),
        (r#"{"user_uuid":"i"}"#, Some("i")),
        (r#"{"cid":"c"}"#, Some("app")),
        (r#"{"cid":"app"}"#, None),
    ] {
        assert_eq!(
            read(claims).unwrap().subject.as_deref(),
            subject,
            "{claims}"
        );
    }
}

#[test]
fn names_are_short_and_hold_no_control_characters() {
    let named = |length: usize| format!(r#"{{"cid":"{}"}}"#, "c".repeat(length));
    assert!(read(&named(NAME_BYTES_MAX)).is_ok());
    for claims in [
        named(NAME_BYTES_MAX + 1),
        r#"{"cid":""}"#.to_owned(),
        r#"{"cid":"a\nforged log line"}"#.to_owned(),
        r#"{"user_name":"a\u0000b"}"#.to_owned(),
        r#"{"user_name":"a\u0085b"}"#.to_owned(),
        r#"{"cid":7}"#.to_owned(),
    ] {
        assert_eq!(reason(&claims), "token-malformed", "{claims}");
    }
}

#[test]
fn the_issuer_is_compared_byte_for_byte() {
    assert!(read(r#"{"iss":"https://issuer.example"}"#).is_ok());
    for claims in [
        r#"{"iss":null}"#,
        r#"{"iss":"https://issuer.example/"}"#,
        r#"{"iss":"HTTPS://issuer.example"}"#,
        r#"{"iss":["adit-dev"]}"#,
        r#"{"iss":""}"#,
    ] {
        assert_eq!(reason(claims), "token-issuer", "{claims}");
    }
}

#[test]
fn one_audience_in_common_is_enough() {
    for claims in [
        r#"{"aud":"gateway"}"#,
        r#"{"aud":["adit"]}"#,
        r#"{"aud":["other","gateway"]}"#,
    ] {
        assert!(read(claims).is_ok(), "{claims}");
    }
    for claims in [
        r#"{"aud":null}"#,
        r#"{"aud":"adi"}"#,
        r#"{"aud":"adit "}"#,
        r#"{"aud":[]}"#,
        r#"{"aud":["other"]}"#,
        r#"{"aud":["adit",7]}"#,
        r#"{"aud":{"adit":true}}"#,
        r#"{"aud":7}"#,
    ] {
        assert_eq!(reason(claims), "token-audience", "{claims}");
    }
}

#[test]
fn empty_lists_accept_nothing() {
    let refused = |settings: Settings| {
        read_with("{}", &settings, None, 1_000_000)
            .unwrap_err()
            .reason()
    };
    assert_eq!(
        refused(Settings {
            issuers: Vec::new(),
            ..settings()
        }),
        "token-issuer"
    );
    assert_eq!(
        refused(Settings {
            audiences: Vec::new(),
            ..settings()
        }),
        "token-audience"
    );
    assert_eq!(
        refused(Settings {
            subaccount_claims: Vec::new(),
            ..settings()
        }),
        "token-subaccount"
    );
}

#[test]
fn a_token_is_over_one_leeway_after_its_expiry() {
    // exp 1000100, leeway 60 s: the last good second is 1000159.
    let at = |unix_now| read_with("{}", &settings(), None, unix_now);
    assert!(at(1_000_159).is_ok());
    assert_eq!(at(1_000_160), Err(TokenError::Expired { exp: 1_000_100 }));
    assert_eq!(at(u64::MAX), Err(TokenError::Expired { exp: 1_000_100 }));
}

#[test]
fn a_token_begins_one_leeway_before_its_time() {
    let at = |unix_now| read_with(r#"{"nbf":1000060}"#, &settings(), None, unix_now);
    assert!(at(1_000_000).is_ok());
    assert_eq!(at(999_999), Err(TokenError::NotYetValid { nbf: 1_000_060 }));
    assert_eq!(at(0), Err(TokenError::NotYetValid { nbf: 1_000_060 }));
}

#[test]
fn a_leeway_beyond_the_limit_is_cut() {
    let generous = Settings {
        leeway_s: LEEWAY_S_MAX * 100,
        ..settings()
    };
    assert!(read_with("{}", &generous, None, 1_000_099 + LEEWAY_S_MAX).is_ok());
    assert!(read_with("{}", &generous, None, 1_000_100 + LEEWAY_S_MAX).is_err());
    let strict = Settings {
        leeway_s: 0,
        ..settings()
    };
    assert!(read_with("{}", &strict, None, 1_000_099).is_ok());
    assert!(read_with("{}", &strict, None, 1_000_100).is_err());
}

#[test]
fn times_are_numbers_in_any_spelling() {
    assert_eq!(read(r#"{"exp":1000100.75}"#).unwrap().expires, 1_000_100);
    assert_eq!(read(r#"{"exp":1.0001e6}"#).unwrap().expires, 1_000_100);
    assert_eq!(reason(r#"{"exp":-1}"#), "token-expired");
    for claims in [
        r#"{"exp":null}"#,
        r#"{"exp":"1000100"}"#,
        r#"{"exp":true}"#,
        r#"{"exp":1e30}"#,
        r#"{"exp":18446744073709551615}"#,
        r#"{"nbf":"0"}"#,
        r#"{"nbf":1e30}"#,
    ] {
        assert_eq!(reason(claims), "token-malformed", "{claims}");
    }
}

#[test]
fn the_first_subaccount_claim_present_decides() {
    assert_eq!(
        read(r#"{"subaccountid":"other"}"#).unwrap().subaccount,
        "acme"
    );
    assert_eq!(
        read(r#"{"zid":null,"subaccountid":"other"}"#)
            .unwrap()
            .subaccount,
        "other"
    );
    assert_eq!(
        reason(r#"{"zid":"","subaccountid":"other"}"#),
        "token-subaccount"
    );
    assert_eq!(reason(r#"{"zid":null}"#), "token-subaccount");
}

#[test]
fn a_subaccount_is_1_to_128_plain_characters() {
    let of = |length: usize| {
        let zid: String = "Az09._-a".chars().cycle().take(length).collect();
        format!(r#"{{"zid":"{zid}"}}"#)
    };
    assert!(read(&of(1)).is_ok());
    assert!(read(&of(SUBACCOUNT_CHARS_MAX)).is_ok());
    for claims in [
        of(0),
        of(SUBACCOUNT_CHARS_MAX + 1),
        r#"{"zid":"a/b"}"#.to_owned(),
        r#"{"zid":"a b"}"#.to_owned(),
        r#"{"zid":"ä"}"#.to_owned(),
        r#"{"zid":"a\n"}"#.to_owned(),
        r#"{"zid":["acme"]}"#.to_owned(),
        r#"{"zid":7}"#.to_owned(),
    ] {
        assert_eq!(reason(&claims), "token-subaccount", "{claims}");
    }
}

#[test]
fn a_path_reaches_into_nested_objects() {
    let nested = Settings {
        subaccount_claims: vec!["/ext_attr/subaccountid".to_owned(), "a/b".to_owned()],
        ..settings()
    };
    let of =
        |claims: &str| read_with(claims, &nested, None, 1_000_000).map(|caller| caller.subaccount);
    assert_eq!(
        of(r#"{"ext_attr":{"subaccountid":"deep"}}"#).unwrap(),
        "deep"
    );
    assert_eq!(of(r#"{"ext_attr":"flat","a/b":"plain"}"#).unwrap(), "plain");
    assert!(of(r#"{"ext_attr":{}}"#).is_err());
}

#[test]
fn only_listed_clients_count_when_there_is_a_list() {
    let clients = ["app".to_owned(), "second".to_owned()];
    let of = |claims: &str| {
        read_with(claims, &settings(), Some(&clients), 1_000_000).map(|caller| caller.client)
    };
    assert_eq!(of("{}").unwrap(), "app");
    assert_eq!(of(r#"{"client_id":"app","azp":"second"}"#).unwrap(), "app");
    for claims in [
        r#"{"client_id":"evil"}"#,
        r#"{"client_id":"app","azp":"evil"}"#,
        r#"{"client_id":"app","azp":7}"#,
    ] {
        assert_eq!(
            of(claims).unwrap_err().reason(),
            "token-audience",
            "{claims}"
        );
    }
}
