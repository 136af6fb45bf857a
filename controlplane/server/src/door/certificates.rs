//! People and nodes who show certificates: who is taken for whom, and why others are refused. The line is in memory.

use adit_api::NewUser;
use adit_people::Principal;
use adit_people::certificate::{NameField, PersonCertificate};
use adit_store::Revision;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::{Verifier, why};
use super::*;
use crate::hub::test_world::{World, ada};
use crate::place::NodeId;

/// Bytes that are on the line at most.
const LINE_BYTES: usize = 64 * 1024;
/// 2027-01-15, 08:00 UTC.
const NOW: u64 = 1_800_000_000;
/// The last second of a person's certificate of these tests, 2120-01-01: handshakes ask what time it really is.
const LAST: u64 = 4_733_510_400;

/// An authority of people.
struct Company {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Its certificate as it was until 2021-01-01.
    ended: CertificateDer<'static>,
}

/// A leaf and its key.
struct Papers {
    leaf: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Company {
    fn named(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().unwrap())
    }

    fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        let mut earlier = params.clone();
        earlier.not_after = date_time_ymd(2021, 1, 1);
        let ended = earlier.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem, ended }
    }

    fn trust(&self) -> PeopleTrust {
        PeopleTrust::read(self.pem.as_bytes(), NameField::CommonName).unwrap()
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Papers {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Papers {
            leaf: leaf.der().clone(),
            key: key.serialize_der(),
        }
    }
}

fn node(world: &World, id: &NodeId) -> Papers {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let issued = world.parts.life.issue(&csr.pem().unwrap(), id, 86_400);
    let leaf = CertificateDer::from_pem_slice(issued.unwrap().certificate_pem.as_bytes());
    Papers {
        leaf: leaf.unwrap(),
        key: key.serialize_der(),
    }
}

fn roots(world: &World) -> Vec<CertificateDer<'static>> {
    certificates(world.parts.life.roots_pem().as_bytes()).unwrap()
}

fn verifier(world: &World, people: Option<&PeopleTrust>) -> Verifier {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Verifier::new(roots(world), people, &provider).unwrap()
}

/// As whom a leaf is taken, or why it is not.
fn judged(verifier: &Verifier, papers: &Papers, unix_s: u64) -> String {
    judged_with(verifier, papers, &[], unix_s)
}

