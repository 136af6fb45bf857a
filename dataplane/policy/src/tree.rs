//! The resources of all systems as trees of path segments: what reaches a path is found by walking down once.
//!
//! Nothing is allocated by a walk. What an answer means for a request is `table`'s to say, and what came close
//! `closest`'s.
use core::hash::BuildHasher;
use core::ops::Range;

use foldhash::fast::FixedState;

use crate::canonical::path::{Path, Remainder, Segments, comparable};
use crate::rule::{Resource, Scope, System};

/// Trees of segments, one a system, their nodes in common vectors.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The hash of each node's segment. Siblings are sorted by it and, where it is equal, by segment: so colliding
    /// names cost a binary search, never a scan.
    hashes: Vec<u32>,
    segments: Vec<u8>,
    leaves: Vec<Leaf>,
}

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeIndex(u32);

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    segment: Span,
    children: Span,
    leaves: Span,
}

/// A piece of one of the vectors.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        let start = size(self.start);
        start..start + size(self.length)
    }
}

/// A resource at the node where its path ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    methods: u64,
    /// Its index among the resources of its system.
    pub(crate) resource: u32,
    pub(crate) scope: Scope,
    /// The path ends in a slash.
    pub(crate) slash: bool,
    pub(crate) parameters: bool,
    active: bool,
    upgrade: bool,
    all_methods: bool,
}

/// What a path is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// The bit of a known method.
    pub(crate) bit: Option<u64>,
    pub(crate) method: &'a str,
    pub(crate) upgrade: bool,
}

/// Why a resource that reaches a path does not grant the request, from the farthest miss to the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    InactiveAndMore,
    Method,
    Upgrade,
    Inactive,
}

/// Where a walk came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    /// The most specific resource that grants the request.
    pub(crate) granted: Option<Leaf>,
    /// The resource that reaches the path and missed nearest, the most specific of several.
    pub(crate) missed: Option<(Obstacle, Leaf)>,
    /// The last node on the way, its depth, and what of the path was left there.
    pub(crate) node: NodeIndex,
    pub(crate) depth: usize,
    pub(crate) rest: Segments<'a>,
}

