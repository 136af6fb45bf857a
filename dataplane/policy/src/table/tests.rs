//! Decisions and explanations, rule by rule.
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Snapshot, Withdrawn, explain};

mod explained;

const RULES: &str = r#"
[[system]]
name = "erp"
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3:8000"
host_header = "internal"

[[system.resource]]
path = "/sap/opu/odata/sap/API_X"
scope = "subtree"
methods = ["GET", "POST"]
description = "the API"

[[system.resource]]
path = "/sap/opu/odata/sap/API_X/secret"
scope = "subtree"
active = false
methods = ["PUT"]

[[system.resource]]
path = "/ping"

[[system.resource]]
path = "/docs/"
scope = "subtree"

[[system.resource]]
path = "/sap/opu/odata/CATALOGSERVICE"
scope = "subtree"
parameters = true

[[system.resource]]
path = "/chat"
upgrade = true

[[system.resource]]
path = "/later"
active = false

[[system]]
name = "files"
virtual = "files.virtual:8080"
protocol = "http"
internal = "https://files.corp"
ca_file = "/ca.pem"
encoded_slash = "keep"

[[system.resource]]
path = "/Files('a%2Fb.txt')"

[[system]]
name = "db"
virtual = "db.virtual:5432-5440"
protocol = "tcp"
internal = "10.1.2.4:15432-15440"

[[system]]
name = "ldap"
virtual = "db.virtual:636"
protocol = "tls"
internal = "localhost:636"
allow_loopback = true

[[system]]
name = "empty"
virtual = "empty:80"
protocol = "http"
internal = "http://e"
"#;

fn snapshot() -> Arc<Snapshot> {
    Snapshot::new(7, RULES.to_owned()).unwrap()
}

fn http<'a>(host: &'a str, port: u16, method: &'a str, path: &'a str) -> Request<'a> {
    Request::Http {
        host,
        port,
        method,
        path: path.as_bytes(),
        upgrade: false,
    }
}

/// The granting rule or the reason, for a GET of `erp`.
fn erp(path: &str) -> Result<String, DenialReason> {
    decide(&http("erp.virtual", 80, "GET", path))
}

fn decide(request: &Request<'_>) -> Result<String, DenialReason> {
    snapshot()
        .decide(request)
        .map(|permit| permit.rule().to_owned())
        .map_err(|denial| denial.reason())
}

const API: &str = "/sap/opu/odata/sap/API_X";

#[test]
fn p01_a_subtree_ends_at_a_slash_and_is_case_sensitive() {
    for path in ["", "/", "/Orders", "/Orders('1')/Items", "/$metadata"] {
        assert_eq!(erp(&format!("{API}{path}")).as_deref(), Ok(API), "{path}");
    }
    for path in [
        "/sap/opu/odata/sap/API_X_EVIL",
        "/sap/opu/odata/sap/API_Xtra",
        "/sap/opu/odata/sap/API_X.",
        "/sap/opu/odata/sap/API_X%20",
        "/SAP/opu/odata/sap/API_X",
        "/sap/opu/odata/sap/api_x",
        "/sap/opu/odata/sap",
        "/sap/opu/odata/sap/",
        "/",
    ] {
        assert_eq!(erp(path), Err(DenialReason::ResourceDenied), "{path}");
    }
}

#[test]
fn p02_no_spelling_of_a_way_out_of_a_subtree_is_granted() {
    for tail in [
        "/../secret",
        "/./x",
        "/%2e%2e/x",
        "/%2E./x",
        "/..%2fx",
        "/%252e%252e/x",
        "/..;/x",
        "/..;jsessionid=1/x",
        "/x%5cy",
        "/x\\y",
        "/x%2fy",
        "//x",
        "///",
        "/x%00",
        "/x%0d%0a",
        "/%c0%ae%c0%ae/",
        "/x%c0%afy",
        "/\u{ff0e}\u{ff0e}/",
        "/x\u{ff0f}y",
        "/%ff",
        "/%",
        "/x?y",
        "/x#y",
    ] {
        assert_eq!(
            erp(&format!("{API}{tail}")),
            Err(DenialReason::PathAmbiguous),
            "{tail}"
        );
    }
}

