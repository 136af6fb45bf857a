//! Conversations as other implementations hold them, written down after their sources.

use super::*;

const ASK: &[u8] = b"GET / HTTP/1.1\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 Okay\r\n";

#[test]
fn a_conversation_opened_by_hashicorps_client() {
    let mut session = server();
    // Open() announces the stream by a window update; Write() follows without flags; Close() is a
    // FIN on a window update.
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0)),
        [Seen::Opened(1)]
    );
    assert_eq!(
        feed_ok(&mut session, &data(0, 1, ASK)),
        [Seen::Data(1, ASK.to_vec())]
    );
    session.consumed(id(1), 16, NOW);
    session.send(id(1), ANSWER.to_vec(), false).unwrap();
    assert_eq!(written(&mut session), [wrote_data(ACK, 1, ANSWER)]);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0)),
        [Seen::Finished(1)]
    );
    session.finish(id(1));
    assert_eq!(written(&mut session), [wrote_data(FIN, 1, b"")]);
    assert!(session.is_idle());
    assert_eq!(session.stats().glitches, 0, "nothing of it is odd");
}

#[test]
fn a_conversation_accepted_by_hashicorps_server() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.send(stream, ASK.to_vec(), false).unwrap();
    assert_eq!(written(&mut session), [wrote_data(SYN, 1, ASK)]);
    // Accept() answers with a window update that also widens the window, if so configured.
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, ACK, 1, 786_432)),
        [Seen::Acknowledged(1)]
    );
    assert_eq!(
        feed_ok(&mut session, &data(0, 1, ANSWER)),
        [Seen::Data(1, ANSWER.to_vec())]
    );
    session.finish(stream);
    assert_eq!(written(&mut session), [wrote_data(FIN, 1, b"")]);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, FIN, 1, 0)),
        [Seen::Finished(1)]
    );
    session.consumed(stream, 19, NOW);
    assert!(session.is_idle());
    assert_eq!(session.stats().glitches, 0);
}

#[test]
fn hashicorps_refusal_of_a_full_backlog() {
    let mut session = client();
    let stream = session.open(NOW).unwrap();
    session.finish(stream);
    written(&mut session);
    assert_eq!(
        feed_ok(&mut session, &raw(UPDATE, RST, 1, 0)),
        [Seen::Reset(1)]
    );
}

#[test]
fn a_stream_accepted_in_silence_is_acknowledged_all_the_same() {
    // The peer waits for a banner: it sends nothing, so nothing is consumed.
    let mut session = server();
    feed_ok(&mut session, &raw(UPDATE, SYN, 1, 0));
    session.consumed(id(1), 0, NOW);
    session.on_deadline(NOW + 250 * MS).unwrap();
    assert_eq!(written(&mut session), [wrote(UPDATE, ACK, 1, 0)]);
}

#[test]
fn the_crates_empty_writes_and_its_ack_on_fin_are_understood() {
    let mut session = client();
    for _ in 0..2 {
        let stream = session.open(NOW).unwrap();
        session.send(stream, b"ask".to_vec(), false).unwrap();
    }
    written(&mut session);
    // A write of nothing is an empty data frame, a stream closed without an answer is ACK with FIN.
    assert_eq!(
        feed_ok(&mut session, &raw(DATA, ACK, 1, 0)),
        [Seen::Acknowledged(1)]
    );
    assert_eq!(
        feed_ok(&mut session, &raw(DATA, ACK | FIN, 3, 0)),
        [Seen::Acknowledged(3), Seen::Finished(3)]
    );
}

#[test]
fn flag_bits_the_spec_does_not_name_are_ignored() {
    let mut session = server();
    assert_eq!(
        feed_ok(&mut session, &data(SYN | 0xfff0, 1, b"x")),
        [Seen::Opened(1), Seen::Data(1, b"x".to_vec())]
    );
}

#[test]
fn a_session_can_move_to_another_thread() {
    fn assert_send<T: Send>(_: &T) {}
    assert_send(&server());
}
