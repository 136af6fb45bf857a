//! The rule language as types: what a rule set says, whoever wrote it down.
//!
//! Each type holds only what is valid by itself; what two rules may not say together is `compile`'s knowledge.
//! Reading and writing TOML are `parse` and `write`.
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use serde::Serialize;

use crate::canonical::address::{AddressClass, address_class, any_ipv4, name_class};
use crate::canonical::host::{self, HostProblem};
use crate::canonical::path::Path;
use crate::limits::{RULE_PATH_BYTES_MAX, SYSTEM_NAME_CHARS_MAX};
use crate::method::Methods;
use crate::permit::InternalProtocol;
use crate::problem::Place;
use crate::rule_test::RuleTest;

/// What people write: the systems that may be reached, what of them, and tests of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleSet {
    /// The systems, in the order of the text.
    pub systems: Vec<System>,
    /// The tests, in the order of the text. They change nothing of what is granted.
    pub tests: Vec<RuleTest>,
    pub(crate) file: FileName,
}

impl RuleSet {
    /// A rule set of these systems that was never written in a file.
    #[must_use]
    pub fn new(systems: Vec<System>) -> Self {
        Self {
            systems,
            tests: Vec::new(),
            file: FileName::default(),
        }
    }

    /// The file it was read from, or `rules` when there was none.
    #[must_use]
    pub fn file(&self) -> &str {
        if self.file.0.is_empty() {
            "rules"
        } else {
            &self.file.0
        }
    }
}

/// The file a rule set was read from: like [`Place`], no part of what it says.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileName(pub(crate) String);

impl PartialEq for FileName {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FileName {}

/// A virtual host and port, a protocol, and the internal address they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct System {
    /// Its name, when the rule set gives one; see [`System::name`].
    pub given_name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What callers ask for.
    pub virtual_end: VirtualEnd,
    /// What callers speak.
    pub protocol: Protocol,
    /// Where the agent goes.
    pub internal: InternalEnd,
    /// Certificates to trust instead of the operating system's, for backends that speak TLS.
    pub ca_file: Option<String>,
    /// Which host the backend is told.
    pub host_header: HostHeader,
    /// What `%2F` in a path means.
    pub encoded_slash: EncodedSlash,
    /// Whether the agent's own machine, link-local and metadata addresses may be dialled.
    pub allow_loopback: bool,
    /// What of the system is allowed. Always empty when the protocol is not http.
    pub resources: Vec<Resource>,
    pub(crate) places: SystemPlaces,
}

/// Where the parts of a system are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemPlaces {
    pub(crate) whole: Place,
    pub(crate) name: Place,
    pub(crate) virtual_end: Place,
    pub(crate) internal: Place,
    pub(crate) ca_file: Place,
    pub(crate) host_header: Place,
    pub(crate) encoded_slash: Place,
}

impl System {
    /// A system with every setting at its default and no resources.
    #[must_use]
    pub fn new(virtual_end: VirtualEnd, protocol: Protocol, internal: InternalEnd) -> Self {
        Self {
            given_name: None,
            description: None,
            virtual_end,
            protocol,
            internal,
            ca_file: None,
            host_header: HostHeader::default(),
            encoded_slash: EncodedSlash::default(),
            allow_loopback: false,
            resources: Vec::new(),
            places: SystemPlaces::default(),
        }
    }

    /// Its name: the given one, else the virtual host.
    #[must_use]
    pub fn name(&self) -> &str {
        self.given_name
            .as_deref()
            .unwrap_or_else(|| self.virtual_end.host.as_str())
    }

    /// What the agent speaks to its internal end.
    #[must_use]
    pub(crate) fn internal_protocol(&self) -> InternalProtocol {
        match (self.protocol, self.internal.encrypted) {
            (Protocol::Http, false) => InternalProtocol::Http,
            (Protocol::Http, true) => InternalProtocol::Https,
            (Protocol::Tcp, _) => InternalProtocol::Tcp,
            (Protocol::Tls, _) => InternalProtocol::Tls,
        }
    }

    /// The internal ports that belong to `ports`, which are the virtual ones or some of them.
    pub(crate) fn internal_ports(&self, ports: PortRange) -> PortRange {
        let offset = ports.first.saturating_sub(self.virtual_end.ports.first);
        let first = self.internal.ports.first.saturating_add(offset);
        PortRange {
            first,
            last: first.saturating_add(ports.width()),
        }
    }

    /// The line of the text where it begins; 0 when it was never written in one.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.places.whole.line()
    }
}

