//! The server's configuration: what the file may say, with defaults, and what the program relies on.
//!
//! Without a file everything has a default: an embedded store in the state folder, loopback, a certificate authority of
//! its own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use adit_authority::{Name, TrustDomain};
use adit_forwarder::Sink;
use adit_people::Grant;
use adit_people::certificate::NameField;
use adit_people::oidc::{OidcSettings, document_of};
use serde::Deserialize;

mod people;
mod sinks;

/// All that a server needs to know, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Its name, unique among the servers of one store.
    pub name: String,
    /// Where it listens: nodes, people and programs.
    pub listen: SocketAddr,
    /// Names and addresses under which it is reached, for its certificate.
    pub names: Vec<String>,
    /// Folder of the embedded store, the seal's key and the setup token.
    pub state: PathBuf,
    /// Where metrics are read, plain HTTP; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Its memory.
    pub store: StoreSettings,
    /// What opens the sealed authority.
    pub seal: Seal,
    /// First part of every identity; counts when the authority is made.
    pub trust_domain: TrustDomain,
    /// How long certificates of nodes live.
    pub certificate_life: Duration,
    /// How long after its end a node's certificate may still be renewed.
    pub renew_expired: Duration,
    /// People of an identity provider, and where its keys are.
    pub oidc: Option<(OidcSettings, IssuerKeys)>,
    /// The authority of certificates of people, PEM, and where in them the name stands; none: they come with a token.
    pub people: Option<(PathBuf, NameField)>,
    /// Where acts are sent to.
    pub sinks: Vec<Sink>,
}

/// Where an identity provider's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a file, or the provider")]
pub enum IssuerKeys {
    /// A JWKS in this file, which somebody writes.
    File(PathBuf),
    /// As the issuer publishes them (OpenID Connect Discovery).
    Published {
        /// Roots of its certificate; none: those of the machine.
        roots: Option<PathBuf>,
    },
}

/// Which store.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: one file of one server, or shared"
)]
pub enum StoreSettings {
    /// In the state folder.
    Embedded,
    /// An etcd that several servers share.
    Etcd {
        /// `https://host:port`.
        endpoints: Vec<String>,
        /// Roots of its certificates.
        roots: Option<PathBuf>,
        /// Our certificate and key.
        identity: Option<(PathBuf, PathBuf)>,
        /// Below which prefix, with a slash at its end.
        prefix: String,
    },
}

/// What opens the sealed authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: 32 bytes or words")]
pub enum Seal {
    /// 32 bytes in this file; made at the first start where it is the default one.
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Whether it may be made.
        make: bool,
    },
    /// A passphrase in this file.
    PassphraseFile(PathBuf),
}