/// The same of a leaf that comes with other certificates.
fn judged_with(
    verifier: &Verifier,
    papers: &Papers,
    between: &[CertificateDer<'_>],
    unix_s: u64,
) -> String {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
    match verifier.shown(&papers.leaf, between, now) {
        Ok(Shown::Nothing) => "nothing".to_owned(),
        Ok(Shown::Node(_)) => "a node".to_owned(),
        Ok(Shown::Person(person)) => format!("person {}", person.user),
        Err(error) => why(&error).unwrap().to_owned(),
    }
}

#[tokio::test]
async fn a_leaf_of_the_people_is_never_a_node_and_a_nodes_leaf_never_a_person() {
    let world = World::new(1).await;
    let company = Company::named("people");
    let with = verifier(&world, Some(&company.trust()));
    let without = verifier(&world, None);
    let (agent, person) = (
        node(&world, &NodeId::agent("acme", "ada").unwrap()),
        company.issue("ada", |_| {}),
    );
    let now = crate::clock::unix_s();
    assert_eq!(judged(&with, &agent, now), "a node");
    assert_eq!(judged(&without, &agent, now), "a node");
    assert_eq!(judged(&with, &person, now), "person ada");
    assert_eq!(judged(&without, &person, now), "unknown-authority");

    // An authority of people that calls itself as ours does, and one that names nodes.
    let (_, ours) = x509(&roots(&world)[0]);
    let alike = Company::named(&ours);
    let alike_trust = alike.trust();
    let with_alike = verifier(&world, Some(&alike_trust));
    assert_eq!(
        judged(&with_alike, &alike.issue("ada", |_| {}), now),
        "person ada"
    );
    // Also where its keys are of another kind than ours.
    let other_kind = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let alike = Company::with_key(&ours, other_kind);
    let with_alike = verifier(&world, Some(&alike.trust()));
    assert_eq!(
        judged(&with_alike, &alike.issue("ada", |_| {}), now),
        "person ada"
    );
    let as_node = company.issue("ada", |params| {
        let uri = "spiffe://adit.example/subaccount/acme/agent/b-1";
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    });
    assert_eq!(judged(&with, &as_node, now), "node-name");
}

#[tokio::test]
async fn a_person_is_known_whatever_else_comes_with_the_leaf_and_an_ended_leaf_of_a_node_is_ended()
{
    let world = World::new(1).await;
    let company = Company::named("people");
    let verifier = verifier(&world, Some(&company.trust()));
    let now = crate::clock::unix_s();
    let person = company.issue("ada", |_| {});
    // As a key ring sends it that keeps what the authority was before.
    let between = [company.ended.clone()];
    assert_eq!(judged_with(&verifier, &person, &between, now), "person ada");
    let agent = node(&world, &NodeId::agent("acme", "ada").unwrap());
    let between = [company.ended, roots(&world).remove(0)];
    assert_eq!(judged_with(&verifier, &agent, &between, now), "a node");
    let later = now + 86_400 + 3600;
    for between in [&between[..], &[]] {
        assert_eq!(judged_with(&verifier, &agent, between, later), "ended");
    }
}

/// Subject and common name.
fn x509(der: &CertificateDer<'_>) -> (Vec<u8>, String) {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone().into_owned()).unwrap();
    let subject = roots.subjects()[0].as_ref().to_vec();
    // The last printable run of the name is its value.
    let text = String::from_utf8_lossy(&subject).into_owned();
    let mut name = text.rsplit(|c: char| c.is_control() || c == '\u{fffd}');
    let name = name.find(|part| !part.is_empty()).unwrap();
    (subject, name.to_owned())
}

#[tokio::test]
async fn whoever_gives_people_the_authority_of_nodes_is_stopped() {
    let world = World::new(1).await;
    let ours = world.parts.life.roots_pem();
    let company = Company::named("people");
    for pem in [ours.clone(), format!("{}{ours}", company.pem)] {
        let people = PeopleTrust::read(pem.as_bytes(), NameField::CommonName).unwrap();
        let (life, parts) = (Arc::clone(&world.parts.life), Arc::clone(&world.parts));
        let door = Door::new("cp-1", &["localhost".to_owned()], Some(people), life, parts);
        let Err(Trouble::Internal(why)) = door.map(drop) else {
            panic!("it opened");
        };
        assert!(why.starts_with("people.certificates.ca_file: "), "{why}");
    }
    let leaf = company.issue("ada", |_| {});
    let pem = adit_authority::pem("CERTIFICATE", &leaf.leaf);
    for (pem, part) in [
        (pem, "certificate 1 is no certificate of an authority"),
        (
            format!(
                "{}{pem}",
                company.pem,
                pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
            ),
            "certificate 2",
        ),
        (String::new(), "holds no certificate"),
    ] {
        let why = PeopleTrust::read(pem.as_bytes(), NameField::CommonName).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[tokio::test]
async fn every_bad_certificate_of_a_person_is_refused_with_its_reason() {
    let world = World::new(1).await;
    let company = Company::named("people");
    let verifier = verifier(&world, Some(&company.trust()));
    let judged = |papers: &Papers, unix_s| judged(&verifier, papers, unix_s);
    let good = company.issue("ada", |_| {});
    assert_eq!(judged(&good, LAST), "person ada");
    assert_eq!(judged(&good, LAST + 1), "ended");
    assert_eq!(judged(&good, 1_767_225_600 - 1), "not-yet-valid");
    assert_eq!(judged(&good, 1_767_225_600), "person ada");
    let other = Company::named("people").issue("ada", |_| {});
    assert_eq!(judged(&other, NOW), "unknown-authority");
    for usages in [
        vec![],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::Any],
    ] {
        let papers = company.issue("ada", |params| params.extended_key_usages = usages);
        assert_eq!(judged(&papers, NOW), "no-client-auth");
    }
    assert_eq!(judged(&company.issue("Ada Lovelace", |_| {}), NOW), "name");
}

/// A door, and people who come to it.
struct Entrance {
    world: World,
    door: Arc<Door>,
    _stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Entrance {
    async fn of(company: &Company) -> Self {
        let world = World::new(1).await;
        let (life, parts) = (Arc::clone(&world.parts.life), Arc::clone(&world.parts));
        let names = ["localhost".to_owned()];
        let door = Door::new("cp-1", &names, Some(company.trust()), life, parts).unwrap();
        let (stop, stopped) = watch::channel(false);
        Self {
            world,
            door: Arc::new(door),
            _stop: stop,
            stopped,
        }
    }

    /// A connection as whoever has these papers.
    async fn connect(&self, papers: &Papers) -> TlsStream<tokio::io::DuplexStream> {
        let (line, far) = duplex(LINE_BYTES);
        let source = SocketAddr::from(([127, 0, 0, 1], 1));
        let (door, stopped) = (Arc::clone(&self.door), self.stopped.clone());
        tokio::spawn(async move { door.converse(far, source, stopped).await });
        let mut store = RootCertStore::empty();
        for root in roots(&self.world) {
            store.add(root).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(papers.key.clone()));
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(store)
            .with_client_auth_cert(vec![papers.leaf.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, line).await.unwrap()
    }

    async fn make(&self, name: &str) -> Revision {
        let wish = NewUser {
            name: name.to_owned(),
            password: None,
            certificate: true,
            grants: Vec::new(),
        };
        let members = &self.world.parts.members;
        let made = members.create(&ada(), &Principal::console(), wish).await;
        made.unwrap().1
    }
}

/// Asks on a connection that goes on: status and body.
async fn ask(
    stream: &mut TlsStream<tokio::io::DuplexStream>,
    line: &str,
    field: &str,
) -> (u16, String) {
    let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{field}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let status = head[9..12].parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    (status, String::from_utf8(body).unwrap())
}

const WHOAMI: &str = "GET /api/v1/whoami";

#[tokio::test]
async fn a_certificate_is_worth_what_its_user_may_do_now_and_nothing_before_and_after() {
    let company = Company::named("people");
    let entrance = Entrance::of(&company).await;
    let members = &entrance.world.parts.members;
    let mut stream = entrance.connect(&company.issue("ada", |_| {})).await;
    let (status, body) = ask(&mut stream, WHOAMI, "").await;
    assert_eq!(status, 401, "{body}");
    assert!(body.contains("adit users add NAME --certificate"), "{body}");

    let revision = entrance.make("ada").await;
    let (status, body) = ask(&mut stream, WHOAMI, "").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"certificate\""), "{body}");
    // Who says it twice may mean two.
    let twice = "authorization: Bearer adit_s_nothing\r\n";
    let (status, body) = ask(&mut stream, WHOAMI, twice).await;
    assert_eq!(status, 400, "{body}");
    let basic = "authorization: Basic YWRhOng=\r\n";
    assert_eq!(ask(&mut stream, WHOAMI, basic).await.0, 400);
    // A person is no node, on the same connection.
    let (status, body) = ask(&mut stream, "POST /node/v1/subscriptions", "").await;
    assert_eq!(status, 401, "{body}");

    let (by, console) = (ada(), Principal::console());
    let change = adit_api::UserChange {
        password: Some("correct horse battery".to_owned()),
        ..adit_api::UserChange::default()
    };
    let both = members.change(&by, &console, "ada", revision, change);
    assert!(matches!(both.await, Err(Trouble::Conflict(_))));
    let change = adit_api::UserChange {
        disabled: Some(true),
        ..adit_api::UserChange::default()
    };
    let changed = members.change(&by, &console, "ada", revision, change);
    let revision = changed.await.unwrap().1;
    assert_eq!(ask(&mut stream, WHOAMI, "").await.0, 401);
    let removed = members.remove(&by, &console, "ada", revision);
    removed.await.unwrap();
    assert_eq!(ask(&mut stream, WHOAMI, "").await.0, 401);
}

#[tokio::test]
async fn a_connection_whose_certificate_ends_has_no_more_authority_than_that() {
    let company = Company::named("people");
    let entrance = Entrance::of(&company).await;
    entrance.make("ada").await;
    let mut stream = entrance.connect(&company.issue("ada", |_| {})).await;
    crate::clock::stop_at(LAST);
    assert_eq!(ask(&mut stream, WHOAMI, "").await.0, 200);
    crate::clock::stop_at(LAST + 1);
    let (status, body) = ask(&mut stream, WHOAMI, "").await;
    assert_eq!(status, 401);
    assert!(body.contains("connect anew"), "{body}");
}

#[tokio::test]
async fn a_nodes_certificate_is_nobody_where_people_ask_whatever_users_there_are() {
    let company = Company::named("people");
    let entrance = Entrance::of(&company).await;
    entrance.make("ada").await;
    let agent = node(&entrance.world, &NodeId::agent("acme", "ada").unwrap());
    let mut stream = entrance.connect(&agent).await;
    let (status, body) = ask(&mut stream, WHOAMI, "").await;
    assert_eq!(status, 401, "{body}");
    // It is a node all the same: what it says is looked at.
    let (status, body) = ask(&mut stream, "POST /node/v1/subscriptions", "").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn a_user_with_a_password_is_not_known_by_a_certificate() {
    let company = Company::named("people");
    let entrance = Entrance::of(&company).await;
    let wish = |password: Option<&str>, certificate| NewUser {
        name: "ada".to_owned(),
        password: password.map(ToOwned::to_owned),
        certificate,
        grants: Vec::new(),
    };
    let members = &entrance.world.parts.members;
    let (by, console) = (ada(), Principal::console());
    for (password, certificate) in [(None, false), (Some("correct horse battery"), true)] {
        let made = members.create(&by, &console, wish(password, certificate));
        assert!(matches!(made.await, Err(Trouble::Invalid(_))));
    }
    let made = members.create(&by, &console, wish(Some("correct horse battery"), false));
    made.await.unwrap();
    let papers = company.issue("ada", |_| {});
    let person = PersonCertificate::read(&papers.leaf, NameField::CommonName).unwrap();
    let known = members.certified(&person).await;
    assert!(matches!(known.map(drop), Err(Trouble::Unauthenticated(_))));
}

#[tokio::test]
async fn an_act_names_the_certificate_that_it_was_done_with() {
    let company = Company::named("people");
    let entrance = Entrance::of(&company).await;
    let parts = &entrance.world.parts;
    let by = crate::acts::By {
        fingerprint: Some("ab".repeat(32)),
        ..ada()
    };
    for detail in ["", "viewer@acme"] {
        let deed = crate::acts::Deed {
            verb: "users-change",
            subaccount: None,
            what: "eve".to_owned(),
            detail: detail.to_owned(),
        };
        parts.acts.note(&by, &deed).await.unwrap();
    }
    let last = parts.acts.last().await.unwrap();
    let (acts, _) = parts.acts.list(last - 2, 2, |_| true).await.unwrap();
    let proof = format!("by certificate {}", "ab".repeat(32));
    assert_eq!(acts[0].detail, proof);
    assert_eq!(acts[1].detail, format!("{proof}; viewer@acme"));
}
