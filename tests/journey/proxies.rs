//! The agent's way out through a corporate HTTP proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use adit_tests::wait::SOON;
use adit_tests::world::until_answered;
use adit_tests::{Backend, Nginx, Rules, World, node, until};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A proxy that takes CONNECT from `user:password` and notes where everybody wants to go.
fn corporate_proxy(credentials: &str) -> (Backend, Arc<Mutex<Vec<String>>>) {
    let wanted = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let targets = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&targets);
    let proxy = Backend::start(move |visit| {
        let Some(request) = visit.head()? else {
            return Ok(());
        };
        if request.field("proxy-authorization") != Some(wanted.as_str()) {
            return visit.send(
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"corp\"\r\n\
                 Content-Length: 0\r\n\r\n",
            );
        }
        assert_eq!(request.method(), "CONNECT");
        noted.lock().unwrap().push(request.target().to_owned());
        let address: SocketAddr = request.target().parse().map_err(io::Error::other)?;
        let far = TcpStream::connect(address)?;
        visit.send("HTTP/1.1 200 Connection established\r\n\r\n")?;
        join(visit.stream().try_clone()?, far)
    });
    (proxy, targets)
}

fn join(near: TcpStream, far: TcpStream) -> io::Result<()> {
    near.set_read_timeout(None)?;
    let (mut from, mut to) = (far.try_clone()?, near.try_clone()?);
    std::thread::spawn(move || copy(&mut from, &mut to));
    let (mut from, mut to) = (near, far);
    copy(&mut from, &mut to);
    Ok(())
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(n) = from.read(&mut chunk) {
        if n == 0 || to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn tunnels_go_through_a_proxy_that_wants_basic() {
    let nginx = Nginx::start();
    let (proxy, targets) = corporate_proxy("corp:p@ss word");
    let world = World::builder()
        .agent(|config| {
            config.text(
                "tunnel.proxy",
                format!("http://corp:p%40ss%20word@{}", proxy.address()),
            );
        })
        .rules(Rules::none().http("web.virtual:80", nginx.url()))
        .start();
    until_answered(&world, "http://web.virtual/1k", 200, SOON);
    let door = world.gateway.door("tunnel").to_string();
    let targets = targets.lock().unwrap().clone();
    assert!(
        targets.len() >= 2 && targets.iter().all(|target| *target == door),
        "{targets:?}"
    );
    // Backends are never reached through it.
    assert!(!targets.contains(&nginx.address().to_string()));
}

#[test]
fn r09_a_proxy_that_says_407_is_told_in_the_status_and_the_password_is_not() {
    let (proxy, _) = corporate_proxy("corp:right");
    let mut world = World::builder()
        .agent(|config| {
            config
                .text(
                    "tunnel.proxy",
                    format!("http://corp:wr0ng-secret@{}", proxy.address()),
                )
                .text("tunnel.retry_cap", "500ms");
        })
        .start();
    let admin = world.agent().admin();
    until("the status names the 407", SOON, || {
        node::failures(&admin.status()).contains("407")
    });
    assert!(proxy.accepted() > 0);
    assert!(!admin.status().to_string().contains("wr0ng-secret"));
    assert!(!world.agent().log().contains("wr0ng-secret"));
    assert!(world.tunnels().is_empty());
}

#[test]
fn a_gateway_named_in_no_proxy_is_dialled_directly() {
    let nginx = Nginx::start();
    let (proxy, targets) = corporate_proxy("corp:right");
    let world = World::builder()
        .agent(|config| {
            config
                .text(
                    "tunnel.proxy",
                    format!("http://corp:right@{}", proxy.address()),
                )
                .text("tunnel.no_proxy", "example.com, 127.0.0.1");
        })
        .rules(Rules::none().http("web.virtual:80", nginx.url()))
        .start();
    until_answered(&world, "http://web.virtual/1k", 200, SOON);
    assert!(targets.lock().unwrap().is_empty());
    assert_eq!(proxy.accepted(), 0);
}
