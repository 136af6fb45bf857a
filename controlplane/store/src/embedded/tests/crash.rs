//! Power lost at every single step: what is found is the state before or after, and all that was acknowledged.

use std::io;
use std::mem::ManuallyDrop;

use super::disk::{Disk, Fault, Kept};
use super::{Model, held, history, key, models, open, script};
use crate::embedded::Inner;
use crate::error::{Error, Outcome};
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
fn r02_power_lost_at_any_step_leaves_the_state_before_or_after_and_nothing_acknowledged_is_missing()
{
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
fn r02_power_lost_again_while_a_crash_is_repaired_loses_nothing_either() {
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
fn r02_a_changed_bit_of_a_value_is_found_and_not_given_out() {
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

/// Every commit of the script, whatever became of those before it; `model` is what was acknowledged.
fn play_on(store: &Inner, model: &mut Model) {
    for txn in script() {
        match store.commit(&txn) {
            Ok(revision) => {
                model.apply(&txn);
                assert_eq!(revision.get(), model.revision);
            }
            Err(Error::Unavailable {
                outcome: Outcome::Unknown,
                why,
                ..
            }) => panic!("not known: {why}"),
            Err(_) => {}
        }
    }
}

#[test]
fn r02_after_a_step_that_failed_nothing_is_acknowledged_that_is_not_on_the_disk() {
    let whole = Disk::default();
    play(&whole, &script());
    let mut refused = 0;
    for at in 0..whole.steps() {
        let kind = io::ErrorKind::Other;
        let disk = Disk::default().with(Fault::Once { at, kind });
        let mut model = Model::default();
        // What cannot be made, or opened, is tried again by whoever starts the server again.
        let store = ManuallyDrop::new(open(&disk).or_else(|_| open(&disk)).unwrap());
        play_on(&store, &mut model);
        refused += usize::from(model.revision < 9);
        assert!(held(&store).unwrap() == model, "step {at}");
        // Without a word to the file: the power goes.
        let found = disk.after_power_loss(Kept::None);
        let found = open(&found).and_then(|store| held(&store));
        assert!(found == Ok(model), "step {at}: after the power was lost");
    }
    assert!(refused > 9, "{refused}");
}

/// Opens a store, reads all of it, changes it and reads again; an error wherever something is noticed.
fn use_it(disk: &Disk, expected: &Model) -> Result<(), Error> {
    let store = open(disk)?;
    // Values are long: told by their keys.
    let same = |found: &Model, wanted: &Model, what: &str| {
        let keys = |model: &Model| model.entries.keys().cloned().collect::<Vec<_>>();
        assert!(
            found == wanted,
            "{what}: revision {}, {:?}",
            found.revision,
            keys(found)
        );
    };
    same(&held(&store)?, expected, "given out");
    let revisions = history(&store)?.len();
    assert_eq!(revisions, usize::try_from(expected.revision).unwrap());
    let next = Txn::new().put(key("after"), "x").delete(key("rules/2"));
    let mut model = expected.clone();
    store.commit(&next)?;
    model.apply(&next);
    same(&held(&store)?, &model, "given out later");
    drop(store);
    same(&held(&open(disk)?)?, &model, "found");
    Ok(())
}

#[test]
fn r02_a_file_that_rotted_or_was_cut_is_told_as_damaged_or_has_all_that_was_written() {
    let whole = Disk::default();
    let mut script = script();
    script.truncate(4);
    play(&whole, &script);
    let expected = models()[script.len()].clone();
    use_it(&whole.after_power_loss(Kept::All), &expected).unwrap();
    let bytes = whole.bytes();
    let mut chance = fastrand::Rng::with_seed(0x5eed);
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    // Of the header every bit of what says where all else is, then a bit of each byte; of the rest some of what was
    // written.
    let first = (0..FIRST_BYTES * 8).map(|bit| (bit / 8, bit % 8));
    let header = (FIRST_BYTES..HEADER_BYTES).map(|at| (at, chance.usize(..8)));
    let mut places: Vec<(usize, usize)> = first.chain(header).collect();
    for _ in 0..ROTTEN {
        places.push((used[chance.usize(..used.len())], chance.usize(..8)));
    }
    let (mut told, mut unharmed) = (0, 0);
    let mut count = |result: Result<(), Error>, what: &str| match result {
        Ok(()) => unharmed += 1,
        Err(Error::Corrupt { why, .. }) => {
            assert!(!why.is_empty());
            told += 1;
        }
        Err(other) => panic!("{what}: {other:?}"),
    };
    for (at, bit) in places {
        let disk = whole.after_power_loss(Kept::All);
        disk.flip_bits(at, 1 << bit);
        count(use_it(&disk, &expected), &format!("byte {at}, bit {bit}"));
    }
    for _ in 0..CUTS {
        let disk = whole.after_power_loss(Kept::All);
        let length = chance.usize(..bytes.len());
        disk.cut(length);
        count(use_it(&disk, &expected), &format!("cut at {length}"));
    }
    eprintln!("{told} told, {unharmed} had everything");
    assert!(
        told > 300 && unharmed > 0,
        "{told} told, {unharmed} unharmed"
    );
}

/// Of redb's header what comes before its two commits.
const FIRST_BYTES: usize = 64;
/// And all that it uses.
const HEADER_BYTES: usize = 320;
/// Other bytes that rot, one in each store.
const ROTTEN: usize = 600;
/// Stores that are cut.
const CUTS: usize = 60;
