//! What every store promises, a function each. None of them knows which implementation it talks to.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use adit_store::limits::{LEASE_TTL_MIN, TXN_CHANGES_MAX, TXN_CONDITIONS_MAX, VALUE_BYTES_MAX};
use adit_store::{Changes, Entry, Error, Excess, Key, Kind, Prefix, Revision, Store, Txn, Watch};

pub(crate) use crate::model::commits_in_any_order_do_what_the_model_does;

pub(crate) fn key(text: impl Into<String>) -> Key {
    Key::new(text).unwrap()
}

fn prefix(text: &str) -> Prefix {
    Prefix::new(text).unwrap()
}

/// Everything soon, or the test fails.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work)
        .await
        .unwrap_or_else(|_late| panic!("waited 30 s in vain: {what}"))
}

async fn next(watch: &mut Box<dyn Watch>) -> Changes {
    soon("a change", watch.next()).await.unwrap()
}

/// Key and kind of each change.
fn told(changes: &Changes) -> Vec<(String, Kind)> {
    let told = changes.changes.iter();
    told.map(|change| (change.key.to_string(), change.kind))
        .collect()
}

pub(crate) async fn put(store: &Arc<dyn Store>, name: &str, value: &str) -> Revision {
    store
        .commit(&Txn::new().put(key(name), value))
        .await
        .unwrap()
}

async fn get(store: &Arc<dyn Store>, name: &str) -> Option<Entry> {
    store.get(&key(name)).await.unwrap()
}

pub(crate) async fn what_was_put_is_got_and_what_was_deleted_is_gone(store: Arc<dyn Store>) {
    assert_eq!(get(&store, "a/b").await, None);
    let first = put(&store, "a/b", "one").await;
    let entry = get(&store, "a/b").await.unwrap();
    assert_eq!(entry.key, key("a/b"));
    assert_eq!(entry.value.as_bytes(), b"one");
    assert_eq!(entry.revision, first);
    let second = put(&store, "a/b", "").await;
    let entry = get(&store, "a/b").await.unwrap();
    assert!(entry.value.is_empty());
    assert_eq!(entry.revision, second);
    let delete = Txn::new().delete(key("a/b"));
    store.commit(&delete).await.unwrap();
    assert_eq!(get(&store, "a/b").await, None);
    // Neither its own parts nor what is below it.
    put(&store, "a/b/c", "deep").await;
    assert_eq!(get(&store, "a/b").await, None);
    assert_eq!(get(&store, "a").await, None);
}

pub(crate) async fn revisions_grow_with_every_change_and_with_nothing_else(store: Arc<dyn Store>) {
    let first = put(&store, "a", "1").await;
    let again = put(&store, "a", "1").await;
    assert!(again > first, "the same value is a change");
    for nothing in [
        Txn::new(),
        Txn::new().delete(key("absent")),
        Txn::new().at(key("a"), again),
    ] {
        assert_eq!(store.commit(&nothing).await.unwrap(), again);
    }
    let page = store.list(&Prefix::all(), None, 10).await.unwrap();
    assert_eq!(page.revision, again);
    let both = Txn::new().put(key("b"), "").put(key("c"), "");
    let both = store.commit(&both).await.unwrap();
    assert!(both > again);
    for name in ["b", "c"] {
        assert_eq!(get(&store, name).await.unwrap().revision, both);
    }
    assert_eq!(get(&store, "a").await.unwrap().revision, again);
}

pub(crate) async fn a_condition_that_does_not_hold_is_named_and_nothing_is_changed(
    store: Arc<dyn Store>,
) {
    let old = put(&store, "there", "1").await;
    let new = put(&store, "there", "2").await;
    let change = || Txn::new().put(key("there"), "3").put(key("x"), "3");
    let refused = [
        (change().absent(key("there")), "there", Some(new)),
        (change().at(key("there"), old), "there", Some(new)),
        (change().at(key("gone"), new), "gone", None),
        (
            change().at(key("there"), new).at(key("gone"), new),
            "gone",
            None,
        ),
        (Txn::new().absent(key("there")), "there", Some(new)),
        (
            Txn::new().delete(key("there")).at(key("there"), old),
            "there",
            Some(new),
        ),
    ];
    for (txn, name, found) in refused {
        let conflict = Error::Conflict {
            key: key(name),
            found,
        };
        assert_eq!(store.commit(&txn).await, Err(conflict), "{txn:?}");
        assert_eq!(get(&store, "there").await.unwrap().value.as_bytes(), b"2");
        assert_eq!(get(&store, "x").await, None);
    }
    let held = change().at(key("there"), new).absent(key("gone"));
    store.commit(&held).await.unwrap();
    assert_eq!(get(&store, "there").await.unwrap().value.as_bytes(), b"3");
    assert!(get(&store, "x").await.is_some());
}

