//! The trees of two systems laid over each other.
//!
//! Nodes are the same where their paths are; where they come from and what they grant plays no part but for `same`.
use core::ops::Range;

use super::{Side, Sides};
use crate::canonical::path;
use crate::table::resource_at;
use crate::tree::{Leaf, NodeIndex};

/// A node of either tree or of both.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) old: Option<NodeIndex>,
    pub(super) new: Option<NodeIndex>,
    /// Comparable, as in the trees.
    pub(super) segment: &'t [u8],
    /// The root is its own.
    pub(super) parent: usize,
    /// In the order of their segments.
    pub(super) children: Range<usize>,
    /// The sibling whose segment this one is but for `;` parameters, when some resource there lets them pass.
    pub(super) bare: Option<usize>,
    /// Some resource here lets `;` parameters of this segment pass.
    pub(super) parameters: bool,
    /// There are resources here.
    pub(super) bears: bool,
    /// The path up to here has an encoded slash.
    pub(super) slashed: bool,
    /// The resources here say the same in both trees.
    pub(super) same_here: bool,
    /// Those here and below do.
    pub(super) same: bool,
}

/// Lays the trees over each other; parents stand before their children, the root first.
pub(super) fn unite<'t>(sides: &Sides<'t>) -> Vec<Node<'t>> {
    let root = |side: &Side<'_>| side.root;
    let mut nodes = vec![node(
        sides,
        sides.old.as_ref().map(root),
        sides.new.as_ref().map(root),
        &[],
    )];
    let mut at = 0;
    while let Some((old, new, slashed)) =
        nodes.get(at).map(|node| (node.old, node.new, node.slashed))
    {
        let first = nodes.len();
        for (segment, old, new) in children(sides, old, new) {
            let mut child = node(sides, old, new, segment);
            child.parent = at;
            child.slashed = slashed || segment.contains(&b'/');
            nodes.push(child);
        }
        let range = first..nodes.len();
        for index in range.clone() {
            let bare = bare_sibling(&nodes, range.clone(), index);
            if let Some(node) = nodes.get_mut(index) {
                node.bare = bare;
            }
        }
        if let Some(node) = nodes.get_mut(at) {
            node.children = range;
        }
        at += 1;
    }
    for index in (1..nodes.len()).rev() {
        let below = nodes.get(index).map(|node| (node.parent, node.same));
        if let Some((parent, false)) = below
            && let Some(parent) = nodes.get_mut(parent)
        {
            parent.same = false;
        }
    }
    nodes
}

fn node<'t>(
    sides: &Sides<'_>,
    old: Option<NodeIndex>,
    new: Option<NodeIndex>,
    segment: &'t [u8],
) -> Node<'t> {
    let (olds, news) = (leaves(sides.old, old), leaves(sides.new, new));
    let both = || olds.iter().chain(news);
    let same = olds.len() == news.len()
        && olds.iter().zip(news).all(|(old, new)| {
            let resource =
                |side: Option<Side<'_>>, leaf: &Leaf, other: &Leaf, of: Option<Side<'_>>| {
                    side.zip(of).is_some_and(|(side, of)| {
                        super::says_the_same(
                            resource_at(side.system, leaf.resource),
                            resource_at(of.system, other.resource),
                        )
                    })
                };
            (old.scope, old.slash) == (new.scope, new.slash)
                && resource(sides.old, old, new, sides.new)
        });
    Node {
        old,
        new,
        segment,
        parent: 0,
        children: 0..0,
        bare: None,
        // A raw `;` in the segment is what a request's parameters would begin with: they never reach it.
        parameters: !segment.is_empty()
            && !segment.contains(&b';')
            && both().any(|leaf| leaf.parameters),
        bears: both().next().is_some(),
        slashed: false,
        same_here: same,
        same,
    }
}

fn leaves(side: Option<Side<'_>>, node: Option<NodeIndex>) -> &[Leaf] {
    match side.zip(node) {
        Some((side, node)) => side.tree.leaves(node),
        None => &[],
    }
}

type Child<'t> = (&'t [u8], Option<NodeIndex>, Option<NodeIndex>);

/// The children of a node of either tree, each once, in the order of their segments.
fn children<'t>(
    sides: &Sides<'t>,
    old: Option<NodeIndex>,
    new: Option<NodeIndex>,
) -> Vec<Child<'t>> {
    let mut found: Vec<Child<'t>> = Vec::new();
    if let Some((side, node)) = sides.old.zip(old) {
        let tree = side.tree;
        found.extend(
            tree.children(node)
                .map(|child| (tree.segment(child), Some(child), None)),
        );
    }
    if let Some((side, node)) = sides.new.zip(new) {
        let tree = side.tree;
        found.extend(
            tree.children(node)
                .map(|child| (tree.segment(child), None, Some(child))),
        );
    }
    found.sort_unstable_by_key(|(segment, _, _)| *segment);
    found.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = earlier.1.or(later.1);
            earlier.2 = earlier.2.or(later.2);
        }
        same
    });
    found
}

fn bare_sibling(nodes: &[Node<'_>], siblings: Range<usize>, index: usize) -> Option<usize> {
    let segment = nodes.get(index)?.segment;
    let at = segment.iter().position(|byte| *byte == b';')?;
    let name = segment.get(..at).filter(|name| !name.is_empty())?;
    let found = child_named(nodes, siblings, name)?;
    nodes.get(found)?.parameters.then_some(found)
}

/// The one of these siblings that has this segment.
pub(super) fn child_named(
    nodes: &[Node<'_>],
    siblings: Range<usize>,
    segment: &[u8],
) -> Option<usize> {
    let list = nodes.get(siblings.clone())?;
    let at = list
        .binary_search_by(|node| node.segment.cmp(segment))
        .ok()?;
    Some(siblings.start + at)
}

/// The siblings of a node whose segments are its own with certain `;` parameters.
pub(super) fn with_parameters(nodes: &[Node<'_>], node: &Node<'_>) -> Range<usize> {
    let siblings = nodes
        .get(node.parent)
        .map_or(0..0, |parent| parent.children.clone());
    let list = nodes.get(siblings.clone()).unwrap_or_default();
    let name = [node.segment, b";"].concat();
    let first = list.partition_point(|sibling| sibling.segment < name.as_slice());
    let rest = list.get(first..).unwrap_or_default();
    let count = rest.partition_point(|sibling| sibling.segment.starts_with(&name));
    siblings.start + first..siblings.start + first + count
}

/// The path of a node as it is written in a rule, without a slash at its end; nothing for the root.
pub(super) fn path(nodes: &[Node<'_>], index: usize) -> String {
    let mut segments = Vec::new();
    let mut at = index;
    while at > 0
        && let Some(node) = nodes.get(at)
    {
        segments.push(node.segment);
        at = node.parent;
    }
    let mut text = String::new();
    for segment in segments.into_iter().rev() {
        text.push('/');
        path::spell(segment, &mut text);
    }
    text
}
