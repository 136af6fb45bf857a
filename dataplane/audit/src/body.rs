//! What a line tells beside its place in the chain, as the bytes that stand in it.
//!
//! The bytes are those that serde writes for a [`Record`]; what there is one of a request, a decision at an agent and the
//! request itself at a gateway, is written here by hand, ten times as fast. Who records may write a body where a request is judged, and chain it later elsewhere.
use crate::gateway::{Request, RequestOutcome};
use crate::record::{Decision, Outcome, Record};
use crate::text::Text;

/// Appends the body of a line: the members of `record` and the brace that closes them. No line feed is in it.
pub fn write_body(record: &Record<'_>, out: &mut Vec<u8>) {
    match record {
        Record::Decision(decision) => return write_decision(decision, out),
        Record::Request(request) => return write_request(request, out),
        Record::Started(_)
        | Record::Tunnel(_)
        | Record::RulesPushed(_)
        | Record::Act(_)
        | Record::Gap(_)
        | Record::Recovered(_)
        | Record::Checkpoint(_)
        | Record::SegmentRemoved(_)
        | Record::Stopped(_) => {}
    }
    let start = out.len();
    serde_json::to_writer(&mut *out, record)
        .expect("records have text keys and a vector takes all that is written to it");
    // The brace that opens them: the number and the digest stand before them in the same object.
    out.remove(start);
}

/// Appends a number in decimal: a tenth of what formatting costs, and each record has three.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut left = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

// Names and quotation marks around a text are written in one: each piece costs a look at the room that is left.
fn write_decision(decision: &Decision<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"record\":\"decision\",\"unix_ms\":");
    write_number(decision.unix_ms, out);
    out.extend_from_slice(b",\"request\":\"");
    write_quoted(&decision.request, out);
    out.extend_from_slice(b"\",\"subaccount\":\"");
    write_quoted(&decision.subaccount, out);
    out.extend_from_slice(b"\",\"caller\":\"");
    write_quoted(&decision.caller, out);
    out.extend_from_slice(b"\",\"system\":\"");
    write_quoted(&decision.system, out);
    out.push(b'"');
    write_option(b",\"method\":", decision.method.as_ref(), out);
    write_option(b",\"path\":", decision.path.as_ref(), out);
    if decision.upgrade {
        out.extend_from_slice(b",\"upgrade\":true");
    }
    let (opening, text) = match &decision.outcome {
        Outcome::Allowed { rule } => (&b",\"outcome\":{\"allowed\":{\"rule\":\""[..], rule),
        Outcome::Denied { reason } => (&b",\"outcome\":{\"denied\":{\"reason\":\""[..], reason),
    };
    out.extend_from_slice(opening);
    write_quoted(text, out);
    out.extend_from_slice(b"\"}},\"version\":");
    write_number(decision.version, out);
    out.push(b'}');
}

fn write_request(request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"record\":\"request\",\"unix_ms\":");
    write_number(request.unix_ms, out);
    out.extend_from_slice(b",\"request\":\"");
    write_quoted(&request.request, out);
    out.extend_from_slice(b"\",\"door\":\"");
    write_quoted(&request.door, out);
    out.extend_from_slice(b"\",\"from\":\"");
    write_quoted(&request.from, out);
    out.push(b'"');
    for (name, text) in [
        (&b",\"subaccount\":"[..], &request.subaccount),
        (b",\"caller\":", &request.caller),
        (b",\"location\":", &request.location),
        (b",\"system\":", &request.system),
        (b",\"method\":", &request.method),
        (b",\"path\":", &request.path),
        (b",\"agent\":", &request.agent),
    ] {
        write_option(name, text.as_ref(), out);
    }
    out.extend_from_slice(b",\"tunnel\":");
    write_number_or_null(request.tunnel, out);
    out.extend_from_slice(b",\"outcome\":");
    let (opening, reason) = match &request.outcome {
        RequestOutcome::Passed { status } => {
            out.extend_from_slice(b"{\"passed\":{\"status\":");
            write_number_or_null(status.map(u64::from), out);
            out.extend_from_slice(b"}}}");
            return;
        }
        RequestOutcome::BrokenOff => {
            out.extend_from_slice(b"\"broken-off\"}");
            return;
        }
        RequestOutcome::Refused { reason } => (&b"{\"refused\":{\"reason\":\""[..], reason),
        RequestOutcome::RefusedByAgent { reason } => {
            (&b"{\"refused-by-agent\":{\"reason\":\""[..], reason)
        }
    };
    out.extend_from_slice(opening);
    write_quoted(reason, out);
    out.extend_from_slice(b"\"}}}");
}

