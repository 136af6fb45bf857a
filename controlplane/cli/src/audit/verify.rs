//! `adit audit verify`: whether all records are there, as they were written.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use adit_audit::limits::LINE_BYTES_MAX;
use adit_audit::{Digest, Flaw, History, PublicKey, Summary};
use anyhow::{Context as _, Result, anyhow, bail};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::files::{self, Lines, Segment};
use super::filter::time_of;
use crate::ending::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A node's audit folder, or segments
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// The node's public key, public.pem of its folder, kept elsewhere; more than one after it was changed
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A record that must be there: `audit.last` of the node's status, noted earlier and kept elsewhere
    #[arg(long, value_name = "SEQUENCE:DIGEST")]
    contains: Vec<Anchor>,
}

/// A record and its line's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchor {
    sequence: u64,
    digest: Digest,
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write SEQUENCE:DIGEST, as `audit.last` of a node's status".to_owned();
        let (sequence, digest) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            sequence: sequence.parse().map_err(|_no_number| wrong())?,
            digest: digest.parse().map_err(|_no_digest| wrong())?,
        })
    }
}

/// What was found.
#[derive(Debug)]
struct Verified {
    segments: usize,
    summary: Summary,
    is_live: bool,
    /// It is a whole folder, and not some of its files.
    is_folder: bool,
    /// The last line is being written.
    is_writing: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let keys = args
        .key
        .iter()
        .map(|path| read_key(path))
        .collect::<Result<Vec<_>>>()?;
    let has_keys = !keys.is_empty();
    let verified = match verify(&args.paths, keys, &args.contains)? {
        Ok(verified) => verified,
        Err(broken) => {
            output.result(
                format_args!("broken: {broken}"),
                &json!({"whole": false, "problem": broken}),
            );
            return Err(Failure::denied());
        }
    };
    let is_proven = verified.is_proven();
    let summary = verified.summary;
    output.result(
        verified.told(has_keys),
        &json!({
            "whole": true,
            "end_proven": is_proven,
            "live": verified.is_live,
            "stopped": summary.is_stopped,
            "segments": verified.segments,
            "records": summary.lines,
            "last": format!("{}:{}", summary.sequence, summary.last),
            "signed_to": summary.signed.map(|signed| signed.sequence),
            "signatures_checked": has_keys,
        }),
    );
    if is_proven {
        Ok(())
    } else {
        Err(Failure::doubt())
    }
}

impl Verified {
    fn is_proven(&self) -> bool {
        !self.is_folder || self.is_live || self.summary.is_stopped
    }

    fn told(&self, has_keys: bool) -> String {
        let summary = &self.summary;
        let mut lines = vec![format!(
            "whole: {} records in {} segments, up to {}:{}",
            summary.lines, self.segments, summary.sequence, summary.last
        )];
        match summary.signed {
            Some(signed) => lines.push(format!(
                "signed up to record {} at {}{}; {} later ones are not",
                signed.sequence,
                time_of(signed.unix_ms),
                if has_keys {
                    ""
                } else {
                    " (signatures not checked: no --key)"
                },
                summary.sequence - signed.sequence,
            )),
            None => lines.push("not signed yet".to_owned()),
        }
        if self.is_writing {
            lines.push("a further line is being written".to_owned());
        }
        if !self.is_proven() {
            lines.push(
                "its end is not proven: no node writes there, and there is no signed record of a stop, so the node was \
                 killed or the end was cut off"
                    .to_owned(),
            );
        }
        lines.join("\n")
    }
}

// What is broken is an answer; what cannot be read is an error.
fn verify(
    paths: &[PathBuf],
    keys: Vec<PublicKey>,
    anchors: &[Anchor],
) -> Result<Result<Verified, String>> {
    let folder = match paths {
        [path] if path.is_dir() => Some(path.as_path()),
        _ => None,
    };
    // Looked at before and after: whoever began to write meanwhile may have gone on with the last line.
    let was_live = folder.is_some_and(files::is_live);
    let segments = match folder {
        Some(folder) => files::segments(folder)?,
        None => named(paths)?,
    };
    let mut walk = Walk {
        history: History::new(keys),
        anchors: anchors.to_vec(),
        segments: 0,
        is_writing: false,
    };
    let count = segments.len();
    for (index, segment) in segments.iter().enumerate() {
        let may_be_torn = was_live && index + 1 == count;
        if let Err(flaw) = walk.read(segment, may_be_torn)? {
            return Ok(Err(format!("{}: {flaw}", segment.path.display())));
        }
    }
    let whole = match folder {
        Some(_) => walk.history.finish(),
        // Some segments of many: that others are missing before them is no news.
        None => Ok(walk.history.summary()),
    };
    let summary = match whole {
        Ok(summary) => summary,
        Err(flaw) => return Ok(Err(flaw.to_string())),
    };
    if let Some(anchor) = walk.anchors.first() {
        return Ok(Err(format!(
            "record {} with the digest {} is not there: the end was cut off, or all was written anew",
            anchor.sequence, anchor.digest
        )));
    }
    Ok(Ok(Verified {
        segments: walk.segments,
        summary,
        is_live: was_live || folder.is_some_and(files::is_live),
        is_folder: folder.is_some(),
        is_writing: walk.is_writing,
    }))
}

struct Walk {
    history: History,
    // Those that were not met yet.
    anchors: Vec<Anchor>,
    segments: usize,
    is_writing: bool,
}

impl Walk {
    fn read(&mut self, segment: &Segment, may_be_torn: bool) -> Result<Result<(), Flaw>> {
        let Some(mut lines) = Lines::open(segment)? else {
            // Removed since the folder was listed; if that was not in order, the next one has no beginning.
            return Ok(Ok(()));
        };
        if let Err(flaw) = self.history.segment(segment.number) {
            return Ok(Err(flaw));
        }
        self.segments += 1;
        while let Some(line) = lines.next()? {
            let is_whole = line.ends_with(b"\n") || line.len() > LINE_BYTES_MAX;
            if may_be_torn && !is_whole {
                self.is_writing = true;
                break;
            }
            if let Err(flaw) = self.history.line(line) {
                return Ok(Err(flaw));
            }
            let summary = self.history.summary();
            self.anchors.retain(|anchor| {
                (anchor.sequence, anchor.digest) != (summary.sequence, summary.last)
            });
        }
        Ok(Ok(()))
    }
}

fn named(paths: &[PathBuf]) -> Result<Vec<Segment>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            bail!("{}: give one folder, or segments only", path.display());
        }
        let segment = files::named(path.clone()).ok_or_else(|| {
            anyhow!(
                "{}: not called like a segment, 0000000001.jsonl",
                path.display()
            )
        })?;
        all.push(segment);
    }
    all.sort_by_key(|segment| segment.number);
    Ok(all)
}

fn read_key(path: &Path) -> Result<PublicKey> {
    let place = || path.display().to_string();
    let der = SubjectPublicKeyInfoDer::from_pem_file(path)
        .map_err(|error| anyhow!("{error}"))
        .with_context(place)?;
    PublicKey::from_spki(&der).with_context(place)
}

#[cfg(test)]
mod tests;
