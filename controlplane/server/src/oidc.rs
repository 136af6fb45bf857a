//! People of an identity provider: a token, and the keys that confirm it.
//!
//! The keys come from a file, or from the provider itself. Which groups are worth what is `people`'s.

mod fetch;
mod file;
mod keyring;
mod published;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use adit_people::Principal;
use adit_people::oidc::{OidcSettings, principal};

use file::KeyFile;
use published::Published;

/// The provider and its keys.
#[derive(Debug)]
pub(crate) struct Oidc {
    settings: OidcSettings,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    File(KeyFile),
    Published(Box<Published>),
}

impl Oidc {
    /// Keys of a file, read anew when it changes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn of_file(settings: OidcSettings, file: PathBuf) -> Result<Self, String> {
        let keys = Keys::File(KeyFile::open(file)?);
        Ok(Self { settings, keys })
    }

    /// Keys that the issuer publishes, believed by these roots or by the machine's. [`Self::keep`] fetches them.
    ///
    /// # Errors
    /// The issuer is no address, or there are no roots.
    pub(crate) fn of_issuer(settings: OidcSettings, roots: Option<&[u8]>) -> Result<Self, String> {
        let keys = Keys::Published(Box::new(Published::new(&settings.issuer, roots)?));
        Ok(Self { settings, keys })
    }

    /// Keeps the keys fresh, until it is dropped.
    pub(crate) async fn keep(&self) {
        match &self.keys {
            Keys::File(_) => std::future::pending().await,
            Keys::Published(keys) => keys.keep().await,
        }
    }

    /// Who a token is of. A key that is not known yet is asked for, once in a while.
    pub(crate) async fn principal(&self, token: &str, now: u64) -> Option<Principal> {
        let keys = match &self.keys {
            Keys::File(file) => Some(file.keys()),
            Keys::Published(keys) => keys.now(),
        };
        let refused = match keys.map(|keys| principal(token, &keys, now, &self.settings)) {
            Some(Ok(principal)) => return Some(principal),
            Some(Err(why)) => Some(why),
            None => None,
        };
        let wants_newer = refused.as_ref().is_none_or(|why| why.wants_newer_keys());
        if let (true, Keys::Published(published)) = (wants_newer, &self.keys)
            && let Some(keys) = published.newer().await
        {
            return match principal(token, &keys, now, &self.settings) {
                Ok(principal) => Some(principal),
                Err(why) => {
                    tracing::info!(%why, "a bearer token was refused");
                    None
                }
            };
        }
        match refused {
            Some(why) => tracing::info!(%why, "a bearer token was refused"),
            None => tracing::info!("a bearer token was refused: there are no keys of the issuer"),
        }
        None
    }
}
