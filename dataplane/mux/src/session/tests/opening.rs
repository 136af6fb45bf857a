//! Streams begin: SYN, ACK, refusals, ids, go-away, pings.

use super::*;
use crate::error::OpenError;
use crate::limits::IDS_SOFT_MAX;

#[test]
fn the_syn_rides_on_the_first_frame_and_only_there() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    assert_eq!(stream.get(), 1);
    assert_eq!(written(&mut session), []);
    session.send(stream, b"one".to_vec(), false).unwrap();
    session.send(stream, b"two".to_vec(), false).unwrap();
    assert_eq!(
        written(&mut session),
        [wrote_data(SYN, 1, b"one"), wrote_data(0, 1, b"two")]
    );
}

#[test]
fn a_server_opens_even_ids() {
    let mut session = server();
    assert_eq!(session.open(NOW).unwrap().get(), 2);
    assert_eq!(session.open(NOW).unwrap().get(), 4);
}

#[test]
fn a_stream_opened_by_a_window_update_may_be_sent_more_than_the_initial_window() {
    let mut session = server_with(|s| s.send_queue_bytes = 1 << 20);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 1, 1000)),
        [Seen::Opened(1)]
    );
    assert_eq!(session.sendable(id(1)), 262_144 + 1000);
}

#[test]
fn a_stream_may_open_with_payload_and_end_in_the_same_frame() {
    let mut session = server();
    assert_eq!(
        feed_ok(&mut session, &data(SYN | FIN, 1, b"all")),
        [
            Seen::Opened(1),
            Seen::Data(1, b"all".to_vec()),
            Seen::Finished(1)
        ]
    );
}

#[test]
fn the_ack_rides_on_the_first_answer() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    session.consumed(id(1), 3, NOW);
    assert_eq!(written(&mut session), [], "it waits for a frame to ride on");
    session.send(id(1), b"answer".to_vec(), true).unwrap();
    assert_eq!(written(&mut session), [wrote_data(ACK | FIN, 1, b"answer")]);
}

#[test]
fn an_ack_without_an_answer_goes_alone_after_its_delay() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    assert_eq!(
        session.next_deadline(),
        Some(NOW + 4000 * MS),
        "an untouched stream is not acknowledged"
    );
    session.accept(id(1), NOW);
    assert_eq!(session.next_deadline(), Some(NOW + 250 * MS));
    session.on_deadline(NOW + 249 * MS).unwrap();
    assert_eq!(written(&mut session), []);
    session.on_deadline(NOW + 250 * MS).unwrap();
    assert_eq!(written(&mut session), [wrote(UPDATE, ACK, 1, 0)]);
    session.send(id(1), b"late".to_vec(), false).unwrap();
    assert_eq!(written(&mut session), [wrote_data(0, 1, b"late")]);
}

#[test]
fn thirty_two_acks_may_wait_and_the_next_sends_them_all() {
    let mut session = server();
    for n in 0..33 {
        feed_ok(&mut session, &data(SYN, 2 * n + 1, b"ask"));
    }
    for n in 0..32 {
        session.accept(id(2 * n + 1), NOW);
    }
    assert_eq!(written(&mut session), []);
    session.accept(id(65), NOW);
    let frames = written(&mut session);
    assert_eq!(frames.len(), 33);
    assert!(
        frames
            .iter()
            .all(|frame| frame.flags == ACK && frame.length == 0)
    );
}

#[test]
fn an_ack_on_a_window_update_or_on_data_counts_once() {
    for answer in [
        raw(UPDATE, ACK, 1, 0),
        raw(UPDATE, ACK, 1, 500),
        data(ACK, 1, b"x"),
    ] {
        let mut session = client();
        let stream = session.open(NOW).unwrap();
        session.send(stream, b"ask".to_vec(), false).unwrap();
        written(&mut session);
        let seen = feed_ok(&mut session, &answer);
        assert_eq!(seen[0], Seen::Acknowledged(1));
        let again = feed_ok(&mut session, &answer);
        assert!(!again.contains(&Seen::Acknowledged(1)));
    }
}