pub(crate) async fn a_commit_takes_as_many_changes_and_conditions_as_it_may(store: Arc<dyn Store>) {
    // Keys and values as large as they come in one piece, so that the request is as large as it gets.
    let name = |number: usize| key(format!("{number:03}/{}", "k".repeat(500)));
    let full = (0..TXN_CHANGES_MAX).fold(Txn::new(), |txn, number| {
        txn.put(name(number), vec![1; 16 * 1024])
    });
    let full = (0..TXN_CONDITIONS_MAX).fold(full, |txn, number| txn.absent(name(number)));
    store.commit(&full).await.unwrap();
    let page = store.list(&Prefix::all(), None, usize::MAX).await.unwrap();
    assert_eq!(page.entries.len(), TXN_CHANGES_MAX);
    let conflict = store.commit(&full).await;
    assert!(
        matches!(conflict, Err(Error::Conflict { .. })),
        "{conflict:?}"
    );
    // One larger each: they are not held in one piece.
    let larger = (0..TXN_CHANGES_MAX).fold(Txn::new(), |txn, number| {
        txn.put(name(number), vec![2; 16 * 1024 + 1])
    });
    store.commit(&larger).await.unwrap();
    for entry in store
        .list(&Prefix::all(), None, usize::MAX)
        .await
        .unwrap()
        .entries
    {
        assert!(entry.value.as_bytes() == vec![2; 16 * 1024 + 1]);
    }
}

pub(crate) async fn a_list_comes_in_order_and_in_pages(store: Arc<dyn Store>) {
    let names = ["n/a", "n/a/b", "n/a0", "n/b", "n/c"];
    for name in names.iter().rev() {
        put(&store, name, name).await;
    }
    let under = prefix("n/");
    for size in 1..=names.len() + 1 {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(&under, after.as_ref(), size).await.unwrap();
            assert!(page.entries.len() <= size);
            let more = page.more;
            for entry in page.entries {
                assert_eq!(entry.value.as_bytes(), entry.key.as_str().as_bytes());
                found.push(entry.key);
            }
            assert_eq!(more, found.len() < names.len(), "pages of {size}");
            if !more {
                break;
            }
            after = found.last().cloned();
        }
        let found: Vec<&str> = found.iter().map(Key::as_str).collect();
        assert_eq!(found, names, "pages of {size}");
    }
    let none = store.list(&under, None, 0).await.unwrap();
    assert!(none.entries.is_empty());
    assert!(none.more);
    let behind = store.list(&under, Some(&key("z")), 9).await.unwrap();
    assert!(behind.entries.is_empty());
    assert!(!behind.more);
    let before = store.list(&under, Some(&key("a")), 9).await.unwrap();
    assert_eq!(before.entries.len(), names.len());
}

pub(crate) async fn a_list_holds_what_is_below_its_prefix_and_nothing_else(store: Arc<dyn Store>) {
    for name in ["n", "n/1", "n/2/x", "n0", "n-/1", "m/1", "o/1", "~"] {
        put(&store, name, "").await;
    }
    for (under, wanted) in [
        (prefix("n/"), &["n/1", "n/2/x"][..]),
        (prefix("n/2/"), &["n/2/x"]),
        (prefix("x/"), &[]),
        (
            Prefix::all(),
            &["m/1", "n", "n-/1", "n/1", "n/2/x", "n0", "o/1", "~"],
        ),
    ] {
        let page = store.list(&under, None, 100).await.unwrap();
        let found: Vec<&str> = page
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        assert_eq!(found, wanted, "{under:?}");
        assert!(!page.more);
    }
}

