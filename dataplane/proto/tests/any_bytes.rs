//! Properties of every reader of this room: nothing panics, and how the bytes were cut on the road changes nothing.
//!
//! What the bytes mean is told in the unit tests; here they are arbitrary, or good ones with arbitrary damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use adit_proto::connect::{Protocol, Request, RequestId, Response};
use adit_proto::hello::{Answer, Hello, Rejected, Welcome};
use adit_proto::http::{
    Advance, Authority, Body, BodyError, Framing, HeadError, HostHeader, Internal, Limits,
    ProxyCredentials, RequestHead, ResponseHead, Rewrite, Version,
};
use adit_proto::socks5::{Negotiation, SocksError, Step};
use adit_proto::{DecodeError, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

// ---- generators

/// Bytes that look like HTTP often enough to get deep into the readers.
fn http_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(&[
            "GET ", "POST ", "CONNECT ", "OPTIONS ", "http://erp.virtual:80/a", "http://h?x", "/a/../b?c", "*", "h:1",
            " HTTP/1.1\r\n", " HTTP/1.0\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 S\r\n", "Host: h\r\n",
            "host: erp.virtual\r\n", "Content-Length: 5\r\n", "Content-Length:5 \r\n", "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding:\tchunked\r\n", "Connection: close, x-y\r\n", "Connection: upgrade\r\n",
            "Upgrade: websocket\r\n", "Expect: 100-continue\r\n", "X-Y: z\r\n", "TE: trailers\r\n", " fold\r\n", "\r\n",
            "\r\n\r\n", "\n", "\r", ":", " ", "\t", "\0", "Location: http://10.1.2.3/x\r\n", "5\r\nabcde\r\n",
            "0\r\n\r\n", "a;x=y\r\n", "SAP-Connectivity-SCC-Location_ID: l\r\n", "Proxy-Authorization: Bearer t\r\n",
            "Set-Cookie: a=b; Domain=10.1.2.3\r\n", "SAP-Connectivity-Authentication: Bearer t\r\n",
        ][..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A request head with everything in order, and its parts.
#[derive(Debug, Clone)]
struct Good {
    text: Vec<u8>,
    method: String,
    path_and_query: String,
    host: String,
    port: u16,
    framing: Framing,
}

fn good_request() -> impl Strategy<Value = Good> {
    let method = select(
        &[
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "M-SEARCH",
        ][..],
    );
    let path = "/[!-\"$->@-~]{0,30}";
    let query = proptest::option::of("[!-\"$-~]{0,20}");
    let host = "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,10}(\\.[a-zA-Z0-9_-]{1,8}){0,2})";
    let framing = prop_oneof![
        Just(Framing::None),
        (0..10_000_000_u64).prop_map(Framing::Length),
        Just(Framing::Chunked),
    ];
    let fields = vec(("x-[a-zA-Z0-9-]{1,12}", "[ -~]{0,30}"), 0..12);
    (
        method,
        path,
        query,
        host,
        proptest::option::of(1..=u16::MAX),
        framing,
        fields,
        any::<bool>(),
    )
        .prop_map(
            |(method, path, query, host, port, framing, fields, absolute)| {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                let path_and_query = format!("{path}{query}");
                let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
                let target = if absolute {
                    format!("http://{authority}{path_and_query}")
                } else {
                    path_and_query.clone()
                };
                let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n");
                for (name, value) in fields {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                match framing {
                    Framing::Length(length) => {
                        text.push_str(&format!("Content-Length: {length}\r\n"))
                    }
                    Framing::Chunked => text.push_str("transfer-encoding: Chunked\r\n"),
                    Framing::None | Framing::UntilClose => {}
                }
                text.push_str("\r\n");
                let port = port.unwrap_or(80);
                Good {
                    text: text.into_bytes(),
                    method: method.into(),
                    path_and_query,
                    host,
                    port,
                    framing,
                }
            },
        )
}

/// Good bytes with one of them changed, put in or taken out.
fn damaged(good: Vec<u8>, at: Index, byte: u8, how: u8) -> Vec<u8> {
    let mut text = good;
    let at = at.index(text.len());
    match how % 3 {
        0 => text[at] = byte,
        1 => text.insert(at, byte),
        _ => {
            text.remove(at);
        }
    }
    text
}

/// The pieces of `bytes` when cut at these places.
fn pieces<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut start = 0;
    let mut found = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        found.push(&bytes[start..place]);
        start = place;
    }
    found
}

// ---- what "the same result" means: a reader that is asked again with each piece that arrives

fn first_answer<T>(bytes: &[u8], cuts: &[Index], read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut seen = 0;
    for piece in pieces(bytes, cuts) {
        seen += piece.len();
        if let Some(answer) = read(&bytes[..seen]) {
            return Some(answer);
        }
    }
    None
}

fn request(bytes: &[u8]) -> Option<Result<RequestHead, HeadError>> {
    RequestHead::parse(bytes, &Limits::default()).transpose()
}

fn response(bytes: &[u8]) -> Option<Result<ResponseHead, HeadError>> {
    ResponseHead::parse(bytes, false, &Limits::RESPONSES).transpose()
}

fn body(
    bytes: &[u8],
    cuts: &[Index],
    framing: Framing,
) -> (Result<(usize, bool), BodyError>, Option<BodyError>) {
    let mut body = Body::new(framing, &Limits::default());
    let mut taken = 0;
    for piece in pieces(bytes, cuts) {
        match body.advance(piece) {
            Ok(Advance { taken: more, .. }) => {
                assert!(more <= piece.len());
                assert!(
                    more == piece.len() || body.is_complete(),
                    "only a complete body leaves bytes"
                );
                taken += more;
            }
            Err(why) => return (Err(why), None),
        }
    }
    let complete = body.is_complete();
    (Ok((taken, complete)), body.on_close().err())
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Socks {
    steps: Vec<Step>,
    sent: Vec<u8>,
    refused: Option<SocksError>,
    left: Vec<u8>,
}

fn socks(bytes: &[u8], cuts: &[Index]) -> Socks {
    let mut negotiation = Negotiation::new();
    let mut told = Socks::default();
    for piece in pieces(bytes, cuts) {
        told.left.extend_from_slice(piece);
        loop {
            match negotiation.advance(&told.left, &mut told.sent) {
                Err(why) => {
                    // What arrived behind the fault depends on the cut and is never looked at.
                    told.refused = Some(why);
                    told.left.clear();
                    return told;
                }
                Ok((consumed, step)) => {
                    told.left.drain(..consumed);
                    match &step {
                        Step::More => break,
                        Step::Authenticate(_) => negotiation.authenticated(true, &mut told.sent),
                        Step::Connect { .. } => negotiation.reply(0, &mut told.sent),
                    }
                    told.steps.push(step);
                }
            }
        }
    }
    told
}

fn socks_like() -> impl Strategy<Value = Vec<u8>> {
    const MESSAGES: &[&[u8]] = &[
        b"\x05\x01\x80",
        b"\x05\x02\x00\x80",
        b"\x05\x01\x02",
        b"\x01\x00\x00\x00\x05token\x00",
        b"\x01\x00\x00\x00\x05token\x08bG9jLTE=",
        b"\x01\x05loc-1\x05token",
        b"\x05\x01\x00\x03\x03erp\x00\x50",
        b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
        b"\x05\x01\x00\x04",
        b"\x05\x02\x00",
        b"GET",
    ];
    let piece = prop_oneof![
        select(MESSAGES).prop_map(<[u8]>::to_vec),
        vec(any::<u8>(), 0..4)
    ];
    let any_order = vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let good_order = (select(&[0, 2][..]), any::<bool>(), vec(any::<u8>(), 0..6)).prop_map(
        |(way, name, tail)| {
            let (greeting, token) = if way == 0 {
                (MESSAGES[0], MESSAGES[4])
            } else {
                (MESSAGES[2], MESSAGES[5])
            };
            [greeting, token, MESSAGES[if name { 6 } else { 7 }], &tail].concat()
        },
    );
    prop_oneof![any_order, good_order]
}

// ---- hello and connect

fn location() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._~@:-]{0,189}"
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        any::<u16>(),
        any::<u64>(),
        location(),
        any::<[u8; 16]>(),
        "[ -~ä-ü]{0,100}",
    )
        .prop_map(|(version, features, location, instance, software)| Hello {
            version,
            features,
            location,
            instance,
            software,
        })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (any::<u16>(), any::<u64>(), "[ -~]{0,200}", 0..u16::MAX).prop_flat_map(
            |(version, features, gateway, shard)| {
                (shard + 1..=u16::MAX).prop_map(move |shards| {
                    Answer::Welcome(Welcome {
                        version,
                        features,
                        gateway: gateway.clone(),
                        shard,
                        shards,
                    })
                })
            }
        ),
        (select(Refusal::ALL), "[ -~ä-ü]{0,200}")
            .prop_map(|(refusal, message)| Answer::Rejected(Rejected { refusal, message })),
    ]
}

