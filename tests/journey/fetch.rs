//! An application fetches from nginx, with the clients and credentials it has.

use std::time::Duration;

use adit_tests::curl::Curl;
use adit_tests::wait::until;
use adit_tests::{Nginx, Rules, World, on_both_drivers};

on_both_drivers! {
    fn curl_fetches_a_file_through_the_proxy_with_a_bearer_token(driver: Driver) {
        let nginx = Nginx::start();
        let world = World::on(driver, Rules::none().http("web.virtual:80", nginx.url()));
        let authorization = format!("Proxy-Authorization: Bearer {}", world.token());
        let proxy = format!("http://{}", world.http());
        let outcome = Curl::new(&["-f", "-x", &proxy, "--proxy-header", &authorization, "http://web.virtual/1k"]).run();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, std::fs::read(nginx.path("1k")).unwrap());
        // nginx writes its log behind the answer.
        until("nginx has written its log", Duration::from_secs(10), || !nginx.access_log().is_empty());
        assert_eq!(nginx.access_log(), ["200 \"GET /1k HTTP/1.1\" 1024"]);
    }
}

#[test]
fn the_token_may_be_the_user_name_of_basic() {
    let nginx = Nginx::start();
    let world = World::with(Rules::none().http("web.virtual:80", nginx.url()));
    let proxy = format!("http://{}", world.http());
    let user = format!("{}:", world.token());
    let outcome = Curl::new(&["-f", "-x", &proxy, "-U", &user, "http://web.virtual/1k"]).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, std::fs::read(nginx.path("1k")).unwrap());
}
