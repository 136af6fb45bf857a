//! Documents as they are signed, as they are altered, and as they are replayed.

use proptest::prelude::*;

use super::*;
use crate::limits::AUDIENCE_BYTES_MAX;

const AUDIENCE: &str = "acme/plant-1";
const CONTENT: &str = "[[system]]\nvirtual = \"erp.virtual:80\"\n";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

const fn stamp(epoch: u64, version: u64) -> Stamp {
    Stamp { epoch, version }
}

fn signed(keys: &[&SigningKey]) -> String {
    sign(AUDIENCE, stamp(2, 42), 1_795_212_000, CONTENT, keys)
}

fn check<'a>(document: &'a str, keys: &[&SigningKey]) -> Result<Verified<'a>, Refused> {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    verify(document.as_bytes(), Signers::Keys(&keys), AUDIENCE, None)
}

#[test]
fn what_was_signed_is_read_back() {
    let document = signed(&[&key(1)]);
    let verified = check(&document, &[&key(1)]).unwrap();
    assert_eq!(verified.content, CONTENT);
    assert_eq!(verified.signed_by, Some(key(1).public().id()));
    assert_eq!(verified.news, News::Newer);
    let manifest = &verified.manifest;
    assert_eq!(
        (
            manifest.audience.as_str(),
            manifest.stamp,
            manifest.issued_unix_s,
            manifest.bytes
        ),
        (AUDIENCE, stamp(2, 42), 1_795_212_000, 38)
    );
    assert!(
        document.starts_with(&manifest.to_string()),
        "one way to write it"
    );
}

#[test]
fn the_format_is_this_to_the_byte() {
    let document = signed(&[&key(1)]);
    let head = "adit-manifest 1\naudience acme/plant-1\nepoch 2\nversion 42\nissued 1795212000\nbytes 38\n\
                sha256 ";
    assert!(document.starts_with(head), "{document}");
    let signature = format!("\nsignature {} ", key(1).public().id());
    assert!(document.contains(&signature), "{document}");
    assert!(
        document.ends_with(&format!("==\n\n{CONTENT}")),
        "{document}"
    );
    assert!(is_document(document.as_bytes()) && !is_document(CONTENT.as_bytes()));
}

#[test]
fn s13_every_changed_byte_is_refused() {
    let document = signed(&[&key(1)]).into_bytes();
    let keys = [key(1).public()];
    for at in 0..document.len() {
        for change in [0x01, 0x20, 0x80] {
            let mut altered = document.clone();
            altered[at] ^= change;
            let verdict = verify(&altered, Signers::Keys(&keys), AUDIENCE, None);
            assert!(verdict.is_err(), "byte {at} changed by {change:#x}");
        }
    }
}

#[test]
fn s13_every_cut_is_refused() {
    let document = signed(&[&key(1)]).into_bytes();
    for end in 0..document.len() {
        let verdict = verify(
            &document[..end],
            Signers::Keys(&[key(1).public()]),
            AUDIENCE,
            None,
        );
        assert!(verdict.is_err(), "cut at {end}");
    }
    let longer = [document.as_slice(), b"\n"].concat();
    let verdict = verify(&longer, Signers::Keys(&[key(1).public()]), AUDIENCE, None);
    assert_eq!(verdict, Err(Refused::Content));
}

#[test]
fn s13_rules_without_a_manifest_and_a_manifest_without_a_signature_are_unsigned() {
    assert_eq!(check(CONTENT, &[&key(1)]), Err(Refused::Unsigned));
    assert_eq!(check("", &[&key(1)]), Err(Refused::Unsigned));
    let document = signed(&[&key(1)]);
    let bare: String = document
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("signature "))
        .collect();
    assert_eq!(check(&bare, &[&key(1)]), Err(Refused::Unsigned));
    assert_eq!(check(&bare, &[]), Err(Refused::Unsigned));
}

#[test]
fn s13_a_key_that_does_not_count_signs_nothing() {
    let signed_by = key(2).public().id();
    let verdict = check(&signed(&[&key(2)]), &[&key(1)]).map(|_| ());
    assert_eq!(verdict, Err(Refused::UnknownKey { signed_by }));
}

