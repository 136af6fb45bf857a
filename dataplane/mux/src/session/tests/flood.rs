//! A peer that works against us: empty and tiny frames, pings, streams opened for nothing.

use super::*;
use crate::error::Flood;

/// Feeds `frame` until the session says go-away and until it fails; gives both counts.
fn flood_with(
    session: &mut Session<Bytes>,
    mut frame: impl FnMut(u32) -> Bytes,
    most: u32,
) -> (u32, u32, Error) {
    let mut away_at = 0;
    for n in 1..=most {
        let input = frame(n);
        let mut at = 0;
        loop {
            match session.receive(&input[at..], NOW) {
                Ok((taken, event)) => {
                    at += taken;
                    if event.is_none() {
                        break;
                    }
                }
                Err(error) => return (away_at, n, error),
            }
        }
        // The reader is quick; only the frames are the trouble.
        session.consumed(id(1), 1 << 20, NOW);
        if away_at == 0 && session.is_going_away() {
            away_at = n;
        }
    }
    panic!("{most} frames and no error");
}

fn with_stream() -> Session<Bytes> {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    session
}

#[test]
fn m04_empty_data_frames_end_in_go_away_at_75_percent_and_error_at_100() {
    let mut session = with_stream();
    let (away, error, why) = flood_with(&mut session, |_| raw(DATA, 0, 1, 0), 100_000);
    // 65536 units at 4 each.
    assert_eq!(
        (away, error, why),
        (12_288, 16_384, Error::Flood(Flood::Glitches))
    );
    assert_eq!(written(&mut session), [wrote(AWAY, 0, 0, 1)]);
}

#[test]
fn m04_one_byte_data_frames_end_in_go_away_and_error() {
    let mut session = with_stream();
    let (away, error, why) = flood_with(&mut session, |_| data(0, 1, b"x"), 100_000);
    assert_eq!(
        (away, error, why),
        (49_152, 65_536, Error::Flood(Flood::Glitches))
    );
}

#[test]
fn m04_flags_that_say_nothing_new_do_not_excuse_a_flood() {
    for flags in [ACK, 0x8000] {
        let mut session = with_stream();
        let (_, error, _) = flood_with(&mut session, |_| raw(DATA, flags, 1, 0), 100_000);
        assert_eq!(error, 16_384);
    }
    let mut session = with_stream();
    let (_, error, _) = flood_with(&mut session, |_| raw(DATA, FIN, 1, 0), 100_000);
    assert_eq!(error, 16_385, "the first FIN is in order");
}

#[test]
fn m04_window_updates_nobody_earned_are_a_flood() {
    let mut session = with_stream();
    let (_, error, _) = flood_with(&mut session, |_| raw(UPDATE, 0, 1, 1), 100_000);
    assert_eq!(error, 65_536);
    let mut session = with_stream();
    let (_, error, _) = flood_with(&mut session, |_| raw(UPDATE, 0, 1, 0), 100_000);
    assert_eq!(error, 16_384);
}

#[test]
fn m04_tiny_frames_beside_real_payload_are_no_flood() {
    let mut session = with_stream();
    for _ in 0..100_000 {
        // 256 bytes earn what one tiny frame costs.
        feed_ok(&mut session, &data(0, 1, &zeros(256)));
        feed_ok(&mut session, &data(0, 1, b"x"));
        session.consumed(id(1), 257, NOW);
        while session.next_frame(NOW).is_some() {}
    }
    assert!(!session.is_going_away());
}

#[test]
fn m04_window_updates_for_what_we_send_are_no_flood() {
    let mut session = with_stream();
    for _ in 0..200_000 {
        session.send(id(1), b"x".to_vec(), false).unwrap();
        while session.next_frame(NOW).is_some() {}
        feed_ok(&mut session, &raw(UPDATE, 0, 1, 1));
    }
    assert!(!session.is_going_away());
}

#[test]
fn m04_keystrokes_at_a_human_pace_are_no_flood() {
    let mut session = with_stream();
    for n in 0..200_000u32 {
        // Twenty thousand tiny frames a second for ten seconds.
        let now = NOW + Duration::from_micros(50) * n;
        let (_, event) = session.receive(&data(0, 1, b"x"), now).unwrap();
        assert!(event.is_some());
        session.consumed(id(1), 1, now);
        while session.next_frame(now).is_some() {}
    }
    assert!(!session.is_going_away());
}

#[test]
fn m05_a_ping_flood_ends_the_session_and_holds_sixteen_answers() {
    let mut session = server();
    for n in 0..17 {
        feed_ok(&mut session, &raw(PING, SYN, 0, n));
    }
    assert_eq!(session.stats().pings_dropped, 1);
    let answers = written(&mut session);
    assert_eq!(answers.len(), 16);
    assert_eq!(answers.last(), Some(&wrote(PING, ACK, 0, 15)));

    let mut session = server();
    let (away, error, why) = flood_with(&mut session, |n| raw(PING, SYN, 0, n), 1_000_000);
    // 65536 units at 64 each.
    assert_eq!(
        (away, error, why),
        (768, 1024, Error::Flood(Flood::Glitches))
    );
}

#[test]
fn m05_answers_nobody_asked_for_are_a_flood() {
    let mut session = server();
    let (_, error, _) = flood_with(&mut session, |n| raw(PING, ACK, 0, n), 100_000);
    assert_eq!(error, 4096);
}

