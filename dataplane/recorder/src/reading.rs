//! What the segments tell of decisions, read while they are written: a part at a time, line by line.
//!
//! That a chain is whole is not checked here; `adit audit verify` does. What is held of the lines is `audit`'s.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use adit_audit::limits::{
    LINE_BYTES_MAX, TRAFFIC_BYTES_MAX, TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX,
};
use adit_audit::{Cursor, Level, Record, Tally, Traffic, Wanted, read_line, segment};

use crate::folder::{Found, list};
use crate::lanes::bytes;

/// Reads at most `bytes_max` bytes, and then to the end of a line.
///
/// # Errors
/// What the file system says.
pub(crate) fn part(
    folder: &Path,
    level: Level,
    wanted: &Wanted,
    bytes_max: u64,
) -> io::Result<Traffic> {
    let mut segments = list(folder)?;
    segments.sort_by_key(|found| found.number);
    let mut reading = Reading {
        wanted,
        left: bytes_max,
        tally: Tally::new(TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX),
        lost: 0,
        unreadable: 0,
    };
    let from = wanted.after.unwrap_or_default();
    let mut next = None;
    for found in &segments {
        // What was written last before that time holds nothing of it.
        if found.number < from.segment || found.unix_ms < wanted.since_unix_ms {
            continue;
        }
        let offset = if found.number == from.segment {
            from.offset
        } else {
            0
        };
        next = reading.segment(folder, *found, offset)?;
        if next.is_some() {
            break;
        }
    }
    let mut traffic = reading.tally.finish(level, TRAFFIC_BYTES_MAX);
    traffic.first_unix_ms = segments.iter().find_map(|found| began(folder, *found));
    traffic.lost = reading.lost;
    traffic.unreadable = reading.unreadable;
    traffic.next = next.map(|cursor| cursor.to_string());
    Ok(traffic)
}

struct Reading<'w> {
    wanted: &'w Wanted,
    left: u64,
    tally: Tally,
    lost: u64,
    unreadable: u64,
}

impl Reading<'_> {
    /// Reads a segment from `offset` on; where to go on when there is too much.
    fn segment(
        &mut self,
        folder: &Path,
        found: Found,
        mut offset: u64,
    ) -> io::Result<Option<Cursor>> {
        let Some(mut file) = open(folder, found.number)? else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut line = Vec::new();
        // What follows within a line that is too long for one.
        let mut is_rest = false;
        loop {
            if self.left == 0 && !is_rest {
                return Ok(Some(Cursor {
                    segment: found.number,
                    offset,
                }));
            }
            line.clear();
            let most = bytes(LINE_BYTES_MAX + 1);
            reader.by_ref().take(most).read_until(b'\n', &mut line)?;
            let read = bytes(line.len());
            let is_whole = line.ends_with(b"\n");
            // The end, or a line that is being written at this moment.
            if !is_whole && read < most {
                return Ok(None);
            }
            offset += read;
            self.left = self.left.saturating_sub(read);
            if !is_rest {
                self.line(&line);
            }
            is_rest = !is_whole;
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Ok(line) = read_line(line) else {
            self.unreadable += 1;
            return;
        };
        if line.record.unix_ms() < self.wanted.since_unix_ms {
            return;
        }
        match &line.record {
            // The folder may hold what this machine recorded when it was of another subaccount.
            Record::Decision(decision)
                if decision.subaccount.as_str() == self.wanted.subaccount =>
            {
                self.tally.decision(decision);
            }
            Record::Gap(gap) => self.lost = self.lost.saturating_add(gap.lost),
            Record::Decision(_)
            | Record::Started(_)
            // A gateway does not know the rules.
            | Record::Request(_)
            | Record::Tunnel(_)
            | Record::RulesPushed(_)
            | Record::Act(_)
            | Record::Recovered(_)
            | Record::Checkpoint(_)
            | Record::SegmentRemoved(_)
            | Record::Stopped(_) => {}
        }
    }
}

/// When the first record of a segment was made.
fn began(folder: &Path, found: Found) -> Option<u64> {
    let file = open(folder, found.number).ok()??;
    let mut line = Vec::new();
    let mut reader = BufReader::new(file.take(bytes(LINE_BYTES_MAX)));
    reader.read_until(b'\n', &mut line).ok()?;
    read_line(&line).ok().map(|line| line.record.unix_ms())
}

