//! Streams end: FIN, RST, both sides, every order; what is late is nobody's fault.

use alloc::collections::VecDeque;
use proptest::prelude::*;

use super::*;

#[test]
fn a_half_closed_stream_still_carries_the_other_half() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, b"ask"));
    session.consumed(id(1), 3, NOW);
    session.send(id(1), b"one".to_vec(), false).unwrap();
    session.send(id(1), b"two".to_vec(), true).unwrap();
    assert_eq!(
        written(&mut session),
        [wrote_data(ACK, 1, b"one"), wrote_data(FIN, 1, b"two")]
    );
    assert_eq!(session.streams(), 0);
}

#[test]
fn the_fin_rides_on_the_last_queued_frame() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, b"all".to_vec(), false).unwrap();
    session.finish(stream);
    assert_eq!(written(&mut session), [wrote_data(SYN | FIN, 1, b"all")]);
}

#[test]
fn a_fin_with_nothing_queued_goes_alone() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.finish(stream);
    session.finish(stream);
    assert_eq!(written(&mut session), [wrote_data(SYN | FIN, 1, b"")]);
    let other = session.open(NOW).unwrap();
    session.send(other, Bytes::new(), false).unwrap();
    assert_eq!(written(&mut session), [], "an empty payload is no frame");
    session.send(other, Bytes::new(), true).unwrap();
    assert_eq!(written(&mut session), [wrote_data(SYN | FIN, 3, b"")]);
}

#[test]
fn an_empty_payload_does_not_count_as_a_touch() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"ask"));
    session.send(id(1), Bytes::new(), false).unwrap();
    session.reset(id(1));
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 1, 0)]);
}

#[test]
fn bytes_that_came_in_time_outlive_both_fins() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, b"unread"));
    session.finish(id(1));
    written(&mut session);
    assert_eq!((session.streams(), session.buffered()), (1, 6));
    // On the wire the stream is over: what the peer still says is late.
    assert_eq!(feed_ok(&mut session, &raw(UPDATE, RST, 1, 0)), []);
    session.consumed(id(1), 5, NOW);
    assert_eq!(session.streams(), 1);
    session.consumed(id(1), 1, NOW);
    assert_eq!((session.streams(), session.buffered()), (0, 0));
}

#[test]
fn a_reader_that_gives_up_after_both_fins_resets_without_a_frame() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, b"unread"));
    session.finish(id(1));
    written(&mut session);
    session.reset(id(1));
    assert_eq!(written(&mut session), []);
    assert_eq!((session.streams(), session.buffered()), (0, 0));
}

#[test]
fn a_reset_drops_the_queue_and_the_unread_bytes() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"unread"));
    session.send(id(1), b"queued".to_vec(), false).unwrap();
    session.reset(id(1));
    assert_eq!(written(&mut session), [wrote(UPDATE, RST | ACK, 1, 0)]);
    assert_eq!((session.buffered(), session.queued()), (0, 0));
    assert!(session.is_idle());
}

#[test]
fn m09_a_reset_from_the_peer_never_loses_the_accounting_of_acked_bytes() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, b"unread"));
    assert_eq!(
        feed_ok(
            &mut session,
            &[data(0, 1, b"more"), raw(UPDATE, RST, 1, 0)].concat()
        ),
        [Seen::Data(1, b"more".to_vec()), Seen::Reset(1)]
    );
    assert_eq!((session.streams(), session.buffered()), (0, 0));
    session.consumed(id(1), 10, NOW);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn commands_on_a_stream_that_is_gone_do_nothing() {
    let mut session = server();
    feed_ok(
        &mut session,
        &[data(SYN, 1, b"x"), raw(UPDATE, RST, 1, 0)].concat(),
    );
    session.accept(id(1), NOW);
    session.consumed(id(1), 1, NOW);
    session.finish(id(1));
    session.reset(id(1));
    assert_eq!(session.sendable(id(1)), 0);
    assert!(session.send(id(1), b"x".to_vec(), false).is_err());
    assert_eq!(written(&mut session), []);
}

