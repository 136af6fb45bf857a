//! A disk that forgets what was not synced, can lose its power at any step, and can be full.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::embedded::file::Medium;

/// The disk; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    file: Option<Content>,
    draft: Option<Content>,
    /// The power went while the draft got the file's name.
    renaming: bool,
    /// Steps done: writes, changes of length, syncs, renames.
    steps: usize,
    fault: Option<Fault>,
    /// Pages that may be allocated in all.
    room: Option<usize>,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// From this step on nothing is done.
    PowerLost { at: usize },
    /// This step is not done, the others are. A sync that is not done forgets what it was for, as Linux does: later ones
    /// succeed, and what was written is read as if it were there, until the power goes.
    Once { at: usize, kind: io::ErrorKind },
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Step>,
    allocated: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// Which of the steps that were not synced reached the disk all the same.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    None,
    All,
    /// The first half.
    First,
    /// The second half.
    Last,
    /// All, but of the last write only some sectors.
    Torn,
    /// Whatever chance says.
    Some {
        seed: u64,
    },
}

impl Disk {
    pub(super) fn steps(&self) -> usize {
        self.0.lock().steps
    }

    pub(super) fn with(self, fault: Fault) -> Self {
        self.0.lock().fault = Some(fault);
        self
    }

    /// Pages that are allocated.
    pub(super) fn pages(&self) -> usize {
        let state = self.0.lock();
        state.file.as_ref().map_or(0, |file| file.allocated.len())
    }

    pub(super) fn set_room(&self, pages: Option<usize>) {
        self.0.lock().room = pages;
    }

    /// Changes a byte, as a bad disk does.
    pub(super) fn flip(&self, at: usize) {
        self.flip_bits(at, 0x10);
    }

    /// Changes some bits of a byte.
    pub(super) fn flip_bits(&self, at: usize, bits: u8) {
        let mut state = self.0.lock();
        let file = state.file.as_mut().unwrap();
        file.now[at] ^= bits;
        file.durable[at] ^= bits;
    }

    /// Cuts the file off.
    pub(super) fn cut(&self, length: usize) {
        let mut state = self.0.lock();
        let file = state.file.as_mut().unwrap();
        file.now.truncate(length);
        file.durable.truncate(length);
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().file.as_ref().unwrap().now.clone()
    }

    /// Where `bytes` stand in the file.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<usize> {
        let state = self.0.lock();
        let file = &state.file.as_ref().unwrap().now;
        let windows = file.windows(bytes.len()).enumerate();
        windows
            .filter(|(_, window)| *window == bytes)
            .map(|(at, _)| at)
            .collect()
    }

    /// The disk as it is found when the power is back.
    pub(super) fn after_power_loss(&self, kept: Kept) -> Self {
        let state = self.0.lock();
        let renamed = state.renaming && !matches!(kept, Kept::None | Kept::First);
        let from = if renamed { &state.draft } else { &state.file };
        let file = from.as_ref().map(|content| content.found(kept));
        Self(Arc::new(Mutex::new(State {
            file,
            ..State::default()
        })))
    }
}

impl Content {
    fn found(&self, kept: Kept) -> Self {
        let mut found = self.durable.clone();
        let count = self.unsynced.len();
        let mut chance = fastrand::Rng::with_seed(match kept {
            Kept::Some { seed } => seed,
            Kept::None | Kept::All | Kept::First | Kept::Last | Kept::Torn => 0,
        });
        for (number, step) in self.unsynced.iter().enumerate() {
            let (reached, torn) = match kept {
                Kept::None => (false, false),
                Kept::All => (true, false),
                Kept::First => (number < count.div_ceil(2), false),
                Kept::Last => (number >= count / 2, false),
                Kept::Torn => (true, number + 1 == count),
                Kept::Some { .. } => (chance.bool(), chance.u8(..4) == 0),
            };
            if !reached {
                continue;
            }
            match step {
                Step::Length(length) => found.resize(*length, 0),
                Step::Write { at, bytes } if torn => {
                    // Sectors of 512 bytes arrive whole; which of them is not said.
                    for (sector, bytes) in bytes.chunks(512).enumerate() {
                        if chance.bool() {
                            put(&mut found, at + sector * 512, bytes);
                        }
                    }
                }
                Step::Write { at, bytes } => put(&mut found, *at, bytes),
            }
        }
        Self {
            now: found.clone(),
            allocated: (0..found.len().div_ceil(PAGE_BYTES)).collect(),
            durable: found,
            unsynced: Vec::new(),
        }
    }

