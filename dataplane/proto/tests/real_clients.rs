//! What clients nobody here wrote put on the wire, in their order and spelling, and what must reach the backend.
//!
//! The requests were recorded from unmodified clients and are told here in our own words: names and tokens are made up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use adit_proto::Refusal;
use adit_proto::http::{Framing, Limits, ProxyCredentials, RequestHead, Target, Version};

struct Client {
    text: String,
    head: RequestHead,
}

impl Client {
    fn sends(lines: &[&str]) -> Self {
        let text = lines.join("\r\n") + "\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes(), &Limits::default())
            .unwrap()
            .unwrap();
        assert_eq!(head.head_bytes, text.len());
        Self { text, head }
    }

    fn buf(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn token(&self) -> String {
        ProxyCredentials::parse(self.head.proxy_authorization(self.buf()).unwrap())
            .unwrap()
            .token()
            .to_owned()
    }

    fn goes_to(&self) -> (String, u16) {
        let authority = self.head.authority(self.buf());
        (
            authority.canonical_host().into_owned(),
            authority.port_or_default(),
        )
    }

    /// The lines the agent receives.
    fn forwarded(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.head.write_for_agent(self.buf(), &mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_suffix("\r\n\r\n")
            .unwrap()
            .split("\r\n")
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn the_cloud_sdk_with_axios_reads_an_on_premise_system() {
    let client = Client::sends(&[
        "GET http://erp.virtual:44300/base/u HTTP/1.1",
        "Accept: application/json, text/plain, */*",
        "X-Dest-Header: dh1",
        "Proxy-Authorization: Bearer head.claims.sig",
        "sap-client: 100",
        "SAP-Connectivity-SCC-Location_ID: loc-1",
        "User-Agent: axios/1.21.1",
        "Accept-Encoding: gzip, compress, deflate, br",
        "host: erp.virtual:44300",
        "Connection: keep-alive",
    ]);
    assert_eq!(client.token(), "head.claims.sig");
    assert_eq!(client.head.location(client.buf()), Some("loc-1"));
    assert_eq!(client.goes_to(), ("erp.virtual".into(), 44300));
    assert!(client.head.keep_alive);
    assert_eq!(
        client.forwarded(),
        [
            "GET /base/u HTTP/1.1",
            "host: erp.virtual:44300",
            "Accept: application/json, text/plain, */*",
            "X-Dest-Header: dh1",
            "sap-client: 100",
            "User-Agent: axios/1.21.1",
            "Accept-Encoding: gzip, compress, deflate, br",
        ]
    );
}

#[test]
fn the_cloud_sdk_names_port_80_nowhere() {
    let client = Client::sends(&[
        "GET http://erp.virtual/p HTTP/1.1",
        "Proxy-Authorization: Bearer t",
        "host: erp.virtual",
        "Connection: keep-alive",
    ]);
    assert_eq!(client.goes_to(), ("erp.virtual".into(), 80));
    assert_eq!(
        client.head.location(client.buf()),
        None,
        "no field, default location"
    );
    assert_eq!(
        client.forwarded()[..2],
        ["GET /p HTTP/1.1", "host: erp.virtual"]
    );
}

#[test]
fn the_cloud_sdk_fetches_a_csrf_token_with_a_head_request_of_length_zero() {
    let client = Client::sends(&[
        "HEAD http://erp.virtual:44300/base/ HTTP/1.1",
        "Accept: application/json, text/plain, */*",
        "Proxy-Authorization: Bearer t",
        "authorization: Basic dTpw",
        "x-csrf-token: Fetch",
        "content-length: 0",
        "User-Agent: axios/1.21.1",
        "host: erp.virtual:44300",
        "Connection: keep-alive",
    ]);
    assert_eq!(client.head.framing, Framing::Length(0));
    let forwarded = client.forwarded();
    assert!(forwarded.contains(&"content-length: 0".to_owned()));
    assert!(
        forwarded.contains(&"authorization: Basic dTpw".to_owned()),
        "the backend's credentials pass"
    );
    assert!(forwarded.contains(&"x-csrf-token: Fetch".to_owned()));
}

#[test]
fn the_cloud_sdk_propagates_a_principal_and_streams_its_body() {
    let client = Client::sends(&[
        "POST http://erp.virtual:44300/base/Orders HTTP/1.1",
        "Proxy-Authorization: Bearer t",
        "SAP-Connectivity-Authentication: Bearer user.jwt.sig",
        "x-csrf-token: abc",
        "cookie: sap-contextid=1; sap-usercontext=2",
        "Content-Type: application/json",
        "host: erp.virtual:44300",
        "Transfer-Encoding: chunked",
        "Connection: keep-alive",
    ]);
    assert_eq!(client.head.principal(client.buf()), Some("user.jwt.sig"));
    assert_eq!(client.head.framing, Framing::Chunked);
    assert!(
        !client
            .forwarded()
            .iter()
            .any(|line| line.contains("user.jwt"))
    );
    assert_eq!(
        client.forwarded().last().unwrap(),
        "transfer-encoding: chunked"
    );
}

#[test]
fn the_cloud_sdk_tries_connect_for_https_destinations_without_a_token() {
    let client = Client::sends(&[
        "CONNECT erp.virtual:44300 HTTP/1.1",
        "Host: erp.virtual:44300",
        "Connection: close",
    ]);
    assert_eq!(client.head.target, Target::Authority);
    assert!(client.head.proxy_authorization(client.buf()).is_none());
    assert_eq!(
        Refusal::MethodUnsupported.http_status(),
        405,
        "the answer it knows how to report"
    );
}

#[test]
fn the_approuter_sends_lower_case_fields_and_closes_each_connection() {
    let client = Client::sends(&[
        "GET http://erp.virtual:44300/base/x?y=1 HTTP/1.1",
        "accept: */*",
        "x-correlationid: c-1",
        "x-forwarded-host: app.example:5000",
        "x-forwarded-proto: http",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-path: /base/x?y=1",
        "tenantid: zone-1",
        "Proxy-Authorization: Bearer t",
        "SAP-Connectivity-SCC-Location_ID: loc-1",
        "Host: erp.virtual:44300",
        "Connection: close",
    ]);
    assert!(!client.head.keep_alive);
    assert_eq!(
        client.forwarded(),
        [
            "GET /base/x?y=1 HTTP/1.1",
            "host: erp.virtual:44300",
            "accept: */*",
            "x-correlationid: c-1",
            "x-forwarded-host: app.example:5000",
            "x-forwarded-proto: http",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-path: /base/x?y=1",
            "tenantid: zone-1",
        ]
    );
}

#[test]
fn the_approuter_opens_a_websocket_with_an_absolute_get() {
    let client = Client::sends(&[
        "GET http://erp.virtual:44300/base/ws HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: http://app.example",
        "Proxy-Authorization: Bearer t",
        "Host: erp.virtual:44300",
    ]);
    assert!(client.head.upgrade);
    let forwarded = client.forwarded();
    assert_eq!(
        forwarded[forwarded.len() - 2..],
        ["connection: upgrade", "upgrade: websocket"]
    );
    assert!(forwarded.contains(&"Origin: http://app.example".to_owned()));
}

#[test]
fn curl_with_a_proxy_and_an_upload_waits_for_100_continue() {
    let client = Client::sends(&[
        "PUT http://erp.virtual/big HTTP/1.1",
        "Host: erp.virtual",
        "Proxy-Authorization: Bearer t",
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Proxy-Connection: Keep-Alive",
        "Content-Length: 1073741824",
        "Expect: 100-continue",
    ]);
    assert!(client.head.expects_continue && client.head.keep_alive);
    assert_eq!(client.head.framing, Framing::Length(1 << 30));
    assert_eq!(
        client.forwarded(),
        [
            "PUT /big HTTP/1.1",
            "host: erp.virtual",
            "User-Agent: curl/8.14.1",
            "Accept: */*",
            "Expect: 100-continue",
            "content-length: 1073741824",
        ]
    );
}

#[test]
fn curl_with_the_token_as_proxy_user_sends_basic() {
    // `curl -x ... --proxy-user 'tok.en:'`: base64 of "tok.en:" (RFC 4648).
    let client = Client::sends(&[
        "GET http://erp.virtual/ HTTP/1.1",
        "Host: erp.virtual",
        "Proxy-Authorization: Basic dG9rLmVuOg==",
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Proxy-Connection: Keep-Alive",
    ]);
    assert_eq!(client.token(), "tok.en");
}

#[test]
fn apache_bench_speaks_http10_with_an_absolute_target() {
    let client = Client::sends(&[
        "GET http://erp.virtual:80/ HTTP/1.0",
        "Proxy-Authorization: Bearer t",
        "Connection: Keep-Alive",
        "Host: erp.virtual:80",
        "User-Agent: ApacheBench/2.3",
        "Accept: */*",
    ]);
    assert_eq!(client.head.version, Version::Http10);
    assert!(client.head.keep_alive);
    assert_eq!(
        client.forwarded()[..2],
        ["GET / HTTP/1.0", "host: erp.virtual"]
    );
}

#[test]
fn sap_cf_axios_puts_technical_tokens_beside_the_proxy_token() {
    let client = Client::sends(&[
        "GET http://erp.virtual:44300/x HTTP/1.1",
        "Proxy-Authorization: Bearer user.exchange.jwt",
        "SAP-Connectivity-Technical-Authentication: Bearer technical.jwt.sig",
        "Host: erp.virtual:44300",
    ]);
    assert_eq!(client.token(), "user.exchange.jwt");
    assert_eq!(client.head.principal(client.buf()), None);
    assert_eq!(
        client.head.technical_principal(client.buf()),
        Some("technical.jwt.sig")
    );
}

#[test]
fn odata_paths_keep_every_byte() {
    let client = Client::sends(&[
        "GET http://erp.virtual/sap/opu/odata/sap/API_X;v=2/Orders('A%2FB%20C')/$value?$filter=Name%20eq%20'x' HTTP/1.1",
        "Host: erp.virtual",
    ]);
    assert_eq!(
        client.head.path(client.buf()),
        b"/sap/opu/odata/sap/API_X;v=2/Orders('A%2FB%20C')/$value"
    );
    assert_eq!(
        client.head.query(client.buf()),
        Some(&b"$filter=Name%20eq%20'x'"[..])
    );
}
