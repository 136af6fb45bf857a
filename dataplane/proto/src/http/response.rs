//! The head of a response: parsed from a backend's bytes, written on towards the gateway and the caller.
//!
//! Where the body ends depends on the request (RFC 9112, section 6.3), so parsing is told what was asked. Reading the
//! body and keeping connections are left to others.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

use super::Limits;
use super::error::{HeadError, Of, Problem};
use super::field::{Field, Kind};
use super::head::{
    At, Framing, Span, Version, connection, diagnose, diagnose_version, find, framing, pairs,
    places, put_decimal, put_field, put_framing, upgrade_protocol, walk,
};
use super::rewrite::Rewrite;
use crate::limits::FIELDS_MAX;

/// A parsed response head: places in the buffer it was parsed from, without borrowing it. Methods that take `buf` want
/// that buffer, or one that begins with the same head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Size of the head with its blank line, in bytes; the body, or after an interim response the next head, begins
    /// behind it.
    pub head_bytes: usize,
    /// The status code, 100 to 599.
    pub status: u16,
    /// The version the backend speaks.
    pub version: Version,
    /// How the body ends; [`Framing::None`] for answers that never have one, whatever their fields say.
    pub framing: Framing,
    /// Whether the connection it came on can carry another request once this response is complete.
    pub keep_alive: bool,
    /// A 101 that says which protocol it switches to. Whether anyone asked is told by [`check_upgrade`](Self::check_upgrade).
    pub upgrade: bool,
    /// What Content-Length says, also where there is no body.
    length: Option<u64>,
    reason: Span,
    protocol: Span,
    fields: Vec<Field>,
}

impl ResponseHead {
    /// Reads one head off the front of `buf`; none while it is not wholly there. `bodiless` is true when the request's
    /// method was HEAD, or CONNECT to a proxy: then no body follows a final answer, whatever it says.
    ///
    /// # Errors
    /// What is wrong, and where; the refusal is always [`BackendMalformed`](crate::Refusal::BackendMalformed).
    pub fn parse(buf: &[u8], bodiless: bool, limits: &Limits) -> Result<Option<Self>, HeadError> {
        let located = |(line, problem)| HeadError::new(Of::Response, line, problem);
        let Some(head_bytes) = walk(buf, limits).map_err(located)? else {
            return Ok(None);
        };
        let head = buf.get(..head_bytes).unwrap_or_default();
        Self::read(head, bodiless).map(Some).map_err(located)
    }

