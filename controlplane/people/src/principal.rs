//! Who is asking, after the proof.
//!
//! A principal is a name, how it was proved, and what it was given. How a secret or token becomes one is told in
//! `user`, `bearer` and `oidc`.

use core::fmt;

use crate::role::{Grant, Role};

/// Somebody who may ask for something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the server makes some of its own: by certificate, by console"
)]
pub struct Principal {
    /// The name: a user's, or what the issuer's claim says. Unique only together with `how`.
    pub name: String,
    /// How the name was proved.
    pub how: How,
    /// What it was given.
    pub grants: Vec<Grant>,
}

/// How a principal's name was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// A local user, by password and the login made with it.
    Local,
    /// A local user's API token.
    ApiToken {
        /// What its owner called it.
        label: String,
    },
    /// A bearer token of an OIDC issuer.
    Oidc {
        /// Its `iss`.
        issuer: String,
    },
    /// A local user, by a client certificate that names them.
    Certificate {
        /// SHA-256 of the certificate, in hexadecimal.
        fingerprint: String,
    },
    /// The one-time setup token. It may make the first user and nothing else, whatever its grants are.
    Setup,
    /// The server itself, or somebody who is its user on its machine.
    Console,
}

impl Principal {
    /// Whoever holds the one-time setup token.
    #[must_use]
    pub fn setup() -> Self {
        Self {
            name: "setup".to_owned(),
            how: How::Setup,
            grants: vec![Grant::all(Role::Administrator)],
        }
    }

    /// The server itself, and its user on its machine: may do everything.
    #[must_use]
    pub fn console() -> Self {
        Self {
            name: "console".to_owned(),
            how: How::Console,
            grants: vec![Grant::all(Role::Administrator)],
        }
    }
}

impl How {
    /// One word for audit records.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::ApiToken { .. } => "api-token",
            Self::Oidc { .. } => "oidc",
            Self::Certificate { .. } => "certificate",
            Self::Setup => "setup",
            Self::Console => "console",
        }
    }
}

/// `local:NAME`, `oidc:NAME` and so on, for logs and audit records.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.how.word(), self.name)
    }
}
