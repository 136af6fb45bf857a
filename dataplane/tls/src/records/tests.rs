//! Both ends of a connection behind the handshake: key updates, alerts, limits. Sockets and foreign
//! peers are in `tests/`.

use super::*;
use crate::support::{Received, World, receive, seal, slot};

/// Two ends of one suite, agent first.
fn ends(limits: Limits) -> (Records, Records) {
    let (agent, gateway) = World::new().pair(Suite::Aes128Gcm, limits);
    (agent.records, gateway.records)
}

/// A record of any type, as only a hostile peer would seal it.
fn raw(records: &mut Records, content_type: u8, bytes: &[u8]) -> Vec<u8> {
    let mut record = slot(bytes);
    records.sealer.seal(&mut record, content_type).unwrap();
    record
}

fn raw_empty(records: &mut Records) -> Vec<u8> {
    raw(records, content::APPLICATION_DATA, b"")
}

/// Lets `to` open the records `from` sealed, of these types and contents.
fn tell(from: &mut Records, to: &mut Records, said: &[Said<'_>]) -> Result<Received, Error> {
    let mut input: Vec<u8> = said
        .iter()
        .flat_map(|(content_type, bytes)| raw(from, *content_type, bytes))
        .collect();
    let mut received = Received::default();
    receive(to, &mut input, &mut received)?;
    assert_eq!(input, b"", "nothing may be left");
    Ok(received)
}

/// A record: its content type and its content.
type Said<'a> = (u8, &'a [u8]);

const HANDSHAKE: u8 = content::HANDSHAKE;
const ALERT: u8 = content::ALERT;
const DATA: u8 = content::APPLICATION_DATA;

const UPDATE: &[u8] = &[24, 0, 0, 1, 0];
const UPDATE_REQUESTED: &[u8] = &[24, 0, 0, 1, 1];
/// A ticket: lifetime, age_add, nonce of one byte, ticket of two bytes, no extensions.
const TICKET: &[u8] = &[4, 0, 0, 16, 0, 0, 0, 60, 1, 2, 3, 4, 1, 9, 0, 2, 7, 7, 0, 0];

#[test]
fn a_requested_key_update_is_answered_once_however_often_it_was_asked() {
    let (mut agent, mut gateway) = ends(Limits::default());
    for _ in 0..3 {
        let mut input = raw(&mut agent, HANDSHAKE, UPDATE_REQUESTED);
        let (sequence, secrets) = agent.secrets.update_tx().unwrap();
        agent
            .sealer
            .rekey(TrafficKey::new(&secrets).unwrap(), sequence);
        assert_eq!(
            gateway.open(&mut input),
            Ok(Opened::Handled {
                record: 27,
                respond: true
            })
        );
    }
    assert!(gateway.needs_maintenance());
    let mut answer = Vec::new();
    gateway.maintenance(&mut answer).unwrap();
    assert!(!gateway.needs_maintenance());
    assert_eq!(answer.len(), 27, "one record");
    gateway.maintenance(&mut answer).unwrap();
    assert_eq!(answer.len(), 27, "and not a second");

    answer.extend(seal(&mut gateway, b"under the new key"));
    let mut received = Received::default();
    receive(&mut agent, &mut answer, &mut received).unwrap();
    assert_eq!(received.plaintext, b"under the new key");
    assert_eq!(
        (agent.key_updates_received(), gateway.key_updates_received()),
        (1, 3)
    );
    assert!(!agent.needs_maintenance(), "an answer asks for no answer");
}

#[test]
fn a_key_update_is_due_after_the_last_allowed_record_and_not_before() {
    let (mut agent, _gateway) = ends(Limits::default().with_key_update_records(3));
    for _ in 0..2 {
        seal(&mut agent, b"x");
    }
    assert!(!agent.needs_maintenance());
    seal(&mut agent, b"x");
    assert!(agent.needs_maintenance());
}

