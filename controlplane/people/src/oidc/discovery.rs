//! Where an issuer says that its keys are (OpenID Connect Discovery 1.0).
//!
//! Addresses are read and checked here, documents as well; who dials and waits is the server.

use core::fmt;
use core::net::IpAddr;

use serde::Deserialize;

use crate::limits::{DISCOVERY_BYTES_MAX, URL_BYTES_MAX};

/// An address whose answer can be believed: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    is_tls: bool,
    host: String,
    port: u16,
    /// With the query; begins with a slash.
    path: String,
}

/// What is wrong with an address or a document; says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDiscovery(String);

impl fmt::Display for BadDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for BadDiscovery {}

fn bad<T>(what: impl Into<String>) -> Result<T, BadDiscovery> {
    Err(BadDiscovery(what.into()))
}

impl Url {
    /// Reads `https://host[:port][/path][?query]`.
    ///
    /// # Errors
    /// It is of another form, or `http` to another machine.
    pub fn parse(text: &str) -> Result<Self, BadDiscovery> {
        if text.len() > URL_BYTES_MAX {
            return bad(format!(
                "the address has {} bytes and at most {URL_BYTES_MAX} are read",
                text.len()
            ));
        }
        // What needs escaping in an address is escaped by whoever writes it (RFC 3986, section 2); a fragment is not sent.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>@\\^`{|}".contains(&byte);
        if !text.bytes().all(plain) {
            return bad("the address has a user, a fragment or a character that has to be escaped");
        }
        let form = "write https://HOST, with a port or a path if it has one";
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| BadDiscovery(form.to_owned()))?;
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return bad(form),
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(split).unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[') {
            // RFC 3986, section 3.2.2: an IPv6 address stands in brackets.
            Some(rest) => {
                let (host, port) = rest.split_once(']').unwrap_or((rest, ":"));
                if host.parse::<core::net::Ipv6Addr>().is_err() {
                    return bad(form);
                }
                (host, port)
            }
            None => {
                let split = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at_checked(split).unwrap_or((authority, ""));
                let plain =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                if host.is_empty() || !host.bytes().all(plain) {
                    return bad(form);
                }
                (host, port)
            }
        };
        let port = match (port.strip_prefix(':'), is_tls) {
            (Some(digits), _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                match digits.parse::<u16>() {
                    Ok(port) if port > 0 => port,
                    _ => return bad("the port of the address is not a number from 1 to 65535"),
                }
            }
            (None, true) if port.is_empty() => 443,
            (None, false) if port.is_empty() => 80,
            _ => return bad(form),
        };
        if !is_tls && !is_this_machine(host) {
            return bad(
                "the address is http, where anybody on the way could change the keys; write https",
            );
        }
        let path = match path.as_bytes().first() {
            Some(b'/') => path.to_owned(),
            _ => format!("/{path}"),
        };
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// Whether it is `https`.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query; begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as the Host field has them (RFC 9110, section 7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Where the document of `issuer` is that tells of its keys.
///
//= OpenID Connect Discovery 1.0, section 4
//# If the Issuer value contains a path component, any terminating / MUST be removed before appending
//# /.well-known/openid-configuration.
///
/// # Errors
/// The issuer is no address, or not one to be believed.
pub fn document_of(issuer: &str) -> Result<Url, BadDiscovery> {
    if issuer.contains('?') {
        return bad("an issuer has no query");
    }
    // By itself as well: what is appended must not become the host of an issuer that has none.
    Url::parse(issuer)?;
    Url::parse(&format!(
        "{}/.well-known/openid-configuration",
        issuer.strip_suffix('/').unwrap_or(issuer)
    ))
}

/// Where the keys of `issuer` are, as its document says.
///
/// # Errors
/// The document is too large, not one, of another issuer, or names an address that is not to be believed.
pub fn keys_of(document: &[u8], issuer: &str) -> Result<Url, BadDiscovery> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    if document.len() > DISCOVERY_BYTES_MAX {
        return bad(format!(
            "the document has {} bytes and at most {DISCOVERY_BYTES_MAX} are read",
            document.len()
        ));
    }
    // The parser's own words may repeat what a stranger wrote, at any length.
    let document: Document = serde_json::from_slice(document).or_else(|error| {
        bad(format!(
            "the document is not JSON with one `issuer` and one `jwks_uri` (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    //= OpenID Connect Discovery 1.0, section 4.3
    //# The issuer value returned MUST be identical to the Issuer URL that was used as the prefix
    if document.issuer != issuer {
        return bad(
            "the document is of another issuer; write `oidc.issuer` as the provider does, also its last slash",
        );
    }
    Url::parse(&document.jwks_uri)
        .map_err(|BadDiscovery(what)| BadDiscovery(format!("jwks_uri: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        for (text, shown, host, port, path) in [
            (
                "https://id.example",
                "https://id.example/",
                "id.example",
                443,
                "/",
            ),
            (
                "https://id.example:443/a?b=c",
                "https://id.example/a?b=c",
                "id.example",
                443,
                "/a?b=c",
            ),
            (
                "https://id.example?b",
                "https://id.example/?b",
                "id.example",
                443,
                "/?b",
            ),
            (
                "https://id.example:8443",
                "https://id.example:8443/",
                "id.example",
                8443,
                "/",
            ),
            (
                "https://[2001:db8::1]:8443/k",
                "https://[2001:db8::1]:8443/k",
                "2001:db8::1",
                8443,
                "/k",
            ),
            (
                "http://localhost/k",
                "http://localhost/k",
                "localhost",
                80,
                "/k",
            ),
            (
                "http://127.9.9.9:81/k",
                "http://127.9.9.9:81/k",
                "127.9.9.9",
                81,
                "/k",
            ),
            ("http://[::1]/k", "http://[::1]/k", "::1", 80, "/k"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.host(), url.port(), url.path()),
                (host, port, path),
                "{text}"
            );
            assert_eq!(url.to_string(), shown);
            assert_eq!(Url::parse(&url.to_string()), Ok(url), "{text}");
        }
        for text in [
            "",
            "id.example",
            "https://",
            "https:///k",
            "https://:443",
            "ftp://id.example",
            "HTTPS://id.example",
            "http://id.example/k",
            "http://127.0.0.1.example/k",
            "http://localhost.example/k",
            "http://10.0.0.1/",
            "https://ada@id.example",
            "https://id.example/#k",
            "https://id example/",
            "https://id.example/\r\nx: y",
            "https://id.example/\u{e4}",
            "https://id.example\\@evil.example/",
            "https://[::1",
            "https://[::1]x/",
            "https://[id.example]/",
            "https://id.example:/",
            "https://id.example:0/",
            "https://id.example:65536/",
            "https://id.example:+1/",
            "https://a:1:2/",
            "https://id%2eexample/",
            "file:///etc/passwd",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn url_bytes_max_bytes_are_an_address_and_one_more_is_not() {
        let longest = format!("https://a/{}", "k".repeat(URL_BYTES_MAX - 10));
        assert!(Url::parse(&longest).is_ok());
        assert!(Url::parse(&format!("{longest}k")).is_err());
    }

    #[test]
    fn a_document_stands_below_its_issuer() {
        for (issuer, at) in [
            (
                "https://id.example",
                "https://id.example/.well-known/openid-configuration",
            ),
            (
                "https://id.example/",
                "https://id.example/.well-known/openid-configuration",
            ),
            (
                "https://id.example/t/1",
                "https://id.example/t/1/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(document_of(issuer).unwrap().to_string(), at);
        }
        for issuer in [
            "adit-dev",
            "http://id.example",
            "https://id.example/?t=1",
            "https://",
            "https:///",
            "",
        ] {
            assert!(document_of(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn a_document_is_believed_about_its_own_issuer_only() {
        const ISSUER: &str = "https://id.example/";
        let keys = |text: &str| keys_of(text.as_bytes(), ISSUER);
        let good =
            r#"{"issuer":"https://id.example/","jwks_uri":"https://keys.example/k","x":[1]}"#;
        assert_eq!(keys(good).unwrap().to_string(), "https://keys.example/k");
        for (text, why) in [
            (
                r#"{"issuer":"https://id.example","jwks_uri":"https://keys.example/k"}"#,
                "another issuer",
            ),
            (
                r#"{"issuer":"https://id.example/","jwks_uri":"http://keys.example/k"}"#,
                "jwks_uri: ",
            ),
            (r#"{"issuer":"https://id.example/"}"#, "one `jwks_uri`"),
            (
                r#"{"issuer":"https://id.example/","jwks_uri":1}"#,
                "one `jwks_uri`",
            ),
            (
                r#"{"issuer":"https://id.example/","jwks_uri":"https://a/","jwks_uri":"https://b/"}"#,
                "one `jwks_uri`",
            ),
            ("<html>", "line 1"),
            ("", "line 1"),
        ] {
            let refused = keys(text).unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(keys(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn discovery_bytes_max_bytes_are_a_document_and_one_more_is_not() {
        let mut text = r#"{"issuer":"https://a","jwks_uri":"https://a/k"}"#.to_owned();
        text.push_str(&" ".repeat(DISCOVERY_BYTES_MAX - text.len()));
        assert!(keys_of(text.as_bytes(), "https://a").is_ok());
        text.push(' ');
        let refused = keys_of(text.as_bytes(), "https://a").unwrap_err();
        assert!(refused.to_string().contains("at most"), "{refused}");
    }
}
