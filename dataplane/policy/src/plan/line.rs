//! A line of a plan: a set of requests, and what becomes of them.
//!
//! What the set is, is said in the words of the rule language. Finding the lines is `ends` and `paths`'s work.
use core::fmt;

use serde::{Serialize, Serializer};

use crate::closest::as_text;
use crate::limits::{METHODS_MAX, PLAN_EXCEPTIONS_MAX};
use crate::permit::InternalProtocol;
use crate::rule::{HostHeader, PortRange, Scope, System};
use crate::table::Grant;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "granted before, granted afterwards, or both and elsewhere"
)]
pub enum Change {
    /// They were denied and are granted.
    Reachable,
    /// They were granted and are denied.
    Unreachable,
    /// They are granted as before, and lead to another backend or are carried there otherwise.
    Moved,
}

impl Change {
    pub(super) const ALL: [Self; 3] = [Self::Reachable, Self::Unreachable, Self::Moved];

    /// The sign of a line in text.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Reachable => '+',
            Self::Unreachable => '-',
            Self::Moved => '~',
        }
    }

    /// What the change back is.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Reachable => Self::Unreachable,
            Self::Unreachable => Self::Reachable,
            Self::Moved => Self::Moved,
        }
    }
}

/// A set of requests of which the same becomes. Displayed as `+ GET http://erp.virtual:80/orders[/*]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// What becomes of them.
    pub change: Change,
    /// Their virtual host, in lower case.
    pub host: String,
    /// Their virtual ports.
    #[serde(serialize_with = "as_text")]
    pub ports: PortRange,
    /// What they ask there.
    #[serde(flatten)]
    pub asked: Asked,
    /// Where they led.
    pub before: Option<Target>,
    /// Where they lead.
    pub after: Option<Target>,
}

/// What requests of a line ask of a virtual host and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "asked", rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "there are two kinds of request")]
pub enum Asked {
    /// Opaque streams.
    Tcp,
    /// HTTP exchanges.
    Http(HttpSet),
}

/// A set of HTTP exchanges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HttpSet {
    /// With these methods.
    pub methods: MethodSet,
    /// Those that ask to change the protocol, or those that do not.
    pub upgrade: bool,
    /// With these paths.
    #[serde(flatten)]
    pub paths: PathSet,
    /// Whether encoded slashes are in the paths.
    pub encoded_slashes: EncodedSlashes,
    /// But not with these paths.
    pub except: Vec<PathSet>,
    /// How many more exceptions there are than are listed.
    pub except_unlisted: usize,
}

/// Paths as a resource reaches them. Displayed `/a` (this path), `/a[/*]` (and what is below it), `/a/*` (what begins
/// with `/a/`); with `;*` where only paths with parameters are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PathSet {
    /// As the path of a resource.
    pub path: String,
    /// As the scope of a resource.
    pub scope: Scope,
    /// Only paths whose segment here carries `;` parameters.
    pub parameters: bool,
}

/// Whether paths of a line have encoded slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "with, without, both, or never a question"
)]
pub enum EncodedSlashes {
    /// Paths with `%2F` are refused before and afterwards, so none is meant.
    Refused,
    /// Whether or not they have one.
    Any,
    /// Only paths with one.
    With,
    /// Only paths without one.
    Without,
}

/// A set of methods.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodSet {
    /// All methods but the names, instead of the names alone.
    pub all: bool,
    /// The names, in alphabetical order; at most [`METHODS_MAX`].
    pub names: Vec<String>,
    /// How many more names there are than are listed.
    pub unlisted: usize,
}

impl MethodSet {
    pub(super) fn new<'n>(all: bool, names: impl Iterator<Item = &'n str>) -> Self {
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        Self {
            all,
            unlisted: names.len().saturating_sub(METHODS_MAX),
            names: names
                .into_iter()
                .take(METHODS_MAX)
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.all, self.names.is_empty()) {
            (true, true) => return f.write_str("*"),
            (true, false) => f.write_str("* but ")?,
            (false, _) => {}
        }
        f.write_str(&self.names.join(", "))?;
        if self.unlisted > 0 {
            write!(f, " and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl Serialize for MethodSet {
    /// As `"all"`, as a list, or as `{"all_but": [...]}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.all, self.names.is_empty()) {
            (true, true) => serializer.serialize_str("all"),
            (true, false) => serializer.collect_map([("all_but", &self.names)]),
            (false, _) => serializer.collect_seq(&self.names),
        }
    }
}

