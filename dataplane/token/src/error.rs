//! Why a token is refused.
//!
//! One variant for each `token-*` refusal; what is inside serves the operator's log. The text for
//! the caller is the gateway's, and says less.

use core::fmt;

use crate::limits::QUOTED_CHARS_MAX;

/// Why a token does not identify a caller. Each variant is one refusal, see [`TokenError::reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: each variant is one refusal of the closed list"
)]
pub enum TokenError {
    /// There is no token at all.
    Missing,
    /// The token is longer than the limit; nothing of it was read.
    TooLarge {
        /// Bytes of the token.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The token is not a compact JWS with JSON claims as RFC 7519 wants them.
    Malformed(Malformed),
    /// The token's algorithm is not one it may use.
    Algorithm(AlgorithmProblem),
    /// No configured key confirms the signature.
    Signature(SignatureProblem),
    /// The token's time is over.
    Expired {
        /// Its `exp`, in unix seconds.
        exp: u64,
    },
    /// The token's time has not come.
    NotYetValid {
        /// Its `nbf`, in unix seconds.
        nbf: u64,
    },
    /// `iss` is absent (`None`) or none of the configured issuers.
    Issuer(Option<String>),
    /// The token is for someone else.
    Audience(AudienceProblem),
    /// No configured claim holds a usable subaccount.
    Subaccount(SubaccountProblem),
}

/// What keeps a text from being a JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Five parts: an encrypted token (JWE), for which there is no key here.
    Encrypted,
    /// Not three parts between dots.
    Parts,
    /// A part is not base64url without padding, in its only spelling.
    Base64(Part),
    /// A part is not JSON.
    Json(Part, String),
    /// A part is JSON, and not an object.
    NotAnObject(Part),
    /// An object names a member twice (RFC 7519, section 4: refuse, or readers disagree).
    DuplicateKey(Part, String),
    /// The header has no `alg` text.
    AlgorithmName,
    /// The header's `kid` is not a text of at most [`crate::limits::KID_BYTES_MAX`] bytes.
    KeyId,
    /// The header has `crit`: it asks for an extension, and there is none here.
    Critical,
    /// A claim that must be there is not.
    MissingClaim(&'static str),
    /// A claim is there, and not of the kind it must be.
    Claim(&'static str, &'static str),
}

/// A part of a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: RFC 7515, section 7.1"
)]
pub enum Part {
    /// Before the first dot.
    Header,
    /// Between the dots.
    Claims,
    /// After the second dot.
    Signature,
}

/// What is wrong with the token's algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlgorithmProblem {
    /// It is not in the configured list.
    NotConfigured(String),
    /// It is configured; the key the token names is of another type or for another algorithm.
    KeyMismatch(crate::Algorithm),
}

/// Why no key confirms the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureProblem {
    /// No key has the token's `kid`.
    UnknownKey(String),
    /// The token names no key, and there is none for its algorithm.
    NoKey(crate::Algorithm),
    /// The key (or each key tried) says the bytes were not signed with it.
    Wrong,
}

/// For whom the token is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudienceProblem {
    /// `aud` is absent.
    Absent,
    /// `aud` names none of the configured audiences; holds the first it names.
    Other(String),
    /// The audience is right; the client is not one of the allowed clients.
    Client(String),
}

/// Why there is no subaccount.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubaccountProblem {
    /// None of the configured claims is present.
    Absent,
    /// The named claim is not a text of 1 to 128 characters of `[A-Za-z0-9._-]`.
    Unusable(String),
}

impl TokenError {
    /// Every reason, in the order of the variants.
    pub const REASONS: [&'static str; 10] = [
        "token-missing",
        "token-too-large",
        "token-malformed",
        "token-algorithm",
        "token-signature",
        "token-expired",
        "token-not-yet-valid",
        "token-issuer",
        "token-audience",
        "token-subaccount",
    ];

    /// The refusal's name: the `adit-refusal` header and the metric's label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "token-missing",
            Self::TooLarge { .. } => "token-too-large",
            Self::Malformed(_) => "token-malformed",
            Self::Algorithm(_) => "token-algorithm",
            Self::Signature(_) => "token-signature",
            Self::Expired { .. } => "token-expired",
            Self::NotYetValid { .. } => "token-not-yet-valid",
            Self::Issuer(_) => "token-issuer",
            Self::Audience(_) => "token-audience",
            Self::Subaccount(_) => "token-subaccount",
        }
    }
}

