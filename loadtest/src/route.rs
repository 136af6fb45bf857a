//! The way from a client to the backend: where it knocks and what it says there.
//!
//! A door that is a proxy wants whole URLs and a token, an opaque port forwards what it gets. The
//! clients do not know the difference; they send what a route tells them to.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Both ways to the backend.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Where HTTP requests go.
    pub(crate) http: SocketAddr,
    /// What stands before the path in a request line.
    pub(crate) origin: String,
    /// Field lines of every request, each with its end of line.
    pub(crate) fields: String,
    /// The way to the backend's TCP port, if there is one.
    pub(crate) tcp: Option<Opaque>,
}

/// A connection whose bytes are carried without being looked at.
#[derive(Clone, Debug)]
pub(crate) struct Opaque {
    pub(crate) address: SocketAddr,
    /// What is said first, such as CONNECT; the answer is a head with status 200. Empty: nothing.
    pub(crate) greeting: Vec<u8>,
}

impl Route {
    /// A way whose bytes reach the backend as they are, through `http` and `tcp`.
    pub(crate) fn plain(http: SocketAddr, tcp: Option<SocketAddr>) -> Self {
        Self {
            http,
            origin: String::new(),
            fields: "Host: web.virtual\r\n".to_owned(),
            tcp: tcp.map(|address| Opaque {
                address,
                greeting: Vec::new(),
            }),
        }
    }

    /// A GET of `path`; with `last` the connection is to end behind the answer.
    pub(crate) fn get(&self, path: &str, last: bool) -> Vec<u8> {
        let mut head = format!("GET {}{path} HTTP/1.1\r\n{}", self.origin, self.fields);
        if last {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The head of a POST to `path` with a body of `length` bytes.
    pub(crate) fn post(&self, path: &str, length: u64) -> Vec<u8> {
        let mut head = format!("POST {}{path} HTTP/1.1\r\n{}", self.origin, self.fields);
        // Writing to a String does not fail.
        let _ = write!(head, "Content-Length: {length}\r\n\r\n");
        head.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Route {
        Route {
            origin: "http://web.virtual".to_owned(),
            fields: "Host: web.virtual\r\nProxy-Authorization: Bearer t\r\n".to_owned(),
            ..Route::plain("127.0.0.1:1".parse().unwrap(), None)
        }
    }

    #[test]
    fn a_proxy_is_asked_for_the_whole_url_with_a_token() {
        assert_eq!(
            String::from_utf8(proxy().get("/1k", false)).unwrap(),
            "GET http://web.virtual/1k HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer t\r\n\r\n"
        );
    }

    #[test]
    fn the_last_request_of_a_connection_says_so() {
        let text = String::from_utf8(proxy().get("/1k", true)).unwrap();
        assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
    }

    #[test]
    fn an_upload_tells_its_length() {
        let text = String::from_utf8(proxy().post("/sink", 12)).unwrap();
        assert!(
            text.starts_with("POST http://web.virtual/sink HTTP/1.1\r\n"),
            "{text}"
        );
        assert!(text.ends_with("Content-Length: 12\r\n\r\n"), "{text}");
    }
}
