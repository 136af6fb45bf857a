//! What a plan says of two rule sets is what really changes for requests: neither less nor more.
//!
//! The lines are read here once more, slowly and from their words alone. `SEED=<n>` replays one pair of rule
//! sets; `PAIRS=<n>` sets how many are tried.
#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]
#[expect(
    dead_code,
    reason = "of the reference only the reading of paths is needed"
)]
mod reference;

use std::collections::BTreeMap;

use adit_policy::plan::{Asked, Change, EncodedSlashes, HttpSet, Line, MethodSet, PathSet};
use adit_policy::sample::Sample;
use adit_policy::{
    EncodedSlash, Methods, OwnedRequest, Plan, Request, Resource, ResourcePath, RuleSet, Scope,
    Table, plan,
};

/// Requests asked of each pair.
const REQUESTS_EACH: usize = 120;

/// Pairs of rule sets tried.
fn pairs() -> u64 {
    std::env::var("PAIRS").map_or(4000, |text| text.parse().expect("PAIRS is a number"))
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED") {
        Ok(text) => {
            let seed = text.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..pairs(),
    }
}

/// A rule set and another one, unrelated or some edits away.
fn pair(sample: &mut Sample) -> (RuleSet, RuleSet) {
    let mut old = sample.rule_set();
    if sample.chance(50) {
        twin(sample, &mut old);
    }
    if sample.chance(20) {
        return (old, sample.rule_set());
    }
    let mut new = old.clone();
    for _ in 0..=sample.below(3) {
        edit(sample, &mut new);
    }
    if Table::compile(&new).is_err() {
        return (old.clone(), old);
    }
    (old, new)
}

/// Lets parameters of a resource's segment pass, and adds one for certain parameters: what both reach is cut finest.
fn twin(sample: &mut Sample, rules: &mut RuleSet) {
    let (at, resource_at) = (sample.below(rules.systems.len()), sample.below(8));
    let Some(system) = rules.systems.get_mut(at) else {
        return;
    };
    let resources = system.resources.len();
    let Some(resource) = system.resources.get_mut(resource_at % resources.max(1)) else {
        return;
    };
    resource.parameters = true;
    let path = format!("{};v=1", resource.path);
    let Ok(path) = ResourcePath::new(&path, system.encoded_slash) else {
        return;
    };
    let scope = resource.scope;
    let same = |resource: &Resource| resource.path == path && resource.scope == scope;
    if !system.resources.iter().any(same) {
        system.resources.push(Resource::new(path, scope));
    }
}

fn edit(sample: &mut Sample, rules: &mut RuleSet) {
    let at = sample.below(rules.systems.len());
    if sample.chance(10) {
        let system = sample.system();
        rules.systems.insert(at, system);
        return;
    }
    let (what, resource_at) = (sample.below(10), sample.below(8));
    let Some(system) = rules.systems.get_mut(at) else {
        return;
    };
    let resources = system.resources.len();
    match what {
        0 => {
            rules.systems.remove(at);
        }
        1 => system.allow_loopback = !system.allow_loopback,
        2 if resources > 0 => system.host_header = adit_policy::HostHeader::Internal,
        3 if resources > 0 => system.encoded_slash = EncodedSlash::Keep,
        4 | 5 if resources > 0 => {
            system.resources.remove(resource_at % resources);
        }
        6 if resources > 0 => {
            let resource = &mut system.resources[resource_at % resources];
            resource.methods = Methods::these(["GET", "POST"]);
        }
        7 if resources > 0 => {
            let resource = &mut system.resources[resource_at % resources];
            resource.upgrade = !resource.upgrade;
            resource.parameters = !resource.parameters;
        }
        8 if resources > 0 => {
            let resource = &mut system.resources[resource_at % resources];
            resource.active = !resource.active;
        }
        _ if system.protocol == adit_policy::Protocol::Http => {
            let slash = system.encoded_slash;
            let resource = sample.resource(slash);
            system.resources.push(resource);
        }
        _ => {}
    }
}