#[test]
fn data_in_flight_when_we_reset_is_thrown_away_without_blame() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN, 1, &zeros(100_000)));
    session.reset(id(1));
    assert_eq!(feed_ok(&mut session, &data(0, 1, &zeros(162_144))), []);
    assert_eq!(session.stats().late_bytes, 162_144);
    assert_eq!(session.stats().glitches, 0);
    feed_ok(&mut session, &data(0, 1, &zeros(100)));
    assert_eq!(
        session.stats().glitches,
        16,
        "no more than was granted is excused"
    );
}

#[test]
fn a_stream_reset_in_the_middle_of_a_frame_swallows_the_rest() {
    let mut session = server();
    let mut input = data(SYN | FIN, 1, &zeros(1000));
    input.extend(data(SYN, 3, b"next"));
    assert_eq!(feed_ok(&mut session, &input[..512]).len(), 2);
    session.reset(id(1));
    assert_eq!(
        feed_ok(&mut session, &input[512..]),
        [Seen::Opened(3), Seen::Data(3, b"next".to_vec())]
    );
    assert_eq!(session.stats().late_bytes, 500);
    assert_eq!(session.stats().glitches, 0);
}

#[test]
fn m09_data_after_fin_resets_that_stream() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, b"all"));
    assert_eq!(
        feed_ok(&mut session, &data(0, 1, b"more")),
        [Seen::Reset(1)]
    );
    assert_eq!(written(&mut session), [wrote(UPDATE, RST, 1, 0)]);
    assert_eq!(session.stats().data_after_fin, 1);
}

#[test]
fn m09_a_second_fin_says_nothing_new() {
    let mut session = server();
    feed_ok(&mut session, &data(SYN | FIN, 1, b"all"));
    assert_eq!(feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0)), []);
    assert_eq!(feed_ok(&mut session, &raw(DATA, FIN, 1, 0)), []);
    assert_eq!(session.stats().glitches, 8);
}

/// What can be done to a stream, from both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    WeSend,
    WeFinish,
    WeReset,
    PeerSends,
    PeerFinishes,
    PeerResets,
    /// Frames we queued are written.
    Write,
}

const MOVES: [Move; 7] = [
    Move::WeSend,
    Move::WeFinish,
    Move::WeReset,
    Move::PeerSends,
    Move::PeerFinishes,
    Move::PeerResets,
    Move::Write,
];

/// One stream after the words of the spec: each direction is open until its FIN, and a RST ends
/// all. Knows nothing of the table.
#[derive(Debug, Default)]
struct Model {
    we_ended: bool,
    peer_ended: bool,
    dead: bool,
    /// What must still be written: payload and FIN, in order.
    outbox: VecDeque<Wrote>,
    acked: bool,
    events: Vec<Seen>,
    wrote: Vec<Wrote>,
}

impl Model {
    fn apply(&mut self, step: Move) {
        match step {
            Move::WeSend if !self.dead && !self.we_ended => {
                self.outbox.push_back(wrote_data(0, 1, b"out"));
            }
            Move::WeFinish if !self.dead && !self.we_ended => {
                self.we_ended = true;
                match self.outbox.back_mut() {
                    Some(last) => last.flags |= FIN,
                    None => self.outbox.push_back(wrote_data(FIN, 1, b"")),
                }
            }
            Move::WeReset if !self.dead => {
                let over = self.we_ended && self.outbox.is_empty() && self.peer_ended;
                if !over {
                    let touched = self.we_ended || !self.outbox.is_empty();
                    let ack = if touched && !self.acked { ACK } else { 0 };
                    self.wrote.push(wrote(UPDATE, RST | ack, 1, 0));
                }
                self.outbox.clear();
                self.dead = true;
            }
            Move::PeerSends if !self.dead => {
                if self.peer_ended {
                    let over = self.we_ended && self.outbox.is_empty();
                    if !over {
                        let touched = self.we_ended || !self.outbox.is_empty();
                        let ack = if touched && !self.acked { ACK } else { 0 };
                        self.wrote.push(wrote(UPDATE, RST | ack, 1, 0));
                        self.events.push(Seen::Reset(1));
                        self.outbox.clear();
                        self.dead = true;
                    }
                } else {
                    self.events.push(Seen::Data(1, b"in".to_vec()));
                }
            }
            Move::PeerFinishes if !self.dead && !self.peer_ended => {
                self.peer_ended = true;
                self.events.push(Seen::Finished(1));
            }
            Move::PeerResets if !self.dead => {
                let over = self.we_ended && self.outbox.is_empty() && self.peer_ended;
                if !over {
                    self.events.push(Seen::Reset(1));
                    self.outbox.clear();
                    self.dead = true;
                }
            }
            Move::Write => {
                for mut frame in self.outbox.drain(..) {
                    if !self.acked {
                        frame.flags |= ACK;
                        self.acked = true;
                    }
                    self.wrote.push(frame);
                }
            }
            Move::WeSend
            | Move::WeFinish
            | Move::WeReset
            | Move::PeerSends
            | Move::PeerFinishes
            | Move::PeerResets => {}
        }
    }
}