/// What is wrong with a configuration, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: ServerPart,
    store: StorePart,
    authority: AuthorityPart,
    nodes: NodesPart,
    oidc: Option<OidcPart>,
    people: people::PeoplePart,
    acts: sinks::ActsPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerPart {
    name: Option<String>,
    listen: Option<String>,
    names: Option<Vec<String>>,
    state: Option<PathBuf>,
    metrics: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StorePart {
    kind: Option<String>,
    endpoints: Vec<String>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    prefix: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AuthorityPart {
    trust_domain: Option<String>,
    seal_key: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NodesPart {
    certificate_life: Option<String>,
    renew_expired: Option<String>,
}

// Spelled out: `flatten` and `deny_unknown_fields` do not go together, and a key that is not known would be silence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcPart {
    issuer: String,
    audience: String,
    keys: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    leeway_s: Option<u64>,
    name_claim: Option<String>,
    groups_claim: Option<String>,
    mapping: BTreeMap<String, Vec<Grant>>,
}

impl OidcPart {
    fn checked(self, folder: &Path, problems: &mut Problems<'_>) -> (OidcSettings, IssuerKeys) {
        let keys = match (&self.keys, &self.ca_file) {
            (Some(_), Some(_)) => {
                problems.add("oidc", "has both keys and ca_file; delete one");
                IssuerKeys::Published { roots: None }
            }
            (Some(keys), None) => IssuerKeys::File(folder.join(keys)),
            (None, roots) => {
                if let Err(bad) = document_of(&self.issuer) {
                    problems.add(
                        "oidc.issuer",
                        &format!("{bad}; or write keys = \"FILE\" with its JWKS"),
                    );
                }
                IssuerKeys::Published {
                    roots: roots.as_ref().map(|roots| folder.join(roots)),
                }
            }
        };
        (self.settings(), keys)
    }

    fn settings(self) -> OidcSettings {
        let default = OidcSettings::new(&self.issuer, &self.audience, self.mapping);
        OidcSettings {
            leeway_s: self.leeway_s.unwrap_or(default.leeway_s),
            name_claim: self.name_claim.unwrap_or(default.name_claim),
            groups_claim: self.groups_claim.unwrap_or(default.groups_claim),
            ..default
        }
    }
}

impl Settings {
    /// Reads and checks the file at `path`; paths in it are relative to its folder.
    ///
    /// # Errors
    /// All that is wrong, a line each.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError(vec![format!("{place}: {error}")]))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        Self::from_text(&place, &text, &folder, default_state())
    }

    /// Everything by default.
    ///
    /// # Errors
    /// This machine's name can be no server's.
    pub fn defaults() -> Result<Self, SettingsError> {
        Self::from_text("defaults", "", Path::new(""), default_state())
    }

    fn from_text(
        place: &str,
        text: &str,
        folder: &Path,
        state: PathBuf,
    ) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            SettingsError(vec![format!("{place}: {}", error.to_string().trim_end())])
        })?;
        let mut problems = Problems {
            place,
            list: Vec::new(),
        };
        let path = |path: PathBuf| folder.join(path);

        let listen = problems.parse(
            "server.listen",
            file.server.listen.as_deref().unwrap_or("127.0.0.1:7420"),
        );
        let metrics = file
            .server
            .metrics
            .as_deref()
            .and_then(|text| problems.parse("server.metrics", text));
        let name = file.server.name.unwrap_or_else(machine);
        problems.parse::<Name>("server.name", &name);
        let names = file
            .server
            .names
            .unwrap_or_else(|| vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let state = file.server.state.map_or(state, path);
        let store = store(file.store, folder, &mut problems);
        let trust_domain = problems.parse(
            "authority.trust_domain",
            file.authority
                .trust_domain
                .as_deref()
                .unwrap_or("adit.local"),
        );
        let seal = match (file.authority.seal_key, file.authority.passphrase_file) {
            (Some(_), Some(_)) => {
                problems.add(
                    "authority",
                    "has both seal_key and passphrase_file; delete one",
                );
                None
            }
            (Some(key), None) => Some(Seal::KeyFile {
                path: path(key),
                make: false,
            }),
            (None, Some(words)) => Some(Seal::PassphraseFile(path(words))),
            (None, None) => Some(default_seal(&state)),
        };
        let certificate_life = problems.duration(
            "nodes.certificate_life",
            file.nodes.certificate_life.as_deref(),
            30 * DAY,
            CERTIFICATE_LIFE_MIN..=398 * DAY,
        );
        let renew_expired = problems.duration(
            "nodes.renew_expired",
            file.nodes.renew_expired.as_deref(),
            0,
            0..=366 * DAY,
        );
        let oidc = file.oidc.map(|oidc| oidc.checked(folder, &mut problems));
        let people = people::read(file.people, folder);
        let sinks = sinks::read(file.acts, folder, &mut problems);

        match (listen, trust_domain, seal, store) {
            (Some(listen), Some(trust_domain), Some(seal), Some(store))
                if problems.list.is_empty() =>
            {
                Ok(Self {
                    name,
                    listen,
                    names,
                    state,
                    metrics,
                    store,
                    seal,
                    trust_domain,
                    certificate_life,
                    renew_expired,
                    oidc,
                    people,
                    sinks,
                })
            }
            _ => Err(SettingsError(problems.list)),
        }
    }
}

