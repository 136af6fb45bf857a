//! One authority, one agent and one gateway, made once.
//!
//! Ed25519 and fixed serial numbers: every certificate and signature has the same length in every run, so that the
//! bytes of a handshake, which are random, arrive at the same times.

use std::sync::OnceLock;

use adit_tls::{ClientSettings, Credentials, Limits, Options, Roots, ServerSettings};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};

pub(crate) const AGENT_ID: &str = "spiffe://adit.example/subaccount/acme/agent/berlin-1";
const GATEWAY_ID: &str = "spiffe://adit.example/gateway/eu-1";

/// PEM texts.
struct Papers {
    root: String,
    agent: (String, String),
    gateway: (String, String),
}

static PAPERS: OnceLock<Papers> = OnceLock::new();

/// The agent's settings with these limits of the record layer.
pub(crate) fn agent(limits: Limits) -> ClientSettings {
    let papers = PAPERS.get_or_init(Papers::new);
    let options = Options::default().with_limits(limits);
    adit_tls::client_with(&credentials(&papers.agent), &papers.roots(), &options).unwrap()
}

/// The gateway's.
pub(crate) fn gateway(limits: Limits) -> ServerSettings {
    let papers = PAPERS.get_or_init(Papers::new);
    let options = Options::default().with_limits(limits);
    adit_tls::server_with(&credentials(&papers.gateway), &papers.roots(), &options).unwrap()
}

fn credentials((chain, key): &(String, String)) -> Credentials {
    Credentials::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}

impl Papers {
    fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = parameters(1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let issue = |serial: u8, uri: &str, usage: ExtendedKeyUsagePurpose| {
            let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let mut leaf = parameters(serial);
            leaf.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            leaf.extended_key_usages = vec![usage];
            let chain = leaf.signed_by(&key, &issuer).unwrap().pem();
            (chain, key.serialize_pem())
        };
        let agent = issue(2, AGENT_ID, ExtendedKeyUsagePurpose::ClientAuth);
        let gateway = issue(3, GATEWAY_ID, ExtendedKeyUsagePurpose::ServerAuth);
        Self {
            root,
            agent,
            gateway,
        }
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(self.root.as_bytes()).unwrap()
    }
}

fn parameters(serial: u8) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(SerialNumber::from(vec![serial]));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params
}
