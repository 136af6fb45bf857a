//! `adit rules suggest` and `adit rules plan --audit`, as people use them.

mod support;

use adit_audit::limits::LINE_BYTES_MAX;
use adit_audit::{Chain, Decision, Digest, Outcome, Record, Text};
use support::{Desk, RULES};

/// Lines of requests: caller, method, path, and the rule or `!` and the reason; one a minute.
fn lines(asked: &[(&str, &str, &str, &str)]) -> String {
    let mut chain = Chain::new(Digest::ZERO);
    let mut text = Vec::new();
    for (at, (caller, method, path, ground)) in asked.iter().enumerate() {
        let outcome = match ground.strip_prefix('!') {
            Some(reason) => Outcome::Denied {
                reason: Text::of(reason),
            },
            None => Outcome::Allowed {
                rule: Text::of(*ground),
            },
        };
        let record = Record::Decision(Decision {
            unix_ms: 1_764_000_000_000 + 60_000 * u64::try_from(at).expect("few requests"),
            request: Text::of("id"),
            subaccount: Text::of("acme"),
            caller: Text::of(*caller),
            system: Text::of("erp.virtual:80"),
            method: Some(Text::of(*method)),
            path: Some(Text::of(*path)),
            upgrade: false,
            outcome,
            version: 1,
        });
        chain.append(&record, &mut text);
    }
    String::from_utf8(text).expect("records are ASCII")
}

fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("audit")).expect("a folder for the test");
    desk.write(
        "audit/1.jsonl",
        &lines(&[
            ("shop", "GET", "/orders/7", "/orders"),
            ("shop", "GET", "/orders/7", "/orders"),
            ("desk", "GET", "/orders/8", "/orders"),
            ("desk", "PUT", "/orders/8", "!method-denied"),
        ]),
    );
    desk.write(
        "audit/2.jsonl",
        &lines(&[
            ("desk", "PUT", "/orders/8", "!method-denied"),
            ("shop", "PUT", "/orders/8", "!method-denied"),
            ("shop", "GET", "/else", "!resource-denied"),
        ]),
    );
    desk.write("audit/readme.txt", "no records");
    desk
}

