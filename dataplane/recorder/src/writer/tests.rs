//! Chains written on a disk that fills, fails and crashes; what is left is verified as an auditor does.

use adit_audit::{Flaw, History, Summary};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;

use super::*;
use crate::test_disk::{Disk, Fault, Left};

pub(super) const KEEPING: Keeping = Keeping {
    segment_bytes: 2_000,
    segment_ms: 3_600_000,
    keep_bytes: 1 << 40,
    keep_ms: 1 << 40,
};
pub(super) const START_MS: u64 = 1_800_000_000_000;

fn key() -> SigningKey {
    // A key a process: reading it is all that a writer does with it.
    static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let der = DER.get_or_init(|| {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        der.as_ref().to_vec()
    });
    SigningKey::from_pkcs8(der).unwrap()
}

pub(super) fn open(disk: &Disk, keeping: Keeping, spool_bytes: u64) -> Writer<Disk> {
    open_at(disk, keeping, spool_bytes, START_MS)
}

pub(super) fn open_at(
    disk: &Disk,
    keeping: Keeping,
    spool_bytes: u64,
    now_ms: u64,
) -> Writer<Disk> {
    let lanes = Arc::new(Lanes::new(2, spool_bytes));
    let who = Who {
        node: "agent-1".to_owned(),
        software: "aditd".to_owned(),
    };
    Writer::open(disk.clone(), keeping, key(), lanes, &who, now_ms).unwrap()
}

/// A record that can be found again, by its number.
pub(super) fn put(writer: &Writer<Disk>, number: u64) -> bool {
    writer.lanes.put(&Record::Gap(Gap {
        unix_ms: number,
        since_unix_ms: 0,
        lost: 0,
    }))
}

/// Verifies all that is there; the summary, and each record as a word.
pub(super) fn read(disk: &Disk) -> Result<(Summary, Vec<String>), Flaw> {
    let mut history = History::new(vec![key().public()]);
    let mut words = Vec::new();
    for (number, bytes) in disk.segments() {
        if bytes.is_empty() {
            continue;
        }
        history.segment(number)?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            words.push(match history.line(line)? {
                Record::Started(_) => "started".to_owned(),
                Record::Stopped(_) => "stopped".to_owned(),
                Record::Checkpoint(_) => "signed".to_owned(),
                Record::Recovered(recovered) => format!("recovered {}", recovered.cut_bytes),
                Record::SegmentRemoved(removed) => format!("removed {}", removed.segment),
                Record::Gap(gap) if gap.lost > 0 => {
                    format!("gap {} since {}", gap.lost, gap.since_unix_ms)
                }
                record @ (Record::Gap(_)
                | Record::Decision(_)
                | Record::Request(_)
                | Record::Tunnel(_)
                | Record::RulesPushed(_)
                | Record::Act(_)) => record.unix_ms().to_string(),
            });
        }
    }
    Ok((history.finish()?, words))
}

pub(super) fn words(disk: &Disk) -> Vec<String> {
    read(disk).unwrap_or_else(|flaw| panic!("{flaw}")).1
}

/// Some records of different batches, rotations among them, and a stop.
fn play(disk: &Disk, keeping: Keeping) {
    let mut writer = open(disk, keeping, 1 << 20);
    for number in 0..12 {
        put(&writer, 3 * number);
        put(&writer, 3 * number + 1);
        put(&writer, 3 * number + 2);
        writer.tick(START_MS + 20_000 * number);
    }
    writer.finish(START_MS + 300_000);
}

#[test]
fn records_are_written_in_segments_that_are_linked_signed_and_stopped() {
    let disk = Disk::default();
    play(&disk, KEEPING);
    let (summary, words) = read(&disk).unwrap();
    assert!(summary.is_stopped);
    assert!(disk.segments().len() > 2);
    assert_eq!(words[0], "started");
    assert_eq!(words[words.len() - 2..], ["stopped", "signed"]);
    let told: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(told, (0..36).collect::<Vec<_>>());
    for (number, bytes) in disk.segments() {
        assert!(bytes.len() < 2_000 + 700, "{number}: {}", bytes.len());
        let last = bytes.split_inclusive(|byte| *byte == b'\n').next_back();
        let last = adit_audit::read_line(last.unwrap()).unwrap().record;
        assert!(matches!(last, Record::Checkpoint(_)), "{number}: {last:?}");
    }
}