fn store(part: StorePart, folder: &Path, problems: &mut Problems<'_>) -> Option<StoreSettings> {
    match part.kind.as_deref() {
        None | Some("embedded") => {
            if !part.endpoints.is_empty() {
                problems.add("store.endpoints", "are etcd's; add kind = \"etcd\"");
            }
            Some(StoreSettings::Embedded)
        }
        Some("etcd") => {
            if part.endpoints.is_empty() {
                problems.add("store.endpoints", "are missing: [\"https://etcd-1:2379\"]");
            }
            let identity = match (part.certificate, part.key) {
                (Some(certificate), Some(key)) => {
                    Some((folder.join(certificate), folder.join(key)))
                }
                (None, None) => None,
                _ => {
                    problems.add("store", "certificate and key go together");
                    None
                }
            };
            Some(StoreSettings::Etcd {
                endpoints: part.endpoints,
                roots: part.roots.map(|roots| folder.join(roots)),
                identity,
                prefix: part.prefix.unwrap_or_else(|| "adit/".to_owned()),
            })
        }
        Some(other) => {
            problems.add(
                "store.kind",
                &format!("is {other:?}; write \"embedded\" or \"etcd\""),
            );
            None
        }
    }
}

/// What was found wrong.
struct Problems<'a> {
    place: &'a str,
    list: Vec<String>,
}

impl Problems<'_> {
    fn add(&mut self, key: &str, what: &str) {
        self.list.push(format!("{}: {key}: {what}", self.place));
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, text: &str) -> Option<T> {
        text.parse()
            .map_err(|error| self.add(key, &format!("{text:?}: {error}")))
            .ok()
    }

    fn duration(
        &mut self,
        key: &str,
        text: Option<&str>,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Duration {
        let Some(text) = text else {
            return Duration::from_secs(default);
        };
        let seconds = seconds(text).filter(|seconds| range.contains(seconds));
        if seconds.is_none() {
            self.add(
                key,
                &format!(
                    "is {text:?}; write a number and s, m, h or d, {} s to {} s",
                    range.start(),
                    range.end()
                ),
            );
        }
        Duration::from_secs(seconds.unwrap_or(default))
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// What systemd gives (`StateDirectory=`), or a folder beside where the server was started.
fn default_state() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| PathBuf::from("adit-server"), PathBuf::from)
}

/// A systemd credential `seal-key` (`LoadCredential=`), or a file that is made at the first start.
fn default_seal(state: &Path) -> Seal {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|folder| PathBuf::from(folder).join("seal-key"));
    match credential.filter(|path| path.is_file()) {
        Some(path) => Seal::KeyFile { path, make: false },
        None => Seal::KeyFile {
            path: state.join("seal.key"),
            make: true,
        },
    }
}

fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if Name::from_str(name).is_ok() {
        name.to_owned()
    } else {
        "server-1".to_owned()
    }
}

const DAY: u64 = 86_400;

