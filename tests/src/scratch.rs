//! A folder of one test, gone with it. Short, because paths of unix sockets have at most 107 bytes.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The folder.
#[derive(Debug)]
pub struct Scratch(Option<TempDir>);

impl Scratch {
    /// Makes a folder. With `ADIT_TEST_KEEP` set it stays, for whoever looks for the reason.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("adit-").tempdir();
        Self(Some(
            dir.expect("the system has a folder for temporary files"),
        ))
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0
            .as_ref()
            .map_or_else(|| Path::new("/nonexistent"), TempDir::path)
    }

    /// Where `name` lies in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes `name` and says where it is. Folders on the way are made.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder of the test can be made");
        }
        std::fs::write(&path, content).expect("a file of the test can be written");
        path
    }

    /// Reads `name` as text.
    ///
    /// # Panics
    /// When it is not there or not UTF-8.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("ADIT_TEST_KEEP").is_some()
            && let Some(dir) = self.0.take()
        {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}
