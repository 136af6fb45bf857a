//! Certificates, looked at by OpenSSL and by an X.509 parser that did not make them.
//!
//! Whether nodes accept them in a handshake is left to the journeys.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use x509_parser::prelude::*;

use super::*;

/// An authority and the files of two nodes, as `adit pki` writes them.
struct Pki {
    dir: TempDir,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Self { dir };
        init(&pki.path("ca"), &domain(), 3650, now()).unwrap();
        for (name, identity) in [("agent", agent()), ("gw", gateway())] {
            let issued = pki.authority().issue(&identity, 90, now()).unwrap();
            super::super::write(&pki.path(name), &issued, false).unwrap();
        }
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.path("ca")).unwrap()
    }

    fn openssl(&self, args: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn domain() -> TrustDomain {
    "adit.local".parse().unwrap()
}

fn agent() -> Identity {
    Identity::Agent {
        subaccount: "acme".parse().unwrap(),
        name: "berlin-1".parse().unwrap(),
    }
}

fn gateway() -> Identity {
    Identity::Gateway {
        name: "gw-1".parse().unwrap(),
    }
}

#[test]
fn openssl_accepts_each_chain_for_its_purpose_and_no_other() {
    let pki = Pki::new();
    for (node, purpose, other) in [
        ("agent", "sslclient", "sslserver"),
        ("gw", "sslserver", "sslclient"),
    ] {
        let (roots, leaf) = (format!("{node}/ca.pem"), format!("{node}/cert.pem"));
        let verify = |purpose| {
            Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .args([&roots, &leaf])
                .current_dir(pki.dir.path())
                .output()
                .expect("openssl is installed")
        };
        let accepted = verify(purpose);
        assert!(
            accepted.status.success(),
            "{node}: {}",
            String::from_utf8_lossy(&accepted.stderr)
        );
        assert!(!verify(other).status.success(), "{node} as {other}");
    }
}

#[test]
fn openssl_reads_the_spiffe_id_as_the_only_alternative_name() {
    let pki = Pki::new();
    for (node, id) in [
        (
            "agent",
            "URI:spiffe://adit.local/subaccount/acme/agent/berlin-1",
        ),
        ("gw", "URI:spiffe://adit.local/gateway/gw-1"),
    ] {
        let leaf = format!("{node}/cert.pem");
        let text = pki.openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in", &leaf]);
        let names: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        assert_eq!(names, [id]);
    }
}

#[test]
fn the_key_is_p256_and_belongs_to_the_certificate() {
    let pki = Pki::new();
    for node in ["agent", "gw"] {
        let key = pki.openssl(&["pkey", "-pubout", "-in", &format!("{node}/key.pem")]);
        let certified = pki.openssl(&[
            "x509",
            "-pubkey",
            "-noout",
            "-in",
            &format!("{node}/cert.pem"),
        ]);
        assert_eq!(key, certified);
        let text = pki.openssl(&["pkey", "-noout", "-text", "-in", &format!("{node}/key.pem")]);
        assert!(text.contains("prime256v1"), "{text}");
    }
}

#[test]
fn a_leaf_is_no_authority_and_lives_for_its_days() {
    let pki = Pki::new();
    let issued = pki.authority().issue(&agent(), 30, now()).unwrap();
    let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
    let leaf = pem.parse_x509().unwrap();
    assert!(!leaf.is_ca());
    assert!(
        leaf.basic_constraints().unwrap().is_some(),
        "it says so itself"
    );
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
    let validity = leaf.validity();
    let left = 30 * 86_400 - (validity.not_after.timestamp() - now().unix_timestamp());
    assert!((0..=60).contains(&left), "{left} s less than 30 days");
    let early = now().unix_timestamp() - validity.not_before.timestamp();
    assert!((3_590..=3_700).contains(&early), "{early}");
    assert_eq!(
        issued.not_after.unix_timestamp(),
        validity.not_after.timestamp()
    );
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let end = init(dir.path(), &domain(), 10, now()).unwrap();
    let authority = Authority::open(dir.path()).unwrap();
    let issued = authority.issue(&gateway(), 90, now()).unwrap();
    assert_eq!(issued.not_after.unix_timestamp(), end.unix_timestamp());
    assert!(authority.issue(&gateway(), 90, end).is_err());
}

#[test]
fn the_authority_may_sign_leaves_and_nothing_else() {
    let pki = Pki::new();
    let text = pki.openssl(&["x509", "-noout", "-text", "-in", "ca/ca.pem"]);
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    assert!(text.contains("Certificate Sign, CRL Sign"), "{text}");
    assert!(text.contains("URI:spiffe://adit.local"), "{text}");
}

#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let pki = Pki::new();
    for name in ["ca/ca-key.pem", "agent/key.pem", "gw/key.pem"] {
        let mode = std::fs::metadata(pki.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_authority_is_never_overwritten() {
    let pki = Pki::new();
    let before = std::fs::read(pki.path("ca/ca-key.pem")).unwrap();
    assert!(init(&pki.path("ca"), &domain(), 10, now()).is_err());
    // Also not when only the key is left.
    std::fs::remove_file(pki.path("ca/ca.pem")).unwrap();
    assert!(init(&pki.path("ca"), &domain(), 10, now()).is_err());
    assert_eq!(std::fs::read(pki.path("ca/ca-key.pem")).unwrap(), before);
    assert!(!pki.path("ca/ca.pem").exists());
}

#[test]
fn a_nodes_files_are_replaced_only_when_asked_to() {
    let pki = Pki::new();
    let issued = pki.authority().issue(&agent(), 90, now()).unwrap();
    let refused = super::super::write(&pki.path("agent"), &issued, false).unwrap_err();
    assert!(refused.to_string().contains("--replace"), "{refused}");
    super::super::write(&pki.path("agent"), &issued, true).unwrap();
    let certificate = std::fs::read_to_string(pki.path("agent/cert.pem")).unwrap();
    assert_eq!(certificate, issued.certificate);
}

#[test]
fn what_is_no_authority_says_why() {
    let pki = Pki::new();
    let open = |dir: &str| format!("{:#}", Authority::open(&pki.path(dir)).err().unwrap());
    assert!(open("nowhere").contains("adit pki init"));

    std::fs::copy(pki.path("gw/cert.pem"), pki.path("ca/ca.pem")).unwrap();
    assert!(open("ca").contains("not the certificate of an authority"));

    let other = tempfile::tempdir().unwrap();
    init(other.path(), &domain(), 10, now()).unwrap();
    std::fs::copy(other.path().join("ca.pem"), pki.path("ca/ca.pem")).unwrap();
    assert!(open("ca").contains("is the key of another certificate"));

    std::fs::write(pki.path("ca/ca.pem"), "hello").unwrap();
    assert!(open("ca").contains("not a PEM certificate"));
}
