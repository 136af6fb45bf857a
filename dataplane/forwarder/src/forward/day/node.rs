//! A node's folder on a day without a sink: segments that fill and go as a recorder's do.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_audit::{Act, Chain, Digest, History, Record, SegmentRemoved, Text, segment};
use tokio::time::{Instant, sleep};

use crate::Facts;
use crate::folder::Written;
use crate::limits::{DELIVER_LIMIT, RETRY_AFTER_MAX, RETRY_CAP};

/// Writes segments as a recorder does.
pub(super) struct Node {
    pub(super) dir: tempfile::TempDir,
    pub(super) chain: Chain,
    file: File,
    number: u64,
    bytes: u64,
    closed: VecDeque<SegmentRemoved>,
    // The last record that is gone.
    pub(super) removed: u64,
    pub(super) total_bytes: usize,
    written: Arc<AtomicU64>,
}

impl Node {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join(segment::file_name(1))).unwrap();
        Self {
            dir,
            chain: Chain::new(Digest::ZERO),
            file,
            number: 1,
            bytes: 0,
            closed: VecDeque::new(),
            removed: 0,
            total_bytes: 0,
            written: Arc::default(),
        }
    }

    pub(super) fn head(&self) -> Written {
        let written = Arc::clone(&self.written);
        Arc::new(move || written.load(Ordering::Relaxed))
    }

    /// Each tick some records; in so many steps, because whoever waits for a socket lets the clock go on by one.
    pub(super) async fn go_on(&mut self, time: Duration, steps: u32) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for _ in 0..PER_TICK {
                self.record();
            }
            for _ in 0..steps {
                sleep(TICK / steps).await;
            }
        }
    }

    pub(super) fn record(&mut self) {
        self.put(&Record::Act(Act {
            unix_ms: virtual_ms(),
            who: Text::of("root-admin"),
            verb: Text::of("rules-apply"),
            subaccount: Some(Text::of("acme")),
            what: Text::of("rules"),
            detail: Text::of("version 7"),
            request: Text::of("0123456789abcdef"),
        }));
        if self.bytes < SEGMENT_BYTES {
            return;
        }
        self.closed.push_back(SegmentRemoved {
            unix_ms: 0,
            segment: self.number,
            last_sequence: self.chain.sequence(),
            last: self.chain.last(),
        });
        self.number += 1;
        self.bytes = 0;
        self.file = File::create(self.dir.path().join(segment::file_name(self.number))).unwrap();
        if self.closed.len() > SEGMENTS_KEPT {
            let removed = self.closed.pop_front().unwrap();
            self.put(&Record::SegmentRemoved(SegmentRemoved {
                unix_ms: virtual_ms(),
                ..removed
            }));
            fs::remove_file(self.dir.path().join(segment::file_name(removed.segment))).unwrap();
            self.removed = removed.last_sequence;
        }
    }

    pub(super) fn put(&mut self, record: &Record<'_>) {
        let mut line = Vec::new();
        self.chain.append(record, &mut line);
        self.file.write_all(&line).unwrap();
        self.bytes += u64::try_from(line.len()).unwrap();
        self.total_bytes += line.len();
        self.written.store(self.chain.sequence(), Ordering::Relaxed);
    }

    /// After so many hours without a sink; the last try may be a while ago.
    pub(super) fn must_be_behind(&self, facts: &Facts, hours: u64, is_exact: bool) {
        let while_ago = (RETRY_AFTER_MAX + DELIVER_LIMIT + RETRY_CAP).as_secs();
        let records = self.chain.sequence() - 100;
        assert!(facts.lag_records <= records, "{facts:?}");
        let left = self.chain.sequence() - self.removed.max(100);
        assert!(
            facts.gap_records <= self.removed.saturating_sub(100),
            "{facts:?}"
        );
        // The oldest that is left is as old as what is kept lasts.
        let kept = left / PER_TICK;
        assert!(
            facts.lag_seconds <= kept + while_ago + 3600,
            "{facts:?} {kept}"
        );
        if is_exact {
            assert!(
                facts.lag_records + (while_ago + 1) * PER_TICK > left,
                "{facts:?}"
            );
            let least = kept.min(hours * 3600);
            assert!(
                facts.lag_seconds + while_ago + 10 >= least,
                "{facts:?} {kept}"
            );
        }
    }

    /// As an auditor reads it.
    pub(super) fn must_be_whole(&self) {
        let mut history = History::new(Vec::new());
        for number in self.number - u64::try_from(SEGMENTS_KEPT).unwrap()..=self.number {
            history.segment(number).unwrap();
            let text = fs::read(self.dir.path().join(segment::file_name(number))).unwrap();
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                history.line(line).unwrap();
            }
        }
        assert_eq!(history.finish().unwrap().sequence, self.chain.sequence());
    }
}

/// What time it is on the day of this thread.
pub(super) fn virtual_ms() -> u64 {
    thread_local! {
        static BEGAN: Instant = Instant::now();
    }
    let since = BEGAN.with(Instant::elapsed).as_millis();
    1_700_000_000_000 + u64::try_from(since).unwrap()
}

/// How far the clock may go while somebody waits for a socket.
pub(super) const TICK: Duration = Duration::from_secs(1);
pub(super) const PER_TICK: u64 = 2;
const SEGMENT_BYTES: u64 = 64 * 1024;
/// Some twenty minutes.
const SEGMENTS_KEPT: usize = 12;
