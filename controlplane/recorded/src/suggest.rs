//! What of a rule set is used, and the smallest one that recorded traffic needs.
//!
//! What is suggested lies within the rules it is made of, for each of its rules lies within the one that granted; and it
//! grants every recorded request that those rules grant, which is asked of the deciding function before it is handed out.
use std::collections::{BTreeSet, HashMap};

use adit_policy::{Protocol, Request, Resource, RuleSet, System, Table};

use crate::ledger::{Asked, Folded, Ledger, Written};
use crate::needed::Needed;

/// What came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Suggestion {
    /// The rules that are needed. They hold no tests: those of the old rules speak of the old rules.
    pub rules: RuleSet,
    /// What no recorded grant used.
    pub unused: Vec<Unused>,
    /// Systems and active resources of the old rules that were used.
    pub used: usize,
    /// Recorded grants that the rules suggested cover.
    pub covered: u64,
    /// Recorded grants that the old rules do not give any more, so that they are not covered.
    pub no_longer_granted: u64,
    /// Recorded grants for which the whole rule was kept, because their paths are not known.
    pub kept_whole: u64,
    /// Recorded requests that the old rules grant and the suggested ones refuse: a mistake of adit. Empty.
    pub mistakes: Vec<String>,
}

/// A system, or one of its resources, that no recorded grant used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unused {
    /// The name of the system.
    pub system: String,
    /// The resource, as `subtree /path`; `None` for the system as a whole.
    pub rule: Option<String>,
    /// The line of the text where it stands; 0 when it was never in one.
    pub line: u32,
}

/// Suggests rules for what `ledger` holds, within `old`.
#[must_use]
pub fn suggest(old: &Table, ledger: &Ledger) -> Suggestion {
    let mut uses = Uses::new(old);
    let mut suggestion = Suggestion {
        rules: RuleSet::default(),
        unused: Vec::new(),
        used: 0,
        covered: 0,
        no_longer_granted: 0,
        kept_whole: 0,
        mistakes: Vec::new(),
    };
    for (asked, count) in ledger.granted() {
        let sum = match uses.take(asked, count) {
            Taken::Covered => &mut suggestion.covered,
            Taken::Whole => &mut suggestion.kept_whole,
            Taken::Nothing => &mut suggestion.no_longer_granted,
        };
        *sum = sum.saturating_add(count);
    }
    for (folded, count) in ledger.folded() {
        let sum = match uses.take_folded(folded, count) {
            Taken::Nothing => &mut suggestion.no_longer_granted,
            Taken::Covered | Taken::Whole => &mut suggestion.kept_whole,
        };
        *sum = sum.saturating_add(count);
    }
    suggestion.rules = uses.rules();
    (suggestion.unused, suggestion.used) = uses.unused();
    suggestion.mistakes = mistakes(old, &suggestion.rules, ledger);
    suggestion
}

enum Taken {
    Covered,
    Whole,
    Nothing,
}

/// Which of the old rules were used, and for what. Systems and resources are known by where they lie in the table.
struct Uses<'t> {
    old: &'t Table,
    systems: HashMap<*const System, BTreeSet<u16>>,
    resources: HashMap<*const Resource, Needed>,
    by_host: HashMap<&'t str, Vec<&'t System>>,
}

impl<'t> Uses<'t> {
    fn new(old: &'t Table) -> Self {
        let mut by_host: HashMap<&str, Vec<&System>> = HashMap::new();
        for system in &old.rules().systems {
            let host = system.virtual_end.host.as_str();
            by_host.entry(host).or_default().push(system);
        }
        Self {
            old,
            systems: HashMap::new(),
            resources: HashMap::new(),
            by_host,
        }
    }

