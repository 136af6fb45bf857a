//! Tunnels whose other end nobody here wrote: TLS by rustls, streams by the yamux crate.
//!
//! What room tests show for the multiplexer and the record layer alone is shown here for the whole
//! tunnel, between real processes and with bodies larger than every window.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

mod pipe;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_proto::connect::{Protocol, Request, Response};
use adit_tests::payload::{Noise, digest_of};
use adit_tests::tunnel::{Disguise, asking};
use adit_tests::world::SUBACCOUNT;
use adit_tests::{Connection, Nginx, Rules, World, net};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt as _;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use pipe::Pipe;
use yamux::{Config, Mode};

/// Larger than the first window of a stream, many times.
const LARGE: usize = 5 << 20;

#[test]
fn an_agent_made_of_rustls_and_the_yamux_crate_serves_requests_of_the_gateway() {
    let mut world = World::builder().start();
    world.agents[0].stop();
    adit_tests::until(
        "the first agent's tunnels are gone",
        adit_tests::wait::SOON,
        || world.tunnels().is_empty(),
    );
    let certificates = world.keys.agent("pki", SUBACCOUNT, "other", "other");
    let door = world.gateway.door("tunnel");
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let agent = std::thread::spawn(move || {
        let peer = Disguise::from(&certificates).dial(door, "").unwrap();
        serve(Pipe::over(peer), &told)
    });
    adit_tests::until(
        "the tunnel of the other agent is up",
        adit_tests::wait::SOON,
        || world.tunnels().len() == 1,
    );

    for number in 0..50 {
        let response = world.get(&format!("http://any.virtual/{number}"));
        assert_eq!(response.status, 200, "{}", response.refusal());
        assert_eq!(response.text(), format!("GET /{number} HTTP/1.1, 0 bytes"));
    }
    let (http, request) = (world.http(), |body: usize, answer: usize| {
        let fields = format!("Content-Length: {body}\r\nX-Answer: {answer}\r\n");
        world.request("POST", "http://any.virtual/", &fields)
    });
    // Down, up, and both at once on many streams of the one tunnel.
    let (down, up) = (request(0, LARGE), request(LARGE, 0));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (down, up) = (&down, &up);
            scope.spawn(move || {
                let mut connection = Connection::open(http).unwrap();
                if number % 2 == 0 {
                    connection.send(down).unwrap();
                    let response = connection.response().unwrap();
                    assert_eq!(response.body, Noise::new(1).bytes(LARGE), "{number} down");
                } else {
                    connection.send(up).unwrap();
                    connection.send(Noise::new(2).bytes(LARGE)).unwrap();
                    let response = connection.response().unwrap();
                    let whole = format!("POST / HTTP/1.1, {LARGE} bytes");
                    assert_eq!(response.text(), whole, "{number} up");
                }
            });
        }
    });
    over.store(true, Ordering::SeqCst);
    assert_eq!(agent.join().unwrap(), 58, "streams were served");
}

// Serves every stream until told to stop; gives back how many there were.
fn serve(pipe: Pipe, over: &AtomicBool) -> usize {
    let mut connection = yamux::Connection::new(pipe, Config::default(), Mode::Client);
    let served = Rc::new(Cell::new(0));
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let (count, streams) = (Rc::clone(&served), spawner.clone());
    let driver = async move {
        loop {
            let next = futures::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await;
            let Some(Ok(stream)) = next else { return };
            let count = Rc::clone(&count);
            let one = async move {
                answer(stream).await.unwrap();
                count.set(count.get() + 1);
            };
            streams.spawn_local(one).unwrap();
        }
    };
    spawner.spawn_local(driver).unwrap();
    pool.run_until(pipe::turns_until(|| over.load(Ordering::SeqCst)));
    served.get()
}

