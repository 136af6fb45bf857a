//! Cloud Connector's access control once more, slow and obvious, as SAP documents it: what an import must never exceed.
//!
//! Sources: SAP BTP Connectivity documentation, "Configure Access Control (HTTP)" (the path is compared with regard to
//! case, the query ignored, the method not considered; "path only" is equality; "path and all sub-paths" is a plain test
//! of the beginning; resources that are not active are denied; an upgrade needs its flag), "Configure Accessible
//! Resources" (what is not listed is denied) and "Configure Access Control (TCP)" (a port range is open as a whole).
use super::*;

/// Segments of resources, chosen to meet, nearly meet and be odd.
const SEGMENTS: [&str; 16] = [
    "a",
    "b",
    "ab",
    "a;v=1",
    "b;x",
    "c%20d",
    "%61",
    "a%2Fb",
    "..",
    "",
    "A",
    "a b",
    "stra\u{df}e",
    "k('1')",
    "a%3Bv",
    "*",
];

const HOSTS: [&str; 4] = ["erp", "Erp", "db", "mail.virtual"];

#[derive(Debug)]
struct Mapping {
    host: &'static str,
    ports: (u16, u16),
    protocol: &'static str,
    resources: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    enabled: bool,
    exact: bool,
    upgrade: bool,
}

fn export(sample: &mut Sample) -> Vec<Mapping> {
    (0..=sample.below(4))
        .map(|_| {
            let protocol = ["HTTP", "HTTPS", "HTTP", "TCP", "TCPS", "LDAP"][sample.below(6)];
            let first = 80 + u16::try_from(sample.below(4)).unwrap();
            let width = if protocol.starts_with("TCP") {
                sample.below(3)
            } else {
                0
            };
            let resources = (0..sample.below(6)).map(|_| entry(sample)).collect();
            Mapping {
                host: HOSTS[sample.below(HOSTS.len())],
                ports: (first, first + u16::try_from(width).unwrap()),
                protocol,
                resources,
            }
        })
        .collect()
}

fn entry(sample: &mut Sample) -> Entry {
    let mut id = String::new();
    for _ in 0..=sample.below(3) {
        id.push('/');
        id.push_str(SEGMENTS[sample.below(SEGMENTS.len())]);
    }
    Entry {
        id,
        enabled: !sample.chance(15),
        exact: sample.chance(40),
        upgrade: sample.chance(30),
    }
}