pub(crate) async fn a_watch_tells_each_change_once_and_in_order_and_resumes_anywhere(
    store: Arc<dyn Store>,
) {
    let start = put(&store, "before", "").await;
    let mut wanted = Vec::new();
    for number in 0..30 {
        let name = format!("n/{}", number % 7);
        let (txn, changes) = match number % 3 {
            0 => (
                Txn::new().put(key(&name), "x"),
                vec![(name.clone(), Kind::Put)],
            ),
            1 => (
                Txn::new().put(key("n/9"), "x").put(key(&name), "x"),
                vec![(name.clone(), Kind::Put), ("n/9".to_owned(), Kind::Put)],
            ),
            _two => (
                Txn::new().delete(key("n/9")).put(key("elsewhere"), "x"),
                vec![("n/9".to_owned(), Kind::Deleted)],
            ),
        };
        let revision = store.commit(&txn).await.unwrap();
        wanted.push((revision, changes));
    }
    let under = prefix("n/");
    let mut all = store.watch(&under, start).await.unwrap();
    for (revision, changes) in &wanted {
        let found = next(&mut all).await;
        assert_eq!((found.revision, told(&found)), (*revision, changes.clone()));
    }
    // From behind any of them it goes on with the next.
    let mut later = Vec::new();
    for at in [0, 1, 13, 28] {
        let mut rest = store.watch(&under, wanted[at].0).await.unwrap();
        for (revision, changes) in &wanted[at + 1..] {
            let found = next(&mut rest).await;
            assert_eq!((found.revision, told(&found)), (*revision, changes.clone()));
        }
        for revision in &later {
            assert_eq!(next(&mut rest).await.revision, *revision);
        }
        later.push(put(&store, "n/later", "").await);
        for watch in [&mut rest, &mut all] {
            assert_eq!(Some(next(watch).await.revision), later.last().copied());
        }
    }
}

pub(crate) async fn a_watch_waits_for_what_comes(store: Arc<dyn Store>) {
    let start = put(&store, "n/1", "").await;
    let mut watch = store.watch(&prefix("n/"), start).await.unwrap();
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    put(&store, "m/1", "").await;
    let revision = put(&store, "n/2", "").await;
    let found = soon("the watch", waiting).await.unwrap();
    assert_eq!(found.revision, revision);
    assert_eq!(told(&found), [("n/2".to_owned(), Kind::Put)]);
}

pub(crate) async fn a_watch_does_not_lose_what_comes_when_its_future_is_dropped(
    store: Arc<dyn Store>,
) {
    let start = put(&store, "n/0", "").await;
    let mut watch = store.watch(&prefix("n/"), start).await.unwrap();
    let mut wanted = Vec::new();
    let mut found = Vec::new();
    for number in 0..20 {
        wanted.push(put(&store, &format!("n/{number}"), "").await);
        let short = Duration::from_micros(number * 100);
        if let Ok(changes) = tokio::time::timeout(short, watch.next()).await {
            found.push(changes.unwrap().revision);
        }
    }
    while found.len() < wanted.len() {
        found.push(next(&mut watch).await.revision);
    }
    assert_eq!(found, wanted);
}

pub(crate) async fn keys_of_a_lease_vanish_at_its_end_and_not_while_it_is_kept_alive(
    store: Arc<dyn Store>,
) {
    let lease = store.grant(LEASE_TTL_MIN).await.unwrap();
    let txn = Txn::new()
        .put_leased(key("nodes/1"), "up", lease)
        .put_leased(key("nodes/2"), "up", lease)
        .put(key("nodes/3"), "stays");
    let start = store.commit(&txn).await.unwrap();
    let mut watch = store.watch(&prefix("nodes/"), start).await.unwrap();
    // Three times as long as it would last by itself.
    let kept = tokio::time::Instant::now();
    while kept.elapsed() < LEASE_TTL_MIN * 3 {
        store.keep_alive(lease).await.unwrap();
        let quiet = tokio::time::timeout(LEASE_TTL_MIN / 4, watch.next()).await;
        assert!(quiet.is_err(), "{quiet:?} while it was kept alive");
    }
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.extend(told(&next(&mut watch).await));
    }
    let wanted = ["nodes/1", "nodes/2"].map(|name| (name.to_owned(), Kind::Deleted));
    assert_eq!(gone, wanted);
    assert_eq!(get(&store, "nodes/1").await, None);
    assert!(get(&store, "nodes/3").await.is_some());
    assert_eq!(
        store.keep_alive(lease).await,
        Err(Error::LeaseLost { lease })
    );
}

pub(crate) async fn keys_of_a_revoked_lease_vanish_and_what_was_put_anew_stays(
    store: Arc<dyn Store>,
) {
    let lease = store.grant(Duration::from_secs(600)).await.unwrap();
    let other = store.grant(Duration::from_secs(600)).await.unwrap();
    assert_ne!(lease, other);
    let txn = ["n/1", "n/2", "n/3", "n/4"]
        .into_iter()
        .fold(Txn::new(), |txn, name| txn.put_leased(key(name), "", lease));
    store.commit(&txn).await.unwrap();
    let anew = Txn::new()
        .put(key("n/2"), "for ever")
        .put_leased(key("n/3"), "for another", other);
    store.commit(&anew).await.unwrap();
    store.revoke(lease).await.unwrap();
    let left = store.list(&prefix("n/"), None, 9).await.unwrap().entries;
    let left: Vec<&str> = left.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(left, ["n/2", "n/3"]);
    // Once more is nothing to do.
    store.revoke(lease).await.unwrap();
    store.keep_alive(other).await.unwrap();
}

