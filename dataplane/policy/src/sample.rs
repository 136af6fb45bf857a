//! Rule sets and requests made from a seed, for tests that compare two judgements of the same thing.
//!
//! Everything is drawn from small alphabets, so that rules and requests meet, nearly meet and contradict each other
//! often. The same seed makes the same values for ever within one version. Nothing here is built into a program.
use std::collections::HashSet;

use crate::method::Methods;
use crate::request::{OwnedRequest, Request};
use crate::rule::{
    EncodedSlash, HostHeader, HostName, InternalEnd, InternalHost, PortRange, Protocol, Resource,
    ResourcePath, RuleSet, Scope, System, VirtualEnd,
};

/// A source of rule sets and requests.
#[derive(Clone, Debug)]
pub struct Sample {
    state: u64,
}

const HOSTS: [&str; 5] = ["erp.virtual", "db", "a_b.c", "erp", "xn--x.virtual"];

const SEGMENTS: [&str; 16] = [
    "a", "b", "ab", "A", "a;v=1", "b;x", "a%3Bv=1", "c%20d", "$value", "%C3%9F", "x%25y", "k('1')",
    ".well", "a.b", "aa", "b",
];

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "MERGE", "XYZZY", "PUT"];

/// Pieces that make a path odd, or look as if they did.
const PIECES: [&str; 64] = [
    "/",
    "//",
    "/.",
    "/..",
    "/./",
    "/../",
    ".",
    "..",
    "...",
    "%2e",
    "%2E%2e",
    ".%2e",
    "..;x",
    "..;/",
    ";",
    ";v=2",
    "/;x",
    "/;x/",
    "%3b",
    "%3B",
    "..%3b",
    "%2f",
    "%2F",
    "%2F..",
    "%2F..%2F",
    "%5c",
    "%5C",
    "\\",
    "%252e",
    "%252E",
    "%252f",
    "%255c",
    "%2500",
    "%25252e",
    "%25",
    "%2541",
    "%25%32%65",
    "%00",
    "%0d%0a",
    "%7f",
    "%20",
    " ",
    "%",
    "%4",
    "%zz",
    "%c0%ae",
    "%C0%AF",
    "%e0%80%af",
    "%ff",
    "%c3%a4",
    "%25c3%25a4",
    "%25ff",
    "\u{ff0e}",
    "%EF%BC%8F",
    "\u{df}",
    "?",
    "#x",
    "%C2%85",
    "%e4",
    "..%20",
    "..%C2%AD",
    "%E2%80%8B",
    "\u{feff}",
    "%C2%A0;x",
];

