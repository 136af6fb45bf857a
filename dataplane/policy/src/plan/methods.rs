//! Methods that no rule tells apart: of each such class one stands for all.
//!
//! Which rules there are is `paths`'s to say; what a class is granted, the deciding function's.
use std::collections::{HashMap, HashSet};

use super::line::MethodSet;
use crate::method::Methods;
use crate::rule::Resource;

/// All methods, in classes. The last class is that of all methods that no rule names.
#[derive(Debug)]
pub(super) struct Classes<'r> {
    list: Vec<Class<'r>>,
}

/// Methods that no rule tells apart.
#[derive(Debug)]
struct Class<'r> {
    /// In alphabetical order; none in the last class.
    names: Vec<&'r str>,
    /// Stands for all of them.
    one: String,
}

impl<'r> Classes<'r> {
    /// The classes of these resources.
    pub(super) fn new(resources: impl Iterator<Item = &'r Resource>) -> Self {
        // A resource for all methods tells none from another.
        let sets: HashSet<&Methods> = resources
            .map(|resource| &resource.methods)
            .filter(|methods| !methods.is_all())
            .collect();
        let mut sets_of: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, set) in sets.into_iter().enumerate() {
            for name in set.names() {
                sets_of.entry(name).or_default().push(index);
            }
        }
        let mut unnamed = "X".to_owned();
        while sets_of.contains_key(unnamed.as_str()) {
            unnamed.push('X');
        }
        let mut names_of: HashMap<Vec<usize>, Vec<&str>> = HashMap::new();
        for (name, sets) in sets_of {
            names_of.entry(sets).or_default().push(name);
        }
        let mut list: Vec<Class<'_>> = names_of
            .into_values()
            .map(|mut names| {
                names.sort_unstable();
                let one = names.first().copied().unwrap_or_default().to_owned();
                Class { names, one }
            })
            .collect();
        list.sort_unstable_by(|a, b| a.one.cmp(&b.one));
        list.push(Class {
            names: Vec::new(),
            one: unnamed,
        });
        Self { list }
    }

    /// The classes in groups of at most [`GROUP`], each as the methods that stand for them.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group<'_, 'r>> {
        (0..self.list.len()).step_by(GROUP).map(|first| Group {
            classes: self,
            first,
        })
    }
}

/// Some of the classes, each with a bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'c, 'r> {
    classes: &'c Classes<'r>,
    first: usize,
}

impl<'c> Group<'c, '_> {
    /// The bit of each class, and the method that stands for it.
    pub(super) fn ones(&self) -> impl Iterator<Item = (u64, &'c str)> + use<'c> {
        let classes = self.classes.list.get(self.first..).unwrap_or_default();
        let bits = (0..64).map(|bit| 1 << bit);
        bits.zip(classes.iter().take(GROUP))
            .map(|(bit, class)| (bit, class.one.as_str()))
    }

    /// The methods of these bits.
    pub(super) fn methods(&self, bits: u64) -> MethodSet {
        let has = |index: usize| {
            index
                .checked_sub(self.first)
                .filter(|offset| *offset < GROUP)
                .is_some_and(|offset| bits >> offset & 1 == 1)
        };
        let all = has(self.classes.list.len() - 1);
        let named = self.classes.list.iter().enumerate();
        let names = named
            .filter(|(index, _)| has(*index) != all)
            .flat_map(|(_, class)| class.names.iter().copied());
        MethodSet::new(all, names)
    }
}

/// As many classes as a set of bits holds.
const GROUP: usize = 64;