    fn take(&mut self, asked: &Asked, count: u64) -> Taken {
        if let Some(Written::Cut(_)) = &asked.path {
            return self.take_folded(&asked.folded(), count);
        }
        let mut taken = Taken::Nothing;
        for (system, resource, port) in granting(self.old, asked) {
            self.systems.entry(system).or_default().insert(port);
            if let (Some(resource), Some(method), Some(Written::Whole(path))) =
                (resource, &asked.method, &asked.path)
            {
                let needed = self.resources.entry(resource).or_default();
                needed.path(path, method, system.encoded_slash);
                needed.count = needed.count.saturating_add(count);
            }
            taken = Taken::Covered;
        }
        taken
    }

    /// Takes what is known by rule and method only.
    fn take_folded(&mut self, folded: &Folded, count: u64) -> Taken {
        let Some((host, port)) = folded.system.rsplit_once(':') else {
            return Taken::Nothing;
        };
        let Ok(port) = port.parse::<u16>() else {
            return Taken::Nothing;
        };
        let host = host.to_ascii_lowercase();
        let mut taken = Taken::Nothing;
        for system in self.by_host.get(host.as_str()).into_iter().flatten() {
            if !system.virtual_end.ports.contains(port) {
                continue;
            }
            let Some(method) = &folded.method else {
                if system.protocol != Protocol::Http {
                    self.systems.entry(*system).or_default().insert(port);
                    taken = Taken::Whole;
                }
                continue;
            };
            for resource in &system.resources {
                if resource.active
                    && resource.path.as_str() == &*folded.rule
                    && resource.methods.contains(method)
                {
                    self.systems.entry(*system).or_default().insert(port);
                    let needed = self.resources.entry(resource).or_default();
                    needed.all(method);
                    needed.count = needed.count.saturating_add(count);
                    taken = Taken::Whole;
                }
            }
        }
        taken
    }

    fn rules(&mut self) -> RuleSet {
        let mut systems = Vec::new();
        for old in &self.old.rules().systems {
            let Some(ports) = self.systems.get(&std::ptr::from_ref(old)) else {
                continue;
            };
            let mut system = old.clone();
            narrow(&mut system, ports);
            system.resources = resources(old, &mut self.resources);
            systems.push(system);
        }
        RuleSet::new(systems)
    }

    fn unused(&self) -> (Vec<Unused>, usize) {
        let (mut unused, mut used) = (Vec::new(), 0);
        for system in &self.old.rules().systems {
            let name = system.name().to_owned();
            if !self.systems.contains_key(&std::ptr::from_ref(system)) {
                unused.push(Unused {
                    system: name,
                    rule: None,
                    line: system.line(),
                });
                continue;
            }
            used += 1;
            for resource in system.resources.iter().filter(|resource| resource.active) {
                if self.resources.contains_key(&std::ptr::from_ref(resource)) {
                    used += 1;
                } else {
                    unused.push(Unused {
                        system: name.clone(),
                        rule: Some(format!("{} {}", resource.scope, resource.path)),
                        line: resource.line(),
                    });
                }
            }
        }
        (unused, used)
    }
}

/// Who grants a recorded request by these rules. Older records do not tell whether it asked for an upgrade, so both are
/// asked where it is not said that it did; of the two rules that may answer, the one that the record names counts.
fn granting<'t>(table: &'t Table, asked: &Asked) -> Vec<(&'t System, Option<&'t Resource>, u16)> {
    let mut found: Vec<(&System, Option<&Resource>, u16)> = Vec::new();
    for upgrade in upgrades(asked) {
        let Some(request) = asked.request(upgrade) else {
            continue;
        };
        if let Ok(grant) = table.decide(&request.as_request()) {
            let this = (grant.system(), grant.resource(), grant.virtual_port());
            let known = found.iter().any(|(_, resource, _)| same(*resource, this.1));
            if !known {
                found.push(this);
            }
        }
    }
    let is_named = |(_, resource, _): &(&System, Option<&Resource>, u16)| {
        resource.is_some_and(|resource| resource.path.as_str() == &*asked.ground)
    };
    if found.iter().any(is_named) {
        found.retain(is_named);
    }
    found
}

