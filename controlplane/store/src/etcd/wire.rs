//! How keys, values and answers look in etcd and in its JSON.
//!
//! Below the root are `k/` with a value for each key, `b/` with a mark for each large value, and `c/` with the pieces
//! of large values. A value under `k/` says itself whether it is whole.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde_json::Value as Json;

use crate::entry::Revision;
use crate::key::{Key, Prefix};

/// Where the store lies in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root(String);

impl Root {
    /// `text` ends with a slash.
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn key(&self, key: &Key) -> String {
        format!("{}k/{key}", self.0)
    }

    /// Where the keys below `prefix` begin and end.
    pub(super) fn range(&self, prefix: &Prefix) -> (String, String) {
        let end = prefix.end();
        (
            format!("{}k/{}", self.0, prefix.as_str()),
            end.map_or_else(
                || format!("{}k0", self.0),
                |end| format!("{}k/{end}", self.0),
            ),
        )
    }

    /// The key of something in etcd.
    pub(super) fn strip(&self, bytes: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.strip_prefix(&self.0)?.strip_prefix("k/")?;
        Key::new(text).ok()
    }

    /// The mark of a large value: empty with a lease while it is written, then its key.
    pub(super) fn mark(&self, blob: &BlobId) -> String {
        format!("{}b/{}", self.0, blob.0)
    }

    /// All marks.
    pub(super) fn marks(&self) -> (String, String) {
        (format!("{}b/", self.0), format!("{}b0", self.0))
    }

    pub(super) fn piece(&self, blob: &BlobId, number: usize) -> String {
        format!("{}c/{}/{number:04}", self.0, blob.0)
    }

    /// All pieces of one large value.
    pub(super) fn pieces(&self, blob: &BlobId) -> (String, String) {
        (
            format!("{}c/{}/", self.0, blob.0),
            format!("{}c/{}0", self.0, blob.0),
        )
    }

    /// All pieces of all.
    pub(super) fn all_pieces(&self) -> (String, String) {
        (format!("{}c/", self.0), format!("{}c0", self.0))
    }

    /// The large value that a mark or a piece belongs to.
    pub(super) fn blob(&self, bytes: &[u8]) -> Option<BlobId> {
        let text = std::str::from_utf8(bytes).ok()?.strip_prefix(&self.0)?;
        let text = text
            .strip_prefix("b/")
            .or_else(|| text.strip_prefix("c/"))?;
        BlobId::parse(text.split('/').next()?)
    }
}

/// Names a large value. Drawn, and never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlobId(String);

impl BlobId {
    pub(super) fn new(random: [u8; BLOB_ID_BYTES]) -> Self {
        Self(random.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 2 * BLOB_ID_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Self(text.to_owned()))
    }
}

/// What stands under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Whole(&'a [u8]),
    InPieces { blob: BlobId, bytes: usize },
}

/// Hash of a value under its key.
pub(super) type Sum = [u8; SHA256_OUTPUT_LEN];

pub(super) fn sum(key: &Key, value: &[u8]) -> Sum {
    let mut context = Context::new(&SHA256);
    context.update(key.as_str().as_bytes());
    // No key holds this byte, so key and value cannot run into one another.
    context.update(&[0]);
    context.update(value);
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

pub(super) fn write_whole(key: &Key, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![WHOLE];
    bytes.extend_from_slice(&sum(key, value));
    bytes.extend_from_slice(value);
    bytes
}

pub(super) fn write_in_pieces(key: &Key, value: &[u8], blob: &BlobId) -> Vec<u8> {
    let mut bytes = vec![IN_PIECES];
    bytes.extend_from_slice(&sum(key, value));
    bytes.extend_from_slice(format!("{} {}", blob.0, value.len()).as_bytes());
    bytes
}

/// Takes apart what stands under a key; whether it matches its hash is known when all of it is there.
pub(super) fn read(bytes: &[u8]) -> Option<(Sum, Stored<'_>)> {
    let (form, rest) = bytes.split_first()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let stored = match *form {
        WHOLE => Stored::Whole(rest),
        IN_PIECES => {
            let (blob, length) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
            Stored::InPieces {
                blob: BlobId::parse(blob)?,
                bytes: length.parse().ok()?,
            }
        }
        _unknown => return None,
    };
    Some((*sum, stored))
}

/// Bytes as etcd's JSON has them.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> Json {
    Json::String(STANDARD.encode(bytes))
}

/// The bytes of a field; an absent field is empty.
pub(super) fn bytes(document: &Json, field: &str) -> Option<Vec<u8>> {
    match document.get(field) {
        None => Some(Vec::new()),
        Some(text) => STANDARD.decode(text.as_str()?).ok(),
    }
}

/// The number in a field; etcd writes 64 bits as text and leaves out zeros.
pub(super) fn number(document: &Json, field: &str) -> Option<u64> {
    match document.get(field) {
        None => Some(0),
        Some(Json::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64(),
    }
}

/// The revision of an answer.
pub(super) fn header_revision(answer: &Json) -> Option<Revision> {
    number(answer.get("header")?, "revision").map(Revision::new)
}

/// The entries of an answer.
pub(super) fn rows<'j>(answer: &'j Json, field: &str) -> &'j [Json] {
    let rows = answer.get(field).and_then(Json::as_array);
    rows.map_or(&[], Vec::as_slice)
}

const WHOLE: u8 = 1;
const IN_PIECES: u8 = 2;
/// Enough that no two are ever alike.
pub(super) const BLOB_ID_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn what_is_stored_reads_as_it_was_written() {
        let blob = BlobId::new([0xab; BLOB_ID_BYTES]);
        let whole = write_whole(&key("a"), b"rules");
        let wanted = sum(&key("a"), b"rules");
        assert_eq!(read(&whole), Some((wanted, Stored::Whole(b"rules"))));
        let pieces = write_in_pieces(&key("a"), b"rules", &blob);
        let stored = Stored::InPieces { blob, bytes: 5 };
        assert_eq!(read(&pieces), Some((wanted, stored)));
        assert_ne!(wanted, sum(&key("b"), b"rules"));
        for damaged in [&b""[..], b"\x01short", &[9; 40], &[2; 40]] {
            assert_eq!(read(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn keys_marks_and_pieces_do_not_meet() {
        let root = Root::new("/adit/");
        let blob = BlobId::new([1; BLOB_ID_BYTES]);
        assert_eq!(
            root.strip(root.key(&key("b/x")).as_bytes()),
            Some(key("b/x"))
        );
        assert_eq!(root.strip(root.mark(&blob).as_bytes()), None);
        assert_eq!(root.strip(b"/other/k/a"), None);
        assert_eq!(root.blob(root.mark(&blob).as_bytes()), Some(blob.clone()));
        assert_eq!(
            root.blob(root.piece(&blob, 7).as_bytes()),
            Some(blob.clone())
        );
        assert_eq!(root.blob(root.key(&key("a")).as_bytes()), None);
        let (from, to) = root.pieces(&blob);
        let piece = root.piece(&blob, 64);
        assert!(from < piece && piece < to);
        let (from, to) = root.range(&Prefix::all());
        assert!(from < root.key(&key("~")) && root.key(&key("~")) < to);
    }

    #[test]
    fn numbers_are_text_and_zeros_are_absent() {
        let document = json!({"a": "9007199254740993", "b": 7, "c": "x"});
        assert_eq!(number(&document, "a"), Some(9_007_199_254_740_993));
        assert_eq!(number(&document, "b"), Some(7));
        assert_eq!(number(&document, "c"), None);
        assert_eq!(number(&document, "d"), Some(0));
    }
}
