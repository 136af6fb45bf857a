//! Configuration files as operators write them, right and wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

struct Dir(tempfile::TempDir);

impl Dir {
    // With an agent's certificate and key, and the root that signed a gateway's.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let uri = "spiffe://adit.local/subaccount/acme/agent/berlin-1";
        leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        let certificate = leaf.self_signed(&key).unwrap().pem();
        fs::write(dir.path().join("cert.pem"), &certificate).unwrap();
        fs::write(dir.path().join("ca.pem"), &certificate).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        fs::set_permissions(
            dir.path().join("key.pem"),
            fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        Self(dir)
    }

    fn read(&self, text: &str) -> Result<Settings, String> {
        let path = self.0.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Settings::read(&path).map_err(|problems| problems.to_string())
    }
}

const SMALLEST: &str = "[tunnel]\ngateways = [\"gw.example:8443\"]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n\
                        roots = \"ca.pem\"\n";

#[test]
fn the_smallest_file_gives_the_documented_defaults() {
    let dir = Dir::new();
    let settings = dir.read(SMALLEST).unwrap();
    assert_eq!(
        (settings.subaccount.as_str(), settings.name.as_str()),
        ("acme", "berlin-1")
    );
    assert_eq!(settings.location, "");
    assert_eq!(settings.state, dir.0.path().join("agent/state"));
    assert_eq!(settings.drain, Duration::from_secs(30));
    assert_eq!(settings.tunnels, TunnelCount::Auto);
    assert_eq!(settings.connect_timeout, Duration::from_secs(5));
    assert_eq!(settings.retry_cap, Duration::from_secs(10));
    assert_eq!(settings.backend.connect_timeout, Duration::from_secs(5));
    assert_eq!(settings.backend.answer_timeout, Duration::ZERO);
    assert_eq!(settings.backend.idle_timeout, Duration::from_secs(15));
    assert_eq!(settings.backend.tls_roots, TlsRoots::System);
    assert!(
        settings.proxy.is_none()
            && settings.admin.listen.is_none()
            && settings.admin.socket.is_none()
    );
    let gateway = settings.gateways.first().unwrap();
    assert_eq!((gateway.host.as_str(), gateway.port), ("gw.example", 8443));
}

