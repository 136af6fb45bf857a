//! Goes to the borders of what is kept, tried and read at once.
//! Whether the chain itself is right is `audit`'s test.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_store::{Entry, LeaseId, Page, Pending, Prefix, Watch};

use super::*;
use crate::test_world::{by, empty_store, some_deed};

/// A store at which somebody else is first with the chain, so many times.
#[derive(Debug)]
struct Crowded {
    store: Arc<dyn Store>,
    others: AtomicU64,
}

impl Store for Crowded {
    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(async move {
            if self.others.load(Ordering::Relaxed) > 0 {
                self.others.fetch_sub(1, Ordering::Relaxed);
                let head = self.store.get(&keys::acts_head()).await?.unwrap();
                let same = Txn::new().put(head.key, head.value);
                self.store.commit(&same).await?;
            }
            self.store.commit(txn).await
        })
    }

    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>> {
        self.store.get(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page> {
        self.store.list(prefix, after, entries_max)
    }

    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>> {
        self.store.watch(prefix, after)
    }

    fn grant(&self, ttl: Duration) -> Pending<'_, LeaseId> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> Pending<'_, ()> {
        self.store.keep_alive(lease)
    }

    fn revoke(&self, lease: LeaseId) -> Pending<'_, ()> {
        self.store.revoke(lease)
    }
}

#[tokio::test]
async fn a_commit_comes_through_at_the_last_of_its_commit_tries_and_gives_up_behind_it() {
    let (_folder, store) = empty_store().await;
    let crowded = Arc::new(Crowded {
        store,
        others: AtomicU64::new(0),
    });
    let store = Arc::clone(&crowded);
    let acts = Acts::new(store);
    acts.note(&by(), &some_deed()).await.unwrap();
    crowded.others.store(COMMIT_TRIES - 1, Ordering::Relaxed);
    acts.note(&by(), &some_deed()).await.unwrap();
    crowded.others.store(COMMIT_TRIES, Ordering::Relaxed);
    let refused = acts.note(&by(), &some_deed()).await.unwrap_err();
    let not_done = matches!(
        refused,
        Error::Unavailable {
            outcome: Outcome::NotDone,
            ..
        }
    );
    assert!(not_done, "{refused:?}");
    // And no act was recorded for it.
    let (shown, _) = acts.list(0, 10, |_| true).await.unwrap();
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn acts_kept_are_there_and_the_one_before_them_is_not() {
    let (_folder, store) = empty_store().await;
    let acts = Acts::new(Arc::clone(&store));
    for _ in 0..3 {
        acts.note(&by(), &some_deed()).await.unwrap();
    }
    let oldest = async || {
        let (shown, _) = acts.list(0, 1, |_| true).await.unwrap();
        shown.first().unwrap().sequence
    };
    // As if all but the last had been recorded.
    let head = Head {
        sequence: ACTS_KEPT - 1,
        last: None,
    };
    let txn = Txn::new().put(keys::acts_head(), keys::write(&head));
    store.commit(&txn).await.unwrap();
    acts.note(&by(), &some_deed()).await.unwrap();
    assert_eq!(oldest().await, 1);
    acts.note(&by(), &some_deed()).await.unwrap();
    assert_eq!(oldest().await, 2);
    acts.note(&by(), &some_deed()).await.unwrap();
    assert_eq!(oldest().await, 3);
    let (shown, _) = acts.list(ACTS_KEPT, 10, |_| true).await.unwrap();
    let newest = shown.last().unwrap().sequence;
    assert_eq!(newest + 1 - oldest().await, ACTS_KEPT);
}

#[tokio::test]
async fn page_items_max_lines_are_one_page_and_with_one_more_there_is_another() {
    let (_folder, store) = empty_store().await;
    let acts = Acts::new(store);
    for _ in 0..PAGE_ITEMS_MAX {
        acts.note(&by(), &some_deed()).await.unwrap();
    }
    let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count();
    let (lines, next) = acts.lines(0).await.unwrap();
    assert_eq!((count(&lines), next), (PAGE_ITEMS_MAX, None));
    acts.note(&by(), &some_deed()).await.unwrap();
    let (lines, next) = acts.lines(0).await.unwrap();
    assert_eq!(count(&lines), PAGE_ITEMS_MAX);
    let (lines, next) = acts.lines(next.unwrap()).await.unwrap();
    assert_eq!((count(&lines), next), (1, None));
}
