//! SAP Cloud Connector's access control, as its REST API tells it, read as a rule set.
//!
//! The forms of a document are `shape`'s, systems and resources have files of their own. Its backup and export archives
//! are not read: what is in them is documented nowhere (docs/decisions/0021-import-from-rest-not-from-archives.md).
mod resource;
mod shape;
mod system;

use core::fmt;

use adit_policy::{EncodedSlash, RuleSet, System, Table};

use crate::finding::{Finding, Findings, Kind, cut, quoted};
use crate::json::Json;
use crate::limits::DOCUMENT_BYTES_MAX;

/// What of a document is wanted, and how.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who imports decides about each of it"
)]
pub struct Choice {
    /// Only this subaccount, by its id.
    pub subaccount: Option<String>,
    /// Only subaccounts connected under this location ID; the default one is empty.
    pub location: Option<String>,
    /// What `%2F` in a path means to every imported system.
    pub encoded_slash: EncodedSlash,
}

/// What came of a document.
#[derive(Debug)]
#[non_exhaustive]
pub struct Import {
    /// The rules: they compile, and grant nothing that was denied there.
    pub rules: RuleSet,
    /// What a person should know, the heaviest first.
    pub findings: Vec<Finding>,
    /// Findings that are not listed, because there are too many.
    pub unlisted: usize,
    /// Whether any finding is more than a note.
    pub needs_a_look: bool,
    /// Systems of the document, imported or not.
    pub systems_read: usize,
    /// Resources of the document, imported or not.
    pub resources_read: usize,
    /// The subaccount they are of, where the document says it.
    pub subaccount: Option<String>,
}

impl Import {
    /// The rules as TOML, with a heading that says where they came from. `file` is the name of the document.
    #[must_use]
    pub fn toml(&self, file: &str) -> String {
        let mut heading = format!("# Made by `adit rules import scc` from {}", quoted(file));
        if let Some(subaccount) = &self.subaccount {
            heading.push_str(&format!(", subaccount {}", quoted(subaccount)));
        }
        heading.push_str(&format!(
            ":\n# {} of {} systems, {} of {} resources. Its report says what is not in here, and what was wider there\n\
             # than it looked.\n\n",
            self.rules.systems.len(),
            self.systems_read,
            self.resources(),
            self.resources_read
        ));
        format!("{heading}{}", self.rules)
    }

    /// How many resources were imported.
    #[must_use]
    pub fn resources(&self) -> usize {
        let systems = self.rules.systems.iter();
        systems.map(|system| system.resources.len()).sum()
    }
}

/// A document cannot be read at all. Displayed as where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    place: String,
    text: String,
}

impl Unreadable {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unreadable {}

/// Reads the JSON of a Cloud Connector's REST API.
///
/// # Errors
/// [`Unreadable`] when it is no such document, or holds several subaccounts and none is chosen.
pub fn import(document: &[u8], choice: &Choice) -> Result<Import, Unreadable> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(Unreadable::new(
            "",
            format!(
                "{} bytes; a document has at most {DOCUMENT_BYTES_MAX}",
                document.len()
            ),
        ));
    }
    let document = document
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(document)
        .trim_ascii_start();
    another_form(document)?;
    let json = Json::read(document).map_err(|error| {
        // serde_json ends its text with the place, which stands in front here.
        let text = error.to_string();
        let at = format!(" at line {} column {}", error.line(), error.column());
        let text = text.strip_suffix(&at).unwrap_or(&text);
        Unreadable::new(format!("{}:{}", error.line(), error.column()), cut(text))
    })?;
    let mut findings = Findings::default();
    let shape = shape::read(&json, choice, &mut findings)?;
    let systems_read = shape.systems.len();
    let resources_read = shape.systems.iter().map(|raw| raw.resources.len()).sum();
    let mut kept: Vec<Kept> = Vec::new();
    for raw in &shape.systems {
        if let Some(system) = system::read(raw, choice.encoded_slash, &mut findings) {
            kept.push(Kept {
                system,
                place: raw.place.clone(),
                about: raw.about(),
            });
        }
    }
    without_overlaps(&mut kept, &mut findings);
    name(&mut kept);
    overall(&kept, choice, &mut findings);
    let rules = RuleSet::new(kept.into_iter().map(|kept| kept.system).collect());
    // Whatever the document says, what is handed out compiles.
    Table::compile(&rules).map_err(|problems| {
        Unreadable::new("", format!("what it says is no rule set: {problems}"))
    })?;
    let (findings, unlisted, needs_a_look) = findings.settle();
    Ok(Import {
        rules,
        findings,
        unlisted,
        needs_a_look,
        systems_read,
        resources_read,
        subaccount: shape.subaccount,
    })
}

/// A system that is taken, and where it came from.
struct Kept {
    system: System,
    place: String,
    about: String,
}

