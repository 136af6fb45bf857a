//! Tokens: a signature verified, and the same token found in the memory of a shard.
//!
//! Keys and signatures are constants, because verifying costs a little more or less with each
//! signature and budgets want the same each time. The public keys are those of the RFCs' examples
//! (RFC 7515, appendices A.2 and A.3; RFC 8037, appendix A.1).

use std::hint::black_box;

use adit_token::cache::Cache;
use adit_token::{Algorithm, KeySet, Settings, Verifier};

use crate::case::{Case, UNITS, Work, units};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "token/verify-eddsa",
            "a token of 287 bytes verified, Ed25519",
            UNITS,
            || verify(EDDSA),
        ),
        Case::new(
            "token/verify-es256",
            "a token of 287 bytes verified, ECDSA on P-256",
            UNITS,
            || verify(ES256),
        ),
        Case::new(
            "token/verify-rs256",
            "a token of 544 bytes verified, RSA of 2,048 bits",
            UNITS,
            || verify(RS256),
        ),
        Case::new(
            "token/cache-hit",
            "a token of 287 bytes found among 1,000",
            UNITS,
            || {
                let caller = verifier().verify(EDDSA, NOW).expect("the token is sound");
                let mut cache = Cache::new(20_000);
                for other in 0..999 {
                    cache.insert(&format!("{other}"), caller.clone());
                }
                cache.insert(EDDSA, caller);
                units(move || {
                    black_box(cache.get(black_box(EDDSA), NOW)).expect("it is remembered");
                })
            },
        ),
    ]
}

fn verify(token: &'static str) -> Box<dyn Work> {
    let verifier = verifier();
    units(move || {
        black_box(verifier.verify(black_box(token), NOW)).expect("the token is sound");
    })
}

fn verifier() -> Verifier {
    let settings = Settings {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["adit".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        ..Settings::default()
    };
    let keys = KeySet::from_jwks(KEYS.as_bytes()).expect("the keys are fine");
    Verifier::new(settings, keys)
}

/// Within the life of the tokens.
const NOW: u64 = 1_800_000_000;

const KEYS: &str = r#"{"keys":[
{"kty":"RSA","kid":"rsa","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
{"kty":"EC","kid":"ec","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

// All three: {"iss":"https://issuer.example","aud":"adit","exp":1800000600,"nbf":1799999400,
// "zid":"acme","client_id":"app","sub":"user"}
pub(crate) const EDDSA: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiYWRpdCIsImV4cCI6MTgwMDAwMDYwMCwibmJmIjoxNzk5OTk5NDAwLCJ6aWQiOiJhY21lIiwiY2xpZW50X2lkIjoiYXBwIiwic3ViIjoidXNlciJ9._2nsz63VKgFbtgPWi--IyWkBOkrcgz1A-ZWdUOkeOhiFe9KM736mPkZPw_JYX-hdKd7MnahDqUuBsEAbJdiKDg";
const ES256: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiYWRpdCIsImV4cCI6MTgwMDAwMDYwMCwibmJmIjoxNzk5OTk5NDAwLCJ6aWQiOiJhY21lIiwiY2xpZW50X2lkIjoiYXBwIiwic3ViIjoidXNlciJ9.cKl0jKEBV50xJ8cqOo2Pp-xvZQwMxi1Qb4f5ekBbC5HnXqcb2cqFjT2SMw7WKNyRBR6iITYoMa3U8cN96k07DQ";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiYWRpdCIsImV4cCI6MTgwMDAwMDYwMCwibmJmIjoxNzk5OTk5NDAwLCJ6aWQiOiJhY21lIiwiY2xpZW50X2lkIjoiYXBwIiwic3ViIjoidXNlciJ9.nyofSDsZQpIik82OqfDlWMxFOi4-a4hvM-PX_CFn4pZzlXxa27FU-SKwQnvwRrJd-VGA4st9yPE8gQ_mEm_fnvKc3D9s8dQVenB5F8Tlbn5JsQ5YIDaYvKz8jwaMpKDn7XovzN4HsaM9A3KbXHNDPnOttMsK3fDcLtxpQoqzy1CNAZKvx6qRPrEot9pmvQ-UBjdEtgxzsPzNPc70t3FStXypZHvTGZ5qkWGnUH-0Rlkf1l48Led1O-Anp07uaEEJjLlMW41OlHio2glgymAy9wXx3wJH_bMQniWRRshYPEqCiaT_Jb2yRn1GHhIOJCOj25izyguFWpUpIXmun7KLbQ";