impl Tree {
    /// Walks `path` down from `root`, the root of the tree of `system`. `room` holds one decoded segment; it may be empty when nothing is encoded.
    pub(crate) fn walk<'a>(
        &self,
        root: NodeIndex,
        path: &Path<'a>,
        ask: &Ask<'_>,
        system: &System,
        room: &mut [u8],
    ) -> Walk<'a> {
        let mut rest = path.segments();
        let mut walk = Walk {
            granted: None,
            missed: None,
            node: root,
            depth: 0,
            rest,
        };
        loop {
            // What is considered later is more specific: deeper, without parameters, and at one node in the order of
            // its leaves.
            for leaf in self.leaves(walk.node) {
                if leaf.reaches(rest.remainder()) {
                    walk.consider(leaf, ask, system);
                }
            }
            let Some(raw) = rest.next() else {
                return walk;
            };
            if let Some(child) = self.child_without_parameters(walk.node, raw, room) {
                for leaf in self.leaves(child) {
                    if leaf.parameters && leaf.reaches(rest.remainder()) {
                        walk.consider(leaf, ask, system);
                    }
                }
            }
            let Some(child) =
                comparable(raw, room).and_then(|segment| self.child(walk.node, segment))
            else {
                return walk;
            };
            walk.node = child;
            walk.depth += 1;
            walk.rest = rest;
        }
    }

    /// The child of `node` that `raw` names once its parameters are cut off; `None` when it has none.
    pub(crate) fn child_without_parameters(
        &self,
        node: NodeIndex,
        raw: &[u8],
        room: &mut [u8],
    ) -> Option<NodeIndex> {
        let at = raw.iter().position(|byte| *byte == b';')?;
        let name = raw.get(..at).filter(|name| !name.is_empty())?;
        self.child(node, comparable(name, room)?)
    }

    /// The child of `node` with this comparable segment.
    fn child(&self, node: NodeIndex, segment: &[u8]) -> Option<NodeIndex> {
        let children = self.node(node)?.children;
        let hashes = self.hashes.get(children.range())?;
        let wanted = hash(segment);
        let first = hashes.partition_point(|hash| *hash < wanted);
        if *hashes.get(first)? != wanted {
            return None;
        }
        let at = NodeIndex(children.start + index(first));
        if self.segment(at) == segment {
            return Some(at);
        }
        let same = hashes.get(first..)?.partition_point(|hash| *hash == wanted);
        let siblings = self.nodes.get(children.range())?.get(first..first + same)?;
        let found = siblings
            .binary_search_by(|sibling| self.bytes(sibling.segment).cmp(segment))
            .ok()?;
        Some(NodeIndex(children.start + index(first + found)))
    }

    /// The children of `node`, in no order that means anything.
    pub(crate) fn children(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> + use<> {
        let children = self
            .node(node)
            .map_or_else(Span::default, |node| node.children);
        (children.start..children.start + children.length).map(NodeIndex)
    }

    /// The resources whose paths end at `node`, the least specific first.
    pub(crate) fn leaves(&self, node: NodeIndex) -> &[Leaf] {
        self.node(node)
            .and_then(|node| self.leaves.get(node.leaves.range()))
            .unwrap_or_default()
    }

    /// Some resource at or below `node`.
    pub(crate) fn some_leaf(&self, mut node: NodeIndex) -> Option<Leaf> {
        loop {
            if let Some(leaf) = self.leaves(node).first() {
                return Some(*leaf);
            }
            node = self.children(node).next()?;
        }
    }

    /// The comparable segment of `node`.
    pub(crate) fn segment(&self, node: NodeIndex) -> &[u8] {
        self.node(node)
            .map_or(&[][..], |node| self.bytes(node.segment))
    }

    fn node(&self, node: NodeIndex) -> Option<&Node> {
        self.nodes.get(size(node.0))
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.segments.get(span.range()).unwrap_or_default()
    }

    /// Adds the resources of one system.
    pub(crate) fn plant(&mut self, resources: &[Resource]) -> NodeIndex {
        let mut text = Vec::new();
        let mut seeds: Vec<Seed> = resources
            .iter()
            .enumerate()
            .map(|(resource, rule)| Seed::new(resource, rule, &mut text))
            .collect();
        let path = |seed: &Seed| text.get(seed.path.range()).unwrap_or_default();
        seeds.sort_by(|a, b| {
            let order = path(a).cmp(path(b));
            order.then_with(|| (a.leaf.scope, a.leaf.slash).cmp(&(b.leaf.scope, b.leaf.slash)))
        });

        let root = NodeIndex(index(self.nodes.len()));
        self.nodes.push(Node::default());
        self.hashes.push(0);
        // Each bed is a node and the sorted seeds whose paths begin with `read` bytes that lead to it.
        let mut beds = std::collections::VecDeque::from([(root, 0..seeds.len(), 0)]);
        while let Some((node, range, read)) = beds.pop_front() {
            let bed = seeds.get(range.clone()).unwrap_or_default();
            let ending = bed.partition_point(|seed| path(seed).len() == read);
            let (here, below) = bed.split_at(ending);
            let leaves = Span {
                start: index(self.leaves.len()),
                length: index(here.len()),
            };
            self.leaves.extend(here.iter().map(|seed| seed.leaf));
            // Subtrees before exact paths: the order in which a walk considers them.
            if let Some(new) = self.leaves.get_mut(leaves.range()) {
                new.sort_by_key(|leaf| (leaf.scope == Scope::Exact, leaf.slash));
            }

            // Below the root a separator stands before the next segment.
            let begin = if read == 0 { 0 } else { read + 1 };
            let segment = |seed: &Seed| {
                let rest = path(seed).get(begin..).unwrap_or_default();
                rest.split(|byte| *byte == SEPARATOR)
                    .next()
                    .unwrap_or_default()
            };
            let mut groups = Vec::new();
            let mut start = range.start + ending;
            for group in below.chunk_by(|a, b| segment(a) == segment(b)) {
                let name = group.first().map(segment).unwrap_or_default();
                groups.push((hash(name), name, start..start + group.len()));
                start += group.len();
            }
            groups.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            let children = Span {
                start: index(self.nodes.len()),
                length: index(groups.len()),
            };
            for (hash, name, range) in groups {
                let child = NodeIndex(index(self.nodes.len()));
                let span = Span {
                    start: index(self.segments.len()),
                    length: index(name.len()),
                };
                self.segments.extend_from_slice(name);
                self.nodes.push(Node {
                    segment: span,
                    ..Node::default()
                });
                self.hashes.push(hash);
                beds.push_back((child, range, begin + name.len()));
            }
            if let Some(node) = self.nodes.get_mut(size(node.0)) {
                node.children = children;
                node.leaves = leaves;
            }
        }
        root
    }
}

