//! The head of a request: parsed from a caller's bytes, written on towards the agent and the backend.
//!
//! Parsing answers every question that frames or routes the request, or refuses it; what is written later is made from
//! those answers and not from the fields they came from. Whether the request is allowed is not judged here.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

use super::authority::{Authority, put_authority};
use super::credentials::check_token;
use super::error::{HeadError, Of, Problem};
use super::field::{Field, Kind};
use super::head::{
    At, Framing, Span, Version, connection, diagnose, diagnose_version, find, framing, pairs,
    places, put_field, put_framing, smuggling, trim_blanks, upgrade_protocol, walk,
};
use super::rewrite::Internal;
use super::{Limits, Smuggling};
use crate::limits::{FIELDS_MAX, METHOD_BYTES_MAX};
use crate::location::check_location;
use crate::wire::all;

/// The form of a request's target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed by RFC 9112, section 3.2")]
pub enum Target {
    /// `http://host:port/path`: what callers of a proxy send.
    Absolute,
    /// `/path`: what the agent receives, and callers that take the gateway for the server.
    Origin,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// Which host the backend is told it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by the rule language: virtual or internal"
)]
pub enum HostHeader<'a> {
    /// The virtual one, as the caller named it.
    Virtual,
    /// The internal one; the virtual one travels as `X-Forwarded-Host`.
    Internal(Internal<'a>),
}

/// A parsed request head: places in the buffer it was parsed from, without borrowing it. Methods that take `buf` want
/// that buffer, or one that begins with the same head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Size of the head with its blank line, in bytes; the body begins behind it.
    pub head_bytes: usize,
    /// The version the caller speaks.
    pub version: Version,
    /// How the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the caller will send another request on the connection.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the caller asks for another protocol, one that may be passed on, in a request without body. Anything less
    /// is an ordinary request: its Upgrade field ends here.
    pub upgrade: bool,
    /// The form of the target.
    pub target: Target,
    method: Span,
    host: Span,
    port: Option<u16>,
    path: Span,
    query: Option<Span>,
    protocol: Span,
    te_trailers: bool,
    fields: Vec<Field>,
}

impl RequestHead {
    /// Reads one head off the front of `buf`; none while it is not wholly there. What follows the head is not looked at.
    ///
    /// Calling it again with each byte that arrives is safe: an incomplete head costs a search for line ends, at most
    /// [`Limits::head_bytes`] long.
    ///
    /// # Errors
    /// What is wrong, and where. The connection it came on is not worth keeping: where the next request would begin is
    /// unknown.
    pub fn parse(buf: &[u8], limits: &Limits) -> Result<Option<Self>, HeadError> {
        let located = |(line, problem)| HeadError::new(Of::Request, line, problem);
        let Some(head_bytes) = walk(buf, limits).map_err(located)? else {
            return Ok(None);
        };
        let head = buf.get(..head_bytes).unwrap_or_default();
        Self::read(head, limits).map(Some).map_err(located)
    }