/// A request near either rule set; often with what regions are cut by: parameters, slashes, encoded slashes.
fn request(sample: &mut Sample, old: &RuleSet, new: &RuleSet) -> OwnedRequest {
    let rules = if sample.chance(50) { old } else { new };
    let owned = sample.request(rules);
    let Request::Http {
        host,
        port,
        method,
        path,
        ..
    } = owned.as_request()
    else {
        return owned;
    };
    let mut path = path.to_vec();
    match sample.below(12) {
        0 => path.extend(b";p=1"),
        1 => path.extend(b"/"),
        2 => path.extend(b";p=1/"),
        3 => path.extend(b";v=1/x"),
        4 => path.extend(b"x%2Fy"),
        5 => path.extend(b"/x%2Fy"),
        6 => path.extend(b";p%2Fy"),
        7 => path.extend(b"/zz"),
        _ => return owned,
    }
    Request::Http {
        host,
        port,
        method,
        path: &path,
        upgrade: sample.chance(30),
    }
    .to_owned()
}

/// What a backend is dialled with.
fn decided(table: &Table, request: &Request<'_>) -> Option<String> {
    let grant = table.decide(request).ok()?;
    let system = grant.system();
    Some(format!(
        "{:?} {:?} {:?} {:?} {:?}",
        grant.protocol(),
        grant.internal(),
        system.host_header,
        system.ca_file,
        system.allow_loopback
    ))
}

fn changed(old: &Table, new: &Table, request: &Request<'_>) -> Option<Change> {
    match (decided(old, request), decided(new, request)) {
        (None, None) => None,
        (None, Some(_)) => Some(Change::Reachable),
        (Some(_), None) => Some(Change::Unreachable),
        (Some(old), Some(new)) => (old != new).then_some(Change::Moved),
    }
}

/// What a plan says of a request; it must say it once.
fn said(plan: &Plan, request: &Request<'_>) -> Option<Change> {
    let mut lines = plan.lines.iter().filter(|line| covers(line, request));
    let first = lines.next()?;
    if let Some(second) = lines.next() {
        panic!("{request} is in two lines\n{first}\n{second}");
    }
    Some(first.change)
}

fn covers(line: &Line, request: &Request<'_>) -> bool {
    let here =
        request.host().eq_ignore_ascii_case(&line.host) && line.ports.contains(request.port());
    here && match (&line.asked, request) {
        (Asked::Tcp, Request::Tcp { .. }) => true,
        (
            Asked::Http(asked),
            Request::Http {
                method,
                path,
                upgrade,
                ..
            },
        ) => {
            asked.upgrade == *upgrade && has_method(&asked.methods, method) && has_path(asked, path)
        }
        _ => false,
    }
}

fn has_method(methods: &MethodSet, method: &str) -> bool {
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_token = !method.is_empty() && method.chars().all(tchar) && method != "CONNECT";
    assert_eq!(methods.unlisted, 0);
    is_token && methods.all != methods.names.iter().any(|name| name == method)
}

fn has_path(asked: &HttpSet, path: &[u8]) -> bool {
    if reference::read(path, EncodedSlash::Keep).is_none() {
        return false;
    }
    let slashed = reference::read(path, EncodedSlash::Refuse).is_none();
    let is_meant = match asked.encoded_slashes {
        EncodedSlashes::Any => true,
        EncodedSlashes::With => slashed,
        EncodedSlashes::Refused | EncodedSlashes::Without => !slashed,
    };
    assert_eq!(asked.except_unlisted, 0);
    is_meant && in_set(&asked.paths, path) && !asked.except.iter().any(|paths| in_set(paths, path))
}

/// Whether a resource as the set is written reaches the path, by the reference.
fn in_set(set: &PathSet, path: &[u8]) -> bool {
    let written = ResourcePath::new(&set.path, EncodedSlash::Keep)
        .unwrap_or_else(|problem| panic!("{set}: {problem}"));
    let mut resource = Resource::new(written, set.scope);
    if !set.parameters {
        return reference::reaches(&resource, path, EncodedSlash::Keep);
    }
    let without = reference::reaches(&resource, path, EncodedSlash::Keep);
    resource.parameters = true;
    reference::reaches(&resource, path, EncodedSlash::Keep) && !without
}

