//! A certificate that nobody renews: real nodes whose control plane is away until the certificate has ended.
//!
//! Certificates live for seconds here, so they are made by the test and not by a control plane.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use adit_tests::http::Connection;
use adit_tests::wait::{SOON, until};
use adit_tests::world::{Driver, Keys, Node};
use adit_tests::{Backend, Rules, Scratch, backend, programs, socks};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;
use time::OffsetDateTime;

/// An authority whose certificates begin and end when the test says.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// Gives `node` an identity that ends at `end`, and a control plane that is away.
    fn identify(
        &self,
        node: &mut Node,
        role: &str,
        uri: &str,
        end: SystemTime,
        signing_keys: &str,
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.not_before = OffsetDateTime::from(end - LIFE);
        params.not_after = OffsetDateTime::from(end);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let trust = json!({
            "version": 1, "roots": self.root, "signing_keys": signing_keys, "revoked": [], "location": "",
        });
        for (name, text) in [
            ("cert.pem", certificate),
            ("key.pem", key.serialize_pem()),
            ("trust.json", trust.to_string()),
        ] {
            let path = node.scratch().path("identity").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        for key in ["certificate", "key", "roots"] {
            node.config.unset(&format!("tunnel.{key}"));
        }
        let identity = node.scratch().path("identity").display().to_string();
        node.config
            .text(&format!("{role}.identity"), identity)
            // Nobody listens there.
            .set("control.urls", "[\"https://127.0.0.1:1\"]");
    }
}

#[test]
fn s08_while_nobody_renews_a_certificate_every_request_is_served_to_its_end_and_the_alarm_is_raised_before()
 {
    let (keys, scratch, authority) = (Keys::new(), Scratch::new(), Authority::new());
    let path = |name: &str| scratch.path(name).display().to_string();
    programs::run_adit(&["pki", "signer", "--out", &path("signer")]);
    let signer = fs::read_to_string(path("signer/signer.pem")).unwrap();
    let hello = Backend::saying(backend::ok("hello"));
    let echo = Backend::echo();
    let rules = Rules::none()
        .http("web.virtual:80", hello.url())
        .tcp("echo.virtual:7", echo.address());
    scratch.write("rules.toml", rules.to_string());
    programs::run_adit(&[
        "rules",
        "sign",
        &path("rules.toml"),
        "--key",
        &path("signer/signer-key.pem"),
        "--audience",
        "acme/",
        "--epoch",
        "1",
        "--version",
        "1",
        "--out",
        &path("signed"),
    ]);

    let mut gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
    let long = SystemTime::now() + LIFE;
    authority.identify(
        &mut gateway,
        "gateway",
        "spiffe://adit.local/gateway/gw-1",
        long,
        "",
    );
    gateway.config.text("gateway.drain", "1s");
    gateway.start();
    let mut agent = Node::agent(
        &keys,
        "acme",
        "",
        "a-1",
        Driver::IoUring,
        &[gateway.door("tunnel")],
    );
    let name = "spiffe://adit.local/subaccount/acme/agent/a-1";
    let end = SystemTime::now() + LEFT;
    authority.identify(&mut agent, "agent", name, end, &signer);
    agent.start();
    programs::run_adit(&[
        "rules",
        "push",
        &path("signed"),
        "--node",
        &agent.admin().address(),
    ]);
    let (door, token) = (gateway.door("http"), keys.token("acme"));
    let get = || {
        let mut connection = Connection::open(door).unwrap();
        let request = format!(
            "GET http://web.virtual/ HTTP/1.1\r\nHost: web.virtual\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
        );
        connection.send(request).unwrap();
        connection.response().unwrap().status
    };
    until("the agent serves", SOON, || get() == 200);
    let mut stream = socks::connect(gateway.door("socks5"), &token, "echo.virtual", 7).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();

    // To a second before its end nothing is lost, and every try to renew it fails.
    let admin = agent.admin();
    let alarm = |said: &str| {
        admin.status()["control"]["problems"]
            .to_string()
            .contains(said)
    };
    let mut raised = false;
    let mut served = 0;
    while SystemTime::now() + Duration::from_secs(1) < end {
        assert_eq!(get(), 200);
        stream.write_all(b"word").unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        raised = alarm("less than a third");
        assert!(
            raised || left > LIFE / 3 - Duration::from_secs(3),
            "no alarm with {left:?} left"
        );
        assert!(
            !raised || left <= LIFE / 3 + Duration::from_secs(1),
            "an alarm with {left:?} left"
        );
        served += 1;
    }
    assert!(raised && served > 10, "{served}");
    assert!(
        agent
            .log()
            .contains("less than a third of the certificate's life is left")
    );
    let failed = || admin.metric("subscription_renewals_total", &[("outcome", "failed")]);
    assert!(failed() >= 2.0);
    assert!(
        admin.is_ready(),
        "it works as long as its certificate counts"
    );

    // Then its tunnels are drained and nobody takes it; it goes on asking.
    let mut rest = Vec::new();
    // What still runs then is cut, with or without a word.
    let ended = stream.read_to_end(&mut rest);
    let cut = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(ended.map_or_else(cut, |_| true) && rest.is_empty());
    until("no agent is left", SOON, || get() == 503);
    until("the agent says why", SOON, || alarm("has expired"));
    assert!(!admin.is_ready());
    let before = failed();
    until("it tries to renew again", SOON * 4, || failed() > before);
}

/// The life of a certificate, in place of thirty days.
const LIFE: Duration = Duration::from_secs(45);
/// What is left of the agent's when it starts: a little more than half.
const LEFT: Duration = Duration::from_secs(25);