#[test]
fn everything_can_be_set() {
    let dir = Dir::new();
    let text = format!(
        "[agent]\nlocation = \"berlin\"\nstate = \"s\"\ndrain = \"1m\"\n\
         {}tunnels = 3\nproxy = \"http://me:secret@proxy:3128\"\nno_proxy = \".corp\"\nconnect_timeout = \"2s\"\n\
         retry_cap = \"30s\"\nstreams_max = 100\n\
         [backend]\nconnect_timeout = \"1s\"\nanswer_timeout = \"60s\"\nidle_timeout = \"5s\"\npool_max = 7\n\
         tls_roots = \"ca.pem\"\n\
         [admin]\nsocket = \"admin.sock\"\nlisten = \"127.0.0.1:9495\"\n[log]\nfilter = \"debug\"\n\
         [runtime]\nshards = 2\n",
        SMALLEST.replace("gw.example:8443", "[2001:db8::1]:443")
    );
    let settings = dir.read(&text).unwrap();
    assert_eq!(settings.location, "berlin");
    assert_eq!(settings.tunnels, TunnelCount::Fixed(3));
    assert_eq!(
        (
            settings.gateways[0].host.as_str(),
            settings.gateways[0].port
        ),
        ("2001:db8::1", 443)
    );
    assert_eq!(
        settings.backend.tls_roots,
        TlsRoots::File(dir.0.path().join("ca.pem"))
    );
    assert_eq!(
        (
            settings.backend.pool_max,
            settings.shards,
            settings.streams_max
        ),
        (7, 2, 100)
    );
    assert!(settings.proxy.as_ref().unwrap().passes("gw.corp"));
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn tunnels_are_a_word_or_a_number() {
    let dir = Dir::new();
    let read = |tunnels: &str| {
        dir.read(&format!("{SMALLEST}tunnels = {tunnels}\n"))
            .map(|s| s.tunnels)
    };
    assert_eq!(read("\"auto\""), Ok(TunnelCount::Auto));
    assert_eq!(read("1"), Ok(TunnelCount::Fixed(1)));
    assert_eq!(TUNNELS_MAX, 16);
    assert_eq!(read(&TUNNELS_MAX.to_string()), Ok(TunnelCount::Fixed(16)));
    let one_more = (TUNNELS_MAX + 1).to_string();
    for wrong in ["0", &one_more, "\"many\"", "true"] {
        assert!(
            read(wrong).unwrap_err().contains("tunnel.tunnels"),
            "{wrong}"
        );
    }
}

#[test]
fn all_problems_come_at_once_each_with_its_place() {
    let dir = Dir::new();
    fs::set_permissions(
        dir.0.path().join("key.pem"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let text = "[agent]\nlocation = \"a b\"\n[tunnel]\ngateways = [\"gw.example\"]\ncertificate = \"none.pem\"\n\
                key = \"key.pem\"\nproxy = \"socks5://p:1\"\nretry_cap = \"31s\"\nstrems_max = 1\n";
    let problems = dir.read(text).unwrap_err();
    for part in [
        ":2:12: agent.location: ",
        ":4:13: tunnel.gateways: ",
        "tunnel.certificate: ",
        "tunnel.key: ",
        "tunnel.roots: ",
        "tunnel.proxy: a proxy address begins with http://",
        ":8:13: tunnel.retry_cap: ",
        "tunnel.strems_max: unknown key; did you mean `streams_max`?",
    ] {
        assert!(problems.contains(part), "no `{part}` in\n{problems}");
    }
    assert_eq!(problems.lines().count(), 8, "{problems}");
}

#[test]
fn a_gateways_certificate_is_not_an_agents() {
    let dir = Dir::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(Vec::new()).unwrap();
    leaf.subject_alt_names = vec![rcgen::SanType::URI(
        "spiffe://adit.local/gateway/gw".try_into().unwrap(),
    )];
    fs::write(
        dir.0.path().join("cert.pem"),
        leaf.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    fs::write(dir.0.path().join("key.pem"), key.serialize_pem()).unwrap();
    let problems = dir.read(SMALLEST).unwrap_err();
    assert!(problems.contains("tunnel.certificate: "), "{problems}");
}

#[test]
fn r09_the_longest_wait_between_dials_may_be_thirty_seconds_and_no_more() {
    let dir = Dir::new();
    let read = |cap: &str| {
        dir.read(&format!("{SMALLEST}retry_cap = \"{cap}\"\n"))
            .map(|s| s.retry_cap)
    };
    assert_eq!(read("30s"), Ok(Duration::from_secs(30)));
    assert!(read("30001ms").unwrap_err().contains("above 30s"));
}

/// The PEM of so many public keys (RFC 8410, section 10.1).
fn public_keys(count: usize) -> String {
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
     -----END PUBLIC KEY-----\n"
        .repeat(count)
}

#[test]
fn up_to_sixteen_keys_may_sign_and_without_the_file_none_is_asked_for() {
    let dir = Dir::new();
    assert_eq!(dir.read(SMALLEST).unwrap().signing_keys, None);
    let text = format!("{SMALLEST}[rules]\nsigning_keys = \"signers.pem\"\n");
    let with = |count| {
        fs::write(dir.0.path().join("signers.pem"), public_keys(count)).unwrap();
        dir.read(&text)
            .map(|settings| settings.signing_keys.map_or(0, |keys| keys.len()))
    };
    assert_eq!(with(1), Ok(1));
    assert_eq!(with(SIGNING_KEYS_MAX), Ok(16));
    let told = with(SIGNING_KEYS_MAX + 1).unwrap_err();
    assert!(told.contains("more than 16 keys"), "{told}");
}

#[test]
fn a_trust_with_one_signing_key_too_many_is_not_usable() {
    let with = |count| {
        signing_keys(&Trust {
            signing_keys: public_keys(count),
            ..Trust::default()
        })
    };
    assert_eq!(with(SIGNING_KEYS_MAX).map(|keys| keys.len()), Ok(16));
    let told = with(SIGNING_KEYS_MAX + 1).unwrap_err();
    assert_eq!(told, "signing keys: holds more than 16 keys");
}

#[test]
fn a_file_of_signing_keys_that_holds_none_is_refused() {
    let dir = Dir::new();
    let text = format!("{SMALLEST}[rules]\nsigning_keys = \"signers.pem\"\n");
    let told = dir.read(&text).unwrap_err();
    assert!(told.contains("signing_keys"), "{told}");
    let certificate = fs::read_to_string(dir.0.path().join("cert.pem")).unwrap();
    let x25519 = public_keys(1).replace("K2Vw", "K2Vu");
    for (content, wanted) in [
        (String::new(), "adit pki signer"),
        (certificate, "adit pki signer"),
        (x25519, "not an Ed25519 public key"),
    ] {
        fs::write(dir.0.path().join("signers.pem"), &content).unwrap();
        let told = dir.read(&text).unwrap_err();
        assert!(
            told.contains("signers.pem") && told.contains(wanted),
            "{told}"
        );
    }
}
