//! Values that do not fit into one request: written in pieces before the commit that names them.
//!
//! While it is written a large value has a mark with a lease; the commit makes the mark last and writes the key into
//! it. A value whose mark is gone, or whose mark's key names another, can never be named again. Who replaces a large
//! value takes it away; what a writer that died left behind is collected.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value as Json, json};

use super::client::Repeat;
use super::wire::{self, BLOB_ID_BYTES, BlobId, Stored};
use super::{Etcd, explain};
use crate::entry::Revision;
use crate::error::{Error, Outcome};
use crate::key::Key;
use crate::lease::LeaseId;
use crate::limits::{PIECE_BYTES_MAX, VALUE_BYTES_MAX};

/// The large values of one commit, held by one lease until it is made.
pub(super) struct Upload<'e> {
    etcd: &'e Etcd,
    lease: Option<(LeaseId, Instant)>,
    blobs: Vec<BlobId>,
}

impl<'e> Upload<'e> {
    pub(super) fn new(etcd: &'e Etcd) -> Self {
        Self {
            etcd,
            lease: None,
            blobs: Vec::new(),
        }
    }

    /// Whether anything was written.
    pub(super) fn is_used(&self) -> bool {
        self.lease.is_some()
    }

    /// Writes a value in pieces and gives back its name.
    pub(super) async fn put(&mut self, value: &[u8]) -> Result<BlobId, Error> {
        let mut random = [0; BLOB_ID_BYTES];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_unspecified| Error::Unavailable {
                place: "etcd".to_owned(),
                why: "the system has no random bytes".to_owned(),
                outcome: Outcome::NotDone,
            })?;
        let blob = BlobId::new(random);
        let lease = self.lease().await?;
        self.blobs.push(blob.clone());
        let root = &self.etcd.root;
        put(self.etcd, root.mark(&blob), b"", Some(lease)).await?;
        for (number, piece) in value.chunks(PIECE_BYTES_MAX).enumerate() {
            self.lease().await?;
            put(self.etcd, root.piece(&blob, number), piece, None).await?;
        }
        Ok(blob)
    }

    /// The commit was made or was not. Its lease holds marks only that no commit has made last.
    pub(super) async fn finish(&self, may_be_named: bool) {
        if let Some((lease, _)) = self.lease {
            // It ends by itself otherwise.
            let _ = self.etcd.end(lease).await;
        }
        if !may_be_named {
            for blob in &self.blobs {
                // Collected some time otherwise.
                let _ = remove(self.etcd, blob).await;
            }
        }
    }

    async fn lease(&mut self) -> Result<LeaseId, Error> {
        let lease = match self.lease {
            None => self.etcd.grant_seconds(UPLOAD_TTL.as_secs()).await?,
            Some((lease, since)) if since.elapsed() < UPLOAD_TTL / 4 => return Ok(lease),
            Some((lease, _)) => {
                self.etcd.prolong(lease).await?;
                lease
            }
        };
        self.lease = Some((lease, Instant::now()));
        Ok(lease)
    }
}

async fn put(etcd: &Etcd, key: String, value: &[u8], lease: Option<LeaseId>) -> Result<(), Error> {
    let body = json!({
        "key": wire::base64(key),
        "value": wire::base64(value),
        "lease": lease.map_or(0, LeaseId::get).to_string(),
    });
    let answer = etcd.client.call(PUT, &body, Repeat::Harmless).await;
    answer
        .map(drop)
        .map_err(|failed| match explain(failed, lease) {
            // Of the upload, nothing the caller knows.
            Error::LeaseLost { .. } => Error::Unavailable {
                place: etcd.client.place(),
                why: "writing a large value took too long".to_owned(),
                outcome: Outcome::NotDone,
            },
            // Pieces without their commit are nothing.
            Error::Unavailable { place, why, .. } => Error::Unavailable {
                place,
                why,
                outcome: Outcome::NotDone,
            },
            error @ (Error::Conflict { .. }
            | Error::TooLarge { .. }
            | Error::Compacted { .. }
            | Error::Full { .. }
            | Error::Newer { .. }
            | Error::Corrupt { .. }) => error,
        })
}

/// All pieces of a value; `None` when it was replaced meanwhile.
pub(super) async fn fetch(
    etcd: &Etcd,
    key: &Key,
    revision: Revision,
    blob: &BlobId,
    bytes: usize,
) -> Result<Option<Vec<u8>>, Error> {
    if bytes > VALUE_BYTES_MAX {
        return Err(etcd.corrupt(format!("entry `{key}` is said to have {bytes} bytes")));
    }
    let mut value = Vec::with_capacity(bytes);
    for number in 0..bytes.div_ceil(PIECE_BYTES_MAX) {
        let name = wire::base64(etcd.root.piece(blob, number));
        let answer = etcd.range(json!({"key": name})).await?;
        let piece = wire::rows(&answer, "kvs").first();
        let piece = piece.and_then(|row| wire::bytes(row, "value"));
        let Some(piece) = piece else {
            // Collected, if there is a newer value; else it is missing.
            let name = wire::base64(etcd.root.key(key));
            let now = etcd.range(json!({"key": name, "keys_only": true})).await?;
            let row = wire::rows(&now, "kvs").first();
            let now = row.and_then(|row| wire::number(row, "mod_revision"));
            if now == Some(revision.get()) {
                return Err(etcd.corrupt(format!("entry `{key}` lacks piece {number}")));
            }
            return Ok(None);
        };
        value.extend_from_slice(&piece);
        // Said at once: pieces that go on and on are not gathered.
        if value.len() > bytes {
            break;
        }
    }
    if value.len() != bytes {
        return Err(etcd.corrupt(format!("entry `{key}` has pieces of another length")));
    }
    Ok(Some(value))
}

