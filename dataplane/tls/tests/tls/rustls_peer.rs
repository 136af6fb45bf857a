//! The other end is rustls with its own record layer, in memory and on loopback sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use adit_tls::{
    ALPN, AlertDescription, Error, Established, Handshake, Limits, Options, Progress, Suite,
};
use rcgen::SanType;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionCommon, ServerConfig, ServerConnection,
    SideData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{
    AGENT, End, GATEWAY, Issued, Leaf, Received, Shaking, World, bytes, name, options, receive,
    seal,
};

fn provider(suite: Suite) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .retain(|known| format!("{:?}", known.suite()).contains(rustls_name(suite)));
    assert_eq!(provider.cipher_suites.len(), 1);
    Arc::new(provider)
}

fn rustls_name(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes128Gcm => "TLS13_AES_128_GCM_SHA256",
        Suite::Aes256Gcm => "TLS13_AES_256_GCM_SHA384",
        Suite::Chacha20Poly1305 => "TLS13_CHACHA20_POLY1305_SHA256",
    }
}

fn roots(world: &World) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap())
        .unwrap();
    Arc::new(roots)
}

fn material(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    (
        CertificateDer::pem_slice_iter(issued.chain.as_bytes())
            .map(Result::unwrap)
            .collect(),
        PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
    )
}

/// A world whose gateway certificate also has the DNS name that plain rustls insists on.
fn world() -> World {
    let mut world = World::new();
    world.gateway = world
        .authority
        .issue(Leaf::naming(&[GATEWAY]).with(|params| {
            params
                .subject_alt_names
                .push(SanType::DnsName("gateway.adit.example".try_into().unwrap()));
        }));
    world
}

pub(crate) fn client_config(world: &World, agent: Option<&Issued>, suite: Suite) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(world));
    let mut config = match agent {
        Some(agent) => {
            let (chain, key) = material(agent);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

pub(crate) fn server_config(world: &World, gateway: &Issued, suite: Suite) -> ServerConfig {
    let (chain, key) = material(gateway);
    let provider = provider(suite);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(world), provider.clone())
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 4;
    config
}

/// Gives rustls all of `bytes`.
fn feed(peer: &mut Connection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets()?;
    }
    Ok(())
}

/// What rustls wants to send.
fn drain(peer: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut out).unwrap();
    }
    out
}

/// A handshake in memory; returns ours and what rustls has sent behind it.
fn shake_with(
    handshake: Handshake,
    peer: &mut Connection,
) -> Result<(Established, Vec<u8>), Error> {
    let mut ours = Shaking::new(handshake);
    loop {
        let from_peer = drain(peer);
        let (output, result) = ours.take(&from_peer);
        let heard = feed(peer, &output);
        result?;
        if let Err(refused) = heard {
            // Its alert tells us.
            ours.take(&drain(peer)).1?;
            panic!("no alert with {refused}");
        }
        if ours.progress == Progress::Done && !peer.is_handshaking() {
            let mut behind = ours.input;
            behind.extend(drain(peer));
            return Ok((ours.handshake.finish().unwrap(), behind));
        }
        assert!(
            !output.is_empty() || peer.wants_write(),
            "both wait for the other"
        );
    }
}

pub(crate) fn our_client_against(
    world: &World,
    config: ServerConfig,
) -> Result<Established, Error> {
    let handshake = Handshake::client(&world.client(&Options::default()), name()).unwrap();
    let peer = ServerConnection::new(Arc::new(config)).unwrap();
    shake_with(handshake, &mut peer.into()).map(|(established, _)| established)
}

pub(crate) fn our_server_against(
    world: &World,
    config: ClientConfig,
) -> Result<Established, Error> {
    // Plain rustls checks the DNS name of whom it talks to, so this gateway has one.
    let named = World {
        authority: crate::support::Authority::new("unused"),
        agent: world.agent.clone(),
        gateway: world
            .authority
            .issue(Leaf::naming(&[GATEWAY]).with(|params| {
                params
                    .subject_alt_names
                    .push(SanType::DnsName("gateway.adit.example".try_into().unwrap()));
            })),
    };
    let settings =
        adit_tls::server(&named.gateway.credentials(), &world.authority.roots()).unwrap();
    let handshake = Handshake::server(&settings).unwrap();
    let peer = ClientConnection::new(Arc::new(config), name()).unwrap();
    shake_with(handshake, &mut peer.into()).map(|(established, _)| established)
}

