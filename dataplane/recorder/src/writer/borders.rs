//! A writer at its borders: what is just kept, just closed, just removed, and what a disk says only once.

use super::tests::{KEEPING, START_MS, open, open_at, put, read, words};
use super::*;
use crate::test_disk::{Disk, Fault, Left};

fn bytes_of(disk: &Disk) -> u64 {
    let segments = disk.segments();
    segments.iter().map(|(_, held)| bytes(held.len())).sum()
}

#[test]
fn exactly_keep_bytes_are_kept_and_with_one_more_the_oldest_goes() {
    let fill = |disk: &Disk, keeping: Keeping| {
        let mut writer = open(disk, keeping, 1 << 20);
        for number in 0..30 {
            put(&writer, number);
            writer.tick(START_MS);
        }
    };
    let whole = Disk::default();
    fill(&whole, KEEPING);
    assert!(whole.segments().len() > 1);
    let all = bytes_of(&whole);
    for (keep_bytes, is_removed) in [(all, false), (all - 1, true)] {
        let disk = Disk::default();
        let keeping = Keeping {
            keep_bytes,
            ..KEEPING
        };
        fill(&disk, keeping);
        assert_eq!(disk.segments()[0].0 > 1, is_removed);
    }
}

#[test]
fn what_counts_as_written_survives_a_crash_also_after_a_step_that_has_failed() {
    let play = |disk: &Disk| {
        let mut writer = open(disk, KEEPING, 1 << 20);
        for number in 0..12 {
            put(&writer, number);
            writer.tick(START_MS + 2_000 * number);
            let left = disk.after_crash(Left::Nothing);
            let survived = read(&left).map_or(0, |(summary, _)| summary.sequence);
            assert!(survived >= writer.facts.lock().sequence, "{number}");
        }
    };
    let whole = Disk::default();
    play(&whole);
    for at in 0..whole.steps() {
        play(&Disk::default().with(Fault::Once(at)));
    }
}

#[test]
fn a_segment_that_cannot_be_removed_is_removed_later() {
    let keeping = Keeping {
        keep_bytes: 6_000,
        ..KEEPING
    };
    let play = |disk: &Disk| {
        let mut writer = open(disk, keeping, 1 << 20);
        for number in 0..60 {
            put(&writer, number);
            writer.tick(START_MS + 10_000 * number);
        }
        writer.finish(START_MS + 600_000);
    };
    let whole = Disk::default();
    play(&whole);
    for at in 0..whole.steps() - 6 {
        let disk = Disk::default().with(Fault::Once(at));
        play(&disk);
        read(&disk).unwrap_or_else(|flaw| panic!("step {at}: {flaw}"));
        assert!(disk.segments()[0].0 > 3, "step {at}");
    }
}

#[test]
fn a_segment_that_was_begun_before_a_restart_is_closed_by_its_own_age() {
    let disk = Disk::default();
    let keeping = Keeping {
        segment_bytes: 1 << 40,
        ..KEEPING
    };
    open(&disk, keeping, 1_000).finish(START_MS);
    let again = START_MS + KEEPING.segment_ms - 1;
    let mut writer = open_at(&disk, keeping, 1_000, again);
    writer.tick(again);
    put(&writer, 1);
    writer.tick(again);
    assert_eq!(disk.segments().len(), 1);
    writer.tick(again + 1);
    put(&writer, 2);
    writer.tick(again + 1);
    assert_eq!(disk.segments().len(), 2);
}

#[test]
fn torn_ends_of_two_segments_are_cut_and_told_together() {
    let disk = Disk::default();
    open(&disk, KEEPING, 1_000).finish(START_MS);
    disk.append(1, b"half a");
    disk.append(2, b"line");
    let keeping = Keeping {
        keep_ms: u64::MAX,
        ..KEEPING
    };
    open(&disk, keeping, 1_000).finish(START_MS);
    assert_eq!(
        words(&disk),
        [
            "started",
            "stopped",
            "signed",
            "recovered 10",
            "started",
            "stopped",
            "signed"
        ]
    );
}

#[test]
fn a_segment_that_nobody_can_read_is_removed_like_any_other() {
    let disk = Disk::default();
    disk.append(1, b"nothing\n");
    disk.append(2, b"");
    // This disk does not know when it was written, which is long ago.
    open(&disk, KEEPING, 1_000).finish(START_MS);
    let words = words(&disk);
    assert!(words.contains(&"removed 1".to_owned()), "{words:?}");
    assert_eq!(disk.segments()[0].0, 2);
}

#[test]
fn a_gap_is_told_behind_what_was_queued_before_it() {
    let disk = Disk::default();
    let mut writer = open(&disk, KEEPING, 6_000);
    writer.tick(START_MS);
    let kept = (1..1_000)
        .take_while(|number| put(&writer, *number))
        .count();
    writer.tick(START_MS);
    writer.finish(START_MS);
    let words = words(&disk);
    let at = |word: &str| words.iter().position(|other| other == word).unwrap();
    assert!(disk.segments().len() > 1, "more than one batch");
    assert!(
        at(&format!("gap 1 since {}", kept + 1)) > at(&kept.to_string()),
        "{words:?}"
    );
}

#[test]
fn an_end_tries_once_more_also_when_it_would_have_to_wait() {
    let disk = Disk::default();
    let mut writer = open(&disk, KEEPING, 1_000);
    disk.set_room(Some(0));
    writer.tick(START_MS);
    assert!(writer.trouble.is_some());
    disk.set_room(None);
    assert_eq!(writer.finish(START_MS), 0);
    assert_eq!(words(&disk), ["started", "stopped", "signed"]);
}
