//! Stories about request heads: one conversation each, expectations from RFC 9110, RFC 9112 and SAP's contract.

use std::borrow::ToOwned;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::Refusal;
use crate::http::AuthorityError;
use crate::limits::CONNECTION_OPTIONS_MAX;

mod smuggling;
mod targets;

fn parse(text: &str) -> RequestHead {
    match RequestHead::parse(text.as_bytes(), &Limits::default()) {
        Ok(Some(head)) => head,
        other => panic!("{text:?} read as {other:?}"),
    }
}

fn refused(text: impl AsRef<[u8]>) -> HeadError {
    let text = text.as_ref();
    match RequestHead::parse(text, &Limits::default()) {
        Err(why) => why,
        Ok(read) => panic!("{} was read as {read:?}", text.escape_ascii()),
    }
}

fn refused_with(text: impl AsRef<[u8]>) -> Refusal {
    refused(text).refusal()
}

fn smuggled(fields: &str) -> Smuggling {
    let text = format!("POST http://h/ HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    let why = refused(&text);
    why.smuggling().unwrap_or_else(|| panic!("{text:?}: {why}"))
}

fn for_agent(text: &str) -> String {
    let mut out = Vec::new();
    parse(text).write_for_agent(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn for_backend(text: &str, host: &HostHeader<'_>) -> String {
    let mut out = Vec::new();
    parse(text).write_for_backend(text.as_bytes(), host, &mut out);
    String::from_utf8(out).unwrap()
}

// ---- what is consumed, and what ends here

#[test]
fn connection_options_strike_out_the_fields_they_name() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Hop, keep-alive\r\nx-hop: 1\r\nX-Hop: 2\r\nX-End: 3\r\n\
                Keep-Alive: timeout=5\r\n\r\n";
    assert_eq!(
        for_agent(text),
        "GET / HTTP/1.1\r\nhost: h\r\nX-End: 3\r\n\r\n"
    );
}

#[test]
fn h01_connection_may_not_strike_out_framing_or_routing() {
    for name in ["Host", "Content-Length", "transfer-encoding", "Expect"] {
        assert_eq!(
            smuggled(&format!("Connection: close, {name}")),
            Smuggling::ConnectionNames
        );
    }
}

#[test]
fn as_many_connection_options_as_allowed_pass_and_one_more_does_not() {
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: {}\r\n\r\n",
            "a,".repeat(count)
        )
    };
    parse(&with(CONNECTION_OPTIONS_MAX));
    assert_eq!(
        refused(with(CONNECTION_OPTIONS_MAX + 1)).problem(),
        Problem::Connection
    );
}

#[test]
fn only_methods_that_may_come_twice_are_idempotent() {
    let idempotent = |method: &str| {
        let text = format!("{method} http://h/ HTTP/1.1\r\nHost: h\r\n\r\n");
        parse(&text).is_idempotent(text.as_bytes())
    };
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert!(idempotent(method), "{method}");
    }
    for method in ["POST", "PATCH", "get", "MERGE"] {
        assert!(!idempotent(method), "{method}");
    }
}

