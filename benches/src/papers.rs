//! An authority and leaves below it, made anew for each start. Ed25519: signing costs the same each
//! time.

use std::sync::Arc;

use adit_tls::{
    ClientSettings, Credentials, Established, Handshake, Options, Progress, Roots, ServerSettings,
    Suite,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// The name by which the baseline's client knows its server.
const NAME: &str = "gateway.example";

/// The authority of one world.
pub(crate) struct Papers {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let key = key();
        let mut params = parameters();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("an authority signs itself");
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// Settings of both ends of a tunnel, for the one cipher suite that is measured.
    pub(crate) fn settings(&self) -> (ClientSettings, ServerSettings) {
        let roots = Roots::from_pem(self.root.pem().as_bytes()).expect("the root is one");
        let options = Options::default().with_suites(&[Suite::Aes128Gcm]);
        let agent = self.credentials(
            "spiffe://adit.example/subaccount/acme/agent/berlin-1",
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        let gateway = self.credentials(
            "spiffe://adit.example/gateway/eu-1",
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        (
            adit_tls::client_with(&agent, &roots, &options).expect("the agent's papers fit"),
            adit_tls::server_with(&gateway, &roots, &options).expect("the gateway's papers fit"),
        )
    }

    fn credentials(&self, uri: &str, usage: ExtendedKeyUsagePurpose) -> Credentials {
        let name = SanType::URI(uri.try_into().expect("a SPIFFE ID is ASCII"));
        let (leaf, key) = self.leaf(name, usage);
        Credentials::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes())
            .expect("a leaf and its key")
    }

    fn leaf(&self, name: SanType, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = key();
        let mut params = parameters();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        (leaf, key)
    }

    /// The same suite between two ends of rustls, after their handshake.
    pub(crate) fn baseline(&self) -> (ClientConnection, ServerConnection) {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.root.der().to_vec()))
            .expect("the root is one");
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suite is of TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = SanType::DnsName(NAME.try_into().expect("a DNS name is ASCII"));
        let (leaf, key) = self.leaf(name, ExtendedKeyUsagePurpose::ServerAuth);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the suite is of TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(leaf.der().to_vec())], key)
            .expect("a leaf and its key");
        // As our tunnels: no resumption.
        server.send_tls13_tickets = 0;
        let name = ServerName::try_from(NAME).expect("a DNS name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("rustls starts");
        let mut server = ServerConnection::new(Arc::new(server)).expect("rustls starts");
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("a vector takes all");
            }
            feed(&mut wire.as_slice(), |rest| {
                server.read_tls(rest)?;
                server.process_new_packets().map_err(std::io::Error::other)
            });
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).expect("a vector takes all");
            }
            feed(&mut wire.as_slice(), |rest| {
                client.read_tls(rest)?;
                client.process_new_packets().map_err(std::io::Error::other)
            });
        }
        (client, server)
    }
}

/// Both ends of our record layer after a handshake in memory: agent, gateway.
pub(crate) fn shaken() -> (Established, Established) {
    let (client, server) = Papers::new().settings();
    let name = ServerName::try_from(NAME).expect("a DNS name");
    let mut client = Handshake::client(&client, name).expect("rustls starts");
    let mut server = Handshake::server(&server).expect("rustls starts");
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    loop {
        let mut answer = Vec::new();
        let (used, told) = client
            .advance(&mut to_client, &mut answer)
            .expect("honest ends agree");
        to_client.drain(..used);
        to_server.append(&mut answer);
        let (used, heard) = server
            .advance(&mut to_server, &mut answer)
            .expect("honest ends agree");
        to_server.drain(..used);
        to_client.append(&mut answer);
        if (told, heard) == (Progress::Done, Progress::Done) {
            break;
        }
    }
    (
        client.finish().expect("it is done"),
        server.finish().expect("it is done"),
    )
}

fn feed<T>(wire: &mut &[u8], mut take: impl FnMut(&mut &[u8]) -> std::io::Result<T>) {
    while !wire.is_empty() {
        take(wire).expect("honest ends agree");
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("the system has random bytes")
}

fn parameters() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no name is a list of names");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params
}
