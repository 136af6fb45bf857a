//! What the claims say about the caller (RFC 7519, section 4.1).
//!
//! Reads claims whose signature has been checked, compares them with the settings and the time of
//! day, and leaves a `Caller`. Claims nobody asked for are ignored.

use core::fmt;

use crate::error::{AudienceProblem, Malformed, SubaccountProblem, TokenError, quoted};
use crate::json::{Json, Object};
use crate::keys::KeySet;
use crate::limits::{LEEWAY_S_MAX, NAME_BYTES_MAX, SUBACCOUNT_CHARS_MAX};
use crate::verify::{self, Settings};

/// Who asks: proof that a token of a configured issuer was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant, 1 to 128 characters of `[A-Za-z0-9._-]`.
    pub subaccount: String,
    /// The application: the first of `client_id`, `cid`, `azp` and `sub` that is present.
    pub client: String,
    /// The user behind the application, if the token names one other than the client: the first of
    /// `user_name`, `email`, `mail`, `user_uuid` and `sub`.
    pub subject: Option<String>,
    /// `exp`, in unix seconds: from then on the token is over (verification allows the leeway).
    pub expires: u64,
}

/// What a verified token says, for those who need other claims than a [`Caller`] has: proof that signature, issuer,
/// audience and times are right.
#[derive(Clone)]
pub struct Claims {
    members: Object,
    expires: u64,
}

impl Claims {
    /// Verifies `token` with `keys` as [`crate::Verifier::verify`] does; asks for neither client nor subaccount.
    ///
    /// # Errors
    /// The first thing found wrong, in this order: size, shape, algorithm, key and signature, issuer, audience, times.
    pub fn verified(
        token: &str,
        settings: &Settings,
        keys: &KeySet,
        unix_now: u64,
    ) -> Result<Self, TokenError> {
        let members = verify::signed(token, settings, keys)?;
        let expires = for_us(&members, settings, unix_now)?;
        Ok(Self { members, expires })
    }

    /// `exp`, in unix seconds.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// The text of `claim`, if it is 1 to [`NAME_BYTES_MAX`] bytes without control characters. A claim that begins
    /// with a slash is a path into nested objects.
    #[must_use]
    pub fn name(&self, claim: &str) -> Option<&str> {
        find(&self.members, claim)?
            .text()
            .filter(|text| is_name(text))
    }