    fn read(head: &[u8], bodiless: bool) -> At<Self> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let outcome = ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            head,
            &mut room,
        );
        let (line, (mut fields, kinds)) = match outcome {
            Ok(Status::Complete(size)) if size == head.len() => status_line(head, &parsed)
                .and_then(|line| {
                    places(head, line.bytes, parsed.headers).map(|fields| (line, fields))
                })
                .ok_or_else(|| diagnose(head))?,
            Err(httparse::Error::Version) => return Err(diagnose_version(head)),
            Err(httparse::Error::TooManyHeaders) => return Err((0, Problem::TooManyFields)),
            Ok(_) | Err(_) => return Err(diagnose(head)),
        };
        let StatusLine {
            status,
            version,
            reason,
            ..
        } = line;
        if !(100..600).contains(&status) {
            return Err((1, Problem::Status));
        }
        let options = connection(head, &mut fields, kinds)?;
        let told = framing(head, version, &fields, kinds)?;
        // RFC 9112, section 6.3, rules 1 and 2: these never have a body.
        let without_body = bodiless || matches!(status, 100..200 | 204 | 304);
        let framing = match told {
            _ if without_body => Framing::None,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        let length = match told {
            Some(Framing::Length(length)) => Some(length),
            Some(Framing::None | Framing::Chunked | Framing::UntilClose) | None => None,
        };
        let switches = status == 101 && version == Version::Http11 && options.upgrade;
        let protocol = if switches {
            upgrade_protocol(head, &fields)
        } else {
            None
        };
        Ok(Self {
            head_bytes: head.len(),
            status,
            version,
            framing,
            keep_alive: options.persists(version)
                && framing != Framing::UntilClose
                && status != 101,
            upgrade: protocol.is_some(),
            length,
            reason,
            protocol: protocol.unwrap_or_default(),
            fields,
        })
    }

    /// Whether another head follows this one: 1xx, but for 101, after which no HTTP follows.
    ///
    /// An HTTP/1.0 caller knows no interim responses and must not be sent any (RFC 9110, section 15.2).
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Checks that protocols are only switched when the request asked for it, and to a named one.
    ///
    /// # Errors
    /// It is a 101 that nobody asked for, or one that does not say to which protocol it switches. After such an answer
    /// nothing on the connection can be trusted.
    pub const fn check_upgrade(&self, asked: bool) -> Result<(), HeadError> {
        if self.status == 101 && !(asked && self.upgrade) {
            return Err(HeadError::new(Of::Response, 0, Problem::Upgrade));
        }
        Ok(())
    }

    /// The value of the first field of this name, in any case; without blanks around it.
    #[must_use]
    pub fn field<'b>(&self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        find(buf, &self.fields, name)
    }

    /// Names and values in order, as the backend sent them.
    pub fn fields<'b>(&self, buf: &'b [u8]) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        pairs(buf, &self.fields)
    }

    /// Appends the head as it goes from agent to gateway.
    ///
    /// Written anew: the status line in HTTP/1.1 with the backend's reason phrase, the one field that frames the body,
    /// and for a switch of protocols its two fields. Left out: hop-by-hop fields and those the Connection field names,
    /// `Proxy-*`, and `adit-refusal`, which only adit may say. `Location` and the Domain of `Set-Cookie` are told in the
    /// caller's names. Everything else passes as it is and in order.
    pub fn write_for_gateway(&self, buf: &[u8], rewrite: &Rewrite<'_>, out: &mut Vec<u8>) {
        self.write(buf, Some(rewrite), out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the head as the caller receives it, and says whether its connection can be kept: `keep_alive` is what the
    /// gateway would like, but a body that ends with the connection leaves no choice.
    pub fn write_for_client(&self, buf: &[u8], keep_alive: bool, out: &mut Vec<u8>) -> bool {
        self.write(buf, None, out);
        let kept = keep_alive && self.framing != Framing::UntilClose && self.status != 101;
        // Said in both cases: HTTP/1.0 clients need the one, all clients the other. Interim heads say nothing of the kind.
        if self.status >= 200 {
            out.extend_from_slice(if kept {
                b"connection: keep-alive\r\n"
            } else {
                b"connection: close\r\n"
            });
        }
        out.extend_from_slice(b"\r\n");
        kept
    }

    fn write(&self, buf: &[u8], rewrite: Option<&Rewrite<'_>>, out: &mut Vec<u8>) {
        out.reserve(self.head_bytes.saturating_add(64));
        out.extend_from_slice(b"HTTP/1.1 ");
        put_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason.of(buf));
        out.extend_from_slice(b"\r\n");
        for field in self
            .fields
            .iter()
            .filter(|f| !f.kind.ends_here() && !f.nominated)
        {
            let value = field.value.of(buf);
            match rewrite {
                Some(rewrite) if matches!(field.kind, Kind::Location | Kind::SetCookie) => {
                    out.extend_from_slice(field.name.of(buf));
                    out.extend_from_slice(b": ");
                    if field.kind == Kind::Location {
                        rewrite.put_location(value, out);
                    } else {
                        rewrite.put_set_cookie(value, out);
                    }
                    out.extend_from_slice(b"\r\n");
                }
                Some(_) | None => put_field(out, field.name.of(buf), value),
            }
        }
        // RFC 9110, section 8.6: no Content-Length in 1xx and 204; in answers to HEAD and in 304 it tells what a body
        // would have been.
        match (self.framing, self.length) {
            (Framing::None, Some(length)) if self.status >= 200 && self.status != 204 => {
                put_framing(out, Framing::Length(length));
            }
            (framing, _) => put_framing(out, framing),
        }
        if self.upgrade {
            out.extend_from_slice(b"connection: upgrade\r\n");
            put_field(out, b"upgrade", self.protocol.of(buf));
        }
    }
}

struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
    /// Its size with CRLF.
    bytes: usize,
}

/// The parts of the status line; none unless it has exactly the form of RFC 9112, section 4. A missing reason phrase and
/// the space before it are forgiven: servers that leave them out are many, and nothing else can be meant.
fn status_line(head: &[u8], parsed: &httparse::Response<'_, '_>) -> Option<StatusLine> {
    let version = match parsed.version? {
        0 => Version::Http10,
        1 => Version::Http11,
        _ => return None,
    };
    // "HTTP/1.1 200" is twelve bytes, then comes a space and the reason, or the end.
    const REASON_AT: usize = 13;
    let end = memchr::memchr(b'\n', head)?;
    let content = head.get(..end)?.strip_suffix(b"\r")?;
    if !content
        .get(12..)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
    {
        return None;
    }
    let reason = Span::new(REASON_AT, content.len().saturating_sub(REASON_AT));
    let allowed = |b: &u8| matches!(b, b'\t' | b' '..=b'~' | 0x80..);
    reason.of(head).iter().all(allowed).then_some(StatusLine {
        version,
        status: parsed.code?,
        reason,
        bytes: end + 1,
    })
}

#[cfg(test)]
mod tests;
