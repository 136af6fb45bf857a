//! Key servers that fail, drip, flood and send elsewhere: what it costs, and who still comes in. The servers are real
//! ones on this machine that say what a test wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_people::limits::DISCOVERY_BYTES_MAX;
use adit_people::{Grant, Role};
use adit_token::limits::JWKS_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::limits::{KEY_WAITERS_MAX, KEYS_FETCH_LIMIT, KEYS_HEAD_BYTES_MAX};

/// When these tests take place, in unix seconds.
const TODAY: u64 = 1_900_000_000;
const SOON: Duration = Duration::from_secs(30);

/// What the key server does with a request for its keys.
#[derive(Clone, Debug)]
enum Says {
    /// This body, with status 200.
    Keys(String),
    /// These bytes, and then nothing more while the line stands.
    Raw(Vec<u8>),
    /// A byte now and then, after this.
    Drip(Vec<u8>),
    /// These bytes, and then this chunk without end.
    Flood(Vec<u8>, Vec<u8>),
    /// Closes.
    Nothing,
}

/// An issuer with one thing to say about its keys at a time.
struct Issuer {
    name: String,
    says: Arc<Mutex<Says>>,
    asked: watch::Receiver<u64>,
}

impl Issuer {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let name = format!("http://{}", listener.local_addr().unwrap());
        let (count, asked) = watch::channel(0);
        let says = Arc::new(Mutex::new(says));
        let (issuer, saying) = (name.clone(), Arc::clone(&says));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let says = saying.lock().clone();
                tokio::spawn(answer(stream, issuer.clone(), says, count.clone()));
            }
        });
        Self { name, says, asked }
    }

    fn say(&self, says: Says) {
        *self.says.lock() = says;
    }

    /// People of this issuer, whose keys are kept.
    fn people(&self, limit: Duration) -> Arc<Oidc> {
        let mapping = BTreeMap::from([("ops".to_owned(), vec![Grant::all(Role::Operator)])]);
        let settings = OidcSettings::new(&self.name, "adit", mapping);
        let mut oidc = Oidc::of_issuer(settings, None).unwrap();
        if let Keys::Published(keys) = &mut oidc.keys {
            keys.limit = limit;
        }
        let oidc = Arc::new(oidc);
        let keeping = Arc::clone(&oidc);
        tokio::spawn(async move { keeping.keep().await });
        oidc
    }

    /// Whether a token of this key is taken.
    async fn takes(&self, oidc: &Oidc, key: &Key) -> bool {
        let token = key.token(&self.name);
        let found = timeout(SOON, oidc.principal(&token, TODAY)).await.unwrap();
        found.is_some_and(|principal| principal.name == "ada")
    }
}

async fn answer(mut stream: TcpStream, issuer: String, says: Says, count: watch::Sender<u64>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let says = if head.starts_with(b"GET /.well-known/openid-configuration ") {
        Says::Keys(format!(
            r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/keys"}}"#
        ))
    } else {
        count.send_modify(|count| *count += 1);
        says
    };
    let _ = match says {
        Says::Keys(body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(head.as_bytes()).await
        }
        Says::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // Until the other side has enough.
            stream.read_u8().await.map(drop)
        }
        Says::Drip(bytes) => {
            let mut sent = stream.write_all(&bytes).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sent = stream.write_all(b" ").await;
            }
            sent
        }
        Says::Flood(bytes, chunk) => {
            let mut sent = stream.write_all(&bytes).await;
            while sent.is_ok() {
                sent = stream.write_all(&chunk).await;
            }
            sent
        }
        Says::Nothing => Ok(()),
    };
}