#[test]
fn a_stop_and_a_start_go_on_in_the_same_segment_and_nothing_needs_recovery() {
    let disk = Disk::default();
    for _ in 0..3 {
        let mut writer = open(
            &disk,
            Keeping {
                segment_bytes: 1 << 20,
                ..KEEPING
            },
            1 << 20,
        );
        writer.tick(START_MS);
        assert_eq!(writer.finish(START_MS), 0);
    }
    assert_eq!(words(&disk), ["started", "stopped", "signed"].repeat(3));
    assert_eq!(disk.segments().len(), 1);
}

#[test]
fn a_checkpoint_is_signed_after_so_many_records_or_so_long() {
    let disk = Disk::default();
    let keeping = Keeping {
        segment_bytes: 1 << 40,
        ..KEEPING
    };
    let mut writer = open(&disk, keeping, 1 << 30);
    writer.tick(START_MS);
    writer.tick(START_MS + CHECKPOINT_MS - 1);
    assert_eq!(words(&disk), ["started"]);
    writer.tick(START_MS + CHECKPOINT_MS);
    assert_eq!(words(&disk), ["started", "signed"]);
    // Nothing new needs no signature.
    writer.tick(START_MS + 10 * CHECKPOINT_MS);
    assert_eq!(words(&disk).len(), 2);
    for number in 1..CHECKPOINT_RECORDS {
        put(&writer, number);
    }
    writer.tick(START_MS + 10 * CHECKPOINT_MS);
    assert_ne!(words(&disk).last().unwrap(), "signed");
    put(&writer, CHECKPOINT_RECORDS);
    writer.tick(START_MS + 10 * CHECKPOINT_MS);
    assert_eq!(words(&disk).last().unwrap(), "signed");
}

#[test]
fn no_batch_is_larger_than_it_may_be() {
    let disk = Disk::default();
    let keeping = Keeping {
        segment_bytes: 1 << 40,
        ..KEEPING
    };
    let mut writer = open(&disk, keeping, 1 << 30);
    let line = 250;
    for number in 0..2 * lanes_of(BATCH_BYTES_MAX) / line {
        put(&writer, number);
    }
    let lost = writer.lanes.take(|bodies| writer.pending.push_back(bodies));
    assert_eq!(lost.count, 0);
    writer.fill(START_MS);
    let size = writer.batch.lines.len();
    assert!(
        (BATCH_BYTES_MAX..BATCH_BYTES_MAX + 1000).contains(&size),
        "{size}"
    );
}

fn lanes_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap()
}

#[test]
fn a_segment_is_closed_by_age_too() {
    let disk = Disk::default();
    let mut writer = open(
        &disk,
        Keeping {
            segment_bytes: 1 << 40,
            ..KEEPING
        },
        1 << 20,
    );
    writer.tick(START_MS);
    put(&writer, 1);
    writer.tick(START_MS + KEEPING.segment_ms - 1);
    put(&writer, 2);
    writer.tick(START_MS + KEEPING.segment_ms);
    let ends: Vec<usize> = disk
        .segments()
        .iter()
        .map(|(_, bytes)| bytes.len())
        .collect();
    assert_eq!(ends.len(), 2);
    // An hour without a record makes no segment.
    writer.tick(START_MS + 9 * KEEPING.segment_ms);
    writer.tick(START_MS + 99 * KEEPING.segment_ms);
    assert_eq!(disk.segments().len(), 2);
    assert_eq!(words(&disk), ["started", "1", "signed", "2", "signed"]);
}

#[test]
fn the_oldest_segments_go_by_size_and_by_age_and_the_rest_is_whole() {
    for keeping in [
        Keeping {
            keep_bytes: 6_000,
            ..KEEPING
        },
        Keeping {
            keep_ms: 200_000,
            ..KEEPING
        },
    ] {
        let disk = Disk::default();
        let mut writer = open(&disk, keeping, 1 << 20);
        for number in 0..60 {
            put(&writer, number);
            writer.tick(START_MS + 10_000 * number);
            read(&disk).unwrap_or_else(|flaw| panic!("{number}: {flaw}"));
        }
        writer.finish(START_MS + 600_000);
        let (summary, words) = read(&disk).unwrap();
        assert!(summary.is_stopped);
        let left: Vec<u64> = disk.segments().iter().map(|(number, _)| *number).collect();
        assert!(left[0] > 3, "{left:?}");
        assert!(
            words.contains(&format!("removed {}", left[0] - 1)),
            "{words:?}"
        );
        let bytes: usize = disk.segments().iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < 20_000, "{bytes}");
        // A further one removed by hand is missed, unless none is left.
        if left.len() == 1 {
            continue;
        }
        let mut disk = disk;
        disk.remove(left[0]).unwrap();
        let flaw = read(&disk).map(|(_, words)| words);
        assert!(
            matches!(flaw, Err(Flaw::Unexplained { .. })),
            "{left:?} {flaw:?}"
        );
    }
}

