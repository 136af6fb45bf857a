//! A host name that means one thing: lower case, ASCII, no trailing dot.
//!
//! Only names and dotted IPv4 addresses are virtual hosts; an IPv6 literal never is. Looking a host up is `table`'s
//! work, resolving one the agent's.
use core::fmt;

use crate::limits::{HOST_BYTES_MAX, HOST_LABEL_BYTES_MAX};

/// Room for a host name in lower case.
pub(crate) type Room = [u8; HOST_BYTES_MAX];

/// Why a text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HostProblem {
    /// There is none.
    Empty,
    /// More than [`HOST_BYTES_MAX`] bytes, or a label of more than [`HOST_LABEL_BYTES_MAX`].
    TooLong,
    /// It ends in a dot.
    TrailingDot,
    /// It begins with a dot or has two in a row.
    EmptyLabel,
    /// A character that is not ASCII.
    NotAscii,
    /// An IPv6 literal, with or without brackets and zone.
    Ipv6,
    /// Something before an `@`.
    UserInfo,
    /// A character other than letters, digits, `-`, `_` and `.`.
    Character,
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a host name is missing",
            Self::TooLong => "a host name has at most 253 bytes and each of its labels at most 63",
            Self::TrailingDot => "a host name does not end in a dot here; remove it",
            Self::EmptyLabel => "a host name has no empty labels; remove the surplus dot",
            Self::NotAscii => {
                "a host name is ASCII; write an international name in its `xn--` form"
            }
            Self::Ipv6 => {
                "a virtual host is a name or a dotted IPv4 address, never an IPv6 literal"
            }
            Self::UserInfo => {
                "a host has no user information before it; remove everything up to the `@`"
            }
            Self::Character => "a host name consists of letters, digits, `-`, `_` and `.`",
        })
    }
}

impl std::error::Error for HostProblem {}

/// Judges a host name and returns it in lower case, which is the form to compare.
///
/// # Errors
/// [`HostProblem`] when it is none.
pub(crate) fn comparable<'b>(text: &str, room: &'b mut Room) -> Result<&'b str, HostProblem> {
    judge(text)?;
    let lower = room.get_mut(..text.len()).ok_or(HostProblem::TooLong)?;
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    core::str::from_utf8(lower).map_err(|_not_ascii| HostProblem::NotAscii)
}

/// Judges a host name.
///
/// # Errors
/// [`HostProblem`] when it is none.
pub(crate) fn judge(text: &str) -> Result<(), HostProblem> {
    if text.is_empty() {
        return Err(HostProblem::Empty);
    }
    if text.len() > HOST_BYTES_MAX {
        return Err(HostProblem::TooLong);
    }
    let mut label = 0;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'.' if label == 0 => return Err(HostProblem::EmptyLabel),
            b'.' => label = 0,
            b'@' => return Err(HostProblem::UserInfo),
            b'[' | b']' | b':' => return Err(HostProblem::Ipv6),
            0x80..=0xff => return Err(HostProblem::NotAscii),
            _ => return Err(HostProblem::Character),
        }
        if label > HOST_LABEL_BYTES_MAX {
            return Err(HostProblem::TooLong);
        }
    }
    if label == 0 {
        return Err(HostProblem::TrailingDot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(text: &str) -> Result<String, HostProblem> {
        let mut room = [0; HOST_BYTES_MAX];
        comparable(text, &mut room).map(str::to_owned)
    }

    #[test]
    fn p04_hosts_compare_without_regard_to_ascii_case() {
        assert_eq!(lower("ERP.Virtual").as_deref(), Ok("erp.virtual"));
    }

    #[test]
    fn p04_underscore_punycode_and_ipv4_are_hosts() {
        for host in [
            "my_erp.virtual",
            "_x",
            "xn--strae-oqa.virtual",
            "10.1.2.3",
            "a",
        ] {
            assert_eq!(lower(host).as_deref(), Ok(host));
        }
    }

    #[test]
    fn p04_what_is_no_host_is_refused_with_its_reason() {
        for (host, problem) in [
            ("", HostProblem::Empty),
            ("erp.virtual.", HostProblem::TrailingDot),
            (".", HostProblem::EmptyLabel),
            (".erp", HostProblem::EmptyLabel),
            ("erp..virtual", HostProblem::EmptyLabel),
            ("stra\u{df}e.virtual", HostProblem::NotAscii),
            ("erp\u{3002}virtual", HostProblem::NotAscii),
            ("[::1]", HostProblem::Ipv6),
            ("::1", HostProblem::Ipv6),
            ("[fe80::1%25eth0]", HostProblem::Ipv6),
            ("erp.virtual:80", HostProblem::Ipv6),
            ("user:pw@erp", HostProblem::Ipv6),
            ("user@erp", HostProblem::UserInfo),
            ("erp,evil", HostProblem::Character),
            ("erp evil", HostProblem::Character),
            ("erp%2evirtual", HostProblem::Character),
            ("erp\0", HostProblem::Character),
            ("erp/x", HostProblem::Character),
            ("*.virtual", HostProblem::Character),
        ] {
            assert_eq!(lower(host), Err(problem), "{host}");
        }
    }

    #[test]
    fn the_longest_label_and_the_longest_name_are_hosts_and_one_byte_more_is_not() {
        let label = "a".repeat(HOST_LABEL_BYTES_MAX);
        assert!(lower(&label).is_ok());
        assert_eq!(lower(&format!("{label}a")), Err(HostProblem::TooLong));
        // 63 + 1 + 63 + 1 + 63 + 1 + 61 = 253
        let name = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(name.len(), HOST_BYTES_MAX);
        assert!(lower(&name).is_ok());
        assert_eq!(lower(&format!("{name}b")), Err(HostProblem::TooLong));
    }
}
