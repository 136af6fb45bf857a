//! The segments of a node as a source: what the recorder has synced, and a small file that says how far a sink has come.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_audit::limits::LINE_BYTES_MAX;
use adit_audit::segment;

use crate::limits::BATCH_BYTES_MAX;
use crate::place::{Hint, Lines, Place, Pushed, Source, Trouble};

/// The number of the last record that is on disk for good.
pub(crate) type Written = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;

/// Segments of one folder, for one sink.
pub(crate) struct FolderSource {
    folder: PathBuf,
    sink: &'static str,
    written: Written,
}

impl FolderSource {
    pub(crate) fn new(folder: &Path, sink: &'static str, written: Written) -> Self {
        Self {
            folder: folder.to_owned(),
            sink,
            written,
        }
    }

    fn place_file(&self) -> PathBuf {
        self.folder.join(format!("forwarded-{}.json", self.sink))
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            numbers.extend(entry?.file_name().to_str().and_then(segment::number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn window(&self, at: Hint, most: usize) -> io::Result<Option<Vec<u8>>> {
        let path = self.folder.join(segment::file_name(at.segment));
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(at.offset))?;
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Before the first line of a segment, where one can be read.
    fn first(&self, number: u64) -> io::Result<Option<Place>> {
        let at = Hint {
            segment: number,
            offset: 0,
        };
        let Some(window) = self.window(at, LINE_BYTES_MAX)? else {
            return Ok(None);
        };
        let line = window.split_inclusive(|byte| *byte == b'\n').next();
        let place = line.and_then(Place::before);
        Ok(place.map(|place| Place {
            hint: Some(at),
            ..place
        }))
    }

    // Where to look for what follows record `sequence`: the last segment that begins at it or before it, else the oldest.
    fn locate(&self, sequence: u64) -> io::Result<Option<Hint>> {
        let mut oldest = None;
        for number in self.segments()?.into_iter().rev() {
            // Also where its first line has rotted: what stands behind that is to be had.
            oldest = Some(Hint {
                segment: number,
                offset: 0,
            });
            let first = self.first(number)?;
            if first.is_some_and(|first| first.sequence <= sequence) {
                break;
            }
        }
        Ok(oldest)
    }

    fn next_segment(&self, number: u64) -> io::Result<Option<Hint>> {
        let next = self.segments()?.into_iter().find(|next| *next > number);
        Ok(next.map(|segment| Hint { segment, offset: 0 }))
    }

    fn lines(&self, after: &Place, lines: &mut Lines) -> Result<(), Trouble> {
        let start = match after.hint {
            Some(hint) if self.is_there(hint) => Some(hint),
            _ => self
                .locate(after.sequence)
                .map_err(|error| self.say(&error))?,
        };
        let Some(mut at) = start else {
            return Ok(());
        };
        loop {
            let Some(window) = self.window(at, WINDOW).map_err(|error| self.say(&error))? else {
                // Removed under our eyes: what is left of the batch is told as a gap the next time.
                return Ok(());
            };
            let mut moved = false;
            for line in window.split_inclusive(|byte| *byte == b'\n') {
                if !line.ends_with(b"\n") && line.len() < LINE_BYTES_MAX {
                    break;
                }
                let next = Hint {
                    segment: at.segment,
                    offset: at.offset + u64::try_from(line.len()).unwrap_or(u64::MAX),
                };
                if lines.push_from(line, Some(next))? == Pushed::Full {
                    return Ok(());
                }
                at = next;
                moved = true;
            }
            if moved {
                continue;
            }
            match self
                .next_segment(at.segment)
                .map_err(|error| self.say(&error))?
            {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    fn is_there(&self, hint: Hint) -> bool {
        self.folder.join(segment::file_name(hint.segment)).exists()
    }

    fn say(&self, error: &io::Error) -> Trouble {
        Trouble::Unreadable(format!("{}: {error}", self.folder.display()))
    }

    fn save(&self, place: &Place) -> io::Result<()> {
        let path = self.place_file();
        let next = path.with_extension("next");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        file.write_all(&serde_json::to_vec(place)?)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Source for FolderSource {
    const LOOK_EVERY: Duration = Duration::from_millis(250);

    async fn load(&mut self) -> Result<Option<Place>, Trouble> {
        let path = self.place_file();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| self.say(&error))?,
        };
        let place = serde_json::from_slice(&bytes);
        if let Err(error) = &place {
            tracing::warn!(path = %path.display(), %error, "what a sink has is not known; all there is goes out again");
        }
        Ok(place.ok())
    }

    async fn oldest(&mut self) -> Result<Place, Trouble> {
        let numbers = self.segments().map_err(|error| self.say(&error))?;
        for number in numbers {
            if let Some(place) = self.first(number).map_err(|error| self.say(&error))? {
                return Ok(place);
            }
        }
        Ok(Place::START)
    }

    async fn read(&mut self, after: &Place) -> Result<Lines, Trouble> {
        // What is written and not synced may be gone after a crash, and others stand in its place.
        let head = (self.written)();
        let mut lines = Lines::behind(after, head)?;
        if head > after.sequence {
            self.lines(after, &mut lines)?;
        }
        Ok(lines)
    }

    async fn keep(&mut self, place: &Place) -> Result<(), Trouble> {
        self.save(place).map_err(|error| self.say(&error))
    }
}

/// Read at once: a batch, and the longest line behind it.
const WINDOW: usize = BATCH_BYTES_MAX + LINE_BYTES_MAX;

#[cfg(test)]
mod tests;
