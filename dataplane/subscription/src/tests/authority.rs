//! A certificate authority for tests: roots, servers, nodes of any life.

use adit_proto::control::Trust;
use adit_tls::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};

pub(super) const AGENT: &str = "spiffe://adit.local/subaccount/acme/agent/a1";
pub(super) const SERVER: &str = "spiffe://adit.local/control/cp-1";

/// Signs whatever a test wants signed.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root_pem: String,
    root: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap();
        Self {
            root_pem: root.pem(),
            root: root.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// What an invitation pins.
    pub(super) fn pin(&self) -> String {
        let hash = adit_tls::spki_sha256(&self.root).unwrap();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Chain with root, and key, of a server.
    pub(super) fn server(
        &self,
        uri: &str,
        usages: &[ExtendedKeyUsagePurpose],
        serial: u64,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = usages.to_vec();
        params.serial_number = Some(SerialNumber::from(serial));
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![leaf.der().clone(), self.root.clone()], key)
    }

    /// Answers a request with a certificate that began `ago` seconds ago and ends in `left`.
    pub(super) fn sign(&self, csr: &str, uri: &str, serial: u64, ago: i64, left: i64) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let now = OffsetDateTime::now_utc();
        request.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        request.params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        request.params.serial_number = Some(SerialNumber::from(serial));
        request.params.not_before = now - Duration::seconds(ago);
        request.params.not_after = now + Duration::seconds(left);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// Trust in this authority.
    pub(super) fn trust(&self, version: u64, revoked: &[&str]) -> Trust {
        Trust {
            version,
            roots: self.root_pem.clone(),
            signing_keys: String::new(),
            revoked: revoked.iter().map(|&serial| serial.to_owned()).collect(),
        }
    }
}
