//! A store in etcd, for several servers: each reads and writes, none is elected.
//!
//! It speaks etcd's JSON gateway, which every etcd since 3.4 has. How bytes look there is `wire`'s, who is asked
//! `client`'s, values too large for one request are `blob`'s.

mod blob;
mod client;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value as Json, json};

use crate::entry::{Entry, Page, Revision, Value};
use crate::error::{Error, Outcome};
use crate::key::{Key, Prefix};
use crate::lease::{LeaseId, seconds};
use crate::limits::{INLINE_BYTES_MAX, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::txn::{Condition, Txn, Write};
use crate::{Pending, Store, Watch};
use client::{Client, Endpoint, Failed, FailedKind, Repeat};
use wire::{Root, Stored};

/// Which etcd, and how to speak to it.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    endpoints: Vec<String>,
    root: Option<Prefix>,
    tls: Option<Tls>,
}

#[derive(Clone, Default)]
struct Tls {
    roots: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl EtcdOptions {
    /// The endpoints of one cluster, `http://host:port` or `https://host:port`.
    #[must_use]
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Where in etcd the store lies; `adit/` by default.
    #[must_use]
    pub fn with_root(mut self, root: Prefix) -> Self {
        self.root = Some(root);
        self
    }

    /// The authorities that may have signed etcd's certificates, as PEM.
    #[must_use]
    pub fn with_roots(mut self, pem: Vec<u8>) -> Self {
        self.tls.get_or_insert_default().roots = pem;
        self
    }

    /// Our certificate and its key, as PEM, for an etcd that wants one.
    #[must_use]
    pub fn with_identity(mut self, certificate: Vec<u8>, key: Vec<u8>) -> Self {
        self.tls.get_or_insert_default().identity = Some((certificate, key));
        self
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// What is wrong with [`EtcdOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptionsError(String);

impl fmt::Display for EtcdOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EtcdOptionsError {}

/// A store that several servers share. Works within a tokio runtime.
#[derive(Clone, Debug)]
pub struct Etcd {
    client: Arc<Client>,
    root: Root,
    /// When what others left behind was last looked for.
    collected: Arc<Mutex<Option<Instant>>>,
}

impl Etcd {
    /// Reads the options; nothing is dialled yet.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: &EtcdOptions) -> Result<Self, EtcdOptionsError> {
        let wrong = |why: String| EtcdOptionsError(why);
        let endpoints = options.endpoints.iter().map(|text| Endpoint::parse(text));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>().map_err(wrong)?;
        if endpoints.is_empty() {
            return Err(wrong("etcd: no endpoint is given".to_owned()));
        }
        let wants_tls = endpoints.iter().any(Endpoint::has_tls);
        let tls = match (&options.tls, wants_tls) {
            (Some(tls), true) => Some(Arc::new(tls_settings(tls).map_err(wrong)?)),
            (None, true) => {
                return Err(wrong(
                    "etcd: https needs the authorities of its certificates".to_owned(),
                ));
            }
            (_, false) => None,
        };
        let root = options.root.as_ref().map_or("adit/", Prefix::as_str);
        Ok(Self {
            client: Arc::new(Client::new(endpoints, tls)),
            root: Root::new(root),
            collected: Arc::default(),
        })
    }

    async fn range(&self, body: Json) -> Result<Json, Error> {
        let answer = self.client.call(RANGE, &body, Repeat::Harmless).await;
        answer.map_err(|failed| explain(failed, None))
    }

    async fn read(&self, key: &Key) -> Result<Option<Entry>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let answer = self
                .range(json!({"key": wire::base64(self.root.key(key))}))
                .await?;
            let Some(row) = wire::rows(&answer, "kvs").first() else {
                return Ok(None);
            };
            match self.entry(row).await? {
                Found::Entry(entry) => return Ok(Some(entry)),
                Found::Replaced => {}
            }
        }
        Err(self.unsteady())
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        entries_max: usize,
    ) -> Result<Page, Error> {
        'again: for _ in 0..ATTEMPTS_MAX {
            let (mut from, to) = self.root.range(prefix);
            if let Some(after) = after {
                // The smallest text behind it.
                from = from.max(format!("{}\0", self.root.key(after)));
            }
            let wanted = entries_max.min(PAGE_ENTRIES_MAX);
            let body = if from < to {
                // For etcd no limit is 0.
                json!({
                    "key": wire::base64(&from),
                    "range_end": wire::base64(&to),
                    "limit": wanted.max(1).to_string(),
                })
            } else {
                json!({"key": wire::base64(&from)})
            };
            let answer = self.range(body).await?;
            let rows = wire::rows(&answer, "kvs");
            let revision = wire::header_revision(&answer).ok_or_else(|| self.strange(&answer))?;
            let mut page = Page {
                revision,
                entries: Vec::new(),
                more: answer.get("more").and_then(Json::as_bool) == Some(true),
            };
            let mut bytes = 0_usize;
            for row in rows {
                bytes = bytes.saturating_add(self.value_bytes(row)?);
                let full = page.entries.len() >= wanted
                    || (bytes > PAGE_BYTES_MAX && !page.entries.is_empty());
                if full {
                    page.more = true;
                    break;
                }
                match self.entry(row).await? {
                    Found::Entry(entry) => page.entries.push(entry),
                    // A page is of one revision, so all of it is read anew.
                    Found::Replaced => continue 'again,
                }
            }
            return Ok(page);
        }
        Err(self.unsteady())
    }

    fn value_bytes(&self, row: &Json) -> Result<usize, Error> {
        let value = wire::bytes(row, "value").ok_or_else(|| self.strange(row))?;
        Ok(match wire::read(&value) {
            Some((_, Stored::InPieces { bytes, .. })) => bytes,
            Some((_, Stored::Whole(value))) => value.len(),
            None => 0,
        })
    }

    /// The entry of a row, with its pieces where it has some.
    async fn entry(&self, row: &Json) -> Result<Found, Error> {
        let strange = || self.strange(row);
        let name = wire::bytes(row, "key").ok_or_else(strange)?;
        let key = self.root.strip(&name).ok_or_else(|| {
            self.corrupt(format!(
                "{} is no key of ours",
                String::from_utf8_lossy(&name)
            ))
        })?;
        let revision = wire::number(row, "mod_revision").ok_or_else(strange)?;
        let revision = Revision::new(revision);
        let stored = wire::bytes(row, "value").ok_or_else(strange)?;
        let (sum, stored) = wire::read(&stored)
            .ok_or_else(|| self.corrupt(format!("entry `{key}` is of a form not known")))?;
        let value = match stored {
            Stored::Whole(value) => Value::from(value.to_vec()),
            Stored::InPieces { blob, bytes } => {
                match blob::fetch(self, &key, revision, &blob, bytes).await? {
                    Some(value) => Value::from(value),
                    None => return Ok(Found::Replaced),
                }
            }
        };
        if wire::sum(&key, value.as_bytes()) != sum {
            return Err(self.corrupt(format!("entry `{key}` does not match its hash")));
        }
        Ok(Found::Entry(Entry {
            key,
            value,
            revision,
        }))
    }

    async fn write(&self, txn: &Txn) -> Result<Revision, Error> {
        txn.check()?;
        let mut upload = blob::Upload::new(self);
        let done = self.attempt(txn, &mut upload).await;
        if upload.is_used() {
            let may_be_named = matches!(
                done,
                Ok(_)
                    | Err(Error::Unavailable {
                        outcome: Outcome::Unknown,
                        ..
                    })
            );
            upload.finish(may_be_named).await;
            // What others left behind. Whatever is not collected now is the next time.
            let _ = blob::collect_when_due(self).await;
        }
        done
    }

    async fn attempt(&self, txn: &Txn, upload: &mut blob::Upload<'_>) -> Result<Revision, Error> {
        let mut compare = Vec::new();
        let mut failure = Vec::new();
        for (key, condition) in txn.conditions() {
            let name = wire::base64(self.root.key(key));
            compare.push(match condition {
                Condition::Absent => {
                    json!({"key": name, "target": "CREATE", "result": "EQUAL", "create_revision": "0"})
                }
                Condition::At(revision) => {
                    // Absent keys have revision 0 in etcd; this one no key ever has.
                    let revision = match revision.get() {
                        0 => i64::MAX.unsigned_abs(),
                        number => number,
                    };
                    json!({"key": name, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string()})
                }
            });
            failure.push(json!({"request_range": {"key": name, "keys_only": true}}));
        }
        let is_large = |(_, write): (&Key, &Write)| matches!(write, Write::Put { value, .. } if value.len() > INLINE_BYTES_MAX);
        if !compare.is_empty() && txn.writes().any(is_large) {
            // A stale commit is told before its large values are sent.
            let body = json!({"compare": compare, "failure": failure});
            let answer = self.client.call(TXN, &body, Repeat::Harmless).await;
            self.judge(txn, &answer.map_err(|failed| explain(failed, None))?)?;
        }
        let mut success = Vec::new();
        for (key, write) in txn.writes() {
            let name = wire::base64(self.root.key(key));
            let operation = match write {
                Write::Delete => json!({"request_delete_range": {"key": name, "prev_kv": true}}),
                Write::Put { value, lease } => {
                    let stored = if value.len() <= INLINE_BYTES_MAX {
                        wire::write_whole(key, value.as_bytes())
                    } else {
                        let blob = upload.put(value.as_bytes()).await?;
                        let mark = wire::base64(self.root.mark(&blob));
                        // It lives only while its mark does: the lease of the upload holds it until now.
                        compare.push(
                            json!({"key": mark, "target": "CREATE", "result": "GREATER", "create_revision": "0"}),
                        );
                        success.push(
                            json!({"request_put": {"key": mark, "value": wire::base64(key.as_str())}}),
                        );
                        wire::write_in_pieces(key, value.as_bytes(), &blob)
                    };
                    let lease = lease.map_or(0, LeaseId::get).to_string();
                    json!({"request_put": {
                        "key": name, "value": wire::base64(stored), "lease": lease, "prev_kv": true,
                    }})
                }
            };
            success.push(operation);
        }
        let body = json!({"compare": compare, "success": success, "failure": failure});
        let answer = match self.client.call(TXN, &body, Repeat::Never).await {
            Ok(answer) => answer,
            Err(failed) if failed.kind == FailedKind::NotFound => {
                return Err(self.lost_lease(txn, failed).await);
            }
            Err(failed) => return Err(explain(failed, None)),
        };
        self.judge(txn, &answer)?;
        let revision = wire::header_revision(&answer).ok_or_else(|| self.strange(&answer))?;
        for blob in blob::replaced(&answer) {
            // No commit can name it any more. If this fails it is left behind, and collected some time.
            let _ = blob::remove(self, &blob).await;
        }
        Ok(revision)
    }

    /// Whether the conditions held.
    fn judge(&self, txn: &Txn, answer: &Json) -> Result<(), Error> {
        if answer.get("succeeded").and_then(Json::as_bool) == Some(true) {
            Ok(())
        } else {
            Err(self.conflict(txn, answer))
        }
    }

    /// The key whose condition did not hold, from the answer's reads.
    fn conflict(&self, txn: &Txn, answer: &Json) -> Error {
        let responses = wire::rows(answer, "responses");
        for ((key, condition), response) in txn.conditions().zip(responses) {
            let row = response
                .get("response_range")
                .and_then(|range| wire::rows(range, "kvs").first());
            let found = row.and_then(|row| wire::number(row, "mod_revision"));
            let found = found.map(Revision::new);
            if !condition.holds(found) {
                let key = key.clone();
                return Error::Conflict { key, found };
            }
        }
        Error::Unavailable {
            place: self.client.place(),
            why: "writing a large value took too long".to_owned(),
            outcome: Outcome::NotDone,
        }
    }

    /// Which of the leases of `txn` has ended.
    async fn lost_lease(&self, txn: &Txn, failed: Failed) -> Error {
        let mut leases: Vec<LeaseId> = txn
            .writes()
            .filter_map(|(_, write)| match write {
                Write::Put { lease, .. } => *lease,
                Write::Delete => None,
            })
            .collect();
        leases.sort_unstable();
        leases.dedup();
        for lease in leases {
            match self.ttl(lease).await {
                Ok(true) => {}
                Ok(false) => return Error::LeaseLost { lease },
                Err(error) => return error,
            }
        }
        explain(failed, None)
    }

    async fn ttl(&self, lease: LeaseId) -> Result<bool, Error> {
        let body = json!({"ID": lease.get().to_string()});
        let answer = self
            .client
            .call(TIME_TO_LIVE, &body, Repeat::Harmless)
            .await;
        let answer = answer.map_err(|failed| explain(failed, Some(lease)))?;
        // -1 for a lease that is not there, and no number of ours.
        Ok(wire::number(&answer, "TTL").is_some_and(|ttl| ttl > 0))
    }

    async fn grant_seconds(&self, seconds: u64) -> Result<LeaseId, Error> {
        let body = json!({"TTL": seconds.to_string()});
        // Twice is one lease too many, which ends by itself.
        let answer = self.client.call(GRANT, &body, Repeat::Harmless).await;
        let answer = answer.map_err(|failed| explain(failed, None))?;
        match wire::number(&answer, "ID") {
            Some(lease) if lease > 0 => Ok(LeaseId::new(lease)),
            Some(_) | None => Err(self.strange(&answer)),
        }
    }

    async fn prolong(&self, lease: LeaseId) -> Result<(), Error> {
        let body = json!({"ID": lease.get().to_string()});
        let answer = self.client.call(KEEP_ALIVE, &body, Repeat::Harmless).await;
        let answer = answer.map_err(|failed| explain(failed, Some(lease)))?;
        let result = answer.get("result").ok_or_else(|| self.strange(&answer))?;
        match wire::number(result, "TTL") {
            Some(ttl) if ttl > 0 => Ok(()),
            Some(_) | None => Err(Error::LeaseLost { lease }),
        }
    }

    async fn end(&self, lease: LeaseId) -> Result<(), Error> {
        let body = json!({"ID": lease.get().to_string()});
        match self.client.call(REVOKE, &body, Repeat::Harmless).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.kind == FailedKind::NotFound => Ok(()),
            Err(failed) => Err(explain(failed, None)),
        }
    }

    fn corrupt(&self, why: String) -> Error {
        Error::Corrupt {
            place: self.client.place(),
            why,
        }
    }

    fn strange(&self, answer: &Json) -> Error {
        // Names of fields only: values may be secrets.
        let fields: Vec<&String> = answer
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
            .collect();
        self.corrupt(format!("answers in a form not known, with {fields:?}"))
    }

    fn unsteady(&self) -> Error {
        Error::Unavailable {
            place: self.client.place(),
            why: "the value is replaced faster than it can be read".to_owned(),
            outcome: Outcome::NotDone,
        }
    }
}