#[test]
fn only_trailers_remain_of_te() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\nTE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(
        for_agent(text),
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: te\r\nte: trailers\r\n\r\n"
    );
    let text = "GET / HTTP/1.1\r\nHost: h\r\nTE: gzip\r\nConnection: TE\r\n\r\n";
    assert_eq!(for_agent(text), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn trailers_are_nothing_to_an_http10_client() {
    let text = "GET / HTTP/1.0\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    assert_eq!(for_agent(text), "GET / HTTP/1.0\r\nhost: h\r\n\r\n");
}

#[test]
fn what_the_gateway_consumes_goes_no_further_and_authorization_does() {
    let text = "GET http://h/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Bearer t\r\nProxy-Connection: keep-alive\r\n\
                Proxy: http://evil\r\nProxy-Foo: 1\r\nSAP-Connectivity-SCC-Location_ID: loc-1\r\n\
                SAP-Connectivity-Authentication: Bearer user.jwt\r\n\
                SAP-Connectivity-Technical-Authentication: Bearer tech.jwt\r\n\
                SAP-Connectivity-ConsumerAccount: acc\r\nSAP-CP-Connectivity-Service-Token: raw.jwt\r\n\
                SAP-Connectivity-Region-Configuration-Id: eu10\r\nsap-connectivity-anything: x\r\n\
                SAP_Connectivity_Authentication: x\r\nAuthorization: Basic dTpw\r\nsap-client: 100\r\n\r\n";
    let (head, buf) = (parse(text), text.as_bytes());
    assert_eq!(head.location(buf), Some("loc-1"));
    assert_eq!(head.principal(buf), Some("user.jwt"));
    assert_eq!(head.technical_principal(buf), Some("tech.jwt"));
    assert_eq!(head.consumer_account(buf), Some("acc"));
    assert_eq!(head.proxy_authorization(buf), Some(&b"Bearer t"[..]));
    assert_eq!(
        for_agent(text),
        "GET / HTTP/1.1\r\nhost: h\r\nAuthorization: Basic dTpw\r\nsap-client: 100\r\n\r\n"
    );
}

#[test]
fn s02_nobody_may_hand_the_backend_a_client_certificate_in_a_field() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\nSSL_CLIENT_CERT: MIIB\r\nssl-client-cert: MIIB\r\n\
                SSL_CLIENT_CERT_CHAIN_1: MIIB\r\n\r\n";
    assert_eq!(for_agent(text), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn an_empty_location_is_the_default_one() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\nSAP-Connectivity-SCC-Location_ID:\r\n\r\n";
    assert_eq!(parse(text).location(text.as_bytes()), None);
}

#[test]
fn a_malformed_location_or_principal_is_refused() {
    let with = |field: &str| refused_with(format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n"));
    assert_eq!(
        with("SAP-Connectivity-SCC-Location_ID: a b"),
        Refusal::LocationMalformed
    );
    assert_eq!(
        with("SAP-Connectivity-SCC-Location_ID: ä"),
        Refusal::LocationMalformed
    );
    for value in ["jwt", "Basic dTpw", "Bearer", "Bearer ", "Bearer a b"] {
        assert_eq!(
            with(&format!("SAP-Connectivity-Authentication: {value}")),
            Refusal::RequestMalformed,
            "{value}"
        );
    }
}

#[test]
fn a_field_with_one_meaning_may_not_come_twice() {
    for (name, value) in [
        ("Proxy-Authorization", "Bearer t"),
        ("SAP-Connectivity-SCC-Location_ID", "l"),
        ("SAP-Connectivity-Authentication", "Bearer t"),
        ("SAP-Connectivity-Technical-Authentication", "Bearer t"),
        ("SAP-Connectivity-ConsumerAccount", "a"),
        ("SAP-CP-Connectivity-Service-Token", "t"),
    ] {
        let lower = name.to_ascii_lowercase();
        let why = refused(format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\n{lower}: {value}\r\n\r\n"
        ));
        assert!(
            matches!(why.problem(), Problem::Duplicate(told) if told == lower),
            "{why}"
        );
        assert_eq!((why.refusal().http_status(), why.line()), (400, 4));
    }
}

#[test]
fn values_keep_their_bytes_and_lose_the_blanks_around_them() {
    let text = b"GET / HTTP/1.1\r\nHost: h\r\nX: \t a\tb  c\xe4 \t\r\nY:\r\nZ:  \r\n\r\n";
    let head = RequestHead::parse(text, &Limits::default())
        .unwrap()
        .unwrap();
    assert_eq!(head.field(text, "x"), Some(&b"a\tb  c\xe4"[..]));
    assert_eq!(head.field(text, "Y"), Some(&b""[..]));
    assert_eq!(head.field(text, "none"), None);
    let all: Vec<_> = head.fields(text).map(|(name, _)| name).collect();
    assert_eq!(all, ["Host", "X", "Y", "Z"]);
    let mut out = Vec::new();
    head.write_for_agent(text, &mut out);
    assert_eq!(
        out,
        b"GET / HTTP/1.1\r\nhost: h\r\nX: a\tb  c\xe4\r\nY: \r\nZ: \r\n\r\n"
    );
}

#[test]
fn the_framing_is_written_anew() {
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n";
    assert_eq!(
        for_agent(chunked),
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let length = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n";
    assert_eq!(
        for_agent(length),
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 7\r\n\r\n"
    );
    let none = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(for_agent(none), "POST / HTTP/1.1\r\nhost: h\r\n\r\n");
}

#[test]
fn a_head_that_is_not_whole_wants_more_at_every_cut() {
    let text = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let head = parse(text);
    assert_eq!(&text[head.head_bytes..], "abc");
    for cut in 0..head.head_bytes {
        assert_eq!(
            RequestHead::parse(&text.as_bytes()[..cut], &Limits::default()),
            Ok(None),
            "{cut}"
        );
    }
}

#[test]
fn accessors_given_another_buffer_answer_with_nothing_rather_than_panic() {
    let text = "GET http://erp.virtual/a?b HTTP/1.1\r\nHost: erp.virtual\r\nX: y\r\n\r\n";
    let head = parse(text);
    let mut out = Vec::new();
    for other in [&b""[..], b"abc", &[0xFF; 40]] {
        let _ = (
            head.method(other),
            head.authority(other),
            head.path(other),
            head.path_and_query(other),
        );
        let _ = (
            head.field(other, "x"),
            head.fields(other).count(),
            head.principal(other),
        );
        head.write_for_agent(other, &mut out);
    }
}
