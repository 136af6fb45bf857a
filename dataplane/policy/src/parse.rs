//! A rule set read from TOML: every problem at once, each with its line, its column and the word to mend.
//!
//! What a single value may be is known by `rule`, what two may not say together by `compile`; this file knows keys and
//! where they stand.
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::compile;
use crate::limits::{METHODS_MAX, RULES_TEXT_BYTES_MAX};
use crate::method::{self, Methods};
use crate::problem::{Gathered, Place, Problems, did_you_mean};
use crate::rule::{
    EncodedSlash, FileName, HostHeader, HostName, InternalEnd, InternalHost, PortRange, Protocol,
    Resource, ResourcePath, RuleSet, Scope, System, SystemPlaces, VirtualEnd,
};

use self::places::Places;

const SYSTEM_KEYS: [&str; 10] = [
    "name",
    "description",
    "virtual",
    "protocol",
    "internal",
    "ca_file",
    "host_header",
    "encoded_slash",
    "allow_loopback",
    "resource",
];

const RESOURCE_KEYS: [&str; 7] = [
    "path",
    "scope",
    "methods",
    "upgrade",
    "parameters",
    "active",
    "description",
];

/// Reads a rule set. `file` is the name that stands in messages.
///
/// # Errors
/// All problems of the text: of its syntax, of single values, and of rules that contradict each other.
pub fn parse(file: &str, text: &str) -> Result<RuleSet, Problems> {
    let mut problems = Gathered::new(file);
    if text.len() > RULES_TEXT_BYTES_MAX {
        problems.add(
            Place::default(),
            format!(
                "the text has {} bytes; a rule set has at most {RULES_TEXT_BYTES_MAX}",
                text.len()
            ),
        );
        return problems.settle(RuleSet::default());
    }
    let plain = plain::read(file, text);
    if cfg!(fuzzing)
        && let Some(rules) = &plain
    {
        assert_eq!(
            read_any(file, text).map(|rules| format!("{rules:?}")),
            Ok(format!("{rules:?}"))
        );
    }
    plain.map_or_else(|| read_any(file, text), Ok)
}

/// Reads a rule set however it is written.
fn read_any(file: &str, text: &str) -> Result<RuleSet, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        places: Places::new(text),
        problems: Gathered::new(file),
        whole: errors.is_empty(),
    };
    for error in errors {
        let place = error
            .span()
            .map_or(Place::new(1, 1), |span| reader.places.at(span.start));
        let message = error.message().trim().replace('\n', "; ");
        reader.problems.add(place, message);
    }
    let mut rules = RuleSet {
        systems: reader.systems(document.get_ref()),
        tests: reader.tests(document.get_ref()),
        file: FileName(file.to_owned()),
    };
    rules.systems.shrink_to_fit();
    rules.tests.shrink_to_fit();
    compile::conflicts(&rules, &mut reader.problems);
    reader.problems.settle(rules)
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reader<'t> {
    places: Places<'t>,
    problems: Gathered,
    /// No part of the text was lost to errors of syntax, so that what is missing is really missing.
    whole: bool,
}

