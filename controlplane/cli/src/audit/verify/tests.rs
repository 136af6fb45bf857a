//! Folders as a node leaves them, and as somebody else does.

use std::fs;

use adit_audit::{Chain, Gap, Record, Stopped, segment};

use super::*;

/// Three segments of three records each; stopped, but not signed.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(Digest::ZERO);
    for number in 1..=3 {
        let mut lines = Vec::new();
        for record in 0..3 {
            let gap = Record::Gap(Gap {
                unix_ms: number * 10 + record,
                since_unix_ms: 0,
                lost: 1,
            });
            let stopped = Record::Stopped(Stopped { unix_ms: 99 });
            let is_last = number == 3 && record == 2;
            chain.append(if is_last { &stopped } else { &gap }, &mut lines);
        }
        fs::write(dir.path().join(segment::file_name(number)), lines).unwrap();
    }
    dir
}

fn check(dir: &tempfile::TempDir) -> Result<Verified, String> {
    verify(&[dir.path().to_owned()], Vec::new(), &[]).unwrap()
}

#[test]
fn a_folder_is_read_whole_and_its_end_needs_a_signed_stop_or_a_node_that_writes() {
    let dir = folder();
    let verified = check(&dir).unwrap();
    assert_eq!((verified.segments, verified.summary.lines), (3, 9));
    assert!(!verified.is_proven());
    assert!(verified.told(false).contains("its end is not proven"));
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(check(&dir).unwrap().is_proven());
    // A node that writes may be in the middle of a line, nobody else.
    let last = dir.path().join(segment::file_name(3));
    let torn = [fs::read(&last).unwrap(), b"{\"seq".to_vec()].concat();
    fs::write(&last, torn).unwrap();
    assert!(check(&dir).unwrap().is_writing);
    drop(lock);
    let broken = check(&dir).unwrap_err();
    assert!(
        broken.contains("segment 3: line 4: the line is cut off"),
        "{broken}"
    );
}

#[test]
fn what_is_broken_is_told_with_file_and_line() {
    let dir = folder();
    let path = dir.path().join(segment::file_name(2));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"lost\":1", "\"lost\":2", 1)).unwrap();
    let broken = check(&dir).unwrap_err();
    assert!(
        broken.contains("0000000002.jsonl: segment 2: line 2: it carries"),
        "{broken}"
    );
    fs::remove_file(&path).unwrap();
    let broken = check(&dir).unwrap_err();
    assert!(broken.ends_with("segment 2 is missing"), "{broken}");
}

#[test]
fn a_record_noted_elsewhere_must_be_there() {
    let dir = folder();
    let paths = [dir.path().to_owned()];
    let summary = check(&dir).unwrap().summary;
    let anchor: Anchor = format!("{}:{}", summary.sequence, summary.last)
        .parse()
        .unwrap();
    assert!(verify(&paths, Vec::new(), &[anchor]).unwrap().is_ok());
    let last = dir.path().join(segment::file_name(3));
    let text = fs::read_to_string(&last).unwrap();
    let cut: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&last, cut).unwrap();
    let broken = verify(&paths, Vec::new(), &[anchor]).unwrap().unwrap_err();
    assert!(broken.starts_with("record 9 with the digest"), "{broken}");
    for wrong in ["", "9", "9:", ":ab", "x:ab"] {
        assert!(wrong.parse::<Anchor>().is_err(), "{wrong}");
    }
}

#[test]
fn single_segments_are_read_by_themselves_and_need_not_begin_the_chain() {
    let dir = folder();
    let path = |number| dir.path().join(segment::file_name(number));
    let read = |paths: &[PathBuf]| verify(paths, Vec::new(), &[]);
    assert_eq!(read(&[path(2)]).unwrap().unwrap().summary.lines, 3);
    assert_eq!(read(&[path(3), path(2)]).unwrap().unwrap().summary.lines, 6);
    assert!(read(&[path(1), path(3)]).unwrap().is_err());
    assert!(read(&[dir.path().join("other")]).is_err());
    assert!(read(&[path(1), dir.path().to_owned()]).is_err());
    let empty = tempfile::tempdir().unwrap();
    assert!(read(&[empty.path().to_owned()]).is_err());
}
