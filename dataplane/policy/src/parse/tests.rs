//! A rule set read and refused, each problem with the word to mend.
use proptest::prelude::*;

use super::*;
use crate::Problem;
use crate::limits::{DESCRIPTION_BYTES_MAX, FILE_NAME_BYTES_MAX, METHOD_BYTES_MAX, PROBLEMS_MAX};

const WHOLE: &str = r#"
[[system]]
name = "erp-prod"
description = "the ERP of Walldorf"
virtual = "ERP.virtual:80"
protocol = "http"
internal = "https://10.1.2.3:8443"
ca_file = "/etc/adit/erp-ca.pem"
host_header = "internal"
encoded_slash = "keep"

[[system.resource]]
path = "/sap/opu/odata"
scope = "subtree"
methods = ["HEAD", "GET", "MERGE"]
upgrade = true
parameters = true
active = false
description = "OData"

[[system.resource]]
path = "/ping"

[[system]]
virtual = "db.virtual:5432-5440"
protocol = "tls"
internal = "[2001:db8::7]:15432-15440"

[[system]]
virtual = "local:80"
protocol = "http"
internal = "http://localhost"
allow_loopback = true
"#;

/// The problems of a text, one a line, without the file.
fn problems(text: &str) -> Vec<String> {
    let problems = parse("r.toml", text).expect_err("the text has problems");
    let lines = problems.to_string();
    lines
        .lines()
        .map(|line| line.strip_prefix("r.toml:").unwrap_or(line).to_owned())
        .collect()
}

