//! The other end is Debian's `openssl s_client` or `s_server`, a peer nobody here wrote.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use adit_tls::{AlertDescription, Error, Handshake, Limits, Suite};

use crate::support::{AGENT, End, GATEWAY, Issued, World, name, options};

/// How long to wait for the other program before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running openssl: what goes in, and all that has come out so far.
struct Openssl {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<(Mutex<Output>, Condvar)>,
}

#[derive(Default)]
struct Output {
    /// Standard output and standard error, as they came.
    text: Vec<u8>,
    /// Standard output alone.
    stdout: Vec<u8>,
    streams_open: usize,
}

impl Openssl {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let output = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let stdin = child.stdin.take();
        collect(child.stdout.take().unwrap(), true, &output);
        collect(child.stderr.take().unwrap(), false, &output);
        Self {
            child,
            stdin,
            output,
        }
    }

    /// Waits until `found` makes something of its standard output.
    fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&[u8]) -> Option<T>) -> T {
        let (output, arrived) = &*self.output;
        let mut result = None;
        let (output, _) = arrived
            .wait_timeout_while(output.lock().unwrap(), PATIENCE, |output| {
                result = found(&output.stdout);
                result.is_none() && output.streams_open > 0
            })
            .unwrap();
        let end = output.text.len().saturating_sub(500);
        let said = String::from_utf8_lossy(&output.text[end..]).into_owned();
        drop(output);
        result.unwrap_or_else(|| panic!("openssl did not say {what}, but: {said}"))
    }

    fn wait_for_text(&self, text: &[u8]) {
        let what = String::from_utf8_lossy(&text[..text.len().min(60)]);
        self.wait_for(&what, |said| {
            contains(&without_remarks(said), text).then_some(())
        });
    }

    /// All it said until it closed its output, and what of that was standard output.
    fn rest(&self) -> (Vec<u8>, Vec<u8>) {
        let (output, arrived) = &*self.output;
        let (output, timeout) = arrived
            .wait_timeout_while(output.lock().unwrap(), PATIENCE, |output| {
                output.streams_open > 0
            })
            .unwrap();
        assert!(!timeout.timed_out(), "openssl did not end");
        (output.text.clone(), output.stdout.clone())
    }

    fn type_in(&mut self, text: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text).unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn collect(
    mut from: impl Read + Send + 'static,
    is_stdout: bool,
    output: &Arc<(Mutex<Output>, Condvar)>,
) {
    output.0.lock().unwrap().streams_open += 1;
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16_384];
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            let mut collected = output.0.lock().unwrap();
            collected.text.extend_from_slice(&buffer[..count]);
            if is_stdout {
                collected.stdout.extend_from_slice(&buffer[..count]);
            }
            if count == 0 {
                collected.streams_open -= 1;
            }
            output.1.notify_all();
            if count == 0 {
                return;
            }
        }
    });
}

/// What came out without the remarks s_server makes in the midst of payload.
fn without_remarks(text: &[u8]) -> Vec<u8> {
    let remarks = [&b"Read BLOCK\n"[..], b"SSL_do_handshake -> 1\n"];
    let mut rest = text;
    let mut kept = Vec::with_capacity(text.len());
    while let Some((byte, after)) = rest.split_first() {
        if let Some(after) = remarks.iter().find_map(|remark| rest.strip_prefix(*remark)) {
            rest = after;
        } else {
            kept.push(*byte);
            rest = after;
        }
    }
    kept
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Certificates as files, for as long as the test runs.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(world: &World, issued: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("chain.pem", &issued.chain);
        write("key.pem", &issued.key);
        write("roots.pem", &world.authority.pem());
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        Path::join(self.folder.path(), name)
            .to_str()
            .unwrap()
            .into()
    }
}

fn server_args<'a>(suite: &'a str, files: &'a [String; 3], more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-naccept",
        "1",
        "-tls1_3",
        "-ciphersuites",
        suite,
        "-alpn",
        "adit/1",
        "-Verify",
        "2",
        "-verify_return_error",
        "-cert",
        &files[0],
        "-key",
        &files[1],
        "-CAfile",
        &files[2],
    ];
    args.extend_from_slice(more);
    args
}

