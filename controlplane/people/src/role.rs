//! What people are given: a role, and where it counts.
//!
//! The text forms are those of the command line and of configuration: `operator@acme`, `auditor@*`. What a role may do
//! stands in `verb`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{GRANTS_MAX, SUBACCOUNT_BYTES_MAX};

/// A set of verbs, see the table of [`crate::Verb`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: who adds a role looks at each verb"
)]
pub enum Role {
    /// Everything where it counts.
    Administrator,
    /// Rules and nodes.
    Operator,
    /// Reads everything, also the audit records, and changes nothing.
    Auditor,
    /// Reads rules and nodes; not what anybody did or asked for.
    Viewer,
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 4] = [
        Self::Administrator,
        Self::Operator,
        Self::Auditor,
        Self::Viewer,
    ];

    /// Its name in text, JSON and audit records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
        }
    }
}

/// Where a grant counts; also where a thing is that somebody asks for.
///
/// JSON: `"all"` or `{"subaccount": "acme"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed by nature: all, or one")]
pub enum Scope {
    /// All subaccounts that are and will be, and what belongs to none.
    All,
    /// One subaccount, compared byte for byte. Reading it from text or JSON checks the name ([`is_subaccount`]).
    Subaccount(#[serde(deserialize_with = "checked")] String),
}

impl Scope {
    /// Whether whoever has something here has it in `other` too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Subaccount(own), Self::Subaccount(other)) => own == other,
            (Self::Subaccount(_), Self::All) => false,
        }
    }
}

/// A role somewhere. As text `ROLE@SUBACCOUNT` or `ROLE@*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a pair by nature")]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl Grant {
    /// `role` everywhere.
    #[must_use]
    pub const fn all(role: Role) -> Self {
        Self {
            role,
            scope: Scope::All,
        }
    }

    /// `role` in one subaccount, whose name the caller has checked.
    #[must_use]
    pub fn in_subaccount(role: Role, subaccount: &str) -> Self {
        Self {
            role,
            scope: Scope::Subaccount(subaccount.to_owned()),
        }
    }

    /// Grants as they are stored: sorted, each once, at most [`GRANTS_MAX`], each name one of a subaccount.
    ///
    /// # Errors
    /// When there are more, or a name is none.
    pub fn list(mut grants: Vec<Self>) -> Result<Vec<Self>, BadGrant> {
        grants.sort();
        grants.dedup();
        let named = |grant: &Self| match &grant.scope {
            Scope::All => true,
            Scope::Subaccount(name) => is_subaccount(name),
        };
        if grants.len() > GRANTS_MAX {
            Err(TOO_MANY)
        } else if !grants.iter().all(named) {
            Err(NOT_A_SUBACCOUNT)
        } else {
            Ok(grants)
        }
    }
}

/// Whether `text` can be the name of a subaccount: 1 to [`SUBACCOUNT_BYTES_MAX`] of `[A-Za-z0-9._-]`.
#[must_use]
pub fn is_subaccount(text: &str) -> bool {
    !matches!(text, "." | "..")
        && (1..=SUBACCOUNT_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Why a text is not a role, a scope or a grant; says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadGrant(&'static str);

impl fmt::Display for BadGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for BadGrant {}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        Self::ALL
            .into_iter()
            .find(|role| role.word() == text)
            .ok_or(BadGrant(
                "a role is one of administrator, operator, auditor and viewer",
            ))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Subaccount(name) if is_subaccount(name) => f.write_str(name),
            // A name that nobody checked must not read back as something else.
            Self::Subaccount(_) => f.write_str("?"),
        }
    }
}

impl FromStr for Scope {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        match text {
            "*" => Ok(Self::All),
            name if is_subaccount(name) => Ok(Self::Subaccount(name.to_owned())),
            _ => Err(NOT_A_SUBACCOUNT),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.role, self.scope)
    }
}

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let (role, scope) = text.split_once('@').ok_or(BadGrant(
            "a grant is a role and where it counts: write ROLE@SUBACCOUNT, or ROLE@* for everywhere",
        ))?;
        Ok(Self {
            role: role.parse()?,
            scope: scope.parse()?,
        })
    }
}

const TOO_MANY: BadGrant =
    BadGrant("these are more than 256 grants; give a role in all subaccounts, ROLE@*");

const NOT_A_SUBACCOUNT: BadGrant = BadGrant(
    "a subaccount is 1 to 128 letters, digits, dots, underscores or dashes, or `*` for all",
);

fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_subaccount(&name) {
        Ok(name)
    } else {
        Err(serde::de::Error::custom(NOT_A_SUBACCOUNT))
    }
}
