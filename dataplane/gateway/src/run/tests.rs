//! A whole gateway in this process, with a control plane that it never finds: tunnels end with what they rest on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use adit_proto::hello::{Hello, VERSION};
use adit_runtime::resolve::Resolver;
use adit_runtime::shard::{Driver, run_here};
use adit_tls::{Credentials, Leaf, Roots};
use adit_transport::accept::Admitted;
use adit_transport::dial::{DialError, Dialler};
use adit_transport::{Link, Socket};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use time::OffsetDateTime;

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    // Certificate and key, PEM, for `left` seconds from now.
    fn issue(&self, uri: &str, serial: u64, left: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        leaf.serial_number = Some(serial.into());
        leaf.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(left);
        leaf.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let pem = leaf.signed_by(&key, &self.issuer).unwrap().pem();
        (pem, key.serialize_pem())
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }

    fn credentials(&self, uri: &str, serial: u64, left: i64) -> Credentials {
        let (chain, key) = self.issue(uri, serial, left);
        Credentials::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }
}

const AGENT: &str = "spiffe://adit.local/subaccount/acme/agent/a1";
const GATEWAY: &str = "spiffe://adit.local/gateway/gw";

fn jwks() -> String {
    let key = KeyPair::generate().unwrap();
    let point = key.public_key_raw();
    let part = |range| BASE64_URL_SAFE_NO_PAD.encode(&point[range]);
    serde_json::json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
        "x": part(1..33), "y": part(33..65),
    }]})
    .to_string()
}