fn client_args<'a>(
    address: &'a str,
    suite: &'a str,
    files: &'a [String; 3],
    more: &[&'a str],
) -> Vec<&'a str> {
    let mut args = vec![
        "s_client",
        "-connect",
        address,
        "-tls1_3",
        "-ciphersuites",
        suite,
        "-alpn",
        "adit/1",
        "-verify_return_error",
        "-cert",
        &files[0],
        "-key",
        &files[1],
        "-CAfile",
        &files[2],
    ];
    args.extend_from_slice(more);
    args
}

fn files(folder: &Folder) -> [String; 3] {
    ["chain.pem", "key.pem", "roots.pem"].map(|name| folder.path(name))
}

/// The address s_server says it listens on.
fn accepting(server: &Openssl) -> String {
    server.wait_for("ACCEPT with an address", |out| {
        let text = String::from_utf8_lossy(out);
        let line = text.lines().find_map(|line| line.strip_prefix("ACCEPT "))?;
        text.contains('\n').then(|| line.trim().to_owned())
    })
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Lines that openssl cannot take for commands: each begins with a digit.
fn lines(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|line| {
            format!("{line:08} line of payload {:x}\n", line * line * 7919).into_bytes()
        })
        .collect()
}

fn restless() -> Limits {
    Limits::default().with_key_update_records(3)
}

/// Says `payload` both ways and has the keys changed by both ends in between.
fn converse(end: &mut End<TcpStream>, openssl: &mut Openssl) {
    let payload = lines(2000);
    end.send(&payload, 1000);
    openssl.wait_for_text(&payload);
    assert!(end.records.key_updates_sent() >= 20);

    // `k` changes openssl's keys, `K` also asks for ours. A command is one only as the first
    // letter of what openssl reads at once, so each step waits for its effect.
    for (round, command) in [b"k\n", b"K\n", b"k\n", b"K\n"].into_iter().enumerate() {
        let updates = end.records.key_updates_received();
        let sent = end.records.key_updates_sent();
        openssl.type_in(command);
        assert!(
            end.read_until(|end| end.records.key_updates_received() > updates)
                .unwrap()
        );
        if command == b"K\n" {
            assert!(end.records.needs_maintenance(), "it asked for ours");
            end.maintain();
            assert_eq!(end.records.key_updates_sent(), sent + 1);
        }
        let line = format!("{round} after the update\n").into_bytes();
        openssl.type_in(&line);
        assert_eq!(end.read_count(line.len()), line);
        end.send(&line, 10);
        openssl.wait_for_text(&line);
    }
}

#[test]
fn our_agent_and_openssl_s_server_converse() {
    let world = World::new();
    let folder = Folder::new(&world, &world.gateway);
    let files = files(&folder);
    for suite in Suite::ALL {
        let mut openssl =
            Openssl::start(&server_args(suite.name(), &files, &["-num_tickets", "3"]));
        let socket = connect(&accepting(&openssl));
        let settings = world.client(&options(suite, restless()));
        let mut end = End::shake(socket, Handshake::client(&settings, name()).unwrap()).unwrap();
        assert_eq!(end.peer.id.to_string(), GATEWAY);
        assert_eq!(end.records.suite(), suite);
        openssl.type_in(b"1 hello\n");
        assert_eq!(end.read_count(8), b"1 hello\n");
        assert_eq!(end.received.handled, 3, "the session tickets");
        converse(&mut end, &mut openssl);
        end.close();
        assert!(end.read_until(|end| end.received.closed).unwrap());
        assert!(end.records.is_closed_cleanly());
    }
}

