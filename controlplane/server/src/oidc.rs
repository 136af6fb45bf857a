//! People of an identity provider: its keys from a file, read anew when the file changes.
//!
//! Who fetches the keys is whoever writes the file (a timer with curl, a sidecar): the server dials nobody. Which groups
//! are worth what is `people`'s.

use std::path::PathBuf;
use std::time::SystemTime;

use adit_people::Principal;
use adit_people::oidc::{OidcSettings, principal};
use adit_token::KeySet;
use parking_lot::Mutex;

/// The provider and its keys.
#[derive(Debug)]
pub(crate) struct Oidc {
    settings: OidcSettings,
    file: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    keys: KeySet,
    modified: Option<SystemTime>,
}

impl Oidc {
    /// Reads the keys.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn open(settings: OidcSettings, file: PathBuf) -> Result<Self, String> {
        let (keys, modified) = read(&file)?;
        Ok(Self {
            settings,
            file,
            read: Mutex::new(Read { keys, modified }),
        })
    }

    /// Who a token is of.
    pub(crate) fn principal(&self, token: &str, now: u64) -> Option<Principal> {
        let mut read = self.read.lock();
        let modified = modified(&self.file);
        if modified != read.modified {
            // A damaged file leaves the old keys; they are looked at again when it changes.
            match self::read(&self.file) {
                Ok((keys, at)) => *read = Read { keys, modified: at },
                Err(why) => {
                    tracing::error!(file = %self.file.display(), why, "the provider's new keys cannot be read; the old ones go on");
                    read.modified = modified;
                }
            }
        }
        match principal(token, &read.keys, now, &self.settings) {
            Ok(principal) => Some(principal),
            Err(why) => {
                tracing::info!(%why, "a bearer token was refused");
                None
            }
        }
    }
}

fn read(file: &PathBuf) -> Result<(KeySet, Option<SystemTime>), String> {
    let modified = modified(file);
    let length = std::fs::metadata(file)
        .map_err(|error| error.to_string())?
        .len();
    if length > JWKS_BYTES_MAX {
        return Err(format!(
            "has {length} bytes; at most {JWKS_BYTES_MAX} are read"
        ));
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let keys = KeySet::from_jwks(&bytes).map_err(|error| error.to_string())?;
    Ok((keys, modified))
}

fn modified(file: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

/// Bytes of a key file that are read: what the verifier takes.
const JWKS_BYTES_MAX: u64 = 256 * 1024;
