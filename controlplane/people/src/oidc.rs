//! People of an OIDC issuer: a verified token's groups become grants.
//!
//! Verifying is left to `token`, fetching the issuer's keys from where `discovery` says to the server. Nobody is made from a group that the
//! settings do not name.

mod discovery;

use core::fmt;
use std::collections::BTreeMap;

use adit_token::{Algorithm, Claims, KeySet, Settings, SignatureProblem, TokenError};
use serde::Deserialize;

use crate::principal::{How, Principal};
use crate::role::{BadGrant, Grant};

pub use discovery::{BadDiscovery, Url, document_of, keys_of};

/// Which tokens count, and what their groups are worth.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "settings: who writes them writes all"
)]
pub struct OidcSettings {
    /// Accepted `iss`, compared byte for byte.
    pub issuer: String,
    /// Accepted `aud`.
    pub audience: String,
    /// Tolerated difference of clocks in seconds; cut to 60. Default 60.
    #[serde(default = "leeway")]
    pub leeway_s: u64,
    /// Where the name stands; a name beginning with a slash is a path into objects. Default `sub`, which alone the
    /// issuer promises to be unique and lasting.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// Where the groups stand, a text or a list of texts; a path as above. Default `groups`.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// What a group is worth. Keys are compared byte for byte.
    pub mapping: BTreeMap<String, Vec<Grant>>,
}

impl OidcSettings {
    /// Settings with the defaults.
    #[must_use]
    pub fn new(issuer: &str, audience: &str, mapping: BTreeMap<String, Vec<Grant>>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            leeway_s: leeway(),
            name_claim: name_claim(),
            groups_claim: groups_claim(),
            mapping,
        }
    }
}

/// Why a token gives no principal. Its text is for the log: the caller is told less.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The token does not count.
    Token(TokenError),
    /// The claim that holds the name is absent or not a text fit for records.
    Name,
    /// None of the token's groups is worth anything here.
    NoGrant,
    /// What the token's groups are worth is no list of grants: too many, or `mapping` names a subaccount wrongly.
    Grants(BadGrant),
}

impl Refused {
    /// Whether the token may count with newer keys: it names a key that is not among those, or none fits.
    #[must_use]
    pub const fn wants_newer_keys(&self) -> bool {
        matches!(
            self,
            Self::Token(TokenError::Signature(
                SignatureProblem::UnknownKey(_) | SignatureProblem::NoKey(_)
            ))
        )
    }
}

/// Says who `token` is, verified with `keys` at `unix_now`. Costs one signature check, 20 to 60 us.
///
/// # Errors
/// The first thing found wrong.
pub fn principal(
    token: &str,
    keys: &KeySet,
    unix_now: u64,
    settings: &OidcSettings,
) -> Result<Principal, Refused> {
    let accepted = Settings {
        issuers: vec![settings.issuer.clone()],
        audiences: vec![settings.audience.clone()],
        algorithms: Algorithm::ALL.to_vec(),
        leeway_s: settings.leeway_s,
        ..Settings::default()
    };
    let claims = Claims::verified(token, &accepted, keys, unix_now).map_err(Refused::Token)?;
    let name = claims.name(&settings.name_claim).ok_or(Refused::Name)?;
    let grants: Vec<Grant> = claims
        .texts(&settings.groups_claim)
        .into_iter()
        .filter_map(|group| settings.mapping.get(group))
        .flatten()
        .cloned()
        .collect();
    let grants = Grant::list(grants).map_err(Refused::Grants)?;
    if grants.is_empty() {
        return Err(Refused::NoGrant);
    }
    Ok(Principal {
        name: name.to_owned(),
        how: How::Oidc {
            issuer: settings.issuer.clone(),
        },
        grants,
    })
}

fn leeway() -> u64 {
    adit_token::limits::LEEWAY_S_MAX
}

fn name_claim() -> String {
    "sub".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::Name => {
                f.write_str("the claim `name_claim` names is missing or not a short text")
            }
            Self::NoGrant => f.write_str("none of the token's groups is in `mapping`"),
            Self::Grants(bad) => bad.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}
