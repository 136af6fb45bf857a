//! A small world for tests: an authority, certificates of every kind, and handshakes in memory and
//! on sockets. Decides nothing; each story says what it expects.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    missing_debug_implementations,
    clippy::exhaustive_enums,
    reason = "shared by the unit tests and the stories, which use different parts"
)]

use std::io::{Read, Write};

use adit_tls::{
    ClientSettings, Credentials, Error, Established, Handshake, Limits, Opened, Options, Progress,
    RECORD_HEADER, RECORD_OVERHEAD, Records, Roots, ServerName, ServerSettings, Suite,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SignatureAlgorithm, date_time_ymd,
};

pub const AGENT: &str = "spiffe://adit.example/subaccount/a1/agent/berlin-1";
pub const GATEWAY: &str = "spiffe://adit.example/gateway/eu-1";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A chain (leaf first) and the leaf's key, as PEM.
#[derive(Clone)]
pub struct Issued {
    pub chain: String,
    pub key: String,
}

/// What a leaf says; starts as a good one.
pub struct Leaf {
    pub params: CertificateParams,
    pub algorithm: &'static SignatureAlgorithm,
}

impl Leaf {
    pub fn naming(uris: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        Self {
            params,
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    pub fn signing_with(mut self, algorithm: &'static SignatureAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap(),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).unwrap()
    }

    pub fn issue(&self, leaf: Leaf) -> Issued {
        let key = KeyPair::generate_for(leaf.algorithm).unwrap();
        let certificate = leaf.params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    pub fn credentials(&self) -> Credentials {
        Credentials::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// The same, with more certificates behind the leaf.
    pub fn with_filler(mut self, more: &str) -> Self {
        self.chain.push_str(more);
        self
    }
}

/// An authority, one agent, one gateway.
pub struct World {
    pub authority: Authority,
    pub agent: Issued,
    pub gateway: Issued,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new("adit test root");
        let agent = authority.issue(Leaf::naming(&[AGENT]));
        let gateway = authority.issue(Leaf::naming(&[GATEWAY]));
        Self {
            authority,
            agent,
            gateway,
        }
    }

    pub fn client(&self, options: &Options) -> ClientSettings {
        adit_tls::client_with(&self.agent.credentials(), &self.authority.roots(), options).unwrap()
    }

    pub fn server(&self, options: &Options) -> ServerSettings {
        adit_tls::server_with(
            &self.gateway.credentials(),
            &self.authority.roots(),
            options,
        )
        .unwrap()
    }

    /// Two ends that speak `suite` under `limits`, agent first.
    pub fn pair(&self, suite: Suite, limits: Limits) -> (Established, Established) {
        let options = options(suite, limits);
        shake(&self.client(&options), &self.server(&options)).unwrap()
    }
}

pub fn options(suite: Suite, limits: Limits) -> Options {
    Options::default().with_suites(&[suite]).with_limits(limits)
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("gateway.adit.example").unwrap()
}

/// One end of a handshake in memory.
pub struct Shaking {
    pub handshake: Handshake,
    pub input: Vec<u8>,
    pub progress: Progress,
}

impl Shaking {
    pub fn new(handshake: Handshake) -> Self {
        Self {
            handshake,
            input: Vec::new(),
            progress: Progress::Reading,
        }
    }

    /// Takes `bytes` in and returns what is to be sent, also with an error.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Result<(), Error>) {
        self.input.extend_from_slice(bytes);
        let mut output = Vec::new();
        let result =
            self.handshake
                .advance(&mut self.input, &mut output)
                .map(|(consumed, progress)| {
                    self.input.drain(..consumed);
                    self.progress = progress;
                });
        (output, result)
    }
}

/// How each end of a handshake in memory fared; an end that only waited has no error.
#[derive(Debug)]
pub struct Failed {
    pub client: Option<Error>,
    pub server: Option<Error>,
}

/// A whole handshake in memory, agent first.
pub fn shake(
    client: &ClientSettings,
    server: &ServerSettings,
) -> Result<(Established, Established), Failed> {
    let mut client = Shaking::new(Handshake::client(client, name()).unwrap());
    let mut server = Shaking::new(Handshake::server(server).unwrap());
    let (mut to_server, mut client_result) = client.take(&[]);
    let mut server_result = Ok(());
    loop {
        let (to_client, result) = if server_result.is_ok() {
            server.take(&std::mem::take(&mut to_server))
        } else {
            (Vec::new(), server_result)
        };
        server_result = result;
        if to_client.is_empty() {
            break;
        }
        if client_result.is_ok() && client.progress == Progress::Reading {
            (to_server, client_result) = client.take(&to_client);
        } else {
            client.input.extend_from_slice(&to_client);
            break;
        }
    }
    if server_result.is_ok() && client_result.is_ok() {
        assert_eq!(client.progress, Progress::Done);
        assert_eq!(server.progress, Progress::Done);
        return Ok((
            client.handshake.finish().unwrap(),
            server.handshake.finish().unwrap(),
        ));
    }
    // An agent is done before the gateway has judged its certificate, and hears of a refusal only
    // by its first record.
    if client_result.is_ok() && client.progress == Progress::Done {
        let mut records = client.handshake.finish().unwrap().records;
        client_result = records.open(&mut client.input).map(|_opened| ());
    }
    Err(Failed {
        client: client_result.err(),
        server: server_result.err(),
    })
}

/// `plaintext` as one sealed record.
pub fn seal(records: &mut Records, plaintext: &[u8]) -> Vec<u8> {
    let mut record = slot(plaintext);
    records.seal(&mut record).unwrap();
    record
}

/// `plaintext` laid out as `Records::seal` wants it.
pub fn slot(plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0xEE; plaintext.len() + RECORD_OVERHEAD];
    record[RECORD_HEADER..RECORD_HEADER + plaintext.len()].copy_from_slice(plaintext);
    record
}

/// What came of a run of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub plaintext: Vec<u8>,
    pub handled: usize,
    pub closed: bool,
}

