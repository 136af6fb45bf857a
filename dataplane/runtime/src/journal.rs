//! The last failures, kept in memory for `/status`: why a dial failed, why a snapshot was refused.
//!
//! A short list for a person who asks "why is it not up", not a log: old entries fall out, repeats are counted. What
//! is worth an entry, and what may be said in it, is decided by who records.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// Entries kept of each kind. Default 64: more than a screen shows. Worst-case memory: kinds x `ENTRIES_MAX` x
/// (`MESSAGE_BYTES_MAX` + 64 bytes), so 36 KiB a kind.
pub const ENTRIES_MAX: usize = 64;

/// Bytes kept of a message; what is longer is cut. Default 512: a sentence with two addresses and a cause.
pub const MESSAGE_BYTES_MAX: usize = 512;

/// What failed lately, by kind. Share it in an `Arc`; any thread may record.
#[derive(Debug, Default)]
pub struct Journal {
    book: Mutex<Book>,
}

impl Journal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down that `kind` failed now. The same message again counts up the entry there is, and makes it newest.
    ///
    /// Kinds are words of the code (`dial`, `snapshot`), so there are few. Cost: compares `message` with at most
    /// [`ENTRIES_MAX`] others under a lock; not for the byte path.
    pub fn record(&self, kind: &'static str, message: &str, unix_now: u64) {
        let message = clipped(message);
        let mut book = self.book.lock();
        book.sequence += 1;
        let sequence = book.sequence;
        let entries = book.kinds.entry(kind).or_default();
        let known = entries.iter().position(|entry| entry.message == message);
        let entry = match known.and_then(|index| entries.remove(index)) {
            Some(mut entry) => {
                entry.count = entry.count.saturating_add(1);
                entry.last_unix_s = unix_now;
                entry.sequence = sequence;
                entry
            }
            None => Entry {
                kind,
                message: message.to_owned(),
                count: 1,
                first_unix_s: unix_now,
                last_unix_s: unix_now,
                sequence,
            },
        };
        entries.push_front(entry);
        entries.truncate(ENTRIES_MAX);
    }

    /// All entries of all kinds, newest first.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = {
            let book = self.book.lock();
            book.kinds.values().flatten().cloned().collect()
        };
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.sequence));
        entries
    }

    /// The newest entry of `kind`.
    pub fn latest(&self, kind: &str) -> Option<Entry> {
        self.book.lock().kinds.get(kind)?.front().cloned()
    }
}

/// A list of entries, newest first.
impl Serialize for Journal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries().serialize(serializer)
    }
}

/// One failure and how often it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// What was tried.
    pub kind: &'static str,
    /// Why it failed.
    pub message: String,
    /// How often it failed this way since it entered the journal.
    pub count: u64,
    /// When it first did, in seconds since 1970.
    pub first_unix_s: u64,
    /// When it last did, in seconds since 1970.
    pub last_unix_s: u64,
    #[serde(skip)]
    sequence: u64,
}

#[derive(Debug, Default)]
struct Book {
    kinds: BTreeMap<&'static str, VecDeque<Entry>>,
    sequence: u64,
}

fn clipped(message: &str) -> &str {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failure_comes_first_across_kinds() {
        let journal = Journal::new();
        journal.record("dial", "10.0.0.1:8443: connection refused", 100);
        journal.record("snapshot", "version 3 is older than 4", 100);
        journal.record("dial", "10.0.0.1:8443: timed out", 100);
        let messages: Vec<_> = journal
            .entries()
            .into_iter()
            .map(|entry| entry.message)
            .collect();
        assert_eq!(
            messages,
            [
                "10.0.0.1:8443: timed out",
                "version 3 is older than 4",
                "10.0.0.1:8443: connection refused",
            ]
        );
        assert_eq!(
            journal.latest("snapshot").unwrap().message,
            "version 3 is older than 4"
        );
        assert_eq!(journal.latest("key"), None);
    }

    #[test]
    fn a_repeat_is_counted_and_becomes_the_newest() {
        let journal = Journal::new();
        journal.record("dial", "refused", 100);
        journal.record("dial", "timed out", 110);
        journal.record("dial", "refused", 120);
        let entries = journal.entries();
        assert_eq!(entries.len(), 2);
        let newest = entries.first().unwrap();
        assert_eq!(newest.message, "refused");
        assert_eq!(
            (newest.count, newest.first_unix_s, newest.last_unix_s),
            (2, 100, 120)
        );
    }

    #[test]
    fn the_same_message_of_two_kinds_is_two_entries() {
        let journal = Journal::new();
        journal.record("dial", "refused", 1);
        journal.record("probe", "refused", 2);
        assert_eq!(journal.entries().len(), 2);
    }

    #[test]
    fn the_sixty_fourth_entry_of_a_kind_fits_and_the_next_pushes_out_the_oldest() {
        let journal = Journal::new();
        journal.record("snapshot", "stays", 0);
        for second in 1..=64 {
            journal.record("dial", &format!("failure {second}"), second);
        }
        assert_eq!(journal.entries().len(), 65);
        journal.record("dial", "failure 65", 65);
        let entries = journal.entries();
        assert_eq!(entries.len(), 65);
        assert!(entries.iter().all(|entry| entry.message != "failure 1"));
        assert!(entries.iter().any(|entry| entry.message == "failure 2"));
        assert!(entries.iter().any(|entry| entry.message == "stays"));
    }

    #[test]
    fn a_message_of_512_bytes_is_kept_whole_and_a_longer_one_is_cut_between_characters() {
        let journal = Journal::new();
        let fits = "x".repeat(512);
        journal.record("dial", &fits, 1);
        assert_eq!(journal.latest("dial").unwrap().message, fits);
        // 511 bytes and then a character of two: the character does not fit.
        journal.record("dial", &format!("{}\u{e9}", "y".repeat(511)), 2);
        assert_eq!(journal.latest("dial").unwrap().message, "y".repeat(511));
    }

    #[test]
    fn status_shows_it_as_a_list() {
        let journal = Journal::new();
        journal.record("dial", "refused", 7);
        assert_eq!(
            serde_json::to_value(&journal).unwrap(),
            serde_json::json!([
                {"kind": "dial", "message": "refused", "count": 1, "first_unix_s": 7, "last_unix_s": 7}
            ])
        );
    }

    #[test]
    fn threads_share_it() {
        let journal = Journal::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        journal.record("dial", "refused", 1);
                    }
                });
            }
        });
        assert_eq!(journal.latest("dial").unwrap().count, 1000);
    }
}