// Configuration and identity as an enrolment leaves them.
fn written(folder: &Path, authority: &Authority, more: &str) -> std::path::PathBuf {
    let identity = folder.join("gateway/identity");
    fs::create_dir_all(&identity).unwrap();
    let (chain, key) = authority.issue(GATEWAY, 0x9a, 3600);
    fs::write(identity.join("cert.pem"), chain).unwrap();
    fs::write(identity.join("key.pem"), key).unwrap();
    fs::set_permissions(identity.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let trust = json!({
        "version": 1, "roots": authority.pem, "signing_keys": "", "revoked": [], "location": "",
    });
    fs::write(identity.join("trust.json"), trust.to_string()).unwrap();
    fs::write(folder.join("jwks.json"), jwks()).unwrap();
    let path = folder.join("gateway.toml");
    let text = format!(
        "[gateway]\ndrain = \"1s\"\n[control]\nurls = [\"https://127.0.0.1:1\"]\n\
         [tunnel]\nlisten = \"127.0.0.1:0\"\n{more}[http]\nenabled = false\n[socks5]\nenabled = false\n\
         [token]\njwks = \"jwks.json\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n[runtime]\nshards = 1\n"
    );
    fs::write(&path, text).unwrap();
    path
}

async fn dial(gateway: &Gateway, own: &Credentials, roots: &Roots) -> Rc<Link> {
    let (socket, admitted) = try_dial(gateway, own, roots).await.unwrap();
    Link::start(admitted.tunnel, socket, admitted.leftover)
}

async fn try_dial(
    gateway: &Gateway,
    own: &Credentials,
    roots: &Roots,
) -> Result<(Socket, Admitted), DialError> {
    let tls = adit_tls::client(own, roots).unwrap();
    let dialler = Dialler {
        tls: Arc::new(ArcSwap::from_pointee(tls)),
        mux: gateway.shared.mux.clone(),
        resolver: Resolver::new(gateway.housekeeping.clone()),
        proxy: None,
        connect_limit: Duration::from_secs(5),
    };
    let hello = Hello {
        version: VERSION,
        features: 0,
        location: String::new(),
        instance: [7; 16],
        software: "test".to_owned(),
    };
    let port = gateway.addresses().tunnel.port();
    dialler.dial("127.0.0.1", port, hello).await
}

fn serial(link: &Link) -> String {
    Leaf::read(&link.peer().identity.leaf).unwrap().serial
}

#[test]
fn tunnels_end_when_their_agents_certificate_ends_or_is_revoked_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let settings = Settings::read(&written(folder.path(), &authority, "")).unwrap();
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    let test = async {
        let short = dial(&gateway, &authority.credentials(AGENT, 1, 2), &roots).await;
        let revoked = dial(&gateway, &authority.credentials(AGENT, 2, 3600), &roots).await;
        let stays = dial(&gateway, &authority.credentials(AGENT, 3, 3600), &roots).await;
        assert!(short.is_open() && revoked.is_open() && stays.is_open());

        let trusted = roots.clone().with_revoked(["2".to_owned()]);
        gateway
            .shared
            .trusted
            .store(Some(Arc::new(trusted.clone())));
        assert!(gateway.shared.mailboxes[0].send(Message::Trust).is_ok());
        revoked.ended().await;
        assert!(short.is_open(), "it has not ended yet");

        while short.is_open() {
            short.changed().await;
        }
        short.ended().await;
        assert!(stays.is_open());

        // Another certificate of ours: for handshakes from now on.
        let own = authority.credentials(GATEWAY, 0x9b, 3600);
        let tls = adit_tls::server(&own, &roots).unwrap();
        gateway.shared.tls.store(Arc::new(tls));
        let next = dial(&gateway, &authority.credentials(AGENT, 4, 3600), &roots).await;
        assert_eq!(
            (serial(&stays), serial(&next)),
            ("9a".to_owned(), "9b".to_owned())
        );
        assert!(stays.is_open());

        // Who is revoked does not come again either.
        let trusting = adit_tls::server(&own, &trusted).unwrap();
        gateway.shared.tls.store(Arc::new(trusting));
        let again = authority.credentials(AGENT, 2, 3600);
        assert!(try_dial(&gateway, &again, &roots).await.is_err());
    };
    let limited = async {
        adit_runtime::timer::timeout(Duration::from_secs(30), test)
            .await
            .expect("a test takes less than half a minute");
    };
    run_here(Driver::Epoll, limited).unwrap();
    gateway.drain();
    assert_eq!(gateway.wait(), ExitCode::SUCCESS);
    let folder = folder.path().join("gateway/audit");
    let records = fs::read_to_string(folder.join("0000000001.jsonl")).unwrap();
    let of = |part: &str| {
        let lines = records.lines().filter(|line| line.contains(part));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(of("\"event\":\"up\"").len(), 4, "{records}");
    assert!(of("\"up\"").iter().all(|line| line.contains(AGENT)));
    let revoked = of("{\"ended\":{\"how\":\"revoked\"}}");
    assert_eq!(revoked.len(), 1, "{records}");
    assert!(revoked[0].contains("\"serial\":\"2\""), "{revoked:?}");
    let refused = of("{\"refused\":{\"reason\":\"tls\"");
    assert_eq!(refused.len(), 1, "{records}");
    assert!(refused[0].contains("Revoked"), "{refused:?}");
    assert_eq!(of("\"record\":\"started\"").len(), 1);
    assert!(of("\"record\":\"started\"")[0].contains("\"node\":\"gw\""));
    assert_eq!(of("\"record\":\"stopped\"").len(), 1, "{records}");
}

#[test]
fn a_gateways_identity_is_in_the_folder_or_in_the_file_and_never_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let both = "certificate = \"c\"\nkey = \"k\"\nroots = \"r\"\n";
    let path = written(folder.path(), &authority, both);
    let error = Settings::read(&path).unwrap_err().to_string();
    for key in ["certificate", "key", "roots"] {
        assert!(
            error.contains(&format!("tunnel.{key}: delete it")),
            "{error}"
        );
    }
    let path = written(folder.path(), &authority, "");
    fs::remove_dir_all(folder.path().join("gateway")).unwrap();
    let error = Settings::read(&path).unwrap_err().to_string();
    assert!(error.contains("--enrol"), "{error}");
    let enrolment = Settings::read_enrolment(&path).unwrap();
    assert_eq!(enrolment.folder, folder.path().join("gateway/identity"));
    fs::write(&path, "[gateway]\n").unwrap();
    let error = Settings::read_enrolment(&path).unwrap_err().to_string();
    assert!(error.contains("[control]"), "{error}");
}