    fn read(head: &[u8], limits: &Limits) -> At<Self> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let outcome =
            ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, &mut room);
        let (start, (mut fields, kinds)) = match outcome {
            Ok(Status::Complete(size)) if size == head.len() => start_line(head, &parsed)
                .and_then(|start| {
                    places(head, start.bytes, parsed.headers).map(|fields| (start, fields))
                })
                .ok_or_else(|| diagnose(head))?,
            Err(httparse::Error::Version) => return Err(diagnose_version(head)),
            Err(httparse::Error::TooManyHeaders) => return Err((0, Problem::TooManyFields)),
            Ok(_) | Err(_) => return Err(diagnose(head)),
        };
        let method = start.method.of(head);
        if method.len() > METHOD_BYTES_MAX {
            return Err((1, Problem::MethodTooLong));
        }
        check_names(head, &fields, limits)?;
        let given = Given::read(head, &fields)?;
        let place = Place::read(head, method, start.target)?;
        let named = place.settle(head, given.host, start.version)?;
        let connect = place.target == Target::Authority;
        let options = connection(head, &mut fields, kinds)?;
        let framing = framing(head, start.version, &fields, kinds)?.unwrap_or(Framing::None);
        let empty = matches!(framing, Framing::None | Framing::Length(0));
        if connect && !empty {
            return Err((0, Problem::ConnectBody));
        }
        let http11 = start.version == Version::Http11;
        let protocol = if http11 && options.upgrade && empty && !connect {
            upgrade_protocol(head, &fields)
        } else {
            None
        };
        Ok(Self {
            head_bytes: head.len(),
            version: start.version,
            framing,
            keep_alive: options.persists(start.version),
            expects_continue: given.expect && http11 && !empty,
            upgrade: protocol.is_some(),
            target: place.target,
            method: start.method,
            host: named.host,
            port: named.port,
            path: place.path,
            query: place.query,
            protocol: protocol.unwrap_or_default(),
            te_trailers: http11 && given.te_trailers,
            fields,
        })
    }

    /// The method, as written: methods are case-sensitive.
    #[must_use]
    pub fn method<'b>(&self, buf: &'b [u8]) -> &'b str {
        self.method.text(buf)
    }

    /// Whether it means the same sent twice as sent once (RFC 9110, section 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self, buf: &[u8]) -> bool {
        matches!(
            self.method.of(buf),
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
    }

    /// Where the request goes: from the target, or from Host when the target names no host.
    #[must_use]
    pub fn authority<'b>(&self, buf: &'b [u8]) -> Authority<'b> {
        Authority {
            host: self.host.text(buf),
            port: self.port,
        }
    }

    /// The path as written, without query: `/` when the target has none, `*` for [`Target::Asterisk`], nothing for
    /// [`Target::Authority`]. Printable ASCII.
    #[must_use]
    pub fn path<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        match self.target {
            Target::Asterisk => b"*",
            Target::Authority => b"",
            Target::Absolute | Target::Origin if self.path.is_empty() => b"/",
            Target::Absolute | Target::Origin => self.path.of(buf),
        }
    }

    /// The query as written, without its `?`.
    #[must_use]
    pub fn query<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.query.map(|query| query.of(buf))
    }

    /// Path and query as they are forwarded. Borrowed, but for a target like `http://host?query`.
    #[must_use]
    pub fn path_and_query<'b>(&self, buf: &'b [u8]) -> Cow<'b, [u8]> {
        match (self.query(buf), self.path.is_empty()) {
            (None, _) => Cow::Borrowed(self.path(buf)),
            (Some(query), false) => {
                let length = self.path.of(buf).len() + 1 + query.len();
                Cow::Borrowed(self.path.inside(0, length).of(buf))
            }
            (Some(query), true) => Cow::Owned([self.path(buf), b"?", query].concat()),
        }
    }

    /// The value of the first field of this name, in any case; without blanks around it.
    #[must_use]
    pub fn field<'b>(&self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        find(buf, &self.fields, name)
    }

    /// Names and values in order, as the caller sent them.
    pub fn fields<'b>(&self, buf: &'b [u8]) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        pairs(buf, &self.fields)
    }

    /// The location ID the caller asks for; none for the default location.
    #[must_use]
    pub fn location<'b>(&self, buf: &'b [u8]) -> Option<&'b str> {
        self.of_kind(buf, Kind::SapLocation)
            .filter(|location| !location.is_empty())
    }

    /// The value of Proxy-Authorization; see [`ProxyCredentials::parse`](super::ProxyCredentials::parse).
    #[must_use]
    pub fn proxy_authorization<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.fields
            .iter()
            .find(|f| f.kind == Kind::ProxyAuthorization)
            .map(|f| f.value.of(buf))
    }

    /// The token of the person on whose behalf the application asks (SAP-Connectivity-Authentication), without `Bearer`.
    #[must_use]
    pub fn principal<'b>(&self, buf: &'b [u8]) -> Option<&'b str> {
        self.of_kind(buf, Kind::SapPrincipal).map(after_bearer)
    }

    /// The token of the technical user (SAP-Connectivity-Technical-Authentication), without `Bearer`.
    #[must_use]
    pub fn technical_principal<'b>(&self, buf: &'b [u8]) -> Option<&'b str> {
        self.of_kind(buf, Kind::SapTechnicalPrincipal)
            .map(after_bearer)
    }

    /// The value of SAP-Connectivity-ConsumerAccount. Only to be compared with the token's subaccount, never believed.
    #[must_use]
    pub fn consumer_account<'b>(&self, buf: &'b [u8]) -> Option<&'b str> {
        self.of_kind(buf, Kind::SapConsumerAccount)
    }

    fn of_kind<'b>(&self, buf: &'b [u8], kind: Kind) -> Option<&'b str> {
        self.fields
            .iter()
            .find(|f| f.kind == kind)
            .map(|f| f.value.text(buf))
    }

    /// Appends the head as it goes from gateway to agent.
    ///
    /// Written anew from what was parsed: the start line with an origin-form target and the caller's version, one Host in
    /// lower case, the one field that frames the body, and for an upgrade its two fields.
    ///
    /// Left out: the hop-by-hop fields of RFC 9110, section 7.6.1, and those the Connection field names; `TE` but for
    /// `trailers`; `Proxy` and `Proxy-*`; what the gateway consumes, `SAP-Connectivity-*` and `SAP-CP-Connectivity-*`;
    /// `SSL_CLIENT_CERT` and its kin, which a backend would take for the agent's word about the user; an `Expect` nobody
    /// waits on.
    ///
    /// Everything else passes as it is and in order. That includes `X-Forwarded-*`, `X-Original-URL`, `X-Rewrite-URL`
    /// and `X-HTTP-Method-Override`: they are the application's affair, and no decision here or in the rules looks at them.
    pub fn write_for_agent(&self, buf: &[u8], out: &mut Vec<u8>) {
        self.write(buf, &HostHeader::Virtual, false, out);
    }

    /// Appends the head as the backend receives it: as [`write_for_agent`](Self::write_for_agent) does, and with the
    /// host the rule names. With the internal host, `X-Forwarded-Host` is the virtual one and replaces any other.
    ///
    /// The connection to the backend is meant to be kept: HTTP/1.1 says so by default, for a caller's HTTP/1.0 it is
    /// written. A request in HTTP/1.0 stays one, so that the backend answers without chunks, which the caller could not
    /// read.
    pub fn write_for_backend(&self, buf: &[u8], host: &HostHeader<'_>, out: &mut Vec<u8>) {
        self.write(buf, host, true, out);
    }

    fn write(&self, buf: &[u8], host: &HostHeader<'_>, to_backend: bool, out: &mut Vec<u8>) {
        let virtual_host = self.authority(buf);
        out.reserve(self.head_bytes.saturating_add(64));
        out.extend_from_slice(self.method.of(buf));
        out.push(b' ');
        if self.target == Target::Authority {
            put_authority(out, virtual_host.host, virtual_host.port_or_default(), 0);
        } else {
            out.extend_from_slice(self.path(buf));
            if let Some(query) = self.query {
                out.push(b'?');
                out.extend_from_slice(query.of(buf));
            }
        }
        out.extend_from_slice(match self.version {
            Version::Http10 => b" HTTP/1.0\r\nhost: ",
            Version::Http11 => b" HTTP/1.1\r\nhost: ",
        });
        let put_virtual = |out: &mut Vec<u8>| {
            put_authority(out, virtual_host.host, virtual_host.port_or_default(), 80);
            out.extend_from_slice(b"\r\n");
        };
        let internal = match host {
            HostHeader::Virtual => {
                put_virtual(out);
                false
            }
            HostHeader::Internal(internal) => {
                internal.put(out);
                out.extend_from_slice(b"\r\nx-forwarded-host: ");
                put_virtual(out);
                true
            }
        };
        for field in &self.fields {
            let replaced = internal && field.kind == Kind::ForwardedHost;
            let waited_for = field.kind != Kind::Expect || self.expects_continue;
            if !field.kind.ends_here() && !field.nominated && !replaced && waited_for {
                put_field(out, field.name.of(buf), field.value.of(buf));
            }
        }
        put_framing(out, self.framing);
        match (self.upgrade, self.te_trailers) {
            (true, true) => out.extend_from_slice(b"connection: upgrade, te\r\n"),
            (true, false) => out.extend_from_slice(b"connection: upgrade\r\n"),
            (false, true) => out.extend_from_slice(b"connection: te\r\n"),
            (false, false) if to_backend && self.version == Version::Http10 => {
                out.extend_from_slice(b"connection: keep-alive\r\n");
            }
            (false, false) => {}
        }
        if self.te_trailers {
            out.extend_from_slice(b"te: trailers\r\n");
        }
        if self.upgrade {
            put_field(out, b"upgrade", self.protocol.of(buf));
        }
        out.extend_from_slice(b"\r\n");
    }
}

