//! Names to addresses, off the shards.
//!
//! The system's own resolver is asked on the housekeeping thread's pool, so /etc/hosts, search lists
//! and nsswitch mean what the operator expects. Which of the addresses may be dialled is decided by
//! whoever dials.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::housekeeping::Handle;
use crate::mailbox;

/// Asks the system's resolver; one for the process, cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Handle,
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    answer: Result<Vec<IpAddr>, ResolveError>,
    until: Duration,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The resolver answered that there is none, or failed; its own words.
    NotFound(String),
    /// No answer within [`ANSWER_WAIT`].
    TimedOut,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(words) => write!(f, "name has no address: {words}"),
            Self::TimedOut => write!(
                f,
                "no answer of the resolver within {} s",
                ANSWER_WAIT.as_secs()
            ),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("known", &self.inner.known.lock().len())
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver whose waiting happens on `pool`.
    #[must_use]
    pub fn new(pool: Handle) -> Self {
        Self {
            inner: Arc::new(Inner {
                pool,
                known: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// All addresses of `host` with `port`, in the resolver's order. Must be called on a shard.
    ///
    /// # Errors
    /// [`ResolveError`]; a failure is remembered for [`FAILURE_TTL`], so a storm of requests for a
    /// dead name asks once.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let with_port =
            |found: &Vec<IpAddr>| found.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        let now = clock::now();
        if let Some(known) = self.inner.known.lock().get(host)
            && known.until > now
        {
            return known.answer.as_ref().map(with_port).map_err(Clone::clone);
        }
        let answer = self.ask(host.to_owned()).await;
        let ttl = if answer.is_ok() {
            ANSWER_TTL
        } else {
            FAILURE_TTL
        };
        {
            let mut known = self.inner.known.lock();
            if known.len() >= NAMES_MAX {
                known.retain(|_, k| k.until > now);
            }
            if known.len() < NAMES_MAX {
                known.insert(
                    host.to_owned(),
                    Known {
                        answer: answer.clone(),
                        until: clock::now() + ttl,
                    },
                );
            }
        }
        answer.as_ref().map(with_port).map_err(Clone::clone)
    }

    async fn ask(&self, host: String) -> Result<Vec<IpAddr>, ResolveError> {
        let pair =
            mailbox::mailbox(1).and_then(|(sender, receiver)| Ok((sender, receiver.open()?)));
        let (sender, mut inbox) = match pair {
            Ok(pair) => pair,
            Err(error) => return Err(ResolveError::NotFound(error.to_string())),
        };
        drop(self.inner.pool.spawn(async move {
            let answer =
                match tokio::time::timeout(ANSWER_WAIT, tokio::net::lookup_host((host, 0))).await {
                    Ok(Ok(found)) => {
                        let mut addresses: Vec<IpAddr> = Vec::new();
                        for address in found.map(|a| a.ip()) {
                            if !addresses.contains(&address) {
                                addresses.push(address);
                            }
                        }
                        if addresses.is_empty() {
                            Err(ResolveError::NotFound("empty answer".to_owned()))
                        } else {
                            Ok(addresses)
                        }
                    }
                    Ok(Err(error)) => Err(ResolveError::NotFound(error.to_string())),
                    Err(_elapsed) => Err(ResolveError::TimedOut),
                };
            // The asking task may have given up; its inbox is closed then.
            let _ = sender.send(answer);
        }));
        inbox.next().await
    }
}

/// How long a found address is used, in place of the record's TTL, which the system's resolver does
/// not tell. Short, so that a moved backend is found within seconds.
pub const ANSWER_TTL: Duration = Duration::from_secs(5);
/// How long a failure is remembered.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);
/// How long the resolver may take.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Names remembered at most; about 200 bytes each, so 800 KiB.
pub const NAMES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Driver, run_here};

    fn with_pool<T>(test: impl AsyncFnOnce(Resolver) -> T) -> T {
        let pool = crate::housekeeping::Housekeeping::start("resolve-test").unwrap();
        let resolver = Resolver::new(pool.clone());
        let outcome = run_here(Driver::Epoll, test(resolver)).unwrap();
        pool.shutdown();
        outcome
    }

    #[test]
    fn a_literal_needs_no_resolver() {
        let found = with_pool(async |r| r.resolve("127.0.0.1", 80).await);
        assert_eq!(found.unwrap(), vec!["127.0.0.1:80".parse().unwrap()]);
    }

    #[test]
    fn localhost_is_found() {
        let found = with_pool(async |r| r.resolve("localhost", 80).await).unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback()));
        assert!(!found.is_empty());
    }

    #[test]
    fn a_name_without_address_says_so() {
        let found = with_pool(async |r| r.resolve("does-not-exist.invalid", 80).await);
        assert!(found.is_err());
    }
}