/// The only problem of a system that is right but for the line given.
fn problem_of(line: &str) -> String {
    let key = line.split(' ').next().unwrap();
    let mut text = "[[system]]\n".to_owned();
    for other in [
        "virtual = \"a:80\"",
        "protocol = \"http\"",
        "internal = \"http://b\"",
    ] {
        if !other.starts_with(&format!("{key} ")) {
            text = format!("{text}{other}\n");
        }
    }
    let found = problems(&format!("{text}{line}\n"));
    assert_eq!(found.len(), 1, "{line}: {found:#?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_rule_set_is_read_whole() {
    let rules = parse("r.toml", WHOLE).unwrap();
    let [erp, db, local] = rules.systems.as_slice() else {
        panic!("three systems");
    };
    assert_eq!(erp.name(), "erp-prod");
    assert_eq!(erp.description.as_deref(), Some("the ERP of Walldorf"));
    assert_eq!(erp.virtual_end.to_string(), "erp.virtual:80");
    assert_eq!(erp.protocol, Protocol::Http);
    assert!(erp.internal.encrypted);
    assert_eq!(erp.internal.host.as_str(), "10.1.2.3");
    assert_eq!(erp.internal.ports.to_string(), "8443");
    assert_eq!(erp.ca_file.as_deref(), Some("/etc/adit/erp-ca.pem"));
    assert_eq!(erp.host_header, HostHeader::Internal);
    assert_eq!(erp.encoded_slash, EncodedSlash::Keep);
    assert!(!erp.allow_loopback);
    assert_eq!(erp.line(), 2);

    let [odata, ping] = erp.resources.as_slice() else {
        panic!("two resources");
    };
    assert_eq!(odata.path.as_str(), "/sap/opu/odata");
    assert_eq!(odata.scope, Scope::Subtree);
    assert_eq!(odata.methods.to_string(), "GET, HEAD, MERGE");
    assert!(odata.upgrade && odata.parameters && !odata.active);
    assert_eq!(odata.description.as_deref(), Some("OData"));
    assert_eq!(odata.line(), 13);
    assert_eq!(ping.scope, Scope::Exact);
    assert!(ping.methods.is_all() && !ping.upgrade && !ping.parameters && ping.active);

    assert_eq!(db.name(), "db.virtual");
    assert_eq!(db.virtual_end.ports.to_string(), "5432-5440");
    assert_eq!(db.internal.host.to_string(), "[2001:db8::7]");
    assert!(db.internal.encrypted);

    assert_eq!(local.internal.ports.to_string(), "80");
    assert!(local.allow_loopback);
}

#[test]
fn a_rule_set_written_is_read_back_as_the_same_rules() {
    let rules = parse("r.toml", WHOLE).unwrap();
    let written = rules.to_string();
    let again = parse("written", &written).unwrap();
    assert_eq!(again, rules);
    assert_eq!(again.to_string(), written);
}

#[test]
fn descriptions_with_any_character_are_written_and_read_back() {
    let mut rules = parse("r.toml", WHOLE).unwrap();
    let odd = "quote \" backslash \\ newline \n tab \t bell \u{7} del \u{7f} emoji \u{1f389}";
    rules.systems[0].description = Some(odd.to_owned());
    let again = parse("written", &rules.to_string()).unwrap();
    assert_eq!(again.systems[0].description.as_deref(), Some(odd));
}

#[test]
fn an_empty_text_is_a_rule_set_that_grants_nothing() {
    assert!(parse("r.toml", "").unwrap().systems.is_empty());
    assert!(
        parse("r.toml", "# nothing yet\n")
            .unwrap()
            .systems
            .is_empty()
    );
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place_and_the_word_to_mend() {
    let text = r#"
[[sytem]]

[[system]]
virtaul = "erp.virtual:80"
protocol = "htpp"
internal = "http://erp.corp"
allow_loopback = "true"

[[system]]
virtual = "a.virtual:70000"
protocol = "http"
internal = "htps://erp.corp"
host_header = "both"

[[system.resource]]
path = "/%61/../b"
scope = "subtre"
methods = ["get", "HEAD", "HEAD"]

[[system.resource]]
path = "/%61"
upgrade = 1
"#;
    assert_eq!(
        problems(text),
        [
            "2:3: a rule set has no key `sytem`; did you mean `system`?",
            "4:1: a system needs the key `virtual`",
            "5:1: a system has no key `virtaul`; did you mean `virtual`?",
            "6:12: protocol has unknown value \"htpp\"; did you mean \"http\"?",
            "8:18: allow_loopback stands without quotes; write allow_loopback = true",
            "11:11: virtual port \"70000\" is neither a number from 1 to 65535 nor a range as in 5432-5440",
            "13:12: internal has unknown scheme \"htps\"; did you mean \"https\"?",
            "14:15: host_header has unknown value \"both\"; it is one of \"virtual\", \"internal\"",
            "17:8: path \"/%61/../b\" is ambiguous: byte 5: a segment of dots would be resolved by some programs and \
             not by others",
            "18:9: scope has unknown value \"subtre\"; did you mean \"subtree\"?",
            "19:12: unknown method \"get\"; did you mean \"GET\"?",
            "19:27: method HEAD is listed twice",
            "22:8: path \"/%61\" is not in canonical form; write \"/a\"",
            "23:11: `upgrade` is true or false, not of type integer",
        ]
    );
}

#[test]
fn errors_of_syntax_are_told_with_their_places_and_hide_no_other_problem() {
    let text = "[[system]]\nvirtual = \nprotocol = \"htttp\"\n[[system]]\nvirtual = \"a:0\"\nprotocol \"http\"\n";
    let found = problems(text);
    assert!(
        found.iter().any(|line| line.starts_with("2:")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("3:12: protocol has unknown value")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("5:11: virtual port \"0\"")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("6:")),
        "{found:#?}"
    );
    assert!(
        !found.iter().any(|line| line.contains("needs the key")),
        "{found:#?}"
    );
}

#[test]
fn columns_count_characters() {
    let text = "[[system]]\nname = \"\u{e4}\u{f6}\u{fc}\"; x = 1\n";
    assert!(
        problems(text).iter().any(|line| line.starts_with("2:13:")),
        "{:#?}",
        problems(text)
    );
}

#[test]
fn columns_are_right_in_a_line_of_any_length() {
    for spaces in [0, 1, 509, 510, 511, 512, 513, 1024, 5000] {
        // a list of as many two-byte characters, then the problem
        let text = format!("name = \"{}\"\n", "\u{e4}".repeat(spaces));
        let text = format!("[[system]]\n{}, x = 1", text.trim_end());
        let found = parse("r", &text).unwrap_err();
        let column = found.list().iter().map(Problem::column).max().unwrap();
        // `name = "` has 8 characters, then the quote, and the comma is the problem
        assert_eq!(usize::try_from(column).unwrap(), 8 + spaces + 2, "{found}");
    }
}

#[test]
fn a_text_of_one_line_is_not_read_from_its_beginning_for_each_value() {
    let resources: Vec<String> = (0..50_000)
        .map(|n| format!("{{path=\"/a/{n}\"}}"))
        .collect();
    let text = format!(
        "system=[{{virtual=\"a:80\",protocol=\"http\",internal=\"http://b\",resource=[{}]}}]",
        resources.join(",")
    );
    // 50,000 values at 500 KB on average would be 25 GB of text to read
    assert_eq!(
        parse("r.toml", &text).unwrap().systems[0].resources.len(),
        50_000
    );
}

#[test]
fn what_is_wrong_with_one_value_is_told_with_what_to_write() {
    for (line, expected) in [
        (
            "virtual = \"erp\"",
            "virtual \"erp\" has no port; write \"erp:80\"",
        ),
        (
            "virtual = \"http://erp:80\"",
            "virtual is a host and port without `http://`; write \"erp:80\"",
        ),
        (
            "virtual = \"erp.:80\"",
            "virtual host \"erp.\": a host name does not end in a dot here; remove it",
        ),
        (
            "virtual = \"*.erp:80\"",
            "virtual host \"*.erp\": a host name consists of letters, digits, `-`, `_` and `.`",
        ),
        (
            "virtual = \"[::1]:80\"",
            "virtual host \"[::1]\": a virtual host is a name or a dotted IPv4 address, never an IPv6 literal",
        ),
        (
            "virtual = \"erp:90-80\"",
            "virtual ports 90-80 run backwards; write 80-90",
        ),
        (
            "virtual = \"erp:+80\"",
            "virtual port \"+80\" is neither a number from 1 to 65535 nor a range as in 5432-5440",
        ),
        (
            "virtual = \"erp:80-90\"",
            "ports 80-90 are several; a system of protocol http has one port",
        ),
        (
            "virtual = 80",
            "`virtual` is a text in quotes, not of type integer",
        ),
        (
            "internal = \"erp:80\"",
            "internal \"erp:80\" has no scheme; write \"http://erp:80\"",
        ),
        (
            "internal = \"tcp://erp:80\"",
            "internal has scheme \"tcp\"; a system of protocol http has http or https, as in \"http://erp:80\"",
        ),
        (
            "internal = \"http://erp/\"",
            "internal has a path, \"/\", but paths are passed on as they come; write \"http://erp\"",
        ),
        (
            "internal = \"https://erp/a?b\"",
            "internal has a path, \"/a?b\", but paths are passed on as they come; write \"https://erp\"",
        ),
        (
            "internal = \"http://u:p@erp\"",
            "internal has user information; remove everything up to the `@`",
        ),
        (
            "internal = \"http://0x7f.1\"",
            "internal host \"0x7f.1\": write this address `127.0.0.1`",
        ),
        (
            "internal = \"http://[::1\"",
            "internal host \"[:\": this is no IPv6 address (write `[2001:db8::1]`, without a zone)",
        ),
        (
            "internal = \"http://224.0.0.1\"",
            "internal host `224.0.0.1` is a multicast or broadcast address, not a backend",
        ),
        (
            "name = \"a b\"",
            "name \"a b\" is not 1 to 64 letters, digits, `.`, `_` and `-`",
        ),
        (
            "ca_file = \"/x\"",
            "ca_file has no meaning where no TLS is spoken; write internal = \"https://...\" or protocol = \"tls\", or remove it",
        ),
        (
            "host = \"erp\"",
            "a system has no key `host`; write virtual = \"host:port\"",
        ),
        (
            "zzz = 1",
            "a system has no key `zzz`; it has name, description, virtual, protocol, internal, ca_file, host_header, encoded_slash, allow_loopback, resource",
        ),
        (
            "resource = 1",
            "`resource` is a list of tables; write [[system.resource]]",
        ),
        (
            "resource = [1]",
            "`resource` is a table; write [[system.resource]], not of type integer",
        ),
        (
            "resource = [{path = \"/a\", methods = \"GET\"}]",
            "`methods` is a list, as in [\"GET\", \"HEAD\"], not of type string",
        ),
        (
            "resource = [{path = \"/a\", methods = []}]",
            "methods is empty, so this resource grants nothing; list some, remove the key for all of them, or write active = false",
        ),
        (
            "resource = [{path = \"/a\", methods = [\"CONNECT\"]}]",
            "CONNECT reaches systems of protocol tcp or tls, never a resource; remove it",
        ),
        (
            "resource = [{path = \"/a\", methods = [\"A B\"]}]",
            "\"A B\" is no method: 1 to 32 letters, as in \"GET\"",
        ),
        (
            "resource = [{path = \"/a\", enabled = true}]",
            "a resource has no key `enabled`; write active = true or active = false",
        ),
        (
            "resource = [{scope = \"exact\"}]",
            "a resource needs the key `path`",
        ),
        (
            "resource = [{path = \"/a/*\"}]",
            "`*` stands for nothing but itself; for everything below write path = \"/a\" and scope = \"subtree\"",
        ),
    ] {
        let found = problem_of(line);
        let message = found.splitn(3, ':').nth(2).unwrap().trim_start();
        assert_eq!(message, expected, "{line}");
    }
}

#[test]
fn p08_internal_ends_on_the_agents_own_machine_need_an_explicit_yes() {
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "localhost",
        "LOCALHOST",
        "x.localhost",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "169.254.1.1",
        "[fe80::1]",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
    ] {
        let line = format!("internal = \"http://{host}\"");
        let found = problem_of(&line);
        assert!(
            found.ends_with("if that is meant, write allow_loopback = true"),
            "{host}: {found}"
        );
        let text = format!(
            "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\n{line}\nallow_loopback = true\n"
        );
        assert!(parse("r.toml", &text).is_ok(), "{host}");
    }
    // Other spellings are refused before anything else is asked.
    for host in [
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "0",
        "0xA9FEA9FE",
    ] {
        let found = problem_of(&format!("internal = \"http://{host}\""));
        assert!(found.contains("write this address"), "{host}: {found}");
    }
}

#[test]
fn conflicts_between_systems_are_told_with_both_lines() {
    let system = |virtual_end: &str, protocol: &str, internal: &str| {
        format!(
            "[[system]]\nvirtual = \"{virtual_end}\"\nprotocol = \"{protocol}\"\ninternal = \"{internal}\"\n"
        )
    };
    let text = [
        system("erp:80", "http", "http://a"),
        system("ERP:80", "http", "http://b"),
        system("db:10-20", "tcp", "c:10-20"),
        system("db:30", "tcp", "c:30"),
        system("db:15", "tls", "c:15"),
        system("db:20-25", "tcp", "c:20-25"),
    ]
    .concat();
    assert_eq!(
        problems(&text),
        [
            "6:11: virtual `erp:80` overlaps `erp:80` of system `erp` on line 2",
            "18:11: virtual `db:15` overlaps `db:10-20` of system `db` on line 10",
            "22:11: virtual `db:20-25` overlaps `db:10-20` of system `db` on line 10",
        ]
    );
}

#[test]
fn conflicts_inside_a_system_are_told_with_both_lines() {
    let text = r#"
[[system]]
name = "one"
virtual = "a:80"
protocol = "http"
internal = "http://b"
[[system.resource]]
path = "/a"
methods = ["GET"]
[[system.resource]]
path = "/a"
scope = "subtree"
[[system.resource]]
path = "/a"
methods = ["POST"]

[[system]]
name = "one"
virtual = "c:1-3"
protocol = "tcp"
internal = "d:1-2"
host_header = "internal"
encoded_slash = "keep"
[[system.resource]]
path = "/x"
"#;
    assert_eq!(
        problems(text),
        [
            "14:8: exact `/a` is already a resource of this system on line 8; list all of its methods there",
            "18:8: name `one` is already taken by the system on line 3",
            "21:12: internal has 2 ports and virtual has 3; a port range stands for a range of the same width",
            "22:15: host_header has no meaning for protocol tcp; remove it",
            "23:17: encoded_slash has no meaning for protocol tcp; remove it",
            "25:8: a system of protocol tcp has no resources: it is allowed as a whole",
        ]
    );
}

#[test]
fn compiling_refuses_what_reading_would_have_refused() {
    let mut rules = parse("r.toml", WHOLE).unwrap();
    let twin = rules.systems[0].clone();
    rules.systems.push(twin);
    let problems = crate::Table::compile(&rules).unwrap_err().to_string();
    assert!(problems.contains("overlaps"), "{problems}");

    let mut rules = parse("r.toml", WHOLE).unwrap();
    let path = ResourcePath::new("/a%2Fb", EncodedSlash::Keep).unwrap();
    rules.systems[2]
        .resources
        .push(Resource::new(path, Scope::Exact));
    let problems = crate::Table::compile(&rules).unwrap_err().to_string();
    assert!(problems.contains("encoded_slash = \"keep\""), "{problems}");
}

#[test]
fn texts_and_values_are_accepted_up_to_their_limits() {
    let with = |line: String| {
        parse(
            "r.toml",
            &format!(
                "[[system]]\nvirtual = \"a:80\"\nprotocol = \"http\"\ninternal = \"https://b\"\n{line}\n"
            ),
        )
    };
    let description = |bytes: usize| format!("description = \"{}\"", "x".repeat(bytes));
    assert!(with(description(DESCRIPTION_BYTES_MAX)).is_ok());
    assert!(with(description(DESCRIPTION_BYTES_MAX + 1)).is_err());
    let file = |bytes: usize| format!("ca_file = \"{}\"", "x".repeat(bytes));
    assert!(with(file(FILE_NAME_BYTES_MAX)).is_ok());
    assert!(with(file(FILE_NAME_BYTES_MAX + 1)).is_err());
    let method = |bytes: usize| {
        format!(
            "resource = [{{path = \"/a\", methods = [\"{}\"]}}]",
            "X".repeat(bytes)
        )
    };
    assert!(with(method(METHOD_BYTES_MAX)).is_ok());
    assert!(with(method(METHOD_BYTES_MAX + 1)).is_err());
    let methods = |count: usize| {
        let list: Vec<String> = (0..count)
            .map(|n| format!("\"METHOD-NUMBER-{n}\""))
            .collect();
        format!(
            "resource = [{{path = \"/a\", methods = [{}]}}]",
            list.join(", ")
        )
    };
    assert!(with(methods(METHODS_MAX)).is_ok());
    assert!(with(methods(METHODS_MAX + 1)).is_err());
}

#[test]
fn a_text_of_nothing_but_problems_is_told_in_a_bounded_answer() {
    let text = "[[system]]\n".repeat(5000);
    let problems = parse("r.toml", &text).unwrap_err();
    assert_eq!(problems.list().len(), PROBLEMS_MAX);
    assert!(problems.unlisted() > 10_000);
    // the first ones of the text, not the first ones found
    assert!(problems.list().iter().all(|problem| problem.line() <= 34));
}

#[test]
fn a_text_above_the_limit_is_refused_before_it_is_read() {
    let mut text = "#".repeat(RULES_TEXT_BYTES_MAX);
    assert!(parse("r.toml", &text).is_ok());
    text.push('#');
    assert!(parse("r.toml", &text).is_err());
}

/// A text near to a rule set: some of its bytes, words or lines changed, doubled or taken out.
fn almost_rules() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "\"",
            "=",
            "[",
            "]",
            "[[system]]\n",
            "[[system.resource]]\n",
            "{",
            "}",
            ",",
            "\n",
            "true",
            "80",
            "-",
            ":",
            "http",
            "%2F",
            "\\",
            "'''",
            "/a",
            "#",
            "0x7f.1",
            "[::1]",
            "path = \"/x\"\n",
            ".",
            "\u{e4}",
        ])
        .prop_map(str::to_owned),
    ];
    let change = (any::<prop::sample::Index>(), 0_usize..12, piece);
    prop::collection::vec(change, 1..6).prop_map(|changes| {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, cut, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_damaged_text_is_refused_with_places_or_read_as_what_it_says(text in almost_rules()) {
        match parse("r.toml", &text) {
            Ok(rules) => {
                let again = parse("written", &rules.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&rules));
                prop_assert!(crate::Table::compile(&rules).is_ok());
            }
            Err(problems) => {
                let lines = text.split('\n').count();
                prop_assert!(!problems.list().is_empty());
                for problem in problems.list() {
                    let line = usize::try_from(problem.line()).unwrap();
                    prop_assert!((1..=lines).contains(&line), "{}", problem);
                    let width = text.split('\n').nth(line - 1).unwrap().chars().count();
                    let column = usize::try_from(problem.column()).unwrap();
                    prop_assert!((1..=width + 1).contains(&column), "{}", problem);
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        let _ = parse("r.toml", &text);
    }
}
