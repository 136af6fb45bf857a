//! Pushes, right and wrong, and what they leave in memory, on disk and in the shards' mailboxes.

use std::path::Path;

use adit_manifest::{PublicKey, SigningKey, Stamp};
use adit_runtime::housekeeping::{Handle, Housekeeping};
use adit_runtime::shard::{Choice, Driver, run_here};

use super::*;
use crate::run::{Inboxes, share};
use crate::test_world::{certificates, settings};

const RULES: &str = "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocol = \"http\"\n\
                     internal = \"http://10.1.2.3:8000\"\n[[system.resource]]\npath = \"/a\"\n\
                     [[system.resource]]\npath = \"/b\"\n";

struct World {
    intake: Arc<Intake>,
    inboxes: Inboxes,
    housekeeping: Handle,
    folder: tempfile::TempDir,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn signed(by: u8, epoch: u64, version: u64, rules: &str) -> String {
    let settings = settings(certificates().0);
    let audience = format!("{}/{}", settings.subaccount, settings.location);
    adit_manifest::sign(&audience, Stamp { epoch, version }, 0, rules, &[&key(by)])
}

impl World {
    fn new() -> Self {
        Self::with(None)
    }

    fn signed_by(seeds: &[u8]) -> Self {
        Self::with(Some(seeds.iter().map(|seed| key(*seed).public()).collect()))
    }

    fn with(signing_keys: Option<Vec<PublicKey>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let housekeeping = Housekeeping::start("intake").unwrap();
        let choice = Choice {
            driver: Driver::Epoll,
            reason: String::new(),
        };
        let mut settings = settings(certificates().0);
        settings.signing_keys = signing_keys;
        let signers = Signers::new(&settings);
        let (shared, inboxes) = share(
            settings,
            &housekeeping,
            choice,
            Arc::new(Journal::new()),
            None,
        )
        .unwrap();
        Self {
            intake: Arc::new(Intake::new(shared, store(folder.path()), signers)),
            inboxes,
            housekeeping,
            folder,
        }
    }

    fn push(&self, text: &str) -> Result<Ack, Nack> {
        let pushing = Arc::clone(&self.intake).push("r.toml".to_owned(), text.to_owned());
        self.housekeeping.block_on_from_main(pushing).unwrap()
    }

    fn version_in_force(&self) -> Option<u64> {
        let in_force = self.intake.shared.in_force.load_full()?;
        Some(in_force.snapshot.version())
    }

    fn version_on_disk(&self) -> Option<u64> {
        let stored = self.intake.store.load().stored?;
        Some(stored.version)
    }
}

fn store(folder: &Path) -> Store<Folder> {
    Store::new(Folder::claim(&folder.join("state")).unwrap())
}

#[test]
fn a_push_is_stored_in_force_acknowledged_and_told_to_every_shard() {
    let world = World::new();
    let ack = world.push(RULES).unwrap();
    assert_eq!(
        (ack.version, ack.systems, ack.resources, ack.hash.len()),
        (1, 1, 2, 64)
    );
    assert_eq!(world.push(RULES).unwrap().version, 2);
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (Some(2), Some(2))
    );
    let World { inboxes, .. } = world;
    run_here(Driver::Epoll, async move {
        for receiver in inboxes {
            let mut inbox = receiver.open().unwrap();
            for _ in 0..2 {
                assert!(matches!(inbox.next().await, Message::Rules));
            }
        }
    })
    .unwrap();
}

#[test]
fn wrong_rules_come_back_with_all_problems_and_change_nothing() {
    let world = World::new();
    world.push(RULES).unwrap();
    let wrong = RULES
        .replace("path = \"/a\"", "pfad = \"/a\"")
        .replace("\"/b\"", "\"b\"");
    let nack = world.push(&wrong).unwrap_err();
    assert_eq!(nack.why, "rules");
    assert!(nack.problems.len() >= 2, "{:?}", nack.problems);
    assert!(
        nack.problems.iter().all(|line| line.starts_with("r.toml:")),
        "{:?}",
        nack.problems
    );
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (Some(1), Some(1))
    );
    let journal = &world.intake.shared.journal;
    assert_eq!(
        journal.latest("snapshot").unwrap().message,
        nack.problems[0]
    );
}

const PASSES: &str =
    "[[test]]\nrequest = \"GET http://erp.virtual/a\"\nexpect = \"allow\"\nrule = \"/a\"\n";
const FAILS: &str =
    "[[test]]\nname = \"b is closed\"\nrequest = \"GET http://erp.virtual/b\"\nexpect = \"deny\"\n";

#[test]
fn rules_whose_tests_fail_are_refused_and_the_old_stay() {
    let world = World::new();
    world.push(&format!("{RULES}{PASSES}")).unwrap();
    let nack = world.push(&format!("{RULES}{PASSES}{FAILS}")).unwrap_err();
    assert_eq!(nack.why, "tests");
    assert_eq!(
        nack.problems,
        [
            "r.toml:15:11: test \"b is closed\": GET http://erp.virtual:80/b is meant to be denied, and is allowed by \
             exact `/b` of system `erp.virtual` (line 8)"
        ]
    );
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (Some(1), Some(1))
    );
    assert_eq!(world.push(RULES).unwrap().version, 2);
}

#[test]
fn stored_rules_are_in_force_at_start_whatever_their_tests_say() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.save(4, &format!("{RULES}{FAILS}")).unwrap();
    let journal = Journal::new();
    let found = at_start(&store, &nobody(), &journal).unwrap();
    assert_eq!(found.snapshot.version(), 4);
    assert!(found.snapshot.table().run_tests().is_err());
    assert!(journal.entries().is_empty());
}

