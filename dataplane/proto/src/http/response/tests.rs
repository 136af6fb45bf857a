//! Stories about response heads: what a backend says, and what the caller hears.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::Refusal;
use crate::http::{Internal, Smuggling};

const REWRITE: Rewrite<'static> = Rewrite {
    internal: Internal {
        https: false,
        host: "10.1.2.3",
        port: 8000,
    },
    virtual_host: "erp.virtual",
    virtual_port: 80,
};

fn parse_for(text: &str, bodiless: bool) -> ResponseHead {
    match ResponseHead::parse(text.as_bytes(), bodiless, &Limits::RESPONSES) {
        Ok(Some(head)) => head,
        other => panic!("{text:?} read as {other:?}"),
    }
}

fn parse(text: &str) -> ResponseHead {
    parse_for(text, false)
}

fn refused(text: impl AsRef<[u8]>) -> HeadError {
    let text = text.as_ref();
    match ResponseHead::parse(text, false, &Limits::RESPONSES) {
        Err(why) => {
            assert_eq!(why.refusal(), Refusal::BackendMalformed);
            why
        }
        Ok(read) => panic!("{} was read as {read:?}", text.escape_ascii()),
    }
}

fn for_gateway(text: &str) -> String {
    let mut out = Vec::new();
    parse(text).write_for_gateway(text.as_bytes(), &REWRITE, &mut out);
    String::from_utf8(out).unwrap()
}

fn for_client(text: &str, keep_alive: bool) -> (String, bool) {
    let mut out = Vec::new();
    let kept = parse(text).write_for_client(text.as_bytes(), keep_alive, &mut out);
    (String::from_utf8(out).unwrap(), kept)
}

#[test]
fn h04_the_body_ends_as_its_framing_and_the_request_say() {
    for (text, bodiless, framing) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::Length(5),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Framing::Chunked,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", false, Framing::UntilClose),
        ("HTTP/1.1 500 Oh\r\n\r\n", false, Framing::UntilClose),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            true,
            Framing::None,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            true,
            Framing::None,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", true, Framing::None),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::None,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::None,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Framing::None,
        ),
        (
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
            false,
            Framing::None,
        ),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", false, Framing::None),
        (
            "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n",
            false,
            Framing::Length(0),
        ),
    ] {
        assert_eq!(
            parse_for(text, bodiless).framing,
            framing,
            "{text:?} bodiless: {bodiless}"
        );
    }
}

#[test]
fn h04_an_answer_without_body_says_how_long_it_would_have_been_where_rfc9110_lets_it() {
    let written = |text: &str| {
        let mut out = Vec::new();
        parse_for(text, true).write_for_gateway(text.as_bytes(), &REWRITE, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert!(
        written("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").contains("content-length: 5\r\n")
    );
    assert!(
        written("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n").contains("content-length: 5\r\n")
    );
    assert!(!written("HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n").contains("content-length"));
    assert!(!written("HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n").contains("content-length"));
    assert!(
        !written("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .contains("transfer-encoding")
    );
}

#[test]
fn h01_a_response_that_frames_its_body_in_two_ways_is_refused() {
    for (fields, class) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Smuggling::ClTe,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Smuggling::TeCl,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            Smuggling::ClDuplicate,
        ),
        ("Content-Length: 5, 5", Smuggling::ClList),
        ("Transfer-Encoding: gzip, chunked", Smuggling::TeList),
        ("Transfer-Encoding: identity", Smuggling::TeUnknown),
    ] {
        assert_eq!(
            refused(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).smuggling(),
            Some(class),
            "{fields}"
        );
        assert_eq!(
            refused(format!("HTTP/1.1 304 N\r\n{fields}\r\n\r\n")).smuggling(),
            Some(class),
            "{fields}"
        );
    }
    let http10 = refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(http10.smuggling(), Some(Smuggling::TeHttp10));
}

#[test]
fn h02_a_response_with_foreign_line_ends_or_bytes_is_refused() {
    for (text, class) in [
        ("HTTP/1.1 200 OK\nX: y\n\n", Smuggling::BareLf),
        ("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", Smuggling::BareCr),
        ("HTTP/1.1 200 O\rK\r\n\r\n", Smuggling::BareCr),
        ("HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", Smuggling::Nul),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Smuggling::Nul),
        ("HTTP/1.1 200 O\x07K\r\n\r\n", Smuggling::ControlByte),
        (
            "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
            Smuggling::SpaceBeforeColon,
        ),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Smuggling::ObsFold),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Smuggling::LeadingCrlf),
    ] {
        assert_eq!(refused(text).smuggling(), Some(class), "{text:?}");
    }
}

#[test]
fn what_is_no_status_line_is_refused() {
    for line in [
        "HTTP/2 200 OK",
        "HTTP/1.1 99 X",
        "HTTP/1.1 20 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 999 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 200OK",
        "200 OK",
        "GET / HTTP/1.1",
        "HTTP/1.1",
        "ICY 200 OK",
        "HTTP/1.1 -20 X",
        "HTTP/1.1 +20 X",
    ] {
        assert_eq!(refused(format!("{line}\r\n\r\n")).line(), 1, "{line}");
    }
}

