//! What the demo writes, read by those it is written for: policy and the token room.
//!
//! Whether the nodes take their configurations is left to the journeys.

use adit_policy::{OwnedRequest, Snapshot};
use adit_token::{Algorithm, KeySet, Settings, Verifier};

use time::OffsetDateTime;

use super::*;

fn backends() -> Backends {
    Backends::unserved(
        "127.0.0.1:4001".parse().unwrap(),
        "127.0.0.1:4002".parse().unwrap(),
    )
}

fn make(dir: &Path) -> Result<World> {
    World::make(dir, Ports::Auto, NonZeroU16::new(2), &backends())
}

#[test]
fn the_rules_allow_and_deny_what_the_story_tells() {
    let snapshot = Snapshot::from_file("rules.toml", 1, rules(&backends())).unwrap();
    let allows = |text: &str| {
        let request: OwnedRequest = text.parse().unwrap();
        snapshot.decide(&request.as_request()).is_ok()
    };
    assert!(allows(&format!("GET {ALLOWED_URL}")));
    assert!(!allows(&format!("GET {DENIED_URL}")));
    assert!(allows(&format!("tcp://{TCP_HOST}:{TCP_PORT}")));
    assert!(!allows(&format!("tcp://{TCP_HOST}:22")));
}

#[test]
fn the_token_is_one_the_gateway_takes_and_fits_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let world = make(dir.path()).unwrap();
    let jwks = fs::read(world.path("issuer/jwks.json")).unwrap();
    let verifier = Verifier::new(
        Settings {
            issuers: vec![ISSUER.to_owned()],
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: vec![Algorithm::EdDsa],
            ..Settings::default()
        },
        KeySet::from_jwks(&jwks).unwrap(),
    );
    let token = fs::read_to_string(world.path("token")).unwrap();
    assert!(token.len() < 255, "{}", token.len());
    let unix_now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap();
    let caller = verifier.verify(&token, unix_now).unwrap();
    assert_eq!(caller.subaccount, SUBACCOUNT);
}

#[test]
fn the_folder_and_its_secrets_are_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let world = make(&demo).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&demo), 0o700);
    for secret in ["token", "password", "issuer/issuer-key.pem"] {
        assert_eq!(mode(&world.path(secret)), 0o600, "{secret}");
    }
}

#[test]
fn a_second_demo_in_the_same_folder_waits_for_the_end_of_the_first_and_has_fresh_keys() {
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    let first = make(&demo).unwrap();
    let old = fs::read(first.path("password")).unwrap();
    let refused = make(&demo).unwrap_err().to_string();
    assert!(refused.contains("a demo is running there"), "{refused}");
    drop(first);
    let second = make(&demo).unwrap();
    assert_ne!(fs::read(second.path("password")).unwrap(), old);
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let refused = make(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("not a demo's folder"), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_too_deep_for_a_socket_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100));
    let refused = make(&deep).unwrap_err().to_string();
    assert!(refused.contains("choose a shorter --dir"), "{refused}");
}

#[test]
fn ports_are_all_different() {
    let Endpoints {
        control,
        http,
        socks5,
        tunnel,
        gateway_admin,
        agent_metrics,
    } = Endpoints::choose(Ports::Auto).unwrap();
    let mut ports = vec![control, http, socks5, tunnel, gateway_admin, agent_metrics];
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 6);
    assert!(ports.iter().all(|address| address.port() != 0));
}
