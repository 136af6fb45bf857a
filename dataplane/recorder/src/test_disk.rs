//! A disk for tests: segments in memory, on which any step can fail, find no room, or be the last before a crash.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use crate::folder::{Found, Storage};
use crate::lanes::bytes;

/// Shared, so that a test looks at what a writer has left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Rc<RefCell<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    segments: BTreeMap<u64, Held>,
    steps: usize,
    fault: Option<Fault>,
    room: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    // What a crash leaves for certain.
    synced: Vec<u8>,
    // What the next sync brings to the disk: a sync that failed forgets it, and a later one does not find it again.
    unsynced: Range<usize>,
}

impl Held {
    fn touch(&mut self, touched: Range<usize>) {
        let Range { start, end } = self.unsynced.clone();
        self.unsynced = if start == end {
            touched
        } else {
            start.min(touched.start)..end.max(touched.end)
        };
    }

    fn sync(&mut self) {
        self.synced.resize(self.bytes.len(), 0);
        let end = self.unsynced.end.min(self.bytes.len());
        let range = self.unsynced.start.min(end)..end;
        self.synced[range.clone()].copy_from_slice(&self.bytes[range]);
        self.unsynced = 0..0;
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// At this step and later ones, nothing is done any more.
    Crash(usize),
    /// At this step only; a write has put half of it there.
    Once(usize),
}

/// What a crash leaves of bytes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    Nothing,
    Half,
    All,
    /// The length is that of all of it, and the bytes are zeros.
    Zeros,
}

impl Left {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Half, Self::All, Self::Zeros];
}

impl Disk {
    pub(crate) fn with(self, fault: Fault) -> Self {
        self.0.borrow_mut().fault = Some(fault);
        self
    }

    pub(crate) fn steps(&self) -> usize {
        self.0.borrow().steps
    }

    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.0.borrow_mut().room = room;
    }

    /// What is found after the machine has come up again.
    pub(crate) fn after_crash(&self, left: Left) -> Self {
        let mut segments = self.0.borrow().segments.clone();
        for held in segments.values_mut() {
            let same = held
                .bytes
                .iter()
                .zip(&held.synced)
                .take_while(|(a, b)| a == b)
                .count();
            held.bytes = match left {
                Left::Nothing => held.synced.clone(),
                Left::All => held.bytes.clone(),
                Left::Half => held.bytes[..same + (held.bytes.len() - same) / 2].to_vec(),
                Left::Zeros => {
                    let mut bytes = held.bytes.clone();
                    bytes[same..].fill(0);
                    bytes
                }
            };
            held.synced.clone_from(&held.bytes);
            held.unsynced = 0..0;
        }
        Self(Rc::new(RefCell::new(State {
            segments,
            ..State::default()
        })))
    }

    /// All segments, in order.
    pub(crate) fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let state = self.0.borrow();
        let all = state.segments.iter();
        all.map(|(number, held)| (*number, held.bytes.clone()))
            .collect()
    }

    pub(crate) fn append(&self, number: u64, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        let held = state.segments.entry(number).or_default();
        held.bytes.extend_from_slice(bytes);
        held.synced.clone_from(&held.bytes);
    }

    // Whether this step is done; else why not, and whether half of it is.
    fn step(&self) -> Result<(), (io::Error, bool)> {
        let mut state = self.0.borrow_mut();
        let step = state.steps;
        state.steps += 1;
        match state.fault {
            Some(Fault::Crash(at)) if step >= at => Err((io::Error::other("crashed"), step == at)),
            Some(Fault::Once(at)) if step == at => Err((io::ErrorKind::StorageFull.into(), true)),
            _ => Ok(()),
        }
    }

    fn change(
        &self,
        number: u64,
        act: impl FnOnce(&mut Held, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let step = self.step();
        let is_half = match &step {
            Ok(()) => false,
            Err((_, true)) => true,
            Err((_, false)) => return step.map_err(|(error, _)| error),
        };
        let mut state = self.0.borrow_mut();
        let held = state
            .segments
            .get_mut(&number)
            .ok_or(io::ErrorKind::NotFound)?;
        let acted = act(held, is_half);
        step.map_err(|(error, _)| error).and(acted)
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<Found>> {
        let state = self.0.borrow();
        // In any order, and not in the one that is handy.
        let found = state.segments.iter().rev().map(|(number, held)| Found {
            number: *number,
            bytes: bytes(held.bytes.len()),
            unix_ms: 0,
        });
        Ok(found.collect())
    }

    fn read(&self, number: u64, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let state = self.0.borrow();
        let held = state.segments.get(&number).ok_or(io::ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).unwrap().min(held.bytes.len());
        let rest = &held.bytes[offset..];
        Ok(rest[..most.min(rest.len())].to_vec())
    }

    fn create(&mut self, number: u64) -> io::Result<()> {
        // Its name may survive a step that has failed.
        let step = self.step();
        if !matches!(step, Err((_, false))) {
            self.0.borrow_mut().segments.entry(number).or_default();
        }
        step.map_err(|(error, _)| error)
    }

    fn truncate(&mut self, number: u64, length: u64) -> io::Result<()> {
        self.change(number, |held, is_half| {
            if !is_half {
                held.bytes.truncate(usize::try_from(length).unwrap());
            }
            Ok(())
        })
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = {
            let state = self.0.borrow();
            let used: usize = state.segments.values().map(|held| held.bytes.len()).sum();
            state.room.map(|room| room.saturating_sub(used))
        };
        self.change(number, |held, is_half| {
            let fits = room.map_or(bytes.len(), |room| room.min(bytes.len()));
            let part = if is_half { fits / 2 } else { fits };
            // What stands behind it stays, as on a real disk.
            let offset = usize::try_from(offset).unwrap();
            let end = offset + part;
            held.bytes.resize(held.bytes.len().max(end), 0);
            held.bytes[offset..end].copy_from_slice(&bytes[..part]);
            held.touch(offset..end);
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        self.change(number, |held, is_half| {
            if is_half {
                // As Linux does: pages that could not be written count as written from then on.
                held.unsynced = 0..0;
            } else {
                held.sync();
            }
            Ok(())
        })
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        self.step().map_err(|(error, _)| error)?;
        self.0.borrow_mut().segments.remove(&number);
        Ok(())
    }
}
