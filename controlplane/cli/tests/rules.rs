//! `adit rules` and `adit status`, as people and programs use them.

mod support;

use serde_json::json;
use support::{Desk, Node};

#[test]
fn a_good_rule_set_is_counted() {
    let desk = Desk::new();
    let run = desk.adit(&["rules", "check", "rules.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout
            .starts_with("rules.toml: 2 systems, 2 resources, sha256 "),
        "{}",
        run.stdout
    );
    let facts = desk
        .adit(&["rules", "check", "rules.toml", "--json"])
        .json();
    assert_eq!(facts["systems"], 2);
    assert_eq!(facts["resources"], 2);
}

#[test]
fn every_problem_of_a_bad_rule_set_is_named_with_its_place() {
    let desk = Desk::new();
    desk.write(
        "bad.toml",
        "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocoll = \"http\"\ninternal = \"nonsense\"\n",
    );
    let run = desk.adit(&["rules", "check", "bad.toml"]);
    assert_eq!(run.code, Some(78));
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("bad.toml:3:1: "), "{}", run.stderr);
    assert!(run.stderr.contains("`protocol`"), "{}", run.stderr);

    let run = desk.adit(&["--json", "rules", "check", "bad.toml"]);
    assert_eq!(run.code, Some(78));
    let problems = run.json();
    let problems = problems["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .any(|problem| problem["line"] == 3 && problem["column"] == 1),
        "{problems:?}"
    );
}

/// Tests of the rules on the desk, of which the last one fails.
const TESTS: &str = r#"
[[test]]
name = "the shop reads orders"
request = "GET http://erp.virtual/orders/7"
expect = "allow"
rule = "subtree /orders"

[[test]]
request = "tcp://db.virtual:22"
expect = "deny"
reason = "port-denied"

[[test]]
name = "nobody chats"
request = "GET ws://erp.virtual/chat"
expect = "deny"
"#;

