//! Which records a question finds, and times as people write them.

use adit_audit::{Decision, Gap, Request, Tunnel};

use super::*;

fn decision(caller: &'static str) -> Record<'static> {
    Record::Decision(Decision {
        unix_ms: 1_000_000,
        request: Text::of("77"),
        subaccount: Text::of("acme"),
        caller: Text::of(caller),
        system: Text::of("erp.virtual:80"),
        method: Some(Text::of("GET")),
        path: Some(Text::of("/a")),
        upgrade: false,
        outcome: Outcome::Denied {
            reason: Text::of("resource-denied"),
        },
        version: 3,
    })
}

fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    change(&mut filter);
    filter
}

#[test]
fn each_question_is_asked_of_decisions() {
    let yes = |text: &str| Some(text.to_owned());
    for (filter, is_taken) in [
        (Filter::default(), true),
        (filter(|f| f.caller = yes("app")), true),
        (filter(|f| f.caller = yes("ap")), false),
        (filter(|f| f.system = yes("erp.virtual")), true),
        (filter(|f| f.system = yes("erp.virtual:80")), true),
        (filter(|f| f.system = yes("erp.virtual:81")), false),
        (filter(|f| f.outcome = yes("denied")), true),
        (filter(|f| f.outcome = yes("allowed")), false),
        (filter(|f| f.request_id = yes("77")), true),
        (filter(|f| f.request_id = yes("7")), false),
        (filter(|f| f.since = Some(Moment(1_000_000))), true),
        (filter(|f| f.since = Some(Moment(1_000_001))), false),
        (filter(|f| f.until = Some(Moment(1_000_001))), true),
        (filter(|f| f.until = Some(Moment(1_000_000))), false),
    ] {
        assert_eq!(filter.takes(&decision("app")), is_taken, "{filter:?}");
    }
}

#[test]
fn what_a_gateway_refused_is_found_as_what_an_agent_denied_is() {
    let request = |outcome| {
        Record::Request(Request {
            unix_ms: 1,
            request: Text::of("77"),
            door: Text::of("http"),
            from: Text::of("192.0.2.7:1"),
            subaccount: None,
            caller: None,
            location: None,
            system: Some(Text::of("erp.virtual:80")),
            method: Some(Text::of("GET")),
            path: Some(Text::of("/a")),
            agent: None,
            tunnel: None,
            outcome,
        })
    };
    let tunnel = |event| {
        Record::Tunnel(Tunnel {
            unix_ms: 1,
            tunnel: None,
            from: Text::of("192.0.2.7:1"),
            identity: Some(Text::of("spiffe://x/agent")),
            serial: None,
            location: None,
            event,
        })
    };
    let reason = || Text::of("draining");
    let words = Text::of("later");
    let asked = |outcome: &str| filter(|f| f.outcome = Some(outcome.to_owned()));
    for (record, allowed, denied) in [
        (
            request(RequestOutcome::Passed { status: Some(200) }),
            true,
            false,
        ),
        (
            request(RequestOutcome::Refused { reason: reason() }),
            false,
            true,
        ),
        (
            request(RequestOutcome::RefusedByAgent { reason: reason() }),
            false,
            true,
        ),
        (request(RequestOutcome::BrokenOff), false, false),
        (tunnel(TunnelEvent::Up), true, false),
        (tunnel(TunnelEvent::Ended { how: reason() }), false, false),
        (
            tunnel(TunnelEvent::Refused {
                reason: reason(),
                words,
            }),
            false,
            true,
        ),
    ] {
        assert_eq!(asked("allowed").takes(&record), allowed, "{record:?}");
        assert_eq!(asked("denied").takes(&record), denied, "{record:?}");
        let of = |change: fn(&mut Filter)| filter(change).takes(&record);
        let is_request = matches!(record, Record::Request(_));
        assert_eq!(
            of(|f| f.system = Some("erp.virtual".to_owned())),
            is_request
        );
        assert_eq!(of(|f| f.request_id = Some("77".to_owned())), is_request);
        let of_agent = of(|f| f.caller = Some("spiffe://x/agent".to_owned()));
        assert_eq!(of_agent, !is_request);
        assert!(!of(|f| f.caller = Some("app".to_owned())));
    }
}

#[test]
fn other_records_are_shown_unless_something_of_decisions_is_asked() {
    let gap = Record::Gap(Gap {
        unix_ms: 5,
        since_unix_ms: 1,
        lost: 2,
    });
    assert!(Filter::default().takes(&gap));
    assert!(!filter(|f| f.caller = Some("app".to_owned())).takes(&gap));
}

#[test]
fn times_are_moments_or_so_long_ago() {
    let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
    for (text, seconds) in [
        ("1970-01-12T13:46:40Z", 1_000_000),
        ("90s", 999_910),
        ("15m", 999_100),
        ("12h", 956_800),
        ("7d", 395_200),
        ("99999d", 0),
    ] {
        assert_eq!(read_moment(text, now), Ok(Moment(seconds * 1000)), "{text}");
    }
    for text in [
        "",
        "7",
        "d",
        "-7d",
        "7w",
        "yesterday",
        "18446744073709551615d",
        "\u{e4}",
    ] {
        assert!(read_moment(text, now).is_err(), "{text}");
    }
    assert_eq!(time_of(1_000_000_007), "1970-01-12T13:46:40.007Z");
    assert_eq!(time_of(u64::MAX), u64::MAX.to_string());
}
