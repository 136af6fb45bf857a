//! Chains written, read, and tampered with.
use proptest::prelude::*;

use super::*;
use crate::limits::TEXT_BYTES_MAX;
use crate::{
    Chain, Decision, Gap, Outcome, PushOutcome, Request, RequestOutcome, RulesPushed, Started,
    Stopped, Text, Tunnel, TunnelEvent,
};

fn decision(number: u64, path: &[u8]) -> Record<'_> {
    Record::Decision(Decision {
        unix_ms: 1_700_000_000_000 + number,
        request: Text::of("00112233445566778899aabbccddeeff"),
        subaccount: Text::of("sub-1"),
        caller: Text::of("app"),
        system: Text::of("erp.virtual:80"),
        method: Some(Text::of("GET")),
        path: Some(Text::of(path)),
        upgrade: false,
        outcome: if number.is_multiple_of(2) {
            Outcome::Allowed {
                rule: Text::of("/sap"),
            }
        } else {
            Outcome::Denied {
                reason: Text::of("resource-denied"),
            }
        },
        version: 42,
    })
}

fn records() -> Vec<Record<'static>> {
    vec![
        Record::Started(Started {
            unix_ms: 1,
            node: Text::of("agent-1"),
            software: Text::of("aditd 0.1.0"),
        }),
        Record::RulesPushed(RulesPushed {
            unix_ms: 2,
            by: Text::of("operator"),
            version: 42,
            hash: Digest::of(b"rules"),
            outcome: PushOutcome::InForce,
        }),
        decision(3, b"/sap/x"),
        decision(4, b"/a\"b\\c\n\xff"),
        Record::Decision(Decision {
            unix_ms: 5,
            request: Text::of(""),
            subaccount: Text::of("sub-1"),
            caller: Text::of("app"),
            system: Text::of("db.virtual:5432"),
            method: None,
            path: None,
            upgrade: false,
            outcome: Outcome::Denied {
                reason: Text::of("port-denied"),
            },
            version: 42,
        }),
        Record::RulesPushed(RulesPushed {
            unix_ms: 6,
            by: Text::of("operator"),
            version: 41,
            hash: Digest::of(b"old rules"),
            outcome: PushOutcome::Refused {
                reason: Text::of("version 41 is older than 42"),
            },
        }),
        Record::Gap(Gap {
            unix_ms: 9,
            since_unix_ms: 7,
            lost: 3,
        }),
        Record::Request(Request {
            unix_ms: 9,
            request: Text::of("00112233445566778899aabbccddeeff"),
            door: Text::of("http"),
            from: Text::of("192.0.2.7:40000"),
            subaccount: None,
            caller: None,
            location: None,
            system: Some(Text::of("erp.virtual:80")),
            method: Some(Text::of("GET")),
            path: Some(Text::of("/sap/x")),
            agent: None,
            tunnel: None,
            outcome: RequestOutcome::Refused {
                reason: Text::of("token-expired"),
            },
        }),
        Record::Tunnel(Tunnel {
            unix_ms: 9,
            tunnel: Some(0),
            from: Text::of("[2001:db8::1]:40000"),
            identity: Some(Text::of("spiffe://adit.local/subaccount/acme/agent/a1")),
            serial: Some(Text::of("9a")),
            location: Some(Text::of("")),
            event: TunnelEvent::Up,
        }),
        Record::Stopped(Stopped { unix_ms: 10 }),
    ]
}