impl Walk<'_> {
    fn consider(&mut self, leaf: &Leaf, ask: &Ask<'_>, system: &System) {
        match leaf.obstacle(ask, system) {
            None => self.granted = Some(*leaf),
            Some(obstacle) => {
                if self.missed.is_none_or(|(before, _)| before <= obstacle) {
                    self.missed = Some((obstacle, *leaf));
                }
            }
        }
    }
}

impl Leaf {
    /// Whether a path of which `remainder` is left at this leaf's node is reached.
    fn reaches(&self, remainder: Remainder) -> bool {
        match (self.scope, self.slash) {
            (Scope::Exact, false) => remainder == Remainder::Nothing,
            (Scope::Exact, true) => remainder == Remainder::Slash,
            (Scope::Subtree, false) => true,
            (Scope::Subtree, true) => remainder != Remainder::Nothing,
        }
    }

    fn obstacle(&self, ask: &Ask<'_>, system: &System) -> Option<Obstacle> {
        let method = match ask.bit {
            Some(bit) => self.methods & bit != 0,
            None => {
                self.all_methods
                    || system
                        .resources
                        .get(size(self.resource))
                        .is_some_and(|resource| resource.methods.contains(ask.method))
            }
        };
        let upgrade = self.upgrade || !ask.upgrade;
        match (self.active, method, upgrade) {
            (true, true, true) => None,
            (true, true, false) => Some(Obstacle::Upgrade),
            (true, false, _) => Some(Obstacle::Method),
            (false, true, true) => Some(Obstacle::Inactive),
            (false, _, _) => Some(Obstacle::InactiveAndMore),
        }
    }
}

/// A resource on its way into a tree.
struct Seed {
    /// Its comparable segments, joined by [`SEPARATOR`], in a common text.
    path: Span,
    leaf: Leaf,
}

/// Sorts before every byte of a segment, so that sorting joined segments sorts the lists of segments. No segment
/// contains it, control characters being refused.
const SEPARATOR: u8 = 0;

impl Seed {
    fn new(resource: usize, rule: &Resource, text: &mut Vec<u8>) -> Self {
        let start = text.len();
        let path = Path::trusted(rule.path.as_str().as_bytes());
        let mut room = [0; crate::limits::RULE_PATH_BYTES_MAX];
        let mut segments = path.segments();
        for segment in segments.by_ref() {
            if text.len() > start {
                text.push(SEPARATOR);
            }
            let decoded = comparable(segment, &mut room);
            text.extend_from_slice(decoded.expect("a rule's path fits the room made for it"));
        }
        Self {
            path: Span {
                start: index(start),
                length: index(text.len() - start),
            },
            leaf: Leaf {
                methods: rule.methods.known_bits(),
                resource: index(resource),
                scope: rule.scope,
                slash: segments.remainder() == Remainder::Slash,
                parameters: rule.parameters,
                active: rule.active,
                upgrade: rule.upgrade,
                all_methods: rule.methods.is_all(),
            },
        }
    }
}

/// In this crate's own tests all but four hashes collide, so that what tells names apart then is tested all the time.
const HASH_MASK: u32 = if cfg!(test) { 3 } else { u32::MAX };

fn hash(segment: &[u8]) -> u32 {
    let [a, b, c, d, ..] = FixedState::with_seed(0x61_64_69_74)
        .hash_one(segment)
        .to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) & HASH_MASK
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("`limits` keeps every vector of a table below 2^32 entries")
}

fn size(index: u32) -> usize {
    usize::try_from(index).expect("this program runs where addresses have at least 32 bits")
}
