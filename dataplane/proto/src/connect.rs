//! The first words on a stream: what it is for, and whether the agent takes it.
//!
//! A request precedes the head and body of an HTTP request, or the bytes of a TCP conversation; a response precedes what
//! comes back, and is a single byte when all is well. Whether the request is allowed is not judged here.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::Refusal;
use crate::http::is_canonical_host;
use crate::limits::{
    CALLER_BYTES_MAX, CONNECT_BYTES_MAX, DETAIL_BYTES_MAX, HOST_BYTES_MAX, PRINCIPAL_BYTES_MAX,
    SUBACCOUNT_BYTES_MAX,
};
use crate::wire::{DecodeError, EncodeError, Reader, cut, is_plain, put_text};

/// Names one request in answers, logs and audit records of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// As it is written: 32 lower-case hexadecimal digits, ASCII. Formatting costs ten times as much, and each recorded
    /// request needs them.
    #[must_use]
    pub fn digits(&self) -> [u8; 32] {
        let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A text is not a request id: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARequestId;

impl fmt::Display for NotARequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request id is 32 lower-case hexadecimal digits")
    }
}

impl core::error::Error for NotARequestId {}

impl FromStr for RequestId {
    type Err = NotARequestId;

    fn from_str(text: &str) -> Result<Self, NotARequestId> {
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotARequestId);
        }
        match u128::from_str_radix(text, 16) {
            Ok(number) => Ok(Self(number.to_be_bytes())),
            Err(_) => Err(NotARequestId),
        }
    }
}

/// What the caller speaks on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// One HTTP/1.1 request and its response.
    Http,
    /// Opaque bytes in both directions.
    Tcp,
}

impl Protocol {
    const fn number(self) -> u8 {
        match self {
            Self::Http => 1,
            Self::Tcp => 2,
        }
    }
}

/// What a stream is for; says the gateway, in its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the caller speaks.
    pub protocol: Protocol,
    /// The virtual host, in canonical form (ASCII lower case).
    pub host: &'a str,
    /// The virtual port, never 0.
    pub port: u16,
    /// Whose request it is, as proven by the token.
    pub subaccount: &'a str,
    /// Which application asks, as proven by the token; for audit.
    pub caller: &'a str,
    /// The token of the person on whose behalf the application asks.
    pub principal: Option<&'a str>,
    /// Names the request in logs of both sides.
    pub id: RequestId,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("protocol", &self.protocol)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("subaccount", &self.subaccount)
            .field("caller", &self.caller)
            .field("principal", &self.principal.map(|_| "(secret)"))
            .field("id", &format_args!("{}", self.id))
            .finish()
    }
}

/// Begins every request; its low half is the version of this message.
const REQUEST: u8 = 0xC1;
const HEADER: usize = 4;
const HAS_PRINCIPAL: u8 = 1;