#[test]
fn tests_of_a_rule_set_are_shown_each_with_what_came_of_it() {
    let desk = Desk::new();
    let (passing, failing) = TESTS.rsplit_once("\n[[test]]").unwrap();
    desk.write("good.toml", &format!("{}{passing}", support::RULES));
    let run = desk.adit(&["rules", "test", "good.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stdout,
        "\
TEST                   REQUEST                             EXPECT                    RESULT
the shop reads orders  GET http://erp.virtual:80/orders/7  allow by subtree /orders  passed
-                      tcp://db.virtual:22                 deny as port-denied       passed

good.toml: 2 tests passed
"
    );

    desk.write(
        "bad.toml",
        &format!("{}{passing}\n[[test]]{failing}", support::RULES),
    );
    let run = desk.adit(&["rules", "test", "bad.toml"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stderr, "");
    assert!(
        run.stdout.contains(
            "  deny                      bad.toml:35:11: allowed by exact `/chat` of system `erp` (line 14)\n"
        ),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.ends_with("bad.toml: 2 tests passed, 1 failed\n"),
        "{}",
        run.stdout
    );
    let run = desk.adit(&["rules", "test", "bad.toml", "--json"]);
    assert_eq!(run.code, Some(1));
    let told = run.json();
    assert_eq!((&told["passed"], &told["failed"]), (&json!(2), &json!(1)));
    let last = &told["tests"][2];
    assert_eq!(last["passed"], false);
    assert_eq!(last["line"], 35);
    assert_eq!(last["came"]["decision"], "allow");
    assert_eq!(last["came"]["path"], "/chat");

    let run = desk.adit(&["rules", "test", "rules.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stdout, "rules.toml: no tests\n");
    desk.write("wrong.toml", "[[system]]\n");
    assert_eq!(desk.adit(&["rules", "test", "wrong.toml"]).code, Some(78));
}

#[test]
fn rules_whose_tests_fail_are_refused_by_check_and_push_before_any_node_is_asked() {
    let desk = Desk::new();
    desk.write("bad.toml", &format!("{}{TESTS}", support::RULES));
    // Nobody listens there; asking would be exit code 1.
    for args in [
        &["rules", "check", "bad.toml"][..],
        &["rules", "push", "bad.toml", "--node", "unix:nobody.sock"],
    ] {
        let run = desk.adit(args);
        assert_eq!(run.code, Some(78), "{args:?}");
        assert_eq!(run.stdout, "", "{args:?}");
        assert_eq!(
            run.stderr,
            "adit: tests of the rules fail\nbad.toml:35:11: test \"nobody chats\": GET ws://erp.virtual:80/chat is \
             meant to be denied, and is allowed by exact `/chat` of system `erp` (line 14)\n"
        );
    }
    let run = desk.adit(&["rules", "check", "bad.toml", "--json"]);
    assert_eq!(run.code, Some(78));
    assert_eq!(run.json()["problems"][0]["line"], 35);

    let good = format!(
        "{}{}",
        support::RULES,
        TESTS.rsplit_once("\n[[test]]").unwrap().0
    );
    desk.write("good.toml", &good);
    let run = desk.adit(&["rules", "check", "good.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout
            .starts_with("good.toml: 2 systems, 2 resources, 2 tests passed, sha256 "),
        "{}",
        run.stdout
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_wrong_file() {
    let desk = Desk::new();
    let run = desk.adit(&["rules", "check", "nowhere.toml"]);
    assert_eq!(run.code, Some(78));
    assert!(
        run.stderr.starts_with("adit: nowhere.toml: "),
        "{}",
        run.stderr
    );
    std::fs::write(desk.path("latin1.toml"), b"# gr\xf6\xdfe").unwrap();
    let run = desk.adit(&["rules", "check", "latin1.toml"]);
    assert_eq!(run.code, Some(78));
    assert!(
        run.stderr.contains("not UTF-8 after byte 4"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_allowed_request_is_explained_with_exit_code_0_and_a_denied_one_with_1() {
    let desk = Desk::new();
    let explain =
        |request: &str| desk.adit(&["rules", "explain", "--rules", "rules.toml", request]);
    for request in [
        "GET http://erp.virtual:80/orders/7",
        "http://erp.virtual/orders",
        "tcp://db.virtual:5432",
    ] {
        let run = explain(request);
        assert_eq!(run.code, Some(0), "{request}: {}", run.stderr);
        assert!(run.stdout.starts_with("allow"), "{}", run.stdout);
    }
    for (request, reason) in [
        ("GET http://erp.virtual/admin", "resource-denied"),
        ("DELETE http://erp.virtual/orders/7", "method-denied"),
        ("GET http://erp.virtual/orders/..%2fadmin", "path-ambiguous"),
        ("GET http://erp.virtaul/orders", "system-unknown"),
        ("tcp://db.virtual:22", "port-denied"),
    ] {
        let run = explain(request);
        assert_eq!(run.code, Some(1), "{request}");
        assert!(run.stdout.contains(reason), "{request}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{request}");
    }
}

#[test]
fn an_upgrade_is_asked_about_with_a_flag() {
    let desk = Desk::new();
    let base = ["rules", "explain", "--rules", "rules.toml"];
    let chat = "GET http://erp.virtual/chat";
    let orders = "GET http://erp.virtual/orders";
    let run = |args: &[&str]| desk.adit(&[&base, args].concat()).code;
    assert_eq!(run(&["--upgrade", chat]), Some(0));
    assert_eq!(run(&["--upgrade", orders]), Some(1));
    assert_eq!(run(&[orders]), Some(0));
}

#[test]
fn programs_read_the_explanation_as_json() {
    let desk = Desk::new();
    let request = "GET http://erp.virtual/admin";
    let run = desk.adit(&[
        "rules",
        "explain",
        "--rules",
        "rules.toml",
        request,
        "--json",
    ]);
    assert_eq!(run.code, Some(1));
    let explained = run.json();
    assert_eq!(explained["decision"], "deny");
    assert_eq!(explained["reason"], "resource-denied");
}

#[test]
fn a_wrong_command_line_has_exit_code_2() {
    let desk = Desk::new();
    for args in [
        &["rules", "explain", "GET http://erp.virtual/"][..],
        &[
            "rules",
            "explain",
            "--rules",
            "rules.toml",
            "--node",
            "unix:a",
            "GET http://e/",
        ],
        &["rules", "explain", "--rules", "rules.toml", "/orders"],
        &["rules", "push", "rules.toml", "--node", "127.0.0.1:1"],
        &[
            "rules",
            "push",
            "rules.toml",
            "--node",
            "http://127.0.0.1:1",
        ],
        &["status"],
        &[
            "pki",
            "init",
            "--dir",
            "ca",
            "--trust-domain",
            "Not A Domain",
        ],
        &[
            "pki",
            "issue",
            "agent",
            "--dir",
            "ca",
            "--subaccount",
            "a/b",
            "--name",
            "n",
            "--out",
            "o",
        ],
        &[
            "token",
            "issue",
            "--dir",
            "i",
            "--subaccount",
            "acme",
            "--ttl",
            "soon",
        ],
        &["nonsense"],
        &[],
    ] {
        let run = desk.adit(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
    }
}

#[test]
fn a_node_explains_its_own_rules() {
    let desk = Desk::new();
    let node = Node::answering(
        &desk.path("a.sock"),
        "200 OK",
        r#"{"decision":"deny","reason":"suspended","text":"deny   because it is late"}"#,
    );
    let request = "PUT http://erp.virtual/orders/7?x=1";
    let run = desk.adit(&[
        "rules",
        "explain",
        "--node",
        &node.address,
        "--upgrade",
        request,
    ]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stdout, "deny   because it is late\n");
    let asked = node.asked();
    assert!(
        asked.head.starts_with("POST /explain HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    let question: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(
        question,
        json!({"method": "PUT", "url": "http://erp.virtual:80/orders/7", "upgrade": true})
    );
}

#[test]
fn an_answer_without_decision_is_never_taken_for_a_yes() {
    let desk = Desk::new();
    let node = Node::answering(&desk.path("a.sock"), "200 OK", r#"{"text":"allow"}"#);
    let run = desk.adit(&[
        "rules",
        "explain",
        "--node",
        &node.address,
        "tcp://db.virtual:5432",
    ]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("holds no decision"), "{}", run.stderr);
    let question: serde_json::Value = serde_json::from_str(&node.asked().body).unwrap();
    assert_eq!(question["url"], "tcp://db.virtual:5432");
}

#[test]
fn rules_are_pushed_whole_and_the_acknowledgement_is_shown() {
    let desk = Desk::new();
    let node = Node::answering(
        &desk.path("a.sock"),
        "200 OK",
        r#"{"version":7,"hash":"ab","systems":2,"resources":2}"#,
    );
    let run = desk.adit(&["rules", "push", "rules.toml", "--node", &node.address]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stdout,
        format!(
            "version 7 is in force on {}: 2 systems, 2 resources\n",
            node.address
        )
    );
    let asked = node.asked();
    assert!(
        asked.head.starts_with("PUT /rules HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    assert!(
        asked
            .head
            .to_ascii_lowercase()
            .contains("\r\nadit-rules-file: rules.toml\r\n"),
        "{}",
        asked.head
    );
    assert_eq!(asked.body, support::RULES);
}

#[test]
fn a_node_that_refuses_the_rules_is_quoted_with_exit_code_78() {
    let desk = Desk::new();
    let node = Node::answering(
        &desk.path("a.sock"),
        "422 Unprocessable Entity",
        r#"{"problems":["rules.toml:1:2: too new","rules.toml:3:4: too old"]}"#,
    );
    let run = desk.adit(&["rules", "push", "rules.toml", "--node", &node.address]);
    assert_eq!(run.code, Some(78));
    assert!(
        run.stderr
            .ends_with("rules.toml:1:2: too new\nrules.toml:3:4: too old\n"),
        "{}",
        run.stderr
    );
    node.asked();
}

#[test]
fn a_typo_is_answered_before_any_node_is_asked() {
    let desk = Desk::new();
    desk.write("bad.toml", "[[system]]\nvirtaul = 1\n");
    // Nobody listens there; asking would be exit code 1.
    let run = desk.adit(&["rules", "push", "bad.toml", "--node", "unix:nobody.sock"]);
    assert_eq!(run.code, Some(78));
    assert!(run.stderr.contains("bad.toml:2:1: "), "{}", run.stderr);
    let run = desk.adit(&["rules", "push", "rules.toml", "--node", "unix:nobody.sock"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("is the node running"), "{}", run.stderr);
}

#[test]
fn a_plan_says_what_becomes_of_requests_with_exit_code_3_and_0_when_nothing_does() {
    let desk = Desk::new();
    let narrower = support::RULES
        .replace("path = \"/chat\"\nupgrade = true", "path = \"/chat\"")
        .replace("10.1.2.4:5432", "10.1.2.5:5432");
    desk.write("new.toml", &narrower);
    let run = desk.adit(&["rules", "plan", "new.toml", "--against", "rules.toml"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(run.stderr, "");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let [from, to, "", db, chat, "", summary] = lines.as_slice() else {
        panic!("{}", run.stdout);
    };
    assert!(from.starts_with("from  rules.toml (sha256 "), "{from}");
    assert!(to.starts_with("to    new.toml (sha256 "), "{to}");
    assert_eq!(
        *db,
        "~ tcp://db.virtual:5432  from tcp://10.1.2.4:5432 to tcp://10.1.2.5:5432"
    );
    assert_eq!(*chat, "- * ws://erp.virtual:80/chat");
    assert_eq!(*summary, "changes at 2 of 2 virtual hosts and ports");

    let run = desk.adit(&[
        "rules",
        "plan",
        "new.toml",
        "--against",
        "rules.toml",
        "--json",
    ]);
    assert_eq!(run.code, Some(3));
    let plan = run.json();
    assert_eq!(plan["old"]["from"], "rules.toml");
    assert_eq!(plan["lines"][0]["change"], "moved");
    assert_eq!(plan["lines"][0]["after"]["host"], "10.1.2.5");
    assert_eq!(plan["lines"][1]["upgrade"], true);
    assert_eq!(plan["lines"][1]["path"], "/chat");
    assert_eq!(plan["lines"][1]["text"], "- * ws://erp.virtual:80/chat");

    // Another order, another name and a test: the same rules.
    let (erp, db) = support::RULES.rsplit_once("\n[[system]]").unwrap();
    let same = format!(
        "[[system]]{db}{}\n{TESTS}",
        erp.replace("name = \"erp\"", "name = \"renamed\"")
    );
    desk.write("same.toml", &same);
    let run = desk.adit(&["rules", "plan", "same.toml", "--against", "rules.toml"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.ends_with("\nno change\n"), "{}", run.stdout);
    assert!(
        run.stderr.starts_with(
            "adit: a push of same.toml would be refused, for tests of it fail\nsame.toml:"
        ),
        "{}",
        run.stderr
    );
}

#[test]
fn a_plan_compares_with_the_rules_in_force_on_a_node() {
    let desk = Desk::new();
    let in_force = json!({"version": 7, "hash": "ab", "text": ""});
    let node = Node::answering(&desk.path("a.sock"), "200 OK", &in_force.to_string());
    let run = desk.adit(&["rules", "plan", "rules.toml", "--node", &node.address]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.stdout.starts_with(&format!(
            "from  {} version 7 (sha256 e3b0c44298fc)\n",
            node.address
        )),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("\n+ GET http://erp.virtual:80/orders[/*]  to http://10.1.2.3:8000\n"),
        "{}",
        run.stdout
    );
    assert!(node.asked().head.starts_with("GET /rules HTTP/1.1\r\n"));

    // A node without rules grants nothing.
    let node = Node::answering(&desk.path("b.sock"), "404 Not Found", "no rules in force\n");
    let run = desk.adit(&["rules", "plan", "rules.toml", "--node", &node.address]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    node.asked();
}

#[test]
fn a_plan_that_cannot_be_made_is_no_plan_without_changes() {
    let desk = Desk::new();
    desk.write("bad.toml", "[[system]]\n");
    for (args, code) in [
        (&["bad.toml", "--against", "rules.toml"][..], 78),
        (&["rules.toml", "--against", "bad.toml"], 78),
        (&["rules.toml", "--node", "unix:nobody.sock"], 1),
        (&["rules.toml", "--node", "http://127.0.0.1:1"], 2),
        (&["rules.toml"], 2),
        (
            &["rules.toml", "--node", "unix:a", "--against", "rules.toml"],
            2,
        ),
    ] {
        let run = desk.adit(&[&["rules", "plan"][..], args].concat());
        assert_eq!(run.code, Some(code), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
    }
    for (number, (status, body)) in [
        ("200 OK", r#"{"role":"gateway"}"#),
        (
            "200 OK",
            r#"{"version":1,"text":"[[system]]\nof_a_later_version = true"}"#,
        ),
        (
            "404 Not Found",
            "there is nothing here; the paths of this node are\n",
        ),
        ("403 Forbidden", "no\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let node = Node::answering(&desk.path(&format!("{number}.sock")), status, body);
        let run = desk.adit(&["rules", "plan", "rules.toml", "--node", &node.address]);
        assert_eq!(run.code, Some(1), "{status} {body}: {}", run.stderr);
        assert_eq!(run.stdout, "");
        node.asked();
    }
}

#[test]
fn a_status_is_shown_as_text_and_as_json() {
    let desk = Desk::new();
    let body = r#"{"role":"agent","tunnels":[{"gateway":"gw-1","streams":3}]}"#;
    let node = Node::answering(&desk.path("a.sock"), "200 OK", body);
    let run = desk.adit(&["status", "--node", &node.address]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stdout,
        "role  agent\ntunnels\n  GATEWAY  STREAMS\n  gw-1     3\n"
    );
    assert!(node.asked().head.starts_with("GET /status HTTP/1.1\r\n"));

    let node = Node::answering(&desk.path("b.sock"), "200 OK", body);
    let run = desk.adit(&["status", "--json", "--node", &node.address]);
    assert_eq!(run.json()["tunnels"][0]["streams"], 3);
    node.asked();
}
