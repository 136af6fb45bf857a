//! What a backend says about its own name, told in the caller's names: Location and the Domain of Set-Cookie.
//!
//! Only whole, exact names are replaced; whatever is not certainly the system's own address passes untouched.

use alloc::vec::Vec;

use super::authority::{Authority, put_authority};
use super::head::trim_blanks;

/// The internal address of a system, as its rule names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Internal<'a> {
    /// Whether the agent speaks TLS to it: the scheme is `https`, its default port 443.
    pub https: bool,
    /// Host name or address; an IPv6 address with or without brackets.
    pub host: &'a str,
    /// Port.
    pub port: u16,
}

impl Internal<'_> {
    const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    const fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    /// Appends host and port, without the scheme's default port.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_authority(out, self.host, self.port, self.default_port());
    }
}

/// Both names of a system: what the backend calls itself, and what the caller calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<'a> {
    /// What the backend calls itself.
    pub internal: Internal<'a>,
    /// What the caller calls it.
    pub virtual_host: &'a str,
    /// The port the caller knows.
    pub virtual_port: u16,
}

impl Rewrite<'_> {
    /// Appends the value of a Location field. `scheme://host[:port]` of the internal address, or of the virtual one in
    /// the internal scheme (what a backend behind TLS makes of the Host it was given), becomes `http://` and the virtual
    /// host and port. Everything else, also `//host/...`, stays as it is.
    pub(super) fn put_location(&self, value: &[u8], out: &mut Vec<u8>) {
        match self.rest_of_own(value) {
            Some(rest) => {
                out.extend_from_slice(b"http://");
                put_authority(out, self.virtual_host, self.virtual_port, 80);
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(value),
        }
    }

    /// What follows the authority, when the URL is one of this system's own.
    fn rest_of_own<'v>(&self, url: &'v [u8]) -> Option<&'v [u8]> {
        let scheme = self.internal.scheme().as_bytes();
        let (found, rest) = url.split_at_checked(scheme.len())?;
        let rest = rest.strip_prefix(b"://")?;
        if !found.eq_ignore_ascii_case(scheme) {
            return None;
        }
        let end = rest
            .iter()
            .position(|b| matches!(b, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let authority = Authority::parse(authority).ok()?;
        let internal = same_host(authority.host, self.internal.host)
            && authority
                .port
                .unwrap_or_else(|| self.internal.default_port())
                == self.internal.port;
        // The backend saw `Host: virtual[:port]`, without the port when it is 80, and may answer in its own scheme.
        let in_virtual_names = same_host(authority.host, self.virtual_host)
            && authority.port.unwrap_or(80) == self.virtual_port;
        (internal || in_virtual_names).then_some(rest)
    }

    /// Appends the value of a Set-Cookie field, with the internal host in its Domain attribute replaced by the virtual
    /// one. Of several Domain attributes only the last counts (RFC 6265, section 5.3), and only it is looked at.
    pub(super) fn put_set_cookie(&self, value: &[u8], out: &mut Vec<u8>) {
        let Some((before, host, after)) = last_domain(value) else {
            out.extend_from_slice(value);
            return;
        };
        let ours = core::str::from_utf8(host).is_ok_and(|host| same_host(host, self.internal.host));
        out.extend_from_slice(before);
        out.extend_from_slice(if ours {
            self.virtual_host.as_bytes()
        } else {
            host
        });
        out.extend_from_slice(after);
    }
}

/// The cookie cut in three around the host of its last Domain attribute, a leading dot left with what is before.
fn last_domain(cookie: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut found = None;
    let mut start = memchr::memchr(b';', cookie)? + 1;
    while let Some(rest) = cookie.get(start..) {
        let length = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let attribute = rest.get(..length)?;
        if let Some(equals) = memchr::memchr(b'=', attribute) {
            let (name, value) = attribute.split_at_checked(equals)?;
            if trim_blanks(name).eq_ignore_ascii_case(b"domain") {
                let value = value.get(1..)?;
                let blanks = value
                    .iter()
                    .take_while(|b| matches!(b, b' ' | b'\t'))
                    .count();
                let host = trim_blanks(value);
                let dot = usize::from(host.first() == Some(&b'.'));
                let at = start + equals + 1 + blanks + dot;
                let end = at + host.len() - dot;
                found = Some((cookie.get(..at)?, cookie.get(at..end)?, cookie.get(end..)?));
            }
        }
        start += length + 1;
    }
    found
}