/// 60 rounds each way; rustls changes its keys every third and we every second record.
fn converse(ours: Established, behind: Vec<u8>, peer: &mut Connection) {
    let mut records = ours.records;
    let mut input = behind;
    for round in 1..=60_usize {
        let piece = bytes(round * 250);
        peer.writer().write_all(&piece).unwrap();
        if round % 3 == 0 {
            peer.refresh_traffic_keys().unwrap();
        }
        input.extend(drain(peer));
        let mut received = Received::default();
        receive(&mut records, &mut input, &mut received).unwrap();
        assert_eq!(received.plaintext, piece, "round {round}, to us");

        let mut out = Vec::new();
        records.maintenance(&mut out).unwrap();
        out.extend(seal(&mut records, &piece));
        feed(peer, &out).unwrap();
        let mut arrived = vec![0; piece.len()];
        peer.reader().read_exact(&mut arrived).unwrap();
        assert_eq!(arrived, piece, "round {round}, from us");
    }
    assert!(records.key_updates_sent() >= 20);
    assert!(records.key_updates_received() >= 20);

    let mut out = Vec::new();
    records.close(&mut out);
    feed(peer, &out).unwrap();
    assert!(matches!(peer.reader().read(&mut [0]), Ok(0)), "clean end");
    peer.send_close_notify();
    input.extend(drain(peer));
    receive(&mut records, &mut input, &mut Received::default()).unwrap();
    assert!(records.is_closed_cleanly());
}

fn restless() -> Limits {
    Limits::default().with_key_update_records(2)
}

#[test]
fn our_agent_and_a_rustls_server_converse_in_memory() {
    let world = world();
    for suite in Suite::ALL {
        let config = server_config(&world, &world.gateway, suite);
        let mut peer = ServerConnection::new(Arc::new(config)).unwrap().into();
        let settings = world.client(&options(suite, restless()));
        let handshake = Handshake::client(&settings, name()).unwrap();
        let (ours, behind) = shake_with(handshake, &mut peer).unwrap();
        assert_eq!(ours.peer.id.to_string(), GATEWAY);
        assert_eq!(ours.suite, suite);
        assert!(!behind.is_empty(), "the tickets");
        converse(ours, behind, &mut peer);
    }
}

#[test]
fn a_rustls_client_and_our_gateway_converse_in_memory() {
    let world = world();
    for suite in Suite::ALL {
        let config = client_config(&world, Some(&world.agent), suite);
        let mut peer = ClientConnection::new(Arc::new(config), name())
            .unwrap()
            .into();
        let settings = world.server(&options(suite, restless()));
        let handshake = Handshake::server(&settings).unwrap();
        let (ours, behind) = shake_with(handshake, &mut peer).unwrap();
        assert_eq!(ours.peer.id.to_string(), AGENT);
        converse(ours, behind, &mut peer);
    }
}

#[test]
fn s07_a_peer_that_speaks_only_tls_1_2_is_refused() {
    let world = world();
    let provider = Arc::new(rustls::crypto::ring::default_provider());

    let (chain, key) = material(&world.agent);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots(&world))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let mut peer: Connection = ClientConnection::new(Arc::new(config), name())
        .unwrap()
        .into();
    let mut ours = Shaking::new(Handshake::server(&world.server(&Options::default())).unwrap());
    let (output, result) = ours.take(&drain(&mut peer));
    assert!(
        matches!(&result, Err(Error::Handshake(cause))
            if matches!(**cause, rustls::Error::PeerIncompatible(_))),
        "{result:?}"
    );
    assert_eq!(
        feed(&mut peer, &output),
        Err(rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion
        ))
    );

    let (chain, key) = material(&world.gateway);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut peer: Connection = ServerConnection::new(Arc::new(config)).unwrap().into();
    let settings = world.client(&Options::default());
    let mut ours = Shaking::new(Handshake::client(&settings, name()).unwrap());
    let (hello, _) = ours.take(&[]);
    assert!(feed(&mut peer, &hello).is_err());
    let (_, result) = ours.take(&drain(&mut peer));
    assert_eq!(
        result,
        Err(Error::AlertReceived(AlertDescription::ProtocolVersion))
    );
}

