//! A local user, as the store keeps it.
//!
//! Names have one spelling. Who may change a user is judged in `authorize`; what a password must be in `password`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::USER_NAME_BYTES_MAX;
use crate::password::PasswordHash;
use crate::principal::{How, Principal};
use crate::role::Grant;

/// A user's name: 1 to [`USER_NAME_BYTES_MAX`] of `[a-z0-9._@+-]`, the first and last a letter or digit.
///
/// Lower case only, so that no two users look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUserName;

impl fmt::Display for BadUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a user name is 1 to 128 lower-case letters, digits, or `.`, `_`, `@`, `+`, `-` between them",
        )
    }
}

impl core::error::Error for BadUserName {}

impl TryFrom<String> for UserName {
    type Error = BadUserName;

    fn try_from(text: String) -> Result<Self, BadUserName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let framed =
            bytes.first().copied().is_some_and(plain) && bytes.last().copied().is_some_and(plain);
        let inside = |byte: &u8| plain(*byte) || b"._@+-".contains(byte);
        if framed && bytes.len() <= USER_NAME_BYTES_MAX && bytes.iter().all(inside) {
            Ok(Self(text))
        } else {
            Err(BadUserName)
        }
    }
}

impl FromStr for UserName {
    type Err = BadUserName;

    fn from_str(text: &str) -> Result<Self, BadUserName> {
        text.to_owned().try_into()
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a record: who writes one writes all of it"
)]
pub struct User {
    /// The name, which is also the key.
    pub name: UserName,
    /// What the password is checked against; absent: see [`User::comes_by_certificate`].
    pub password: Option<PasswordHash>,
    /// Raised by one with each new password; logins of an earlier one are over. See [`User::set_password`].
    pub password_version: u64,
    /// What the user was given; at most [`crate::limits::GRANTS_MAX`].
    pub grants: Vec<Grant>,
    /// Whether the user is kept, and may do nothing.
    pub disabled: bool,
    /// When it was made, in unix seconds.
    pub created_unix_s: u64,
    /// When it was last changed, in unix seconds.
    pub changed_unix_s: u64,
}

impl User {
    /// A user who has just been made.
    #[must_use]
    pub fn new(
        name: UserName,
        password: Option<PasswordHash>,
        grants: Vec<Grant>,
        unix_now: u64,
    ) -> Self {
        Self {
            name,
            password,
            password_version: 0,
            grants,
            disabled: false,
            created_unix_s: unix_now,
            changed_unix_s: unix_now,
        }
    }

    /// Changes the password, which ends the logins made with the old one.
    pub fn set_password(&mut self, password: Option<PasswordHash>, unix_now: u64) {
        self.password = password;
        self.password_version = self.password_version.saturating_add(1);
        self.changed_unix_s = unix_now;
    }

    /// Whether a certificate that names the user counts. It does where there is no password: nobody is known both ways.
    #[must_use]
    pub const fn comes_by_certificate(&self) -> bool {
        self.password.is_none()
    }

    /// Who the user is, after proof by password; `None` while disabled.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        (!self.disabled).then(|| Principal {
            name: self.name.to_string(),
            how: How::Local,
            grants: self.grants.clone(),
        })
    }
}
