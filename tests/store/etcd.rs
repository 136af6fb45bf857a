//! What only a store in etcd has to stand: endpoints that are gone, compaction, TLS, pieces that nobody names.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_store::limits::{INLINE_BYTES_MAX, PIECE_BYTES_MAX};
use adit_store::{Error, Etcd, EtcdOptions, Key, Outcome, Prefix, Revision, Store, Txn};
use adit_tests::net;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value as Json, json};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn store(endpoints: &[String]) -> Arc<dyn Store> {
    Arc::new(Etcd::new(&EtcdOptions::new(endpoints.iter().cloned())).unwrap())
}

async fn put(store: &Arc<dyn Store>, name: &str, bytes: usize) -> Revision {
    let txn = Txn::new().put(key(name), vec![7; bytes]);
    store.commit(&txn).await.unwrap()
}

/// What became of something for which no answer came.
fn outcome<T: std::fmt::Debug>(told: Result<T, Error>) -> Outcome {
    match told {
        Err(Error::Unavailable { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Asks etcd itself, by curl.
fn ask(etcd: &adit_tests::Etcd, path: &str, body: &Json) -> Json {
    let answer = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--data", &body.to_string()])
        .arg(format!("{}{path}", etcd.endpoint()))
        .output()
        .unwrap();
    assert!(answer.status.success(), "{answer:?}");
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// Keys in etcd that begin with `adit/` and this.
fn count(etcd: &adit_tests::Etcd, under: &str) -> usize {
    let from = format!("adit/{under}/");
    let to = format!("adit/{under}0");
    let body = json!({
        "key": STANDARD.encode(from), "range_end": STANDARD.encode(to), "count_only": true,
    });
    let answer = ask(etcd, "/v3/kv/range", &body);
    answer["count"]
        .as_str()
        .map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_passed_over() {
    let etcd = adit_tests::Etcd::start();
    let gone = format!("http://{}", net::free_address());
    let store = store(&[gone.clone(), etcd.endpoint(), gone]);
    let revision = put(&store, "a", 1).await;
    assert_eq!(
        store.get(&key("a")).await.unwrap().unwrap().revision,
        revision
    );
    let mut watch = store.watch(&Prefix::all(), Revision::ZERO).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_three_that_dies_takes_nothing_acknowledged_with_it() {
    let mut members = adit_tests::Etcd::cluster();
    let endpoints: Vec<String> = members.iter().map(adit_tests::Etcd::endpoint).collect();
    // Two servers, each with another member first.
    let servers = [
        store(&endpoints),
        store(&[
            endpoints[1].clone(),
            endpoints[2].clone(),
            endpoints[0].clone(),
        ]),
    ];
    let start = put(&servers[0], "start", 1).await;
    let mut watch = servers[0].watch(&Prefix::all(), start).await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..40 {
        if number == 15 {
            members[0].kill();
        }
        let name = key(&format!("n/{number}"));
        let txn = Txn::new().put(name.clone(), "x").absent(name.clone());
        loop {
            match servers[number % 2].commit(&txn).await {
                Ok(revision) => {
                    acknowledged.push(revision);
                    break;
                }
                // It was the one before, whose answer was lost.
                Err(Error::Conflict {
                    found: Some(revision),
                    ..
                }) => {
                    acknowledged.push(revision);
                    break;
                }
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    for revision in &acknowledged {
        let told = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
        assert_eq!(told.unwrap().unwrap().revision, *revision);
    }
    let under = Prefix::new("n/").unwrap();
    let page = servers[1].list(&under, None, 100).await.unwrap();
    assert_eq!(page.entries.len(), 40);
    // A member alone knows that it does not know, and a watch on it says so.
    let mut alone = store(&endpoints[1..2])
        .watch(&Prefix::all(), page.revision)
        .await
        .unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(300), alone.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    members[2].kill();
    let told = tokio::time::timeout(Duration::from_secs(40), alone.next()).await;
    assert!(
        matches!(told, Ok(Err(Error::Unavailable { .. }))),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_etcd_it_is_told_and_afterwards_it_works_again() {
    let mut etcd = adit_tests::Etcd::start();
    let store = store(&[etcd.endpoint()]);
    let first = put(&store, "a", 1).await;
    let mut watch = store.watch(&Prefix::all(), first).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    etcd.kill();
    let told = store.get(&key("a")).await.unwrap_err();
    assert!(
        matches!(
            &told,
            Error::Unavailable { place, outcome: Outcome::NotDone, .. } if place.contains(&etcd.endpoint())
        ),
        "{told:?}"
    );
    // Nothing was sent, so it is known that nothing was done.
    let told = store.commit(&Txn::new().put(key("a"), "2")).await;
    assert_eq!(outcome(told), Outcome::NotDone);
    let told = watch.next().await;
    assert!(matches!(told, Err(Error::Unavailable { .. })), "{told:?}");
    etcd.restart();
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().revision, first);
    let second = put(&store, "a", 2).await;
    assert_eq!(watch.next().await.unwrap().revision, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_told_as_unknown_and_is_not_sent_twice() {
    let (listener, address) = net::listen();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            // Something of the request has come, so it may be carried out.
            socket.read_exact(&mut [0]).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let store = store(&[format!("http://{address}")]);
    let told = store.commit(&Txn::new().put(key("a"), "1")).await;
    assert_eq!(outcome(told), Outcome::Unknown);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // Reading does no harm, and is tried again.
    let told = store.get(&key("a")).await;
    assert_eq!(outcome(told), Outcome::NotDone);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_before_a_compaction_is_told_so() {
    let etcd = adit_tests::Etcd::start();
    let store = store(&[etcd.endpoint()]);
    let mut revisions = Vec::new();
    for _ in 0..6 {
        revisions.push(put(&store, "a", 1).await);
    }
    let compacted = revisions[3];
    ask(
        &etcd,
        "/v3/kv/compaction",
        &json!({"revision": compacted.get().to_string(), "physical": true}),
    );
    let mut watch = store.watch(&Prefix::all(), revisions[1]).await.unwrap();
    let told = watch.next().await.unwrap_err();
    assert_eq!(
        told,
        Error::Compacted {
            oldest: revisions[2]
        }
    );
    // What it names can be told from.
    let mut watch = store.watch(&Prefix::all(), revisions[2]).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revisions[3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_bytes_max_bytes_are_one_piece_and_one_more_is_not() {
    let etcd = adit_tests::Etcd::start();
    let store = store(&[etcd.endpoint()]);
    put(&store, "a", INLINE_BYTES_MAX).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (0, 0));
    put(&store, "a", INLINE_BYTES_MAX + 1).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (1, 1));
    put(&store, "b", PIECE_BYTES_MAX).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (2, 2));
    put(&store, "c", PIECE_BYTES_MAX + 1).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (3, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_nobody_names_any_more_are_taken_away() {
    let etcd = adit_tests::Etcd::start();
    let store = store(&[etcd.endpoint()]);
    let large = 3 * PIECE_BYTES_MAX;
    for _ in 0..4 {
        put(&store, "a", large).await;
        assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (1, 3));
    }
    // One that does not happen leaves nothing, also where that shows only at the end.
    let conflict = Txn::new().put(key("b"), vec![1; large]).absent(key("a"));
    store.commit(&conflict).await.unwrap_err();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store.revoke(lease).await.unwrap();
    let lost = Txn::new().put_leased(key("b"), vec![1; large], lease);
    let lost = store.commit(&lost).await;
    assert_eq!(lost, Err(Error::LeaseLost { lease }));
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (1, 3));
    put(&store, "a", 1).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (0, 0));
    put(&store, "a", large).await;
    store.commit(&Txn::new().delete(key("a"))).await.unwrap();
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_whose_lease_ended_before_its_commit_is_not_named() {
    let etcd = Arc::new(adit_tests::Etcd::start());
    let store = store(&[etcd.endpoint()]);
    let ending = Arc::clone(&etcd);
    let ended = tokio::task::spawn_blocking(move || {
        adit_tests::until_some("a lease", Duration::from_secs(20), || {
            let leases = ask(&ending, "/v3/lease/leases", &json!({}));
            let lease = leases["leases"].get(0)?["ID"].clone();
            // Not before the mark is there, or it could not be put.
            (count(&ending, "b") == 1)
                .then(|| ask(&ending, "/v3/lease/revoke", &json!({"ID": lease})))
        })
    });
    let txn = Txn::new().put(key("a"), vec![1; 64 * PIECE_BYTES_MAX]);
    let told = store.commit(&txn).await;
    ended.await.unwrap();
    assert_eq!(outcome(told), Outcome::NotDone);
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_writer_that_died_left_behind_is_collected_and_what_one_is_writing_is_not() {
    let etcd = adit_tests::Etcd::start();
    let first = store(&[etcd.endpoint()]);
    put(&first, "kept", PIECE_BYTES_MAX).await;
    put(&first, "small", 1).await;
    let raw = |name: String, value: &str| {
        let body = json!({"key": STANDARD.encode(name), "value": STANDARD.encode(value)});
        ask(&etcd, "/v3/kv/put", &body);
    };
    let blob = |digit: &str| digit.repeat(32);
    // Its mark has ended with its lease.
    raw(format!("adit/c/{}/0000", blob("1")), "x");
    // Its key has another value, or none.
    raw(format!("adit/c/{}/0000", blob("2")), "x");
    raw(format!("adit/b/{}", blob("2")), "small");
    raw(format!("adit/b/{}", blob("3")), "absent");
    // Under way: the mark names no key yet.
    raw(format!("adit/c/{}/0000", blob("4")), "x");
    raw(format!("adit/b/{}", blob("4")), "");
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (4, 4));
    // A server that has just started looks for such things with its first large value.
    let second = store(&[etcd.endpoint()]);
    put(&second, "new", PIECE_BYTES_MAX).await;
    assert_eq!((count(&etcd, "b"), count(&etcd, "c")), (3, 3));
    for name in ["kept", "new"] {
        let entry = second.get(&key(name)).await.unwrap().unwrap();
        assert!(entry.value.as_bytes() == vec![7; PIECE_BYTES_MAX]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_without_room_is_full_and_can_be_read() {
    // 16 MiB is about the least that etcd takes for its own.
    let quota = ["--quota-backend-bytes=16777216".to_owned()];
    let etcd = adit_tests::Etcd::start_with("http", &quota);
    let store = store(&[etcd.endpoint()]);
    let kept = put(&store, "kept", 1).await;
    let mut told = None;
    for number in 0..40 {
        let name = format!("n/{number}");
        let txn = Txn::new().put(key(&name), vec![number; PIECE_BYTES_MAX]);
        if let Err(error) = store.commit(&txn).await {
            told = Some(error);
            break;
        }
    }
    assert!(matches!(told, Some(Error::Full { .. })), "{told:?}");
    assert_eq!(
        store.get(&key("kept")).await.unwrap().unwrap().revision,
        kept
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_both_ends_show_their_certificates() {
    let scratch = adit_tests::Scratch::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&pair, &authority).unwrap();
        let certificate = scratch.write(&format!("{name}.pem"), certificate.pem());
        let key = scratch.write(&format!("{name}.key"), pair.serialize_pem());
        (certificate, key)
    };
    let roots = scratch.write("ca.pem", authority.pem());
    let (certificate, its_key) = signed("etcd");
    let etcd = adit_tests::Etcd::start_tls(&certificate, &its_key, &roots);
    let read = |path| std::fs::read(path).unwrap();
    let options = EtcdOptions::new([etcd.endpoint()]).with_roots(read(&roots));
    let (certificate, our_key) = signed("adit");
    let known = options
        .clone()
        .with_identity(read(&certificate), read(&our_key));
    assert!(!format!("{known:?}").contains("PRIVATE"));
    let store: Arc<dyn Store> = Arc::new(Etcd::new(&known).unwrap());
    let revision = put(&store, "a", PIECE_BYTES_MAX).await;
    let mut watch = store.watch(&Prefix::all(), Revision::ZERO).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, revision);
    // Without a certificate, and with an authority that did not sign etcd's.
    let stranger = Etcd::new(&options).unwrap();
    let refused = stranger.get(&key("a")).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    let (other, _) = signed("other");
    let astray = EtcdOptions::new([etcd.endpoint()]).with_roots(read(&other));
    let refused = Etcd::new(&astray).unwrap().get(&key("a")).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
}

#[test]
fn options_that_cannot_work_are_told_at_once() {
    let wrong = |options: EtcdOptions| Etcd::new(&options).unwrap_err().to_string();
    let none: [String; 0] = [];
    assert_eq!(wrong(EtcdOptions::new(none)), "etcd: no endpoint is given");
    let no_port = wrong(EtcdOptions::new(["http://etcd"]));
    assert!(no_port.contains("http://host:port"), "{no_port}");
    let no_roots = wrong(EtcdOptions::new(["https://etcd:2379"]));
    assert!(no_roots.contains("authorities"), "{no_roots}");
    let empty = EtcdOptions::new(["https://etcd:2379"]).with_roots(Vec::new());
    assert!(wrong(empty).contains("holds no certificate"));
}
