//! The key of a node: made at the first start, and never shown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use adit_audit::SigningKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::folder::Folder;

/// Reads the key in `folder`, or makes it, and writes its public half beside it.
///
/// # Errors
/// Why there is none, with the file's path.
pub(crate) fn open(folder: &Folder) -> Result<SigningKey, String> {
    let path = folder.path(PRIVATE);
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let key = match fs::metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(say(&format!(
                    "mode {mode:04o} lets others read this key; remove it, and a new one is made"
                )));
            }
            let rotten = |why: &dyn std::fmt::Display| {
                say(&format!(
                    "{why}; put it back from a copy, or remove it, and a new one is made"
                ))
            };
            let pem = fs::read(&path).map_err(|error| say(&error))?;
            let der = PrivatePkcs8KeyDer::from_pem_slice(&pem)
                // What it says may hold a line of the key.
                .map_err(|_may_hold_it| rotten(&"holds no private key as PEM"))?;
            SigningKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|error| rotten(&error))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                .map_err(|_no_reason_told| say(&"the system has no randomness"))?;
            let key = SigningKey::from_pkcs8(der.as_ref()).map_err(|error| say(&error))?;
            write(&path, &pem("PRIVATE KEY", der.as_ref()), 0o600).map_err(|error| say(&error))?;
            key
        }
        Err(error) => return Err(say(&error)),
    };
    let public = folder.path(PUBLIC);
    // Whoever holds the private half can always make it again: so that it is missing stops nothing.
    let pem = pem("PUBLIC KEY", &key.public().to_spki());
    if fs::read(&public).is_ok_and(|found| found == pem.as_bytes()) {
        return Ok(key);
    }
    if let Err(error) = write(&public, &pem, 0o644) {
        tracing::warn!(path = %public.display(), %error, "the public half of the audit key is not written");
    }
    Ok(key)
}

// Whole or not at all: a crash leaves no half key.
fn write(path: &Path, pem: &str, mode: u32) -> io::Result<()> {
    let next = path.with_extension("next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&next)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

const PRIVATE: &str = "key.pem";
const PUBLIC: &str = "public.pem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_afterwards_unless_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::claim(dir.path()).unwrap();
        let made = open(&folder).unwrap();
        let path = dir.path().join(PRIVATE);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(open(&folder).unwrap().public(), made.public());
        let public = fs::read_to_string(dir.path().join(PUBLIC)).unwrap();
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
        fs::write(dir.path().join(PUBLIC), "of somebody else").unwrap();
        open(&folder).unwrap();
        let mended = fs::read_to_string(dir.path().join(PUBLIC)).unwrap();
        assert_eq!(mended, public);
        let leftovers: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(leftovers.len(), 3, "{leftovers:?}");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(open(&folder).unwrap_err().contains("lets others read"));
        fs::remove_file(&path).unwrap();
        fs::write(dir.path().join("key.next"), "half a").unwrap();
        assert_ne!(open(&folder).unwrap().public(), made.public());
    }

    #[test]
    fn a_key_that_cannot_be_read_now_is_not_called_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::claim(dir.path()).unwrap();
        let path = dir.path().join(PRIVATE);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let why = open(&folder).unwrap_err();
        assert!(
            why.contains("key.pem: ") && !why.contains("remove"),
            "{why}"
        );
    }

    #[test]
    fn r02_a_key_that_was_cut_or_rotted_is_told_and_never_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::claim(dir.path()).unwrap();
        let made = open(&folder).unwrap().public();
        let path = dir.path().join(PRIVATE);
        let whole = fs::read(&path).unwrap();
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        let changed = (0..whole.len() * 8).map(|bit| {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let mut told = 0;
        for damaged in cuts.chain(changed) {
            fs::write(&path, damaged).unwrap();
            match open(&folder) {
                Ok(key) => assert_eq!(key.public(), made),
                Err(why) => {
                    assert!(
                        why.contains("key.pem: ") && why.contains("remove it"),
                        "{why}"
                    );
                    told += 1;
                }
            }
        }
        assert!(told > whole.len() * 7, "{told}");
    }
}