#[test]
fn a_peer_that_forgets_the_ack_flag_acknowledges_by_answering() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"ask".to_vec(), false).unwrap();
    written(&mut session);
    assert_eq!(
        feed_ok(&mut session, &data(0, 1, b"x")),
        [Seen::Acknowledged(1), Seen::Data(1, b"x".to_vec())]
    );
}

#[test]
fn a_refused_stream_is_reset_without_being_acknowledged() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"ask".to_vec(), false).unwrap();
    written(&mut session);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, RST, 1, 0)),
        [Seen::Reset(1)]
    );
    assert_eq!(session.streams(), 0);
}

#[test]
fn a_touched_stream_that_is_reset_says_that_it_was_touched() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    feed_ok(&mut session, &data(SYN, 3, b"ask"));
    session.consumed(id(1), 3, NOW);
    session.reset(id(1));
    session.reset(id(3));
    assert_eq!(
        written(&mut session),
        [wrote(UPDATE, RST | ACK, 1, 0), wrote(UPDATE, RST, 3, 0)]
    );
    let mut peer = client();
    for _ in 0..2 {
        let stream = peer.open(NOW).unwrap();
        peer.send(stream, b"ask".to_vec(), false).unwrap();
    }
    written(&mut peer);
    assert_eq!(
        feed_ok(&mut peer, &raw(UPDATE, RST | ACK, 1, 0)),
        [Seen::Acknowledged(1), Seen::Reset(1)]
    );
    assert_eq!(
        feed_ok(&mut peer, &raw(UPDATE, RST, 3, 0)),
        [Seen::Reset(3)]
    );
}

#[test]
fn a_stream_reset_before_its_syn_left_vanishes_without_a_frame() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"ask".to_vec(), false).unwrap();
    session.reset(stream);
    assert_eq!(written(&mut session), []);
    assert!(session.is_idle());
    assert_eq!(session.open(NOW).unwrap().get(), 3);
}

#[test]
fn streams_may_arrive_out_of_order() {
    let mut session = server();
    let bytes = [
        raw(UPDATE, SYN, 5, 0),
        raw(UPDATE, SYN, 1, 0),
        raw(UPDATE, SYN, 3, 0),
    ]
    .concat();
    assert_eq!(
        feed_ok(&mut session, &bytes),
        [Seen::Opened(5), Seen::Opened(1), Seen::Opened(3)]
    );
}

#[test]
fn the_256th_open_waits_for_an_ack_and_the_257th_is_refused_until_one_comes() {
    let mut session = client();
    for _ in 0..256 {
        let stream = session.open(NOW).unwrap();
        session.send(stream, b"x".to_vec(), false).unwrap();
    }
    assert_eq!(session.open(NOW), Err(OpenError::AckBacklog));
    written(&mut session);
    feed_ok(&mut session, &raw(UPDATE, ACK, 1, 0));
    assert!(session.open(NOW).is_ok());
    assert_eq!(session.open(NOW), Err(OpenError::AckBacklog));
}

#[test]
fn m08_the_stream_beyond_the_cap_is_refused_by_a_frame_and_not_queued() {
    let mut session = server_with(|s| s.streams_max = 3);
    for n in [1, 3, 5] {
        feed_ok(&mut session, &data(SYN, n, b"x"));
        session.accept(id(n), NOW);
    }
    assert_eq!(feed_ok(&mut session, &data(SYN, 7, b"x")), []);
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 7, 0)]);
    assert_eq!(session.streams(), 3);
    assert_eq!(session.stats().refused_streams_max, 1);
    assert_eq!(session.open(NOW), Err(OpenError::TooManyStreams));
    session.reset(id(1));
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 9, 0)),
        [Seen::Opened(9)]
    );
}

#[test]
fn m08_untouched_streams_are_refused_beyond_the_accept_backlog() {
    let mut session = server();
    for n in 0..256 {
        assert_eq!(
            feed_ok(&mut session, &raw(UPDATE, SYN, 2 * n + 1, 0)).len(),
            1
        );
    }
    assert_eq!(feed_ok(&mut session, &raw(UPDATE, SYN, 513, 0)), []);
    assert_eq!(session.stats().refused_backlog, 1);
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 513, 0)]);
    session.accept(id(1), NOW);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 515, 0)),
        [Seen::Opened(515)]
    );
}

