//! Secrets stay where they belong, and strangers cost little.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use adit_tests::member::Member;
use adit_tests::plane::{Memory, PASSWORD, Plane, SEAL, rules_number};
use adit_tests::wait::{SOON, until};
use serde_json::json;

// S-10
#[test]
fn s10_no_secret_is_in_a_log_a_command_line_an_environment_or_a_file_for_others() {
    let mut plane = Plane::start_logging("cp-1", &Memory::Embedded, "", "trace");
    let setup = plane.setup_token();
    let root = plane.set_up();
    root.make_user("ada", &["operator@acme"]);
    let ada = plane.log_in("ada");
    let program = ada
        .post("/api/v1/tokens", &json!({"label": "ci", "days": 1}))
        .text_of("token");
    let typed = "CANARY-typed-where-the-name-belongs";
    for (user, password) in [(typed, "x"), ("ada", typed)] {
        let wish = json!({"user": user, "password": password});
        assert_eq!(plane.nobody().post("/api/v1/logins", &wish).status, 401);
    }
    let unused = root.invite("acme", "a-2");
    let token = root.invite("acme", "a-1");
    let member = Member::enrol(&plane, &token).unwrap();
    assert!(Member::enrol(&plane, &token).is_err());
    assert_eq!(ada.apply("acme", "", &rules_number(1)).status, 200);
    let mut line = member.subscribe(&plane).unwrap();
    let _ = line.push();

    let pid = plane.process().pid();
    let mut shown = plane.log();
    assert!(shown.contains("TRACE"), "the log is not at trace");
    for name in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes));
    }
    let seal_hex: String = SEAL.iter().map(|byte| format!("{byte:02x}")).collect();
    let seal = String::from_utf8_lossy(SEAL).into_owned();
    let secret_of = |token: &str| token.split('.').nth(1).unwrap_or(token).to_owned();
    for (what, secret) in [
        ("password", PASSWORD.to_owned()),
        ("typed", typed.to_owned()),
        ("setup token", setup),
        ("login", root.token().to_owned()),
        ("other login", ada.token().to_owned()),
        ("program's token", program.clone()),
        ("invitation", secret_of(&token)),
        ("unused invitation", secret_of(&unused)),
        ("seal", seal),
        ("seal in hexadecimal", seal_hex),
        ("private key", "PRIVATE KEY".to_owned()),
    ] {
        let line = shown.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{what}: {line:?}");
    }
    // Nor in the memory as it lies on the disk.
    let stored = std::fs::read_dir(plane.scratch().path("state")).unwrap();
    for entry in stored.flatten() {
        check_files(
            &entry.path(),
            &[PASSWORD, root.token(), &program, &secret_of(&unused)],
        );
    }
}

fn check_files(path: &Path, secrets: &[&str]) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            check_files(&entry.path(), secrets);
        }
        return;
    }
    let mode = std::fs::metadata(path).unwrap().mode() & 0o777;
    if path.file_name().is_some_and(|name| name != "ca.pem") {
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    let bytes = std::fs::read(path).unwrap();
    for secret in secrets {
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{} holds a secret", path.display());
    }
}

// S-09
#[test]
fn s09_two_hundred_strangers_with_endless_bodies_cost_little() {
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let nobody = plane.nobody();
    let doors = [
        (
            "PUT",
            "/api/v1/subaccounts/acme/rules",
            "application/toml",
            401,
        ),
        ("POST", "/api/v1/users", "application/json", 401),
        ("POST", "/api/v1/logins", "application/json", 413),
        ("POST", "/api/v1/setup", "application/json", 413),
        ("POST", "/node/v1/enrol", "application/json", 413),
    ];
    let before = plane.process().resident_bytes();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x1_0000));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|number| {
                let (nobody, chunk) = (&nobody, &chunk);
                scope.spawn(move || {
                    let (method, path, kind, wanted) = doors[number % doors.len()];
                    let mut stream = nobody.connect().unwrap();
                    let head = format!(
                        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\nif-none-match: *\r\n\
                         transfer-encoding: chunked\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    // 64 MiB at most, and the server must end it long before.
                    let sent = (0..1024).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
                    assert!(sent < 1024, "{path} took everything");
                    let mut answer = [0_u8; 64];
                    if let Ok(read) = stream.read(&mut answer) {
                        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
                        if !answer.is_empty() {
                            assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{path}: {answer}");
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
    let most = plane.process().most_resident_bytes();
    let grown = most.saturating_sub(before);
    assert!(grown < 150 * 1024 * 1024, "grew by {grown} bytes");
    assert_eq!(root.get("/api/v1/whoami").status, 200);
}

#[test]
fn a_body_before_the_caller_is_known_has_16_kib_and_not_one_more() {
    let (plane, _root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let most = adit_api_open_body_bytes_max();
    for path in ["/api/v1/logins", "/api/v1/setup"] {
        for (length, wanted) in [(most, 400), (most + 1, 413)] {
            let mut body = b"{}".to_vec();
            body.resize(length, b' ');
            let reply =
                plane
                    .nobody()
                    .ask("POST", path, &[("content-type", "application/json")], &body);
            assert_eq!(reply.status, wanted, "{path} {length}: {reply:?}");
        }
    }
}

/// `OPEN_BODY_BYTES_MAX` of the door.
fn adit_api_open_body_bytes_max() -> usize {
    16 * 1024
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let mut stream = plane.nobody().connect().unwrap();
    stream
        .write_all(
            b"POST /api/v1/logins HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        )
        .unwrap();
    let mut answer = [0_u8; 12];
    until("it is refused", SOON, || {
        stream.read_exact(&mut answer).is_ok()
    });
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(root.get("/api/v1/whoami").status, 200);
}
