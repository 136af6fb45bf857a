//! Documents in the shape in which Cloud Connector's REST API answers, and what came of them.

use adit_policy::sample::Sample;
use adit_policy::{OwnedRequest, Protocol, Request, Snapshot};

use super::*;
use crate::Weight;
use adit_policy::limits::DESCRIPTION_BYTES_MAX;

use crate::limits::QUOTED_BYTES_MAX;

mod reference;

/// A system as GET .../systemMappings has it (SAP, system-mappings), with the resources put in.
fn system(host: &str, port: &str, protocol: &str, more: &str) -> String {
    format!(
        r#"{{"virtualHost":"{host}","virtualPort":"{port}","localHost":"10.1.2.3","localPort":"{port}",
            "creationDate":"1742293057428","protocol":"{protocol}","backendType":"abapSys","hostInHeader":"VIRTUAL",
            "sid":"E01","authenticationMode":"NONE","description":"orders","allowedClients":[],"blacklistedUsers":[],
            "_links":{{"resources":{{"href":"https://scc:8443/x"}}}}{more}}}"#
    )
}

/// A resource as GET .../resources has it (SAP, system-mapping-resources).
fn resource(id: &str, enabled: bool, exact: bool, upgrade: bool) -> String {
    format!(
        r#"{{"id":"{id}","enabled":{enabled},"exactMatchOnly":{exact},"websocketUpgradeAllowed":{upgrade},
            "creationDate":"1742293061810","description":"","_links":{{}}}}"#
    )
}

fn erp(resources: &[String]) -> String {
    let more = format!(
        r#","totalResourcesCount":{},"resources":[{}]"#,
        resources.len(),
        resources.join(",")
    );
    format!("[{}]", system("Erp", "443", "HTTPS", &more))
}

fn read(document: &str) -> Import {
    import(document.as_bytes(), &Choice::default()).unwrap()
}

fn refused(document: &str) -> String {
    import(document.as_bytes(), &Choice::default())
        .unwrap_err()
        .to_string()
}

fn kinds(import: &Import) -> Vec<&'static str> {
    let mut kinds: Vec<_> = import
        .findings
        .iter()
        .map(|found| found.kind.word())
        .collect();
    kinds.dedup();
    kinds
}

fn grants(import: &Import, request: &str) -> bool {
    let snapshot = Snapshot::new(1, import.toml("scc.json")).unwrap();
    let request: OwnedRequest = request.parse().unwrap();
    snapshot.decide(&request.as_request()).is_ok()
}

#[test]
fn an_exact_resource_is_imported_without_anything_to_look_at() {
    let import = read(&erp(&[resource("/sap/opu", true, true, false)]));
    assert!(!import.needs_a_look, "{:?}", import.findings);
    assert_eq!(
        kinds(&import),
        ["all-methods", "odd-paths", "backend-trust"]
    );
    assert_eq!(
        import.toml("scc.json"),
        "\
# Made by `adit rules import scc` from `scc.json`:
# 1 of 1 systems, 1 of 1 resources. Its report says what is not in here, and what was wider there
# than it looked.

[[system]]
name = \"erp\"
description = \"Cloud Connector system Erp:443, HTTPS, abapSys, SID E01: orders\"
virtual = \"erp:443\"
protocol = \"http\"
internal = \"https://10.1.2.3:443\"

[[system.resource]]
path = \"/sap/opu\"
description = \"Cloud Connector resource `/sap/opu`, path only\"
"
    );
    assert!(grants(&import, "DELETE http://erp:443/sap/opu?x"));
    for denied in [
        "GET http://erp:443/sap/opu/x",
        "GET http://erp:443/SAP/opu",
        "GET ws://erp:443/sap/opu",
        "GET http://erp:80/sap/opu",
    ] {
        assert!(!grants(&import, denied), "{denied}");
    }
}

#[test]
fn a_prefix_ends_at_a_slash_and_the_report_says_what_it_reached_there() {
    let import = read(&erp(&[resource(
        "/production/accounting",
        true,
        false,
        true,
    )]));
    assert!(import.needs_a_look);
    let found = &import.findings[0];
    assert_eq!(found.kind, Kind::CrossesSegment);
    assert_eq!(found.kind.weight(), Weight::Wider);
    assert_eq!(found.place, "[0].resources[0].id");
    assert_eq!(found.about, "Erp:443 /production/accounting");
    assert!(found.text.contains("`.../accounting2`"), "{}", found.text);
    for granted in [
        "GET http://erp:443/production/accounting",
        "GET http://erp:443/production/accounting/",
        "GET http://erp:443/production/accounting/a/b",
        "GET http://erp:443/production/accounting;v=2/a",
        "GET ws://erp:443/production/accounting",
    ] {
        assert!(grants(&import, granted), "{granted}");
    }
    assert!(!grants(
        &import,
        "GET http://erp:443/production/accounting-plus"
    ));
}