// Reads a whole request, and answers with its line, or with as many bytes as it asks for.
async fn answer(mut stream: yamux::Stream) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, used) = loop {
        let mut chunk = vec![0; 16 * 1024];
        let n = stream.read(&mut chunk).await?;
        assert!(n > 0, "ended before its head");
        bytes.extend_from_slice(&chunk[..n]);
        if let Some((request, used)) = Request::decode(&bytes).unwrap() {
            assert_eq!(request.host, "any.virtual");
            let rest = String::from_utf8_lossy(&bytes[used..]).into_owned();
            if let Some((head, _)) = rest.split_once("\r\n\r\n") {
                break (head.to_owned(), used + head.len() + 4);
            }
        }
    };
    let field = |name: &str| {
        let line = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(name))?;
        line.split_once(": ")?.1.parse::<usize>().ok()
    };
    let expected = field("content-length:").unwrap_or(0);
    let mut body = bytes.len() - used;
    while body < expected {
        let mut chunk = vec![0; 64 * 1024];
        let n = stream.read(&mut chunk).await?;
        assert!(n > 0, "{body} of {expected} bytes");
        body += n;
    }
    let line = head.lines().next().unwrap_or_default();
    let answer = match field("x-answer:") {
        Some(wanted) if wanted > 0 => Noise::new(1).bytes(wanted),
        _ => format!("{line}, {body} bytes").into_bytes(),
    };
    let mut out = Vec::new();
    Response::Accepted.encode(&mut out);
    out.extend(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        )
        .into_bytes(),
    );
    stream.write_all(&out).await?;
    stream.write_all(&answer).await?;
    stream.close().await
}

#[test]
fn a_gateway_made_of_rustls_and_the_yamux_crate_is_served_by_the_agent() {
    const STREAMS: usize = 20;
    let nginx = Nginx::start();
    let large = nginx.file("large", 3 << 20);
    let mut world = World::with(Rules::none().http("web.virtual:80", nginx.url()));
    let certificates = world.keys.gateway("pki", "gw-other", "gw-other");
    let (listener, address) = net::listen();
    let agent = world.agent();
    agent
        .config
        .set("tunnel.gateways", format!("[\"{address}\"]"))
        .set("tunnel.tunnels", "1");
    agent.start();
    let (peer, hello) = Disguise::from(&certificates).welcome(&listener).unwrap();
    assert!(hello.software.contains("adit"), "{}", hello.software);

    let mut connection = yamux::Connection::new(Pipe::over(peer), Config::default(), Mode::Server);
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let mut streams = Vec::new();
    let opening = async {
        for _ in 0..STREAMS {
            let stream = futures::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await;
            streams.push(stream.unwrap());
        }
    };
    pool.run_until(opening);
    // The connection does the input and output of all its streams while it is asked for new ones.
    let driver = async move {
        while let Some(Ok(_)) =
            futures::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await
        {}
    };
    spawner.spawn_local(driver).unwrap();
    let done = Rc::new(Cell::new(0));
    for (number, stream) in streams.into_iter().enumerate() {
        let (done, large) = (Rc::clone(&done), large.clone());
        let file = nginx.path("large");
        let one = async move {
            if number % 2 == 0 {
                assert_eq!(fetch(stream).await, large, "stream {number}");
            } else {
                let body = std::fs::read(file).unwrap();
                let status = upload(stream, number, &body).await;
                assert!(
                    status.contains(" 201 ") || status.contains(" 204 "),
                    "{status}"
                );
            }
            done.set(done.get() + 1);
        };
        spawner.spawn_local(one).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    pool.run_until(pipe::turns_until(|| {
        done.get() == STREAMS || Instant::now() > deadline
    }));
    assert_eq!(done.get(), STREAMS, "streams are done");
    for number in (1..STREAMS).step_by(2) {
        assert_eq!(
            nginx.digest(&format!("upload/{number}")),
            large,
            "upload {number}"
        );
    }
}

async fn fetch(mut stream: yamux::Stream) -> adit_tests::payload::Digest {
    let mut request = asking(Protocol::Http, "web.virtual", 80, SUBACCOUNT);
    request.extend(b"GET /large HTTP/1.1\r\nHost: web.virtual\r\n\r\n");
    stream.write_all(&request).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.first(), Some(&0), "accepted");
    let head = all.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    digest_of(&all[head..]).unwrap()
}

async fn upload(mut stream: yamux::Stream, number: usize, body: &[u8]) -> String {
    let mut request = asking(Protocol::Http, "web.virtual", 80, SUBACCOUNT);
    let length = body.len();
    request.extend(
        format!(
            "PUT /upload/{number} HTTP/1.1\r\nHost: web.virtual\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes(),
    );
    stream.write_all(&request).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.close().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    String::from_utf8_lossy(&all)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
