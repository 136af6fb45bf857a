//! What is asked: the part of a caller's request that rules speak about, and nothing else of it.
//!
//! No header but the host, no query and no body has a place here, so none can influence a decision.
use core::fmt;
use core::str::FromStr;

use crate::limits::QUOTED_BYTES_MAX;

/// A request to judge, borrowing the bytes that will be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// One HTTP exchange.
    Http {
        /// The virtual host, without port, as the caller wrote it.
        host: &'a str,
        /// The virtual port.
        port: u16,
        /// The method.
        method: &'a str,
        /// The path as it will be forwarded: from the first `/` to the query, exclusively.
        path: &'a [u8],
        /// Whether the caller asks to change the protocol, as a WebSocket does.
        upgrade: bool,
    },
    /// An opaque stream.
    Tcp {
        /// The virtual host, without port, as the caller wrote it.
        host: &'a str,
        /// The virtual port.
        port: u16,
    },
}

impl<'a> Request<'a> {
    /// The virtual host as the caller wrote it.
    #[must_use]
    pub fn host(&self) -> &'a str {
        match self {
            Self::Http { host, .. } | Self::Tcp { host, .. } => host,
        }
    }

    /// The virtual port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port, .. } => *port,
        }
    }

    /// A copy that borrows nothing, to ask again when the rules have changed.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRequest {
        match *self {
            Self::Http {
                host,
                port,
                method,
                path,
                upgrade,
            } => OwnedRequest(Owned::Http {
                host: host.into(),
                port,
                method: method.into(),
                path: path.into(),
                upgrade,
            }),
            Self::Tcp { host, port } => OwnedRequest(Owned::Tcp {
                host: host.into(),
                port,
            }),
        }
    }
}

impl fmt::Display for Request<'_> {
    /// As [`OwnedRequest`] reads it, long parts cut and unprintable bytes escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Http {
                host,
                port,
                method,
                path,
                upgrade,
            } => {
                let scheme = if upgrade { "ws" } else { "http" };
                let (method, host) = (quoted(method.as_bytes()), quoted(host.as_bytes()));
                write!(f, "{method} {scheme}://{host}:{port}{}", quoted(path))
            }
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", quoted(host.as_bytes())),
        }
    }
}

/// Bytes of a request for the eyes of an operator: escaped, and cut after [`QUOTED_BYTES_MAX`].
pub(crate) fn quoted(bytes: &[u8]) -> String {
    match bytes.get(..QUOTED_BYTES_MAX) {
        Some(head) if head.len() < bytes.len() => format!("{}...", head.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// A request that borrows nothing. Read from text as `GET http://erp.virtual:80/path`, with `ws` instead of `http`
/// for a request that asks to upgrade, or as `tcp://db.virtual:5432`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRequest(Owned);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Http {
        host: Box<str>,
        port: u16,
        method: Box<str>,
        path: Box<[u8]>,
        upgrade: bool,
    },
    Tcp {
        host: Box<str>,
        port: u16,
    },
}

impl OwnedRequest {
    /// The request, to judge it.
    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        match &self.0 {
            Owned::Http {
                host,
                port,
                method,
                path,
                upgrade,
            } => Request::Http {
                host,
                port: *port,
                method,
                path,
                upgrade: *upgrade,
            },
            Owned::Tcp { host, port } => Request::Tcp { host, port: *port },
        }
    }
}

impl fmt::Display for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}

/// A text is no request. Displayed as what is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(String);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}

impl FromStr for OwnedRequest {
    type Err = RequestError;