#[derive(Debug, Clone)]
struct Connect {
    protocol: Protocol,
    host: String,
    port: u16,
    subaccount: String,
    caller: String,
    principal: Option<String>,
    id: [u8; 16],
}

impl Connect {
    fn as_request(&self) -> Request<'_> {
        Request {
            protocol: self.protocol,
            host: &self.host,
            port: self.port,
            subaccount: &self.subaccount,
            caller: &self.caller,
            principal: self.principal.as_deref(),
            id: RequestId(self.id),
        }
    }
}

fn connect() -> impl Strategy<Value = Connect> {
    (
        select(&[Protocol::Http, Protocol::Tcp][..]),
        "[a-z0-9_]([a-z0-9_-]{0,20}(\\.[a-z0-9_-]{1,20}){0,3})",
        1..=u16::MAX,
        "[!-~]{1,128}",
        "[ -~ä-ü]{0,200}",
        proptest::option::of("[!-~]{0,3000}"),
        any::<[u8; 16]>(),
    )
        .prop_map(
            |(protocol, host, port, subaccount, caller, principal, id)| Connect {
                protocol,
                host,
                port,
                subaccount,
                caller,
                principal,
                id,
            },
        )
}

fn connect_response() -> impl Strategy<Value = Response> {
    prop_oneof![
        Just(Response::Accepted),
        (select(Refusal::ALL), "[ -~ä-ü]{0,250}")
            .prop_map(|(refusal, detail)| Response::Refused { refusal, detail }),
    ]
}

