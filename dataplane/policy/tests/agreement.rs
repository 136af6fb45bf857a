//! Two judgements of the same thing are one: the table and a slow reference, deciding and explaining, a rule set with
//! and without a rule that does not matter.
//!
//! `SEED=<n>` replays one rule set; `PAIRS=<n>` sets how many pairs are tried.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_policy::sample::Sample;
use adit_policy::{
    DenialReason, OwnedRequest, Request, Resource, RuleSet, Scope, Snapshot, System, Table, explain,
};

/// Requests asked of each rule set.
const REQUESTS_EACH: u64 = 100;

fn pairs() -> u64 {
    std::env::var("PAIRS").map_or(1_000_000, |text| text.parse().expect("PAIRS is a number"))
}

/// The seeds to try: one of the environment, or as many as make the pairs.
fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED") {
        Ok(text) => {
            let seed = text.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..pairs() / REQUESTS_EACH,
    }
}

/// The decision by position, as the reference gives it.
fn decided(table: &Table, request: &Request<'_>) -> reference::Decision {
    let grant = table.decide(request).map_err(|denial| denial.reason())?;
    let rules = table.rules();
    let system = rules
        .systems
        .iter()
        .position(|system| std::ptr::eq(system, grant.system()))
        .unwrap();
    let resource = grant.resource().map(|granting| {
        let resources = &rules.systems[system].resources;
        resources
            .iter()
            .position(|resource| std::ptr::eq(resource, granting))
            .unwrap()
    });
    Ok((system, resource))
}

#[test]
fn p10_a_million_pairs_are_decided_as_the_reference_decides_and_explained_as_decided() {
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds() {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let snapshot = Snapshot::new(seed, rules.to_string()).unwrap_or_else(|problems| {
            panic!("SEED={seed}: a sampled rule set has problems\n{problems}\n{rules}")
        });
        assert_eq!(
            snapshot.table().rules(),
            &rules,
            "SEED={seed}: read back differently"
        );
        for _ in 0..REQUESTS_EACH {
            let owned = sample.request(&rules);
            let request = owned.as_request();
            let decision = decided(snapshot.table(), &request);
            let expected = reference::decide(&rules, &request);
            assert_eq!(
                decision, expected,
                "SEED={seed}: {request} is decided otherwise by the reference (right); rules\n{rules}"
            );
            explained_as_decided(seed, &snapshot, &owned, &decision);
            let outcome = decision.map_or_else(|reason| reason.to_string(), |_| "allow".to_owned());
            *outcomes.entry(outcome).or_default() += 1;
        }
    }
    if std::env::var("SEED").is_err() {
        // A sample that never meets a reason would prove nothing about it.
        for outcome in DenialReason::ALL
            .map(DenialReason::word)
            .into_iter()
            .chain(["allow"])
        {
            let count = outcomes.get(outcome).copied().unwrap_or_default();
            assert!(
                count * 1000 >= pairs(),
                "{outcome} is met {count} times only: {outcomes:?}"
            );
        }
    }
}

fn explained_as_decided(
    seed: u64,
    snapshot: &Arc<Snapshot>,
    request: &OwnedRequest,
    decision: &reference::Decision,
) {
    let explanation = explain(snapshot, &request.as_request());
    assert_eq!(
        explanation.is_allowed(),
        decision.is_ok(),
        "SEED={seed}: {request}"
    );
    assert_eq!(
        explanation.reason(),
        decision.err(),
        "SEED={seed}: {request}"
    );
    let told = serde_json::to_value(&explanation).unwrap();
    if let Ok((system, resource)) = decision {
        let system = &snapshot.table().rules().systems[*system];
        let path = resource.map(|at| system.resources[at].path.as_str());
        assert_eq!(
            told["system"].as_str(),
            Some(system.name()),
            "SEED={seed}: {request}"
        );
        assert_eq!(told["path"].as_str(), path, "SEED={seed}: {request}");
    }
}

/// What a caller notices of a decision, and by which rule, without positions that an added rule shifts.
fn noticed(table: &Table, request: &Request<'_>) -> Result<(String, String), DenialReason> {
    match table.decide(request) {
        Ok(grant) => {
            let resource = grant.resource().map(|resource| format!("{resource:?}"));
            Ok((
                grant.system().virtual_end.to_string(),
                resource.unwrap_or_default(),
            ))
        }
        Err(denial) => Err(denial.reason()),
    }
}

#[test]
fn p10_adding_a_resource_changes_no_decision_about_paths_it_does_not_reach() {
    let (mut unrelated, mut related) = (0, 0);
    for seed in seeds() {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let Some((more, system, added)) = with_one_resource_more(&mut sample, &rules) else {
            continue;
        };
        let before = Table::compile(&rules).unwrap();
        let after = Table::compile(&more).unwrap();
        for _ in 0..REQUESTS_EACH / 2 {
            let owned = sample.request(&more);
            let request = owned.as_request();
            let (old, new) = (noticed(&before, &request), noticed(&after, &request));
            if concerns(&more.systems[system], &added, &request) {
                related += 1;
                // More rules never allow less.
                assert!(old.is_err() || new.is_ok(), "SEED={seed}: {request}");
            } else {
                unrelated += 1;
                assert_eq!(old, new, "SEED={seed}: {request} and added {added:?}");
            }
        }
    }
    assert!(
        std::env::var("SEED").is_ok() || (unrelated * 1000 > pairs() && related * 1000 > pairs())
    );
}

