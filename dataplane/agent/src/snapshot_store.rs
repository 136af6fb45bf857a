//! The last good snapshot on disk: written so that a crash leaves the old one or the new one.
//!
//! `snapshot.toml` holds the rules behind one comment line with version, size and hash;
//! `snapshot.prev.toml` the ones before. A file that does not match its line is torn, and the one before
//! is used. What the rules mean is `policy`'s; when to write is `subscription`'s.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use adit_audit::Digest;
use adit_policy::limits::RULES_TEXT_BYTES_MAX;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What the store does to its folder; the seam at which crashes are tried out.
pub(crate) trait Storage {
    /// The whole file; `None` when there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes the file anew and returns when its bytes would survive a crash.
    fn write_through(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Renames within the folder, over what may be there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when renames would survive a crash.
    fn sync(&self) -> io::Result<()>;
}

/// Rules as they were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) text: String,
}

/// What was found at start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stored: Option<Stored>,
    /// What is wrong with files that are there, a line each.
    pub(crate) damage: Vec<String>,
    /// A file is of a later format than this program reads, and is not to be written over.
    pub(crate) is_later: bool,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store<S> {
    storage: S,
}

impl<S: Storage> Store<S> {
    pub(crate) fn new(storage: S) -> Self {
        Self { storage }
    }

    /// The newest snapshot that is whole.
    pub(crate) fn load(&self) -> Found {
        let mut damage = Vec::new();
        for name in [CURRENT, PREVIOUS] {
            let read = self
                .storage
                .read(name)
                .map_err(|error| Unread::Torn(error.to_string()));
            match read.and_then(|bytes| bytes.map(|bytes| parse(&bytes)).transpose()) {
                Ok(Some(stored)) => {
                    return Found {
                        stored: Some(stored),
                        damage,
                        is_later: false,
                    };
                }
                Ok(None) => {}
                Err(Unread::Torn(why)) => damage.push(format!("{name}: {why}")),
                Err(Unread::Later(format)) => {
                    // The one before is older than what its writer had in force.
                    return Found {
                        stored: None,
                        damage: vec![format!(
                            "{name} has format {format}, and this version of aditd reads {FORMAT}; start the newer one \
                             again, or move the file away to begin without rules"
                        )],
                        is_later: true,
                    };
                }
            }
        }
        Found {
            stored: None,
            damage,
            is_later: false,
        }
    }

    /// Stores `text` as `version`. After an error the old snapshot is the one that is found.
    ///
    /// # Errors
    /// What the file system says, and to what.
    pub(crate) fn save(&self, version: u64, text: &str) -> Result<(), SaveError> {
        let at = |name: &'static str| move |error: io::Error| SaveError { name, error };
        let had = matches!(self.storage.read(CURRENT), Ok(Some(bytes)) if parse(&bytes).is_ok());
        self.storage
            .write_through(NEXT, &written(version, text))
            .map_err(at(NEXT))?;
        if had {
            // A torn file never takes the place of the whole one before it.
            self.storage
                .rename(CURRENT, PREVIOUS)
                .map_err(at(PREVIOUS))?;
        }
        let placed = self
            .storage
            .rename(NEXT, CURRENT)
            .and_then(|()| self.storage.sync())
            .map_err(at(CURRENT));
        if placed.is_err() {
            // What was refused must not come to life at the next start. Whatever of this fails as well,
            // the file before is found.
            let _ = self.storage.rename(CURRENT, NEXT);
            if had {
                let _ = self.storage.rename(PREVIOUS, CURRENT);
            }
            let _ = self.storage.sync();
        }
        placed
    }
}

/// A snapshot could not be stored.
#[derive(Debug)]
pub(crate) struct SaveError {
    name: &'static str,
    error: io::Error,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written: {}", self.name, self.error)
    }
}

impl std::error::Error for SaveError {}

fn written(version: u64, text: &str) -> Vec<u8> {
    let line = format!(
        "{MARK} version={version} bytes={} sha256={} format={FORMAT}",
        text.len(),
        hash(text)
    );
    let mut bytes = format!("{line}{LINE_SUM}{}\n", hash(&line)).into_bytes();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Why a file is not used.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Torn(String),
    /// Its format.
    Later(u64),
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Torn(why)
    }
}

fn parse(bytes: &[u8]) -> Result<Stored, Unread> {
    let torn = || Unread::Torn("is torn: it does not match its first line".to_owned());
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(torn)?;
    let (line, rest) = bytes.split_at_checked(end).ok_or_else(torn)?;
    let line = std::str::from_utf8(line).map_err(|_not_text| torn())?;
    // Before all else: a number that rotted may be any number. Earlier versions wrote none.
    if let Some((summed, sum)) = line.rsplit_once(LINE_SUM)
        && sum != hash(summed)
    {
        return Err(torn());
    }
    let text = rest.get(1..).unwrap_or_default();
    let text = String::from_utf8(text.to_vec()).map_err(|_not_text| torn())?;
    let mut words = line
        .strip_prefix(MARK)
        .ok_or_else(|| "was not written by an agent: its first line is missing".to_owned())?
        .split_whitespace();
    // First: what else a later format says, nobody knows here. The first one had no number.
    let format = words.clone().find_map(|word| word.strip_prefix("format="));
    let format = format.map_or(Ok(FORMAT), |number| {
        number.parse().map_err(|_not_one| torn())
    })?;
    if format > FORMAT {
        return Err(Unread::Later(format));
    }
    let mut word = |name: &str| {
        words
            .next()
            .and_then(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let version = word("version")
        .and_then(|number| number.parse::<u64>().ok())
        .ok_or_else(torn)?;
    let length = word("bytes")
        .and_then(|number| number.parse::<usize>().ok())
        .ok_or_else(torn)?;
    let sum = word("sha256").ok_or_else(torn)?;
    if length != text.len() || sum != hash(&text) {
        return Err(torn());
    }
    Ok(Stored { version, text })
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

/// A real folder, ours alone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    // Held for the life of the agent: two agents on one folder would overwrite each other's rules.
    _lock: File,
}

impl Folder {
    /// Makes the folder if needed, and claims it.
    ///
    /// # Errors
    /// Why it cannot be used, with its path.
    pub(crate) fn claim(path: &Path) -> Result<Self, String> {
        let say = |what: &dyn fmt::Display| format!("agent.state {}: {what}", path.display());
        fs::DirBuilder::new()
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
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(Errno::WOULDBLOCK) => Err(say(
                &"another agent uses it; give each agent its own folder",
            )),
            Err(error) => Err(say(&error)),
        }
    }
}

impl Storage for Folder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        Ok(Some(bytes))
    }

    fn write_through(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        // Made anew instead of truncated, so that its mode is ours and nobody holds it open.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

const CURRENT: &str = "snapshot.toml";
const PREVIOUS: &str = "snapshot.prev.toml";
const NEXT: &str = "snapshot.next.toml";
const LOCK: &str = "lock";
/// The format that this code writes, and the newest it reads. Words of the first line that are not known are passed over:
/// one whose loss would matter raises the number.
const FORMAT: u64 = 1;
/// Stands before the hash of what is before it in the first line, in every format.
const LINE_SUM: &str = " line=";
/// Begins every file; a TOML comment, so that the file is a rule set as it stands.
const MARK: &str = "# adit snapshot";
/// Bytes of a stored file: the largest rule set and its first line. Held once at start.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024 + 512;

const _: () = assert!(
    RULES_TEXT_BYTES_MAX == 128 * 1024 * 1024,
    "the store holds what policy reads"
);

#[cfg(test)]
mod tests;
