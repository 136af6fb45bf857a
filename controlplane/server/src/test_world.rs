//! A control plane without a door, for tests: a store in a folder of its own, and all the rooms around it.
//!
//! What a node or a connection is told is the hub's and the door's tests' business.

use std::str::FromStr as _;
use std::sync::Arc;

use adit_authority::{SealKey, TrustDomain};
use adit_store::{Embedded, Key, Store, Txn, Value};
use tempfile::TempDir;

use crate::acts::{Acts, By, Deed};
use crate::backup::Generations;
use crate::book::Book;
use crate::hub::Hub;
use crate::life::Life;
use crate::members::Members;
use crate::register::{CertificatePolicy, Register};
use crate::rest::Parts;

/// An empty store; its folder goes with the first of the two.
pub(crate) async fn empty_store() -> (TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&folder.path().join("store")).await.unwrap();
    (folder, Arc::new(store))
}

/// All rooms of a server. Its runtime needs several threads.
pub(crate) async fn world() -> (TempDir, Arc<Parts>) {
    let (folder, whole) = empty_store().await;
    let generations = Generations::open(whole).await.unwrap();
    let store = generations.store();
    let acts = Acts::new(Arc::clone(&store));
    let domain = TrustDomain::from_str("adit.local").unwrap();
    let seal = SealKey::from_bytes([7; 32]);
    let life = Life::open(Arc::clone(&store), acts.clone(), seal, &domain, "cp-1");
    let life = Arc::new(life.await.unwrap());
    let policy = CertificatePolicy {
        life_s: 3600,
        renew_expired_s: 0,
    };
    let book = Arc::new(Book::new(
        Arc::clone(&store),
        acts.clone(),
        Arc::clone(&life),
    ));
    let register = Arc::new(Register::new(
        Arc::clone(&store),
        acts.clone(),
        Arc::clone(&life),
        policy,
    ));
    let members = Arc::new(Members::new(Arc::clone(&store), acts.clone(), None));
    let hub = Hub::new(
        Arc::clone(&store),
        acts.clone(),
        Arc::clone(&book),
        Arc::clone(&register),
        Arc::clone(&life),
        "cp-1".to_owned(),
    );
    let parts = Parts {
        name: "cp-1".to_owned(),
        store_kind: "embedded",
        store,
        generations,
        acts,
        book,
        register,
        members,
        hub,
        life,
    };
    (folder, Arc::new(parts))
}

pub(crate) fn by() -> By {
    By {
        who: "ada".to_owned(),
        fingerprint: None,
        request_id: String::new(),
    }
}

pub(crate) fn some_deed() -> Deed {
    Deed {
        verb: "login",
        subaccount: None,
        what: "ada".to_owned(),
        detail: String::new(),
    }
}

/// Puts records straight into the store, as if they had come there one by one.
pub(crate) async fn put_all(store: &dyn Store, records: &[(Key, Value)]) {
    for some in records.chunks(adit_store::limits::TXN_CHANGES_MAX) {
        let txn = some.iter().fold(Txn::new(), |txn, (key, value)| {
            txn.put(key.clone(), value.clone())
        });
        store.commit(&txn).await.unwrap();
    }
}

/// Adds a member that this version does not know to a record, `at` this place in it, and gives the record as it was.
pub(crate) async fn add_member(store: &dyn Store, key: &Key, at: &str) -> Value {
    let before = store.get(key).await.unwrap().unwrap().value;
    let mut record: serde_json::Value = serde_json::from_slice(before.as_bytes()).unwrap();
    record.pointer_mut(at).unwrap()["later"] = serde_json::json!(1);
    put_all(store, &[(key.clone(), Value::from(record.to_string()))]).await;
    before
}
