//! What request and response heads have in common: lines, fields, framing, the Connection field.
//!
//! A head is read in two steps that must agree: our own walk over the lines, which alone decides where the head ends and
//! accepts CRLF only, and httparse, which takes the lines apart. Start lines and what they mean are left to `request`
//! and `response`.

use alloc::vec::Vec;

use super::error::Problem;
use super::field::{Field, Kind, Kinds};
use super::{Limits, Smuggling};
use crate::limits::CONNECTION_OPTIONS_MAX;

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "HTTP/1 has no third version")]
pub enum Version {
    /// HTTP/1.0: one request a connection unless asked for more, no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a body is told (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed by RFC 9112, section 6.3")]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, then perhaps trailers.
    Chunked,
    /// All until the connection closes; responses only.
    UntilClose,
}

/// A place in the buffer a head was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, length: usize) -> Self {
        // Limits keep heads far below 4 GiB; a span that did not fit would read as empty or short, never out of bounds.
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            start: narrow(start),
            end: narrow(start.saturating_add(length)),
        }
    }

    /// The bytes at this place; none when `buf` is not the buffer it was made for.
    pub(super) fn of(self, buf: &[u8]) -> &[u8] {
        let wide = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        buf.get(wide(self.start)..wide(self.end))
            .unwrap_or_default()
    }

    pub(super) fn text(self, buf: &[u8]) -> &str {
        core::str::from_utf8(self.of(buf)).unwrap_or_default()
    }

    pub(super) const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The `length` bytes from `offset` on within this place.
    pub(super) fn inside(self, offset: usize, length: usize) -> Self {
        Self::new(
            usize::try_from(self.start)
                .unwrap_or(usize::MAX)
                .saturating_add(offset),
            length,
        )
    }
}

/// What is wrong, and in which line.
pub(super) type At<T> = Result<T, (usize, Problem)>;

pub(super) const fn smuggling<T>(line: usize, class: Smuggling) -> At<T> {
    Err((line, Problem::Smuggling(class)))
}

/// Finds the end of the head and returns its size with the blank line; none while it has not arrived.
///
/// Costs one search for line ends, so that asking again with each byte of a head that dribbles in stays cheap: contents
/// are looked at once, when the head is whole. What is refused here is refused at the same byte however the input was
/// cut.
pub(super) fn walk(buf: &[u8], limits: &Limits) -> At<Option<usize>> {
    let mut start = 0;
    let mut line = 1;
    loop {
        let rest = buf.get(start..).unwrap_or_default();
        let longest_line = limits.line_bytes.saturating_add(2);
        let left = limits.head_bytes.saturating_sub(start);
        let window = longest_line.min(left);
        let Some(end) = memchr::memchr(b'\n', rest.get(..window).unwrap_or(rest)) else {
            if rest.len() < window {
                return Ok(None);
            }
            let problem = if longest_line < left {
                Problem::LineTooLarge
            } else {
                Problem::HeadTooLarge
            };
            return Err((line, problem));
        };
        let content = match end.checked_sub(1) {
            Some(content) if rest.get(content) == Some(&b'\r') => content,
            _ => return smuggling(line, Smuggling::BareLf),
        };
        // "\r\r\n" looks like the blank line to a careless reader: refused here, for waiting on would look like a stall.
        if content > 0 && rest.first() == Some(&b'\r') {
            return smuggling(line, Smuggling::BareCr);
        }
        start += end + 1;
        match (content, line) {
            (0, 1) => return smuggling(line, Smuggling::LeadingCrlf),
            (0, _) => return Ok(Some(start)),
            (_, _) if line > limits.fields + 1 => return Err((line, Problem::TooManyFields)),
            (_, _) => line += 1,
        }
    }
}

