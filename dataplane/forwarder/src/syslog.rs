//! Messages of syslog (RFC 5424), counted by octets as TLS carries them (RFC 5425, section 4.3).
//!
//! Quiet: values in, bytes out. The line of the chain is the message, so that a receiver can verify what it has.

use crate::place::{Gap, Lines, Severity};
use crate::settings::Syslog;
use crate::status::Who;

/// All messages of a batch, a gap before them told first.
pub(crate) fn messages(lines: &Lines, to: &Syslog, who: &Who, now_unix_ms: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut one = Vec::new();
    if let Some(gap) = lines.gap() {
        let head = Head {
            severity: Severity::Warning,
            unix_ms: now_unix_ms,
            kind: "not-sent",
            element: format!("from=\"{}\" to=\"{}\"", gap.from, gap.to),
        };
        message(&head, to, who, gap_text(gap).as_bytes(), &mut one);
        frame(&mut one, &mut out);
    }
    for item in lines.items() {
        let head = Head {
            severity: item.severity,
            unix_ms: item.unix_ms,
            kind: item.kind,
            element: format!("sequence=\"{}\"", item.sequence),
        };
        message(&head, to, who, lines.text(item), &mut one);
        frame(&mut one, &mut out);
    }
    out
}

/// What is said of records that were removed before they were sent: like a line, and none of the chain.
pub(crate) fn gap_text(gap: Gap) -> String {
    format!(
        "{{\"forwarder\":\"not-sent\",\"from\":{},\"to\":{},\"records\":{}}}",
        gap.from,
        gap.to,
        gap.records()
    )
}

struct Head {
    severity: Severity,
    unix_ms: u64,
    kind: &'static str,
    element: String,
}

// RFC 5424, section 6: HEADER SP STRUCTURED-DATA SP MSG. PROCID is nil: a record outlives its process.
fn message(head: &Head, to: &Syslog, who: &Who, text: &[u8], out: &mut Vec<u8>) {
    let priority = to.facility * 8 + head.severity.syslog();
    let header = format!(
        "<{priority}>1 {} {} {} - {} [{ELEMENT} node=\"{}\" {}] ",
        timestamp(head.unix_ms),
        host(&who.host),
        to.app_name,
        head.kind,
        value(&who.node),
        head.element,
    );
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(text);
}

//= RFC 5425, section 4.3
//# SYSLOG-FRAME = MSG-LEN SP SYSLOG-MSG
fn frame(one: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.extend_from_slice(one.len().to_string().as_bytes());
    out.push(b' ');
    out.append(one);
}

/// RFC 5424, section 6.2.3: of RFC 3339, at most six digits of a second. A time beyond the calendar is told as unknown.
fn timestamp(unix_ms: u64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return "-".to_owned();
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// RFC 5424, section 6: HOSTNAME is 1 to 255 printable characters, or nil.
fn host(name: &str) -> String {
    let name: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

//= RFC 5424, section 6.3.3
//# Inside PARAM-VALUE, the characters '"' (ABNF %d34), '\' (ABNF %d92),
//# and ']' (ABNF %d93) MUST be escaped.
fn value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        if !letter.is_control() {
            escaped.push(letter);
        }
    }
    escaped
}

/// SD-ID of our element. 32473 is the enterprise number for documentation (RFC 5612): adit has none of its own, and
/// ids without one belong to IANA (RFC 5424, section 7).
const ELEMENT: &str = "adit@32473";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;
    use crate::test_world::{chain, who};
    use crate::{RawSyslog, Sink};

    fn to(facility: &str) -> Syslog {
        let raw = RawSyslog {
            server: Some("logs.example".to_owned()),
            facility: Some(facility.to_owned()),
            app_name: Some("aditd".to_owned()),
            ..RawSyslog::default()
        };
        match Sink::syslog(raw).unwrap().0 {
            crate::settings::Kind::Syslog(syslog) => syslog,
            crate::settings::Kind::Otlp(_) => unreachable!("it is syslog"),
        }
    }

    #[test]
    fn a_message_says_who_when_and_what_and_carries_the_line_itself() {
        let line = &chain(1, 0)[0];
        let mut lines = Lines::behind(&Place::START, 1).unwrap();
        lines.push(line).unwrap();
        let text = String::from_utf8(messages(&lines, &to("local0"), &who(), 0)).unwrap();
        // local0 is 16, notice is 5; 1700000000 is 2023-11-14T22:13:20Z.
        let head = "<133>1 2023-11-14T22:13:20.000Z machine aditd - act [adit@32473 node=\"agent-1\" sequence=\"1\"] ";
        let body = std::str::from_utf8(line).unwrap().trim_end();
        let message = format!("{head}{body}");
        assert_eq!(text, format!("{} {message}", message.len()));
    }

    #[test]
    fn what_was_not_sent_is_told_before_what_follows() {
        let all = chain(5, 0);
        let mut first = Lines::behind(&Place::START, 5).unwrap();
        first.push(&all[0]).unwrap();
        let mut lines = Lines::behind(&first.end(), 5).unwrap();
        lines.push(&all[4]).unwrap();
        let text = String::from_utf8(messages(&lines, &to("audit"), &who(), 1_000)).unwrap();
        // 13 * 8 + 4
        assert!(
            text.contains(" <108>1 ")
                || text
                    .split_once(' ')
                    .unwrap()
                    .1
                    .starts_with("<108>1 1970-01-01T00:00:01.000Z")
        );
        assert!(text.contains(
            "from=\"2\" to=\"4\"] {\"forwarder\":\"not-sent\",\"from\":2,\"to\":4,\"records\":3}"
        ));
        assert!(text.contains("sequence=\"5\""));
    }

    #[test]
    fn names_cannot_leave_their_places() {
        assert_eq!(value("a\"b\\c]d\n"), "a\\\"b\\\\c\\]d");
        assert_eq!(host("a b\nc"), "abc");
        assert_eq!(host(""), "-");
        assert_eq!(host(&"h".repeat(300)).len(), 255);
        assert_eq!(timestamp(u64::MAX), "-");
        assert_eq!(timestamp(951_782_400_007), "2000-02-29T00:00:00.007Z");
    }
}