    /// The texts of `claim`, a text or a list; what else stands in the list is passed over. Empty without such a
    /// claim. A path as above.
    #[must_use]
    pub fn texts(&self, claim: &str) -> Vec<&str> {
        match find(&self.members, claim) {
            Some(Json::Text(one)) => vec![one],
            Some(Json::List(list)) => list.iter().filter_map(Json::text).collect(),
            Some(Json::Null | Json::Bool | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
        }
    }
}

/// Shows no claim: they are about people.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Reads the caller out of `claims`, or says what is wrong with them.
pub(crate) fn caller(
    claims: &Object,
    settings: &Settings,
    clients: Option<&[String]>,
    unix_now: u64,
) -> Result<Caller, TokenError> {
    let expires = for_us(claims, settings, unix_now)?;
    let client = first_name(claims, &CLIENT_CLAIMS)?.ok_or(TokenError::Malformed(
        Malformed::MissingClaim("`client_id`, `cid`, `azp` or `sub`"),
    ))?;
    if let Some(clients) = clients {
        allowed(claims, client, clients)?;
    }
    let subject = first_name(claims, &SUBJECT_CLAIMS)?.filter(|subject| *subject != client);
    let subaccount = subaccount(claims, &settings.subaccount_claims)?;
    Ok(Caller {
        subaccount: subaccount.to_owned(),
        client: client.to_owned(),
        subject: subject.map(ToOwned::to_owned),
        expires,
    })
}

/// Checks issuer, audience and times, gives back `exp`.
fn for_us(claims: &Object, settings: &Settings, unix_now: u64) -> Result<u64, TokenError> {
    issuer(claims, &settings.issuers)?;
    audience(claims, &settings.audiences)?;
    times(claims, settings.leeway_s.min(LEEWAY_S_MAX), unix_now)
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

const CLIENT_CLAIMS: [&str; 4] = ["client_id", "cid", "azp", "sub"];
const SUBJECT_CLAIMS: [&str; 5] = ["user_name", "email", "mail", "user_uuid", "sub"];

fn issuer(claims: &Object, issuers: &[String]) -> Result<(), TokenError> {
    let issuer = claims
        .get("iss")
        .and_then(Json::text)
        .ok_or(TokenError::Issuer(None))?;
    if issuers.iter().any(|known| known == issuer) {
        Ok(())
    } else {
        Err(TokenError::Issuer(Some(quoted(issuer))))
    }
}

fn audience(claims: &Object, audiences: &[String]) -> Result<(), TokenError> {
    let absent = TokenError::Audience(AudienceProblem::Absent);
    //= RFC 7519, section 4.1.3
    //# In the general case, the "aud" value is an array of case-sensitive strings [...]. In the
    //# special case when the JWT has one audience, the "aud" value MAY be a single
    //# case-sensitive string
    let named: Vec<&str> = match claims.get("aud") {
        Some(Json::Text(one)) => vec![one],
        Some(Json::List(list)) => list
            .iter()
            .map(Json::text)
            .collect::<Option<_>>()
            .ok_or_else(|| absent.clone())?,
        Some(Json::Null | Json::Bool | Json::Number(_) | Json::Object(_)) | None => {
            return Err(absent);
        }
    };
    if named
        .iter()
        .any(|name| audiences.iter().any(|known| known == name))
    {
        return Ok(());
    }
    Err(named.first().map_or(absent, |other| {
        TokenError::Audience(AudienceProblem::Other(quoted(other)))
    }))
}

/// Checks `exp` and `nbf`, gives back `exp`.
fn times(claims: &Object, leeway_s: u64, unix_now: u64) -> Result<u64, TokenError> {
    let exp = seconds(claims, "exp", "`exp`")?
        .ok_or(TokenError::Malformed(Malformed::MissingClaim("`exp`")))?;
    //= RFC 7519, section 4.1.4
    //# the expiration time on or after which the JWT MUST NOT be accepted for processing
    if unix_now >= exp.saturating_add(leeway_s) {
        return Err(TokenError::Expired { exp });
    }
    if let Some(nbf) = seconds(claims, "nbf", "`nbf`")?
        && unix_now.saturating_add(leeway_s) < nbf
    {
        return Err(TokenError::NotYetValid { nbf });
    }
    Ok(exp)
}

fn seconds(claims: &Object, claim: &str, name: &'static str) -> Result<Option<u64>, TokenError> {
    let unusable = TokenError::Malformed(Malformed::Claim(name, "a number of unix seconds"));
    match claims.get(claim) {
        None => Ok(None),
        Some(Json::Number(number)) => number.seconds().map(Some).ok_or(unusable),
        Some(Json::Null | Json::Bool | Json::Text(_) | Json::List(_) | Json::Object(_)) => {
            Err(unusable)
        }
    }
}

/// The first of `names` that is present; it must be a text fit for logs and audit records.
fn first_name<'c>(
    claims: &'c Object,
    names: &[&'static str],
) -> Result<Option<&'c str>, TokenError> {
    for name in names {
        match claims.get(*name) {
            None | Some(Json::Null) => {}
            Some(value) => {
                return value.text().filter(|text| is_name(text)).map(Some).ok_or(
                    TokenError::Malformed(Malformed::Claim(
                        name,
                        "a text of 1 to 256 bytes without control characters",
                    )),
                );
            }
        }
    }
    Ok(None)
}

/// The client must be on the list, and so must `azp` when it names another.
fn allowed(claims: &Object, client: &str, clients: &[String]) -> Result<(), TokenError> {
    let refuse = |name: &str| Err(TokenError::Audience(AudienceProblem::Client(quoted(name))));
    let listed = |name: &str| clients.iter().any(|known| known == name);
    if !listed(client) {
        return refuse(client);
    }
    match claims.get("azp") {
        None => Ok(()),
        Some(azp) => match azp.text() {
            Some(azp) if listed(azp) => Ok(()),
            other => refuse(other.unwrap_or_default()),
        },
    }
}

/// The first configured claim that is present decides; a bad one is not passed over.
fn subaccount<'c>(claims: &'c Object, names: &[String]) -> Result<&'c str, TokenError> {
    for name in names {
        if let Some(value) = find(claims, name) {
            return value
                .text()
                .filter(|text| is_subaccount(text))
                .ok_or_else(|| TokenError::Subaccount(SubaccountProblem::Unusable(quoted(name))));
        }
    }
    Err(TokenError::Subaccount(SubaccountProblem::Absent))
}

/// A claim by its name, or by a path of names that begins with a slash (`/ext_attr/zdn`).
fn find<'c>(claims: &'c Object, name: &str) -> Option<&'c Json> {
    let Some(path) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let mut steps = path.split('/');
    let mut value = claims.get(steps.next()?)?;
    for step in steps {
        let Json::Object(members) = value else {
            return None;
        };
        value = members.get(step)?;
    }
    Some(value)
}

fn is_subaccount(text: &str) -> bool {
    (1..=SUBACCOUNT_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests;
