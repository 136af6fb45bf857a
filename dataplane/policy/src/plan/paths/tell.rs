//! Regions of which the same becomes, told together in as few lines as the tree allows.
//!
//! A node of which the same becomes as of what lies beside it is told with it; one of which something else becomes is
//! named as an exception, with all that lies below it, and told by itself. So each region is in one set of paths, and
//! no set needs to be read against another.
use std::collections::HashSet;

use super::judge::{Bits, Mark, Marked, Regions};
use super::unite::{Node, path, with_parameters};
use super::{Sides, Slashes};
use crate::plan::Plan;
use crate::plan::ends::End;
use crate::plan::line::{Asked, Change, EncodedSlashes, Exceptions, HttpSet, Line, PathSet};
use crate::plan::methods::Group;
use crate::rule::Scope;

/// Adds the lines of one virtual host and port.
pub(super) fn tell(
    plan: &mut Plan,
    end: End<'_>,
    sides: &Sides<'_>,
    nodes: &[Node<'_>],
    marked: &Marked,
    group: Group<'_, '_>,
) {
    let told = Told {
        end,
        sides,
        nodes,
        marked,
        group,
        apart: apart(nodes, marked),
    };
    // What is to be told, the next one last.
    let mut places = vec![Place {
        node: 0,
        parameters: false,
    }];
    while let Some(place) = places.pop() {
        let mut held = told.held(place);
        told.place(plan, place, &held);
        held.reverse();
        places.extend(held);
    }
}

/// A node, or its segment with any `;` parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    node: usize,
    parameters: bool,
}

impl Place {
    fn both(node: usize) -> [Self; 2] {
        [false, true].map(|parameters| Self { node, parameters })
    }
}