impl fmt::Display for PathSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, slash) = match self.path.strip_suffix('/') {
            Some(path) => (path, "/"),
            None => (self.path.as_str(), ""),
        };
        let parameters = if self.parameters { ";*" } else { "" };
        let below = match (self.scope, slash) {
            (Scope::Exact, _) => "",
            (Scope::Subtree, "") => "[/*]",
            (Scope::Subtree, _) => "*",
        };
        write!(f, "{path}{parameters}{slash}{below}")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.change.sign())?;
        match &self.asked {
            Asked::Tcp => write!(f, "tcp://{}:{}", self.host, self.ports)?,
            Asked::Http(asked) => {
                let scheme = if asked.upgrade { "ws" } else { "http" };
                let (methods, paths) = (&asked.methods, &asked.paths);
                write!(
                    f,
                    "{methods} {scheme}://{}:{}{paths}",
                    self.host, self.ports
                )?;
                match asked.encoded_slashes {
                    EncodedSlashes::With => f.write_str(" with %2F")?,
                    EncodedSlashes::Without => f.write_str(" without %2F")?,
                    EncodedSlashes::Any | EncodedSlashes::Refused => {}
                }
                for (index, except) in asked.except.iter().enumerate() {
                    let word = if index == 0 { " except" } else { "," };
                    write!(f, "{word} {except}")?;
                }
                if asked.except_unlisted > 0 {
                    write!(f, " and {} more", asked.except_unlisted)?;
                }
            }
        }
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                write!(
                    f,
                    "  from {} to {}",
                    before.beside(after),
                    after.beside(before)
                )
            }
            (None, Some(after)) => write!(f, "  to {after}"),
            (Some(_) | None, None) => Ok(()),
        }
    }
}

/// Where requests lead, and how they are carried there. Displayed as `https://10.1.2.3:8443`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Target {
    /// What the agent speaks.
    pub protocol: InternalProtocol,
    /// The internal host; an IPv6 address in brackets.
    pub host: String,
    /// The internal ports, one for each virtual one.
    #[serde(serialize_with = "as_text")]
    pub ports: PortRange,
    /// Which host the backend is told.
    pub host_header: HostHeader,
    /// The certificates to trust instead of the operating system's.
    pub ca_file: Option<String>,
    /// Whether the agent's own machine, link-local and metadata addresses may be dialled.
    pub allow_loopback: bool,
}

impl Target {
    /// Where a system leads from `ports`, which are its own or some of them.
    pub(super) fn of(system: &System, ports: PortRange) -> Self {
        Self {
            protocol: system.internal_protocol(),
            host: system.internal.host.to_string(),
            ports: system.internal_ports(ports),
            host_header: system.host_header,
            ca_file: system.ca_file.clone(),
            allow_loopback: system.allow_loopback,
        }
    }

    /// Whether two grants lead to the same.
    pub(super) fn is_same(a: &Grant<'_>, b: &Grant<'_>) -> bool {
        let carried = |system: &System| (system.host_header, system.allow_loopback);
        a.protocol() == b.protocol()
            && a.internal() == b.internal()
            && carried(a.system()) == carried(b.system())
            && a.system().ca_file == b.system().ca_file
    }

    /// Whether this continues where `before` ends, so that both are one for a longer range of ports.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let moved = Self {
            ports: before.ports,
            ..self.clone()
        };
        moved == *before && before.ports.last().checked_add(1) == Some(self.ports.first())
    }

    /// As text, with what differs from `other` besides the address.
    fn beside(&self, other: &Self) -> String {
        let mut text = self.to_string();
        if self.host_header != other.host_header {
            let word = match self.host_header {
                HostHeader::Virtual => "virtual",
                HostHeader::Internal => "internal",
            };
            text.push_str(&format!(" (host_header {word})"));
        }
        if self.ca_file != other.ca_file {
            let file = self.ca_file.as_deref().unwrap_or("none");
            text.push_str(&format!(" (ca_file {file})"));
        }
        if self.allow_loopback != other.allow_loopback {
            text.push_str(&format!(" (allow_loopback {})", self.allow_loopback));
        }
        text
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.word(), self.host, self.ports)
    }
}

/// The exceptions of a line, the first of them kept and the others counted.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    pub(super) list: Vec<PathSet>,
    pub(super) unlisted: usize,
}

impl Exceptions {
    pub(super) fn add(&mut self, paths: impl FnOnce() -> PathSet) {
        if self.list.len() < PLAN_EXCEPTIONS_MAX {
            self.list.push(paths());
        } else {
            self.unlisted += 1;
        }
    }
}
