//! Power lost at every single step: what is found is the state before or after, and all that was acknowledged.

use super::disk::{Disk, Fault, Kept};
use super::{Model, held, history, key, models, open, script};
use crate::error::Error;
use crate::txn::Txn;

const KEPT: [Kept; 9] = [
    Kept::None,
    Kept::All,
    Kept::First,
    Kept::Last,
    Kept::Torn,
    Kept::Some { seed: 1 },
    Kept::Some { seed: 2 },
    Kept::Some { seed: 3 },
    Kept::Some { seed: 4 },
];

/// Plays the script until something goes wrong; how many commits were acknowledged, if the store was made at all.
fn play(disk: &Disk, script: &[Txn]) -> Option<usize> {
    let store = open(disk).ok()?;
    let done = script.iter().take_while(|txn| store.commit(txn).is_ok());
    Some(done.count())
}

/// What is on the disk is one of `allowed`, with a history that fits; and the store goes on from there.
fn check(disk: &Disk, allowed: &[Model], told: &str) {
    let store = open(disk).unwrap_or_else(|error| panic!("{told}: cannot be opened: {error}"));
    let found = held(&store).unwrap_or_else(|error| panic!("{told}: cannot be read: {error}"));
    let at = allowed.iter().position(|model| *model == found);
    assert!(
        at.is_some(),
        "{told}: revision {} with {} entries is none of the states allowed",
        found.revision,
        found.entries.len()
    );
    let history = history(&store).unwrap();
    let revisions: Vec<u64> = history.iter().map(|one| one.revision.get()).collect();
    let wanted: Vec<u64> = (1..=found.revision).collect();
    assert_eq!(revisions, wanted, "{told}: history");
    let next = store.commit(&Txn::new().put(key("after"), "x")).unwrap();
    assert_eq!(next.get(), found.revision + 1, "{told}");
}

/// Commits after which repairs are cut.
const REPAIRED: usize = 3;

fn allowed(models: &[Model], acknowledged: Option<usize>) -> &[Model] {
    // The commit after the last acknowledged one may have happened or not.
    let from = acknowledged.unwrap_or(0);
    let to = acknowledged.map_or(1, |done| (done + 2).min(models.len()));
    &models[from..to]
}

#[test]
fn power_lost_at_any_step_leaves_the_state_before_or_after_and_nothing_acknowledged_is_missing() {
    let models = models();
    let script = script();
    let whole = Disk::default();
    assert_eq!(play(&whole, &script), Some(script.len()));
    let steps = whole.steps();
    assert!(steps > 60, "only {steps} steps");
    let mut acknowledged = Vec::new();
    for at in 0..steps {
        let disk = Disk::default().with(Fault::PowerLost { at });
        let done = play(&disk, &script);
        acknowledged.push(done);
        for kept in KEPT {
            let found = disk.after_power_loss(kept);
            let told = format!("step {at} of {steps}, {done:?} acknowledged, {kept:?} kept");
            check(&found, allowed(&models, done), &told);
        }
    }
    // The cuts lie before, in and behind every commit.
    acknowledged.dedup();
    let wanted: Vec<Option<usize>> = [None]
        .into_iter()
        .chain((0..=script.len()).map(Some))
        .collect();
    assert_eq!(acknowledged, wanted);
}

#[test]
fn power_lost_again_while_a_crash_is_repaired_loses_nothing_either() {
    // The commits that make the file grow say nothing more about repairs, and copying it takes its time.
    let script = &script()[..REPAIRED];
    let models = &models()[..=REPAIRED];
    let whole = Disk::default();
    play(&whole, script);
    let mut repairs = 0;
    for at in 0..whole.steps() {
        let disk = Disk::default().with(Fault::PowerLost { at });
        let done = play(&disk, script);
        let kept = Kept::Some { seed: 7 };
        let first = disk.after_power_loss(kept);
        drop(open(&first).unwrap());
        for again in 0..first.steps() {
            repairs += 1;
            let second = disk
                .after_power_loss(kept)
                .with(Fault::PowerLost { at: again });
            drop(open(&second));
            for kept_again in [Kept::None, Kept::All, Kept::Some { seed: 9 }] {
                let told = format!("step {at}, then {again} and {kept_again:?}");
                let found = second.after_power_loss(kept_again);
                check(&found, allowed(models, done), &told);
            }
        }
    }
    assert!(repairs > 100, "only {repairs} repairs were cut");
}

#[test]
fn a_changed_bit_of_a_value_is_found_and_not_given_out() {
    let disk = Disk::default();
    let store = open(&disk).unwrap();
    let value = [0xa5; 3000];
    store
        .commit(&Txn::new().put(key("a"), value.to_vec()))
        .unwrap();
    drop(store);
    let places = disk.find(&value);
    assert!(!places.is_empty());
    for at in places {
        disk.flip(at + 1500);
    }
    let answer = open(&disk).and_then(|store| held(&store));
    assert!(matches!(answer, Err(Error::Corrupt { .. })), "{answer:?}");
}
