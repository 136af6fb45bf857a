//! Where the store's one file lies: a folder that one process holds, and the seam at which crashes are tried out.
//!
//! What is in the file is redb's and the tables'.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;
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

/// A file, whoever keeps it.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Box<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

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
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| unusable(&error))?;
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