impl<'a> Request<'a> {
    /// Appends the message to `out`.
    ///
    /// # Errors
    /// A part is too long or holds what it may not hold; nothing is appended then. Nothing is ever cut: a cut name would
    /// name something else.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let written = self.put(out, start);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn put(&self, out: &mut Vec<u8>, start: usize) -> Result<(), EncodeError> {
        if !is_canonical_host(self.host) {
            return Err(EncodeError { part: "host" });
        }
        if self.port == 0 {
            return Err(EncodeError { part: "port" });
        }
        if self.subaccount.is_empty() {
            return Err(EncodeError { part: "subaccount" });
        }
        out.extend_from_slice(&[REQUEST, 0, 0, 0, self.protocol.number()]);
        out.push(if self.principal.is_some() {
            HAS_PRINCIPAL
        } else {
            0
        });
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&self.id.0);
        put_text(out, self.host, HOST_BYTES_MAX, "host")?;
        put_text(out, self.subaccount, SUBACCOUNT_BYTES_MAX, "subaccount")?;
        put_text(out, self.caller, CALLER_BYTES_MAX, "caller")?;
        if let Some(principal) = self.principal {
            put_text(out, principal, PRINCIPAL_BYTES_MAX, "principal")?;
        }
        let length = u32::try_from(out.len() - start - HEADER).map(u32::to_be_bytes);
        match (length, out.get_mut(start + 1..start + HEADER)) {
            (Ok([0, length @ ..]), Some(field)) => field.copy_from_slice(&length),
            (_, _) => return Err(EncodeError { part: "message" }),
        }
        debug_assert!(
            out.len() - start <= CONNECT_BYTES_MAX,
            "the limits of the parts add up to less"
        );
        Ok(())
    }

    /// Reads one request off the front of `input`: the request and how many bytes it took, or none while it is not
    /// wholly there. Copies nothing.
    ///
    /// # Errors
    /// The bytes can never become a request, however many follow.
    pub fn decode(input: &'a [u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        match input.first() {
            None => return Ok(None),
            Some(&REQUEST) => {}
            Some(_) => return Err(DecodeError::Magic),
        }
        let Some(&[_, high, middle, low]) = input.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        let announced = HEADER.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if announced > CONNECT_BYTES_MAX {
            return Err(DecodeError::TooLarge {
                announced,
                limit: CONNECT_BYTES_MAX,
            });
        }
        let Some(body) = input.get(HEADER..announced) else {
            return Ok(None);
        };
        Ok(Some((Self::read(Reader::new(body))?, announced)))
    }

    fn read(mut body: Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = match body.u8("protocol")? {
            1 => Protocol::Http,
            2 => Protocol::Tcp,
            _ => return Err(DecodeError::Malformed { part: "protocol" }),
        };
        let has_principal = match body.u8("flags")? {
            0 => false,
            HAS_PRINCIPAL => true,
            _ => return Err(DecodeError::Malformed { part: "flags" }),
        };
        let port = body.u16("port")?;
        if port == 0 {
            return Err(DecodeError::Malformed { part: "port" });
        }
        let id = RequestId(body.array("request id")?);
        let host = body.text(HOST_BYTES_MAX, "host")?;
        if !is_canonical_host(host) {
            return Err(DecodeError::Malformed { part: "host" });
        }
        let subaccount = body.text(SUBACCOUNT_BYTES_MAX, "subaccount")?;
        if subaccount.is_empty() {
            return Err(DecodeError::Malformed { part: "subaccount" });
        }
        let caller = body.text(CALLER_BYTES_MAX, "caller")?;
        let principal = if has_principal {
            Some(body.text(PRINCIPAL_BYTES_MAX, "principal")?)
        } else {
            None
        };
        if !body.is_empty() {
            return Err(DecodeError::Malformed { part: "end" });
        }
        Ok(Self {
            protocol,
            host,
            port,
            subaccount,
            caller,
            principal,
            id,
        })
    }
}

/// Whether the agent takes a stream; precedes everything that comes back on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed by nature: yes or no")]
pub enum Response {
    /// The bytes of the backend follow.
    Accepted,
    /// Nothing follows.
    Refused {
        /// Why. A reason of a newer version than ours reads as [`Refusal::ProtocolError`].
        refusal: Refusal,
        /// The sentence for the caller, at most [`DETAIL_BYTES_MAX`] bytes; empty for the reason's own text.
        detail: String,
    },
}

const ACCEPTED: u8 = 0;
const REFUSED: u8 = 1;