#[test]
fn a_prefix_with_a_slash_at_its_end_crosses_nothing_and_that_of_everything_says_so() {
    let import = read(&erp(&[resource("/a/", true, false, false)]));
    assert!(!import.needs_a_look, "{:?}", import.findings);
    assert!(grants(&import, "GET http://erp:443/a/b"));
    assert!(!grants(&import, "GET http://erp:443/a"));
    let import = read(&erp(&[resource("/", true, false, false)]));
    assert_eq!(import.findings[0].kind, Kind::Everything);
    assert!(grants(&import, "GET http://erp:443/any/thing"));
}

#[test]
fn what_is_switched_off_stays_so_and_is_told_where_a_prefix_allowed_it_all_the_same() {
    let import = read(&erp(&[
        resource("/a/secret", false, true, false),
        resource("/b", false, false, false),
        resource("/a", true, false, false),
    ]));
    assert!(!grants(&import, "GET http://erp:443/b"));
    assert!(grants(&import, "GET http://erp:443/a/secret"));
    let still: Vec<_> = import
        .findings
        .iter()
        .filter(|found| found.kind == Kind::StillAllowed)
        .map(|found| found.about.as_str())
        .collect();
    assert_eq!(still, ["Erp:443 /a/secret"]);
    assert!(import.toml("x").contains("active = false"));
}

#[test]
fn flags_that_are_absent_take_the_meaning_that_grants_less() {
    let import = read(&erp(&[
        r#"{"id":"/a"}"#.to_owned(),
        r#"{"id":"/b","enabled":true}"#.to_owned(),
    ]));
    assert!(!grants(&import, "GET http://erp:443/a"));
    assert!(grants(&import, "GET http://erp:443/b"));
    assert!(!grants(&import, "GET http://erp:443/b/c"));
    assert!(import.needs_a_look);
    assert!(kinds(&import).contains(&"assumed"));
    let import = read(&erp(&[
        r#"{"id":"/a","enabled":"true","exactMatchOnly":true}"#.to_owned(),
    ]));
    assert_eq!(import.resources(), 0);
    assert!(kinds(&import).contains(&"malformed"));
}

#[test]
fn ports_and_ranges_of_opaque_bytes_are_imported_and_told() {
    let document = format!(
        "[{},{}]",
        system("db", "5432", "TCP", ""),
        system("mail", "4000-4009", "TCPS", "")
    );
    let import = read(&document);
    let told = kinds(&import);
    assert!(
        told.contains(&"opaque") && told.contains(&"port-range"),
        "{told:?}"
    );
    assert!(grants(&import, "tcp://db:5432"));
    assert!(grants(&import, "tcp://mail:4009"));
    assert!(!grants(&import, "tcp://mail:4010"));
    assert!(!grants(&import, "GET http://db:5432/"));
    assert_eq!(import.rules.systems[1].protocol, Protocol::Tls);
}

#[test]
fn what_adit_does_not_carry_is_left_out_and_said() {
    let modules = format!(
        r#","resources":[{},{}]"#,
        resource("BAPI_", true, false, false),
        resource("RFC_PING", true, true, false)
    );
    let document = format!(
        "[{},{},{},{}]",
        system("erp", "sapgw00", "RFC", &modules),
        system(
            "erp2",
            "sapgw01",
            "RFCS",
            r#","sapRouter":"/H/x","sncPartnerName":"p:CN=x""#
        ),
        system("dir", "389", "LDAP", ""),
        system("new", "443", "WSRFC", "")
    );
    let import = read(&document);
    assert_eq!(import.rules.systems.len(), 0);
    assert_eq!(import.systems_read, 4);
    let of = |kind: Kind| {
        import
            .findings
            .iter()
            .filter(|found| found.kind == kind)
            .count()
    };
    assert_eq!(of(Kind::Protocol), 4);
    assert_eq!(of(Kind::FunctionPrefix), 1);
    assert_eq!(of(Kind::NotCarried), 2);
    assert!(import.needs_a_look);
}

