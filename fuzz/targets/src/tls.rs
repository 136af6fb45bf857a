//! A peer that has shaken hands and then seals whatever it likes, and one that does not shake hands properly.
//!
//! The peer is plain rustls; its traffic secret is taken from the key log, so that every record it could send can be
//! made here: any content type, any padding, key updates at any moment.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use adit_tls::{
    ALPN, Credentials, Handshake, Limits, Opened, Options, Progress, Records, Roots, Suite,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use ring::{aead, hkdf};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, KeyLog, RootCertStore, ServerConfig,
    ServerConnection,
};

use crate::input::{Input, pieces};

const APPLICATION_DATA: u8 = 23;
const HANDSHAKE: u8 = 22;

/// [`Records::open`] and [`Handshake::advance`]. The first byte chooses our role and whether hands are shaken; what
/// follows is a script of records.
pub fn tls_open(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let role = if kind & 1 == 0 {
        Role::Gateway
    } else {
        Role::Agent
    };
    if kind & 2 == 0 {
        return stranger(role, input);
    }
    let (records, forger) = shake_hands(role);
    script(records, forger, input);
}

/// Which end is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Agent,
    Gateway,
}

/// Bytes instead of a handshake. The first chooses the cut.
fn stranger(role: Role, mut input: Input<'_>) {
    let cut = input.byte();
    let mut handshake = ours(role);
    let mut output = Vec::new();
    let mut unconsumed = Vec::new();
    for piece in std::iter::once(&[][..]).chain(pieces(input.rest(), cut)) {
        unconsumed.extend_from_slice(piece);
        match handshake.advance(&mut unconsumed, &mut output) {
            Ok((consumed, progress)) => {
                assert!(consumed <= unconsumed.len());
                assert_eq!(progress, Progress::Reading, "a stranger has shaken hands");
                unconsumed.drain(..consumed);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(
                    handshake.advance(&mut unconsumed, &mut output).is_err(),
                    "a failure is final"
                );
                break;
            }
        }
        assert!(output.len() < 64 << 10, "an answer without end");
    }
    assert!(handshake.finish().is_err());
}

/// One record after the other, as the script says: broken bytes, or anything truly sealed.
fn script(mut records: Records, mut forger: Forger, mut input: Input<'_>) {
    let mut wire = Vec::new();
    let mut expected = VecDeque::new();
    let mut out = Vec::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let act = input.byte();
        let length = usize::from(input.byte());
        match act % 8 {
            0 => wire.extend_from_slice(input.take(length)),
            1 => {
                let (content_type, content) = (input.byte(), input.take(length));
                //= RFC 8446, section 5.4
                //# the receiving implementation scans the field from the end toward the beginning until it finds a
                //# non-zero octet. This non-zero octet is the content type of the message.
                let mut inner = [content, &[content_type]].concat();
                while inner.pop_if(|byte| *byte == 0).is_some() {}
                if inner.pop() == Some(APPLICATION_DATA) {
                    expected.push_back(inner);
                }
                forger.seal(content_type, content, usize::from(act / 8), &mut wire);
            }
            2 => forger.seal(HANDSHAKE, input.take(length), 0, &mut wire),
            3 => {
                let ask = act / 8 % 2;
                forger.seal(HANDSHAKE, &[24, 0, 0, 1, ask], 0, &mut wire);
                forger.update();
            }
            4 => {
                // A record of any size, up to one byte beyond what is allowed.
                let size = usize::from(input.word()) % (16 * 1024 + 2);
                let content = vec![input.byte(); size];
                expected.push_back(content.clone());
                forger.seal(APPLICATION_DATA, &content, 0, &mut wire);
            }
            _ => {
                let content = input.take(length).to_vec();
                expected.push_back(content.clone());
                forger.seal(APPLICATION_DATA, &content, usize::from(act / 8), &mut wire);
            }
        }
        if !read(&mut records, &mut wire, &mut expected) {
            return;
        }
        if records.needs_maintenance() {
            out.clear();
            records
                .maintenance(&mut out)
                .expect("a key update can be sealed");
            assert!(!out.is_empty());
        }
    }
}

