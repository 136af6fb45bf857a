//! Tokens and the keys they are verified with.

use std::sync::OnceLock;

use adit_token::limits::{KEYS_MAX, SUBACCOUNT_CHARS_MAX};
use adit_token::{Algorithm, Caller, KeySet, Settings, TokenError, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;

use crate::input::Input;

/// The time of day.
const NOW: u64 = 1_800_000_000;

/// The example key of RFC 8037, appendix A.1: its secret is public, so that targets can sign.
pub(crate) const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

/// Ed25519 of the same appendix, P-256 of RFC 7515, appendix A.3.
const KEYS: &str = r#"{"keys":[
    {"kty":"OKP","kid":"ed","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty":"EC","kid":"ec","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;

fn settings() -> Settings {
    Settings {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["adit".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        ..Settings::default()
    }
}

fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let keys = KeySet::from_jwks(KEYS.as_bytes()).expect("the keys of the RFCs are fine");
        Verifier::new(settings(), keys)
    })
}

/// [`Verifier::verify`] on any text, and on any header and claims that are truly signed. The first byte chooses; for the
/// latter the next two tell where the header ends.
pub fn jwt(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() % 2 == 0 {
        let text = String::from_utf8_lossy(input.rest());
        judge(&text, verifier().verify(&text, NOW));
        return;
    }
    let length = usize::from(input.word() % 512);
    let header = input.take(length);
    let claims = input.rest();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let secret = URL_SAFE_NO_PAD
        .decode(SECRET)
        .expect("the RFC writes base64url");
    let key = Ed25519KeyPair::from_seed_unchecked(&secret).expect("the RFC's secret is one");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    let token = format!("{message}.{signature}");
    let verdict = verifier().verify(&token, NOW);
    judge(&token, verdict);
    // The same with one bit of the signature changed is never accepted.
    let mut forged = signature.into_bytes();
    forged[7] = if forged[7] == b'A' { b'B' } else { b'A' };
    let forged = format!("{message}.{}", String::from_utf8_lossy(&forged));
    assert!(
        verifier().verify(&forged, NOW).is_err(),
        "a forged signature"
    );
}

fn judge(token: &str, verdict: Result<Caller, TokenError>) {
    match verdict {
        Ok(caller) => {
            assert!(!caller.subaccount.is_empty(), "a caller without subaccount");
            assert!(caller.subaccount.chars().count() <= SUBACCOUNT_CHARS_MAX);
            assert!(caller.expires + 60 > NOW, "an expired token");
            let claims = token.split('.').nth(1).expect("three parts");
            let claims = URL_SAFE_NO_PAD.decode(claims).expect("of base64url");
            // A caller is what the claims say, nothing that was made of it.
            let text = String::from_utf8(claims).expect("claims are text");
            assert!(text.contains(&caller.subaccount) || text.contains('\\'));
        }
        Err(error) => {
            assert!(TokenError::REASONS.contains(&error.reason()), "{error}");
            let told = error.to_string();
            assert!(told.len() < 1000, "an error of {} bytes", told.len());
            assert!(!told.chars().any(char::is_control), "{told:?}");
        }
    }
}

/// [`KeySet::from_jwks`]: a set is bounded, and whatever it holds verifies nothing that was not signed.
pub fn jwks(data: &[u8]) {
    match KeySet::from_jwks(data) {
        Ok(keys) => {
            assert!((1..=KEYS_MAX).contains(&keys.len()));
            let verifier = Verifier::new(settings(), keys);
            let claims = r#"{"iss":"https://issuer.example","aud":"adit","exp":1800000600,"zid":"acme","sub":"u"}"#;
            // Not EdDSA: a key of small order, which nobody but its publisher can put here, verifies zeros.
            for algorithm in ["RS256", "PS256", "ES256", "none", "HS256"] {
                let header = format!(r#"{{"alg":"{algorithm}"}}"#);
                for length in [0, 32, 64, 256] {
                    let token = format!(
                        "{}.{}.{}",
                        URL_SAFE_NO_PAD.encode(&header),
                        URL_SAFE_NO_PAD.encode(claims),
                        URL_SAFE_NO_PAD.encode(vec![0; length])
                    );
                    let verdict = verifier.verify(&token, NOW);
                    assert!(
                        verdict.is_err(),
                        "{algorithm} with {length} zeros for a signature"
                    );
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
