//! Heads of HTTP messages: parsed, and written on for the next hop.
//!
//! A request as an application sends it to the gateway: absolute target, a token of 287 bytes, ten
//! fields; and an answer as an OData service gives it. A parsed head is dropped within its unit, and
//! what is written goes into memory that is there: both are so in the programs.

use std::hint::black_box;

use adit_proto::http::{HostHeader, Internal, Limits, RequestHead, ResponseHead, Rewrite};

use crate::case::{Case, UNITS, units};
use crate::token::EDDSA;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "http/request-read",
            "the head of a request parsed, ten fields and a token",
            UNITS,
            || {
                let (bytes, limits) = (request(), Limits::default());
                units(move || {
                    black_box(RequestHead::parse(black_box(&bytes), &limits))
                        .expect("it is sound")
                        .expect("it is whole");
                })
            },
        ),
        Case::new(
            "http/request-for-agent",
            "the head of a request written by the gateway",
            UNITS,
            || {
                let (bytes, head) = parsed_request();
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    head.write_for_agent(black_box(&bytes), &mut out);
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "http/request-for-backend",
            "the head of a request written by the agent, with the internal host",
            UNITS,
            || {
                let (bytes, head) = parsed_request();
                let host = HostHeader::Internal(INTERNAL);
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    head.write_for_backend(black_box(&bytes), &host, &mut out);
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "http/response-read",
            "the head of a response parsed, twelve fields",
            UNITS,
            || {
                let limits = Limits::default();
                units(move || {
                    black_box(ResponseHead::parse(
                        black_box(RESPONSE.as_bytes()),
                        false,
                        &limits,
                    ))
                    .expect("it is sound")
                    .expect("it is whole");
                })
            },
        ),
        Case::new(
            "http/response-for-gateway",
            "the head of a response written by the agent, Location and cookie in virtual names",
            UNITS,
            || {
                let head = parsed_response();
                let rewrite = Rewrite {
                    internal: INTERNAL,
                    virtual_host: "erp.virtual",
                    virtual_port: 80,
                };
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    head.write_for_gateway(black_box(RESPONSE.as_bytes()), &rewrite, &mut out);
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "http/response-for-client",
            "the head of a response written by the gateway",
            UNITS,
            || {
                let head = parsed_response();
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    black_box(head.write_for_client(
                        black_box(RESPONSE.as_bytes()),
                        true,
                        &mut out,
                    ));
                    black_box(&out);
                })
            },
        ),
    ]
}

const INTERNAL: Internal<'static> = Internal {
    https: true,
    host: "s4.corp.example",
    port: 44_300,
};

fn request() -> Vec<u8> {
    format!(
        "GET http://erp.virtual/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('4711')?$expand=to_Item&$top=10 HTTP/1.1\r\n\
         Host: erp.virtual\r\n\
         Proxy-Authorization: Bearer {EDDSA}\r\n\
         SAP-Connectivity-SCC-Location_ID: berlin\r\n\
         Accept: application/json\r\n\
         Accept-Encoding: gzip, deflate\r\n\
         Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n\
         User-Agent: Apache-HttpClient/5.3 (Java/21.0.2)\r\n\
         X-CorrelationID: 5f0c2f7e-9a51-4b7a-8f7e-6b1d2c3e4f50\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
         Connection: keep-alive\r\n\r\n"
    )
    .into_bytes()
}

const RESPONSE: &str = "HTTP/1.1 201 Created\r\n\
    content-type: application/json;charset=utf-8\r\n\
    content-length: 1024\r\n\
    location: https://s4.corp.example:44300/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('4711')\r\n\
    set-cookie: SAP_SID=0123456789abcdef0123456789abcdef; path=/; domain=s4.corp.example; secure; HttpOnly\r\n\
    dataserviceversion: 2.0\r\n\
    etag: W/\"datetimeoffset'2026-11-20T10%3A00%3A00.0000000Z'\"\r\n\
    cache-control: no-store, no-cache\r\n\
    sap-server: true\r\n\
    sap-perf-fesrec: 24713.000000\r\n\
    x-csrf-token: bWFkZS1mb3ItdGhlLWJlbmNoZXM=\r\n\
    vary: accept-encoding\r\n\
    date: Fri, 20 Nov 2026 10:00:00 GMT\r\n\r\n";

fn parsed_request() -> (Vec<u8>, RequestHead) {
    let bytes = request();
    let head = RequestHead::parse(&bytes, &Limits::default())
        .expect("it is sound")
        .expect("it is whole");
    (bytes, head)
}

fn parsed_response() -> ResponseHead {
    ResponseHead::parse(RESPONSE.as_bytes(), false, &Limits::default())
        .expect("it is sound")
        .expect("it is whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heads_have_the_fields_that_their_units_tell() {
        let (bytes, head) = parsed_request();
        assert_eq!(head.fields(&bytes).count(), 10);
        assert_eq!(parsed_response().fields(RESPONSE.as_bytes()).count(), 12);
    }

    #[test]
    fn the_answer_is_rewritten_and_not_only_copied() {
        let rewrite = Rewrite {
            internal: INTERNAL,
            virtual_host: "erp.virtual",
            virtual_port: 80,
        };
        let mut out = Vec::new();
        parsed_response().write_for_gateway(RESPONSE.as_bytes(), &rewrite, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("location: http://erp.virtual/sap/"), "{out}");
        assert!(out.contains("domain=erp.virtual;"), "{out}");
        assert!(!out.contains("corp.example"), "{out}");
    }
}
