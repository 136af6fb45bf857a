//! `adit demo` with the real programs: the whole journey in one command.

use std::process::{Command, Stdio};
use std::time::Duration;

use adit_tests::curl::Curl;
use adit_tests::process::Process;
use adit_tests::turn::Turn;
use adit_tests::{Scratch, programs, socks, until, until_some};

fn demo(scratch: &Scratch) -> Command {
    let mut command = Command::new(programs::adit());
    command
        .args(["demo", "--ports", "auto", "--dir"])
        .arg(scratch.path("demo"))
        .env("ADITD", programs::aditd());
    command
}

#[test]
fn demo_once_tells_its_story_and_ends_with_0() {
    let _turn = Turn::shared();
    let scratch = Scratch::new();
    let output = demo(&scratch)
        .arg("--once")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for word in [
        "200 OK",
        "403 Forbidden",
        "407 Proxy Authentication Required",
        "echo.virtual:7",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(
        !scratch.path("demo/demo.json").exists(),
        "what it said is no longer true"
    );
}

#[test]
fn demo_json_is_right_while_the_demo_runs() {
    let _turn = Turn::shared();
    let scratch = Scratch::new();
    let mut running = Process::start("adit demo", &mut demo(&scratch), &scratch.path("demo.log"));
    // It has children of its own, which it ends when it is asked to end.
    running.end_gently();
    let json = until_some("demo.json", Duration::from_secs(60), || {
        running.must_run();
        let text = std::fs::read_to_string(scratch.path("demo/demo.json")).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()
    });
    let text = |path: &str| {
        let value = json.pointer(path).and_then(serde_json::Value::as_str);
        value
            .unwrap_or_else(|| panic!("{path} is missing: {json:#}"))
            .to_owned()
    };

    let token = std::fs::read_to_string(text("/token_file")).unwrap();
    let proxy = format!("http://{}", text("/gateway/http"));
    let authorization = format!("Proxy-Authorization: Bearer {token}");
    let fetch = |url: &str| {
        let outcome = Curl::new(&[
            "-x",
            &proxy,
            "--proxy-header",
            &authorization,
            "-w",
            "\n%{http_code}",
            url,
        ])
        .run();
        let text = outcome.text();
        text.rsplit('\n').next().unwrap_or_default().to_owned()
    };
    assert_eq!(fetch(&text("/examples/allowed_url")), "200");
    assert_eq!(fetch(&text("/examples/denied_url")), "403");

    let tcp = text("/examples/tcp");
    let (host, port) = tcp.rsplit_once(':').unwrap();
    let door = text("/gateway/socks5").parse().unwrap();
    drop(socks::connect(door, &token, host, port.parse().unwrap()).unwrap());

    for (url, word) in [
        (
            format!("{}/status", text("/gateway/admin")),
            "\"role\": \"gateway\"",
        ),
        (
            format!("{}/metrics", text("/agent/metrics")),
            "agent_tunnels",
        ),
        (format!("{}/readyz", text("/agent/metrics")), "ready"),
    ] {
        let outcome = Curl::new(&["-f", &url]).run();
        assert!(
            outcome.text().contains(word),
            "{url}: {} {}",
            outcome.text(),
            outcome.stderr
        );
    }
    assert!(
        text("/gateway/tunnel")
            .parse::<std::net::SocketAddr>()
            .is_ok()
    );
    assert_eq!(
        (text("/subaccount").as_str(), text("/location").as_str()),
        ("demo", "")
    );
    let rules = text("/rules_file");
    programs::run_adit(&["rules", "check", &rules]);
    let allowed = format!("GET {}", text("/examples/allowed_url"));
    programs::run_adit(&[
        "rules",
        "explain",
        "--node",
        &text("/agent/admin"),
        &allowed,
    ]);
    let applied = Command::new(programs::adit())
        .args(["rules", "apply", &rules, "--subaccount", "demo", "--yes"])
        .env("ADIT_CONFIG_DIR", text("/control/config_dir"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(applied.status.code(), Some(0), "no change: {applied:?}");

    // What it offers to paste does what it says.
    let told = running.log();
    let offered: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    let paste = |start: &str, word: &str| {
        let line = offered
            .iter()
            .find(|line| line.starts_with(start) && line.contains(word));
        let line = line.unwrap_or_else(|| panic!("no line `{start} ... {word}`: {told}"));
        // The TCP conversation would go on for ever.
        let line = line.replace("telnet://", "--max-time 2 telnet://");
        let output = Command::new("sh")
            .arg("-c")
            .arg(line)
            .env("ADIT_CONFIG_DIR", text("/control/config_dir"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(paste("curl -x", "/orders/1").contains("\"order\":\"1\""));
    assert!(paste("curl -x", "/admin/users").starts_with("HTTP/1.1 403 "));
    assert!(!paste("curl --socks5-hostname", "telnet://echo.virtual:7").is_empty());
    // As it was called, so that nobody has to install it.
    let adit = |words: &str| format!("{} {words}", programs::adit().display());
    assert!(paste(&adit("status"), "unix:").contains("agent-1"));
    assert!(paste(&adit("nodes"), "list").contains("agent-1"));
    assert!(paste(&adit("explain"), "/admin/users").contains("deny"));
    assert!(paste(&adit("rules apply"), "rules.toml").contains("no change"));
    assert!(paste(&adit("acts"), "list").contains("node-enrolled"));

    let nodes: Vec<u64> = ["/control/pid", "/gateway/pid", "/agent/pid"]
        .iter()
        .filter_map(|path| json.pointer(path).and_then(serde_json::Value::as_u64))
        .collect();
    assert_eq!(nodes.len(), 3);
    running.terminate();
    let status = running.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{}", running.log());
    until(
        "the nodes have ended with it",
        Duration::from_secs(5),
        || {
            nodes
                .iter()
                .all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
        },
    );
}