/// The same host in any case of the letters, an IPv6 address with or without brackets.
fn same_host(a: &str, b: &str) -> bool {
    let bare = |host: &str| -> (usize, usize) {
        if host.starts_with('[') && host.ends_with(']') && host.len() >= 2 {
            (1, host.len() - 1)
        } else {
            (0, host.len())
        }
    };
    let ((a_start, a_end), (b_start, b_end)) = (bare(a), bare(b));
    match (a.get(a_start..a_end), b.get(b_start..b_end)) {
        (Some(a), Some(b)) => !a.is_empty() && a.eq_ignore_ascii_case(b),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    const HTTP: Rewrite<'static> = Rewrite {
        internal: Internal {
            https: false,
            host: "10.1.2.3",
            port: 8000,
        },
        virtual_host: "erp.virtual",
        virtual_port: 44300,
    };
    const HTTPS: Rewrite<'static> = Rewrite {
        internal: Internal {
            https: true,
            host: "erp.corp.example",
            port: 443,
        },
        virtual_host: "erp.virtual",
        virtual_port: 80,
    };

    fn location(rewrite: &Rewrite<'_>, value: &str) -> String {
        let mut out = Vec::new();
        rewrite.put_location(value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn cookie(value: &str) -> String {
        let mut out = Vec::new();
        HTTPS.put_set_cookie(value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_internal_address_becomes_the_virtual_one() {
        assert_eq!(
            location(&HTTP, "http://10.1.2.3:8000/a?b#c"),
            "http://erp.virtual:44300/a?b#c"
        );
        assert_eq!(
            location(&HTTP, "http://10.1.2.3:8000"),
            "http://erp.virtual:44300"
        );
        assert_eq!(
            location(&HTTPS, "https://erp.corp.example/a"),
            "http://erp.virtual/a"
        );
    }

    #[test]
    fn hosts_and_schemes_are_compared_in_any_case_and_default_ports_are_equal() {
        assert_eq!(
            location(&HTTPS, "HTTPS://ERP.Corp.Example:443?q"),
            "http://erp.virtual?q"
        );
    }

    #[test]
    fn a_backend_behind_tls_that_uses_the_virtual_host_is_put_right_too() {
        assert_eq!(
            location(&HTTPS, "https://erp.virtual/login"),
            "http://erp.virtual/login"
        );
        let on_44300 = Rewrite {
            virtual_port: 44300,
            ..HTTPS
        };
        assert_eq!(
            location(&on_44300, "https://erp.virtual:44300/x"),
            "http://erp.virtual:44300/x"
        );
    }

    #[test]
    fn what_is_not_certainly_the_systems_own_address_stays_as_it_is() {
        for other in [
            "/relative",
            "relative",
            "//10.1.2.3:8000/a",
            "https://10.1.2.3:8000/a",
            "http://10.1.2.3/a",
            "http://10.1.2.3:8001/a",
            "http://10.1.2.30:8000/a",
            "http://10.1.2.3:8000.evil/a",
            "http://u@10.1.2.3:8000/",
            "http:/10.1.2.3:8000/",
            "http://other.example/",
            "http://erp.virtual/on-80",
            "",
            "http://",
            "mailto:x",
        ] {
            assert_eq!(location(&HTTP, other), other);
        }
    }

    #[test]
    fn an_ipv6_backend_is_recognised_with_its_brackets() {
        let v6 = Rewrite {
            internal: Internal {
                https: false,
                host: "fd00::1",
                port: 80,
            },
            ..HTTP
        };
        assert_eq!(
            location(&v6, "http://[fd00::1]/x"),
            "http://erp.virtual:44300/x"
        );
    }

    #[test]
    fn the_domain_of_a_cookie_becomes_the_virtual_host() {
        assert_eq!(
            cookie("id=1; Path=/; Domain=erp.corp.example; Secure"),
            "id=1; Path=/; Domain=erp.virtual; Secure"
        );
        assert_eq!(
            cookie("id=1;domain = .ERP.corp.example"),
            "id=1;domain = .erp.virtual"
        );
    }

    #[test]
    fn other_domains_and_the_cookies_own_value_stay_as_they_are() {
        for other in [
            "Domain=erp.corp.example",
            "id=erp.corp.example; Path=/erp.corp.example",
            "id=1; Domain=corp.example",
            "id=1; Domain=",
            "id=1; Domain",
            "id=1; Domain=xerp.corp.example; HttpOnly",
            "",
            ";",
            ";;=;",
            "id=1;",
        ] {
            assert_eq!(cookie(other), other);
        }
    }

    #[test]
    fn only_the_last_domain_counts_and_only_it_is_replaced() {
        assert_eq!(
            cookie("id=1; Domain=erp.corp.example; Domain=erp.corp.example"),
            "id=1; Domain=erp.corp.example; Domain=erp.virtual"
        );
    }
}