/// Turns httparse's fields into places in `head`, which is whole and whose first field begins at `start`, and says of
/// which kinds they are. Walks every byte between the fields itself, so that nothing can hide where the two readers
/// differ; none when they do.
pub(super) fn places(
    head: &[u8],
    start: usize,
    parsed: &[httparse::Header<'_>],
) -> Option<(Vec<Field>, Kinds)> {
    let mut fields = Vec::with_capacity(parsed.len());
    let mut kinds = Kinds::default();
    let mut at = start;
    for header in parsed {
        let name = Span::new(at, header.name.len());
        debug_assert_eq!(
            name.of(head),
            header.name.as_bytes(),
            "fields stand one behind the other"
        );
        at += header.name.len();
        if head.get(at) != Some(&b':') {
            return None;
        }
        at += 1;
        let mut plain = true;
        while let Some(blank @ (b' ' | b'\t')) = head.get(at) {
            plain &= *blank == b' ';
            at += 1;
        }
        let value = Span::new(at, header.value.len());
        debug_assert_eq!(
            value.of(head),
            header.value,
            "a value stands behind its name"
        );
        at += header.value.len();
        while let Some(b' ' | b'\t') = head.get(at) {
            plain = plain && header.value.is_empty();
            at += 1;
        }
        if head.get(at..at + 2) != Some(b"\r\n") {
            return None;
        }
        at += 2;
        let kind = Kind::of(header.name.as_bytes());
        kinds.add(kind);
        fields.push(Field {
            name,
            value,
            kind,
            plain,
            nominated: false,
        });
    }
    (head.get(at..) == Some(b"\r\n")).then_some((fields, kinds))
}

/// Says what is wrong with a whole head that could not be taken apart: the first line that is not what it should be.
pub(super) fn diagnose(head: &[u8]) -> (usize, Problem) {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let mut line = 0;
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (content, next) = rest.split_at(end);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        rest = next.get(1..).unwrap_or_default();
        line += 1;
        if let Some(class) = content.iter().find_map(|b| foreign(*b)) {
            return (line, Problem::Smuggling(class));
        }
        if line == 1 || content.is_empty() {
            continue;
        }
        let colon = memchr::memchr(b':', content);
        let name = content
            .get(..colon.unwrap_or(content.len()))
            .unwrap_or_default();
        let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
        if blank(content.first()) {
            return (line, Problem::Smuggling(Smuggling::ObsFold));
        }
        if colon == Some(0) {
            return (line, Problem::Smuggling(Smuggling::EmptyName));
        }
        if colon.is_some() && blank(name.last()) {
            return (line, Problem::Smuggling(Smuggling::SpaceBeforeColon));
        }
        if colon.is_none() || !name.iter().all(is_token) {
            return (line, Problem::Field);
        }
    }
    (1, Problem::StartLine)
}

/// Says what is wrong with a whole head whose version could not be read: a byte that has no business in the line, or the
/// version.
pub(super) fn diagnose_version(head: &[u8]) -> (usize, Problem) {
    match diagnose(head) {
        found @ (1, Problem::Smuggling(_)) => found,
        _ => (1, Problem::Version),
    }
}

/// The class of a byte that may stand nowhere in a line.
const fn foreign(byte: u8) -> Option<Smuggling> {
    match byte {
        b'\r' => Some(Smuggling::BareCr),
        0 => Some(Smuggling::Nul),
        b'\t' => None,
        0x01..=0x1F | 0x7F => Some(Smuggling::ControlByte),
        _ => None,
    }
}

/// What the Connection field of a head asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// Reads the Connection field, and marks the fields it names.
pub(super) fn connection(buf: &[u8], fields: &mut [Field], kinds: Kinds) -> At<Options> {
    const SPEAKING: Kinds = Kinds::of(&[Kind::Connection, Kind::ProxyConnection]);
    let mut options = Options::default();
    if !kinds.has_any(SPEAKING) {
        return Ok(options);
    }
    let mut count = 0;
    for index in 0..fields.len() {
        let Some(field) = fields.get(index).copied() else {
            break;
        };
        let line = index + 2;
        if field.kind == Kind::ProxyConnection {
            options.close |= field.value.of(buf).eq_ignore_ascii_case(b"close");
        }
        if field.kind != Kind::Connection {
            continue;
        }
        // What nearly all say.
        if field.value.of(buf).eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
            continue;
        }
        for option in field
            .value
            .of(buf)
            .split(|b| *b == b',')
            .map(trim_blanks)
            .filter(|o| !o.is_empty())
        {
            count += 1;
            if count > CONNECTION_OPTIONS_MAX || !option.iter().all(|b| b.is_ascii_graphic()) {
                return Err((line, Problem::Connection));
            }
            if option.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                let kind = Kind::of(option);
                if matches!(
                    kind,
                    Kind::Host | Kind::ContentLength | Kind::TransferEncoding | Kind::Expect
                ) {
                    return smuggling(line, Smuggling::ConnectionNames);
                }
                for named in fields.iter_mut() {
                    named.nominated |= named.name.of(buf).eq_ignore_ascii_case(option);
                }
            }
        }
    }
    Ok(options)
}

