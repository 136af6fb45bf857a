//! The store under crashes at every step, and on a real folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

type Files = BTreeMap<String, Vec<u8>>;

// A folder that knows what a crash would leave: files are durable when written through, renames when
// synced, and renames that were not synced survive up to any one of them, in their order.
#[derive(Clone, Debug, Default)]
struct Disk {
    state: RefCell<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    durable: Files,
    // What the durable folder becomes with each unsynced change.
    after: Vec<Files>,
    steps: usize,
    // The step at which something happens, and what.
    plan: Option<(usize, Plan)>,
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Crash,
    Fail,
}

impl State {
    fn now(&self) -> &Files {
        self.after.last().unwrap_or(&self.durable)
    }

    // Whether the next step goes well.
    fn step(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("crashed"));
        }
        self.steps += 1;
        match self.plan {
            Some((at, Plan::Crash)) if at == self.steps => {
                self.dead = true;
                Err(io::Error::other("crashed"))
            }
            Some((at, Plan::Fail)) if at == self.steps => {
                Err(io::Error::other("no space left on device"))
            }
            _ => Ok(()),
        }
    }
}

impl Disk {
    // Everything that may be found after a power failure now.
    fn remains(&self) -> Vec<Self> {
        let state = self.state.borrow();
        std::iter::once(&state.durable)
            .chain(&state.after)
            .map(|files| Self {
                state: RefCell::new(State {
                    durable: files.clone(),
                    ..State::default()
                }),
            })
            .collect()
    }

    fn planned(&self, at: usize, plan: Plan) -> Self {
        let mut state = self.state.borrow().clone();
        state.durable = state.now().clone();
        state.after.clear();
        state.steps = 0;
        state.plan = Some((at, plan));
        Self {
            state: RefCell::new(state),
        }
    }
}

impl Storage for &Disk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state.borrow().now().get(name).cloned())
    }

    fn write_through(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let mut files = state.now().clone();
        if let Err(error) = state.step() {
            // Torn in the middle.
            files.insert(name.to_owned(), bytes[..bytes.len() / 2].to_vec());
            state.after.push(files);
            return Err(error);
        }
        files.insert(name.to_owned(), bytes.to_vec());
        state.after.push(files);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        let mut files = state.now().clone();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        state.after.push(files);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.step()?;
        state.durable = state.now().clone();
        state.after.clear();
        Ok(())
    }
}

fn version_of(disk: &Disk) -> Option<u64> {
    let found = Store::new(disk).load();
    let stored = found.stored?;
    assert_eq!(stored.text, format!("rules of {}", stored.version), "a mix");
    Some(stored.version)
}

fn save(disk: &Disk, version: u64) -> Result<(), SaveError> {
    Store::new(disk).save(version, &format!("rules of {version}"))
}

fn saved(versions: &[u64]) -> Disk {
    let disk = Disk::default();
    for version in versions {
        save(&disk, *version).unwrap();
    }
    disk
}

const STEPS: usize = 4; // write, rename, rename, sync

#[test]
fn what_was_saved_is_found_whatever_happens_next() {
    for disk in saved(&[1, 2, 3]).remains() {
        assert_eq!(version_of(&disk), Some(3));
    }
    assert_eq!(version_of(&Disk::default()), None);
}

#[test]
fn r02_a_crash_at_any_step_leaves_the_old_or_the_new_and_never_a_mix() {
    let before = saved(&[1, 2]);
    for step in 1..=STEPS {
        let disk = before.planned(step, Plan::Crash);
        assert!(save(&disk, 3).is_err(), "step {step}");
        let remains = disk.remains();
        assert!(!remains.is_empty());
        for remains in remains {
            let version = version_of(&remains);
            assert!(matches!(version, Some(2 | 3)), "step {step}: {version:?}");
        }
    }
    // There is no further step: one later and the push is whole.
    assert!(save(&before.planned(STEPS + 1, Plan::Crash), 3).is_ok());
}

#[test]
fn r03_a_step_that_fails_leaves_the_old_also_after_a_later_crash() {
    let before = saved(&[1, 2]);
    for step in 1..=STEPS {
        let disk = before.planned(step, Plan::Fail);
        let error = save(&disk, 3).unwrap_err().to_string();
        assert!(error.contains("no space left on device"), "{error}");
        assert_eq!(version_of(&disk), Some(2), "step {step}");
        // The next push, once there is room again, is version 3 as well.
        save(&disk, 3).unwrap();
        assert_eq!(version_of(&disk), Some(3), "step {step}");
    }
}