struct StartLine {
    method: Span,
    target: Span,
    version: Version,
    /// Its size with CRLF.
    bytes: usize,
}

/// The places of the three parts of the request line; none unless they fill it, with one space between each two.
fn start_line(head: &[u8], parsed: &httparse::Request<'_, '_>) -> Option<StartLine> {
    let (method, target) = (parsed.method?, parsed.path?);
    let (version, suffix): (_, &[u8]) = match parsed.version? {
        0 => (Version::Http10, b" HTTP/1.0\r\n"),
        1 => (Version::Http11, b" HTTP/1.1\r\n"),
        _ => return None,
    };
    let rest = head
        .strip_prefix(method.as_bytes())?
        .strip_prefix(b" ")?
        .strip_prefix(target.as_bytes())?;
    let target_at = method.len() + 1;
    rest.starts_with(suffix).then(|| StartLine {
        method: Span::new(0, method.len()),
        target: Span::new(target_at, target.len()),
        version,
        bytes: target_at + target.len() + suffix.len(),
    })
}

/// What the target says.
struct Place {
    target: Target,
    named: Option<Named>,
    path: Span,
    query: Option<Span>,
}

/// Where an authority stands, and what it says.
#[derive(Clone, Copy)]
struct Named {
    text: Span,
    host: Span,
    port: Option<u16>,
}

