//! The client certificate of whoever asks, and its key, from their files.
//!
//! What it is worth is the server's. The key stays in its file: a profile keeps where it is.

use std::fmt;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::shown::{now_unix_s, when};
use crate::ending::Failure;
use crate::safe_file;

/// A certificate that has not ended, with its chain and its key.
pub(crate) struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) place: String,
    /// Its last second.
    pub(crate) until_unix_s: u64,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Reads both, PEM; the leaf comes first.
    ///
    /// # Errors
    /// One is not there, is something else, or has ended; or others can read the key.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let place = certificate.display().to_string();
        let wrong = |why: &dyn fmt::Display| Failure::config(format!("{place}: {why}"));
        let pem = std::fs::read(certificate).map_err(|error| wrong(&error))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&error))?;
        let until_unix_s = chain
            .first()
            .and_then(last_second)
            .ok_or_else(|| wrong(&"holds no certificate; give yours in PEM form"))?;
        if until_unix_s < now_unix_s() {
            let ended = when(until_unix_s);
            return Err(wrong(&format!(
                "the certificate ended at {ended}; put the next one there"
            )));
        }
        let text = safe_file::read_secret(key)?;
        // The parser's words are not repeated: they are about a secret.
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_of_a_secret| {
            Failure::config(format!(
                "{}: holds no private key that is open, in PEM form",
                key.display()
            ))
        })?;
        Ok(Self {
            chain,
            key,
            place,
            until_unix_s,
        })
    }
}

fn last_second(leaf: &CertificateDer<'static>) -> Option<u64> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    u64::try_from(leaf.validity().not_after.timestamp()).ok()
}
