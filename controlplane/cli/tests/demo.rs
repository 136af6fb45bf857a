//! `adit demo` where its nodes do not do what they should: it says so and leaves nothing behind.
//!
//! The demo with the real programs is a journey and lives in the workspace's tests.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Desk, Run};

/// A stand-in for aditd: a shell script.
fn stand_in(desk: &Desk, script: &str) -> std::path::PathBuf {
    let path = desk.write("aditd", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .expect("the script is the test's own");
    path
}

fn demo(desk: &Desk, aditd: &Path) -> Command {
    let mut command = desk.command();
    command
        .args(["demo", "--once", "--ports", "auto", "--dir", "d"])
        .env("ADITD", aditd);
    command
}

/// A pipe the stand-in can tell something through, and who hears it: within 20 s or never.
fn pipe(desk: &Desk, name: &str) -> impl FnOnce() -> String {
    let path = desk.path(name);
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "mkfifo makes a pipe"
    );
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(std::fs::read_to_string(path)));
    move || {
        heard
            .recv_timeout(Duration::from_secs(20))
            .expect("the stand-in starts within 20 s")
            .expect("a pipe can be read")
    }
}

/// Ends the demo as a person would, if a test fails before it does.
struct Running(Option<Child>);

impl Running {
    fn terminate(mut self) -> Run {
        let child = self.0.take().expect("it is running");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "it still runs");
        child.wait_with_output().expect("it ends").into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn without_aditd_it_says_how_to_get_it() {
    let desk = Desk::new();
    let run: Run = demo(&desk, &desk.path("nowhere")).output().unwrap().into();
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("ADITD names"), "{}", run.stderr);
    assert!(!desk.path("d").exists(), "nothing was made");
}

#[test]
fn a_node_that_ends_at_once_is_told_with_the_end_of_its_log() {
    let desk = Desk::new();
    let aditd = stand_in(
        &desk,
        "echo \"$1: tunnel.listen: no such key\" >&2; exit 78",
    );
    let run: Run = demo(&desk, &aditd).output().unwrap().into();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr
            .contains("the gateway ended by itself (exit status: 78)"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("  gateway: tunnel.listen: no such key"),
        "{}",
        run.stderr
    );
    assert!(!desk.path("d/demo.json").exists());
}

#[test]
fn it_starts_the_nodes_with_their_configurations() {
    let desk = Desk::new();
    let aditd = stand_in(&desk, "echo \"$@\" > \"$0.args\"; exit 1");
    demo(&desk, &aditd)
        .args(["--shards", "3"])
        .output()
        .unwrap();
    let args = std::fs::read_to_string(desk.path("aditd.args")).unwrap();
    let config = desk.path("d/gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let url = text
        .split('"')
        .find(|part| part.starts_with("https://"))
        .unwrap();
    assert_eq!(
        args.trim_end(),
        format!(
            "gateway --enrol {url} --token-file {} --config {}",
            desk.path("d/gateway.invitation").display(),
            config.display()
        )
    );
    for config in ["gateway.toml", "agent.toml"] {
        let text = std::fs::read_to_string(desk.path("d").join(config)).unwrap();
        assert!(text.contains("\n[runtime]\nshards = 3\n"), "{text}");
    }
}

#[test]
fn stopped_while_a_node_is_not_ready_it_ends_the_node_and_does_not_claim_success() {
    let desk = Desk::new();
    // It tells its process id and then does nothing, as a node that hangs does.
    let aditd = stand_in(&desk, "echo $$ > \"$0.pid\"; exec sleep 600");
    let pid = pipe(&desk, "aditd.pid");
    let child = demo(&desk, &aditd)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let running = Running(Some(child));
    let pid = pid();
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists(), "the node runs");

    let run = running.terminate();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("stopped before the story was told"),
        "{}",
        run.stderr
    );
    assert!(!process.exists(), "the node was ended");
    assert!(!desk.path("d/demo.json").exists());
}

#[test]
fn a_port_in_use_is_named() {
    let desk = Desk::new();
    let aditd = stand_in(&desk, "exit 1");
    // Where something else has 20003 already, that serves as well.
    let _held = std::net::TcpListener::bind("127.0.0.1:20003");
    let mut command = desk.command();
    command
        .args(["demo", "--once", "--dir", "d"])
        .env("ADITD", aditd);
    let run: Run = command.output().unwrap().into();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("port 20003 on 127.0.0.1"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("--ports auto"), "{}", run.stderr);
}
