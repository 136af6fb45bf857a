//! Our TLS against rustls servers on threads of their own, on both drivers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_runtime::local::both;
use adit_transport::socket::Leg;
use rustls::version::{TLS12, TLS13};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::*;
use crate::test_world::on_both_drivers;

type Peer = StreamOwned<ServerConnection, TcpStream>;

struct Server {
    address: SocketAddr,
    trusted: Arc<ClientConfig>,
    thread: JoinHandle<()>,
}

// Accepts one connection and runs `script` on it.
fn server(
    version: &'static SupportedProtocolVersion,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> Server {
    let made = rcgen::generate_simple_self_signed(["backend.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusted = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        script(&mut StreamOwned::new(connection, socket));
    });
    Server {
        address,
        trusted: Arc::new(trusted),
        thread,
    }
}

async fn connect(server: &Server) -> io::Result<TlsWire> {
    let socket = Socket::connect(server.address, Duration::from_secs(5), Leg::Local).await?;
    let name = ServerName::try_from("backend.test").unwrap();
    TlsWire::connect(socket, &server.trusted, name).await
}

async fn read_to_end(wire: &TlsWire) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = vec![0; 30_000];
    loop {
        match wire.read(&mut chunk).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&chunk[..n]),
        }
    }
}

fn pattern(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[test]
fn bytes_pass_both_ways_in_tls_1_2_and_1_3() {
    on_both_drivers(async |_| {
        for version in [&TLS12, &TLS13] {
            let server = server(version, |peer| {
                let mut request = [0; 4];
                peer.read_exact(&mut request).unwrap();
                assert_eq!(&request, b"ping");
                peer.write_all(b"pong").unwrap();
                peer.conn.send_close_notify();
                peer.flush().unwrap();
            });
            let wire = connect(&server).await.unwrap();
            wire.write_all(b"ping").await.unwrap();
            assert_eq!(read_to_end(&wire).await.unwrap(), b"pong");
            server.thread.join().unwrap();
        }
    });
}

#[test]
fn much_more_than_the_sockets_hold_arrives_in_order_both_ways_at_once() {
    on_both_drivers(async |_| {
        const BYTES: u32 = 6_000_000;
        let server = server(&TLS13, |peer| {
            // Sends all before it reads: our side must read while its writes wait.
            peer.write_all(&pattern(BYTES)).unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            assert!(all == pattern(BYTES), "bytes differ");
            peer.conn.send_close_notify();
            peer.flush().unwrap();
        });
        let wire = connect(&server).await.unwrap();
        let upload = pattern(BYTES);
        let (sent, received) = both(
            async {
                wire.write_all(&upload).await?;
                wire.finish().await
            },
            read_to_end(&wire),
        )
        .await;
        sent.unwrap();
        assert!(received.unwrap() == upload, "bytes differ");
        server.thread.join().unwrap();
    });
}

#[test]
fn what_was_taken_leaves_without_further_calls_once_the_socket_takes_it() {
    on_both_drivers(async |_| {
        let (start, wait) = std::sync::mpsc::channel::<usize>();
        let (finish, done) = std::sync::mpsc::channel();
        let server = server(&TLS13, move |peer| {
            // Some bytes, so that the handshake is over on both sides.
            peer.write_all(b"go").unwrap();
            let mut all = vec![0; wait.recv().unwrap()];
            peer.read_exact(&mut all).unwrap();
            finish.send(all).unwrap();
        });
        let wire = connect(&server).await.unwrap();
        wire.read(&mut [0; 8]).await.unwrap();
        let mut taken = Vec::new();
        let chunk = pattern(16_000);
        while !wire.inner.flushing.get() {
            let n = wire.try_write(&[IoSlice::new(&chunk)]).unwrap();
            taken.extend_from_slice(&chunk[..n]);
        }
        // Nobody touches the wire from here on.
        start.send(taken.len()).unwrap();
        let all = loop {
            match done.try_recv() {
                Ok(all) => break all,
                Err(_) => adit_runtime::timer::sleep(Duration::from_millis(1)).await,
            }
        };
        assert!(all == taken, "bytes differ");
    });
}

#[test]
fn r12_an_end_without_close_notify_is_an_error_and_no_end() {
    on_both_drivers(async |_| {
        for version in [&TLS12, &TLS13] {
            let server = server(version, |peer| {
                peer.write_all(b"half").unwrap();
                peer.flush().unwrap();
                peer.sock.shutdown(std::net::Shutdown::Both).unwrap();
            });
            let wire = connect(&server).await.unwrap();
            let error = read_to_end(&wire).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
    });
}

#[test]
fn a_backend_with_a_strange_certificate_or_name_is_refused() {
    on_both_drivers(async |_| {
        let shy = server(&TLS13, |peer| {
            let _ = peer.read(&mut [0]);
        });
        let other = server(&TLS13, |peer| {
            let _ = peer.read(&mut [0]);
        });
        let socket = Socket::connect(shy.address, Duration::from_secs(5), Leg::Local)
            .await
            .unwrap();
        let name = ServerName::try_from("backend.test").unwrap();
        let error = TlsWire::connect(socket, &other.trusted, name)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");

        let socket = Socket::connect(other.address, Duration::from_secs(5), Leg::Local)
            .await
            .unwrap();
        let name = ServerName::try_from("elsewhere.test").unwrap();
        let error = TlsWire::connect(socket, &other.trusted, name)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    });
}

#[test]
fn what_speaks_no_tls_is_refused() {
    on_both_drivers(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = server(&TLS13, |_| {});
        // Never used: only its trust is.
        let unused = std::mem::replace(&mut server.address, listener.local_addr().unwrap());
        drop(TcpStream::connect(unused).unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
        });
        let error = connect(&server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    });
}

#[test]
fn session_tickets_do_not_make_a_quiet_connection_look_busy_and_data_or_an_end_do() {
    on_both_drivers(async |_| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let server = server(&TLS13, move |peer| {
            // The first byte comes with the server's tickets.
            peer.write_all(b"x").unwrap();
            wait.recv().unwrap();
            peer.write_all(b"y").unwrap();
            wait.recv().unwrap();
        });
        let wire = connect(&server).await.unwrap();
        assert_eq!(wire.read(&mut [0; 8]).await.unwrap(), 1);
        assert!(wire.is_quiet());
        go.send(()).unwrap();
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        assert!(!wire.is_quiet(), "an unasked byte");
        go.send(()).unwrap();
        server.thread.join().unwrap();
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        assert!(!wire.is_quiet(), "an end");
    });
}

#[test]
fn a_small_read_leaves_the_rest_for_the_next_without_waiting_for_the_socket() {
    on_both_drivers(async |_| {
        let server = server(&TLS13, |peer| {
            peer.write_all(b"abcdef").unwrap();
            let _ = peer.read(&mut [0]);
        });
        let wire = connect(&server).await.unwrap();
        let mut two = [0; 2];
        for expected in [b"ab", b"cd", b"ef"] {
            assert_eq!(wire.read(&mut two).await.unwrap(), 2);
            assert_eq!(&two, expected);
        }
    });
}
