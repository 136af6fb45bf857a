//! How much history is kept, and what a watch is told when its part is gone.

use super::disk::Disk;
use super::{key, open};
use crate::embedded::tables;
use crate::entry::Revision;
use crate::error::Error;
use crate::key::Prefix;
use crate::limits::{HISTORY_REVISIONS_MAX, WATCH_REVISIONS_MAX};
use crate::txn::Txn;

#[test]
fn history_revisions_max_revisions_can_be_told_and_the_one_before_cannot() {
    let store = open(&Disk::default()).unwrap();
    for number in 0..=HISTORY_REVISIONS_MAX {
        let put = Txn::new().put(key("a"), number.to_string());
        store.commit(&put).unwrap();
    }
    let changes = |after| {
        let after = Revision::new(after);
        store.read(|database| tables::changes(database, &Prefix::all(), after))
    };
    let (told, position) = changes(1).unwrap();
    assert_eq!(told[0].revision, Revision::new(2));
    // Told in parts, so that a watch far behind holds little.
    assert_eq!(told.len(), WATCH_REVISIONS_MAX);
    assert_eq!(Some(position), told.back().map(|last| last.revision));
    assert_eq!(
        changes(0).unwrap_err(),
        Error::Compacted {
            oldest: Revision::new(1)
        }
    );
}