#[test]
fn a_crash_in_the_very_first_push_leaves_nothing_or_all_of_it() {
    for step in 1..=STEPS {
        let disk = Disk::default().planned(step, Plan::Crash);
        let _ = save(&disk, 1);
        for remains in disk.remains() {
            assert!(
                matches!(version_of(&remains), None | Some(1)),
                "step {step}"
            );
        }
    }
}

#[test]
fn r02_every_cut_and_every_changed_byte_of_a_file_is_noticed_and_the_one_before_is_used() {
    let disk = saved(&[1, 2]);
    let whole = (&disk).read(CURRENT).unwrap().unwrap();
    for cut in 0..whole.len() {
        (&disk).write_through(CURRENT, &whole[..cut]).unwrap();
        let found = Store::new(&disk).load();
        assert_eq!(
            found.stored.map(|stored| stored.version),
            Some(1),
            "cut at {cut}"
        );
        assert_eq!(found.damage.len(), 1);
    }
    // A byte of the name of the line's hash hides the hash, and what it is of is whole.
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let sum = line - 64 - LINE_SUM.len();
    let name = sum..line - 64;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            (&disk).write_through(CURRENT, &changed).unwrap();
            let expected = if name.contains(&at) { 2 } else { 1 };
            let found = version_of(&disk);
            assert!(
                found == Some(1) || found == Some(expected),
                "byte {at}, bit {bit}: {found:?}"
            );
        }
    }
}

#[test]
fn r02_a_torn_file_never_replaces_the_whole_one_before_it() {
    let disk = saved(&[1, 2]);
    (&disk).write_through(CURRENT, b"torn").unwrap();
    save(&disk, 3).unwrap();
    (&disk).write_through(CURRENT, b"torn again").unwrap();
    assert_eq!(version_of(&disk), Some(1), "not the torn one of then");
}

#[test]
fn a_real_folder_keeps_files_for_its_owner_alone_and_one_agent_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("agent/state");
    let store = Store::new(Folder::claim(&path).unwrap());
    assert_eq!(store.load().stored, None);
    store.save(1, "a").unwrap();
    store.save(2, "b").unwrap();
    for name in [CURRENT, PREVIOUS] {
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let error = Folder::claim(&path).unwrap_err();
    assert!(error.contains("another agent uses it"), "{error}");
    drop(store);
    let store = Store::new(Folder::claim(&path).unwrap());
    let expected = Stored {
        version: 2,
        text: "b".to_owned(),
    };
    assert_eq!(store.load().stored, Some(expected));
    fs::write(path.join(CURRENT), "torn").unwrap();
    let found = store.load();
    assert_eq!(found.stored.map(|stored| stored.version), Some(1));
    assert_eq!(found.damage.len(), 1);
}

#[test]
fn a_folder_that_cannot_be_had_is_named() {
    let error = Folder::claim(Path::new("/proc/nothing/here")).unwrap_err();
    assert!(
        error.starts_with("agent.state /proc/nothing/here: "),
        "{error}"
    );
}

#[test]
fn r15_a_snapshot_of_a_later_format_is_refused_by_its_number_and_the_one_before_is_not_used_instead()
 {
    let disk = saved(&[1, 2]);
    let whole = String::from_utf8((&disk).read(CURRENT).unwrap().unwrap()).unwrap();
    // As a version wrote it that put no hash of the line there.
    let (line, text) = whole.split_once('\n').unwrap();
    let (line, _) = line.rsplit_once(LINE_SUM).unwrap();
    let whole = format!("{line}\n{text}");
    let ours = format!(" format={FORMAT}\n");
    assert!(whole.contains(&ours), "{whole}");
    let put = |text: &str| (&disk).write_through(CURRENT, text.as_bytes()).unwrap();
    // Whatever else its first line has come to be.
    for line in [
        format!(" format={}\n", FORMAT + 1),
        format!(" format={} later=yes\n", FORMAT + 1),
    ] {
        put(&whole.replace(&ours, &line));
        let found = Store::new(&disk).load();
        assert!(found.is_later && found.stored.is_none());
        assert!(
            found.damage[0].contains("has format 2"),
            "{:?}",
            found.damage
        );
    }
    for line in ["\n", " format=1 later=yes\n"] {
        put(&whole.replace(&ours, line));
        assert_eq!(version_of(&disk), Some(2), "{line:?}");
    }
    // A digit that rotted is no later format, and no other version.
    for (from, to) in [("format=1", "format=3"), ("version=2", "version=3")] {
        let summed = String::from_utf8(written(2, "rules of 2")).unwrap();
        put(&summed.replace(from, to));
        assert_eq!(version_of(&disk), Some(1), "{to}");
    }
    put(&whole.replace(&ours, " format=one\n"));
    assert_eq!(version_of(&disk), Some(1), "torn");
}