#[test]
fn rules_that_name_a_missing_ca_file_are_refused() {
    let world = World::new();
    let wrong = RULES.replace("http://", "https://").replacen(
        "[[system.resource]]",
        "ca_file = \"/none.pem\"\n[[system.resource]]",
        1,
    );
    let nack = world.push(&wrong).unwrap_err();
    assert_eq!(nack.why, "ca-file");
    assert!(
        nack.problems[0].contains("/none.pem"),
        "{:?}",
        nack.problems
    );
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (None, None)
    );
}

#[test]
fn r03_rules_that_cannot_be_stored_are_refused_and_the_old_stay() {
    let world = World::new();
    world.push(RULES).unwrap();
    // In the way of the file that is written first; root may write anywhere else.
    let obstacle = world.folder.path().join("state/snapshot.next.toml");
    std::fs::create_dir(&obstacle).unwrap();
    let nack = world.push(RULES).unwrap_err();
    assert_eq!(nack.why, "store");
    assert!(
        nack.problems[0].contains("could not be stored: snapshot.next.toml"),
        "{:?}",
        nack.problems
    );
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (Some(1), Some(1))
    );
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(world.push(RULES).unwrap().version, 2);
}

#[test]
fn the_last_good_rules_are_in_force_again_after_a_restart() {
    let world = World::new();
    world.push(RULES).unwrap();
    let hash = world.push("").unwrap().hash;
    let World { folder, intake, .. } = world;
    drop(intake);
    let journal = Journal::new();
    let found = at_start(&store(folder.path()), &nobody(), &journal).unwrap();
    assert_eq!(
        (found.snapshot.version(), found.snapshot.hash_hex()),
        (2, hash)
    );
    assert!(journal.entries().is_empty());

    std::fs::write(folder.path().join("state/snapshot.toml"), "torn").unwrap();
    let found = at_start(&store(folder.path()), &nobody(), &journal).unwrap();
    assert_eq!(found.snapshot.version(), 1);
    assert!(
        journal
            .latest("snapshot")
            .unwrap()
            .message
            .contains("snapshot.toml")
    );
}

#[test]
fn whole_rules_that_this_program_does_not_understand_grant_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.save(1, RULES).unwrap();
    store
        .save(2, "[[system]]\nof_a_later_version = true\n")
        .unwrap();
    let journal = Journal::new();
    assert!(at_start(&store, &nobody(), &journal).is_none());
    let told = journal.latest("snapshot").unwrap().message;
    assert!(told.contains("version 2 is not in force"), "{told}");
}

#[test]
fn s13_with_a_signer_named_unsigned_rules_are_refused() {
    let world = World::signed_by(&[1]);
    let nack = world.push(RULES).unwrap_err();
    assert_eq!(nack.why, "unsigned");
    assert!(
        nack.problems[0].starts_with("r.toml: "),
        "{:?}",
        nack.problems
    );
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (None, None)
    );
}

#[test]
fn s13_signed_rules_carry_their_own_version_and_never_go_back() {
    let world = World::signed_by(&[1, 2]);
    let ack = world.push(&signed(1, 1, 42, RULES)).unwrap();
    assert_eq!((ack.epoch, ack.version), (Some(1), 42));
    assert_eq!(
        (world.version_in_force(), world.version_on_disk()),
        (Some(42), Some(42))
    );
    let other = RULES.replace("/a", "/c");
    assert_eq!(
        world.push(&signed(1, 1, 41, &other)).unwrap_err().why,
        "older"
    );
    assert_eq!(
        world.push(&signed(1, 1, 42, &other)).unwrap_err().why,
        "forked"
    );
    assert_eq!(
        world.push(&signed(3, 1, 43, &other)).unwrap_err().why,
        "signature"
    );
    assert_eq!(world.push(&signed(2, 2, 1, &other)).unwrap().version, 1);
    assert_eq!(world.version_in_force(), Some(1));
}

#[test]
fn the_same_signed_rules_a_second_time_are_acknowledged_and_not_taken_in_again() {
    let world = World::signed_by(&[1]);
    let first = world.push(&signed(1, 1, 42, RULES)).unwrap();
    let before = world.intake.shared.in_force.load_full().unwrap();
    assert_eq!(world.push(&signed(1, 1, 42, RULES)).unwrap(), first);
    let after = world.intake.shared.in_force.load_full().unwrap();
    assert!(Arc::ptr_eq(&before, &after));
}

#[test]
fn signed_rules_are_verified_again_at_the_start() {
    let world = World::signed_by(&[1]);
    world.push(&signed(1, 7, 42, RULES)).unwrap();
    let start = |signers: &Signers| {
        let journal = Journal::new();
        let found = at_start(&world.intake.store, signers, &journal);
        let noted = journal.latest("snapshot").map(|entry| entry.message);
        (
            found.map(|rules| (rules.stamp, rules.snapshot.text().to_owned())),
            noted,
        )
    };
    let stamp = Stamp {
        epoch: 7,
        version: 42,
    };
    let right = (Some((Some(stamp), RULES.to_owned())), None);
    assert_eq!(start(&world.intake.signers), right);
    let (found, noted) = start(&World::signed_by(&[2]).intake.signers);
    assert_eq!(found, None);
    assert!(noted.unwrap().contains("none of the keys"));
}

/// No key is named.
fn nobody() -> Signers {
    Signers::new(&settings(certificates().0))
}

fn at_start(store: &Store<Folder>, signers: &Signers, journal: &Journal) -> Option<InForce> {
    last_good(store, &TlsRoots::System, signers, journal).unwrap()
}
