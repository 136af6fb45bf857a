//! Whom a certificate names: the SPIFFE ID of an agent, a gateway or a server of the control plane.
//!
//! Has one accepted spelling for each identity, the same that the nodes accept. Putting it into a
//! certificate is left to `root`.

use std::fmt;
use std::str::FromStr;

use crate::limits::{NAME_CHARS_MAX, TRUST_DOMAIN_BYTES_MAX};

/// A node, or the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new part must be looked at everywhere"
)]
pub enum Identity {
    /// The on-premise end; may serve `subaccount` and no other.
    Agent {
        /// The subaccount whose requests it may serve.
        subaccount: Name,
        /// Which agent of it.
        name: Name,
    },
    /// The cloud end.
    Gateway {
        /// Which gateway.
        name: Name,
    },
    /// A server of the control plane. No end of a tunnel takes it for a peer.
    Control {
        /// Which server.
        name: Name,
    },
}

impl Identity {
    /// Whom `spiffe_id` names in `trust_domain`, if it is one of our forms.
    #[must_use]
    pub fn parse(spiffe_id: &str, trust_domain: &TrustDomain) -> Option<Self> {
        let path = spiffe_id
            .strip_prefix("spiffe://")?
            .strip_prefix(trust_domain.as_str())?
            .strip_prefix('/')?;
        let name = |text: &str| text.parse().ok();
        let mut segments = path.split('/');
        match core::array::from_fn(|_| segments.next()) {
            [
                Some("subaccount"),
                Some(subaccount),
                Some("agent"),
                Some(agent),
                None,
            ] => Some(Self::Agent {
                subaccount: name(subaccount)?,
                name: name(agent)?,
            }),
            [Some("gateway"), Some(gateway), None, None, None] => Some(Self::Gateway {
                name: name(gateway)?,
            }),
            [Some("control"), Some(control), None, None, None] => Some(Self::Control {
                name: name(control)?,
            }),
            _ => None,
        }
    }

    /// The ID that the certificate carries as its one URI.
    #[must_use]
    pub fn spiffe_id(&self, trust_domain: &TrustDomain) -> String {
        match self {
            Self::Agent { subaccount, name } => {
                format!("spiffe://{trust_domain}/subaccount/{subaccount}/agent/{name}")
            }
            Self::Gateway { name } => format!("spiffe://{trust_domain}/gateway/{name}"),
            Self::Control { name } => format!("spiffe://{trust_domain}/control/{name}"),
        }
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Agent { name, .. } | Self::Gateway { name } | Self::Control { name } => name,
        }
    }
}

/// A name that can be a segment of a SPIFFE ID: 1 to 128 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The first part of a SPIFFE ID: 1 to 255 of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TrustDomain {
    /// The trust domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        //= SPIFFE-ID, section 2.2
        //# Path segments MUST NOT be empty, `.` or `..`
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if matches!(text, "" | "." | "..")
            || text.len() > NAME_CHARS_MAX
            || !text.bytes().all(plain)
        {
            return Err(format!(
                "use 1 to {NAME_CHARS_MAX} letters, digits, dots, underscores and dashes, and not \
                 `.` or `..`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TrustDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        if text.is_empty() || text.len() > TRUST_DOMAIN_BYTES_MAX || !text.bytes().all(plain) {
            return Err(format!(
                "use 1 to {TRUST_DOMAIN_BYTES_MAX} lower-case letters, digits, dots, underscores \
                 and dashes"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_an_id() {
        let domain = "adit.local".parse().unwrap();
        let agent = Identity::Agent {
            subaccount: "3f2a-acme".parse().unwrap(),
            name: "berlin-1".parse().unwrap(),
        };
        assert_eq!(
            agent.spiffe_id(&domain),
            "spiffe://adit.local/subaccount/3f2a-acme/agent/berlin-1"
        );
        let gateway = Identity::Gateway {
            name: "gw-1".parse().unwrap(),
        };
        assert_eq!(
            gateway.spiffe_id(&domain),
            "spiffe://adit.local/gateway/gw-1"
        );
        let control = Identity::Control {
            name: "cp-1".parse().unwrap(),
        };
        assert_eq!(
            control.spiffe_id(&domain),
            "spiffe://adit.local/control/cp-1"
        );
        for identity in [agent, gateway, control] {
            let read = Identity::parse(&identity.spiffe_id(&domain), &domain);
            assert_eq!(read, Some(identity));
        }
    }

    #[test]
    fn what_is_not_exactly_such_an_id_names_nobody() {
        let domain = "adit.local".parse().unwrap();
        for id in [
            "",
            "spiffe://adit.local",
            "spiffe://adit.local/",
            "spiffe://adit.local/gateway",
            "spiffe://adit.local/gateway/",
            "spiffe://adit.local/gateway/a/",
            "spiffe://adit.local/gateway/a/b",
            "spiffe://adit.local//gateway/a",
            "spiffe://adit.locals/gateway/a",
            "spiffe://other/gateway/a",
            "spiffe://adit.local/Gateway/a",
            "spiffe://adit.local/gateway/%61",
            "spiffe://adit.local/subaccount/a/agent",
            "spiffe://adit.local/subaccount/a/agent/..",
            "spiffe://adit.local/subaccount//agent/b",
            "spiffe://adit.local/subaccount/a/agent/b/c",
            "spiffe://adit.local/subaccount/a/gateway/b",
        ] {
            assert_eq!(Identity::parse(id, &domain), None, "{id:?}");
        }
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "ä", "a%2Fb", "a\n", "a:b"] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
        assert!("a".repeat(NAME_CHARS_MAX).parse::<Name>().is_ok());
        assert!("a".repeat(NAME_CHARS_MAX + 1).parse::<Name>().is_err());
    }

    #[test]
    fn trust_domains_are_lower_case() {
        for domain in ["", "Adit", "a/b", "a:8080", "a b"] {
            assert!(domain.parse::<TrustDomain>().is_err(), "{domain:?}");
        }
        assert!(
            "a".repeat(TRUST_DOMAIN_BYTES_MAX)
                .parse::<TrustDomain>()
                .is_ok()
        );
        assert!(
            "a".repeat(TRUST_DOMAIN_BYTES_MAX + 1)
                .parse::<TrustDomain>()
                .is_err()
        );
    }
}
