//! The files a sink names: roots, our certificate and key, header fields that are secret.
//!
//! Read for each connection, so that what was renewed is used without a restart.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits::{HEADERS_BYTES_MAX, PEM_BYTES_MAX};

/// Files of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Roots; those of the operating system where none are named.
    pub(crate) roots: Option<PathBuf>,
    /// Our certificate, and our key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Reads the files.
///
/// # Errors
/// Which file, and what is wrong with it.
pub(crate) fn config(files: &TlsFiles) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(files.roots.as_deref())?);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let bytes = read(key, PEM_BYTES_MAX, Secrecy::Secret)?;
            let key_der = PrivateKeyDer::from_pem_slice(&bytes)
                // What it says may hold a line of the key.
                .map_err(|_may_hold_it| at(key, "holds no private key as PEM"))?;
            builder
                .with_client_auth_cert(chain, key_der)
                .map_err(|error| at(certificate, error))?
        }
    };
    Ok(Arc::new(config))
}

/// Reads header fields, `name: value` a line; blank lines and lines that begin with `#` are passed over.
///
/// # Errors
/// Which file and line, never what stands there: values are secret.
pub(crate) fn headers(path: Option<&Path>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let bytes = read(path, HEADERS_BYTES_MAX, Secrecy::Secret)?;
    let mut fields = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let wrong = || {
            at(
                path,
                format!("line {number} is not of the form `name: value`"),
            )
        };
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or_else(wrong)?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name.trim_ascii()).map_err(|_no_name| wrong())?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let mut value = HeaderValue::from_bytes(value).map_err(|_no_value| wrong())?;
        value.set_sensitive(true);
        if OURS.contains(&name.as_str()) {
            return Err(at(
                path,
                format!("line {number}: {name} is set by adit itself; delete it"),
            ));
        }
        fields.push((name, value));
    }
    Ok(fields)
}

/// Fields that say what and where a request is.
const OURS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
];

fn roots(path: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match path {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| at(path, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err("the operating system has no roots; name some in ca_file".to_owned());
            }
        }
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path, PEM_BYTES_MAX, Secrecy::Public)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| at(path, error))?;
    if found.is_empty() {
        return Err(at(path, "has no certificate in PEM"));
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Public,
    Secret,
}

fn read(path: &Path, most: u64, secrecy: Secrecy) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let metadata = file.metadata().map_err(|error| at(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if secrecy == Secrecy::Secret && mode & 0o077 != 0 {
        return Err(at(
            path,
            format!(
                "mode {mode:04o} lets others read this secret; run `chmod 600`, and change it if they did"
            ),
        ));
    }
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| at(path, error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        return Err(at(path, format!("has more than {most} bytes")));
    }
    Ok(bytes)
}

fn at(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(dir: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn header_fields_are_read_by_their_owner_alone_and_never_told() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# of the collector\nAuthorization: Bearer s3cret\n\nx-tenant:acme\n";
        let path = write(&dir, "headers", text, 0o600);
        let fields = headers(Some(&path)).unwrap();
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[0].1.to_str().unwrap(), "Bearer s3cret");
        assert!(!format!("{fields:?}").contains("s3cret"));
        assert!(headers(None).unwrap().is_empty());
        for (text, mode, part) in [
            ("a: s3cret", 0o640, "chmod 600"),
            ("a: b\ns3cret", 0o600, "line 2"),
            ("content-length: 5", 0o600, "set by adit"),
            ("a b: s3cret", 0o600, "line 1"),
        ] {
            let path = write(&dir, "wrong", text, mode);
            let why = headers(Some(&path)).unwrap_err();
            assert!(why.contains(part) && !why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn files_may_have_headers_bytes_max_and_pem_bytes_max() {
        let dir = tempfile::tempdir().unwrap();
        let line = |length: u64| format!("a: {}", "b".repeat(usize::try_from(length).unwrap() - 3));
        let path = write(&dir, "headers", &line(HEADERS_BYTES_MAX), 0o600);
        assert!(headers(Some(&path)).is_ok());
        let path = write(&dir, "headers", &line(HEADERS_BYTES_MAX + 1), 0o600);
        assert!(
            headers(Some(&path))
                .unwrap_err()
                .contains("more than 16384")
        );
        let pem = |length: u64| "#".repeat(usize::try_from(length).unwrap());
        let path = write(&dir, "pem", &pem(PEM_BYTES_MAX), 0o644);
        assert!(certificates(&path).unwrap_err().contains("no certificate"));
        let path = write(&dir, "pem", &pem(PEM_BYTES_MAX + 1), 0o644);
        assert!(certificates(&path).unwrap_err().contains("more than"));
    }

    #[test]
    fn roots_and_identities_are_read_and_a_key_for_others_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["logs.example".to_owned()]).unwrap();
        let certificate = write(&dir, "cert.pem", &made.cert.pem(), 0o644);
        let key = write(&dir, "key.pem", &made.signing_key.serialize_pem(), 0o600);
        let files = |key: PathBuf| TlsFiles {
            roots: Some(certificate.clone()),
            identity: Some((certificate.clone(), key)),
        };
        assert!(config(&files(key.clone())).is_ok());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(config(&files(key)).unwrap_err().contains("chmod 600"));
        assert!(config(&files(certificate.clone())).is_err());
        assert!(
            config(&files(dir.path().join("none")))
                .unwrap_err()
                .contains("none")
        );
    }
}
