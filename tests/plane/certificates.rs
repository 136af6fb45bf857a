//! S-07: people and programs who come by client certificate, with an authority that openssl made, curl and `adit`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use adit_tests::curl::{Curl, Outcome};
use adit_tests::member::Member;
use adit_tests::net;
use adit_tests::openssl::Authority;
use adit_tests::plane::{Memory, Plane, ROOT};
use adit_tests::programs;
use adit_tests::wait::{SOON, until};
use serde_json::Value;

use crate::on_both_memories;

type Papers = (PathBuf, PathBuf);

const CLIENT: &str = "extendedKeyUsage=clientAuth";
const LONG: [&str; 2] = ["20200101000000Z", "20990101000000Z"];

fn settings(company: &Authority) -> String {
    let file = company.certificate();
    format!("[people.certificates]\nca_file = \"{}\"\n", file.display())
}

fn curl(plane: &Plane, papers: &Papers, path: &str, more: &[&str]) -> Outcome {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let roots = text(&plane.scratch().write("roots.pem", plane.roots()));
    let (certificate, key) = (text(&papers.0), text(&papers.1));
    let url = format!("https://localhost:{}{path}", plane.address().port());
    let mut args = vec!["--cacert", &roots, "--cert", &certificate, "--key", &key];
    args.extend(["-w", "\n%{http_code}", &url]);
    args.extend(more);
    Curl::new(&args).run()
}

/// Status and body.
fn said(outcome: &Outcome) -> (u16, Value) {
    let text = outcome.text();
    let (body, status) = text
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("{outcome:?}"));
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// `adit` at a desk of somebody who has these papers; `more` is their environment.
fn adit(plane: &Plane, more: &[(&str, &Path)], args: &[&str]) -> Output {
    let mut command = Command::new(programs::adit());
    let scratch = plane.scratch();
    command
        .args(args)
        .current_dir(scratch.dir())
        .env("ADIT_CONFIG_DIR", scratch.path("config-of-ada"))
        .stdin(Stdio::null());
    for name in [
        "ADIT_SERVER",
        "ADIT_ROOT",
        "ADIT_TOKEN_FILE",
        "ADIT_CERTIFICATE_FILE",
        "ADIT_KEY_FILE",
    ] {
        command.env_remove(name);
    }
    command.envs(more.iter().copied());
    command.output().unwrap()
}

