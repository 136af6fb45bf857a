//! Tests of tests: read, written, judged by what decides, and told when they fail.
use crate::limits::{DESCRIPTION_BYTES_MAX, TEST_REQUEST_BYTES_MAX, TESTS_MAX};
use crate::rule::RuleSet;
use crate::table::Table;
use crate::{Request, parse};

use super::*;

const RULES: &str = r#"
[[system]]
name = "erp"
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3"
[[system.resource]]
path = "/orders"
scope = "subtree"
methods = ["GET"]
[[system.resource]]
path = "/chat"
upgrade = true
[[system]]
virtual = "db.virtual:5432"
protocol = "tcp"
internal = "10.1.2.4:5432"
"#;

/// What a run of the tests in `lines` says: their number, or the problems without the file.
fn run(lines: &str) -> Result<usize, String> {
    let rules = parse("r.toml", &format!("{RULES}{lines}")).unwrap();
    Table::compile(&rules)
        .unwrap()
        .run_tests()
        .map_err(|problems| problems.to_string())
}

/// One table `[[test]]` with these keys.
fn test(request: &str, more: &str) -> String {
    format!("[[test]]\nrequest = \"{request}\"\n{more}\n")
}

fn problems(lines: &str) -> String {
    parse("r.toml", &format!("{RULES}{lines}"))
        .unwrap_err()
        .to_string()
}

#[test]
fn tests_that_say_what_the_rules_say_pass() {
    let passing = [
        ("GET http://erp.virtual/orders/1", "expect = \"allow\""),
        (
            "GET http://ERP.virtual:80/orders",
            "expect = \"allow\"\nrule = \"/orders\"",
        ),
        (
            "http://erp.virtual/orders/1?x=/../",
            "expect = \"allow\"\nrule = \"subtree /orders\"",
        ),
        (
            "GET http://erp.virtual/orders/1",
            "expect = \"allow\"\nrule = \"erp\"",
        ),
        (
            "GET ws://erp.virtual/chat",
            "expect = \"allow\"\nrule = \"exact /chat\"",
        ),
        (
            "tcp://db.virtual:5432",
            "expect = \"allow\"\nrule = \"db.virtual\"",
        ),
        ("PUT http://erp.virtual/orders/1", "expect = \"deny\""),
        (
            "PUT http://erp.virtual/orders/1",
            "expect = \"deny\"\nreason = \"method-denied\"",
        ),
        (
            "GET ws://erp.virtual/orders/1",
            "expect = \"deny\"\nreason = \"upgrade-denied\"",
        ),
        (
            "GET http://erp.virtual/orders/%2e%2e/",
            "expect = \"deny\"\nreason = \"path-ambiguous\"",
        ),
        (
            "tcp://db.virtual:22",
            "expect = \"deny\"\nreason = \"port-denied\"",
        ),
        (
            "tcp://nowhere:22",
            "expect = \"deny\"\nreason = \"system-unknown\"",
        ),
    ];
    let lines: String = passing
        .iter()
        .map(|(request, more)| test(request, more))
        .collect();
    assert_eq!(run(&lines), Ok(passing.len()));
    assert_eq!(run(""), Ok(0));
}