impl Named {
    fn read(head: &[u8], text: Span, line: usize) -> At<Self> {
        let authority =
            Authority::parse(text.of(head)).map_err(|why| (line, Problem::Host(why)))?;
        Ok(Self {
            text,
            host: text.inside(0, authority.host.len()),
            port: authority.port,
        })
    }
}

impl Place {
    fn read(head: &[u8], method: &[u8], target: Span) -> At<Self> {
        let bytes = target.of(head);
        if bytes.is_empty() || !all(bytes, |b| matches!(b, b'!'..=b'~') & (b != b'#')) {
            return Err((1, Problem::TargetByte));
        }
        let malformed = Err((1, Problem::TargetForm));
        let at = |offset: usize, length: usize| target.inside(offset, length);
        if method == b"CONNECT" {
            let named = Named::read(head, target, 1)?;
            if named.port.is_none() {
                return malformed;
            }
            return Ok(Self {
                target: Target::Authority,
                named: Some(named),
                path: Span::default(),
                query: None,
            });
        }
        if bytes == b"*" {
            return match method {
                b"OPTIONS" => Ok(Self {
                    target: Target::Asterisk,
                    named: None,
                    path: Span::default(),
                    query: None,
                }),
                _ => malformed,
            };
        }
        let split = |offset: usize| {
            let rest = bytes.get(offset..).unwrap_or_default();
            match memchr::memchr(b'?', rest) {
                Some(mark) => (
                    at(offset, mark),
                    Some(at(offset + mark + 1, rest.len() - mark - 1)),
                ),
                None => (at(offset, rest.len()), None),
            }
        };
        if bytes.first() == Some(&b'/') {
            let (path, query) = split(0);
            return Ok(Self {
                target: Target::Origin,
                named: None,
                path,
                query,
            });
        }
        let start = match bytes.split_at_checked(7) {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case(b"http://") => 7,
            Some(_) | None => return Err((1, other_scheme(bytes))),
        };
        let rest = bytes.get(start..).unwrap_or_default();
        let length = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let named = Named::read(head, at(start, length), 1)?;
        let (path, query) = split(start + length);
        // RFC 9112, section 3.2.4: OPTIONS with neither path nor query in its absolute form asks about the server.
        let target = match (method, path.is_empty(), query) {
            (b"OPTIONS", true, None) => Target::Asterisk,
            _ => Target::Absolute,
        };
        Ok(Self {
            target,
            named: Some(named),
            path,
            query,
        })
    }