    /// Splits the text and judges nothing: an ambiguous path stays one, for the rules to refuse.
    fn from_str(text: &str) -> Result<Self, RequestError> {
        let wrong = |message: String| Err(RequestError(message));
        let (method, url) = match text.trim().split_once(' ') {
            Some((method, url)) => (Some(method), url.trim_start()),
            None => (None, text.trim()),
        };
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong(format!(
                "`{text}` names no protocol; write `GET http://erp.virtual:80/path` or `tcp://db.virtual:5432`"
            ));
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(cut);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) => (host, Some(port)),
                Err(_) => return wrong(format!("port `{port}` is no number from 1 to 65535")),
            },
            None => (authority, None),
        };
        match scheme {
            "http" | "ws" => {
                let path = target.split_once('?').map_or(target, |(path, _query)| path);
                let path = if path.is_empty() { "/" } else { path };
                Ok(Self(Owned::Http {
                    host: host.into(),
                    port: port.unwrap_or(80),
                    method: method.unwrap_or("GET").into(),
                    path: path.as_bytes().into(),
                    upgrade: scheme == "ws",
                }))
            }
            "tcp" => match (method, port, target) {
                (Some(method), _, _) => {
                    wrong(format!("a tcp request has no method; remove `{method}`"))
                }
                (None, None, _) => {
                    wrong(format!("`{text}` has no port; write `tcp://{host}:5432`"))
                }
                (None, Some(port), "" | "/") => Ok(Self(Owned::Tcp {
                    host: host.into(),
                    port,
                })),
                (None, Some(_), path) => {
                    wrong(format!("a tcp request has no path; remove `{path}`"))
                }
            },
            other => wrong(format!(
                "protocol `{other}` is none of http, ws and tcp, which are what callers speak to a virtual host"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<OwnedRequest>()
            .map(|request| format!("{:?}", request.as_request()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_read_as_curl_would_send_it() {
        let expected = Request::Http {
            host: "erp.virtual",
            port: 80,
            method: "GET",
            path: b"/a/b",
            upgrade: false,
        };
        for text in [
            "GET http://erp.virtual:80/a/b",
            "http://erp.virtual/a/b?x=/../",
            "GET  http://erp.virtual/a/b",
        ] {
            assert_eq!(read(text), Ok(format!("{expected:?}")), "{text}");
        }
    }

    #[test]
    fn odd_bytes_stay_for_the_rules_to_refuse() {
        for (text, path) in [
            ("http://erp/a%2f..#x", "/a%2f..#x"),
            ("http://erp", "/"),
            ("http://erp?x", "/"),
            ("http://erp//", "//"),
        ] {
            let request: OwnedRequest = text.parse().unwrap();
            let Request::Http { path: read, .. } = request.as_request() else {
                panic!("{text}");
            };
            assert_eq!(read, path.as_bytes(), "{text}");
        }
        let request: OwnedRequest = "http://user:pw@erp/"
            .parse()
            .unwrap_or_else(|_| "http://user@erp/".parse().unwrap());
        assert!(request.as_request().host().contains('@'));
    }

    #[test]
    fn a_text_that_is_no_request_is_told_how_to_become_one() {
        for (text, part) in [
            ("/a/b", "names no protocol"),
            ("https://erp/", "none of http, ws and tcp"),
            ("http://erp:70000/", "from 1 to 65535"),
            ("http://erp:/", "from 1 to 65535"),
            ("tcp://db", "has no port"),
            ("GET tcp://db:1", "has no method"),
            ("tcp://db:1/x", "has no path"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_displayed_is_read_back() {
        for text in [
            "PUT http://erp.virtual:8080/a;v=2/b%20c",
            "GET ws://erp.virtual:80/chat",
            "tcp://db.virtual:5432",
        ] {
            let request: OwnedRequest = text.parse().unwrap();
            assert_eq!(request.to_string(), text);
            assert_eq!(request.as_request().to_owned(), request);
        }
    }

    #[test]
    fn long_and_unprintable_parts_are_cut_and_escaped() {
        assert_eq!(quoted(b"a\0\n\xff"), "a\\x00\\n\\xff");
        assert_eq!(quoted(&[b'a'; QUOTED_BYTES_MAX]).len(), QUOTED_BYTES_MAX);
        assert_eq!(
            quoted(&[b'a'; QUOTED_BYTES_MAX + 1]).len(),
            QUOTED_BYTES_MAX + 3
        );
    }
}