fn with_one_resource_more(
    sample: &mut Sample,
    rules: &RuleSet,
) -> Option<(RuleSet, usize, Resource)> {
    let at = sample.below(rules.systems.len());
    let mut more = rules.clone();
    let system = more.systems.get_mut(at)?;
    let added = sample.resource(system.encoded_slash);
    let key = |resource: &Resource| (resource.path.clone(), resource.scope);
    let taken = system
        .resources
        .iter()
        .any(|resource| key(resource) == key(&added));
    if taken || system.protocol != adit_policy::Protocol::Http {
        return None;
    }
    let position = sample.below(system.resources.len() + 1);
    system.resources.insert(position, added.clone());
    Some((more, at, added))
}

/// Whether the added resource has a say about a request.
fn concerns(system: &System, added: &Resource, request: &Request<'_>) -> bool {
    let end = &system.virtual_end;
    let Request::Http { path, .. } = request else {
        return false;
    };
    request.host().eq_ignore_ascii_case(end.host.as_str())
        && end.ports.contains(request.port())
        && reference::reaches(added, path, system.encoded_slash)
}

#[test]
fn p10_adding_a_system_changes_no_decision_about_other_hosts_and_ports() {
    let mut unrelated = 0;
    for seed in seeds() {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let added = sample.system();
        let mut more = rules.clone();
        let position = sample.below(more.systems.len() + 1);
        more.systems.insert(position, added.clone());
        let before = Table::compile(&rules).unwrap();
        let Ok(after) = Table::compile(&more) else {
            continue;
        };
        for _ in 0..REQUESTS_EACH / 2 {
            let owned = sample.request(&more);
            let request = owned.as_request();
            let end = &added.virtual_end;
            let same_host = request.host().eq_ignore_ascii_case(end.host.as_str());
            let (old, new) = (noticed(&before, &request), noticed(&after, &request));
            match (&old, &new) {
                _ if same_host && end.ports.contains(request.port()) => {}
                // The host is known now, and a port of it is still denied.
                (Err(DenialReason::SystemUnknown), Err(DenialReason::PortDenied)) if same_host => {}
                _ => {
                    unrelated += 1;
                    assert_eq!(old, new, "SEED={seed}: {request} and added {end}");
                }
            }
        }
    }
    assert!(std::env::var("SEED").is_ok() || unrelated * 1000 > pairs());
}

#[test]
fn the_order_of_rules_means_nothing() {
    for seed in seeds().take(2000) {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let mut turned = rules.clone();
        turned.systems.reverse();
        for system in &mut turned.systems {
            system.resources.reverse();
        }
        let (a, b) = (
            Table::compile(&rules).unwrap(),
            Table::compile(&turned).unwrap(),
        );
        for _ in 0..REQUESTS_EACH {
            let owned = sample.request(&rules);
            let request = owned.as_request();
            assert_eq!(
                noticed(&a, &request),
                noticed(&b, &request),
                "SEED={seed}: {request}"
            );
        }
    }
}

#[test]
fn p01_a_subtree_reaches_what_lies_below_its_path_and_nothing_beside_it() {
    for seed in 0..2000 {
        let mut sample = Sample::new(seed);
        let mut system = sample.system();
        let mut resource = sample.resource(system.encoded_slash);
        resource.active = true;
        if system.protocol != adit_policy::Protocol::Http || resource.path.as_str().ends_with('/') {
            continue;
        }
        resource.scope = Scope::Subtree;
        resource.methods = adit_policy::Methods::all();
        system.resources = vec![resource.clone()];
        let (host, port) = (
            system.virtual_end.host.clone(),
            system.virtual_end.ports.first(),
        );
        let table = Table::compile(&RuleSet::new(vec![system])).unwrap();
        let allows = |suffix: &str| {
            let path = format!("{}{suffix}", resource.path);
            let request = Request::Http {
                host: host.as_str(),
                port,
                method: "GET",
                path: path.as_bytes(),
                upgrade: false,
            };
            table.decide(&request).is_ok()
        };
        for suffix in ["", "/", "/x", "/x/y", "/%41"] {
            assert!(allows(suffix), "SEED={seed}: {resource:?} with {suffix}");
        }
        for suffix in [
            "x", "X", "%41", ".", "%20", "-plus", "..", "%2Fx", "%3Bx", "\\x",
        ] {
            assert!(!allows(suffix), "SEED={seed}: {resource:?} with {suffix}");
        }
    }
}
