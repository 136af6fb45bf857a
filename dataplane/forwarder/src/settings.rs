//! Where records go: what `syslog` and `otlp` sections may say, with defaults, checked.
//!
//! Reading a configuration file is the program's; it hands over what the file said.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use rustls_pki_types::ServerName;
use serde::Deserialize;

use crate::tls::{self, TlsFiles};

/// A syslog section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "programs fill in all of it")]
pub struct RawSyslog {
    /// `host:port`; without a port 6514 (RFC 5425).
    pub server: Option<String>,
    /// The name its certificate must have; by default the host.
    pub server_name: Option<String>,
    /// Roots of its certificate, PEM; by default those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM; goes with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// Our key, PEM, mode 0600.
    pub key_file: Option<PathBuf>,
    /// A name of RFC 5424; by default `audit`.
    pub facility: Option<String>,
    /// APP-NAME of messages; by default `adit`.
    pub app_name: Option<String>,
}

/// An otlp section as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "programs fill in all of it")]
pub struct RawOtlp {
    /// `https://host:port/v1/logs`, or http on this machine; without a path `/v1/logs`.
    pub url: Option<String>,
    /// Roots of its certificate, PEM; by default those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// Header fields of each request, `name: value` a line, mode 0600.
    pub headers_file: Option<PathBuf>,
}

/// What is wrong with a key, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Problem {
    /// The key, within its section.
    pub key: &'static str,
    /// What, and how to mend it.
    pub what: String,
}

/// Somewhere records go to.
#[derive(Clone, Debug)]
pub struct Sink(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Syslog(Syslog),
    Otlp(Otlp),
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syslog {
    pub(crate) at: Target,
    pub(crate) server_name: String,
    pub(crate) tls: TlsFiles,
    pub(crate) facility: u8,
    pub(crate) app_name: String,
}

/// An OTLP collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Otlp {
    pub(crate) at: Target,
    pub(crate) path: String,
    /// None: plain HTTP on this machine.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) headers_file: Option<PathBuf>,
}

/// A port of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address, an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Sink {
    /// A syslog server.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn syslog(raw: RawSyslog) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut add = |key, what: String| problems.push(Problem { key, what });
        let at = match raw.server.as_deref().map(|text| Target::parse(text, 6514)) {
            Some(Some(at)) => Some(at),
            Some(None) => {
                add("server", "is not of the form host:port".to_owned());
                None
            }
            None => {
                add("server", "is missing: \"logs.example:6514\"".to_owned());
                None
            }
        };
        if raw.certificate_file.is_some() != raw.key_file.is_some() {
            add("certificate_file", "and key_file go together".to_owned());
        }
        let facility = raw.facility.as_deref().unwrap_or("audit");
        let number = facility_number(facility);
        if number.is_none() {
            let names: Vec<&str> = FACILITIES.iter().map(|(name, _)| *name).collect();
            add(
                "facility",
                format!("is unknown; write one of {}", names.join(", ")),
            );
        }
        let app_name = raw.app_name.unwrap_or_else(|| "adit".to_owned());
        if app_name.is_empty()
            || app_name.len() > APP_NAME_BYTES_MAX
            || !app_name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            add(
                "app_name",
                format!("has to be 1 to {APP_NAME_BYTES_MAX} printable characters without blanks"),
            );
        }
        if let Some(name) = &raw.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            add(
                "server_name",
                "is neither a DNS name nor an address".to_owned(),
            );
        }
        match (at, number) {
            (Some(at), Some(facility)) if problems.is_empty() => Ok(Self(Kind::Syslog(Syslog {
                server_name: raw.server_name.unwrap_or_else(|| at.host.clone()),
                at,
                tls: TlsFiles {
                    roots: raw.ca_file,
                    identity: raw.certificate_file.zip(raw.key_file),
                },
                facility,
                app_name,
            }))),
            _ => Err(problems),
        }
    }

    /// An OTLP collector.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn otlp(raw: RawOtlp) -> Result<Self, Vec<Problem>> {
        let one = |key, what: &str| {
            let what = what.to_owned();
            Err(vec![Problem { key, what }])
        };
        let Some(url) = raw.url else {
            return one("url", "is missing: \"https://collector.example:4318\"");
        };
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return one("url", "is not of the form https://host:port"),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let Some(at) = Target::parse(authority, if is_tls { 443 } else { 80 }) else {
            return one("url", "is not of the form https://host:port");
        };
        let path = match path {
            "" | "/" => "/v1/logs",
            path => path,
        };
        if !path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
        {
            return one("url", "has a path with characters that no path has");
        }
        if !is_tls && !at.is_loopback() {
            return one(
                "url",
                "is plain http to another machine; write https, or send to a collector on this one",
            );
        }
        if !is_tls && raw.ca_file.is_some() {
            return one("ca_file", "is for https; delete it");
        }
        Ok(Self(Kind::Otlp(Otlp {
            at,
            path: path.to_owned(),
            tls: is_tls.then_some(TlsFiles {
                roots: raw.ca_file,
                identity: None,
            }),
            headers_file: raw.headers_file,
        })))
    }

    /// Reads the files it names, to tell early what is wrong with them.
    ///
    /// # Errors
    /// The section, the file and what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let checked = match &self.0 {
            Kind::Syslog(syslog) => tls::config(&syslog.tls).map(drop),
            Kind::Otlp(otlp) => {
                let tls = otlp
                    .tls
                    .as_ref()
                    .map_or(Ok(()), |files| tls::config(files).map(drop));
                tls.and_then(|()| tls::headers(otlp.headers_file.as_deref()).map(drop))
            }
        };
        checked.map_err(|why| format!("{}: {why}", self.name()))
    }

    /// `syslog` or `otlp`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Syslog(_) => "syslog",
            Kind::Otlp(_) => "otlp",
        }
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.0 {
            Kind::Syslog(syslog) => syslog.at.to_string(),
            Kind::Otlp(otlp) => {
                let scheme = if otlp.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}{}", otlp.at, otlp.path)
            }
        }
    }
}

