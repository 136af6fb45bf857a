//! The identity under crashes at every step, and on a real folder.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair, SanType};

use super::*;
use crate::keys::Fresh;

type Files = BTreeMap<String, Vec<u8>>;

// A folder that knows what a crash would leave: files are durable when written through, renames when synced, and
// renames that were not synced survive up to any one of them, in their order.
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

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Signer {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    // Number `number` in the life of a node: a new key, certificate and trust.
    fn identity(&self, number: u64) -> Identity {
        let fresh = Fresh::draw().unwrap();
        let mut request = CertificateSigningRequestParams::from_pem(&fresh.csr).unwrap();
        let uri = "spiffe://adit.local/gateway/gw";
        request.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        request.params.serial_number = Some(number.into());
        let chain = request.signed_by(&self.issuer).unwrap().pem();
        let trust = Trust {
            version: number,
            roots: self.root.clone(),
            ..Trust::default()
        };
        Identity::new(&fresh.key_pem, &chain, "", trust).unwrap()
    }
}

// As enrolling and renewing do it.
fn save(disk: &Disk, identity: &Identity) -> Result<(), SaveError> {
    let store = Store::new(disk);
    store.keep_key(identity.key_pem())?;
    store.save(identity)
}

// Serial of what is found, which must be whole, and the version of its trust.
fn found(disk: &Disk) -> Option<(String, u64)> {
    let identity = Store::new(disk).load().unwrap()?;
    Some((identity.leaf().serial.clone(), identity.trust().version))
}

fn steps(before: &Disk, identity: &Identity) -> usize {
    let disk = before.planned(0, Plan::Crash);
    save(&disk, identity).unwrap();
    disk.state.into_inner().steps
}

#[test]
fn r02_a_crash_at_any_step_of_the_first_identity_leaves_none_or_all_of_it() {
    let signer = Signer::new();
    let first = signer.identity(1);
    let empty = Disk::default();
    let steps = steps(&empty, &first);
    assert!(steps >= 12, "{steps}");
    let (mut none, mut whole) = (0, 0);
    for step in 1..=steps {
        let disk = empty.planned(step, Plan::Crash);
        assert!(save(&disk, &first).is_err());
        for remains in disk.remains() {
            match found(&remains) {
                None => none += 1,
                Some((serial, trust)) => {
                    assert_eq!((serial.as_str(), trust), ("1", 1), "step {step}");
                    whole += 1;
                }
            }
        }
    }
    assert!(none > 0 && whole > 0);
}

#[test]
fn r02_a_crash_at_any_step_of_a_renewal_leaves_the_old_or_the_new_and_what_follows_succeeds() {
    let signer = Signer::new();
    let (first, second, third) = (signer.identity(1), signer.identity(2), signer.identity(3));
    let before = Disk::default();
    save(&before, &first).unwrap();
    let (mut old, mut new) = (0, 0);
    for step in 1..=steps(&before, &second) {
        let disk = before.planned(step, Plan::Crash);
        assert!(save(&disk, &second).is_err());
        for remains in disk.remains() {
            let (serial, trust) = found(&remains).expect("there was an identity");
            assert!(trust == 1 || trust == 2, "step {step}: {trust}");
            match serial.as_str() {
                "1" => old += 1,
                "2" => new += 1,
                other => panic!("step {step}: {other}"),
            }
            // Whatever was left lies in nobody's way, also not when that is cut short again.
            for again in 1..=steps(&remains, &third) {
                let disk = remains.planned(again, Plan::Crash);
                let _ = save(&disk, &third);
                for remains in disk.remains() {
                    let (found, _) = found(&remains).expect("there was an identity");
                    assert!(
                        found == serial || found == "3",
                        "step {step}, {again}: {found}"
                    );
                }
            }
            save(&remains, &third).unwrap();
            assert_eq!(found(&remains), Some(("3".to_owned(), 3)));
        }
    }
    assert!(old > 0 && new > 0);
}

#[test]
fn r03_a_step_that_fails_leaves_the_old_or_the_new_and_the_next_try_succeeds() {
    let signer = Signer::new();
    let (first, second) = (signer.identity(1), signer.identity(2));
    let before = Disk::default();
    save(&before, &first).unwrap();
    for step in 1..=steps(&before, &second) {
        let disk = before.planned(step, Plan::Fail);
        let error = save(&disk, &second).unwrap_err().to_string();
        assert!(error.contains("no space left on device"), "{error}");
        let (serial, _) = found(&disk).unwrap();
        assert!(serial == "1" || serial == "2");
        save(&disk, &second).unwrap();
        assert_eq!(found(&disk), Some(("2".to_owned(), 2)), "step {step}");
    }
}

// What of a stored identity a node acts by.
fn shown(identity: &Identity) -> (String, String, Trust, u64) {
    let (id, serial) = (identity.id().to_string(), identity.leaf().serial.clone());
    (
        id,
        serial,
        identity.trust().clone(),
        identity.renew_unix_s(),
    )
}

