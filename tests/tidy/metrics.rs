//! Metrics: declared once, named with a unit, counted somewhere, documented.

use std::collections::{BTreeMap, BTreeSet};

use adit_runtime::metrics::{Family, Kind};

use crate::tree::{read, sources};
use crate::{is_current, nothing};

/// Every family, with the room that declares it.
fn families() -> Vec<(&'static str, Family)> {
    let of = |room: &'static str, table: &[Family]| -> Vec<(&'static str, Family)> {
        assert!(!table.is_empty(), "{room} declares no metrics");
        table.iter().map(|family| (room, *family)).collect()
    };
    let mut all = of("gateway", adit_gateway::metrics::FAMILIES);
    all.extend(of("agent", adit_agent::metrics::FAMILIES));
    all.extend(of("recorder", adit_recorder::metrics::FAMILIES));
    all.extend(of("subscription", adit_subscription::metrics::FAMILIES));
    let forwarder: Vec<Family> = adit_forwarder::metrics::FAMILIES
        .iter()
        .map(|family| Family::new(family.name, family.help, kind(family.is_gauge)))
        .collect();
    all.extend(of("forwarder", &forwarder));
    let control = adit_server::metrics::FAMILIES
        .iter()
        .map(|family| Family::new(family.name, family.help, kind(family.is_gauge)));
    all.extend(of("control", &control.collect::<Vec<_>>()));
    // Nothing is described in this process, so these are the process's own.
    all.extend(of("process", &adit_runtime::metrics::families()));
    all.sort_by_key(|(_, family)| family.name);
    all
}

const fn kind(is_gauge: bool) -> Kind {
    if is_gauge { Kind::Gauge } else { Kind::Counter }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

#[test]
fn the_list_of_names_is_the_one_that_was_agreed() {
    let lines: Vec<String> = families()
        .iter()
        .map(|(_, family)| format!("{} {}\n", family.name, word(family.kind)))
        .collect();
    is_current("tests/tidy/metrics.txt", &lines.concat());
}

#[test]
fn names_say_room_and_unit() {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (room, family) in families() {
        let name = family.name;
        if !seen.insert(name) {
            found.push(format!("{name} is declared twice"));
        }
        if !name.starts_with(&format!("{room}_")) {
            found.push(format!("{name} does not begin with its room, {room}_"));
        }
        let right = match family.kind {
            Kind::Counter => name.ends_with("_total"),
            Kind::Histogram => name.ends_with("_seconds") || name.ends_with("_bytes"),
            Kind::Gauge => !name.ends_with("_total"),
        };
        if !right {
            found.push(format!("{name} is a {}", word(family.kind)));
        }
        for unit in [
            "_ms",
            "_millis",
            "_milliseconds",
            "_us",
            "_kb",
            "_mb",
            "_percent",
            "_count",
        ] {
            if name.ends_with(unit) {
                found.push(format!("{name} ends in {unit}"));
            }
        }
        if family.help.len() < 10 || family.help.ends_with('.') {
            found.push(format!("{name} has the help {:?}", family.help));
        }
    }
    nothing(
        "A counter ends in _total, a histogram in _seconds or _bytes, sizes are bytes and times seconds, and the help \
         says without a full stop what a rise means.",
        &found,
    );
}

/// The literals with which metrics are made, with their places and kinds.
fn made() -> Vec<(String, &'static str, Result<String, String>)> {
    let mut made = Vec::new();
    for source in sources() {
        for kind in ["counter", "gauge", "histogram"] {
            for (at, form) in source.product().match_indices(&format!("{kind}!(")) {
                if source.code[..at].ends_with("describe_") {
                    continue;
                }
                let argument = source.text[at + form.len()..].trim_start();
                let name = argument
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next());
                let name = name
                    .map(str::to_owned)
                    .ok_or_else(|| argument.chars().take(30).collect());
                made.push((source.place(at), kind, name));
            }
        }
    }
    assert!(made.len() > 20, "only {} metrics are made", made.len());
    made
}

#[test]
fn what_is_counted_is_declared_and_what_is_declared_is_counted() {
    let declared: BTreeMap<&str, Kind> = families()
        .iter()
        .map(|(_, family)| (family.name, family.kind))
        .collect();
    let mut counted = BTreeSet::new();
    let mut found = Vec::new();
    for (place, kind, name) in made() {
        match name {
            Err(argument) => found.push(format!(
                "{place}: {kind}! of {argument:?}, which is no literal"
            )),
            Ok(name) => {
                match declared.get(name.as_str()) {
                    None => found.push(format!("{place}: {name} is not declared")),
                    Some(other) if word(*other) != kind => {
                        found.push(format!("{place}: {name} is declared as {}", word(*other)));
                    }
                    Some(_) => {}
                }
                counted.insert(name);
            }
        }
    }
    for (room, family) in families() {
        if room != "process" && !counted.contains(family.name) {
            found.push(format!("{} is declared and never counted", family.name));
        }
    }
    nothing(
        "Declare the family in FAMILIES of the room's metrics.rs, or take it out there.",
        &found,
    );
}

#[test]
fn each_family_has_a_line_in_architecture_md() {
    let text = read("ARCHITECTURE.md").unwrap();
    let told: BTreeSet<String> = crate::rooms::quoted(&text).into_iter().collect();
    let known: BTreeSet<&str> = families().iter().map(|(_, family)| family.name).collect();
    let mut found: Vec<String> = known
        .iter()
        .filter(|name| !told.contains(**name))
        .map(|name| format!("{name} has no line"))
        .collect();
    let like_one = |name: &&String| {
        ["gateway_", "agent_", "process_"]
            .iter()
            .any(|room| name.starts_with(room))
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let unknown = told
        .iter()
        .filter(like_one)
        .filter(|name| !known.contains(name.as_str()));
    found.extend(unknown.map(|name| format!("{name} is told and not declared")));
    nothing(
        "Mend the tables in ARCHITECTURE.md, section Metrics.",
        &found,
    );
}