#[test]
fn a_test_that_fails_is_told_with_its_place_and_what_came_instead() {
    for (request, more, told) in [
        (
            "GET http://erp.virtual/orders/1",
            "name = \"orders are closed\"\nexpect = \"deny\"",
            "r.toml:19:11: test \"orders are closed\": GET http://erp.virtual:80/orders/1 is meant to be denied, and is \
             allowed by subtree `/orders` of system `erp` (line 8)",
        ),
        (
            "tcp://db.virtual:5432",
            "expect = \"deny\"\nreason = \"port-denied\"",
            "r.toml:19:11: test: tcp://db.virtual:5432 is meant to be denied as port-denied, and is allowed by \
             system `db.virtual` (line 14)",
        ),
        (
            "GET http://erp.virtual/orders/1",
            "expect = \"allow\"\nrule = \"exact /orders\"",
            "r.toml:19:11: test: GET http://erp.virtual:80/orders/1 is meant to be allowed by `exact /orders`, and is \
             allowed by subtree `/orders` of system `erp` (line 8)",
        ),
        (
            "GET http://erp.virtual/order",
            "expect = \"allow\"",
            "r.toml:19:11: test: GET http://erp.virtual:80/order is meant to be allowed, and is denied as \
             resource-denied: no resource reaches this path; closest is subtree `/orders` of system `erp` (line 8): \
             a rule ends at a `/`: `orders` is not `order`",
        ),
        (
            "PUT http://erp.virtual/orders",
            "expect = \"deny\"\nreason = \"resource-denied\"",
            "r.toml:19:11: test: PUT http://erp.virtual:80/orders is meant to be denied as resource-denied, and is \
             denied as method-denied: no resource that reaches this path allows the method; closest is subtree \
             `/orders` of system `erp` (line 8): it allows GET, not PUT",
        ),
    ] {
        assert_eq!(run(&test(request, more)), Err(told.to_owned()));
    }
}

#[test]
fn a_rule_is_named_by_its_path_its_scope_or_its_system_and_by_nothing_else() {
    let asked = |rule: &str| {
        run(&test(
            "GET http://erp.virtual/orders/1",
            &format!("expect = \"allow\"\nrule = \"{rule}\""),
        ))
    };
    for rule in ["/orders", "subtree /orders", "erp"] {
        assert_eq!(asked(rule), Ok(1), "{rule}");
    }
    for rule in [
        "/order",
        "/orders/",
        "exact /orders",
        "/",
        "db.virtual",
        "ERP",
        "erp.virtual",
    ] {
        assert!(asked(rule).is_err(), "{rule}");
    }
}

#[test]
fn tests_change_nothing_of_what_is_granted() {
    let with = format!(
        "{RULES}{}",
        test("GET http://erp.virtual/admin", "expect = \"allow\"")
    );
    let (plain, with) = (
        parse("r.toml", RULES).unwrap(),
        parse("r.toml", &with).unwrap(),
    );
    let request = Request::Http {
        host: "erp.virtual",
        port: 80,
        method: "GET",
        path: b"/admin",
        upgrade: false,
    };
    for rules in [&plain, &with] {
        assert!(Table::compile(rules).unwrap().decide(&request).is_err());
    }
    assert_eq!(plain.systems, with.systems);
}

#[test]
fn tests_written_are_read_back_as_the_same_tests() {
    let long = format!("GET http://erp.virtual/{}", "a".repeat(600));
    let lines = [
        test(
            "GET  http://erp.virtual/orders/1?x",
            "name = \"a \\\"name\\\"\"\nexpect = \"allow\"",
        ),
        test(
            "ws://erp.virtual/chat ",
            "expect = \"allow\"\nrule = \"exact /chat\"",
        ),
        test(
            "tcp://db.virtual:5432",
            "expect = \"allow\"\nrule = \"db.virtual\"",
        ),
        test(&long, "expect = \"deny\"\nreason = \"resource-denied\""),
        test("G\\u0000T http://erp.virtual/\\u00e4", "expect = \"deny\""),
    ]
    .concat();
    for text in [format!("{RULES}{lines}"), lines] {
        let rules = parse("r.toml", &text).unwrap();
        assert_eq!(rules.tests.len(), 5);
        let written = rules.to_string();
        let again = parse("written", &written).unwrap();
        assert_eq!(again, rules, "{written}");
        assert_eq!(again.to_string(), written);
    }
}