#[test]
fn a_missing_reason_is_forgiven_and_any_other_is_kept() {
    for (line, written) in [
        ("HTTP/1.1 200", "HTTP/1.1 200 \r\n"),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 \r\n"),
        (
            "HTTP/1.0 404 Nicht da: wirklich",
            "HTTP/1.1 404 Nicht da: wirklich\r\n",
        ),
        (
            "HTTP/1.1 200 Gr\u{f6}\u{df}e",
            "HTTP/1.1 200 Gr\u{f6}\u{df}e\r\n",
        ),
    ] {
        assert!(
            for_gateway(&format!("{line}\r\n\r\n")).starts_with(written),
            "{line}"
        );
    }
}

#[test]
fn h04_interim_responses_announce_another_head() {
    for status in [100, 102, 103, 199] {
        assert!(
            parse(&format!("HTTP/1.1 {status} X\r\n\r\n")).is_interim(),
            "{status}"
        );
    }
    for status in [101, 200, 204, 304, 599] {
        assert!(
            !parse(&format!("HTTP/1.1 {status} X\r\n\r\n")).is_interim(),
            "{status}"
        );
    }
    assert_eq!(
        for_client("HTTP/1.1 100 Continue\r\n\r\n", true).0,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert_eq!(
        for_client("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false).0,
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    );
}

#[test]
fn h05_protocols_are_switched_only_when_asked_and_to_a_named_one() {
    let good = parse("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(good.upgrade && !good.keep_alive);
    assert_eq!(good.check_upgrade(true), Ok(()));
    assert_eq!(
        good.check_upgrade(false).unwrap_err().problem(),
        Problem::Upgrade
    );
    for fields in [
        "",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
    ] {
        let bad = parse(&format!("HTTP/1.1 101 S\r\n{fields}\r\n"));
        assert!(!bad.upgrade && bad.check_upgrade(true).is_err(), "{fields}");
    }
    let plain = parse(
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(!plain.upgrade);
    assert_eq!(plain.check_upgrade(true), Ok(()));
}

#[test]
fn h05_a_switch_of_protocols_is_written_with_its_two_fields() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: a\r\n\r\n";
    let written = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\n\r\n";
    assert_eq!(for_gateway(text), written);
    assert_eq!(for_client(text, true), (written.into(), false));
}

#[test]
fn connections_persist_as_version_and_framing_say() {
    for (text, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 204 No\r\n\r\n", true),
    ] {
        assert_eq!(parse(text).keep_alive, kept, "{text:?}");
    }
}

#[test]
fn the_client_hears_whether_its_connection_is_kept() {
    let counted = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\r\n";
    assert_eq!(
        for_client(counted, true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n".into(),
            true
        )
    );
    assert_eq!(
        for_client(counted, false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n".into(),
            false
        )
    );
    assert_eq!(
        for_client("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".into(), false)
    );
}

#[test]
fn hop_by_hop_and_proxy_fields_of_a_response_end_here_and_only_adit_says_adit_refusal() {
    let text = "HTTP/1.1 407 P\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nProxy-Authenticate: Basic\r\n\
                Proxy-Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\
                Upgrade: h2c\r\nAdit-Refusal: no-agent; id=0\r\nServer: s\r\n\r\n";
    assert_eq!(
        for_gateway(text),
        "HTTP/1.1 407 P\r\nTrailer: grpc-status\r\nServer: s\r\ntransfer-encoding: chunked\r\n\r\n"
    );
}

#[test]
fn a_backends_own_names_are_told_in_the_callers_names_on_the_agents_side_only() {
    let text = "HTTP/1.1 302 F\r\nLocation: http://10.1.2.3:8000/a\r\nSet-Cookie: a=b; Domain=10.1.2.3\r\n\
                Set-Cookie: c=d\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        for_gateway(text),
        "HTTP/1.1 302 F\r\nLocation: http://erp.virtual/a\r\nSet-Cookie: a=b; Domain=erp.virtual\r\n\
         Set-Cookie: c=d\r\ncontent-length: 0\r\n\r\n"
    );
    assert!(
        for_client(text, true)
            .0
            .contains("Location: http://10.1.2.3:8000/a\r\n")
    );
}

#[test]
fn a_response_line_may_be_longer_than_a_request_line() {
    let with = |length: usize| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(length - 3));
    parse(&with(Limits::RESPONSES.line_bytes));
    assert_eq!(
        refused(with(Limits::RESPONSES.line_bytes + 1)).problem(),
        Problem::LineTooLarge
    );
}

#[test]
fn a_head_that_is_not_whole_wants_more_at_every_cut() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let head = parse(text);
    assert_eq!(&text[head.head_bytes..], "abc");
    for cut in 0..head.head_bytes {
        assert_eq!(
            ResponseHead::parse(&text.as_bytes()[..cut], false, &Limits::RESPONSES),
            Ok(None),
            "{cut}"
        );
    }
}
