//! Keys from a file, read anew when the file changes.
//!
//! Who fetches them is whoever writes the file: a timer with curl, a sidecar.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use adit_token::KeySet;
use adit_token::limits::JWKS_BYTES_MAX;
use parking_lot::Mutex;

/// The file, and what was read last.
#[derive(Debug)]
pub(super) struct KeyFile {
    file: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    keys: Arc<KeySet>,
    modified: Option<SystemTime>,
}

impl KeyFile {
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn open(file: PathBuf) -> Result<Self, String> {
        let read = Mutex::new(read(&file)?);
        Ok(Self { file, read })
    }

    /// The keys. A damaged file leaves the old ones; it is looked at again when it changes.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        let mut read = self.read.lock();
        let modified = modified(&self.file);
        if modified != read.modified {
            match self::read(&self.file) {
                Ok(new) => *read = new,
                Err(why) => {
                    tracing::error!(file = %self.file.display(), why, "the provider's new keys cannot be read; the old ones go on");
                    read.modified = modified;
                }
            }
        }
        Arc::clone(&read.keys)
    }
}

fn read(file: &PathBuf) -> Result<Read, String> {
    let modified = modified(file);
    let length = std::fs::metadata(file)
        .map_err(|error| error.to_string())?
        .len();
    if usize::try_from(length).is_ok_and(|length| length <= JWKS_BYTES_MAX) {
        let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
        let keys = KeySet::from_jwks(&bytes).map_err(|error| error.to_string())?;
        Ok(Read {
            keys: Arc::new(keys),
            modified,
        })
    } else {
        Err(format!(
            "has {length} bytes; at most {JWKS_BYTES_MAX} are read"
        ))
    }
}

fn modified(file: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}