    /// Where the request goes, from the target and the Host field.
    ///
    /// The target decides (RFC 9112, section 3.2.2); a Host field that says something else is an attempt to make someone
    /// behind us decide otherwise, and is refused.
    fn settle(&self, head: &[u8], host: Option<(usize, Span)>, version: Version) -> At<Named> {
        let (line, text) = match (host, self.named) {
            (Some(host), _) => host,
            (None, Some(named)) if version == Version::Http10 => return Ok(named),
            (None, _) => return Err((0, Problem::HostMissing)),
        };
        let Some(target) = self.named else {
            return Named::read(head, text, line);
        };
        if target.text.of(head) == text.of(head) {
            return Ok(target);
        }
        let host = Named::read(head, text, line)?;
        let same_host = target
            .host
            .of(head)
            .eq_ignore_ascii_case(host.host.of(head));
        // Some clients leave the port out of CONNECT's Host field; nobody means port 80 by that.
        let same_port = match (self.target, host.port) {
            (Target::Authority, None) => true,
            (_, port) => port.unwrap_or(80) == target.port.unwrap_or(80),
        };
        if same_host && same_port {
            Ok(target)
        } else {
            Err((line, Problem::HostMismatch))
        }
    }
}

/// What is wrong with a target that does not begin with `http://`.
fn other_scheme(target: &[u8]) -> Problem {
    let Some(end) = memchr::memmem::find(target, b"://") else {
        return Problem::TargetForm;
    };
    let name = target.get(..end).unwrap_or_default();
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(in_name) {
        Problem::Scheme
    } else {
        Problem::TargetForm
    }
}

/// What the fields say that is asked of every request.
#[derive(Default)]
struct Given {
    host: Option<(usize, Span)>,
    expect: bool,
    te_trailers: bool,
}

impl Given {
    fn read(head: &[u8], fields: &[Field]) -> At<Self> {
        let mut given = Self::default();
        for (index, field) in fields.iter().enumerate() {
            let line = index + 2;
            if let Some(name) = field.kind.single()
                && fields
                    .iter()
                    .take(index)
                    .any(|earlier| earlier.kind == field.kind)
            {
                return Err((line, Problem::Duplicate(name)));
            }
            let value = field.value.of(head);
            if field.kind == Kind::Host {
                if given.host.is_some() {
                    return smuggling(line, Smuggling::HostDuplicate);
                }
                given.host = Some((line, field.value));
            } else if field.kind == Kind::Expect {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err((line, Problem::Expectation));
                }
                given.expect = true;
            } else if field.kind == Kind::Te {
                given.te_trailers |= value
                    .split(|b| *b == b',')
                    .any(|c| trim_blanks(c).eq_ignore_ascii_case(b"trailers"));
            } else if field.kind == Kind::SapLocation {
                let checked = core::str::from_utf8(value).map(check_location);
                match checked {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => return Err((line, Problem::Location(why))),
                    Err(_) => {
                        return Err((line, Problem::Location(crate::LocationError::Character)));
                    }
                }
            } else if matches!(field.kind, Kind::SapPrincipal | Kind::SapTechnicalPrincipal) {
                let token = core::str::from_utf8(value)
                    .map(after_bearer)
                    .unwrap_or_default();
                if token.len() == value.len() || check_token(token.as_bytes()).is_err() {
                    return Err((
                        line,
                        Problem::Bearer(field.kind.single().unwrap_or_default()),
                    ));
                }
            }
        }
        Ok(given)
    }
}

/// The token behind `Bearer` and spaces; the whole text when it does not begin so.
fn after_bearer(value: &str) -> &str {
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => {
            token.trim_start_matches(' ')
        }
        Some(_) | None => value,
    }
}

fn check_names(head: &[u8], fields: &[Field], limits: &Limits) -> At<()> {
    if limits.underscore_names {
        return Ok(());
    }
    for (line, field) in (2..).zip(fields) {
        // SAP's own name for the location has an underscore: it is consumed here and reaches nobody else.
        if field.kind != Kind::SapLocation && field.name.of(head).contains(&b'_') {
            return smuggling(line, Smuggling::Underscore);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