#[test]
fn m05_a_ping_each_second_is_no_flood() {
    let mut session = server();
    for n in 0..10_000 {
        let now = NOW + Duration::from_secs(1) * n;
        feed_at(&mut session, &raw(PING, SYN, 0, n), now).unwrap();
        assert_eq!(written_at(&mut session, now), [wrote(PING, ACK, 0, n)]);
    }
    assert!(!session.is_going_away());
}

#[test]
fn m06_streams_opened_and_reset_at_once_end_in_go_away_and_error() {
    let mut session = server();
    let mut live_most = 0;
    let (away, error, why) = flood_with(
        &mut session,
        |n| [data(SYN, 2 * n + 1, b"ask"), raw(UPDATE, RST, 2 * n + 1, 0)].concat(),
        1_000_000,
    );
    live_most = live_most.max(session.streams());
    assert_eq!(
        (away, error, why),
        (24_576, 32_768, Error::Flood(Flood::Churn))
    );
    assert_eq!(live_most, 0);
}

#[test]
fn m06_streams_that_force_us_to_reset_are_charged_too() {
    let mut session = server();
    let (away, error, why) = flood_with(
        &mut session,
        |n| [data(SYN | FIN, 2 * n + 1, b"ask"), data(0, 2 * n + 1, b"x")].concat(),
        1_000_000,
    );
    // One byte after the FIN costs 17 of 65536 units: three quarters are gone after 2892 streams.
    // The next ones are refused, and their late byte costs one: the 65536 - 2892 * 17 units that
    // are left last for as many streams.
    let left = 65_536 - 2892 * 17;
    assert_eq!(
        (away, error, why),
        (2892, 2892 + left, Error::Flood(Flood::Glitches))
    );
    assert_eq!(session.stats().churn, u64::from(2892 + left));
}

#[test]
fn m06_all_streams_reset_at_once_is_no_flood_however_many_may_be_open() {
    let mut session = server_with(|s| {
        s.streams_max = 40_000;
        s.accept_backlog = 40_000;
    });
    for n in 0..40_000 {
        session
            .receive(&raw(UPDATE, SYN, 2 * n + 1, 0), NOW)
            .unwrap();
    }
    session.receive(&[], NOW).unwrap();
    for n in 0..40_000 {
        session
            .receive(&raw(UPDATE, RST, 2 * n + 1, 0), NOW)
            .unwrap();
    }
    assert_eq!(session.streams(), 0);
    assert!(!session.is_going_away());
}

#[test]
fn m06_all_streams_reset_at_once_is_no_flood() {
    // Not audited after every event: with this many streams that would be most of a minute.
    let mut session = server();
    for n in 0..16_384 {
        let opening = data(SYN, 2 * n + 1, b"ask");
        let (taken, event) = session.receive(&opening, NOW).unwrap();
        assert_eq!(event, Some(Event::Opened(id(2 * n + 1))));
        session.receive(&opening[taken..], NOW).unwrap();
        session.accept(id(2 * n + 1), NOW);
    }
    assert_eq!(session.streams(), 16_384);
    session.audit();
    for n in 0..16_384 {
        let (_, event) = session
            .receive(&raw(UPDATE, RST, 2 * n + 1, 0), NOW)
            .unwrap();
        assert_eq!(event, Some(Event::Reset(id(2 * n + 1))));
    }
    session.audit();
    assert!(!session.is_going_away());
    assert!(session.streams() == 0 && session.buffered() == 0);
}

#[test]
fn m06_streams_that_end_in_order_pay_for_those_that_do_not() {
    let mut session = server();
    for n in 0..50_000 {
        let number = 4 * n + 1;
        feed_ok(&mut session, &data(SYN | FIN, number, b"ask"));
        session.consumed(id(number), 3, NOW);
        session.finish(id(number));
        feed_ok(
            &mut session,
            &[
                raw(UPDATE, SYN, number + 2, 0),
                raw(UPDATE, RST, number + 2, 0),
            ]
            .concat(),
        );
        while session.next_frame(NOW).is_some() {}
    }
    assert!(!session.is_going_away());
}

#[test]
fn frames_for_dead_streams_are_charged() {
    let mut session = server();
    feed_ok(
        &mut session,
        &[raw(UPDATE, SYN, 1, 0), raw(UPDATE, RST, 1, 0)].concat(),
    );
    feed_ok(&mut session, &raw(UPDATE, 0, 1, 100));
    feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0));
    feed_ok(&mut session, &raw(DATA, RST, 1, 0));
    assert_eq!(session.stats().glitches, 3);
    // The peer reset it itself, so nothing was in flight.
    feed_ok(&mut session, &data(0, 1, b"x"));
    assert_eq!(session.stats().glitches, 19);
}

#[test]
fn a_peer_that_makes_us_reset_and_does_not_read_ends_the_session() {
    let mut session = server_with(|s| {
        s.streams_max = 1;
        s.resets_max = 100;
    });
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    for n in 1..=100 {
        feed_ok(&mut session, &raw(UPDATE, SYN, 2 * n + 1, 0));
    }
    let one_more = feed(&mut session, &raw(UPDATE, SYN, 203, 0));
    assert_eq!(one_more, Err(Error::PeerNotReading { frames: 100 }));
}
