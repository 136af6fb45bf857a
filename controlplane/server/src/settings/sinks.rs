//! `[acts.syslog]` and `[acts.otlp]`: where who did what is sent to.
//!
//! What their values mean, and what is wrong with them, is the forwarder's.

use std::path::{Path, PathBuf};

use adit_forwarder::{Problem, RawOtlp, RawSyslog, Sink};
use serde::Deserialize;

use super::Problems;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActsPart {
    syslog: Option<RawSyslog>,
    otlp: Option<RawOtlp>,
}

/// Reads the sections that are there; paths are relative to `folder`.
pub(super) fn read(part: ActsPart, folder: &Path, problems: &mut Problems<'_>) -> Vec<Sink> {
    let file = |path: Option<PathBuf>| path.map(|path| folder.join(path));
    let syslog = part.syslog.map(|raw| {
        Sink::syslog(RawSyslog {
            ca_file: file(raw.ca_file),
            certificate_file: file(raw.certificate_file),
            key_file: file(raw.key_file),
            ..raw
        })
    });
    let otlp = part.otlp.map(|raw| {
        Sink::otlp(RawOtlp {
            ca_file: file(raw.ca_file),
            headers_file: file(raw.headers_file),
            ..raw
        })
    });
    let mut sinks = Vec::new();
    for (section, read) in [("acts.syslog", syslog), ("acts.otlp", otlp)] {
        match read {
            None => {}
            Some(Ok(sink)) => sinks.push(sink),
            Some(Err(found)) => {
                for Problem { key, what } in found {
                    problems.add(&format!("{section}.{key}"), &what);
                }
            }
        }
    }
    sinks
}
