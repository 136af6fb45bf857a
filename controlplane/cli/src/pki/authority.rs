//! A certificate authority in a folder: `ca.pem` and `ca-key.pem`.
//!
//! Keys, certificates and names are left to `adit-authority`; files of nodes are written by `pki`.

use std::path::Path;
use std::time::Duration;

use adit_authority::{Identity, IssueError, Root, RootError, TrustDomain};
use anyhow::{Context as _, Result, anyhow, ensure};
use time::OffsetDateTime;

use crate::safe_file::{self, Readers};

/// Name of the authority's certificate in its folder.
pub(crate) const CERTIFICATE: &str = "ca.pem";

/// Name of the authority's key in its folder.
pub(crate) const KEY: &str = "ca-key.pem";

/// Makes an authority in `dir`; gives back the last moment of its certificate.
pub(crate) fn init(
    dir: &Path,
    trust_domain: &TrustDomain,
    days: u32,
    now: OffsetDateTime,
) -> Result<OffsetDateTime> {
    safe_file::make_folder(dir)?;
    let certificate = dir.join(CERTIFICATE);
    ensure!(
        !certificate.exists(),
        "{}: an authority is there already and is not overwritten; choose another folder",
        certificate.display()
    );
    let root = Root::new(trust_domain, life(days), now)?;
    safe_file::create(&dir.join(KEY), root.key_pem().as_bytes(), Readers::Owner)?;
    safe_file::create(
        &certificate,
        root.certificate_pem().as_bytes(),
        Readers::Everybody,
    )?;
    Ok(root.not_after())
}

/// An authority that can sign.
pub(crate) struct Authority {
    root: Root,
}

/// What a node needs to be known, as PEM.
pub(crate) struct Issued {
    pub(crate) spiffe_id: String,
    /// The node's certificate; the authority that signed it is a root, so the chain has one link.
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) roots: String,
    pub(crate) not_after: OffsetDateTime,
}

impl Authority {
    /// Opens the authority in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CERTIFICATE);
        let pem = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "{}: make an authority first with `adit pki init --dir {}`",
                path.display(),
                dir.display()
            )
        })?;
        let key_path = dir.join(KEY);
        let key = safe_file::read_secret(&key_path)?;
        let root = Root::from_pem(&pem, &key).map_err(|cause| refused(cause, &path, &key_path))?;
        Ok(Self { root })
    }

    /// Makes a key and signs its certificate, valid for `days` but not longer than the authority.
    pub(crate) fn issue(
        &self,
        identity: &Identity,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Issued> {
        let (issued, key) = self
            .root
            .issue_with_key(identity, life(days), now)
            .map_err(|cause| {
                if matches!(cause, IssueError::Ended { .. }) {
                    anyhow!("{cause}; make a new authority in another folder")
                } else {
                    anyhow!(cause)
                }
            })?;
        let end = i64::try_from(issued.not_after_unix_s)?;
        Ok(Issued {
            spiffe_id: issued.spiffe_id,
            certificate: issued.certificate_pem,
            key,
            roots: self.root.certificate_pem().to_owned(),
            not_after: OffsetDateTime::from_unix_timestamp(end)?,
        })
    }
}

/// Says which of the two files is meant.
fn refused(cause: RootError, certificate: &Path, key: &Path) -> anyhow::Error {
    let (certificate, key) = (certificate.display(), key.display());
    if cause == RootError::Key {
        anyhow!("{key} is {cause}")
    } else if cause == RootError::OtherKey {
        anyhow!("{certificate}: {key} is the key of another certificate")
    } else {
        anyhow!(cause).context(certificate.to_string())
    }
}

fn life(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

#[cfg(test)]
mod tests;
