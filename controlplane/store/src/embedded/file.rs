//! Where the store's one file lies: a folder that one process holds, and the seam at which crashes are tried out.
//!
//! What is in the file is redb's and the tables'.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::OpenError;

/// What the store does to its folder.
pub(super) trait Medium: fmt::Debug + Send + Sync {
    /// The store's file, if it was ever published.
    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, redb::Error>;
    /// An empty file under another name; what was there under that name is gone.
    fn draft(&self) -> Result<Box<dyn StorageBackend>, redb::Error>;
    /// Gives the draft the store's name, and returns when that would survive a crash.
    fn publish(&self) -> io::Result<()>;
    /// What people call it.
    fn place(&self) -> String;
}

/// A file, whoever keeps it, of which redb believes nothing that it has not held against a checksum.
///
/// Of a file whose last commit had two phases redb takes what is stored of its free pages without a look at a checksum,
/// and what has rotted there is a panic, or a page given away twice. So the first time it reads the header it does not find
/// the flag that says so, holds every page that counts against its checksum, and counts the free ones itself.
///
/// Not so after a sync that has failed: what is read then is what was written, on the disk or not, and its checksums are
/// right. The flag is what keeps a commit from being found that never got there.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn StorageBackend>,
    is_known: AtomicBool,
}

impl Backend {
    /// `is_known`: this process has held its pages against their checksums before.
    pub(super) fn of(file: Arc<dyn StorageBackend>, is_known: bool) -> Self {
        Self {
            file,
            is_known: AtomicBool::new(is_known),
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)?;
        if offset == 0
            && let Some(flags) = out.get_mut(FLAGS_AT)
            && !self.is_known.swap(true, Ordering::AcqRel)
        {
            *flags &= !TWO_PHASES;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// The byte of redb's header with its flags (redb docs/design.md, "Database header"), and the one for two phases.
const FLAGS_AT: usize = 9;
const TWO_PHASES: u8 = 4;

/// The newest revision that was acknowledged, in a part of the file's first page that redb leaves alone.
///
/// One bit of redb's header says which of its two newest commits counts, and no checksum covers it; when it rots, the
/// commit before is there, whole, and nobody would know. Not synced: the next commit does that, and a mark of an earlier
/// revision is still right.
#[derive(Debug)]
pub(super) struct Mark(Arc<dyn StorageBackend>);

impl Mark {
    pub(super) fn of(file: Arc<dyn StorageBackend>) -> Self {
        Self(file)
    }

    /// The revision; `None` where none was marked, or the mark itself has rotted.
    pub(super) fn read(&self) -> Option<u64> {
        let mut bytes = [0; MARK_BYTES];
        self.0.read(MARK_AT, &mut bytes).ok()?;
        let (revision, sum) = bytes.split_first_chunk()?;
        (mark_sum(revision) == *sum).then(|| u64::from_be_bytes(*revision))
    }

    /// Marks a revision that is durable. That it cannot be written is told by the next commit, which meets it too.
    pub(super) fn write(&self, revision: u64) {
        let revision = revision.to_be_bytes();
        let bytes = [revision.as_slice(), mark_sum(&revision).as_slice()].concat();
        let _ = self.0.write(MARK_AT, &bytes);
    }
}

fn mark_sum(revision: &[u8; 8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(digest(&SHA256, revision).as_ref());
    sum
}

/// Behind redb's header of 320 bytes, and before its second page of at least 4096.
const MARK_AT: u64 = 2048;
const MARK_BYTES: usize = 8 + SHA256_OUTPUT_LEN;

/// A real folder, ours alone.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    // Held for the life of the store: two servers on one file would each believe the other's writes to be damage.
    _lock: File,
}

impl Folder {
    /// Makes the folder if needed, and claims it.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error: &dyn fmt::Display| OpenError::Unusable {
            folder: path.to_owned(),
            why: error.to_string(),
        };
        if !path.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| unusable(&error))?;
            // What is acknowledged is in a folder that a crash must not take away.
            if let Some(parent) = path.parent().and_then(|parent| File::open(parent).ok()) {
                parent.sync_all().map_err(|error| unusable(&error))?;
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(|error| unusable(&error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(Errno::WOULDBLOCK) => Err(OpenError::InUse {
                folder: path.to_owned(),
            }),
            Err(error) => Err(unusable(&error)),
        }
    }
}

impl Medium for Folder {
    fn open(&self) -> Result<Option<Box<dyn StorageBackend>>, redb::Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(FILE));
        match file {
            Ok(file) => Ok(Some(Box::new(FileBackend::new(file)?))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(redb::Error::Io(error)),
        }
    }

    fn draft(&self) -> Result<Box<dyn StorageBackend>, redb::Error> {
        let path = self.path.join(DRAFT);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(redb::Error::Io(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(redb::Error::Io)?;
        Ok(Box::new(FileBackend::new(file)?))
    }

    fn publish(&self) -> io::Result<()> {
        let draft = self.path.join(DRAFT);
        File::open(&draft)?.sync_all()?;
        fs::rename(draft, self.path.join(FILE))?;
        File::open(&self.path)?.sync_all()
    }

    fn place(&self) -> String {
        self.path.join(FILE).display().to_string()
    }
}

const FILE: &str = "store.redb";
const DRAFT: &str = "store.new";
const LOCK: &str = "lock";