#[test]
fn a_plan_says_of_every_request_what_becomes_of_it_and_of_no_other() {
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds() {
        let mut sample = Sample::new(seed);
        let (old_rules, new_rules) = pair(&mut sample);
        let (old, new) = (
            Table::compile(&old_rules).unwrap(),
            Table::compile(&new_rules).unwrap(),
        );
        let plan = plan(&old, &new);
        assert_eq!((plan.unlisted, plan.unfinished), (0, false), "SEED={seed}");
        for _ in 0..REQUESTS_EACH {
            let owned = request(&mut sample, &old_rules, &new_rules);
            let request = owned.as_request();
            let changed = changed(&old, &new, &request);
            assert_eq!(
                said(&plan, &request),
                changed,
                "SEED={seed}: {request} (left: said, right: true)\n{plan}\nold\n{old_rules}\nnew\n{new_rules}"
            );
            *met.entry(format!("{changed:?}")).or_default() += 1;
            for line in plan.lines.iter().filter(|line| covers(line, &request)) {
                for kind in kinds(line) {
                    *met.entry(kind.to_owned()).or_default() += 1;
                }
            }
        }
    }
    if std::env::var("SEED").is_err() {
        for what in [
            "None",
            "Some(Reachable)",
            "Some(Unreachable)",
            "Some(Moved)",
            "tcp",
            "upgrade",
            "parameters",
            "with",
            "without",
            "except",
            "all but",
            "exact",
            "subtree",
        ] {
            let count = met.get(what).copied().unwrap_or_default();
            assert!(count > 20, "{what} is met {count} times only: {met:?}");
        }
    }
}

/// What is special about a line, to see that the sample meets it.
fn kinds(line: &Line) -> Vec<&'static str> {
    let Asked::Http(asked) = &line.asked else {
        return vec!["tcp"];
    };
    let mut kinds = vec![asked.paths.scope.word()];
    for (is, kind) in [
        (asked.upgrade, "upgrade"),
        (asked.paths.parameters, "parameters"),
        (asked.encoded_slashes == EncodedSlashes::With, "with"),
        (asked.encoded_slashes == EncodedSlashes::Without, "without"),
        (!asked.except.is_empty(), "except"),
        (
            asked.methods.all && !asked.methods.names.is_empty(),
            "all but",
        ),
    ] {
        if is {
            kinds.push(kind);
        }
    }
    kinds
}

#[test]
fn the_plan_of_the_change_back_is_the_plan_mirrored() {
    let mut lines = 0;
    for seed in seeds() {
        let (old, new) = pair(&mut Sample::new(seed));
        let (old, new) = (Table::compile(&old).unwrap(), Table::compile(&new).unwrap());
        let there = plan(&old, &new);
        lines += there.lines.len();
        assert_eq!(plan(&new, &old), there.mirrored(), "SEED={seed}");
        assert!(
            plan(&old, &old).is_empty() && plan(&new, &new).is_empty(),
            "SEED={seed}"
        );
    }
    assert!(std::env::var("SEED").is_ok() || lines > 2000, "{lines}");
}

#[test]
fn rules_in_another_order_under_other_names_or_written_otherwise_change_nothing() {
    let mut rewritten = 0;
    for seed in seeds() {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let mut other = rules.clone();
        other.systems.reverse();
        for (index, system) in other.systems.iter_mut().enumerate() {
            system.given_name = Some(format!("renamed-{index}"));
            system.description = Some("told otherwise".to_owned());
            system.resources.reverse();
            // A subtree is itself, itself with a slash, and what is below it.
            let subtrees: Vec<Resource> = system
                .resources
                .iter()
                .filter(|resource| {
                    resource.scope == Scope::Subtree
                        && !resource.parameters
                        && !resource.path.as_str().ends_with('/')
                })
                .cloned()
                .collect();
            for subtree in subtrees {
                let taken = |path: &str, scope: Scope| {
                    system
                        .resources
                        .iter()
                        .any(|other| other.path.as_str() == path && other.scope == scope)
                };
                let below = format!("{}/", subtree.path);
                if taken(&below, Scope::Subtree) || taken(subtree.path.as_str(), Scope::Exact) {
                    continue;
                }
                let at = system
                    .resources
                    .iter()
                    .position(|resource| *resource == subtree)
                    .unwrap();
                system.resources[at].scope = Scope::Exact;
                let mut rest = subtree.clone();
                rest.path = ResourcePath::new(&below, EncodedSlash::Keep).unwrap();
                system.resources.push(rest);
                rewritten += 1;
            }
        }
        let plan = plan(
            &Table::compile(&rules).unwrap(),
            &Table::compile(&other).unwrap(),
        );
        assert!(
            plan.is_empty(),
            "SEED={seed}:\n{plan}\n{rules}\nas\n{other}"
        );
    }
    assert!(
        std::env::var("SEED").is_ok() || rewritten > 1000,
        "{rewritten}"
    );
}
