//! Requests that openssl makes, and certificates that it looks at.

use std::process::{Command, Output};

use adit_authority::{Authority, Identity, IssueError, RequestError};
use tempfile::TempDir;

use super::{DAY, agent, authority, gateway, node, now};

/// A folder in which openssl works.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn try_openssl(&self, line: &str) -> Output {
        Command::new("openssl")
            .args(line.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed")
    }

    fn openssl(&self, line: &str) -> String {
        let output = self.try_openssl(line);
        assert!(
            output.status.success(),
            "openssl {line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// A request over a new key that `genpkey` makes of `key`.
    fn request(&self, key: &str, more: &str) -> String {
        self.openssl(&format!("genpkey -algorithm {key} -out key.pem"));
        self.openssl(&format!(
            "req -new -key key.pem -subj /CN=root -out csr.pem{more}"
        ));
        self.read("csr.pem")
    }

    /// Whether openssl takes leaf.pem for `purpose` under roots.pem.
    fn verifies(&self, purpose: &str) -> bool {
        let line = format!(
            "verify -x509_strict -attime {} -purpose {purpose} -CAfile roots.pem leaf.pem",
            now().unix_timestamp()
        );
        self.try_openssl(&line).status.success()
    }
}

fn roots(authority: &Authority) -> String {
    authority.trust(Vec::new()).roots
}

#[test]
fn openssls_requests_become_certificates_that_openssl_verifies_for_their_purpose() {
    let folder = Folder::new();
    let authority = authority();
    folder.write("roots.pem", &roots(&authority));
    let control = Identity::Control {
        name: "cp-1".parse().unwrap(),
    };
    for key in [
        "EC -pkeyopt ec_paramgen_curve:P-256",
        "EC -pkeyopt ec_paramgen_curve:P-384",
        "ED25519",
    ] {
        for (identity, client, server) in [
            (agent(), true, false),
            (gateway(), true, true),
            (control.clone(), false, true),
        ] {
            let csr = folder.request(key, " -addext subjectAltName=DNS:erp.example");
            let issued = authority.issue(&csr, &identity, 30 * DAY, now()).unwrap();
            folder.write("leaf.pem", &issued.certificate_pem);
            assert_eq!(folder.verifies("sslclient"), client, "{key} {identity:?}");
            assert_eq!(folder.verifies("sslserver"), server, "{key} {identity:?}");
            assert_eq!(
                folder.openssl("x509 -in leaf.pem -noout -pubkey"),
                folder.openssl("req -in csr.pem -noout -pubkey"),
                "the key is the request's"
            );
            let names = folder.openssl("x509 -in leaf.pem -noout -ext subjectAltName");
            let names: Vec<&str> = names.lines().skip(1).map(str::trim).collect();
            assert_eq!(
                names,
                [format!("URI:{}", issued.spiffe_id)],
                "no other name"
            );
            let subject = folder.openssl("x509 -in leaf.pem -noout -subject");
            assert!(!subject.contains("root"), "{subject}");
            let serial = folder.openssl("x509 -in leaf.pem -noout -serial");
            let serial = serial.trim().to_lowercase();
            assert_eq!(serial, format!("serial={}", issued.serial));
        }
    }
}

#[test]
fn keys_that_are_not_certified_are_refused() {
    let folder = Folder::new();
    let authority = authority();
    for key in [
        "RSA -pkeyopt rsa_keygen_bits:1024",
        "RSA -pkeyopt rsa_keygen_bits:2048",
        "EC -pkeyopt ec_paramgen_curve:P-521",
        "EC -pkeyopt ec_paramgen_curve:secp256k1",
        "EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
        "ED448",
    ] {
        let csr = folder.request(key, "");
        assert_eq!(
            authority.issue(&csr, &agent(), DAY, now()),
            Err(IssueError::Request(RequestError::Key)),
            "{key}"
        );
    }
    for digest in [" -sha1", " -sha512"] {
        let csr = folder.request("EC -pkeyopt ec_paramgen_curve:P-256", digest);
        assert_eq!(
            authority.issue(&csr, &agent(), DAY, now()),
            Err(IssueError::Request(RequestError::Key)),
            "{digest}"
        );
    }
    let csr = folder.request("EC -pkeyopt ec_paramgen_curve:P-256", " -sha384");
    assert!(authority.issue(&csr, &agent(), DAY, now()).is_ok());
}

#[test]
fn openssl_finds_the_pin_where_we_say_it_is() {
    let folder = Folder::new();
    let authority = authority();
    folder.write("roots.pem", &roots(&authority));
    folder.write(
        "public.pem",
        &folder.openssl("x509 -in roots.pem -noout -pubkey"),
    );
    folder.openssl("pkey -pubin -in public.pem -outform DER -out public.der");
    let digest = folder.openssl("dgst -sha256 -r public.der");
    assert_eq!(digest.split(' ').next(), Some(authority.pin().as_str()));
}

#[test]
fn openssl_reads_a_servers_chain_and_its_names() {
    let folder = Folder::new();
    let authority = authority();
    let names = ["cp.example.com", "10.0.0.1", "::1"].map(str::to_owned);
    let server = authority
        .issue_server(&"cp-1".parse().unwrap(), &names, DAY, now())
        .unwrap();
    folder.write("roots.pem", &roots(&authority));
    folder.write("leaf.pem", &server.chain_pem);
    folder.write("key.pem", &server.key_pem);
    assert!(folder.verifies("sslserver") && !folder.verifies("sslclient"));
    assert!(
        server.chain_pem.ends_with(&roots(&authority)),
        "the root is last"
    );
    let told = folder.openssl("x509 -in leaf.pem -noout -ext subjectAltName");
    let told: Vec<&str> = told.lines().skip(1).map(str::trim).collect();
    assert_eq!(
        told,
        [
            "URI:spiffe://adit.local/control/cp-1, DNS:cp.example.com, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1"
        ]
    );
    assert_eq!(
        folder.openssl("x509 -in leaf.pem -noout -pubkey"),
        folder.openssl("pkey -in key.pem -pubout")
    );
}

#[test]
fn openssl_tells_the_leaves_of_two_roots_of_one_name_apart() {
    let folder = Folder::new();
    let mut authority = authority();
    let (old, _) = node(&authority, &agent());
    authority.begin_roll(3_650 * DAY, now()).unwrap();
    authority.switch().unwrap();
    let (new, _) = node(&authority, &agent());
    folder.write("roots.pem", &roots(&authority));
    for leaf in [&old, &new] {
        folder.write("leaf.pem", &leaf.certificate_pem);
        assert!(folder.verifies("sslclient"));
    }
    authority.finish().unwrap();
    folder.write("roots.pem", &roots(&authority));
    assert!(folder.verifies("sslclient"));
    folder.write("leaf.pem", &old.certificate_pem);
    assert!(
        !folder.verifies("sslclient"),
        "its root is not trusted any more"
    );
}

#[test]
fn openssl_reads_the_signing_keys() {
    let folder = Folder::new();
    folder.write("keys.pem", &authority().trust(Vec::new()).signing_keys);
    let told = folder.openssl("pkey -pubin -in keys.pem -noout -text");
    assert!(told.contains("ED25519 Public-Key"), "{told}");
}
