//! The endpoint as its clients see it: real sockets, HTTP written by hand.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::door::serve_connection;
use super::routes::Answers;
use super::*;
use crate::housekeeping::{Handle, Housekeeping};
use crate::settings::Document;

/// A node whose role has one path, `/rules`, which tells what it was asked.
#[derive(Default)]
struct Role {
    ready: AtomicBool,
    broken: AtomicBool,
}

impl Node for Role {
    fn status(&self) -> serde_json::Value {
        json!({"tunnels": 3})
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        if self.ready.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(vec![
                "no tunnel is up".to_owned(),
                "no\nsnapshot".to_owned(),
            ])
        }
    }

    fn healthy(&self) -> Result<(), Vec<String>> {
        if self.broken.load(Ordering::SeqCst) {
            Err(vec!["shard 1 is stuck".to_owned()])
        } else {
            Ok(())
        }
    }

    fn paths(&self) -> &[&'static str] {
        &["/rules"]
    }

    fn handle(&self, request: AdminRequest) -> BoxFuture<'_, Option<AdminResponse>> {
        Box::pin(async move {
            match (request.method.as_str(), request.path.as_str()) {
                ("PUT", "/rules") if request.trusted => {
                    tokio::task::yield_now().await;
                    let sum: u64 = request.body.iter().map(|&byte| u64::from(byte)).sum();
                    let told = json!({
                        "bytes": request.body.len(),
                        "sum": sum,
                        "query": request.query,
                        "version": request.header("x-version"),
                    });
                    Some(AdminResponse::json(200, &told))
                }
                ("PUT", "/rules") => Some(AdminResponse::untrusted()),
                (_, "/rules") => Some(AdminResponse::method_not_allowed("PUT")),
                _ => None,
            }
        })
    }
}

struct World {
    housekeeping: Handle,
    node: Arc<Role>,
    address: SocketAddr,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let doors = Doors::open(&Settings {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            socket: Some(socket.clone()),
        })
        .unwrap();
        assert_eq!(doors.socket(), Some(socket.as_path()));
        let address = doors.address().unwrap();
        let node = Arc::new(Role::default());
        let housekeeping = Housekeeping::start("admin-test").unwrap();
        let served: Arc<dyn Node> = Arc::<Role>::clone(&node);
        drop(housekeeping.spawn(doors.serve(served)));
        Self {
            housekeeping,
            node,
            address,
            socket,
            _folder: folder,
        }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        ask(self.tcp(), "GET", path, &[])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.housekeeping.shutdown();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one request and gives status, head and body of the answer.
fn ask(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    body: &[u8],
) -> (u16, String, String) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-Version: 7\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A refused body may be cut off: the answer tells why.
    drop(stream.write_all(body));
    read_answer(&mut stream)
}

fn read_answer(stream: &mut impl Read) -> (u16, String, String) {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        panic!("no answer but `{answer}` ({ended:?})");
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn probes_and_status_are_answered_on_both_doors() {
    let world = World::new();
    let (status, head, body) = world.get("/healthz");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    let (status, head, body) = world.get("/status");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        json!({"tunnels": 3})
    );
    let (status, _, body) = ask(world.unix(), "GET", "/status?pretty", &[]);
    assert_eq!(status, 200);
    assert!(body.contains("tunnels"));
}

#[test]
fn readiness_and_health_come_with_their_reasons_a_line_each() {
    let world = World::new();
    let (status, _, body) = world.get("/readyz");
    assert_eq!(
        (status, body.as_str()),
        (503, "no tunnel is up\nno snapshot\n")
    );
    world.node.ready.store(true, Ordering::SeqCst);
    let (status, _, body) = world.get("/readyz");
    assert_eq!((status, body.as_str()), (200, "ready\n"));
    world.node.broken.store(true, Ordering::SeqCst);
    let (status, _, body) = world.get("/healthz");
    assert_eq!((status, body.as_str()), (503, "shard 1 is stuck\n"));
}

