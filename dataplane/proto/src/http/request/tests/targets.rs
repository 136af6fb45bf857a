//! Paths, hosts and targets: rows P-02 to P-06 of the attack catalogue, and the limits of a head.

use super::*;

// ---- P-02, P-03, P-06: paths

#[test]
fn p02_the_path_is_told_byte_for_byte_and_written_as_it_was_told() {
    for path in [
        "/../",
        "/./",
        "/%2e%2e/",
        "/%2E.",
        "/..%2f",
        "/%252e%252e",
        "/..;/",
        "/a;jsessionid=1/b",
        "/%5c",
        "/\\",
        "/%2f",
        "//",
        "///a",
        "/a/.",
        "/%00",
        "/%0d%0a",
        "/a'(b)$%20\"|{}^`<>",
    ] {
        let text = format!("GET http://h{path}?q HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parse(&text).path(text.as_bytes()), path.as_bytes());
        assert!(
            for_agent(&text).starts_with(&format!("GET {path}?q HTTP/1.1\r\n")),
            "{path}"
        );
    }
}

#[test]
fn p02_a_backslash_in_the_authority_is_refused() {
    assert_eq!(
        refused_with("GET http://h\\evil/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        Refusal::HostMalformed
    );
}

#[test]
fn p03_bytes_that_are_not_ascii_are_refused_in_a_target() {
    for byte in 0x80..=0xFF_u8 {
        let mut text = b"GET http://h/a".to_vec();
        text.push(byte);
        text.extend(b" HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused_with(&text), Refusal::RequestMalformed, "{byte:#x}");
    }
    assert_eq!(
        refused_with("GET http://h/．．／ HTTP/1.1\r\nHost: h\r\n\r\n"),
        Refusal::RequestMalformed
    );
}

#[test]
fn p06_a_fragment_is_refused() {
    for target in ["http://h/a#b", "/a#b", "/#", "http://h#b", "/a?b#c"] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused(&text).problem(), Problem::TargetByte, "{target}");
    }
}

#[test]
fn p06_the_query_is_never_part_of_the_path() {
    for (target, path, query) in [
        ("/a?b", "/a", Some("b")),
        ("/a?", "/a", Some("")),
        ("/a?/../b?c", "/a", Some("/../b?c")),
        ("/?/../", "/", Some("/../")),
        ("/a", "/a", None),
        ("http://h", "/", None),
        ("http://h?x=1", "/", Some("x=1")),
        ("http://h/?x=1", "/", Some("x=1")),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, buf) = (parse(&text), text.as_bytes());
        assert_eq!(head.path(buf), path.as_bytes(), "{target}");
        assert_eq!(head.query(buf), query.map(str::as_bytes), "{target}");
        let whole = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        assert_eq!(head.path_and_query(buf), whole.as_bytes(), "{target}");
        assert!(
            for_agent(&text).starts_with(&format!("GET {whole} HTTP/1.1\r\n")),
            "{target}"
        );
    }
}

#[test]
fn p06_a_request_line_longer_than_8192_bytes_is_refused_and_the_longest_passes() {
    let line = |length: usize| {
        let fixed = "GET  HTTP/1.1".len();
        format!(
            "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n",
            "a".repeat(length - fixed - 1)
        )
    };
    parse(&line(8192));
    assert_eq!(refused_with(line(8193)), Refusal::LineTooLarge);
    assert_eq!(refused_with(line(64 * 1024)), Refusal::LineTooLarge);
    assert!((400..500).contains(&Refusal::LineTooLarge.http_status()));
}

#[test]
fn a_field_line_longer_than_8192_bytes_is_refused_and_the_longest_passes() {
    let with = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
            "a".repeat(length - 3)
        )
    };
    parse(&with(8192));
    assert_eq!(refused_with(with(8193)), Refusal::LineTooLarge);
}

#[test]
fn h09_a_head_longer_than_64_kib_is_refused_with_431_and_the_longest_passes() {
    let with = |length: usize| {
        let mut text = String::from("GET / HTTP/1.1\r\nHost: h\r\n");
        while text.len() + 2 < length {
            let line = (length - 2 - text.len()).min(8000);
            // A last line shorter than "X:\r\n" cannot be: take it from this one.
            let left = length - 2 - text.len() - line;
            let line = if (1..4).contains(&left) {
                line - 4
            } else {
                line
            };
            text.push_str(&format!("X:{}\r\n", "a".repeat(line - 4)));
        }
        text.push_str("\r\n");
        assert_eq!(text.len(), length);
        text
    };
    parse(&with(64 * 1024));
    assert_eq!(refused_with(with(64 * 1024 + 1)), Refusal::HeadTooLarge);
    assert_eq!(Refusal::HeadTooLarge.http_status(), 431);
}