impl Response {
    /// Appends the message to `out`: one byte when accepted. A detail that is too long is cut, and control characters in
    /// it become `?`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accepted => out.push(ACCEPTED),
            Self::Refused { refusal, detail } => {
                out.push(REFUSED);
                out.extend_from_slice(&refusal.number().to_be_bytes());
                let plain: String;
                let detail = if is_plain(detail) {
                    detail
                } else {
                    plain = detail
                        .chars()
                        .map(|c| if c.is_control() { '?' } else { c })
                        .collect();
                    &plain
                };
                put_text(
                    out,
                    cut(detail, DETAIL_BYTES_MAX),
                    DETAIL_BYTES_MAX,
                    "detail",
                )
                .expect("a cut text without control characters fits");
            }
        }
    }

    /// Reads one response off the front of `input`, as [`Request::decode`] does.
    ///
    /// # Errors
    /// The bytes can never become a response, however many follow.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        match *input {
            [] | [REFUSED] | [REFUSED, _] | [REFUSED, _, _] | [REFUSED, _, _, _] => Ok(None),
            [ACCEPTED, ..] => Ok(Some((Self::Accepted, 1))),
            [
                REFUSED,
                number_high,
                number_low,
                length_high,
                length_low,
                ..,
            ] => {
                let length = usize::from(u16::from_be_bytes([length_high, length_low]));
                if length > DETAIL_BYTES_MAX {
                    return Err(DecodeError::TooLarge {
                        announced: length,
                        limit: DETAIL_BYTES_MAX,
                    });
                }
                let Some(text) = input.get(3..5 + length) else {
                    return Ok(None);
                };
                let detail = Reader::new(text).text(DETAIL_BYTES_MAX, "detail")?.into();
                let number = u16::from_be_bytes([number_high, number_low]);
                let refusal = Refusal::from_number(number).unwrap_or(Refusal::ProtocolError);
                Ok(Some((Self::Refused { refusal, detail }, 5 + length)))
            }
            [_, ..] => Err(DecodeError::Magic),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use std::format;

    use super::*;

    fn request() -> Request<'static> {
        Request {
            protocol: Protocol::Http,
            host: "erp.virtual",
            port: 44300,
            subaccount: "s-1",
            caller: "sb-app!t1",
            principal: None,
            id: RequestId([0xAB; 16]),
        }
    }

    #[test]
    fn a_request_has_exactly_the_documented_bytes() {
        let mut out = Vec::new();
        request().encode(&mut out).unwrap();
        let mut expected = std::vec![0xC1, 0, 0, 1 + 1 + 2 + 16 + 2 + 11 + 2 + 3 + 2 + 9, 1, 0];
        expected.extend(44300_u16.to_be_bytes());
        expected.extend([0xAB; 16]);
        expected.extend(b"\x00\x0Berp.virtual\x00\x03s-1\x00\x09sb-app!t1");
        assert_eq!(out, expected);
    }

    #[test]
    fn an_acceptance_is_one_byte() {
        let mut out = Vec::new();
        Response::Accepted.encode(&mut out);
        assert_eq!(out, [0]);
        assert_eq!(
            Response::decode(b"\0HTTP/1.1 200 OK"),
            Ok(Some((Response::Accepted, 1)))
        );
    }

    #[test]
    fn a_host_that_is_not_canonical_is_refused_on_both_sides() {
        for host in [
            "ERP.virtual",
            "",
            "a b",
            "a/b",
            "a..b",
            "a.",
            "user@a",
            "[::1",
        ] {
            let mut out = Vec::new();
            assert_eq!(
                Request { host, ..request() }.encode(&mut out),
                Err(EncodeError { part: "host" }),
                "{host}"
            );
            assert!(out.is_empty());
        }
        let mut out = Vec::new();
        request().encode(&mut out).unwrap();
        let at = out.windows(3).position(|w| w == b"erp").unwrap();
        out[at] = b'E';
        assert_eq!(
            Request::decode(&out),
            Err(DecodeError::Malformed { part: "host" })
        );
    }

    #[test]
    fn s02_a_subaccount_or_port_left_empty_is_refused_on_both_sides() {
        let mut out = Vec::new();
        assert!(
            Request {
                subaccount: "",
                ..request()
            }
            .encode(&mut out)
            .is_err()
        );
        assert!(
            Request {
                port: 0,
                ..request()
            }
            .encode(&mut out)
            .is_err()
        );
        assert!(out.is_empty());
        request().encode(&mut out).unwrap();
        let mut no_port = out.clone();
        no_port[6..8].fill(0);
        assert_eq!(
            Request::decode(&no_port),
            Err(DecodeError::Malformed { part: "port" })
        );
        let mut no_subaccount = out;
        let at = no_subaccount
            .windows(5)
            .position(|w| w == b"\0\x03s-1")
            .unwrap();
        no_subaccount.drain(at + 2..at + 5);
        no_subaccount[at + 1] = 0;
        no_subaccount[3] -= 3;
        assert_eq!(
            Request::decode(&no_subaccount),
            Err(DecodeError::Malformed { part: "subaccount" })
        );
    }

    #[test]
    fn the_longest_principal_fits_and_one_byte_more_does_not() {
        let longest = "p".repeat(PRINCIPAL_BYTES_MAX);
        let mut out = Vec::new();
        let full = Request {
            principal: Some(&longest),
            ..request()
        };
        full.encode(&mut out).unwrap();
        assert_eq!(Request::decode(&out), Ok(Some((full, out.len()))));
        let longer = "p".repeat(PRINCIPAL_BYTES_MAX + 1);
        assert_eq!(
            Request {
                principal: Some(&longer),
                ..request()
            }
            .encode(&mut out),
            Err(EncodeError { part: "principal" })
        );
    }

    #[test]
    fn a_request_with_every_part_at_its_longest_stays_within_the_limit() {
        let (host, subaccount, caller, principal) = (
            "h".repeat(HOST_BYTES_MAX),
            "s".repeat(SUBACCOUNT_BYTES_MAX),
            "c".repeat(CALLER_BYTES_MAX),
            "p".repeat(PRINCIPAL_BYTES_MAX),
        );
        let request = Request {
            host: &host,
            subaccount: &subaccount,
            caller: &caller,
            principal: Some(&principal),
            ..request()
        };
        let mut out = Vec::new();
        request.encode(&mut out).unwrap();
        assert!(out.len() <= CONNECT_BYTES_MAX);
        assert_eq!(Request::decode(&out), Ok(Some((request, out.len()))));
    }

    #[test]
    fn a_subaccount_or_caller_one_byte_longer_than_the_longest_is_refused() {
        let (subaccount, caller) = (
            "s".repeat(SUBACCOUNT_BYTES_MAX + 1),
            "c".repeat(CALLER_BYTES_MAX + 1),
        );
        let refused = |request: Request<'_>| request.encode(&mut Vec::new()).unwrap_err().part;
        assert_eq!(
            refused(Request {
                subaccount: &subaccount,
                ..request()
            }),
            "subaccount"
        );
        assert_eq!(
            refused(Request {
                caller: &caller,
                ..request()
            }),
            "caller"
        );
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused_before_it_arrives() {
        let body = u32::try_from(CONNECT_BYTES_MAX - HEADER)
            .unwrap()
            .to_be_bytes();
        assert_eq!(
            Request::decode(&[REQUEST, body[1], body[2], body[3]]),
            Ok(None)
        );
        let body = u32::try_from(CONNECT_BYTES_MAX - HEADER + 1)
            .unwrap()
            .to_be_bytes();
        assert!(matches!(
            Request::decode(&[REQUEST, body[1], body[2], body[3]]),
            Err(DecodeError::TooLarge { .. })
        ));
    }

    #[test]
    fn bytes_after_the_last_part_are_refused() {
        let mut out = Vec::new();
        request().encode(&mut out).unwrap();
        out.push(0);
        out[3] += 1;
        assert_eq!(
            Request::decode(&out),
            Err(DecodeError::Malformed { part: "end" })
        );
    }

    #[test]
    fn a_detail_is_cut_to_its_limit_and_holds_no_line_ends() {
        let mut out = Vec::new();
        let detail = "x\r\n".repeat(400);
        Response::Refused {
            refusal: Refusal::ResourceDenied,
            detail,
        }
        .encode(&mut out);
        let (read, taken) = Response::decode(&out).unwrap().unwrap();
        assert_eq!(taken, out.len());
        let expected: String = "x??".repeat(400).chars().take(DETAIL_BYTES_MAX).collect();
        assert_eq!(
            read,
            Response::Refused {
                refusal: Refusal::ResourceDenied,
                detail: expected
            }
        );
    }

    #[test]
    fn s10_a_principal_is_never_printed() {
        let text = format!(
            "{:?}",
            Request {
                principal: Some("canary"),
                ..request()
            }
        );
        assert!(
            !text.contains("canary") && text.contains("(secret)"),
            "{text}"
        );
    }

    #[test]
    fn a_request_id_is_32_hexadecimal_digits_both_ways() {
        let id = RequestId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xFF]);
        for id in [id, RequestId([0; 16]), RequestId([0x9a; 16])] {
            assert_eq!(id.digits().as_slice(), id.to_string().as_bytes());
        }
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!("000102030405060708090a0b0c0d0eff".parse(), Ok(id));
        for bad in [
            "",
            "0",
            "000102030405060708090A0B0C0D0EFF",
            "+00102030405060708090a0b0c0d0eff",
        ] {
            assert_eq!(bad.parse::<RequestId>(), Err(NotARequestId), "{bad}");
        }
    }
}