#[test]
fn r02_every_crash_leaves_a_chain_that_goes_on_and_tells_what_was_cut() {
    let keeping = Keeping {
        keep_bytes: 6_000,
        ..KEEPING
    };
    let whole = Disk::default();
    play(&whole, keeping);
    let steps = whole.steps();
    assert!(steps > 30, "only {steps} steps");
    let mut cut = 0;
    for at in 0..steps {
        for left in Left::ALL {
            let disk = Disk::default().with(Fault::Crash(at));
            play(&disk, keeping);
            let disk = disk.after_crash(left);
            let had_some = disk.segments().iter().any(|(_, bytes)| !bytes.is_empty());
            let mut writer = open(&disk, keeping, 1 << 20);
            put(&writer, 4711);
            writer.tick(START_MS + 400_000);
            writer.finish(START_MS + 400_000);
            let (summary, words) =
                read(&disk).unwrap_or_else(|flaw| panic!("step {at}, {left:?} left: {flaw}"));
            assert!(summary.is_stopped);
            assert!(words.contains(&"4711".to_owned()));
            let segments = disk.segments();
            let (_, closed) = segments.split_last().unwrap();
            for (number, bytes) in closed.iter().filter(|(_, bytes)| !bytes.is_empty()) {
                let last = bytes.split_inclusive(|byte| *byte == b'\n').next_back();
                let last = adit_audit::read_line(last.unwrap()).unwrap().record;
                let is_signed = matches!(last, Record::Checkpoint(_));
                assert!(is_signed, "step {at}, {left:?} left: {number}");
            }
            let told: Vec<&String> = words
                .iter()
                .filter(|word| word.starts_with("recovered"))
                .collect();
            // Silence is right only where nothing was there, or the end was in good order.
            let in_order = words.iter().filter(|word| *word == "stopped").count() == 2;
            if had_some && !in_order {
                assert_eq!(told.len(), 1, "step {at}, {left:?} left: {words:?}");
            }
            cut += told.iter().filter(|word| **word != "recovered 0").count();
        }
    }
    assert!(cut > 10, "only {cut} crashes left torn lines");
}

#[test]
fn r02_a_step_that_fails_once_loses_no_record_also_when_the_power_goes_later() {
    let whole = Disk::default();
    play(&whole, KEEPING);
    for at in 0..whole.steps() {
        let disk = Disk::default().with(Fault::Once(at));
        // A failure at the very end is not tried again: there is no later tick.
        play(&disk, KEEPING);
        // A sync that failed and was said to have succeeded afterwards would be seen here.
        let disk = disk.after_crash(Left::Nothing);
        let (summary, words) = read(&disk).unwrap_or_else(|flaw| panic!("step {at}: {flaw}"));
        if !summary.is_stopped {
            assert!(at + 6 > whole.steps(), "step {at}: {words:?}");
            continue;
        }
        let told: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        assert_eq!(told, (0..36).collect::<Vec<_>>(), "step {at}");
    }
}

#[test]
fn r03_a_full_disk_spools_then_loses_counts_and_tells_of_it_when_there_is_room() {
    let disk = Disk::default();
    let keeping = Keeping {
        segment_bytes: 1 << 20,
        ..KEEPING
    };
    let mut writer = open(&disk, keeping, 1_000);
    writer.tick(START_MS);
    let before: usize = disk.segments().iter().map(|(_, bytes)| bytes.len()).sum();
    disk.set_room(Some(before + 100));
    let mut kept = 0;
    let mut now_ms = START_MS;
    for number in 1..=100 {
        now_ms += 50;
        kept += u64::from(put(&writer, number));
        writer.tick(now_ms);
        assert!(writer.lanes.is_stuck());
        assert!(writer.lanes.queued() <= 1_000);
        assert!(writer.facts.lock().trouble.is_some());
    }
    assert!(kept > 5 && kept < 100, "{kept}");
    assert_eq!(writer.lanes.lost(), 100 - kept);
    assert!(put_fails(&writer), "still full");
    disk.set_room(None);
    writer.tick(now_ms + RETRY_MS);
    writer.tick(now_ms + RETRY_MS);
    assert!(!writer.lanes.is_stuck());
    assert_eq!(
        (writer.lanes.queued(), writer.facts.lock().trouble.clone()),
        (0, None)
    );
    let mut expected = vec!["started".to_owned()];
    expected.extend((1..=kept).map(|number| number.to_string()));
    expected.push(format!("gap {} since {}", 101 - kept, kept + 1));
    assert_eq!(words(&disk), expected);
    put(&writer, 4711);
    writer.finish(now_ms + RETRY_MS);
    assert!(read(&disk).unwrap().0.is_stopped);
}

