//! HTTP heads and bodies: what is accepted is strict, and means the same on each hop.

use adit_proto::http::{
    Advance, Body, BodyError, Framing, HostHeader, Internal, Limits, RequestHead, ResponseHead,
    Rewrite, Target, Version,
};

use crate::input::{Input, judged_alike, pieces};
use crate::oracle::{assert_line_ends, assert_strict};

/// [`RequestHead::parse`] and both ways of writing it on.
pub fn http_request_head(data: &[u8]) {
    let limits = Limits::REQUESTS;
    judged_alike(data, |bytes| RequestHead::parse(bytes, &limits).transpose());
    let Ok(Some(head)) = RequestHead::parse(data, &limits) else {
        return;
    };
    assert!(head.head_bytes <= data.len() && head.head_bytes <= limits.head_bytes);
    assert_strict(&data[..head.head_bytes]);
    assert!(head.framing != Framing::UntilClose);
    let mut hop = Vec::new();
    head.write_for_agent(data, &mut hop);
    let at_agent = same_request(&head, data, &hop);
    for gone in [
        "proxy-authorization",
        "sap-connectivity-scc-location_id",
        "keep-alive",
        "proxy-connection",
    ] {
        assert_eq!(at_agent.field(&hop, gone), None, "{gone}");
    }
    if head.target == Target::Authority {
        // A CONNECT reaches no HTTP backend.
        return;
    }
    let mut backend = Vec::new();
    at_agent.write_for_backend(&hop, &HostHeader::Virtual, &mut backend);
    same_request(&at_agent, &hop, &backend);
    let internal = Internal {
        https: true,
        host: "erp.corp.example",
        port: 8443,
    };
    backend.clear();
    at_agent.write_for_backend(&hop, &HostHeader::Internal(internal), &mut backend);
    assert_line_ends(&backend);
    let at_backend = tunnelled(&backend);
    assert_eq!(
        at_backend.path_and_query(&backend),
        head.path_and_query(data)
    );
    assert_eq!(at_backend.framing, head.framing);
}

/// Parses what was written on, and compares.
fn same_request(head: &RequestHead, buf: &[u8], hop: &[u8]) -> RequestHead {
    assert_line_ends(hop);
    let next = tunnelled(hop);
    assert_eq!(next.head_bytes, hop.len());
    assert_eq!(next.method(hop), head.method(buf));
    assert_eq!(next.path(hop), head.path(buf));
    assert_eq!(next.path_and_query(hop), head.path_and_query(buf));
    assert_eq!((next.framing, next.version), (head.framing, head.version));
    assert_eq!(
        (next.upgrade, next.expects_continue),
        (head.upgrade, head.expects_continue)
    );
    let (one, two) = (head.authority(buf), next.authority(hop));
    assert!(two.is(&one.canonical_host(), one.port_or_default()));
    assert_eq!(
        two.canonical_host(),
        two.host,
        "a forwarded host is canonical"
    );
    assert!(next.version == Version::Http11 || next.field(hop, "transfer-encoding").is_none());
    next
}

fn tunnelled(head: &[u8]) -> RequestHead {
    RequestHead::parse(head, &Limits::TUNNELLED)
        .expect("what adit writes, adit reads")
        .expect("a head is written whole")
}