impl Options {
    /// Whether the connection may carry another message after this one (RFC 9112, section 9.3).
    pub(super) const fn persists(self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// The one length or coding of a message, if it has any (RFC 9112, sections 6.1 and 6.2, read strictly).
pub(super) fn framing(
    buf: &[u8],
    version: Version,
    fields: &[Field],
    kinds: Kinds,
) -> At<Option<Framing>> {
    const FRAMING: Kinds =
        Kinds::of(&[Kind::ContentLength, Kind::TransferEncoding, Kind::Lookalike]);
    let mut found: Option<Framing> = None;
    if !kinds.has_any(FRAMING) {
        return Ok(found);
    }
    for (line, field) in (2..).zip(fields) {
        if !FRAMING.has(field.kind) {
            continue;
        }
        let value = field.value.of(buf);
        let read = if field.kind == Kind::ContentLength {
            content_length(value, field.plain).map(Framing::Length)
        } else if field.kind == Kind::TransferEncoding {
            transfer_encoding(value, field.plain, version).map(|()| Framing::Chunked)
        } else {
            Err(Smuggling::Lookalike)
        };
        let next = match read {
            Ok(next) => next,
            Err(class) => return smuggling(line, class),
        };
        found = match (found, next) {
            (None, next) => Some(next),
            (Some(Framing::Length(_)), Framing::Length(_)) => {
                return smuggling(line, Smuggling::ClDuplicate);
            }
            (Some(Framing::Length(_)), _) => return smuggling(line, Smuggling::ClTe),
            (Some(_), Framing::Length(_)) => return smuggling(line, Smuggling::TeCl),
            (Some(_), _) => return smuggling(line, Smuggling::TeDuplicate),
        };
    }
    Ok(found)
}

/// The longest number that surely fits: 10^19 - 1 is below 2^64.
const LENGTH_DIGITS_MAX: usize = 19;

fn content_length(value: &[u8], plain: bool) -> Result<u64, Smuggling> {
    if !plain {
        return Err(Smuggling::ClWhitespace);
    }
    if value.contains(&b',') {
        return Err(Smuggling::ClList);
    }
    if let Some(b'+' | b'-') = value.first() {
        return Err(Smuggling::ClSigned);
    }
    if !value.iter().all(u8::is_ascii_digit) {
        let digits = value
            .strip_prefix(b"0x")
            .or_else(|| value.strip_prefix(b"0X"))
            .unwrap_or(value);
        let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        return Err(if hex {
            Smuggling::ClHex
        } else {
            Smuggling::ClSyntax
        });
    }
    if value.is_empty() {
        return Err(Smuggling::ClSyntax);
    }
    if value.len() > LENGTH_DIGITS_MAX {
        return Err(Smuggling::ClOverlong);
    }
    Ok(value
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn transfer_encoding(value: &[u8], plain: bool, version: Version) -> Result<(), Smuggling> {
    if version == Version::Http10 {
        return Err(Smuggling::TeHttp10);
    }
    if !plain {
        return Err(Smuggling::TeWhitespace);
    }
    if value.contains(&b',') {
        return Err(Smuggling::TeList);
    }
    if value.contains(&b';') {
        return Err(Smuggling::TeParameter);
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        Ok(())
    } else {
        Err(Smuggling::TeUnknown)
    }
}

/// The protocol an Upgrade field names, when it names exactly one that may be passed on.
///
/// HTTP/2 and TLS may not: both would carry requests past the rules that judged the first one.
pub(super) fn upgrade_protocol(buf: &[u8], fields: &[Field]) -> Option<Span> {
    let mut named = fields.iter().filter(|f| f.kind == Kind::Upgrade);
    let (Some(field), None) = (named.next(), named.next()) else {
        return None;
    };
    let value = field.value.of(buf);
    let is_protocol = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(b);
    let begins = |known: &[u8]| {
        value
            .get(..known.len())
            .is_some_and(|v| v.eq_ignore_ascii_case(known))
    };
    let hides_requests = begins(b"h2") || begins(b"http") || begins(b"tls");
    (!value.is_empty() && value.iter().all(is_protocol) && !hides_requests).then_some(field.value)
}

/// Without spaces and tabs at both ends.
pub(super) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Names and values of a head, in order.
pub(super) fn pairs<'b>(
    buf: &'b [u8],
    fields: &[Field],
) -> impl Iterator<Item = (&'b str, &'b [u8])> {
    fields
        .iter()
        .map(move |field| (field.name.text(buf), field.value.of(buf)))
}

/// The value of the first field of this name.
pub(super) fn find<'b>(buf: &'b [u8], fields: &[Field], name: &str) -> Option<&'b [u8]> {
    fields
        .iter()
        .find(|field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))
        .map(|field| field.value.of(buf))
}

