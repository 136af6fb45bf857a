//! That a byte is not copied on its way: counted, in both directions and both roles.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use adit_proto::connect::Protocol;
use adit_proto::connect::Response;
use adit_relay::duplex::duplex;
use adit_relay::gather;
use adit_runtime::buffer::{Class, lent};
use adit_transport::piece::copied_bytes;
use adit_transport::socket::Leg;
use adit_transport::{Socket, Stream};

use crate::test_world::{Backend, World, all_of, front, http, on_both_drivers, opaque};

const BYTES: u64 = 64 << 20;

// An application behind the gateway's end of the tunnel.
fn application(play: impl FnOnce(TcpStream) + Send + 'static) -> Socket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || play(TcpStream::connect(address).unwrap()));
    Socket::from_std(listener.accept().unwrap().0, Leg::Local).unwrap()
}

fn send_all(mut to: &TcpStream) {
    let chunk = vec![7; 256 * 1024];
    for _ in 0..BYTES / (256 * 1024) {
        to.write_all(&chunk).unwrap();
    }
    to.shutdown(Shutdown::Write).unwrap();
}

fn read_all(mut from: &TcpStream) -> u64 {
    let mut chunk = vec![0; 256 * 1024];
    let mut all = 0;
    loop {
        match from.read(&mut chunk).unwrap() {
            0 => return all,
            n => all += u64::try_from(n).unwrap(),
        }
    }
}

// Waits until as much has come as anybody wants to send to who does not read.
fn stands_still(socket: &TcpStream) {
    let waiting = || rustix::io::ioctl_fionread(socket).unwrap();
    let mut before = 0;
    for _ in 0..60 {
        if before > 0 && waiting() <= before {
            return;
        }
        before = waiting();
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("{before} bytes after 30 s, and still more come, or none");
}

async fn opened(world: &World) -> (Stream, VecDeque<adit_transport::Piece>) {
    let stream = world
        .open(&front(Protocol::Tcp, "acme", "db.virtual", 5432, ""), false)
        .await;
    let (mut pieces, mut answer) = (VecDeque::new(), Vec::new());
    let (verdict, used) = gather::from_stream(&stream, &mut pieces, &mut answer, Response::decode)
        .await
        .unwrap();
    assert_eq!((verdict, used), (Response::Accepted, answer.len()));
    (stream, pieces)
}

#[test]
fn no_payload_is_copied_between_tunnel_and_sockets_that_keep_up() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|number, socket| {
            if number == 0 {
                send_all(socket);
            }
            assert_eq!(read_all(socket), if number == 0 { 0 } else { BYTES });
        });
        let rules = opaque("tcp", &backend.address.to_string(), "");
        let world = World::new(driver, &rules, |_| {}).await;

        let before = copied_bytes();
        let (stream, mut first) = opened(&world).await;
        let download = application(|socket| {
            socket.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&socket), BYTES);
        });
        let ended = duplex(&stream, &mut first, &download).await;
        assert!(ended.is_ok(), "{ended:?}");

        let (stream, mut first) = opened(&world).await;
        let upload = application(|socket| {
            send_all(&socket);
            assert_eq!(read_all(&socket), 0);
        });
        let ended = duplex(&stream, &mut first, &upload).await;
        assert!(ended.is_ok(), "{ended:?}");

        // A reader that the machine keeps from its core for a while counts as stalled, and costs a window.
        let copied = copied_bytes() - before;
        assert!(
            copied < 2 * BYTES / 16,
            "{copied} bytes of {} were copied",
            2 * BYTES
        );
    });
}

#[test]
fn payload_for_a_socket_that_stalls_is_copied_out_of_the_tunnels_blocks() {
    on_both_drivers(async |driver| {
        let backend = Backend::new(|_, socket| {
            send_all(socket);
            assert_eq!(read_all(socket), 0);
        });
        let rules = opaque("tcp", &backend.address.to_string(), "");
        let world = World::new(driver, &rules, |_| {}).await;
        let before = copied_bytes();
        let (stream, mut first) = opened(&world).await;
        let slow = application(|socket| {
            socket.shutdown(Shutdown::Write).unwrap();
            stands_still(&socket);
            assert_eq!(read_all(&socket), BYTES);
        });
        let ended = duplex(&stream, &mut first, &slow).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert!(copied_bytes() > before, "what waits must not pin blocks");
    });
}

#[test]
fn what_a_quiet_conversation_holds_is_small() {
    on_both_drivers(async |driver| {
        let world = World::new(driver, "", |_| {}).await;
        let stream = world.gateway.open().await.unwrap();
        let socket = application(|_| {});
        let mut pieces = VecDeque::new();
        let both_ways = size_of_val(&duplex(&stream, &mut pieces, &socket));
        let run = size_of_val(&crate::serve::run(std::rc::Rc::clone(&world.shard), stream));
        assert!(both_ways <= 512, "duplex: {both_ways} bytes");
        assert!(run <= 1024, "run: {run} bytes");
    });
}

#[test]
fn a_body_that_waits_for_a_dial_pins_no_block() {
    on_both_drivers(async |driver| {
        // A backend that never answers a TLS handshake.
        let backend = Backend::new(|_, socket| {
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let rules = all_of(&format!("https://{}", backend.address));
        let world = World::new(driver, &rules, |_| {}).await;
        let head = "PUT /a HTTP/1.1\r\nhost: erp.virtual\r\ncontent-length: 200000\r\n\r\n";
        let mut bytes = http("erp.virtual", 80, head);
        bytes.resize(bytes.len() + 100_000, b'x');
        let stream = world.open(&bytes, false).await;
        while backend.connections() == 0 {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
        stream.send_bytes(&[b'x'; 50_000], false).await.unwrap();
        adit_runtime::timer::sleep(Duration::from_millis(50)).await;
        assert_eq!(lent(Class::Block), 0, "a quiet tunnel holds no block");
    });
}
