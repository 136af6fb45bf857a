//! The token in a Proxy-Authorization field, in each of the forms that SAP's clients and curl send it.
//!
//! Whether the token is any good is judged elsewhere.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Refusal;
use crate::limits::TOKEN_BYTES_MAX;
use crate::wire::all;

/// Standard alphabet, padded or not: clients differ.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A caller's token, not yet verified. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyCredentials<'a> {
    token: Cow<'a, str>,
}

impl fmt::Debug for ProxyCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredentials(secret)")
    }
}

impl<'a> ProxyCredentials<'a> {
    /// Reads the value of a Proxy-Authorization field: `Bearer <token>`, or `Basic` with the base64 form of `<token>:` or
    /// of `<token>` (the token as user name with an empty password). The scheme may be in any case.
    ///
    /// # Errors
    /// [`Refusal::TokenMalformed`] or [`Refusal::TokenTooLarge`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Refusal> {
        let space = memchr::memchr(b' ', value).ok_or(Refusal::TokenMalformed)?;
        let (scheme, rest) = value
            .split_at_checked(space)
            .ok_or(Refusal::TokenMalformed)?;
        let credentials = rest.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Ok(Self {
                token: Cow::Borrowed(check_token(credentials)?),
            });
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(Refusal::TokenMalformed);
        }
        // Four characters of base64 carry three bytes: what is longer than this cannot hold a token and a colon.
        if credentials.len() > (TOKEN_BYTES_MAX + 1).div_ceil(3) * 4 {
            return Err(Refusal::TokenTooLarge);
        }
        let Ok(mut decoded) = BASE64.decode(credentials) else {
            return Err(Refusal::TokenMalformed);
        };
        if decoded.last() == Some(&b':') {
            decoded.pop();
        }
        check_token(&decoded)?;
        match String::from_utf8(decoded) {
            Ok(token) => Ok(Self {
                token: Cow::Owned(token),
            }),
            Err(_) => Err(Refusal::TokenMalformed),
        }
    }

    /// The token: not empty, at most [`TOKEN_BYTES_MAX`] bytes of RFC 6750's `b64token`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token, taken out.
    #[must_use]
    pub fn into_token(self) -> Cow<'a, str> {
        self.token
    }
}

/// Checks that bytes may be a token (RFC 6750, section 2.1: `b64token`); a colon is none of its characters.
pub(crate) fn check_token(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::TokenTooLarge);
    }
    // Ranges instead of a table, and no branches: a token is hundreds of bytes on every request, and so many are
    // compared at once.
    let is_b64token = |byte: u8| {
        ((byte | 0x20).wrapping_sub(b'a') < 26)
            | (byte.wrapping_sub(b'-') <= b'9' - b'-')
            | (byte == b'_')
            | (byte == b'~')
            | (byte == b'+')
            | (byte == b'=')
    };
    if bytes.is_empty() || !all(bytes, is_b64token) {
        return Err(Refusal::TokenMalformed);
    }
    match core::str::from_utf8(bytes) {
        Ok(token) => Ok(token),
        Err(_) => Err(Refusal::TokenMalformed),
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    fn token(value: &str) -> Result<String, Refusal> {
        ProxyCredentials::parse(value.as_bytes()).map(|c| c.token().to_string())
    }

    #[test]
    fn of_all_bytes_only_those_of_a_b64token_stand_in_a_token() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            assert_eq!(
                check_token(&[b'a', byte, b'b']).is_ok(),
                allowed,
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn a_bearer_token_is_taken_as_it_stands() {
        assert_eq!(token("Bearer abc.def-_~+/="), Ok("abc.def-_~+/=".into()));
        assert_eq!(token("bEARER  abc"), Ok("abc".into()));
    }

    #[test]
    fn basic_carries_the_token_as_user_name_with_an_empty_password() {
        // "abc.def:" and "abc.def" in base64 (RFC 4648, section 4), with and without padding.
        assert_eq!(token("Basic YWJjLmRlZjo="), Ok("abc.def".into()));
        assert_eq!(token("Basic YWJjLmRlZjo"), Ok("abc.def".into()));
        assert_eq!(token("basic YWJjLmRlZg=="), Ok("abc.def".into()));
    }

    #[test]
    fn a_password_is_refused() {
        // "abc:pw" and "abc::"
        assert_eq!(token("Basic YWJjOnB3"), Err(Refusal::TokenMalformed));
        assert_eq!(token("Basic YWJjOjo="), Err(Refusal::TokenMalformed));
    }

    #[test]
    fn s03_what_is_no_token_is_refused() {
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "abc",
            "Digest abc",
            "Bearer a b",
            "Bearer a\tb",
            "Bearer a,b",
            "Basic !!",
            "Basic Og==",
        ] {
            assert_eq!(token(bad), Err(Refusal::TokenMalformed), "{bad:?}");
        }
        assert_eq!(
            ProxyCredentials::parse(b"Bearer \xff"),
            Err(Refusal::TokenMalformed)
        );
    }

    #[test]
    fn s03_the_longest_token_passes_and_one_byte_more_does_not() {
        let longest = "t".repeat(TOKEN_BYTES_MAX);
        assert_eq!(token(&format!("Bearer {longest}")), Ok(longest.clone()));
        assert_eq!(
            token(&format!("Bearer {longest}t")),
            Err(Refusal::TokenTooLarge)
        );
        let basic = |text: String| format!("Basic {}", BASE64.encode(text));
        assert_eq!(token(&basic(format!("{longest}:"))), Ok(longest.clone()));
        assert_eq!(
            token(&basic(format!("{longest}t:"))),
            Err(Refusal::TokenTooLarge)
        );
        assert_eq!(
            token(&basic("t".repeat(10 * 1024 * 1024))),
            Err(Refusal::TokenTooLarge)
        );
    }

    #[test]
    fn s10_credentials_are_never_printed() {
        let text = format!("{:?}", ProxyCredentials::parse(b"Bearer canary").unwrap());
        assert!(!text.contains("canary"));
    }
}
