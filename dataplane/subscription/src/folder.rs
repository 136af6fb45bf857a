//! The identity on disk: written so that a crash leaves the old one or the new one, and a first one wholly or not.
//!
//! `key.pem` and `cert.pem` belong together, and two files cannot be renamed as one. So a new pair stands complete in
//! `key.next.pem` and `cert.next.pem` before either takes its place, and what is read is the newest certificate that
//! has its key. `trust.json` is whom to trust; `contact` when a control plane was last heard.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use adit_proto::control::Trust;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::keys;
use crate::limits::FILE_BYTES_MAX;
use crate::summed;

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

/// An identity's place.
#[derive(Debug)]
pub(crate) struct Store<S> {
    storage: S,
}

/// A certificate and its key, and where they stand.
struct Pair {
    key: String,
    key_is_next: bool,
    certificate: String,
    certificate_is_next: bool,
}

/// `trust.json`: the trust, and beside it what else a control plane decides for a node.
#[derive(Serialize, Deserialize)]
struct TrustFile {
    #[serde(default = "first_format")]
    format: u16,
    location: String,
    /// When to renew the certificate with this serial number.
    #[serde(default)]
    serial: String,
    #[serde(default)]
    renew_unix_s: u64,
    #[serde(flatten)]
    trust: Trust,
}

impl<S: Storage> Store<S> {
    pub(crate) fn new(storage: S) -> Self {
        Self { storage }
    }

    /// The identity; `None` when there is none, or only a key that never got its certificate.
    ///
    /// # Errors
    /// What is wrong with files that are there.
    pub(crate) fn load(&self) -> Result<Option<Identity>, String> {
        let Some(pair) = self.pair()? else {
            return Ok(None);
        };
        let beside = self
            .text(TRUST)?
            .ok_or_else(|| format!("{TRUST} is missing"))?;
        whole(TRUST, &beside)?;
        check_format(&beside)?;
        let beside: TrustFile =
            serde_json::from_str(&beside).map_err(|error| format!("{TRUST}: {error}"))?;
        let found = Identity::new(&pair.key, &pair.certificate, &beside.location, beside.trust)
            .map_err(|why| format!("{KEY}, {CERT}, {TRUST}: {why}"))?;
        // After a crash it may be said of a certificate that never came.
        Ok(Some(if beside.serial == found.leaf().serial {
            found.due_at(beside.renew_unix_s)
        } else {
            found
        }))
    }

    /// Keeps a key that is about to ask for its certificate. Nothing that is read changes.
    ///
    /// # Errors
    /// What the file system says, and to what.
    pub(crate) fn keep_key(&self, key_pem: &str) -> Result<(), SaveError> {
        self.settle()?;
        self.put(KEY_NEXT, key_pem.as_bytes())
    }

    /// The kept key has its certificate: from now on they are what is read. After an error either the old or the new
    /// ones are.
    ///
    /// # Errors
    /// What the file system says, and to what.
    pub(crate) fn save(&self, identity: &Identity) -> Result<(), SaveError> {
        self.save_trust(identity)?;
        self.put(CERT_NEXT, summed::pem(identity.chain_pem()).as_bytes())?;
        self.storage.rename(KEY_NEXT, KEY).map_err(at(KEY))?;
        self.storage.rename(CERT_NEXT, CERT).map_err(at(CERT))?;
        self.storage.sync().map_err(at(CERT))
    }

    /// Keeps whom `identity` trusts.
    ///
    /// # Errors
    /// What the file system says, and to what.
    pub(crate) fn save_trust(&self, identity: &Identity) -> Result<(), SaveError> {
        let beside = TrustFile {
            format: FORMAT,
            location: identity.location().to_owned(),
            serial: identity.leaf().serial.clone(),
            renew_unix_s: identity.renew_unix_s(),
            trust: identity.trust().clone(),
        };
        let text = serde_json::to_string_pretty(&beside).unwrap_or_default();
        self.put(TRUST, summed::json(&text).as_bytes())
    }

    /// When a control plane was last heard, in seconds since 1970; `None` where that is not known for certain.
    pub(crate) fn contact(&self) -> Option<u64> {
        let text = self.text(CONTACT).ok()??;
        summed::word(&text).ok()?.parse().ok()
    }

    /// Keeps when a control plane was last heard.
    ///
    /// # Errors
    /// What the file system says, and to what.
    pub(crate) fn keep_contact(&self, unix_s: u64) -> Result<(), SaveError> {
        self.put(CONTACT, summed::line(&unix_s.to_string()).as_bytes())
    }

