//! The rules once more, slow and obvious: what `decide` must agree with.
//!
//! Written from the text of the rule language, with strings and lists where the table has trees and hashes. It shares
//! the types of the rules with the crate under test and nothing else.
use adit_policy::{
    DenialReason, EncodedSlash, Protocol, Request, Resource, RuleSet, Scope, System,
};

/// What is decided: by which system and resource, or why not.
pub(crate) type Decision = Result<(usize, Option<usize>), DenialReason>;

pub(crate) fn decide(rules: &RuleSet, request: &Request<'_>) -> Decision {
    if !is_host(request.host()) || request.port() == 0 {
        return Err(DenialReason::HostMalformed);
    }
    let same_host =
        |system: &System| system.virtual_end.host.as_str() == request.host().to_ascii_lowercase();
    let same_port = |system: &System| system.virtual_end.ports.contains(request.port());
    let Some(at) = rules
        .systems
        .iter()
        .position(|s| same_host(s) && same_port(s))
    else {
        return Err(if rules.systems.iter().any(same_host) {
            DenialReason::PortDenied
        } else {
            DenialReason::SystemUnknown
        });
    };
    let system = &rules.systems[at];
    match *request {
        Request::Tcp { .. } => match system.protocol {
            Protocol::Http => Err(DenialReason::ProtocolMismatch),
            Protocol::Tcp | Protocol::Tls => Ok((at, None)),
        },
        Request::Http {
            method,
            path,
            upgrade,
            ..
        } => match system.protocol {
            Protocol::Http => {
                resource(system, method, path, upgrade).map(|resource| (at, Some(resource)))
            }
            Protocol::Tcp | Protocol::Tls => Err(DenialReason::ProtocolMismatch),
        },
        _ => panic!("a kind of request that the reference does not know"),
    }
}

fn is_host(host: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    host.len() <= 253
        && host
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.chars().all(letter))
}

fn resource(
    system: &System,
    method: &str,
    path: &[u8],
    upgrade: bool,
) -> Result<usize, DenialReason> {
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if method.is_empty() || !method.chars().all(tchar) || method == "CONNECT" {
        return Err(DenialReason::MethodDenied);
    }
    let Some(path) = read(path, system.encoded_slash) else {
        return Err(DenialReason::PathAmbiguous);
    };
    let reaching: Vec<(usize, &Resource, How)> = system
        .resources
        .iter()
        .enumerate()
        .filter_map(|(at, resource)| {
            how_reached(resource, &path, system.encoded_slash).map(|how| (at, resource, how))
        })
        .collect();
    let granting = reaching
        .iter()
        .filter(|(_, r, _)| r.active && r.methods.contains(method) && (r.upgrade || !upgrade))
        .max_by_key(|(_, _, how)| *how);
    if let Some((at, _, _)) = granting {
        return Ok(*at);
    }
    let any = |wanted: &dyn Fn(&Resource) -> bool| reaching.iter().any(|(_, r, _)| wanted(r));
    let fits = |r: &Resource| r.methods.contains(method) && (r.upgrade || !upgrade);
    if any(&|r| !r.active && fits(r)) {
        return Err(DenialReason::Suspended);
    }
    if any(&|r| r.active && r.methods.contains(method)) {
        return Err(DenialReason::UpgradeDenied);
    }
    if any(&|r| r.active) {
        return Err(DenialReason::MethodDenied);
    }
    if any(&|_| true) {
        return Err(DenialReason::Suspended);
    }
    Err(DenialReason::ResourceDenied)
}

/// How specifically a resource reaches a path; more is more specific: named segments, no parameters cut off, exact,
/// with the slash at the end.
type How = (usize, bool, bool, bool);

/// Whether `resource` reaches the path `request`, ignoring everything but the path.
pub(crate) fn reaches(resource: &Resource, request: &[u8], slash: EncodedSlash) -> bool {
    read(request, slash).is_some_and(|path| how_reached(resource, &path, slash).is_some())
}

fn how_reached(resource: &Resource, request: &[Segment], slash: EncodedSlash) -> Option<How> {
    let rule = read(resource.path.as_str().as_bytes(), slash).expect("a rule's path is canonical");
    let named = rule.iter().filter(|segment| !segment.is_empty()).count();
    let how = |whole| {
        let exact = resource.scope == Scope::Exact;
        Some((named, whole, exact, rule.len() > named))
    };
    if path_matches(&rule, resource.scope, request) {
        return how(true);
    }
    if resource.parameters && named > 0 {
        let mut cut = request.to_vec();
        let last = cut.get_mut(named - 1)?;
        let semicolon = last.iter().position(|unit| *unit == u16::from(b';'))?;
        last.truncate(semicolon);
        if path_matches(&rule, resource.scope, &cut) {
            return how(false);
        }
    }
    None
}

