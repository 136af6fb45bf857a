//! Frames of a peer that may be anybody.

use std::time::Duration;

use adit_mux::{Error, Event, GoAwayCode, Session, Settings, Side, StreamId};

use crate::input::{Input, pieces};

/// The time, when it stands still.
const NOW: Duration = Duration::from_secs(1);

/// [`Session::receive`]. The first byte chooses side and settings, the second the cut, the third how many streams are
/// ours; the fourth steers what the user does in the last round.
pub fn mux_receive(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let cut = input.byte();
    let ours = input.byte() % 8;
    let mood = input.byte();
    let wire = input.rest();
    let whole = calm(kind, ours, wire, 0);
    assert_eq!(calm(kind, ours, wire, cut), whole, "in pieces of {cut}");
    assert_eq!(calm(kind, ours, wire, 1), whole, "byte by byte");
    wild(kind, ours, wire, cut, mood);
}

/// What a user saw, bytes joined.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    events: Vec<Event>,
    data: Vec<(StreamId, Vec<u8>)>,
    failed: Option<Error>,
    streams: usize,
    buffered: usize,
    answer: Vec<u8>,
}

fn settings(kind: u8) -> Settings {
    if kind & 2 == 0 {
        return Settings::default();
    }
    Settings {
        streams_max: 6,
        opens_unacked_max: 8,
        accept_backlog: 3,
        glitches_max: 512,
        churn_max: 16,
        resets_max: 8,
        session_window_bytes: 1 << 20,
        session_buffer_bytes: 1 << 20,
        ..Settings::default()
    }
}

fn session(kind: u8, ours: u8) -> (Session<Vec<u8>>, Vec<StreamId>) {
    let side = if kind & 1 == 0 {
        Side::Client
    } else {
        Side::Server
    };
    let mut session = Session::new(side, settings(kind));
    let mut ids = Vec::new();
    for _ in 0..ours {
        if let Ok(id) = session.open(NOW) {
            assert!(session.send(id, b"hello".to_vec(), false).is_ok());
            ids.push(id);
        }
    }
    while session.next_frame(NOW).is_some() {}
    (session, ids)
}

/// Reads everything at once, consumes nothing and writes at the end.
fn calm(kind: u8, ours: u8, wire: &[u8], cut: u8) -> Seen {
    let (mut session, _) = session(kind, ours);
    let mut seen = Seen {
        events: Vec::new(),
        data: Vec::new(),
        failed: None,
        streams: 0,
        buffered: 0,
        answer: Vec::new(),
    };
    'reading: for piece in pieces(wire, cut) {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            match session.receive(rest, NOW) {
                Ok((taken, event)) => {
                    assert!(taken <= rest.len());
                    match event {
                        Some(Event::Data { stream, range }) => {
                            let bytes = &rest[range];
                            match seen.data.last_mut() {
                                Some((last, joined)) if *last == stream => joined.extend(bytes),
                                Some(_) | None => seen.data.push((stream, bytes.to_vec())),
                            }
                        }
                        Some(event) => seen.events.push(event),
                        None => assert_eq!(at + taken, piece.len(), "nothing is left behind"),
                    }
                    at += taken;
                    if at == piece.len() && taken == 0 {
                        break;
                    }
                }
                Err(error) => {
                    seen.failed = Some(error);
                    break 'reading;
                }
            }
        }
    }
    seen.streams = session.streams();
    seen.buffered = session.buffered();
    check(&session, kind);
    while let Some(frame) = session.next_frame(NOW) {
        seen.answer.extend(frame.header);
        seen.answer.extend(frame.payload.unwrap_or_default());
        assert!(seen.answer.len() < 64 << 20, "an answer without end");
    }
    assert!(!session.wants_write(), "nothing is left to write");
    seen
}

/// Reads in pieces, and does after each event what the bytes suggest.
fn wild(kind: u8, ours: u8, wire: &[u8], cut: u8, mood: u8) {
    let (mut session, mut ids) = session(kind, ours);
    let mut now = NOW;
    let mut turn = u64::from(mood);
    for piece in pieces(wire, cut) {
        let mut at = 0;
        loop {
            let Ok((taken, event)) = session.receive(&piece[at..], now) else {
                return drain(&mut session, now);
            };
            at += taken;
            match &event {
                Some(Event::Opened(id)) => ids.push(*id),
                Some(_) => {}
                None if at == piece.len() => break,
                None => {}
            }
            turn = turn
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            act(&mut session, &ids, turn >> 33, &mut now);
            check(&session, kind);
        }
    }
    drain(&mut session, now);
    check(&session, kind);
}

fn act(session: &mut Session<Vec<u8>>, ids: &[StreamId], turn: u64, now: &mut Duration) {
    let index = usize::try_from(turn / 16).unwrap_or_default();
    let id = ids.get(index % ids.len().max(1)).copied();
    match (turn % 16, id) {
        (0, Some(id)) => session.reset(id),
        (1, Some(id)) => session.finish(id),
        (2..=4, Some(id)) => session.consumed(id, index % 100_000, *now),
        (5, Some(id)) => session.accept(id, *now),
        (6 | 7, Some(id)) => {
            let room = session.sendable(id).min(100);
            let sent = session.send(id, vec![7; room], turn % 32 == 6);
            assert!(sent.is_ok() || room == 0, "what is sendable can be sent");
        }
        (8, _) => session.go_away(GoAwayCode::Normal),
        (9, _) => session.ping(*now),
        (10, _) => {
            *now += Duration::from_millis(100);
            let _ = session.on_deadline(*now);
        }
        (11..=13, _) => {
            let _ = session.next_frame(*now);
            while session.poll_event().is_some() {}
        }
        _ => {}
    }
}

fn drain(session: &mut Session<Vec<u8>>, now: Duration) {
    let mut frames = 0;
    while session.next_frame(now).is_some() {
        frames += 1;
        assert!(frames < 1_000_000, "frames without end");
    }
}

fn check(session: &Session<Vec<u8>>, kind: u8) {
    let settings = settings(kind);
    assert!(session.streams() <= settings.streams_max);
    assert!(session.buffered() <= settings.session_buffer_bytes);
}
