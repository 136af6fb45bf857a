//! Which rule came closest to a denied request, and why it did not match.
//!
//! It decides nothing: the decision has been made when this is asked. Its cost is bounded whatever the rules are.
use core::fmt;

use serde::Serialize;

use crate::canonical::path::{Remainder, comparable};
use crate::limits::{CLOSEST_SIBLINGS_MAX, RULE_PATH_BYTES_MAX};
use crate::method::Methods;
use crate::request::quoted;
use crate::rule::{PortRange, Protocol, Resource, Scope, System};
use crate::table::resource_at;
use crate::tree::{Leaf, NodeIndex, Tree, Walk};

/// The rule that came closest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Closest {
    /// The name of its system.
    pub system: String,
    /// The virtual host and port of its system.
    pub virtual_end: String,
    /// Its path, when it is a resource.
    pub path: Option<String>,
    /// Its scope, when it is a resource.
    pub scope: Option<Scope>,
    /// The line where it is written; 0 when it was never written in a text.
    pub line: u32,
    /// Why it did not match.
    pub why: WhyNot,
}

/// Why a rule did not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WhyNot {
    /// The system is reached through other ports.
    Port(#[serde(serialize_with = "as_text")] PortRange),
    /// The system speaks another protocol.
    Protocol(Protocol),
    /// The system has no resources, so all of it is denied.
    NoResources,
    /// Only upper and lower case differ.
    Case {
        /// What the rule says.
        rule: String,
        /// What the request says.
        request: String,
    },
    /// One segment begins like the other: rules end at a `/`.
    Boundary {
        /// What the rule says.
        rule: String,
        /// What the request says.
        request: String,
    },
    /// A segment differs.
    Segment {
        /// What the rule says.
        rule: String,
        /// What the request says.
        request: String,
    },
    /// The rule reaches one path only, and the request lies below it.
    Below,
    /// The rule's path continues where the request's ends.
    Above,
    /// The request ends in a slash and the rule's path does not.
    SlashInRequest,
    /// The rule's path ends in a slash and the request does not.
    SlashInRule,
    /// The request has `;` parameters, which the rule does not allow.
    Parameters,
    /// The rule allows other methods.
    Method {
        /// The method of the request.
        asked: String,
        /// The methods of the rule.
        allowed: Methods,
    },
    /// The rule allows no upgrade.
    Upgrade,
    /// The rule is not active.
    Inactive,
}

impl Closest {
    pub(crate) fn new(system: &System, resource: Option<&Resource>, why: WhyNot) -> Self {
        Self {
            system: system.name().to_owned(),
            virtual_end: system.virtual_end.to_string(),
            path: resource.map(|resource| resource.path.as_str().to_owned()),
            scope: resource.map(|resource| resource.scope),
            line: resource.map_or_else(|| system.line(), Resource::line),
            why,
        }
    }
}

impl fmt::Display for Closest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.scope) {
            (Some(path), Some(scope)) => {
                write!(f, "{scope} `{path}` of system `{}`", self.system)?;
            }
            _ => write!(f, "system `{}` ({})", self.system, self.virtual_end)?,
        }
        if self.line > 0 {
            write!(f, " (line {})", self.line)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(ports) if ports.is_one() => write!(f, "its port is {ports}"),
            Self::Port(ports) => write!(f, "its ports are {ports}"),
            Self::Protocol(Protocol::Http) => {
                f.write_str("it speaks http, and this was asked as an opaque stream")
            }
            Self::Protocol(protocol @ (Protocol::Tcp | Protocol::Tls)) => write!(
                f,
                "it carries opaque streams ({}), and this was asked as http",
                protocol.word()
            ),
            Self::NoResources => {
                f.write_str("it has no resources, and what no rule allows is denied")
            }
            Self::Case { rule, request } => {
                write!(f, "paths are case-sensitive: `{rule}` is not `{request}`")
            }
            Self::Boundary { rule, request } => {
                write!(f, "a rule ends at a `/`: `{rule}` is not `{request}`")
            }
            Self::Segment { rule, request } => write!(f, "`{rule}` is not `{request}`"),
            Self::Below => f.write_str(
                "it reaches this path only, not what lies below (scope = \"subtree\" would)",
            ),
            Self::Above => f.write_str("it reaches only what lies deeper"),
            Self::SlashInRequest => f.write_str("the request ends in a `/` and the rule does not"),
            Self::SlashInRule => f.write_str("the rule ends in a `/` and the request does not"),
            Self::Parameters => {
                f.write_str("it allows no `;` parameters (parameters = true would)")
            }
            Self::Method { asked, allowed } => write!(f, "it allows {allowed}, not {asked}"),
            Self::Upgrade => f.write_str("it allows no upgrade (upgrade = true would)"),
            Self::Inactive => f.write_str("it is not active (active = false)"),
        }
    }
}

