//! Requests that two readers could read in two ways: rows H-01 to H-06 of the attack catalogue.

use super::*;

// ---- H-01: lengths that read in two ways

#[test]
fn h01_content_length_with_transfer_encoding_is_refused_in_both_orders() {
    assert_eq!(
        smuggled("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        Smuggling::ClTe
    );
    assert_eq!(
        smuggled("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        Smuggling::TeCl
    );
}

#[test]
fn h01_transfer_encoding_must_be_chunked_and_nothing_else() {
    for (value, class) in [
        (" chunked, identity", Smuggling::TeList),
        (" identity, chunked", Smuggling::TeList),
        (" chunked, chunked", Smuggling::TeList),
        (" chunked,", Smuggling::TeList),
        (" chunked;x=y", Smuggling::TeParameter),
        (" identity", Smuggling::TeUnknown),
        (" gzip", Smuggling::TeUnknown),
        (" xchunked", Smuggling::TeUnknown),
        (" chunked2", Smuggling::TeUnknown),
        (" \"chunked\"", Smuggling::TeUnknown),
        ("", Smuggling::TeUnknown),
        ("\tchunked", Smuggling::TeWhitespace),
        (" chunked ", Smuggling::TeWhitespace),
        (" chunked\t", Smuggling::TeWhitespace),
    ] {
        assert_eq!(
            smuggled(&format!("Transfer-Encoding:{value}")),
            class,
            "{value:?}"
        );
    }
    assert_eq!(
        smuggled("Transfer-Encoding: chunked\r\ntransfer-encoding: chunked"),
        Smuggling::TeDuplicate
    );
}

#[test]
fn h01_chunked_in_any_case_is_chunked() {
    for value in ["chunked", "Chunked", "CHUNKED"] {
        let head = parse(&format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {value}\r\n\r\n"
        ));
        assert_eq!(head.framing, Framing::Chunked);
    }
}

#[test]
fn h01_content_length_must_be_one_decimal_number() {
    for (value, class) in [
        (" 5, 5", Smuggling::ClList),
        (" 5,6", Smuggling::ClList),
        (" +5", Smuggling::ClSigned),
        (" -5", Smuggling::ClSigned),
        (" 0x5", Smuggling::ClHex),
        (" 5a", Smuggling::ClHex),
        (" 5 ", Smuggling::ClWhitespace),
        ("\t5", Smuggling::ClWhitespace),
        (" 5 6", Smuggling::ClSyntax),
        (" five", Smuggling::ClSyntax),
        (" 5.0", Smuggling::ClSyntax),
        ("", Smuggling::ClSyntax),
        (" 10000000000000000000", Smuggling::ClOverlong),
        (" 00000000000000000005", Smuggling::ClOverlong),
        (" 18446744073709551616", Smuggling::ClOverlong),
    ] {
        assert_eq!(
            smuggled(&format!("Content-Length:{value}")),
            class,
            "{value:?}"
        );
    }
    assert_eq!(
        smuggled("Content-Length: 5\r\nContent-Length: 5"),
        Smuggling::ClDuplicate
    );
    assert_eq!(
        smuggled("Content-Length: 5\r\nContent-Length: 6"),
        Smuggling::ClDuplicate
    );
}

#[test]
fn h01_the_longest_content_length_has_nineteen_digits() {
    let head = parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999999999999\r\n\r\n");
    assert_eq!(head.framing, Framing::Length(9_999_999_999_999_999_999));
}

#[test]
fn h01_a_zero_length_is_told_as_such_whatever_the_method() {
    for method in ["GET", "HEAD", "POST"] {
        let head = parse(&format!(
            "{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(head.framing, Framing::Length(0));
    }
}

#[test]
fn h01_framing_names_written_with_underscores_are_refused() {
    assert_eq!(smuggled("Content_Length: 5"), Smuggling::Lookalike);
    assert_eq!(smuggled("transfer_encoding: chunked"), Smuggling::Lookalike);
}

#[test]
fn h01_every_class_of_framing_is_answered_with_400() {
    assert_eq!(
        refused_with("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        Refusal::BodyFraming
    );
    assert_eq!(Refusal::BodyFraming.http_status(), 400);
}

// ---- H-02: lines that read in two ways

#[test]
fn h02_a_folded_field_is_refused() {
    assert_eq!(smuggled("X: a\r\n b"), Smuggling::ObsFold);
    assert_eq!(smuggled("X: a\r\n\tb"), Smuggling::ObsFold);
    let first = refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n");
    assert_eq!(first.smuggling(), Some(Smuggling::ObsFold));
}

#[test]
fn h02_whitespace_before_the_colon_is_refused() {
    assert_eq!(smuggled("X : a"), Smuggling::SpaceBeforeColon);
    assert_eq!(
        smuggled("Transfer-Encoding : chunked"),
        Smuggling::SpaceBeforeColon
    );
    assert_eq!(smuggled("Content-Length\t: 5"), Smuggling::SpaceBeforeColon);
}

#[test]
fn h02_a_bare_cr_or_lf_is_refused_wherever_it_stands() {
    let good = "POST http://h/a HTTP/1.1\r\nHost: h\r\nX-Y: abc\r\n\r\n";
    for at in 0..good.len() {
        let with = |byte: char| {
            let mut text = good.to_owned();
            text.insert(at, byte);
            refused(&text).smuggling()
        };
        // Before the very last LF, the one put in ends the head and the other begins the next.
        if at < good.len() - 1 {
            assert_eq!(with('\n'), Some(Smuggling::BareLf), "LF at {at}");
        }
        // A CR put between the CR and LF of a line end, or before them, leaves a CR without LF either way.
        assert_eq!(with('\r'), Some(Smuggling::BareCr), "CR at {at}");
    }
    assert_eq!(
        refused("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").smuggling(),
        Some(Smuggling::BareLf)
    );
}

#[test]
fn h02_bare_line_ends_have_classes_of_their_own() {
    assert_eq!(
        refused("GET / HTTP/1.1\nHost: h\n\n").smuggling(),
        Some(Smuggling::BareLf)
    );
    assert_eq!(smuggled("X: a\nY: b"), Smuggling::BareLf);
    assert_eq!(smuggled("X: a\rY: b"), Smuggling::BareCr);
    assert_eq!(smuggled("X\r: b"), Smuggling::BareCr);
    assert_eq!(
        refused("GET /\r HTTP/1.1\r\nHost: h\r\n\r\n").smuggling(),
        Some(Smuggling::BareCr)
    );
}

#[test]
fn h02_nul_and_control_bytes_are_refused() {
    assert_eq!(smuggled("X: a\0b"), Smuggling::Nul);
    assert_eq!(smuggled("X\0: a"), Smuggling::Nul);
    assert_eq!(
        refused("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n").smuggling(),
        Some(Smuggling::Nul)
    );
    for byte in (1..0x20_u8)
        .chain([0x7F])
        .filter(|b| !b"\t\r\n".contains(b))
    {
        assert_eq!(
            smuggled(&format!("X: a{}b", char::from(byte))),
            Smuggling::ControlByte,
            "{byte:#x}"
        );
    }
}

#[test]
fn h02_empty_lines_before_the_request_are_refused() {
    for count in 1..4 {
        let text = format!("{}GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n".repeat(count));
        assert_eq!(refused(&text).smuggling(), Some(Smuggling::LeadingCrlf));
    }
}

#[test]
fn h02_a_field_needs_a_name_of_token_characters() {
    assert_eq!(smuggled(": a"), Smuggling::EmptyName);
    assert_eq!(smuggled(":"), Smuggling::EmptyName);
    for line in [
        "no colon",
        "X(Y): a",
        "X@: a",
        "\"X\": a",
        "Größe: a",
        "X{}: a",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
        let why = refused(&text);
        assert_eq!((why.problem(), why.line()), (Problem::Field, 3), "{line}");
    }
}

#[test]
fn h02_underscores_in_names_are_a_setting() {
    let text =
        "GET / HTTP/1.1\r\nHost: h\r\nsap_x: 1\r\nSAP-Connectivity-SCC-Location_ID: l\r\n\r\n";
    assert_eq!(parse(text).field(text.as_bytes(), "SAP_X"), Some(&b"1"[..]));
    let strict = Limits {
        underscore_names: false,
        ..Limits::default()
    };
    let why = RequestHead::parse(text.as_bytes(), &strict).unwrap_err();
    assert_eq!(
        (why.smuggling(), why.line()),
        (Some(Smuggling::Underscore), 3)
    );
    let consumed = text.replace("sap_x: 1\r\n", "");
    assert!(
        RequestHead::parse(consumed.as_bytes(), &strict).is_ok(),
        "the location's own name may have one"
    );
}

#[test]
fn h02_the_line_of_the_fault_is_told() {
    let why = refused("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC : d\r\n\r\n");
    assert_eq!(why.line(), 4);
    assert_eq!(
        format!("{why}"),
        "request head, line 4: there is whitespace between a field name and its colon; remove it"
    );
}

// ---- H-04: versions and bodies

#[test]
fn h04_http10_with_transfer_encoding_is_refused() {
    let why = refused("POST http://h/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(why.smuggling(), Some(Smuggling::TeHttp10));
}

#[test]
fn h04_get_and_head_may_have_a_body_and_its_length_is_told() {
    for method in ["GET", "HEAD", "DELETE"] {
        let head = parse(&format!(
            "{method} http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        ));
        assert_eq!(head.framing, Framing::Length(3));
    }
}

#[test]
fn an_http10_client_needs_no_host_and_stays_http10_so_that_nobody_sends_it_chunks() {
    let text = "GET http://ERP.virtual:80/a HTTP/1.0\r\nUser-Agent: ApacheBench/2.3\r\n\r\n";
    let head = parse(text);
    assert_eq!((head.version, head.keep_alive), (Version::Http10, false));
    assert_eq!(
        for_agent(text),
        "GET /a HTTP/1.0\r\nhost: erp.virtual\r\nUser-Agent: ApacheBench/2.3\r\n\r\n"
    );
    assert!(
        for_backend(text, &HostHeader::Virtual).ends_with("\r\nconnection: keep-alive\r\n\r\n")
    );
}

#[test]
fn an_http10_request_without_any_host_is_refused() {
    assert_eq!(
        refused_with("GET / HTTP/1.0\r\n\r\n"),
        Refusal::HostMalformed
    );
}

#[test]
fn connections_persist_as_their_version_says() {
    for (version, field, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Keep-Alive\r\n", true),
        ("1.1", "Connection: keep-alive, Close\r\n", false),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", false),
        ("1.1", "Proxy-Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n"));
        assert_eq!(head.keep_alive, kept, "{version} {field}");
    }
}

#[test]
fn other_versions_are_refused() {
    for version in [
        "HTTP/2.0",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1",
        "http/1.1",
        "HTTP/1.1 ",
        "HTTP/1.10",
        "HTTPS/1.1",
        "",
    ] {
        let text = format!("GET / {version}\r\nHost: h\r\n\r\n");
        assert_eq!(
            refused_with(&text),
            Refusal::RequestMalformed,
            "{version:?}"
        );
    }
    assert_eq!(
        refused_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Refusal::RequestMalformed
    );
    assert_eq!(refused_with("GET /\r\n\r\n"), Refusal::RequestMalformed);
}

// ---- H-05 and H-06: upgrades and expectations

#[test]
fn h05_a_websocket_upgrade_is_passed_on_with_exactly_its_two_fields() {
    let text = "GET http://erp.virtual:44300/base/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Key: k\r\nHost: erp.virtual:44300\r\n\r\n";
    assert!(parse(text).upgrade);
    assert_eq!(
        for_agent(text),
        "GET /base/ws HTTP/1.1\r\nhost: erp.virtual:44300\r\nSec-WebSocket-Key: k\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\n\r\n"
    );
}

#[test]
fn h05_an_upgrade_that_is_none_is_an_ordinary_request() {
    for fields in [
        "Upgrade: websocket",
        "Connection: upgrade",
        "Connection: upgrade\r\nUpgrade: websocket, foo",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo",
        "Connection: upgrade\r\nUpgrade:",
        "Connection: upgrade\r\nUpgrade: web socket",
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        assert!(!parse(&text).upgrade, "{fields}");
        assert!(
            !for_agent(&text).to_ascii_lowercase().contains("upgrade"),
            "{fields}"
        );
    }
    assert!(
        !parse("GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .upgrade
    );
}

#[test]
fn h05_an_upgrade_to_http2_would_carry_requests_past_the_rules_and_ends_here() {
    for protocol in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.0"] {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        assert!(!parse(&text).upgrade, "{protocol}");
        assert_eq!(for_agent(&text), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    }
}

#[test]
fn h05_a_second_request_behind_an_upgrade_is_a_request_of_its_own() {
    let first = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    let second = "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n";
    let both = format!("{first}{second}");
    let head = parse(&both);
    assert_eq!(head.head_bytes, first.len());
    assert!(head.upgrade);
    let rest = &both[head.head_bytes..];
    assert_eq!(parse(rest).path(rest.as_bytes()), b"/admin");
}

#[test]
fn h06_an_expectation_is_100_continue_or_refused() {
    let text = |value: &str| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: {value}\r\n\r\n")
    };
    assert!(parse(&text("100-continue")).expects_continue);
    assert!(parse(&text("100-Continue")).expects_continue);
    for other in [
        "y 100-continue",
        "100-continue, 100-continue",
        "100-continues",
        "",
        "200-ok",
        "100-continue;q=1",
    ] {
        assert_eq!(
            refused_with(text(other)),
            Refusal::ExpectationUnsupported,
            "{other}"
        );
    }
    let twice = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(refused(twice).problem(), Problem::Duplicate("expect"));
}

#[test]
fn h06_nobody_waits_without_a_body_or_in_http10() {
    for text in [
        "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    ] {
        assert!(!parse(text).expects_continue);
        assert!(!for_agent(text).contains("Expect"), "{text}");
    }
    let waits = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert!(for_agent(waits).contains("Expect: 100-continue\r\n"));
}
