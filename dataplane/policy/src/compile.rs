//! What two rules, or two parts of one rule, may not say together.
//!
//! Both reading a text and compiling a table ask here, so neither lets through what the other refuses. Building the
//! table is `table`'s work.
use std::collections::HashMap;

use crate::canonical::address::AddressClass;
use crate::limits::{
    DESCRIPTION_BYTES_MAX, FILE_NAME_BYTES_MAX, METHOD_BYTES_MAX, METHODS_MAX, RESOURCES_MAX,
    RULES_TEXT_BYTES_MAX, SYSTEMS_MAX, TESTS_MAX,
};
use crate::method;
use crate::problem::{Gathered, Place, Problems};
use crate::rule::{
    EncodedSlash, HostHeader, Protocol, Resource, RuleSet, Scope, System, is_system_name,
};

/// Checks a rule set.
///
/// # Errors
/// Every conflict, each at the later of the two places with the line of the earlier one.
pub(crate) fn check(rules: &RuleSet) -> Result<(), Problems> {
    let mut problems = Gathered::new(rules.file());
    conflicts(rules, &mut problems);
    problems.settle(())
}

/// Adds every conflict of `rules` to `problems`.
pub(crate) fn conflicts(rules: &RuleSet, problems: &mut Gathered) {
    sizes(rules, problems);
    names(rules, problems);
    virtual_ends(rules, problems);
    for system in &rules.systems {
        ends(system, problems);
        settings(system, problems);
        address(system, problems);
        resources(system, problems);
    }
    for test in &rules.tests {
        if let Some(name) = test
            .name
            .as_deref()
            .filter(|name| name.len() > DESCRIPTION_BYTES_MAX)
        {
            problems.add(
                test.place,
                format!(
                    "the name of the test has {} bytes and may have {DESCRIPTION_BYTES_MAX}",
                    name.len()
                ),
            );
        }
    }
}

fn sizes(rules: &RuleSet, problems: &mut Gathered) {
    let all = || rules.systems.iter().flat_map(|system| &system.resources);
    let bytes = all().map(|resource| resource.path.as_str().len()).sum();
    for (what, count, limit) in [
        ("systems", rules.systems.len(), SYSTEMS_MAX),
        ("resources", all().count(), RESOURCES_MAX),
        ("tests", rules.tests.len(), TESTS_MAX),
        // A rule set that was never a text is bounded like one.
        ("bytes of paths", bytes, RULES_TEXT_BYTES_MAX),
    ] {
        if let Some(message) = too_many(what, count, limit) {
            problems.add(Place::default(), message);
        }
    }
}

fn too_many(what: &str, count: usize, limit: usize) -> Option<String> {
    (count > limit).then(|| format!("{count} {what} are more than a rule set holds ({limit})"))
}

fn names(rules: &RuleSet, problems: &mut Gathered) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for system in &rules.systems {
        let Some(name) = &system.given_name else {
            continue;
        };
        if !is_system_name(name) {
            problems.add(
                system.places.name,
                format!("name {name:?} is not 1 to 64 letters, digits, `.`, `_` and `-`"),
            );
        }
        if let Some(line) = seen.get(name.as_str()) {
            problems.add(
                system.places.name,
                format!("name `{name}` is already taken{}", by_line(*line)),
            );
        } else {
            seen.insert(name, system.places.name.line());
        }
    }
}

/// Reports each virtual host and port that two systems have.
fn virtual_ends(rules: &RuleSet, problems: &mut Gathered) {
    let mut order: Vec<&System> = rules.systems.iter().collect();
    // A stable sort, so that of two equal ones the later in the text is reported.
    order.sort_by_key(|system| (&system.virtual_end.host, system.virtual_end.ports));
    let mut reaching: Option<&System> = None;
    for system in order {
        let Some(before) =
            reaching.filter(|before| before.virtual_end.host == system.virtual_end.host)
        else {
            reaching = Some(system);
            continue;
        };
        let (a, b) = (before.virtual_end.ports, system.virtual_end.ports);
        if a.overlaps(&b) {
            let place = |system: &System| system.places.virtual_end;
            let (first, second) = if place(before).line() <= place(system).line() {
                (before, system)
            } else {
                (system, before)
            };
            problems.add(
                place(second),
                format!(
                    "virtual `{}` overlaps `{}` of system `{}`{}",
                    second.virtual_end,
                    first.virtual_end,
                    first.name(),
                    on_line(place(first).line())
                ),
            );
        }
        if b.last() > a.last() {
            reaching = Some(system);
        }
    }
}

