//! Our agent with our gateway, in memory: any split, any suite, keys changing all the time.

use adit_tls::{
    AlertDescription, Error, Fault, HANDSHAKE_BYTES_MAX, HANDSHAKE_RECORDS_MAX, Handshake, Limits,
    Opened, Options, Progress, Records, Role, Suite, TimeProvider, UnixTime,
};
use proptest::prelude::*;

use crate::support::{
    AGENT, GATEWAY, Leaf, Received, Shaking, World, bytes, name, options, receive, seal, shake,
};

fn handshakes(world: &World) -> (Shaking, Shaking) {
    let options = Options::default();
    (
        Shaking::new(Handshake::client(&world.client(&options), name()).unwrap()),
        Shaking::new(Handshake::server(&world.server(&options)).unwrap()),
    )
}

#[test]
fn both_ends_learn_who_the_other_is() {
    for suite in Suite::ALL {
        let (agent, gateway) = World::new().pair(suite, Limits::default());
        assert_eq!(agent.peer.id.to_string(), GATEWAY);
        assert_eq!(gateway.peer.id.to_string(), AGENT);
        assert_eq!(
            gateway.peer.id.role,
            Role::Agent {
                subaccount: "a1".into(),
                name: "berlin-1".into()
            }
        );
        assert_eq!((agent.suite, gateway.suite), (suite, suite));
        assert_eq!(agent.records.suite(), suite);
    }
}

#[test]
fn without_a_choice_made_aes_128_gcm_is_spoken() {
    let world = World::new();
    let mut client_options = Options::default();
    let settings = world.server(&Options::default());
    for client_order in [
        [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305],
        [Suite::Chacha20Poly1305, Suite::Aes256Gcm, Suite::Aes128Gcm],
    ] {
        client_options = client_options.with_suites(&client_order);
        let (agent, _) = shake(&world.client(&client_options), &settings).unwrap();
        assert_eq!(agent.suite, Suite::Aes128Gcm);
    }
}

#[test]
fn a_handshake_arriving_byte_by_byte_completes_and_leaves_nothing() {
    let (mut agent, mut gateway) = handshakes(&World::new());
    let (mut to_gateway, _) = agent.take(&[]);
    for _ in 0..10 {
        let mut to_agent = Vec::new();
        for byte in std::mem::take(&mut to_gateway) {
            let (output, result) = gateway.take(&[byte]);
            result.unwrap();
            to_agent.extend(output);
        }
        for byte in to_agent {
            let (output, result) = agent.take(&[byte]);
            result.unwrap();
            to_gateway.extend(output);
        }
        if to_gateway.is_empty() {
            break;
        }
    }
    assert_eq!(
        (agent.progress, gateway.progress),
        (Progress::Done, Progress::Done)
    );
    assert_eq!((agent.input.len(), gateway.input.len()), (0, 0));
}

#[test]
fn payload_behind_the_last_flight_is_left_to_the_records() {
    let (mut agent, mut gateway) = handshakes(&World::new());
    let (hello, _) = agent.take(&[]);
    let (answer, _) = gateway.take(&hello);
    let (mut flight, _) = agent.take(&answer);
    assert_eq!(agent.progress, Progress::Done);
    let mut agent = agent.handshake.finish().unwrap().records;
    // The agent's first payload travels in one segment with its last flight.
    flight.extend(seal(&mut agent, b"first"));
    flight.extend(seal(&mut agent, b"second"));
    let (_, result) = gateway.take(&flight);
    result.unwrap();
    assert_eq!(gateway.progress, Progress::Done);
    let mut received = Received::default();
    let mut records = gateway.handshake.finish().unwrap().records;
    receive(&mut records, &mut gateway.input, &mut received).unwrap();
    assert_eq!(received.plaintext, b"firstsecond");
}

#[test]
fn advancing_a_finished_handshake_consumes_nothing() {
    let (mut agent, mut gateway) = handshakes(&World::new());
    let (hello, _) = agent.take(&[]);
    let (answer, _) = gateway.take(&hello);
    agent.take(&answer).1.unwrap();
    let mut output = Vec::new();
    assert_eq!(
        agent.handshake.advance(&mut [1, 2, 3], &mut output),
        Ok((0, Progress::Done))
    );
    assert_eq!(output, b"");
}

