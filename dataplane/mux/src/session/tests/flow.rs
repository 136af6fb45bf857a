//! Credit, windows that grow, queues, and memory under slow readers.

use alloc::sync::Arc;
use alloc::vec;

use super::*;
use crate::error::SendError;
use crate::limits::MAX_FRAME_PAYLOAD;
use crate::window::Budget;

/// A stream of ours with its SYN written.
fn opened(session: &mut Session<Bytes>) -> StreamId {
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"x".to_vec(), false).unwrap();
    written(session);
    stream
}

#[test]
fn credit_and_queue_bound_what_is_sendable() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    assert_eq!(
        session.sendable(stream),
        65_536,
        "the queue holds less than the window"
    );
    session.send(stream, zeros(16_372), false).unwrap();
    assert_eq!(session.sendable(stream), 65_536 - 16_372);
    assert_eq!(session.sendable(id(99)), 0);
}

#[test]
fn a_payload_beyond_a_bound_comes_back() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    let too_large = session.send(stream, zeros(16_373), false);
    assert!(matches!(too_large, Err(SendError::TooLarge(p)) if p.len() == 16_373));
    for _ in 0..4 {
        session.send(stream, zeros(16_372), false).unwrap();
    }
    let no_room = session.send(stream, zeros(49), false);
    assert!(matches!(no_room, Err(SendError::NoRoom(p)) if p.len() == 49));
    session.send(stream, zeros(48), false).unwrap();
    session.finish(stream);
    let closed = session.send(stream, b"x".to_vec(), false);
    assert!(matches!(closed, Err(SendError::Closed(_))));
}

#[test]
fn the_whole_initial_window_may_be_sent_and_not_a_byte_more() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    let mut sent = 0;
    loop {
        let room = session.sendable(stream).min(MAX_FRAME_PAYLOAD);
        if room == 0 {
            break;
        }
        session.send(stream, vec![0; room], false).unwrap();
        sent += room;
        written(&mut session);
    }
    assert_eq!(sent, 262_144);
    feed_ok(&mut session, &raw(UPDATE, ACK, 1, 10));
    assert_eq!(session.sendable(stream), 10);
}

#[test]
fn writable_follows_when_the_queue_drained() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    for _ in 0..4 {
        session.send(stream, zeros(16_372), false).unwrap();
    }
    assert_eq!(session.sendable(stream), 48);
    assert_eq!(events(&mut session), []);
    session.next_frame(NOW).unwrap();
    assert_eq!(events(&mut session), [Seen::Writable(1)]);
    session.next_frame(NOW).unwrap();
    assert_eq!(events(&mut session), [], "told once, until asked again");
}

#[test]
fn writable_follows_when_the_peer_grants_credit() {
    let mut session = client();
    let stream = opened(&mut session);
    while session.sendable(stream) > 0 {
        let room = session.sendable(stream).min(MAX_FRAME_PAYLOAD);
        session.send(stream, vec![0; room], false).unwrap();
        written(&mut session);
        events(&mut session);
    }
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, ACK, 1, 5)),
        [Seen::Acknowledged(1), Seen::Writable(1)]
    );
    assert_eq!(
        session.sendable(stream),
        5,
        "asked and told of little: more will be told"
    );
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, 0, 1, 5)),
        [Seen::Writable(1)]
    );
    assert_eq!(session.sendable(stream), 10);
}

#[test]
fn nobody_is_told_writable_who_was_never_short_of_room() {
    let mut session = client();
    let stream = opened(&mut session);
    assert_eq!(events(&mut session), []);
    assert!(session.sendable(stream) >= MAX_FRAME_PAYLOAD);
    feed_ok(&mut session, &raw(UPDATE, ACK, 1, 5));
    assert_eq!(events(&mut session), []);
}

#[test]
fn a_session_full_of_queued_bytes_holds_each_stream_to_one_frame() {
    let mut session = server_with(|s| s.session_queue_bytes = 100_000);
    let streams: Vec<_> = (0..3).map(|_| session.open(NOW).unwrap()).collect();
    for stream in &streams[..2] {
        for _ in 0..4 {
            session.send(*stream, zeros(16_372), false).unwrap();
        }
    }
    let third = streams[2];
    assert_eq!(session.sendable(third), 16_372);
    session.send(third, zeros(16_372), false).unwrap();
    assert_eq!(session.sendable(third), 0);
    while events(&mut session) != [Seen::Writable(third.get())] {
        session
            .next_frame(NOW)
            .expect("the third stream's frame leaves before all others");
    }
    assert!(session.sendable(third) > 0);
}

