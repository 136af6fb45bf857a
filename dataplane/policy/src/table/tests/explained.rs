//! What operators are told of a decision.
use super::*;
use crate::canonical::Oddity;
use crate::limits::CLOSEST_SIBLINGS_MAX;

/// The last part of the explanation of a denial: why the closest rule did not match.
fn why(request: &Request<'_>) -> String {
    let denial = snapshot().decide(request).unwrap_err();
    let text = denial.to_string();
    text.split_once("; closest is ")
        .map_or_else(|| text.clone(), |(_, why)| why.to_owned())
}

#[test]
fn a_denial_says_which_rule_came_closest_and_why_it_did_not_match() {
    let api = "subtree `/sap/opu/odata/sap/API_X` of system `erp` (line 10)";
    for (path, expected) in [
        ("/sap/opu/odata/sap/API_X_EVIL", format!("{api}: a rule ends at a `/`: `API_X` is not `API_X_EVIL`")),
        ("/sap/opu/odata/sap/API", format!("{api}: a rule ends at a `/`: `API_X` is not `API`")),
        ("/sap/opu/odata/sap/api_x/y", format!("{api}: paths are case-sensitive: `API_X` is not `api_x`")),
        ("/sap/opu/odata/sap/ZPI", format!("{api}: `API_X` is not `ZPI`")),
        ("/sap/opu/odata/sap", format!("{api}: it reaches only what lies deeper")),
        ("/ping/", "exact `/ping` of system `erp` (line 22): the request ends in a `/` and the rule does not".to_owned()),
        (
            "/ping/x",
            "exact `/ping` of system `erp` (line 22): it reaches this path only, not what lies below (scope = \
             \"subtree\" would)"
                .to_owned(),
        ),
        ("/docs", "subtree `/docs/` of system `erp` (line 25): the rule ends in a `/` and the request does not".to_owned()),
        (
            "/ping;x=1",
            "exact `/ping` of system `erp` (line 22): it allows no `;` parameters (parameters = true would)".to_owned(),
        ),
        ("/later", "exact `/later` of system `erp` (line 38): it is not active (active = false)".to_owned()),
    ] {
        assert_eq!(why(&http("erp.virtual", 80, "GET", path)), expected, "{path}");
    }
    assert_eq!(
        why(&http("erp.virtual", 80, "DELETE", API)),
        format!("{api}: it allows GET, POST, not DELETE")
    );
    let upgrade = Request::Http {
        host: "erp.virtual",
        port: 80,
        method: "GET",
        path: b"/ping",
        upgrade: true,
    };
    assert_eq!(
        why(&upgrade),
        "exact `/ping` of system `erp` (line 22): it allows no upgrade (upgrade = true would)"
    );
    assert_eq!(
        why(&http("erp.virtual", 8080, "GET", "/")),
        "system `erp` (erp.virtual:80) (line 2): its port is 80"
    );
    assert_eq!(
        why(&http("empty", 80, "GET", "/")),
        "system `empty` (empty:80) (line 65): it has no resources, and what no rule allows is denied"
    );
    assert_eq!(
        why(&http("db.virtual", 5432, "GET", "/")),
        "system `db` (db.virtual:5432-5440) (line 52): it carries opaque streams (tcp), and this was asked as http"
    );
    assert_eq!(
        why(&Request::Tcp {
            host: "erp.virtual",
            port: 80
        }),
        "system `erp` (erp.virtual:80) (line 2): it speaks http, and this was asked as an opaque stream"
    );
}

#[test]
fn a_segment_too_long_to_be_any_rules_is_told_all_the_same() {
    let path = format!("/sap/opu/odata/{}", "%61".repeat(5000));
    let told = why(&http("erp.virtual", 80, "GET", &path));
    assert!(told.contains("is not `%61%61"), "{told}");
    assert!(told.len() < 1000, "{told}");
}

