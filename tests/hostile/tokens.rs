//! Tokens that pretend (S-03), and the closed list of what is accepted. The verifier's own tests know
//! hundreds more; these show that the doors ask it.

use adit_tests::token::{assemble, hs256};
use adit_tests::{Backend, Rules, World, socks};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

#[test]
fn s03_no_door_takes_a_token_that_pretends() {
    let mirror = Backend::mirror();
    let rules = Rules::none()
        .http("web.virtual:80", mirror.url())
        .tcp("tcp.virtual:1", mirror.address());
    let world = World::with(rules);
    let claims = world.keys.claims();
    let good = world.keys.token_of(&claims);
    let jwks = std::fs::read_to_string(world.keys.path("issuer/jwks.json")).unwrap();
    let public: serde_json::Value = serde_json::from_str(&jwks).unwrap();
    let x = public["keys"][0]["x"].as_str().unwrap();
    let public = BASE64_URL_SAFE_NO_PAD.decode(x).unwrap();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    let missing = |claim: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(claim);
        world.keys.token_of(&claims)
    };
    let with_header = |header: serde_json::Value| assemble(&header, &claims, |_| vec![0; 64]);
    let (head, body) = good.rsplit_once('.').unwrap().0.split_once('.').unwrap();

    let tokens = [
        (
            "none",
            assemble(&json!({"alg": "none"}), &claims, |_| Vec::new()),
        ),
        (
            "none in capitals",
            assemble(&json!({"alg": "NONE"}), &claims, |_| Vec::new()),
        ),
        (
            "the public key as a secret",
            assemble(&json!({"alg": "HS256"}), &claims, hs256(&public)),
        ),
        (
            "the JWKS as a secret",
            assemble(&json!({"alg": "HS256"}), &claims, hs256(jwks.as_bytes())),
        ),
        ("no signature", format!("{head}.{body}.")),
        ("no third part", format!("{head}.{body}")),
        ("five parts", format!("{good}.x.y")),
        ("a signature of zeros", with_header(json!({"alg": "EdDSA"}))),
        ("ES256 of zeros", with_header(json!({"alg": "ES256"}))),
        (
            "a key in the token",
            with_header(json!({"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}})),
        ),
        (
            "a URL for the key",
            with_header(json!({"alg": "EdDSA", "jku": "http://127.0.0.1/jwks.json"})),
        ),
        (
            "a path as key id",
            with_header(json!({"alg": "EdDSA", "kid": "../../etc/passwd"})),
        ),
        ("no expiry", missing("exp")),
        ("no issuer", missing("iss")),
        ("no audience", missing("aud")),
        ("no subaccount", missing("zid")),
        (
            "a claim twice",
            format!(
                "{head}.{}.{}",
                part(r#"{"zid":"acme","zid":"globex","exp":9999999999}"#),
                signature(&good)
            ),
        ),
        ("padding", good.replace('.', "=.")),
        (
            "another alphabet",
            format!("{head}.{body}.{}+/", &signature(&good)[..84]),
        ),
        (
            "space inside",
            format!("{head}. {body}.{}", signature(&good)),
        ),
        (
            "large",
            format!("{head}.{}.{}", "A".repeat(20_000), signature(&good)),
        ),
    ];
    for (name, token) in &tokens {
        let bearer = format!("Proxy-Authorization: Bearer {token}\r\n");
        let request =
            format!("GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\n{bearer}\r\n");
        let response = world
            .exchange(request)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if *name == "large" {
            // The line is too long before anybody looks for a token in it.
            assert_eq!(response.status, 431, "{name}");
        } else {
            assert_eq!(response.status, 407, "{name}: {}", response.refusal());
            assert!(
                response.refusal().starts_with("token-"),
                "{name}: {}",
                response.refusal()
            );
        }
        let error = socks::connect_jwt(world.socks(), token, "", "tcp.virtual", 1).unwrap_err();
        // Too large is told by the end of the connection, perhaps before all of it was sent.
        assert!(
            error.to_string().starts_with("token ") || *name == "large",
            "{name}: {error}"
        );
    }
    assert_eq!(mirror.accepted(), 0);
    let bearer = format!("Proxy-Authorization: Bearer {good}\r\n");
    let request = format!("GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\n{bearer}\r\n");
    assert_eq!(
        world.exchange(request).unwrap().status,
        200,
        "the twin of them all"
    );
}

#[test]
fn s03_the_tokens_algorithm_is_not_the_tokens_choice() {
    let mirror = Backend::mirror();
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", mirror.url()))
        .gateway(|config| {
            config.set("token.algorithms", "[\"ES256\"]");
        })
        .start();
    // Well signed by a known key, with an algorithm that this gateway does not accept.
    let response = world.get("http://web.virtual/");
    assert_eq!(
        (response.status, response.refusal()),
        (407, "token-algorithm")
    );
}

#[test]
fn s03_an_expired_token_is_refused_although_it_was_seen_before() {
    let mirror = Backend::mirror();
    let world = World::builder()
        .rules(Rules::none().http("web.virtual:80", mirror.url()))
        .gateway(|config| {
            config.set("token.leeway_s", "0");
        })
        .start();
    let token = world
        .keys
        .token_with(&["--subaccount", "acme", "--ttl", "2s"]);
    let request = format!(
        "GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
    );
    let mut connection = world.connect();
    connection.send(&request).unwrap();
    assert_eq!(connection.response().unwrap().status, 200);
    let mut last = None;
    adit_tests::until(
        "the token expires on a kept connection",
        adit_tests::wait::SOON,
        || {
            connection.send(&request).unwrap();
            let response = connection.response().unwrap();
            last = Some(response.refusal().to_owned());
            response.status == 407
        },
    );
    assert_eq!(last.as_deref(), Some("token-expired"));
}