#[test]
fn principal_types_and_host_headers_are_read() {
    for (mode, told) in [
        ("NONE", None),
        ("NONE_RESTRICTED", None),
        ("X509_GENERAL", Some("principal")),
        ("X509_RESTRICTED", Some("principal")),
        ("KERBEROS", Some("principal")),
        ("SAML", Some("unknown-value")),
    ] {
        let one = erp(&[resource("/a", true, true, false)]).replace("NONE", mode);
        let import = read(&one);
        let first = kinds(&import)[0];
        assert_eq!(import.needs_a_look, told.is_some(), "{mode}");
        assert_eq!(told.unwrap_or("all-methods"), first, "{mode}");
        assert!(grants(&import, "GET http://erp:443/a"), "{mode}");
    }
    for (word, internal, look) in [
        ("VIRTUAL", false, false),
        ("internal", true, false),
        ("other", false, true),
    ] {
        let one = erp(&[resource("/a", true, true, false)]).replace("VIRTUAL", word);
        let import = read(&one);
        assert_eq!(
            import.toml("x").contains("host_header = \"internal\""),
            internal
        );
        assert_eq!(import.needs_a_look, look, "{word}");
    }
}

#[test]
fn a_system_that_adit_cannot_take_is_left_out_with_its_reason() {
    let good = erp(&[resource("/a", true, true, false)]);
    for (from, to, kind) in [
        ("\"10.1.2.3\"", "\"localhost\"", Kind::Loopback),
        ("\"10.1.2.3\"", "\"127.0.0.1\"", Kind::Loopback),
        ("\"10.1.2.3\"", "\"169.254.169.254\"", Kind::Loopback),
        ("\"10.1.2.3\"", "\"010.1.2.3\"", Kind::End),
        ("\"10.1.2.3\"", "7", Kind::Malformed),
        ("\"Erp\"", "\"*\"", Kind::End),
        (
            "\"virtualPort\":\"443\"",
            "\"virtualPort\":\"443-444\"",
            Kind::End,
        ),
        ("\"localPort\":\"443\"", "\"localPort\":\"0\"", Kind::End),
        ("\"localPort\":\"443\"", "\"localPort\":\"+443\"", Kind::End),
        ("\"HTTPS\"", "\"HTTP2\"", Kind::Protocol),
        ("\"protocol\"", "\"protokoll\"", Kind::Malformed),
        ("\"sid\"", "\"enabled\":false,\"sid\"", Kind::Disabled),
    ] {
        assert!(good.contains(from), "{from}");
        let import = read(&good.replacen(from, to, 1));
        assert_eq!(import.rules.systems.len(), 0, "{to}");
        let first = &import.findings[0];
        assert_eq!(first.kind, kind, "{to}: {first}");
        assert!(
            first
                .text
                .starts_with("not imported, nor is its resource: "),
            "{first}"
        );
        assert!(import.needs_a_look);
    }
    let import = read(&good.replace("10.1.2.3", "2001:db8::1"));
    assert!(import.toml("x").contains("https://[2001:db8::1]:443"));
}

#[test]
fn paths_that_could_be_two_things_are_left_out() {
    for (id, is_in) in [
        ("/a b", false),
        ("/a/../b", false),
        ("/a//b", false),
        ("/a%2Fb", false),
        ("a", false),
        ("/a?x", false),
        ("/a/*", false),
        ("/%61", true),
        ("/stra\u{df}e", true),
    ] {
        let import = read(&erp(&[resource(id, true, true, false)]));
        assert_eq!(import.resources() == 1, is_in, "{id}");
        assert_eq!(kinds(&import).contains(&"path"), !is_in, "{id}");
    }
    let keep = Choice {
        encoded_slash: EncodedSlash::Keep,
        ..Choice::default()
    };
    let import = import(
        erp(&[resource("/a%2Fb", true, true, false)]).as_bytes(),
        &keep,
    )
    .unwrap();
    assert!(grants(&import, "GET http://erp:443/a%2fb"));
}

