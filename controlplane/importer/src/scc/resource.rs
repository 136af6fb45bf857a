//! The resources of an http system: paths, alone or with everything that begins like them.
//!
//! A prefix there is one of characters, here one of segments, so what is made of it never grants more.
use std::collections::HashSet;

use adit_policy::{EncodedSlash, Resource, ResourcePath, Scope};

use super::shape::Raw;
use super::{at, unknown_members};
use crate::finding::{self, Findings, Kind, cut, quoted};
use crate::json::Json;

/// The members of a resource that Cloud Connector writes.
const KNOWN: [&str; 7] = [
    "id",
    "enabled",
    "exactMatchOnly",
    "websocketUpgradeAllowed",
    "description",
    "creationDate",
    "_links",
];

/// A resource as it is written there.
struct Written<'j> {
    place: &'j str,
    id: &'j str,
    is_on: bool,
    is_prefix: bool,
}

pub(super) fn read(
    raw: &Raw<'_>,
    about: &str,
    slash: EncodedSlash,
    findings: &mut Findings,
) -> Vec<Resource> {
    let mut resources = Vec::new();
    let mut seen = HashSet::new();
    let mut written = Vec::new();
    for (place, value) in &raw.resources {
        let Some((resource, as_written)) = one(place, value, about, slash, findings) else {
            continue;
        };
        if seen.insert((resource.path.clone(), resource.scope)) {
            resources.push(resource);
            written.push(as_written);
        } else {
            let text = "not imported: the path is a resource of this system already";
            findings.add(
                Kind::Duplicate,
                place,
                &with(about, as_written.id),
                text.to_owned(),
            );
        }
    }
    what_stayed_allowed(&written, about, findings);
    resources
}

fn one<'j>(
    place: &'j str,
    value: &'j Json,
    about: &str,
    slash: EncodedSlash,
    findings: &mut Findings,
) -> Option<(Resource, Written<'j>)> {
    let Some(id) = value.member("id").and_then(Json::as_text) else {
        let text = "not imported: a resource needs the member `id`, a text";
        findings.add(Kind::Malformed, place, about, text.to_owned());
        return None;
    };
    let about = with(about, id);
    unknown_members(value, &KNOWN, "the resource", place, &about, findings);
    let mut flag = |name: &str, absent: bool, meaning: &str| match value.member(name) {
        Some(Json::Flag(flag)) => Some(*flag),
        None => {
            findings.add(
                Kind::Assumed,
                &at(place, name),
                &about,
                format!("`{name}` is absent; imported as {meaning}"),
            );
            Some(absent)
        }
        Some(other) => {
            findings.add(
                Kind::Malformed,
                &at(place, name),
                &about,
                format!(
                    "not imported: `{name}` is {} where true or false belongs",
                    other.kind()
                ),
            );
            None
        }
    };
    // Where a flag is absent the meaning that grants less is taken, though SAP's default of exactMatchOnly is false.
    let is_on = flag("enabled", false, "switched off")?;
    let is_exact = flag("exactMatchOnly", true, "the path alone")?;
    let upgrade = flag("websocketUpgradeAllowed", false, "without upgrade")?;
    let path = match ResourcePath::respelled(id, slash) {
        Ok(path) => path,
        Err(why) => {
            findings.add(
                Kind::Path,
                &at(place, "id"),
                &about,
                format!("not imported: {}", cut(&why)),
            );
            return None;
        }
    };
    let scope = if is_exact {
        Scope::Exact
    } else {
        Scope::Subtree
    };
    let mut resource = Resource::new(path, scope);
    resource.active = is_on;
    resource.upgrade = upgrade;
    // A prefix of characters reaches the parameters of its last segment. One that has some itself is left alone.
    resource.parameters = !is_exact && takes_parameters(resource.path.as_str());
    resource.description = Some(description(value, id, is_exact).into());
    if is_on && !is_exact {
        what_a_prefix_allowed(id, &at(place, "id"), &about, findings);
    }
    if !is_on {
        let text = "switched off there, and imported so (active = false)";
        findings.add(Kind::Suspended, place, &about, text.to_owned());
    }
    let written = Written {
        place,
        id,
        is_on,
        is_prefix: !is_exact,
    };
    Some((resource, written))
}

fn takes_parameters(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !last.is_empty() && !last.contains(';') && !last.contains("%3B")
}

/// SAP, configure-access-control-http: "path and all sub-paths" is a plain test of the beginning, so
/// `/production/accounting` also allows `/production/accounting-plus`.
fn what_a_prefix_allowed(id: &str, place: &str, about: &str, findings: &mut Findings) {
    if id == "/" {
        let text = "every path of the system was allowed, with every method, and is; write the paths that are used";
        findings.add(Kind::Everything, place, about, text.to_owned());
    } else if !id.ends_with('/') {
        let last = id.rsplit('/').next().unwrap_or_default();
        findings.add(
            Kind::CrossesSegment,
            place,
            about,
            format!(
                "every path that begins like this was allowed: {} and {} too; imported as the path and what is below \
                 it, so write those that are used beside it as resources of their own",
                quoted(&format!("{}2", tail(last))),
                quoted(&format!("{}-x/y", tail(last)))
            ),
        );
    }
}

/// The end of a segment, for an example.
fn tail(segment: &str) -> String {
    let surplus = segment.chars().count().saturating_sub(40);
    let end: String = segment.chars().skip(surplus).collect();
    if surplus == 0 {
        format!(".../{end}")
    } else {
        format!("...{end}")
    }
}

/// A resource that is switched off takes nothing away from a prefix above it.
fn what_stayed_allowed(written: &[Written<'_>], about: &str, findings: &mut Findings) {
    let prefixes: HashSet<&str> = written
        .iter()
        .filter(|resource| resource.is_on && resource.is_prefix)
        .map(|resource| resource.id)
        .collect();
    if prefixes.is_empty() {
        return;
    }
    for resource in written.iter().filter(|resource| !resource.is_on) {
        let ends = resource
            .id
            .char_indices()
            .map(|(at, letter)| at + letter.len_utf8());
        let above = ends
            .filter_map(|end| resource.id.get(..end))
            .find(|beginning| prefixes.contains(beginning));
        if let Some(above) = above {
            findings.add(
                Kind::StillAllowed,
                resource.place,
                &with(about, resource.id),
                format!(
                    "switched off, and still allowed by the prefix {}; it is so here too where that one is above it at \
                     a `/`",
                    quoted(above)
                ),
            );
        }
    }
}

fn description(value: &Json, id: &str, is_exact: bool) -> String {
    let reach = if is_exact {
        "path only"
    } else {
        "path and all sub-paths"
    };
    let mut text = format!("Cloud Connector resource {}, {reach}", quoted(id));
    let told = value.member("description").and_then(Json::as_text);
    if let Some(told) = told.filter(|told| !told.is_empty()) {
        text.push_str(&format!(": {}", cut(told)));
    }
    finding::description(text)
}

fn with(about: &str, id: &str) -> String {
    format!("{about} {}", cut(id))
}
