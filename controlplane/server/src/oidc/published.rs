//! Keys as the issuer publishes them: fetched in the background, and once more for a key that is not known.
//!
//! An issuer that fails, drips or floods costs one bounded try at a time, and the last good keys go on.

use std::sync::Arc;
use std::time::Duration;

use adit_people::limits::DISCOVERY_BYTES_MAX;
use adit_people::oidc::{Url, document_of, keys_of};
use adit_token::KeySet;
use adit_token::limits::JWKS_BYTES_MAX;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::fetch::{Failed, Fetcher};
use super::keyring::{Keyring, Round};
use crate::limits::{KEY_WAITERS_MAX, KEYS_AGE_MAX, KEYS_FETCH_LIMIT};
use crate::metrics;

/// An issuer, and what it has published.
#[derive(Debug)]
pub(super) struct Published {
    issuer: String,
    document: Url,
    fetcher: Fetcher,
    ring: Mutex<Keyring>,
    /// A fetch is wanted before its time.
    wanted: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    /// Places to wait for one.
    places: Semaphore,
    /// How long a whole fetch may take: [`KEYS_FETCH_LIMIT`] but in tests.
    pub(super) limit: Duration,
}

impl Published {
    /// # Errors
    /// The issuer is no address, or nothing is there to believe it by.
    pub(super) fn new(issuer: &str, roots: Option<&[u8]>) -> Result<Self, String> {
        let document = document_of(issuer).map_err(|error| format!("issuer: {error}"))?;
        Ok(Self {
            fetcher: Fetcher::new(document.is_tls(), roots)?,
            issuer: issuer.to_owned(),
            document,
            ring: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::channel(0).0,
            places: Semaphore::new(KEY_WAITERS_MAX),
            limit: KEYS_FETCH_LIMIT,
        })
    }

    /// The last good keys.
    pub(super) fn now(&self) -> Option<Arc<KeySet>> {
        self.ring.lock().now(Instant::now())
    }

    /// Fetches again and again, until it is dropped: nobody else does, so who goes away in between stops nothing.
    pub(super) async fn keep(&self) {
        loop {
            self.ring.lock().begin();
            self.fetch().await;
            let (ended, pause) = {
                let mut ring = self.ring.lock();
                let pause = if ring.is_wanted() {
                    Duration::ZERO
                } else {
                    // A tenth at random: servers that were started together do not ask together for ever.
                    ring.pause().mul_f64(1.0 - 0.1 * fastrand::f64())
                };
                (ring.end(), pause)
            };
            self.ended.send_replace(ended);
            let _ = timeout(pause, self.wanted.notified()).await;
        }
    }

    /// Keys for somebody whose key is not known; `None` where it is not the time to ask, or nothing came.
    pub(super) async fn newer(&self) -> Option<Arc<KeySet>> {
        let _place = self.places.try_acquire().ok()?;
        let asked = self.ring.lock().ask(Instant::now())?;
        let round = match asked {
            Round::Known(round) => round,
            Round::New(round) => {
                self.wanted.notify_one();
                round
            }
        };
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(|ended| *ended >= round);
        // One that was under way, and then the one that was wanted.
        timeout(self.limit * 3, ended).await.ok()?.ok()?;
        self.now()
    }

    #[cfg(test)]
    pub(super) fn places_left(&self) -> usize {
        self.places.available_permits()
    }

    /// As if nobody had asked for a key yet.
    #[cfg(test)]
    pub(super) fn forget_asking(&self) {
        self.ring.lock().forget_asking();
    }

    /// Asks once.
    async fn fetch(&self) {
        let fetched = timeout(self.limit, self.ask())
            .await
            .unwrap_or(Err(Failed::Slow));
        match fetched {
            Ok(keys) => {
                for warning in keys.warnings() {
                    tracing::debug!(
                        warning,
                        issuer = self.issuer,
                        "a key of the issuer is not used"
                    );
                }
                metrics::issuer_keys_fetched();
                self.ring.lock().fetched(Arc::new(keys), Instant::now());
            }
            Err(why) => {
                metrics::issuer_keys_failed(why.word());
                let has_keys = {
                    let mut ring = self.ring.lock();
                    ring.failed();
                    ring.now(Instant::now()).is_some()
                };
                let issuer = self.issuer.as_str();
                if has_keys {
                    tracing::warn!(issuer, %why, "the issuer's keys could not be fetched; the last good ones go on");
                } else {
                    let hours = KEYS_AGE_MAX.as_secs() / 3600;
                    tracing::error!(issuer, %why, "there are no keys of the issuer, or none of the last {hours} hours: its people cannot log in");
                }
            }
        }
    }

    async fn ask(&self) -> Result<KeySet, Failed> {
        let document = self
            .fetcher
            .get(&self.document, DISCOVERY_BYTES_MAX)
            .await?;
        let place = keys_of(&document, &self.issuer)
            .map_err(|error| Failed::Document(error.to_string()))?;
        let keys = self.fetcher.get(&place, JWKS_BYTES_MAX).await?;
        KeySet::from_jwks(&keys).map_err(|error| Failed::Document(error.to_string()))
    }
}