impl Reader<'_> {
    fn systems(&mut self, document: &DeTable<'_>) -> Vec<System> {
        self.unknown_keys(document, "a rule set", &["system", "test"]);
        self.tables(document, "system", "[[system]]")
            .into_iter()
            .filter_map(|(table, place)| self.system(table, place))
            .collect()
    }

    fn system(&mut self, table: &DeTable<'_>, whole: Place) -> Option<System> {
        self.unknown_keys(table, "a system", &SYSTEM_KEYS);
        let virtual_end = self.required(table, "virtual", "a system", whole);
        let virtual_end = virtual_end.and_then(|value| self.virtual_end(value));
        let protocol = self.required(table, "protocol", "a system", whole);
        let protocol = protocol.and_then(|value| {
            let words = [
                ("http", Protocol::Http),
                ("tcp", Protocol::Tcp),
                ("tls", Protocol::Tls),
            ];
            self.choice("protocol", value, &words)
        });
        let internal = self.required(table, "internal", "a system", whole);
        let internal = internal.and_then(|value| self.internal_end(value, protocol));
        let encoded_slash = self.optional(table, "encoded_slash", |reader, value| {
            let words = [
                ("refuse", EncodedSlash::Refuse),
                ("keep", EncodedSlash::Keep),
            ];
            reader.choice("encoded_slash", value, &words)
        });
        let host_header = self.optional(table, "host_header", |reader, value| {
            let words = [
                ("virtual", HostHeader::Virtual),
                ("internal", HostHeader::Internal),
            ];
            reader.choice("host_header", value, &words)
        });
        let given_name = self.text(table, "name");
        let description = self.text(table, "description");
        let ca_file = self.text(table, "ca_file");
        let allow_loopback = self.flag(table, "allow_loopback");
        let resources = self
            .tables(table, "resource", "[[system.resource]]")
            .into_iter()
            .filter_map(|(table, place)| {
                self.resource(table, place, encoded_slash.unwrap_or_default())
            })
            .collect();
        let place = |key| table.get(key).map(|value| self.place(value));
        let places = SystemPlaces {
            whole,
            name: place("name").unwrap_or(whole),
            virtual_end: place("virtual").unwrap_or(whole),
            internal: place("internal").unwrap_or(whole),
            ca_file: place("ca_file").unwrap_or(whole),
            host_header: place("host_header").unwrap_or(whole),
            encoded_slash: place("encoded_slash").unwrap_or(whole),
        };
        Some(System {
            given_name,
            description,
            ca_file,
            host_header: host_header.unwrap_or_default(),
            encoded_slash: encoded_slash.unwrap_or_default(),
            allow_loopback: allow_loopback.unwrap_or(false),
            resources,
            places,
            ..System::new(virtual_end?, protocol?, internal?)
        })
    }

    fn resource(
        &mut self,
        table: &DeTable<'_>,
        whole: Place,
        slash: EncodedSlash,
    ) -> Option<Resource> {
        self.unknown_keys(table, "a resource", &RESOURCE_KEYS);
        let path = self.required(table, "path", "a resource", whole);
        let place = path.map_or(whole, |value| self.place(value));
        let path = path.and_then(|value| {
            let text = self.string("path", value)?;
            match ResourcePath::new(text, slash) {
                Ok(path) => Some(path),
                Err(message) => self.problem(value, message),
            }
        });
        let scope = self.optional(table, "scope", |reader, value| {
            let words = [("exact", Scope::Exact), ("subtree", Scope::Subtree)];
            reader.choice("scope", value, &words)
        });
        let methods = self.optional(table, "methods", Self::methods);
        let upgrade = self.flag(table, "upgrade");
        let parameters = self.flag(table, "parameters");
        let active = self.flag(table, "active");
        let description = self.text(table, "description");
        Some(Resource {
            methods: methods.unwrap_or_else(Methods::all),
            upgrade: upgrade.unwrap_or(false),
            parameters: parameters.unwrap_or(false),
            active: active.unwrap_or(true),
            description: description.map(Into::into),
            place,
            ..Resource::new(path?, scope.unwrap_or_default())
        })
    }

    fn methods(&mut self, value: &Value<'_>) -> Option<Methods> {
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong_type("methods", value, "a list, as in [\"GET\", \"HEAD\"]");
        };
        if list.len() > METHODS_MAX {
            return self.problem(
                value,
                format!("more than {METHODS_MAX} methods; remove the key to allow all of them"),
            );
        }
        let mut names = Vec::new();
        for entry in list.iter() {
            let Some(name) = self.string("methods", entry) else {
                continue;
            };
            if let Some(meant) = method::probably_meant(name) {
                let _: Option<()> = self.problem(
                    entry,
                    format!("unknown method {name:?}; did you mean \"{meant}\"?"),
                );
                continue;
            }
            if names.contains(&name) {
                let _: Option<()> = self.problem(entry, format!("method {name} is listed twice"));
                continue;
            }
            names.push(name);
        }
        if names.is_empty() && !list.is_empty() {
            return None;
        }
        Some(Methods::these(names))
    }

    fn virtual_end(&mut self, value: &Value<'_>) -> Option<VirtualEnd> {
        let text = self.string("virtual", value)?;
        if let Some((scheme, rest)) = text.split_once("://") {
            return self.problem(
                value,
                format!("virtual is a host and port without `{scheme}://`; write {rest:?}"),
            );
        }
        let Some((host, ports)) = text.rsplit_once(':') else {
            return self.problem(
                value,
                format!(
                    "virtual {text:?} has no port; write {:?}",
                    format!("{text}:80")
                ),
            );
        };
        let ports = self.ports("virtual", value, ports);
        match HostName::new(host) {
            Ok(host) => Some(VirtualEnd {
                host,
                ports: ports?,
            }),
            Err(problem) => self.problem(value, format!("virtual host {host:?}: {problem}")),
        }
    }

    fn internal_end(
        &mut self,
        value: &Value<'_>,
        protocol: Option<Protocol>,
    ) -> Option<InternalEnd> {
        let text = self.string("internal", value)?;
        match protocol? {
            Protocol::Http => self.internal_url(value, text),
            Protocol::Tcp => self.internal_socket(value, text, false),
            Protocol::Tls => self.internal_socket(value, text, true),
        }
    }

    fn internal_url(&mut self, value: &Value<'_>, text: &str) -> Option<InternalEnd> {
        let (encrypted, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, rest)) => {
                let message = match did_you_mean(scheme, ["http", "https"]) {
                    Some(meant) => {
                        format!("internal has unknown scheme {scheme:?}; did you mean {meant:?}?")
                    }
                    None => format!(
                        "internal has scheme {scheme:?}; a system of protocol http has http or https, as in {:?}",
                        format!("http://{rest}")
                    ),
                };
                return self.problem(value, message);
            }
            None => {
                return self.problem(
                    value,
                    format!(
                        "internal {text:?} has no scheme; write {:?}",
                        format!("http://{text}")
                    ),
                );
            }
        };
        if let Some(at) = rest.find(['/', '?', '#']) {
            let (authority, path) = rest.split_at(at);
            let scheme = if encrypted { "https" } else { "http" };
            return self.problem(
                value,
                format!(
                    "internal has a path, {path:?}, but paths are passed on as they come; write {:?}",
                    format!("{scheme}://{authority}")
                ),
            );
        }
        let default = if encrypted { "443" } else { "80" };
        let (host, ports) = match rest.rsplit_once(':') {
            // The last colon of `[2001:db8::1]` is no port's.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (rest, default),
        };
        self.internal(value, host, ports, encrypted)
    }

    fn internal_socket(
        &mut self,
        value: &Value<'_>,
        text: &str,
        encrypted: bool,
    ) -> Option<InternalEnd> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return self.problem(
                value,
                format!("internal is a host and port without `{scheme}://` for this protocol; write {rest:?}"),
            );
        }
        match text.rsplit_once(':') {
            Some((host, ports)) if !ports.ends_with(']') => {
                self.internal(value, host, ports, encrypted)
            }
            _ => self.problem(
                value,
                format!(
                    "internal {text:?} has no port; write {:?}",
                    format!("{text}:5432")
                ),
            ),
        }
    }

    fn internal(
        &mut self,
        value: &Value<'_>,
        host: &str,
        ports: &str,
        encrypted: bool,
    ) -> Option<InternalEnd> {
        if host.contains('@') || ports.contains('@') {
            return self.problem(
                value,
                "internal has user information; remove everything up to the `@`".to_owned(),
            );
        }
        let ports = self.ports("internal", value, ports);
        match InternalHost::new(host) {
            Ok(host) => Some(InternalEnd {
                host,
                ports: ports?,
                encrypted,
            }),
            Err(problem) => self.problem(value, format!("internal host {host:?}: {problem}")),
        }
    }

    fn ports(&mut self, key: &str, value: &Value<'_>, text: &str) -> Option<PortRange> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        // Only digits: parsing alone would take `+80`.
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let range = port(first).zip(port(last));
        match range.and_then(|(first, last)| PortRange::new(first, last)) {
            Some(ports) => Some(ports),
            None if range.is_some_and(|(first, last)| first > last) => self.problem(
                value,
                format!("{key} ports {text} run backwards; write {last}-{first}"),
            ),
            None => self.problem(
                value,
                format!("{key} port {text:?} is neither a number from 1 to 65535 nor a range as in 5432-5440"),
            ),
        }
    }

    // ---- keys and kinds of values

    /// The tables of `[[key]]`, each with its place.
    fn tables<'v, 't>(
        &mut self,
        table: &'v DeTable<'t>,
        key: &str,
        written: &str,
    ) -> Vec<(&'v DeTable<'t>, Place)> {
        let Some(value) = table.get(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            let _: Option<()> = self.problem(
                value,
                format!("`{key}` is a list of tables; write {written}"),
            );
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(list.len());
        for entry in list.iter() {
            match entry.get_ref().as_table() {
                Some(table) => tables.push((table, self.place(entry))),
                None => {
                    let _: Option<()> =
                        self.wrong_type(key, entry, &format!("a table; write {written}"));
                }
            }
        }
        tables
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, what: &str, known: &[&str]) {
        for key in table.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            if self.problems.is_full() {
                self.problems.count();
                continue;
            }
            let place = self.places.at(key.span().start);
            let mend = match (instead(word), did_you_mean(word, known.iter().copied())) {
                (Some(mend), _) => mend.to_owned(),
                (None, Some(meant)) => format!("did you mean `{meant}`?"),
                (None, None) => format!("it has {}", known.join(", ")),
            };
            self.problems
                .add(place, format!("{what} has no key `{word}`; {mend}"));
        }
    }

    fn required<'v, 't>(
        &mut self,
        table: &'v DeTable<'t>,
        key: &str,
        what: &str,
        whole: Place,
    ) -> Option<&'v Value<'t>> {
        let value = table.get(key);
        if value.is_none() && self.whole {
            self.problems
                .add(whole, format!("{what} needs the key `{key}`"));
        }
        value
    }

    fn optional<'v, 't, T>(
        &mut self,
        table: &'v DeTable<'t>,
        key: &str,
        read: impl FnOnce(&mut Self, &'v Value<'t>) -> Option<T>,
    ) -> Option<T> {
        table.get(key).and_then(|value| read(self, value))
    }

    fn string<'v>(&mut self, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        match value.get_ref().as_str() {
            Some(text) => Some(text),
            None => self.wrong_type(key, value, "a text in quotes"),
        }
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        self.optional(table, key, |reader, value| reader.string(key, value))
            .map(str::to_owned)
    }

    fn flag(&mut self, table: &DeTable<'_>, key: &str) -> Option<bool> {
        self.optional(table, key, |reader, value| {
            let written = value.get_ref();
            match (written.as_bool(), written.as_str()) {
                (Some(flag), _) => Some(flag),
                (None, Some(word @ ("true" | "false"))) => reader.problem(
                    value,
                    format!("{key} stands without quotes; write {key} = {word}"),
                ),
                (None, _) => reader.wrong_type(key, value, "true or false"),
            }
        })
    }

    fn choice<T: Copy>(&mut self, key: &str, value: &Value<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key, value)?;
        if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mend = match did_you_mean(text, list.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("it is one of \"{}\"", list.join("\", \"")),
        };
        self.problem(value, format!("{key} has unknown value {text:?}; {mend}"))
    }

    fn wrong_type<T>(&mut self, key: &str, value: &Value<'_>, right: &str) -> Option<T> {
        let wrong = value.get_ref().type_str();
        self.problem(value, format!("`{key}` is {right}, not of type {wrong}"))
    }

    /// Notes a problem with `value`; always `None`, to return.
    fn problem<T>(&mut self, value: &Value<'_>, message: String) -> Option<T> {
        let place = self.place(value);
        self.problems.add(place, message);
        None
    }

    fn place(&self, value: &Value<'_>) -> Place {
        self.places.at(value.span().start)
    }
}

/// What to write instead of keys that people bring along from elsewhere.
fn instead(key: &str) -> Option<&'static str> {
    Some(match key {
        "systems" => "write [[system]] once for each system",
        "tests" => "write [[test]] once for each test",
        "caller" | "user" | "token" => "rules do not ask who calls; a test has a request only",
        "resources" => "write [[system.resource]] once for each resource",
        "host" | "port" | "virtual_host" | "virtual_port" | "virtualHost" | "virtualPort" => {
            "write virtual = \"host:port\""
        }
        "internal_host" | "internal_port" | "localHost" | "localPort" | "backend" | "upstream" => {
            "write internal = \"http://host:port\""
        }
        "exact" | "subtree" | "prefix" | "exactMatchOnly" => {
            "write scope = \"exact\" or scope = \"subtree\""
        }
        "enabled" | "disabled" => "write active = true or active = false",
        "websocket" | "websocketUpgradeAllowed" => "write upgrade = true",
        "method" => "write methods = [\"GET\"]",
        _ => return None,
    })
}

mod places;
mod plain;
mod rule_test;
#[cfg(test)]
mod tests;
