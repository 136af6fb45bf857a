//! The folder that segments are in, and what is done to it: the seam at which crashes and full disks are tried out.
//!
//! What is written, and when, is the writer's.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use adit_audit::segment;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What is done to segments.
pub(crate) trait Storage {
    /// All segments there are, in any order.
    fn list(&self) -> io::Result<Vec<Found>>;
    /// At most `most` bytes of a segment from `offset` on; fewer only at its end.
    fn read(&self, number: u64, offset: u64, most: usize) -> io::Result<Vec<u8>>;
    /// Makes an empty segment; one that is there stays as it is. Returns when its name would survive a crash.
    fn create(&mut self, number: u64) -> io::Result<()>;
    /// Cuts a segment off at `length`.
    fn truncate(&mut self, number: u64, length: u64) -> io::Result<()>;
    /// Writes into a segment.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the bytes of a segment would survive a crash.
    fn sync(&mut self, number: u64) -> io::Result<()>;
    /// Removes a segment; one that is not there is removed.
    fn remove(&mut self, number: u64) -> io::Result<()>;
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    /// When it was written last.
    pub(crate) unix_ms: u64,
}

/// A real folder, ours alone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    // The one segment that is written.
    open: Option<(u64, File)>,
    // Held as long as records are written: two chains in one folder would be none.
    _lock: File,
}

impl Folder {
    /// Makes the folder if needed, and claims it.
    ///
    /// # Errors
    /// Why it cannot be used, with its path.
    pub(crate) fn claim(path: &Path) -> Result<Self, String> {
        let say = |what: &dyn fmt::Display| format!("audit.folder {}: {what}", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| say(&error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(|error| say(&error))?;
        for _ in 0..CLAIMS {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        open: None,
                        _lock: lock,
                    });
                }
                // `adit audit verify` may be looking whether somebody holds it, for a moment.
                Err(Errno::WOULDBLOCK) => std::thread::sleep(CLAIM_PAUSE),
                Err(error) => return Err(say(&error)),
            }
        }
        Err(say(
            &"another process writes there; give each node a folder of its own",
        ))
    }

    /// Where `name` lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn file(&mut self, number: u64) -> io::Result<&File> {
        if !matches!(&self.open, Some((open, _)) if *open == number) {
            let path = self.path.join(segment::file_name(number));
            let file = OpenOptions::new().write(true).open(path)?;
            self.open = Some((number, file));
        }
        match &self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::Error::other("no segment is open")),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// The segments in `folder`, in any order, whoever writes there.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(segment::number_of) else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed meanwhile, because it is old.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let age = metadata.modified()?.duration_since(UNIX_EPOCH);
        all.push(Found {
            number,
            bytes: metadata.len(),
            unix_ms: age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        });
    }
    Ok(all)
}

impl Storage for Folder {
    fn list(&self) -> io::Result<Vec<Found>> {
        list(&self.path)
    }

    fn read(&self, number: u64, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path.join(segment::file_name(number)))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, number: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(segment::file_name(number)))?;
        self.sync_names()?;
        self.open = Some((number, file));
        Ok(())
    }

    fn truncate(&mut self, number: u64, length: u64) -> io::Result<()> {
        self.file(number)?.set_len(length)
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(number)?.write_all_at(bytes, offset)
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        self.file(number)?.sync_data()
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path.join(segment::file_name(number))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => self.sync_names(),
        }
    }
}

/// Held by whoever writes; `adit audit verify` looks at it.
const LOCK: &str = "lock";
/// How often and how far apart a folder is asked for before it is another's.
const CLAIMS: u32 = 10;
const CLAIM_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folder_and_segments_are_their_owners_alone_and_one_process_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/audit");
        let mut folder = Folder::claim(&path).unwrap();
        folder.create(7).unwrap();
        folder.write(7, 0, b"one\ntwo\n").unwrap();
        folder.truncate(7, 4).unwrap();
        folder.sync(7).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("0000000007.jsonl")), 0o600);
        assert_eq!(mode(&path.join("lock")), 0o600);
        assert_eq!(folder.read(7, 1, 2).unwrap(), b"ne");
        let found = folder.list().unwrap();
        assert_eq!((found.len(), found[0].number, found[0].bytes), (1, 7, 4));
        let refused = Folder::claim(&path).unwrap_err();
        assert!(
            refused.contains("another process writes there"),
            "{refused}"
        );
        folder.remove(7).unwrap();
        folder.remove(7).unwrap();
        assert!(folder.list().unwrap().is_empty());
        drop(folder);
        Folder::claim(&path).unwrap();
    }
}
