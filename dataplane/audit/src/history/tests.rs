//! Segments written, read, and tampered with.

use super::*;
use crate::keys::tests::key;
use crate::{Chain, Defect, Gap, Started, Stopped, Text};

/// Four segments of a node that was stopped: each ends with a checkpoint. As `(number, lines)`.
type Segments = Vec<(u64, Vec<Vec<u8>>)>;

fn gap(number: u64) -> Record<'static> {
    Record::Gap(Gap {
        unix_ms: number,
        since_unix_ms: number,
        lost: 1,
    })
}

fn segments() -> Segments {
    let key = key();
    let mut chain = Chain::new(Digest::ZERO);
    let mut all = Vec::new();
    for number in 1..=4_u64 {
        let mut records = vec![gap(number), gap(number + 100)];
        if number == 1 {
            records.insert(
                0,
                Record::Started(Started {
                    unix_ms: 0,
                    node: Text::of("agent-1"),
                    software: Text::of("aditd"),
                }),
            );
        }
        if number == 4 {
            records.push(Record::Stopped(Stopped { unix_ms: 9 }));
        }
        let mut lines = Vec::new();
        for record in &records {
            let mut line = Vec::new();
            chain.append(record, &mut line);
            lines.push(line);
        }
        let checkpoint = key.checkpoint(chain.sequence() + 1, chain.last(), number);
        let mut line = Vec::new();
        chain.append(&Record::Checkpoint(checkpoint), &mut line);
        lines.push(line);
        all.push((number, lines));
    }
    all
}

fn read(segments: &Segments, keys: Vec<PublicKey>) -> Result<Summary, Flaw> {
    let mut history = History::new(keys);
    for (number, lines) in segments {
        history.segment(*number)?;
        for line in lines {
            history.line(line)?;
        }
    }
    history.finish()
}

fn checked(segments: &Segments) -> Result<Summary, Flaw> {
    read(segments, vec![key().public()])
}

#[test]
fn what_was_written_in_segments_is_whole_signed_and_stopped() {
    let summary = checked(&segments()).unwrap();
    assert_eq!((summary.lines, summary.sequence), (14, 14));
    assert!(summary.is_stopped);
    let signed = summary.signed.unwrap();
    assert_eq!((signed.sequence, signed.unix_ms), (14, 4));
    assert_eq!(checked(&Vec::new()).unwrap().lines, 0);
}

#[test]
fn r02_every_changed_byte_is_noticed_in_its_segment_or_at_the_next_line() {
    let whole = segments();
    let mut changes = 0;
    for segment in 0..whole.len() {
        for line in 0..whole[segment].1.len() {
            for byte in 0..whole[segment].1[line].len() {
                let mut changed = whole.clone();
                changed[segment].1[line][byte] ^= 1;
                let flaw = checked(&changed).unwrap_err();
                let Flaw::Broken { segment: told, .. } = flaw else {
                    panic!("{flaw}");
                };
                let told = usize::try_from(told).unwrap() - 1;
                assert!(told == segment || told == segment + 1, "{flaw}");
                changes += 1;
            }
        }
    }
    assert!(changes > 2000, "{changes}");
}

#[test]
fn a_line_or_segment_taken_out_put_in_twice_or_moved_is_noticed() {
    let whole = segments();
    let is_noticed = |what: &str, changed: &Segments| {
        // Without keys, but for the end, which only a signature or a digest kept elsewhere shows.
        assert!(read(changed, Vec::new()).is_err(), "{what}");
    };
    for segment in 0..4 {
        for line in 0..whole[segment].1.len() {
            let what = format!("segment {segment}, line {line}");
            let is_last = segment == 3 && line == whole[3].1.len() - 1;
            let mut without = whole.clone();
            without[segment].1.remove(line);
            if is_last {
                assert!(!read(&without, Vec::new()).unwrap().is_stopped);
            } else {
                is_noticed(&what, &without);
            }
            let mut twice = whole.clone();
            let copy = twice[segment].1[line].clone();
            twice[segment].1.insert(line, copy);
            is_noticed(&what, &twice);
            if line > 0 {
                let mut moved = whole.clone();
                moved[segment].1.swap(line - 1, line);
                is_noticed(&what, &moved);
            }
        }
        if segment > 0 {
            let mut swapped = whole.clone();
            let (a, b) = (swapped[segment - 1].1.clone(), swapped[segment].1.clone());
            swapped[segment - 1].1 = b;
            swapped[segment].1 = a;
            is_noticed("contents swapped", &swapped);
        }
    }
}