#[test]
fn a_promise_of_room_is_kept_though_the_session_filled_up_since() {
    let mut session = server_with(|s| s.session_queue_bytes = 50_000);
    let (one, two) = (session.open(NOW).unwrap(), session.open(NOW).unwrap());
    let promised = session.sendable(one);
    for _ in 0..4 {
        session.send(two, zeros(16_372), false).unwrap();
    }
    let mut left = promised;
    while left > 0 {
        let part = left.min(MAX_FRAME_PAYLOAD);
        session.send(one, vec![0; part], false).unwrap();
        left -= part;
    }
}

#[test]
fn credit_returns_when_the_reader_has_taken_half_a_window() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(200_000)));
    session.send(id(1), b"x".to_vec(), false).unwrap();
    written(&mut session);
    session.consumed(id(1), 131_071, NOW);
    assert_eq!(written(&mut session), []);
    session.consumed(id(1), 1, NOW);
    let frames = written(&mut session);
    assert_eq!(frames, [wrote(UPDATE, 0, 1, 131_072)]);
    session.consumed(id(1), 68_928, NOW);
    assert_eq!(
        written(&mut session),
        [],
        "the rest waits for its own half window"
    );
    assert_eq!(session.buffered(), 0);
}

#[test]
fn a_round_trip_of_long_ago_is_measured_again_when_credit_returns() {
    let mut session = with_rtt(server(), 50 * MS);
    let later = NOW + 11_000 * MS;
    feed_at(&mut session, &data(0, 1, &zeros(200_000)), later).unwrap();
    // So slow that nothing is to be widened.
    let later = later + 100 * MS;
    session.consumed(id(1), 200_000, later);
    assert_eq!(
        written_at(&mut session, later),
        [wrote(PING, SYN, 0, 1), wrote(UPDATE, ACK, 1, 200_000)]
    );
}

#[test]
fn credit_is_not_returned_on_a_stream_that_ended_before_it_could_be_written() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(200_000)));
    session.send(id(1), b"x".to_vec(), false).unwrap();
    written(&mut session);
    session.consumed(id(1), 150_000, NOW);
    feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0));
    assert!(session.next_frame(NOW).is_none());
}

#[test]
fn credit_that_waits_to_be_written_is_forgotten_with_its_stream() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(200_000)));
    session.consumed(id(1), 200_000, NOW);
    session.reset(id(1));
    // Another stream may have the slot now.
    feed_ok(&mut session, &data(SYN, 3, b"x"));
    assert_eq!(written(&mut session), [wrote(UPDATE, RST | ACK, 1, 0)]);
    session.reset(id(3));
    feed_ok(&mut session, &data(SYN, 5, &zeros(200_000)));
    session.consumed(id(5), 200_000, NOW);
    session.reset(id(5));
    let frames = written(&mut session);
    assert_eq!(
        frames,
        [wrote(UPDATE, RST, 3, 0), wrote(UPDATE, RST | ACK, 5, 0)]
    );
}

#[test]
fn no_credit_returns_on_a_stream_that_has_ended() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, &zeros(262_144)));
    session.send(id(1), b"x".to_vec(), false).unwrap();
    written(&mut session);
    session.consumed(id(1), 262_144, NOW);
    assert_eq!(written(&mut session), []);
}

#[test]
fn m01_credit_beyond_the_maximum_ends_the_session() {
    let fill = (1u32 << 31) - 1 - 262_144;
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, fill));
    for update in [1, 100, u32::MAX] {
        let mut session = server();
        feed_ok(&mut session, &raw(UPDATE, SYN, 1, fill));
        let error = Error::CreditOverflow {
            stream: id(1),
            credit: (1 << 31) - 1,
            delta: update,
        };
        assert_eq!(feed(&mut session, &raw(UPDATE, 0, 1, update)), Err(error));
        assert_eq!(written(&mut session), [wrote(AWAY, 0, 0, 1)]);
    }
    let at_once = feed(&mut server(), &raw(UPDATE, SYN, 1, fill + 1));
    assert!(matches!(at_once, Err(Error::CreditOverflow { .. })));
}

