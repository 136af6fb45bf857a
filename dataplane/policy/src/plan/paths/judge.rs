//! What becomes of each region of paths: one path of each is put to both tables.
//!
//! Which regions there are follows from the tree; that they are regions is held by `tests/plan.rs`.
use std::collections::HashMap;

use super::unite::{Node, child_named, path};
use super::{Sides, Slashes};
use crate::plan::ends::{End, lead_alike};
use crate::plan::line::Change;
use crate::plan::methods::Group;
use crate::plan::{Judge, Spent};
use crate::request::Request;

/// What becomes of the classes of methods in a region: by whether an upgrade is asked for, and by change.
pub(super) type Bits = [[u64; Change::ALL.len()]; 2];

/// What becomes of a region; `None` where it has no such paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// Of paths without encoded slash; of all where both systems say the same of them.
    pub(super) plain: Option<Bits>,
    /// Of paths with one.
    pub(super) slashed: Option<Bits>,
}

impl Mark {
    /// Whether the same becomes of both regions, as far as they have the same kinds of paths.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let agree = |a: Option<Bits>, b: Option<Bits>| a.is_none() || b.is_none() || a == b;
        agree(self.plain, other.plain) && agree(self.slashed, other.slashed)
    }
}

/// What becomes of the regions at a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regions {
    /// The path of the node.
    pub(super) itself: MarkIndex,
    /// With a slash at its end.
    pub(super) slash: MarkIndex,
    /// What lies below, but below no child.
    pub(super) below: MarkIndex,
}

/// One of the few different marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkIndex(u32);

/// What becomes of all regions.
#[derive(Debug)]
pub(super) struct Marked {
    list: Vec<Mark>,
    index: HashMap<Mark, MarkIndex>,
    /// By node.
    pub(super) regions: Vec<Regions>,
    /// By node, where its segment with any `;` parameters is a node of its own.
    pub(super) parameters: HashMap<usize, Regions>,
}

impl Marked {
    pub(super) fn mark(&self, index: MarkIndex) -> Mark {
        usize::try_from(index.0)
            .ok()
            .and_then(|index| self.list.get(index))
            .copied()
            .unwrap_or_default()
    }

    fn enter(&mut self, mark: Mark) -> MarkIndex {
        let next = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        *self.index.entry(mark).or_insert_with(|| {
            self.list.push(mark);
            MarkIndex(next)
        })
    }
}

