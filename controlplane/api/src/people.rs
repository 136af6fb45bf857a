//! People: who they are and what they may do.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed: the table of roles")]
pub enum Role {
    /// Everything.
    Administrator,
    /// Rules and nodes.
    Operator,
    /// Reads everything, the audit too.
    Auditor,
    /// Reads rules and nodes.
    Viewer,
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed: everywhere or in one subaccount"
)]
pub enum Scope {
    /// Everywhere.
    All,
    /// In one subaccount.
    Subaccount(String),
}

/// A role somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Grant {
    /// What.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

/// The first administrator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Setup {
    /// The one-time token that the server printed at its first start.
    pub token: String,
    /// Name of the first administrator.
    pub user: String,
    /// Password, 12 to 256 bytes.
    pub password: String,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// What to send as `Authorization: Bearer` from now on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Token {
    /// The secret. It is told once.
    pub token: String,
    /// Whose it is.
    pub user: String,
    /// When it ends, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// A wish for a token for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct NewToken {
    /// What it is for.
    pub label: String,
    /// For how many days.
    #[schema(minimum = 1, maximum = 366)]
    pub days: u64,
}

/// A token for programs, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct ApiToken {
    /// By what it is revoked; no secret.
    pub id: String,
    /// Whose it is, and who made it.
    pub user: String,
    /// What it is for.
    pub label: String,
    /// What it may do now: what its user may, or less; nothing while they are disabled.
    pub grants: Vec<Grant>,
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
    /// When it ends, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// A page of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct ApiTokens {
    /// In the order of their ids.
    pub items: Vec<ApiToken>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A new password of whoever asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct PasswordChange {
    /// The password that counts now.
    pub old: String,
    /// The new one, 12 to 256 bytes.
    pub new: String,
}

/// Who asks, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Whoami {
    /// Name.
    pub name: String,
    /// `local`, `api-token` or `certificate`, or the issuer of the token.
    pub how: String,
    /// What they may do.
    pub grants: Vec<Grant>,
}

/// A new local user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct NewUser {
    /// Name.
    pub name: String,
    /// Password, 12 to 256 bytes; absent for who comes by certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether they come by client certificate instead of a password.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub certificate: bool,
    /// What they may do.
    pub grants: Vec<Grant>,
}

/// What is to be changed about a user; what is absent stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct UserChange {
    /// A new password. It ends the user's logins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// What they may do from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// Whether they may do nothing for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct User {
    /// Name.
    pub name: String,
    /// What they may do.
    pub grants: Vec<Grant>,
    /// Whether they come by client certificate, and have no password. Absent from servers that know no such users.
    #[serde(default)]
    pub certificate: bool,
    /// Whether they may do nothing for now.
    pub disabled: bool,
    /// When they were made, in seconds since 1970.
    pub created_unix_s: u64,
}

/// A page of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both ends of a message write all of it"
)]
pub struct Users {
    /// In the order of their names.
    pub items: Vec<User>,
    /// Where there are more: what to give as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What holds a secret shows whose it is and nothing else.
macro_rules! hidden {
    ($($name:ident: $shown:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field(stringify!($shown), &self.$shown).finish_non_exhaustive()
            }
        }
    )+};
}

impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordChange")
    }
}

hidden!(Setup: user, Login: user, Token: user, NewUser: name, UserChange: grants);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_secret_does_not_show_it() {
        let secret = || "hunter2".to_owned();
        let user = || "ada".to_owned();
        let shown = [
            format!(
                "{:?}",
                Setup {
                    token: secret(),
                    user: user(),
                    password: secret()
                }
            ),
            format!(
                "{:?}",
                Login {
                    user: user(),
                    password: secret()
                }
            ),
            format!(
                "{:?}",
                Token {
                    token: secret(),
                    user: user(),
                    expires_unix_s: 1
                }
            ),
            format!(
                "{:?}",
                NewUser {
                    name: user(),
                    password: Some(secret()),
                    certificate: false,
                    grants: Vec::new()
                }
            ),
            format!(
                "{:?}",
                UserChange {
                    password: Some(secret()),
                    ..UserChange::default()
                }
            ),
            format!(
                "{:?}",
                PasswordChange {
                    old: secret(),
                    new: secret()
                }
            ),
        ];
        for shown in shown {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_request_with_an_unknown_member_is_refused() {
        let text = r#"{"user":"ada","password":"x","admin":true}"#;
        assert!(serde_json::from_str::<Login>(text).is_err());
    }

    #[test]
    fn a_scope_reads_back_as_itself() {
        for scope in [Scope::All, Scope::Subaccount("acme".to_owned())] {
            let text = serde_json::to_string(&scope).unwrap();
            assert_eq!(serde_json::from_str::<Scope>(&text).unwrap(), scope);
        }
        assert_eq!(serde_json::to_string(&Scope::All).unwrap(), "\"all\"");
    }
}
