//! A whole gateway in this process, with a control plane that it never finds: tunnels end with what they rest on, and
//! what is recorded of them and of requests when things end.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use adit_proto::connect::{Request, Response};
use adit_proto::hello::{Hello, VERSION};
use adit_relay::gather;
use adit_runtime::local::{Either, either};
use adit_runtime::resolve::Resolver;
use adit_runtime::shard::{Driver, run_here};
use adit_tls::{Credentials, Leaf, Roots};
use adit_transport::accept::Admitted;
use adit_transport::dial::{DialError, Dialler};
use adit_transport::{Link, Socket, Stream};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, SigningKey as _,
};
use time::OffsetDateTime;

use super::*;
use crate::directory::Registration;
use crate::limits;

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

// Keys as a gateway is given them, and a token of the application `shop` that one of them signed.
fn issuer() -> (String, String) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwks = json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k",
        "x": text(key.public_key_raw()),
    }]});
    let header = json!({"alg": "EdDSA", "kid": "k"}).to_string();
    let claims = json!({
        "iss": "i", "aud": ["a"], "zid": "acme", "client_id": "shop", "exp": clock::unix_now() + 600,
    })
    .to_string();
    let signed = format!("{}.{}", text(header.as_bytes()), text(claims.as_bytes()));
    let signature = text(&key.sign(signed.as_bytes()).unwrap());
    (jwks.to_string(), format!("{signed}.{signature}"))
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
    fs::write(folder.join("jwks.json"), issuer().0).unwrap();
    let path = folder.join("gateway.toml");
    let text = format!(
        "[gateway]\ndrain = \"1s\"\n[control]\nurls = [\"https://127.0.0.1:1\"]\n\
         [tunnel]\nlisten = \"127.0.0.1:0\"\n{more}[http]\nenabled = false\n[socks5]\nenabled = false\n\
         [token]\njwks = \"jwks.json\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n[runtime]\nshards = 1\n"
    );
    fs::write(&path, text).unwrap();
    path
}

// As `written`, with the HTTP door and a record of each request; with a token for it.
fn with_requests(folder: &Path, authority: &Authority, shards: usize) -> (Settings, String) {
    let path = written(folder, authority, "");
    let (jwks, token) = issuer();
    fs::write(folder.join("jwks.json"), jwks).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let door = "[audit]\nlevel = \"all\"\n[http]\nlisten = \"127.0.0.1:0\"";
    let text = text
        .replace("[http]\nenabled = false", door)
        .replace("shards = 1", &format!("shards = {shards}"));
    fs::write(&path, text).unwrap();
    (Settings::read(&path).unwrap(), token)
}

fn ask(gateway: &Gateway, token: &str, more: &str) -> TcpStream {
    let mut application = TcpStream::connect(gateway.addresses().http.unwrap()).unwrap();
    let limit = Some(Duration::from_secs(20));
    application.set_read_timeout(limit).unwrap();
    let head = request(token, more);
    application.write_all(head.as_bytes()).unwrap();
    application
}

fn request(token: &str, more: &str) -> String {
    format!(
        "GET http://erp.virtual/a HTTP/1.1\r\nHost: erp.virtual\r\n\
         Proxy-Authorization: Bearer {token}\r\n{more}"
    )
}

// The id under which an agent is asked.
async fn asked_for(stream: &Stream) -> String {
    let (mut pieces, mut front) = (VecDeque::new(), Vec::new());
    let id = gather::from_stream(stream, &mut pieces, &mut front, |bytes| {
        let asked = Request::decode(bytes).map_err(drop)?;
        Ok::<_, ()>(asked.map(|(request, _)| request.id.to_string()))
    });
    id.await.expect("a gateway asks as agreed")
}

async fn answer_with(stream: &Stream, head: &str) {
    let mut out = Vec::new();
    Response::Accepted.encode(&mut out);
    out.extend_from_slice(head.as_bytes());
    stream.send_bytes(&out, false).await.unwrap();
    // A timer fires when nothing else is ready: what was queued has left, also when the test blocks next.
    adit_runtime::timer::sleep(Duration::from_millis(1)).await;
}

