//! Wrong configurations: everything that is wrong, a line each, exit code 78, and nothing listens.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use adit_tests::world::{Driver, Keys, Node};
use adit_tests::{Scratch, net, programs};

fn aditd(args: &[&str]) -> Output {
    let mut child = Command::new(programs::aditd())
        .args(args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A start that goes well would never end.
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} started instead of ending");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_right_configuration_is_called_ok_and_starts_nothing() {
    let keys = Keys::new();
    // Somebody holds the port: whoever tried to listen would fail, and differently.
    let (_held, door) = net::listen();
    let mut gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
    gateway.config.text("http.listen", door);
    let agent = Node::agent(&keys, "acme", "", "agent-1", Driver::IoUring, &[door]);
    let scratch = Scratch::new();
    for (role, node) in [("gateway", &gateway), ("agent", &agent)] {
        let file = scratch
            .write(&format!("{role}.toml"), node.config.to_string())
            .display()
            .to_string();
        let output = aditd(&["check", role, "--config", &file]);
        assert_eq!(output.status.code(), Some(0), "{:?}", lines(&output));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{file}: ok\n")
        );
    }
}

#[test]
fn everything_wrong_with_a_gateway_is_told_at_once() {
    let keys = Keys::new();
    // Somebody holds the port: whoever tried to listen would fail, and differently.
    let (_held, door) = net::listen();
    let mut gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
    gateway
        .config
        .text("tunnel.listen", door)
        .text("tunnel.certificate", "/nowhere/cert.pem")
        .text("http.listen", "127.0.0.1:70000")
        .text("http.head_timeout", "5")
        .text("http.hed_timeout", "5s")
        .set("token.issuers", "[]")
        .set("token.algorithms", "[\"HS256\"]")
        .set("runtime.shards", "0")
        .set("nonsense.key", "1");
    let scratch = Scratch::new();
    let file = scratch
        .write("gateway.toml", gateway.config.to_string())
        .display()
        .to_string();
    for args in [
        vec!["check", "gateway", "--config", &file],
        vec!["gateway", "--config", &file],
    ] {
        let output = aditd(&args);
        let told = lines(&output);
        assert_eq!(output.status.code(), Some(78), "{told:#?}");
        for about in [
            "tunnel.certificate",
            "http.listen",
            "http.head_timeout",
            "http.hed_timeout",
            "token.issuers",
            "token.algorithms",
            "runtime.shards",
            "nonsense",
        ] {
            assert_eq!(
                told.iter().filter(|line| line.contains(about)).count(),
                1,
                "{about}: {told:#?}"
            );
        }
        assert_eq!(told.len(), 8, "a line each and nothing else: {told:#?}");
        assert!(
            told.iter().all(|line| line.starts_with(&file)),
            "each says where: {told:#?}"
        );
    }
}

#[test]
fn everything_wrong_with_an_agent_is_told_at_once() {
    let keys = Keys::new();
    let (_held, door) = net::listen();
    let mut agent = Node::agent(&keys, "acme", "", "agent-1", Driver::IoUring, &[]);
    let gateway = keys.gateway("pki", "gw-1", "gw");
    agent
        .config
        .text("admin.listen", door)
        .text("agent.location", "not a location")
        .set("tunnel.gateways", "[\"gateway\", \"gateway:0\"]")
        .text("tunnel.proxy", "socks://proxy:1080")
        .text("tunnel.certificate", gateway.join("cert.pem").display())
        .text("tunnel.key", gateway.join("key.pem").display())
        .text("backend.connect_timeout", "1h")
        .unset("agent.state");
    let scratch = Scratch::new();
    let file = scratch
        .write("agent.toml", agent.config.to_string())
        .display()
        .to_string();
    for args in [
        vec!["check", "agent", "--config", &file],
        vec!["agent", "--config", &file],
    ] {
        let output = aditd(&args);
        let told = lines(&output);
        assert_eq!(output.status.code(), Some(78), "{told:#?}");
        for about in [
            "agent.location",
            "tunnel.gateways",
            "tunnel.proxy",
            "tunnel.certificate",
            "backend.connect_timeout",
        ] {
            assert!(
                told.iter().any(|line| line.contains(about)),
                "{about}: {told:#?}"
            );
        }
        assert!(
            told.iter().all(|line| line.starts_with(&file)),
            "nothing listens, so nothing fails to: {told:#?}"
        );
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let keys = Keys::new();
    let gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
    let key = keys.path("gw-1/key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let scratch = Scratch::new();
    let file = scratch
        .write("gateway.toml", gateway.config.to_string())
        .display()
        .to_string();
    let output = aditd(&["gateway", "--config", &file]);
    let told = lines(&output);
    assert_eq!(output.status.code(), Some(78), "{told:#?}");
    assert!(
        told.len() == 1 && told[0].contains("tunnel.key"),
        "{told:#?}"
    );
    assert!(
        told[0].contains("chmod"),
        "it says how to mend it: {told:#?}"
    );
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_one_line() {
    let scratch = Scratch::new();
    let absent = scratch.path("absent.toml").display().to_string();
    let broken = scratch
        .write("broken.toml", "[http\n")
        .display()
        .to_string();
    for role in ["gateway", "agent"] {
        for file in [&absent, &broken] {
            let output = aditd(&[role, "--config", file]);
            let told = lines(&output);
            assert_eq!(output.status.code(), Some(78), "{told:#?}");
            assert!(
                told.len() == 1 && told[0].starts_with(file.as_str()),
                "{told:#?}"
            );
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named_and_ends_the_start_with_1() {
    let keys = Keys::new();
    let (held, address) = net::listen();
    let mut gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
    gateway.config.text("http.listen", address);
    let scratch = Scratch::new();
    let file = scratch
        .write("gateway.toml", gateway.config.to_string())
        .display()
        .to_string();
    let output = aditd(&["gateway", "--config", &file]);
    let told = lines(&output).join("\n");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("http.listen") && told.contains(&address.to_string()),
        "{told}"
    );
    drop(held);
}