/// A key of an issuer.
struct Key {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[id.as_bytes()[0]; 32]).unwrap();
        Self { id, pair }
    }

    fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        let id = self.id;
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}]}}"#)
    }

    fn token(&self, issuer: &str) -> String {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let head = part(format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.id));
        let until = TODAY + 60;
        let claims = part(format!(
            r#"{{"iss":"{issuer}","aud":"adit","sub":"ada","groups":["ops"],"exp":{until}}}"#
        ));
        let message = format!("{head}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_and_a_new_one_is_asked_for_once() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(Says::Keys(old.jwks())).await;
    let oidc = issuer.people(SOON);
    assert!(issuer.takes(&oidc, &old).await);
    issuer.say(Says::Keys(new.jwks()));
    assert!(
        issuer.takes(&oidc, &old).await,
        "nobody asked for other keys"
    );
    // Both at once: one question.
    let before = *issuer.asked.borrow();
    let (one, other) = tokio::join!(issuer.takes(&oidc, &new), issuer.takes(&oidc, &new));
    assert!(one && other);
    assert_eq!(*issuer.asked.borrow(), before + 1);
    assert!(
        !issuer.takes(&oidc, &old).await,
        "what is taken back counts no more"
    );
    // Keys that somebody makes up are asked for once in a while only.
    for _ in 0..100 {
        assert!(!issuer.takes(&oidc, &Key::new("made-up")).await);
    }
    assert_eq!(*issuer.asked.borrow(), before + 1);
}

