//! The store's folder: who may read it, who may use it, and what is said when it cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::embedded::{Embedded, OpenError};
use crate::limits::{LEASE_TTL_MIN, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::{Error, Key, Prefix, Store, Txn};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn folder_and_files_are_for_their_owner_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("new/store");
    let _store = Embedded::open(&folder).await.unwrap();
    assert_eq!(mode(&folder), 0o700);
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 2, "the store and its lock");
}

#[tokio::test]
async fn a_second_server_is_told_that_the_folder_is_in_use_and_gets_it_afterwards() {
    let scratch = tempfile::tempdir().unwrap();
    let first = Embedded::open(scratch.path()).await.unwrap();
    let refused = Embedded::open(scratch.path()).await.unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    let told = refused.to_string();
    assert!(
        told.contains(&scratch.path().display().to_string()),
        "{told}"
    );
    assert!(told.contains("another server uses it"), "{told}");
    drop(first);
    Embedded::open(scratch.path()).await.unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Embedded::open(scratch.path()).await.unwrap();
    let revision = store
        .commit(&Txn::new().put(key("a"), "kept"))
        .await
        .unwrap();
    drop(store);
    let store = Embedded::open(scratch.path()).await.unwrap();
    let entry = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(entry.revision, revision);
    assert_eq!(entry.value.as_bytes(), b"kept");
}

#[tokio::test]
async fn keys_of_leases_of_an_earlier_life_vanish_at_the_start() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Embedded::open(scratch.path()).await.unwrap();
    let lease = store.grant(LEASE_TTL_MIN * 100).await.unwrap();
    let txn = Txn::new()
        .put_leased(key("nodes/1"), "up", lease)
        .put(key("rules"), "r");
    store.commit(&txn).await.unwrap();
    drop(store);
    let store = Embedded::open(scratch.path()).await.unwrap();
    assert!(store.get(&key("nodes/1")).await.unwrap().is_none());
    assert!(store.get(&key("rules")).await.unwrap().is_some());
    assert_eq!(
        store.keep_alive(lease).await,
        Err(Error::LeaseLost { lease })
    );
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_and_left_alone() {
    for content in [&b""[..], b"not a store at all", &[0; 100_000]] {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("store.redb");
        fs::write(&file, content).unwrap();
        let refused = Embedded::open(scratch.path()).await.unwrap_err();
        assert!(
            matches!(refused, OpenError::Store(Error::Corrupt { .. })),
            "{refused:?}"
        );
        let told = refused.to_string();
        assert!(told.contains(&file.display().to_string()), "{told}");
        assert!(told.contains("restore it from a backup"), "{told}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store");
    fs::write(&path, "").unwrap();
    let refused = Embedded::open(&path).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unusable { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_page_has_page_entries_max_entries_at_most() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Embedded::open(scratch.path()).await.unwrap();
    let mut number = 0;
    while number <= PAGE_ENTRIES_MAX {
        let batch =
            (number..number + 50).fold(Txn::new(), |txn, n| txn.put(key(&format!("a/{n:05}")), ""));
        store.commit(&batch).await.unwrap();
        number += 50;
    }
    let all = Prefix::all();
    let page = store.list(&all, None, usize::MAX).await.unwrap();
    assert_eq!(page.entries.len(), PAGE_ENTRIES_MAX);
    assert!(page.more);
    let page = store.list(&all, None, PAGE_ENTRIES_MAX - 1).await.unwrap();
    assert_eq!(page.entries.len(), PAGE_ENTRIES_MAX - 1);
}

#[tokio::test]
async fn a_page_has_page_bytes_max_bytes_at_most_unless_one_value_is_larger() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Embedded::open(scratch.path()).await.unwrap();
    let half = PAGE_BYTES_MAX / 2;
    let put = |name: &str, bytes: usize| Txn::new().put(key(name), vec![1; bytes]);
    for (name, bytes) in [
        ("a/1", half),
        ("a/2", half),
        ("b/1", half),
        ("b/2", half + 1),
    ] {
        store.commit(&put(name, bytes)).await.unwrap();
    }
    store.commit(&put("c/1", PAGE_BYTES_MAX + 1)).await.unwrap();
    for (prefix, entries, more) in [("a/", 2, false), ("b/", 1, true), ("c/", 1, false)] {
        let prefix = Prefix::new(prefix).unwrap();
        let page = store.list(&prefix, None, usize::MAX).await.unwrap();
        assert_eq!(
            (page.entries.len(), page.more),
            (entries, more),
            "{prefix:?}"
        );
    }
}
