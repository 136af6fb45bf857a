//! Row S-03 of the attack catalogue: every variant is refused, each with its own reason.

mod support;

use adit_token::{
    Algorithm, AlgorithmProblem, AudienceProblem, Malformed, Part, Settings, SignatureProblem,
    TokenError, limits,
};
use ring::hmac;
use support::{CLAIMS, NOW, claims_with, encode, signed, token, verifier, verifier_with};

fn refused(token: &str) -> TokenError {
    verifier()
        .verify(token, NOW)
        .expect_err("the token is hostile")
}

/// The twin of every test below: what they damage is accepted when whole.
#[test]
fn s03_the_undamaged_token_is_accepted_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let caller = verifier().verify(&token(algorithm, CLAIMS), NOW).unwrap();
        assert_eq!(caller.subaccount, "acme", "{algorithm}");
        assert_eq!(caller.client, "app");
        assert_eq!(caller.subject.as_deref(), Some("user"));
        assert_eq!(caller.expires, 1_800_000_600);
    }
}

#[test]
fn s03_alg_none_in_any_spelling_is_refused() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(format!(r#"{{"alg":"{name}"}}"#));
        for signature in ["", "AA"] {
            let token = format!("{header}.{}.{signature}", encode(CLAIMS));
            assert_eq!(
                refused(&token),
                TokenError::Algorithm(AlgorithmProblem::NotConfigured(name.to_owned()))
            );
        }
    }
}

#[test]
fn s03_hs256_with_the_public_rsa_key_as_secret_is_refused() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, support::RSA_N.as_bytes());
    let message = format!(
        "{}.{}",
        encode(r#"{"alg":"HS256","kid":"rsa"}"#),
        encode(CLAIMS)
    );
    let tag = hmac::sign(&key, message.as_bytes());
    assert_eq!(
        refused(&format!("{message}.{}", encode(tag))),
        TokenError::Algorithm(AlgorithmProblem::NotConfigured("HS256".to_owned()))
    );
}

#[test]
fn s03_an_algorithm_that_the_settings_leave_out_is_refused_even_if_well_signed() {
    let only_eddsa = verifier_with(Settings {
        algorithms: vec![Algorithm::EdDsa],
        ..support::settings()
    });
    let error = only_eddsa
        .verify(&token(Algorithm::Rs256, CLAIMS), NOW)
        .unwrap_err();
    assert_eq!(error.reason(), "token-algorithm");
}

#[test]
fn s03_an_algorithm_of_another_key_type_than_the_named_key_is_refused() {
    for (algorithm, kid) in [
        (Algorithm::Es256, "rsa"),
        (Algorithm::EdDsa, "ec"),
        (Algorithm::Rs256, "ed"),
        (Algorithm::Ps256, "ec"),
    ] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        assert_eq!(
            refused(&signed(algorithm, &header, CLAIMS)),
            TokenError::Algorithm(AlgorithmProblem::KeyMismatch(algorithm))
        );
    }
}

#[test]
fn s03_kid_injection_finds_no_key() {
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "x' UNION SELECT 'key",
        "https://evil.example/key",
        "| id",
        "ed\\u0000",
        "ED",
        "",
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
        let error = refused(&signed(Algorithm::EdDsa, &header, CLAIMS));
        assert!(
            matches!(
                error,
                TokenError::Signature(SignatureProblem::UnknownKey(_))
            ),
            "{kid}: {error}"
        );
    }
}