#[test]
fn what_is_wrong_with_a_test_is_told_with_what_to_write() {
    let right = "request = \"GET http://erp.virtual/orders\"\nexpect = \"allow\"\n";
    for (lines, told) in [
        (
            "[[test]]\nrequest = \"GET http://erp.virtual/\"\n",
            "r.toml:18:1: a test needs the key `expect`",
        ),
        (
            "[[test]]\nexpect = \"deny\"\n",
            "r.toml:18:1: a test needs the key `request`",
        ),
        (
            "[[test]]\nrequest = \"/orders\"\nexpect = \"deny\"\n",
            "r.toml:19:11: request: `/orders` names no protocol; write `GET http://erp.virtual:80/path` or \
             `tcp://db.virtual:5432`",
        ),
        (
            "[[test]]\nrequest = \"tcp://db.virtual:1\"\nexpect = \"denied\"\n",
            "r.toml:20:10: expect has unknown value \"denied\"; did you mean \"deny\"?",
        ),
        (
            &format!("[[test]]\n{right}reason = \"method-denied\"\n"),
            "r.toml:21:10: reason says why a request is denied; remove it, or write expect = \"deny\"",
        ),
        (
            "[[test]]\nrequest = \"tcp://db.virtual:1\"\nexpect = \"deny\"\nrule = \"erp\"\n",
            "r.toml:21:8: rule says what allows a request; remove it, or write expect = \"allow\"",
        ),
        (
            &format!("[[test]]\n{right}rule = \"below /orders\"\n"),
            "r.toml:21:8: rule \"below /orders\" is neither a path, as in \"/orders\" or \"subtree /orders\", nor the \
             name of a system",
        ),
        (
            "[[test]]\nrequest = \"tcp://db.virtual:1\"\nexpect = \"deny\"\nreason = \"port-denid\"\n",
            "r.toml:21:10: reason has unknown value \"port-denid\"; did you mean \"port-denied\"?",
        ),
        (
            &format!("[[test]]\n{right}caller = \"shop\"\n"),
            "r.toml:21:1: a test has no key `caller`; rules do not ask who calls; a test has a request only",
        ),
        ("test = 1\n", "r.toml:18:1: a system has no key `test`"),
    ] {
        let found = problems(lines);
        assert!(found.starts_with(told), "{lines}: {found}");
    }
    let found = parse("r.toml", "[[tests]]\n").unwrap_err().to_string();
    assert!(
        found.ends_with("write [[test]] once for each test"),
        "{found}"
    );
}

#[test]
fn as_many_tests_as_the_limit_are_held_and_one_more_is_not() {
    let test = RuleTest::new("tcp://db:1", Expected::Deny { reason: None }).unwrap();
    let mut rules = RuleSet::new(Vec::new());
    rules.tests = vec![test.clone(); TESTS_MAX];
    let table = Table::compile(&rules).unwrap();
    assert_eq!(table.run_tests(), Ok(TESTS_MAX));
    rules.tests.push(test);
    assert_eq!(
        Table::compile(&rules).unwrap_err().to_string(),
        "rules: 10001 tests are more than a rule set holds (10000)"
    );
}

#[test]
fn a_request_and_a_name_as_long_as_their_limits_are_read_and_one_byte_more_is_not() {
    let start = "GET http://erp.virtual/";
    let request = |length: usize| {
        let text = format!("{start}{}", "a".repeat(length - start.len()));
        test(&text, "expect = \"deny\"")
    };
    assert_eq!(run(&request(TEST_REQUEST_BYTES_MAX)), Ok(1));
    let told = problems(&request(TEST_REQUEST_BYTES_MAX + 1));
    assert!(
        told.ends_with("the request has 4097 bytes; a test's request has at most 4096"),
        "{told}"
    );
    let name = |length: usize| {
        let more = format!("name = \"{}\"\nexpect = \"deny\"", "n".repeat(length));
        test("tcp://nowhere:1", &more)
    };
    assert_eq!(run(&name(DESCRIPTION_BYTES_MAX)), Ok(1));
    let told = problems(&name(DESCRIPTION_BYTES_MAX + 1));
    assert!(
        told.ends_with("the name of the test has 1025 bytes and may have 1024"),
        "{told}"
    );
}