/// Appends `name: value` and CRLF.
pub(super) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the field that tells this framing, if there is one.
pub(super) fn put_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            put_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// Appends a number in decimal digits.
pub(super) fn put_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut first = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        first = place;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 7, 10, 100, 1_000_001, u64::MAX] {
            let mut out = Vec::new();
            put_decimal(&mut out, number);
            assert_eq!(out, std::format!("{number}").as_bytes());
        }
    }

    #[test]
    fn a_span_of_another_buffer_is_empty_rather_than_a_panic() {
        assert_eq!(Span::new(5, 3).of(b"abc"), b"");
        assert_eq!(Span::new(usize::MAX, usize::MAX).of(b"abc"), b"");
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let limits = Limits {
            line_bytes: 10,
            ..Limits::default()
        };
        assert_eq!(walk(b"0123456789\r\n\r\n", &limits), Ok(Some(14)));
        assert_eq!(
            walk(b"0123456789A\r\n\r\n", &limits),
            Err((1, Problem::LineTooLarge))
        );
        assert_eq!(walk(b"0123456789\r", &limits), Ok(None));
        assert_eq!(
            walk(b"0123456789AB", &limits),
            Err((1, Problem::LineTooLarge))
        );
        assert_eq!(
            walk(b"a\r\n0123456789A\r\n\r\n", &limits),
            Err((2, Problem::LineTooLarge))
        );
    }

    #[test]
    fn the_longest_head_passes_and_one_byte_more_does_not() {
        let limits = Limits {
            head_bytes: 8,
            ..Limits::default()
        };
        assert_eq!(walk(b"a\r\nb\r\n\r\n", &limits), Ok(Some(8)));
        assert_eq!(
            walk(b"a\r\nbc\r\n\r\n", &limits),
            Err((3, Problem::HeadTooLarge))
        );
        assert_eq!(walk(b"abcdefg", &limits), Ok(None));
        let both = Limits {
            line_bytes: 6,
            head_bytes: 8,
            ..Limits::default()
        };
        assert_eq!(
            walk(b"abcdefgh", &both),
            Err((1, Problem::HeadTooLarge)),
            "the head is told first"
        );
        assert_eq!(walk(b"abcdefgh", &limits), Err((1, Problem::HeadTooLarge)));
    }

    #[test]
    fn as_many_fields_as_allowed_pass_and_one_more_does_not() {
        let limits = Limits {
            fields: 2,
            ..Limits::default()
        };
        assert_eq!(walk(b"s\r\na:\r\nb:\r\n\r\n", &limits), Ok(Some(13)));
        assert_eq!(
            walk(b"s\r\na:\r\nb:\r\nc:\r\n\r\n", &limits),
            Err((4, Problem::TooManyFields))
        );
    }
}
