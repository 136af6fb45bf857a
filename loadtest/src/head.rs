//! As much of HTTP/1.1 as a load needs: where a head ends, its status, how long its body is.
//!
//! What is sent here is known, so this reads leniently; judging messages is the product's work.

use memchr::memmem;

/// What of a head matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length with the blank line.
    pub(crate) bytes: usize,
    /// Of a response; 0 in a request.
    pub(crate) status: u16,
    /// `None`: to the end of the connection, or chunked.
    pub(crate) body: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) closes: bool,
}

/// The head at the front of `bytes`, once it is whole.
pub(crate) fn read(bytes: &[u8]) -> Option<Head> {
    let end = memmem::find(bytes, b"\r\n\r\n")?;
    let text = bytes.get(..end)?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let status = first
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    let mut head = Head {
        bytes: end + 4,
        status,
        body: None,
        chunked: false,
        closes: first.ends_with(b"HTTP/1.0\r") || first.starts_with(b"HTTP/1.0 "),
    };
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            head.body = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            head.closes |= value.eq_ignore_ascii_case(b"close");
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole_and_not_before() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello";
        for cut in 0..38 {
            assert_eq!(read(&whole[..cut]), None, "{cut}");
        }
        let head = read(whole).unwrap();
        assert_eq!((head.bytes, head.status, head.body), (38, 200, Some(5)));
        assert!(!head.closes);
    }

    #[test]
    fn a_body_may_have_no_length() {
        let head =
            read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        let head = head.unwrap();
        assert!(head.chunked && head.closes);
        assert_eq!(head.body, None);
    }

    #[test]
    fn a_request_has_no_status() {
        let head = read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!((head.status, head.body), (0, None));
    }
}