pub(crate) async fn a_lease_that_has_ended_takes_no_keys(store: Arc<dyn Store>) {
    let lease = store.grant(Duration::from_secs(600)).await.unwrap();
    store.revoke(lease).await.unwrap();
    let txn = Txn::new().put_leased(key("a"), "", lease).put(key("b"), "");
    assert_eq!(store.commit(&txn).await, Err(Error::LeaseLost { lease }));
    assert_eq!(get(&store, "b").await, None);
    let long = store.grant(Duration::from_secs(1_000_000)).await;
    assert!(
        matches!(
            long,
            Err(Error::TooLarge {
                what: Excess::LeaseSeconds,
                ..
            })
        ),
        "{long:?}"
    );
}

pub(crate) async fn many_at_once_lose_no_update(store: Arc<dyn Store>) {
    const TASKS: u64 = 6;
    const ROUNDS: u64 = 15;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mut conflicts = 0;
            for round in 0..ROUNDS {
                loop {
                    let found = get(&store, "count").await;
                    let count = found.as_ref().map_or(0, |entry| {
                        let text = std::str::from_utf8(entry.value.as_bytes()).unwrap();
                        text.parse::<u64>().unwrap()
                    });
                    let txn = Txn::new()
                        .put(key("count"), (count + 1).to_string())
                        .put(key(format!("log/{}", count + 1)), format!("{task}.{round}"));
                    let txn = match found {
                        Some(entry) => txn.at(key("count"), entry.revision),
                        None => txn.absent(key("count")),
                    };
                    match store.commit(&txn).await {
                        Ok(_) => break,
                        Err(Error::Conflict { key: of, .. }) => {
                            assert_eq!(of, key("count"));
                            conflicts += 1;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            conflicts
        }));
    }
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    assert!(conflicts > 0, "they never met");
    let count = get(&store, "count").await.unwrap();
    let total = (TASKS * ROUNDS).to_string();
    assert_eq!(count.value.as_bytes(), total.as_bytes());
    let log = store.list(&prefix("log/"), None, 500).await.unwrap();
    let mut told: Vec<_> = log
        .entries
        .into_iter()
        .map(|one| one.value.into_bytes())
        .collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len().to_string(), total, "every update is there once");
}

/// Bytes that differ from place to place, so that no piece passes for another.
fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    let words = (0_u64..).flat_map(|word| (word ^ u64::from(seed)).to_le_bytes());
    words.take(bytes).collect()
}

pub(crate) async fn values_of_every_size_come_back_whole(store: Arc<dyn Store>) {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    let borders = [16 * KIB, 512 * KIB, MIB, 2 * MIB];
    let mut sizes = vec![0, 1, 10 * MIB + 7];
    sizes.extend(borders.iter().flat_map(|at| [at - 1, *at, at + 1]));
    let mut seed = 0;
    for size in &sizes {
        seed += 1;
        let value = pattern(*size, seed);
        // Over one another, and beside one another.
        let txn = Txn::new()
            .put(key("one"), value.clone())
            .put(key(format!("all/{size:09}")), value.clone());
        let revision = store.commit(&txn).await.unwrap();
        let entry = get(&store, "one").await.unwrap();
        assert_eq!(entry.revision, revision);
        assert!(entry.value.as_bytes() == value, "{size} bytes");
    }
    sizes.sort_unstable();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .list(&prefix("all/"), after.as_ref(), 100)
            .await
            .unwrap();
        for entry in page.entries {
            found.push(entry.value.len());
            after = Some(entry.key);
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(found, sizes);
    let delete = Txn::new().delete(key("one"));
    store.commit(&delete).await.unwrap();
    assert_eq!(get(&store, "one").await, None);
}

pub(crate) async fn a_value_of_the_largest_size_is_taken_and_a_larger_one_is_not(
    store: Arc<dyn Store>,
) {
    let value = pattern(VALUE_BYTES_MAX, 1);
    let txn = Txn::new().put(key("a"), value.clone());
    let revision = store.commit(&txn).await.unwrap();
    let txn = Txn::new().put(key("a"), vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(
        store.commit(&txn).await,
        Err(Error::TooLarge {
            what: Excess::ValueBytes,
            ..
        })
    ));
    let entry = get(&store, "a").await.unwrap();
    assert_eq!(entry.revision, revision);
    assert!(entry.value.as_bytes() == value);
}