impl Sample {
    /// A source that always gives the same for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next of a row of numbers (SplitMix64, Steele et al. 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// Whether something happens that happens `percent` times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'l, T: ?Sized>(&mut self, list: &[&'l T]) -> &'l T {
        let at = self.below(list.len());
        list.get(at)
            .copied()
            .expect("lists to pick from are not empty")
    }

    /// A rule set without conflicts: up to six systems of up to eight resources each.
    pub fn rule_set(&mut self) -> RuleSet {
        let mut rules = RuleSet::default();
        for _ in 0..=self.below(6) {
            let system = self.system();
            let free = rules.systems.iter().all(|other| {
                other.virtual_end.host != system.virtual_end.host
                    || !other.virtual_end.ports.overlaps(&system.virtual_end.ports)
            });
            if free {
                rules.systems.push(system);
            }
        }
        rules
    }

    /// A system.
    pub fn system(&mut self) -> System {
        let protocol = match self.below(6) {
            0 => Protocol::Tcp,
            1 => Protocol::Tls,
            _ => Protocol::Http,
        };
        let first = u16::try_from(79 + self.below(4)).unwrap_or(80);
        let width = match protocol {
            Protocol::Http => 0,
            Protocol::Tcp | Protocol::Tls => u16::try_from(self.below(4)).unwrap_or(0),
        };
        let ports = PortRange::new(first, first + width).expect("79 and more are ports");
        let inner = PortRange::new(8000, 8000 + width).expect("8000 and more are ports");
        let host = self.pick(&HOSTS);
        let mut system = System::new(
            VirtualEnd {
                host: HostName::new(host).expect("the hosts above are host names"),
                ports,
            },
            protocol,
            InternalEnd {
                host: InternalHost::new(self.pick(&["10.1.2.3", "[2001:db8::1]", "erp.corp"]))
                    .expect("these are internal hosts"),
                ports: inner,
                encrypted: match protocol {
                    Protocol::Http => self.chance(50),
                    Protocol::Tcp => false,
                    Protocol::Tls => true,
                },
            },
        );
        if protocol == Protocol::Http {
            if self.chance(30) {
                system.encoded_slash = EncodedSlash::Keep;
            }
            if self.chance(30) {
                system.host_header = HostHeader::Internal;
            }
            let mut seen = HashSet::new();
            for _ in 0..self.below(9) {
                let resource = self.resource(system.encoded_slash);
                if seen.insert((resource.path.clone(), resource.scope)) {
                    system.resources.push(resource);
                }
            }
        }
        system
    }

    /// A resource for a system that treats encoded slashes so.
    pub fn resource(&mut self, slash: EncodedSlash) -> Resource {
        let mut path = String::new();
        for _ in 0..self.below(4) {
            path.push('/');
            if slash == EncodedSlash::Keep && self.chance(20) {
                path.push_str("a%2Fb");
            } else {
                path.push_str(self.pick(&SEGMENTS));
            }
        }
        if path.is_empty() || self.chance(15) {
            path.push('/');
        }
        let path = ResourcePath::new(&path, slash).expect("the segments above are canonical");
        let scope = if self.chance(50) {
            Scope::Subtree
        } else {
            Scope::Exact
        };
        let mut resource = Resource::new(path, scope);
        if self.chance(50) {
            let listed: Vec<&str> = METHODS.into_iter().filter(|_| self.chance(35)).collect();
            if !listed.is_empty() {
                resource.methods = Methods::these(listed);
            }
        }
        resource.upgrade = self.chance(30);
        resource.parameters = self.chance(30);
        resource.active = !self.chance(15);
        resource
    }

    /// A request that has, more often than not, something to do with `rules`.
    pub fn request(&mut self, rules: &RuleSet) -> OwnedRequest {
        let at = self.below(rules.systems.len());
        let system = rules.systems.get(at).filter(|_| !self.chance(5));
        let host = self.host(system);
        let port = self.port(system);
        let opaque = system.is_some_and(|system| system.protocol != Protocol::Http);
        if opaque != self.chance(5) {
            return Request::Tcp { host: &host, port }.to_owned();
        }
        let path = self.path(system);
        let method = match self.below(40) {
            0 => "get",
            1 => "",
            2 => "CONNECT",
            3 => "BAD METHOD",
            4 => "PROPFIND",
            _ => self.pick(&METHODS),
        };
        Request::Http {
            host: &host,
            port,
            method,
            path: &path,
            upgrade: self.chance(15),
        }
        .to_owned()
    }

    fn host(&mut self, system: Option<&System>) -> String {
        let host = match system {
            Some(system) => system.virtual_end.host.as_str().to_owned(),
            None => self.pick(&HOSTS).to_owned(),
        };
        match self.below(40) {
            0..=3 => host.to_uppercase(),
            4 => format!("{host}."),
            5 => format!("{host}x"),
            6 => format!("x.{host}"),
            7 => format!("user@{host}"),
            8 => self
                .pick(&[
                    "",
                    "[::1]",
                    "erp,db",
                    "erp..virtual",
                    ".",
                    "str\u{e4}sse",
                    "erp\0",
                ])
                .to_owned(),
            _ => host,
        }
    }

    fn port(&mut self, system: Option<&System>) -> u16 {
        let ports = match system {
            Some(system) => system.virtual_end.ports,
            None => PortRange::one(80).expect("80 is a port"),
        };
        let inside =
            ports.first() + u16::try_from(self.below(usize::from(ports.width()) + 1)).unwrap_or(0);
        match self.below(30) {
            0 => 0,
            1 => ports.first() - 1,
            2 => ports.last() + 1,
            3 => 65535,
            _ => inside,
        }
    }

    fn path(&mut self, system: Option<&System>) -> Vec<u8> {
        let resources = system.map_or(&[][..], |system| &system.resources);
        let at = self.below(resources.len());
        let mut path = match resources.get(at) {
            Some(resource) if !self.chance(15) => resource.path.as_str().as_bytes().to_vec(),
            _ => {
                let mut path = String::new();
                for _ in 0..=self.below(4) {
                    path.push('/');
                    path.push_str(self.pick(&SEGMENTS));
                }
                path.into_bytes()
            }
        };
        for _ in 0..self.below(4) {
            self.change(&mut path);
        }
        path
    }

    /// Changes a path in one of the ways in which requests differ from rules.
    fn change(&mut self, path: &mut Vec<u8>) {
        let at = self.below(path.len() + 1);
        match self.below(16) {
            0..=3 => {
                path.push(b'/');
                path.extend(self.pick(&SEGMENTS).bytes());
            }
            4 => path.push(b'/'),
            5 => path.extend(self.pick(&["x", "b", ";v=2", ";", "%41"]).bytes()),
            6 => {
                let cut = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(cut.max(1));
            }
            7 => {
                if let Some(byte) = path.get_mut(at) {
                    *byte ^= u8::from(byte.is_ascii_alphabetic()) << 5;
                }
            }
            8..=10 => {
                if let Some(byte) = path.get(at).copied() {
                    let code = if self.chance(50) {
                        format!("%{byte:02x}")
                    } else {
                        format!("%{byte:02X}")
                    };
                    path.splice(at..=at, code.bytes());
                }
            }
            11 => {
                let end = path
                    .iter()
                    .skip(at)
                    .position(|byte| *byte == b'/')
                    .map_or(path.len(), |more| at + more);
                path.splice(end..end, *b";v=2");
            }
            12 => {
                if let Some(percent) = path.iter().rposition(|byte| *byte == b'%') {
                    path.splice(percent..=percent, *b"%25");
                }
            }
            13 => {
                let byte = u8::try_from(self.below(256)).unwrap_or_default();
                path.insert(at, byte);
            }
            _ => {
                let piece = self.pick(&PIECES).bytes();
                path.splice(at..at, piece);
            }
        }
    }
}