#[test]
fn finishing_too_early_is_an_error_of_the_caller() {
    let (agent, _) = handshakes(&World::new());
    let error = agent.handshake.finish().unwrap_err();
    assert_eq!(error, Error::HandshakeUnfinished);
    assert_eq!(error.fault(), Fault::Us);
}

#[test]
fn a_handshake_that_failed_stays_failed() {
    let (mut agent, _) = handshakes(&World::new());
    assert!(agent.take(b"HTTP/1.1 400 Bad Request\r\n").1.is_err());
    assert_eq!(agent.take(&[]).1, Err(Error::AlreadyFailed));
    assert_eq!(agent.handshake.finish().unwrap_err(), Error::AlreadyFailed);
}

#[test]
fn something_else_than_tls_is_refused_by_its_first_five_bytes() {
    let world = World::new();
    for first in [&b"GET / HTTP/1.1\r\n"[..5], b"SSH-2", b"\0\0\0\0\0"] {
        let (_, mut gateway) = handshakes(&world);
        let (_, result) = gateway.take(first);
        assert!(
            matches!(result, Err(Error::Handshake(_))),
            "{first:?}: {result:?}"
        );
    }
}

#[test]
fn a_flipped_bit_in_the_handshake_is_refused_with_an_alert() {
    let (mut agent, mut gateway) = handshakes(&World::new());
    let (hello, _) = agent.take(&[]);
    let (mut answer, _) = gateway.take(&hello);
    let last = answer.len() - 1;
    answer[last] ^= 1;
    let (output, result) = agent.take(&answer);
    assert!(matches!(result, Err(Error::Handshake(_))), "{result:?}");
    // The gateway hears of it.
    assert_eq!(
        gateway.take(&output).1,
        Err(Error::AlertReceived(AlertDescription::BadRecordMac))
    );
}

#[test]
fn a_handshake_in_the_largest_count_of_records_passes_and_one_more_does_not() {
    let world = World::new();
    // A long name, so that the hello has more bytes than there may be records.
    let label = "a".repeat(60);
    let long = adit_tls::ServerName::try_from(format!("{label}.{label}.{label}.{label}")).unwrap();
    for (count, expected) in [
        (HANDSHAKE_RECORDS_MAX, None),
        (HANDSHAKE_RECORDS_MAX + 1, Some(Error::HandshakeTooLarge)),
    ] {
        let (_, mut gateway) = handshakes(&world);
        let client = world.client(&Options::default());
        let mut agent = Shaking::new(Handshake::client(&client, long.clone()).unwrap());
        let (hello, _) = agent.take(&[]);
        let single = usize::try_from(count).unwrap() - 1;
        let (bytes, rest) = hello[5..].split_at(single);
        let mut cut: Vec<u8> = Vec::new();
        for byte in bytes {
            cut.extend([22, 3, 1, 0, 1, *byte]);
        }
        cut.extend([22, 3, 1]);
        cut.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        cut.extend(rest);
        let (output, result) = gateway.take(&cut);
        assert_eq!(result.err(), expected, "{count} records");
        assert_eq!(output.is_empty(), expected.is_some(), "{count} records");
    }
}

#[test]
fn a_handshake_of_the_largest_size_passes_and_a_larger_one_does_not() {
    let world = World::new();
    let server = world.server(&Options::default());
    let filler = world.authority.issue(Leaf::naming(&[GATEWAY])).chain;
    let size = |count: usize| {
        let agent = world.agent.clone().with_filler(&filler.repeat(count));
        let client = adit_tls::client(&agent.credentials(), &world.authority.roots()).unwrap();
        let mut agent = Shaking::new(Handshake::client(&client, name()).unwrap());
        let mut gateway = Shaking::new(Handshake::server(&server).unwrap());
        let (hello, _) = agent.take(&[]);
        let (answer, _) = gateway.take(&hello);
        let (flight, _) = agent.take(&answer);
        (hello.len() + flight.len(), gateway.take(&flight).1)
    };
    let mut passed = 0;
    let mut refused = 0;
    for count in 50..120 {
        let (sent, result) = size(count);
        if sent <= HANDSHAKE_BYTES_MAX {
            assert_eq!(result, Ok(()), "{sent} bytes");
            passed += 1;
        } else {
            assert_eq!(result, Err(Error::HandshakeTooLarge), "{sent} bytes");
            refused += 1;
        }
        if refused > 1 {
            break;
        }
    }
    assert!(passed > 0 && refused > 0, "{passed} {refused}");
}