#[test]
fn metrics_are_the_prometheus_page() {
    let world = World::new();
    let (status, head, body) = world.get("/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.contains("# TYPE process_open_fds gauge\nprocess_open_fds "));
}

#[test]
fn head_is_get_without_a_body() {
    let world = World::new();
    let (status, head, body) = ask(world.tcp(), "HEAD", "/healthz", &[]);
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 3"), "{head}");
}

#[test]
fn an_unknown_path_is_answered_with_the_list_of_paths() {
    let world = World::new();
    let (status, _, body) = world.get("/metric");
    assert_eq!(status, 404);
    for path in ["/healthz", "/metrics", "/readyz", "/status", "/rules"] {
        assert!(body.lines().any(|line| line.trim() == path), "{body}");
    }
}

#[test]
fn a_wrong_method_is_answered_with_the_right_ones() {
    let world = World::new();
    let (status, head, _) = ask(world.tcp(), "POST", "/metrics", &[]);
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    let (status, head, _) = world.get("/rules");
    assert_eq!(status, 405);
    assert!(head.contains("allow: put"), "{head}");
}

#[test]
fn only_the_unix_socket_is_trusted() {
    let world = World::new();
    let (status, _, _) = ask(world.tcp(), "PUT", "/rules", b"abc");
    assert_eq!(status, 403);
    let (status, _, body) = ask(world.unix(), "PUT", "/rules?dry=1", b"abc");
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        json!({"bytes": 3, "sum": 97 + 98 + 99, "query": "dry=1", "version": "7"})
    );
}

#[test]
fn a_body_of_16_kib_passes_on_tcp_and_one_byte_more_is_refused() {
    assert_eq!(BODY_BYTES_MAX, 16 * 1024);
    let world = World::new();
    let (status, _, _) = ask(world.tcp(), "PUT", "/rules", &vec![1; BODY_BYTES_MAX]);
    assert_eq!(status, 403, "read, and refused by the role");
    let (status, _, _) = ask(world.tcp(), "PUT", "/rules", &vec![1; BODY_BYTES_MAX + 1]);
    assert_eq!(status, 413);
    let chunked = "PUT /rules HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n4001\r\n";
    let mut stream = world.tcp();
    stream.write_all(chunked.as_bytes()).unwrap();
    stream.write_all(&[1; 0x4001]).unwrap();
    let (status, _, _) = read_answer(&mut stream);
    assert_eq!(status, 413, "chunks do not get around the limit");
}

#[test]
fn a_body_of_64_mib_passes_on_the_unix_socket_and_one_byte_more_is_refused() {
    let world = World::new();
    let mut body = vec![1; TRUSTED_BODY_BYTES_MAX];
    let (status, _, told) = ask(world.unix(), "PUT", "/rules", &body);
    assert_eq!(status, 200, "{told}");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["sum"], 64 * 1024 * 1024);
    body.push(1);
    let (status, _, _) = ask(world.unix(), "PUT", "/rules", &body);
    assert_eq!(status, 413);
}

#[test]
fn large_bodies_at_the_same_time_take_turns() {
    let world = World::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let body = vec![1; 4 * 1024 * 1024];
                let (status, _, told) = ask(world.unix(), "PUT", "/rules", &body);
                assert_eq!(status, 200, "{told}");
            });
        }
    });
}

#[test]
fn a_large_body_must_say_how_large() {
    let world = World::new();
    let mut stream = world.unix();
    let head = "PUT /rules HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n4001\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[1; 0x4001]).unwrap();
    let (status, _, _) = read_answer(&mut stream);
    assert_eq!(status, 411);
}

#[test]
fn a_body_that_stops_coming_is_answered_with_408() {
    let world = World::new();
    let mut stream = world.tcp();
    let head = "PUT /rules HTTP/1.1\r\nHost: n\r\nContent-Length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).unwrap();
    let (status, _, body) = read_answer(&mut stream);
    assert_eq!(status, 408, "{body}");
}

#[test]
fn a_head_that_stops_coming_and_an_idle_connection_are_closed_after_five_seconds() {
    let world = World::new();
    let mut slow = world.tcp();
    slow.write_all(b"GET /healthz HTT").unwrap();
    let mut idle = world.tcp();
    let mut reused = world.tcp();
    reused
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n")
        .unwrap();
    let started = Instant::now();
    for stream in [&mut slow, &mut idle, &mut reused] {
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_secs(4) && waited < Duration::from_secs(15),
        "{waited:?}"
    );
}