#[test]
fn p02_parameters_in_a_middle_segment_are_another_segment() {
    assert_eq!(
        erp("/sap/opu;jsessionid=1/odata/sap/API_X"),
        Err(DenialReason::ResourceDenied)
    );
    assert_eq!(
        erp(&format!("{API};jsessionid=1/x")),
        Err(DenialReason::ResourceDenied)
    );
    assert_eq!(erp(&format!("{API}/x;jsessionid=1")).as_deref(), Ok(API));
}

#[test]
fn the_same_path_in_another_encoding_is_the_same_path() {
    assert_eq!(erp("/%73ap/opu/odata/sap/API%5FX").as_deref(), Ok(API));
    assert_eq!(erp("/pin%67").as_deref(), Ok("/ping"));
}

#[test]
fn an_exact_path_reaches_itself_only() {
    assert_eq!(erp("/ping").as_deref(), Ok("/ping"));
    for path in ["/ping/", "/ping/x", "/pin", "/pingx", "/ping;x", "/Ping"] {
        assert_eq!(erp(path), Err(DenialReason::ResourceDenied), "{path}");
    }
}

#[test]
fn a_subtree_that_ends_in_a_slash_reaches_what_begins_with_it() {
    for path in ["/docs/", "/docs/a", "/docs/a/b/"] {
        assert_eq!(erp(path).as_deref(), Ok("/docs/"), "{path}");
    }
    assert_eq!(erp("/docs"), Err(DenialReason::ResourceDenied));
    assert_eq!(erp("/docsx/a"), Err(DenialReason::ResourceDenied));
}

#[test]
fn the_subtree_of_the_root_is_everything_and_the_exact_root_is_the_root() {
    for (scope, path, expected) in [
        ("subtree", "/", true),
        ("subtree", "/a", true),
        ("subtree", "/a/b/", true),
        ("exact", "/", true),
        ("exact", "/a", false),
    ] {
        let text = format!(
            "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\ninternal = \"http://b\"\n\
             resource = [{{path = \"/\", scope = \"{scope}\"}}]\n"
        );
        let snapshot = Snapshot::new(1, text).unwrap();
        assert_eq!(
            snapshot.decide(&http("a", 80, "GET", path)).is_ok(),
            expected,
            "{scope} {path}"
        );
    }
}

#[test]
fn parameters_are_granted_where_the_resource_says_so_on_its_last_segment() {
    const CATALOG: &str = "/sap/opu/odata/CATALOGSERVICE";
    for tail in ["", ";v=2", ";v=2/Services", ";", ";a;b=c/", "/x;v=1"] {
        assert_eq!(
            erp(&format!("{CATALOG}{tail}")).as_deref(),
            Ok(CATALOG),
            "{tail}"
        );
    }
    for path in [
        "/sap/opu/odata;v=2/CATALOGSERVICE",
        "/sap/opu/odata/CATALOGSERVICEX;v=2",
        "/sap/opu/odata/CATALOGSERVICE%3Bv=2",
        "/ping;v=2",
    ] {
        assert_eq!(erp(path), Err(DenialReason::ResourceDenied), "{path}");
    }
}

#[test]
fn a_kept_slash_is_text_and_a_refused_one_is_ambiguous() {
    let files = |path| decide(&http("files.virtual", 8080, "GET", path));
    assert_eq!(
        files("/Files('a%2Fb.txt')").as_deref(),
        Ok("/Files('a%2Fb.txt')")
    );
    assert_eq!(
        files("/Files('a%2fb.txt')").as_deref(),
        Ok("/Files('a%2Fb.txt')")
    );
    assert_eq!(
        files("/Files('a/b.txt')"),
        Err(DenialReason::ResourceDenied)
    );
    assert_eq!(
        files("/Files('a%2F..%2Fb.txt')"),
        Err(DenialReason::PathAmbiguous)
    );
    assert_eq!(erp("/ping%2Fx"), Err(DenialReason::PathAmbiguous));
}

