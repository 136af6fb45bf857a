//! Pushes, right and wrong, and what they leave in memory, on disk and in the shards' mailboxes.

use std::path::Path;

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

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let housekeeping = Housekeeping::start("intake").unwrap();
        let choice = Choice {
            driver: Driver::Epoll,
            reason: String::new(),
        };
        let settings = settings(certificates().0);
        let (shared, inboxes) = share(
            settings,
            &housekeeping,
            choice,
            Arc::new(Journal::new()),
            None,
        )
        .unwrap();
        Self {
            intake: Arc::new(Intake::new(shared, store(folder.path()))),
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
    let found = last_good(&store(folder.path()), &TlsRoots::System, &journal).unwrap();
    assert_eq!(
        (found.snapshot.version(), found.snapshot.hash_hex()),
        (2, hash)
    );
    assert!(journal.entries().is_empty());

    std::fs::write(folder.path().join("state/snapshot.toml"), "torn").unwrap();
    let found = last_good(&store(folder.path()), &TlsRoots::System, &journal).unwrap();
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
    assert!(last_good(&store, &TlsRoots::System, &journal).is_none());
    let told = journal.latest("snapshot").unwrap().message;
    assert!(told.contains("version 2 is not in force"), "{told}");
}