/// Opens what is whole. False when the tunnel is over.
fn read(records: &mut Records, wire: &mut Vec<u8>, expected: &mut VecDeque<Vec<u8>>) -> bool {
    loop {
        match records.open(wire) {
            Ok(Opened::Incomplete { need }) => {
                assert!(need > wire.len(), "there is enough");
                assert!(
                    need <= 5 + 16 * 1024 + 256,
                    "more than a record is asked for"
                );
                return true;
            }
            Ok(Opened::Data { record, plaintext }) => {
                let bytes = &wire[plaintext];
                while expected.front().is_some_and(Vec::is_empty) {
                    expected.pop_front();
                }
                let said = expected.pop_front();
                assert_eq!(said.as_deref(), Some(bytes), "other bytes than were sealed");
                wire.drain(..record);
            }
            Ok(Opened::Handled { record, .. }) => {
                assert!(record <= wire.len());
                wire.drain(..record);
            }
            Ok(Opened::CloseNotify { .. }) => {
                assert!(records.is_closed_cleanly());
                assert!(records.open(wire).is_err(), "nothing follows the end");
                return false;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(records.open(wire).is_err(), "a failure is final");
                if let Some(alert) = error.alert() {
                    let mut out = Vec::new();
                    records.alert(alert, &mut out);
                    assert!(!out.is_empty());
                }
                return false;
            }
        }
    }
}

// ---- the peer

/// Seals records as TLS 1.3 does (RFC 8446, section 5.2), with AES-128-GCM and SHA-256.
struct Forger {
    secret: Vec<u8>,
    key: aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    fn new(secret: Vec<u8>) -> Self {
        let key = expand(&secret, b"key", 16);
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).expect("16 bytes are a key");
        let iv = expand(&secret, b"iv", 12)
            .try_into()
            .expect("12 bytes were asked for");
        Self {
            secret,
            key: aead::LessSafeKey::new(key),
            iv,
            sequence: 0,
        }
    }

    fn seal(&mut self, content_type: u8, content: &[u8], padding: usize, wire: &mut Vec<u8>) {
        let mut inner = content.to_vec();
        inner.push(content_type);
        inner.resize(inner.len() + padding, 0);
        let length = u16::try_from(inner.len() + 16).expect("scripts write short records");
        let mut header = vec![APPLICATION_DATA, 3, 3];
        header.extend_from_slice(&length.to_be_bytes());
        let mut nonce = self.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, aead::Aad::from(&header), &mut inner)
            .expect("short records can be sealed");
        self.sequence += 1;
        wire.extend_from_slice(&header);
        wire.extend_from_slice(&inner);
    }

    /// RFC 8446, section 7.2.
    fn update(&mut self) {
        *self = Self::new(expand(&self.secret, b"traffic upd", 32));
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
fn expand(secret: &[u8], label: &[u8], length: u16) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label_length = u8::try_from(6 + label.len()).expect("labels are short");
    let size = length.to_be_bytes();
    let info = [&size[..], &[label_length], b"tls13 ", label, &[0]];
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
    let mut out = vec![0; usize::from(length)];
    prk.expand(&info, Length(out.len()))
        .and_then(|okm| okm.fill(&mut out))
        .expect("short keys can be expanded");
    out
}