#[test]
fn an_s_server_that_quits_without_close_notify_is_no_clean_end() {
    let world = World::new();
    let folder = Folder::new(&world, &world.gateway);
    let files = files(&folder);
    let mut openssl = Openssl::start(&server_args(Suite::Aes128Gcm.name(), &files, &[]));
    let socket = connect(&accepting(&openssl));
    let settings = world.client(&options(Suite::Aes128Gcm, restless()));
    let mut end = End::shake(socket, Handshake::client(&settings, name()).unwrap()).unwrap();
    openssl.type_in(b"1 hello\n");
    assert_eq!(end.read_count(8), b"1 hello\n");
    // `Q` closes the socket before the shutdown of TLS.
    openssl.type_in(b"Q\n");
    assert!(!end.read_until(|end| end.received.closed).unwrap());
    assert!(!end.records.is_closed_cleanly());
}

#[test]
fn openssl_s_client_and_our_gateway_converse() {
    let world = World::new();
    let folder = Folder::new(&world, &world.agent);
    let files = files(&folder);
    for suite in Suite::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut openssl = Openssl::start(&client_args(&address, suite.name(), &files, &[]));
        let settings = world.server(&options(suite, restless()));
        let handshake = Handshake::server(&settings).unwrap();
        let mut end = End::shake(accept(&listener), handshake).unwrap();
        assert_eq!(end.peer.id.to_string(), AGENT);
        assert_eq!(end.records.suite(), suite);
        openssl.wait_for_text(b"ALPN protocol: adit/1");
        openssl.wait_for_text(b"Verify return code: 0 (ok)");
        converse(&mut end, &mut openssl);
        end.close();
        let (said, _) = openssl.rest();
        assert!(
            contains(&said, b"closed"),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[test]
fn a_large_file_through_s_client_comes_back_byte_for_byte() {
    let world = World::new();
    let folder = Folder::new(&world, &world.agent);
    let files = files(&folder);
    let payload = crate::support::bytes(3_000_000);
    for suite in Suite::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let more = ["-quiet", "-verify_quiet"];
        let mut openssl = Openssl::start(&client_args(&address, suite.name(), &files, &more));
        let settings = world.server(&options(suite, restless()));
        let handshake = Handshake::server(&settings).unwrap();
        let mut end = End::shake(accept(&listener), handshake).unwrap();
        let mut stdin = openssl.stdin.take().unwrap();
        let typed = payload.clone();
        let typing = std::thread::spawn(move || stdin.write_all(&typed).map(|()| stdin));
        let mut left = payload.len();
        while left > 0 {
            let piece = end.read_count(left.min(100_000));
            left -= piece.len();
            end.send(&piece, 16_384);
        }
        end.close();
        assert!(openssl.rest().1 == payload, "{suite}: the file was changed");
        drop(typing.join().unwrap());
    }
}

#[test]
fn small_and_padded_records_of_openssl_are_opened() {
    let world = World::new();
    let folder = Folder::new(&world, &world.gateway);
    let files = files(&folder);
    let more = ["-max_send_frag", "512", "-record_padding", "4096"];
    let mut openssl = Openssl::start(&server_args(Suite::Aes256Gcm.name(), &files, &more));
    let socket = connect(&accepting(&openssl));
    let settings = world.client(&options(Suite::Aes256Gcm, restless()));
    let mut end = End::shake(socket, Handshake::client(&settings, name()).unwrap()).unwrap();
    let payload = lines(1000);
    openssl.type_in(&payload);
    assert_eq!(end.read_count(payload.len()), payload);
}

#[test]
fn s07_an_s_server_of_tls_1_2_is_refused() {
    let world = World::new();
    let folder = Folder::new(&world, &world.gateway);
    let files = files(&folder);
    let mut args = server_args("TLS_AES_128_GCM_SHA256", &files, &[]);
    let place = args.iter().position(|arg| *arg == "-tls1_3").unwrap();
    args[place] = "-tls1_2";
    let openssl = Openssl::start(&args);
    let socket = connect(&accepting(&openssl));
    let settings = world.client(&options(Suite::Aes128Gcm, Limits::default()));
    let error = End::shake(socket, Handshake::client(&settings, name()).unwrap())
        .err()
        .unwrap();
    assert_eq!(
        error,
        Error::AlertReceived(AlertDescription::ProtocolVersion)
    );
}

#[test]
fn s07_an_s_client_of_tls_1_2_is_refused() {
    let world = World::new();
    let folder = Folder::new(&world, &world.agent);
    let files = files(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut args = client_args(&address, "TLS_AES_128_GCM_SHA256", &files, &[]);
    let place = args.iter().position(|arg| *arg == "-tls1_3").unwrap();
    args[place] = "-tls1_2";
    let openssl = Openssl::start(&args);
    let settings = world.server(&options(Suite::Aes128Gcm, Limits::default()));
    let error = End::shake(accept(&listener), Handshake::server(&settings).unwrap())
        .err()
        .unwrap();
    assert!(matches!(error, Error::Handshake(_)), "{error}");
    let (said, _) = openssl.rest();
    assert!(
        contains(&said, b"protocol version"),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn an_s_client_without_certificate_hears_why_it_is_refused() {
    let world = World::new();
    let folder = Folder::new(&world, &world.agent);
    let roots = folder.path("roots.pem");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let openssl = Openssl::start(&[
        "s_client", "-connect", &address, "-tls1_3", "-alpn", "adit/1", "-CAfile", &roots,
    ]);
    let settings = world.server(&options(Suite::Aes128Gcm, Limits::default()));
    let error = End::shake(accept(&listener), Handshake::server(&settings).unwrap())
        .err()
        .unwrap();
    assert_eq!(error, rustls::Error::NoCertificatesPresented.into());
    let (said, _) = openssl.rest();
    assert!(
        contains(&said, b"certificate required"),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// Has openssl make an agent's certificate that no library of ours would: `key` as for `-newkey`,
/// signed with `digest` by the world's authority. The paths of chain, key and roots.
fn issued_by_openssl(folder: &Folder, world: &World, key: &str, digest: &str) -> [String; 3] {
    let path = |name: &str| folder.path(name);
    std::fs::write(path("ca.key"), world.authority.key_pem()).unwrap();
    std::fs::write(path("names"), format!("subjectAltName=URI:{AGENT}\n")).unwrap();
    let run = |args: &[&str]| {
        let done = Command::new("openssl").args(args).output().unwrap();
        assert!(
            done.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let (request, leaf, leaf_key) = (path("leaf.csr"), path("leaf.pem"), path("leaf.key"));
    run(&[
        "req", "-new", "-newkey", key, "-nodes", "-subj", "/CN=leaf", "-keyout", &leaf_key, "-out",
        &request,
    ]);
    run(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &path("roots.pem"),
        "-CAkey",
        &path("ca.key"),
        "-CAcreateserial",
        "-days",
        "2",
        digest,
        "-extfile",
        &path("names"),
        "-out",
        &leaf,
    ]);
    [leaf, leaf_key, path("roots.pem")]
}

#[test]
fn s07_weak_keys_and_digests_are_refused_and_usual_ones_are_not() {
    let world = World::new();
    for (key, digest, accepted) in [
        ("rsa:2048", "-sha256", true),
        ("rsa:3072", "-sha384", true),
        ("rsa:1024", "-sha256", false),
        ("rsa:2048", "-sha1", false),
    ] {
        let folder = Folder::new(&world, &world.agent);
        let files = issued_by_openssl(&folder, &world, key, digest);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // Security level 0: let s_client try what it would not do by itself.
        let more = ["-cipher", "DEFAULT@SECLEVEL=0"];
        let args = client_args(&address, "TLS_AES_128_GCM_SHA256", &files, &more);
        let _openssl = Openssl::start(&args);
        let settings = world.server(&options(Suite::Aes128Gcm, Limits::default()));
        let shaken = End::shake(accept(&listener), Handshake::server(&settings).unwrap());
        match shaken {
            Ok(end) => {
                assert!(accepted, "{key} {digest} was let in");
                assert_eq!(end.peer.id.to_string(), AGENT);
            }
            Err(error) => {
                assert!(!accepted, "{key} {digest}: {error}");
                assert!(
                    matches!(&error, Error::Handshake(cause)
                        if matches!(**cause, rustls::Error::InvalidCertificate(_))),
                    "{key} {digest}: {error}"
                );
            }
        }
    }
}
