//! `adit rules import`, as people use it.

mod support;

use support::Desk;

/// Two systems as a Cloud Connector's REST API tells them, with their resources put in.
const SCC: &str = r#"[
  {"virtualHost":"erp","virtualPort":"443","localHost":"erp01.corp.example","localPort":"44300","protocol":"HTTPS",
   "backendType":"abapSys","authenticationMode":"NONE","hostInHeader":"VIRTUAL","description":"","sid":"E01",
   "totalResourcesCount":1,"resources":[
     {"id":"/sap/opu","enabled":true,"exactMatchOnly":EXACT,"websocketUpgradeAllowed":false,"description":""}]}
]"#;

#[test]
fn an_import_that_only_has_notes_writes_rules_that_pass_the_check() {
    let desk = Desk::new();
    desk.write("scc.json", &SCC.replace("EXACT", "true"));
    let run = desk.adit(&["rules", "import", "scc", "scc.json", "--out", "made.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout.starts_with(
            "scc.json: 1 of 1 system, 1 of 1 resource imported, written to made.toml\n\nnotes\n  all-methods"
        ),
        "{}",
        run.stdout
    );
    let run = desk.adit(&["rules", "check", "made.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = desk.adit(&[
        "rules",
        "explain",
        "--rules",
        "made.toml",
        "GET http://erp:443/sap/opu",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stdout);

    let again = desk.adit(&["rules", "import", "scc", "scc.json", "--out", "made.toml"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("not overwritten"), "{}", again.stderr);
}

#[test]
fn what_was_wider_than_it_looked_ends_with_3_and_rules_stand_apart_from_the_report() {
    let desk = Desk::new();
    desk.write("scc.json", &SCC.replace("EXACT", "false"));
    let run = desk.adit(&["rules", "import", "scc", "scc.json"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.stderr.contains("wider than you thought"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr
            .contains("  crosses-segment  [0].resources[0].id: erp:443 /sap/opu: "),
        "{}",
        run.stderr
    );
    desk.write("made.toml", &run.stdout);
    let check = desk.adit(&["rules", "check", "made.toml"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);

    let told = desk.adit(&["rules", "import", "scc", "scc.json", "--json"]);
    assert_eq!(told.code, Some(3));
    let told = told.json();
    assert_eq!(told["findings"][0]["kind"], "crosses-segment");
    assert_eq!(told["findings"][0]["weight"], "wider");
    assert_eq!(told["rules"], run.stdout);
}

#[test]
fn a_file_that_is_no_export_ends_with_78_and_says_why() {
    let desk = Desk::new();
    for (text, part) in [
        ("PK\u{3}\u{4}", "zip archive"),
        ("[{]", "scc.json:1:3: "),
        ("[1]", "scc.json:[0]: this is no system"),
    ] {
        desk.write("scc.json", text);
        let run = desk.adit(&["rules", "import", "scc", "scc.json"]);
        assert_eq!(run.code, Some(78), "{text}");
        assert!(run.stderr.contains(part), "{text}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    let run = desk.adit(&["rules", "import", "scc", "nowhere.json"]);
    assert_eq!(run.code, Some(78));
}