#[test]
fn a_head_above_its_limits_is_answered_with_431() {
    let world = World::new();
    let long = format!(
        "GET /healthz HTTP/1.1\r\nX-Long: {}\r\n\r\n",
        "x".repeat(HEAD_BYTES_MAX)
    );
    let many = format!(
        "GET /healthz HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(HEAD_FIELDS_MAX + 1)
    );
    for head in [long, many] {
        let mut stream = world.tcp();
        stream.write_all(head.as_bytes()).unwrap();
        let (status, _, _) = read_answer(&mut stream);
        assert_eq!(status, 431);
    }
    let enough = format!(
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n{}\r\n",
        "X: y\r\n".repeat(HEAD_FIELDS_MAX - 1)
    );
    let mut stream = world.tcp();
    stream.write_all(enough.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).0, 200);
}

#[test]
fn what_is_not_http_is_answered_with_400_and_closed() {
    let world = World::new();
    let mut stream = world.tcp();
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut stream).0, 400);
}

#[test]
fn sixty_four_connections_are_served_the_next_waits_and_the_other_door_stays_open() {
    let world = World::new();
    assert_eq!(CONNECTIONS_MAX, 64);
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = world.tcp();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n")
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut waits = world.tcp();
    waits
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")
        .unwrap();
    waits
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // Another test of this process sends signals, which interrupt a read with a timeout (signal(7)).
    let refused = loop {
        let kind = waits.read(&mut [0; 1]).unwrap_err().kind();
        if kind != io::ErrorKind::Interrupted {
            break kind;
        }
    };
    assert_eq!(refused, io::ErrorKind::WouldBlock, "no seat is free");
    let (status, _, _) = ask(world.unix(), "GET", "/healthz", &[]);
    assert_eq!(status, 200, "the unix socket has seats of its own");
    held.pop();
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_answer(&mut waits).0, 200);
}

