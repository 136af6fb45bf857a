//! Host and port as they stand in a target or a Host field (RFC 3986, section 3.2), read strictly.
//!
//! One spelling, one meaning: whatever could name a second host is refused. Which hosts exist is not known here.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use crate::limits::HOST_BYTES_MAX;
use crate::wire::all;

/// A host and a port, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'b> {
    /// The host as written, an IPv6 address in brackets; see [`Authority::canonical_host`] before comparing it.
    pub host: &'b str,
    /// The port, when one is written.
    pub port: Option<u16>,
}

/// Why bytes are no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityError {
    /// There is no host.
    Empty,
    /// There is a user name or password before the host.
    Userinfo,
    /// The host is longer than [`HOST_BYTES_MAX`].
    TooLong,
    /// The host has a byte other than ASCII letters, digits, `-`, `_` and `.`.
    Byte,
    /// The host begins or ends with a dot, or has two in a row.
    EmptyLabel,
    /// The host begins with `[` and is no IPv6 address, or has a zone.
    Ipv6,
    /// There is a colon, but no number between 1 and 65535 behind it.
    Port,
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host is empty; name one"),
            Self::Userinfo => f.write_str("there is a user name before the host; remove it"),
            Self::TooLong => write!(
                f,
                "the host is longer than {HOST_BYTES_MAX} bytes; use a shorter name"
            ),
            Self::Byte => f.write_str(
                "the host has a byte other than letters, digits, `-`, `_` and `.`; remove it",
            ),
            Self::EmptyLabel => {
                f.write_str("the host has an empty part or ends with a dot; remove the dot")
            }
            Self::Ipv6 => {
                f.write_str("the host is no IPv6 address in brackets, or has a zone; mend it")
            }
            Self::Port => {
                f.write_str("the port is not a number between 1 and 65535; mend it or leave it out")
            }
        }
    }
}

impl core::error::Error for AuthorityError {}

impl<'b> Authority<'b> {
    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, AuthorityError> {
        if bytes.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if memchr::memchr(b'@', bytes).is_some() {
            return Err(AuthorityError::Userinfo);
        }
        let (host, port) = if bytes.first() == Some(&b'[') {
            let end = memchr::memchr(b']', bytes).ok_or(AuthorityError::Ipv6)?;
            let (host, rest) = bytes
                .split_at_checked(end + 1)
                .ok_or(AuthorityError::Ipv6)?;
            match rest {
                [] => (host, None),
                [b':', port @ ..] => (host, Some(port)),
                _ => return Err(AuthorityError::Ipv6),
            }
        } else {
            match memchr::memchr(b':', bytes).and_then(|colon| bytes.split_at_checked(colon)) {
                Some((host, port)) => (host, port.get(1..)),
                None => (bytes, None),
            }
        };
        check_host(host)?;
        let Ok(host) = core::str::from_utf8(host) else {
            return Err(AuthorityError::Byte);
        };
        let port = match port {
            Some(digits) => Some(parse_port(digits).ok_or(AuthorityError::Port)?),
            None => None,
        };
        Ok(Self { host, port })
    }

    /// The port, or 80 when none is written: the default of the only scheme callers may use.
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(80)
    }

    /// The host in the form in which hosts are compared: ASCII lower case.
    #[must_use]
    pub fn canonical_host(&self) -> Cow<'b, str> {
        if self.host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(self.host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(self.host)
        }
    }

    /// Whether this is the same place as `host` and `port`, in any case of the letters.
    #[must_use]
    pub fn is(&self, host: &str, port: u16) -> bool {
        self.port_or_default() == port && self.host.eq_ignore_ascii_case(host)
    }
}

/// Whether `host` is well-formed and in the form in which hosts are compared: ASCII lower case.
#[must_use]
pub fn is_canonical_host(host: &str) -> bool {
    check_host(host.as_bytes()).is_ok() && all(host.as_bytes(), |b| !b.is_ascii_uppercase())
}

/// Appends the host in lower case, and the port unless it is `default`.
pub(super) fn put_authority(out: &mut Vec<u8>, host: &str, port: u16, default: u16) {
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if bare_ipv6 {
        out.push(b'[');
    }
    out.extend(host.bytes().map(|b| b.to_ascii_lowercase()));
    if bare_ipv6 {
        out.push(b']');
    }
    if port != default {
        out.push(b':');
        super::head::put_decimal(out, u64::from(port));
    }
}

