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
