//! Segments with gaps, rot and restarts, read as a source.
//!
//! That lines follow one another is tested beside `Lines`.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::limits::BATCH_RECORDS_MAX;
use crate::test_world::chain;

struct World {
    dir: tempfile::TempDir,
    written: Arc<AtomicU64>,
    lines: Vec<Vec<u8>>,
}

impl World {
    /// Segments of so many lines each.
    fn of(segments: &[usize]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lines = chain(segments.iter().sum(), 0);
        let mut rest = lines.as_slice();
        for (number, count) in (1..).zip(segments) {
            let (these, others) = rest.split_at(*count);
            rest = others;
            fs::write(dir.path().join(segment::file_name(number)), these.concat()).unwrap();
        }
        let written = Arc::new(AtomicU64::new(u64::try_from(lines.len()).unwrap()));
        Self {
            dir,
            written,
            lines,
        }
    }

    fn source(&self) -> FolderSource {
        let written = Arc::clone(&self.written);
        FolderSource::new(
            self.dir.path(),
            "otlp",
            Arc::new(move || written.load(Ordering::Relaxed)),
        )
    }

    fn remove(&self, number: u64) {
        fs::remove_file(self.dir.path().join(segment::file_name(number))).unwrap();
    }
}

fn numbers(lines: &Lines) -> Vec<u64> {
    lines.items().iter().map(|item| item.sequence).collect()
}

#[tokio::test]
async fn lines_are_read_over_all_segments_batch_by_batch() {
    let world = World::of(&[150, 1, 0, 149]);
    let mut source = world.source();
    let mut place = source.oldest().await.unwrap();
    assert_eq!(place.sequence, 0);
    let mut read = Vec::new();
    loop {
        let lines = source.read(&place).await.unwrap();
        assert!(lines.len() <= BATCH_RECORDS_MAX && lines.gap().is_none());
        if lines.is_empty() {
            break;
        }
        read.extend(numbers(&lines));
        place = lines.end();
    }
    assert_eq!(read, (1..=300).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_is_not_synced_is_not_read() {
    let world = World::of(&[10]);
    world.written.store(7, Ordering::Relaxed);
    let mut source = world.source();
    let lines = source.read(&Place::START).await.unwrap();
    assert_eq!(numbers(&lines), (1..=7).collect::<Vec<u64>>());
    world.written.store(6, Ordering::Relaxed);
    let back = source.read(&lines.end()).await.unwrap_err();
    assert_eq!(back, Trouble::OtherChain);
}

#[tokio::test]
async fn a_place_is_found_again_after_a_restart_and_its_file_is_the_owners() {
    let world = World::of(&[10, 10, 10]);
    let mut source = world.source();
    assert_eq!(source.load().await, Ok(None));
    let mut lines = Lines::behind(&Place::START, 30).unwrap();
    for line in &world.lines[..15] {
        lines.push(line).unwrap();
    }
    source.keep(&lines.end()).await.unwrap();
    let mut again = world.source();
    let place = again.load().await.unwrap().unwrap();
    assert_eq!((place.sequence, place.hint), (15, None));
    assert_eq!(numbers(&again.read(&place).await.unwrap())[..2], [16, 17]);
    let path = world.dir.path().join("forwarded-otlp.json");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::write(&path, "half a").unwrap();
    assert_eq!(again.load().await, Ok(None));
}

#[tokio::test]
async fn removed_segments_are_a_gap_wherever_the_place_was() {
    let world = World::of(&[10, 10, 10]);
    let mut source = world.source();
    let mut lines = Lines::behind(&Place::START, 30).unwrap();
    for line in &world.lines[..5] {
        lines.push(line).unwrap();
    }
    let with_hint = source.read(&Place::START).await.unwrap();
    assert!(with_hint.end().hint.is_some());
    world.remove(1);
    world.remove(2);
    let read = source.read(&lines.end()).await.unwrap();
    assert_eq!(read.gap().map(|gap| (gap.from, gap.to)), Some((6, 20)));
    let hint = Some(Hint {
        segment: 1,
        offset: 9,
    });
    let place = Place {
        hint,
        ..lines.end()
    };
    let read = source.read(&place).await.unwrap();
    assert_eq!(read.gap().map(|gap| (gap.from, gap.to)), Some((6, 20)));
    assert_eq!(numbers(&read), (21..=30).collect::<Vec<u64>>());
    assert_eq!(source.oldest().await.unwrap().sequence, 20);
}

#[tokio::test]
async fn r02_a_first_line_that_rotted_hides_no_other() {
    let world = World::of(&[3]);
    let path = world.dir.path().join(segment::file_name(1));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"sequence\"", "\"seq\u{0}ence\"", 1)).unwrap();
    let mut source = world.source();
    let lines = source.read(&Place::START).await.unwrap();
    assert_eq!(numbers(&lines), [2, 3]);
    assert_eq!(lines.gap().map(|gap| (gap.from, gap.to)), Some((1, 1)));
}

#[tokio::test]
async fn r02_a_place_that_was_cut_or_rotted_never_hides_a_record_from_a_sink() {
    let world = World::of(&[100, 100]);
    let mut source = world.source();
    let mut lines = Lines::behind(&Place::START, 200).unwrap();
    for line in &world.lines[..117] {
        lines.push(line).unwrap();
    }
    source.keep(&lines.end()).await.unwrap();
    let path = source.place_file();
    let whole = fs::read(&path).unwrap();
    let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
    let changed = (0..whole.len() * 8).map(|bit| {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    });
    let (mut unknown, mut other, mut same) = (0, 0, 0);
    for damaged in cuts.chain(changed) {
        fs::write(&path, &damaged).unwrap();
        // Nothing known, or not the chain that is here: all of it goes out again.
        let Some(place) = source.load().await.unwrap() else {
            unknown += 1;
            continue;
        };
        match source.read(&place).await {
            Err(Trouble::OtherChain) => other += 1,
            Ok(lines) => {
                assert_eq!((place.sequence, numbers(&lines)[0]), (117, 118));
                same += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(unknown > 100 && other > 100, "{unknown} {other} {same}");
}
