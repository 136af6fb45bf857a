//! For whom rules are, and which node is meant: names, checked once.

use std::fmt;
use std::str::FromStr as _;

use adit_api::NodeRole;
use adit_authority::{Identity, Name};
use adit_proto::check_location;

/// A location of a subaccount: what rules are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    subaccount: String,
    location: String,
}

impl Place {
    /// Checks both names.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn new(subaccount: &str, location: &str) -> Result<Self, String> {
        check_name("subaccount", subaccount)?;
        check_location(location).map_err(|error| format!("location {location:?}: {error}"))?;
        // A slash is URI-safe in nobody's eyes here, and would make another key of this.
        if location.contains('/') {
            return Err(format!("location {location:?}: contains a slash"));
        }
        Ok(Self {
            subaccount: subaccount.to_owned(),
            location: location.to_owned(),
        })
    }

    pub(crate) fn subaccount(&self) -> &str {
        &self.subaccount
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// For whom a document is signed.
    pub(crate) fn audience(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subaccount, self.location)
    }
}

/// A node: `agent/acme/berlin-1` or `gateway/-/gw-1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId {
    pub(crate) role: NodeRole,
    /// Empty for a gateway.
    subaccount: String,
    name: String,
}

impl NodeId {
    /// An agent.
    ///
    /// # Errors
    /// What is wrong with which name.
    pub(crate) fn agent(subaccount: &str, name: &str) -> Result<Self, String> {
        check_name("subaccount", subaccount)?;
        check_name("name", name)?;
        Ok(Self {
            role: NodeRole::Agent,
            subaccount: subaccount.to_owned(),
            name: name.to_owned(),
        })
    }

    /// A gateway.
    ///
    /// # Errors
    /// What is wrong with its name.
    pub(crate) fn gateway(name: &str) -> Result<Self, String> {
        check_name("name", name)?;
        Ok(Self {
            role: NodeRole::Gateway,
            subaccount: String::new(),
            name: name.to_owned(),
        })
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
            ("agent", subaccount, name, None) => Self::agent(subaccount, name).ok(),
            ("gateway", "-", name, None) => Self::gateway(name).ok(),
            _ => None,
        }
    }

    /// Of which subaccount an agent is.
    pub(crate) fn subaccount(&self) -> Option<&str> {
        (self.role == NodeRole::Agent).then_some(self.subaccount.as_str())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As certificates name it.
    pub(crate) fn identity(&self) -> Result<Identity, String> {
        let name = Name::from_str(&self.name)?;
        Ok(match self.role {
            NodeRole::Agent => Identity::Agent {
                subaccount: Name::from_str(&self.subaccount)?,
                name,
            },
            NodeRole::Gateway => Identity::Gateway { name },
        })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            NodeRole::Agent => write!(f, "agent/{}/{}", self.subaccount, self.name),
            NodeRole::Gateway => write!(f, "gateway/-/{}", self.name),
        }
    }
}

fn check_name(what: &str, text: &str) -> Result<(), String> {
    Name::from_str(text)
        .map(drop)
        .map_err(|why| format!("{what} {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_other_keys_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "=", "\u{e4}"] {
            assert!(Place::new(name, "").is_err(), "{name:?}");
            assert!(NodeId::agent("acme", name).is_err(), "{name:?}");
            assert!(NodeId::agent(name, "a").is_err(), "{name:?}");
            assert!(NodeId::gateway(name).is_err(), "{name:?}");
        }
        for location in ["a/b", "a b", "a%2Fb"] {
            assert!(Place::new("acme", location).is_err(), "{location:?}");
        }
        assert_eq!(Place::new("acme", "").unwrap().audience(), "acme/");
        assert_eq!(
            Place::new("acme", "plant-1").unwrap().audience(),
            "acme/plant-1"
        );
    }

    #[test]
    fn a_node_reads_back_as_itself() {
        for node in [
            NodeId::agent("acme", "a-1").unwrap(),
            NodeId::gateway("gw").unwrap(),
        ] {
            assert_eq!(NodeId::parse(&node.to_string()), Some(node));
        }
        for text in [
            "agent/acme",
            "gateway/acme/gw",
            "agent/acme/a/b",
            "control/-/x",
            "",
        ] {
            assert_eq!(NodeId::parse(text), None, "{text}");
        }
    }
}