#[test]
fn a_denial_of_an_ambiguous_path_names_the_byte() {
    let denial = snapshot()
        .decide(&http("erp.virtual", 80, "GET", "/ping/../x"))
        .unwrap_err();
    let ambiguity = denial.ambiguity().unwrap();
    assert_eq!(
        (ambiguity.oddity(), ambiguity.offset()),
        (Oddity::DotSegment, 6)
    );
    assert_eq!(
        denial.to_string(),
        "the path could be read in two ways: byte 6: a segment of dots would be resolved by some programs and not by \
         others"
    );
}

#[test]
fn an_explanation_reads_like_one() {
    let snapshot = snapshot();
    let hash = snapshot.hash_hex();
    let short = &hash[..12];
    assert_eq!(
        explain(&snapshot, &http("erp.virtual", 80, "GET", API)).to_string(),
        format!(
            "allow  GET http://erp.virtual:80{API}\n  rule      subtree `{API}` of system `erp`, line 10 (the API)\n  \
             goes to   http://10.1.2.3:8000 with the internal host\n  snapshot  version 7, sha256 {short}"
        )
    );
    assert_eq!(
        explain(
            &snapshot,
            &Request::Tcp {
                host: "db.virtual",
                port: 5433
            }
        )
        .to_string(),
        format!(
            "allow  tcp://db.virtual:5433\n  rule      system `db`, line 52\n  goes to   tcp://10.1.2.4:15433\n  \
             snapshot  version 7, sha256 {short}"
        )
    );
    assert_eq!(
        explain(&snapshot, &http("erp.virtaul", 80, "GET", "/ping")).to_string(),
        format!(
            "deny   GET http://erp.virtaul:80/ping\n  reason    system-unknown: no system has this virtual host\n  \
             did you mean `erp.virtual`?\n  snapshot  version 7, sha256 {short}"
        )
    );
}

#[test]
fn an_explanation_is_json_for_programs() {
    let told = serde_json::to_value(explain(
        &snapshot(),
        &http("erp.virtual", 80, "DELETE", API),
    ))
    .unwrap();
    assert_eq!(told["decision"], "deny");
    assert_eq!(told["reason"], "method-denied");
    assert_eq!(told["version"], 7);
    assert_eq!(told["closest"]["path"], API);
    assert_eq!(
        told["closest"]["why"]["method"]["allowed"],
        serde_json::json!(["GET", "POST"])
    );
    let told =
        serde_json::to_value(explain(&snapshot(), &http("erp.virtual", 80, "GET", API))).unwrap();
    assert_eq!(told["decision"], "allow");
    assert_eq!(told["internal"], "10.1.2.3:8000");
    assert_eq!(told["scope"], "subtree");
}

#[test]
fn a_snapshot_in_a_log_line_tells_no_rule() {
    let snapshot = snapshot();
    let permit = snapshot
        .decide(&http("erp.virtual", 80, "GET", "/ping"))
        .unwrap();
    for shown in [format!("{snapshot:?}"), format!("{permit:?}")] {
        assert!(
            shown.contains("version: 7") && shown.contains(&snapshot.hash_hex()),
            "{shown}"
        );
        assert!(!shown.contains("10.1.2.3"), "{shown}");
    }
}

#[test]
fn a_denial_beside_more_siblings_than_are_looked_at_still_names_a_rule() {
    for siblings in [
        CLOSEST_SIBLINGS_MAX - 1,
        CLOSEST_SIBLINGS_MAX,
        CLOSEST_SIBLINGS_MAX + 1,
        10 * CLOSEST_SIBLINGS_MAX,
    ] {
        let mut text =
            "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\ninternal = \"http://b\"\n"
                .to_owned();
        for n in 0..siblings {
            text.push_str(&format!("[[system.resource]]\npath = \"/name-{n}\"\n"));
        }
        let snapshot = Snapshot::new(1, text).unwrap();
        let denial = snapshot
            .decide(&http("a", 80, "GET", "/NAME-7"))
            .unwrap_err();
        let closest = denial.closest().unwrap();
        assert!(
            closest
                .path
                .as_deref()
                .is_some_and(|path| path.starts_with("/name-"))
        );
        if siblings <= CLOSEST_SIBLINGS_MAX {
            assert_eq!(closest.path.as_deref(), Some("/name-7"));
        }
    }
}
