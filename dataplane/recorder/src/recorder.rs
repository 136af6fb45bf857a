//! The recorder of a node: its queue, and the thread that writes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use adit_audit::{Level, Record, Sink, Traffic, Unrecorded, Wanted};
use parking_lot::Mutex;
use serde_json::json;

use crate::folder::Folder;
use crate::key;
use crate::lanes::Lanes;
use crate::limits::{BATCH_EVERY, READ_BYTES_MAX};
use crate::metrics::FAMILIES;
use crate::node::unix_ms;
use crate::reading;
use crate::settings::{Settings, WhenUnwritable};
use crate::writer::{Facts, Keeping, Writer};

/// Keeps the records of a node.
pub struct Recorder {
    settings: Settings,
    key: String,
    lanes: Arc<Lanes>,
    facts: Arc<Mutex<Facts>>,
    is_ending: Arc<AtomicBool>,
    // Held while records are read for somebody: one at a time.
    reading: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whose records they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who starts it fills in all of it"
)]
pub struct Who {
    /// The node's name, as in its certificate.
    pub node: String,
    /// Name and version of its program.
    pub software: String,
}

/// Why records cannot be kept.
#[derive(Debug)]
pub struct StartError(pub(crate) String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Recorder {
    /// Claims the folder, reads or makes the key, finds where the chain ended and starts the thread. `threads` is how
    /// many will hand records in. That nothing can be written is no error: it may become possible.
    ///
    /// # Errors
    /// When the folder is another's, or what is in it cannot be read.
    pub fn start(settings: Settings, who: &Who, threads: usize) -> Result<Arc<Self>, StartError> {
        adit_runtime::metrics::describe(FAMILIES);
        let folder = Folder::claim(&settings.folder).map_err(StartError)?;
        let key = key::open(&folder).map_err(StartError)?;
        let key_id = key.public().id().to_string();
        let lanes = Arc::new(Lanes::new(threads, settings.spool_bytes));
        let failed = |error: std::io::Error| {
            StartError(format!(
                "audit.folder {}: {error}",
                settings.folder.display()
            ))
        };
        let mut writer = Writer::open(
            folder,
            Keeping::of(&settings),
            key,
            Arc::clone(&lanes),
            who,
            unix_ms(),
        )
        .map_err(failed)?;
        let facts = writer.facts();
        let is_ending = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_ending);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                while !asked.load(Ordering::Acquire) {
                    writer.tick(unix_ms());
                    std::thread::park_timeout(BATCH_EVERY);
                }
                let left = writer.finish(unix_ms());
                if left > 0 {
                    tracing::error!(
                        bytes = left,
                        "audit records are lost: they could not be written before the end"
                    );
                }
            })
            .map_err(failed)?;
        Ok(Arc::new(Self {
            settings,
            key: key_id,
            lanes,
            facts,
            is_ending,
            reading: Mutex::new(()),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Writes what is queued and the record of the stop, and ends the thread. Called again, it does nothing.
    pub fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        self.is_ending.store(true, Ordering::Release);
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread that writes audit records ended unexpectedly");
        }
    }

    /// The number of the last record that is written and synced; 0 when there is none.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.facts.lock().sequence
    }

    /// What it says of itself in a node's status.
    pub(crate) fn facts(&self) -> serde_json::Value {
        let facts = self.facts.lock().clone();
        json!({
            "level": match self.settings.level {
                Level::Off => "off",
                Level::Denied => "denied",
                Level::All => "all",
            },
            "folder": self.settings.folder.display().to_string(),
            "key": self.key,
            "segment": facts.segment,
            // What `adit audit verify --contains` takes.
            "last": facts.digest.map(|digest| format!("{}:{digest}", facts.sequence)),
            "kept_bytes": facts.kept_bytes,
            "queued_bytes": self.lanes.queued(),
            "lost": self.lanes.lost(),
            "unwritable": facts.trouble,
        })
    }

    fn refuses(&self) -> bool {
        self.settings.when_unwritable == WhenUnwritable::Refuse
    }
}

impl Sink for Recorder {
    fn level(&self) -> Level {
        self.settings.level
    }

    fn record(&self, record: &Record<'_>) -> Result<(), Unrecorded> {
        if self.lanes.put(record) || !self.refuses() {
            Ok(())
        } else {
            Err(Unrecorded)
        }
    }

    fn is_closed(&self) -> bool {
        // A write that hangs is no error, and a disk that is too slow makes none: the room tells.
        self.refuses() && (self.lanes.is_stuck() || self.lanes.is_filling())
    }

