//! What a peer pays for frames of no worth: the last unit of its allowance passes, one more does not.
//!
//! The session's allowance is 512 units and nothing comes back, unless a test says otherwise.

use super::*;
use crate::error::Flood;
use crate::limits::{EARN_SHIFT, PONGS_MAX, TINY_FRAME_BYTES, cost};

const UNITS: u32 = 512;

/// Stream 1 is open, stream 3 was reset by the peer, stream 5 was ended by it.
fn poor() -> Session<Bytes> {
    let mut session = server_with(|s| {
        s.glitches_max = UNITS;
        s.glitches_per_second = 0;
    });
    for stream in [1, 3, 5] {
        feed_ok(&mut session, &raw(UPDATE, SYN, stream, 0));
    }
    feed_ok(&mut session, &raw(UPDATE, RST, 3, 0));
    feed_ok(&mut session, &raw(DATA, FIN, 5, 0));
    written(&mut session);
    assert_eq!(session.stats().glitches, 0);
    session
}

fn spend(session: &mut Session<Bytes>, units: u32) {
    for _ in 0..units {
        feed_ok(session, &raw(UPDATE, 0, 1, 1));
    }
}

#[test]
fn m04_each_frame_of_no_worth_costs_what_it_is_listed_with() {
    let listed = [
        (data(0, 1, b"x"), cost::TINY, 1),
        (raw(UPDATE, 0, 1, 1), cost::TINY, 1),
        (raw(UPDATE, 0, 3, 1), cost::DEAD_STREAM, 1),
        (raw(DATA, 0, 1, 0), cost::EMPTY, 4),
        (raw(DATA, FIN, 5, 0), cost::EMPTY, 4),
        (data(0, 3, &zeros(1000)), cost::LATE_DATA, 16),
        (raw(PING, ACK, 0, 9), cost::ODD, 16),
        (raw(PING, SYN, 0, 9), cost::PING, 64),
    ];
    for (frame, cost, units) in listed {
        assert_eq!(cost, units);
        let mut session = poor();
        let affordable = UNITS / units;
        for _ in 1..affordable {
            feed_ok(&mut session, &frame);
        }
        assert_eq!(session.stats().glitches, u64::from(UNITS - units));
        assert_eq!(
            feed(&mut session, &frame),
            Err(Error::Flood(Flood::Glitches)),
            "frame {affordable} of {units} units spends the last one: {:?}",
            &frame[..HEADER_BYTES]
        );
    }
}

#[test]
fn m04_a_frame_one_byte_below_the_tiny_size_is_charged_and_one_of_that_size_is_not() {
    for (bytes, charged) in [(TINY_FRAME_BYTES - 1, 1), (TINY_FRAME_BYTES, 0)] {
        let mut session = poor();
        feed_ok(&mut session, &data(0, 1, &zeros(bytes)));
        assert_eq!(session.stats().glitches, charged, "{bytes} bytes");
    }
    assert_eq!(TINY_FRAME_BYTES, 16);
}

#[test]
fn m04_256_bytes_of_payload_earn_one_unit_back_and_255_earn_none() {
    assert_eq!(1 << EARN_SHIFT, 256);
    for (bytes, earned) in [(255, 0), (256, 1), (511, 1), (512, 2)] {
        let mut session = poor();
        spend(&mut session, UNITS - 1);
        feed_ok(&mut session, &data(0, 1, &zeros(bytes)));
        spend(&mut session, earned);
        assert_eq!(
            feed(&mut session, &raw(UPDATE, 0, 1, 1)),
            Err(Error::Flood(Flood::Glitches)),
            "{bytes} bytes"
        );
    }
}

#[test]
fn m04_late_payload_is_free_from_256_bytes_on_while_its_credit_was_granted() {
    for (bytes, charged) in [(255, cost::DEAD_STREAM), (256, 0)] {
        let mut session = poor();
        session.reset(id(1));
        feed_ok(&mut session, &data(0, 1, &zeros(bytes)));
        assert_eq!(session.stats().glitches, u64::from(charged), "{bytes}");
    }
}

#[test]
fn m04_a_unit_comes_back_after_its_part_of_a_second_and_not_a_nanosecond_sooner() {
    let tiny = raw(UPDATE, 0, 1, 1);
    let come_back = Duration::from_millis(10);
    for (waited, passes) in [
        (come_back - Duration::from_nanos(1), false),
        (come_back, true),
    ] {
        let mut session = server_with(|s| {
            s.glitches_max = UNITS;
            s.glitches_per_second = 100;
        });
        feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
        spend(&mut session, UNITS - 1);
        let next = feed_at(&mut session, &tiny, NOW + waited);
        assert_eq!(next.is_ok(), passes, "after {waited:?}");
    }
}

#[test]
fn m06_a_stream_is_forgiven_after_its_part_of_a_second_and_not_a_nanosecond_sooner() {
    let wasted = |number: u32| {
        let stream = 2 * number + 1;
        [raw(UPDATE, SYN, stream, 0), raw(UPDATE, RST, stream, 0)].concat()
    };
    let forgiven = Duration::from_millis(10);
    for (waited, passes) in [
        (forgiven - Duration::from_nanos(1), false),
        (forgiven, true),
    ] {
        let mut session = server_with(|s| {
            s.streams_max = 50;
            s.churn_max = 100;
            s.churn_per_second = 100;
        });
        for number in 0..99 {
            feed_ok(&mut session, &wasted(number));
        }
        let next = feed_at(&mut session, &wasted(99), NOW + waited);
        let expected = if passes {
            Ok(())
        } else {
            Err(Error::Flood(Flood::Churn))
        };
        assert_eq!(next.map(drop), expected, "after {waited:?}");
    }
}

#[test]
fn m05_as_many_answers_wait_as_may_and_the_next_ping_gets_none() {
    let pings = u32::try_from(PONGS_MAX).unwrap();
    let mut session = server();
    for number in 0..pings {
        feed_ok(&mut session, &raw(PING, SYN, 0, number));
    }
    assert_eq!(session.stats().pings_dropped, 0);
    feed_ok(&mut session, &raw(PING, SYN, 0, pings));
    assert_eq!(session.stats().pings_dropped, 1);
    assert_eq!(written(&mut session).len(), PONGS_MAX);
}