#[test]
fn what_is_suggested_passes_the_check_and_the_report_says_what_is_not_used() {
    let desk = desk();
    let run = desk.adit(&["rules", "suggest", "rules.toml", "--audit", "audit"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stdout,
        r#"# Made by `adit rules suggest`: what recorded traffic needed, within the rules it was granted by.

[[system]]
name = "erp"
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3:8000"

[[system.resource]]
path = "/orders/7"
methods = ["GET"]

[[system.resource]]
path = "/orders/8"
methods = ["GET"]
"#
    );
    assert_eq!(
        run.stderr,
        "\
rules.toml: records from 2025-11-24 16:00 UTC to 2025-11-24 16:03 UTC: 3 granted, 4 denied
needed: 1 system and 2 resources, which cover 3 grants; 2 rules not used

NOT USED    RULE         LINE
erp         exact /chat  14
db.virtual  all of it    17

DENIED  REQUEST                             REASON         WOULD HAVE NEEDED
3       PUT http://erp.virtual:80/orders/8  method-denied  the method on the resource
"
    );
    let run = desk.adit(&[
        "rules",
        "suggest",
        "rules.toml",
        "--out",
        "less.toml",
        "--often",
        "1",
        "--json",
        "--audit",
        "audit/1.jsonl",
        "audit/2.jsonl",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let told = run.json();
    assert_eq!(told["denied"].as_array().unwrap().len(), 2);
    assert_eq!(told["unused"][1]["rule"], serde_json::Value::Null);
    assert_eq!(told["audit"]["records"], 7);
    let check = desk.adit(&["rules", "check", "less.toml"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert_eq!(
        std::fs::read_to_string(desk.path("less.toml")).unwrap(),
        told["rules"]
    );
}

#[test]
fn a_plan_names_the_callers_who_would_have_been_hit() {
    let desk = desk();
    desk.write(
        "new.toml",
        &RULES.replace("path = \"/orders\"", "path = \"/orders/7\""),
    );
    let args = [
        "rules",
        "plan",
        "new.toml",
        "--against",
        "rules.toml",
        "--audit",
        "audit",
    ];
    let run = desk.adit(&args);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.stdout.ends_with(
            "\
1 of 3 recorded grants would have been denied

GRANTED  CALLER     REQUEST                             WOULD BE
1        acme/desk  GET http://erp.virtual:80/orders/8  resource-denied
"
        ),
        "{}",
        run.stdout
    );
    let run = desk.adit(&[&args[..], &["--json"]].concat());
    let told = run.json();
    assert_eq!(told["audit"]["hits"][0]["caller"], "desk");
    assert_eq!(told["audit"]["judged"], 3);

    let run = desk.adit(&[
        "rules",
        "plan",
        "rules.toml",
        "--against",
        "rules.toml",
        "--audit",
        "audit",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout
            .ends_with("none of 3 recorded grants would have been denied\n"),
        "{}",
        run.stdout
    );
    let run = desk.adit(&[
        "rules",
        "plan",
        "rules.toml",
        "--against",
        "rules.toml",
        "--json",
    ]);
    assert!(run.json().get("audit").is_none());
}

#[test]
fn records_that_were_changed_are_refused_with_their_place_and_a_torn_end_is_passed_over() {
    let desk = desk();
    let suggest = |file: &str| desk.adit(&["rules", "suggest", "rules.toml", "--audit", file]);
    let good = std::fs::read_to_string(desk.path("audit/1.jsonl")).unwrap();
    desk.write("changed.jsonl", &good.replacen("/orders/7", "/orders/9", 1));
    let run = suggest("changed.jsonl");
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("changed.jsonl: line 2: "),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");

    desk.write("torn.jsonl", good.get(..good.len() - 10).unwrap());
    let run = suggest("torn.jsonl");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.contains("line 4: the line is cut off"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("3 granted, 0 denied"), "{}", run.stderr);

    for (bytes, part) in [
        (LINE_BYTES_MAX, "cut off"),
        (LINE_BYTES_MAX + 1, "the line has more than 32768 bytes"),
    ] {
        desk.write("long.jsonl", &"x".repeat(bytes));
        assert!(suggest("long.jsonl").stderr.contains(part), "{part}");
    }
    std::fs::create_dir(desk.path("empty")).unwrap();
    assert!(suggest("empty").stderr.contains("they end in .jsonl"));
    assert_eq!(suggest("nowhere").code, Some(1));
}

#[test]
fn control_characters_of_a_record_do_not_reach_the_terminal() {
    let desk = Desk::new();
    let evil: Text<'_> = serde_json::from_str(r#""shop\u001b[2J\u009b\n""#).expect("a text");
    let record = |path, outcome| {
        Record::Decision(Decision {
            unix_ms: 1_764_000_000_000,
            request: Text::of("id"),
            subaccount: Text::of("acme"),
            caller: evil.clone(),
            system: Text::of("erp.virtual:80"),
            method: Some(evil.clone()),
            path: Some(Text::of(path)),
            upgrade: false,
            outcome,
            version: 1,
        })
    };
    let mut chain = Chain::new(Digest::ZERO);
    let mut lines = Vec::new();
    let (rule, reason) = (Text::of("/orders"), evil.clone());
    chain.append(&record("/orders/1", Outcome::Allowed { rule }), &mut lines);
    for _ in 0..3 {
        let reason = reason.clone();
        chain.append(&record("/x", Outcome::Denied { reason }), &mut lines);
    }
    desk.write(
        "1.jsonl",
        core::str::from_utf8(&lines).expect("JSON is UTF-8"),
    );
    desk.write("new.toml", "");
    let plan = [
        "rules",
        "plan",
        "new.toml",
        "--against",
        "rules.toml",
        "--audit",
        "1.jsonl",
    ];
    let suggest = ["rules", "suggest", "rules.toml", "--audit", "1.jsonl"];
    for args in [&plan[..], &suggest] {
        for json in [&[][..], &["--json"]] {
            let run = desk.adit(&[args, json].concat());
            for text in [&run.stdout, &run.stderr] {
                let is_order = |char: char| char.is_control() && char != '\n';
                assert!(!text.contains(is_order), "{text:?}");
            }
            assert!(
                run.stdout.contains("shop") || run.stderr.contains("shop"),
                "{args:?}"
            );
        }
    }
}