fn recorded(folder: &Path) -> Vec<serde_json::Value> {
    let segment = folder.join("gateway/audit/0000000001.jsonl");
    let records = fs::read_to_string(segment).unwrap();
    records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn on_a_shard(test: impl Future<Output = ()>) {
    let limited = async {
        adit_runtime::timer::timeout(Duration::from_secs(30), test)
            .await
            .expect("a test takes less than half a minute");
    };
    run_here(Driver::Epoll, limited).unwrap();
}

async fn dial(gateway: &Gateway, own: &Credentials, roots: &Roots) -> Rc<Link> {
    let (socket, admitted) = try_dial(gateway, own, roots).await.unwrap();
    Link::start(admitted.tunnel, socket, admitted.leftover)
}

// An agent knows that it was welcomed before the shard of its tunnel has it.
async fn up(gateway: &Gateway) {
    let all = || gateway.shared.directory.all();
    while !all().iter().all(|entry| entry.is_open()) {
        adit_runtime::timer::sleep(Duration::from_millis(10)).await;
    }
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
    on_a_shard(test);
    gateway.drain();
    assert_eq!(gateway.wait(), ExitCode::SUCCESS);
    let folder = folder.path().join("gateway/audit");
    let records = fs::read_to_string(folder.join("0000000001.jsonl")).unwrap();
    let of = |part: &str| {
        let lines = records.lines().filter(|line| line.contains(part));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(of("\"event\":\"up\"").len(), 4, "{records}");
    // Also of those that the gateway ended when it ended itself.
    assert_eq!(of("{\"ended\":{").len(), 4, "{records}");
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
fn what_is_under_way_when_a_gateway_is_cut_is_recorded_and_who_is_slow_does_not_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (mut settings, token) = with_requests(folder.path(), &authority, 1);
    // Whoever is waited for half a second longer than he should is late with his head.
    settings.limits.head = limits::CUT_WAIT + Duration::from_millis(500);
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    on_a_shard(async {
        let link = dial(&gateway, &authority.credentials(AGENT, 1, 3600), &roots).await;
        up(&gateway).await;
        // Half a head.
        let mut slow = ask(&gateway, &token, "");
        let mut application = ask(&gateway, &token, "\r\n");
        let stream = link.accept().await.unwrap();
        let begun = clock::now();
        advance(&gateway.shared, Phase::Cut);
        link.ended().await;
        let mut answer = String::new();
        application.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("tunnel-lost"), "{answer}");
        assert_eq!(gateway.wait(), ExitCode::SUCCESS);
        assert!(clock::now() - begun >= limits::CUT_WAIT);
        drop(stream);
        // Then he is told so, before the gateway ends.
        let patience = Some(Duration::from_millis(100));
        slow.set_read_timeout(patience).unwrap();
        let mut told = String::new();
        let _ = slow.read_to_string(&mut told);
        assert_eq!(told, "");
    });
    let records = recorded(folder.path());
    let requests = records.iter().filter(|line| line["record"] == "request");
    let outcomes: Vec<_> = requests.map(|line| &line["outcome"]).collect();
    let lost = json!({"refused": {"reason": "tunnel-lost"}});
    assert_eq!(outcomes, [&lost], "{records:?}");
    let ended = |line: &&serde_json::Value| line["event"]["ended"]["how"] == "closed";
    assert_eq!(records.iter().filter(ended).count(), 1, "{records:?}");
}

#[test]
fn an_upgraded_connection_is_recorded_when_its_conversation_begins_and_not_again() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (settings, token) = with_requests(folder.path(), &authority, 1);
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    let requests = || {
        let mut records = recorded(folder.path());
        records.retain(|line| line["record"] == "request");
        records
    };
    on_a_shard(async {
        let link = dial(&gateway, &authority.credentials(AGENT, 1, 3600), &roots).await;
        up(&gateway).await;
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut application = ask(&gateway, &token, upgrade);
        let stream = link.accept().await.unwrap();
        let id = asked_for(&stream).await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        answer_with(&stream, answer).await;
        while requests().is_empty() {
            adit_runtime::timer::sleep(Duration::from_millis(10)).await;
        }
        assert!(link.is_open(), "the conversation goes on");
        // Its end tells nothing more.
        stream.finish();
        adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        application.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = String::new();
        application.read_to_string(&mut all).unwrap();
        assert!(all.starts_with("HTTP/1.1 101 "), "{all}");
        gateway.drain();
        assert_eq!(gateway.wait(), ExitCode::SUCCESS);
        let requests = requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0]["request"], id);
        assert_eq!(requests[0]["outcome"], json!({"passed": {"status": 101}}));
        assert_eq!(requests[0]["caller"], "shop");
    });
}

#[test]
fn a_request_sent_again_by_another_shard_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (settings, token) = with_requests(folder.path(), &authority, 2);
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    on_a_shard(async {
        let own = authority.credentials(AGENT, 1, 3600);
        let links = [
            dial(&gateway, &own, &roots).await,
            dial(&gateway, &own, &roots).await,
        ];
        up(&gateway).await;
        let mut application = ask(&gateway, &token, "Connection: close\r\n\r\n");
        let (first, second, stream) = match either(links[0].accept(), links[1].accept()).await {
            Either::Left(stream) => (&links[0], &links[1], stream.unwrap()),
            Either::Right(stream) => (&links[1], &links[0], stream.unwrap()),
        };
        let id = asked_for(&stream).await;
        first.close().await;
        let stream = second.accept().await.unwrap();
        assert_eq!(asked_for(&stream).await, id);
        answer_with(&stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
        stream.finish();
        adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        let mut answer = String::new();
        application.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        gateway.drain();
        assert_eq!(gateway.wait(), ExitCode::SUCCESS);
        let records = recorded(folder.path());
        let requests = records.iter().filter(|line| line["record"] == "request");
        let told: Vec<_> = requests
            .map(|line| (&line["request"], &line["outcome"]))
            .collect();
        let passed = json!({"passed": {"status": 204}});
        assert_eq!(told, [(&json!(id), &passed)], "{records:?}");
    });
}

