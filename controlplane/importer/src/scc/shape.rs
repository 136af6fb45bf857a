//! The forms in which a document can hold systems and their resources, and which subaccount they are of.
//!
//! Nothing is judged here but the form; what a system or a resource says is left to their own files.
use super::{Choice, Unreadable, at};
use crate::finding::{Findings, Kind, cut, quoted};
use crate::json::Json;

/// The systems of the chosen subaccount.
pub(super) struct Shape<'j> {
    pub(super) systems: Vec<Raw<'j>>,
    pub(super) subaccount: Option<String>,
}

/// A system as the document has it.
pub(super) struct Raw<'j> {
    pub(super) place: String,
    pub(super) value: &'j Json,
    /// Its resources, each with its place.
    pub(super) resources: Vec<(String, &'j Json)>,
    /// Whether the document says which resources it has, be they none.
    pub(super) resources_known: bool,
    owner: Owner,
}

impl Raw<'_> {
    /// Virtual host and port, as the document writes them.
    pub(super) fn about(&self) -> String {
        let (host, port) = self.end();
        cut(&format!("{host}:{port}"))
    }

    fn end(&self) -> (String, String) {
        let text = |name| match self.value.member(name) {
            Some(Json::Text(text)) => text.clone(),
            Some(Json::Number(Some(number))) => number.to_string(),
            Some(
                Json::Null | Json::Flag(_) | Json::Number(None) | Json::List(_) | Json::Members(_),
            )
            | None => "?".to_owned(),
        };
        (text("virtualHost"), text("virtualPort"))
    }
}

/// Whose systems they are, as far as the document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Owner {
    subaccount: Option<String>,
    location: Option<String>,
}

/// What the answers to several requests have in common: the forms that the message for a wrong document names.
const FORMS: &str = "write the answer of .../systemMappings with the answer of each .../resources as the member \
                     `resources` of its system, or one object with the paths of the requests as members and the \
                     answers as values, see docs/operating.md";

pub(super) fn read<'j>(
    json: &'j Json,
    choice: &Choice,
    findings: &mut Findings,
) -> Result<Shape<'j>, Unreadable> {
    let mut reader = Reader {
        systems: Vec::new(),
        findings,
    };
    reader.document(json)?;
    let mut systems = reader.systems;
    let told = |wanted: &Option<String>, is: &Option<String>| match (wanted, is) {
        (Some(wanted), Some(is)) => wanted == is,
        (None, _) => true,
        (Some(_), None) => false,
    };
    systems.retain(|raw| {
        told(&choice.subaccount, &raw.owner.subaccount)
            && told(&choice.location, &raw.owner.location)
    });
    let mut owners: Vec<&Owner> = Vec::new();
    for raw in &systems {
        if !owners.contains(&&raw.owner) {
            owners.push(&raw.owner);
        }
    }
    if let [_, _, ..] = owners.as_slice() {
        let list: Vec<String> = owners
            .iter()
            .take(10)
            .map(|owner| told_owner(owner))
            .collect();
        return Err(Unreadable::new(
            "",
            format!(
                "the document holds systems of {} subaccounts ({}); choose one with --subaccount or --location, for \
                 the rules of one do not hold for another",
                owners.len(),
                list.join(", ")
            ),
        ));
    }
    let wanted = choice.subaccount.is_some() || choice.location.is_some();
    if systems.is_empty() && wanted {
        return Err(Unreadable::new(
            "",
            "the document says of no system that it is of this subaccount and location",
        ));
    }
    let subaccount = owners.first().and_then(|owner| owner.subaccount.clone());
    Ok(Shape {
        systems,
        subaccount,
    })
}

fn told_owner(owner: &Owner) -> String {
    let subaccount = owner.subaccount.as_deref().unwrap_or("not named");
    match &owner.location {
        Some(location) => format!("{} at location {}", quoted(subaccount), quoted(location)),
        None => quoted(subaccount),
    }
}

