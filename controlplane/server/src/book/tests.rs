//! Goes to the borders of what is kept and compiled at once.
//! Trials, roll-backs and signatures are gone through by tests with real processes.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use adit_api::Applied;

use super::*;
use crate::test_world::{by, world};

/// Rules that allow nothing, no two alike.
fn wish(number: u64) -> Wish {
    Wish {
        text: format!("# {number}\n"),
        message: String::new(),
        canary: None,
    }
}

async fn apply(book: &Book, place: &Place, number: u64) -> Result<Applied, Trouble> {
    let current = book.current(place).await?;
    let base = current.map_or(Base::Nothing, |current| Base::Revision(current.revision));
    book.apply(&by(), place, base, wish(number)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_kept_are_there_and_the_one_before_them_is_not() {
    let (_folder, parts) = world().await;
    let book = &parts.book;
    let place = Place::new("acme", "").unwrap();
    for number in 1..=VERSIONS_KEPT {
        assert_eq!(apply(book, &place, number).await.unwrap().version, number);
    }
    assert_eq!(book.text(&place, 1).await.unwrap(), "# 1\n");
    apply(book, &place, VERSIONS_KEPT + 1).await.unwrap();
    for gone in [
        book.version(&place, 1).await.map(drop),
        book.document(&place, 1).await.map(drop),
    ] {
        assert!(matches!(gone, Err(Trouble::NotFound(_))), "{gone:?}");
    }
    assert_eq!(book.text(&place, 2).await.unwrap(), "# 2\n");
    let (shown, next) = book.versions(&place, None, usize::MAX).await.unwrap();
    assert_eq!(
        (u64::try_from(shown.len()).unwrap(), next),
        (VERSIONS_KEPT, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compilers_max_rule_sets_are_compiled_at_one_time_and_one_more_waits() {
    let (_folder, parts) = world().await;
    let book = &parts.book;
    let place = Place::new("acme", "").unwrap();
    let others = u32::try_from(COMPILERS_MAX - 1).unwrap();
    let _others = book.compilers.try_acquire_many(others).unwrap();
    let soon = Duration::from_secs(30);
    let done = timeout(soon, apply(book, &place, 1)).await.unwrap();
    assert_eq!(done.unwrap().version, 1);
    let last = book.compilers.try_acquire().unwrap();
    let mut waiting = pin!(apply(book, &place, 2));
    let early = timeout(Duration::from_millis(200), waiting.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    drop(last);
    let done = timeout(soon, waiting).await.unwrap();
    assert_eq!(done.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_something_else_changes_nothing_and_a_trial_is_ended_first() {
    let (_folder, parts) = world().await;
    let book = &parts.book;
    let place = Place::new("acme", "").unwrap();
    apply(book, &place, 1).await.unwrap();
    let old = Base::Revision(book.current(&place).await.unwrap().unwrap().revision);
    apply(book, &place, 2).await.unwrap();
    for base in [old, Base::Nothing] {
        let stale = book.apply(&by(), &place, base, wish(3)).await;
        assert!(matches!(stale, Err(Trouble::Stale(_))), "{stale:?}");
        let stale = book.roll_back(&by(), &place, base, 1, String::new()).await;
        assert!(matches!(stale, Err(Trouble::Stale(_))), "{stale:?}");
    }
    let now = async || Base::Revision(book.current(&place).await.unwrap().unwrap().revision);
    let trial = Wish {
        canary: Some(vec!["a-1".to_owned()]),
        ..wish(3)
    };
    book.apply(&by(), &place, now().await, trial).await.unwrap();
    let busy = apply(book, &place, 4).await;
    assert!(matches!(busy, Err(Trouble::Conflict(_))), "{busy:?}");
    let base = now().await;
    let busy = book.roll_back(&by(), &place, base, 1, String::new()).await;
    assert!(matches!(busy, Err(Trouble::Conflict(_))), "{busy:?}");
    for base in [old, Base::Nothing] {
        let stale = book.promote(&by(), &place, base).await;
        assert!(matches!(stale, Err(Trouble::Stale(_))), "{stale:?}");
        let stale = book.abandon(&by(), &place, base).await;
        assert!(matches!(stale, Err(Trouble::Stale(_))), "{stale:?}");
    }
    // Those of the trial have it, the others what was in force.
    let head = book.current(&place).await.unwrap().unwrap().head;
    assert_eq!((head.wanted("a-1"), head.wanted("a-2")), (Some(3), Some(2)));
    let first = Head { version: 0, ..head };
    assert_eq!((first.wanted("a-1"), first.wanted("a-2")), (Some(3), None));
    book.promote(&by(), &place, now().await).await.unwrap();
    let head = book.current(&place).await.unwrap().unwrap().head;
    assert_eq!((head.wanted("a-1"), head.wanted("a-2")), (Some(3), Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_counts_as_the_version_and_for_the_place_that_were_signed_and_under_the_present_key()
 {
    let (_folder, parts) = world().await;
    let book = &parts.book;
    let (here, there) = (
        Place::new("acme", "").unwrap(),
        Place::new("acme", "plant").unwrap(),
    );
    apply(book, &here, 1).await.unwrap();
    apply(book, &here, 2).await.unwrap();
    apply(book, &there, 1).await.unwrap();
    let first = book.document(&here, 1).await.unwrap();
    for (place, version) in [(&here, 2), (&there, 1)] {
        let key = keys::document(place, version);
        let txn = Txn::new().put(key, first.to_vec());
        parts.store.commit(&txn).await.unwrap();
        let damaged = book.signed(place, version).await;
        assert!(
            matches!(
                damaged,
                Err(Trouble::Store(adit_store::Error::Corrupt { .. }))
            ),
            "{damaged:?}"
        );
    }
    book.signed(&here, 1).await.unwrap();

    // What was signed a moment before another key signs is not stored.
    let stamp = Stamp {
        epoch: parts.life.epoch(),
        version: 3,
    };
    let (_, signed) = parts.life.sign(&here.audience(), stamp, 0, "", Txn::new());
    let step = adit_api::AuthorityStep::Begin;
    let stale = parts.life.roll(&by(), Revision::ZERO, step).await;
    assert!(matches!(stale, Err(Trouble::Stale(_))), "{stale:?}");
    let base = parts.life.shown().await.unwrap().1;
    parts.life.roll(&by(), base, step).await.unwrap();
    let late = parts.store.commit(&signed).await;
    assert!(
        matches!(&late, Err(adit_store::Error::Conflict { key, .. }) if *key == keys::authority()),
        "{late:?}"
    );
}