/// The large values that a commit took the place of, from its answer.
pub(super) fn replaced(answer: &Json) -> Vec<BlobId> {
    let mut blobs = Vec::new();
    for response in wire::rows(answer, "responses") {
        let put = response.get("response_put");
        let deleted = response.get("response_delete_range");
        let before = put.and_then(|put| put.get("prev_kv")).into_iter();
        for row in before.chain(deleted.map_or(&[][..], |rows| wire::rows(rows, "prev_kvs"))) {
            if let Some(stored) = wire::bytes(row, "value")
                && let Some((_, Stored::InPieces { blob, .. })) = wire::read(&stored)
            {
                blobs.push(blob);
            }
        }
    }
    blobs
}

/// Takes away a large value that no commit can name any more.
pub(super) async fn remove(etcd: &Etcd, blob: &BlobId) -> Result<(), Error> {
    let (from, to) = etcd.root.pieces(blob);
    // The mark goes last, so that whoever was cut off leaves a mark to begin from.
    for body in [
        json!({"key": wire::base64(from), "range_end": wire::base64(to)}),
        json!({"key": wire::base64(etcd.root.mark(blob))}),
    ] {
        let answer = etcd.client.call(DELETE, &body, Repeat::Harmless).await;
        answer.map_err(|failed| explain(failed, None))?;
    }
    Ok(())
}

/// Collects, if that was not done for a while: it looks at every large value.
pub(super) async fn collect_when_due(etcd: &Etcd) -> Result<(), Error> {
    {
        let mut last = etcd.collected.lock();
        if last.is_some_and(|last| last.elapsed() < COLLECT_EVERY) {
            return Ok(());
        }
        *last = Some(Instant::now());
    }
    collect(etcd).await
}

/// Takes away the pieces that no commit can name any more.
async fn collect(etcd: &Etcd) -> Result<(), Error> {
    let root = &etcd.root;
    let (from, to) = root.all_pieces();
    let answer = rows(etcd, (from, to), None, true).await?;
    // Pieces first: a value whose pieces are seen here had its mark before.
    let revision = wire::header_revision(&answer).ok_or_else(|| etcd.strange(&answer))?;
    let with_pieces = blobs(etcd, &answer);
    let answer = rows(etcd, root.marks(), Some(revision), false).await?;
    let mut needed = BTreeSet::new();
    let mut marked = BTreeSet::new();
    for row in wire::rows(&answer, "kvs") {
        let name = wire::bytes(row, "key").and_then(|name| root.blob(&name));
        let key = wire::bytes(row, "value");
        let (Some(blob), Some(key)) = (name, key) else {
            return Err(etcd.strange(row));
        };
        marked.insert(blob.clone());
        if key.is_empty() || names(etcd, &key, &blob, revision).await? {
            needed.insert(blob);
        }
    }
    for blob in with_pieces.union(&marked) {
        if !needed.contains(blob) {
            remove(etcd, blob).await?;
        }
    }
    Ok(())
}

/// Whether the entry under `key` named `blob` at `revision`.
async fn names(etcd: &Etcd, key: &[u8], blob: &BlobId, revision: Revision) -> Result<bool, Error> {
    let key = std::str::from_utf8(key).ok();
    let Some(key) = key.and_then(|key| Key::new(key).ok()) else {
        return Ok(true);
    };
    let answer = etcd
        .range(json!({
            "key": wire::base64(etcd.root.key(&key)),
            "revision": revision.get().to_string(),
        }))
        .await?;
    let row = wire::rows(&answer, "kvs").first();
    let stored = row.and_then(|row| wire::bytes(row, "value"));
    let Some(stored) = stored else {
        return Ok(false);
    };
    Ok(match wire::read(&stored) {
        Some((_, Stored::InPieces { blob: named, .. })) => named == *blob,
        Some((_, Stored::Whole(_))) => false,
        // Whatever it is, it is not ours to take away.
        None => true,
    })
}

async fn rows(
    etcd: &Etcd,
    (from, to): (String, String),
    revision: Option<Revision>,
    keys_only: bool,
) -> Result<Json, Error> {
    etcd.range(json!({
        "key": wire::base64(from),
        "range_end": wire::base64(to),
        "keys_only": keys_only,
        "revision": revision.map_or(0, Revision::get).to_string(),
    }))
    .await
}

fn blobs(etcd: &Etcd, answer: &Json) -> BTreeSet<BlobId> {
    wire::rows(answer, "kvs")
        .iter()
        .filter_map(|row| etcd.root.blob(&wire::bytes(row, "key")?))
        .collect()
}

const PUT: &str = "/v3/kv/put";
const DELETE: &str = "/v3/kv/deleterange";
/// How long a large value may lie unnamed while its writer gives no sign of life.
const UPLOAD_TTL: Duration = Duration::from_secs(60);
/// How often a server looks for what others left behind: after its first large value, and then so often.
const COLLECT_EVERY: Duration = Duration::from_secs(600);