pub(crate) fn as_text<T: fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The resource that came closest to a walk on which none reached the path; `None` when the system has none.
pub(crate) fn to_walk<'s>(
    tree: &Tree,
    system: &'s System,
    walk: &Walk<'_>,
) -> Option<(&'s Resource, WhyNot)> {
    let mut room = [0; RULE_PATH_BYTES_MAX];
    let mut after = walk.rest;
    let next = after.next();
    let found = |leaf: Leaf, why: WhyNot| Some((resource_at(system, leaf.resource), why));

    if let Some(raw) = next {
        let bare = tree.child_without_parameters(walk.node, raw, &mut room);
        if let Some(leaf) = bare.and_then(|child| tree.leaves(child).first()) {
            return found(*leaf, WhyNot::Parameters);
        }
    }
    // A segment too long to be any rule's is like none of them.
    let sibling = next.and_then(|raw| {
        let segment = comparable(raw, &mut room).unwrap_or_default();
        likest_child(tree, walk.node, segment)
    });
    let told = |leaf: &Leaf| Told {
        rule: rule_segment(resource_at(system, leaf.resource), walk.depth),
        request: next.map(quoted).unwrap_or_default(),
    };
    if let Some((leaf, likeness @ (Likeness::Case | Likeness::Boundary))) = &sibling {
        return found(*leaf, told(leaf).why(*likeness));
    }
    if let Some(leaf) = tree.leaves(walk.node).first() {
        let why = match (walk.rest.remainder(), leaf.slash) {
            (Remainder::Nothing, _) => WhyNot::SlashInRule,
            (Remainder::Slash, _) => WhyNot::SlashInRequest,
            (Remainder::Segments, _) => WhyNot::Below,
        };
        return found(*leaf, why);
    }
    if next.is_none()
        && let Some(leaf) = tree.some_leaf(walk.node)
    {
        return found(leaf, WhyNot::Above);
    }
    let (leaf, likeness) = sibling.as_ref()?;
    found(*leaf, told(leaf).why(*likeness))
}

/// The differing segment, as the rule and as the request have it.
struct Told {
    rule: String,
    request: String,
}

impl Told {
    fn why(self, likeness: Likeness) -> WhyNot {
        let Self { rule, request } = self;
        match likeness {
            Likeness::Case => WhyNot::Case { rule, request },
            Likeness::Boundary => WhyNot::Boundary { rule, request },
            Likeness::Common(_) => WhyNot::Segment { rule, request },
        }
    }
}

/// How much a segment is like another, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// They begin with so many common bytes.
    Common(usize),
    /// One begins with the other.
    Boundary,
    /// Only upper and lower case differ.
    Case,
}

/// Some resource at or below the child of `node` that is most like `segment`.
fn likest_child(tree: &Tree, node: NodeIndex, segment: &[u8]) -> Option<(Leaf, Likeness)> {
    let (likeness, child) = tree
        .children(node)
        .take(CLOSEST_SIBLINGS_MAX)
        .map(|child| (likeness(tree.segment(child), segment), child))
        .max_by_key(|(likeness, _)| *likeness)?;
    Some((tree.some_leaf(child)?, likeness))
}

fn likeness(a: &[u8], b: &[u8]) -> Likeness {
    if a.eq_ignore_ascii_case(b) {
        return Likeness::Case;
    }
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    if common > 0 && common == a.len().min(b.len()) {
        return Likeness::Boundary;
    }
    Likeness::Common(common)
}

/// The segment of a rule's path at a depth, as it is written.
fn rule_segment(rule: &Resource, depth: usize) -> String {
    let segment = rule.path.as_str().split('/').nth(depth + 1);
    quoted(segment.unwrap_or_default().as_bytes())
}
