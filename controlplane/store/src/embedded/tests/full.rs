//! A disk that is full: the old state stays and is served, and writes work again when there is room.

use std::io::ErrorKind;

use super::disk::{Disk, Fault};
use super::{Model, held, key, open, script};
use crate::embedded::Inner;
use crate::error::Error;
use crate::txn::Txn;

/// Plays the script on a store that must stay in step with its model whatever fails; how many commits failed.
fn play(store: &Inner, model: &mut Model) -> usize {
    let mut failed = 0;
    for txn in script() {
        match store.commit(&txn) {
            Ok(_) => model.apply(&txn),
            Err(Error::Full { .. } | Error::Conflict { .. }) => failed += 1,
            Err(error) => panic!("{error:?}"),
        }
        let held = held(store).unwrap_or_else(|error| panic!("cannot be read: {error}"));
        assert!(held == *model, "state differs at {}", model.revision);
    }
    failed
}

#[test]
fn a_full_disk_leaves_the_old_state_readable_and_later_writes_work() {
    for spare in 0..40 {
        let disk = Disk::default();
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        disk.set_room(Some(disk.pages() + spare * 8));
        let failed = play(&store, &mut model);
        assert!(failed > 0, "there was room for all with {spare}");
        disk.set_room(None);
        let put = Txn::new().put(key("rules/9"), vec![9; 400_000]);
        store.commit(&put).unwrap();
        model.apply(&put);
        assert!(held(&store).unwrap() == model, "with {spare}");
        drop(store);
        assert!(
            held(&open(&disk).unwrap()).unwrap() == model,
            "with {spare}"
        );
    }
}

#[test]
fn no_room_at_any_single_step_is_told_as_full_or_not_felt() {
    let whole = Disk::default();
    let made = {
        let store = open(&whole).unwrap();
        let made = whole.steps();
        play(&store, &mut Model::default());
        made
    };
    let steps = whole.steps();
    assert!(steps - made > 50, "only {steps} steps");
    let mut failed = 0;
    for at in made..steps {
        let disk = Disk::default().with(Fault::Once {
            at,
            kind: ErrorKind::StorageFull,
        });
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        failed += usize::from(play(&store, &mut model) > 0);
        drop(store);
        assert!(held(&open(&disk).unwrap()).unwrap() == model, "step {at}");
    }
    assert!(failed > 20, "only {failed} steps were felt");
}

#[test]
fn a_store_that_cannot_be_made_for_want_of_room_is_made_later() {
    let disk = Disk::default();
    disk.set_room(Some(0));
    assert!(matches!(open(&disk), Err(Error::Full { .. })));
    disk.set_room(None);
    assert_eq!(held(&open(&disk).unwrap()).unwrap(), Model::default());
}
