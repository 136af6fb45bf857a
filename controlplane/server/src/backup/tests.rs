//! Backups as values: what comes back of one, what is refused, and a restore that is cut or met by another one.

mod formats;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_audit::{Digest, Verifier};
use adit_manifest::{Signers, verify};
use adit_store::{LeaseId, Outcome, Page, Pending, Watch};

use super::*;
use crate::book::{Base, Wish};
use crate::hub::test_world::{World, ada};
use crate::place::{NodeId, Place};

const PASSWORD: &str = "a password for backups";
const USER_PASSWORD: &str = "a password for people";
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// The rules of two places.
const RULES: [(&str, &str); 2] = [("plant-1", "# one\n"), ("", "# two\n")];

fn place(location: &str) -> Place {
    Place::new("acme", location).unwrap()
}

/// A control plane that has some of everything, in more than two commits of a restore.
async fn lived() -> World {
    let world = World::new(1).await;
    let parts = &world.parts;
    let token = parts.members.setup_token("cp-1").await.unwrap().unwrap();
    let setup = adit_api::Setup {
        token,
        user: "ada".to_owned(),
        password: USER_PASSWORD.to_owned(),
    };
    parts.members.set_up(setup, SOURCE, "r").await.unwrap();
    for (location, text) in RULES {
        let mut base = Base::Nothing;
        for text in ["# before\n", text] {
            let wish = Wish {
                text: text.to_owned(),
                message: String::new(),
                canary: None,
            };
            let place = place(location);
            parts.book.apply(&ada(), &place, base, wish).await.unwrap();
            let current = parts.book.current(&place).await.unwrap().unwrap();
            base = Base::Revision(current.revision);
        }
    }
    let revoked = world.agent("berlin-1").await;
    world.agent("berlin-2").await;
    parts.register.revoke(&ada(), &revoked.id).await.unwrap();
    for part in 0..2 {
        let certificates: Vec<adit_api::Certificate> = (0..50)
            .map(|number| adit_api::Certificate {
                serial: format!("{part}{number:02}"),
                until_unix_s: u64::MAX / 2,
            })
            .collect();
        let txn = parts
            .life
            .revoking(Txn::new(), &certificates, 0)
            .await
            .unwrap();
        parts.store.commit(&txn).await.unwrap();
    }
    world
}

async fn backup_of(world: &World) -> Vec<u8> {
    let made = create(&world.parts.store, &world.parts.life, PASSWORD.to_owned()).await;
    made.unwrap().0
}

async fn put_back(world: &World, backup: &[u8], password: &str) -> Result<Header, Trouble> {
    let parts = &world.parts;
    restore(
        &parts.generations,
        &parts.life,
        &ada(),
        backup.to_vec(),
        password.to_owned(),
    )
    .await
}

/// The same store after a start.
async fn started_again(world: &World) -> World {
    let seal = if world.folder.path().join("other-seal").exists() {
        2
    } else {
        1
    };
    World::on(Arc::clone(&world.whole), Arc::clone(&world.folder), seal).await
}

/// A control plane of another seal.
async fn other() -> World {
    let world = World::new(2).await;
    std::fs::write(world.folder.path().join("other-seal"), b"").unwrap();
    world
}

async fn dump(store: &Arc<dyn Store>) -> BTreeMap<String, (Revision, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut cursor: Option<Key> = None;
    loop {
        let page = store
            .list(&Prefix::all(), cursor.as_ref(), PAGE_ITEMS_MAX)
            .await
            .unwrap();
        cursor = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            let value = entry.value.as_bytes().to_vec();
            found.insert(entry.key.to_string(), (entry.revision, value));
        }
        if !page.more {
            return found;
        }
    }
}

