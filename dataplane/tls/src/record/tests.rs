//! The record layer against known answers, every split and every flipped bit; what follows a record
//! is `records`' affair.

use proptest::prelude::*;

use super::*;
use crate::keys::Suite;

fn key(suite: Suite) -> TrafficKey {
    let length = match suite {
        Suite::Aes128Gcm => 16,
        Suite::Aes256Gcm | Suite::Chacha20Poly1305 => 32,
    };
    TrafficKey::from_parts(suite, &[7; 32][..length], &[9; 12]).unwrap()
}

fn ends(suite: Suite) -> (Sealer, Opener) {
    (Sealer::new(key(suite), 0), Opener::new(key(suite), 0))
}

fn slot(plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0xEE; RECORD_HEADER];
    record.extend_from_slice(plaintext);
    record.resize(plaintext.len() + RECORD_OVERHEAD, 0xEE);
    record
}

fn sealed(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
    let mut record = slot(plaintext);
    sealer.seal(&mut record, content::APPLICATION_DATA).unwrap();
    record
}

/// A record with any inner plaintext at all, as only a hostile peer would seal it.
fn sealed_inner(sealer: &mut Sealer, inner: &[u8]) -> Vec<u8> {
    let mut body = inner.to_vec();
    let [high, low] = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
    let header = [23, 3, 3, high, low];
    let tag = sealer
        .key
        .cipher
        .seal_in_place_separate_tag(
            sealer.key.nonce(sealer.sequence),
            Aad::from(header),
            &mut body,
        )
        .unwrap();
    sealer.sequence += 1;
    [&header, body.as_slice(), tag.as_ref()].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 8448, section 3: the client's first application data record.
#[test]
fn the_record_of_rfc8448_is_sealed_to_the_last_byte_and_opens() {
    let key = || {
        TrafficKey::from_parts(
            Suite::Aes128Gcm,
            &hex("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51"),
            &hex("5b 78 92 3d ee 08 57 90 33 e5 23 d9"),
        )
        .unwrap()
    };
    let plaintext: Vec<u8> = (0..50).collect();
    let expected = hex("17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe
        82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4
        6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd
        1e 3d ea e6 3a ee bb 21 69 49 15 e4");

    let mut record = sealed(&mut Sealer::new(key(), 0), &plaintext);
    assert_eq!(record, expected);

    let opened = Opener::new(key(), 0).open(&mut record).unwrap();
    assert_eq!(
        opened,
        Fragment::Whole {
            record: 72,
            content_type: 23,
            plaintext: 5..55
        }
    );
    assert_eq!(&record[5..55], plaintext);
}

#[test]
fn the_sequence_number_goes_into_the_last_eight_bytes_of_the_nonce() {
    let key = key(Suite::Aes128Gcm);
    let nonce = key.nonce(0x0102_0304_0506_0708);
    // 9 xor each byte of the sequence number.
    let expected = [9, 9, 9, 9, 8, 11, 10, 13, 12, 15, 14, 1];
    assert_eq!(nonce.as_ref(), &expected);
}

#[test]
fn every_suite_opens_what_it_sealed() {
    for suite in Suite::ALL {
        let (mut sealer, mut opener) = ends(suite);
        for plaintext in [&b"first"[..], b"", b"third"] {
            let mut record = sealed(&mut sealer, plaintext);
            let opened = opener.open(&mut record).unwrap();
            assert_eq!(
                opened,
                Fragment::Whole {
                    record: plaintext.len() + RECORD_OVERHEAD,
                    content_type: 23,
                    plaintext: 5..5 + plaintext.len(),
                },
                "{suite}"
            );
            assert_eq!(&record[5..5 + plaintext.len()], plaintext);
        }
    }
}

#[test]
fn the_largest_plaintext_is_sealed_and_opened() {
    let (mut sealer, mut opener) = ends(Suite::Aes128Gcm);
    let mut record = sealed(&mut sealer, &vec![1; MAX_PLAINTEXT]);
    assert!(matches!(
        opener.open(&mut record),
        Ok(Fragment::Whole { plaintext, .. }) if plaintext == (5..5 + MAX_PLAINTEXT)
    ));
}

#[test]
fn one_byte_more_is_not_sealed() {
    let (mut sealer, _) = ends(Suite::Aes128Gcm);
    let mut record = slot(&vec![1; MAX_PLAINTEXT + 1]);
    let length = record.len();
    assert_eq!(
        sealer.seal(&mut record, 23),
        Err(Error::RecordLayout { length })
    );
    assert_eq!(sealer.sequence(), 0);
}

#[test]
fn a_slot_too_short_for_a_record_is_not_sealed() {
    let (mut sealer, _) = ends(Suite::Aes128Gcm);
    for length in 0..RECORD_OVERHEAD {
        assert_eq!(
            sealer.seal(&mut vec![0; length], 23),
            Err(Error::RecordLayout { length })
        );
    }
    assert_eq!(sealer.sequence(), 0);
}

#[test]
fn an_incomplete_record_says_how_many_bytes_it_takes() {
    let (mut sealer, mut opener) = ends(Suite::Aes256Gcm);
    let mut record = sealed(&mut sealer, b"payload");
    for length in 0..record.len() {
        let need = if length < 5 { 5 } else { record.len() };
        assert_eq!(
            opener.open(&mut record[..length]),
            Ok(Fragment::Incomplete { need }),
            "{length} bytes"
        );
    }
    assert_eq!(opener.sequence(), 0);
    assert!(opener.open(&mut record).is_ok());
}

#[test]
fn the_longest_length_is_waited_for() {
    let (_, mut opener) = ends(Suite::Aes128Gcm);
    // 2^14 + 256 = 0x4100
    assert_eq!(
        opener.open(&mut [23, 3, 3, 0x41, 0x00]),
        Ok(Fragment::Incomplete { need: 5 + 16640 })
    );
}

#[test]
fn an_oversized_record_is_refused_by_its_header_alone() {
    let (_, mut opener) = ends(Suite::Aes128Gcm);
    let error = opener.open(&mut [23, 3, 3, 0x41, 0x01]).unwrap_err();
    assert_eq!(error, Error::RecordTooLarge { length: 16641 });
    assert_eq!(
        error.alert(),
        Some(rustls::AlertDescription::RecordOverflow)
    );
}

#[test]
fn a_record_too_short_for_type_and_tag_is_refused_by_its_header_alone() {
    let (_, mut opener) = ends(Suite::Aes128Gcm);
    let error = opener.open(&mut [23, 3, 3, 0, 16]).unwrap_err();
    assert_eq!(error, Error::RecordTooShort { length: 16 });
    assert_eq!(error.alert(), Some(rustls::AlertDescription::BadRecordMac));
    assert_eq!(
        opener.open(&mut [23, 3, 3, 0, 17]),
        Ok(Fragment::Incomplete { need: 22 })
    );
}

#[test]
fn records_of_other_outer_types_are_refused_by_their_header_alone() {
    let (_, mut opener) = ends(Suite::Aes128Gcm);
    for content_type in (0..=255).filter(|&kind| kind != 23) {
        assert_eq!(
            opener.open(&mut [content_type, 3, 3, 0, 20]),
            Err(Error::UnexpectedRecord { content_type })
        );
    }
}

#[test]
fn padding_is_taken_off() {
    let (mut sealer, mut opener) = ends(Suite::Aes128Gcm);
    let mut record = sealed_inner(&mut sealer, b"data\x17\0\0\0\0");
    assert_eq!(
        opener.open(&mut record),
        Ok(Fragment::Whole {
            record: record.len(),
            content_type: 23,
            plaintext: 5..9
        })
    );
}

#[test]
fn a_record_of_padding_alone_is_refused() {
    let (mut sealer, mut opener) = ends(Suite::Aes128Gcm);
    let mut record = sealed_inner(&mut sealer, &[0; 40]);
    let error = opener.open(&mut record).unwrap_err();
    assert_eq!(error, Error::UnexpectedRecord { content_type: 0 });
    assert_eq!(
        error.alert(),
        Some(rustls::AlertDescription::UnexpectedMessage)
    );
}

#[test]
fn padding_up_to_the_largest_plaintext_passes_and_one_byte_more_does_not() {
    let (mut sealer, mut opener) = ends(Suite::Aes128Gcm);
    let mut inner = vec![0; MAX_PLAINTEXT + 1];
    inner[0] = 23;
    let mut record = sealed_inner(&mut sealer, &inner);
    assert!(opener.open(&mut record).is_ok());

    inner.push(0);
    let mut record = sealed_inner(&mut sealer, &inner);
    let error = opener.open(&mut record).unwrap_err();
    assert_eq!(error, Error::PlaintextTooLarge);
    assert_eq!(
        error.alert(),
        Some(rustls::AlertDescription::RecordOverflow)
    );
}

#[test]
fn a_record_replayed_skipped_or_swapped_does_not_open() {
    let (mut sealer, mut opener) = ends(Suite::Chacha20Poly1305);
    let mut first = sealed(&mut sealer, b"first");
    let mut second = sealed(&mut sealer, b"second");
    assert_eq!(opener.open(&mut second.clone()), Err(Error::BadRecordMac));
    assert!(opener.open(&mut first.clone()).is_ok());
    assert_eq!(opener.open(&mut first), Err(Error::BadRecordMac));
    assert!(opener.open(&mut second).is_ok());
}

#[test]
fn the_last_record_below_the_wall_is_sealed_and_the_next_is_not() {
    let mut sealer = Sealer::new(key(Suite::Aes128Gcm), SEAL_RECORDS_MAX - 1);
    assert!(sealer.seal(&mut slot(b"last"), 23).is_ok());
    assert_eq!(sealer.seal(&mut slot(b"next"), 23), Err(Error::KeyWornOut));
}

#[test]
fn one_key_update_or_alert_still_fits_behind_the_wall() {
    let mut sealer = Sealer::new(key(Suite::Aes128Gcm), SEAL_RECORDS_MAX);
    let mut out = Vec::new();
    assert!(sealer.append(&[1, 0], content::ALERT, &mut out).is_ok());
    let length = out.len();
    assert_eq!(
        sealer.append(&[1, 0], content::ALERT, &mut out),
        Err(Error::KeyWornOut)
    );
    assert_eq!(out.len(), length, "nothing half-made is left behind");
}

#[test]
fn keys_print_nothing_secret() {
    let printed = format!("{:?}", ends(Suite::Aes128Gcm));
    assert!(printed.contains("secret"), "{printed}");
    for trace in ["7, 7", "0707", "9, 9", "0909", "[7", "[9"] {
        assert!(!printed.contains(trace), "{printed}");
    }
}

fn any_suite() -> impl Strategy<Value = Suite> {
    prop_oneof![
        Just(Suite::Aes128Gcm),
        Just(Suite::Aes256Gcm),
        Just(Suite::Chacha20Poly1305)
    ]
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(
        suite in any_suite(),
        plaintext in prop::collection::vec(any::<u8>(), 0..200),
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let (mut sealer, mut opener) = ends(suite);
        let mut record = sealed(&mut sealer, &plaintext);
        let at = at.index(record.len());
        record[at] ^= 1 << bit;
        match opener.open(&mut record) {
            Err(_) => {}
            // A longer length waits for bytes that never come; that is no opening either.
            Ok(Fragment::Incomplete { .. }) => prop_assert!(at == 3 || at == 4),
            Ok(whole) => prop_assert!(false, "opened {whole:?}"),
        }
        prop_assert_eq!(opener.sequence(), 0);
    }

    #[test]
    fn any_bytes_are_refused_or_waited_for_without_panic(
        suite in any_suite(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        looks_right: bool,
    ) {
        if looks_right && bytes.len() >= 5 {
            let length = u8::try_from(bytes.len() - 5).unwrap();
            bytes[..5].copy_from_slice(&[23, 3, 3, 0, length]);
        }
        let (_, mut opener) = ends(suite);
        let opened = opener.open(&mut bytes);
        prop_assert!(matches!(opened, Err(_) | Ok(Fragment::Incomplete { .. })), "{:?}", opened);
    }

    #[test]
    fn whatever_is_sealed_opens_the_same(
        suite in any_suite(),
        plaintext in prop::collection::vec(any::<u8>(), 0..2000),
        content_type in 1..=255_u8,
        sequence in 0..SEAL_RECORDS_MAX,
    ) {
        let mut sealer = Sealer::new(key(suite), sequence);
        let mut opener = Opener::new(key(suite), sequence);
        let mut record = slot(&plaintext);
        sealer.seal(&mut record, content_type).unwrap();
        let opened = opener.open(&mut record).unwrap();
        prop_assert_eq!(opened, Fragment::Whole {
            record: plaintext.len() + 22,
            content_type,
            plaintext: 5..5 + plaintext.len(),
        });
        prop_assert_eq!(&record[5..5 + plaintext.len()], &plaintext[..]);
    }
}
