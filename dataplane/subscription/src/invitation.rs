//! Invitations: what an operator hands to a node that shall become one.
//!
//! `adit1.<secret>.<pin>`: 32 secret bytes in base64url, and the SHA-256 of the root's public key in hexadecimal, by
//! which the node knows its control plane before it has roots. The secret is the server's to judge.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::limits::INVITATION_BYTES_MAX;

/// An invitation that has the right form.
#[derive(Clone)]
pub struct Invitation {
    text: String,
    pin: [u8; 32],
}

/// Why a text is no invitation. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvitationError;

impl fmt::Display for InvitationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an invitation: it is one line of the form adit1.<43 characters>.<64 hex digits>; ask for a new one",
        )
    }
}

impl std::error::Error for InvitationError {}

impl Invitation {
    /// Reads one; white space around it does not count.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        if text.len() > INVITATION_BYTES_MAX {
            return Err(InvitationError);
        }
        let mut parts = text.split('.');
        let (Some("adit1"), Some(secret), Some(pin), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvitationError);
        };
        let secret = BASE64_URL_SAFE_NO_PAD
            .decode(secret)
            .map_err(|_not_base64| InvitationError)?;
        if secret.len() != SECRET_BYTES {
            return Err(InvitationError);
        }
        Ok(Self {
            text: text.to_owned(),
            pin: read_pin(pin).ok_or(InvitationError)?,
        })
    }

    /// SHA-256 of the public key at which the server's chain must end.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        self.pin
    }

    /// What the server is shown: for the wire only.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invitation(secret)")
    }
}

fn read_pin(text: &str) -> Option<[u8; 32]> {
    let mut pin = [0_u8; 32];
    let digits = text.as_bytes();
    if digits.len() != 2 * pin.len() {
        return None;
    }
    for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(pin)
}

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(secret: usize, pin: &str) -> String {
        let secret = BASE64_URL_SAFE_NO_PAD.encode(vec![7; secret]);
        format!("adit1.{secret}.{pin}")
    }

    #[test]
    fn an_invitation_is_read_and_not_shown() {
        let pin = "0f".repeat(32);
        let read = Invitation::parse(&format!("  {}\n", text(32, &pin))).unwrap();
        assert_eq!(read.pin(), [0x0f; 32]);
        assert_eq!(read.text(), text(32, &pin));
        assert_eq!(format!("{read:?}"), "Invitation(secret)");
    }

    #[test]
    fn what_is_no_invitation_is_refused_without_being_repeated() {
        let pin = "0f".repeat(32);
        let whole = text(32, &pin);
        for wrong in [
            "",
            "adit1",
            "adit1..",
            &text(31, &pin),
            &text(33, &pin),
            &text(32, &pin[1..]),
            &text(32, &"+f".repeat(32)),
            &text(32, &"0g".repeat(32)),
            &whole.replace("adit1", "adit2"),
            &format!("{whole}."),
            &whole.replace('.', "="),
        ] {
            let error = Invitation::parse(wrong).unwrap_err().to_string();
            assert!(
                wrong.is_empty() || !error.contains(wrong) || wrong == "adit1",
                "{error}"
            );
        }
    }

    #[test]
    fn a_text_of_more_than_invitation_bytes_max_is_not_looked_at() {
        assert_eq!(INVITATION_BYTES_MAX, 256);
        let pin = "0f".repeat(32);
        // Ours: `adit1.`, 43 characters, a dot, 64 digits.
        assert_eq!(text(32, &pin).len(), 114);
        assert!(Invitation::parse(&"a".repeat(INVITATION_BYTES_MAX + 1)).is_err());
    }
}