/// Judges every region that may differ.
pub(super) fn judge(
    asked: &mut Judge<'_>,
    end: End<'_>,
    sides: &Sides<'_>,
    nodes: &[Node<'_>],
    group: Group<'_, '_>,
) -> Result<Marked, Spent> {
    let mut marked = Marked {
        list: Vec::new(),
        index: HashMap::new(),
        regions: Vec::with_capacity(nodes.len()),
        parameters: HashMap::new(),
    };
    let nothing = marked.enter(Mark {
        plain: Some(Bits::default()),
        slashed: None,
    });
    let unchanged = Regions {
        itself: nothing,
        slash: nothing,
        below: nothing,
    };
    let ends_same = sides
        .old
        .zip(sides.new)
        .is_some_and(|(old, new)| lead_alike(old.system, new.system, end.ports));
    // Whether what reaches a node from above says the same in both trees.
    let mut same_above: Vec<bool> = Vec::with_capacity(nodes.len());
    let mut question = Question {
        asked,
        end,
        slashes: sides.slashes,
        group,
    };
    for (index, node) in nodes.iter().enumerate() {
        let here_same = |at: usize| nodes.get(at).is_none_or(|node| node.same_here);
        let above = if index == 0 {
            ends_same
        } else {
            same_above.get(node.parent).copied().unwrap_or(false)
                && here_same(node.parent)
                && node.bare.is_none_or(here_same)
        };
        same_above.push(above);
        if above && node.same {
            marked.regions.push(unchanged);
            continue;
        }
        // What reaches nothing but nodes above reaches all that lies below them.
        let regions = if index > 0 && !node.bears && node.bare.is_none() {
            let from = marked.regions.get(node.parent).map(|parent| parent.below);
            let mark = from.unwrap_or(nothing);
            Regions {
                itself: mark,
                slash: mark,
                below: mark,
            }
        } else {
            let path = path(nodes, index);
            let free = free_segment(nodes, node, &[]);
            question.regions(&mut marked, &path, &free, node.slashed)?
        };
        marked.regions.push(regions);
        if node.parameters
            && let Some(parent) = nodes.get(node.parent)
        {
            let name = [node.segment, b";"].concat();
            let free = free_segment(nodes, parent, &name);
            let path = format!("{};{free}", path(nodes, index));
            let regions = question.parameters(&mut marked, &path, node.slashed)?;
            marked.parameters.insert(index, regions);
        }
    }
    Ok(marked)
}

/// What to write behind `start` for a segment that no child of `parent` has, with or without an encoded slash in it.
fn free_segment(nodes: &[Node<'_>], parent: &Node<'_>, start: &[u8]) -> String {
    let mut number = 0_usize;
    loop {
        let text = format!("~{number}");
        let taken = |end: &[u8]| {
            let segment = [start, text.as_bytes(), end].concat();
            child_named(nodes, parent.children.clone(), &segment).is_some()
        };
        if !taken(b"") && !taken(SLASHED) {
            return text;
        }
        number += 1;
    }
}

/// Behind a free segment: an encoded slash and something behind it, as it is compared and as it is written.
const SLASHED: &[u8] = b"/~";
const SLASHED_AS_WRITTEN: &str = "%2F~";

/// What is asked about each region.
struct Question<'q, 't> {
    asked: &'q mut Judge<'t>,
    end: End<'q>,
    slashes: Slashes,
    group: Group<'q, 'q>,
}

impl Question<'_, '_> {
    fn regions(
        &mut self,
        marked: &mut Marked,
        path: &str,
        free: &str,
        slashed: bool,
    ) -> Result<Regions, Spent> {
        let below = format!("{path}/{free}");
        let below_slashed = format!("{below}{SLASHED_AS_WRITTEN}");
        let slash = format!("{path}/");
        Ok(Regions {
            // No request has the root's path but with its slash.
            itself: if path.is_empty() {
                self.one(marked, &slash, slashed)?
            } else {
                self.one(marked, path, slashed)?
            },
            slash: self.one(marked, &slash, slashed)?,
            below: self.both(marked, &below, &below_slashed, slashed)?,
        })
    }

    /// As `regions`, where `path` ends in parameters that may have an encoded slash themselves.
    fn parameters(
        &mut self,
        marked: &mut Marked,
        path: &str,
        slashed: bool,
    ) -> Result<Regions, Spent> {
        let with = format!("{path}{SLASHED_AS_WRITTEN}");
        let mut both = |more: &str| {
            self.both(
                marked,
                &format!("{path}{more}"),
                &format!("{with}{more}"),
                slashed,
            )
        };
        Ok(Regions {
            itself: both("")?,
            slash: both("/")?,
            below: both("/~0")?,
        })
    }

    /// A region of one path.
    fn one(&mut self, marked: &mut Marked, path: &str, slashed: bool) -> Result<MarkIndex, Spent> {
        let bits = Some(self.bits(path)?);
        Ok(marked.enter(if slashed && self.slashes == Slashes::Differ {
            Mark {
                plain: None,
                slashed: bits,
            }
        } else {
            Mark {
                plain: bits,
                slashed: None,
            }
        }))
    }

    /// A region of paths with and without encoded slashes.
    fn both(
        &mut self,
        marked: &mut Marked,
        plain: &str,
        with: &str,
        slashed: bool,
    ) -> Result<MarkIndex, Spent> {
        if slashed || self.slashes != Slashes::Differ {
            return self.one(marked, plain, slashed);
        }
        let mark = Mark {
            plain: Some(self.bits(plain)?),
            slashed: Some(self.bits(with)?),
        };
        Ok(marked.enter(mark))
    }

    fn bits(&mut self, path: &str) -> Result<Bits, Spent> {
        let mut bits = Bits::default();
        for (bit, method) in self.group.ones() {
            for (upgrade, changes) in [false, true].into_iter().zip(&mut bits) {
                let judged = self.asked.ask(&Request::Http {
                    host: self.end.host,
                    port: self.end.ports.first(),
                    method,
                    path: path.as_bytes(),
                    upgrade,
                })?;
                for (change, set) in Change::ALL.into_iter().zip(changes) {
                    if judged.change == Some(change) {
                        *set |= bit;
                    }
                }
                // Who may not even without an upgrade may not with one.
                if !judged.granted {
                    break;
                }
            }
        }
        Ok(bits)
    }
}