    fn forget(&mut self) {
        // A length is the file system's own business, and written later.
        self.unsynced.retain(|step| matches!(step, Step::Length(_)));
    }

    fn sync(&mut self) {
        for step in self.unsynced.drain(..) {
            match step {
                Step::Length(length) => self.durable.resize(length, 0),
                Step::Write { at, bytes } => put(&mut self.durable, at, &bytes),
            }
        }
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// What becomes of a step.
enum Turn {
    Done,
    /// It was under way when the power went.
    Cut,
}

impl State {
    fn step(&mut self) -> io::Result<Turn> {
        let number = self.steps;
        self.steps += 1;
        match self.fault {
            Some(Fault::PowerLost { at }) if number == at => Ok(Turn::Cut),
            Some(Fault::PowerLost { at }) if number > at => Err(no_power()),
            Some(Fault::Once { at, kind }) if number == at => Err(kind.into()),
            Some(Fault::PowerLost { .. } | Fault::Once { .. }) | None => Ok(Turn::Done),
        }
    }

    fn sync(&mut self, draft: bool) -> io::Result<()> {
        let turn = self.step();
        let has_power = self.has_power();
        let content = self.content(draft)?;
        match turn {
            Ok(Turn::Done) => content.sync(),
            Ok(Turn::Cut) => return Err(no_power()),
            Err(error) => {
                if has_power {
                    content.forget();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn has_power(&self) -> bool {
        !matches!(self.fault, Some(Fault::PowerLost { at }) if self.steps > at)
    }

    fn content(&mut self, draft: bool) -> io::Result<&mut Content> {
        let content = if draft {
            &mut self.draft
        } else {
            &mut self.file
        };
        content
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is gone")
}

impl Medium for Disk {
    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, redb::Error> {
        let state = self.0.lock();
        if !state.has_power() {
            return Err(redb::Error::Io(no_power()));
        }
        let file = state.file.as_ref().map(|_there| Handle {
            disk: self.clone(),
            draft: false,
        });
        Ok(file.map(|handle| {
            let handle: Box<dyn StorageBackend> = Box::new(handle);
            handle
        }))
    }

    fn draft(&self) -> Result<Box<dyn StorageBackend>, redb::Error> {
        self.0.lock().draft = Some(Content::default());
        Ok(Box::new(Handle {
            disk: self.clone(),
            draft: true,
        }))
    }

    fn publish(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.sync(true)?;
        match state.step()? {
            Turn::Done => state.file = state.draft.take(),
            Turn::Cut => {
                state.renaming = true;
                return Err(no_power());
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        "disk".to_owned()
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    draft: bool,
}

impl Handle {
    fn change(&self, step: Step) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let room = state.room;
        let turn = state.step()?;
        let content = state.content(self.draft)?;
        match &step {
            Step::Write { at, bytes } => {
                let pages = at / PAGE_BYTES..(at + bytes.len()).div_ceil(PAGE_BYTES);
                let new: Vec<usize> = pages
                    .filter(|page| !content.allocated.contains(page))
                    .collect();
                if room.is_some_and(|room| content.allocated.len() + new.len() > room) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                content.allocated.extend(new);
                put(&mut content.now, *at, bytes);
            }
            Step::Length(length) => {
                content.now.resize(*length, 0);
                let end = length.div_ceil(PAGE_BYTES);
                content.allocated.retain(|page| *page < end);
            }
        }
        content.unsynced.push(step);
        match turn {
            Turn::Done => Ok(()),
            Turn::Cut => Err(no_power()),
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.0.lock();
        let content = state.content(self.draft)?;
        Ok(u64::try_from(content.now.len()).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if !state.has_power() {
            return Err(no_power());
        }
        let content = state.content(self.draft)?;
        let at = usize::try_from(offset).unwrap();
        let found = content.now.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Step::Length(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.0.lock().sync(self.draft)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Step::Write {
            at: usize::try_from(offset).unwrap(),
            bytes: data.to_vec(),
        })
    }
}

const PAGE_BYTES: usize = 4096;