#[tokio::test]
async fn s05_key_servers_that_fail_drip_flood_or_send_elsewhere_cost_little_and_the_last_good_keys_go_on()
 {
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![b' '; 0x10000]);
    chunk.extend(b"\r\n");
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n";
    let bad = Key::new("bad");
    let cases: Vec<(&str, Says)> = vec![
        ("closes", Says::Nothing),
        ("says nothing", Says::Raw(Vec::new())),
        (
            "drips a head",
            Says::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
        ),
        ("drips a body", Says::Drip(ok(10_000).into_bytes())),
        ("cuts its body", Says::Raw(ok(10).into_bytes())),
        ("promises 1 GiB", Says::Raw(ok(1 << 30).into_bytes())),
        ("sends without end", Says::Flood(chunked, chunk)),
        (
            "sends heads without end",
            Says::Flood(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(1000)),
        ),
        (
            "sends 100 without end",
            Says::Flood(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
        ),
        ("sends elsewhere", Says::Raw(elsewhere.as_bytes().to_vec())),
        (
            "fails",
            Says::Raw(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ),
        ("says what is no JSON", Says::Keys("<html>".to_owned())),
        ("has no keys", Says::Keys(r#"{"keys":[]}"#.to_owned())),
        ("is no HTTP", Says::Raw(b"SSH-2.0-x\r\n".to_vec())),
        // The twin: this is what every other case would have to be.
        ("has the key", Says::Keys(bad.jwks())),
    ];
    for (what, says) in cases {
        let is_twin = what == "has the key";
        let good = Key::new("good");
        let issuer = Issuer::start(Says::Keys(good.jwks())).await;
        let limit = Duration::from_millis(if is_twin { 30_000 } else { 300 });
        let oidc = issuer.people(limit);
        while !issuer.takes(&oidc, &good).await {
            // A machine under load may miss the short limit; the fetch of before goes on by itself.
            tokio::task::yield_now().await;
        }
        issuer.say(says);
        // Whoever had asked in the beginning may not ask at once again.
        if let Keys::Published(keys) = &oidc.keys {
            keys.forget_asking();
        }
        let before = *issuer.asked.borrow();
        assert_eq!(issuer.takes(&oidc, &bad).await, is_twin, "{what}");
        assert!(*issuer.asked.borrow() > before, "{what}: it was asked");
        assert_eq!(issuer.takes(&oidc, &good).await, !is_twin, "{what}");
        // And nothing hangs: what it says next is heard.
        issuer.say(Says::Keys(bad.jwks()));
        timeout(SOON, async {
            while !issuer.takes(&oidc, &bad).await {
                if let Keys::Published(keys) = &oidc.keys {
                    keys.forget_asking();
                }
            }
        })
        .await
        .unwrap_or_else(|_late| panic!("{what}: it was never heard again"));
    }
}

#[tokio::test]
async fn key_waiters_max_wait_for_a_key_that_is_not_known_and_one_more_is_refused_at_once() {
    let issuer = Issuer::start(Says::Raw(Vec::new())).await;
    let oidc = issuer.people(Duration::from_secs(600));
    let token = Key::new("new").token(&issuer.name);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..KEY_WAITERS_MAX {
        let (oidc, token) = (Arc::clone(&oidc), token.clone());
        waiting.spawn(async move { oidc.principal(&token, TODAY).await });
    }
    let Keys::Published(keys) = &oidc.keys else {
        panic!("they are published");
    };
    while keys.places_left() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = timeout(SOON, oidc.principal(&token, TODAY)).await.unwrap();
    assert_eq!(refused, None);
    assert!(waiting.try_join_next().is_none(), "all others wait");
    // Who goes away makes room.
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    assert_eq!(keys.places_left(), KEY_WAITERS_MAX);
}

/// An exchange over a line in memory, so that time can stand still.
async fn fetched(limit: usize, answer: Vec<u8>, late: Duration) -> Result<usize, fetch::Failed> {
    let url = adit_people::oidc::Url::parse("http://localhost/keys").unwrap();
    let (near, mut far) = tokio::io::duplex(1024 * 1024);
    tokio::spawn(async move {
        let mut head = [0; 16];
        let _ = far.read_exact(&mut head).await;
        tokio::time::sleep(late).await;
        let _ = far.write_all(&answer).await;
    });
    let exchange = fetch::exchange(near, &url, limit);
    match timeout(KEYS_FETCH_LIMIT, exchange).await {
        Ok(read) => read.map(|bytes| bytes.len()),
        Err(_elapsed) => Err(fetch::Failed::Slow),
    }
}

fn whole(length: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.extend(vec![b' '; length]);
    answer
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_within_keys_fetch_limit_or_not_at_all() {
    let moment = Duration::from_millis(50);
    let read = fetched(100, whole(10), KEYS_FETCH_LIMIT - moment).await;
    assert!(matches!(read, Ok(10)), "{read:?}");
    let late = fetched(100, whole(10), KEYS_FETCH_LIMIT + moment).await;
    assert!(matches!(late, Err(fetch::Failed::Slow)), "{late:?}");
}

#[tokio::test]
async fn a_whole_answer_counts_also_when_more_than_it_comes() {
    let mut answer = whole(10);
    answer.extend(b"HTTP/1.1 what is this\r\n\r\n");
    let read = fetched(100, answer, Duration::ZERO).await;
    assert!(matches!(read, Ok(10)), "{read:?}");
    let mut cut = whole(10);
    cut.pop();
    let read = fetched(100, cut, Duration::ZERO).await;
    assert!(matches!(read, Err(fetch::Failed::Line(_))), "{read:?}");
}

#[tokio::test]
async fn an_answer_of_the_largest_size_is_read_and_one_more_byte_is_not() {
    for most in [DISCOVERY_BYTES_MAX, JWKS_BYTES_MAX] {
        let read = fetched(most, whole(most), Duration::ZERO).await;
        assert!(read.as_ref().is_ok_and(|read| *read == most), "{read:?}");
        let large = fetched(most, whole(most + 1), Duration::ZERO).await;
        assert!(
            matches!(large, Err(fetch::Failed::TooLarge { .. })),
            "{large:?}"
        );
        // Also where it does not say so.
        let length = format!("{:x}\r\n", most + 1);
        let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        chunked.extend(length.as_bytes());
        chunked.extend(vec![b' '; most + 1]);
        chunked.extend(b"\r\n0\r\n\r\n");
        let large = fetched(most, chunked, Duration::ZERO).await;
        assert!(
            matches!(large, Err(fetch::Failed::TooLarge { .. })),
            "{large:?}"
        );
    }
}

#[tokio::test]
async fn a_head_below_keys_head_bytes_max_is_read_and_one_above_is_not() {
    for (bytes, is_read) in [
        (KEYS_HEAD_BYTES_MAX - 200, true),
        (KEYS_HEAD_BYTES_MAX + 200, false),
    ] {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: ".to_vec();
        answer.extend(vec![b'y'; bytes]);
        answer.extend(b"\r\n\r\n{}");
        let read = fetched(100, answer, Duration::ZERO).await;
        assert_eq!(read.is_ok(), is_read, "{bytes}: {read:?}");
    }
}
