//! Commits drawn at random, done by a store and by a map; both must say the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_store::{Error, Key, Kind, Prefix, Revision, Store, Txn};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::conformance::key;

/// One commit as it is drawn; what "stale" means is known when it is made.
#[derive(Clone, Debug)]
struct Drawn {
    conditions: Vec<(usize, Wanted)>,
    writes: Vec<(usize, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Absent,
    AsItIs,
    Stale,
}

const NAMES: [&str; 7] = ["a", "a/b", "a/b/c", "a0", "b/1", "b/2", "c"];

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let wanted = prop_oneof![
        1 => Just(Wanted::Absent),
        4 => Just(Wanted::AsItIs),
        1 => Just(Wanted::Stale),
    ];
    let write = prop_oneof![
        3 => vec(any::<u8>(), 0..40).prop_map(Some),
        2 => Just(None),
    ];
    let one = (
        vec((0..NAMES.len(), wanted), 0..3),
        vec((0..NAMES.len(), write), 0..5),
    );
    vec(
        one.prop_map(|(conditions, writes)| Drawn { conditions, writes }),
        1..15,
    )
}

type Model = BTreeMap<Key, (Vec<u8>, Revision)>;

/// The same keys, values and revisions, the same conflicts, and a watch that tells how it came to be.
pub(crate) async fn commits_in_any_order_do_what_the_model_does(store: Arc<dyn Store>) {
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let handle = Handle::current();
    let run = move || {
        TestRunner::new(config)
            .run(&drawn(), |commits| {
                handle.block_on(play(&store, commits));
                Ok(())
            })
            .unwrap();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

async fn play(store: &Arc<dyn Store>, commits: Vec<Drawn>) {
    let cleared = NAMES
        .iter()
        .fold(Txn::new(), |txn, name| txn.delete(key(*name)));
    let start = store.commit(&cleared).await.unwrap();
    let mut head = start;
    let mut model = Model::new();
    let mut wanted = Vec::new();
    for drawn in commits {
        let (txn, conflicts) = made(&drawn, &model, start);
        match store.commit(&txn).await {
            Ok(revision) => {
                assert!(conflicts.is_empty(), "{txn:?} should not have been done");
                let changes = apply(&mut model, &drawn, revision);
                if changes.is_empty() {
                    assert_eq!(revision, head, "nothing was changed");
                } else {
                    assert!(revision > head);
                    wanted.push((revision, changes));
                }
                head = revision;
            }
            Err(Error::Conflict { key, found }) => {
                assert!(conflicts.contains(&key), "{key} holds in {txn:?}");
                assert_eq!(found, model.get(&key).map(|entry| entry.1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(held(store).await, model);
    let mut watch = store.watch(&Prefix::all(), start).await.unwrap();
    for (revision, changes) in wanted {
        let told = watch.next().await.unwrap();
        assert_eq!(told.revision, revision);
        let told: Vec<_> = told
            .changes
            .into_iter()
            .map(|change| (change.key, change.kind))
            .collect();
        assert_eq!(told, changes);
    }
}

/// The commit, and the keys whose conditions do not hold.
fn made(drawn: &Drawn, model: &Model, start: Revision) -> (Txn, Vec<Key>) {
    let mut txn = Txn::new();
    let mut holds = BTreeMap::new();
    for (name, wanted) in &drawn.conditions {
        let key = key(NAMES[*name]);
        let now = model.get(&key).map(|entry| entry.1);
        let (next, fits) = match (wanted, now) {
            (Wanted::AsItIs, Some(revision)) => (txn.at(key.clone(), revision), true),
            (Wanted::AsItIs | Wanted::Absent, now) => (txn.absent(key.clone()), now.is_none()),
            (Wanted::Stale, _) => (txn.at(key.clone(), start), false),
        };
        txn = next;
        holds.insert(key, fits);
    }
    for (name, write) in &drawn.writes {
        let key = key(NAMES[*name]);
        txn = match write {
            Some(value) => txn.put(key, value.clone()),
            None => txn.delete(key),
        };
    }
    let conflicts = holds.into_iter().filter(|(_, fits)| !fits);
    (txn, conflicts.map(|(key, _)| key).collect())
}

/// What changed, in the order of keys. Of two writes of a key only the later is one.
fn apply(model: &mut Model, drawn: &Drawn, revision: Revision) -> Vec<(Key, Kind)> {
    let writes: BTreeMap<Key, &Option<Vec<u8>>> = drawn
        .writes
        .iter()
        .map(|(name, write)| (key(NAMES[*name]), write))
        .collect();
    let mut changes = Vec::new();
    for (key, write) in writes {
        match write {
            Some(value) => {
                model.insert(key.clone(), (value.clone(), revision));
                changes.push((key, Kind::Put));
            }
            None => {
                if model.remove(&key).is_some() {
                    changes.push((key, Kind::Deleted));
                }
            }
        }
    }
    changes
}

async fn held(store: &Arc<dyn Store>) -> Model {
    let mut held = Model::new();
    let mut after = None;
    loop {
        let page = store.list(&Prefix::all(), after.as_ref(), 3).await.unwrap();
        for entry in page.entries {
            after = Some(entry.key.clone());
            let value = entry.value.as_bytes().to_vec();
            held.insert(entry.key, (value, entry.revision));
        }
        if !page.more {
            return held;
        }
    }
}