/// Below, two tunnels in each place would be the rule: they take two seconds to change. 20 s, to see renewals happen; a fleet
/// at work wants days.
const CERTIFICATE_LIFE_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        Settings::from_text(
            "server.toml",
            text,
            Path::new("/etc/adit"),
            PathBuf::from("/var/lib/adit"),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_at_all_is_a_whole_configuration() {
        let settings = read("").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7420");
        assert!(matches!(settings.store, StoreSettings::Embedded));
        assert_eq!(settings.certificate_life, Duration::from_secs(30 * DAY));
        assert_eq!(settings.renew_expired, Duration::ZERO);
        assert_eq!(settings.state, Path::new("/var/lib/adit"));
    }

    #[test]
    fn what_is_written_is_what_counts() {
        let settings = read(
            "[server]\nname = \"cp-1\"\nlisten = \"0.0.0.0:443\"\nnames = [\"cp.example\"]\nstate = \"state\"\n\
             [store]\nkind = \"etcd\"\nendpoints = [\"http://a:2379\"]\nprefix = \"x/\"\n\
             [authority]\ntrust_domain = \"acme.example\"\npassphrase_file = \"words\"\n\
             [nodes]\ncertificate_life = \"2m\"\nrenew_expired = \"7d\"\n",
        )
        .unwrap();
        assert_eq!(
            (settings.name.as_str(), settings.state.as_path()),
            ("cp-1", Path::new("/etc/adit/state"))
        );
        assert!(matches!(settings.store, StoreSettings::Etcd { .. }));
        assert_eq!(
            settings.seal,
            Seal::PassphraseFile(PathBuf::from("/etc/adit/words"))
        );
        assert_eq!(settings.certificate_life, Duration::from_secs(120));
        assert_eq!(settings.renew_expired, Duration::from_secs(7 * DAY));
    }

    #[test]
    fn an_issuers_keys_are_a_file_or_what_it_publishes() {
        let keys = |more: &str| {
            let text = format!(
                "[oidc]\nissuer = \"https://id.example/\"\naudience = \"adit\"\n{more}[oidc.mapping]\n\
                 ops = [{{ role = \"operator\", scope = {{ subaccount = \"acme\" }} }}]\n"
            );
            let (settings, keys) = read(&text).unwrap().oidc.unwrap();
            assert_eq!(
                (settings.name_claim.as_str(), settings.leeway_s),
                ("sub", 60)
            );
            assert_eq!(settings.mapping["ops"].len(), 1);
            keys
        };
        let published = |roots: Option<&str>| IssuerKeys::Published {
            roots: roots.map(PathBuf::from),
        };
        assert_eq!(keys(""), published(None));
        assert_eq!(
            keys("ca_file = \"ca.pem\"\n"),
            published(Some("/etc/adit/ca.pem"))
        );
        assert_eq!(
            keys("keys = \"jwks.json\"\n"),
            IssuerKeys::File(PathBuf::from("/etc/adit/jwks.json"))
        );
    }

    #[test]
    fn people_come_by_certificate_where_there_is_an_authority_of_theirs() {
        assert_eq!(read("").unwrap().people, None);
        assert_eq!(read("[people]\n").unwrap().people, None);
        let people = |more: &str| {
            let text = format!("[people.certificates]\nca_file = \"people.pem\"\n{more}");
            read(&text).unwrap().people.unwrap()
        };
        let file = PathBuf::from("/etc/adit/people.pem");
        assert_eq!(people(""), (file.clone(), NameField::CommonName));
        assert_eq!(people("name = \"email\"\n"), (file, NameField::Email));
    }

    #[test]
    fn what_is_wrong_says_where_and_how_to_mend_it() {
        for (text, part) in [
            ("[server]\nlisten = \"here\"\n", "server.listen"),
            ("[server]\nlistne = \"here\"\n", "listne"),
            ("[store]\nkind = \"mysql\"\n", "embedded"),
            ("[store]\nkind = \"etcd\"\n", "store.endpoints"),
            ("[store]\nendpoints = [\"http://a:1\"]\n", "store.endpoints"),
            ("[nodes]\ncertificate_life = \"19s\"\n", "20 s"),
            (
                "[nodes]\ncertificate_life = \"399d\"\n",
                "nodes.certificate_life",
            ),
            ("[nodes]\ncertificate_life = \"soon\"\n", "s, m, h or d"),
            (
                "[authority]\ntrust_domain = \"A B\"\n",
                "authority.trust_domain",
            ),
            (
                "[authority]\nseal_key = \"a\"\npassphrase_file = \"b\"\n",
                "delete one",
            ),
            ("[oidc]\nissuer = \"x\"\n", "oidc"),
            (
                "[oidc]\nissuer = \"x\"\naudience = \"adit\"\nkeys = \"k\"\nname_clam = \"mail\"\n[oidc.mapping]\n",
                "name_clam",
            ),
            (
                "[oidc]\nissuer = \"x\"\naudience = \"adit\"\nkeys = \"k\"\n\
                 mapping = { ops = [{ role = \"operator\", scope = \"all\", until = 1 }] }\n",
                "until",
            ),
            (
                "[oidc]\nissuer = \"adit-dev\"\naudience = \"adit\"\n[oidc.mapping]\n",
                "oidc.issuer",
            ),
            (
                "[oidc]\nissuer = \"http://id.example\"\naudience = \"adit\"\n[oidc.mapping]\n",
                "https",
            ),
            (
                "[oidc]\nissuer = \"https://id.example\"\naudience = \"adit\"\nkeys = \"a\"\nca_file = \"b\"\n\
                 [oidc.mapping]\n",
                "delete one",
            ),
            ("[people.certificates]\n", "ca_file"),
            (
                "[people.certificates]\nca_file = \"a\"\nname = \"uri\"\n",
                "`common-name` or `email`",
            ),
            ("[people.certificate]\nca_file = \"a\"\n", "certificate"),
            ("[acts.syslog]\n", "acts.syslog.server"),
            ("[acts.otlp]\nurl = \"http://far\"\n", "acts.otlp.url"),
            ("[acts.otpl]\n", "otpl"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(part) && error.starts_with("server.toml: "),
                "{text}: {error}"
            );
        }
        assert!(read("[nodes]\ncertificate_life = \"20s\"\n").is_ok());
    }
}