#[test]
fn systems_of_one_virtual_end_are_left_out_all_of_them() {
    let other =
        |host: &str, port: &str, protocol: &str| system(host, port, protocol, r#","resources":[]"#);
    let document = format!(
        "[{},{},{},{},{}]",
        other("erp", "443", "HTTP"),
        other("ERP", "443", "HTTP"),
        other("db", "100-200", "TCP"),
        other("db", "150", "TCP"),
        other("db", "201", "TCP")
    );
    let import = read(&document);
    let ends: Vec<_> = import
        .rules
        .systems
        .iter()
        .map(|system| system.virtual_end.to_string())
        .collect();
    assert_eq!(ends, ["db:201"]);
    let overlaps = import
        .findings
        .iter()
        .filter(|found| found.kind == Kind::Overlap);
    assert_eq!(overlaps.count(), 4);
}

#[test]
fn systems_of_one_host_have_names_of_their_own() {
    let long = "a".repeat(60);
    let document = format!(
        "[{},{},{},{}]",
        system("erp", "80", "TCP", ""),
        system("erp", "81", "TCP", ""),
        system(&format!("{long}.{long}"), "81", "TCP", ""),
        system("scc-3", "81", "TCP", "")
    );
    let names: Vec<_> = read(&document)
        .rules
        .systems
        .iter()
        .map(|system| system.name().to_owned())
        .collect();
    assert_eq!(names, ["erp-80", "erp-81", "scc-3", "scc-4"]);
}

#[test]
fn resources_that_are_not_in_the_document_are_missed() {
    let import = read(&format!(
        "[{}]",
        system("erp", "80", "HTTP", r#","totalResourcesCount":5"#)
    ));
    assert_eq!(import.findings[0].kind, Kind::Incomplete);
    assert!(
        import.findings[0].text.contains("5 resources"),
        "{}",
        import.findings[0]
    );
    let one = format!(
        r#","totalResourcesCount":2,"resources":[{}]"#,
        resource("/a", true, true, false)
    );
    let import = read(&format!("[{}]", system("erp", "80", "HTTP", &one)));
    assert_eq!(import.findings[0].kind, Kind::Incomplete);
    assert_eq!(import.resources(), 1);
    let import = read(&erp(&[]));
    assert_eq!(import.findings[0].kind, Kind::NoResources);
}

#[test]
fn members_that_are_not_known_are_reported_and_no_member_may_be_there_twice() {
    let import = read(&erp(&[resource("/a", true, true, false).replacen(
        '{',
        r#"{"methods":["GET"],"#,
        1,
    )]));
    assert!(import.needs_a_look);
    assert_eq!(import.findings[0].kind, Kind::UnknownMember);
    assert!(
        import.findings[0].text.contains("`methods`"),
        "{}",
        import.findings[0]
    );
    let twice = erp(&[resource("/a", true, true, false).replacen('{', r#"{"enabled":false,"#, 1)]);
    assert!(
        refused(&twice).contains("`enabled` is there twice"),
        "{}",
        refused(&twice)
    );
}

/// The answers of several requests under the paths that were asked for.
fn answers() -> String {
    format!(
        r#"{{
          "https://scc:8443/api/v1/configuration/subaccounts/cf.eu10/acme/systemMappings/erp:80/resources": [{}],
          "/api/v1/configuration/subaccounts/cf.eu10/acme/systemMappings": [{}],
          "/api/v1/configuration/subaccounts/cf.eu10/acme/systemMappings/gone:1/resources": [],
          "/api/v1/configuration/subaccounts/cf.eu10/other/systemMappings": [{}],
          "/api/v1/configuration/subaccounts/cf.eu10/acme": {{"subaccount":"acme","locationID":"plant"}},
          "/api/v1/configuration/connector": {{"ha":{{}}}}
        }}"#,
        resource("/a", true, true, false),
        system("erp", "80", "HTTP", r#","totalResourcesCount":1"#),
        system("erp", "80", "HTTP", ""),
    )
}

#[test]
fn answers_under_their_paths_are_put_together_for_the_subaccount_that_is_chosen() {
    let error = refused(&answers());
    assert!(
        error.contains("2 subaccounts") && error.contains("`acme` at location `plant`"),
        "{error}"
    );
    for choice in [
        Choice {
            subaccount: Some("acme".to_owned()),
            ..Choice::default()
        },
        Choice {
            location: Some("plant".to_owned()),
            ..Choice::default()
        },
    ] {
        let import = import(answers().as_bytes(), &choice).unwrap();
        assert_eq!(import.subaccount.as_deref(), Some("acme"));
        assert!(grants(&import, "GET http://erp:80/a"));
        let told = kinds(&import);
        assert!(
            told.contains(&"orphan") && told.contains(&"not-read"),
            "{told:?}"
        );
    }
    let nobody = Choice {
        subaccount: Some("nobody".to_owned()),
        ..Choice::default()
    };
    assert!(import(answers().as_bytes(), &nobody).is_err());
}

#[test]
fn one_system_and_subaccounts_with_their_systems_are_documents_too() {
    let list = erp(&[resource("/a", true, true, false)]);
    let one = list.trim_start_matches('[').trim_end_matches(']');
    for document in [
        format!("\u{feff} {one}"),
        format!(r#"{{"subaccount":"acme","locationID":"","systemMappings":{list}}}"#),
        format!(r#"{{"subaccounts":[{{"subaccount":"acme","systemMappings":{list}}}]}}"#),
        format!(r#"[{{"subaccount":"acme","systemMappings":{list}}},{{"subaccount":"quiet"}}]"#),
    ] {
        assert!(
            grants(&read(&document), "GET http://erp:443/a"),
            "{document}"
        );
    }
}

#[test]
fn what_is_no_access_control_is_told_what_it_is() {
    for (document, part) in [
        ("PK\u{3}\u{4}", "zip archive"),
        ("<html>", "logon page"),
        ("", "1:0: EOF"),
        ("7", "a number is no access control"),
        (
            "[{\"id\":\"/a\",\"exactMatchOnly\":true}]",
            "[0]: these are resources without the system",
        ),
        (
            "{\"type\":\"NOT_FOUND\",\"message\":\"gone\"}",
            "answered with an error: `gone`",
        ),
        ("[[]]", "[0]: this is no system"),
        (
            "{\"systemMappings\":{}}",
            "systemMappings: an object where a list belongs",
        ),
        ("[1,\n 2,", "2:3: EOF"),
    ] {
        let told = refused(document);
        assert!(told.contains(part), "{document}: {told}");
    }
}

#[test]
fn a_document_is_as_long_as_the_limit_and_not_a_byte_longer() {
    let mut document = vec![b' '; DOCUMENT_BYTES_MAX - 2];
    document.extend(b"[]");
    assert!(import(&document, &Choice::default()).is_ok());
    document.push(b' ');
    let error = import(&document, &Choice::default()).unwrap_err();
    assert!(error.to_string().contains("at most 16777216"), "{error}");
}

#[test]
fn long_texts_of_the_document_are_cut_where_they_are_told() {
    let id = format!("/{}", "x".repeat(4 * QUOTED_BYTES_MAX));
    let import = read(&erp(&[resource(&id, true, false, false)]));
    assert_eq!(import.resources(), 1);
    for found in &import.findings {
        assert!(found.to_string().len() < 4 * QUOTED_BYTES_MAX, "{found}");
    }
}

#[test]
fn a_description_is_as_long_as_a_rule_set_allows_and_a_longer_one_is_cut_between_characters() {
    // Four texts that are cut at QUOTED_BYTES_MAX each are more than one description.
    for letter in ["x", "\u{e4}", "\u{20ac}", "\u{1f600}"] {
        let long = letter.repeat(2 * QUOTED_BYTES_MAX);
        let document = erp(&[])
            .replace(r#""sid":"E01""#, &format!(r#""sid":"{long}""#))
            .replace(
                r#""description":"orders""#,
                &format!(r#""description":"{long}""#),
            )
            .replace("abapSys", &long)
            .replace(
                "\"Erp\"",
                &format!("\"{}\"", ["e".repeat(60).as_str(); 4].join(".")),
            );
        let import = read(&document);
        let text = import.rules.systems[0].description.clone().unwrap();
        assert!(text.len() <= DESCRIPTION_BYTES_MAX, "{}", text.len());
        assert!(
            text.len() > DESCRIPTION_BYTES_MAX - 8 && text.ends_with("..."),
            "{text}"
        );
        assert!(Snapshot::new(1, import.toml("scc.json")).is_ok());
    }
    for (length, is_cut) in [
        (DESCRIPTION_BYTES_MAX, false),
        (DESCRIPTION_BYTES_MAX + 1, true),
    ] {
        let text = "d".repeat(length);
        let cut = crate::finding::description(text.clone());
        assert_eq!(cut.len(), DESCRIPTION_BYTES_MAX);
        assert_eq!(cut != text, is_cut);
    }
}
