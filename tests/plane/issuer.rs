//! People of an identity provider whose keys the control plane fetches, and a provider that has a bad day.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use adit_tests::plane::{Memory, Plane};
use adit_tests::token::assemble;
use adit_tests::wait::{SOON, until};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

/// A provider: what it answers when it is asked for its keys; `None`: more than anybody can read.
struct Provider {
    issuer: String,
    keys: Arc<Mutex<Option<String>>>,
}

impl Provider {
    fn start(keys: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Some(keys)));
        let (name, said) = (issuer.clone(), Arc::clone(&keys));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keys = said.lock().unwrap().clone();
                answer(stream, &name, keys);
            }
        });
        Self { issuer, keys }
    }

    fn say(&self, keys: Option<String>) {
        *self.keys.lock().unwrap() = keys;
    }

    fn token(&self, key: &Key) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let head = json!({"alg": "EdDSA", "kid": key.id});
        let claims = json!({
            "iss": self.issuer, "aud": "adit", "sub": "ada", "groups": ["ops"], "exp": now.as_secs() + 600,
        });
        assemble(&head, &claims, |message| {
            key.pair.sign(message).as_ref().to_vec()
        })
    }
}

fn answer(mut stream: TcpStream, issuer: &str, keys: Option<String>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let body = if head.starts_with(b"GET /.well-known/openid-configuration ") {
        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
    } else if let Some(keys) = keys {
        keys
    } else {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while sent.is_ok() {
            sent = stream.write_all(&[b' '; 65536]);
        }
        return;
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes());
}

struct Key {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(id: &'static str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self { id, pair }
    }

    fn jwks(&self) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x}]}).to_string()
    }
}

#[test]
fn s05_a_person_of_an_issuer_goes_on_while_its_key_server_fails() {
    let (old, new) = (Key::new("old", 1), Key::new("new", 2));
    let provider = Provider::start(old.jwks());
    let settings = format!(
        "[oidc]\nissuer = \"{}\"\naudience = \"adit\"\n[oidc.mapping]\n\
         ops = [{{ role = \"operator\", scope = {{ subaccount = \"acme\" }} }}]\n",
        provider.issuer
    );
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, &settings);
    let (of_old, of_new) = (provider.token(&old), provider.token(&new));
    let who = |plane: &Plane, token: &str| plane.bearer(token).get("/api/v1/whoami");
    let me = who(&plane, &of_old);
    assert_eq!(me.status, 200, "{me:?}\n{}", plane.log());
    assert_eq!(me.json()["name"], "ada");
    assert_eq!(me.json()["how"], json!(provider.issuer));
    assert_eq!(plane.bearer(of_old.as_str()).rules("acme").status, 404);
    assert_eq!(plane.bearer(of_old.as_str()).rules("globex").status, 403);

    // A key that nobody knows makes it ask; what comes is more than it reads, and changes nothing.
    provider.say(None);
    assert_eq!(who(&plane, &of_new).status, 401);
    assert_eq!(who(&plane, &of_old).status, 200);
    until("the failure is told", SOON, || {
        plane.log().contains("the last good ones go on")
    });
    assert!(!plane.log().contains(&of_new));

    // It starts while the provider is like that: its own people come in.
    plane.process().kill();
    plane.restart();
    assert_eq!(root.at(&plane).get("/api/v1/whoami").status, 200);
    assert_eq!(who(&plane, &of_old).status, 401);
    provider.say(Some(new.jwks()));
    until("the provider's keys are there", SOON, || {
        who(&plane, &of_new).status == 200
    });
    assert_eq!(who(&plane, &of_old).status, 401, "taken back");
}