/// Everything of `old` is in `new`, in force as new versions of a higher epoch, and the acts are one chain.
async fn assert_is_back(old: &World, new: &World) {
    let (before, after) = (&old.parts, &new.parts);
    assert!(after.life.epoch() > before.life.epoch());
    assert_eq!(after.life.pin(), before.life.pin());
    for (location, text) in RULES {
        let place = place(location);
        let head = after.book.current(&place).await.unwrap().unwrap().head;
        assert_eq!((head.version, head.last, head.canary), (3, 3, None));
        assert_eq!(after.book.text(&place, 3).await.unwrap(), text);
        assert_eq!(after.book.text(&place, 2).await.unwrap(), text);
        let version = after.book.version(&place, 3).await.unwrap();
        assert_eq!(version.epoch, after.life.epoch());
        // Also for a node that knows the keys of before.
        let document = after.book.document(&place, 3).await.unwrap();
        let keys = before.life.public_keys();
        let verified = verify(&document, Signers::Keys(&keys), &place.audience(), None).unwrap();
        assert_eq!(verified.manifest.stamp.epoch, after.life.epoch());
        assert_eq!(verified.manifest.stamp.version, 3);
    }
    let (was, is) = (
        before.life.trust().await.unwrap(),
        after.life.trust().await.unwrap(),
    );
    assert!(is.version > was.version);
    assert_eq!(is.revoked, was.revoked);
    assert!(is.revoked.len() > 100);
    for name in ["berlin-1", "berlin-2"] {
        let id = NodeId::agent("acme", name).unwrap();
        let known = before.register.get(&id).await.unwrap().0;
        assert_eq!(after.register.get(&id).await.unwrap().0, known);
    }
    let login = adit_api::Login {
        user: "ada".to_owned(),
        password: USER_PASSWORD.to_owned(),
    };
    let mut verifier = Verifier::new(Some(Digest::ZERO));
    let mut from = 0;
    loop {
        let (lines, next) = after.acts.lines(from).await.unwrap();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            verifier.line(line).unwrap();
        }
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    let (acts, _) = after.acts.list(0, 1000, |_| true).await.unwrap();
    let last = acts.last().unwrap();
    assert_eq!(last.verb, "backup-restore");
    assert_eq!(last.sequence, verifier.summary().sequence);
    after.members.log_in(login, SOURCE, "r").await.unwrap();
}

/// What happens at one of the commits.
#[derive(Debug)]
enum Meanwhile {
    /// It and all that follow fail.
    Cut,
    /// A server starts, and clears what it does not know.
    Clear(Generations),
    /// Another restore begins and ends.
    Restore(Generations, Vec<Kept>),
}

/// A store in which something happens when it is asked for a certain commit.
#[derive(Debug)]
struct Met {
    store: Arc<dyn Store>,
    commits: AtomicUsize,
    at: usize,
    meanwhile: Meanwhile,
}

