//! Rules that only a signer may put in force: signed, pushed, altered, replayed, kept over a restart.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_tests::node::failures;
use adit_tests::wait::SOON;
use adit_tests::world::{SUBACCOUNT, until_answered};
use adit_tests::{Backend, Rules, Scratch, World, backend, net, programs, socks};

/// Signers, and what they sign.
struct Signing {
    scratch: Scratch,
}

impl Signing {
    fn new() -> Self {
        Self {
            scratch: Scratch::new(),
        }
    }

    /// Makes a signer; gives back the path of its public key.
    fn signer(&self, name: &str) -> PathBuf {
        let out = self.scratch.path(name).display().to_string();
        programs::run_adit(&["pki", "signer", "--out", &out]);
        self.scratch.path(&format!("{name}/signer.pem"))
    }

    /// Signs with the signer `by` and gives back the document's path.
    fn sign(&self, by: &str, rules: &Rules, audience: &str, epoch: u64, version: u64) -> PathBuf {
        let file = self.scratch.write("rules.toml", rules.to_string());
        let key = self.scratch.path(&format!("{by}/signer-key.pem"));
        let out = self.scratch.path(&format!("{by}-{epoch}-{version}.signed"));
        let display = |path: &Path| path.display().to_string();
        programs::run_adit(&[
            "rules",
            "sign",
            &display(&file),
            "--key",
            &display(&key),
            "--audience",
            audience,
            "--epoch",
            &epoch.to_string(),
            "--version",
            &version.to_string(),
            "--out",
            &display(&out),
        ]);
        out
    }
}

/// Pushes a file with the command line; gives back its exit code and what it told.
fn push(world: &World, file: &Path) -> (Option<i32>, String) {
    let output = Command::new(programs::adit())
        .args(["rules", "push", &file.display().to_string(), "--node"])
        .arg(world.agents[0].admin().address())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&told).into_owned(),
    )
}

fn stamp(world: &World) -> (u64, u64) {
    let status = world.agents[0].admin().status();
    let number = |name: &str| status["snapshot"][name].as_u64().unwrap_or(0);
    (number("epoch"), number("version"))
}

/// A world whose agent takes signed rules only: version 5 of epoch 1 is in force.
fn world(signing: &Signing, rules: &Rules) -> World {
    let mut world = World::with(rules.clone());
    let public = signing.signer("one");
    // Before the key is named: so nothing is interrupted when it is.
    let first = signing.sign("one", rules, &audience(), 1, 5);
    assert_eq!(push(&world, &first).0, Some(0));
    let agent = world.agent();
    agent.stop();
    agent.config.text("rules.signing_keys", public.display());
    agent.start();
    world
}

fn audience() -> String {
    format!("{SUBACCOUNT}/")
}

