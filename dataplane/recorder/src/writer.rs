//! Turns queued records into lines of segments: one batch at a time, and nothing is forgotten before it is on disk.
//!
//! A batch is chained, written and synced as one; when any of that fails, the segment is cut back to where the batch
//! began and the same bytes are tried again later. It has no clock and no thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use adit_audit::{
    Chain, Digest, Gap, Record, Recovered, SegmentRemoved, SigningKey, Started, Stopped, Summary,
    Text, write_body,
};
use parking_lot::Mutex;

use crate::folder::{Found, Storage};
use crate::lanes::{Lanes, Lost, bytes};
use crate::limits::{BATCH_BYTES_MAX, CHECKPOINT_MS, CHECKPOINT_RECORDS, RETRY_MS};
use crate::metrics::{Counters, as_gauge};
use crate::recorder::Who;
use crate::settings::Settings;
use crate::tail;

/// The one who writes.
pub(crate) struct Writer<S> {
    storage: S,
    keeping: Keeping,
    key: SigningKey,
    lanes: Arc<Lanes>,
    counters: Counters,
    facts: Arc<Mutex<Facts>>,
    // Where the chain stands on disk.
    chain: Chain,
    segment: Segment,
    older: VecDeque<Found>,
    // Records since the last checkpoint, and when the first of them was written.
    unsigned: u64,
    unsigned_since_ms: u64,
    // What was taken from the lanes, and how far into the first of them we are.
    pending: VecDeque<Vec<u8>>,
    at: usize,
    lost: Lost,
    batch: Batch,
    trouble: Option<Trouble>,
    // Segments whose removal is recorded and has failed.
    removals: Vec<u64>,
    is_ending: bool,
}

/// What a node says of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) segment: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: Option<Digest>,
    pub(crate) kept_bytes: u64,
    pub(crate) trouble: Option<String>,
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    segment_bytes: u64,
    segment_ms: u64,
    keep_bytes: u64,
    keep_ms: u64,
}

impl Keeping {
    pub(crate) fn of(settings: &Settings) -> Self {
        let millis =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            segment_bytes: settings.segment_bytes,
            segment_ms: millis(settings.segment_age),
            keep_bytes: settings.keep_bytes,
            keep_ms: millis(settings.keep_age),
        }
    }
}

/// The segment that is written.
#[derive(Debug)]
struct Segment {
    number: u64,
    /// All of it that is synced.
    bytes: u64,
    began_ms: u64,
    is_made: bool,
    // There may be bytes behind those that are synced.
    is_dirty: bool,
}

/// Lines on their way to disk.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    chain: Option<Chain>,
    records: u64,
    // How much of the queue they are.
    queued: u64,
    is_signed: bool,
    then: Then,
}

/// What follows a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Then {
    #[default]
    Nothing,
    /// The segment is closed.
    Close,
    /// The oldest segment goes.
    Remove(u64),
}

#[derive(Debug)]
struct Trouble {
    retry_at_ms: u64,
}

impl<S: Storage> Writer<S> {
    /// Goes on where the chain in `storage` ended, or begins it. Nothing is written yet.
    ///
    /// # Errors
    /// When segments that are there cannot be read.
    pub(crate) fn open(
        mut storage: S,
        keeping: Keeping,
        key: SigningKey,
        lanes: Arc<Lanes>,
        who: &Who,
        now_ms: u64,
    ) -> io::Result<Self> {
        let mut found = storage.list()?;
        found.sort_by_key(|found| found.number);
        let mut tail = None;
        for found in found.iter().rev() {
            tail = tail::of(&storage, *found)?.map(|tail| (*found, tail));
            if tail.is_some() {
                break;
            }
        }
        let last = found.pop();
        let mut cut_bytes = 0;
        let mut segment = Segment {
            number: last.map_or(1, |last| last.number),
            bytes: 0,
            began_ms: now_ms,
            is_made: last.is_some(),
            is_dirty: last.is_some(),
        };
        if let Some(last) = last {
            match tail {
                Some((of, tail)) if of.number == last.number => {
                    segment.bytes = tail.whole_bytes;
                    segment.began_ms = tail::began_ms(&storage, last.number).unwrap_or(now_ms);
                }
                Some((of, tail)) if tail.whole_bytes < of.bytes => {
                    cut_bytes += of.bytes - tail.whole_bytes;
                    storage.truncate(of.number, tail.whole_bytes)?;
                }
                _ => {}
            }
            cut_bytes += last.bytes - segment.bytes;
        }
        let is_stopped = tail.is_none_or(|(_, tail)| tail.summary.is_stopped);
        let chain = tail.map_or_else(
            || Chain::new(Digest::ZERO),
            |(_, tail)| Chain::after(&tail.summary),
        );
        // What a crash has left unsigned is signed with the next checkpoint.
        let is_signed = |summary: Summary| {
            let signed = summary.signed.map(|signed| signed.sequence);
            signed == Some(summary.sequence)
        };
        let unsigned = u64::from(tail.is_some_and(|(_, tail)| !is_signed(tail.summary)));
        let mut writer = Self {
            storage,
            keeping,
            key,
            lanes,
            counters: Counters::new(),
            facts: Arc::default(),
            chain,
            segment,
            older: found.into(),
            unsigned,
            unsigned_since_ms: now_ms,
            pending: VecDeque::new(),
            at: 0,
            lost: Lost::default(),
            batch: Batch::default(),
            trouble: None,
            removals: Vec::new(),
            is_ending: false,
        };
        if cut_bytes > 0 || !is_stopped {
            tracing::warn!(cut_bytes, "audit records did not end in good order");
            writer.own(&Record::Recovered(Recovered {
                unix_ms: now_ms,
                cut_bytes,
            }));
        }
        writer.own(&Record::Started(Started {
            unix_ms: now_ms,
            node: Text::of(&who.node),
            software: Text::of(&who.software),
        }));
        writer.tell();
        Ok(writer)
    }