    // The newest certificate that has its key; an error when none of those that are there has.
    fn pair(&self) -> Result<Option<Pair>, String> {
        let mut found = false;
        for at in [CERT_NEXT, CERT] {
            let Some(certificate) = self.text(at)? else {
                continue;
            };
            found = true;
            whole(at, &certificate)?;
            // Others are shown the chain, and not our checksum.
            let begins = certificate.find(PEM_BEGINS).unwrap_or_default();
            let certificate = certificate.split_at(begins).1;
            let spki = leaf_key(certificate);
            for key_at in [KEY, KEY_NEXT] {
                if let Some(key) = self.text(key_at)?
                    && spki.is_some()
                    && keys::public_key(&key) == spki
                {
                    return Ok(Some(Pair {
                        key,
                        key_is_next: key_at == KEY_NEXT,
                        certificate: certificate.to_owned(),
                        certificate_is_next: at == CERT_NEXT,
                    }));
                }
            }
        }
        if found {
            return Err(format!(
                "{CERT} has no key in {KEY}; put the folder back from a copy, or enrol this node anew"
            ));
        }
        Ok(None)
    }

    // Ends what a crash cut short: the next key takes the place where the one in use may still stand.
    fn settle(&self) -> Result<(), SaveError> {
        // Damage is told by whoever reads; here it is overwritten.
        let Ok(Some(pair)) = self.pair() else {
            return Ok(());
        };
        if pair.key_is_next {
            self.storage.rename(KEY_NEXT, KEY).map_err(at(KEY))?;
        }
        if pair.certificate_is_next {
            self.storage.rename(CERT_NEXT, CERT).map_err(at(CERT))?;
        }
        if pair.key_is_next || pair.certificate_is_next {
            self.storage.sync().map_err(at(CERT))?;
        }
        Ok(())
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, String> {
        let read = self.storage.read(name);
        let bytes = read.map_err(|error| format!("{name}: {error}"))?;
        bytes
            .map(|bytes| {
                String::from_utf8(bytes).map_err(|_not_text| format!("{name}: is not text"))
            })
            .transpose()
    }

    fn put(&self, name: &'static str, bytes: &[u8]) -> Result<(), SaveError> {
        let half = format!("{name}.half");
        self.storage
            .write_through(&half, bytes)
            .and_then(|()| self.storage.rename(&half, name))
            .and_then(|()| self.storage.sync())
            .map_err(at(name))
    }
}

/// The identity could not be stored.
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

fn at(name: &'static str) -> impl FnOnce(io::Error) -> SaveError {
    move |error| SaveError { name, error }
}

fn whole(name: &str, text: &str) -> Result<(), String> {
    summed::check(text).map_err(|summed::Rotten| {
        format!("{name}: does not match its checksum; put the folder back from a copy, or enrol this node anew")
    })
}

// First, and of nothing else: what a later format is, nobody knows here.
fn check_format(beside: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Format {
        #[serde(default = "first_format")]
        format: u16,
    }
    match serde_json::from_str(beside) {
        Ok(Format { format }) if format > FORMAT => Err(format!(
            "{TRUST} has format {format}, and this version of aditd reads {FORMAT}; start the newer one again"
        )),
        // What is no JSON is told by whoever reads all of it.
        Ok(_) | Err(_) => Ok(()),
    }
}

// What knew no other wrote none.
fn first_format() -> u16 {
    1
}

fn leaf_key(chain: &str) -> Option<Vec<u8>> {
    use rustls_pki_types::pem::PemObject as _;
    let leaf = adit_tls::CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
    adit_tls::Leaf::read(&leaf).ok().map(|leaf| leaf.spki)
}

/// A real folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    // Held by whoever writes: two nodes with one identity would renew it against each other.
    _lock: Option<File>,
}

impl Folder {
    /// To read only.
    pub(crate) fn look(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// Makes the folder if needed, and claims it.
    ///
    /// # Errors
    /// Why it cannot be used, with its path.
    pub(crate) fn claim(path: &Path) -> Result<Self, String> {
        let say = |what: &dyn fmt::Display| format!("identity {}: {what}", path.display());
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
                _lock: Some(lock),
            }),
            Err(Errno::WOULDBLOCK) => Err(say(
                &"another process uses it; give each node its own folder",
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
        if name.starts_with("key.") && file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(io::Error::other(
                "others can read this key; run chmod 600, and enrol anew if they did",
            ));
        }
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

/// The format of `trust.json` that this code writes, and the newest it reads. A member whose loss would matter to who wrote
/// it raises the number; others are passed over.
const FORMAT: u16 = 1;
const PEM_BEGINS: &str = "-----BEGIN";
const KEY: &str = "key.pem";
const KEY_NEXT: &str = "key.next.pem";
const CERT: &str = "cert.pem";
const CERT_NEXT: &str = "cert.next.pem";
const TRUST: &str = "trust.json";
const CONTACT: &str = "contact";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests;