/// [`ResponseHead::parse`] and both ways of writing it on. The first byte tells whether a body is ruled out.
pub fn http_response_head(data: &[u8]) {
    let mut input = Input::new(data);
    let bodiless = input.byte() % 2 == 1;
    let data = input.rest();
    let limits = Limits::RESPONSES;
    judged_alike(data, |bytes| {
        ResponseHead::parse(bytes, bodiless, &limits).transpose()
    });
    let Ok(Some(head)) = ResponseHead::parse(data, bodiless, &limits) else {
        return;
    };
    assert!(head.head_bytes <= data.len() && head.head_bytes <= limits.head_bytes);
    assert_strict(&data[..head.head_bytes]);
    assert!((100..600).contains(&head.status));
    assert!(!bodiless || head.framing == Framing::None);
    let rewrite = Rewrite {
        internal: Internal {
            https: false,
            host: "10.1.2.3",
            port: 80,
        },
        virtual_host: "erp.virtual",
        virtual_port: 8080,
    };
    let mut hop = Vec::new();
    head.write_for_gateway(data, &rewrite, &mut hop);
    assert_line_ends(&hop);
    let at_gateway = answered(&hop, bodiless);
    assert_eq!(
        (at_gateway.status, at_gateway.framing, at_gateway.upgrade),
        (head.status, head.framing, head.upgrade)
    );
    assert_eq!(
        at_gateway.field(&hop, "adit-refusal"),
        None,
        "only adit says so"
    );
    let mut client = Vec::new();
    let kept = at_gateway.write_for_client(&hop, true, &mut client);
    assert_line_ends(&client);
    let at_client = answered(&client, bodiless);
    assert_eq!(
        (at_client.status, at_client.framing),
        (head.status, head.framing)
    );
    assert!(head.status < 200 || at_client.keep_alive == kept);
}

fn answered(head: &[u8], bodiless: bool) -> ResponseHead {
    ResponseHead::parse(head, bodiless, &Limits::TUNNELLED)
        .expect("what adit writes, adit reads")
        .expect("a head is written whole")
}

/// [`Body::advance`]: the same end and the same content however the bytes were cut. The first byte chooses the framing,
/// the second the cut, the next two a length.
pub fn http_body(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let cut = input.byte();
    let length = input.word();
    let framing = match kind % 4 {
        0 => Framing::None,
        1 => Framing::Length(u64::from(length)),
        2 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let bytes = input.rest();
    let whole = follow(bytes, 0, framing);
    assert_eq!(follow(bytes, cut, framing), whole);
    assert_eq!(follow(bytes, 1, framing), whole);
    if let (Ok((taken, complete, content)), Framing::Chunked) = (&whole.0, framing)
        && *complete
    {
        assert_eq!(
            plain_chunks(&bytes[..*taken]),
            Some(*content),
            "content by a plain reading"
        );
    }
}

type Followed = Result<(usize, bool, u64), BodyError>;

fn follow(bytes: &[u8], cut: u8, framing: Framing) -> (Followed, Option<BodyError>) {
    let mut body = Body::new(framing, &Limits::REQUESTS);
    let mut taken = 0;
    for piece in pieces(bytes, cut) {
        match body.advance(piece) {
            Ok(Advance {
                taken: more,
                complete,
            }) => {
                assert!(more <= piece.len());
                assert_eq!(complete, body.is_complete());
                assert!(
                    more == piece.len() || complete,
                    "only a complete body leaves bytes"
                );
                taken += more;
            }
            Err(why) => return (Err(why), None),
        }
    }
    let content = body.content_bytes();
    let complete = body.is_complete();
    let closed = body.on_close().err();
    assert!(closed.is_none() || !complete);
    (Ok((taken, complete, content)), closed)
}

/// Bytes of content in a whole chunked body, or none when it is not one, by searching for line ends.
fn plain_chunks(mut body: &[u8]) -> Option<u64> {
    let mut content = 0;
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n")?;
        let text = std::str::from_utf8(&body[..line]).ok()?;
        let digits = text.split(';').next()?.trim_end_matches([' ', '\t']);
        let size = usize::from_str_radix(digits, 16).ok()?;
        body = &body[line + 2..];
        if size == 0 {
            break;
        }
        content += u64::try_from(size).ok()?;
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
    }
    // Trailers, then an empty line, and nothing behind it.
    while let Some(line) = body.windows(2).position(|two| two == b"\r\n") {
        body = &body[line + 2..];
        if line == 0 {
            return body.is_empty().then_some(content);
        }
    }
    None
}
