//! Configuration files as people get them wrong, and what they are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use super::*;

/// Reads `text` as `gateway.toml` and gives what `read` made of it, and the problems, a line each.
fn read<T>(text: &str, read: impl FnOnce(Section<'_>) -> T) -> (T, Vec<String>) {
    let document = Document::parse("gateway.toml", PathBuf::from("/etc/adit"), text.to_owned())
        .expect("the text is TOML");
    let value = read(document.root());
    let problems = match document.finish() {
        Ok(()) => Vec::new(),
        Err(problems) => {
            let text = problems.to_string();
            assert_eq!(text.lines().count(), problems.count(), "{text}");
            text.lines().map(str::to_owned).collect()
        }
    };
    (value, problems)
}

const NONE: [&str; 0] = [];

#[test]
fn a_whole_file_is_read_into_typed_values() {
    let text = r#"
        name = "eu-1"
        [tunnel]
        listen = "[::]:8443"
        gateways = ["gateway.example:8443", "10.0.0.1:8443", "[2001:db8::1]:8443"]
        keepalive = "4s"
        window = "256KiB"
        tunnels_max = 4
        tickets = true
        driver = "epoll"
        state = "state/last.snapshot"
        [http.limits]
        algorithms = ["ES256"]
    "#;
    let ((), problems) = read(text, |root| {
        assert_eq!(root.string("name", None), "eu-1");
        let tunnel = root.section("tunnel");
        assert!(tunnel.is_present());
        assert_eq!(tunnel.address("listen", None), "[::]:8443".parse().unwrap());
        assert_eq!(
            tunnel.addresses_or_names("gateways"),
            [
                "gateway.example:8443",
                "10.0.0.1:8443",
                "[2001:db8::1]:8443"
            ]
        );
        let seconds = Duration::from_secs;
        assert_eq!(
            tunnel.duration("keepalive", seconds(1), seconds(1)..=seconds(9)),
            seconds(4)
        );
        assert_eq!(tunnel.bytes("window", 1024, 1024..=1 << 20), 256 * 1024);
        assert_eq!(tunnel.integer("tunnels_max", 1, 1..=16), 4);
        assert!(tunnel.boolean("tickets", false));
        assert_eq!(tunnel.choice("driver", &["auto", "epoll"], "auto"), "epoll");
        assert_eq!(
            tunnel.path("state", "elsewhere"),
            PathBuf::from("/etc/adit/state/last.snapshot")
        );
        let limits = root.section("http").section("limits");
        assert_eq!(limits.strings("algorithms", &[]), ["ES256"]);
    });
    assert_eq!(problems, NONE);
}

#[test]
fn what_is_absent_has_its_default() {
    let ((), problems) = read("", |root| {
        let http = root.section("http");
        assert!(!http.is_present());
        assert!(!http.has("listen"));
        assert_eq!(
            http.address("listen", Some("0.0.0.0:20003")),
            "0.0.0.0:20003".parse().unwrap()
        );
        assert_eq!(http.address_opt("other"), None);
        assert_eq!(http.string("location", Some("")), "");
        assert_eq!(http.string_opt("proxy"), None);
        assert_eq!(http.strings("algorithms", &["ES256"]), ["ES256"]);
        assert_eq!(http.integer("shards", 2, 1..=64), 2);
        let second = Duration::from_secs(1);
        assert_eq!(http.duration("wait", second, second..=second), second);
        assert_eq!(http.bytes("head", 65536, 1..=65536), 65536);
        assert!(http.boolean("on", true));
        assert_eq!(http.choice("driver", &["auto", "epoll"], "auto"), "auto");
        assert_eq!(http.file_opt("ca"), None);
        assert_eq!(http.secret_file_opt("key"), None);
        assert_eq!(http.path_opt("socket"), None);
        assert_eq!(http.path("state", "s"), PathBuf::from("/etc/adit/s"));
        assert_eq!(http.path("run", "/run/adit"), PathBuf::from("/run/adit"));
    });
    assert_eq!(problems, NONE);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
name = 7
nmae = \"x\"

[http]
  listen = \"0.0.0.0:70000\"
  shards = 0
[htpt]
";
    let ((), problems) = read(text, |root| {
        let http = root.section("http");
        http.integer("shards", 1, 1..=64);
        http.address("listen", None);
        root.string("name", None);
        root.section("tunnel").string("identity", None);
        http.string("realm", None);
    });
    assert_eq!(
        problems,
        [
            "gateway.toml:1:8: name: must be a string in quotes, found an integer; write name = \"...\"",
            "gateway.toml:2:1: nmae: unknown key; did you mean `name`?",
            "gateway.toml:4:1: http.realm: is required; add `realm = \"...\"` to [http]",
            "gateway.toml:5:12: http.listen: `0.0.0.0:70000`: port 70000 is above 65535; write ip:port such as 0.0.0.0:20003 or [::]:20003",
            "gateway.toml:6:12: http.shards: 0 is below 1; write a value from 1 to 64",
            "gateway.toml:7:2: htpt: unknown section; did you mean `http`?",
            "gateway.toml: tunnel.identity: is required; add `identity = \"...\"` to [tunnel]",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_where() {
    let error = Document::parse("a.toml", PathBuf::new(), "a = 1\nb = \n".to_owned()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("a.toml:2:"), "{text}");
    assert!(text.contains(": not TOML: "), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn columns_count_characters() {
    let ((), problems) = read(
        "note = \"\u{fc}\u{fc}\"\nk = { \"\u{e9}\" = 1, b = 2 }",
        |root| {
            root.string_opt("note");
            root.section("k").has("\u{e9}");
        },
    );
    // k = { "e" = 1, b
    // 1234567890123456
    assert_eq!(
        problems,
        ["gateway.toml:2:16: k.b: unknown key; known here: \u{e9}"]
    );
}

#[test]
fn an_unknown_key_is_sent_to_the_section_it_belongs_in() {
    let text = "[http]\nkeepalive = 1\nsocks = 1\n[tunnel]\nname = 1\n[tunnel.deep]\nx = 1\n";
    let ((), problems) = read(text, |root| {
        root.string_opt("name");
        root.section("http").string_opt("listen");
        root.section("tunnel").integer("keepalive", 1, 1..=9);
    });
    assert_eq!(
        problems,
        [
            "gateway.toml:2:1: http.keepalive: unknown key here; it belongs in [tunnel]",
            "gateway.toml:3:1: http.socks: unknown key; known here: listen",
            "gateway.toml:5:1: tunnel.name: unknown key here; it belongs before the first section",
            "gateway.toml:6:9: tunnel.deep: unknown section; known here: keepalive",
        ]
    );
}

#[test]
fn dotted_keys_and_inline_tables_are_sections_too() {
    let ((), problems) = read("http.shards = 3\nsocks = { shards = 4, x = 1 }", |root| {
        assert_eq!(root.section("http").integer("shards", 1, 1..=9), 3);
        assert_eq!(root.section("socks").integer("shards", 1, 1..=9), 4);
    });
    assert_eq!(
        problems,
        ["gateway.toml:2:23: socks.x: unknown key; known here: shards"]
    );
}

#[test]
fn a_value_where_a_section_belongs_and_the_other_way_round() {
    let ((), problems) = read("http = 1\n[name]\n[[list]]\n", |root| {
        root.section("http").integer("shards", 1, 1..=9);
        root.string("name", None);
        root.section("list");
    });
    assert_eq!(
        problems,
        [
            "gateway.toml:1:8: http: must be a section [http], found an integer",
            "gateway.toml:2:1: name: must be a single key, found a table",
            "gateway.toml:3:1: list: must be a section [list], found an array of tables",
        ]
    );
}

#[test]
fn a_renamed_key_names_the_new_one_and_nothing_else() {
    let text = "port = 1\n[socks]\nlisten = 2\nwait = 3\n";
    let ((), problems) = read(text, |root| {
        root.renamed("port", "http.listen");
        root.renamed("socks", "socks5");
        root.section("http").address("listen", None);
        root.section("socks5").address("listen", None);
        // Nothing to say about what the file does not use.
        root.renamed("pid", "pid_file");
    });
    assert_eq!(
        problems,
        [
            "gateway.toml:1:1: port: is now called `http.listen`; rename it",
            "gateway.toml:2:1: socks: is now called `socks5`; rename it",
        ]
    );
}

#[test]
fn the_role_adds_problems_of_its_own() {
    let ((), problems) = read("[http]\nshards = 9", |root| {
        let http = root.section("http");
        http.integer("shards", 1, 1..=64);
        http.problem("shards", "this machine has 2 cores");
        http.problem("listen", "is the address of [socks5]");
        root.section("tunnel")
            .problem("keepalive", "is above silence");
    });
    assert_eq!(
        problems,
        [
            "gateway.toml:1:1: http.listen: is the address of [socks5]",
            "gateway.toml:2:10: http.shards: this machine has 2 cores",
            "gateway.toml: tunnel.keepalive: is above silence",
        ]
    );
}

#[test]
fn a_key_asked_for_twice_is_one_problem() {
    let ((), problems) = read("shards = 99", |root| {
        root.integer("shards", 1, 1..=64);
        root.integer("shards", 1, 1..=64);
    });
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_problem_stays_one_line_whatever_the_file_holds() {
    let ((), problems) = read("\"a\\nb\" = 1\nlisten = \"1\\n2\\u001b[31m\"", |root| {
        root.address("listen", None);
    });
    assert_eq!(problems.len(), 2, "{problems:?}");
    let second = problems.last().unwrap();
    assert!(
        second.contains("`1\\n2\\u{1b}[31m` has no port"),
        "{second}"
    );
}

#[test]
fn a_long_value_is_not_repeated_whole() {
    let ((), problems) = read(&format!("listen = \"{}\"", "x".repeat(5000)), |root| {
        root.address("listen", None);
    });
    assert!(problems.first().unwrap().len() < 300, "{problems:?}");
}

#[test]
fn integers_hold_at_both_borders_and_no_further() {
    let outcome = |number: i64| {
        let (value, problems) = read(&format!("n = {number}"), |root| {
            root.integer("n", 5, 1..=64)
        });
        (value, problems.len())
    };
    assert_eq!(outcome(0), (5, 1));
    assert_eq!(outcome(1), (1, 0));
    assert_eq!(outcome(64), (64, 0));
    assert_eq!(outcome(65), (5, 1));
    assert_eq!(outcome(i64::MIN), (5, 1));
    let (_, problems) = read("n = -3", |root| root.integer("n", 5, 1..=64));
    assert_eq!(
        problems,
        ["gateway.toml:1:5: n: -3 is below 1; write a value from 1 to 64"]
    );
}

#[test]
fn durations_have_a_unit_and_hold_at_both_borders() {
    let seconds = Duration::from_secs;
    let outcome = |text: &str| {
        let (value, problems) = read(&format!("d = {text}"), |root| {
            root.duration("d", seconds(5), seconds(1)..=seconds(120))
        });
        (value, problems)
    };
    let fine = |text: &str| {
        let (value, problems) = outcome(text);
        assert_eq!(problems, NONE);
        value
    };
    assert_eq!(fine("\"1s\""), seconds(1));
    assert_eq!(fine("\"1500ms\""), Duration::from_millis(1500));
    assert_eq!(fine("\"2m\""), seconds(120));
    let wrong = |text: &str, said: &str| {
        let (value, problems) = outcome(text);
        assert_eq!(value, seconds(5));
        assert_eq!(problems, [format!("gateway.toml:1:5: d: {said}")]);
    };
    wrong(
        "\"999ms\"",
        "999ms is below 1s; write a value from 1s to 2m",
    );
    wrong("\"121s\"", "121s is above 2m; write a value from 1s to 2m");
    let units = "write a whole number and ms, s, m, h or d, such as \"5s\" or \"250ms\"";
    wrong("\"5\"", &format!("`5` has no unit; {units}"));
    wrong("\"5 s\"", &format!("` s` is not a unit of time; {units}"));
    wrong(
        "\"-5s\"",
        &format!("`-5s` is not a length of time; {units}"),
    );
    wrong("\"\"", &format!("`` is not a length of time; {units}"));
    wrong(
        "\"18446744073709551615d\"",
        &format!("`18446744073709551615d` is more than the universe will last; {units}"),
    );
    wrong(
        "5",
        "must be a string in quotes, found an integer; write d = \"5s\"",
    );
}

#[test]
fn hours_and_days_are_durations() {
    assert_eq!(value::duration("1h"), Ok(Duration::from_secs(3600)));
    assert_eq!(value::duration("7d"), Ok(Duration::from_secs(7 * 86400)));
}

#[test]
fn sizes_count_in_1024s_and_hold_at_both_borders() {
    let outcome = |text: &str| {
        read(&format!("b = \"{text}\""), |root| {
            root.bytes("b", 4096, 1024..=1 << 20)
        })
    };
    assert_eq!(outcome("1024B"), (1024, vec![]));
    assert_eq!(outcome("1KiB"), (1024, vec![]));
    assert_eq!(outcome("1MiB"), (1 << 20, vec![]));
    let wrong = |text: &str, said: &str| {
        let (value, problems) = outcome(text);
        assert_eq!(value, 4096);
        assert_eq!(problems, [format!("gateway.toml:1:5: b: {said}")]);
    };
    let range = "write a value from 1KiB to 1MiB";
    wrong("1023B", &format!("1023B is below 1KiB; {range}"));
    wrong("1048577B", &format!("1048577B is above 1MiB; {range}"));
    wrong(
        "64KB",
        "`KB` is not a unit of size, sizes count in 1024s; write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"",
    );
    wrong(
        "18014398509481984KiB",
        "`18014398509481984KiB` is more than any machine has; write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"",
    );
    assert_eq!(value::bytes("2GiB"), Ok(2_147_483_648));
}

#[test]
fn addresses_say_what_they_lack() {
    for (text, said) in [
        ("localhost", "`localhost` has no port; "),
        (
            "localhost:80",
            "`localhost:80`: `localhost` is not an IP address, and names are not looked up here; ",
        ),
        (
            ":8443",
            "`:8443` has no address before the colon; for all interfaces write 0.0.0.0:8443 or [::]:8443",
        ),
        (
            "::1:8443",
            "`::1:8443` has an IPv6 address without brackets; ",
        ),
        ("10.0.0.1:", "`10.0.0.1:`: `` is not a port number; "),
        ("10.0.0.1:+1", "`10.0.0.1:+1`: `+1` is not a port number; "),
        (
            "10.0.0.1:65536",
            "`10.0.0.1:65536`: port 65536 is above 65535; ",
        ),
        (
            "10.0.0.256:80",
            "`10.0.0.256:80`: `10.0.0.256` is not an IP address, ",
        ),
    ] {
        let error = value::address(text).unwrap_err();
        assert!(error.starts_with(said), "{text}: {error}");
    }
    assert_eq!(
        value::address("10.0.0.1:65535"),
        Ok("10.0.0.1:65535".parse().unwrap())
    );
    value::address("127.0.0.1:0").unwrap();
}

#[test]
fn hosts_to_dial_are_names_or_addresses_with_a_port() {
    let label = "a".repeat(63);
    // 63 + 1 + 63 + 1 + 63 + 1 + 61 = 253 characters, the most a name has (RFC 1035, section 2.3.4).
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for text in [
        "gateway.example:8443",
        "gateway.example.:1",
        "a:65535",
        "my_host-1:80",
        "xn--bcher-kva.example:80",
        "10.0.0.1:80",
        "[::1]:80",
        &format!("{longest}:80"),
        &format!("{label}:80"),
    ] {
        assert_eq!(value::address_or_name(text), Ok(()), "{text}");
    }
    for (text, said) in [
        ("gateway.example", "has no port"),
        ("gateway.example:0", "port 0 cannot be dialled"),
        ("gateway.example:65536", "port 65536 is above 65535"),
        ("gateway.example:https", "`https` is not a port number"),
        ("https://gateway.example:8443", "is a URL"),
        ("https://gateway.example", "is a URL"),
        (":8443", "there is no host before the colon"),
        ("[::1:80", "is not an IPv6 address"),
        ("[fe80::g]:80", "is not an IPv6 address"),
        ("::1:80", "without brackets"),
        ("a..b:80", "1 to 63 characters"),
        (&format!("{label}a:80"), "1 to 63 characters"),
        (&format!("{longest}a:80"), "at most 253 characters"),
        ("-a:80", "inner hyphens"),
        ("a-:80", "inner hyphens"),
        ("b\u{fc}cher.example:80", "only letters, digits"),
        ("a b:80", "only letters, digits"),
        ("10.0.0.300:80", "is not an IPv4 address"),
        ("10.1:80", "is not an IPv4 address"),
    ] {
        let error = value::address_or_name(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_list_of_gateways_is_checked_entry_by_entry() {
    let text = "gateways = [\"a:1\", 7, \"b\",\n \"a:1\"]";
    let (gateways, problems) = read(text, |root| root.addresses_or_names("gateways"));
    assert_eq!(gateways, ["a:1"]);
    assert_eq!(
        problems,
        [
            "gateway.toml:1:20: gateways: must be a list of strings, found an integer; write gateways = [\"gateway.example:8443\"]",
            "gateway.toml:1:23: gateways: `b` has no port; write host:port such as gateway.example:8443",
            "gateway.toml:2:2: gateways: `a:1` is in the list twice",
        ]
    );
    let (gateways, problems) = read("gateways = \"a:1\"", |root| {
        root.addresses_or_names("gateways")
    });
    assert_eq!(gateways, ["a:1"]);
    assert_eq!(problems, NONE);
    let (_, problems) = read("gateways = []", |root| root.addresses_or_names("gateways"));
    assert_eq!(
        problems,
        ["gateway.toml:1:12: gateways: is empty; write gateways = [\"gateway.example:8443\"]"]
    );
    let (_, problems) = read("", |root| root.addresses_or_names("gateways"));
    assert_eq!(
        problems,
        [
            "gateway.toml: gateways: is required; add `gateways = [\"gateway.example:8443\"]` before the first section"
        ]
    );
}

#[test]
fn a_choice_lists_its_choices() {
    let (choice, problems) = read("driver = \"poll\"", |root| {
        root.choice("driver", &["auto", "io_uring", "epoll"], "auto")
            .to_owned()
    });
    assert_eq!(choice, "auto");
    assert_eq!(
        problems,
        [
            "gateway.toml:1:10: driver: `poll` is none of the choices; write one of \"auto\", \"io_uring\", \"epoll\""
        ]
    );
}

#[test]
fn files_are_found_beside_the_configuration_and_must_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("ca.pem"), "-").unwrap();
    fs::create_dir(at("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(
        at("agent.toml"),
        "ca = 'ca.pem'\nb = 'none.pem'\nc = 'folder'\nd = 'fifo'\ne = ''\n",
    )
    .unwrap();
    let document = Document::read(&at("agent.toml")).unwrap();
    let root = document.root();
    assert_eq!(root.file("ca"), at("ca.pem"));
    for key in ["b", "c", "d", "e", "f"] {
        assert_eq!(root.file(key), PathBuf::new());
    }
    let problems = document.finish().unwrap_err().to_string();
    let shown = folder.path().display();
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            format!("{shown}/agent.toml:2:5: b: {shown}/none.pem does not exist"),
            format!("{shown}/agent.toml:3:5: c: {shown}/folder is a folder, a file is wanted"),
            format!("{shown}/agent.toml:4:5: d: {shown}/fifo is not a regular file"),
            format!("{shown}/agent.toml:5:5: e: is empty; write a path or leave the key out"),
            format!(
                "{shown}/agent.toml: f: is required; add `f = \"/path/to/file\"` before the first section"
            ),
        ]
    );
}

#[test]
fn a_secret_others_may_read_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    fs::write(&key, "-").unwrap();
    let outcome = |mode: u32| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        value::secret(&key)
    };
    for mode in [0o600, 0o400, 0o700] {
        assert_eq!(outcome(mode), Ok(()), "{mode:o}");
    }
    for mode in [0o640, 0o604, 0o601, 0o620, 0o644] {
        assert_eq!(
            outcome(mode),
            Err(format!(
                "has mode {mode:04o}, so group or others may get at the secret in it; run `chmod 600 {}`",
                key.display()
            ))
        );
    }
}

#[test]
fn a_secret_file_key_reports_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    fs::write(&key, "-").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let text = "key = 'key.pem'";
    let document = Document::parse("a.toml", folder.path().to_owned(), text.to_owned()).unwrap();
    assert_eq!(document.root().secret_file("key"), PathBuf::new());
    let problems = document.finish().unwrap_err().to_string();
    assert!(problems.starts_with("a.toml:1:7: key: "), "{problems}");
    assert!(problems.contains("has mode 0644"), "{problems}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let said = |path: &Path| Document::read(path).unwrap_err().to_string();
    let shown = folder.path().display();
    assert_eq!(said(&at("none")), format!("{shown}/none: does not exist"));
    assert_eq!(
        said(folder.path()),
        format!("{shown}: is a folder, a file is wanted")
    );
    fs::write(at("latin1"), b"a = 1\nb = \"\xfc\"\n").unwrap();
    assert_eq!(
        said(&at("latin1")),
        format!("{shown}/latin1:2:6: not UTF-8 from here on; save the file as UTF-8")
    );
}

#[test]
fn a_configuration_of_1_mib_is_read_and_one_byte_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let mut text = "#".repeat(1024 * 1024);
    fs::write(&path, &text).unwrap();
    Document::read(&path).unwrap();
    text.push('#');
    fs::write(&path, &text).unwrap();
    let said = Document::read(&path).unwrap_err().to_string();
    assert!(said.contains("larger than 1048576 bytes"), "{said}");
}

#[test]
fn exit_code_is_that_of_sysexits() {
    // sysexits.h: #define EX_CONFIG 78
    assert_eq!(EXIT_CONFIG, 78);
}