/// Keeps the secret with which the peer will seal.
#[derive(Default)]
struct Ear(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Ear {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if let Ok(mut heard) = self.0.lock() {
            heard.push((label.to_owned(), secret.to_vec()));
        }
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

impl Ear {
    fn secret(&self, label: &str) -> Vec<u8> {
        let heard = self.0.lock().expect("nobody panics while holding it");
        let found = heard.iter().find(|(name, _)| name == label);
        found
            .map(|(_, secret)| secret.clone())
            .expect("the handshake has come so far")
    }
}

/// Our record layer, and the peer's pen.
fn shake_hands(role: Role) -> (Records, Forger) {
    let ear = Arc::new(Ear::default());
    let mut peer = theirs(role, Arc::clone(&ear));
    let mut handshake = ours(role);
    let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (consumed, progress) = handshake
            .advance(&mut inbound, &mut outbound)
            .expect("rustls and we shake hands");
        inbound.drain(..consumed);
        let mut unread = &outbound[..];
        while !unread.is_empty() {
            peer.read_tls(&mut unread)
                .expect("reading from memory succeeds");
            peer.process_new_packets()
                .expect("rustls and we shake hands");
        }
        outbound.clear();
        while peer.wants_write() {
            peer.write_tls(&mut inbound)
                .expect("writing to memory succeeds");
        }
        if progress == Progress::Done {
            break;
        }
    }
    assert!(!peer.is_handshaking() && inbound.is_empty());
    let records = handshake.finish().expect("hands are shaken").records;
    let label = match role {
        Role::Gateway => "CLIENT_TRAFFIC_SECRET_0",
        Role::Agent => "SERVER_TRAFFIC_SECRET_0",
    };
    (records, Forger::new(ear.secret(label)))
}

struct Papers {
    root: String,
    agent: (String, String),
    gateway: (String, String),
}

fn papers() -> &'static Papers {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    PAPERS.get_or_init(|| {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("keys can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("a root signs itself").pem();
        let issuer = Issuer::new(params, key);
        let issue = |uri: &str, usage| {
            let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("keys can be made");
            let name = "gateway.example".to_owned();
            let mut leaf = CertificateParams::new(vec![name]).expect("a fine name");
            leaf.subject_alt_names
                .push(SanType::URI(uri.try_into().expect("URIs are ASCII")));
            leaf.extended_key_usages = vec![usage];
            let chain = leaf
                .signed_by(&key, &issuer)
                .expect("a root signs leaves")
                .pem();
            (chain, key.serialize_pem())
        };
        let agent = issue(
            "spiffe://adit.example/subaccount/acme/agent/a1",
            ExtendedKeyUsagePurpose::ClientAuth,
        );
        let gateway = issue(
            "spiffe://adit.example/gateway/g1",
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        Papers {
            root,
            agent,
            gateway,
        }
    })
}

fn ours(role: Role) -> Handshake {
    let roots = Roots::from_pem(papers().root.as_bytes()).expect("a root");
    let credentials = |(chain, key): &(String, String)| {
        Credentials::from_pem(chain.as_bytes(), key.as_bytes()).expect("a leaf and its key")
    };
    let options = Options::default()
        .with_suites(&[Suite::Aes128Gcm])
        .with_limits(Limits::default().with_ask_update_records(10));
    match role {
        Role::Agent => {
            let settings = adit_tls::client_with(&credentials(&papers().agent), &roots, &options)
                .expect("an agent's papers");
            Handshake::client(&settings, "gateway.example".try_into().expect("a name"))
        }
        Role::Gateway => {
            let settings = adit_tls::server_with(&credentials(&papers().gateway), &roots, &options)
                .expect("a gateway's papers");
            Handshake::server(&settings)
        }
    }
    .expect("a handshake begins")
}

fn theirs(role: Role, ear: Arc<Ear>) -> Connection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(papers().root.as_bytes()).expect("a root"))
        .expect("a usable root");
    let roots = Arc::new(roots);
    let material = |(chain, key): &(String, String)| {
        let chain = CertificateDer::from_pem_slice(chain.as_bytes()).expect("a leaf");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        (vec![chain], key)
    };
    match role {
        // We are the gateway, so the peer dials.
        Role::Gateway => {
            let (chain, key) = material(&papers().agent);
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("TLS 1.3 is known")
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
                .expect("leaf and key fit");
            config.alpn_protocols = vec![ALPN.to_vec()];
            config.key_log = ear;
            let name = "gateway.example".try_into().expect("a name");
            Connection::Client(ClientConnection::new(Arc::new(config), name).expect("it begins"))
        }
        Role::Agent => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .expect("roots for agents");
            let (chain, key) = material(&papers().gateway);
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("TLS 1.3 is known")
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain, key)
                .expect("leaf and key fit");
            config.alpn_protocols = vec![ALPN.to_vec()];
            config.key_log = ear;
            config.send_tls13_tickets = 0;
            Connection::Server(ServerConnection::new(Arc::new(config)).expect("it begins"))
        }
    }
}
