//! Whom a certificate names: the SPIFFE ID of an agent or a gateway.
//!
//! Has one accepted spelling for each identity, the same that the nodes accept. Putting it into a
//! certificate is left to `authority`.

use std::fmt;
use std::str::FromStr;

/// Longest name or subaccount, in characters; what tokens may carry as subaccount too.
const NAME_CHARS_MAX: usize = 128;

/// Longest trust domain, in bytes (SPIFFE-ID, section 2.3).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The on-premise end; may serve `subaccount` and no other.
    Agent { subaccount: Name, name: Name },
    /// The cloud end.
    Gateway { name: Name },
}

impl Identity {
    /// The ID that the certificate carries as its one URI.
    pub(crate) fn spiffe_id(&self, trust_domain: &TrustDomain) -> String {
        match self {
            Self::Agent { subaccount, name } => {
                format!("spiffe://{trust_domain}/subaccount/{subaccount}/agent/{name}")
            }
            Self::Gateway { name } => format!("spiffe://{trust_domain}/gateway/{name}"),
        }
    }

    /// The node's own name.
    pub(crate) fn name(&self) -> &Name {
        match self {
            Self::Agent { name, .. } | Self::Gateway { name } => name,
        }
    }
}

/// A name that can be a segment of a SPIFFE ID: 1 to 128 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

/// The first part of a SPIFFE ID: 1 to 255 of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustDomain(String);

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
    fn the_two_forms_of_an_id() {
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
