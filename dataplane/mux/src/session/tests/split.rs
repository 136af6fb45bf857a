//! M-15: the result is the same however the input is split, and garbage never panics.

use alloc::vec;
use proptest::prelude::*;

use super::*;

/// What a session saw and wrote until the end or the error.
fn run(pieces: &[&[u8]]) -> (Vec<Seen>, Result<(), Error>, Vec<Wrote>) {
    let mut session = server_with(|s| {
        s.session_buffer_bytes = 1 << 20;
        s.session_window_bytes = 0;
        s.streams_max = 20;
    });
    let mine = session.open(NOW).unwrap();
    session.send(mine, b"hello".to_vec(), false).unwrap();
    let mut frames = written(&mut session);
    let mut seen: Vec<Seen> = Vec::new();
    let mut result = Ok(());
    'pieces: for piece in pieces {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            match session.receive(rest, NOW) {
                Ok((taken, event)) => {
                    session.audit();
                    at += taken;
                    match event {
                        Some(event) => note(&mut seen, event, rest),
                        None => break,
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break 'pieces;
                }
            }
        }
        assert_eq!(at, piece.len());
    }
    frames.extend(written(&mut session));
    (seen, result, frames)
}

fn frame() -> impl Strategy<Value = Bytes> {
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0u32..300_000).prop_map(zeros),
    ];
    let number = prop_oneof![8 => 1u32..12, 1 => Just(0), 1 => any::<u32>()];
    let flags = prop_oneof![4 => 0u16..16, 3 => Just(SYN), 2 => Just(0), 1 => any::<u16>()];
    prop_oneof![
        6 => (flags.clone(), number.clone(), payload).prop_map(|(flags, stream, payload)| data(flags, stream, &payload)),
        3 => (flags.clone(), number.clone(), any::<u32>()).prop_map(|(flags, stream, length)| raw(UPDATE, flags, stream, length >> 12)),
        1 => (flags.clone(), number, any::<u32>()).prop_map(|(flags, stream, length)| raw(UPDATE, flags, stream, length)),
        1 => (flags, any::<u32>()).prop_map(|(flags, length)| raw(PING, flags, 0, length)),
        1 => (0u32..4).prop_map(|code| raw(AWAY, 0, 0, code)),
    ]
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces.push(&bytes[from..]);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn m15_every_split_of_a_conversation_gives_the_same_result(
        frames in prop::collection::vec(frame(), 1..25),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let bytes = frames.concat();
        let whole = run(&[&bytes]);
        prop_assert_eq!(run(&cut(&bytes, &cuts)), whole);
    }

    #[test]
    fn m15_garbage_never_panics_and_splits_alike(
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let whole = run(&[&bytes]);
        prop_assert_eq!(run(&cut(&bytes, &cuts)), whole);
    }

    #[test]
    fn m15_frames_with_one_broken_byte_never_panic(
        frames in prop::collection::vec(frame(), 1..15),
        place in any::<prop::sample::Index>(),
        broken in any::<u8>(),
    ) {
        let mut bytes = frames.concat();
        let place = place.index(bytes.len());
        bytes[place] = broken;
        let (seen, result, frames) = run(&[&bytes]);
        prop_assert!(result.is_ok() || frames.last().is_some_and(|last| last.kind == AWAY), "{seen:?}");
    }
}

#[test]
fn m15_one_byte_at_a_time_and_every_single_split_point_agree() {
    let bytes = [
        data(SYN, 1, b"ask one"),
        raw(UPDATE, SYN, 3, 70_000),
        raw(PING, SYN, 0, 9),
        raw(UPDATE, ACK, 2, 1),
        data(FIN, 1, b"rest"),
        data(0, 2, b"answer"),
        data(FIN, 3, b""),
        data(FIN, 2, b"end"),
        raw(UPDATE, RST, 3, 0),
        raw(AWAY, 0, 0, 0),
    ]
    .concat();
    let whole = run(&[&bytes]);
    assert_eq!(whole.1, Ok(()));
    assert_eq!(whole.0.len(), 12);
    let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&bytewise), whole);
    for place in 0..=bytes.len() {
        assert_eq!(
            run(&[&bytes[..place], &bytes[place..]]),
            whole,
            "cut at {place}"
        );
    }
}

#[test]
fn m15_a_large_frame_byte_by_byte_costs_no_more_than_its_bytes() {
    // Quadratic handling of 256 KiB in single bytes would be 3 * 10^10 steps and never end.
    let bytes = data(SYN, 1, &vec![7; 262_144]);
    let mut session = server();
    let mut got = 0;
    for byte in &bytes {
        let mut input = core::slice::from_ref(byte);
        loop {
            let (taken, event) = session.receive(input, NOW).unwrap();
            input = &input[taken..];
            match event {
                Some(Event::Data { range, .. }) => got += range.len(),
                Some(_) => {}
                None => break,
            }
        }
    }
    assert_eq!(got, 262_144);
}
