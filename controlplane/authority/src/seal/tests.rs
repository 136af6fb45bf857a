//! Sealed bytes: who opens them, and what was done to them.

use super::*;

const CHEAP: Costs = Costs {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn key() -> SealKey {
    SealKey::from_bytes([7; 32])
}

fn passphrase() -> SealKey {
    SealKey::passphrase("correct horse".to_owned())
}

/// Where the costs begin.
const COSTS_AT: usize = MAGIC.len() + 2;

#[test]
fn what_was_sealed_comes_out_again() {
    for key in [key(), passphrase()] {
        for content in [&b""[..], b"x", &[0; 5_000]] {
            let sealed = seal(content, "test", &key).unwrap();
            assert_eq!(open(&sealed, "test", &key).unwrap(), content, "{key:?}");
            assert!(content.is_empty() || !sealed.ends_with(content));
        }
    }
}

#[test]
fn the_same_is_never_sealed_the_same() {
    let sealed = || seal(b"content", "test", &key()).unwrap();
    let (one, two) = (sealed(), sealed());
    assert_ne!(one[one.len() - 23..], two[two.len() - 23..]);
}

#[test]
fn r02_every_flipped_bit_is_refused() {
    let sealed = seal(b"content", "test", &key()).unwrap();
    assert!(open(&sealed, "test", &key()).is_ok());
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(
                open(&altered, "test", &key()).is_err(),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn r02_every_flipped_bit_of_what_a_passphrase_seals_is_refused() {
    let sealed = seal_at(b"x", "test", &passphrase(), CHEAP).unwrap();
    assert!(open(&sealed, "test", &passphrase()).is_ok());
    for at in 0..sealed.len() {
        for bit in 0..8 {
            // The second byte of the memory asks for 64 MiB and more, the third for half a MiB and more.
            if at == COSTS_AT + 1 && bit > 0 {
                continue;
            }
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(
                open(&altered, "test", &passphrase()).is_err(),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn r02_bytes_cut_off_or_added_are_refused() {
    let sealed = seal(b"content", "test", &key()).unwrap();
    for length in 0..sealed.len() {
        assert!(open(&sealed[..length], "test", &key()).is_err(), "{length}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert_eq!(open(&longer, "test", &key()), Err(OpenError::Key));
}

#[test]
fn another_key_and_another_passphrase_say_the_same() {
    let sealed = seal(b"content", "test", &key()).unwrap();
    let other = SealKey::from_bytes([8; 32]);
    assert_eq!(open(&sealed, "test", &other), Err(OpenError::Key));
    let kind = OpenError::KindOfKey { passphrase: false };
    assert_eq!(open(&sealed, "test", &passphrase()), Err(kind));

    let sealed = seal_at(b"content", "test", &passphrase(), CHEAP).unwrap();
    let other = SealKey::passphrase("correct hose".to_owned());
    assert_eq!(open(&sealed, "test", &other), Err(OpenError::Key));
    let kind = OpenError::KindOfKey { passphrase: true };
    assert_eq!(open(&sealed, "test", &key()), Err(kind));
}

#[test]
fn a_backup_is_no_authority() {
    let sealed = seal(b"content", "backup", &key()).unwrap();
    let found = "backup".to_owned();
    assert_eq!(
        open(&sealed, "authority", &key()),
        Err(OpenError::Purpose { found })
    );
    // Also not when somebody writes the other purpose in front.
    let mut altered = sealed;
    let at = altered
        .windows(6)
        .position(|word| word == b"backup")
        .unwrap();
    altered[at..at + 6].copy_from_slice(b"bakcup");
    assert_eq!(open(&altered, "bakcup", &key()), Err(OpenError::Key));
}

#[test]
fn a_later_version_is_told_as_such() {
    let mut sealed = seal(b"content", "test", &key()).unwrap();
    sealed[MAGIC.len()] = 2;
    assert_eq!(
        open(&sealed, "test", &key()),
        Err(OpenError::Version { version: 2 })
    );
}

/// Whether a header with these costs is read. Costs nothing.
fn read(memory_kib: u32, passes: u32, lanes: u32) -> bool {
    let mut sealed = seal_at(b"", "test", &passphrase(), CHEAP).unwrap();
    for (number, at) in [memory_kib, passes, lanes].iter().zip([0, 4, 8]) {
        let at = COSTS_AT + at;
        sealed[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    let read = Header::read(&sealed);
    assert!(
        read.is_ok() || matches!(read, Err(OpenError::Costs { .. })),
        "{read:?}"
    );
    read.is_ok()
}

#[test]
fn costs_within_bounds_are_given_and_no_others() {
    assert!(read(KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX, KDF_LANES_MAX));
    assert!(!read(KDF_MEMORY_KIB_MAX + 1, 1, 1));
    assert!(!read(64, KDF_PASSES_MAX + 1, 1));
    assert!(!read(64, 1, KDF_LANES_MAX + 1));
    assert!(!read(u32::MAX, u32::MAX, u32::MAX));
    // What Argon2 cannot do.
    assert!(read(8, 1, 1) && !read(7, 1, 1) && read(32, 1, 4) && !read(31, 1, 4));
    assert!(!read(64, 0, 1) && !read(64, 1, 0) && !read(0, 0, 0));
}

#[test]
fn what_we_write_we_read() {
    let Costs {
        memory_kib,
        passes,
        lanes,
    } = PASSPHRASE_COSTS;
    assert!(read(memory_kib, passes, lanes));
}

#[test]
fn a_key_of_bytes_has_no_costs() {
    let mut sealed = seal(b"", "test", &key()).unwrap();
    sealed[COSTS_AT + 3] = 8;
    assert!(matches!(
        open(&sealed, "test", &key()),
        Err(OpenError::Costs { memory_kib: 8, .. })
    ));
}

#[test]
fn a_purpose_of_purpose_bytes_max_fits_and_one_byte_more_does_not() {
    let longest = "p".repeat(PURPOSE_BYTES_MAX);
    let sealed = seal(b"x", &longest, &key()).unwrap();
    assert_eq!(open(&sealed, &longest, &key()).unwrap(), b"x");
    let longer = "p".repeat(PURPOSE_BYTES_MAX + 1);
    assert_eq!(seal(b"x", &longer, &key()), Err(OpenError::LongPurpose));
    let mut sealed = sealed;
    let at = COSTS_AT + 12 + 16 + 12;
    assert_eq!(usize::from(sealed[at]), PURPOSE_BYTES_MAX);
    sealed[at] += 1;
    assert_eq!(open(&sealed, &longer, &key()), Err(OpenError::NotSealed));
}

#[test]
fn a_key_is_not_shown() {
    assert_eq!(format!("{:?}", key()), "SealKey(bytes)");
    assert_eq!(format!("{:?}", passphrase()), "SealKey(passphrase)");
}
