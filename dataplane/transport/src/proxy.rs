//! The way out through a corporate HTTP proxy: CONNECT (RFC 9110, section 9.3.6), Basic, NO_PROXY.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::socket::Socket;
use crate::wire::Wire;

/// An outbound proxy and the names that go past it.
#[derive(Clone)]
pub struct Proxy {
    /// Host of the proxy.
    pub host: String,
    /// Port of the proxy.
    pub port: u16,
    // `user:password`, already encoded for the header.
    basic: Option<String>,
    past: Vec<String>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`. `no_proxy` is the comma separated list of names,
    /// `.suffixes` and addresses that are dialled directly; `*` means all.
    ///
    /// # Errors
    /// What is wrong with the address, without repeating the password.
    pub fn parse(address: &str, no_proxy: &str) -> Result<Self, String> {
        let rest = address
            .strip_prefix("http://")
            .ok_or("a proxy address begins with http://; other kinds are not supported")?;
        let rest = rest.trim_end_matches('/');
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let (host, port) = split_authority(authority)
            .ok_or("a proxy address ends with host:port, for example http://proxy.corp:3128")?;
        let basic = match credentials {
            Some(credentials) if !credentials.contains(':') => {
                return Err("proxy credentials are user:password before the @".to_owned());
            }
            Some(credentials) => Some(BASE64_STANDARD.encode(percent_decoded(credentials)?)),
            None => None,
        };
        Ok(Self {
            host,
            port,
            basic,
            past: no_proxy
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .filter(|name| !name.is_empty())
                .collect(),
        })
    }

    /// Whether `host` is dialled directly.
    #[must_use]
    pub fn passes(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.past.iter().any(|name| {
            let bare = name
                .strip_prefix("*.")
                .or_else(|| name.strip_prefix('.'))
                .unwrap_or(name);
            name == "*"
                || host == bare
                || host
                    .strip_suffix(bare)
                    .is_some_and(|front| front.ends_with('.'))
        })
    }

    /// Asks the proxy on `socket` for a way to `host:port`.
    ///
    /// # Errors
    /// What the proxy answered, in a form that tells the operator what to do.
    pub async fn connect(
        &self,
        socket: &Socket,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<(), String> {
        match adit_runtime::timer::timeout(limit, self.ask(socket, host, port)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!(
                "proxy did not answer CONNECT within {} s",
                limit.as_secs()
            )),
        }
    }

    /// The request that asks the proxy for a way to `host:port`, for whoever dials by other means than [`Socket`]. It
    /// holds the password: it is for the wire only.
    #[must_use]
    pub fn request(&self, host: &str, port: u16) -> String {
        let authorization = self.basic.as_ref().map_or(String::new(), |basic| {
            format!("Proxy-Authorization: Basic {basic}\r\n")
        });
        let target = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
    }

    async fn ask(&self, socket: &Socket, host: &str, port: u16) -> Result<(), String> {
        let request = self.request(host, port);
        socket
            .write_all(request.as_bytes())
            .await
            .map_err(|error| format!("proxy closed while we asked: {error}"))?;
        // Byte by byte up to the blank line: what follows belongs to the tunnel. Once per dial.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut one = [0_u8; 1];
            match socket.read(&mut one).await {
                Ok(0) => return Err("proxy closed without an answer to CONNECT".to_owned()),
                Ok(_) => head.extend_from_slice(&one),
                Err(error) => return Err(format!("proxy connection: {error}")),
            }
            if head.len() > ANSWER_MAX {
                return Err(format!(
                    "proxy answered CONNECT with more than {ANSWER_MAX} bytes of head"
                ));
            }
        }
        verdict(&String::from_utf8_lossy(&head))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// What a proxy's answer to [`Proxy::request`], up to its blank line, means.
///
/// # Errors
/// What it says instead of yes, in a form that tells the operator what to do.
pub fn verdict(head: &str) -> Result<(), String> {
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.splitn(3, ' ');
    let (version, status) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !version.starts_with("HTTP/1.") {
        return Err("what answers at the proxy address does not speak HTTP/1.1".to_owned());
    }
    match status {
        "407" => {
            let offered: Vec<&str> = head
                .lines()
                .filter_map(|l| l.split_once(':'))
                .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
                .filter_map(|(_, value)| value.split_whitespace().next())
                .collect();
            Err(format!(
                "proxy wants other credentials (407; it offers {}); set proxy = \"http://user:password@host:port\", Basic is supported",
                if offered.is_empty() {
                    "nothing".to_owned()
                } else {
                    offered.join(", ")
                }
            ))
        }
        status if status.len() == 3 && status.starts_with('2') => Ok(()),
        status => Err(format!("proxy refused CONNECT with status {status}")),
    }
}

fn split_authority(authority: &str) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port))
            if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, port.parse().ok()?)
        }
        _ => (authority, 3128),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty() && port != 0).then(|| (host.to_owned(), port))
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()];
        let value = match digits {
            [Some(high), Some(low)] => std::str::from_utf8(&[high, low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        bytes.push(value.ok_or(
            "a % in proxy credentials must be followed by two hex digits; write %25 for a %",
        )?);
    }
    Ok(bytes)
}

/// Bytes of a proxy's answer to CONNECT.
pub const ANSWER_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.corp:3128", "").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.corp", 3128));
        // RFC 7617: base64("me:p@ss")
        assert_eq!(proxy.basic.as_deref(), Some("bWU6cEBzcw=="));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[test]
    fn no_proxy_matches_names_and_suffixes_at_a_dot() {
        let proxy = Proxy::parse("http://p:1", "gw.local, .corp.example,10.0.0.1").unwrap();
        for past in [
            "gw.local",
            "GW.local",
            "a.corp.example",
            "corp.example",
            "10.0.0.1",
        ] {
            assert!(proxy.passes(past), "{past}");
        }
        for through in ["evilcorp.example", "10.0.0.11", "local"] {
            assert!(!proxy.passes(through), "{through}");
        }
        assert!(Proxy::parse("http://p:1", "*").unwrap().passes("anything"));
    }

    #[test]
    fn r18_a_407_says_what_the_proxy_offers_and_what_to_do() {
        let error = verdict("HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=x\r\n\r\n").unwrap_err();
        assert!(
            error.contains("NTLM, Basic") && error.contains("user:password"),
            "{error}"
        );
    }

    #[test]
    fn other_kinds_of_proxy_are_refused() {
        assert!(Proxy::parse("socks5://p:1", "").is_err());
        assert!(Proxy::parse("http://useronly@p:1", "").is_err());
        assert!(Proxy::parse("http://:1", "").is_err());
    }
}