#[test]
fn h09_more_than_100_fields_are_refused_with_431_and_100_pass() {
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X:\r\n".repeat(count - 1)
        )
    };
    parse(&with(100));
    assert_eq!(refused_with(with(101)), Refusal::HeadTooLarge);
}

#[test]
fn h09_no_setting_lets_more_than_the_hard_limit_of_fields_in() {
    let limits = Limits {
        fields: 10_000,
        ..Limits::default()
    };
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X:\r\n".repeat(count - 1)
        )
    };
    assert!(RequestHead::parse(with(FIELDS_MAX).as_bytes(), &limits).is_ok());
    let why = RequestHead::parse(with(FIELDS_MAX + 1).as_bytes(), &limits).unwrap_err();
    assert_eq!(why.refusal(), Refusal::HeadTooLarge);
}

// ---- P-04, P-05: hosts

#[test]
fn p04_the_absolute_target_and_host_must_agree() {
    for (target, host) in [
        ("http://erp.virtual/", "erp.virtual"),
        ("http://erp.virtual/", "ERP.VIRTUAL"),
        ("http://erp.virtual:80/", "erp.virtual"),
        ("http://erp.virtual/", "erp.virtual:80"),
        ("http://Erp_1.virtual:44300/", "erp_1.virtual:44300"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        parse(&text);
    }
    for (target, host) in [
        ("http://erp.virtual/", "other.virtual"),
        ("http://erp.virtual/", "erp.virtual:8080"),
        ("http://erp.virtual:44300/", "erp.virtual"),
        ("http://erp.virtual:44300/", "erp.virtual:80"),
        ("http://erp.virtual/", "erp.virtual.evil"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            refused_with(&text),
            Refusal::HostMismatch,
            "{target} {host}"
        );
    }
}

#[test]
fn p04_malformed_authorities_are_refused_in_target_and_host() {
    for authority in [
        "user:pw@h",
        "user@h",
        "h:",
        "h:0",
        "h:65536",
        "[fe80::1%25eth0]",
        "h.",
        "a..b",
        ".h",
        "",
        ":80",
        "h:80a",
        "a,b",
        "[::1",
        "h%2e",
    ] {
        let target = format!("GET http://{authority}/ HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(
            refused_with(&target),
            Refusal::HostMalformed,
            "target {authority:?}"
        );
        let host = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        assert_eq!(
            refused_with(&host),
            Refusal::HostMalformed,
            "host {authority:?}"
        );
        assert_eq!(Refusal::HostMalformed.http_status(), 400);
    }
}

#[test]
fn p04_one_authority_is_told_and_written_in_lower_case() {
    let text = "GET http://ERP_1.Virtual:44300/x HTTP/1.1\r\nHost: erp_1.VIRTUAL:44300\r\n\r\n";
    let authority = parse(text).authority(text.as_bytes());
    assert_eq!(authority.canonical_host(), "erp_1.virtual");
    assert_eq!(authority.port_or_default(), 44300);
    assert!(for_agent(text).starts_with("GET /x HTTP/1.1\r\nhost: erp_1.virtual:44300\r\n"));
}

#[test]
fn p05_two_host_fields_or_none_are_refused() {
    assert_eq!(
        refused("GET http://h/ HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n").smuggling(),
        Some(Smuggling::HostDuplicate)
    );
    assert_eq!(
        refused_with("GET http://h/ HTTP/1.1\r\n\r\n"),
        Refusal::HostMalformed
    );
    assert_eq!(
        refused_with("GET / HTTP/1.1\r\n\r\n"),
        Refusal::HostMalformed
    );
}

#[test]
fn p05_a_host_with_a_comma_or_a_blank_is_refused() {
    for host in ["a,b", "a, b", "a b", "a\tb"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            refused(&text).problem(),
            Problem::Host(AuthorityError::Byte),
            "{host:?}"
        );
    }
}

