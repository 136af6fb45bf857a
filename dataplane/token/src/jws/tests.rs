//! Known answers of RFC 7515 and RFC 8037, and one of a peer for PS256.
//!
//! Attacks are left to `tests/hostile.rs`, where tokens are signed at will.

use super::*;
use crate::error::SignatureProblem;

/// RFC 7515, appendix A.2.1: payload and public key; A.3.1; RFC 8037, appendix A.2.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JWKS: &str = r#"{"keys":[
  {"kty":"RSA","kid":"a2","e":"AQAB",
   "n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
  {"kty":"EC","kid":"a3","crv":"P-256",
   "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
   "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
  {"kty":"OKP","kid":"8037","crv":"Ed25519",
   "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// RFC 7515, appendix A.2.1.
const RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);
/// RFC 7515, appendix A.3.1.
const ES256: (&str, &str) = (
    "eyJhbGciOiJFUzI1NiJ9",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
/// Made by OpenSSL 3.0 (through pyca/cryptography 48) with the key of appendix A.2:
/// PSS, SHA-256, MGF1 with SHA-256, salt of 32 bytes.
const PS256: (&str, &str) = (
    "eyJhbGciOiJQUzI1NiJ9",
    "cULZMNAY_7f4HseFbfUpkr4rHmwueLja7yPiLmDPs4exoF9HcrVlYpbv4LyUIgqvynpsOMb1JC39k_xBALtLUd0xRygBu-oH5f2ETw7w_3Yq7I7fbPcz102esluEvuD_-h56oZTm3y4oyo2jxwJghQCP5zaMEXpZr0kiOTcXdZBkiTPb-VkFIanymbUG7ZaG597xExFcmbHuiQMqwDgRp5790abN0-CsHWOHh37CXwCfVZQx3GFr8dIYnkgCs_FbU4x10yImAuepd3XN16zhPby9Dmnzu5Gg_mNCxBp9q5DbJGDjwj-LSUgDy4iJ1NTPfw432HCeLES5Oa9uQM3ouA",
);
/// As above with a salt of 20 bytes, which RFC 7518, section 3.5 does not allow.
const PS256_SHORT_SALT: (&str, &str) = (
    "eyJhbGciOiJQUzI1NiJ9",
    "g4iNDihuWY1hcWNocZOZFImz0KyyYN52Sq7dXdZMq97vc7clNhv12V7H1UhDVSVFjac_zdVpLo_DHpx4riA_gDQHBCq1ovoprn-e-8jgr87yBW4hG1natWPpT35vVwdG64WCAabvZQXP1COmX7wks-2TvJtEi_g6ouLbSzata882V0Ke4Z5KQikK_8KCaLUXR-t_o6e7jmvjkQRc5L66DcptaU_ZPQ387nKNy8q_7RTpeNX89VUV4BhmSQg8mWSDTlEy0eI-aHHgS9lERtMEdpPmsSInPcvK6s1bvudEagN5HWAd21CRbGhA4nqEJNpoyPAd39mCuc6R57YWDtMJwg",
);
/// RFC 8037, appendix A.4.
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn keys() -> KeySet {
    KeySet::from_jwks(JWKS.as_bytes()).unwrap()
}

fn compact((header, signature): (&str, &str)) -> String {
    format!("{header}.{PAYLOAD}.{signature}")
}

fn open_any(token: &str) -> Result<Vec<u8>, TokenError> {
    open(token, &Algorithm::ALL, &keys())
}

#[test]
fn the_examples_of_rfc7515_open() {
    // The octets of appendix A.2.1, written there with line breaks inside the object.
    let payload =
        b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    assert_eq!(open_any(&compact(RS256)).unwrap(), payload);
    assert_eq!(open_any(&compact(ES256)).unwrap(), payload);
    assert_eq!(open_any(&compact(PS256)).unwrap(), payload);
}

#[test]
fn the_example_of_rfc8037_opens() {
    assert_eq!(open_any(EDDSA).unwrap(), b"Example of Ed25519 signing");
}

#[test]
fn a_pss_salt_of_another_length_is_refused() {
    assert_eq!(
        open_any(&compact(PS256_SHORT_SALT)),
        Err(TokenError::Signature(SignatureProblem::Wrong))
    );
}

#[test]
fn a_signature_under_another_algorithm_of_the_same_key_is_refused() {
    for pair in [(RS256.0, PS256.1), (PS256.0, RS256.1)] {
        assert_eq!(
            open_any(&compact(pair)),
            Err(TokenError::Signature(SignatureProblem::Wrong))
        );
    }
}

#[test]
fn an_algorithm_counts_only_when_it_is_configured() {
    for (token, algorithm) in [
        (compact(RS256), Algorithm::Rs256),
        (compact(PS256), Algorithm::Ps256),
        (compact(ES256), Algorithm::Es256),
        (EDDSA.to_owned(), Algorithm::EdDsa),
    ] {
        assert!(open(&token, &[algorithm], &keys()).is_ok(), "{algorithm}");
        let others: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter(|other| *other != algorithm)
            .collect();
        assert_eq!(
            open(&token, &others, &keys()),
            Err(TokenError::Algorithm(AlgorithmProblem::NotConfigured(
                algorithm.name().to_owned()
            )))
        );
        assert!(open(&token, &[], &keys()).is_err());
    }
}

#[test]
fn the_shape_is_told_apart() {
    for (token, malformed) in [
        ("", Malformed::Parts),
        ("abc", Malformed::Parts),
        ("a.b", Malformed::Parts),
        ("a.b.c.d", Malformed::Parts),
        ("a.b.c.d.e", Malformed::Encrypted),
        ("a.b.c.d.e.f", Malformed::Parts),
        (
            "..",
            Malformed::Json(
                Part::Header,
                "EOF while parsing a value at line 1 column 0".to_owned(),
            ),
        ),
    ] {
        assert_eq!(
            open_any(token),
            Err(TokenError::Malformed(malformed)),
            "{token}"
        );
    }
}