fn upgrades(asked: &Asked) -> impl Iterator<Item = bool> {
    [false, true].into_iter().skip(usize::from(asked.upgrade))
}

fn same(one: Option<&Resource>, other: Option<&Resource>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Of several ports, those from the first to the last that was used.
fn narrow(system: &mut System, used: &BTreeSet<u16>) {
    let ports = system.virtual_end.ports;
    let (Some(first), Some(last)) = (used.first(), used.last()) else {
        return;
    };
    let offset = first.saturating_sub(ports.first());
    let inner = system.internal.ports.first().saturating_add(offset);
    let outer = adit_policy::PortRange::new(*first, *last);
    let inner = adit_policy::PortRange::new(inner, inner.saturating_add(last - first));
    if let Some((outer, inner)) = outer.zip(inner) {
        system.virtual_end.ports = outer;
        system.internal.ports = inner;
    }
}

/// The resources that a system needs: those of each old one, put together.
///
/// Two old ones may need the same path. If they differ in what else they grant, one rule would grant what neither did, so
/// both are kept as they were.
fn resources(system: &System, needed: &mut HashMap<*const Resource, Needed>) -> Vec<Resource> {
    loop {
        let mut made: Vec<(Resource, usize)> = Vec::new();
        let mut known: HashMap<(Box<str>, adit_policy::Scope), usize> = HashMap::new();
        let mut clash = None;
        for (at, old) in system.resources.iter().enumerate() {
            let Some(needed) = needed.get(&std::ptr::from_ref(old)) else {
                continue;
            };
            for rule in needed.rules(old, system.encoded_slash) {
                let key = (rule.path.as_str().into(), rule.scope);
                let Some((before, by)) = known.get(&key).and_then(|at| made.get_mut(*at)) else {
                    known.insert(key, made.len());
                    made.push((rule, at));
                    continue;
                };
                if (before.upgrade, before.parameters) == (rule.upgrade, rule.parameters) {
                    before.methods = united(before, &rule);
                } else {
                    clash = Some((*by, at));
                }
            }
        }
        let Some((one, other)) = clash else {
            return made.into_iter().map(|(rule, _)| rule).collect();
        };
        let mut changed = false;
        for at in [one, other] {
            let old = system.resources.get(at).map(std::ptr::from_ref);
            if let Some(needed) = old.and_then(|old| needed.get_mut(&old)) {
                changed |= needed.becomes_whole();
            }
        }
        // As they were, no two of them have the same path and scope.
        assert!(changed, "old resources differ in path or scope");
    }
}

fn united(one: &Resource, other: &Resource) -> adit_policy::Methods {
    if one.methods.is_all() || other.methods.is_all() {
        return adit_policy::Methods::all();
    }
    adit_policy::Methods::these(one.methods.names().chain(other.methods.names()))
}

/// Recorded requests that the old rules grant and the new ones do not.
fn mistakes(old: &Table, new: &RuleSet, ledger: &Ledger) -> Vec<String> {
    let new = match Table::compile(new) {
        Ok(new) => new,
        Err(problems) => return vec![format!("the suggested rules are wrong: {problems}")],
    };
    let mut mistakes = Vec::new();
    for (asked, _) in ledger.granted() {
        for upgrade in upgrades(asked) {
            let Some(request) = asked.request(upgrade) else {
                continue;
            };
            let request: Request<'_> = request.as_request();
            let was = old.decide(&request).is_ok_and(|grant| {
                // With an upgrade it was asked only if that is the rule which granted it.
                let named = grant.resource().map(|resource| resource.path.as_str());
                !upgrade || named == Some(&*asked.ground)
            });
            if was && new.decide(&request).is_err() && mistakes.len() < 10 {
                mistakes.push(request.to_string());
            }
        }
    }
    mistakes
}

#[cfg(test)]
mod tests;