fn put_fails(writer: &Writer<Disk>) -> bool {
    !put(writer, 101)
}

#[test]
fn a_write_that_failed_is_tried_again_after_a_while_and_not_before() {
    let disk = Disk::default();
    let mut writer = open(&disk, KEEPING, 1_000);
    disk.set_room(Some(0));
    writer.tick(START_MS);
    let steps = disk.steps();
    disk.set_room(None);
    writer.tick(START_MS + RETRY_MS - 1);
    assert_eq!(disk.steps(), steps);
    writer.tick(START_MS + RETRY_MS);
    assert_eq!(words(&disk), ["started"]);
}

#[test]
fn an_end_on_a_full_disk_tells_what_is_lost_and_the_next_start_recovers() {
    let disk = Disk::default();
    let mut writer = open(&disk, KEEPING, 1_000);
    writer.tick(START_MS);
    disk.set_room(Some(0));
    put(&writer, 1);
    assert!(writer.finish(START_MS) > 0);
    disk.set_room(None);
    let mut writer = open(&disk, KEEPING, 1_000);
    writer.finish(START_MS);
    assert_eq!(
        words(&disk),
        ["started", "recovered 0", "started", "stopped", "signed"]
    );
}

#[test]
fn r02_lines_that_nobody_can_read_at_the_end_are_cut_back_to_the_last_that_can() {
    let disk = Disk::default();
    let mut writer = open(&disk, KEEPING, 1_000);
    writer.finish(START_MS);
    let junk = [vec![0; 150_000], b"\nno record\n{\"seq".to_vec()].concat();
    disk.append(1, &junk);
    let mut writer = open(&disk, KEEPING, 1_000);
    writer.finish(START_MS);
    let words = words(&disk);
    assert_eq!(words[3], format!("recovered {}", junk.len()));
    assert!(read(&disk).unwrap().0.is_stopped);
}

#[test]
fn r02_a_segment_that_rotted_or_was_cut_is_noticed_and_what_follows_is_recorded() {
    let whole = Disk::default();
    let mut writer = open(&whole, KEEPING, 1_000);
    for number in 0..4 {
        put(&writer, number);
        writer.tick(START_MS + 50 * number);
    }
    writer.finish(START_MS + 300);
    let (before, words_before) = read(&whole).unwrap();
    let segments = whole.segments();
    let (mut told, mut unharmed) = (0, 0);
    for (number, bytes) in &segments {
        let cuts = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let flips = (0..bytes.len()).map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            changed
        });
        let damaged: Vec<Vec<u8>> = cuts.chain(flips).collect();
        for damaged in damaged {
            let disk = Disk::default();
            for (other, bytes) in &segments {
                let bytes = if other == number { &damaged } else { bytes };
                disk.append(*other, bytes);
            }
            let mut writer = open(&disk, KEEPING, 1_000);
            put(&writer, 4711);
            writer.tick(START_MS + 400_000);
            writer.finish(START_MS + 400_000);
            // Where no word was said about it and no flaw is found, it is the chain of before and what came since.
            let last = disk.segments().pop().unwrap().1;
            assert!(String::from_utf8_lossy(&last).contains("4711"));
            match read(&disk) {
                Err(_) => told += 1,
                Ok((summary, words)) => {
                    assert!(summary.is_stopped && summary.sequence > 3);
                    if words.iter().any(|word| word.starts_with("recovered")) {
                        told += 1;
                    } else if words.starts_with(&words_before) {
                        assert!(summary.sequence > before.sequence);
                        unharmed += 1;
                    } else {
                        // Of a chain without its beginning nobody can know.
                        assert!(damaged.is_empty() || words[0] == "started", "{words:?}");
                        unharmed += 1;
                    }
                }
            }
        }
    }
    assert!(told > 50 * (unharmed + 1), "{told} told, {unharmed} not");
}
