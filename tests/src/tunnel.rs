//! The other end of a tunnel as an attacker plays it: plain rustls, frames written byte by byte.
//!
//! Greetings and connect requests come from `proto`, because a peer that cannot say hello does not get
//! far; everything else is made here.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_proto::connect::{Protocol, Request, RequestId};
use adit_proto::hello::{Answer, Hello, VERSION, Welcome};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
};

use crate::net;
use crate::wait::{SOON, until_some};

/// Frame types and flags (yamux spec.md, "Type Field" and "Flag Field").
pub mod wire {
    /// Data.
    pub const DATA: u8 = 0;
    /// Window update.
    pub const WINDOW: u8 = 1;
    /// Ping.
    pub const PING: u8 = 2;
    /// Go away.
    pub const GO_AWAY: u8 = 3;
    /// Opens a stream or asks for a pong.
    pub const SYN: u16 = 1;
    /// Acknowledges a stream or answers a ping.
    pub const ACK: u16 = 2;
    /// Ends a direction.
    pub const FIN: u16 = 4;
    /// Ends a stream at once.
    pub const RST: u16 = 8;
}

/// One frame, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u16,
    /// Stream.
    pub stream: u32,
    /// The length field.
    pub length: u32,
    /// What follows a data frame's header.
    pub payload: Vec<u8>,
}

/// One end of a tunnel.
#[derive(Debug)]
pub struct Peer {
    tls: Tls,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Tls {
    Agent(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gateway(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// What a hostile agent is made of.
#[derive(Debug)]
pub struct Disguise {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
}

impl Disguise {
    /// Certificate, key and roots from a folder that `adit pki issue` made.
    ///
    /// # Panics
    /// When they are not there.
    #[must_use]
    pub fn from(folder: &Path) -> Self {
        let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(folder.join(name))
                .expect("a folder of certificates")
                .map(|certificate| certificate.expect("a PEM certificate"))
                .collect()
        };
        let mut roots = RootCertStore::empty();
        for root in certificates("ca.pem") {
            roots.add(root).expect("a root certificate");
        }
        Self {
            chain: certificates("cert.pem"),
            key: PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a PEM key"),
            roots,
        }
    }

    /// Presents the certificates of `other` behind its own.
    #[must_use]
    pub fn with_filler(mut self, other: &Self) -> Self {
        self.chain.extend(other.chain.iter().cloned());
        self
    }

    /// Presents the certificate of `other` with its own key.
    #[must_use]
    pub fn with_chain_of(mut self, other: &Self) -> Self {
        self.chain.clone_from(&other.chain);
        self
    }

    /// TLS as an agent, up to where it would say hello.
    ///
    /// # Errors
    /// When the gateway does not want it.
    pub fn shake(&self, door: SocketAddr) -> io::Result<Peer> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyGateway(default_provider())))
            .with_client_cert_resolver(Arc::new(Fixed(self.certified()?)));
        config.alpn_protocols = vec![b"adit/1".to_vec()];
        let name = ServerName::try_from("gateway.invalid").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let tls = StreamOwned::new(connection, net::connect(door)?);
        Ok(Peer {
            tls: Tls::Agent(Box::new(tls)),
            buffer: Vec::new(),
        })
    }

    /// A whole tunnel as an agent serving `location`.
    ///
    /// # Errors
    /// `PermissionDenied` with the gateway's words when it rejects; others when it does not want TLS.
    pub fn dial(&self, door: SocketAddr, location: &str) -> io::Result<Peer> {
        let mut peer = self.shake(door)?;
        peer.say_hello(location)?;
        Ok(peer)
    }

    /// Takes one connection of an agent and welcomes it, as a gateway; gives back what it said.
    ///
    /// # Errors
    /// When the agent does not want it.
    pub fn welcome(&self, listener: &TcpListener) -> io::Result<(Peer, Hello)> {
        self.welcome_in(VERSION, listener)
    }

    /// The same, choosing this version of the tunnel protocol.
    ///
    /// # Errors
    /// When the agent does not want it.
    pub fn welcome_in(&self, version: u16, listener: &TcpListener) -> io::Result<(Peer, Hello)> {
        listener.set_nonblocking(true)?;
        let (stream, _) = until_some("an agent dials", SOON, || listener.accept().ok());
        stream.set_nonblocking(false)?;
        net::patient(&stream)?;
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots.clone()),
            Arc::clone(&provider),
        )
        .build()
        .map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"adit/1".to_vec()];
        let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let mut peer = Peer {
            tls: Tls::Gateway(Box::new(StreamOwned::new(connection, stream))),
            buffer: Vec::new(),
        };
        let hello = loop {
            if let Some((hello, used)) = Hello::decode(&peer.buffer).map_err(io::Error::other)? {
                peer.buffer.drain(..used);
                break hello;
            }
            peer.fill()?;
        };
        let mut answer = Vec::new();
        Answer::Welcome(Welcome {
            version,
            features: 0,
            gateway: "gw-evil".to_owned(),
            shard: 0,
            shards: 1,
        })
        .encode(&mut answer)
        .map_err(io::Error::other)?;
        peer.raw(&answer)?;
        Ok((peer, hello))
    }

    fn certified(&self) -> io::Result<Arc<rustls::sign::CertifiedKey>> {
        let key = default_provider()
            .key_provider
            .load_private_key(self.key.clone_key())
            .map_err(io::Error::other)?;
        // Not checked against each other: an attacker would not either.
        Ok(Arc::new(rustls::sign::CertifiedKey::new(
            self.chain.clone(),
            key,
        )))
    }
}