/// The lines of these records, each with its line feed.
fn lines(start: Digest, records: &[Record<'_>]) -> Vec<Vec<u8>> {
    let mut chain = Chain::new(start);
    let write = |record| {
        let mut line = Vec::new();
        chain.append(record, &mut line);
        line
    };
    records.iter().map(write).collect()
}

fn length(lines: &[Vec<u8>]) -> u64 {
    u64::try_from(lines.concat().len()).unwrap()
}

fn check(start: Option<Digest>, lines: &[Vec<u8>]) -> Result<Summary, Broken> {
    verify(start, lines.iter().map(Vec::as_slice))
}

#[test]
fn what_a_chain_writes_is_whole_and_tells_the_same_records() {
    let records = records();
    let lines = lines(Digest::ZERO, &records);
    let mut verifier = Verifier::new(Some(Digest::ZERO));
    for (line, record) in lines.iter().zip(&records) {
        assert_eq!(verifier.line(line).as_ref(), Ok(record));
        assert_eq!(
            verifier.line(line).unwrap_err().line,
            verifier.summary().lines + 1
        );
    }
    let summary = verifier.summary();
    assert_eq!(summary.lines, 10);
    assert_eq!(summary.sequence, 10);
    assert_eq!(summary.start, Digest::ZERO);
    assert_eq!(summary.last, Digest::of(lines.last().unwrap()));
    assert_eq!(summary.bytes, length(&lines));
}

#[test]
fn a_line_is_json_that_people_can_read() {
    let lines = lines(Digest::ZERO, &[decision(3, b"/sap/x")]);
    let text = std::str::from_utf8(&lines[0]).unwrap();
    let zero = "0".repeat(64);
    assert_eq!(
        text,
        format!(
            "{{\"sequence\":1,\"previous\":\"{zero}\",\"record\":\"decision\",\"unix_ms\":1700000000003,\
             \"request\":\"00112233445566778899aabbccddeeff\",\"subaccount\":\"sub-1\",\"caller\":\"app\",\
             \"system\":\"erp.virtual:80\",\"method\":\"GET\",\"path\":\"/sap/x\",\
             \"outcome\":{{\"denied\":{{\"reason\":\"resource-denied\"}}}},\"version\":42}}\n"
        )
    );
}

#[test]
fn a_chain_goes_on_in_another_file() {
    let records = records();
    let whole = lines(Digest::ZERO, &records);
    let first = check(Some(Digest::ZERO), &whole[..3]).unwrap();
    let mut chain = Chain::after(&first);
    let mut rest = Vec::new();
    for record in &records[3..] {
        let mut line = Vec::new();
        chain.append(record, &mut line);
        rest.push(line);
    }
    assert_eq!(rest, whole[3..]);
    assert_eq!(check(Some(first.last), &rest).unwrap().sequence, 10);
    assert_eq!(check(None, &rest).unwrap().start, first.last);
    assert_eq!(
        check(Some(Digest::ZERO), &rest).unwrap_err().defect,
        Defect::Unlinked {
            expected: Digest::ZERO,
            found: first.last
        }
    );
}

#[test]
fn an_empty_chain_is_whole() {
    let summary = check(Some(Digest::of(b"before")), &[]).unwrap();
    assert_eq!((summary.lines, summary.last), (0, Digest::of(b"before")));
}

#[test]
fn r02_every_changed_byte_is_noticed_at_its_line_or_the_next() {
    let lines = lines(Digest::ZERO, &records());
    // The last line has no next one: a change that leaves it well-formed shows only in the digest kept elsewhere.
    let last = lines.len() - 1;
    let expected = check(Some(Digest::ZERO), &lines).unwrap().last;
    for at in 0..lines.len() {
        for byte in 0..lines[at].len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = lines.clone();
                changed[at][byte] ^= flip;
                match check(Some(Digest::ZERO), &changed) {
                    Err(broken) => {
                        let line = usize::try_from(broken.line).unwrap() - 1;
                        assert!(line == at || line == at + 1, "line {at}, byte {byte}");
                    }
                    Ok(summary) => {
                        assert_eq!(at, last, "byte {byte}");
                        assert_ne!(summary.last, expected, "byte {byte}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_line_taken_out_put_in_twice_or_moved_is_noticed() {
    let lines = lines(Digest::ZERO, &records());
    for (at, number) in (0..lines.len() - 1).zip(0..) {
        let mut without = lines.clone();
        without.remove(at);
        let broken = check(Some(Digest::ZERO), &without).unwrap_err();
        assert_eq!(broken.line, number + 1);
        assert!(matches!(broken.defect, Defect::Unlinked { .. }), "{broken}");

        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        assert_eq!(
            check(Some(Digest::ZERO), &twice).unwrap_err().line,
            number + 2
        );

        let mut moved = lines.clone();
        moved.swap(at, at + 1);
        assert_eq!(
            check(Some(Digest::ZERO), &moved).unwrap_err().line,
            number + 1
        );
    }
}

#[test]
fn r02_a_torn_line_is_told_with_the_bytes_that_are_whole() {
    let lines = lines(Digest::ZERO, &records());
    let mut torn = lines.clone();
    let last = torn.last_mut().unwrap();
    last.truncate(last.len() - 1);
    let broken = check(Some(Digest::ZERO), &torn).unwrap_err();
    assert_eq!(broken.defect, Defect::Torn);
    assert_eq!(broken.line, 10);
    assert_eq!(broken.whole_bytes, length(&lines[..9]));
    assert_eq!(
        broken.to_string(),
        "line 10: the line is cut off: it has no line feed"
    );
}

#[test]
fn what_reads_like_a_record_and_is_written_differently_is_refused() {
    let line = String::from_utf8(lines(Digest::ZERO, &[decision(3, b"/sap/x")]).concat()).unwrap();
    for (from, to) in [
        ("{\"sequence\":1", "{ \"sequence\":1"),
        ("\"version\":42", "\"version\":42,\"more\":1"),
        ("\"version\":42", "\"version\":042"),
        ("\"version\":42", "\"version\":42.0"),
        ("\"caller\":\"app\"", "\"caller\":\"\\u0061pp\""),
        ("\"record\":\"decision\"", "\"record\":\"decisions\""),
        ("\"sequence\":1", "\"sequence\":-1"),
        ("\"sequence\":1,", ""),
        ("\"method\":\"GET\"", "\"method\":[\"GET\"]"),
        ("}\n", "}\r\n"),
        ("}\n", "} \n"),
    ] {
        let changed = line.replacen(from, to, 1);
        assert_ne!(changed, line, "{from}");
        let broken = check(None, &[changed.into_bytes()]).unwrap_err();
        assert!(
            matches!(broken.defect, Defect::Malformed(_)),
            "{from} -> {to}: {broken}"
        );
    }
}

#[test]
fn a_sequence_that_jumps_is_noticed_even_when_it_is_linked() {
    let first = lines(Digest::ZERO, &records()).remove(0);
    let mut forged = Vec::new();
    Line {
        sequence: 3,
        previous: Digest::of(&first),
        record: decision(3, b"/"),
    }
    .write(&mut forged);
    assert_eq!(
        check(None, &[first, forged]).unwrap_err().defect,
        Defect::OutOfSequence {
            expected: 2,
            found: 3
        }
    );
}

#[test]
fn the_last_number_of_all_is_followed_by_none() {
    let mut line = Vec::new();
    Line {
        sequence: u64::MAX,
        previous: Digest::ZERO,
        record: decision(3, b"/"),
    }
    .write(&mut line);
    let summary = check(None, std::slice::from_ref(&line)).unwrap();
    let mut next = Vec::new();
    Chain::after(&summary).append(&decision(4, b"/"), &mut next);
    assert!(matches!(
        check(None, &[line, next]).unwrap_err().defect,
        Defect::OutOfSequence { .. }
    ));
}

#[test]
fn the_longest_record_fits_a_line_and_a_longer_line_is_refused_unread() {
    let long = vec![0xff; 70_000];
    let text = || Text::of(&long);
    let record = Record::Decision(Decision {
        unix_ms: u64::MAX,
        request: text(),
        subaccount: text(),
        caller: text(),
        system: text(),
        method: Some(text()),
        path: Some(text()),
        upgrade: false,
        outcome: Outcome::Denied { reason: text() },
        version: u64::MAX,
    });
    let at_gateway = Record::Request(Request {
        unix_ms: u64::MAX,
        request: text(),
        door: text(),
        from: text(),
        subaccount: Some(text()),
        caller: Some(text()),
        location: Some(text()),
        system: Some(text()),
        method: Some(text()),
        path: Some(text()),
        agent: Some(text()),
        tunnel: Some(u64::MAX),
        outcome: RequestOutcome::RefusedByAgent { reason: text() },
    });
    let lines = lines(Digest::ZERO, &[record, at_gateway]);
    // texts whose backslashes JSON doubles: 1,024 / 4 * 5 bytes each
    assert!(lines[0].len() > 7 * TEXT_BYTES_MAX / 4 * 5);
    assert!(lines[1].len() > 11 * TEXT_BYTES_MAX / 4 * 5);
    assert!(check(None, &lines).is_ok());

    let border = |bytes: usize| {
        let mut line = vec![b' '; bytes];
        line[bytes - 1] = b'\n';
        check(None, &[line]).unwrap_err().defect
    };
    assert!(matches!(border(LINE_BYTES_MAX), Defect::Malformed(_)));
    assert_eq!(border(LINE_BYTES_MAX + 1), Defect::TooLong);
}

proptest! {
    #[test]
    fn any_bytes_of_a_request_are_recorded_and_read_back(
        paths in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20)
    ) {
        let records: Vec<Record<'_>> = paths.iter().zip(0..).map(|(path, n)| decision(n, path)).collect();
        let lines = lines(Digest::ZERO, &records);
        let mut verifier = Verifier::new(Some(Digest::ZERO));
        for (line, record) in lines.iter().zip(&records) {
            let read = verifier.line(line);
            prop_assert_eq!(read.as_ref(), Ok(record));
        }
    }

    #[test]
    fn no_line_makes_the_verifier_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check(None, &[line]).is_err());
    }
}