/// What people bring along instead, by its first bytes.
fn another_form(document: &[u8]) -> Result<(), Unreadable> {
    let text = if document.starts_with(b"PK") {
        "this is a zip archive; what is inside a Cloud Connector's backup or export is documented nowhere, so it is not \
         guessed at: ask its REST API instead, for /api/v1/configuration/subaccounts/REGION/SUBACCOUNT/systemMappings \
         and the resources of each, see docs/operating.md"
    } else if document.starts_with(b"<") {
        "this is HTML or XML; a Cloud Connector answers with its logon page when the password is missing or the \
         session has ended: ask again with a user, and expect JSON"
    } else {
        return Ok(());
    };
    Err(Unreadable::new("", text))
}

/// Takes out every system that shares a virtual host and port with another one: which of the two a caller means cannot
/// be told here, and each allows what the other one does not.
fn without_overlaps(kept: &mut Vec<Kept>, findings: &mut Findings) {
    let mut order: Vec<usize> = (0..kept.len()).collect();
    let end = |at: &usize| kept.get(*at).map(|kept| &kept.system.virtual_end);
    order.sort_by_key(|at| end(at).map(|end| (end.host.clone(), end.ports)));
    let mut out = vec![false; kept.len()];
    let mut reaching: Option<usize> = None;
    for at in order {
        let pair = reaching.and_then(|before| Some((before, end(&before)?, end(&at)?)));
        if let Some((before, a, b)) = pair
            && a.host == b.host
        {
            if a.ports.overlaps(&b.ports) {
                for hit in [before, at] {
                    if let Some(out) = out.get_mut(hit) {
                        *out = true;
                    }
                }
            }
            if b.ports.last() <= a.ports.last() {
                continue;
            }
        }
        reaching = Some(at);
    }
    let mut at = 0;
    kept.retain(|kept| {
        let is_out = out.get(at).copied().unwrap_or(false);
        at += 1;
        if is_out {
            let text = format!(
                "not imported: another system has virtual host and port {} too, without regard to case; keep one of them",
                kept.system.virtual_end
            );
            findings.add(Kind::Overlap, &kept.place, &kept.about, text);
        }
        !is_out
    });
}

/// Gives each system a name of its own: its virtual host, with the port where that is not enough.
fn name(kept: &mut [Kept]) {
    let mut hosts = std::collections::HashMap::new();
    for kept in kept.iter() {
        let host = kept.system.virtual_end.host.as_str().to_owned();
        *hosts.entry(host).or_insert(0_usize) += 1;
    }
    let mut taken = std::collections::HashSet::new();
    for (at, kept) in kept.iter_mut().enumerate() {
        let end = &kept.system.virtual_end;
        let host = end.host.as_str();
        let name = if hosts.get(host) == Some(&1) {
            host.to_owned()
        } else {
            format!("{host}-{}", end.ports)
        };
        let name = if name.len() <= adit_policy::limits::SYSTEM_NAME_CHARS_MAX
            && taken.insert(name.clone())
        {
            name
        } else {
            // A name that long, or that another host has with its port: the number of the system is its own.
            let mut number = at + 1;
            while !taken.insert(format!("scc-{number}")) {
                number += 1;
            }
            format!("scc-{number}")
        };
        kept.system.given_name = Some(name);
    }
}

/// What is true of the whole import.
fn overall(kept: &[Kept], choice: &Choice, findings: &mut Findings) {
    let http = || {
        kept.iter()
            .map(|kept| &kept.system)
            .filter(|system| system.protocol == adit_policy::Protocol::Http)
    };
    let resources: usize = http().map(|system| system.resources.len()).sum();
    if resources > 0 {
        findings.add(
            Kind::AllMethods,
            "",
            "",
            format!(
                "Cloud Connector asks for no method, so each of the {resources} imported resources allows all of them; \
                 `adit rules suggest` finds the ones that are used"
            ),
        );
        let slash = match choice.encoded_slash {
            EncodedSlash::Refuse => {
                "; where keys of OData services hold `%2F`, import again with --keep-encoded-slash"
            }
            EncodedSlash::Keep => "",
        };
        findings.add(
            Kind::OddPaths,
            "",
            "",
            format!(
                "paths that can be read in two ways (`..`, `//`, `%2e`, a backslash) are refused by adit, whatever the \
                 rules say{slash}"
            ),
        );
    }
    let encrypted = kept
        .iter()
        .filter(|kept| kept.system.internal.encrypted)
        .count();
    if encrypted > 0 {
        findings.add(
            Kind::BackendTrust,
            "",
            "",
            format!(
                "{encrypted} imported systems speak TLS to their backend: Cloud Connector trusted its own list of \
                 certificates and may have shown its system certificate; adit trusts the operating system's list, or \
                 the ca_file that you add, and shows no certificate"
            ),
        );
    }
}

/// Says where a member is.
fn at(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}

/// Reports members that are not known: they may say something about access.
fn unknown_members(
    value: &Json,
    known: &[&str],
    what: &str,
    place: &str,
    about: &str,
    findings: &mut Findings,
) {
    let Json::Members(members) = value else {
        return;
    };
    for (name, _) in members {
        if !known.contains(&name.as_str()) {
            findings.add(
                Kind::UnknownMember,
                place,
                about,
                format!(
                    "{what} has a member {} that is not known here; see whether it limits what is allowed",
                    quoted(name)
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