/// What the two ends must have in common.
fn ends(system: &System, problems: &mut Gathered) {
    let places = &system.places;
    let (outer, inner) = (system.virtual_end.ports, system.internal.ports);
    let word = system.protocol.word();
    match system.protocol {
        Protocol::Http => {
            if !outer.is_one() {
                problems.add(
                    places.virtual_end,
                    format!("ports {outer} are several; a system of protocol http has one port"),
                );
            } else if !inner.is_one() {
                problems.add(
                    places.internal,
                    format!("ports {inner} are several; a system of protocol http has one port"),
                );
            }
        }
        Protocol::Tcp | Protocol::Tls => {
            if outer.width() != inner.width() {
                problems.add(
                    places.internal,
                    format!(
                        "internal has {} ports and virtual has {}; a port range stands for a range of the same width",
                        u32::from(inner.width()) + 1,
                        u32::from(outer.width()) + 1
                    ),
                );
            }
            if system.internal.encrypted != (system.protocol == Protocol::Tls) {
                problems.add(
                    places.internal,
                    format!("a system of protocol {word} says whether TLS is spoken by its protocol (tcp or tls)"),
                );
            }
        }
    }
}

/// Settings that mean something for some protocols only.
fn settings(system: &System, problems: &mut Gathered) {
    let places = &system.places;
    let word = system.protocol.word();
    if let Some(file) = &system.ca_file {
        if !system.internal.encrypted {
            problems.add(
                places.ca_file,
                "ca_file has no meaning where no TLS is spoken; write internal = \"https://...\" or protocol = \
                 \"tls\", or remove it"
                    .to_owned(),
            );
        }
        if file.is_empty() || file.len() > FILE_NAME_BYTES_MAX || file.contains(char::is_control) {
            problems.add(
                places.ca_file,
                format!("ca_file is no file name of 1 to {FILE_NAME_BYTES_MAX} bytes"),
            );
        }
    }
    if system.protocol != Protocol::Http {
        if system.host_header != HostHeader::Virtual {
            problems.add(
                places.host_header,
                format!("host_header has no meaning for protocol {word}; remove it"),
            );
        }
        if system.encoded_slash != EncodedSlash::Refuse {
            problems.add(
                places.encoded_slash,
                format!("encoded_slash has no meaning for protocol {word}; remove it"),
            );
        }
        if let Some(resource) = system.resources.first() {
            problems.add(
                resource.place,
                format!("a system of protocol {word} has no resources: it is allowed as a whole"),
            );
        }
    }
    description(system.description.as_deref(), places.whole, problems);
}

/// Internal ends that lead back into the agent's own machine.
fn address(system: &System, problems: &mut Gathered) {
    let host = &system.internal.host;
    let what = match host.class() {
        AddressClass::Ordinary => return,
        AddressClass::Many => {
            problems.add(
                system.places.internal,
                format!(
                    "internal host `{host}` is a multicast or broadcast address, not a backend"
                ),
            );
            return;
        }
        AddressClass::Loopback => "the agent's own machine",
        AddressClass::LinkLocal => "a link-local address",
        AddressClass::Unspecified => "no host, which systems take for the agent's own machine",
        AddressClass::Metadata => "a cloud's metadata service, which hands out credentials",
    };
    if !system.allow_loopback {
        problems.add(
            system.places.internal,
            format!(
                "internal host `{host}` is {what}; if that is meant, write allow_loopback = true"
            ),
        );
    }
}