#[test]
fn data_for_a_refused_stream_is_thrown_away_without_blame() {
    let mut session = server_with(|s| s.streams_max = 1);
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    feed_ok(&mut session, &data(SYN, 3, &zeros(1000)));
    for _ in 0..26 {
        // 26 frames of 10000 bytes and the first 1000 fit the 262144 of a first window.
        assert_eq!(feed_ok(&mut session, &data(0, 3, &zeros(10_000))), []);
    }
    assert_eq!(session.stats().late_bytes, 261_000);
    assert_eq!(session.stats().glitches, 0);
    feed_ok(&mut session, &data(FIN, 3, &zeros(2000)));
    assert_eq!(
        session.stats().glitches,
        16,
        "beyond the first window it is charged"
    );
}

#[test]
fn m07_stream_zero_cannot_carry_data_or_credit() {
    for frame in [data(SYN, 0, b"x"), data(0, 0, b"x"), raw(UPDATE, 0, 0, 5)] {
        assert_eq!(feed(&mut server(), &frame), Err(Error::StreamZero));
    }
}

#[test]
fn m07_an_id_of_our_own_parity_is_a_typed_error() {
    assert_eq!(
        feed(&mut server(), &data(SYN, 2, b"x")),
        Err(Error::WrongParity { stream: id(2) })
    );
    assert_eq!(
        feed(&mut client(), &data(SYN, 1, b"x")),
        Err(Error::WrongParity { stream: id(1) })
    );
}

#[test]
fn m07_an_id_opened_twice_is_a_typed_error_alive_or_dead() {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    let again = feed(&mut session, &raw(UPDATE, SYN, 1, 0));
    assert_eq!(again, Err(Error::IdReused { stream: id(1) }));

    let mut session = server();
    feed_ok(
        &mut session,
        &[raw(UPDATE, SYN, 1, 0), raw(UPDATE, RST, 1, 0)].concat(),
    );
    assert_eq!(session.streams(), 0);
    let again = feed(&mut session, &raw(UPDATE, SYN, 1, 0));
    assert_eq!(again, Err(Error::IdReused { stream: id(1) }));
}

#[test]
fn m07_an_id_too_old_to_be_known_is_refused_and_the_session_goes_on() {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 3 + 2 * 4096, 0));
    assert_eq!(feed_ok(&mut session, &raw(UPDATE, SYN, 3, 0)), []);
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 3, 0)]);
    assert_eq!(session.stats().refused_old_id, 1);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 5, 0)),
        [Seen::Opened(5)]
    );
}

#[test]
fn m07_frames_for_a_stream_nobody_opened_are_a_typed_error() {
    for (number, frame) in [
        (1, data(0, 1, b"x")),
        (1, raw(UPDATE, 0, 1, 100)),
        (2, data(0, 2, b"x")),
        (2, raw(UPDATE, RST, 2, 0)),
        (2, raw(UPDATE, FIN, 2, 0)),
    ] {
        assert_eq!(
            feed(&mut server(), &frame),
            Err(Error::NeverOpened { stream: id(number) })
        );
    }
}

#[test]
fn a_farewell_to_a_stream_the_peer_never_announced_is_tolerated() {
    // The `yamux` crate does so when a stream is dropped unused.
    let mut session = server();
    assert_eq!(feed_ok(&mut session, &raw(DATA, RST, 1, 0)), []);
    assert_eq!(feed_ok(&mut session, &raw(DATA, FIN, 3, 0)), []);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 5, 0)),
        [Seen::Opened(5)]
    );
}