    pub(crate) fn facts(&self) -> Arc<Mutex<Facts>> {
        Arc::clone(&self.facts)
    }

    /// Writes what is queued, if anything is, and whatever else is due.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.removals
            .retain(|number| self.storage.remove(*number).is_err());
        let waits = self
            .trouble
            .as_ref()
            .is_some_and(|trouble| now_ms < trouble.retry_at_ms);
        if !waits {
            let lost = self.lanes.take(|bodies| self.pending.push_back(bodies));
            self.lost = self.lost.and(lost);
            self.write_all(now_ms);
        }
        self.counters.lost.absolute(self.lanes.lost());
        self.counters.queue.set(as_gauge(self.lanes.queued()));
    }

    /// Writes what is queued and the record of the stop, signed; records that cannot be written now are lost, and how
    /// many bytes of them is told.
    pub(crate) fn finish(&mut self, now_ms: u64) -> u64 {
        self.trouble = None;
        self.tick(now_ms);
        if self.trouble.is_none() {
            self.own(&Record::Stopped(Stopped { unix_ms: now_ms }));
            self.is_ending = true;
            self.write_all(now_ms);
        }
        self.lanes.queued()
    }

    fn write_all(&mut self, now_ms: u64) {
        loop {
            if self.batch.is_empty() {
                self.fill(now_ms);
            }
            if self.batch.is_empty() {
                return;
            }
            if let Err(error) = self.commit(now_ms) {
                self.stuck(&error, now_ms);
                return;
            }
            self.written(now_ms);
        }
    }

    // Puts the next batch together.
    fn fill(&mut self, now_ms: u64) {
        let mut chain = self.chain;
        let mut batch = std::mem::take(&mut self.batch);
        let age = now_ms.saturating_sub(self.segment.began_ms);
        let is_full = self.segment.bytes >= self.keeping.segment_bytes
            || (self.segment.bytes > 0 && age >= self.keeping.segment_ms);
        if is_full {
            if self.unsigned > 0 {
                self.sign(&mut chain, &mut batch, now_ms);
            }
            batch.then = Then::Close;
            batch.chain = Some(chain);
            self.batch = batch;
            return;
        }
        if let Some(removed) = self.oldest_to_remove(now_ms) {
            batch.then = Then::Remove(removed.segment);
            batch.append(&mut chain, &Record::SegmentRemoved(removed));
        }
        let left = self.keeping.segment_bytes - self.segment.bytes;
        let most = usize::try_from(left).map_or(BATCH_BYTES_MAX, |left| left.min(BATCH_BYTES_MAX));
        while batch.lines.len() < most {
            let Some(bodies) = self.pending.front() else {
                break;
            };
            let rest = bodies.get(self.at..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest) else {
                self.pending.pop_front();
                self.at = 0;
                continue;
            };
            chain.append_body(rest.get(..length).unwrap_or_default(), &mut batch.lines);
            batch.records += 1;
            batch.queued += bytes(length) + 1;
            self.at += length + 1;
        }
        let is_drained = self.pending.is_empty();
        if is_drained && self.lost.count > 0 {
            let lost = std::mem::take(&mut self.lost);
            batch.append(
                &mut chain,
                &Record::Gap(Gap {
                    unix_ms: now_ms,
                    since_unix_ms: lost.since_unix_ms,
                    lost: lost.count,
                }),
            );
        }
        let unsigned = self.unsigned + batch.records;
        let since = now_ms.saturating_sub(self.unsigned_since_ms);
        let is_old = self.unsigned > 0 && since >= CHECKPOINT_MS;
        if unsigned >= CHECKPOINT_RECORDS
            || is_old
            || (self.is_ending && is_drained && unsigned > 0)
        {
            self.sign(&mut chain, &mut batch, now_ms);
        }
        batch.chain = Some(chain);
        self.batch = batch;
    }

    fn sign(&self, chain: &mut Chain, batch: &mut Batch, now_ms: u64) {
        let checkpoint = self
            .key
            .checkpoint(chain.sequence() + 1, chain.last(), now_ms);
        batch.append(chain, &Record::Checkpoint(checkpoint));
        batch.is_signed = true;
    }

    fn oldest_to_remove(&self, now_ms: u64) -> Option<SegmentRemoved> {
        let oldest = *self.older.front()?;
        let is_old = now_ms.saturating_sub(oldest.unix_ms) >= self.keeping.keep_ms;
        if self.kept_bytes() <= self.keeping.keep_bytes && !is_old {
            return None;
        }
        // A segment that cannot be read any more goes all the same; what follows it then lacks its beginning.
        let summary = tail::of(&self.storage, oldest).ok().flatten();
        let summary = summary.map(|tail| tail.summary);
        Some(SegmentRemoved {
            unix_ms: now_ms,
            segment: oldest.number,
            last_sequence: summary.map_or(0, |summary| summary.sequence),
            last: summary.map_or(Digest::ZERO, |summary| summary.last),
        })
    }

    fn kept_bytes(&self) -> u64 {
        let older = self.older.iter().map(|found| found.bytes);
        older.fold(self.segment.bytes, u64::saturating_add)
    }

    // Brings the batch to disk.
    fn commit(&mut self, now_ms: u64) -> io::Result<()> {
        if self.batch.lines.is_empty() && !self.segment.is_dirty {
            return Ok(());
        }
        let segment = &mut self.segment;
        if !segment.is_made {
            self.storage.create(segment.number)?;
            segment.is_made = true;
            segment.began_ms = now_ms;
        }
        if segment.is_dirty {
            self.storage.truncate(segment.number, segment.bytes)?;
        }
        segment.is_dirty = true;
        self.storage
            .write(segment.number, segment.bytes, &self.batch.lines)?;
        // After a failed sync nobody knows what is on disk, and a second one would say that all is well: so the batch
        // is written again.
        self.storage.sync(segment.number)?;
        segment.is_dirty = false;
        Ok(())
    }

    // The batch is on disk.
    fn written(&mut self, now_ms: u64) {
        let batch = &mut self.batch;
        self.chain = batch.chain.take().unwrap_or(self.chain);
        self.segment.bytes += bytes(batch.lines.len());
        self.lanes.written(batch.queued);
        if batch.is_signed {
            self.unsigned = 0;
            self.counters.checkpoints.increment(1);
        } else {
            if self.unsigned == 0 {
                self.unsigned_since_ms = now_ms;
            }
            self.unsigned += batch.records;
        }
        self.counters.written.increment(batch.records);
        self.counters.bytes.increment(bytes(batch.lines.len()));
        let then = std::mem::take(&mut batch.then);
        batch.clear();
        match then {
            Then::Nothing => {}
            Then::Close => {
                self.older.push_back(Found {
                    number: self.segment.number,
                    bytes: self.segment.bytes,
                    unix_ms: now_ms,
                });
                self.segment = Segment {
                    number: self.segment.number + 1,
                    bytes: 0,
                    began_ms: now_ms,
                    is_made: false,
                    is_dirty: false,
                };
            }
            Then::Remove(number) => {
                self.older.pop_front();
                self.counters.removed.increment(1);
                if let Err(error) = self.storage.remove(number) {
                    tracing::warn!(%error, segment = number, "an audit segment cannot be removed; tried again");
                    self.removals.push(number);
                }
            }
        }
        if self.trouble.take().is_some() {
            tracing::info!("audit records are written again");
            self.lanes.set_stuck(false);
            self.counters.unwritable.set(0.0);
        }
        self.counters.last_write.set(as_gauge(now_ms / 1000));
        self.tell();
    }

    fn stuck(&mut self, error: &io::Error, now_ms: u64) {
        self.counters.failures.increment(1);
        if self.trouble.is_none() {
            tracing::error!(%error, segment = self.segment.number, "audit records cannot be written; tried again every second");
        }
        self.trouble = Some(Trouble {
            retry_at_ms: now_ms.saturating_add(RETRY_MS),
        });
        // Half a line at the end would make those who read meanwhile believe that the chain is broken. Where this fails
        // as well, the next try begins with it.
        let segment = &mut self.segment;
        if segment.is_made && segment.is_dirty {
            segment.is_dirty = self
                .storage
                .truncate(segment.number, segment.bytes)
                .is_err();
        }
        self.lanes.set_stuck(true);
        self.counters.unwritable.set(1.0);
        self.facts.lock().trouble = Some(error.to_string());
    }

    fn tell(&self) {
        let kept_bytes = self.kept_bytes();
        self.counters.kept.set(as_gauge(kept_bytes));
        *self.facts.lock() = Facts {
            segment: self.segment.number,
            sequence: self.chain.sequence(),
            digest: Some(self.chain.last()),
            kept_bytes,
            trouble: None,
        };
    }

    // A record of the writer itself, in turn behind what is queued.
    fn own(&mut self, record: &Record<'_>) {
        let mut body = Vec::new();
        write_body(record, &mut body);
        body.push(b'\n');
        self.lanes.take_room(bytes(body.len()));
        self.pending.push_back(body);
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.then == Then::Nothing
    }

    fn append(&mut self, chain: &mut Chain, record: &Record<'_>) {
        chain.append(record, &mut self.lines);
        self.records += 1;
    }

    // Keeps its memory.
    fn clear(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        *self = Self {
            lines,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod borders;
#[cfg(test)]
mod tests;