impl Store for Met {
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

    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(async move {
            let number = self.commits.fetch_add(1, Ordering::SeqCst);
            match &self.meanwhile {
                Meanwhile::Cut if number >= self.at => {
                    return Err(Error::Unavailable {
                        place: "test".to_owned(),
                        why: "cut".to_owned(),
                        outcome: Outcome::NotDone,
                    });
                }
                Meanwhile::Clear(generations) if number == self.at => {
                    generations.clear_others().await?;
                }
                Meanwhile::Restore(generations, entries) if number == self.at => {
                    generations.swap(entries.clone()).await?;
                }
                Meanwhile::Cut | Meanwhile::Clear(_) | Meanwhile::Restore(..) => {}
            }
            self.store.commit(txn).await
        })
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

/// The generations of a store in which something happens at commit `at`.
async fn met(world: &World, at: usize, meanwhile: Meanwhile) -> Generations {
    let store = Met {
        store: Arc::clone(&world.whole),
        commits: AtomicUsize::new(0),
        at,
        meanwhile,
    };
    Generations::open(Arc::new(store)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_comes_back_under_another_seal_as_new_versions_of_a_higher_epoch() {
    let old = lived().await;
    let backup = backup_of(&old).await;
    let new = other().await;
    let waiting = {
        let generations = new.parts.generations.clone();
        tokio::spawn(async move { generations.replaced().await })
    };
    let header = put_back(&new, &backup, PASSWORD).await.unwrap();
    assert_eq!(header.epoch, old.parts.life.epoch());
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
        .unwrap();
    let new = started_again(&new).await;
    assert_eq!(new.parts.generations.number, 2);
    assert_is_back(&old, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_a_backup_that_is_not_whole_or_of_another_password_changes_nothing() {
    let world = lived().await;
    let backup = backup_of(&world).await;
    let before = dump(&world.whole).await;
    let wrong = put_back(&world, &backup, "another password").await;
    assert!(matches!(wrong, Err(Trouble::Invalid(_))), "{wrong:?}");
    let bytes = [0, 5, 9, 30, 60, backup.len() / 2, backup.len() - 1];
    for at in bytes {
        let mut flipped = backup.clone();
        flipped[at] ^= 1;
        let refused = put_back(&world, &flipped, PASSWORD).await;
        assert!(
            matches!(refused, Err(Trouble::Invalid(_))),
            "{at} {refused:?}"
        );
    }
    for end in [0, 1, 10, 50, backup.len() / 2, backup.len() - 1] {
        let refused = put_back(&world, &backup[..end], PASSWORD).await;
        assert!(
            matches!(refused, Err(Trouble::Invalid(_))),
            "{end} {refused:?}"
        );
    }
    assert_eq!(dump(&world.whole).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_a_restore_that_is_cut_leaves_what_was_and_the_next_one_succeeds() {
    let old = lived().await;
    let backup = backup_of(&old).await;
    let new = other().await;
    let before = dump(&new.parts.store).await;
    let mut cuts = 0;
    loop {
        let generations = met(&new, cuts, Meanwhile::Cut).await;
        let life = &new.parts.life;
        let password = PASSWORD.to_owned();
        let cut = restore(&generations, life, &ada(), backup.clone(), password).await;
        let now = Generations::open(Arc::clone(&new.whole)).await.unwrap();
        if cut.is_ok() {
            assert_eq!(now.number, 2);
            break;
        }
        assert_eq!(now.number, 1);
        assert_eq!(dump(&now.store()).await, before);
        cuts += 1;
    }
    assert!(cuts > 4, "{cuts} commits");
    assert_is_back(&old, &started_again(&new).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_while_a_backup_is_restored_leaves_no_half_of_it_in_force() {
    let old = lived().await;
    let backup = backup_of(&old).await;
    let mut refused = 0;
    for at in 0..7 {
        let new = other().await;
        let before = dump(&new.parts.store).await;
        let clearing = new.parts.generations.clone();
        let generations = met(&new, at, Meanwhile::Clear(clearing)).await;
        let life = &new.parts.life;
        let password = PASSWORD.to_owned();
        let done = restore(&generations, life, &ada(), backup.clone(), password).await;
        if done.is_ok() {
            assert_is_back(&old, &started_again(&new).await).await;
        } else {
            refused += 1;
            let now = Generations::open(Arc::clone(&new.whole)).await.unwrap();
            assert_eq!(now.number, 1);
            assert_eq!(dump(&now.store()).await, before);
            put_back(&new, &backup, PASSWORD).await.unwrap();
            assert_is_back(&old, &started_again(&new).await).await;
        }
    }
    assert!(refused > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_restores_at_once_one_is_in_force_whole() {
    let world = World::new(1).await;
    let entries = |name: &str| -> Vec<Kept> {
        let key = |number: usize| Key::new(format!("{name}/{number:03}")).unwrap();
        (0..120)
            .map(|number| (key(number), name.as_bytes().to_vec()))
            .collect()
    };
    for at in 0..8 {
        let number = Generations::open(Arc::clone(&world.whole))
            .await
            .unwrap()
            .number;
        let other = Generations::open(Arc::clone(&world.whole)).await.unwrap();
        let meanwhile = Meanwhile::Restore(other, entries("other"));
        let generations = met(&world, at, meanwhile).await;
        let done = generations.swap(entries("mine")).await;
        let now = Generations::open(Arc::clone(&world.whole)).await.unwrap();
        assert_eq!(now.number, number + 1);
        let name = if done.is_ok() { "mine" } else { "other" };
        let found = dump(&now.store()).await;
        assert_eq!(found.len(), 120, "at commit {at}: {done:?}");
        for (key, (_, value)) in found {
            assert!(key.starts_with(name), "at commit {at}: {key}, {done:?}");
            assert_eq!(value, name.as_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_takes_what_other_generations_left_and_nothing_else() {
    let world = lived().await;
    let stale = world.parts.generations.clone();
    put_back(&world, &backup_of(&world).await, PASSWORD)
        .await
        .unwrap();
    let leftover = Key::new("g7/users/eve").unwrap();
    let txn = Txn::new().put(leftover, "half of something");
    world.whole.commit(&txn).await.unwrap();
    let all = dump(&world.whole).await;
    // Whoever does not know yet that another generation counts takes nothing away.
    let refused = stale.clear_others().await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(dump(&world.whole).await, all);
    let now = Generations::open(Arc::clone(&world.whole)).await.unwrap();
    let mine = dump(&now.store()).await;
    now.clear_others().await.unwrap();
    assert_eq!(dump(&now.store()).await, mine);
    let mut left = dump(&world.whole).await;
    left.retain(|key, _| !key.starts_with("g2/"));
    let left: Vec<String> = left.into_keys().collect();
    assert_eq!(left, ["generation/number"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_may_have_so_many_bytes_and_not_one_more() {
    let world = lived().await;
    let (store, life) = (&world.parts.store, &world.parts.life);
    let made = |limit| create_within(store, life, PASSWORD.to_owned(), limit);
    let (sealed, header) = made(BACKUP_BYTES_MAX).await.unwrap();
    let key = SealKey::passphrase(PASSWORD.to_owned());
    let content = seal::open(&sealed, PURPOSE, &key).unwrap();
    let (read_back, entries) = read(&content).unwrap();
    assert_eq!(read_back, header);
    let raw: usize = entries.iter().map(|(_, value)| value.len()).sum();
    assert!(raw < content.len() - 1);
    // The authority under a passphrase may be some bytes longer or shorter than its neighbour, so a backup's length is
    // found anew.
    made(content.len()).await.unwrap();
    for limit in [content.len() - 1, raw / 2] {
        let refused = made(limit).await;
        let told = matches!(refused, Err(Trouble::TooLarge { limit: told }) if told == limit);
        assert!(told, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_version_that_was_on_trial_comes_back_as_rules_that_allow_nothing() {
    let world = World::new(1).await;
    let place = place("plant-1");
    let wish = Wish {
        text: "# on trial\n".to_owned(),
        message: String::new(),
        canary: Some(vec!["berlin-1".to_owned()]),
    };
    let book = &world.parts.book;
    let tried = book.apply(&ada(), &place, Base::Nothing, wish).await;
    assert!(tried.unwrap().canary);
    let backup = backup_of(&world).await;
    put_back(&world, &backup, PASSWORD).await.unwrap();
    let world = started_again(&world).await;
    let book = &world.parts.book;
    let head = book.current(&place).await.unwrap().unwrap().head;
    assert_eq!((head.version, head.last, &head.canary), (2, 2, &None));
    assert_eq!(head.wanted("berlin-1"), Some(2));
    // Signed, and of the new epoch: agents take it in place of what they have tried.
    assert_eq!(book.text(&place, 2).await.unwrap(), "");
    let version = book.version(&place, 2).await.unwrap();
    let nothing = ring::digest::digest(&ring::digest::SHA256, b"");
    assert_eq!(version.sha256, crate::secret::hex(nothing.as_ref()));
    assert_eq!(version.epoch, world.parts.life.epoch());
    // And a change may follow.
    let base = Base::Revision(book.current(&place).await.unwrap().unwrap().revision);
    let wish = Wish {
        text: "# next\n".to_owned(),
        message: String::new(),
        canary: None,
    };
    let next = book.apply(&ada(), &place, base, wish).await.unwrap();
    assert_eq!(next.version, 3);
}