#[test]
fn r02_every_cut_and_every_changed_bit_of_an_identity_is_told_or_changes_nothing() {
    let signer = Signer::new();
    let disk = Disk::default();
    let mut trust = signer.identity(1).trust().clone();
    trust.revoked = vec!["0a0b".to_owned()];
    let identity = signer.identity(1).with_trust(trust).unwrap();
    // Certificate, key and trust as after a start and a change.
    save(&disk, &identity).unwrap();
    let identity = Store::new(&disk).load().unwrap().unwrap();
    Store::new(&disk).save_trust(&identity).unwrap();
    let expected = shown(&identity);
    let (mut told, mut same) = (0, 0);
    for name in [KEY, CERT, TRUST] {
        let whole = (&disk).read(name).unwrap().unwrap();
        let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
        let changed = (0..whole.len() * 8).map(|bit| {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        for (number, damaged) in cuts.chain(changed).enumerate() {
            (&disk).write_through(name, &damaged).unwrap();
            match Store::new(&disk).load() {
                Err(why) => {
                    assert!(why.contains(name), "{why}");
                    // A line of the key in its error would stand in a log.
                    assert!(why.len() < 200, "{why}");
                    told += 1;
                }
                // What stands around a key or before a checksum says nothing.
                Ok(found) => {
                    let found = found.unwrap_or_else(|| panic!("{name} {number}: none"));
                    assert_eq!(shown(&found), expected, "{name} {number}");
                    same += 1;
                }
            }
        }
        (&disk).write_through(name, &whole).unwrap();
    }
    assert!(told > 20 * same && same > 0, "{told} told, {same} the same");
    (&disk)
        .write_through(TRUST, b"{\n  \"sha256\": \"0\"")
        .unwrap();
    let why = Store::new(&disk).load().unwrap_err();
    assert!(why.contains("enrol this node anew"), "{why}");
}

#[test]
fn r02_a_time_of_contact_that_was_cut_or_changed_is_not_known() {
    let disk = Disk::default();
    let store = Store::new(&disk);
    store.keep_contact(1_763_712_000).unwrap();
    let whole = (&disk).read(CONTACT).unwrap().unwrap();
    assert_eq!(store.contact(), Some(1_763_712_000));
    for length in 0..whole.len() {
        (&disk).write_through(CONTACT, &whole[..length]).unwrap();
        assert_eq!(store.contact(), None, "{length} bytes");
    }
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        (&disk).write_through(CONTACT, &changed).unwrap();
        assert_eq!(store.contact(), None, "bit {bit}");
    }
    // As an earlier version wrote it.
    (&disk).write_through(CONTACT, b"1763712000\n").unwrap();
    assert_eq!(store.contact(), Some(1_763_712_000));
}

#[test]
fn a_key_without_a_certificate_is_no_identity_and_a_certificate_without_its_key_is_damage() {
    let signer = Signer::new();
    let (first, second) = (signer.identity(1), signer.identity(2));
    let disk = Disk::default();
    Store::new(&disk).keep_key(first.key_pem()).unwrap();
    assert_eq!(found(&disk), None);
    save(&disk, &first).unwrap();
    (&disk)
        .write_through(KEY, second.key_pem().as_bytes())
        .unwrap();
    let error = Store::new(&disk).load().unwrap_err();
    assert_eq!(
        error,
        "cert.pem has no key in key.pem; put the folder back from a copy, or enrol this node anew"
    );
    (&disk)
        .write_through(KEY, first.key_pem().as_bytes())
        .unwrap();
    (&disk).write_through(TRUST, b"{").unwrap();
    assert!(
        Store::new(&disk)
            .load()
            .unwrap_err()
            .starts_with("trust.json: ")
    );
}

#[test]
fn a_key_that_others_can_read_is_not_used_and_no_file_is_made_so() {
    let signer = Signer::new();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a/identity");
    let store = Store::new(Folder::claim(&place).unwrap());
    let first = signer.identity(1);
    store.keep_key(first.key_pem()).unwrap();
    store.save(&first).unwrap();
    store.keep_contact(7).unwrap();
    assert_eq!(store.contact(), Some(7));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place), 0o700);
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&place).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, [CERT, CONTACT, KEY, LOCK, TRUST]);
    fs::set_permissions(place.join(KEY), fs::Permissions::from_mode(0o640)).unwrap();
    let error = store.load().unwrap_err();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn r15_an_identity_of_a_later_format_is_refused_by_its_number_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(Folder::claim(folder.path()).unwrap());
    let identity = Signer::new().identity(1);
    store.keep_key(identity.key_pem()).unwrap();
    store.save(&identity).unwrap();
    let path = folder.path().join("trust.json");
    let text = fs::read_to_string(&path).unwrap();
    let ours = format!("\"format\": {FORMAT},");
    assert!(text.contains(&ours), "{text}");

    let (_, members) = text.split_once(&ours).unwrap();
    let members = format!(
        "{{\n  \"format\": {}, \"later\": true,{members}",
        FORMAT + 1
    );
    let later = summed::json(&members);
    fs::write(&path, &later).unwrap();
    let why = store.load().unwrap_err();
    assert!(
        why.contains("has format 2") && why.contains("newer"),
        "{why}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), later);

    // Members that are not known are passed over; what has no number is of the first format, and had no checksum.
    let (_, members) = text.split_once(&ours).unwrap();
    fs::write(&path, format!("{{ \"later\": true,{members}")).unwrap();
    assert!(store.load().unwrap().is_some());
}