#[test]
fn m07_the_peers_ids_running_out_make_us_go_away_and_carry_on() {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, IDS_SOFT_MAX - 2, 0));
    assert!(!session.is_going_away());
    let border = IDS_SOFT_MAX | 1;
    assert_eq!(feed_ok(&mut session, &data(SYN, border, b"x")).len(), 2);
    assert!(session.is_going_away());
    assert_eq!(written(&mut session), [wrote(AWAY, 0, 0, 0)]);
    session.send(id(border), b"y".to_vec(), false).unwrap();
    assert_eq!(written(&mut session), [wrote_data(ACK, border, b"y")]);
}

#[test]
fn m07_our_ids_running_out_make_us_go_away_long_before_the_last() {
    let mut session = client();
    session.next_id = (IDS_SOFT_MAX - 2) | 1;
    session.open(NOW).unwrap();
    while !session.is_going_away() {
        session.open(NOW).unwrap();
    }
    assert!(session.next_id < IDS_SOFT_MAX + 8);
    assert_eq!(written(&mut session), [wrote(AWAY, 0, 0, 0)]);

    session.next_id = u32::MAX;
    assert_eq!(session.open(NOW).unwrap().get(), u32::MAX);
    assert_eq!(session.open(NOW), Err(OpenError::IdsExhausted));
    session.reset(id(u32::MAX));
    assert_eq!(session.open(NOW), Err(OpenError::IdsExhausted));

    let mut session = server();
    session.next_id = u32::MAX - 1;
    assert_eq!(session.open(NOW).unwrap().get(), u32::MAX - 1);
    assert_eq!(session.open(NOW), Err(OpenError::IdsExhausted));
}

#[test]
fn m03_a_first_frame_of_the_initial_window_is_taken() {
    let mut session = server();
    let seen = feed_ok(&mut session, &data(SYN, 1, &zeros(WINDOW)));
    assert_eq!(seen, [Seen::Opened(1), Seen::Data(1, zeros(WINDOW))]);
}

#[test]
fn m03_oversized_first_data_is_refused_before_allocation() {
    // Only the header is there: the verdict does not wait for a byte of payload.
    for bytes in [262_145, 16 << 20, u32::MAX] {
        let mut session = server();
        assert_eq!(
            feed(&mut session, &raw(DATA, SYN, 1, bytes)),
            Err(Error::FirstFrameTooLarge {
                stream: id(1),
                bytes
            })
        );
        assert_eq!(session.streams(), 0);
        assert_eq!(
            written(&mut session),
            [wrote(AWAY, 0, 0, 1)],
            "protocol error"
        );
    }
}

#[test]
fn m14_streams_opened_after_our_go_away_are_refused_and_the_others_go_on() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    session.go_away(GoAwayCode::Normal);
    session.go_away(GoAwayCode::Normal);
    // This SYN was on its way before the peer could read the go-away.
    assert_eq!(feed_ok(&mut session, &data(SYN, 3, b"ask")), []);
    assert_eq!(session.stats().refused_going_away, 1);
    session.send(id(1), b"answer".to_vec(), true).unwrap();
    assert_eq!(
        written(&mut session),
        [
            wrote(UPDATE, RST, 3, 0),
            wrote(AWAY, 0, 0, 0),
            wrote_data(ACK | FIN, 1, b"answer")
        ]
    );
    assert_eq!(
        feed_ok(&mut session, &data(FIN, 1, b"rest")),
        [Seen::Data(1, b"rest".to_vec()), Seen::Finished(1)]
    );
}

#[test]
fn m14_a_peer_that_went_away_gets_no_new_streams_and_finishes_the_old() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"ask".to_vec(), false).unwrap();
    written(&mut session);
    assert_eq!(
        feed_ok(&mut session, &raw(AWAY, 0, 0, 0)),
        [Seen::WentAway(GoAwayCode::Normal)]
    );
    assert!(session.is_going_away());
    assert_eq!(session.open(NOW), Err(OpenError::PeerWentAway));
    let answer = feed_ok(&mut session, &data(ACK | FIN, 1, b"answer"));
    assert_eq!(
        answer,
        [
            Seen::Acknowledged(1),
            Seen::Data(1, b"answer".to_vec()),
            Seen::Finished(1)
        ]
    );
    session.send(stream, b"more".to_vec(), true).unwrap();
    assert_eq!(written(&mut session), [wrote_data(FIN, 1, b"more")]);
}