impl core::error::Error for TokenError {}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no token was sent; send a JWT of a configured issuer"),
            Self::TooLarge { bytes, limit } => write!(
                f,
                "the token has {bytes} bytes and at most {limit} are read; ask the issuer for \
                 fewer scopes or raise the limit"
            ),
            Self::Malformed(problem) => problem.fmt(f),
            Self::Algorithm(problem) => problem.fmt(f),
            Self::Signature(problem) => problem.fmt(f),
            Self::Expired { exp } => write!(
                f,
                "the token expired at unix time {exp}; fetch a new one, and compare the clocks"
            ),
            Self::NotYetValid { nbf } => write!(
                f,
                "the token is valid from unix time {nbf}; compare the clocks of issuer and gateway"
            ),
            Self::Issuer(None) => f.write_str("claim `iss` is missing or not a text"),
            Self::Issuer(Some(issuer)) => write!(
                f,
                "issuer {issuer:?} is none of the configured ones; add it to `issuers` if it is \
                 yours"
            ),
            Self::Audience(problem) => problem.fmt(f),
            Self::Subaccount(problem) => problem.fmt(f),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encrypted => f.write_str(
                "the token is encrypted (five parts); only signed tokens can be checked",
            ),
            Self::Parts => f.write_str("the token is not three parts divided by dots"),
            Self::Base64(part) => write!(
                f,
                "the token's {part} is not base64url (no padding, no white space, no spare bits)"
            ),
            Self::Json(part, detail) => write!(f, "the token's {part} is not JSON: {detail}"),
            Self::NotAnObject(part) => write!(f, "the token's {part} is not a JSON object"),
            Self::DuplicateKey(part, key) => {
                write!(f, "the token's {part} names {key:?} twice")
            }
            Self::AlgorithmName => f.write_str("the token's header has no text `alg`"),
            Self::KeyId => f.write_str("the token's `kid` is not a short text"),
            Self::Critical => {
                f.write_str("the token's header has `crit`; no extension is understood here")
            }
            Self::MissingClaim(claim) => write!(f, "the token has no claim {claim}"),
            Self::Claim(claim, kind) => write!(f, "claim {claim} is not {kind}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

impl fmt::Display for AlgorithmProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured(name) => write!(
                f,
                "algorithm {name:?} is none of the configured `algorithms`"
            ),
            Self::KeyMismatch(algorithm) => {
                write!(f, "the key the token names is not one for {algorithm}")
            }
        }
    }
}

impl fmt::Display for SignatureProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(kid) => write!(
                f,
                "no key has the id {kid:?}; load the issuer's current JWKS"
            ),
            Self::NoKey(algorithm) => write!(
                f,
                "the token names no key and there is none for {algorithm}; load the issuer's JWKS"
            ),
            Self::Wrong => f.write_str("the signature does not fit the token and the key"),
        }
    }
}

impl fmt::Display for AudienceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("claim `aud` is missing or not a text or list of texts"),
            Self::Other(audience) => write!(
                f,
                "audience {audience:?} is none of the configured ones; add it to `audiences` if \
                 it means this gateway"
            ),
            Self::Client(client) => write!(f, "client {client:?} is none of the allowed clients"),
        }
    }
}

impl fmt::Display for SubaccountProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(
                "none of the configured subaccount claims is in the token; name the right one in \
                 `subaccount_claims`",
            ),
            Self::Unusable(claim) => write!(
                f,
                "claim {claim:?} is not a text of 1 to 128 letters, digits, dots, underscores or \
                 dashes"
            ),
        }
    }
}

/// The front of a foreign string, short enough to repeat in a message.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_own_reason() {
        let errors = [
            TokenError::Missing,
            TokenError::TooLarge { bytes: 2, limit: 1 },
            TokenError::Malformed(Malformed::Parts),
            TokenError::Algorithm(AlgorithmProblem::NotConfigured("none".to_owned())),
            TokenError::Signature(SignatureProblem::Wrong),
            TokenError::Expired { exp: 1 },
            TokenError::NotYetValid { nbf: 1 },
            TokenError::Issuer(None),
            TokenError::Audience(AudienceProblem::Absent),
            TokenError::Subaccount(SubaccountProblem::Absent),
        ];
        let reasons: Vec<_> = errors.iter().map(TokenError::reason).collect();
        assert_eq!(reasons, TokenError::REASONS);
    }

    #[test]
    fn a_foreign_string_is_repeated_up_to_the_limit_and_no_further() {
        let fits = "ä".repeat(QUOTED_CHARS_MAX);
        assert_eq!(quoted(&fits), fits);
        assert_eq!(quoted(&format!("{fits}b")), fits);
    }
}