struct Reader<'f, 'j> {
    systems: Vec<Raw<'j>>,
    findings: &'f mut Findings,
}

impl<'j> Reader<'_, 'j> {
    fn document(&mut self, json: &'j Json) -> Result<(), Unreadable> {
        match json {
            Json::List(list) => self.list(list, "", &Owner::default()),
            Json::Members(members) => {
                let is_path =
                    |name: &String| name.contains("/api/") || name.contains("systemMappings/");
                if members.iter().any(|(name, _)| is_path(name)) {
                    self.paths(members)
                } else {
                    self.one(json, "", &Owner::default())
                }
            }
            Json::Null | Json::Flag(_) | Json::Number(_) | Json::Text(_) => Err(Unreadable::new(
                "1:1",
                format!("{} is no access control; {FORMS}", json.kind()),
            )),
        }
    }

    fn list(&mut self, list: &'j [Json], place: &str, owner: &Owner) -> Result<(), Unreadable> {
        for (index, value) in list.iter().enumerate() {
            self.one(value, &format!("{place}[{index}]"), owner)?;
        }
        Ok(())
    }

    /// A system, a subaccount with its systems, or several of those.
    fn one(&mut self, value: &'j Json, place: &str, owner: &Owner) -> Result<(), Unreadable> {
        if value.member("virtualHost").is_some() {
            self.system(value, place, owner.clone());
            return Ok(());
        }
        for name in ["systemMappings", "subaccounts"] {
            if let Some(inner) = value.member(name) {
                let owner = Owner {
                    subaccount: text(value, "subaccount").or_else(|| owner.subaccount.clone()),
                    location: text(value, "locationID").or_else(|| owner.location.clone()),
                };
                let place = at(place, name);
                let Json::List(list) = inner else {
                    return Err(Unreadable::new(
                        place,
                        format!("{} where a list belongs", inner.kind()),
                    ));
                };
                return self.list(list, &place, &owner);
            }
        }
        let why = if value.member("exactMatchOnly").is_some() {
            "these are resources without the system they belong to"
        } else if value.member("type").is_some() && value.member("message").is_some() {
            let message = text(value, "message").unwrap_or_default();
            return Err(Unreadable::new(
                place,
                format!(
                    "Cloud Connector answered with an error: {}",
                    quoted(&message)
                ),
            ));
        } else if value.member("subaccount").is_some() {
            // The list of subaccounts by itself says nothing about access.
            self.findings.add(
                Kind::NotRead,
                place,
                "",
                "a subaccount without the member `systemMappings` says nothing about access"
                    .to_owned(),
            );
            return Ok(());
        } else {
            "this is no system of a Cloud Connector, for it has no member `virtualHost`"
        };
        Err(Unreadable::new(place, format!("{why}; {FORMS}")))
    }

    fn system(&mut self, value: &'j Json, place: &str, owner: Owner) {
        let mut raw = Raw {
            place: place.to_owned(),
            value,
            resources: Vec::new(),
            resources_known: false,
            owner,
        };
        if let Some(resources) = value.member("resources") {
            raw.take_resources(resources, &at(place, "resources"), self.findings);
        }
        self.systems.push(raw);
    }

    /// One object whose members are the paths that were asked for and whose values are the answers.
    fn paths(&mut self, members: &'j [(String, Json)]) -> Result<(), Unreadable> {
        let mut resources = Vec::new();
        let mut locations = Vec::new();
        // Systems first, wherever they stand: resources belong to one.
        for (path, value) in members {
            let place = format!("[{}]", quoted(path));
            let asked = Asked::read(path);
            match asked.what {
                What::Systems => {
                    let Json::List(list) = value else {
                        return Err(Unreadable::new(
                            place,
                            format!("{} where a list of systems belongs", value.kind()),
                        ));
                    };
                    self.list(list, &place, &asked.owner)?;
                }
                What::Resources(end) => resources.push((end, asked.owner, place, value)),
                What::System => {
                    // Once more what the list has; by itself it is a list of one.
                    let known = self
                        .systems
                        .iter()
                        .any(|raw| raw.owner == asked.owner && raw.value == value);
                    if !known {
                        self.one(value, &place, &asked.owner)?;
                    }
                }
                What::Subaccount => {
                    let all = if let Json::List(list) = value {
                        list.as_slice()
                    } else {
                        core::slice::from_ref(value)
                    };
                    for value in all {
                        locations.push((text(value, "subaccount"), text(value, "locationID")));
                    }
                }
                What::Else => {
                    let text = "not read: nothing about access to systems".to_owned();
                    self.findings.add(Kind::NotRead, &place, "", text);
                }
            }
        }
        for (end, owner, place, value) in resources {
            let found = self.systems.iter_mut().find(|raw| {
                let (host, port) = raw.end();
                raw.owner == owner && end == format!("{host}:{port}")
            });
            match found {
                Some(raw) => raw.take_resources(value, &place, self.findings),
                None => self.findings.add(
                    Kind::Orphan,
                    &place,
                    &end,
                    "not imported: the system of these resources is not in the document".to_owned(),
                ),
            }
        }
        for raw in &mut self.systems {
            let location = locations.iter().find(|(subaccount, _)| {
                subaccount.is_some() && *subaccount == raw.owner.subaccount
            });
            if let Some((_, location)) = location {
                raw.owner.location.clone_from(location);
            }
        }
        Ok(())
    }
}