/// The places that are told by themselves: of which not the same becomes as of what lies beside them.
fn apart(nodes: &[Node<'_>], marked: &Marked) -> HashSet<Place> {
    let places = (1..nodes.len()).flat_map(Place::both);
    places
        .filter(|place| {
            let Some(regions) = marked.regions_of(*place) else {
                return false;
            };
            let holder = holder(nodes, marked, *place);
            !marked.regions_of(holder).is_some_and(|beside| {
                let here = [regions.itself, regions.slash, regions.below];
                // Certain parameters lie among any, so the regions of the one are those of the other; whatever else
                // lies below a place lies in what is below it.
                let there = if holder.parameters {
                    [beside.itself, beside.slash, beside.below]
                } else {
                    [beside.below; 3]
                };
                let mut pairs = here.into_iter().zip(there);
                pairs.all(|(here, there)| marked.mark(here).agrees(&marked.mark(there)))
            })
        })
        .collect()
}

/// The place beside which a place lies, as an exception or told with it.
fn holder(nodes: &[Node<'_>], marked: &Marked, place: Place) -> Place {
    let node = nodes.get(place.node);
    let bare = node
        .and_then(|node| node.bare)
        .filter(|_| !place.parameters)
        .map(|bare| Place {
            node: bare,
            parameters: true,
        })
        .filter(|bare| marked.regions_of(*bare).is_some());
    bare.unwrap_or_else(|| Place {
        node: node.map_or(0, |node| node.parent),
        parameters: false,
    })
}

impl Marked {
    fn regions_of(&self, place: Place) -> Option<Regions> {
        if place.parameters {
            self.parameters.get(&place.node).copied()
        } else {
            self.regions.get(place.node).copied()
        }
    }
}

struct Told<'a, 'g> {
    end: End<'a>,
    sides: &'a Sides<'a>,
    nodes: &'a [Node<'a>],
    marked: &'a Marked,
    group: Group<'g, 'g>,
    apart: HashSet<Place>,
}

impl Told<'_, '_> {
    /// The nearest places below one that are told by themselves, in the order of their paths.
    fn held(&self, place: Place) -> Vec<Place> {
        let mut held = Vec::new();
        let mut below = self.below(place);
        while let Some(place) = below.pop() {
            if self.apart.contains(&place) {
                held.push(place);
            } else {
                below.extend(self.below(place));
            }
        }
        held
    }

    /// The places right below one, the last first.
    fn below(&self, place: Place) -> Vec<Place> {
        let Some(node) = self.nodes.get(place.node) else {
            return Vec::new();
        };
        // Those with parameters hold siblings of theirs, not children.
        let among = if place.parameters {
            with_parameters(self.nodes, node)
        } else {
            node.children.clone()
        };
        let mut below: Vec<Place> = among
            .flat_map(Place::both)
            .filter(|below| self.marked.regions_of(*below).is_some())
            .filter(|below| self.holder(*below) == place)
            .collect();
        below.reverse();
        below
    }

    fn holder(&self, place: Place) -> Place {
        holder(self.nodes, self.marked, place)
    }

    /// Adds the lines of one place, without those below it.
    fn place(&self, plan: &mut Plan, place: Place, held: &[Place]) {
        let Some(regions) = self.marked.regions_of(place) else {
            return;
        };
        let mark = |index| self.marked.mark(index);
        let (itself, slash, below) = (
            mark(regions.itself),
            mark(regions.slash),
            mark(regions.below),
        );
        let is_root = place.node == 0;
        let slash_agrees = slash.agrees(&below);
        let all_agree = slash_agrees && itself.agrees(&below) && !is_root;
        let path = self.paths(place);
        let with_slash = PathSet {
            path: format!("{}/", path.path),
            ..path
        };
        let excepted = |place: &Place| PathSet {
            scope: Scope::Subtree,
            ..self.paths(*place)
        };
        // Certain parameters lie among any already here, not only below.
        let among = || {
            let mut except = Exceptions::default();
            let among = held
                .iter()
                .filter(|held| place.parameters && self.holder(**held) == place);
            among.for_each(|held| except.add(|| excepted(held)));
            except
        };
        if !is_root && !all_agree {
            self.lines(plan, place, &itself, path.clone(), among());
        }
        let mut except = Exceptions::default();
        if !slash_agrees {
            self.lines(plan, place, &slash, with_slash.clone(), among());
            except.add(|| with_slash.clone());
        }
        if below.changes_nothing() {
            return;
        }
        held.iter().for_each(|held| except.add(|| excepted(held)));
        let paths = PathSet {
            scope: Scope::Subtree,
            ..if all_agree { path } else { with_slash }
        };
        self.lines(plan, place, &below, paths, except);
    }

    /// The path of a place alone.
    fn paths(&self, place: Place) -> PathSet {
        PathSet {
            path: path(self.nodes, place.node),
            scope: Scope::Exact,
            parameters: place.parameters,
        }
    }

    /// Adds the lines of one set of paths.
    fn lines(
        &self,
        plan: &mut Plan,
        place: Place,
        mark: &Mark,
        paths: PathSet,
        except: Exceptions,
    ) {
        let slashed = self.nodes.get(place.node).is_some_and(|node| node.slashed);
        // One path has an encoded slash or has none, and no parameter of it may have one.
        let single = paths.scope == Scope::Exact && !paths.parameters;
        let nothing = Bits::default();
        let slashes = self.sides.slashes;
        let (plain, with) = match (slashes, slashed, single) {
            (Slashes::Refused | Slashes::Kept, _, _) => (mark.plain, None),
            (Slashes::Differ, true, _) => (None, mark.slashed),
            (Slashes::Differ, false, true) => (mark.plain, None),
            (Slashes::Differ, false, false) => (
                Some(mark.plain.unwrap_or(nothing)),
                Some(mark.slashed.unwrap_or(nothing)),
            ),
        };
        let alike = match slashes {
            Slashes::Refused => EncodedSlashes::Refused,
            Slashes::Kept | Slashes::Differ => EncodedSlashes::Any,
        };
        for upgrade in [false, true] {
            let set = |bits: Option<Bits>, change: Change| {
                let sets = bits.unwrap_or(nothing);
                let [without, with] = sets;
                let sets = if upgrade { with } else { without };
                let found = Change::ALL
                    .into_iter()
                    .zip(sets)
                    .find(|(of, _)| *of == change);
                found.map_or(0, |(_, set)| set)
            };
            let mut told: Vec<(u64, Change, EncodedSlashes)> = Vec::new();
            for change in Change::ALL {
                let (plain_set, with_set) = (set(plain, change), set(with, change));
                if plain.is_some() && with.is_some() && plain_set != with_set {
                    told.push((plain_set, change, EncodedSlashes::Without));
                    told.push((with_set, change, EncodedSlashes::With));
                } else {
                    told.push((plain_set | with_set, change, alike));
                }
            }
            // By the first of their methods, so that the change back is told in the same order.
            told.retain(|(set, _, _)| *set != 0);
            told.sort_by_key(|(set, _, slashes)| {
                (set.trailing_zeros(), *slashes == EncodedSlashes::With)
            });
            if plan.is_full() {
                // Put into words for nobody, these would cost more than all else.
                plan.unlisted += told.len();
                continue;
            }
            for (set, change, encoded_slashes) in told {
                self.line(
                    plan,
                    change,
                    HttpSet {
                        methods: self.group.methods(set),
                        upgrade,
                        paths: paths.clone(),
                        encoded_slashes,
                        except: except.list.clone(),
                        except_unlisted: except.unlisted,
                    },
                );
            }
        }
    }

    fn line(&self, plan: &mut Plan, change: Change, asked: HttpSet) {
        let old = self.sides.old.map(|side| side.system);
        let new = self.sides.new.map(|side| side.system);
        plan.add(Line::new(change, self.end, Asked::Http(asked), old, new));
    }
}

impl Mark {
    fn changes_nothing(&self) -> bool {
        let nothing = Some(Bits::default());
        self.plain.is_none_or(|_| self.plain == nothing)
            && self.slashed.is_none_or(|_| self.slashed == nothing)
    }
}