/// What reading a row comes to.
enum Found {
    Entry(Entry),
    /// Its pieces are gone, because there is a newer value.
    Replaced,
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>> {
        Box::pin(self.read(key))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page> {
        Box::pin(self.page(prefix, after, entries_max))
    }

    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision> {
        Box::pin(self.write(txn))
    }

    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>> {
        let watch = watch::Following::new(self.clone(), prefix.clone(), after);
        Box::pin(async move {
            let watch: Box<dyn Watch> = Box::new(watch);
            Ok(watch)
        })
    }

    fn grant(&self, ttl: Duration) -> Pending<'_, LeaseId> {
        Box::pin(async move { self.grant_seconds(seconds(ttl)?).await })
    }

    fn keep_alive(&self, lease: LeaseId) -> Pending<'_, ()> {
        Box::pin(self.prolong(lease))
    }

    fn revoke(&self, lease: LeaseId) -> Pending<'_, ()> {
        Box::pin(self.end(lease))
    }
}

fn explain(failed: Failed, lease: Option<LeaseId>) -> Error {
    let Failed { place, why, kind } = failed;
    let place = format!("etcd {place}");
    let outcome = match kind {
        FailedKind::Full => return Error::Full { place, why },
        FailedKind::NotFound => match lease {
            Some(lease) => return Error::LeaseLost { lease },
            None => Outcome::NotDone,
        },
        FailedKind::NotDone | FailedKind::Compacted => Outcome::NotDone,
        FailedKind::Unknown => Outcome::Unknown,
    };
    Error::Unavailable {
        place,
        why,
        outcome,
    }
}

fn tls_settings(tls: &Tls) -> Result<rustls::ClientConfig, String> {
    let certificates = |pem: &[u8], what: &str| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            Ok(_) => Err(format!("etcd: {what} holds no certificate")),
            Err(error) => Err(format!("etcd: {what}: {error}")),
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&tls.roots, "file of authorities")? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("etcd: file of authorities: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("etcd: {error}"))?
        .with_root_certificates(roots);
    let Some((chain, key)) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(chain, "our certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        // What it says may hold a line of the key.
        .map_err(|_may_hold_it| "etcd: our key: is not PEM".to_owned())?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("etcd: our certificate: {error}"))
}

const RANGE: &str = "/v3/kv/range";
const TXN: &str = "/v3/kv/txn";
const GRANT: &str = "/v3/lease/grant";
const KEEP_ALIVE: &str = "/v3/lease/keepalive";
const REVOKE: &str = "/v3/lease/revoke";
const TIME_TO_LIVE: &str = "/v3/lease/timetolive";
/// How often a large value is read anew that was replaced meanwhile.
const ATTEMPTS_MAX: usize = 5;
