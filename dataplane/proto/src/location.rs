//! What a location ID may look like: the same at both doors, in the hello and on the road.
//!
//! Which locations exist is not known here.

use core::fmt;

use crate::limits::LOCATION_BYTES_MAX;

/// Why a text is no location ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocationError {
    /// Longer than [`LOCATION_BYTES_MAX`].
    TooLong,
    /// A character outside the URI-safe ones.
    Character,
}

impl fmt::Display for LocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the location ID is longer than {LOCATION_BYTES_MAX} bytes; shorten it"),
            Self::Character => {
                f.write_str("the location ID contains a character that is not URI-safe; use letters, digits and -._~")
            }
        }
    }
}

impl core::error::Error for LocationError {}

/// Checks that `text` may be a location ID: URI-safe characters (RFC 3986 `pchar` without percent-encoding), at most
/// [`LOCATION_BYTES_MAX`] bytes. Empty is the default location.
///
/// # Errors
/// What is wrong with it.
pub fn check_location(text: &str) -> Result<(), LocationError> {
    if text.len() > LOCATION_BYTES_MAX {
        return Err(LocationError::TooLong);
    }
    if text.bytes().all(is_uri_safe) {
        Ok(())
    } else {
        Err(LocationError::Character)
    }
}

const fn is_uri_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')'
        )
        || matches!(byte, b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_location_is_empty() {
        assert_eq!(check_location(""), Ok(()));
    }

    #[test]
    fn the_longest_location_passes_and_one_byte_more_does_not() {
        let longest = "x".repeat(LOCATION_BYTES_MAX);
        assert_eq!(check_location(&longest), Ok(()));
        assert_eq!(
            check_location(&(longest + "x")),
            Err(LocationError::TooLong)
        );
    }

    #[test]
    fn spaces_quotes_slashes_and_control_bytes_are_refused() {
        for bad in [
            "a b", "a\"b", "a/b", "a\nb", "a\0", "größe", "%20", "a\\b", "<a>",
        ] {
            assert_eq!(
                check_location(bad),
                Err(LocationError::Character),
                "{bad:?}"
            );
        }
        for good in ["loc-1", "DE.berlin_2~a", "a:b@c"] {
            assert_eq!(check_location(good), Ok(()), "{good}");
        }
    }
}
