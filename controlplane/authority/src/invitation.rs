//! Invitations: what is handed to somebody so that a machine may become a node, once.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::error::InvitationError;
use crate::leaf::hex;

/// An invitation: `adit1.<secret>.<pin>`, the secret as 43 characters of base64url, the pin as 64 hexadecimal digits.
///
/// The secret proves the node to the control plane, the pin the control plane to the node. Who is invited, until when
/// and whether again is left to whoever keeps its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    secret: [u8; 32],
    pin: String,
}

impl Invitation {
    /// Of 32 random bytes and the pin of the issuing root ([`Authority::pin`](crate::Authority::pin)).
    ///
    /// # Errors
    /// [`InvitationError`], when `pin` is not 64 lower-case hexadecimal digits.
    pub fn new(random: [u8; 32], pin: &str) -> Result<Self, InvitationError> {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if pin.len() != 64 || !pin.bytes().all(lower) {
            return Err(InvitationError);
        }
        Ok(Self {
            secret: random,
            pin: pin.to_owned(),
        })
    }

    /// Reads it in its one spelling.
    ///
    /// # Errors
    /// [`InvitationError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvitationError)?;
        let (secret, pin) = rest.split_once('.').ok_or(InvitationError)?;
        Self::new(read_secret(secret)?, pin)
    }

    /// The whole of it, for whoever is invited. A secret.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{PREFIX}{}.{}", self.secret(), self.pin)
    }

    /// The part that the node sends as [`Enrol::token`](adit_proto::control::Enrol::token).
    #[must_use]
    pub fn secret(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }

    /// SHA-256 of the public key of the root at which the control plane's certificate must end.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// SHA-256 of the secret's 32 bytes, 64 hexadecimal digits: what the control plane keeps instead of it.
    #[must_use]
    pub fn hash(&self) -> String {
        hash(&self.secret)
    }

    /// [`hash`](Self::hash) of what a node has sent: the secret's part, or all of the invitation.
    ///
    /// # Errors
    /// [`InvitationError`], when it is neither.
    pub fn hash_of(token: &str) -> Result<String, InvitationError> {
        if token.starts_with(PREFIX) {
            return Self::parse(token).map(|invitation| invitation.hash());
        }
        read_secret(token).map(|secret| hash(&secret))
    }
}

impl fmt::Debug for Invitation {
    /// Shows the pin; the rest is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

fn read_secret(text: &str) -> Result<[u8; 32], InvitationError> {
    // 32 bytes, and nothing is decoded that could not be them.
    if text.len() != 43 {
        return Err(InvitationError);
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(InvitationError)
}

fn hash(secret: &[u8; 32]) -> String {
    hex(digest(&SHA256, secret).as_ref())
}

const PREFIX: &str = "adit1.";

#[cfg(test)]
mod tests {
    use super::*;

    fn pin() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn an_invitation_reads_back_as_itself() {
        let made = Invitation::new([7; 32], &pin()).unwrap();
        assert_eq!(
            made.text(),
            format!(
                "adit1.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc.{}",
                pin()
            )
        );
        assert_eq!(Invitation::parse(&made.text()), Ok(made.clone()));
        assert_eq!(Invitation::hash_of(&made.text()), Ok(made.hash()));
        assert_eq!(Invitation::hash_of(&made.secret()), Ok(made.hash()));
    }

    #[test]
    fn what_is_kept_is_the_hash_of_the_secret() {
        // sha256sum of 32 zero bytes.
        let made = Invitation::new([0; 32], &pin()).unwrap();
        assert_eq!(
            made.hash(),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = Invitation::new([7; 32], &pin()).unwrap().text();
        let secret = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        for bad in [
            String::new(),
            "adit1.".to_owned(),
            good.replace("adit1", "adit2"),
            good.replace("adit1", "ADIT1"),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}."),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.replace("0123", "012G"),
            good.replace("abcdef", "ABCDEF"),
            good.replace(secret, &secret[1..]),
            good.replace(secret, &format!("{secret}=")),
            // The last character carries four bits; the others must be zero.
            good.replace(secret, &secret.replace("Bwc.", "Bwd."))
                .replace("Bwc.", "Bwd."),
            good.replace(secret, &secret.replace('w', "+")),
            good.replace(secret, &secret.replace('w', "ä")),
        ] {
            assert_eq!(Invitation::parse(&bad), Err(InvitationError), "{bad}");
            assert_eq!(Invitation::hash_of(&bad), Err(InvitationError), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let made = Invitation::new([7; 32], &pin()).unwrap();
        let shown = format!("{made:?}");
        assert!(
            !shown.contains("BwcH") && !shown.contains("7, 7"),
            "{shown}"
        );
        assert!(shown.contains(&pin()), "{shown}");
    }
}
