//! How long a token lives, as people write it: a number and a unit.
//!
//! Knows no clock; the time of day is added by `token`.

use std::fmt;
use std::str::FromStr;

/// Longest lifetime, in seconds: a year. A development token that lives longer is a password.
const SECONDS_MAX: u64 = 365 * 24 * 3600;

/// A lifetime of 1 s to 365 d.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(u64);

impl Lifetime {
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spelling = || "write a number and s, m, h or d, up to 365d".to_owned();
        let split = text
            .find(|char: char| !char.is_ascii_digit())
            .ok_or_else(spelling)?;
        let (number, unit) = text.split_at_checked(split).ok_or_else(spelling)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return Err(spelling()),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .filter(|seconds| (1..=SECONDS_MAX).contains(seconds))
            .map(Self)
            .ok_or_else(spelling)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            seconds if seconds % (24 * 3600) == 0 => (seconds / (24 * 3600), "d"),
            seconds if seconds % 3600 == 0 => (seconds / 3600, "h"),
            seconds if seconds % 60 == 0 => (seconds / 60, "m"),
            seconds => (seconds, "s"),
        };
        write!(f, "{number}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, seconds, shown) in [
            ("1s", 1, "1s"),
            ("90s", 90, "90s"),
            ("15m", 900, "15m"),
            ("60m", 3600, "1h"),
            ("1h", 3600, "1h"),
            ("7d", 604_800, "7d"),
            ("365d", SECONDS_MAX, "365d"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!(lifetime.seconds(), seconds);
            assert_eq!(lifetime.to_string(), shown);
        }
    }

    #[test]
    fn what_is_none_says_how_to_write_one() {
        for text in [
            "",
            "1",
            "h",
            "0s",
            "-1h",
            "1.5h",
            "1 h",
            "1H",
            "1w",
            "366d",
            "1ä",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<Lifetime>().is_err(), "{text:?}");
        }
    }
}