fn resources(system: &System, problems: &mut Gathered) {
    let mut seen: HashMap<(&str, Scope), u32> = HashMap::with_capacity(system.resources.len());
    for resource in &system.resources {
        let key = (resource.path.as_str(), resource.scope);
        if let Some(line) = seen.get(&key) {
            problems.add(
                resource.place,
                format!(
                    "{} `{}` is already a resource of this system{}; list all of its methods there",
                    resource.scope,
                    resource.path,
                    on_line(*line)
                ),
            );
        } else {
            seen.insert(key, resource.place.line());
        }
        if system.encoded_slash == EncodedSlash::Refuse && has_encoded_slash(resource) {
            problems.add(
                resource.place,
                format!(
                    "path `{}` has an encoded slash, and every request with one is refused unless the system says \
                     encoded_slash = \"keep\"",
                    resource.path
                ),
            );
        }
        methods(resource, problems);
        description(resource.description.as_deref(), resource.place, problems);
    }
}

fn methods(resource: &Resource, problems: &mut Gathered) {
    let methods = &resource.methods;
    if !methods.is_all() && methods.names().next().is_none() {
        problems.add(
            resource.place,
            "methods is empty, so this resource grants nothing; list some, remove the key for all of them, or write \
             active = false"
                .to_owned(),
        );
    }
    if methods.names().count() > METHODS_MAX {
        problems.add(
            resource.place,
            format!("more than {METHODS_MAX} methods; remove the key to allow all of them"),
        );
    }
    for name in methods.names() {
        if !method::is_token(name) || name.len() > METHOD_BYTES_MAX {
            problems.add(
                resource.place,
                format!("{name:?} is no method: 1 to {METHOD_BYTES_MAX} letters, as in \"GET\""),
            );
        } else if name == "CONNECT" {
            problems.add(
                resource.place,
                "CONNECT reaches systems of protocol tcp or tls, never a resource; remove it"
                    .to_owned(),
            );
        }
    }
}

fn description(text: Option<&str>, place: Place, problems: &mut Gathered) {
    if let Some(text) = text
        && text.len() > DESCRIPTION_BYTES_MAX
    {
        problems.add(
            place,
            format!(
                "the description has {} bytes and may have {DESCRIPTION_BYTES_MAX}",
                text.len()
            ),
        );
    }
}

fn has_encoded_slash(resource: &Resource) -> bool {
    // A rule's path is in canonical spelling, which writes hexadecimal digits in upper case.
    resource.path.as_str().contains("%2F")
}

fn on_line(line: u32) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" on line {line}")
    }
}

fn by_line(line: u32) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(" by the system on line {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{HostName, InternalEnd, InternalHost, PortRange, VirtualEnd};

    fn systems(count: usize) -> RuleSet {
        let port = PortRange::one(80).unwrap();
        let internal = InternalEnd {
            host: InternalHost::new("10.1.2.3").unwrap(),
            ports: port,
            encrypted: false,
        };
        let system = |n: usize| {
            let virtual_end = VirtualEnd {
                host: HostName::new(&format!("h{n}")).unwrap(),
                ports: port,
            };
            System::new(virtual_end, Protocol::Http, internal.clone())
        };
        RuleSet::new((0..count).map(system).collect())
    }

    #[test]
    fn as_many_systems_as_the_limit_are_held_and_one_more_is_not() {
        assert_eq!(check(&systems(SYSTEMS_MAX)), Ok(()));
        let problems = check(&systems(SYSTEMS_MAX + 1)).unwrap_err().to_string();
        assert_eq!(
            problems,
            "rules: 100001 systems are more than a rule set holds (100000)"
        );
    }

    #[test]
    fn resources_and_their_paths_are_held_up_to_their_limits() {
        // Counted, not built: two million resources would take longer than they prove.
        for limit in [RESOURCES_MAX, RULES_TEXT_BYTES_MAX] {
            assert_eq!(too_many("resources", limit, limit), None);
            assert!(too_many("resources", limit + 1, limit).is_some());
        }
    }
}
