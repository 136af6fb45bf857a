//! Whom to trust at the other end of TLS to a backend: made once for a snapshot, used by its permits.
//!
//! Files are read when a snapshot is taken in, so a push that names a missing or useless CA file is
//! refused then, and no request reads a file. TLS 1.2 and 1.3, ring's algorithms, no client certificate.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use adit_policy::{InternalProtocol, Permit, Snapshot};
use ring::digest;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::limits::CA_FILE_BYTES_MAX;
use crate::settings::TlsRoots;

/// The anchors of one CA file or of the machine.
#[derive(Debug)]
pub(crate) struct Anchors {
    /// Equal for equal certificates: connections made under them may be used again under them.
    pub(crate) id: u64,
    http: Arc<ClientConfig>,
    opaque: Arc<ClientConfig>,
}

impl Anchors {
    /// The settings of a connection that carries `protocol`.
    pub(crate) fn config(&self, protocol: InternalProtocol) -> &Arc<ClientConfig> {
        match protocol {
            InternalProtocol::Http | InternalProtocol::Https => &self.http,
            InternalProtocol::Tcp | InternalProtocol::Tls => &self.opaque,
        }
    }
}

/// All anchors that the systems of one snapshot name.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    machine: Option<Result<Anchors, String>>,
    files: HashMap<String, Result<Anchors, String>>,
}

impl Trust {
    /// Reads what the systems of `snapshot` name. What cannot be used is told by [`problems`](Self::problems).
    pub(crate) fn read(snapshot: &Snapshot, roots: &TlsRoots) -> Self {
        let mut trust = Self::default();
        for system in &snapshot.table().rules().systems {
            if !system.internal.encrypted {
                continue;
            }
            match &system.ca_file {
                Some(file) if !trust.files.contains_key(file) => {
                    trust.files.insert(file.clone(), from_rule(file));
                }
                Some(_) => {}
                None => {
                    trust.machine.get_or_insert_with(|| match roots {
                        TlsRoots::System => from_machine(),
                        TlsRoots::File(path) => from_file(path),
                    });
                }
            }
        }
        trust
    }

    /// Why systems of the snapshot cannot be reached, a line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let files = self
            .files
            .values()
            .filter_map(|anchors| anchors.as_ref().err());
        let machine = self
            .machine
            .iter()
            .filter_map(|anchors| anchors.as_ref().err());
        let mut problems: Vec<String> = files.chain(machine).cloned().collect();
        problems.sort();
        problems
    }

    /// The anchors for what `permit` names; `None` when it names no TLS.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(crate) fn of(&self, permit: &Permit) -> Result<Option<&Anchors>, &str> {
        if !permit.protocol().is_encrypted() {
            return Ok(None);
        }
        let anchors = match permit.ca_file() {
            Some(file) => self.files.get(file),
            None => self.machine.as_ref(),
        };
        match anchors {
            Some(Ok(anchors)) => Ok(Some(anchors)),
            Some(Err(why)) => Err(why),
            None => Err("no anchors were read for this system"),
        }
    }
}

fn from_rule(file: &str) -> Result<Anchors, String> {
    let path = Path::new(file);
    if path.is_relative() {
        return Err(format!(
            "ca_file `{file}` is relative; write its whole path on the agent's machine"
        ));
    }
    from_file(path)
}

fn from_file(path: &Path) -> Result<Anchors, String> {
    let say = |what: String| format!("ca_file {}: {what}", path.display());
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CA_FILE_BYTES_MAX + 1).read_to_end(&mut pem))
        .map_err(|error| say(format!("cannot be read: {error}")))?;
    if u64::try_from(pem.len()).is_ok_and(|bytes| bytes > CA_FILE_BYTES_MAX) {
        return Err(say(format!(
            "larger than {CA_FILE_BYTES_MAX} bytes; is this the file?"
        )));
    }
    let mut certificates = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        certificates
            .push(certificate.map_err(|error| say(format!("certificate {}: {error}", index + 1)))?);
    }
    if certificates.is_empty() {
        return Err(say("holds no certificate; it must be PEM".to_owned()));
    }
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        store
            .add(certificate.clone())
            .map_err(|error| say(format!("certificate {}: {error}", index + 1)))?;
    }
    anchors(store, &certificates).map_err(say)
}

fn from_machine() -> Result<Anchors, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A machine's store may hold what rustls cannot use; the rest counts.
    let (usable, _) = store.add_parsable_certificates(found.certs.iter().cloned());
    if usable == 0 {
        return Err("this machine has no usable root certificates for TLS to backends; install ca-certificates, \
                    set backend.tls_roots, or give the system a ca_file"
            .to_owned());
    }
    anchors(store, &found.certs)
}

fn anchors(store: RootCertStore, certificates: &[CertificateDer<'_>]) -> Result<Anchors, String> {
    let mut digest = digest::Context::new(&digest::SHA256);
    for certificate in certificates {
        digest.update(certificate);
    }
    let id = digest
        .finish()
        .as_ref()
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let opaque = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    let mut http = opaque.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Anchors {
        id,
        http: Arc::new(http),
        opaque: Arc::new(opaque),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(ca_file: &str) -> Arc<Snapshot> {
        Snapshot::new(
            1,
            format!(
                "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\ninternal = \"https://10.1.2.3:443\"\n\
                 ca_file = \"{ca_file}\"\n[[system.resource]]\npath = \"/\"\nscope = \"subtree\"\n"
            ),
        )
        .unwrap()
    }

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["ca.test".to_owned()])
            .unwrap()
            .cert
            .pem()
    }

    #[test]
    fn a_usable_ca_file_is_no_problem_and_a_second_reading_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, certificate()).unwrap();
        let read = || Trust::read(&snapshot(path.to_str().unwrap()), &TlsRoots::System);
        let (one, two) = (read(), read());
        assert!(one.problems().is_empty(), "{:?}", one.problems());
        let id = |trust: &Trust| trust.files.values().next().unwrap().as_ref().unwrap().id;
        assert_eq!(id(&one), id(&two));
        std::fs::write(&path, certificate()).unwrap();
        assert_ne!(
            id(&one),
            id(&read()),
            "another certificate, another identity"
        );
    }

    #[test]
    fn a_ca_file_of_one_mebibyte_is_read_and_one_byte_more_is_refused() {
        assert_eq!(CA_FILE_BYTES_MAX, 1 << 20);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let mut pem = certificate();
        // What stands before and behind a certificate is commentary (RFC 7468, section 2).
        let room = usize::try_from(CA_FILE_BYTES_MAX).unwrap() - pem.len();
        pem.push_str(&"\n".repeat(room));
        let problems = |pem: &str| {
            std::fs::write(&path, pem).unwrap();
            Trust::read(&snapshot(path.to_str().unwrap()), &TlsRoots::System).problems()
        };
        assert_eq!(problems(&pem), Vec::<String>::new());
        pem.push('\n');
        let refused = problems(&pem);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].ends_with("larger than 1048576 bytes; is this the file?"),
            "{}",
            refused[0]
        );
    }

    #[test]
    fn a_missing_empty_or_relative_ca_file_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here").unwrap();
        for (file, part) in [
            ("/does/not/exist.pem", "cannot be read"),
            (empty.to_str().unwrap(), "holds no certificate"),
            ("ca.pem", "is relative"),
        ] {
            let problems = Trust::read(&snapshot(file), &TlsRoots::System).problems();
            assert_eq!(problems.len(), 1);
            assert!(
                problems[0].contains(file) && problems[0].contains(part),
                "{}",
                problems[0]
            );
        }
    }
}