#[test]
fn m14_a_second_go_away_is_told_only_if_it_says_something_else() {
    let mut session = client();
    feed_ok(&mut session, &raw(AWAY, 0, 0, 0));
    assert_eq!(feed_ok(&mut session, &raw(AWAY, 0, 0, 0)), []);
    assert_eq!(session.stats().glitches, 16);
    assert_eq!(
        feed_ok(&mut session, &raw(AWAY, 0, 0, 1)),
        [Seen::WentAway(GoAwayCode::ProtocolError)]
    );
    assert_eq!(
        feed_ok(&mut session, &raw(AWAY, 0, 0, 77)),
        [Seen::WentAway(GoAwayCode::Other(77))]
    );
}

#[test]
fn a_ping_is_answered_with_its_own_number() {
    let mut session = server();
    assert_eq!(feed_ok(&mut session, &raw(PING, SYN, 0, 4711)), []);
    assert_eq!(written(&mut session), [wrote(PING, ACK, 0, 4711)]);
}

#[test]
fn our_ping_measures_the_round_trip_from_when_it_was_written() {
    let mut session = Session::<Bytes>::new(Side::Server, Settings::default());
    session.on_deadline(NOW).unwrap();
    assert_eq!(
        written_at(&mut session, NOW + 5 * MS),
        [wrote(PING, SYN, 0, 0)]
    );
    feed_at(&mut session, &raw(PING, ACK, 0, 0), NOW + 12 * MS).unwrap();
    assert_eq!(session.rtt(), Some(7 * MS));
}

#[test]
fn a_silent_peer_is_pinged_and_then_declared_dead_within_ten_seconds() {
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    assert_eq!(session.next_deadline(), Some(NOW + 4000 * MS));
    session.on_deadline(NOW + 4000 * MS).unwrap();
    assert_eq!(written(&mut session), [wrote(PING, SYN, 0, 1)]);
    assert_eq!(session.next_deadline(), Some(NOW + 9000 * MS));
    assert_eq!(session.on_deadline(NOW + 9000 * MS), Err(Error::PeerSilent));
    assert_eq!(written(&mut session), [], "there is nobody to tell");
    assert_eq!(session.next_deadline(), None);
    assert_eq!(session.on_deadline(NOW + 9001 * MS), Err(Error::PeerSilent));
}

#[test]
fn two_idle_sessions_keep_each_other_alive() {
    let (mut left, mut right) = (client(), server());
    left.on_deadline(NOW).unwrap();
    right.on_deadline(NOW).unwrap();
    let mut now = NOW;
    for _ in 0..100 {
        now = left
            .next_deadline()
            .unwrap()
            .min(right.next_deadline().unwrap());
        for turn in 0..2 {
            let (from, to) = if turn == 0 {
                (&mut left, &mut right)
            } else {
                (&mut right, &mut left)
            };
            from.on_deadline(now).unwrap();
            while let Some(frame) = from.next_frame(now) {
                feed_at(to, &frame.header, now).unwrap();
            }
        }
    }
    assert!(now >= NOW + 100_000 * MS);
    assert_eq!(left.rtt().unwrap(), Duration::ZERO);
}

#[test]
fn after_an_error_nothing_works_but_the_farewell() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    session.send(id(1), b"queued".to_vec(), false).unwrap();
    let mut broken = raw(DATA, 0, 1, 0);
    broken[0] = 9;
    assert_eq!(feed(&mut session, &broken), Err(Error::Version { got: 9 }));
    assert_eq!(session.sendable(id(1)), 0);
    assert!(session.send(id(1), b"x".to_vec(), false).is_err());
    assert_eq!(session.open(NOW), Err(OpenError::Failed));
    assert_eq!(written(&mut session), [wrote(AWAY, 0, 0, 1)]);
    assert_eq!(
        session.receive(&[0; 100], NOW),
        Err(Error::Version { got: 9 })
    );
}