#[test]
fn an_endless_handshake_is_refused_at_the_limit() {
    let (_, mut gateway) = handshakes(&World::new());
    // A hello that announces 65535 bytes, in records of 4096.
    let mut message = vec![1, 0x00, 0xFF, 0xFF];
    message.resize(HANDSHAKE_BYTES_MAX * 2, 0);
    let mut taken = 0;
    let error = message
        .chunks(4096)
        .find_map(|chunk| {
            let mut record = vec![22, 3, 1, 0x10, 0];
            record.extend_from_slice(chunk);
            taken += record.len();
            gateway.take(&record).1.err()
        })
        .unwrap();
    assert_eq!(error, Error::HandshakeTooLarge);
    // Seven records of 4101 bytes stay below 32768, eight do not.
    assert_eq!(taken, 8 * 4101);
}

/// A clock that tells one time.
#[derive(Debug)]
struct Stopped(u64);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            self.0,
        )))
    }
}

#[test]
fn certificates_are_judged_by_the_clock_that_was_given() {
    let world = World::new();
    let at = |seconds| Options::default().with_clock(std::sync::Arc::new(Stopped(seconds)));
    // Leaves are valid from 2020-01-01 (1577836800) to 2120-01-01 (4733510400).
    for (seconds, valid) in [
        (1_577_836_799, false),
        (1_577_836_800, true),
        (4_733_510_400, true),
        (4_733_510_401, false),
    ] {
        let shaken = shake(
            &world.client(&at(seconds)),
            &world.server(&Options::default()),
        );
        assert_eq!(shaken.is_ok(), valid, "{seconds}");
    }
}

/// Sends `pieces` back and forth over two records layers; every record crosses in its turn, with
/// the key updates that are due.
fn converse(one: &mut Records, other: &mut Records, pieces: &[Vec<u8>]) {
    for piece in pieces {
        for direction in [true, false] {
            let (from, to) = if direction {
                (&mut *one, &mut *other)
            } else {
                (&mut *other, &mut *one)
            };
            let mut wire = Vec::new();
            from.maintenance(&mut wire).unwrap();
            wire.extend(seal(from, piece));
            let mut received = Received::default();
            receive(to, &mut wire, &mut received).unwrap();
            assert_eq!(&received.plaintext, piece);
        }
    }
}

#[test]
fn keys_forced_to_change_every_few_records_lose_nothing() {
    let world = World::new();
    let pieces: Vec<Vec<u8>> = (1..200).map(|size| bytes(size * 80)).collect();
    for suite in Suite::ALL {
        for every in [1, 2, 3, 7] {
            let limits = Limits::default()
                .with_key_update_records(every)
                .with_ask_update_records(every + 1);
            let (agent, gateway) = world.pair(suite, limits);
            let (mut agent, mut gateway) = (agent.records, gateway.records);
            converse(&mut agent, &mut gateway, &pieces);
            // 199 records each way; each key seals `every` records and at most the update itself.
            let fewest = 199 / (every + 1);
            assert!(agent.key_updates_sent() >= fewest, "{suite} {every}");
            assert!(gateway.key_updates_sent() >= fewest, "{suite} {every}");
            assert_eq!(agent.key_updates_sent(), gateway.key_updates_received());
            assert_eq!(gateway.key_updates_sent(), agent.key_updates_received());
        }
    }
}

