//! The closed list of signature algorithms.
//!
//! What is not here cannot be configured: no `none`, no HMAC, no key agreement. Which keys exist
//! is left to `keys`.

use core::fmt;
use core::str::FromStr;

use serde::Deserialize;

/// A signature algorithm that may be configured (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: a new algorithm must be looked at everywhere"
)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256, signature as `r || s`.
    Es256,
    /// EdDSA on Curve25519 (Ed25519).
    EdDsa,
}

impl Algorithm {
    /// Every algorithm, in the order messages list them.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// The name as the JOSE registry spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of [`Algorithm::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm(String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm {:?}; use one of", self.0)?;
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            write!(f, "{} {algorithm}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Reads the exact name: JOSE names are case-sensitive (RFC 7515, section 4.1.1).
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm(crate::error::quoted(name)))
    }
}

impl TryFrom<String> for Algorithm {
    type Error = UnknownAlgorithm;

    fn try_from(name: String) -> Result<Self, UnknownAlgorithm> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn names_outside_the_list_cannot_be_configured() {
        for name in [
            "none", "None", "HS256", "rs256", "RS384", "ES256K", "EdDSA ", "",
        ] {
            let refused = name.parse::<Algorithm>().unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("unknown algorithm {name:?}; use one of RS256, PS256, ES256, EdDSA")
            );
        }
    }
}