/// Opens every whole record at the front of `input` and removes it.
pub fn receive(
    records: &mut Records,
    input: &mut Vec<u8>,
    received: &mut Received,
) -> Result<(), Error> {
    let mut at = 0;
    while !received.closed {
        match records.open(&mut input[at..])? {
            Opened::Incomplete { need } => {
                assert!(need > input.len() - at, "asked for what is there");
                break;
            }
            Opened::Data { record, plaintext } => {
                assert!(!plaintext.is_empty());
                assert!(plaintext.end <= record);
                received
                    .plaintext
                    .extend_from_slice(&input[at..][plaintext]);
                at += record;
            }
            Opened::Handled { record, .. } => {
                received.handled += 1;
                at += record;
            }
            Opened::CloseNotify { record } => {
                received.closed = true;
                at += record;
            }
        }
    }
    input.drain(..at);
    Ok(())
}

/// Bytes that compress to no pattern the tests could hide in, the same in every run.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// One end of a tunnel on a blocking stream.
pub struct End<S> {
    pub stream: S,
    pub records: Records,
    pub input: Vec<u8>,
    pub received: Received,
    pub peer: adit_tls::PeerIdentity,
}

impl<S: Read + Write> End<S> {
    pub fn shake(mut stream: S, handshake: Handshake) -> Result<Self, Error> {
        let mut shaking = Shaking::new(handshake);
        let mut arrived = Vec::new();
        loop {
            let (output, result) = shaking.take(&arrived);
            // The peer may be gone already; then the result says why.
            let _gone = stream.write_all(&output);
            result?;
            if shaking.progress == Progress::Done {
                break;
            }
            arrived = read_some(&mut stream);
            if arrived.is_empty() {
                return Err(Error::ClosedInHandshake);
            }
        }
        let established = shaking.handshake.finish()?;
        Ok(Self {
            stream,
            records: established.records,
            input: shaking.input,
            received: Received::default(),
            peer: established.peer,
        })
    }

    /// Sends `plaintext` in records of at most `chunk` bytes, with key updates as they fall due.
    pub fn send(&mut self, plaintext: &[u8], chunk: usize) {
        for piece in plaintext.chunks(chunk) {
            let mut out = Vec::new();
            self.records.maintenance(&mut out).unwrap();
            out.extend(seal(&mut self.records, piece));
            self.stream.write_all(&out).unwrap();
        }
    }

    /// Sends what `maintenance` has to say.
    pub fn maintain(&mut self) {
        let mut out = Vec::new();
        self.records.maintenance(&mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    pub fn close(&mut self) {
        let mut out = Vec::new();
        self.records.close(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// Reads until `done`; false when the stream ended before.
    pub fn read_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<bool, Error> {
        loop {
            receive(&mut self.records, &mut self.input, &mut self.received)?;
            if done(self) {
                return Ok(true);
            }
            let arrived = read_some(&mut self.stream);
            if arrived.is_empty() {
                return Ok(false);
            }
            self.input.extend(arrived);
        }
    }

    pub fn read_count(&mut self, count: usize) -> Vec<u8> {
        let complete = self
            .read_until(|end| end.received.plaintext.len() >= count)
            .unwrap();
        assert!(complete, "stream ended before {count} bytes");
        self.received.plaintext.drain(..count).collect()
    }
}

fn read_some(stream: &mut impl Read) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let count = match stream.read(&mut buffer) {
        Ok(count) => count,
        // A peer that refused us may have closed with our bytes unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("read: {error}"),
    };
    buffer.truncate(count);
    buffer
}
