//! An identity that changes under traffic, one that is read from its folder, and a horizon.

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use adit_proto::hello::{VERSION, Welcome};
use adit_runtime::housekeeping::Housekeeping;
use adit_runtime::journal::Journal;
use adit_runtime::shard::{Choice, Driver};
use adit_tls::{Credentials, Leaf, Roots};
use adit_transport::listen::{Listener, bind};
use adit_transport::socket::Leg;
use adit_transport::{Link, accept};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use super::*;
use crate::limits::{DRAIN_GRACE, RENEWED_SPREAD};
use crate::run::share;
use crate::settings::{Gateway, Settings, TunnelCount};
use crate::shard::Shard;
use crate::test_world::{
    Answer, Backend, World, all_of, http, on_both_drivers, put_in_force, read_request, settings,
};
use crate::tunnels;

const AGENT: &str = "spiffe://adit.local/subaccount/acme/agent/berlin-1";
const GATEWAY: &str = "spiffe://adit.local/gateway/gw";

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

    // Certificate and key, PEM.
    fn issue(&self, uri: &str, serial: u64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(Vec::new()).unwrap();
        leaf.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        leaf.serial_number = Some(serial.into());
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

    fn client(&self, serial: u64, roots: &Roots) -> adit_tls::ClientSettings {
        let (chain, key) = self.issue(AGENT, serial);
        let own = Credentials::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        adit_tls::client(&own, roots).unwrap()
    }

    fn server(&self, serial: u64) -> adit_tls::ServerSettings {
        let (chain, key) = self.issue(GATEWAY, serial);
        let own = Credentials::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        adit_tls::server(&own, &self.roots()).unwrap()
    }
}

// An agent's shard with one place for a tunnel, and the gateway's ends of its tunnels as they come.
struct Pair {
    authority: Authority,
    shared: Arc<Shared>,
    links: Rc<RefCell<Vec<Rc<Link>>>>,
    housekeeping: adit_runtime::housekeeping::Handle,
}

impl Pair {
    fn new(driver: Driver, rules: &str) -> Self {
        let authority = Authority::new();
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let port = listener.local_addr().unwrap().port();
        let listener = Listener::new(listener, driver, Leg::Tunnel).unwrap();
        let mut settings = settings(authority.client(1, &authority.roots()));
        settings.tunnels = TunnelCount::Fixed(1);
        settings.retry_cap = Duration::from_millis(20);
        settings.gateways = vec![Gateway {
            host: "127.0.0.1".to_owned(),
            port,
            text: format!("127.0.0.1:{port}"),
        }];
        let housekeeping = Housekeeping::start("test").unwrap();
        let choice = Choice {
            driver,
            reason: String::new(),
        };
        let journal = Arc::new(Journal::new());
        let (shared, inboxes) = share(settings, &housekeeping, choice, journal, None).unwrap();
        put_in_force(&shared, 1, rules);
        let inbox = inboxes.into_iter().next().unwrap().open().unwrap();
        monoio::spawn(Rc::new(Shard::new(0, Arc::clone(&shared))).run(inbox));
        tunnels::begin(&shared);
        let links = Rc::default();
        let tls = authority.server(0x9a);
        monoio::spawn(gateway(
            listener,
            tls,
            shared.dialler.mux.clone(),
            Rc::clone(&links),
        ));
        Self {
            authority,
            shared,
            links,
            housekeeping,
        }
    }