#[test]
fn methods_upgrades_and_inactive_resources_have_reasons_of_their_own() {
    let ask = |method, path: &str, upgrade| {
        decide(&Request::Http {
            host: "erp.virtual",
            port: 80,
            method,
            path: path.as_bytes(),
            upgrade,
        })
    };
    assert_eq!(ask("POST", API, false).as_deref(), Ok(API));
    assert_eq!(ask("DELETE", API, false), Err(DenialReason::MethodDenied));
    assert_eq!(ask("get", API, false), Err(DenialReason::MethodDenied));
    assert_eq!(ask("", API, false), Err(DenialReason::MethodDenied));
    assert_eq!(ask("G T", "/ping", false), Err(DenialReason::MethodDenied));
    assert_eq!(
        ask("CONNECT", "/ping", false),
        Err(DenialReason::MethodDenied)
    );
    assert_eq!(ask("ANYTHING", "/ping", false).as_deref(), Ok("/ping"));
    assert_eq!(ask("GET", "/ping", true), Err(DenialReason::UpgradeDenied));
    assert_eq!(ask("GET", "/chat", true).as_deref(), Ok("/chat"));
    assert_eq!(ask("GET", "/chat", false).as_deref(), Ok("/chat"));
    assert_eq!(ask("GET", "/later", false), Err(DenialReason::Suspended));
    // The inactive rule would grant PUT, an active one above it does not.
    assert_eq!(
        ask("PUT", &format!("{API}/secret"), false),
        Err(DenialReason::Suspended)
    );
    assert_eq!(
        ask("DELETE", &format!("{API}/secret"), false),
        Err(DenialReason::MethodDenied)
    );
    // An inactive rule takes nothing away from an active one.
    assert_eq!(
        ask("GET", &format!("{API}/secret"), false).as_deref(),
        Ok(API)
    );
}

#[test]
fn p04_hosts_are_compared_without_case_and_odd_ones_are_malformed() {
    assert!(decide(&http("ERP.Virtual", 80, "GET", "/ping")).is_ok());
    for host in [
        "",
        "erp.virtual.",
        "user@erp.virtual",
        "[::1]",
        "erp.virtual:80",
        "erp%2evirtual",
        "erp virtual",
    ] {
        assert_eq!(
            decide(&http(host, 80, "GET", "/ping")),
            Err(DenialReason::HostMalformed),
            "{host}"
        );
    }
    assert_eq!(
        decide(&http("erp.virtual", 0, "GET", "/ping")),
        Err(DenialReason::HostMalformed)
    );
    assert_eq!(
        decide(&http("erp.virtual", 81, "GET", "/ping")),
        Err(DenialReason::PortDenied)
    );
    assert_eq!(
        decide(&http("erp.virtua", 80, "GET", "/ping")),
        Err(DenialReason::SystemUnknown)
    );
    assert_eq!(
        decide(&http("x.erp.virtual", 80, "GET", "/ping")),
        Err(DenialReason::SystemUnknown)
    );
}

#[test]
fn p05_nothing_but_host_port_method_path_and_upgrade_can_be_asked() {
    // Destructured without `..`: a new field that could influence a decision breaks this test.
    let request = http("erp.virtual", 80, "GET", "/ping");
    if let Request::Http {
        host: _,
        port: _,
        method: _,
        path: _,
        upgrade: _,
    } = request
    {
        assert!(decide(&request).is_ok());
    }
}

#[test]
fn p06_a_path_of_64_kib_is_decided() {
    let long = format!("{API}/{}", "a".repeat(64 * 1024));
    assert_eq!(erp(&long).as_deref(), Ok(API));
    let encoded = format!("{API}/{}", "%61".repeat(20 * 1024));
    assert_eq!(erp(&encoded).as_deref(), Ok(API));
    let denied = format!("/{}", "%61".repeat(20 * 1024));
    assert_eq!(erp(&denied), Err(DenialReason::ResourceDenied));
    let text = snapshot()
        .decide(&http("erp.virtual", 80, "GET", &denied))
        .unwrap_err()
        .to_string();
    assert!(text.len() < 1024, "{}", text.len());
}