    fn traffic(&self, wanted: &Wanted) -> Result<Traffic, String> {
        let _one_at_a_time = self
            .reading
            .try_lock()
            .ok_or("the records are being read for somebody else; ask again")?;
        reading::part(
            &self.settings.folder,
            self.settings.level,
            wanted,
            READ_BYTES_MAX,
        )
        .map_err(|error| format!("the records cannot be read: {error}"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use adit_audit::{Gap, History, Summary, segment};

    use super::*;

    fn start(folder: &Path, when_unwritable: WhenUnwritable, spool_bytes: u64) -> Arc<Recorder> {
        let settings = Settings {
            level: Level::All,
            folder: folder.to_owned(),
            segment_bytes: 1 << 20,
            segment_age: Duration::from_secs(3600),
            keep_bytes: 1 << 30,
            keep_age: Duration::from_secs(3600),
            spool_bytes,
            when_unwritable,
        };
        let who = Who {
            node: "agent-1".to_owned(),
            software: "aditd".to_owned(),
        };
        Recorder::start(settings, &who, 3).unwrap()
    }

    fn gap(unix_ms: u64) -> Record<'static> {
        Record::Gap(Gap {
            unix_ms,
            since_unix_ms: 0,
            lost: 0,
        })
    }

    fn read(folder: &Path) -> Summary {
        let mut history = History::new(Vec::new());
        history.segment(1).unwrap();
        let text = std::fs::read(folder.join(segment::file_name(1))).unwrap();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            history.line(line).unwrap();
        }
        history.finish().unwrap()
    }

    #[test]
    fn records_of_many_threads_become_one_chain_and_a_stop_loses_none() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = start(dir.path(), WhenUnwritable::Spool, 16 << 20);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for number in 0..1000 {
                        recorder.record(&gap(number)).unwrap();
                    }
                });
            }
        });
        recorder.stop();
        recorder.stop();
        let summary = read(dir.path());
        // A start, a stop and at least one checkpoint beside them.
        assert!(summary.lines >= 6003, "{summary:?}");
        assert!(summary.is_stopped);
        assert!(Recorder::start(recorder.settings.clone(), &who(), 1).is_ok());
    }

    fn who() -> Who {
        Who {
            node: "agent-1".to_owned(),
            software: "aditd".to_owned(),
        }
    }

    #[test]
    fn a_record_is_on_disk_soon_after_it_was_handed_in_and_the_facts_tell() {
        assert_eq!(BATCH_EVERY, Duration::from_millis(100));
        let dir = tempfile::tempdir().unwrap();
        let recorder = start(dir.path(), WhenUnwritable::Spool, 16 << 20);
        recorder.record(&gap(1)).unwrap();
        let began = Instant::now();
        let is_written = || {
            recorder.facts()["last"]
                .as_str()
                .is_some_and(|last| last.starts_with("2:"))
        };
        while !is_written() {
            assert!(began.elapsed() < BATCH_EVERY * 100);
            std::thread::yield_now();
        }
        assert_eq!(read(dir.path()).lines, 2);
        let facts = recorder.facts();
        assert_eq!(
            (&facts["level"], &facts["queued_bytes"]),
            (&json!("all"), &json!(0))
        );
        assert_eq!(facts["unwritable"], json!(null));
    }

    #[test]
    fn records_are_read_for_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = start(dir.path(), WhenUnwritable::Spool, 16 << 20);
        let wanted = Wanted {
            subaccount: "acme".to_owned(),
            since_unix_ms: 0,
            after: None,
        };
        let reading = recorder.reading.lock();
        let refused = recorder.traffic(&wanted).unwrap_err();
        assert!(refused.contains("ask again"), "{refused}");
        drop(reading);
        assert_eq!(recorder.traffic(&wanted).unwrap().level, Level::All);
    }

    #[test]
    fn what_does_not_fit_is_lost_or_refused_as_was_asked() {
        for (when, is_refused) in [
            (WhenUnwritable::Spool, false),
            (WhenUnwritable::Refuse, true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            // The record of the start alone fills it until it is written.
            let recorder = start(dir.path(), when, 1);
            assert_eq!(recorder.record(&gap(1)).is_err(), is_refused);
            assert_eq!(recorder.lanes.lost(), 1);
            assert_eq!(recorder.facts()["lost"], json!(1));
            while recorder.written() == 0 {
                std::thread::yield_now();
            }
            assert!(!recorder.is_closed(), "writing works");
            recorder.lanes.take_room(1);
            assert_eq!(recorder.is_closed(), is_refused, "it is too slow");
            recorder.lanes.written(1);
            assert!(!recorder.is_closed());
            recorder.lanes.set_stuck(true);
            assert_eq!(recorder.is_closed(), is_refused);
        }
    }
}