#[test]
fn m02_one_byte_more_than_granted_resets_only_that_stream() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(262_143)));
    feed_ok(&mut session, &data(SYN, 3, b"ok"));
    assert_eq!(feed_ok(&mut session, &data(0, 1, b"12")), [Seen::Reset(1)]);
    assert_eq!(session.stats().overruns, 1);
    assert_eq!(session.buffered(), 2, "nothing of it is held");
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 1, 0)]);
    assert_eq!(
        feed_ok(&mut session, &data(0, 3, b"on")),
        [Seen::Data(3, b"on".to_vec())]
    );
}

#[test]
fn m02_the_last_granted_byte_passes() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(262_143)));
    assert_eq!(
        feed_ok(&mut session, &data(0, 1, b"1")),
        [Seen::Data(1, b"1".to_vec())]
    );
}

#[test]
fn m03_a_frame_larger_than_any_window_ends_the_session_at_its_header() {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    // At the largest window it costs only the stream.
    assert_eq!(
        feed_ok(&mut session, &raw(DATA, 0, 1, 16 << 20)),
        [Seen::Reset(1)]
    );
    for bytes in [(16 << 20) + 1, u32::MAX] {
        let mut session = server();
        feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
        let verdict = feed(&mut session, &raw(DATA, 0, 1, bytes));
        assert_eq!(
            verdict,
            Err(Error::FrameTooLarge {
                stream: id(1),
                bytes
            })
        );
    }
}

/// Lets the peer spend all its `credit` at one moment and the reader take it at another; returns what
/// the peer may spend then.
fn fill(session: &mut Session<Bytes>, credit: u32, sent: Duration, read: Duration) -> u32 {
    let mut left = credit;
    while left > 0 {
        let part = left.min(16_372);
        feed_at(session, &data(0, 1, &zeros(part)), sent).unwrap();
        left -= part;
    }
    session.consumed(id(1), usize::MAX, read);
    written_at(session, read)
        .iter()
        .filter(|frame| frame.kind == UPDATE && frame.stream == 1)
        .map(|frame| frame.length)
        .sum()
}

/// Fills a window `rounds` times, each read within `pace`. Returns what the window was in each round.
fn stream_in(session: &mut Session<Bytes>, rounds: u32, pace: Duration) -> Vec<u32> {
    let mut now = NOW + 100 * MS;
    let mut credit = WINDOW;
    let mut windows = Vec::new();
    for _ in 0..rounds {
        windows.push(credit);
        credit = fill(session, credit, now, now + pace);
        now += pace;
    }
    windows
}

fn with_rtt(mut session: Session<Bytes>, rtt: Duration) -> Session<Bytes> {
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    feed_at(&mut session, &raw(PING, ACK, 0, 0), NOW + rtt).unwrap();
    session
}

#[test]
fn a_window_that_limits_the_peer_doubles_up_to_its_bound() {
    let mut session = with_rtt(server(), 50 * MS);
    // A path of 50 ms that the window alone makes slow, and a reader that takes its time.
    let windows = stream_in(&mut session, 9, 124 * MS);
    let mib = 1 << 20;
    assert_eq!(
        windows,
        [
            mib / 4,
            mib / 2,
            mib,
            2 * mib,
            4 * mib,
            8 * mib,
            16 * mib,
            16 * mib,
            16 * mib
        ]
    );
    assert_eq!(session.stats().windows_grown, 6);
}

#[test]
fn a_window_wide_enough_does_not_grow() {
    let mut session = with_rtt(server(), 50 * MS);
    assert_eq!(stream_in(&mut session, 5, 125 * MS), [WINDOW; 5]);
}

#[test]
fn alone_a_window_is_made_for_a_path_of_a_millisecond_at_least() {
    let mut session = with_rtt(server(), Duration::from_micros(50));
    // 2.5 ms for the whole window is what is too short.
    let windows = stream_in(&mut session, 3, Duration::from_micros(2499));
    assert_eq!(windows, [WINDOW, 2 * WINDOW, 4 * WINDOW]);
    let mut session = with_rtt(server(), Duration::from_micros(50));
    assert_eq!(
        stream_in(&mut session, 3, Duration::from_micros(2500)),
        [WINDOW; 3]
    );
}

/// Sends a little on stream 3 and ends it: somebody may have waited for that.
fn converse(session: &mut Session<Bytes>, stream: u32, now: Duration) {
    feed_at(session, &data(SYN | FIN, stream, b"an answer"), now).unwrap();
    session.consumed(id(stream), usize::MAX, now);
}