#[test]
fn ports_of_a_range_stand_for_those_of_the_internal_range() {
    for (port, internal) in [(5432, 15432), (5436, 15436), (5440, 15440)] {
        let request = Request::Tcp {
            host: "DB.virtual",
            port,
        };
        let snapshot = snapshot();
        assert_eq!(
            snapshot.table().decide(&request).unwrap().virtual_port(),
            port
        );
        let permit = snapshot.decide(&request).unwrap();
        assert_eq!(permit.internal(), ("10.1.2.4", internal));
        assert_eq!(permit.virtual_port(), port);
        assert_eq!(permit.virtual_host(), "db.virtual");
        assert_eq!(permit.protocol(), InternalProtocol::Tcp);
        assert_eq!(permit.rule(), "db");
        assert!(permit.resource().is_none());
    }
    for port in [5431, 5441, 635, 637] {
        let request = Request::Tcp {
            host: "db.virtual",
            port,
        };
        assert_eq!(decide(&request), Err(DenialReason::PortDenied), "{port}");
    }
}

#[test]
fn protocols_are_not_mixed() {
    let tcp = |host, port| decide(&Request::Tcp { host, port });
    assert_eq!(tcp("erp.virtual", 80), Err(DenialReason::ProtocolMismatch));
    assert_eq!(tcp("db.virtual", 636).as_deref(), Ok("ldap"));
    assert_eq!(
        decide(&http("db.virtual", 5432, "GET", "/")),
        Err(DenialReason::ProtocolMismatch)
    );
    assert_eq!(
        decide(&http("db.virtual", 636, "GET", "/")),
        Err(DenialReason::ProtocolMismatch)
    );
}

#[test]
fn a_permit_names_what_the_agent_needs_and_nothing_is_left_to_guess() {
    let snapshot = snapshot();
    let permit = snapshot
        .decide(&http("ERP.virtual", 80, "GET", API))
        .unwrap();
    assert_eq!(permit.version(), 7);
    assert_eq!(permit.system_name(), "erp");
    assert_eq!(permit.internal(), ("10.1.2.3", 8000));
    assert_eq!(permit.protocol(), InternalProtocol::Http);
    assert_eq!(permit.host_header(), crate::HostHeader::Internal);
    assert_eq!(permit.ca_file(), None);
    assert_eq!(
        permit.resource().and_then(|r| r.description.as_deref()),
        Some("the API")
    );
    let permit = snapshot
        .decide(&http("files.virtual", 8080, "GET", "/Files('a%2Fb.txt')"))
        .unwrap();
    assert_eq!(permit.internal(), ("files.corp", 443));
    assert_eq!(permit.virtual_port(), 8080);
    assert_eq!(permit.protocol(), InternalProtocol::Https);
    assert_eq!(permit.ca_file(), Some("/ca.pem"));
}

