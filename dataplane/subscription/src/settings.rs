//! The section `[control]` and the folder of the identity, as agent and gateway have them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use adit_runtime::settings::Section;

use crate::limits::URLS_MAX;

/// Where the control plane is, and what its absence means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// Its servers, tried in turn; never empty.
    pub urls: Vec<ControlUrl>,
    /// An agent whose last contact is longer ago refuses everything; zero: never.
    pub horizon: Duration,
    /// The folder of the identity.
    pub identity: PathBuf,
}

/// `https://host:port` of a server of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlUrl {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port; 443 where the address names none.
    pub port: u16,
}

impl Control {
    /// Reads `[control]`; `None` when the file has none. `has_horizon`: the role judges requests.
    pub fn read(section: &Section<'_>, identity: PathBuf, has_horizon: bool) -> Option<Self> {
        let texts = section.strings("urls", &[]);
        let horizon = if has_horizon {
            section.duration("horizon", Duration::ZERO, Duration::ZERO..=HORIZON_MAX)
        } else {
            Duration::ZERO
        };
        if !section.is_present() {
            return None;
        }
        let mut urls = Vec::new();
        for text in &texts {
            match ControlUrl::parse(text) {
                Ok(url) if urls.contains(&url) => {
                    section.problem("urls", &format!("{url} is in the list twice"));
                }
                Ok(url) => urls.push(url),
                Err(why) => section.problem("urls", &why),
            }
        }
        if texts.is_empty() {
            section.problem(
                "urls",
                "name at least one, as urls = [\"https://cp1:7420\"]",
            );
        }
        if texts.len() > URLS_MAX {
            section.problem("urls", &format!("holds more than {URLS_MAX} addresses"));
        }
        Some(Self {
            urls,
            horizon,
            identity,
        })
    }
}

impl ControlUrl {
    /// Reads `https://host[:port]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{}` is not of the form https://host:port", clip(text));
        let rest = text.strip_prefix("https://").ok_or_else(form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '@', '?', '#', ' ', '\\']) {
            return Err(form());
        }
        let (host, port) = match rest.rsplit_once(':') {
            // The colon of an IPv6 address without a port stands inside the brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_nan| form())?)
            }
            _ => (rest, 443),
        };
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(form)?,
            None if host.contains(':') => return Err(form()),
            None => host,
        };
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if bare.is_empty() || port == 0 || !bare.bytes().all(allowed) {
            return Err(form());
        }
        Ok(Self {
            host: bare.to_owned(),
            port,
        })
    }

    /// Host and port as a URI has them.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ControlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(100)).unwrap_or(text)
}

/// The longest horizon: a year.
const HORIZON_MAX: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use adit_runtime::settings::Document;

    use super::*;

    fn read(text: &str) -> Result<Option<Control>, String> {
        let document = Document::parse("agent.toml", PathBuf::new(), text.to_owned()).unwrap();
        let control = Control::read(
            &document.root().section("control"),
            PathBuf::from("agent/identity"),
            true,
        );
        document.finish().map_err(|problems| problems.to_string())?;
        Ok(control)
    }

    #[test]
    fn addresses_of_a_control_plane_are_https_with_or_without_port() {
        for (text, host, port) in [
            ("https://cp1:7420", "cp1", 7420),
            ("https://cp1.example/", "cp1.example", 443),
            ("https://10.0.0.1:1", "10.0.0.1", 1),
            ("https://[2001:db8::1]:7420", "2001:db8::1", 7420),
            ("https://[::1]", "::1", 443),
        ] {
            let url = ControlUrl::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(ControlUrl::parse(&url.to_string()).unwrap(), url);
        }
        for text in [
            "",
            "cp1:7420",
            "http://cp1:7420",
            "https://",
            "https://:1",
            "https://cp1:0",
            "https://cp1:70000",
            "https://a@cp1",
            "https://cp1/path",
            "https://cp1?x",
            "https://::1",
            "https://[::1",
            "https://c p",
        ] {
            assert!(ControlUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_section_is_optional_and_has_addresses_when_it_is_there() {
        assert_eq!(read(""), Ok(None));
        let control = read("[control]\nurls = [\"https://cp1:7420\"]\nhorizon = \"1h\"\n")
            .unwrap()
            .unwrap();
        assert_eq!(control.horizon, Duration::from_secs(3600));
        assert_eq!(control.urls.len(), 1);
        for wrong in [
            "[control]\n",
            "[control]\nurls = []\n",
            "[control]\nurls = [\"cp1\"]\n",
            "[control]\nurls = [\"https://a\", \"https://a:443\"]\n",
        ] {
            assert!(read(wrong).unwrap_err().contains("control.urls"), "{wrong}");
        }
    }

    #[test]
    fn urls_max_addresses_may_be_named_and_one_more_may_not() {
        let list = |count: usize| {
            let urls: Vec<String> = (0..count).map(|n| format!("\"https://cp{n}\"")).collect();
            format!("[control]\nurls = [{}]\n", urls.join(", "))
        };
        assert!(read(&list(URLS_MAX)).is_ok());
        assert!(
            read(&list(URLS_MAX + 1))
                .unwrap_err()
                .contains("more than 16")
        );
    }
}