#[test]
fn a_peer_without_our_application_protocol_is_refused_with_an_alert() {
    let world = world();
    let suite = Suite::Aes128Gcm;
    for offered in [vec![], vec![b"h2".to_vec()]] {
        let mut config = client_config(&world, Some(&world.agent), suite);
        config.alpn_protocols = offered.clone();
        let mut peer: Connection = ClientConnection::new(Arc::new(config), name())
            .unwrap()
            .into();
        let mut ours = Shaking::new(Handshake::server(&world.server(&Options::default())).unwrap());
        let mut heard = Ok(());
        let error = loop {
            let (output, result) = ours.take(&drain(&mut peer));
            if heard.is_ok() {
                heard = feed(&mut peer, &output);
            }
            if let Err(error) = result {
                break error;
            }
            assert_ne!(ours.progress, Progress::Done, "let in with {offered:?}");
        };
        assert_eq!(error, Error::NoApplicationProtocol);
        assert_eq!(
            heard,
            Err(rustls::Error::AlertReceived(
                AlertDescription::NoApplicationProtocol
            ))
        );

        let mut config = server_config(&world, &world.gateway, suite);
        config.alpn_protocols = offered;
        let result = our_client_against(&world, config);
        assert!(
            matches!(
                result,
                Err(Error::NoApplicationProtocol
                    | Error::AlertReceived(AlertDescription::NoApplicationProtocol))
            ),
            "{result:?}"
        );
    }
}

/// Two connected sockets on loopback, which give up after a while instead of hanging.
pub(crate) fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for socket in [&one, &other] {
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
    }
    (one, other)
}

/// Sends back all it receives, with new keys every 100 kB, until the other end closes.
fn echo<C, S>(mut peer: C, mut socket: TcpStream)
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    let mut stream = rustls::Stream::new(&mut peer, &mut socket);
    let mut buffer = vec![0; 20_000];
    let mut echoed = 0;
    let mut refreshed = 0;
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        stream.write_all(&buffer[..count]).unwrap();
        echoed += count;
        if echoed - refreshed > 100_000 {
            stream.conn.refresh_traffic_keys().unwrap();
            refreshed = echoed;
        }
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

fn exchange_with_echo<C, S>(peer: C, handshake: Handshake)
where
    C: DerefMut<Target = ConnectionCommon<S>> + Send + 'static,
    S: SideData,
{
    let (ours, theirs) = sockets();
    let echo = std::thread::spawn(move || echo(peer, theirs));
    let mut end = End::shake(ours, handshake).unwrap();
    let piece = bytes(150_000);
    for _ in 0..10 {
        end.send(&piece, 16_384);
        assert_eq!(end.read_count(piece.len()), piece);
    }
    assert!(end.records.key_updates_sent() > 20);
    assert!(end.records.key_updates_received() > 5);
    end.close();
    assert!(end.read_until(|end| end.received.closed).unwrap());
    assert!(end.records.is_closed_cleanly());
    echo.join().unwrap();
}

#[test]
fn our_agent_and_a_rustls_server_converse_on_loopback() {
    let world = world();
    for suite in Suite::ALL {
        let config = server_config(&world, &world.gateway, suite);
        let peer = ServerConnection::new(Arc::new(config)).unwrap();
        let settings = world.client(&options(suite, restless()));
        exchange_with_echo(peer, Handshake::client(&settings, name()).unwrap());
    }
}

#[test]
fn a_rustls_client_and_our_gateway_converse_on_loopback() {
    let world = world();
    for suite in Suite::ALL {
        let config = client_config(&world, Some(&world.agent), suite);
        let peer = ClientConnection::new(Arc::new(config), name()).unwrap();
        let settings = world.server(&options(suite, restless()));
        exchange_with_echo(peer, Handshake::server(&settings).unwrap());
    }
}

#[test]
fn a_cut_socket_is_no_clean_end() {
    let world = world();
    let config = client_config(&world, Some(&world.agent), Suite::Aes128Gcm);
    let mut peer = ClientConnection::new(Arc::new(config), name()).unwrap();
    let (ours, mut theirs) = sockets();
    let cut = std::thread::spawn(move || {
        let mut stream = rustls::Stream::new(&mut peer, &mut theirs);
        stream.write_all(b"half a stor").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        // Wait for the other end, so that nothing is reset.
        let _end = theirs.read(&mut [0]);
    });
    let settings = world.server(&Options::default());
    let mut end = End::shake(ours, Handshake::server(&settings).unwrap()).unwrap();
    assert!(!end.read_until(|end| end.received.closed).unwrap());
    assert_eq!(end.received.plaintext, b"half a stor");
    assert!(!end.records.is_closed_cleanly());
    drop(end);
    cut.join().unwrap();
}