#[test]
fn r02_a_segment_cut_short_at_its_border_is_noticed_and_so_is_one_that_is_missing() {
    let whole = segments();
    for segment in 0..3 {
        for keep in 0..whole[segment].1.len() {
            let mut cut = whole.clone();
            cut[segment].1.truncate(keep);
            assert!(read(&cut, Vec::new()).is_err(), "{segment} cut to {keep}");
        }
    }
    let mut missing = whole.clone();
    missing.remove(1);
    assert_eq!(
        checked(&missing).unwrap_err(),
        Flaw::Missing { from: 2, to: 2 }
    );
    let mut late = whole;
    late.remove(0);
    assert_eq!(checked(&late).unwrap_err(), Flaw::Unexplained { first: 2 });
}

#[test]
fn the_end_cut_off_leaves_no_signed_stop_and_a_digest_kept_elsewhere_is_not_reached() {
    let whole = checked(&segments()).unwrap();
    let mut cut = segments();
    cut[3].1.truncate(2);
    let summary = checked(&cut).unwrap();
    assert!(!summary.is_stopped);
    assert!(summary.signed.unwrap().sequence < summary.sequence);
    assert!(summary.sequence < whole.sequence);
}

#[test]
fn a_chain_written_anew_without_the_key_is_refused_by_the_key() {
    let mut forged = segments();
    // All lines anew, with the checkpoints of the true chain and one of another key.
    let mut chain = Chain::new(Digest::ZERO);
    for (_, lines) in &mut forged {
        for line in lines.iter_mut() {
            let old = line.clone();
            let mut record = crate::read_line(&old).unwrap().record;
            if let Record::Gap(gap) = &mut record {
                gap.lost = 0;
            }
            line.clear();
            chain.append(&record, line);
        }
    }
    assert!(read(&forged, Vec::new()).is_ok(), "it links");
    let flaw = checked(&forged).unwrap_err();
    assert!(
        matches!(
            &flaw,
            Flaw::Broken { segment: 1, broken } if broken.defect == Defect::Forged(key().public().id())
        ),
        "{flaw}"
    );
    let mut spki = key().public().to_spki();
    spki[43] ^= 1;
    let stranger = PublicKey::from_spki(&spki).unwrap();
    let flaw = read(&segments(), vec![stranger]).unwrap_err();
    assert!(
        flaw.to_string().contains("which is not among those given"),
        "{flaw}"
    );
}

#[test]
fn segments_that_a_record_says_are_removed_are_not_missed_and_others_are() {
    let whole = segments();
    for (told, is_right) in [(1, true), (2, false)] {
        let mut kept = whole.clone();
        let (_, first) = kept.remove(0);
        let mut chain = Chain::new(Digest::ZERO);
        let mut verifier = Verifier::new(None);
        for (_, lines) in &whole {
            for line in lines {
                verifier.line(line).unwrap();
            }
        }
        chain.clone_from(&Chain::after(&verifier.summary()));
        let mut line = Vec::new();
        chain.append(
            &Record::SegmentRemoved(SegmentRemoved {
                unix_ms: 10,
                segment: told,
                last_sequence: u64::try_from(first.len()).unwrap(),
                last: Digest::of(first.last().unwrap()),
            }),
            &mut line,
        );
        kept[2].1.push(line);
        assert_eq!(checked(&kept).is_ok(), is_right, "{told}");
        // Where the record stands in for other lines than those that are missing, it explains nothing.
        let mut more = kept.clone();
        more[0].1.remove(0);
        assert!(checked(&more).is_err());
    }
}