#[test]
fn beside_a_conversation_a_window_is_made_for_the_path() {
    let mut session = with_rtt(server(), Duration::from_micros(50));
    converse(&mut session, 3, NOW + 50 * MS);
    assert_eq!(
        stream_in(&mut session, 3, Duration::from_micros(50)),
        [WINDOW; 3]
    );
    // Of a path of 20 ms a tenth of a millisecond is not path.
    for (pace, second) in [(49_749, 2 * WINDOW), (49_750, WINDOW)] {
        let mut session = with_rtt(server(), 20 * MS);
        converse(&mut session, 3, NOW + 90 * MS);
        let windows = stream_in(&mut session, 2, Duration::from_micros(pace));
        assert_eq!(windows, [WINDOW, second], "{pace}");
    }
}

#[test]
fn a_wide_window_is_narrowed_when_somebody_converses_and_widened_when_nobody_does() {
    let mut session = with_rtt(server(), Duration::from_micros(50));
    let widened = stream_in(&mut session, 4, MS);
    assert_eq!(widened, [1, 2, 4, 8].map(|n| n * WINDOW));
    let budget = session.settings.budget.clone();
    assert_eq!(budget.left(), budget.total() - 15 * 262_144);
    let began = NOW + 200 * MS;
    converse(&mut session, 3, began);
    let mut credit = 16 * WINDOW;
    let mut windows = Vec::new();
    for round in 1..6 {
        let now = began + round * MS;
        credit = fill(&mut session, credit, now, now);
        windows.push(credit);
    }
    assert_eq!(windows, [8, 4, 2, 1, 1].map(|n| n * WINDOW));
    assert_eq!(budget.left(), budget.total(), "and gives back what it held");
    assert_eq!(session.stats().windows_narrowed, 4);
    // It goes on, so that its own pause is no conversation, until a second after the last word.
    for at in (50..1000).step_by(50).chain([999]) {
        let now = began + at * MS;
        assert_eq!(fill(&mut session, WINDOW, now, now), WINDOW);
    }
    let over = began + 1000 * MS;
    assert_eq!(fill(&mut session, WINDOW, over, over), 2 * WINDOW);
}

#[test]
fn beside_bulk_alone_a_wide_window_stays_wide() {
    let mut session = with_rtt(server(), Duration::from_micros(50));
    stream_in(&mut session, 1, MS);
    let now = NOW + 150 * MS;
    feed_at(&mut session, &data(SYN, 3, &zeros(200_000)), now).unwrap();
    session.consumed(id(3), usize::MAX, now);
    written_at(&mut session, now);
    feed_at(&mut session, &data(FIN, 3, b"the rest"), now).unwrap();
    // It goes slowly now, and is in nobody's way.
    assert_eq!(fill(&mut session, 2 * WINDOW, now, now), 2 * WINDOW);
    assert_eq!(session.stats().windows_narrowed, 0);
}

#[test]
fn something_now_and_then_on_a_long_lived_stream_is_a_conversation() {
    let mut session = with_rtt(server(), Duration::from_micros(50));
    feed_at(&mut session, &data(SYN, 3, b"hello"), NOW).unwrap();
    stream_in(&mut session, 1, MS);
    assert_eq!(session.stats().windows_narrowed, 0);
    let now = NOW + 200 * MS;
    feed_at(&mut session, &data(0, 3, b"again"), now).unwrap();
    assert_eq!(fill(&mut session, 2 * WINDOW, now, now), WINDOW);
    assert_eq!(session.stats().windows_narrowed, 1);
}

#[test]
fn growth_stops_at_the_sessions_bound_and_at_the_shared_budget() {
    let budget = Arc::new(Budget::new(1 << 20));
    let shared = Arc::clone(&budget);
    let mut session = with_rtt(
        server_with(|s| {
            s.session_window_bytes = 700_000;
            s.budget = shared;
        }),
        50 * MS,
    );
    let windows = stream_in(&mut session, 4, 50 * MS);
    assert_eq!(
        windows,
        [WINDOW, 2 * WINDOW, WINDOW + 700_000, WINDOW + 700_000]
    );
    assert_eq!(budget.left(), (1 << 20) - 700_000);

    let shared = Arc::clone(&budget);
    let mut other = with_rtt(server_with(|s| s.budget = shared), 50 * MS);
    let left = (1 << 20) - 700_000;
    assert_eq!(
        stream_in(&mut other, 4, 50 * MS),
        [WINDOW, 2 * WINDOW, WINDOW + left, WINDOW + left]
    );
    assert_eq!(budget.left(), 0);

    session.reset(id(1));
    assert_eq!(
        budget.left(),
        700_000,
        "the stream that ended gives its growth back"
    );
    drop(other);
    assert_eq!(budget.left(), 1 << 20, "and so does the session");
}

