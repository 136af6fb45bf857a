//! WebSocket through the proxy: only where a resource says so, and only after a real 101.

use adit_tests::python::{WebSocketServer, client_frame};
use adit_tests::{Connection, Rules, World, on_both_drivers};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
// RFC 6455, section 1.3: the answer to that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn rules(server: &WebSocketServer, upgrade: bool) -> Rules {
    Rules::none()
        .http_with("ws.virtual:80", format!("http://{}", server.address()), "")
        .resource(&format!("path = \"/chat\"\nupgrade = {upgrade}"))
        .resource("path = \"/plain\"")
}

fn open(world: &World, path: &str) -> (Connection, adit_tests::Response) {
    let mut connection = world.connect();
    connection
        .send(world.request("GET", &format!("http://ws.virtual{path}"), UPGRADE))
        .unwrap();
    let response = connection.response().unwrap();
    (connection, response)
}

fn text(connection: &mut Connection) -> Vec<u8> {
    let head = connection.exactly(2).unwrap();
    let length = match head[1] {
        126 => {
            let long = connection.exactly(2).unwrap();
            usize::from(u16::from_be_bytes([long[0], long[1]]))
        }
        short => usize::from(short),
    };
    connection.exactly(length).unwrap()
}

on_both_drivers! {
    fn a_websocket_opens_talks_and_closes_with_its_code(driver: Driver) {
        let server = WebSocketServer::start();
        let world = World::on(driver, rules(&server, true));
        let (mut connection, response) = open(&world, "/chat");
        assert_eq!(response.status, 101, "{} {}", response.refusal(), response.text());
        assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
        assert!(response.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
        for size in [0, 1, 125, 126, 1000, 60_000] {
            let message = vec![b'x'; size];
            connection.send(client_frame(1, &message)).unwrap();
            assert_eq!(text(&mut connection), message);
        }
        connection.send(client_frame(1, b"bye")).unwrap();
        let head = connection.exactly(2).unwrap();
        assert_eq!(head[0], 0x88, "a close frame");
        let body = connection.exactly(usize::from(head[1])).unwrap();
        assert_eq!(u16::from_be_bytes([body[0], body[1]]), 4001);
        assert_eq!(&body[2..], b"as you wish");
        connection.send(client_frame(8, &body)).unwrap();
        assert!(connection.closes().unwrap(), "the end of the backend is the end for the client");
    }
}

#[test]
fn an_upgrade_without_the_flag_is_refused() {
    let server = WebSocketServer::start();
    let world = World::with(rules(&server, false));
    let (mut connection, response) = open(&world, "/chat");
    assert_eq!(
        (response.status, response.refusal()),
        (403, "upgrade-denied")
    );
    // What the client sends next is HTTP again.
    connection
        .send(world.request("GET", "http://ws.virtual/nothing", ""))
        .unwrap();
    assert_eq!(connection.response().unwrap().refusal(), "resource-denied");
}

#[test]
fn a_backend_that_does_not_upgrade_answers_like_any_other() {
    let server = WebSocketServer::start();
    let world = World::with(rules(&server, true));
    // Without a key the server answers 400, and the connection stays HTTP.
    let mut connection = world.connect();
    let broken = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    connection
        .send(world.request("GET", "http://ws.virtual/chat", broken))
        .unwrap();
    let response = connection.response().unwrap();
    assert!((400..500).contains(&response.status), "{}", response.line);
    assert_eq!(response.refusal(), "", "it is the backend that says so");
}