fn write_option(name: &[u8], text: Option<&Text<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    match text {
        Some(text) => {
            out.push(b'"');
            write_quoted(text, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn write_number_or_null(number: Option<u64>, out: &mut Vec<u8>) {
    match number {
        Some(number) => write_number(number, out),
        None => out.extend_from_slice(b"null"),
    }
}

// What stands between the quotation marks.
fn write_quoted(text: &Text<'_>, out: &mut Vec<u8>) {
    if let Some(bytes) = text.as_quotable() {
        out.extend_from_slice(bytes);
    } else {
        // It writes the marks as well.
        out.pop();
        serde_json::to_writer(&mut *out, text.as_str())
            .expect("a vector takes all that is written");
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_serde_writes(record: &Record<'_>) -> Vec<u8> {
        serde_json::to_vec(record).unwrap().split_off(1)
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        for number in [0, 1, 9, 10, 42, 100, u64::MAX] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    proptest! {
        #[test]
        fn a_decision_is_written_as_serde_writes_it(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 7),
            unix_ms in any::<u64>(), version in any::<u64>(), http in any::<bool>(), allowed in any::<bool>(),
            upgrade in any::<bool>(),
        ) {
            let text = |index: usize| Text::of(&texts[index]);
            let record = Record::Decision(Decision {
                unix_ms,
                request: text(0),
                subaccount: text(1),
                caller: text(2),
                system: text(3),
                method: http.then(|| text(4)),
                path: http.then(|| text(5)),
                upgrade,
                outcome: if allowed {
                    Outcome::Allowed { rule: text(6) }
                } else {
                    Outcome::Denied { reason: text(6) }
                },
                version,
            });
            let mut out = b"before".to_vec();
            write_body(&record, &mut out);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(out.strip_prefix(b"before").unwrap(), as_serde_writes(&record));
        }

        #[test]
        fn a_request_at_a_gateway_is_written_as_serde_writes_it(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 11),
            there in prop::collection::vec(any::<bool>(), 11),
            unix_ms in any::<u64>(), tunnel in any::<Option<u64>>(), status in any::<Option<u16>>(), ending in 0..4,
        ) {
            let text = |index: usize| Text::of(&texts[index]);
            let option = |index: usize| there[index].then(|| text(index));
            let record = Record::Request(Request {
                unix_ms,
                request: text(0),
                door: text(1),
                from: text(2),
                subaccount: option(3),
                caller: option(4),
                location: option(5),
                system: option(6),
                method: option(7),
                path: option(8),
                agent: option(9),
                tunnel,
                outcome: match ending {
                    0 => RequestOutcome::Passed { status },
                    1 => RequestOutcome::Refused { reason: text(10) },
                    2 => RequestOutcome::RefusedByAgent { reason: text(10) },
                    _ => RequestOutcome::BrokenOff,
                },
            });
            let mut out = b"before".to_vec();
            write_body(&record, &mut out);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(out.strip_prefix(b"before").unwrap(), as_serde_writes(&record));
            let line = [&b"{"[..], &as_serde_writes(&record)].concat();
            prop_assert_eq!(&serde_json::from_slice::<Record<'_>>(&line).unwrap(), &record);
        }
    }
}
