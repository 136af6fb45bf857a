//! Ed25519 private keys in files: PKCS#8 (RFC 8410) in PEM, as openssl writes them, for their owner only.

use std::path::Path;

use adit_authority::pem;
use anyhow::{Context as _, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::safe_file::{self, Readers};

/// PKCS#8 (RFC 5958; RFC 8410, section 7) in front of the 32 bytes of an Ed25519 seed.
pub(crate) const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Makes a key in the file at `path`, which must not be there; gives back its PKCS#8.
pub(crate) fn make(path: &Path) -> Result<Vec<u8>> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|error| anyhow!("the system gave no random bytes: {error}"))?;
    let pkcs8 = [PKCS8_PREFIX.as_slice(), &seed].concat();
    safe_file::create(path, pem("PRIVATE KEY", &pkcs8).as_bytes(), Readers::Owner)?;
    Ok(pkcs8)
}

/// Reads the key at `path`, unless others can read it too; gives back its PKCS#8.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let place = || format!("{}: not a PEM private key", path.display());
    let text = safe_file::read_secret(path)?;
    let (_, inner) = text.split_once(&head("PRIVATE KEY")).with_context(place)?;
    let (inner, _) = inner.split_once(&tail("PRIVATE KEY")).with_context(place)?;
    let inner: String = inner.split_ascii_whitespace().collect();
    let der = STANDARD.decode(inner).ok().with_context(place)?;
    ensure!(!der.is_empty(), place());
    Ok(der)
}

fn head(label: &str) -> String {
    format!("-----BEGIN {label}-----")
}

fn tail(label: &str) -> String {
    format!("-----END {label}-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        assert_eq!(read(&path).ok(), None);
        let made = make(&path).unwrap();
        assert_eq!(read(&path).unwrap(), made);
        assert!(make(&path).is_err(), "and never overwritten");
        assert_eq!(read(&path).unwrap(), made);
    }

    #[test]
    fn what_is_no_private_key_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let public = pem("PUBLIC KEY", &[1; 44]);
        let cut = pem("PRIVATE KEY", &[1; 48]).replace("-----END", "");
        for content in [
            "",
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
            &public,
            &cut,
        ] {
            safe_file::replace(&path, content.as_bytes(), Readers::Owner).unwrap();
            let told = read(&path).unwrap_err().to_string();
            assert!(told.contains("key.pem: not a PEM private key"), "{told}");
        }
    }
}