fn written(export: &[Mapping]) -> String {
    let systems: Vec<String> = export
        .iter()
        .map(|mapping| {
            let (first, last) = mapping.ports;
            let port = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            let resources: Vec<String> = mapping
                .resources
                .iter()
                .map(|entry| resource(&entry.id, entry.enabled, entry.exact, entry.upgrade))
                .collect();
            let more = format!(r#","resources":[{}]"#, resources.join(","));
            system(mapping.host, &port, mapping.protocol, &more)
        })
        .collect();
    format!("[{}]", systems.join(","))
}

/// A path with its encoded letters decoded: RFC 3986, section 6.2.2.2 calls both spellings one. A slash and a semicolon
/// mean something else when they are encoded, and stay apart.
fn plain(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let hex = |at: usize| {
            tail.get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (byte, hex(0).zip(hex(1))) {
            (b'%', Some((high, low))) => {
                rest = &tail[2..];
                out.push(match u8::try_from(high * 16 + low).unwrap() {
                    b'/' => 0x01,
                    b';' => 0x02,
                    byte => byte,
                });
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

fn is_meant(mapping: &Mapping, request: &Request<'_>) -> bool {
    mapping.host.eq_ignore_ascii_case(request.host())
        && (mapping.ports.0..=mapping.ports.1).contains(&request.port())
}

/// Whether Cloud Connector allows a request.
fn allows(export: &[Mapping], request: &Request<'_>) -> bool {
    export.iter().any(|mapping| match *request {
        Request::Tcp { .. } => mapping.protocol.starts_with("TCP") && is_meant(mapping, request),
        Request::Http { path, upgrade, .. } => {
            mapping.protocol.starts_with("HTTP")
                && is_meant(mapping, request)
                && mapping.resources.iter().any(|entry| {
                    let (path, id) = (plain(path), plain(entry.id.as_bytes()));
                    let reaches = if entry.exact {
                        path == id
                    } else {
                        path.starts_with(&id)
                    };
                    entry.enabled && reaches && (entry.upgrade || !upgrade)
                })
        }
        _ => panic!("a kind of request that the reference does not know"),
    })
}

/// A request that has something to do with `export`.
fn request(sample: &mut Sample, export: &[Mapping]) -> OwnedRequest {
    let mapping = &export[sample.below(export.len())];
    let (first, last) = mapping.ports;
    let port = first + u16::try_from(sample.below(usize::from(last - first) + 2)).unwrap();
    if mapping.protocol.starts_with("TCP") != sample.chance(5) {
        return Request::Tcp {
            host: mapping.host,
            port,
        }
        .to_owned();
    }
    let mut path = match mapping.resources.get(sample.below(6)) {
        Some(entry) => entry.id.clone(),
        None => entry(sample).id,
    };
    for _ in 0..sample.below(3) {
        path.push_str(["/", "x", ";v=2", "/a", "/b%2Fc", "%61", "2"][sample.below(7)]);
    }
    Request::Http {
        host: mapping.host,
        port,
        method: ["GET", "POST", "XYZZY"][sample.below(3)],
        path: path.replace(' ', "%20").as_bytes(),
        upgrade: sample.chance(20),
    }
    .to_owned()
}

/// Imported rules never allow what Cloud Connector denies, whichever way encoded slashes are read.
#[test]
fn an_import_never_allows_what_was_denied_there() {
    let (mut granted, mut denied_there, mut narrower) = (0, 0, 0);
    for seed in 0..3000 {
        let mut sample = Sample::new(seed);
        let export = export(&mut sample);
        let choice = Choice {
            encoded_slash: if sample.chance(30) {
                EncodedSlash::Keep
            } else {
                EncodedSlash::Refuse
            },
            ..Choice::default()
        };
        let import = import(written(&export).as_bytes(), &choice).unwrap();
        let snapshot = Snapshot::new(1, import.toml("scc.json")).unwrap();
        for turn in 0..60 {
            let asked = if turn % 3 == 0 && !import.rules.systems.is_empty() {
                sample.request(&import.rules)
            } else {
                request(&mut sample, &export)
            };
            let there = allows(&export, &asked.as_request());
            let here = snapshot.decide(&asked.as_request()).is_ok();
            assert!(
                there || !here,
                "seed {seed}: {asked} is allowed by\n{export:#?}"
            );
            granted += usize::from(here);
            denied_there += usize::from(!there);
            narrower += usize::from(there && !here);
        }
    }
    assert!(
        granted > 5000 && denied_there > 5000 && narrower > 1000,
        "{granted} {denied_there} {narrower}"
    );
}

/// What was allowed there by a resource that ends where the path does or at a `/`, is allowed here.
#[test]
fn an_import_allows_what_was_allowed_there_at_the_border_of_a_segment() {
    let mut granted = 0;
    for seed in 0..3000 {
        let mut sample = Sample::new(seed);
        let mut export = export(&mut sample);
        export.truncate(1);
        for entry in &mut export[0].resources {
            // Paths that adit takes at all.
            for odd in ["..", "a b", "a%2Fb", "*"] {
                entry.id = entry.id.replace(odd, "o");
            }
            while entry.id.contains("//") {
                entry.id = entry.id.replace("//", "/");
            }
        }
        let import = read(&written(&export));
        let snapshot = Snapshot::new(1, import.toml("scc.json")).unwrap();
        for _ in 0..40 {
            let asked = request(&mut sample, &export);
            let Request::Http { path, upgrade, .. } = asked.as_request() else {
                continue;
            };
            let at_border = |entry: &Entry| {
                let (path, id) = (plain(path), plain(entry.id.as_bytes()));
                let below = path.strip_prefix(id.as_slice());
                entry.enabled
                    && (entry.upgrade || !upgrade)
                    && match below {
                        Some([]) => true,
                        Some([first, ..]) => !entry.exact && (id.ends_with(b"/") || *first == b'/'),
                        None => false,
                    }
            };
            let mapping = &export[0];
            // The same path twice, alone and as a prefix, is one that Cloud Connector has not.
            let mut ids: Vec<_> = mapping
                .resources
                .iter()
                .map(|entry| plain(entry.id.as_bytes()))
                .collect();
            ids.sort();
            ids.dedup();
            let readable =
                adit_policy::canonical::path::Path::judge(path, EncodedSlash::Refuse).is_ok();
            if ids.len() == mapping.resources.len()
                && readable
                && mapping.protocol.starts_with("HTTP")
                && is_meant(mapping, &asked.as_request())
                && mapping.resources.iter().any(at_border)
            {
                let decided = snapshot.decide(&asked.as_request());
                assert!(
                    decided.is_ok(),
                    "seed {seed}: {asked} is denied, by\n{}",
                    import.toml("x")
                );
                granted += 1;
            }
        }
    }
    assert!(granted > 3000, "{granted}");
}