#[test]
fn s13_only_what_the_signer_signed_for_this_agent_and_later_comes_into_force() {
    let backend = Backend::saying(backend::ok("hello"));
    let echo = Backend::echo();
    let rules = Rules::none().http("web.virtual:80", backend.url());
    let other = rules
        .clone()
        .http("other.virtual:80", backend.url())
        .tcp("echo.virtual:7", echo.address());
    let signing = Signing::new();
    signing.signer("two");
    let world = world(&signing, &rules);
    until_answered(&world, "http://web.virtual/", 200, SOON);
    assert_eq!(stamp(&world), (1, 5), "in force at once after the restart");

    let second = signing.sign("one", &other, &audience(), 1, 6);
    let altered = std::fs::read_to_string(&second)
        .unwrap()
        .replace("other.virtual", "fraud.virtual");
    let forged = std::fs::read_to_string(&second)
        .unwrap()
        .replace("version 6", "version 7");
    let unsigned = signing.scratch.write("unsigned.toml", other.to_string());
    let refused = [
        ("unsigned", "not signed", unsigned),
        (
            "content",
            "not what was signed",
            signing.scratch.write("altered", altered),
        ),
        (
            "signature",
            "does not match",
            signing.scratch.write("forged", forged),
        ),
        (
            "signature",
            "none of the keys",
            signing.sign("two", &other, &audience(), 1, 6),
        ),
        (
            "audience",
            "is for acme/berlin",
            signing.sign("one", &other, "acme/berlin", 1, 7),
        ),
        (
            "older",
            "is in force, which is newer",
            signing.sign("one", &other, &audience(), 1, 4),
        ),
        (
            "forked",
            "two control",
            signing.sign("one", &other, &audience(), 1, 5),
        ),
    ];
    for (why, told, file) in refused {
        let admin = world.agents[0].admin();
        let before = admin.metric("agent_snapshots_refused_total", &[("why", why)]);
        let document = std::fs::read_to_string(&file).unwrap();
        // The agent decides, whatever the command line thinks of it.
        let (code, answer) = admin.ask("PUT", "/rules", &document).unwrap();
        assert_eq!(code, 422, "{why}: {answer}");
        assert!(answer.contains(told), "{why}: {answer}");
        let after = admin.metric("agent_snapshots_refused_total", &[("why", why)]);
        assert!(
            (after - before - 1.0).abs() < 0.1,
            "{why}: {before} {after}"
        );
        assert_ne!(push(&world, &file).0, Some(0), "{why}");
        assert_eq!(stamp(&world), (1, 5), "{why}");
    }
    assert_eq!(world.get("http://web.virtual/").text(), "hello");
    assert_eq!(
        world.get("http://other.virtual/").refusal(),
        "system-unknown"
    );

    for _ in 0..2 {
        let (code, told) = push(&world, &second);
        assert_eq!(code, Some(0), "a second time is no harm: {told}");
        assert_eq!(stamp(&world), (1, 6));
    }
    let taken = world.agents[0]
        .admin()
        .metric("agent_snapshots_taken_total", &[]);
    assert!((taken - 1.0).abs() < 0.1, "and no change: {taken}");
    assert_eq!(world.get("http://other.virtual/").text(), "hello");
    let mut conversation = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
    let restored = signing.sign("one", &rules, &audience(), 2, 1);
    assert_eq!(push(&world, &restored).0, Some(0));
    assert_eq!(stamp(&world), (2, 1));
    // What ran under a greater version is judged by the rules in force as well.
    assert_eq!(net::read_to_close(&mut conversation).unwrap(), b"");
    let epoch = world.agents[0].admin().metric("agent_snapshot_epoch", &[]);
    assert!((epoch - 2.0).abs() < 0.1, "{epoch}");
    assert_eq!(
        world.get("http://other.virtual/").refusal(),
        "system-unknown"
    );
}

#[test]
fn s13_stored_rules_that_nobody_who_counts_has_signed_grant_nothing() {
    let backend = Backend::saying(backend::ok("hello"));
    let rules = Rules::none().http("web.virtual:80", backend.url());
    let signing = Signing::new();
    let mut world = world(&signing, &rules);
    until_answered(&world, "http://web.virtual/", 200, SOON);
    let public = signing.signer("two");
    let agent = world.agent();
    agent.stop();
    agent.config.text("rules.signing_keys", public.display());
    agent.start();
    until_answered(&world, "http://web.virtual/", 503, SOON);
    let status = world.agents[0].admin().status();
    assert!(failures(&status).contains("none of the keys"), "{status}");
    let second = signing.sign("two", &rules, &audience(), 1, 1);
    assert_eq!(push(&world, &second).0, Some(0));
    assert_eq!(world.get("http://web.virtual/").text(), "hello");
}

#[test]
fn openssl_agrees_with_the_signature() {
    let signing = Signing::new();
    let public = signing.signer("one");
    let rules = Rules::none().tcp("echo.virtual:7", "127.0.0.1:7");
    let document = signing.sign("one", &rules, "acme/berlin", 3, 4);
    let document = std::fs::read_to_string(document).unwrap();
    let (signed, rest) = document.split_once("signature ").unwrap();
    let signature = rest.split(['\n', ' ']).nth(1).unwrap();
    signing.scratch.write("signed", signed);
    signing
        .scratch
        .write("signature.b64", format!("{signature}\n"));
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl")
            .current_dir(signing.scratch.dir())
            .args(args)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let decoded = openssl(&[
        "base64",
        "-d",
        "-A",
        "-in",
        "signature.b64",
        "-out",
        "signature",
    ]);
    assert!(decoded.0);
    let public = public.display().to_string();
    let verify = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        &public,
        "-rawin",
        "-in",
        "signed",
        "-sigfile",
        "signature",
    ];
    let (right, told) = openssl(&verify);
    assert!(right && told.contains("Verified Successfully"), "{told}");
    signing
        .scratch
        .write("signed", signed.replace("version 4", "version 5"));
    assert!(!openssl(&verify).0, "and it sees what was altered");
}
