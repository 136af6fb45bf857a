//! Rule sets as people write them, and paths as callers do.

use adit_policy::canonical::Oddity;
use adit_policy::canonical::path::Path;
use adit_policy::{
    EncodedSlash, HostName, InternalHost, Request, ResourcePath, Snapshot, Table, address_class,
    parse,
};

use crate::input::Input;

/// [`parse`] and [`Table::compile`]: no text panics, every problem has its place, and what is accepted is written back
/// to a text that means the same.
pub fn policy_parse(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.split('\n').count();
    let rules = match parse("rules.toml", &text) {
        Ok(rules) => rules,
        Err(problems) => {
            assert!(!problems.list().is_empty());
            for problem in problems.list() {
                let line = usize::try_from(problem.line()).expect("a line number fits");
                assert!(line <= lines + 1, "{problem} in {lines} lines");
                assert!(!problem.message().is_empty());
            }
            return;
        }
    };
    let written = rules.to_string();
    let again = parse("rules.toml", &written);
    assert_eq!(
        again.as_ref().ok(),
        Some(&rules),
        "written as\n{written}\nbecame {again:?}"
    );
    let table = Table::compile(&rules).map_err(|problems| problems.to_string());
    let snapshot = Snapshot::new(1, text.into_owned()).map_err(|problems| problems.to_string());
    match (table, snapshot) {
        (Ok(table), Ok(snapshot)) => {
            assert_eq!(table.rules(), snapshot.table().rules());
            ask(&table);
        }
        (Err(_), Err(_)) => {}
        (table, snapshot) => panic!(
            "compiled {:?}, as a snapshot {:?}",
            table.is_ok(),
            snapshot.is_ok()
        ),
    }
}

/// Each active resource grants its own path, and an opaque system its own port.
fn ask(table: &Table) {
    for system in &table.rules().systems {
        let host = system.virtual_end.host.as_str();
        let port = system.virtual_end.ports.first();
        let opaque = table.decide(&Request::Tcp { host, port });
        assert_eq!(
            opaque.is_ok(),
            system.protocol != adit_policy::Protocol::Http
        );
        for resource in &system.resources {
            let Some(method) = resource.methods.names().next().or(Some("GET")) else {
                continue;
            };
            if !resource.active || !resource.methods.contains(method) || method == "CONNECT" {
                continue;
            }
            let path = resource.path.as_str().as_bytes();
            let request = Request::Http {
                host,
                port,
                method,
                path,
                upgrade: false,
            };
            let decision = table.decide(&request);
            assert!(
                decision.is_ok(),
                "{request} is denied by its own rule: {:?}",
                decision.err()
            );
        }
    }
}

/// What becomes comparable: a path, a host, and what a rule may name. The first byte chooses what.
pub fn policy_canonical(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let data = input.rest();
    let text = String::from_utf8_lossy(data);
    match kind % 3 {
        0 => path(data),
        1 => {
            if let Ok(host) = HostName::new(&text) {
                let host = host.as_str();
                assert!(host.len() <= 253 && !host.is_empty());
                assert!(
                    host.bytes().all(|b| b.is_ascii_lowercase()
                        || b.is_ascii_digit()
                        || b"-._".contains(&b))
                );
                assert!(!host.starts_with('.') && !host.ends_with('.') && !host.contains(".."));
                let again = HostName::new(host).map(|again| again.as_str() == host);
                assert!(
                    matches!(again, Ok(true)),
                    "{host} is not its own canonical form"
                );
            }
            if let Ok(host) = InternalHost::new(&text)
                && let Some(address) = host.address()
            {
                assert_eq!(host.class(), address_class(address), "{text}");
            }
        }
        _ => {
            for slash in [EncodedSlash::Refuse, EncodedSlash::Keep] {
                if let Ok(resource) = ResourcePath::new(&text, slash) {
                    assert_eq!(resource.as_str(), text);
                    assert!(Path::judge(text.as_bytes(), slash).is_ok());
                }
            }
        }
    }
}

fn path(raw: &[u8]) {
    let strict = Path::judge(raw, EncodedSlash::Refuse);
    let lenient = Path::judge(raw, EncodedSlash::Keep);
    if let Ok(path) = &strict {
        assert_eq!(path.as_bytes(), raw, "nothing is rewritten");
        assert!(lenient.is_ok(), "what is plain needs no leniency");
        plain_in_every_layer(raw);
    }
    if let Ok(path) = &lenient {
        assert_eq!(path.as_bytes(), raw);
        // A kept `%2F` is text; all else stays forbidden. But for one thing: a segment of parameters alone, which is
        // refused in the middle of a path, passes there when a slash was kept in it.
        let masked = mask_slashes(raw);
        if let Err(why) = Path::judge(&masked, EncodedSlash::Refuse) {
            assert_eq!(
                why.oddity(),
                Oddity::EmptySegment,
                "more than a slash was kept"
            );
        }
    }
}

/// Decodes again and again, as a careless chain of programs would, and finds no other path than the first one saw.
fn plain_in_every_layer(raw: &[u8]) {
    let slashes = raw.iter().filter(|byte| **byte == b'/').count();
    let mut layer = raw.to_vec();
    for depth in 0..20 {
        assert_eq!(
            layer.iter().filter(|byte| **byte == b'/').count(),
            slashes,
            "a hidden slash"
        );
        assert!(!layer.contains(&b'\\'), "a backslash");
        assert!(!layer.iter().any(u8::is_ascii_control), "a control byte");
        // As sent, a character may be encoded by half; a request's target is ASCII anyway.
        assert!(
            depth == 0 || std::str::from_utf8(&layer).is_ok(),
            "no UTF-8"
        );
        let mut segments = layer.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let name = segment
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            assert!(name != b"." && name != b"..", "a dot segment");
            assert!(
                !segment.is_empty() || segments.peek().is_none(),
                "an empty segment"
            );
        }
        let decoded = decode(&layer);
        if decoded == layer {
            return;
        }
        layer = decoded;
    }
    panic!("more layers than anybody needs");
}

/// One layer of percent-decoding; what is no encoding stands for itself.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        let pair = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = pair
            .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match value {
            Some(value) if *byte == b'%' => {
                decoded.push(value);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// The same with a letter in place of each `%2F`.
fn mask_slashes(raw: &[u8]) -> Vec<u8> {
    let mut masked = Vec::new();
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        if matches!(rest, [b'%', b'2', b'F' | b'f', ..]) {
            masked.push(b'x');
            rest = &rest[3..];
        } else {
            masked.push(*byte);
            rest = tail;
        }
    }
    masked
}