/// Whether `name` may name a system: 1 to [`SYSTEM_NAME_CHARS_MAX`] letters, digits, `.`, `_` and `-`.
pub(crate) fn is_system_name(name: &str) -> bool {
    (1..=SYSTEM_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A virtual host with one port, or with several for protocols tcp and tls. Displayed as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a host and its ports, whatever comes"
)]
pub struct VirtualEnd {
    /// The host.
    pub host: HostName,
    /// Its port or ports.
    pub ports: PortRange,
}

impl fmt::Display for VirtualEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.ports)
    }
}

/// A host name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Judges `text` and keeps it in lower case.
    ///
    /// # Errors
    /// [`HostProblem`] when it is no host name.
    pub fn new(text: &str) -> Result<Self, HostProblem> {
        host::judge(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One port or several in a row, never 0. Displayed as `80` or `5432-5440`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports `first` to `last`, both included; `None` when that is no port or contains port 0.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { first, last })
    }

    /// One port; `None` when it is 0.
    #[must_use]
    pub fn one(port: u16) -> Option<Self> {
        Self::new(port, port)
    }

    /// The first port.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Whether this is one port only.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.first == self.last
    }

    /// How many ports lie between the first and the last.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.last - self.first
    }

    /// These ports and all up to the last of `end`, which lies behind them.
    pub(crate) fn up_to(self, end: Self) -> Self {
        Self {
            first: self.first,
            last: end.last,
        }
    }

    /// Whether `port` is one of these.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether some port is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What callers of a system speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new protocol must be looked at by everyone who serves one"
)]
pub enum Protocol {
    /// HTTP exchanges, each judged by the resources.
    Http,
    /// Opaque bytes.
    Tcp,
    /// Opaque bytes, which the agent carries to the backend in TLS.
    Tls,
}

impl Protocol {
    /// The word of the rule language.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// Where the agent goes for a system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a host, its ports and whether TLS is spoken"
)]
pub struct InternalEnd {
    /// The host.
    pub host: InternalHost,
    /// As many ports as the virtual end has.
    pub ports: PortRange,
    /// Whether the agent speaks TLS to it: `https`, or protocol tls.
    pub encrypted: bool,
}

/// An internal host: a name to resolve, or an address in its one canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InternalHost {
    text: Box<str>,
    address: Option<IpAddr>,
}

/// Why a text is no internal host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InternalHostProblem {
    /// It is no host name.
    Name(HostProblem),
    /// It is an address, and this is how to write it.
    Spelling(IpAddr),
    /// It ends like an IPv4 address and is none.
    Number,
    /// It stands in brackets or has colons and is no IPv6 address, or it has a zone.
    NoIpv6,
    /// An IPv6 address stands in brackets.
    Brackets(Ipv6Addr),
}

impl fmt::Display for InternalHostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(problem) => problem.fmt(f),
            Self::Spelling(IpAddr::V4(address)) => write!(f, "write this address `{address}`"),
            Self::Spelling(IpAddr::V6(address)) => write!(f, "write this address `[{address}]`"),
            Self::Number => {
                f.write_str("a host that ends in a number is an IPv4 address, and this is none")
            }
            Self::NoIpv6 => {
                f.write_str("this is no IPv6 address (write `[2001:db8::1]`, without a zone)")
            }
            Self::Brackets(address) => {
                write!(f, "an IPv6 address stands in brackets: `[{address}]`")
            }
        }
    }
}

impl std::error::Error for InternalHostProblem {}

impl InternalHost {
    /// Judges `text`: a host name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`InternalHostProblem`] when it is none of them, or an address in an unusual spelling: `010.1.2.3` is
    /// 10.1.2.3 to people and 8.1.2.3 to resolvers.
    pub fn new(text: &str) -> Result<Self, InternalHostProblem> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Err(InternalHostProblem::Brackets(address));
        }
        if text.contains(['[', ']', ':']) {
            let address = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
                .ok_or(InternalHostProblem::NoIpv6)?;
            let host = Self::from_address(IpAddr::V6(address));
            if !text.eq_ignore_ascii_case(&format!("[{}]", host.text)) {
                return Err(InternalHostProblem::Spelling(IpAddr::V6(address)));
            }
            return Ok(host);
        }
        if let Some(address) = any_ipv4(text) {
            let host = Self::from_address(IpAddr::V4(address));
            if *host.text != *text {
                return Err(InternalHostProblem::Spelling(IpAddr::V4(address)));
            }
            return Ok(host);
        }
        host::judge(text).map_err(InternalHostProblem::Name)?;
        let ends_in_number = text
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if ends_in_number {
            return Err(InternalHostProblem::Number);
        }
        Ok(Self {
            text: text.to_ascii_lowercase().into(),
            address: None,
        })
    }

    fn from_address(address: IpAddr) -> Self {
        Self {
            text: address.to_string().into(),
            address: Some(address),
        }
    }

    /// The name in lower case, or the address; an IPv6 address without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, when this is no name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The class of the address, or of the place the name is known to lead to.
    #[must_use]
    pub fn class(&self) -> AddressClass {
        match self.address {
            Some(address) => address_class(address),
            None => name_class(&self.text),
        }
    }
}

