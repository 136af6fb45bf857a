//! Compact JWS (RFC 7515, section 7.1): three parts, one signature.
//!
//! Gives back the payload's bytes once a key has confirmed them. Headers that point to keys
//! (`jku`, `jwk`, `x5u`, `x5c`) are never looked at. What the payload means is left to `claims`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Algorithm;
use crate::error::{AlgorithmProblem, Malformed, Part, TokenError, quoted};
use crate::json::{self, Json, JsonError, Object};
use crate::keys::KeySet;
use crate::limits::KID_BYTES_MAX;

/// Checks the signature and gives back the payload.
///
/// The order is chosen so that an attacker's text costs little: shape, header, key, and only then
/// the signature; the payload is decoded last. The caller has checked the size.
pub(crate) fn open(
    token: &str,
    algorithms: &[Algorithm],
    keys: &KeySet,
) -> Result<Vec<u8>, TokenError> {
    let parts = Parts::divide(token)?;
    let header = object(&decode(parts.header, Part::Header)?, Part::Header)?;
    //= RFC 7515, section 4.1.11
    //# If any of the listed extension Header Parameters are not understood and supported by the
    //# recipient, then the JWS is invalid.
    // None is understood here, so the mere presence decides.
    if header.contains_key("crit") {
        return Err(TokenError::Malformed(Malformed::Critical));
    }
    let algorithm = algorithm(&header, algorithms)?;
    let kid = kid(&header)?;
    let signature = decode(parts.signature, Part::Signature)?;
    keys.check(algorithm, kid, parts.signed.as_bytes(), &signature)?;
    decode(parts.payload, Part::Claims)
}

/// Reads a part as one JSON object with distinct members.
pub(crate) fn object(bytes: &[u8], part: Part) -> Result<Object, TokenError> {
    json::object(bytes).map_err(|error| {
        TokenError::Malformed(match error {
            JsonError::Syntax(detail) => Malformed::Json(part, detail),
            JsonError::DuplicateKey(name) => Malformed::DuplicateKey(part, name),
            JsonError::NotAnObject => Malformed::NotAnObject(part),
        })
    })
}

struct Parts<'t> {
    /// What the signature covers: header, dot, payload, as they were sent.
    signed: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn divide(token: &'t str) -> Result<Self, TokenError> {
        let divided = token
            .rsplit_once('.')
            .and_then(|(signed, signature)| Some((signed, signature, signed.split_once('.')?)));
        match divided {
            Some((signed, signature, (header, payload))) if !payload.contains('.') => Ok(Self {
                signed,
                header,
                payload,
                signature,
            }),
            // RFC 7516, section 3.1: an encrypted token has five parts.
            _ if token.bytes().filter(|byte| *byte == b'.').count() == 4 => {
                Err(TokenError::Malformed(Malformed::Encrypted))
            }
            _ => Err(TokenError::Malformed(Malformed::Parts)),
        }
    }
}

/// Strict base64url: no padding, no other characters, no spare bits, so one text for one value.
/// Which character broke it helps nobody: the text is a machine's.
fn decode(text: &str, part: Part) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_which| TokenError::Malformed(Malformed::Base64(part)))
}

fn algorithm(header: &Object, configured: &[Algorithm]) -> Result<Algorithm, TokenError> {
    let name = header
        .get("alg")
        .and_then(Json::text)
        .ok_or(TokenError::Malformed(Malformed::AlgorithmName))?;
    configured
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == name)
        .ok_or_else(|| TokenError::Algorithm(AlgorithmProblem::NotConfigured(quoted(name))))
}

/// The key's id: compared with ids of the set and used for nothing else, so no text is dangerous.
fn kid(header: &Object) -> Result<Option<&str>, TokenError> {
    match header.get("kid") {
        None => Ok(None),
        Some(kid) => kid
            .text()
            .filter(|kid| kid.len() <= KID_BYTES_MAX)
            .map(Some)
            .ok_or(TokenError::Malformed(Malformed::KeyId)),
    }
}

#[cfg(test)]
mod tests;
