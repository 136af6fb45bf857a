//! What `[audit]` of a configuration file may say, with defaults.

use std::path::PathBuf;
use std::time::Duration;

use adit_audit::Level;
use adit_runtime::settings::Section;

/// How records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "tests write it out")]
pub struct Settings {
    /// Which decisions are recorded.
    pub level: Level,
    /// Where segments and the node's key are.
    pub folder: PathBuf,
    /// A segment that has reached this size is closed.
    pub segment_bytes: u64,
    /// A segment that has reached this age is closed.
    pub segment_age: Duration,
    /// Above this size of all segments the oldest is removed.
    pub keep_bytes: u64,
    /// A segment that was closed this long ago is removed.
    pub keep_age: Duration,
    /// Records that wait in memory to be written, in bytes; further ones are lost.
    pub spool_bytes: u64,
    /// What becomes of requests while nothing can be written.
    pub when_unwritable: WhenUnwritable,
}

/// What becomes of requests while nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: go on or do not")]
pub enum WhenUnwritable {
    /// They are served, and records wait in memory as long as there is room.
    Spool,
    /// What would have to be recorded is refused.
    Refuse,
}

impl Settings {
    /// Reads the section; the folder is `folder` unless it says otherwise.
    #[must_use]
    pub fn read(section: &Section<'_>, folder: PathBuf) -> Self {
        let level = match section.choice("level", &["off", "denied", "all"], "denied") {
            "off" => Level::Off,
            "all" => Level::All,
            _ => Level::Denied,
        };
        let when = section.choice("when_unwritable", &["spool", "refuse"], "spool");
        let settings = Self {
            level,
            folder: section.path_opt("folder").unwrap_or(folder),
            segment_bytes: section.bytes("segment_bytes", 64 * MIB, MIB / 16..=4096 * MIB),
            segment_age: section.duration("segment_age", DAY, MINUTE..=DAY * 366),
            keep_bytes: section.bytes("keep_bytes", 2048 * MIB, MIB / 8..=1024 * 1024 * MIB),
            keep_age: section.duration("keep_age", DAY * 90, MINUTE..=DAY * 36_600),
            spool_bytes: section.bytes("spool_bytes", 16 * MIB, MIB / 16..=1024 * MIB),
            when_unwritable: if when == "refuse" {
                WhenUnwritable::Refuse
            } else {
                WhenUnwritable::Spool
            },
        };
        if settings.keep_bytes / 2 < settings.segment_bytes {
            section.problem(
                "keep_bytes",
                "is less than two segments; raise it or lower segment_bytes",
            );
        }
        settings
    }
}

const MIB: u64 = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use adit_runtime::settings::Document;

    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let document =
            Document::parse("a.toml", PathBuf::from("/etc/adit"), text.to_owned()).unwrap();
        let settings = Settings::read(
            &document.root().section("audit"),
            PathBuf::from("/var/state/audit"),
        );
        document
            .finish()
            .map(|()| settings)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn without_a_word_denials_are_kept_for_ninety_days() {
        let settings = read("").unwrap();
        assert_eq!(settings.level, Level::Denied);
        assert_eq!(settings.folder, PathBuf::from("/var/state/audit"));
        assert_eq!(settings.keep_age, Duration::from_secs(90 * 86_400));
        assert_eq!(settings.when_unwritable, WhenUnwritable::Spool);
    }

    #[test]
    fn each_key_is_read() {
        let settings = read(
            "[audit]\nlevel = \"all\"\nfolder = \"/var/a\"\nsegment_bytes = \"1MiB\"\nsegment_age = \"1h\"\n\
             keep_bytes = \"2MiB\"\nkeep_age = \"7d\"\nspool_bytes = \"64KiB\"\nwhen_unwritable = \"refuse\"\n",
        )
        .unwrap();
        assert_eq!(
            settings,
            Settings {
                level: Level::All,
                folder: PathBuf::from("/var/a"),
                segment_bytes: MIB,
                segment_age: Duration::from_secs(3600),
                keep_bytes: 2 * MIB,
                keep_age: DAY * 7,
                spool_bytes: 65_536,
                when_unwritable: WhenUnwritable::Refuse,
            }
        );
        assert_eq!(
            read("[audit]\nlevel = \"off\"\n").unwrap().level,
            Level::Off
        );
    }

    #[test]
    fn less_than_two_segments_are_not_kept() {
        let why =
            read("[audit]\nsegment_bytes = \"1MiB\"\nkeep_bytes = \"1536KiB\"\n").unwrap_err();
        assert!(why.contains("less than two segments"), "{why}");
    }
}
