//! Files that must never be half written, overwritten by accident or read by others.
//!
//! Knows modes, temporary names and `fsync`. What is in the files is left to the commands.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner: 0600.
    Owner,
    /// Everybody: 0644.
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// Makes `folder` and its parents, closed to others; one that is there stays as it is.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| folder.display().to_string())
}

/// A new file that holds nothing yet. It is gone again unless it is finished.
#[derive(Debug)]
pub(crate) struct Begun {
    file: File,
    path: PathBuf,
    is_finished: bool,
}

/// Makes a file that must not be there yet, before there is something to put into it.
pub(crate) fn begin(path: &Path, readers: Readers) -> Result<Begun> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(path)
        .map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                anyhow!(
                    "is there already and is not overwritten; choose another place or move it away"
                )
            } else {
                anyhow!(error)
            }
        })
        .with_context(|| path.display().to_string())?;
    Ok(Begun {
        file,
        path: path.to_owned(),
        is_finished: false,
    })
}

impl Begun {
    /// Puts all of it into the file.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> Result<()> {
        let place = || self.path.display().to_string();
        self.file.write_all(bytes).with_context(place)?;
        self.file.sync_all().with_context(place)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a file that must not be there yet.
pub(crate) fn create(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    begin(path, readers)?.finish(bytes)
}

/// Writes a file whether it is there or not; a reader sees the old bytes or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    let place = || path.display().to_string();
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".adit-")
        .permissions(Permissions::from_mode(readers.mode()))
        .tempfile_in(folder)
        .with_context(place)?;
    file.write_all(bytes).with_context(place)?;
    file.as_file().sync_all().with_context(place)?;
    file.persist(path).with_context(place)?;
    Ok(())
}

/// Reads a secret, unless others can read it too.
pub(crate) fn read_secret(path: &Path) -> Result<String> {
    let place = || path.display().to_string();
    let mode = fs::metadata(path).with_context(place)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{}: mode {mode:04o} lets others read this key; run `chmod 600 {}`, and replace the key \
             if they did",
            path.display(),
            path.display()
        );
    }
    fs::read_to_string(path).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_created_file_has_its_mode_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for (name, readers, expected) in [
            ("secret", Readers::Owner, 0o600),
            ("public", Readers::Everybody, 0o644),
        ] {
            let path = dir.path().join(name);
            create(&path, b"first", readers).unwrap();
            assert_eq!(mode(&path), expected);
            let refused = create(&path, b"second", readers).unwrap_err();
            assert!(format!("{refused:#}").contains("is there already"));
            assert_eq!(fs::read(&path).unwrap(), b"first");
        }
    }

    #[test]
    fn a_file_that_is_begun_is_ours_at_once_and_gone_if_it_is_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let begun = begin(&path, Readers::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(begin(&path, Readers::Owner).is_err());
        drop(begun);
        assert!(!path.exists());
        begin(&path, Readers::Owner).unwrap().finish(b"x").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert!(begin(&dir.path().join("nowhere/token"), Readers::Owner).is_err());
    }

    #[test]
    fn a_replaced_file_has_its_mode_even_if_the_old_one_had_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        replace(&path, b"new", Readers::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_folder_is_made_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        make_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        make_folder(&folder).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"secret", Readers::Owner).unwrap();
        assert_eq!(read_secret(&path).unwrap(), "secret");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = read_secret(&path).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{refused}");
        }
    }
}