type Decoded<T> = Option<Result<(T, usize), DecodeError>>;

/// Whole: the value and its size. Any beginning: more is wanted.
fn reads_back<T: PartialEq + std::fmt::Debug>(
    value: &T,
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Decoded<T>,
) {
    let followed = [bytes, b"next"].concat();
    assert_eq!(
        decode(&followed).unwrap().unwrap(),
        (decode(bytes).unwrap().unwrap().0, bytes.len())
    );
    assert_eq!(&decode(bytes).unwrap().unwrap().0, value);
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_none(), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn h02_a_head_reads_the_same_however_it_was_cut(bytes in http_like(), cuts in vec(any::<Index>(), 0..6)) {
        prop_assert_eq!(first_answer(&bytes, &cuts, request), request(&bytes));
        prop_assert_eq!(first_answer(&bytes, &cuts, response), response(&bytes));
    }

    #[test]
    fn a_damaged_head_reads_the_same_however_it_was_cut(
        good in good_request(), at in any::<Index>(), byte in any::<u8>(), how in any::<u8>(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let bytes = damaged(good.text, at, byte, how);
        prop_assert_eq!(first_answer(&bytes, &cuts, request), request(&bytes));
    }

    #[test]
    fn h03_a_body_reads_the_same_however_it_was_cut(
        bytes in prop_oneof![http_like(), "([0-3](;[a-z]{0,3})?\r\n[a-z]{0,3}\r\n){0,6}0\r\n(x: y\r\n)?\r\nNEXT".prop_map(String::into_bytes)],
        cuts in vec(any::<Index>(), 0..8),
        length in 0..40_u64,
    ) {
        for framing in [Framing::None, Framing::Length(length), Framing::Chunked, Framing::UntilClose] {
            prop_assert_eq!(body(&bytes, &cuts, framing), body(&bytes, &[], framing));
        }
    }

    #[test]
    fn h03_a_well_formed_chunked_body_is_followed_to_its_last_byte(
        chunks in vec((vec(any::<u8>(), 1..40), "(;[a-z]{1,3}(=[a-z]{1,3})?)?", any::<bool>()), 0..12),
        trailers in vec(("x-[a-z]{1,10}", "[ -~]{0,20}"), 0..3),
        next in vec(any::<u8>(), 0..20),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        let mut content = 0;
        for (data, extension, upper) in &chunks {
            let size = if *upper { format!("{:X}", data.len()) } else { format!("{:04x}", data.len()) };
            bytes.extend(format!("{size}{extension}\r\n").into_bytes());
            bytes.extend(data);
            bytes.extend(b"\r\n");
            content += u64::try_from(data.len()).unwrap();
        }
        bytes.extend(b"0\r\n");
        for (name, value) in &trailers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        bytes.extend(b"\r\n");
        let size = bytes.len();
        bytes.extend(next);
        prop_assert_eq!(body(&bytes, &cuts, Framing::Chunked), (Ok((size, true)), None));
        let mut reader = Body::new(Framing::Chunked, &Limits::default());
        reader.advance(&bytes).unwrap();
        prop_assert_eq!(reader.content_bytes(), content);
    }

    #[test]
    fn s11_socks5_reads_the_same_however_it_was_cut(bytes in socks_like(), cuts in vec(any::<Index>(), 0..6)) {
        prop_assert_eq!(socks(&bytes, &cuts), socks(&bytes, &[]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop_oneof![http_like(), socks_like(), vec(any::<u8>(), 0..600)]) {
        let mut out = Vec::new();
        if let Some(Ok(head)) = request(&bytes) {
            head.write_for_agent(&bytes, &mut out);
            let _ = (head.path_and_query(&bytes), head.principal(&bytes), head.location(&bytes));
        }
        if let Some(Ok(head)) = response(&bytes) {
            head.write_for_client(&bytes, true, &mut out);
        }
        let _ = body(&bytes, &[], Framing::Chunked);
        let _ = socks(&bytes, &[]);
        let _ = (Hello::decode(&bytes), Answer::decode(&bytes), Request::decode(&bytes), Response::decode(&bytes));
        let _ = (Authority::parse(&bytes), ProxyCredentials::parse(&bytes));
        for magic in [&b"ADH1\0\x20"[..], b"ADA1\0\x20\0", b"ADA1\0\x20\x01", b"\xC1\0\0\x40\x01\0", b"\x01\0\x01\0\x10"] {
            let led = [magic, &bytes].concat();
            let _ = (Hello::decode(&led), Answer::decode(&led), Request::decode(&led), Response::decode(&led));
        }
    }

    #[test]
    fn p02_what_is_written_for_the_agent_reads_back_as_the_same_request(good in good_request()) {
        let head = request(&good.text).unwrap().unwrap();
        prop_assert_eq!(head.method(&good.text), &good.method);
        prop_assert_eq!(&*head.path_and_query(&good.text), good.path_and_query.as_bytes());
        prop_assert!(head.authority(&good.text).is(&good.host, good.port));
        prop_assert_eq!(head.framing, good.framing);
        let mut hop = Vec::new();
        head.write_for_agent(&good.text, &mut hop);
        assert_line_ends(&hop);
        assert_same_request(&good.text, &hop);
        // And once more, as the agent writes it for the backend.
        let at_agent = tunnelled(&hop);
        let mut backend = Vec::new();
        at_agent.write_for_backend(&hop, &HostHeader::Virtual, &mut backend);
        prop_assert_eq!(String::from_utf8_lossy(&hop), String::from_utf8_lossy(&backend), "nothing is left to change");
        let internal = Internal { https: true, host: "erp.corp.example", port: 8443 };
        backend.clear();
        at_agent.write_for_backend(&hop, &HostHeader::Internal(internal), &mut backend);
        assert_line_ends(&backend);
        let at_backend = tunnelled(&backend);
        prop_assert_eq!(&*at_backend.path_and_query(&backend), good.path_and_query.as_bytes());
        prop_assert!(at_backend.authority(&backend).is("erp.corp.example", 8443));
    }

    #[test]
    fn h01_whatever_is_accepted_is_written_so_that_it_reads_as_the_same_request(
        bytes in prop_oneof![
            http_like(),
            (good_request(), any::<Index>(), any::<u8>(), any::<u8>()).prop_map(|(good, at, byte, how)| damaged(good.text, at, byte, how)),
        ],
    ) {
        if let Some(Ok(head)) = request(&bytes) {
            assert_strict(&bytes[..head.head_bytes]);
            let mut hop = Vec::new();
            head.write_for_agent(&bytes, &mut hop);
            assert_line_ends(&hop);
            assert_same_request(&bytes, &hop);
        }
    }

    #[test]
    fn h04_whatever_response_is_accepted_is_written_so_that_it_reads_as_the_same(bytes in http_like(), bodiless: bool) {
        let Ok(Some(head)) = ResponseHead::parse(&bytes, bodiless, &Limits::RESPONSES) else { return Ok(()) };
        assert_strict(&bytes[..head.head_bytes]);
        let rewrite = Rewrite {
            internal: Internal { https: false, host: "10.1.2.3", port: 80 },
            virtual_host: "erp.virtual",
            virtual_port: 8080,
        };
        let mut hop = Vec::new();
        head.write_for_gateway(&bytes, &rewrite, &mut hop);
        assert_line_ends(&hop);
        let at_gateway = ResponseHead::parse(&hop, bodiless, &Limits::TUNNELLED).unwrap().unwrap();
        prop_assert_eq!((at_gateway.status, at_gateway.framing, at_gateway.upgrade), (head.status, head.framing, head.upgrade));
        let mut client = Vec::new();
        let kept = at_gateway.write_for_client(&hop, true, &mut client);
        assert_line_ends(&client);
        let at_client = ResponseHead::parse(&client, bodiless, &Limits::TUNNELLED).unwrap().unwrap();
        prop_assert_eq!((at_client.status, at_client.framing), (head.status, head.framing));
        if head.status >= 200 {
            prop_assert_eq!(at_client.keep_alive, kept);
        }
    }

    #[test]
    fn hellos_and_answers_read_back(hello in hello(), answer in answer()) {
        let mut out = Vec::new();
        hello.encode(&mut out).unwrap();
        reads_back(&hello, &out, |bytes| Hello::decode(bytes).transpose());
        out.clear();
        answer.encode(&mut out).unwrap();
        reads_back(&answer, &out, |bytes| Answer::decode(bytes).transpose());
    }

    #[test]
    fn connect_responses_read_back(response in connect_response()) {
        let mut out = Vec::new();
        response.encode(&mut out);
        reads_back(&response, &out, |bytes| Response::decode(bytes).transpose());
    }

    #[test]
    fn damaged_messages_of_the_tunnel_read_the_same_however_they_were_cut(
        hello in hello(), connect in connect(), at in any::<Index>(), byte in any::<u8>(), how in any::<u8>(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut out = Vec::new();
        hello.encode(&mut out).unwrap();
        let bytes = damaged(out, at, byte, how);
        let read = |bytes: &[u8]| Hello::decode(bytes).transpose();
        prop_assert_eq!(first_answer(&bytes, &cuts, read), read(&bytes));
        let mut out = Vec::new();
        connect.as_request().encode(&mut out).unwrap();
        let bytes = damaged(out, at, byte, how);
        let read = |bytes: &[u8]| Request::decode(bytes).transpose().map(|r| r.map(|(r, n)| (format!("{r:?}"), n)));
        prop_assert_eq!(first_answer(&bytes, &cuts, read), read(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn connect_requests_read_back(connect in connect()) {
        let mut out = Vec::new();
        connect.as_request().encode(&mut out).unwrap();
        let read = Request::decode(&out).unwrap().unwrap();
        prop_assert_eq!(read, (connect.as_request(), out.len()));
        for cut in 0..out.len() {
            prop_assert_eq!(Request::decode(&out[..cut]), Ok(None));
        }
    }
}

// ---- an independent reading, slow and plain

fn tunnelled(head: &[u8]) -> RequestHead {
    RequestHead::parse(head, &Limits::TUNNELLED)
        .unwrap()
        .unwrap()
}

fn assert_same_request(original: &[u8], hop: &[u8]) {
    let first = RequestHead::parse(original, &Limits::default())
        .unwrap()
        .unwrap();
    let second = tunnelled(hop);
    assert_eq!(second.head_bytes, hop.len());
    assert_eq!(first.method(original), second.method(hop));
    assert_eq!(first.path(original), second.path(hop));
    assert_eq!(first.path_and_query(original), second.path_and_query(hop));
    assert_eq!(
        (first.framing, first.version),
        (second.framing, second.version)
    );
    assert_eq!(
        (first.upgrade, first.expects_continue),
        (second.upgrade, second.expects_continue)
    );
    let (one, two) = (first.authority(original), second.authority(hop));
    assert!(two.is(&one.canonical_host(), one.port_or_default()));
    assert_eq!(
        two.canonical_host(),
        two.host,
        "a forwarded host is canonical"
    );
    for gone in [
        "proxy-authorization",
        "sap-connectivity-scc-location_id",
        "keep-alive",
        "sap-connectivity-authentication",
    ] {
        assert_eq!(second.field(hop, gone), None, "{gone}");
    }
    if second.version == Version::Http10 {
        assert_eq!(second.field(hop, "transfer-encoding"), None);
    }
}

fn assert_line_ends(head: &[u8]) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "bare LF at {at}"),
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "bare CR at {at}"),
            0 => panic!("NUL at {at}"),
            _ => {}
        }
    }
    assert!(head.ends_with(b"\r\n\r\n"));
}

/// What RFC 9112 asks of any head, checked line by line with nothing borrowed from the reader under test.
fn assert_strict(head: &[u8]) {
    assert_line_ends(head);
    let text = &head[..head.len() - 4];
    let mut lines = text
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    assert!(!lines.next().unwrap().is_empty());
    let mut lengths = 0;
    let mut codings = 0;
    for line in lines {
        let colon = line
            .iter()
            .position(|b| *b == b':')
            .expect("a field has a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(!name.is_empty());
        assert!(
            name.iter()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
        );
        assert!(value.iter().all(|b| !b.is_ascii_control() || *b == b'\t'));
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            assert!(!value.is_empty() && value.iter().all(u8::is_ascii_digit));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            assert!(value.eq_ignore_ascii_case(b"chunked"));
        }
    }
    assert!(lengths + codings <= 1, "one message, one length");
}