fn path_matches(rule: &[Segment], scope: Scope, request: &[Segment]) -> bool {
    match scope {
        Scope::Exact => rule == request,
        Scope::Subtree => {
            let (last, before) = rule.split_last().expect("a path has a segment");
            if last.is_empty() {
                request.len() >= rule.len() && request.starts_with(before)
            } else {
                request.starts_with(rule)
            }
        }
    }
}

/// A decoded segment. An encoded `;` is a unit of its own, 0x100 + `;`.
pub(crate) type Segment = Vec<u16>;

/// The segments of a path, the last one empty if it ends in a slash; `None` if it is ambiguous.
pub(crate) fn read(path: &[u8], slash: EncodedSlash) -> Option<Vec<Segment>> {
    let path = path.strip_prefix(b"/")?;
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let count = segments.len();
    let mut read = Vec::new();
    for (at, segment) in segments.into_iter().enumerate() {
        read.push(read_segment(segment, at + 1 == count, slash)?);
    }
    Some(read)
}

fn read_segment(raw: &[u8], last: bool, slash: EncodedSlash) -> Option<Segment> {
    if raw.is_empty() {
        return last.then(Vec::new);
    }
    if raw.iter().any(|byte| b" ?#".contains(byte)) {
        return None;
    }
    let decoded = decode(raw, true)?;
    let bytes: Vec<u8> = decoded.iter().map(|(byte, _)| *byte).collect();
    if bytes.contains(&b'\\') || (bytes.contains(&b'/') && slash == EncodedSlash::Refuse) {
        return None;
    }
    look(&bytes, last)?;

    let mut layer = bytes;
    for round in 1.. {
        let next = decode(&layer, false)?;
        if next.iter().all(|(_, encoded)| !encoded) {
            break;
        }
        if round == 8 {
            return None;
        }
        let hides = |byte: &u8| b"./\\\x7f".contains(byte) || *byte < b' ';
        if next.iter().any(|(byte, encoded)| *encoded && hides(byte)) {
            return None;
        }
        layer = next.into_iter().map(|(byte, _)| byte).collect();
        look(&layer, last)?;
    }

    let unit = |(byte, encoded): (u8, bool)| {
        if encoded && byte == b';' {
            0x100 + u16::from(byte)
        } else {
            u16::from(byte)
        }
    };
    Some(decoded.into_iter().map(unit).collect())
}

/// Decodes percent-encoding once and says of each byte whether it was encoded. A percent sign without two digits is
/// none of an encoding: `None` when `strict`, else a byte of its own.
fn decode(bytes: &[u8], strict: bool) -> Option<Vec<(u8, bool)>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|code| std::str::from_utf8(code).ok())
            .filter(|code| code.chars().all(|c| c.is_ascii_hexdigit()))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => {
                decoded.push((byte, true));
                at += 3;
            }
            None if bytes[at] == b'%' && strict => return None,
            None => {
                decoded.push((bytes[at], false));
                at += 1;
            }
        }
    }
    Some(decoded)
}

/// `None` when a decoded segment is no text, or could be dropped or resolved.
fn look(bytes: &[u8], last: bool) -> Option<()> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lookalikes = "\u{2024}\u{2025}\u{fe52}\u{ff0e}\u{2044}\u{2215}\u{ff0f}\u{2100}\u{2101}\u{2105}\u{2106}\
                      \u{2216}\u{29f5}\u{fe68}\u{ff3c}\u{fe6a}\u{ff05}";
    if text
        .chars()
        .any(|c| c.is_control() || lookalikes.contains(c))
    {
        return None;
    }
    // A kept slash separates segments for a backend that decodes it.
    let pieces: Vec<&str> = text.split('/').collect();
    for (at, piece) in pieces.iter().enumerate() {
        let name = piece.split(';').next()?;
        let invisible = "\u{ad}\u{34f}\u{61c}\u{180b}\u{180c}\u{180d}\u{180e}\u{180f}\u{feff}";
        let blank = |c: char| {
            let n = u32::from(c);
            let ranges = [
                0x200b..=0x200f,
                0x202a..=0x202e,
                0x2060..=0x206f,
                0xfe00..=0xfe0f,
            ];
            c.is_whitespace()
                || invisible.contains(c)
                || ranges.iter().any(|range| range.contains(&n))
        };
        if name.contains('.') && name.chars().all(|c| c == '.' || blank(c)) {
            return None;
        }
        let nameless = piece.contains(';') && name.chars().all(blank);
        if nameless && !last && at == 0 {
            return None;
        }
    }
    Some(())
}
