//! How an entry and the changes of a revision are written: versioned, and hashed where they may be large.
//!
//! Whole pages are redb's; the hash finds what changed under it, and an entry that stands under another key.

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::entry::{Change, Kind, Revision, Value};
use crate::key::Key;

/// The bytes of an entry: format, revision, hash, value.
pub(super) fn write(key: &Key, revision: Revision, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + value.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&revision.get().to_be_bytes());
    bytes.extend_from_slice(&hash(key, revision, value.as_bytes()));
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// The revision that put an entry; its value is not looked at.
pub(super) fn revision(bytes: &[u8]) -> Result<Revision, &'static str> {
    split(bytes).map(|(revision, _, _)| revision)
}

/// Revision and value of an entry.
pub(super) fn read(key: &Key, bytes: &[u8]) -> Result<(Revision, Value), &'static str> {
    let (revision, sum, value) = split(bytes)?;
    if hash(key, revision, value) != sum {
        return Err("does not match its hash");
    }
    Ok((revision, Value::from(value.to_vec())))
}

/// Bytes of the value of an entry.
pub(super) fn value_bytes(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(HEAD_BYTES)
}

fn split(bytes: &[u8]) -> Result<(Revision, [u8; SHA256_OUTPUT_LEN], &[u8]), &'static str> {
    let short = "is cut short";
    let (format, rest) = bytes.split_first().ok_or(short)?;
    if *format != FORMAT {
        return Err("is of a form this version does not know");
    }
    let (revision, rest) = rest.split_first_chunk().ok_or(short)?;
    let (sum, value) = rest.split_first_chunk().ok_or(short)?;
    Ok((Revision::new(u64::from_be_bytes(*revision)), *sum, value))
}

fn hash(key: &Key, revision: Revision, value: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(key.as_str().as_bytes());
    // No key holds this byte, so key and value cannot run into one another.
    context.update(&[0]);
    context.update(&revision.get().to_be_bytes());
    context.update(value);
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

/// The bytes of a revision's changes: a sign and a key, each ended by a zero.
pub(super) fn write_changes(changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in changes {
        bytes.push(match change.kind {
            Kind::Put => PUT,
            Kind::Deleted => DELETED,
        });
        bytes.extend_from_slice(change.key.as_str().as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The changes of a revision.
pub(super) fn read_changes(bytes: &[u8]) -> Result<Vec<Change>, &'static str> {
    let damaged = "is no list of changes";
    let whole = bytes.strip_suffix(&[0]).ok_or(damaged)?;
    let rows = whole.split(|byte| *byte == 0);
    rows.map(|row| {
        let (sign, key) = row.split_first().ok_or(damaged)?;
        let kind = match *sign {
            PUT => Kind::Put,
            DELETED => Kind::Deleted,
            _unknown => return Err(damaged),
        };
        let key = std::str::from_utf8(key).map_err(|_not_text| damaged)?;
        let key = Key::new(key).map_err(|_no_key| damaged)?;
        Ok(Change { key, kind })
    })
    .collect()
}

const FORMAT: u8 = 1;
const PUT: u8 = b'+';
const DELETED: u8 = b'-';
const HEAD_BYTES: usize = 1 + 8 + SHA256_OUTPUT_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let bytes = write(&key("a"), Revision::new(7), &Value::from("rules"));
        let read = read(&key("a"), &bytes).unwrap();
        assert_eq!(read, (Revision::new(7), Value::from("rules")));
        assert_eq!(revision(&bytes).unwrap(), Revision::new(7));
        assert_eq!(value_bytes(&bytes), 5);
    }

    #[test]
    fn every_changed_bit_of_an_entry_is_found() {
        let bytes = write(&key("a"), Revision::new(7), &Value::from("rules"));
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(read(&key("a"), &damaged).is_err(), "bit {at}");
        }
        for length in 0..bytes.len() {
            assert!(read(&key("a"), &bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_entry_does_not_pass_for_that_of_another_key() {
        let bytes = write(&key("a"), Revision::new(7), &Value::from("rules"));
        assert!(read(&key("b"), &bytes).is_err());
    }

    #[test]
    fn changes_read_as_they_were_written() {
        let changes = [("a/b", Kind::Put), ("c", Kind::Deleted)].map(|(text, kind)| Change {
            key: key(text),
            kind,
        });
        assert_eq!(read_changes(&write_changes(&changes)).unwrap(), changes);
        for damaged in [&b""[..], b"+a", b"?a\0", b"+\0", b"+a\0\0", b"+\xff\0"] {
            assert!(read_changes(damaged).is_err(), "{damaged:?}");
        }
    }
}