impl Peer {
    /// Says hello for `location` and reads the answer.
    ///
    /// # Errors
    /// `PermissionDenied` with the gateway's words when it rejects.
    pub fn say_hello(&mut self, location: &str) -> io::Result<()> {
        self.say_hello_in(VERSION, location)
    }

    /// The same, as one who speaks this version of the tunnel protocol and older ones.
    ///
    /// # Errors
    /// `PermissionDenied` with the gateway's words when it rejects.
    pub fn say_hello_in(&mut self, version: u16, location: &str) -> io::Result<()> {
        let hello = Hello {
            version,
            features: 0,
            location: location.to_owned(),
            instance: [0xEE; 16],
            software: "hostile".to_owned(),
        };
        let mut bytes = Vec::new();
        hello.encode(&mut bytes).map_err(io::Error::other)?;
        self.raw(&bytes)?;
        self.read_answer()
    }

    /// Reads the gateway's answer to a hello.
    ///
    /// # Errors
    /// `PermissionDenied` with the gateway's words when it rejects.
    pub fn read_answer(&mut self) -> io::Result<()> {
        loop {
            match Answer::decode(&self.buffer).map_err(io::Error::other)? {
                Some((Answer::Welcome(_), used)) => {
                    self.buffer.drain(..used);
                    return Ok(());
                }
                Some((Answer::Rejected(rejected), _)) => {
                    let what = format!("{}: {}", rejected.refusal, rejected.message);
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
                }
                None => self.fill()?,
            }
        }
    }

    /// Sends plaintext as it is.
    ///
    /// # Errors
    /// When the tunnel is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Tls::Agent(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            Tls::Gateway(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Sends a data frame.
    ///
    /// # Errors
    /// When the tunnel is gone.
    pub fn data(&mut self, flags: u16, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut bytes = header(wire::DATA, flags, stream, length).to_vec();
        bytes.extend_from_slice(payload);
        self.raw(&bytes)
    }

    /// Sends a frame without payload.
    ///
    /// # Errors
    /// When the tunnel is gone.
    pub fn bare(&mut self, kind: u8, flags: u16, stream: u32, length: u32) -> io::Result<()> {
        self.raw(&header(kind, flags, stream, length))
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// When the tunnel ends or is silent for too long.
    pub fn frame(&mut self) -> io::Result<Frame> {
        while self.buffer.len() < 12 {
            self.fill()?;
        }
        let head: Vec<u8> = self.buffer.drain(..12).collect();
        let number =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut frame = Frame {
            kind: head[1],
            flags: u16::from_be_bytes([head[2], head[3]]),
            stream: number(4),
            length: number(8),
            payload: Vec::new(),
        };
        if frame.kind == wire::DATA {
            let length = usize::try_from(frame.length).map_err(io::Error::other)?;
            while self.buffer.len() < length {
                self.fill()?;
            }
            frame.payload = self.buffer.drain(..length).collect();
        }
        Ok(frame)
    }

    /// Reads frames, answering pings, until `wanted` picks one.
    ///
    /// # Errors
    /// When the tunnel ends or is silent for too long.
    pub fn frame_where(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> io::Result<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == wire::PING && frame.flags & wire::SYN != 0 {
                self.bare(wire::PING, wire::ACK, 0, frame.length)?;
            }
            if wanted(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Reads until the peer ends the tunnel; gives back the go-away codes seen on the way.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn to_end(&mut self) -> io::Result<Vec<u32>> {
        let mut codes = Vec::new();
        loop {
            match self.frame() {
                Ok(frame) if frame.kind == wire::GO_AWAY => codes.push(frame.length),
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(error);
                }
                Err(_ended) => return Ok(codes),
            }
        }
    }

    /// Waits for at most `limit` in each read from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn patience(&self, limit: Duration) -> io::Result<()> {
        self.socket().set_read_timeout(Some(limit))
    }

    /// What it is made of: TLS, the socket, and plaintext that was read and not yet used.
    #[must_use]
    pub fn into_parts(self) -> (Connection, TcpStream, Vec<u8>) {
        match self.tls {
            Tls::Agent(tls) => {
                let (connection, socket) = tls.into_parts();
                (Connection::Client(connection), socket, self.buffer)
            }
            Tls::Gateway(tls) => {
                let (connection, socket) = tls.into_parts();
                (Connection::Server(connection), socket, self.buffer)
            }
        }
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match &self.tls {
            Tls::Agent(tls) => tls.get_ref(),
            Tls::Gateway(tls) => tls.get_ref(),
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 32 * 1024];
        let n = match &mut self.tls {
            Tls::Agent(tls) => tls.read(&mut chunk)?,
            Tls::Gateway(tls) => tls.read(&mut chunk)?,
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(())
    }
}

/// Twelve bytes (yamux spec.md, "Framing").
#[must_use]
pub fn header(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[1] = kind;
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header[4..8].copy_from_slice(&stream.to_be_bytes());
    header[8..12].copy_from_slice(&length.to_be_bytes());
    header
}

/// The first bytes of a stream, as a gateway writes them.
///
/// # Panics
/// When the parts are not such as a gateway could send.
#[must_use]
pub fn asking(protocol: Protocol, host: &str, port: u16, subaccount: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Request {
        protocol,
        host,
        port,
        subaccount,
        caller: "app",
        principal: None,
        id: RequestId([7; 16]),
    }
    .encode(&mut bytes)
    .expect("a request that can be written");
    bytes
}

// Chooses the same certificate whatever it is asked for.
#[derive(Debug)]
struct Fixed(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Fixed {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

// An attacker does not care who the gateway is.
#[derive(Debug)]
struct AnyGateway(CryptoProvider);

impl ServerCertVerifier for AnyGateway {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