impl<'j> Raw<'j> {
    fn take_resources(&mut self, value: &'j Json, place: &str, findings: &mut Findings) {
        match value {
            Json::List(list) => {
                let each = list.iter().enumerate();
                self.resources
                    .extend(each.map(|(index, value)| (format!("{place}[{index}]"), value)));
                self.resources_known = true;
            }
            Json::Members(_) if value.member("id").is_some() => {
                self.resources.push((place.to_owned(), value));
                self.resources_known = true;
            }
            Json::Null | Json::Flag(_) | Json::Number(_) | Json::Text(_) | Json::Members(_) => {
                let about = self.about();
                findings.add(
                    Kind::Malformed,
                    place,
                    &about,
                    format!(
                        "resources not imported: {} where a list of them belongs",
                        value.kind()
                    ),
                );
            }
        }
    }
}

/// What a path of the REST API asks for.
struct Asked {
    what: What,
    owner: Owner,
}

enum What {
    Subaccount,
    Systems,
    System,
    /// The resources of the system with this virtual host and port, or one of them.
    Resources(String),
    Else,
}

impl Asked {
    /// Reads `.../subaccounts/REGION/SUBACCOUNT/systemMappings/HOST:PORT/resources/ID`, of which the end may be missing.
    fn read(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let after = path
            .split_once("/subaccounts")
            .map_or(path, |(_, after)| after);
        let parts: Vec<&str> = after.split('/').filter(|part| !part.is_empty()).collect();
        let (owner, rest) = match parts.as_slice() {
            // The region is no part of who the owner is: a subaccount's id is its own.
            [_, subaccount, rest @ ..] if path.contains("/subaccounts/") => (
                Owner {
                    subaccount: Some((*subaccount).to_owned()),
                    location: None,
                },
                rest,
            ),
            rest => (Owner::default(), rest),
        };
        let what = match rest {
            [] if path.contains("/subaccounts") => What::Subaccount,
            ["systemMappings"] => What::Systems,
            ["systemMappings", _] => What::System,
            ["systemMappings", end, "resources"] | ["systemMappings", end, "resources", _] => {
                What::Resources((*end).to_owned())
            }
            _ => What::Else,
        };
        Self { what, owner }
    }
}

fn text(value: &Json, name: &str) -> Option<String> {
    value
        .member(name)
        .and_then(Json::as_text)
        .map(str::to_owned)
}