#[test]
fn a_peer_that_never_updates_is_asked_to_once() {
    let (mut agent, mut gateway) = ends(Limits::default().with_ask_update_records(2));
    for _ in 0..2 {
        assert!(!gateway.needs_maintenance());
        tell(&mut agent, &mut gateway, &[(DATA, b"x")]).unwrap();
    }
    assert!(gateway.needs_maintenance());
    let mut out = Vec::new();
    gateway.maintenance(&mut out).unwrap();
    tell(&mut agent, &mut gateway, &[(DATA, b"x")]).unwrap();
    assert!(!gateway.needs_maintenance(), "it has been asked");

    assert_eq!(
        agent.open(&mut out),
        Ok(Opened::Handled {
            record: 27,
            respond: true
        })
    );
    let mut answer = Vec::new();
    agent.maintenance(&mut answer).unwrap();
    receive(&mut gateway, &mut answer, &mut Received::default()).unwrap();
    assert_eq!(gateway.key_updates_received(), 1);
    tell(&mut agent, &mut gateway, &[(DATA, b"x")]).unwrap();
    assert!(!gateway.needs_maintenance(), "counting starts over");
    tell(&mut agent, &mut gateway, &[(DATA, b"x")]).unwrap();
    assert!(gateway.needs_maintenance(), "and ends with asking again");
}

#[test]
fn an_old_key_does_not_open_after_an_update() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let mut update = raw(&mut agent, HANDSHAKE, UPDATE);
    let mut late = seal(&mut agent, b"still under the old key");
    gateway.open(&mut update).unwrap();
    assert_eq!(gateway.open(&mut late), Err(Error::BadRecordMac));
}

#[test]
fn an_agent_tolerates_tickets_coalesced_and_split() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let two = [TICKET, TICKET].concat();
    let received = tell(
        &mut gateway,
        &mut agent,
        &[
            (HANDSHAKE, &two),
            (HANDSHAKE, &TICKET[..1]),
            (HANDSHAKE, &TICKET[1..7]),
            (HANDSHAKE, &TICKET[7..]),
            (DATA, b"payload"),
        ],
    )
    .unwrap();
    assert_eq!(received.plaintext, b"payload");
    assert_eq!(received.handled, 4);
}

