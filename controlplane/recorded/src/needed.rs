//! The paths that requests needed of one resource, and the fewest rules that say as much.
//!
//! Whatever is made of them lies within that resource: where paths are too many for rules of their own, one for all below
//! a segment border stands for them, and never one above the resource.
use std::collections::{BTreeMap, BTreeSet};

use adit_policy::limits::METHODS_MAX;
use adit_policy::{EncodedSlash, Methods, Resource, ResourcePath, Scope};

use crate::limits::{BRANCHES_MAX, EXACT_PATHS_MAX};

/// What was needed of one resource.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    root: Node,
    methods: BTreeSet<Box<str>>,
    /// Not every path is known or can be a rule, so that the resource is needed as it is.
    whole: bool,
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
struct Node {
    below: BTreeMap<Box<str>, Self>,
    /// How many paths end here or below.
    ends: usize,
    /// The methods of the path that ends here; none when none does.
    methods: BTreeSet<Box<str>>,
}

impl Needed {
    /// The path and method of a request, whose spelling is any.
    pub(crate) fn path(&mut self, path: &[u8], method: &str, slash: EncodedSlash) {
        self.methods.insert(method.into());
        let path = core::str::from_utf8(path).ok();
        match path.and_then(|path| ResourcePath::respelled(path, slash).ok()) {
            Some(path) => self.root.enter(path.as_str(), method),
            None => self.whole = true,
        }
    }

    /// A request of which only the method is known.
    pub(crate) fn all(&mut self, method: &str) {
        self.methods.insert(method.into());
        self.whole = true;
    }

    /// From now on the resource is needed as it is.
    ///
    /// Says whether it was not yet.
    pub(crate) fn becomes_whole(&mut self) -> bool {
        !core::mem::replace(&mut self.whole, true)
    }

    /// The rules, each within `resource`, which granted all of it.
    pub(crate) fn rules(&self, resource: &Resource, slash: EncodedSlash) -> Vec<Resource> {
        let whole = || {
            let mut whole = resource.clone();
            whole.methods = methods(&self.methods, resource);
            vec![whole]
        };
        if self.whole || resource.scope == Scope::Exact {
            return whole();
        }
        let mut maker = Maker {
            resource,
            slash,
            depth: depth(resource.path.as_str()),
            rules: Vec::new(),
        };
        match maker.make(&self.root, &mut String::new(), 0) {
            Some(()) => maker.rules,
            None => whole(),
        }
    }
}

impl Node {
    /// Notes a path in canonical spelling.
    fn enter(&mut self, path: &str, method: &str) {
        let is_new = {
            let mut node = &*self;
            let mut known = true;
            for segment in path.split('/').skip(1) {
                match node.below.get(segment) {
                    Some(next) => node = next,
                    None => {
                        known = false;
                        break;
                    }
                }
            }
            !known || node.methods.is_empty()
        };
        let mut node = self;
        node.ends += usize::from(is_new);
        for segment in path.split('/').skip(1) {
            node = node.below.entry(segment.into()).or_default();
            node.ends += usize::from(is_new);
        }
        node.methods.insert(method.into());
    }

    fn all_methods(&self, into: &mut BTreeSet<Box<str>>) {
        into.extend(self.methods.iter().cloned());
        for node in self.below.values() {
            node.all_methods(into);
        }
    }
}

struct Maker<'r> {
    resource: &'r Resource,
    slash: EncodedSlash,
    /// Segments of the resource's path.
    depth: usize,
    rules: Vec<Resource>,
}

impl Maker<'_> {
    /// Makes the rules of `node`, whose path is `path`. `None` when only the resource as it is says enough.
    fn make(&mut self, node: &Node, path: &mut String, depth: usize) -> Option<()> {
        if !node.methods.is_empty() {
            self.rule(path, Scope::Exact, &node.methods)?;
        }
        if node.ends > EXACT_PATHS_MAX && node.below.len() > BRANCHES_MAX {
            // At the depth of the resource itself, and above it, a rule for all below would be the resource or more.
            if depth <= self.depth {
                return None;
            }
            let mut methods = BTreeSet::new();
            node.all_methods(&mut methods);
            if !node.methods.is_empty() {
                self.rules.pop();
            }
            return self.rule(path, Scope::Subtree, &methods);
        }
        for (segment, below) in &node.below {
            let length = path.len();
            path.push('/');
            path.push_str(segment);
            self.make(below, path, depth + 1)?;
            path.truncate(length);
        }
        Some(())
    }

    fn rule(&mut self, path: &str, scope: Scope, needed: &BTreeSet<Box<str>>) -> Option<()> {
        let path = ResourcePath::new(path, self.slash).ok()?;
        let mut rule = Resource::new(path, scope);
        rule.methods = methods(needed, self.resource);
        rule.upgrade = self.resource.upgrade;
        self.rules.push(rule);
        Some(())
    }
}

/// The methods needed; all of them where a rule cannot list them, which happens only if `resource` allows all.
fn methods(needed: &BTreeSet<Box<str>>, resource: &Resource) -> Methods {
    let listable =
        needed.len() <= METHODS_MAX && needed.iter().all(|method| Methods::is_listable(method));
    if listable {
        Methods::these(needed.iter().map(|method| &**method))
    } else {
        resource.methods.clone()
    }
}

/// Segments of a path, without the empty one behind a trailing slash.
fn depth(path: &str) -> usize {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .count()
}

#[cfg(test)]
mod tests;
