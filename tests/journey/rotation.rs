//! Keys of tokens that change while the gateway runs.

use std::time::Duration;

use adit_tests::{Backend, Rules, World, backend, until};

fn ask(world: &World, token: &str) -> (u16, String) {
    let response = world
        .exchange(format!(
            "GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
        ))
        .unwrap();
    (response.status, response.refusal().to_owned())
}

#[test]
fn new_token_keys_are_taken_in_without_a_restart_and_damaged_ones_are_not() {
    let backend = Backend::saying(backend::ok("hello"));
    let world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let file = world.keys.path("issuer/jwks.json");
    let other = adit_tests::world::Keys::new();
    let theirs = std::fs::read(other.path("issuer/jwks.json")).unwrap();
    let (old, new) = (world.token().to_owned(), other.token("acme"));
    assert_eq!(ask(&world, &old).0, 200);
    assert_eq!(ask(&world, &new), (407, "token-signature".to_owned()));

    std::fs::write(&file, b"{\"keys\": [").unwrap();
    let admin = world.gateway.admin();
    until("the damage is told", Duration::from_secs(15), || {
        adit_tests::node::failures(&admin.status()).contains("token-keys")
    });
    assert_eq!(ask(&world, &old).0, 200, "the old keys stay");

    std::fs::write(&file, &theirs).unwrap();
    until("the new key is taken in", Duration::from_secs(15), || {
        ask(&world, &new).0 == 200
    });
    // The old token was seen and remembered; its key is gone, and so is it.
    assert_eq!(ask(&world, &old), (407, "token-signature".to_owned()));
}