#[test]
fn records_move_to_another_thread() {
    let (agent, gateway) = World::new().pair(Suite::Aes128Gcm, Limits::default());
    let (mut agent, mut gateway) = (agent.records, gateway.records);
    let mut record = seal(&mut agent, b"payload");
    let opened = std::thread::spawn(move || gateway.open(&mut record))
        .join()
        .unwrap();
    assert_eq!(
        opened,
        Ok(Opened::Data {
            record: 29,
            plaintext: 5..12
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_the_ciphertext_gives_the_same_plaintext(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
        cuts in prop::collection::vec(1..400_usize, 1..50),
        every in 1..5_u64,
    ) {
        let limits = Limits::default().with_key_update_records(every);
        let (agent, gateway) = World::new().pair(Suite::Chacha20Poly1305, limits);
        let (mut agent, mut gateway) = (agent.records, gateway.records);
        let mut wire = Vec::new();
        for piece in &pieces {
            agent.maintenance(&mut wire).unwrap();
            wire.extend(seal(&mut agent, piece));
        }
        agent.close(&mut wire);

        let mut input = Vec::new();
        let mut received = Received::default();
        let mut cuts = cuts.iter().cycle();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            let cut = (*cuts.next().unwrap()).min(rest.len());
            let (arrived, later) = rest.split_at(cut);
            rest = later;
            input.extend_from_slice(arrived);
            receive(&mut gateway, &mut input, &mut received).unwrap();
        }
        prop_assert_eq!(received.plaintext, pieces.concat());
        prop_assert!(received.closed);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn any_split_of_the_handshake_gives_the_same_tunnel(
        cuts in prop::collection::vec(1..1500_usize, 1..30),
        suite in 0..3_usize,
    ) {
        let world = World::new();
        let options = options(Suite::ALL[suite], Limits::default());
        let mut ends = [
            Shaking::new(Handshake::client(&world.client(&options), name()).unwrap()),
            Shaking::new(Handshake::server(&world.server(&options)).unwrap()),
        ];
        let (mut wire, _) = ends[0].take(&[]);
        let mut cuts = cuts.iter().cycle();
        for turn in 1..6 {
            let end = &mut ends[turn % 2];
            let mut answer = Vec::new();
            while !wire.is_empty() {
                let cut = (*cuts.next().unwrap()).min(wire.len());
                let (output, result) = end.take(&wire[..cut]);
                prop_assert_eq!(result, Ok(()));
                answer.extend(output);
                wire.drain(..cut);
            }
            wire = answer;
        }
        let [agent, gateway] = ends;
        let mut agent = agent.handshake.finish().unwrap().records;
        let mut gateway = gateway.handshake.finish().unwrap().records;
        converse(&mut agent, &mut gateway, &[b"payload".to_vec()]);
    }

    #[test]
    fn a_handshake_altered_anywhere_never_completes_and_never_panics(
        flight in 0..3_usize,
        at: prop::sample::Index,
        change in 1..=255_u8,
        kind in 0..3_u8,
        cut in 1..3000_usize,
    ) {
        let world = World::new();
        let options = Options::default();
        let mut ends = [
            Shaking::new(Handshake::client(&world.client(&options), name()).unwrap()),
            Shaking::new(Handshake::server(&world.server(&options)).unwrap()),
        ];
        let (mut wire, _) = ends[0].take(&[]);
        let mut failed = false;
        for turn in 0..6 {
            if turn == flight {
                let at = at.index(wire.len());
                match kind {
                    0 => wire[at] ^= change,
                    1 => drop(wire.remove(at)),
                    _ => wire.insert(at, change),
                }
            }
            let end = &mut ends[(turn + 1) % 2];
            let mut answer = Vec::new();
            for arrived in wire.chunks(cut) {
                let (output, result) = end.take(arrived);
                answer.extend(output);
                failed |= result.is_err();
                if result.is_err() {
                    break;
                }
            }
            wire = answer;
        }
        // An altered record version is no alteration: it means nothing and is not authenticated
        // in plaintext records. Whatever else was altered, the gateway does not let the agent in.
        let [_, gateway] = ends;
        let is_in = gateway.progress == Progress::Done;
        prop_assert!(!is_in || !failed, "both in and failed");
        if is_in {
            prop_assert_eq!(kind, 0, "only an altered byte can mean nothing");
        }
    }
}
