//! Secrets that whoever holds them is believed by: logins, API tokens, the one-time setup token.
//!
//! A secret is shown once and then known by its hash only. What the store keeps beside the hash stands here too; the
//! randomness and the clock are the caller's.

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::authorize::narrowed;
use crate::principal::{How, Principal};
use crate::role::Grant;
use crate::user::{User, UserName};

/// Bytes of randomness in a secret: 256 bits cannot be guessed, so a plain hash is enough at rest.
pub const SECRET_BYTES: usize = 32;

/// What a secret is for; its text begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: each has its record"
)]
pub enum Kind {
    /// Somebody has logged in: [`Login`].
    Login,
    /// For programs: [`ApiToken`].
    ApiToken,
    /// For the first user: [`Setup`].
    Setup,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Login, Self::ApiToken, Self::Setup];

    /// How its secrets begin.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Login => "adit_s_",
            Self::ApiToken => "adit_t_",
            Self::Setup => "adit_setup_",
        }
    }
}

/// A secret in memory. `Debug` shows its kind only; [`Secret::reveal`] is the one way to its text.
#[derive(Clone)]
pub struct Secret {
    kind: Kind,
    bytes: [u8; SECRET_BYTES],
}

impl Secret {
    /// A secret of these random bytes.
    #[must_use]
    pub const fn new(kind: Kind, random: [u8; SECRET_BYTES]) -> Self {
        Self {
            kind,
            bytes: random,
        }
    }

    /// A secret with randomness of the system.
    ///
    /// # Errors
    /// When the system has none.
    pub fn fresh(kind: Kind, random: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        let mut bytes = [0; SECRET_BYTES];
        random.fill(&mut bytes)?;
        Ok(Self::new(kind, bytes))
    }

    /// Reads a secret. There is one spelling: prefix, then 43 characters of base64url.
    ///
    /// # Errors
    /// [`NotASecret`] for anything else; the text is not repeated.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let (kind, rest) = Kind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
            .ok_or(NotASecret)?;
        let mut bytes = [0; SECRET_BYTES];
        let read = URL_SAFE_NO_PAD.decode_slice(rest, &mut bytes);
        if read == Ok(SECRET_BYTES) {
            Ok(Self { kind, bytes })
        } else {
            Err(NotASecret)
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The text, to be shown once to whom it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = self.kind.prefix().to_owned();
        URL_SAFE_NO_PAD.encode_string(self.bytes, &mut text);
        text
    }

    /// What is stored and looked up instead of it: SHA-256 of the text.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        let mut hash = [0; 32];
        for (to, from) in hash
            .iter_mut()
            .zip(digest(&SHA256, self.reveal().as_bytes()).as_ref())
        {
            *to = *from;
        }
        SecretHash(hash)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.kind)
    }
}

/// The text is no secret of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASecret;

impl fmt::Display for NotASecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not a token of adit; copy it whole, from `adit_` to the end")
    }
}

impl core::error::Error for NotASecret {}

/// A secret's hash: 64 lower-case hexadecimal digits in text, JSON and keys of the store. Worth nothing to who sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash([u8; 32]);

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.to_string()
    }
}

impl FromStr for SecretHash {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        let mut digits = text.bytes();
        for byte in &mut hash {
            let mut next = || digits.next().and_then(digit).ok_or(NotASecret);
            *byte = next()? << 4 | next()?;
        }
        digits
            .next()
            .map_or(Ok(Self(hash)), |_more| Err(NotASecret))
    }
}

impl TryFrom<String> for SecretHash {
    type Error = NotASecret;

    fn try_from(text: String) -> Result<Self, NotASecret> {
        text.parse()
    }
}

/// How somebody logged in, so where the secret is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "closed by nature")]
pub enum LoginKind {
    /// In a browser, as a cookie.
    Browser,
    /// By the command line, in a file of its user.
    CommandLine,
}

/// That a user has logged in; kept under the secret's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a record: who writes one writes all of it"
)]
pub struct Login {
    /// Who.
    pub user: UserName,
    /// The user's `password_version` at that time.
    pub password_version: u64,
    /// Where the secret is kept.
    pub kind: LoginKind,
    /// When, in unix seconds.
    pub created_unix_s: u64,
    /// From when on it is over, in unix seconds.
    pub expires_unix_s: u64,
}

impl Login {
    /// A login of `user` that lasts `life_s` seconds.
    #[must_use]
    pub fn new(user: &User, kind: LoginKind, unix_now: u64, life_s: u64) -> Self {
        Self {
            user: user.name.clone(),
            password_version: user.password_version,
            kind,
            created_unix_s: unix_now,
            expires_unix_s: unix_now.saturating_add(life_s),
        }
    }

    /// Who it is, with what `user` holds now. `None` when it is over, of another user or password, or the user is
    /// disabled.
    #[must_use]
    pub fn principal(&self, user: &User, unix_now: u64) -> Option<Principal> {
        let counts = self.user == user.name
            && self.password_version == user.password_version
            && unix_now < self.expires_unix_s;
        user.principal().filter(|_| counts)
    }
}

/// A user's token for programs; kept under the secret's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a record: who writes one writes all of it"
)]
pub struct ApiToken {
    /// Whose.
    pub user: UserName,
    /// What its owner calls it: see [`is_label`].
    pub label: String,
    /// What it may do, as far as the user may still do it; absent: all that the user may do.
    pub grants: Option<Vec<Grant>>,
    /// When it was made, in unix seconds.
    pub created_unix_s: u64,
    /// From when on it is over, in unix seconds; at most [`crate::limits::API_TOKEN_LIFE_S_MAX`] later, whatever the
    /// record says.
    pub expires_unix_s: u64,
}

impl ApiToken {
    /// Who it is, with what `user` holds now. `None` when it is over, of another user, or the user is disabled.
    #[must_use]
    pub fn principal(&self, user: &User, unix_now: u64) -> Option<Principal> {
        let end = self
            .created_unix_s
            .saturating_add(crate::limits::API_TOKEN_LIFE_S_MAX)
            .min(self.expires_unix_s);
        let owner = user
            .principal()
            .filter(|_| self.user == user.name && unix_now < end)?;
        Some(Principal {
            name: owner.name,
            how: How::ApiToken {
                label: self.label.clone(),
            },
            grants: match &self.grants {
                None => owner.grants,
                Some(wanted) => narrowed(&owner.grants, wanted),
            },
        })
    }
}

/// Whether `text` can be an API token's label: 1 to [`crate::limits::LABEL_BYTES_MAX`] bytes, no control characters.
#[must_use]
pub fn is_label(text: &str) -> bool {
    (1..=crate::limits::LABEL_BYTES_MAX).contains(&text.len())
        && !text.chars().any(char::is_control)
}

/// The one-time setup token's record: its hash, and until when it counts. The server removes it with its first user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a record: who writes one writes all of it"
)]
pub struct Setup {
    /// Of the secret.
    pub hash: SecretHash,
    /// When it was made, in unix seconds.
    pub created_unix_s: u64,
    /// From when on it is over, in unix seconds.
    pub expires_unix_s: u64,
}

impl Setup {
    /// Who shows `secret`: [`Principal::setup`], or `None` when it is another secret or over.
    #[must_use]
    pub fn principal(&self, secret: &Secret, unix_now: u64) -> Option<Principal> {
        // Hashes are compared, so how long it takes tells nothing of the secret.
        (secret.kind() == Kind::Setup
            && secret.hash() == self.hash
            && unix_now < self.expires_unix_s)
            .then(Principal::setup)
    }
}
