//! Segments as files: which there are, and their lines one by one, in bounded memory.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use adit_audit::limits::LINE_BYTES_MAX;
use adit_audit::segment;
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::FlockOperation;

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// The segments in `dir`, in their order.
pub(crate) fn segments(dir: &Path) -> Result<Vec<Segment>> {
    let place = || dir.display().to_string();
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).with_context(place)? {
        let path = entry.with_context(place)?.path();
        if let Some(segment) = named(path) {
            all.push(segment);
        }
    }
    if all.is_empty() {
        bail!(
            "{}: no segments are there; is it a node's audit folder?",
            place()
        );
    }
    all.sort_by_key(|segment| segment.number);
    Ok(all)
}

/// The segment that `path` is by its name.
pub(crate) fn named(path: PathBuf) -> Option<Segment> {
    let number = segment::number_of(path.file_name()?.to_str()?)?;
    Some(Segment { number, path })
}

/// Whether a node writes into `dir`.
pub(crate) fn is_live(dir: &Path) -> bool {
    // Held shared for no longer than this takes; a node that starts meanwhile asks again.
    let Ok(lock) = File::open(dir.join("lock")) else {
        return false;
    };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// The lines of one segment.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    path: PathBuf,
}

impl Lines {
    /// Opens a segment; `None` when it is gone: a node removes what is old while others read.
    pub(crate) fn open(segment: &Segment) -> Result<Option<Self>> {
        match File::open(&segment.path) {
            Ok(file) => Ok(Some(Self {
                reader: BufReader::with_capacity(256 * 1024, file),
                line: Vec::new(),
                path: segment.path.clone(),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow!(error).context(segment.path.display().to_string())),
        }
    }

    /// The next line with its line feed. What has none is the end of the file or longer than any line, of which the
    /// beginning is given.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let most = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut self.line)
            .with_context(|| self.path.display().to_string())?;
        Ok((!self.line.is_empty()).then_some(self.line.as_slice()))
    }
}