#[test]
fn m11_a_reader_that_stops_is_granted_nothing_and_holds_one_window() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(WINDOW)));
    session.accept(id(1), NOW);
    for minute in 0..10 {
        let now = NOW + minute * 60_000 * MS;
        let granted: u32 = written_at(&mut session, now)
            .iter()
            .filter(|frame| frame.kind == UPDATE)
            .map(|frame| frame.length)
            .sum();
        assert_eq!(granted, 0);
        assert_eq!(session.buffered(), 262_144);
    }
    assert_eq!(
        feed_ok(&mut session, &data(SYN, 3, b"on"))[0],
        Seen::Opened(3)
    );
}

/// Opens stream after stream, each filling its window, none read.
fn stall(session: &mut Session<Bytes>, numbers: core::ops::Range<u32>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for n in numbers {
        for event in feed_ok(session, &data(SYN, 2 * n + 1, &zeros(WINDOW))) {
            if !matches!(event, Seen::Data(..)) {
                seen.push(event);
            }
        }
        session.accept(id(2 * n + 1), NOW);
    }
    seen
}

#[test]
fn m12_above_three_quarters_of_the_buffer_new_streams_are_refused() {
    // 4 MiB: 12 stalled windows are exactly 3/4.
    let mut session = server_with(|s| {
        s.session_buffer_bytes = 4 << 20;
        s.session_window_bytes = 0;
    });
    assert_eq!(
        stall(&mut session, 0..13).len(),
        13,
        "at 3/4 one more is taken"
    );
    assert_eq!(session.buffered(), 13 << 18);
    assert_eq!(stall(&mut session, 13..14), []);
    assert_eq!(session.stats().refused_memory, 1);
    session.consumed(id(1), 262_144, NOW);
    assert_eq!(stall(&mut session, 14..15), [Seen::Opened(29)]);
}

#[test]
fn m12_a_full_buffer_costs_the_stream_that_holds_most_and_never_more_memory() {
    let mut session = server_with(|s| {
        s.session_buffer_bytes = 1 << 20;
        s.session_window_bytes = 0;
    });
    // Nine streams open while nothing is held, then each sends 120000 bytes nobody reads.
    for n in 0..9 {
        feed_ok(&mut session, &raw(UPDATE, SYN, 2 * n + 1, 0));
    }
    for n in 0..8 {
        feed_ok(&mut session, &data(0, 2 * n + 1, &zeros(120_000 + n)));
    }
    assert_eq!(session.buffered(), 960_028);
    let seen = feed_ok(&mut session, &data(0, 17, &zeros(88_548)));
    assert_eq!(
        seen,
        [Seen::Data(17, zeros(88_548))],
        "the last byte that fits"
    );
    assert_eq!(session.buffered(), 1 << 20);
    let seen = feed_ok(&mut session, &data(0, 17, b"x"));
    assert_eq!(seen, [Seen::Reset(15), Seen::Data(17, b"x".to_vec())]);
    assert_eq!(session.stats().shed, 1);
    assert_eq!(session.buffered(), (1 << 20) - 120_007 + 1);
}

#[test]
fn m12_the_frame_that_makes_its_own_stream_the_heaviest_is_not_taken() {
    let mut session = server_with(|s| {
        s.session_buffer_bytes = 1 << 20;
        s.session_window_bytes = 0;
    });
    for n in 0..9 {
        feed_ok(&mut session, &raw(UPDATE, SYN, 2 * n + 1, 0));
    }
    for n in 0..8 {
        feed_ok(&mut session, &data(0, 2 * n + 1, &zeros(120_000)));
    }
    let mut input = data(0, 17, &zeros(200_000));
    input.extend(data(0, 1, b"on"));
    assert_eq!(
        feed_ok(&mut session, &input),
        [Seen::Reset(17), Seen::Data(1, b"on".to_vec())]
    );
    assert_eq!(session.buffered(), 960_002);
}

#[test]
fn a_full_buffer_stops_windows_from_growing() {
    let mut session = with_rtt(
        server_with(|s| {
            s.session_buffer_bytes = 1 << 20;
            s.session_window_bytes = 1 << 20;
        }),
        50 * MS,
    );
    for n in 1..4 {
        feed_ok(&mut session, &data(SYN, 2 * n + 1, &zeros(180_000)));
    }
    assert_eq!(stream_in(&mut session, 3, 10 * MS), [WINDOW; 3]);
}