/// Plays the moves on a session and on the model. Bytes stay unread, so the session keeps the
/// stream as long as the model does.
fn play(moves: &[Move]) {
    let mut session = server();
    let mut model = Model::default();
    let mut seen = feed_ok(&mut session, &data(SYN, 1, b"in"));
    let mut frames = Vec::new();
    assert_eq!(seen, [Seen::Opened(1), Seen::Data(1, b"in".to_vec())]);
    seen.clear();
    for step in moves {
        // A reset of ours overtakes what is queued, so it is written at once on both sides.
        model.apply(*step);
        match step {
            Move::WeSend => drop(session.send(id(1), b"out".to_vec(), false)),
            Move::WeFinish => session.finish(id(1)),
            Move::WeReset => session.reset(id(1)),
            Move::PeerSends => seen.extend(feed_ok(&mut session, &data(0, 1, b"in"))),
            Move::PeerFinishes => seen.extend(feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0))),
            Move::PeerResets => seen.extend(feed_ok(&mut session, &raw(UPDATE, RST, 1, 0))),
            Move::Write => frames.extend(written(&mut session)),
        }
        session.audit();
    }
    model.apply(Move::Write);
    frames.extend(written(&mut session));
    assert_eq!(seen, model.events, "{moves:?}");
    assert_eq!(frames, model.wrote, "{moves:?}");
    assert_eq!(session.streams() == 0, model.dead, "{moves:?}");
}

#[test]
fn m09_half_close_in_all_sixteen_orders() {
    use Move::{PeerFinishes, PeerResets, WeFinish, WeReset};
    let endings = [WeFinish, WeReset, PeerFinishes, PeerResets];
    let mut played = 0;
    for first in endings {
        for second in endings {
            for pause in [false, true] {
                let mut moves = alloc::vec![Move::WeSend, Move::PeerSends, first];
                if pause {
                    moves.push(Move::Write);
                }
                moves.extend([second, Move::PeerSends, Move::WeSend]);
                play(&moves);
                played += 1;
            }
        }
    }
    assert_eq!(played, 32);
}

#[test]
fn m09_every_conversation_of_up_to_five_moves_agrees_with_the_model() {
    fn extend(moves: &mut Vec<Move>, depth: u32) -> u32 {
        play(moves);
        if depth == 0 {
            return 1;
        }
        let mut played = 1;
        for step in MOVES {
            moves.push(step);
            played += extend(moves, depth - 1);
            moves.pop();
        }
        played
    }
    // 1 + 7 + 49 + 343 + 2401 + 16807
    assert_eq!(extend(&mut Vec::new(), 5), 19_608);
}

proptest! {
    #[test]
    fn m09_long_conversations_agree_with_the_model(
        steps in prop::collection::vec(prop::sample::select(MOVES.to_vec()), 0..40),
    ) {
        play(&steps);
    }
}