#[test]
fn s03_a_kid_that_is_no_short_text_is_malformed() {
    let longest = "k".repeat(limits::KID_BYTES_MAX);
    let header = format!(r#"{{"alg":"EdDSA","kid":"{longest}"}}"#);
    assert_eq!(
        refused(&signed(Algorithm::EdDsa, &header, CLAIMS)).reason(),
        "token-signature",
        "the longest id is looked up"
    );
    for kid in [
        format!("\"{longest}k\""),
        "7".to_owned(),
        "null".to_owned(),
        "[\"ed\"]".to_owned(),
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":{kid}}}"#);
        assert_eq!(
            refused(&signed(Algorithm::EdDsa, &header, CLAIMS)),
            TokenError::Malformed(Malformed::KeyId)
        );
    }
}

#[test]
fn s03_keys_and_addresses_inside_the_token_are_never_used() {
    // The attacker signs with a key of their own and brings its public half along.
    let theirs = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let x = encode(ring::signature::KeyPair::public_key(&theirs));
    for header in [
        format!(
            r#"{{"alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"mine"}}}}"#
        ),
        r#"{"alg":"EdDSA","jku":"https://evil.example/jwks.json"}"#.to_owned(),
        r#"{"alg":"EdDSA","x5u":"https://evil.example/chain.pem"}"#.to_owned(),
        r#"{"alg":"EdDSA","x5c":["MIIBszCCAVmgAwIBAgIU"]}"#.to_owned(),
    ] {
        let message = format!("{}.{}", encode(&header), encode(CLAIMS));
        let signature = encode(theirs.sign(message.as_bytes()));
        assert_eq!(
            refused(&format!("{message}.{signature}")),
            TokenError::Signature(SignatureProblem::Wrong),
            "{header}"
        );
        // The same headers on a token of the true issuer change nothing.
        let honest = signed(Algorithm::EdDsa, &header, CLAIMS);
        assert!(verifier().verify(&honest, NOW).is_ok(), "{header}");
    }
}

#[test]
fn s03_crit_is_refused_whatever_it_asks_for() {
    for header in [
        r#"{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}"#,
        r#"{"alg":"EdDSA","kid":"ed","crit":[]}"#,
        r#"{"alg":"EdDSA","kid":"ed","crit":null}"#,
    ] {
        assert_eq!(
            refused(&signed(Algorithm::EdDsa, header, CLAIMS)),
            TokenError::Malformed(Malformed::Critical)
        );
    }
}

#[test]
fn s03_duplicate_members_of_the_header_are_refused() {
    for (header, name) in [
        (r#"{"alg":"none","kid":"ed","alg":"EdDSA"}"#, "alg"),
        (r#"{"alg":"EdDSA","kid":"ed","\u006bid":"rsa"}"#, "kid"),
        (r#"{"alg":"EdDSA","jwk":{"x":"1","x":"2"}}"#, "x"),
    ] {
        assert_eq!(
            refused(&signed(Algorithm::EdDsa, header, CLAIMS)),
            TokenError::Malformed(Malformed::DuplicateKey(Part::Header, name.to_owned()))
        );
    }
}

#[test]
fn s03_duplicate_claims_are_refused() {
    for (from, to, name) in [
        (r#""zid":"acme""#, r#""zid":"acme","zid":"victim""#, "zid"),
        (
            r#""exp":1800000600"#,
            r#""exp":1,"\u0065xp":1800000600"#,
            "exp",
        ),
        (
            r#""zid":"acme""#,
            r#""zid":"acme","a":[{"b":1,"b":2}]"#,
            "b",
        ),
    ] {
        assert_eq!(
            refused(&token(Algorithm::EdDsa, &claims_with(from, to))),
            TokenError::Malformed(Malformed::DuplicateKey(Part::Claims, name.to_owned()))
        );
    }
}

#[test]
fn s03_a_wrong_audience_issuer_or_client_is_refused() {
    let of =
        |from: &str, to: &str| refused(&token(Algorithm::EdDsa, &claims_with(from, to))).reason();
    assert_eq!(of(r#""aud":"adit""#, r#""aud":"other""#), "token-audience");
    assert_eq!(
        of(r#""aud":"adit""#, r#""aud":["other"]"#),
        "token-audience"
    );
    assert_eq!(of(r#""aud":"adit","#, ""), "token-audience");
    assert_eq!(
        of("https://issuer.example", "https://evil.example"),
        "token-issuer"
    );
    assert_eq!(of(r#""iss":"https://issuer.example","#, ""), "token-issuer");

    let claims = claims_with(r#""sub":"user""#, r#""sub":"user","azp":"evil""#);
    let error = verifier()
        .only_clients(vec!["app".to_owned()])
        .verify(&token(Algorithm::EdDsa, &claims), NOW)
        .unwrap_err();
    assert_eq!(
        error,
        TokenError::Audience(AudienceProblem::Client("evil".to_owned()))
    );
}

#[test]
fn s03_a_missing_expiry_and_a_past_one_are_told_apart() {
    assert_eq!(
        refused(&token(
            Algorithm::EdDsa,
            &claims_with(r#""exp":1800000600,"#, "")
        )),
        TokenError::Malformed(Malformed::MissingClaim("`exp`"))
    );
    assert_eq!(
        refused(&token(
            Algorithm::EdDsa,
            &claims_with(r#""exp":1800000600"#, r#""exp":1799990000"#)
        )),
        TokenError::Expired { exp: 1_799_990_000 }
    );
}

#[test]
fn s03_a_token_of_the_future_is_refused() {
    assert_eq!(
        refused(&token(
            Algorithm::EdDsa,
            &claims_with(r#""nbf":1799999400"#, r#""nbf":1800000300"#)
        )),
        TokenError::NotYetValid { nbf: 1_800_000_300 }
    );
}

#[test]
fn s03_a_token_of_10_mib_is_refused_unread() {
    let huge = "a".repeat(10 * 1024 * 1024);
    assert_eq!(
        refused(&huge),
        TokenError::TooLarge {
            bytes: 10_485_760,
            limit: limits::TOKEN_BYTES_MAX
        }
    );
}

#[test]
fn s03_the_size_limit_holds_at_its_border() {
    // A claim nobody reads fills the token up; three of its bytes are four of base64url.
    let of = |padding: usize| {
        let claims = claims_with("{", &format!(r#"{{"pad":"{}","#, "p".repeat(padding)));
        token(Algorithm::EdDsa, &claims)
    };
    let padding = (limits::TOKEN_BYTES_MAX - of(0).len()) * 3 / 4;
    let (fits, too_long) = (of(padding - 1), of(padding + 2));
    assert!(fits.len() <= limits::TOKEN_BYTES_MAX);
    assert!(verifier().verify(&fits, NOW).is_ok());
    assert!(too_long.len() > limits::TOKEN_BYTES_MAX);
    assert_eq!(refused(&too_long).reason(), "token-too-large");

    let exact = verifier_with(Settings {
        max_bytes: too_long.len(),
        ..support::settings()
    });
    assert!(exact.verify(&too_long, NOW).is_ok());
    let short = verifier_with(Settings {
        max_bytes: too_long.len() - 1,
        ..support::settings()
    });
    assert!(short.verify(&too_long, NOW).is_err());
}

#[test]
fn s03_a_size_setting_beyond_the_ceiling_is_cut() {
    let unbounded = verifier_with(Settings {
        max_bytes: usize::MAX,
        ..support::settings()
    });
    let reason = |bytes: usize| {
        unbounded
            .verify(&"a".repeat(bytes), NOW)
            .unwrap_err()
            .reason()
    };
    assert_eq!(reason(limits::TOKEN_BYTES_CEILING), "token-malformed");
    assert_eq!(reason(limits::TOKEN_BYTES_CEILING + 1), "token-too-large");
}

#[test]
fn s03_an_encrypted_token_and_one_nested_in_a_token_are_refused() {
    // RFC 7516, appendix A.1 begins like this; five parts are enough to know.
    let encrypted = format!(
        "{}.a2V5.aXY.dGV4dA.dGFn",
        encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)
    );
    assert_eq!(
        refused(&encrypted),
        TokenError::Malformed(Malformed::Encrypted)
    );

    let header = r#"{"alg":"EdDSA","kid":"ed","cty":"JWT"}"#;
    for inner in [&encrypted, &token(Algorithm::EdDsa, CLAIMS)] {
        let error = refused(&signed(Algorithm::EdDsa, header, inner));
        assert!(
            matches!(
                error,
                TokenError::Malformed(Malformed::Json(Part::Claims, _))
            ),
            "{error}"
        );
    }
}

#[test]
fn s03_ecdsa_with_r_and_s_zero_or_out_of_range_is_refused() {
    // The group order of P-256 (FIPS 186-4, D.1.2.3): as r or s it is as good as zero.
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let message = format!(
        "{}.{}",
        encode(r#"{"alg":"ES256","kid":"ec"}"#),
        encode(CLAIMS)
    );
    let good = support::sign(Algorithm::Es256, message.as_bytes());
    for signature in [
        vec![0; 64],
        [vec![0; 32], good[32..].to_vec()].concat(),
        [good[..32].to_vec(), vec![0; 32]].concat(),
        [order, order].concat(),
        vec![0xff; 64],
        // DER of r = s = 0 and of nothing, which is not the form of RFC 7518, section 3.4.
        vec![0x30, 6, 2, 1, 0, 2, 1, 0],
        Vec::new(),
        good[..63].to_vec(),
        [good.clone(), vec![0]].concat(),
    ] {
        assert_eq!(
            refused(&format!("{message}.{}", encode(signature))),
            TokenError::Signature(SignatureProblem::Wrong)
        );
    }
}

#[test]
fn s03_an_ed25519_signature_of_zeros_or_of_the_wrong_length_is_refused() {
    let message = format!(
        "{}.{}",
        encode(r#"{"alg":"EdDSA","kid":"ed"}"#),
        encode(CLAIMS)
    );
    for length in [0, 63, 64, 65] {
        assert_eq!(
            refused(&format!("{message}.{}", encode(vec![0; length]))),
            TokenError::Signature(SignatureProblem::Wrong)
        );
    }
}

#[test]
fn s03_every_part_has_one_base64_spelling() {
    let good = token(Algorithm::EdDsa, CLAIMS);
    let parts: Vec<&str> = good.split('.').collect();
    assert_eq!(parts.len(), 3);
    let names = [Part::Header, Part::Claims, Part::Signature];
    for (index, name) in names.into_iter().enumerate() {
        // The claims are decoded after the signature, which covers their text: there a variant is
        // refused as wrongly signed.
        let expected = if name == Part::Claims {
            TokenError::Signature(SignatureProblem::Wrong)
        } else {
            TokenError::Malformed(Malformed::Base64(name))
        };
        for variant in [
            format!("{}=", parts[index]),
            format!("{}==", parts[index]),
            format!("{}\n", parts[index]),
            format!(" {}", parts[index]),
            format!("{}%3D", parts[index]),
            format!("+{}", parts[index]),
            format!("/{}", parts[index]),
        ] {
            let mut damaged = parts.clone();
            damaged[index] = &variant;
            assert_eq!(refused(&damaged.join(".")), expected, "{variant}");
        }
    }
}

#[test]
fn s03_spare_bits_in_the_last_character_are_refused() {
    // 64 bytes are 85 characters and 2 bits: of the last character 4 bits are spare and must be 0,
    // which leaves A, Q, g and w (RFC 4648, section 3.5).
    let good = token(Algorithm::EdDsa, CLAIMS);
    let last = good.chars().last().unwrap();
    assert!("AQgw".contains(last), "{last}");
    let spare = match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    };
    let damaged = format!("{}{spare}", &good[..good.len() - 1]);
    assert_eq!(
        refused(&damaged),
        TokenError::Malformed(Malformed::Base64(Part::Signature))
    );
}

#[test]
fn s03_claims_signed_in_a_second_base64_spelling_are_refused() {
    for variant in [
        format!("{}=", encode(CLAIMS)),
        format!("{}\n", encode(CLAIMS)),
    ] {
        let message = format!("{}.{variant}", encode(r#"{"alg":"EdDSA","kid":"ed"}"#));
        let signature = encode(support::sign(Algorithm::EdDsa, message.as_bytes()));
        assert_eq!(
            refused(&format!("{message}.{signature}")),
            TokenError::Malformed(Malformed::Base64(Part::Claims))
        );
    }
}

#[test]
fn s03_white_space_around_or_a_scheme_before_the_token_is_refused() {
    let good = token(Algorithm::EdDsa, CLAIMS);
    for (damaged, reason) in [
        (format!(" {good}"), "token-malformed"),
        (format!("{good} "), "token-malformed"),
        (format!("{good}\r\n"), "token-malformed"),
        (format!("\t{good}"), "token-malformed"),
        (format!("Bearer {good}"), "token-malformed"),
        (good.replacen('.', " .", 1), "token-malformed"),
        (good.replacen('.', ". ", 1), "token-signature"),
        (String::new(), "token-missing"),
    ] {
        assert_eq!(refused(&damaged).reason(), reason, "{damaged:?}");
    }
}

#[test]
fn s03_json_that_readers_disagree_about_is_refused() {
    for claims in [
        format!("{CLAIMS}{{}}"),
        format!("{CLAIMS} //"),
        format!("\u{feff}{CLAIMS}"),
        format!("[{CLAIMS}]"),
        "null".to_owned(),
        String::new(),
        claims_with("1800000600", "0x6b49d200"),
        claims_with("1800000600", "1e999"),
        claims_with("1800000600", "NaN"),
    ] {
        assert_eq!(
            refused(&token(Algorithm::EdDsa, &claims)).reason(),
            "token-malformed",
            "{claims}"
        );
    }
}

#[test]
fn s03_a_subaccount_that_is_a_path_is_refused() {
    for zid in ["../victim", "a/b", "acme\\n", "", "acme\\u0000"] {
        let claims = claims_with(r#""zid":"acme""#, &format!(r#""zid":"{zid}""#));
        assert_eq!(
            refused(&token(Algorithm::EdDsa, &claims)).reason(),
            "token-subaccount",
            "{zid}"
        );
    }
}
