//! A whole agent in this process: it starts without a gateway, says why it is not ready, and drains.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::settings::Gateway;
use crate::test_world::{certificates, settings};

fn asked(socket: &Path, path: &str) -> String {
    answered(UnixStream::connect(socket).unwrap(), path)
}

fn answered(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn r09_an_agent_without_a_gateway_starts_tries_says_why_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut settings = settings(certificates().0);
    settings.state = folder.path().join("state");
    settings.audit.keeping.folder = folder.path().join("audit");
    settings.retry_cap = Duration::from_millis(100);
    settings.admin.listen = Some("127.0.0.1:0".parse().unwrap());
    settings.admin.socket = Some(folder.path().join("admin.sock"));
    settings.gateways = vec![Gateway {
        host: gone.ip().to_string(),
        port: gone.port(),
        text: gone.to_string(),
    }];
    let agent = Agent::start(settings).unwrap();
    let tries = || {
        agent
            .shared
            .journal
            .latest("dial")
            .map_or(0, |entry| entry.count)
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while tries() < 3 {
        assert!(
            std::time::Instant::now() < deadline,
            "it gave up after {} tries",
            tries()
        );
        std::thread::yield_now();
    }
    let socket = folder.path().join("admin.sock");
    let ready = asked(&socket, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    assert!(
        ready.contains(&gone.to_string()) && ready.contains("Connection refused"),
        "{ready}"
    );
    assert!(ready.contains("no rules in force"), "{ready}");
    assert!(asked(&socket, "/healthz").starts_with("HTTP/1.1 200 "));
    let status = asked(&socket, "/status");
    assert!(
        status.contains("\"role\": \"agent\"") && status.contains("\"in_use\""),
        "{status}"
    );
    // Rules name internal hosts: they are shown to the node's own user, and so is that there are none.
    let public = TcpStream::connect(agent.addresses().admin.unwrap()).unwrap();
    let shown = answered(public, "/rules");
    assert!(shown.starts_with("HTTP/1.1 403 "), "{shown}");
    let shown = asked(&socket, "/rules");
    assert!(
        shown.starts_with("HTTP/1.1 404 ") && shown.ends_with("no rules in force\n"),
        "{shown}"
    );
    agent.drain();
    assert_eq!(agent.wait(), ExitCode::SUCCESS);
}

fn shared() -> (Arc<Shared>, Inboxes, Handle) {
    let housekeeping = Housekeeping::start("test").unwrap();
    let choice = shard::choose(None).unwrap();
    let journal = Arc::new(Journal::new());
    let settings = settings(certificates().0);
    let (shared, inboxes) = share(settings, &housekeeping, choice, journal, None).unwrap();
    (shared, inboxes, housekeeping)
}

#[test]
fn a_shard_that_does_not_read_is_left_1024_messages_and_no_more() {
    assert_eq!(MAILBOX_MAX, 1024);
    let (shared, _inboxes, housekeeping) = shared();
    for _ in 0..MAILBOX_MAX {
        assert!(shared.mailboxes[0].send(Message::Rules).is_ok());
    }
    assert!(shared.mailboxes[0].send(Message::Rules).is_err());
    housekeeping.shutdown();
}

#[test]
fn all_tunnels_grow_their_windows_out_of_one_budget_of_256_mib() {
    assert_eq!(WINDOW_BUDGET_BYTES, 256 * 1024 * 1024);
    let (shared, _inboxes, housekeeping) = shared();
    let (one, two) = (shared.dialler.mux.clone(), shared.dialler.mux.clone());
    assert!(Arc::ptr_eq(&one.budget, &two.budget));
    assert_eq!(one.budget.left(), WINDOW_BUDGET_BYTES);
    housekeeping.shutdown();
}