    // Waits for tunnel number `number` of all that there were.
    async fn link(&self, number: usize) -> Rc<Link> {
        loop {
            if let Some(link) = self.links.borrow().get(number) {
                return Rc::clone(link);
            }
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
    }

    fn tell(&self, message: Message) {
        assert!(self.shared.mailboxes[0].send(message).is_ok());
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.housekeeping.shutdown();
    }
}

async fn gateway(
    listener: Listener,
    tls: adit_tls::ServerSettings,
    mux: adit_mux::Settings,
    links: Rc<RefCell<Vec<Rc<Link>>>>,
) {
    loop {
        let (socket, _) = listener.accept(|error| panic!("{error}")).await;
        let welcome = Welcome {
            version: VERSION,
            features: 0,
            gateway: "gw".to_owned(),
            shard: 0,
            shards: 1,
        };
        let wait = Duration::from_secs(5);
        let opened = accept::open(&socket, &tls, mux.clone(), wait, |_, _| Ok(welcome)).await;
        if let Ok(admitted) = opened {
            let link = Link::start(admitted.tunnel, socket, admitted.leftover);
            links.borrow_mut().push(link);
        }
    }
}

fn serial(link: &Link) -> String {
    Leaf::read(&link.peer().identity.leaf).unwrap().serial
}

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: erp.virtual\r\n\r\n";

#[test]
fn a_renewed_certificate_gets_a_tunnel_of_its_own_before_the_old_one_goes_and_no_request_is_lost() {
    assert_eq!(RENEWED_SPREAD, Duration::from_secs(2));
    on_both_drivers(async |driver| {
        let (go_on, waits) = mpsc::channel::<()>();
        let waits = std::sync::Mutex::new(waits);
        let backend = Backend::new(move |number, socket| {
            read_request(socket);
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
            socket.write_all(head.as_bytes()).unwrap();
            if number == 0 {
                waits.lock().unwrap().recv().unwrap();
            }
            socket.write_all(b"cd").unwrap();
        });
        let pair = Pair::new(driver, &all_of(&format!("http://{}", backend.address)));
        let old = pair.link(0).await;
        assert_eq!(serial(&old), "1");
        let asked = old.open().await.unwrap();
        let front = http("erp.virtual", 80, REQUEST);
        asked.send_bytes(&front, true).await.unwrap();
        while backend.connections() == 0 {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }

        let renewed = pair.authority.client(2, &pair.authority.roots());
        pair.shared.dialler.tls.store(Arc::new(renewed));
        pair.tell(Message::Renewed);
        let new = pair.link(1).await;
        assert_eq!(serial(&new), "2");
        // The old one says go-away only now, and lives for what runs on it.
        while old.is_open() {
            old.changed().await;
        }
        assert!(!old.has_ended());
        let again = new.open().await.unwrap();
        again.send_bytes(&front, true).await.unwrap();
        assert!(Answer::read(&again).await.whole().ends_with("abcd"));

        // Longer than what was on its way is waited for.
        adit_runtime::timer::sleep(DRAIN_GRACE * 3).await;
        assert!(!old.has_ended(), "a request still runs on it");
        go_on.send(()).unwrap();
        assert!(Answer::read(&asked).await.whole().ends_with("abcd"));
        old.ended().await;
        assert!(new.is_open());
    });
}

#[test]
fn a_tunnel_stays_while_the_next_certificate_finds_no_gateway() {
    on_both_drivers(async |driver| {
        let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let pair = Pair::new(driver, &all_of(&format!("http://{}", backend.address)));
        let old = pair.link(0).await;
        // Of an authority that the gateway does not know.
        let stranger = Authority::new();
        let renewed = stranger.client(2, &pair.authority.roots());
        pair.shared.dialler.tls.store(Arc::new(renewed));
        pair.tell(Message::Renewed);
        while pair.shared.journal.latest("dial").is_none() {
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        }
        assert!(old.is_open());
        let asked = old.open().await.unwrap();
        let front = http("erp.virtual", 80, REQUEST);
        asked.send_bytes(&front, true).await.unwrap();
        assert!(
            Answer::read(&asked)
                .await
                .whole()
                .starts_with("HTTP/1.1 200 ")
        );
    });
}

#[test]
fn a_tunnel_to_a_revoked_gateway_is_cut_at_once_and_not_dialled_again() {
    on_both_drivers(async |driver| {
        let pair = Pair::new(driver, &all_of("http://127.0.0.1:1"));
        let link = pair.link(0).await;
        let other = pair.authority.roots().with_revoked(["9b".to_owned()]);
        pair.shared.trusted.store(Some(Arc::new(other)));
        pair.tell(Message::Trust);
        let roots = pair.authority.roots().with_revoked(["9a".to_owned()]);
        let tls = pair.authority.client(1, &roots);
        pair.shared.dialler.tls.store(Arc::new(tls));
        assert!(link.is_open(), "another one's serial");
        pair.shared.trusted.store(Some(Arc::new(roots)));
        pair.tell(Message::Trust);
        link.ended().await;
        let refused = loop {
            if let Some(entry) = pair.shared.journal.latest("dial") {
                break entry.message;
            }
            adit_runtime::timer::sleep(Duration::from_millis(1)).await;
        };
        assert!(refused.contains("evoked"), "{refused}");
        assert_eq!(pair.links.borrow().len(), 1);
    });
}

// Writes an identity as an enrolment leaves it, and a configuration that uses it.
fn enrolled(folder: &Path, uri: &str, more: &str) -> Result<Settings, String> {
    let authority = Authority::new();
    let (chain, key) = authority.issue(uri, 7);
    let identity = folder.join("agent/identity");
    fs::create_dir_all(&identity).unwrap();
    fs::write(identity.join("cert.pem"), chain).unwrap();
    fs::write(identity.join("key.pem"), key).unwrap();
    fs::set_permissions(identity.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let trust = serde_json::json!({
        "version": 1, "roots": authority.pem, "signing_keys": "", "revoked": [], "location": "berlin",
    });
    fs::write(identity.join("trust.json"), trust.to_string()).unwrap();
    let path = folder.join("agent.toml");
    let text = format!(
        "[control]\nurls = [\"https://127.0.0.1:1\"]\n{more}\n[tunnel]\ngateways = [\"gw.example:8443\"]\n"
    );
    fs::write(&path, text).unwrap();
    Settings::read(&path).map_err(|problems| problems.to_string())
}

#[test]
fn with_a_control_plane_the_identity_says_who_and_where_the_agent_is_and_whose_signature_counts() {
    let folder = tempfile::tempdir().unwrap();
    let read = enrolled(folder.path(), AGENT, "").unwrap();
    assert_eq!(
        (read.name.as_str(), read.subaccount.as_str()),
        ("berlin-1", "acme")
    );
    assert_eq!(read.location, "berlin");
    // No key is no rules, not any rules.
    assert_eq!(read.signing_keys.map(|keys| keys.len()), Some(0));
    assert!(read.control.unwrap().horizon.is_zero());
    for (uri, more, said) in [
        (GATEWAY, "", "agent.identity"),
        (AGENT, "[agent]\nlocation = \"paris\"", "agent.location"),
        (
            AGENT,
            "[rules]\nsigning_keys = \"k.pem\"",
            "rules.signing_keys: delete it",
        ),
    ] {
        let error = enrolled(folder.path(), uri, more).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_identity_is_in_the_folder_or_in_the_file_and_never_in_both() {
    let folder = tempfile::tempdir().unwrap();
    enrolled(folder.path(), AGENT, "").unwrap();
    let path = folder.path().join("agent.toml");
    let tunnel = "[tunnel]\ngateways = [\"gw:1\"]\n";
    let control = "[control]\nurls = [\"https://cp1\"]\n";
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        Settings::read(&path)
            .map(drop)
            .map_err(|problems| problems.to_string())
    };
    read(&format!("{control}{tunnel}")).unwrap();
    let both = format!("{control}{tunnel}certificate = \"c\"\nkey = \"k\"\nroots = \"r\"\n");
    let error = read(&both).unwrap_err();
    for key in ["certificate", "key", "roots"] {
        assert!(
            error.contains(&format!("tunnel.{key}: delete it")),
            "{error}"
        );
    }
    let error = read(&format!("[agent]\nidentity = \"i\"\n{tunnel}")).unwrap_err();
    assert!(
        error.contains("agent.identity: is for an agent with a control plane"),
        "{error}"
    );
    let error = read(&format!("[agent]\nidentity = \"none\"\n{control}{tunnel}")).unwrap_err();
    assert!(error.contains("--enrol"), "{error}");
    // To enrol, no identity is needed, but where.
    fs::write(
        &path,
        format!("[agent]\nidentity = \"none\"\n{control}{tunnel}"),
    )
    .unwrap();
    let enrolment = Settings::read_enrolment(&path).unwrap();
    assert_eq!(enrolment.folder, folder.path().join("none"));
    fs::write(&path, tunnel).unwrap();
    let error = Settings::read_enrolment(&path).unwrap_err().to_string();
    assert!(error.contains("[control]"), "{error}");
}

#[test]
fn beyond_its_horizon_an_agent_refuses_every_request_until_it_hears_its_control_plane() {
    on_both_drivers(async |driver| {
        let horizon = "horizon = \"100s\"";
        let (folders, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let heard = |folder: &Path, ago: u64| {
            let control = enrolled(folder, AGENT, horizon).unwrap().control;
            let heard = clock::unix_now() - ago;
            fs::write(folder.join("agent/identity/contact"), format!("{heard}\n")).unwrap();
            control
        };
        let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let rules = all_of(&format!("http://{}", backend.address));
        let control = heard(folders.path(), 50);
        let world = World::set(driver, &rules, |settings| settings.control = control).await;
        let answer = world.ask(REQUEST).await;
        assert!(answer.whole().starts_with("HTTP/1.1 200 "));
        let control = heard(later.path(), 101);
        let world = World::set(driver, &rules, |settings| settings.control = control).await;
        assert_eq!(world.ask(REQUEST).await.reason(), "rules-stale");
        let subscription = world.shard.shared.control.as_ref().unwrap();
        assert_eq!(subscription.status()["beyond_horizon"], true);
        subscription.contact().heard(clock::now());
        let answer = world.ask(REQUEST).await;
        assert!(answer.whole().starts_with("HTTP/1.1 200 "));
        assert_eq!(backend.connections(), 2);
    });
}
