//! H-07: the same bytes to adit and to another server. What adit forwards, that server must have read in the same way.

use std::net::SocketAddr;
use std::time::Duration;

use adit_tests::wait::SOON;
use adit_tests::{Backend, Connection, Haproxy, Nginx, Rules, World, backend, until};

/// Requests at the borders of the grammar. `{auth}` becomes the fields of the caller.
const ODD: &[&str] = &[
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual?q HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/?a=/../b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a#f HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://WEB.virtual/a HTTP/1.1\r\nHost: web.VIRTUAL\r\n{auth}\r\n",
    "GET http://web.virtual:80/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual:/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual./a HTTP/1.1\r\nHost: web.virtual.\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: other.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost:   web.virtual  \r\n{auth}\r\n",
    "get http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a%20b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/\u{c3}\u{a9} HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual//a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a/../b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/%2e%2e/b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a\\b HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Connection: close, TE\r\nTE: trailers\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}X: \r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}X:1\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}X: a\tb\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}X: \u{80}\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}X: a\r\n b\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\nHost: web.virtual\n{auth}\n",
    "\r\nGET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 0\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 5\r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 005\r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 5 \r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: +5\r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding:  chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked\r\n\r\n05\r\nhello\r\n000\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5;e=\"x\"\r\nhello\r\n0;z\r\nX: 1\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.0\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.0\r\nHost: web.virtual\r\n{auth}Connection: keep-alive\r\n\r\n",
    "GET http://web.virtual/a HTTP/1.1 \r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a  HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://web.virtual/a HTTP/1.01\r\nHost: web.virtual\r\n{auth}\r\n",
    "GET http://user@web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n{auth}\r\n",
];

/// A server that logs what it reads. Bodies are not logged; their ends show in where the next request begins.
trait Reader {
    fn address(&self) -> SocketAddr;
    fn log(&self) -> Vec<String>;
}

impl Reader for Nginx {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn log(&self) -> Vec<String> {
        self.access_log()
    }
}

impl Reader for Haproxy {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn log(&self) -> Vec<String> {
        self.access_log()
    }
}

#[test]
fn h07_what_is_forwarded_is_what_nginx_reads_in_the_same_bytes() {
    reads_alike(&Nginx::start(), &Nginx::start(), &[]);
}

#[test]
fn h07_what_is_forwarded_is_what_haproxy_reads_in_the_same_bytes() {
    let server = Backend::saying(backend::ok("hello"));
    let start = || Haproxy::start(server.address());
    // RFC 3986, section 3.3: the path behind an authority may be empty. HAProxy 2.6 wants one before a query.
    reads_alike(&start(), &start(), &["GET http://web.virtual?q "]);
}

/// `refused_well` are beginnings of cases that this server refuses although they can be read in one way only.
fn reads_alike(direct: &impl Reader, behind: &impl Reader, refused_well: &[&str]) {
    let url = format!("http://{}", behind.address());
    let world = World::with(Rules::none().http("web.virtual:80", url));
    let auth = world.credentials();
    let (mut forwarded, mut refused) = (0, 0);
    for (number, odd) in ODD.iter().enumerate() {
        let mark = format!("http://web.virtual/mark-{number}");
        let mark =
            format!("GET {mark} HTTP/1.1\r\nHost: web.virtual\r\n{auth}Connection: close\r\n\r\n");
        // Latin-1: a byte for a char, so that a case may hold any byte.
        let bytes: Vec<u8> = odd
            .replace("{auth}", &auth)
            .chars()
            .map(|char| u8::try_from(u32::from(char)).unwrap())
            .chain(mark.bytes())
            .collect();
        let (seen_direct, seen_behind) = (direct.log().len(), behind.log().len());
        drain(Connection::open(direct.address()).unwrap(), &bytes);
        let answers = drain(world.connect(), &bytes);
        let direct_lines = lines_from(direct, seen_direct, number);
        let behind_lines = lines_from(behind, seen_behind, number);

        let mark = format!("GET /mark-{number}");
        let ours = behind_lines.first().filter(|line| **line != mark);
        if ours.is_some() {
            forwarded += 1;
        } else {
            refused += 1;
            assert!(
                answers.contains("adit-refusal") || direct_lines.is_empty(),
                "{number}"
            );
        }
        // adit may refuse what the server takes. What it does forward, the server has read in the same bytes; where
        // it ends the connection at once, the mark may still come, because the client's lives on.
        let mut unread = direct_lines.iter();
        let read_alike = behind_lines.iter().all(|line| {
            unread.any(|direct| direct == line) || (direct_lines.is_empty() && *line == mark)
        });
        if direct_lines.is_empty() && refused_well.iter().any(|case| odd.starts_with(case)) {
            assert_eq!(behind_lines.len(), 2, "case {number}: {behind_lines:?}");
            continue;
        }
        assert!(
            read_alike,
            "case {number} is read in two ways: {odd:?}\ndirect {direct_lines:?}\nbehind adit {behind_lines:?}\n\
             adit answered {answers}"
        );
    }
    assert!(
        forwarded >= 10 && refused >= 10,
        "{forwarded} forwarded, {refused} refused: the set is one-sided"
    );
}

fn drain(mut connection: Connection, bytes: &[u8]) -> String {
    // The mark asks for the end; where it is not seen as a request, silence says the same.
    connection.patience(Duration::from_secs(2)).unwrap();
    let _ = connection.send(bytes);
    String::from_utf8_lossy(&connection.to_close().unwrap_or_default()).into_owned()
}

// Method and path of each request that a server read well, whatever the form of the target.
fn lines_from(server: &impl Reader, start: usize, number: usize) -> Vec<String> {
    // They serve one event after the other: when this is logged, all before is logged, too.
    let sync = format!("/sync-{number}");
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!(
            "GET {sync} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
        .unwrap();
    assert!(!connection.to_close().unwrap().is_empty());
    until("the server has logged", SOON, || {
        server.log().iter().any(|line| line.contains(&sync))
    });
    let lines = server.log().into_iter().skip(start);
    lines
        .filter(|line| !line.starts_with("400 ") && !line.contains("/sync-"))
        .map(|line| {
            let request = line.split('"').nth(1).unwrap_or_default().to_owned();
            let method = request.split(' ').next().unwrap_or_default();
            let target = request.split(' ').nth(1).unwrap_or_default();
            let rest = target
                .to_ascii_lowercase()
                .strip_prefix("http://")
                .map(|rest| rest.len());
            let path = match rest {
                Some(length) => {
                    let rest = &target[target.len() - length..];
                    match rest.find(['/', '?']) {
                        Some(at) if rest[at..].starts_with('?') => format!("/{}", &rest[at..]),
                        Some(at) => rest[at..].to_owned(),
                        None => "/".to_owned(),
                    }
                }
                None => target.to_owned(),
            };
            format!("{method} {path}")
        })
        .collect()
}