/// Opens a segment; `None` when it was removed meanwhile, because it is old.
fn open(folder: &Path, number: u64) -> io::Result<Option<File>> {
    match File::open(folder.join(segment::file_name(number))) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Read from the disk at once.
const BUFFER_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use adit_audit::{Chain, Decision, Digest, Gap, Outcome, Text};

    use super::*;
    use crate::limits::READ_BYTES_MAX;

    fn lines(asked: &[(&str, &str, u64)]) -> Vec<u8> {
        let mut chain = Chain::new(Digest::ZERO);
        let mut lines = Vec::new();
        for (subaccount, path, unix_ms) in asked {
            let record = Record::Decision(Decision {
                unix_ms: *unix_ms,
                request: Text::of("id"),
                subaccount: Text::of(*subaccount),
                caller: Text::of("shop"),
                system: Text::of("erp.virtual:80"),
                method: Some(Text::of("GET")),
                path: Some(Text::of(*path)),
                upgrade: false,
                outcome: Outcome::Allowed {
                    rule: Text::of("/"),
                },
                version: 1,
            });
            chain.append(&record, &mut lines);
        }
        lines
    }

    fn put(folder: &Path, number: u64, lines: &[u8]) {
        fs::write(folder.join(segment::file_name(number)), lines).unwrap();
    }

    fn wanted(since_unix_ms: u64) -> Wanted {
        Wanted {
            subaccount: "acme".to_owned(),
            since_unix_ms,
            after: None,
        }
    }

    fn paths(traffic: &Traffic) -> Vec<(&str, u64)> {
        let told = traffic.requests.iter();
        told.map(|seen| (seen.asked.path.as_deref().unwrap(), seen.count))
            .collect()
    }

    #[test]
    fn all_segments_tell_what_is_of_the_subaccount_and_of_the_time() {
        let dir = tempfile::tempdir().unwrap();
        put(
            dir.path(),
            1,
            &lines(&[
                ("acme", "/old", 10),
                ("acme", "/a", 20),
                ("other", "/b", 30),
            ]),
        );
        put(
            dir.path(),
            2,
            &lines(&[("acme", "/a", 40), ("acme", "/c", 50)]),
        );
        let traffic = part(dir.path(), Level::All, &wanted(20), READ_BYTES_MAX).unwrap();
        assert_eq!(paths(&traffic), [("/a", 2), ("/c", 1)]);
        assert_eq!((traffic.first_unix_ms, traffic.next), (Some(10), None));
        let none = part(dir.path(), Level::All, &wanted(u64::MAX), READ_BYTES_MAX).unwrap();
        assert_eq!((none.requests, none.first_unix_ms), (Vec::new(), Some(10)));
    }

    #[test]
    fn parts_put_together_tell_what_one_would_also_when_a_segment_is_removed_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=3 {
            let path = format!("/{number}");
            put(
                dir.path(),
                number,
                &lines(&[("acme", &path, 10), ("acme", "/all", 20)]),
            );
        }
        let mut asked = wanted(0);
        let mut found = Vec::new();
        for turn in 0..10 {
            // One byte is one line.
            let traffic = part(dir.path(), Level::All, &asked, 1).unwrap();
            found.extend(paths(&traffic).iter().map(|(path, _)| (*path).to_owned()));
            let Some(next) = &traffic.next else {
                break;
            };
            asked.after = Some(next.parse().unwrap());
            if turn == 2 {
                fs::remove_file(dir.path().join(segment::file_name(2))).unwrap();
            }
        }
        assert_eq!(found, ["/1", "/all", "/2", "/3", "/all"]);
    }

    #[test]
    fn so_many_bytes_are_read_and_then_to_the_end_of_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = lines(&[("acme", "/a", 1), ("acme", "/b", 2), ("acme", "/c", 3)]);
        let second = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        put(dir.path(), 1, &text);
        for (most, count) in [(second, 1), (second + 1, 2), (text.len(), 3)] {
            let traffic = part(dir.path(), Level::All, &wanted(0), bytes(most)).unwrap();
            assert_eq!(traffic.requests.len(), count, "{most}");
        }
        assert!(
            part(dir.path(), Level::All, &wanted(0), READ_BYTES_MAX)
                .unwrap()
                .next
                .is_none()
        );
    }

    #[test]
    fn a_part_does_not_end_within_a_line_that_is_too_long_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = vec![b'x'; 3 * LINE_BYTES_MAX];
        text.push(b'\n');
        text.extend_from_slice(&lines(&[("acme", "/a", 1)]));
        put(dir.path(), 1, &text);
        let first = part(dir.path(), Level::All, &wanted(0), 1).unwrap();
        assert_eq!((first.unreadable, first.requests.len()), (1, 0));
        let mut asked = wanted(0);
        asked.after = Some(first.next.unwrap().parse().unwrap());
        let second = part(dir.path(), Level::All, &asked, READ_BYTES_MAX).unwrap();
        assert_eq!((second.unreadable, paths(&second)), (0, vec![("/a", 1)]));
    }

    #[test]
    fn what_is_no_record_is_counted_and_passed_over_and_half_a_line_is_not_read_yet() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = vec![b'x'; 3 * LINE_BYTES_MAX];
        text.extend_from_slice(b"\nnothing\n");
        text.extend_from_slice(&lines(&[("acme", "/a", 1)]));
        let gap = Record::Gap(Gap {
            unix_ms: 2,
            since_unix_ms: 1,
            lost: 7,
        });
        Chain::new(Digest::ZERO).append(&gap, &mut text);
        let whole = text.len();
        let more = lines(&[("acme", "/b", 3)]);
        text.extend_from_slice(&more[..more.len() - 1]);
        put(dir.path(), 1, &text);
        let traffic = part(dir.path(), Level::All, &wanted(0), READ_BYTES_MAX).unwrap();
        assert_eq!(paths(&traffic), [("/a", 1)]);
        assert_eq!((traffic.unreadable, traffic.lost), (2, 7));
        text.push(b'\n');
        put(dir.path(), 1, &text);
        let mut asked = wanted(0);
        asked.after = Some(Cursor {
            segment: 1,
            offset: bytes(whole),
        });
        let traffic = part(dir.path(), Level::All, &asked, READ_BYTES_MAX).unwrap();
        assert_eq!(paths(&traffic), [("/b", 1)]);
    }
}
