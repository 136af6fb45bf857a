//! How a refusal is said in HTTP: status, one sentence in plain text, and the `adit-refusal` field.
//!
//! The sentences that SAP's users and support notes know are kept word for word. Which refusal applies is decided
//! elsewhere.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::head::{put_decimal, put_field};
use crate::Refusal;
use crate::connect::RequestId;

/// Appends a whole response that refuses a request. `text` is the body, [`Refusal::text`] when empty; a request whose
/// method was HEAD (`head_only`) gets the head alone. The text is sent as plain text and never as anything a browser
/// would run.
pub fn write_refusal(
    out: &mut Vec<u8>,
    refusal: Refusal,
    text: &str,
    id: RequestId,
    keep_alive: bool,
    head_only: bool,
) {
    let text = if text.is_empty() {
        refusal.text()
    } else {
        text
    };
    let status = refusal.http_status();
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(status_phrase(status).as_bytes());
    out.extend_from_slice(
        b"\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n",
    );
    put_field(
        out,
        b"adit-refusal",
        format!("{}; id={id}", refusal.reason()).as_bytes(),
    );
    match status {
        // RFC 9110, section 15.5.8: a 407 names at least one scheme.
        407 => put_field(out, b"proxy-authenticate", b"Bearer"),
        // RFC 9110, section 15.5.6: a 405 names the methods that are supported.
        405 => put_field(
            out,
            b"allow",
            b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        _ => {}
    }
    out.extend_from_slice(b"content-length: ");
    put_decimal(out, u64::try_from(text.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(if keep_alive {
        b"\r\nconnection: keep-alive\r\n\r\n"
    } else {
        b"\r\nconnection: close\r\n\r\n"
    });
    if !head_only {
        out.extend_from_slice(text.as_bytes());
    }
}

/// What SAP's proxy says when no system is exposed under the address (403).
#[must_use]
pub fn system_denied_text(host: &str, port: u16) -> String {
    format!(
        "Access denied to system {host}:{port}. In case this was a valid request, ensure to expose the system correctly \
         in your cloud connector."
    )
}

/// What SAP's proxy says when the system is exposed and the path is not (403). Bytes of the path that are not printable
/// ASCII are told as `?`.
#[must_use]
pub fn resource_denied_text(path: &[u8], host: &str, port: u16) -> String {
    let path: String = path
        .iter()
        .map(|b| {
            if b.is_ascii_graphic() {
                char::from(*b)
            } else {
                '?'
            }
        })
        .collect();
    format!(
        "Access denied to resource {path} on system {host}:{port}. In case this was a valid request, ensure to expose the \
         resource correctly in your cloud connector."
    )
}

/// What SAP's service says when no agent is connected (503).
#[must_use]
pub fn no_agent_text(subaccount: &str, location: &str) -> String {
    format!(
        "There is no SAP Cloud Connector (SCC) connected to your subaccount matching the requested tunnel for \
         subaccount \"{subaccount}\" and SCC location ID \"{location}\". Check the configuration on SCC and cloud side."
    )
}

/// The reason phrase of each status a refusal can have.
#[must_use]
pub const fn status_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId([0x11; 16]);

    fn refused(refusal: Refusal, text: &str, keep_alive: bool, head_only: bool) -> String {
        let mut out = Vec::new();
        write_refusal(&mut out, refusal, text, ID, keep_alive, head_only);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_is_a_complete_response() {
        assert_eq!(
            refused(Refusal::ResourceDenied, "no", true, false),
            "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
             adit-refusal: resource-denied; id=11111111111111111111111111111111\r\ncontent-length: 2\r\n\
             connection: keep-alive\r\n\r\nno"
        );
    }

    #[test]
    fn a_407_asks_for_a_bearer_token_and_a_405_names_methods() {
        assert!(
            refused(Refusal::TokenMissing, "", false, false)
                .contains("\r\nproxy-authenticate: Bearer\r\n")
        );
        assert!(refused(Refusal::SchemeUnsupported, "", false, false).contains("\r\nallow: GET,"));
    }

    #[test]
    fn a_refused_head_request_gets_no_body_but_its_length() {
        let text = refused(Refusal::NoAgent, "gone", false, true);
        assert!(
            text.ends_with("content-length: 4\r\nconnection: close\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn every_refusal_has_a_phrase_and_reads_back_as_a_response() {
        for &refusal in Refusal::ALL {
            assert!(
                !status_phrase(refusal.http_status()).is_empty(),
                "{refusal}"
            );
            let text = refused(refusal, "", true, false);
            let head = super::super::ResponseHead::parse(
                text.as_bytes(),
                false,
                &super::super::Limits::RESPONSES,
            )
            .unwrap()
            .unwrap();
            assert_eq!(head.status, refusal.http_status());
            assert_eq!(text.get(head.head_bytes..), Some(refusal.text()));
        }
    }

    #[test]
    fn the_texts_are_the_ones_saps_users_know() {
        assert_eq!(
            system_denied_text("erp.virtual", 80),
            "Access denied to system erp.virtual:80. In case this was a valid request, ensure to expose the system \
             correctly in your cloud connector."
        );
        assert_eq!(
            resource_denied_text(b"/a('1')\x07", "erp.virtual", 80),
            "Access denied to resource /a('1')? on system erp.virtual:80. In case this was a valid request, ensure \
             to expose the resource correctly in your cloud connector."
        );
        assert_eq!(
            no_agent_text("s", "l"),
            "There is no SAP Cloud Connector (SCC) connected to your subaccount matching the requested tunnel for \
             subaccount \"s\" and SCC location ID \"l\". Check the configuration on SCC and cloud side."
        );
    }
}