#[test]
fn p05_forwarding_and_override_fields_decide_nothing_and_pass_unchanged() {
    let fields = "X-Forwarded-Host: evil\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\
                  X-HTTP-Method-Override: DELETE\r\nForwarded: host=evil\r\n";
    let text = format!("GET http://h/a HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let (head, buf) = (parse(&text), text.as_bytes());
    assert_eq!(
        (head.method(buf), head.path(buf), head.authority(buf).host),
        ("GET", &b"/a"[..], "h")
    );
    assert_eq!(
        for_agent(&text),
        format!("GET /a HTTP/1.1\r\nhost: h\r\n{fields}\r\n")
    );
}

#[test]
fn p05_with_the_internal_host_the_forwarded_host_is_ours_alone() {
    let text = "GET /a HTTP/1.1\r\nhost: erp.virtual:44300\r\nX-Forwarded-Host: evil\r\nX_Forwarded_Host: evil\r\n\
                X-Forwarded-For: 1.2.3.4\r\n\r\n";
    let internal = |https, host, port| HostHeader::Internal(Internal { https, host, port });
    assert_eq!(
        for_backend(text, &internal(false, "10.1.2.3", 8000)),
        "GET /a HTTP/1.1\r\nhost: 10.1.2.3:8000\r\nx-forwarded-host: erp.virtual:44300\r\n\
         X-Forwarded-For: 1.2.3.4\r\n\r\n"
    );
    assert!(for_backend(text, &internal(true, "erp.corp", 443)).contains("\r\nhost: erp.corp\r\n"));
    assert!(
        for_backend(text, &internal(true, "erp.corp", 80)).contains("\r\nhost: erp.corp:80\r\n")
    );
    assert!(for_backend(text, &internal(false, "fd00::1", 80)).contains("\r\nhost: [fd00::1]\r\n"));
}

// ---- targets

#[test]
fn only_http_targets_are_supported() {
    for target in [
        "https://h/",
        "HTTPS://h/",
        "ftp://h/",
        "ws://h/",
        "file:///etc/passwd",
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused_with(&text), Refusal::SchemeUnsupported, "{target}");
    }
    assert_eq!(Refusal::SchemeUnsupported.http_status(), 405);
    assert_eq!(
        parse("GET HTTP://h/ HTTP/1.1\r\nHost: h\r\n\r\n").target,
        Target::Absolute
    );
}

#[test]
fn each_method_has_its_forms_of_target() {
    for (line, target) in [
        ("GET http://h/", Target::Absolute),
        ("GET /", Target::Origin),
        ("CONNECT h:443", Target::Authority),
        ("OPTIONS *", Target::Asterisk),
        ("OPTIONS http://h", Target::Asterisk),
        ("OPTIONS http://h/", Target::Absolute),
        ("OPTIONS http://h?x", Target::Absolute),
    ] {
        let head = parse(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(head.target, target, "{line}");
    }
    for line in [
        "GET *",
        "GET h:443",
        "CONNECT h",
        "CONNECT http://h/",
        "CONNECT /",
        "GET h",
        "GET ://h/",
        "GET a/b",
        "OPTIONS **",
        "CONNECT *",
        "GET 1http://h/",
        "GET http:/h/",
        "GET http:h",
        "CONNECT h:443/",
        "CONNECT u@h:443",
    ] {
        let status = refused_with(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).http_status();
        assert_eq!(status, 400, "{line}");
    }
}

#[test]
fn a_connect_request_names_host_and_port() {
    let text = "CONNECT Db.virtual:5432 HTTP/1.1\r\nHost: db.virtual:5432\r\nProxy-Authorization: Bearer t\r\n\r\n";
    let authority = parse(text).authority(text.as_bytes());
    assert_eq!(
        (authority.canonical_host().as_ref(), authority.port),
        ("db.virtual", Some(5432))
    );
    assert_eq!(parse(text).path(text.as_bytes()), b"");
    assert_eq!(
        for_agent(text),
        "CONNECT db.virtual:5432 HTTP/1.1\r\nhost: db.virtual:5432\r\n\r\n"
    );
    parse("CONNECT db.virtual:5432 HTTP/1.1\r\nHost: db.virtual\r\n\r\n");
    let other = "CONNECT db.virtual:5432 HTTP/1.1\r\nHost: db.virtual:5433\r\n\r\n";
    assert_eq!(refused_with(other), Refusal::HostMismatch);
    let body =
        "CONNECT db.virtual:5432 HTTP/1.1\r\nHost: db.virtual:5432\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(refused_with(body), Refusal::BodyFraming);
}

#[test]
fn options_about_the_server_itself_is_forwarded_as_an_asterisk() {
    let text = "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(parse(text).path(text.as_bytes()), b"*");
    assert_eq!(for_agent(text), "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn the_longest_method_passes_and_one_byte_more_does_not() {
    let with = |length: usize| format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(length));
    let text = with(METHOD_BYTES_MAX);
    assert_eq!(parse(&text).method(text.as_bytes()).len(), METHOD_BYTES_MAX);
    assert_eq!(
        refused(with(METHOD_BYTES_MAX + 1)).problem(),
        Problem::MethodTooLong
    );
}

#[test]
fn a_request_line_has_one_space_between_its_parts() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET  HTTP/1.1",
    ] {
        assert_eq!(
            refused_with(format!("{line}\r\nHost: h\r\n\r\n")),
            Refusal::RequestMalformed,
            "{line:?}"
        );
    }
}
