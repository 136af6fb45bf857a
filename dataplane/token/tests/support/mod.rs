//! An issuer with three keys, whose private halves are those of the RFCs' examples.

#![allow(
    dead_code,
    reason = "each test file uses the part of the issuer that it needs"
)]

use adit_token::{Algorithm, KeySet, Settings, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};

/// The time of day in the tests.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
const RSA_DP: &str = "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0";
const RSA_DQ: &str = "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU";
const RSA_QI: &str = "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U";
pub(crate) const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
pub(crate) const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const EC_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
pub(crate) const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(text)
        .expect("the tests write base64url")
}

pub(crate) fn jwks() -> String {
    format!(
        r#"{{"keys":[{{"kty":"RSA","kid":"rsa","n":"{RSA_N}","e":"AQAB"}},
        {{"kty":"EC","kid":"ec","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"}},
        {{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"{ED_X}"}}]}}"#
    )
}

pub(crate) fn settings() -> Settings {
    Settings {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["adit".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        ..Settings::default()
    }
}

pub(crate) fn verifier() -> Verifier {
    verifier_with(settings())
}

pub(crate) fn verifier_with(settings: Settings) -> Verifier {
    let keys = KeySet::from_jwks(jwks().as_bytes()).expect("the issuer's keys are fine");
    Verifier::new(settings, keys)
}

/// Claims that are accepted at [`NOW`].
pub(crate) const CLAIMS: &str = r#"{"iss":"https://issuer.example","aud":"adit","exp":1800000600,"nbf":1799999400,"zid":"acme","client_id":"app","sub":"user"}"#;

/// [`CLAIMS`] with one text replaced; the text must be there.
pub(crate) fn claims_with(from: &str, to: &str) -> String {
    assert!(CLAIMS.contains(from), "{from} is in the claims");
    CLAIMS.replacen(from, to, 1)
}

/// A token of `algorithm` with its key's id.
pub(crate) fn token(algorithm: Algorithm, claims: &str) -> String {
    let kid = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => "rsa",
        Algorithm::Es256 => "ec",
        Algorithm::EdDsa => "ed",
    };
    let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
    signed(algorithm, &header, claims)
}

/// Any header and claims, truly signed.
pub(crate) fn signed(algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(algorithm, message.as_bytes());
    format!("{message}.{}", encode(signature))
}

pub(crate) fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let pair = rsa_pair();
            let mut signature = vec![0; pair.public().modulus_len()];
            let scheme: &dyn ring::signature::RsaEncoding = if algorithm == Algorithm::Rs256 {
                &RSA_PKCS1_SHA256
            } else {
                &RSA_PSS_SHA256
            };
            pair.sign(scheme, &random, message, &mut signature)
                .expect("the RFC's key signs");
            signature
        }
        Algorithm::Es256 => {
            let point = [vec![4], decode(EC_X), decode(EC_Y)].concat();
            EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &decode(EC_D),
                &point,
                &random,
            )
            .expect("the RFC's key is a pair")
            .sign(&random, message)
            .expect("the RFC's key signs")
            .as_ref()
            .to_vec()
        }
        Algorithm::EdDsa => Ed25519KeyPair::from_seed_and_public_key(&decode(ED_D), &decode(ED_X))
            .expect("the RFC's key is a pair")
            .sign(message)
            .as_ref()
            .to_vec(),
    }
}

fn rsa_pair() -> RsaKeyPair {
    RsaKeyPair::from_components(&rsa::KeyPairComponents {
        public_key: rsa::PublicKeyComponents {
            n: decode(RSA_N),
            e: vec![1, 0, 1],
        },
        d: decode(RSA_D),
        p: decode(RSA_P),
        q: decode(RSA_Q),
        dP: decode(RSA_DP),
        dQ: decode(RSA_DQ),
        qInv: decode(RSA_QI),
    })
    .expect("the RFC's key is a pair")
}
