//! `adit pki`, `adit token`, completions and man pages, as people and programs use them.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::Desk;

#[test]
fn a_landscape_gets_its_certificates() {
    let desk = Desk::new();
    let run = desk.adit(&["pki", "init", "--dir", "ca"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let agent = [
        "pki",
        "issue",
        "agent",
        "--dir",
        "ca",
        "--subaccount",
        "acme",
        "--name",
        "a1",
        "--out",
        "agent",
        "--json",
    ];
    let run = desk.adit(&agent);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.json()["spiffe_id"],
        "spiffe://adit.local/subaccount/acme/agent/a1"
    );
    assert_eq!(run.json()["roots"], "agent/ca.pem");
    let verified = Command::new("openssl")
        .args(["verify", "-CAfile", "agent/ca.pem", "agent/cert.pem"])
        .current_dir(desk.path(""))
        .output()
        .expect("openssl is installed");
    assert!(verified.status.success(), "{verified:?}");

    let run = desk.adit(&agent);
    assert_eq!(run.code, Some(1), "nothing is overwritten");
    let run = desk.adit(&[&agent[..], &["--replace"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn a_second_authority_in_the_same_folder_is_refused() {
    let desk = Desk::new();
    assert_eq!(desk.adit(&["pki", "init", "--dir", "ca"]).code, Some(0));
    let run = desk.adit(&["pki", "init", "--dir", "ca"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("not overwritten"), "{}", run.stderr);
}

#[test]
fn a_token_goes_to_standard_output_or_to_a_file_of_ones_own() {
    let desk = Desk::new();
    assert_eq!(
        desk.adit(&["token", "issuer", "init", "--dir", "i"]).code,
        Some(0)
    );
    let issue = ["token", "issue", "--dir", "i", "--subaccount", "acme"];
    let run = desk.adit(&issue);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stdout.trim_end().split('.').count(), 3);
    assert_eq!(run.stderr, "");

    let run = desk.adit(&[&issue[..], &["--out", "token"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mode = std::fs::metadata(desk.path("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(desk.path("token")).unwrap();
    assert_eq!(token.trim(), token, "no line end: the file is the token");
    assert!(
        !run.stdout.contains(&token),
        "what is in a file is not printed too"
    );
}

#[test]
fn a_token_too_long_for_a_password_comes_with_a_note() {
    let desk = Desk::new();
    desk.adit(&["token", "issuer", "init", "--dir", "i"]);
    let run = desk.adit(&[
        "token",
        "issue",
        "--dir",
        "i",
        "--subaccount",
        "acme",
        "--client",
        &"c".repeat(100),
    ]);
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("at most 255 fit"), "{}", run.stderr);
}

#[test]
fn completions_and_man_pages_name_every_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = desk.adit(&["completions", shell]);
        assert_eq!(run.code, Some(0), "{shell}");
        for word in ["explain", "issuer", "--trust-domain", "--once"] {
            let word = if shell == "fish" {
                word.trim_start_matches('-')
            } else {
                word
            };
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
    }
    let run = desk.adit(&["man", "pages", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let pages = run.json();
    for page in [
        "adit.1",
        "adit-demo.1",
        "adit-rules-push.1",
        "adit-token-issue.1",
    ] {
        assert!(
            pages["pages"]
                .as_array()
                .unwrap()
                .iter()
                .any(|name| name == page),
            "{page}"
        );
        let text = std::fs::read_to_string(desk.path("pages").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let desk = Desk::new();
    let ended = Command::new("sh")
        .args(["-c", "{ \"$0\" completions zsh; echo $? >&2; } | head -1"])
        .arg(env!("CARGO_BIN_EXE_adit"))
        .current_dir(desk.path(""))
        .output()
        .expect("there is a shell");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "0\n");
}