/// A connection without a socket below it, so that its minutes pass in no time: what the peer wrote first, what it
/// does later, and how long it was served.
async fn served<F>(first: &str, peer: impl FnOnce(tokio::io::DuplexStream) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    /// A status that fits into no buffer on the way.
    struct Verbose;
    impl Node for Verbose {
        fn status(&self) -> serde_json::Value {
            json!("x".repeat(4 * HEAD_BUFFER_BYTES))
        }
        fn ready(&self) -> Result<(), Vec<String>> {
            Ok(())
        }
    }
    let (mut theirs, ours) = tokio::io::duplex(4096);
    theirs.write_all(first.as_bytes()).await.unwrap();
    let peer = tokio::spawn(peer(theirs));
    let answers = Answers::new(Arc::new(Verbose));
    let started = tokio::time::Instant::now();
    serve_connection(ours, &answers, false).await;
    let served = started.elapsed();
    peer.abort();
    // A panic of the peer is a failure of the test.
    if let Err(error) = peer.await {
        assert!(error.is_cancelled(), "{error}");
    }
    served
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_its_answer_is_cut_after_life_and_grace() {
    let request = "GET /status HTTP/1.1\r\nHost: n\r\n\r\n";
    let served = served(request, |stream| async move {
        let _unread = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(
        (CONNECTION_LIFE.as_secs(), CONNECTION_GRACE.as_secs()),
        (60, 30)
    );
    assert_eq!(served, CONNECTION_LIFE + CONNECTION_GRACE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_read_within_the_grace_is_whole() {
    let request = "GET /status HTTP/1.1\r\nHost: n\r\n\r\n";
    let served = served(request, |mut stream| async move {
        let last = CONNECTION_LIFE + CONNECTION_GRACE - Duration::from_millis(1);
        tokio::time::sleep(last).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.len() > 4 * HEAD_BUFFER_BYTES);
        assert!(answer.ends_with(b"x\"\n"));
    })
    .await;
    assert_eq!(served, Duration::from_millis(89_999));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_asking_is_let_go_after_a_minute() {
    let request = "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n";
    let served = served(request, move |mut stream| async move {
        let mut answer = [0; 1024];
        while stream.read(&mut answer).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            if stream.write_all(request.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await;
    assert_eq!(served, CONNECTION_LIFE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_on_tcp_has_five_seconds_in_all() {
    let head = "PUT /rules HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
    let served = served(head, |mut stream| async move {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    })
    .await;
    assert_eq!(served, BODY_TIMEOUT);
}

/// What a connection is answered whose peer has written `first` and writes `last` after `waited`.
async fn answered_late(first: &str, last: &[u8], waited: Duration) -> String {
    let (mut theirs, ours) = tokio::io::duplex(4096);
    theirs.write_all(first.as_bytes()).await.unwrap();
    let answers = Answers::new(Arc::new(Role::default()));
    let peer = async {
        tokio::time::sleep(waited).await;
        // Refused when the connection is gone already.
        let _ = theirs.write_all(last).await;
        let mut answer = Vec::new();
        let _ = theirs.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    tokio::join!(serve_connection(ours, &answers, false), peer).1
}

#[tokio::test(start_paused = true)]
async fn a_head_whole_in_the_last_millisecond_is_answered_and_a_later_one_is_not() {
    assert_eq!(HEAD_TIMEOUT, Duration::from_secs(5));
    let head = "GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n";
    let moment = Duration::from_millis(1);
    let answer = answered_late(head, b"\r\n", HEAD_TIMEOUT - moment).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = answered_late(head, b"\r\n", HEAD_TIMEOUT + moment).await;
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_whole_in_the_last_millisecond_is_read_and_a_later_one_is_answered_with_408() {
    assert_eq!(BODY_TIMEOUT, Duration::from_secs(5));
    let head = "PUT /rules HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: 1\r\n\r\n";
    let moment = Duration::from_millis(1);
    let answer = answered_late(head, b"x", BODY_TIMEOUT - moment).await;
    assert!(
        answer.starts_with("HTTP/1.1 403 "),
        "read, and refused by the role: {answer}"
    );
    let answer = answered_late(head, b"x", BODY_TIMEOUT + moment).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn the_socket_file_is_its_owners_alone_and_leaves_with_the_endpoint() {
    let world = World::new();
    let mode = std::fs::metadata(&world.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = world.socket.clone();
    world.housekeeping.shutdown();
    assert!(!socket.exists());
}

#[test]
fn a_socket_somebody_listens_on_is_left_alone() {
    let world = World::new();
    let inode = std::fs::metadata(&world.socket).unwrap().ino();
    let error = open_socket(&world.socket).unwrap_err();
    assert!(
        error.ends_with("another process listens there; stop it or choose another path"),
        "{error}"
    );
    assert_eq!(std::fs::metadata(&world.socket).unwrap().ino(), inode);
    let (status, _, _) = ask(world.unix(), "GET", "/healthz", &[]);
    assert_eq!(status, 200);
}

#[test]
fn a_socket_nobody_listens_on_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind, as kill -9 does");
    let doors = open_socket(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(doors);
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = open_socket(&path).unwrap_err();
    assert!(error.ends_with("no socket; move it away"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_file_of_a_successor_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let doors = open_socket(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // A second inode is made before the first is dropped, so the numbers differ.
    let _successor = UnixListener::bind(&path).unwrap();
    drop(doors);
    assert!(path.exists());
}

#[test]
fn sockets_that_cannot_be_opened_say_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_socket(&folder.path().join("none/admin.sock")).unwrap_err();
    assert!(
        error.ends_with("its folder does not exist; create it"),
        "{error}"
    );
    // sockaddr_un has 108 bytes for the path and its closing NUL (unix(7)).
    let pad = 107 - folder.path().as_os_str().len() - 1;
    let fits = folder.path().join("x".repeat(pad));
    drop(open_socket(&fits).unwrap());
    let error = open_socket(&folder.path().join("x".repeat(pad + 1))).unwrap_err();
    assert!(error.ends_with("use at most 107 bytes"), "{error}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Doors::open(&Settings {
        listen: Some(address),
        socket: None,
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("admin.listen {address}: another process listens there")
    );
}

#[test]
fn settings_come_from_their_section() {
    let text = "[admin]\nlisten = \"127.0.0.1:9090\"\nsocket = \"run/admin.sock\"\n";
    let document = Document::parse("a.toml", PathBuf::from("/etc/adit"), text.to_owned()).unwrap();
    let settings = Settings::read(&document.root().section("admin"));
    document.finish().unwrap();
    assert_eq!(
        settings,
        Settings {
            listen: Some("127.0.0.1:9090".parse().unwrap()),
            socket: Some(PathBuf::from("/etc/adit/run/admin.sock")),
        }
    );
}

fn open_socket(path: &Path) -> Result<Doors, String> {
    Doors::open(&Settings {
        listen: None,
        socket: Some(path.to_owned()),
    })
    .map_err(|error| error.to_string())
}