#[test]
fn a_ticket_and_a_key_update_may_share_a_record_in_this_order_only() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let good = [TICKET, UPDATE].concat();
    tell(&mut gateway, &mut agent, &[(HANDSHAKE, &good)]).unwrap();
    assert_eq!(agent.key_updates_received(), 1);

    let (mut agent, mut gateway) = ends(Limits::default());
    let bad = [UPDATE, TICKET].concat();
    let error = tell(&mut gateway, &mut agent, &[(HANDSHAKE, &bad)]).unwrap_err();
    assert_eq!(error, Error::MisplacedKeyUpdate);
    assert_eq!(error.alert(), Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn a_key_update_split_over_two_records_is_obeyed() {
    let (mut agent, mut gateway) = ends(Limits::default());
    tell(
        &mut agent,
        &mut gateway,
        &[(HANDSHAKE, &UPDATE[..3]), (HANDSHAKE, &UPDATE[3..])],
    )
    .unwrap();
    assert_eq!(gateway.key_updates_received(), 1);
}

#[test]
fn each_breach_after_the_handshake_has_its_own_error_and_alert() {
    use AlertDescription as A;
    let long_alert = [2, 10, 0];
    let cases: &[(&[Said<'_>], Error, A)] = &[
        (
            &[(HANDSHAKE, TICKET)],
            Error::UnexpectedMessage { message_type: 4 },
            A::UnexpectedMessage,
        ),
        (
            &[(HANDSHAKE, &[1, 0, 0, 0])],
            Error::UnexpectedMessage { message_type: 1 },
            A::UnexpectedMessage,
        ),
        (
            &[(HANDSHAKE, &[24, 0, 0, 1, 2])],
            Error::MalformedMessage { message_type: 24 },
            A::IllegalParameter,
        ),
        (
            &[(HANDSHAKE, &[24, 0, 0, 0])],
            Error::MalformedMessage { message_type: 24 },
            A::IllegalParameter,
        ),
        (
            &[(HANDSHAKE, &[24, 0x7F, 0, 0])],
            Error::MessageTooLarge { length: 0x7F_0000 },
            A::DecodeError,
        ),
        (
            &[(HANDSHAKE, &[])],
            Error::EmptyFragment,
            A::UnexpectedMessage,
        ),
        (&[(ALERT, &[])], Error::EmptyFragment, A::UnexpectedMessage),
        (&[(ALERT, &[2])], Error::MalformedAlert, A::DecodeError),
        (
            &[(ALERT, &long_alert)],
            Error::MalformedAlert,
            A::DecodeError,
        ),
        (&[(ALERT, &[3, 0])], Error::MalformedAlert, A::DecodeError),
        (
            &[(20, &[1])],
            Error::UnexpectedRecord { content_type: 20 },
            A::UnexpectedMessage,
        ),
        (
            &[(24, &[1, 2, 3])],
            Error::UnexpectedRecord { content_type: 24 },
            A::UnexpectedMessage,
        ),
        (
            &[(HANDSHAKE, &UPDATE[..2]), (DATA, b"x")],
            Error::InterleavedMessage,
            A::UnexpectedMessage,
        ),
        (
            &[(HANDSHAKE, &UPDATE[..2]), (DATA, b"")],
            Error::InterleavedMessage,
            A::UnexpectedMessage,
        ),
        (
            &[(HANDSHAKE, &UPDATE[..2]), (ALERT, &[1, 0])],
            Error::InterleavedMessage,
            A::UnexpectedMessage,
        ),
    ];
    let world = World::new();
    for (said, expected, alert) in cases {
        let (agent, gateway) = world.pair(Suite::Aes128Gcm, Limits::default());
        let (mut agent, mut gateway) = (agent.records, gateway.records);
        let error = tell(&mut agent, &mut gateway, said).unwrap_err();
        assert_eq!(&error, expected);
        assert_eq!(error.alert(), Some(*alert), "{error}");
        assert_eq!(error.fault(), crate::Fault::Peer);
        assert_eq!(
            gateway.open(&mut seal(&mut agent, b"x")),
            Err(Error::AlreadyFailed),
            "an error is final"
        );
    }
}

#[test]
fn a_malformed_ticket_is_refused() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let error = tell(
        &mut gateway,
        &mut agent,
        &[(HANDSHAKE, &[4, 0, 0, 2, 1, 1])],
    )
    .unwrap_err();
    assert_eq!(error, Error::MalformedMessage { message_type: 4 });
    assert_eq!(error.alert(), Some(AlertDescription::DecodeError));
}

#[test]
fn empty_records_pass_up_to_the_limit_and_one_more_is_refused() {
    let (mut agent, mut gateway) = ends(Limits::default().with_fruitless_max(3));
    for _ in 0..3 {
        assert!(gateway.open(&mut raw_empty(&mut agent)).is_ok());
    }
    let error = gateway.open(&mut raw_empty(&mut agent)).unwrap_err();
    assert_eq!(error, Error::Fruitless);
    assert_eq!(error.alert(), Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn payload_between_empty_records_starts_their_count_over() {
    let (mut agent, mut gateway) = ends(Limits::default().with_fruitless_max(3));
    for _ in 0..5 {
        for _ in 0..3 {
            assert!(gateway.open(&mut raw_empty(&mut agent)).is_ok());
        }
        assert!(gateway.open(&mut seal(&mut agent, b"x")).is_ok());
    }
}

#[test]
fn a_flood_of_tickets_in_one_record_is_refused() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let flood = TICKET.repeat(100);
    assert_eq!(
        tell(&mut gateway, &mut agent, &[(HANDSHAKE, &flood)]),
        Err(Error::Fruitless)
    );
}

#[test]
fn thirty_two_key_updates_in_a_row_pass_and_the_next_is_refused() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let mut update = |agent: &mut Records| {
        let mut record = raw(agent, HANDSHAKE, UPDATE);
        let (sequence, secrets) = agent.secrets.update_tx().unwrap();
        agent
            .sealer
            .rekey(TrafficKey::new(&secrets).unwrap(), sequence);
        gateway.open(&mut record)
    };
    // 64 fruitless at most; each key update is a record and a message.
    for _ in 0..32 {
        assert!(update(&mut agent).is_ok());
    }
    assert_eq!(update(&mut agent), Err(Error::Fruitless));
}

#[test]
fn close_notify_ends_one_direction_cleanly() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let mut out = seal(&mut agent, b"last words");
    agent.close(&mut out);
    assert_eq!(agent.seal(&mut slot(b"more")), Err(Error::SealAfterClose));
    let length = out.len();
    agent.close(&mut out);
    agent.alert(AlertDescription::InternalError, &mut out);
    assert_eq!(out.len(), length, "said once");

    let mut received = Received::default();
    assert!(!gateway.is_closed_cleanly());
    receive(&mut gateway, &mut out, &mut received).unwrap();
    assert_eq!(received.plaintext, b"last words");
    assert!(received.closed);
    assert!(gateway.is_closed_cleanly());
    assert_eq!(gateway.open(&mut out), Err(Error::OpenAfterClose));

    // The other direction is still open.
    let mut answer = seal(&mut gateway, b"answer");
    let mut received = Received::default();
    receive(&mut agent, &mut answer, &mut received).unwrap();
    assert_eq!(received.plaintext, b"answer");
    assert!(!agent.is_closed_cleanly(), "the gateway has not closed");
}

#[test]
fn a_stream_cut_between_two_records_is_not_closed_cleanly() {
    let (mut agent, mut gateway) = ends(Limits::default());
    tell(&mut agent, &mut gateway, &[(DATA, b"x")]).unwrap();
    assert!(!gateway.is_closed_cleanly());
}

#[test]
fn nothing_is_maintained_after_close() {
    let (mut agent, _gateway) = ends(Limits::default().with_key_update_records(1));
    seal(&mut agent, b"x");
    assert!(agent.needs_maintenance());
    agent.close(&mut Vec::new());
    assert!(!agent.needs_maintenance());
    let mut out = Vec::new();
    agent.maintenance(&mut out).unwrap();
    assert_eq!(out, b"");
}

#[test]
fn a_fatal_alert_arrives_as_the_error_it_names_and_is_not_answered() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let mut out = Vec::new();
    gateway.alert(AlertDescription::AccessDenied, &mut out);
    let error = agent.open(&mut out).unwrap_err();
    assert_eq!(error, Error::AlertReceived(AlertDescription::AccessDenied));
    assert_eq!(error.alert(), None);
    assert!(!agent.is_closed_cleanly());
}

#[test]
fn user_canceled_is_passed_over() {
    let (mut agent, mut gateway) = ends(Limits::default());
    let received = tell(
        &mut agent,
        &mut gateway,
        &[(ALERT, &[1, 90]), (ALERT, &[1, 0])],
    )
    .unwrap();
    assert!(received.closed);
}

#[test]
fn an_alert_of_an_unknown_kind_is_fatal_whatever_its_level() {
    let (mut agent, mut gateway) = ends(Limits::default());
    assert_eq!(
        tell(&mut agent, &mut gateway, &[(ALERT, &[1, 200])]),
        Err(Error::AlertReceived(AlertDescription::Unknown(200)))
    );
}

#[test]
fn printing_shows_counts_and_no_secret() {
    let (agent, _gateway) = ends(Limits::default());
    assert_eq!(
        format!("{agent:?}"),
        "Records { suite: Aes128Gcm, sealed: 0, opened: 0, reading: Open, writing: Open, .. }"
    );
}