/// Changes the server's settings, for its next start.
fn edit(plane: &Plane, from: &str, to: &str) {
    let file = plane.scratch().path("server.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).unwrap();
}

fn done(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

on_both_memories! {
    fn a_person_with_a_certificate_works_with_curl_and_with_adit_until_they_are_removed(memory: &Memory) {
        let company = Authority::new();
        let (plane, root) = Plane::ready("cp-1", memory, &settings(&company));
        let papers = company.issue_client("ada", CLIENT, LONG);
        let (status, refused) = said(&curl(&plane, &papers, "/api/v1/whoami", &[]));
        assert_eq!((status, &refused["status"]), (401, &Value::from(401)), "{refused}");
        // A certificate in somebody else's name is worth nothing where they have a password.
        let of_root = company.issue_client(ROOT, CLIENT, LONG);
        assert_eq!(said(&curl(&plane, &of_root, "/api/v1/whoami", &[])).0, 401);

        let by_root = crate::adit(&plane, &root)
            .args(["users", "add", "ada", "--certificate", "--grant", "administrator@acme"])
            .output()
            .unwrap();
        assert!(done(&by_root).contains("ada: administrator@acme, by certificate"), "{by_root:?}");
        let (status, me) = said(&curl(&plane, &papers, "/api/v1/whoami", &[]));
        assert_eq!((status, &me["name"], &me["how"]), (200, &"ada".into(), &"certificate".into()));
        assert_eq!(said(&curl(&plane, &papers, "/api/v1/authority", &[])).0, 403);
        let twice = ["-H", "authorization: Bearer adit_s_nothing"];
        assert_eq!(said(&curl(&plane, &papers, "/api/v1/whoami", &twice)).0, 400);

        // `adit`, first with everything named, then with a login that remembers where they are.
        let url = format!("https://{}", plane.address());
        let roots = plane.scratch().write("roots.pem", plane.roots());
        let (certificate, key) = (papers.0.to_str().unwrap(), papers.1.to_str().unwrap());
        let whoami = adit(
            &plane,
            &[
                ("ADIT_SERVER", Path::new(&url)),
                ("ADIT_ROOT", &roots),
                ("ADIT_CERTIFICATE_FILE", &papers.0),
                ("ADIT_KEY_FILE", &papers.1),
            ],
            &["whoami"],
        );
        assert_eq!(done(&whoami), "ada (certificate): administrator@acme\n");
        assert!(failed(&adit(&plane, &[], &["whoami"])).contains("nobody is logged in"));
        let files = ["--certificate-file", certificate, "--key-file", key];
        let login = [&["login", &url, "--root", roots.to_str().unwrap()][..], &files].concat();
        assert!(done(&adit(&plane, &[], &login)).starts_with("logged in as ada at cp-1"));
        let kept = plane.scratch().read("config-of-ada/plane.json");
        assert!(kept.contains(key) && !kept.contains("PRIVATE"), "{kept}");
        let made = ["users", "add", "eve", "--certificate", "--grant", "viewer@acme"];
        done(&adit(&plane, &[], &made));
        let token = plane.scratch().write("token", "adit_t_nothing");
        std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        let both = [&["whoami", "--token-file", token.to_str().unwrap()][..], &files].concat();
        assert!(failed(&adit(&plane, &[], &both)).contains("both a token and a certificate"));
        let label = ["tokens", "new", "--label", "ci", "--days", "1", "--out", "new-token"];
        assert!(failed(&adit(&plane, &[], &label)).contains("with a password"));

        // Who did it, by which way, and with which certificate.
        let acts = root.acts();
        let act = acts.iter().find(|act| act["what"] == "eve").unwrap();
        assert_eq!(act["who"], "certificate:ada", "{act}");
        let openssl = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", certificate])
            .output()
            .unwrap();
        let shown = String::from_utf8(openssl.stdout).unwrap();
        let shown = shown.rsplit_once('=').unwrap().1.trim().replace(':', "").to_lowercase();
        let detail = act["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("by certificate {shown}")), "{detail} {shown}");

        // A key that others can read is not used, and one that has gone is told.
        std::fs::set_permissions(&papers.1, Permissions::from_mode(0o640)).unwrap();
        assert!(failed(&adit(&plane, &[], &["whoami"])).contains("chmod 600"));
        std::fs::set_permissions(&papers.1, Permissions::from_mode(0o600)).unwrap();
        done(&adit(&plane, &[], &["whoami"]));

        let etag = root.get("/api/v1/users/ada").etag();
        assert_eq!(root.delete("/api/v1/users/ada", Some(&etag)).status, 204);
        assert!(failed(&adit(&plane, &[], &["whoami"])).contains("names nobody"));
        assert_eq!(said(&curl(&plane, &papers, "/api/v1/whoami", &[])).0, 401);
        assert!(done(&adit(&plane, &[], &["logout"])).contains("forgotten here"));
    }
}

#[test]
fn s07_every_bad_certificate_of_a_person_is_refused_with_a_reason_and_counted() {
    let company = Authority::new();
    let metrics = net::free_address();
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, &settings(&company));
    let table = "[server]\n";
    edit(&plane, table, &format!("{table}metrics = \"{metrics}\"\n"));
    plane.process().kill();
    plane.restart();
    for name in ["ada", "late", "early", "server", "vague"] {
        root.make_certified(name, &["administrator@*"]);
    }
    let other = Authority::new();
    let cases = [
        ("unknown-authority", other.issue_client("ada", CLIENT, LONG)),
        (
            "ended",
            company.issue_client("late", CLIENT, ["20200101000000Z", "20200102000000Z"]),
        ),
        (
            "not-yet-valid",
            company.issue_client("early", CLIENT, ["20980101000000Z", "20990101000000Z"]),
        ),
        (
            "no-client-auth",
            company.issue_client("server", "extendedKeyUsage=serverAuth", LONG),
        ),
        (
            "no-client-auth",
            company.issue_client("vague", "keyUsage=digitalSignature", LONG),
        ),
    ];
    for (why, papers) in &cases {
        let outcome = curl(&plane, papers, "/api/v1/whoami", &[]);
        assert_ne!(outcome.code, Some(0), "{why}: {outcome:?}");
        assert!(!outcome.text().contains("administrator"), "{why}");
    }
    let count = |why: &str| {
        let line = format!("control_certificates_refused_total{{why=\"{why}\"}}");
        let read = Curl::new(&[&format!("http://{metrics}/metrics")])
            .run()
            .text();
        let found = read
            .lines()
            .find_map(|read| read.strip_prefix(&line).map(str::to_owned));
        found.map_or(0, |count| count.trim().parse().unwrap())
    };
    for (why, times) in [
        ("unknown-authority", 1),
        ("ended", 1),
        ("not-yet-valid", 1),
        ("no-client-auth", 2),
    ] {
        until(&format!("{why} is counted"), SOON, || count(why) == times);
    }
    let log = plane.log();
    for (why, _) in &cases {
        assert!(log.contains(&format!("\"{why}\"")), "{why}: {log}");
    }
    assert!(log.contains("does not name clientAuth"), "{log}");

    // A node is no person, and a person no node.
    let member = Member::enrol(&plane, &root.invite("acme", "ada")).unwrap();
    let scratch = plane.scratch();
    let node = plane.certified(&(
        scratch.write("node.pem", &member.enrolled.certificate),
        scratch.write("node.key", member.key_pem()),
    ));
    let reply = node.get("/api/v1/whoami");
    assert_eq!(reply.status, 401, "{reply:?}");
    until("it is counted", SOON, || count("node") == 1);
    let good = plane.certified(&company.issue_client("ada", CLIENT, LONG));
    assert_eq!(good.get("/api/v1/whoami").status, 200);
    let reply = good.ask("POST", "/node/v1/subscriptions", &[], b"{}");
    assert_eq!(reply.status, 401, "{reply:?}");

    // The authority of nodes is given to people by mistake.
    let ours = plane.state("ca.pem");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    edit(&plane, &text(&company.certificate()), &text(&ours));
    plane.process().kill();
    let why = plane.fails_to_start();
    assert!(why.contains("people.certificates.ca_file"), "{why}");
}