#[test]
fn s13_another_key_under_the_name_of_one_that_counts_is_found_out() {
    let names = [
        key(2).public().id().to_string(),
        key(1).public().id().to_string(),
    ];
    let forged = signed(&[&key(2)]).replace(&names[0], &names[1]);
    let verdict = check(&forged, &[&key(1)]).map(|_| ());
    assert_eq!(
        verdict,
        Err(Refused::BadSignature {
            key: key(1).public().id()
        })
    );
}

#[test]
fn a_key_is_changed_by_signing_with_both() {
    let document = signed(&[&key(1), &key(2)]);
    for counts in [1, 2] {
        let verified = check(&document, &[&key(counts)]).unwrap();
        assert_eq!(verified.signed_by, Some(key(counts).public().id()));
    }
    assert!(check(&document, &[&key(3), &key(2)]).is_ok());
    assert!(check(&document, &[&key(3)]).is_err());
}

#[test]
fn four_signatures_are_read_and_a_fifth_is_not() {
    let keys: Vec<_> = (1..=4).map(key).collect();
    let keys: Vec<_> = keys.iter().collect();
    assert_eq!(keys.len(), SIGNATURES_MAX);
    let document = signed(&keys);
    assert!(check(&document, &[&key(4)]).is_ok());
    let line = document
        .split_inclusive('\n')
        .find(|line| line.starts_with("signature "))
        .unwrap();
    let more = document.replacen(line, &format!("{line}{line}"), 1);
    assert_eq!(
        check(&more, &[&key(4)]).map(|_| ()),
        Err(Refused::Signatures)
    );
}

#[test]
fn where_no_key_was_told_a_document_counts_as_far_as_it_is_whole() {
    let document = signed(&[&key(1)]);
    let anybody = |document: &str| {
        let verified = verify(document.as_bytes(), Signers::Anybody, AUDIENCE, None)?;
        Ok((verified.signed_by, verified.content.to_owned()))
    };
    assert_eq!(anybody(&document), Ok((None, CONTENT.to_owned())));
    let altered = document.replace("erp", "crm");
    assert_eq!(anybody(&altered), Err(Refused::Content));
    let signed_by = key(1).public().id();
    let nobody = check(&document, &[]).map(|_| ());
    assert_eq!(
        nobody,
        Err(Refused::UnknownKey { signed_by }),
        "no key is nobody"
    );
}

#[test]
fn a_document_for_somebody_else_is_refused() {
    let document = signed(&[&key(1)]);
    for audience in ["acme/plant-2", "acme/plant-", "acme/plant-11", ""] {
        let verdict = verify(
            document.as_bytes(),
            Signers::Keys(&[key(1).public()]),
            audience,
            None,
        );
        let other = Refused::Audience {
            audience: AUDIENCE.to_owned(),
        };
        assert_eq!(verdict, Err(other), "{audience}");
    }
}

#[test]
fn s13_older_ones_are_refused_and_forks_are_told() {
    let document = signed(&[&key(1)]);
    let sha256 = sha256(CONTENT.as_bytes());
    let against = |stamp, sha256| {
        let in_force = Some(InForce { stamp, sha256 });
        verify(
            document.as_bytes(),
            Signers::Keys(&[key(1).public()]),
            AUDIENCE,
            in_force,
        )
        .map(|right| right.news)
    };
    for before in [stamp(2, 41), stamp(2, 0), stamp(1, u64::MAX), stamp(0, 0)] {
        assert_eq!(against(before, sha256), Ok(News::Newer), "{before}");
    }
    assert_eq!(against(stamp(2, 42), sha256), Ok(News::Same));
    let fork = Refused::Forked {
        stamp: stamp(2, 42),
    };
    assert_eq!(against(stamp(2, 42), [0; 32]), Err(fork));
    for in_force in [stamp(2, 43), stamp(3, 0)] {
        let came = stamp(2, 42);
        assert_eq!(
            against(in_force, sha256),
            Err(Refused::Older { came, in_force })
        );
    }
}

/// The document with other lines in front of its signatures, signed again.
fn with_lines(change: impl FnOnce(String) -> String) -> String {
    let document = signed(&[&key(1)]);
    let (head, _) = document.split_once("signature ").unwrap();
    let head = change(head.to_owned());
    let signature = STANDARD.encode(key(1).sign(head.as_bytes()));
    format!(
        "{head}signature {} {signature}\n\n{CONTENT}",
        key(1).public().id()
    )
}