impl Target {
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colon of an IPv6 address without a port stands inside the brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, default_port),
        };
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let is_named =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if bare.is_empty() || port == 0 || !bare.bytes().all(is_named) {
            return None;
        }
        Some(Self {
            host: bare.to_owned(),
            port,
        })
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn facility_number(name: &str) -> Option<u8> {
    let found = FACILITIES.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

/// RFC 5424, section 6.2.1, table 1: those that audit may have a place in.
const FACILITIES: &[(&str, u8)] = &[
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("audit", 13),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// RFC 5424, section 6: `APP-NAME = NILVALUE / 1*48PRINTUSASCII`.
const APP_NAME_BYTES_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn syslog(change: impl FnOnce(&mut RawSyslog)) -> Result<Sink, Vec<Problem>> {
        let mut raw = RawSyslog {
            server: Some("logs.example".to_owned()),
            ..RawSyslog::default()
        };
        change(&mut raw);
        Sink::syslog(raw)
    }

    #[test]
    fn a_server_alone_is_enough_for_syslog() {
        let sink = syslog(|_| {}).unwrap();
        assert_eq!(
            (sink.name(), sink.target().as_str()),
            ("syslog", "logs.example:6514")
        );
        let Kind::Syslog(syslog) = sink.0 else {
            panic!("it is syslog");
        };
        assert_eq!((syslog.facility, syslog.app_name.as_str()), (13, "adit"));
        assert_eq!(syslog.server_name, "logs.example");
    }

    #[test]
    fn what_is_wrong_with_syslog_names_the_key() {
        let key = |sink: Result<Sink, Vec<Problem>>| sink.unwrap_err().remove(0).key;
        for server in ["", "a b", "host:0", "host:70000", "::1", "[::1"] {
            assert_eq!(
                key(syslog(|raw| raw.server = Some(server.to_owned()))),
                "server"
            );
        }
        assert_eq!(key(syslog(|raw| raw.server = None)), "server");
        assert_eq!(
            key(syslog(|raw| raw.facility = Some("mine".to_owned()))),
            "facility"
        );
        assert_eq!(
            key(syslog(|raw| raw.key_file = Some(PathBuf::from("k")))),
            "certificate_file"
        );
        assert_eq!(
            key(syslog(|raw| raw.app_name = Some("a b".to_owned()))),
            "app_name"
        );
        for name in ["logs example", "", "logs.example:6514"] {
            let named = syslog(|raw| raw.server_name = Some(name.to_owned()));
            assert_eq!(key(named), "server_name", "{name}");
        }
        assert!(syslog(|raw| raw.server_name = Some("10.0.0.1".to_owned())).is_ok());
        let name = |length| syslog(|raw| raw.app_name = Some("a".repeat(length)));
        assert!(name(48).is_ok() && name(49).is_err() && name(0).is_err());
        assert!(syslog(|raw| raw.server = Some("[::1]:6514".to_owned())).is_ok());
    }

    #[test]
    fn a_collector_is_https_or_on_this_machine() {
        for (url, target) in [
            ("https://c.example", "https://c.example:443/v1/logs"),
            ("https://c.example:4318/", "https://c.example:4318/v1/logs"),
            (
                "https://c.example/otlp/v1/logs",
                "https://c.example:443/otlp/v1/logs",
            ),
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/logs"),
            ("http://localhost:4318", "http://localhost:4318/v1/logs"),
        ] {
            let raw = RawOtlp {
                url: Some(url.to_owned()),
                ..RawOtlp::default()
            };
            assert_eq!(Sink::otlp(raw).unwrap().target(), target);
        }
        for url in [
            "http://c.example:4318",
            "http://10.0.0.1",
            "c.example",
            "https://",
            "https://a@b",
            "https://a?b",
            "https://a/ b",
        ] {
            let raw = RawOtlp {
                url: Some(url.to_owned()),
                ..RawOtlp::default()
            };
            assert_eq!(Sink::otlp(raw).unwrap_err().remove(0).key, "url", "{url}");
        }
        for (url, is_told) in [
            ("http://127.0.0.1:4318", true),
            ("https://c.example", false),
        ] {
            let raw = RawOtlp {
                url: Some(url.to_owned()),
                ca_file: Some(PathBuf::from("ca.pem")),
                ..RawOtlp::default()
            };
            let told = Sink::otlp(raw).map_err(|mut problems| problems.remove(0).key);
            assert_eq!(told.err(), is_told.then_some("ca_file"), "{url}");
        }
    }
}
