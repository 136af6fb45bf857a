//! A second reading of HTTP heads, slow and plain, with nothing borrowed from the reader under test.

/// What RFC 9112 asks of any head, line by line.
pub(crate) fn assert_strict(head: &[u8]) {
    assert_line_ends(head);
    let text = &head[..head.len() - 4];
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    assert!(lines.next().is_some_and(|line| !line.is_empty()));
    let (mut lengths, mut codings) = (0, 0);
    for line in lines {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .expect("a field has a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(!name.is_empty() && name.iter().all(|byte| is_token(*byte)));
        assert!(
            value
                .iter()
                .all(|byte| !byte.is_ascii_control() || *byte == b'\t')
        );
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            assert!(!value.is_empty() && value.iter().all(u8::is_ascii_digit));
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            assert!(value.eq_ignore_ascii_case(b"chunked"));
        }
    }
    assert!(lengths + codings <= 1, "one message, one length");
}

/// Every line ends with CRLF, the head with an empty one, and neither byte stands elsewhere.
pub(crate) fn assert_line_ends(head: &[u8]) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "bare LF at {at}"),
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "bare CR at {at}"),
            0 => panic!("NUL at {at}"),
            _ => {}
        }
    }
    assert!(head.ends_with(b"\r\n\r\n"));
    let blank = head.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(blank, Some(head.len() - 4), "a head within a head");
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