#[test]
fn r15_lines_that_may_be_passed_over_are_signed_and_others_refuse() {
    let with = |line: &str| with_lines(|head| head + line);
    assert!(check(&with("?note from a later control plane\n"), &[&key(1)]).is_ok());
    let altered = with("?note a\n").replace("?note a", "?note b");
    assert!(matches!(
        check(&altered, &[&key(1)]),
        Err(Refused::BadSignature { .. })
    ));
    let behind = signed(&[&key(1)]).replace("\n\n", "\n?note\n\n");
    let verdict = check(&behind, &[&key(1)]).map(|_| ());
    let wanted = WANTED;
    assert_eq!(
        verdict,
        Err(Refused::Line { number: 9, wanted }),
        "it is not signed"
    );
    let number = 8;
    let unknown = check(&with("must-know this\n"), &[&key(1)]).map(|_| ());
    assert_eq!(unknown, Err(Refused::Line { number, wanted }));
}

#[test]
fn r15_a_later_format_says_so() {
    let later = with_lines(|head| head.replace("manifest 1", "manifest 2"));
    assert_eq!(check(&later, &[&key(1)]).map(|_| ()), Err(Refused::Format));
}

#[test]
fn there_is_no_second_way_to_write_a_line() {
    for (from, to, number) in [
        ("epoch 2", "epoch 02", 3),
        ("epoch 2", "epoch +2", 3),
        ("epoch 2\n", "epoch 2\r\n", 3),
        ("epoch 2", "epoch  2", 3),
        ("epoch 2", "Epoch 2", 3),
        ("version 42", "version 18446744073709551616", 4),
        ("version 42\n", "", 4),
        ("audience acme/plant-1", "audience acme plant-1", 2),
        ("audience acme/plant-1", "audience ", 2),
        ("sha256 ", "sha256 A", 7),
    ] {
        let other = with_lines(|head| head.replacen(from, to, 1));
        let verdict = check(&other, &[&key(1)]).map(|_| ());
        assert!(
            matches!(verdict, Err(Refused::Line { number: found, .. }) if found == number),
            "{to}: {verdict:?}"
        );
    }
}

#[test]
fn an_audience_may_have_512_bytes_and_not_one_more() {
    let longest = "a".repeat(AUDIENCE_BYTES_MAX);
    let document = sign(
        &longest,
        stamp(1, 1),
        u64::MAX,
        CONTENT,
        &[&key(1), &key(2), &key(3), &key(4)],
    );
    assert!(
        verify(
            document.as_bytes(),
            Signers::Keys(&[key(4).public()]),
            &longest,
            None
        )
        .is_ok()
    );
    let longer = with_lines(|head| head.replace(AUDIENCE, &"a".repeat(AUDIENCE_BYTES_MAX + 1)));
    assert!(matches!(
        check(&longer, &[&key(1)]),
        Err(Refused::Line { number: 2, .. })
    ));
}

#[test]
fn a_head_ends_within_4096_bytes() {
    let filled = |fill: usize| with_lines(|head| head + "?" + &"x".repeat(fill) + "\n");
    let head = |document: &str| document.find("\n\n").unwrap() + 2;
    let fill = HEAD_BYTES_MAX - head(&filled(0));
    assert_eq!(head(&filled(fill)), HEAD_BYTES_MAX);
    assert!(check(&filled(fill), &[&key(1)]).is_ok());
    assert_eq!(
        check(&filled(fill + 1), &[&key(1)]).map(|_| ()),
        Err(Refused::Endless)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), begin in any::<bool>()) {
        let document = if begin { [MAGIC_NAME.as_bytes(), b"1\n", &bytes].concat() } else { bytes };
        prop_assert!(verify(&document, Signers::Keys(&[key(1).public()]), AUDIENCE, None).is_err());
    }

    #[test]
    fn whatever_is_signed_is_verified(
        audience in "[!-~]{1,40}",
        epoch in any::<u64>(),
        version in any::<u64>(),
        content in "\\PC{0,200}",
    ) {
        let document = sign(&audience, stamp(epoch, version), 0, &content, &[&key(7)]);
        let verified = verify(document.as_bytes(), Signers::Keys(&[key(7).public()]), &audience, None).unwrap();
        prop_assert_eq!(verified.content, content.as_str());
        prop_assert_eq!(verified.manifest.stamp, stamp(epoch, version));
    }
}