#[test]
fn a_request_that_needs_a_full_shard_is_recorded_by_whom_it_was_and_what_it_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (mut settings, token) = with_requests(folder.path(), &authority, 2);
    settings.limits.connections_max = 1;
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    on_a_shard(async {
        let link = dial(&gateway, &authority.credentials(AGENT, 1, 3600), &roots).await;
        up(&gateway).await;
        // Each shard keeps one and closes the others.
        let connections = || gateway.shared.connections.load(Ordering::Acquire);
        let mut applications = Vec::new();
        while connections() < 2 {
            applications.push(TcpStream::connect(gateway.addresses().http.unwrap()).unwrap());
            adit_runtime::timer::sleep(Duration::from_millis(10)).await;
        }
        for application in &mut applications {
            // One that was closed takes nothing.
            let _ = application.write_all(request(&token, "\r\n").as_bytes());
        }
        let stream = link.accept().await.unwrap();
        while connections() > 1 {
            adit_runtime::timer::sleep(Duration::from_millis(10)).await;
        }
        advance(&gateway.shared, Phase::Cut);
        assert_eq!(gateway.wait(), ExitCode::SUCCESS);
        drop(stream);
    });
    let records = recorded(folder.path());
    let broken: Vec<_> = records
        .iter()
        .filter(|line| line["outcome"] == "broken-off")
        .collect();
    assert_eq!(broken.len(), 1, "{records:?}");
    let told = ["caller", "subaccount", "system", "method", "path"].map(|name| &broken[0][name]);
    assert_eq!(told, ["shop", "acme", "erp.virtual:80", "GET", "/a"]);
}

#[test]
fn a_tunnel_that_was_welcomed_and_cannot_be_kept_is_recorded_as_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let settings = Settings::read(&written(folder.path(), &authority, "")).unwrap();
    let gateway = Gateway::start(settings).unwrap();
    let roots = authority.roots();
    on_a_shard(async {
        let own = authority.credentials(AGENT, 1, 3600);
        let (_socket, admitted) = try_dial(&gateway, &own, &roots).await.unwrap();
        up(&gateway).await;
        let directory = &gateway.shared.directory;
        let entry = directory.register(Registration {
            shard: 0,
            subaccount: "acme".to_owned(),
            location: "hq".to_owned(),
            agent: "a2".to_owned(),
            instance: [8; 16],
            software: String::new(),
            peer: "192.0.2.7:40000".to_owned(),
            suite: "",
            since_unix: 0,
        });
        // The driver takes it, but it has no options of a socket.
        let file = fs::File::open("/dev/null").unwrap();
        let sent = gateway.shared.mailboxes[0].send(Message::Tunnel {
            socket: TcpStream::from(std::os::fd::OwnedFd::from(file)),
            admitted: Box::new(admitted),
            entry,
        });
        assert!(sent.is_ok());
        while directory.of_agent("acme", "a2") > 0 {
            adit_runtime::timer::sleep(Duration::from_millis(10)).await;
        }
    });
    let journal = gateway.shared.journal.latest("tunnel-refused").unwrap();
    let journal = &journal.message;
    assert!(journal.contains("192.0.2.7:40000"), "{journal}");
    gateway.drain();
    assert_eq!(gateway.wait(), ExitCode::SUCCESS);
    let records = recorded(folder.path());
    let of_it: Vec<_> = records
        .iter()
        .filter(|line| line["from"] == "192.0.2.7:40000")
        .collect();
    assert_eq!(of_it.len(), 1, "{records:?}");
    assert_eq!(of_it[0]["event"]["refused"]["reason"], "internal");
    assert_eq!(of_it[0]["location"], "hq");
}

#[test]
fn sinks_at_level_off_are_a_mistake_at_a_gateway_since_nothing_is_recorded_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &Authority::new(), "");
    let text = fs::read_to_string(&path).unwrap();
    for (audit, is_mistake) in [
        ("level = \"off\"\n[audit.syslog]\nserver = \"s\"\n", true),
        (
            "level = \"denied\"\n[audit.syslog]\nserver = \"s\"\n",
            false,
        ),
        ("level = \"off\"\n", false),
    ] {
        fs::write(&path, format!("{text}[audit]\n{audit}")).unwrap();
        let read = Settings::read(&path).map_err(|problems| problems.to_string());
        match read {
            Ok(_) => assert!(!is_mistake, "{audit}"),
            Err(problems) => assert!(
                is_mistake && problems.contains("audit.level: at \"off\" a gateway"),
                "{problems}"
            ),
        }
    }
}

#[test]
fn a_gateway_without_tunnels_and_connections_is_cut_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = with_requests(folder.path(), &Authority::new(), 2);
    let gateway = Gateway::start(settings).unwrap();
    let begun = clock::now();
    advance(&gateway.shared, Phase::Cut);
    assert_eq!(gateway.wait(), ExitCode::SUCCESS);
    let took = clock::now() - begun;
    assert!(took < limits::CUT_WAIT, "{took:?}");
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