impl fmt::Display for InternalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(_)) => write!(f, "[{}]", self.text),
            Some(IpAddr::V4(_)) | None => f.write_str(&self.text),
        }
    }
}

/// Which host the backend is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "there are two ends")]
pub enum HostHeader {
    /// The virtual one, as the caller wrote it.
    #[default]
    Virtual,
    /// The internal one; the virtual one goes into `X-Forwarded-Host`.
    Internal,
}

/// What an encoded slash in a path means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "it separates nothing or it is refused"
)]
pub enum EncodedSlash {
    /// Nothing certain: the request is refused.
    #[default]
    Refuse,
    /// Text inside a segment, never a separator.
    Keep,
}

/// What of an http system is allowed: a path or everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// The path.
    pub path: ResourcePath,
    /// The path alone, or everything below it too.
    pub scope: Scope,
    /// With which methods.
    pub methods: Methods,
    /// Whether the exchange may become a WebSocket or another protocol.
    pub upgrade: bool,
    /// Whether the last segment of the path may carry `;` parameters in requests.
    pub parameters: bool,
    /// Whether this grants anything at present.
    pub active: bool,
    /// For people.
    pub description: Option<Box<str>>,
    pub(crate) place: Place,
}

impl Resource {
    /// An active resource with every other setting at its default.
    #[must_use]
    pub fn new(path: ResourcePath, scope: Scope) -> Self {
        Self {
            path,
            scope,
            methods: Methods::all(),
            upgrade: false,
            parameters: false,
            active: true,
            description: None,
            place: Place::default(),
        }
    }

    /// The line of the text where its path is written; 0 when it was never written in one.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.place.line()
    }
}

/// The path of a resource, in its canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePath(Box<str>);

impl ResourcePath {
    /// Judges the path of a resource.
    ///
    /// # Errors
    /// What is wrong with it and how to mend it, in words for the person who wrote it.
    pub fn new(text: &str, slash: EncodedSlash) -> Result<Self, String> {
        if text.len() > RULE_PATH_BYTES_MAX {
            return Err(format!(
                "the path has {} bytes; a rule's path has at most {RULE_PATH_BYTES_MAX}",
                text.len()
            ));
        }
        if !text.starts_with('/') {
            return Err(format!(
                "path {text:?} does not begin with `/`; write {:?}",
                format!("/{text}")
            ));
        }
        let judged = Path::judge(text.as_bytes(), slash)
            .map_err(|ambiguity| format!("path {text:?} is ambiguous: {ambiguity}"))?;
        let mut above = 0;
        for segment in text.split('/').skip(1) {
            if matches!(segment, "*" | "**") {
                let above = text.get(..above).filter(|above| !above.is_empty());
                return Err(format!(
                    "`*` stands for nothing but itself; for everything below write path = {:?} and scope = \"subtree\"",
                    above.unwrap_or("/")
                ));
            }
            above += 1 + segment.len();
        }
        let spelling = judged.spelling();
        if spelling != text {
            return Err(format!(
                "path {text:?} is not in canonical form; write {spelling:?}"
            ));
        }
        Ok(Self(text.into()))
    }

    /// Like [`new`](Self::new), and a path that means one thing but is spelled otherwise is spelled as rules are: for
    /// paths that nobody wrote as a rule.
    ///
    /// # Errors
    /// What is wrong with it, in words for a person.
    pub fn respelled(text: &str, slash: EncodedSlash) -> Result<Self, String> {
        Self::new(text, slash).or_else(|why| match Path::judge(text.as_bytes(), slash) {
            Ok(judged) => Self::new(&judged.spelling(), slash),
            Err(_) => Err(why),
        })
    }

    /// The path as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a resource reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a path alone, or what is below it too"
)]
pub enum Scope {
    /// The path alone.
    #[default]
    Exact,
    /// The path and everything below it: `/a/b` reaches `/a/b`, `/a/b/` and `/a/b/c`, never `/a/bc`; `/a/b/` reaches
    /// what begins with `/a/b/`.
    Subtree,
}

impl Scope {
    /// The word of the rule language.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Subtree => "subtree",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests;
