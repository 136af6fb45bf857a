//! A watch over etcd's: opened again wherever it broke, at the next endpoint if need be.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde_json::{Value as Json, json};

use super::client::{Lines, complaint};
use super::{Etcd, explain, wire};
use crate::entry::{Change, Changes, Kind, Revision};
use crate::error::{Error, Outcome};
use crate::key::{Key, Prefix};
use crate::{Pending, Watch};

/// A watch, and how far it has come.
pub(super) struct Following {
    etcd: Etcd,
    prefix: Prefix,
    /// All changes up to here are told, or in `told`.
    position: Revision,
    lines: Option<Lines>,
    told: VecDeque<Changes>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following")
            .field("prefix", &self.prefix)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Following {
    pub(super) fn new(etcd: Etcd, prefix: Prefix, after: Revision) -> Self {
        Self {
            etcd,
            prefix,
            position: after,
            lines: None,
            told: VecDeque::new(),
        }
    }

    async fn open(&self) -> Result<Lines, Error> {
        let (from, to) = self.etcd.root.range(&self.prefix);
        let body = json!({"create_request": {
            "key": wire::base64(from),
            "range_end": wire::base64(to),
            "start_revision": self.position.get().saturating_add(1).to_string(),
            "progress_notify": true,
        }});
        let lines = self.etcd.client.stream(WATCH, &body).await;
        lines.map_err(|failed| explain(failed, None))
    }

    /// Takes in one document of the stream.
    fn take(&mut self, document: &Json) -> Result<(), Broken> {
        let Some(result) = document.get("result") else {
            let (why, code) = complaint(document);
            return Err(Broken::Stream(format!("{why} ({code})")));
        };
        let compacted = wire::number(result, "compact_revision").unwrap_or(0);
        if compacted > 0 {
            // Changes after one before it can be told.
            let oldest = Revision::new(compacted.saturating_sub(1));
            return Err(Broken::Watch(Error::Compacted { oldest }));
        }
        if result.get("canceled").and_then(Json::as_bool) == Some(true) {
            let why = result.get("cancel_reason").and_then(Json::as_str);
            return Err(Broken::Stream(why.unwrap_or("canceled").to_owned()));
        }
        // One document may hold several revisions, and holds all of each.
        let mut revisions: BTreeMap<Revision, Vec<Change>> = BTreeMap::new();
        for event in wire::rows(result, "events") {
            let Some((revision, change)) = self.change(event) else {
                return Err(Broken::Watch(self.etcd.strange(event)));
            };
            if revision > self.position {
                revisions.entry(revision).or_default().push(change);
            }
        }
        if wire::rows(result, "events").is_empty()
            && result.get("created").and_then(Json::as_bool) != Some(true)
            && let Some(revision) = wire::header_revision(result)
        {
            // Nothing came up to here (every ten minutes): so a compaction behind it takes nothing from a quiet watch.
            self.position = self.position.max(revision);
        }
        for (revision, mut changes) in revisions {
            changes.sort();
            self.position = revision;
            self.told.push_back(Changes { revision, changes });
        }
        Ok(())
    }

    fn change(&self, event: &Json) -> Option<(Revision, Change)> {
        let kind = match event.get("type").and_then(Json::as_str) {
            None | Some("PUT") => Kind::Put,
            Some("DELETE") => Kind::Deleted,
            Some(_unknown) => return None,
        };
        let row = event.get("kv")?;
        let key: Key = self.etcd.root.strip(&wire::bytes(row, "key")?)?;
        let revision = Revision::new(wire::number(row, "mod_revision")?);
        Some((revision, Change { key, kind }))
    }
}

/// Why a document could not be taken in.
enum Broken {
    /// Another stream may do.
    Stream(String),
    /// No other will.
    Watch(Error),
}

impl Watch for Following {
    fn next(&mut self) -> Pending<'_, Changes> {
        Box::pin(async move {
            let mut broken = 0;
            loop {
                if let Some(changes) = self.told.pop_front() {
                    return Ok(changes);
                }
                if self.lines.is_none() {
                    self.lines = Some(self.open().await?);
                }
                let Some(lines) = &mut self.lines else {
                    continue;
                };
                let place = lines.place.clone();
                let trouble = match lines.next().await {
                    Ok(Some(document)) => match self.take(&document) {
                        Ok(()) => continue,
                        Err(Broken::Watch(error)) => {
                            self.lines = None;
                            return Err(error);
                        }
                        Err(Broken::Stream(why)) => why,
                    },
                    Ok(None) => "the watch ended".to_owned(),
                    Err(why) => why,
                };
                self.lines = None;
                broken += 1;
                if broken > BROKEN_MAX {
                    return Err(Error::Unavailable {
                        place: format!("etcd {place}"),
                        why: trouble,
                        outcome: Outcome::NotDone,
                    });
                }
            }
        })
    }
}

const WATCH: &str = "/v3/watch";
/// Streams that may break one after the other before the caller is told.
const BROKEN_MAX: usize = 3;