#[test]
fn p08_a_resolved_address_is_admitted_by_its_class() {
    let snapshot = snapshot();
    let strict = snapshot
        .decide(&http("erp.virtual", 80, "GET", "/ping"))
        .unwrap();
    let loose = snapshot
        .decide(&Request::Tcp {
            host: "db.virtual",
            port: 636,
        })
        .unwrap();
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
    ] {
        assert!(
            !strict.admits_address(address.parse().unwrap()),
            "{address}"
        );
        assert!(loose.admits_address(address.parse().unwrap()), "{address}");
    }
    for address in ["224.0.0.1", "255.255.255.255", "ff02::1"] {
        assert!(
            !strict.admits_address(address.parse().unwrap()),
            "{address}"
        );
        assert!(!loose.admits_address(address.parse().unwrap()), "{address}");
    }
    for address in ["10.1.2.3", "2001:db8::1"] {
        assert!(strict.admits_address(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn what_withdraws_a_permit_is_said_in_words() {
    assert_eq!(
        Withdrawn::Moved.to_string(),
        "the system has another internal end now"
    );
    let denial = snapshot().decide(&http("x", 80, "GET", "/")).unwrap_err();
    assert_eq!(
        Withdrawn::Denied(Box::new(denial.clone())).to_string(),
        denial.to_string()
    );
}

#[test]
fn protocols_of_backends_say_whether_they_are_encrypted() {
    for (protocol, word, encrypted) in [
        (InternalProtocol::Http, "http", false),
        (InternalProtocol::Https, "https", true),
        (InternalProtocol::Tcp, "tcp", false),
        (InternalProtocol::Tls, "tls", true),
    ] {
        assert_eq!(
            (protocol.word(), protocol.is_encrypted()),
            (word, encrypted)
        );
    }
}

#[test]
fn a_permit_is_renewed_by_rules_that_still_grant_it_for_the_same_backend() {
    let request = http("erp.virtual", 80, "GET", API);
    let permit = snapshot().decide(&request).unwrap();
    let newer = |text: String| Snapshot::new(8, text).unwrap();
    let same = newer(RULES.replace("the API", "still the API"));
    assert_eq!(permit.renew(&same, &request).unwrap().version(), 8);

    let denied = newer(RULES.replace("[\"GET\", \"POST\"]", "[\"POST\"]"));
    match permit.renew(&denied, &request).unwrap_err() {
        Withdrawn::Denied(denial) => assert_eq!(denial.reason(), DenialReason::MethodDenied),
        Withdrawn::Moved => panic!("denied, not moved"),
    }
    let moved = newer(RULES.replace("10.1.2.3:8000", "10.1.2.3:8001"));
    assert_eq!(
        permit.renew(&moved, &request).unwrap_err(),
        Withdrawn::Moved
    );

    let stream = Request::Tcp {
        host: "db.virtual",
        port: 636,
    };
    let permit = snapshot().decide(&stream).unwrap();
    let narrowed = newer(
        RULES
            .replace("localhost:636", "ldap.corp:636")
            .replace("allow_loopback = true", ""),
    );
    assert_eq!(
        permit.renew(&narrowed, &stream).unwrap_err(),
        Withdrawn::Moved
    );
}

#[test]
fn the_hash_of_a_snapshot_is_that_of_its_text() {
    // printf '' | sha256sum, and printf '# x\n' | sha256sum
    for (text, hash) in [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "# x\n",
            "253b610bd786f2543252c8d4b45bb40eb375882587f825cb9ce1fd1241f66f1e",
        ),
    ] {
        assert_eq!(Snapshot::new(1, text.to_owned()).unwrap().hash_hex(), hash);
    }
}

#[test]
fn names_whose_hashes_collide_are_told_apart() {
    // See `HASH_MASK`: 100 names share 4 hashes here.
    let mut text =
        "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\ninternal = \"http://b\"\n".to_owned();
    for n in 0..100 {
        text.push_str(&format!("[[system.resource]]\npath = \"/n{n}\"\n"));
    }
    let snapshot = Snapshot::new(1, text).unwrap();
    for n in 0..100 {
        let path = format!("/n{n}");
        let permit = snapshot.decide(&http("a", 80, "GET", &path)).unwrap();
        assert_eq!(permit.rule(), path);
    }
    for n in 100..200 {
        assert!(
            snapshot
                .decide(&http("a", 80, "GET", &format!("/n{n}")))
                .is_err()
        );
    }
}

proptest! {
    #[test]
    fn any_request_is_decided_and_told_without_a_panic(
        host in prop_oneof![Just("erp.virtual".to_owned()), any::<String>()],
        port in any::<u16>(),
        right_port in any::<bool>(),
        method in prop_oneof![Just("GET".to_owned()), any::<String>()],
        path in prop::collection::vec(any::<u8>(), 0..60),
        upgrade in any::<bool>(),
    ) {
        let request = Request::Http {
            host: &host,
            port: if right_port { 80 } else { port },
            method: &method,
            path: &path,
            upgrade,
        };
        let explanation = explain(&snapshot(), &request);
        prop_assert!(explanation.to_string().contains("version 7"));
        let owned = request.to_owned();
        prop_assert_eq!(owned.as_request(), request);
    }
}
