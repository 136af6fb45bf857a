//! Where two systems differ on one virtual host and port, path by path.
//!
//! Both trees are laid over each other. At a node the paths fall into regions that no resource tells apart: the node
//! itself, with a slash, and below it beside its children; the same once more where `;` parameters of its segment
//! matter. One path of each region is judged. Regions of which the same becomes are then told together.
mod judge;
mod tell;
mod unite;

use super::ends::End;
use super::methods::Classes;
use super::{Judge, Plan, Spent};
use crate::rule::{EncodedSlash, Resource, System};
use crate::tree::{NodeIndex, Tree};

/// A system of protocol http in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'t> {
    pub(super) tree: &'t Tree,
    pub(super) root: NodeIndex,
    pub(super) system: &'t System,
}

/// Compares what is granted of one virtual host and port by HTTP.
pub(super) fn compare(
    asked: &mut Judge<'_>,
    plan: &mut Plan,
    end: End<'_>,
    old: Option<Side<'_>>,
    new: Option<Side<'_>>,
) -> Result<(), Spent> {
    let Some(some) = old.or(new) else {
        return Ok(());
    };
    let sides = Sides {
        old,
        new,
        // A side that is missing grants nothing, however a path is read.
        slashes: match (old, new) {
            (Some(old), Some(new)) if old.system.encoded_slash != new.system.encoded_slash => {
                Slashes::Differ
            }
            (Some(_) | None, Some(_) | None) => match some.system.encoded_slash {
                EncodedSlash::Refuse => Slashes::Refused,
                EncodedSlash::Keep => Slashes::Kept,
            },
        },
    };
    let resources = [old, new].into_iter().flatten();
    let classes = Classes::new(resources.flat_map(|side| &side.system.resources));
    let nodes = unite::unite(&sides);
    for group in classes.groups() {
        let marked = judge::judge(asked, end, &sides, &nodes, group)?;
        tell::tell(plan, end, &sides, &nodes, &marked, group);
    }
    Ok(())
}

/// The two systems that are compared.
#[derive(Clone, Copy, Debug)]
struct Sides<'t> {
    old: Option<Side<'t>>,
    new: Option<Side<'t>>,
    slashes: Slashes,
}

/// What the two systems say of encoded slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slashes {
    Refused,
    Kept,
    Differ,
}

/// Whether two resources of one path and scope say the same.
pub(super) fn says_the_same(a: &Resource, b: &Resource) -> bool {
    a.methods == b.methods
        && a.upgrade == b.upgrade
        && a.parameters == b.parameters
        && a.active == b.active
}
