//! The key that signs rule sets, and its public half for the agents.

use std::path::Path;

use adit_authority::pem;
use adit_manifest::{KeyId, SigningKey};
use anyhow::{Context as _, Result};

use crate::private_key;
use crate::safe_file::{self, Readers};

/// Name of the key in its folder.
pub(crate) const KEY: &str = "signer-key.pem";

/// Name of the public half in the same folder.
pub(crate) const PUBLIC: &str = "signer.pem";

/// Makes a signer in `dir`.
pub(crate) fn init(dir: &Path) -> Result<KeyId> {
    safe_file::make_folder(dir)?;
    let key = SigningKey::from_pkcs8(&private_key::make(&dir.join(KEY))?)?;
    let pem = pem("PUBLIC KEY", &key.public().to_spki());
    safe_file::create(&dir.join(PUBLIC), pem.as_bytes(), Readers::Everybody)?;
    Ok(key.public().id())
}

/// Reads a signer's private key.
pub(crate) fn open(key: &Path) -> Result<SigningKey> {
    SigningKey::from_pkcs8(&private_key::read(key)?).with_context(|| key.display().to_string())
}