fn check_host(host: &[u8]) -> Result<(), AuthorityError> {
    if host.is_empty() {
        return Err(AuthorityError::Empty);
    }
    if host.len() > HOST_BYTES_MAX {
        return Err(AuthorityError::TooLong);
    }
    if let [b'[', inner @ .., b']'] = host {
        // The standard library's grammar for addresses is RFC 4291's and knows no zone.
        return match core::str::from_utf8(inner).map(str::parse::<Ipv6Addr>) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(AuthorityError::Ipv6),
        };
    }
    // Most are well-formed, and that is told without a branch for each byte; what is wrong is looked for afterwards.
    let in_name = |b: u8| {
        ((b | 0x20).wrapping_sub(b'a') < 26)
            | (b.wrapping_sub(b'0') < 10)
            | (b == b'-')
            | (b == b'_')
            | (b == b'.')
    };
    let has_empty_label = host.first() == Some(&b'.')
        || host.last() == Some(&b'.')
        || host.windows(2).any(|two| two == b"..");
    if all(host, in_name) && !has_empty_label {
        return Ok(());
    }
    let mut previous = b'.';
    for &byte in host {
        match byte {
            b'.' if previous == b'.' => break,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => previous = byte,
            b'[' => return Err(AuthorityError::Ipv6),
            _ => return Err(AuthorityError::Byte),
        }
    }
    Err(AuthorityError::EmptyLabel)
}

/// 1 to 65535, without leading zeros: one spelling for each port.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || digits.first() == Some(&b'0') {
        return None;
    }
    let mut port = 0_u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> AuthorityError {
        Authority::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn p04_names_with_underscores_digits_and_punycode_are_hosts() {
        for host in [
            "erp",
            "erp_1.virtual",
            "10.1.2.3",
            "xn--bcher-kva.example",
            "A-b.C",
            "a--b",
            "-a",
        ] {
            assert_eq!(
                Authority::parse(host.as_bytes()),
                Ok(Authority { host, port: None })
            );
        }
    }

    #[test]
    fn p04_ports_are_1_to_65535_without_leading_zeros() {
        assert_eq!(Authority::parse(b"h:1").unwrap().port, Some(1));
        assert_eq!(Authority::parse(b"h:65535").unwrap().port, Some(65535));
        for bad in [
            "h:", "h:0", "h:65536", "h:99999", "h:080", "h:8a", "h:+80", "h:-1", "h: 80", "h:80 ",
            "h:80:80",
        ] {
            assert_eq!(refused(bad), AuthorityError::Port, "{bad}");
        }
    }

    #[test]
    fn p04_userinfo_is_refused() {
        for bad in ["user@h", "user:pw@h:80", "@h", "h@"] {
            assert_eq!(refused(bad), AuthorityError::Userinfo, "{bad}");
        }
    }

    #[test]
    fn p04_a_trailing_leading_or_double_dot_is_refused() {
        for bad in ["h.", "h.:80", ".h", "a..b", "."] {
            assert_eq!(refused(bad), AuthorityError::EmptyLabel, "{bad}");
        }
    }

    #[test]
    fn p04_ipv6_addresses_stand_in_brackets_and_have_no_zone() {
        assert_eq!(
            Authority::parse(b"[::1]:8080").unwrap(),
            Authority {
                host: "[::1]",
                port: Some(8080)
            }
        );
        assert_eq!(
            Authority::parse(b"[2001:DB8::1]").unwrap().canonical_host(),
            "[2001:db8::1]"
        );
        for bad in [
            "[::1",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[]",
            "[1.2.3.4]",
            "[::1]80",
            "[[::1]]",
            "a[::1]",
        ] {
            assert_eq!(refused(bad), AuthorityError::Ipv6, "{bad}");
        }
        assert_eq!(refused("::1"), AuthorityError::Empty);
    }

    #[test]
    fn p05_lists_blanks_and_foreign_bytes_are_refused() {
        for bad in [
            "a,b",
            "a b",
            "a\tb",
            "a/b",
            "a\\b",
            "a%41",
            "b\u{fc}cher",
            "a;b",
            "a\0",
            "a?b",
            "a#b",
        ] {
            assert_eq!(refused(bad), AuthorityError::Byte, "{bad:?}");
        }
        assert_eq!(refused(""), AuthorityError::Empty);
        assert_eq!(refused(":80"), AuthorityError::Empty);
    }

    #[test]
    fn p05_of_all_bytes_only_those_of_a_name_stand_in_a_host() {
        for byte in 0..=u8::MAX {
            let in_name = byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert_eq!(
                check_host(&[b'a', byte, b'b']).is_ok(),
                in_name,
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn the_longest_host_passes_and_one_byte_more_does_not() {
        let longest = "h".repeat(HOST_BYTES_MAX);
        assert!(Authority::parse(longest.as_bytes()).is_ok());
        assert_eq!(refused(&(longest + "h")), AuthorityError::TooLong);
    }

    #[test]
    fn p04_hosts_are_compared_in_ascii_lower_case_and_80_is_the_default_port() {
        let authority = Authority::parse(b"ERP.Virtual").unwrap();
        assert_eq!(authority.canonical_host(), "erp.virtual");
        assert!(authority.is("erp.virtual", 80));
        assert!(!authority.is("erp.virtual", 8080));
        assert!(!authority.is("erp.virtua", 80));
    }

    #[test]
    fn only_lower_case_hosts_are_canonical() {
        assert!(is_canonical_host("erp_1.virtual") && is_canonical_host("[::1]"));
        assert!(!is_canonical_host("Erp") && !is_canonical_host("") && !is_canonical_host("[::A]"));
    }
}
